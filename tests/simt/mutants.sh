#!/usr/bin/env bash
# Seeded bugs in our own kernels: each must be noticed by the tests in at least one of the modes. Exit code 1 where one is
# not. Usage: tests/simt/mutants.sh [-q | -t] BUILD   (a build with -DTALLY_CUDA=EMULATED and its target cuda_tests)
#   -q  only the few that CI has time for
#   -t  every mode, as a table, and not only up to the first that notices
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
quick= table=
while getopts qt option; do
    case $option in q) quick=1 ;; t) table=1 ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
build=$(cd "${1:?the folder of a build with -DTALLY_CUDA=EMULATED}" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export SIMT_WORKERS=2 OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive
modes=(fwd "rev SIMT_ORDER=rev SIMT_SMS=2" "early SIMT_ORDER=rev SIMT_CPASYNC=early" "rand1 SIMT_ORDER=rand:1"
    "rand2 SIMT_ORDER=rand:2 SIMT_SMS=2" "rand3 SIMT_ORDER=rand:3" "rand4 SIMT_ORDER=rand:4 SIMT_SMS=2"
    "lazy SIMT_GUARD=1 SIMT_LAZY=1" "race SIMT_SMS=3")
missed=0 tried=0

# build_program PROGRAM LIBRARY UNIT: PROGRAM with UNIT compiled from the mutated files, by the build's own commands
build_program() {
    local program=$1 library=$2 unit=$3 commands compile link object=$scratch/mutant.o source=$root/$3
    commands=$(ninja -C "$build" -t commands "$program") || return 1
    compile=$(grep -F "$library.dir/$unit.o -c" <<<"$commands" | tail -1)
    link=$(tail -1 <<<"$commands")
    [ -n "$compile" ] || { echo "$program does not hold $unit" >&2; return 1; }
    [ -f "$scratch/$unit" ] && source=$scratch/$unit
    compile=$(sed -E "s#-MD .* -c .*#-o $object -c $source#; s# -I# -I$scratch -I#" <<<"$compile")
    if [[ $link == *"$library.dir/$unit.o"* ]]; then
        link=$(sed "s#[^ ]*$library.dir/$unit.o#$object#; s# -o $program # -o $scratch/$program #" <<<"$link")
    else
        link=$(sed "s# -o $program # $object -o $scratch/$program #" <<<"$link")
    fi
    (cd "$build" && eval "$compile" && eval "$link") >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; return 1; }
}

# mutant quick|all TEST UNIT FILE DESCRIPTION OLD NEW: in FILE, which is UNIT or a header of it, NEW in the place of OLD
mutant() {
    local when=$1 test=$2 unit=$3 file=$4 name=$5 old=$6 new=$7 text caught=
    if [ -n "$quick" ] && [ "$when" != quick ]; then return; fi
    tried=$((tried + 1))
    text=$(<"$root/$file")
    case $text in *"$old"*) ;; *) echo "$file no longer has what this mutant replaces: $name" >&2; missed=$((missed + 1)); return ;; esac
    rm -rf "${scratch:?}"/*
    mkdir -p "$scratch/$(dirname "$file")"
    printf '%s\n' "${text/"$old"/"$new"}" >"$scratch/$file"
    build_program "$test" tally_core "$unit" && build_program "${test}_racecheck" kernels_racecheck "$unit" ||
        { echo "does not build: $name" >&2; missed=$((missed + 1)); return; }
    for mode in "${modes[@]}"; do
        local title=${mode%% *} program=$test settings=${mode#* }
        [ "$settings" = "$title" ] && settings=
        [ "$title" = race ] && program=${test}_racecheck
        # shellcheck disable=SC2086 # settings are words
        (cd "$root" && env $settings timeout 60 "$scratch/$program") >/dev/null 2>&1 && continue
        caught+=" $title"
        [ -n "$table" ] || break
    done
    [ -n "$caught" ] || missed=$((missed + 1))
    echo "$(basename "$file"): $name:${caught:- NOT NOTICED}"
}

act=layers/activation.cu norm=layers/norm.cu loss=layers/crossentropy.cu emb=layers/embedding.cu
att=layers/attention_forward.cu tiles=layers/attention.cuh
mutant quick test_cuda_layers $act $act "the last threads have no guard" "if (i >= n) return;" ""
mutant all test_cuda_norm $norm $norm "row_sum: no barrier between two sums" \
    "__syncthreads(); /* part may still be in use by the previous sum */" ""
