#!/usr/bin/env bash
# Everything that needs a real GPU, in one call of under 8 minutes: the CUDA tests, a tiny model against the CPU and on two
# ranks, compute-sanitizer, bandwidths, and the step benchmark's table. The last line is "N passed, N failed, N skipped".
#
#   tools/gpu_check.sh                 in a checkout on a machine with a GPU: builds in build-gpu with nvcc, then checks
#   tools/gpu_check.sh --pack DIR      on a machine with nvcc, GPU or not: builds, and puts into DIR (and DIR.tar.gz) what a
#                                      machine without compiler, packages and network needs beside driver, libcudart and libcublasLt
#   DIR/gpu_check.sh                   there
#
#   --build FOLDER   what is built there, in the place of build-gpu
#   --out FILE       appends device, date, command, counts and table, as tests/gpu/RESULTS.md wants them
#   --tests PATTERN  only the tests that match (default test_cuda_*)
#   --device NAME    cuda or cuda:N; cpu only to try this script
#   --quick          no sanitizer, and the table for a tiny model alone: to try this script
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command_line="$0 $*"

die() { echo "gpu_check.sh: $1" >&2; exit 2; }

build='' out='' tests='test_cuda_*' device=cuda quick=false pack=''
while [ $# -gt 0 ]; do
    case $1 in
    --pack | --build | --out | --tests | --device)
        [ $# -ge 2 ] || die "$1 wants a value"
        declare "${1#--}=$2"; shift 2 ;;
    --quick) quick=true; shift ;;
    --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    -*) die "$1: no such option; --help tells them" ;;
    *) [ -x "$1/build/tally" ] || die "$1: no packed folder: it has no build/tally"
        here=$(cd "$1" && pwd); shift ;;
    esac
done
for path in pack build out; do # from where it was called
    [ -z "${!path}" ] || declare "$path=$(realpath -m "${!path}")"
done

# --- where things are ---

if [ -f "$here/PACKED" ]; then root=$here build=${build:-$root/build}; else root=$(dirname "$here"); fi
cd "$root" || exit 1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
log=$scratch/log

build_here() { # FOLDER
    local nvcc small=''
    command -v cmake >/dev/null || die "no cmake here, and nothing was packed"
    nvcc=$(PATH=$PATH${CUDA_HOME:+:$CUDA_HOME/bin}:/usr/local/cuda/bin command -v "${CUDACXX:-nvcc}") || die "no nvcc here, and nothing was packed"
    if grep -q -- --compress-mode <<<"$("$nvcc" --help)"; then small=--compress-mode=size; fi # kernels of a quarter of the size
    echo "building in $1"
    # shellcheck disable=SC2046 # words on purpose
    cmake -S . -B "$1" -DTALLY_CUDA=ON -DCMAKE_BUILD_TYPE=Release -DCMAKE_CUDA_FLAGS=$small >"$log" 2>&1 &&
        cmake --build "$1" -j "$(nproc)" --target tally $(basename -s .c tests/test_cuda_*.c) >>"$log" 2>&1 && return
    tail -30 "$log" >&2; die "the build in $1 failed"
}
if [ -z "$build" ]; then build=$root/build-gpu; build_here "$build"; fi
[ -x "$build/tally" ] || die "$build: no tally in it"
if [ -n "$pack" ]; then . tools/gpu_pack.sh; pack_into "$pack" "$build"; exit; fi
tally=$build/tally

passed=0 failed=0 skipped=0
pass() { passed=$((passed + 1)); echo "  ok: $1"; }
skip() { skipped=$((skipped + 1)); echo "  SKIP $1: $2"; }
fail() { # NAME WHAT: with the end of the log
    failed=$((failed + 1)); echo "  FAILED $1: $2"
    [ ! -s "$log" ] || tail -15 "$log" | sed 's/^/      /'
}
finish() { echo "$passed passed, $failed failed, $skipped skipped"; exit $((failed > 0)); }

# All of it ends in time: a part has its own limit, and what is left of the whole. 124: it ran past it.
limit_s=470
within() { # SECONDS COMMAND...
    local seconds=$1 left=$((limit_s - SECONDS)); shift
    [ "$left" -ge 5 ] || { echo "no time left of $limit_s s" >"$log"; return 124; }
    timeout -k 5 "$((seconds < left ? seconds : left))" "$@"
}
ended() { # STATUS
    if [ "$1" -eq 124 ] || [ "$1" -eq 137 ]; then echo "ran out of time"; else echo "exit code $1"; fi
}

