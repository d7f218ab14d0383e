# Ranks with GPUs: their collectives, over NCCL and through host memory, and what the others say when one dies. In a build
# with TALLY_CUDA=EMULATED each rank emulates its own GPUs, and NCCL; else it takes as many GPUs as there are ranks.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh
program=$TESTS/test_cuda_comm
printf 'some text\n%.0s' $(seq 2000) >"$scratch/text"
refuses "NCCL between CPUs" "^tally: --comm nccl: is between GPUs, and --device is .*; expected auto$" train --data "$scratch/text" --out "$scratch/x" \
    --device cpu --comm nccl --seq-len 16 --batch 1
need_ranks "communication between GPUs"
if "$program" open 2>/dev/null | grep -q skipped; then skip "communication between GPUs" "no GPU here"; finish; fi
export SIMT_WORKERS=1 # of each rank
models=models
[ -z "${SIMT_GUARD:-}" ] || { numbers_of_ranks="1 3"; models=order; } # it is slow
run() { timeout -s KILL 300 "$MPIEXEC" -np "$@" >"$scratch/out" 2>"$scratch/err"; }
shown() { sed 's/^/# /' "$scratch/out" "$scratch/err" | grep -E '^# (not ok|.*FAILED|.*ERROR)'; }

# kinds RANKS PATTERN: what `auto` opens on so many ranks
kinds() { run "$1" "$program" open && [ "$(cut -d' ' -f1 "$scratch/out" | sort -u | tr '\n' ' ')" = "$2 " ]; }
if SIMT_DEVICES=4 kinds 2 nccl; then separate=true; else separate=false; fi
if $separate; then true; ok "a GPU a rank: auto is nccl"; else skip "ranks over NCCL" "no GPU for each rank, or no NCCL"; fi
if grep -q '^TALLY_CUDA:.*=EMULATED' "$TESTS/CMakeCache.txt"; then
    SIMT_DEVICES=1 kinds 2 staged; ok "ranks that share a GPU: auto is staged"
    $separate; ok "and it is emulated: every rank can have a GPU"
fi

for ranks in $numbers_of_ranks; do
    SIMT_DEVICES=1 run "$ranks" "$program" staged; ok "$ranks ranks through host memory"; shown
    SIMT_DEVICES=1 run "$ranks" "$TESTS/test_cuda_fsdp" staged $models; ok "$ranks ranks through host memory: the sharding engine"; shown
    if ! $separate || ! SIMT_DEVICES=4 kinds "$ranks" "$([ "$ranks" = 1 ] && echo staged || echo nccl)"; then continue; fi
    SIMT_DEVICES=4 run "$ranks" "$program" nccl; ok "$ranks ranks over NCCL"; shown
    SIMT_DEVICES=4 run "$ranks" "$TESTS/test_cuda_fsdp" nccl $models; ok "$ranks ranks over NCCL: the sharding engine"; shown
done
$separate || finish

# dies NAME PATTERN RANKS ARGUMENTS...: the job fails, well before the time-out of 100 s that hang protection is, and the
# ranks that say why say what the pattern says
dies() {
    local name=$1 pattern=$2 ranks=$3; shift 3
    local began=$SECONDS
    SIMT_DEVICES=4 timeout -s KILL 90 "$MPIEXEC" -np "$ranks" "$program" "$@" >"$scratch/out" 2>"$scratch/err"
    local status=$?
    [ $status -ne 0 ] && [ $SECONDS -lt $((began + 80)) ] && grep -qE "^rank [0-9]: $pattern\$" "$scratch/err" &&
        ! grep -E '^rank [0-9]: ' "$scratch/err" | grep -vE "^rank [0-9]: $pattern\$"
    ok "$name"
}
for ranks in 2 4; do
    last=$((ranks - 1))
    dies "rank $last of $ranks is killed: who waits for it over NCCL says so" \
        "rank $last \([^ ]+, pid [0-9]+\) died: missing in all-gather 2 of step 12" $ranks nccl die kill
    TIMEOUT_S=2 dies "rank $last of $ranks stops: who waits for it over NCCL ends after the time-out" \
        "rank [0-9] has waited 2 s in all-gather 2 of step 12 for ranks that do not come" $ranks nccl die stop
done
dies "rank 1 is killed: who waits for it through host memory says so" \
    "rank 1 \([^ ]+, pid [0-9]+\) died: missing in all-gather [0-9]+ of step 12" 2 staged die kill
finish
