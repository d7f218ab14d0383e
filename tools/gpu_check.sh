#!/usr/bin/env bash
# Runs everything that needs a real GPU, in under 8 minutes after the build, the most important first: tests of GEMM,
# attention, norm and loss; the step benchmark, also with cuDNN's attention if the build has it; a tiny model, compared with the
# CPU and on two ranks; the other tests; bandwidths; compute-sanitizer. The last line is "N passed, N failed, N skipped".
#
#   tools/gpu_check.sh                 in a checkout on a machine with a GPU: builds in build-gpu with nvcc, then checks
#   tools/gpu_check.sh --pack DIR      on a machine with nvcc, GPU or not: builds, and puts into DIR (and DIR.tar.gz) what a
#                                      machine without compiler, packages and network needs beside driver, libcudart and libcublasLt
#   DIR/gpu_check.sh                   on that machine: checks
#
#   --build FOLDER   checks the programs in FOLDER, and builds nothing
#   --out FILE       appends device, date, command, counts and table to FILE, in the format of tests/gpu/RESULTS.md
#   --tests PATTERN  only the tests that match (default test_cuda_*)
#   --device NAME    cuda or cuda:N; cpu is for trying out this script
#   --quick          no sanitizer, and only a tiny model in the table: for trying out this script
#
# A build has cuDNN's attention where cudnn.h, libcudnn.so.9 and cudnn_frontend.h are found: in the toolkit, in Python's
# packages nvidia-cudnn-cu13 and nvidia-cudnn-frontend, or in the folders that CUDNN_INCLUDE_DIR, CUDNN_LIBRARY_DIR and
# CUDNN_FRONTEND_INCLUDE_DIR name.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command_line="$0 $*"

die() { echo "gpu_check.sh: $1" >&2; exit 2; }

build='' out='' tests='test_cuda_*' device=cuda quick=false pack=''
while [ $# -gt 0 ]; do
    case $1 in
    --pack | --build | --out | --tests | --device)
        [ $# -ge 2 ] || die "$1: expected a value after it"
        declare "${1#--}=$2"; shift 2 ;;
    --quick) quick=true; shift ;;
    --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    -*) die "$1: no such option; --help lists the options" ;;
    *) [ -x "$1/build/tally" ] || die "$1: found no build/tally in it, expected a packed folder"
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

# --- libraries and headers: what the toolkit or its Python packages have ---

