# Commands on a model of short context, words in another order, and a budget below one step.
cd "$(dirname "$0")/.." && . tests/tap.sh

for i in $(seq 200); do echo "line $i: the quick brown fox jumps over the lazy dog"; done >"$scratch/text.txt"
echo "other text, to evaluate on" >"$scratch/other.txt"
llama='{"model_type": "llama", "vocab_size": 257, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
 "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": true'
echo "$llama}" >"$scratch/llama.json"
echo '{"model_type": "gpt2", "vocab_size": 257, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}' >"$scratch/gpt2.json"
shape=(--batch 2 --threads 1 --peak-seconds 0 --device cpu --precision fp32)
train() { local run=$1; shift; "$tally" train --data "$scratch/text.txt" --out "$run" --steps 2 --warmup 1 "${shape[@]}" "$@" >"$scratch/out" 2>"$scratch/err"; }
evaluate() { "$tally" eval "$@" --threads 1 --device cpu --precision fp32 --json 2>"$scratch/err"; }

for family in llama gpt2; do
    run=$scratch/$family
    train "$run" --model "$scratch/$family.json" --seq-len 48 && plain=$(evaluate "$run" --data "$scratch/text.txt") &&
        [ "$plain" = "$(evaluate "$run" --data "$scratch/text.txt" --seq-len 48)" ] && grep -q '"seq_len":48' <<<"$plain"
    ok "eval uses the sequence length that the run was trained with: $family"
    mkdir "$scratch/$family-folder" && cp "$run"/checkpoints/step-2/{config.json,model.safetensors} "$scratch/$family-folder" &&
        evaluate "$scratch/$family-folder" --data "$scratch/text.txt" >"$scratch/out" && grep -q '"seq_len":64' "$scratch/out"
    ok "eval of a model folder uses the model's context: $family"
    "$tally" generate "$run" --prompt "$(head -c 100 "$scratch/text.txt")" --tokens 200 --temperature 5 --seed 1 --threads 1 --device cpu >"$scratch/out" 2>"$scratch/err" &&
        [ "$(wc -c <"$scratch/out")" -ge 100 ]
    ok "generate continues beyond a short context: $family"
done
run=$scratch/llama
both=$(evaluate "$run" --data "$scratch/text.txt" "$scratch/other.txt"); [ -n "$both" ] && [ "$both" = "$(evaluate --data "$scratch/text.txt" "$scratch/other.txt" "$run")" ]
ok "eval --data F1 F2 RUN is the same as eval RUN --data F1 F2"
refuses "eval --data F, without a run" "missing run, checkpoint or model folder" eval --data "$scratch/text.txt"
refuses "eval --data F1 F2, neither a model" "other.txt: found no checkpoints and no model.safetensors" eval --data "$scratch/text.txt" "$scratch/other.txt"
refuses "a sequence longer than the context" "--seq-len 65: .* has a context of 64 tokens" eval "$run" --data "$scratch/text.txt" --seq-len 65

for peak in 0 0.01; do
    run=$scratch/budget-$peak
    train "$run" --model "$scratch/llama.json" --seq-len 32 --price 1e6 --budget 1e-9 --peak-seconds $peak && [ ! -s "$run/metrics.jsonl" ] &&
        grep -q 'no step was done: the run has cost $[0-9.e+-]*, and a step with its checkpoint would cost $[0-9.e+-]* or more; --budget $1e-09' "$scratch/err"
    ok "a budget below the cost of a step ends the run before its first step, and the log says what a step costs (--peak-seconds $peak)"
done
"$tally" train --out "$scratch/budget-0" --resume --budget 1e9 >"$scratch/out" 2>"$scratch/err" && [ -d "$scratch/budget-0/checkpoints/step-2" ]; ok "the run can be resumed with a larger budget"

# dropout, which transformers would train with, is told; keys that are not known too
echo "$llama, \"attention_dropout\": 0.1, \"favourite_colour\": 3}" >"$scratch/dropout.json"
for command in "inspect --model $scratch/dropout.json" "train --model $scratch/dropout.json --data $scratch/text.txt --out $scratch/dropout --steps 1 --seq-len 32 ${shape[*]}"; do
    "$tally" $command >"$scratch/out" 2>"$scratch/err" && grep -q "dropout.json: dropout is not applied: attention_dropout 0.1" "$scratch/err" &&
        grep -q 'dropout.json: these keys are not known and have no effect: "favourite_colour"' "$scratch/err"
    ok "the log lists keys that have no effect: ${command%% *}"
done
finish
