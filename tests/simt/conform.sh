#!/usr/bin/env bash
# Our stand-ins against NVIDIA's headers, where there is a toolkit (else exit code 77, and why): each file of the emulation
# compiles with the toolkit's declarations in the place of ours, and every enumerator and flag of ours has the same value there.
set -uo pipefail
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

toolkit=
for folder in "${CUDA_HOME:-/usr/local/cuda}/include" "$(dirname "$(command -v nvcc || echo /none/none)")/../include" /usr/include; do
    if [ -f "$folder/cublasLt.h" ] && [ -f "$folder/cuda_runtime_api.h" ]; then toolkit=$folder; break; fi
done
[ -n "$toolkit" ] || { echo "no CUDA toolkit here"; exit 77; }

flags=(-std=c++17 -fno-strict-aliasing -w -isystem "$toolkit")
status=0
for source in simt_*.cc fake_*.cc; do
    if [ "$source" = fake_nccl.cc ] && [ ! -f "$toolkit/nccl.h" ]; then continue; fi
    g++ "${flags[@]}" -fsyntax-only -DSIMT_REAL_HEADERS "$source" || status=1
done

# same_values OURS THEIRS: the enumerators and flags of OURS
same_values() {
    local ours=$1 theirs=$2 names
    [ -f "$toolkit/$theirs" ] || return 0
    names=$(
        g++ -std=c++17 -E -P "$ours" | tr '\n' ' ' | grep -oE 'enum *[A-Za-z_]* *\{[^}]*\}' |
            grep -oE '\b(cuda|CUDA_|CUBLAS|nccl)[A-Za-z0-9_]+ *=' | tr -d ' ='
        sed -nE 's/^#define (cuda[A-Za-z]+) 0x.*/\1/p' "$ours"
    )
    [ -n "$names" ] || { echo "$ours has no enumerators" >&2; return 1; }
    {
        echo '#include <cstdio>'
        echo 'int main() {'
        for name in $names; do echo "printf(\"$name %lld\\n\", (long long)$name);"; done
        echo '}'
    } >"$scratch/values.cc"
    g++ "${flags[@]}" -include "./$ours" "$scratch/values.cc" -o "$scratch/ours" &&
        g++ "${flags[@]}" -include "$toolkit/$theirs" "$scratch/values.cc" -o "$scratch/theirs" &&
        diff <("$scratch/ours") <("$scratch/theirs") >&2
}
same_values simt_rt.h cuda_runtime_api.h || status=1
same_values fake_cublaslt.h cublasLt.h || status=1
same_values fake_nccl.h nccl.h || status=1
exit $status