# --- libraries: what the toolkit or its Python packages have ---

library_folders() {
    local python
    ls -d {/usr/local,/opt}/cuda*/{lib64,lib,targets/x86_64-linux/lib} /usr/lib/{cuda,wsl,nvidia-cuda-toolkit}/lib \
        /usr/lib/x86_64-linux-gnu{,/nvidia/current} "${CUDA_HOME:-/nonexistent}"/lib64 "${CONDA_PREFIX:-/nonexistent}"/lib
    for python in python3 python {/opt/*,/opt/*/.venv,/opt/*/venv,/root/.venv,"${VIRTUAL_ENV:-/nonexistent}"}/bin/python3; do
        command -v "$python" >/dev/null || continue
        "$python" -c 'if True:
            import glob, site, sys
            for p in sys.path + [site.getusersitepackages()]:
                for f in glob.glob(p + "/nvidia/*/lib") + glob.glob(p + "/torch/lib"): print(f)'
    done
    for python in {/usr,/usr/local,/opt/*,/opt/*/{.venv,venv},{/root,/home/*}/{.local,.venv}}/lib/python3*/{site,dist}-packages; do
        ls -d "$python"/nvidia/*/lib "$python"/torch/lib # of those that do not start, or not without an environment
    done
    [ ! -d "$root/lib/fallback" ] || echo "$root/lib/fallback"
} 2>/dev/null

folder_of() { # LIBRARY FOLDERS
    local folder
    while read -r folder; do
        if [ -e "$folder/$1" ]; then echo "$folder"; return; fi
    done <<<"$2"
    return 1
}

anywhere() { # LIBRARY: its folder, after a look at all of the disk
    timeout 40 find / \( -path /proc -o -path /sys -o -path /dev \) -prune -o -name "$1" ! -path '*/sbsa*' -print 2>/dev/null |
        sed -n '1{s|/[^/]*$||;p;}'
}

absent() { ldd "$@" 2>/dev/null | sed -nE 's/^[[:space:]]*([^ ]+) => not found.*/\1/p' | sort -u; }
also_in() { case :$LD_LIBRARY_PATH: in *":$1:"*) ;; *) LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$1 ;; esac }

find_libraries() {
    local library folder folders missing
    folders=$(library_folders)
    for library in $(absent "$tally" ${mpirun:+"$mpirun"}); do
        folder=$(folder_of "$library" "$folders") || folder=$(anywhere "$library")
        [ -z "$folder" ] || also_in "$folder"
    done
    for folder in /usr/local/nvidia/lib64 /usr/local/nvidia/lib; do # the driver, where a container has mounted it
        [ ! -e "$folder/libcuda.so.1" ] || also_in "$folder"
    done
    if folder=$(folder_of libnccl.so.2 "$folders"); then also_in "$folder"; fi # opened by name, where it is wanted
    if [ -n "$mpirun" ]; then
        missing=$(absent "$mpirun" | xargs)
        [ -z "$missing" ] || { echo "   $mpirun is not used: $missing not found"; mpirun=''; }
    fi
    "$tally" --help >"$log" 2>&1 && return
    missing=$(absent "$tally" | xargs)
    if [ -n "$missing" ]; then : >"$log"; fail "tally" "libraries not found: $missing; set LD_LIBRARY_PATH to their folders"
    elif grep -q "version .GLIBC" "$log"; then fail "tally" "this system's C library is older than the one it was built with"
    else fail "tally" "does not start"; fi
    finish
}

export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}
mpirun=$(command -v mpirun || true)
if [ -f "$root/PACKED" ]; then
    LD_LIBRARY_PATH=$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    if [ -x "$root/mpi/bin/mpirun" ]; then
        mpirun=$root/mpi/bin/mpirun
        export OPAL_PREFIX=$root/mpi OPAL_BINDIR=$root/mpi/bin OPAL_LIBDIR=$root/lib OPAL_PKGLIBDIR=$root/mpi/plugins \
            OPAL_PKGDATADIR=$root/mpi/share OPAL_SYSCONFDIR=$root/mpi/etc OMPI_MCA_mca_base_component_path=$root/mpi/plugins \
            PMIX_INSTALL_PREFIX=$root/mpi PMIX_MCA_mca_base_component_path=$root/mpi/pmix \
            OMPI_MCA_btl=self,vader
    else mpirun=''; fi
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export TALLY=$tally TESTS=$build SANITIZED=OFF CMOCKA_MESSAGE_OUTPUT=TAP