site_packages() {
    local python
    for python in python3 python {/opt/*,/opt/*/.venv,/opt/*/venv,/root/.venv,"${VIRTUAL_ENV:-/nonexistent}"}/bin/python3; do
        command -v "$python" >/dev/null || continue
        "$python" -c 'import site, sys; print(*sys.path, site.getusersitepackages(), sep="\n")'
    done
    # of those that do not start, or not without an environment
    ls -d {/usr,/usr/local,/opt/*,/opt/*/{.venv,venv},{/root,/home/*}/{.local,.venv}}/lib/python3*/{site,dist}-packages
} 2>/dev/null

library_folders() {
    local packages
    ls -d {/usr/local,/opt}/cuda*/{lib64,lib,targets/x86_64-linux/lib} /usr/lib/{cuda,wsl,nvidia-cuda-toolkit}/lib \
        /usr/lib/x86_64-linux-gnu{,/nvidia/current} "${CUDA_HOME:-/nonexistent}"/lib64 "${CONDA_PREFIX:-/nonexistent}"/lib
    site_packages | while read -r packages; do ls -d "$packages"/nvidia/*/lib "$packages"/torch/lib; done
    [ ! -d "$root/lib/fallback" ] || echo "$root/lib/fallback"
} 2>/dev/null

header_folders() {
    local packages
    ls -d "${CUDA_HOME:-/nonexistent}"/include {/usr/local,/opt}/cuda*/include {/usr,/usr/local}/include \
        /usr/include/x86_64-linux-gnu "${CONDA_PREFIX:-/nonexistent}"/include
    site_packages | while read -r packages; do ls -d "$packages"/nvidia/*/include "$packages"/include; done
} 2>/dev/null

folder_of() { # FILE FOLDERS
    local folder
    while read -r folder; do
        if [ -e "$folder/$1" ]; then echo "$folder"; return; fi
    done <<<"$2"
    return 1
}

# --- the build ---

# cudnn_options: CMake's for a build with cuDNN; empty where cudnn_absent tells what was not found
find_cudnn() {
    local headers libraries header library frontend
    headers=${CUDNN_INCLUDE_DIR:+$CUDNN_INCLUDE_DIR$'\n'}${CUDNN_FRONTEND_INCLUDE_DIR:+$CUDNN_FRONTEND_INCLUDE_DIR$'\n'}$(header_folders)
    libraries=${CUDNN_LIBRARY_DIR:+$CUDNN_LIBRARY_DIR$'\n'}$(library_folders)
    cudnn_options=() cudnn_absent=''
    header=$(folder_of cudnn.h "$headers") || cudnn_absent=cudnn.h
    library=$(folder_of libcudnn.so.9 "$libraries") || cudnn_absent+=${cudnn_absent:+, }libcudnn.so.9
    frontend=$(folder_of cudnn_frontend.h "$headers") || cudnn_absent+="${cudnn_absent:+, }cudnn_frontend.h (it is in PyPI's nvidia-cudnn-frontend)"
    [ -n "$cudnn_absent" ] || cudnn_options=(-DTALLY_CUDNN=ON "-DCUDNN_INCLUDE_DIR=$header"
        "-DCUDNN_LIBRARY=$library/libcudnn.so.9" "-DCUDNN_FRONTEND_INCLUDE_DIR=$frontend")
}

compile() { # FOLDER TARGETS CMAKE_OPTION...
    local targets=$2
    # shellcheck disable=SC2086 # words on purpose
    cmake -S . -B "$1" -DTALLY_CUDA=ON -DCMAKE_BUILD_TYPE=Release -DCMAKE_CUDA_FLAGS=$small "${@:3}" >"$log" 2>&1 &&
        cmake --build "$1" -j "$(nproc)" --target $targets >>"$log" 2>&1
}

# A build that is packed goes to a machine that may have no cuDNN: there its program is one more, in FOLDER-cudnn.
build_here() { # FOLDER
    local nvcc small='' programs
    command -v cmake >/dev/null || die "found neither cmake nor a packed folder"
    nvcc=$(PATH=$PATH${CUDA_HOME:+:$CUDA_HOME/bin}:/usr/local/cuda/bin command -v "${CUDACXX:-nvcc}") || die "found neither nvcc nor a packed folder"
    if grep -q -- --compress-mode <<<"$("$nvcc" --help)"; then small=--compress-mode=size; fi # kernels of a quarter of the size
    programs="tally $(basename -s .c tests/test_cuda_*.c | xargs)"
    find_cudnn
    if [ -n "$cudnn_absent" ]; then echo "building in $1, without cuDNN's attention: $cudnn_absent not found"
    elif [ -n "$pack" ]; then
        echo "building in $1, and with cuDNN's attention also in $1-cudnn"
        compile "$1-cudnn" "tally test_cuda_cudnn" "${cudnn_options[@]}" ||
            { tail -30 "$log" >&2; die "the build with cuDNN in $1-cudnn failed; CUDNN_INCLUDE_DIR, CUDNN_LIBRARY_DIR and CUDNN_FRONTEND_INCLUDE_DIR choose another cuDNN"; }
    else
        echo "building in $1, with cuDNN's attention"
        compile "$1" "$programs" "${cudnn_options[@]}" && return
        tail -30 "$log" >&2
        echo "the build with cuDNN failed (see above): building again, without cuDNN's attention"
    fi
    compile "$1" "$programs" -DTALLY_CUDNN=OFF || { tail -30 "$log" >&2; die "the build in $1 failed"; }
}

if [ -z "$build" ]; then build=$root/build-gpu; build_here "$build"; fi
[ -x "$build/tally" ] || die "$build: found no tally in it"
if [ -n "$pack" ]; then . tools/gpu_pack.sh; pack_into "$pack" "$build"; exit; fi
SECONDS=0
tally=$build/tally

passed=0 failed=0 skipped=0
pass() { passed=$((passed + 1)); echo "  ok: $1"; }
skip() { skipped=$((skipped + 1)); echo "  SKIP $1: $2"; }
fail() { # NAME WHAT: with the end of the log
    failed=$((failed + 1)); echo "  FAILED $1: $2"
    [ ! -s "$log" ] || tail -15 "$log" | sed 's/^/      /'
}
finish() { write_report; echo "$passed passed, $failed failed, $skipped skipped"; exit $((failed > 0)); }
child=''
exec 3>&1 # a part's output may be redirected when a signal comes
stopped() {
    trap '' INT TERM HUP
    exec >&3
    [ -z "$child" ] || kill "$child" 2>/dev/null
    fail "gpu_check.sh" "was stopped after $SECONDS s"
    finish
}
trap stopped INT TERM HUP

# The table, and what --out is given
write_report() {
    {
        echo "## ${gpu:-no GPU}, $(date -u +%Y-%m-%d), commit ${commit:-unknown}"
        echo; echo "\`$command_line\`: $passed passed, $failed failed, $skipped skipped, in $SECONDS s."
        if [ -s "$scratch/table" ]; then
            echo; echo "| model, T = $seq_len | micro-batch x accumulate, recompute, Adam's moments, master weights, attention | ms per step | tokens/s | MFU | share of measured peak | memory | aim | best peer |"
            echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"; cat "$scratch/table"
            echo; echo '```'; cat "$scratch/lines"; echo '```'
        fi
        if [ -s "$scratch/op" ]; then echo; echo '```'; cat "$scratch/op"; echo '```'; fi
        echo
    } >"$scratch/report"
    sed -n '/^| model/,/^$/p' "$scratch/report"
    [ -z "$out" ] || cat "$scratch/report" >>"$out" || fail "$out" "cannot be written"
}

# All of it ends in time: a part has its own limit, and what is left of the whole. 124: it ran past it. What would begin
# too late is skipped.
limit_s=470
too_late() { # NAME SECONDS: of its group
    if [ "$2" -ge 5 ] && [ $((limit_s - SECONDS)) -ge 5 ]; then return 1; fi
    skip "$1" "no time left"
}
within() { # SECONDS COMMAND...
    local seconds=$1 left=$((limit_s - SECONDS)); shift
    [ "$left" -ge 5 ] || { echo "none of the $limit_s s are left" >"$log"; return 124; }
    timeout -k 5 "$((seconds < left ? seconds : left))" "$@" </dev/null 3>&- & # so that a signal is heard while it runs
    child=$!
    wait "$child"
}
ended() { # STATUS
    if [ "$1" -eq 124 ] || [ "$1" -eq 137 ]; then echo "ran out of time"; else echo "exit code $1"; fi
}

anywhere() { # LIBRARY: its folder, after a look at all of the disk
    timeout 40 find / \( -path /proc -o -path /sys -o -path /dev \) -prune -o -name "$1" ! -path '*/sbsa*' -print 2>/dev/null |
        sed -n '1{s|/[^/]*$||;p;}'
}

absent() { ldd "$@" 2>/dev/null | sed -nE 's/^[[:space:]]*([^ ]+) => not found.*/\1/p' | sort -u; }
also_in() { case :$LD_LIBRARY_PATH: in *":$1:"*) ;; *) LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$1 ;; esac }

