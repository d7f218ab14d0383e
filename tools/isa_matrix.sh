#!/usr/bin/env bash
# Builds everything for x86-64-v2, -v3 and -v4 and runs the numeric tests of each build. Then it runs those of -v2 with oneDNN
# limited to each of its instruction sets. What this processor cannot run is only compiled. Takes about ten minutes.
# Usage: tools/isa_matrix.sh [FOLDER]      FOLDER: where the builds go, by default build-isa
set -uo pipefail
cd "$(dirname "$0")/.."
builds=${1:-build-isa}
[ "$(uname -m)" = x86_64 ] || { echo "$0: found $(uname -m), expected x86_64" >&2; exit 2; }
tools/install_packages.sh && tools/install_packages.sh g++ libcmocka-dev || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export OMP_WAIT_POLICY=passive
numeric='^test_(activation|adamw|attention|clip|crossentropy|embedding|fsdp|gemm|gradnorm|linear|model|norm|reference|rope|simd)$'
kernels='^test_cuda_(attention|embedding|gemm|layers|loss|model|norm|optim|reference)$'
failed=0
runs() { # TITLE LEVEL PATTERN
    ctest --test-dir "$builds/$2" -R "$3" -V -j "$(nproc)" >"$log" 2>&1
    local status=$?
    grep -E '^[0-9]+: not ok .*|\*\*\*' "$log" | grep -v '# SKIP'
    echo "$1: $(grep -cE '^[0-9]+: ok' "$log") passed, $([ $status -eq 0 ] && echo "none failed" || echo "some FAILED")"
    [ $status -eq 0 ] || failed=1
}

for level in x86-64-v2 x86-64-v3 x86-64-v4; do
    cmake -S . -B "$builds/$level" -G Ninja -DTALLY_CUDA=EMULATED -DTALLY_MARCH=$level >"$log" 2>&1 &&
        cmake --build "$builds/$level" >>"$log" 2>&1 || { tail -30 "$log"; echo "$level: the build FAILED"; failed=1; continue; }
    grep 'warning:' "$log" | sort -u
    if [ "$level" = x86-64-v2 ] || /lib64/ld-linux-x86-64.so.2 --help | grep -q "^  $level (supported"; then
        runs "$level" $level "$numeric|$kernels"
    else echo "$level: built, but not run, because this processor does not have it"; fi
done

for isa in SSE41 AVX AVX2 AVX512_CORE AVX512_CORE_VNNI AVX512_CORE_BF16 AVX512_CORE_AMX; do
    case $isa in AVX512_CORE_AMX) flag=amx_bf16 ;; AVX512_CORE_BF16) flag=avx512_bf16 ;; AVX512_CORE_VNNI) flag=avx512_vnni ;;
        AVX512_CORE) flag=avx512bw ;; AVX2) flag=avx2 ;; AVX) flag=avx ;; *) flag=sse4_1 ;; esac
    grep -qw $flag /proc/cpuinfo || { echo "oneDNN limited to $isa: not run, because this processor does not have it"; continue; }
    ONEDNN_MAX_CPU_ISA=$isa DNNL_MAX_CPU_ISA=$isa runs "oneDNN limited to $isa" x86-64-v2 "$numeric"
done
exit $failed