# --- (a) what this is ---

commit=$(sed -n 's/^commit //p' "$root/PACKED" 2>/dev/null || git -C "$root" describe --always --dirty --exclude '*' 2>/dev/null)
gpu=$(PATH=$PATH:/usr/local/nvidia/bin nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv,noheader 2>/dev/null)
echo "== tally ${commit:-of an unknown commit}, $(date -u +'%Y-%m-%d %H:%M') UTC, $(uname -sr), $(nproc) CPUs"
echo "   GPU: ${gpu:-nvidia-smi tells of none}"
find_libraries
export MPIEXEC=$mpirun
ldd "$tally" | grep -E 'libcudart|libcublas|libcudnn|libcuda\.' | sed 's/^[[:space:]]*/   /; s/ (0x.*//'

# --- (b) the tests ---

# A program that prints TAP; one that dies before it has told of a failure counts as one.
run_tap() { # NAME SECONDS COMMAND...
    local name=$1 seconds=$2 ok bad skips status; shift 2
    within "$seconds" "$@" >"$log" 2>&1; status=$?
    sed -i -E 's/^not (ok [0-9]+.*# SKIP)/\1/' "$log" # as cmocka writes what is skipped
    skips=$(grep -cE '^ok [0-9]+.*# SKIP' "$log")
    ok=$(($(grep -cE '^ok [0-9]+' "$log") - skips))
    bad=$(grep -cE '^not ok [0-9]+' "$log")
    passed=$((passed + ok)) skipped=$((skipped + skips)) failed=$((failed + bad))
    echo "  $name: $ok ok, $bad failed, $skips skipped"
    grep -E '^ok [0-9]+.*# SKIP' "$log" | sed 's/^ok/      SKIP/'
    if [ "$bad" -gt 0 ]; then grep -E '^not ok|^#' "$log" | head -20 | sed 's/^/      /'
    elif [ "$status" -ne 0 ]; then fail "$name" "$(ended "$status")"
    elif [ $((ok + skips)) -eq 0 ]; then fail "$name" "told of no test"; fi
}

echo "== the tests on the device"
found=false
for program in "$build"/$tests; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    found=true
    run_tap "$(basename "$program")" 60 "$program"
done
for script in tests/$tests.sh; do
    [ -f "$script" ] || continue
    found=true
    if grep -q python3 "$script" && ! command -v python3 >/dev/null; then skip "$script" "no python3 here"; continue; fi
    run_tap "$(basename "$script")" 90 bash "$script"
done
$found || skip "$tests" "no such test in $build or tests/"

# --- (c) a tiny model ---

cat >"$scratch/tiny.json" <<'J'
{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 257, "hidden_size": 128, "intermediate_size": 192,
 "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 64, "max_position_embeddings": 64,
 "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu"}
J
for i in $(seq 400); do echo "line $i: the quick brown fox jumps over the lazy dog, $((i * 7919 % 1000)) times"; done >"$scratch/text.txt"
steps=10; ! $quick || steps=2

# a run of the tiny model; its losses, a line a step, go to scratch/NAME.losses
train() { # NAME LAUNCHER OPTIONS...: LAUNCHER words or ""
    local name=$1 launcher=$2 status; shift 2
    # shellcheck disable=SC2086 # words on purpose
    within 60 $launcher "$tally" train --model "$scratch/tiny.json" --data "$scratch/text.txt" --out "$scratch/$name" \
        --seq-len 64 --global-batch 256 --steps $steps --warmup 2 --lr 1e-2 --eval-every 0 --checkpoint-every 0 --price 1 \
        --peak-seconds 0 "$@" >"$log" 2>&1
    status=$?
    [ $status -ne 0 ] || sed -nE 's/.*"loss":([^,}]*).*/\1/p' "$scratch/$name/metrics.jsonl" >"$scratch/$name.losses"
    return $status
}

# losses of two runs agree: within 8 * 2^-14 (fp32) or 8 * 2^-8 (bf16) of themselves, after up to 10 steps of rounding apart
agree() { # NAME RUN OTHER PRECISION
    paste "$scratch/$2.losses" "$scratch/$3.losses" | awk -v bits="$([ "$4" = fp32 ] && echo 14 || echo 8)" -v steps=$steps '
        { d = $1 - $2; if (d < 0) d = -d; if (NF != 2 || !(d <= 8 / 2 ^ bits * $2)) { print "step " NR ": " $0; bad = 1 } }
        END { exit bad || NR != steps }' >"$log" && pass "$1" || fail "$1" "losses differ"
}

