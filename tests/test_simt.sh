# The CUDA emulation's own test (tests/simt/README.md): its runtime, that each mode notices the bugs it is there for, that
# seeded bugs in our kernels do not pass their tests, and that its headers are NVIDIA's.
cd "$(dirname "$0")/.." && . tests/tap.sh
build=${TESTS:?}
export SIMT_WORKERS=2

# --- the runtime: memory, copies, streams and events from several threads ---

for lazy in 0 1 2; do
    SIMT_LAZY=$lazy SIMT_DEVICES=2 SIMT_MEMORY_MIB=1 "$build/simt_host" >"$scratch/out" 2>/dev/null
    [ $? -eq 0 ] && grep -q '^1\.\.' "$scratch/out"; ok "memory, copies, streams and events, SIMT_LAZY=$lazy"
    grep '^not ok' "$scratch/out" | sed 's/^/# /'
done

# --- seeded bugs: bad.cu ---

bad=(
    "1 no barrier between writing and reading | fwd rev rand guard lazy race asan"
    "2 one barrier of two missing in a loop | fwd rev rand guard lazy race asan"
    "3 cp.async without a wait | fwd rev rand guard lazy race asan"
    "4 two halves of a block at two barriers | fwd rev rand guard lazy race asan"
    "5 a shuffle of the whole warp by half of it | fwd rev rand guard lazy race asan"
    "6 global memory read beyond its end | guard race asan"
    "7 a shared array written beyond its end | race asan"
    "8 launched with too little shared memory | race asan"
    "9 a misaligned access of 16 bytes | race asan"
    "10 shared memory read that nobody wrote | fwd rev rand guard lazy race asan"
    "11 the host reads device memory | guard"
    "12 a kernel is given host memory | race"
    "13 48 KiB of shared memory passed without cudaFuncSetAttribute | fwd rev rand guard lazy race asan"
    "14 no event between two streams | lazy"
    "15 blocks add to the same elements | race"
    "16 no __syncwarp between lanes | fwd rev rand guard lazy race asan"
    "17 bank conflicts of ldmatrix | race"
    "18 a block waits for another | race"
    "19 a copy in the wrong direction | fwd rev rand guard lazy race asan"
    "20 pinned memory written before it has been copied from | lazy"
    "21 a shared array aligned to 4 bytes, read 16 at a time | race asan"
)

# in_mode MODE COMMAND...
in_mode() {
    local mode=$1; shift
    case $mode in
    fwd | asan) "$@" ;;
    rev) SIMT_ORDER=rev "$@" ;;
    rand) SIMT_ORDER=rand:1 "$@" ;;
    guard) SIMT_GUARD=1 "$@" ;;
    lazy) SIMT_LAZY=1 "$@" ;;
    race) "${@/simt_bad/simt_bad_racecheck}" ;;
    esac
}

notices() {
    in_mode "$1" timeout 60 "$build/simt_bad" "$2" >"$scratch/out" 2>&1
    case $? in 0 | 2 | 127) return 1 ;; esac # 2, 127: no such case, or no such program
}

for line in "${bad[@]}"; do
    number=${line%% *} name=${line#* }
    modes=${name#*| } name=${name% |*} missed=
    for mode in $modes; do
        if [ "$mode" = asan ] && [ "${SANITIZED:-OFF}" != ON ]; then continue; fi
        if [ "$mode" = race ] && [ "${SANITIZED:-OFF}" = ON ]; then continue; fi
        notices "$mode" "$number" 2>/dev/null || missed+=" $mode"
    done
    [ -z "$missed" ]; ok "noticed: $name${missed:+, but not by$missed}"
done

# --- what one build tells for all: mutants of our kernels (all of them: tests/simt/mutants.sh), NVIDIA's headers ---

[ "${SANITIZED:-OFF}" = OFF ] || finish
tests/simt/mutants.sh -q "$build" >"$scratch/out" 2>"$scratch/err"; ok "mutants of our kernels are noticed by their tests"
sed 's/^/# /' "$scratch/out"
tests/simt/conform.sh >"$scratch/out" 2>"$scratch/err"
status=$?
if [ $status -eq 77 ]; then skip "names, arguments and values are NVIDIA's" "$(cat "$scratch/out")"; else
    [ $status -eq 0 ]; ok "names, arguments and values are NVIDIA's"
fi
finish