# tally_cudnn: the program with cuDNN's attention; where there is none, no_cudnn tells why
find_cudnn_program() { # FOLDERS
    local library folder missing
    tally_cudnn=$tally no_cudnn=''
    if ldd "$tally" | grep -q 'libcudnn\.so'; then return; fi
    tally_cudnn=$build/tally_cudnn
    if [ ! -x "$tally_cudnn" ]; then no_cudnn="it is not in this build"; return; fi
    for library in $(absent "$tally_cudnn"); do
        if folder=$(folder_of "$library" "$1"); then also_in "$folder"; fi
    done
    missing=$(absent "$tally_cudnn" | xargs)
    [ -z "$missing" ] || no_cudnn="libraries not found: $missing"
}

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
    find_cudnn_program "$folders"
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
. tests/mpi.sh
export TALLY=$tally TESTS=$build SANITIZED=OFF CMOCKA_MESSAGE_OUTPUT=TAP

# --- (a) what this is ---

commit=$(sed -n 's/^commit //p' "$root/PACKED" 2>/dev/null || git -C "$root" describe --always --dirty --exclude '*' 2>/dev/null)
gpu=$(PATH=$PATH:/usr/local/nvidia/bin nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv,noheader 2>/dev/null)
echo "== tally ${commit:-of an unknown commit}, $(date -u +'%Y-%m-%d %H:%M') UTC, $(uname -sr), $(nproc) CPUs"
echo "   GPU: ${gpu:-nvidia-smi lists none}"
find_libraries
export MPIEXEC=$mpirun
[ -z "$no_cudnn" ] || echo "   without cuDNN's attention: $no_cudnn"
ldd "$tally" "$tally_cudnn" 2>/dev/null | grep -E 'libcudart|libcublas|libcudnn|libcuda\.' | sed 's/^[[:space:]]*/   /; s/ (0x.*//' | sort -u