same_as() { # NAME RUN OTHER PRECISION LAUNCHER OPTIONS...: trains RUN, compares it to OTHER
    local name=$1 run=$2 other=$3 precision=$4 launcher=$5; shift 5
    train "$run" "$launcher" --precision "$precision" "$@"; local status=$?
    if [ $status -eq 0 ]; then agree "$name" "$run" "$other" "$precision"; else fail "$name" "$(ended $status)"; fi
}

echo "== a tiny model, $steps steps"
for precision in fp32 bf16; do
    if ! train "cpu-$precision" "" --precision $precision --device cpu --batch 4; then fail "the CPU's run, $precision" "does not end well"; continue; fi
    same_as "$device = cpu, $precision" "cuda-$precision" "cpu-$precision" $precision "" --device "$device" --batch 4
    [ -f "$scratch/cuda-$precision.losses" ] || continue
    name="two ranks on one device = one, $precision"
    if [ -z "$mpirun" ]; then skip "$name" "no mpirun"
    elif [ "$device" = cpu ]; then same_as "$name" "two-$precision" "cuda-$precision" $precision "$mpirun -np 2" --device cpu --batch 2
    else same_as "$name" "two-$precision" "cuda-$precision" $precision "$mpirun -np 2" --device "${device/%cuda/cuda:0}" --comm staged --batch 2; fi
done
within 60 "$tally" bench recompute --device "$device" --model "$scratch/tiny.json" -B 2 -T 64 --steps 1 --warmup 1 --rounds 1 >"$log" 2>&1
status=$?
if [ $status -ne 0 ]; then fail "recompute policies" "$(ended $status)"
elif grep -q DIFFER "$log" || [ "$(grep -c 'bitwise those of none' "$log")" -ne 3 ]; then fail "recompute policies" "gradients differ"
else pass "gradients of all recompute policies: the same bits"; fi

# --- (d) compute-sanitizer ---

sanitize() { # TOOL SANITIZER_OPTIONS...
    within 75 "$sanitizer" --tool "$1" --error-exitcode 9 "${@:2}" "$tally" train \
        --model "$scratch/tiny.json" --data "$scratch/text.txt" --out "$scratch/$1" --seq-len 64 --batch 2 --steps 2 --device "$device" \
        --eval-every 0 --checkpoint-every 0 --price 1 --peak-seconds 0 >"$log" 2>&1
    local status=$?
    if [ $status -eq 0 ]; then pass "compute-sanitizer $1"
    elif grep -q "Device not supported" "$log"; then skip "compute-sanitizer $1" "$(grep -m1 'Device not supported' "$log")"
    else fail "compute-sanitizer $1" "$(ended $status)"; fi
}

echo "== compute-sanitizer on the tiny model"
sanitizer=$(PATH=$PATH:$(printf '%s:' /usr/local/cuda*/{bin,compute-sanitizer}) command -v compute-sanitizer || true)
for tool in memcheck racecheck; do
    if $quick; then skip "$tool" "--quick"
    elif [ -z "$sanitizer" ]; then skip "$tool" "no compute-sanitizer here"
    elif [ $tool = racecheck ]; then sanitize $tool --kernel-name kns=_kernel --kernel-name-exclude kns=cublas # ours
    else sanitize $tool; fi
done

# --- (e) how fast ---

echo "== bandwidth of the operations"
if ! grep -qE '^ *op  ' <<<"$("$tally" bench --help 2>&1)"; then skip "bench op" "this tally has none"
else
    shape=(--model qwen2.5-0.5b -B 16 -T 1024); ! $quick || shape=(--model "$scratch/tiny.json" -B 1 -T 32 --steps 1 --warmup 1)
    within 60 "$tally" bench op --device "$device" "${shape[@]}" >"$log" 2>&1; status=$?
    if [ $status -eq 0 ]; then cat "$log"; cp "$log" "$scratch/op"; pass "bench op"; else fail "bench op" "$(ended $status)"; fi
fi

field() { sed -nE "s/.*\"$1\":\"?([^,\"}]*).*/\1/p" "$scratch/line"; }