mutant quick test_cuda_norm $norm $norm "backward: columns overwritten while they are read" "            __syncthreads();
            store(columns" "            store(columns"
mutant all test_cuda_norm $norm $norm "backward: a block takes one set of rows" "base < rows; base += gridDim.x * at.groups" \
    "base < rows; base += rows"
mutant all test_cuda_norm $norm runtime/kernel.cuh "block_sum: no barrier between two sums" \
    "__syncthreads(); /* part may still be in use by the previous sum */" ""
mutant all test_cuda_loss $loss $loss "the target's logit is read after the barrier" "    float at_target = to_f32(x[target]); /* before the barrier: the gradient may overwrite it */
    a = block_join(a);" "    a = block_join(a);
    float at_target = 0;
    if (threadIdx.x == 0) at_target = to_f32(x[target]);"
mutant all test_cuda_loss $loss $loss "losses_sum: no barrier in the tree" "        __syncthreads();
        if (threadIdx.x < half)" "        if (threadIdx.x < half)"
mutant all test_cuda_embedding $emb $emb "a count without an atomic" "atomicAdd(&p.lists[tokens[n]].x, 1u)" "p.lists[tokens[n]].x++"
mutant all test_cuda_embedding $emb $emb "lists stay in the order of arrival" "p.ordered[list.y + rank] = n" "p.ordered[i] = n"
mutant all test_cuda_embedding $emb $emb "a token beyond the vocabulary is looked up" "(known ? token : 0)" "token"
mutant quick test_cuda_attention $att $att "values overwritten while they are used" \
    "__syncthreads(); /* the keys are loaded; the previous values are no longer in use */" ""
mutant all test_cuda_attention $att $att "keys overwritten while they are used" \
    "__syncthreads(); /* the values are loaded; the keys are no longer in use */" ""
mutant all test_cuda_attention $att $att "keys are not waited for" "cp_async_wait<0>();
        __syncthreads(); /* the keys" "cp_async_wait<1>();
        __syncthreads(); /* the keys"
mutant all test_cuda_attention $att $att "the output is not brought to the new maximum" \
    "out[m][n][2 * i] *= shrink, out[m][n][2 * i + 1] *= shrink" "out[m][n][2 * i] *= 1, out[m][n][2 * i + 1] *= 1"
mutant all test_cuda_attention_mask $att $att "a warp whose keys begin later has no queries" "MASKED && HELD && key == begin" "busy && MASKED && HELD && key == begin"
mutant quick test_cuda_attention_mask $att $att "a row that has seen no key yet divides infinities" "MASKED && top == -INFINITY ? 0 : top" "top"
mutant all test_cuda_attention_mask $att $att "tiles of keys that only the first query sees are skipped" "key + KEYS > low" "key + KEYS > high"
mutant all test_cuda_attention_mask layers/attention_backward.cu $tiles "the last query that sees a tile of keys is left out" "key + s.window)" "key + s.window - 1)"
mutant all test_cuda_attention_mask layers/attention_backward.cu $tiles "documents end a query late" "s.starts[b * s.Tq + middle] > key" "s.starts[b * s.Tq + middle] < key"
mutant all test_cuda_attention $att $tiles "rows beyond the last are read" "from + c, row + n < valid" "from + c, true"
mutant all test_cuda_attention $att $tiles "tiles are not swizzled" "(chunk ^ (D % 64 ? row / 2 % 4 : row % 8))" "chunk"
mutant quick test_cuda_layers layers/activation.cu layers/activation.cu "a block too few" \
    "ceil_div(n, THREADS * W)" "(n / (THREADS * W))"
mutant quick test_cuda_gemm layers/linear.cu layers/linear.cu "the rows' sums are added before all warps have them" \
    "__syncthreads();" ""
mutant all test_cuda_gemm layers/linear.cu layers/linear.cu "the last piece of rows has no guard" \
    "from + rows < N ? from + rows : N" "from + rows"
mutant all test_cuda_optim optim/adamw.cu optim/adamw.cu "the first lane of a group for every element of a shard cut in it" \
    "(unsigned)(index % GROUP)" "0"
mutant all test_cuda_optim optim/adamw.cu optim/adamw.cu "a shard that begins inside a group takes whole groups" \
    " && a.first % GROUP == 0" ""
mutant all test_cuda_optim optim/adamw.cu optim/adamw.cu "a skipped step is taken" " || s.skipped" ""
mutant all test_cuda_optim optim/gradnorm.cu optim/gradnorm.cu "the last elements are left out" "last < count" "false"

echo "$((tried - missed)) of $tried noticed"
[ "$missed" -eq 0 ]