# --- (b) the tests of what the step is made of ---

# A program that prints TAP; one that dies before it has told of a failure counts as one.
run_tap() { # NAME SECONDS COMMAND...
    local name=$1 seconds=$2 ok bad skips status; shift 2
    ! too_late "$name" "$seconds" || return
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
    elif [ $((ok + skips)) -eq 0 ]; then fail "$name" "printed no result of a test"; fi
}

first='test_cuda_(gemm|attention|cudnn|norm|loss)' found=false

# the tests that match --tests, and REGEX or (-v) not, in SECONDS altogether
run_tests() { # [-v] REGEX SECONDS
    local program other='' until
    if [ "$1" = -v ]; then other=$1; shift; fi
    until=$((SECONDS + $2))
    for program in "$build"/$tests tests/$tests.sh; do
        [ -f "$program" ] && grep -qE $other "^$1$" <<<"$(basename "$program" .sh)" || continue
        found=true
        case $program in
        *.sh) run_tap "$(basename "$program")" $((until - SECONDS)) bash "$program" ;;
        *) [ ! -x "$program" ] || run_tap "$(basename "$program")" $((until - SECONDS)) "$program" ;;
        esac
    done
}

echo "== tests of GEMM, attention, norm and loss"
run_tests "$first" 75

# --- (c) the step ---

cat >"$scratch/tiny.json" <<'J'
{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 257, "hidden_size": 128, "intermediate_size": 192,
 "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 64, "max_position_embeddings": 64,
 "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu"}
J

field() { sed -nE "s/.*\"$1\":\"?([^,\"}]*).*/\1/p" "$scratch/line"; }
mib_of_gpu() { sed -nE '1s/.*, ([0-9]+) MiB,.*/\1/p' <<<"$gpu"; }

