# --init: training starts from the weights and the configuration of a run, a checkpoint or a model folder, on any number of ranks.
cd "$(dirname "$0")/.." && . tests/tap.sh

lines_of_text 60 "$scratch/text.txt"
shape=(--data "$scratch/text.txt" --batch 3 --seq-len 32 --warmup 0 --threads 1 --precision fp32 --peak-seconds 0)
tiny_llama "$scratch/model.json" 32 48 2 4 2 '"rope_scaling": {"type": "linear", "factor": 2}'
train() { local run=$1; shift; "$tally" train --out "$run" "${shape[@]}" "$@" >"$scratch/out" 2>"$scratch/err"; }
# holds RUN STEP FOLDER: the same weights and configuration as FOLDER
holds() {
    cmp "$1/checkpoints/step-$2/model.safetensors" "$3/model.safetensors" && cmp "$1/checkpoints/step-$2/config.json" "$3/config.json"
}

train "$scratch/first" --model "$scratch/model.json" --steps 3
mkdir "$scratch/folder" && cp "$scratch"/first/checkpoints/step-3/{config.json,model.safetensors} "$scratch/folder"
for from in first first/checkpoints/step-3 folder; do
    rm -rf "$scratch/next"
    train "$scratch/next" --init "$scratch/$from" --steps 1 --lr 0 --min-lr 0 && holds "$scratch/next" 1 "$scratch/folder"
    ok "a step of learning rate 0 keeps the weights: ${from//[0-9]/N}"
done
grep -q "weights: from $scratch/folder" "$scratch/err"; ok "the log names where the weights are from"

train "$scratch/whole" --init "$scratch/folder" --steps 4 --seed 5 &&
    train "$scratch/half" --init "$scratch/folder" --steps 4 --seed 5 --checkpoint-every 2 &&
    rm -rf "$scratch"/half/checkpoints/step-4 && mv "$scratch/folder" "$scratch/moved" &&
    "$tally" train --out "$scratch/half" --resume --steps 4 >"$scratch/out" 2>"$scratch/err" && holds "$scratch/half" 4 "$scratch/whole/checkpoints/step-4"
ok "a run continues when what it began with is gone"
for step in 5 6 7 8; do cp -r "$scratch/half/checkpoints/step-4" "$scratch/half/checkpoints/step-$step" && : >"$scratch/half/checkpoints/step-$step/config.json"; done
"$tally" train --out "$scratch/half" --resume --steps 4 >"$scratch/out" 2>"$scratch/err" && grep -q "resumed from .*step-4" "$scratch/out" "$scratch/err"
ok "and when later checkpoints are damaged"
mv "$scratch/moved" "$scratch/folder"

refuses "--init of a folder without a model" "found no checkpoints and no model.safetensors" train --init "$scratch" --out "$scratch/no" "${shape[@]}"
refuses "--init beside --model" "expected one of the two" train --init "$scratch/folder" --model gpt2-124m --out "$scratch/no" "${shape[@]}"
sed 's/"num_hidden_layers": 2/"num_hidden_layers": 3/' "$scratch/folder/config.json" >"$scratch/three" && mkdir "$scratch/other" &&
    cp "$scratch/three" "$scratch/other/config.json" && cp "$scratch/folder/model.safetensors" "$scratch/other"
refuses "weights that lack a layer of the configuration" 'no tensor "model.layers.2.input_layernorm.weight"' train --init "$scratch/other" --out "$scratch/no" "${shape[@]}"
sed 's/"factor": 2/"factor": 2, "long_factor": [1]/' "$scratch/folder/config.json" >"$scratch/other/config.json"
refuses "a key that is not implemented" 'key "long_factor" in "rope_scaling" is \[1\]' train --init "$scratch/other" --out "$scratch/no" "${shape[@]}"
[ ! -e "$scratch/no" ]; ok "a refused run leaves nothing behind"

sed 's/"vocab_size": 257/"vocab_size": 300/' "$scratch/model.json" >"$scratch/wide.json"
"$tally" tokenizer train --data "$scratch/text.txt" --vocab-size 280 --out "$scratch/words" >"$scratch/out" 2>"$scratch/err" &&
    train "$scratch/worded" --model "$scratch/wide.json" --tokenizer "$scratch/words" --steps 1 && mkdir "$scratch/bare" &&
    cp "$scratch"/worded/checkpoints/step-1/{config.json,model.safetensors} "$scratch/bare" && echo '{"eos_token_id": [7, 9]}' >"$scratch/bare/generation_config.json"
ok "a model of another tokenizer than bytes"
train "$scratch/as-bytes" --init "$scratch/bare" --steps 1 && grep -q 'warning: --init .*bare: found no tokenizer.json, so tokens are bytes, though the vocabulary has 300 tokens' "$scratch/err"
ok "weights without a tokenizer read text as bytes, with a warning"
train "$scratch/as-bytes-2" --init "$scratch/bare" --tokenizer bytes --steps 1 && ! grep -q "found no tokenizer" "$scratch/err"; ok "without one if --tokenizer says so"
"$tally" tokenize "$scratch/text.txt" --tokenizer "$scratch/words" --out "$scratch/tokens" >"$scratch/out" 2>"$scratch/err" &&
    "$tally" train --init "$scratch/bare" --out "$scratch/on-tokens" --data "$scratch/tokens" "${shape[@]:2}" --steps 1 >"$scratch/out" 2>"$scratch/err" && cmp "$scratch/on-tokens/checkpoints/step-1/generation_config.json" "$scratch/bare/generation_config.json"
ok "with token files it needs none, and keeps the tokens at which its texts end"

. tests/mpi.sh
need_ranks "3 ranks hold the weights of 1"
on_3() { local run=$1; shift; timeout 200 "$MPIEXEC" -np 3 "$tally" train --out "$run" "${shape[@]}" "$@" >"$scratch/out" 2>"$scratch/err"; }
on_3 "$scratch/three-ranks" --init "$scratch/folder" --steps 1 --lr 0 --min-lr 0 && [ -f "$scratch/three-ranks/checkpoints/step-1/model.safetensors.index.json" ] &&
    train "$scratch/again" --init "$scratch/three-ranks" --steps 1 --lr 0 --min-lr 0 && holds "$scratch/again" 1 "$scratch/folder"
ok "3 ranks hold the weights of 1, and 1 those of their 3 files"
finish
