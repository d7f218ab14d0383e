# Usage: tests/same_weights.sh OLD NEW [PATTERN]        PATTERN: only the cases whose names match this regular expression
# Two builds of the program train the same tiny models: GPT-2 and Llama, fp32 and bf16, on 1 and 3 ranks, with each recompute policy.
# After 20 steps the weights and the optimizer's state must be the same bits, and metrics.jsonl must still have every key that it
# had. For changes that must not change what is computed. MPIEXEC names mpirun where it is not on the PATH.
set -u
old=$(realpath "${1:?usage: tests/same_weights.sh OLD NEW}") new=$(realpath "${2:?usage: tests/same_weights.sh OLD NEW}")
cd "$(dirname "$0")/.."
TALLY=$new . tests/tap.sh
lines_of_text 400 "$scratch/text.txt"
tiny_llama "$scratch/llama.json" 48 128 3 4 2
cat >"$scratch/gpt2.json" <<'J'
{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 257, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 64,
 "n_inner": 192, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "tie_word_embeddings": true}
J

# train PROGRAM FOLDER MODEL PRECISION RANKS RECOMPUTE
train() {
    local launch=()
    [ "$5" -eq 1 ] || launch=("${MPIEXEC:-mpirun}" --oversubscribe -np "$5")
    rm -rf "$2"
    OMP_WAIT_POLICY=passive "${launch[@]}" "$1" train --data "$scratch/text.txt" --model "$scratch/$3.json" --out "$2" --steps 20 --warmup 4 \
        --seq-len 32 --batch 2 --precision "$4" --recompute "$6" --eval-every 10 --checkpoint-every 20 --threads 1 --device cpu \
        --peak-seconds 0 --price 1 >"$scratch/err" 2>&1
}
keys() { grep -o '"[a-z_0-9]*":' "$1/metrics.jsonl" | sort -u; }
same() {
    local file files=0
    for file in "$scratch"/old/checkpoints/step-20/*.safetensors; do
        cmp "$file" "$scratch/new/checkpoints/step-20/$(basename "$file")" >"$scratch/err" 2>&1 || return 1
        files=$((files + 1))
    done
    [ "$files" -ge 2 ] && [ -z "$(comm -23 <(keys "$scratch/old") <(keys "$scratch/new"))" ]
}
for model in gpt2 llama; do for precision in fp32 bf16; do for ranks in 1 3; do for recompute in none selective block block:1; do
    name="$model $precision, ranks $ranks, recompute $recompute"
    [[ "$name" =~ ${3:-.} ]] || continue
    train "$old" "$scratch/old" $model $precision $ranks $recompute && train "$new" "$scratch/new" $model $precision $ranks $recompute && same
    ok "$name: the same bits"
done; done; done; done
finish