# Whether the memory that the step is planned to take leaves 4% of the GPU's for the driver and the libraries. Where it is not
# known, yes: then the step itself tells.
fits() { # MODEL
    local total planned
    total=$(mib_of_gpu)
    planned=$("$tally" plan --devices 1 --shard none --model "$1" --batch "$batch" --accumulate "$accumulate" --seq-len $seq_len \
        --recompute "$recompute" --moments "$moments" --master "$master" --json 2>/dev/null | sed -nE 's/.*"memory_bytes":([0-9]+).*/\1/p')
    planned_gib=$(awk -v bytes="${planned:-0}" 'BEGIN { printf "%.1f GiB planned", bytes / 2^30 }')
    [ -z "$total" ] || [ -z "$planned" ] || [ $((planned / 1048576)) -le $((total * 96 / 100)) ]
}

# $batch x $accumulate, recompute, moments, master, $attention: as measured last. The peak is measured by the first step only.
table_row() { # MODEL AIM PEER
    local mfu; mfu=$(field mfu)
    [ "$(field peak_measured_flops)" = null ] || peak=$(field peak_measured_flops)
    awk -v model="$1" -v aim="$2" -v peer="$3" -v mfu="${mfu/null/}" \
        -v how="$batch x $accumulate, $recompute, $moments, $master, $attention" \
        -v ms="$(field step_ms)" -v rate="$(field tokens_per_s)" -v bytes="$(field memory_bytes)" \
        -v flops="$(field flops_per_s)" -v peak="$peak" 'BEGIN {
        printf "| %s | %s | %.1f | %.0f | %s | %.1f%% | %.1f GiB | %s | %s |\n", model, how, ms, rate,
            mfu == "" ? "not known" : sprintf("%.1f%%", 100 * mfu), 100 * flops / peak, bytes / 2^30, aim, peer }' >>"$scratch/table"
}

# The first candidate that fits is measured: "micro-batch accumulate recompute moments master"
measure() { # own|cudnn MODEL AIM PEER CANDIDATE...
    local attention=$1 model=$2 aim=$3 peer=$4 program=$tally name how peak_s=1 status; shift 4
    [ -z "$peak" ] || peak_s=0
    name="step of $(basename "$model" .json), attention $attention"
    ! too_late "$name" 90 || return
    if [ $attention = cudnn ]; then
        program=$tally_cudnn
        [ -z "$no_cudnn" ] || { skip "$name" "$no_cudnn"; return; }
    fi
    for candidate; do
        read -r batch accumulate recompute moments master <<<"$candidate"
        how="micro-batch $batch x $accumulate, recompute $recompute, moments $moments, master $master"
        if ! fits "$model"; then echo "  $name, $how: does not fit, $planned_gib"; continue; fi
        echo "  $name, $how: $planned_gib"
        within 90 "$program" bench step --device "$device" --model "$model" --batch "$batch" --accumulate "$accumulate" \
            --seq-len $seq_len --precision bf16 --recompute "$recompute" --moments "$moments" --master "$master" \
            --steps $measured --warmup 1 --attention $attention --peak-seconds "$peak_s" --json >"$scratch/line" 2>"$log"
        status=$?
        if [ $status -eq 0 ]; then
            cat "$scratch/line"; cat "$scratch/line" >>"$scratch/lines"
            table_row "$(basename "$model" .json)" "$aim" "$peer"
            pass "$name"; return
        fi
        grep -qiE 'cannot allocate|out of memory' "$log" || { fail "$name" "$(ended $status)"; return; }
        echo "  $name, $how: out of memory"
    done
    skip "$name" "no micro-batch fits this GPU's memory"
}