# $batch x $accumulate, recompute, moments, master, $attention: as measured last
table_row() { # MODEL AIM PEER
    local mfu; mfu=$(field mfu)
    awk -v model="$1" -v aim="$2" -v peer="$3" -v mfu="${mfu/null/}" \
        -v how="$batch x $accumulate, $recompute, $moments, $master, $attention" \
        -v ms="$(field step_ms)" -v rate="$(field tokens_per_s)" -v bytes="$(field memory_bytes)" -v share="$(field fraction_of_peak)" 'BEGIN {
        printf "| %s | %s | %.1f | %.0f | %s | %.1f%% | %.1f GiB | %s | %s |\n", model, how, ms, rate,
            mfu == "" ? "not known" : sprintf("%.1f%%", 100 * mfu), 100 * share, bytes / 2^30, aim, peer }' >>"$scratch/table"
}

# The first candidate that fits is measured: "micro-batch accumulate recompute moments master". cuDNN's attention, which comes
# last, is left out where no time is left for it.
measure() { # MODEL AIM PEER CANDIDATE...
    local model=$1 aim=$2 peer=$3 name status; shift 3
    name="step of $(basename "$model" .json), attention $attention"
    if [ $attention = cudnn ] && [ $((limit_s - SECONDS)) -lt 60 ]; then skip "$name" "no time left"; return; fi
    for candidate; do
        read -r batch accumulate recompute moments master <<<"$candidate"
        within 110 "$tally" bench step --device "$device" --model "$model" --batch "$batch" --accumulate "$accumulate" \
            --seq-len $seq_len --precision bf16 --recompute "$recompute" --moments "$moments" --master "$master" \
            --steps $measured --warmup 1 --attention $attention --json >"$scratch/line" 2>"$log"
        status=$?
        if [ $status -eq 0 ]; then
            cat "$scratch/line"; cat "$scratch/line" >>"$scratch/lines"
            table_row "$(basename "$model" .json)" "$aim" "$peer"
            pass "$name"; return
        fi
        grep -qiE 'cannot allocate|out of memory' "$log" || { fail "$name" "$(ended $status)"; return; }
        echo "  $name, $candidate: does not fit"
    done
    skip "$name" "no micro-batch fits this GPU's memory"
}

echo "== the step: bf16, as tally bench step --device $device has it"
seq_len=1024 measured=4
attentions=own; if ldd "$tally" | grep -q 'libcudnn\.so'; then attentions="own cudnn"; fi
for attention in $attentions; do
    if $quick; then
        seq_len=32 measured=1
        measure "$scratch/tiny.json" "-" "-" "1 1 none fp32 fp32"
    else
        measure gpt2-124m "50%, 620k" "about 41% (llm.c)" "64 8 none fp32 fp32" "32 16 none fp32 fp32" "16 32 none fp32 fp32" "8 16 none fp32 fp32"
        measure qwen2.5-0.5b "55%, 176k" "46.8%, 149k (LLMQ)" "32 8 none fp32 fp32" "16 16 none fp32 fp32" "8 16 none fp32 fp32"
        measure qwen2.5-1.5b "62%, 64k" "56.7%, 58.9k (LLMQ)" "16 8 none fp32 fp32" "12 8 none fp32 fp32" "8 12 none fp32 fp32" "8 12 selective fp32 fp32"
        measure qwen2.5-3b "65%, 34k" "59.3%, 30.9k (LLMQ)" "8 8 none fp32 fp32" "4 12 none fp32 fp32" "4 12 selective fp32 fp32" "4 12 block fp32 fp32"
        measure qwen2.5-7b "68%, 15.6k" "60.1%, 13.8k (LLMQ)" "4 8 block fp32 fp32" "8 4 none bf16 none" "8 4 block bf16 none" "4 8 block bf16 none"
    fi
done

{
    echo "## ${gpu:-no GPU}, $(date -u +%Y-%m-%d), commit ${commit:-unknown}"
    echo; echo "\`$command_line\`: $passed passed, $failed failed, $skipped skipped, in $SECONDS s."
    if [ -s "$scratch/table" ]; then
        echo; echo "| model, T = $seq_len | micro-batch x accumulate, recompute, Adam's moments, master weights, attention | ms a step | tokens/s | MFU | of measured peak | memory | aim | best peer |"
        echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"; cat "$scratch/table"
        echo; echo '```'; cat "$scratch/lines"; echo '```'
    fi
    if [ -s "$scratch/op" ]; then echo; echo '```'; cat "$scratch/op"; echo '```'; fi
    echo
} >"$scratch/report"
sed -n '/^| model/,/^$/p' "$scratch/report"
[ -z "$out" ] || cat "$scratch/report" >>"$out" || fail "$out" "cannot be written"
finish