gpt2_124m() { measure "$1" gpt2-124m "50%, 620k" "about 41% (llm.c)" "64 8 none fp32 fp32" "32 16 none fp32 fp32" "16 32 none fp32 fp32" "8 16 none fp32 fp32"; }
qwen_05b() { measure "$1" qwen2.5-0.5b "55%, 176k" "46.8%, 149k (LLMQ)" "32 8 none fp32 fp32" "16 16 none fp32 fp32" "8 16 none fp32 fp32"; }
qwen_15b() { measure "$1" qwen2.5-1.5b "62%, 64k" "56.7%, 58.9k (LLMQ)" "16 8 none fp32 fp32" "12 8 none fp32 fp32" "8 12 none fp32 fp32" "8 12 selective fp32 fp32"; }
qwen_3b() { measure "$1" qwen2.5-3b "65%, 34k" "59.3%, 30.9k (LLMQ)" "8 8 none fp32 fp32" "8 8 selective fp32 fp32" "4 12 none fp32 fp32" "4 12 block fp32 fp32" "4 12 selective bf16 none"; }
qwen_7b() { measure "$1" qwen2.5-7b "68%, 15.6k" "60.1%, 13.8k (LLMQ)" "4 8 block fp32 fp32" "8 4 none bf16 none" "8 4 block bf16 none" "4 8 block bf16 none"; }

echo "== the step: bf16, measured by tally bench step --device $device"
seq_len=1024 measured=4 peak=''
if $quick; then
    seq_len=32 measured=1
    # the first is larger than any GPU
    for attention in own cudnn; do measure $attention "$scratch/tiny.json" "-" "-" ${gpu:+"1048576 1 none fp32 fp32"} "1 1 none fp32 fp32"; done
else qwen_05b own; qwen_05b cudnn; gpt2_124m own; qwen_15b own; qwen_3b own; fi

# --- (d) a tiny model ---

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
    if ! train "cpu-$precision" "" --precision $precision --device cpu --batch 4; then fail "the run on the CPU, $precision" "did not end with exit code 0"; continue; fi
    same_as "losses on $device and on the CPU are equal within rounding, $precision" "cuda-$precision" "cpu-$precision" $precision "" --device "$device" --batch 4
    [ -f "$scratch/cuda-$precision.losses" ] || continue
    name="losses of two ranks and of one are equal within rounding, $precision"
    if [ -z "$mpirun" ]; then skip "$name" "no mpirun"
    elif [ "$device" = cpu ]; then same_as "$name" "two-$precision" "cuda-$precision" $precision "$mpirun -np 2" --device cpu --batch 2
    else same_as "$name" "two-$precision" "cuda-$precision" $precision "$mpirun -np 2" --device "${device/%cuda/cuda:0}" --comm staged --batch 2; fi
done
within 60 "$tally" bench recompute --device "$device" --model "$scratch/tiny.json" -B 2 -T 64 --steps 1 --warmup 1 --rounds 1 >"$log" 2>&1
status=$?
if [ $status -ne 0 ]; then fail "recompute policies" "$(ended $status)"
elif grep -q DIFFER "$log" || [ "$(grep -c 'bitwise those of none' "$log")" -ne 3 ]; then fail "recompute policies" "gradients differ"
else pass "gradients are bitwise the same with all recompute policies"; fi

# --- (e) the rest ---

echo "== bandwidth of the operations"
if ! grep -qE '^ *op  ' <<<"$("$tally" bench --help 2>&1)"; then skip "bench op" "this tally does not have it"
else
    shape=(--model qwen2.5-0.5b -B 16 -T 1024); ! $quick || shape=(--model "$scratch/tiny.json" -B 1 -T 32 --steps 1 --warmup 1)
    within 60 "$tally" bench op --device "$device" "${shape[@]}" >"$log" 2>&1; status=$?
    if [ $status -eq 0 ]; then cat "$log"; cp "$log" "$scratch/op"; pass "bench op"; else fail "bench op" "$(ended $status)"; fi
fi

echo "== the other tests on the device"
run_tests -v "$first" 240
$found || skip "$tests" "no such test in $build or tests/"

if ! $quick; then
    echo "== the step with more models"
    [ -n "$no_cudnn" ] || { gpt2_124m cudnn; qwen_15b cudnn; qwen_3b cudnn; }
    qwen_7b own
fi

sanitize() { # TOOL SANITIZER_OPTIONS...
    ! too_late "compute-sanitizer $1" 75 || return
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
finish
