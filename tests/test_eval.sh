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
printf '{"text": "one"}\n{"text": "two, and more"}\n' >"$scratch/two.jsonl"
for data in other.txt two.jsonl; do
    loss() { evaluate "$run" --data "$scratch/$data" --seq-len 48 "$@" | grep -o '"loss":[0-9.]*'; }
    plain=$(loss) && masked=$(loss --mask-documents) && [ -n "$plain" ] && if [ $data = other.txt ]; then [ "$plain" = "$masked" ]; else [ "$plain" != "$masked" ]; fi
    ok "--mask-documents matters where there are several documents: $data"
done
refuses "eval --data F, without a run" "missing run, checkpoint or model folder" eval --data "$scratch/text.txt"
refuses "eval --data F1 F2, neither a model" "other.txt: found no checkpoints and no model.safetensors" eval --data "$scratch/text.txt" "$scratch/other.txt"
refuses "a sequence longer than the context" "--seq-len 65: .* has a context of 64 tokens" eval "$run" --data "$scratch/text.txt" --seq-len 65

# bits per byte: of the text that the predicted tokens stand for
check() { python3 - "$@" <<'P'
import json, math, sys
r, tokens, size = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
assert r["tokens"] == tokens and r["bytes"] == size, r
assert abs(r["bits_per_byte"] - r["loss"] * tokens / math.log(2) / size) < 1e-12 and abs(r["perplexity"] - math.exp(r["loss"])) < 1e-9, r
assert len(sys.argv) < 5 or abs(r["loss"] - float(sys.argv[4])) < 1e-5 * r["loss"], r
P
}
if command -v python3 >/dev/null; then
    size=$(stat -c %s "$scratch/text.txt")
    check "$(evaluate "$run" --data "$scratch/text.txt")" "$size" $((size - 1)); ok "end-of-text is predicted, but has no bytes"
    check "$(evaluate "$run" --data "$scratch/text.txt" --batch 3 --batches 5)" $((3 * 5 * 48)) $((3 * 5 * 48)); ok "--batches: only the bytes of these are counted"
else skip "bits per byte" "no python3 here"; fi
"$tally" tokenize "$scratch/text.txt" --out "$scratch/tokens" >"$scratch/out" 2>"$scratch/err" &&
    [ "$(evaluate "$run" --data "$scratch/tokens")" = "$(evaluate "$run" --data "$scratch/text.txt")" ]
ok "token files give what the text gives"
stories=../shared/data/models/stories260K
if [ ! -d $stories ]; then skip "a trained Llama" "no $stories"; else
    printf 'Once upon a time, there was a little girl named Lily. She loved to play outside in the park.' >"$scratch/story.txt"
    check "$(evaluate $stories --data "$scratch/story.txt" --seq-len 31 --batch 1 --batches 1)" 31 92 0.18035539984703064
    ok "a trained Llama has the loss that transformers computes, of the text that its tokenizer splits"
    "$tally" tokenize "$scratch/story.txt" --tokenizer $stories --out "$scratch/story" >"$scratch/out" 2>"$scratch/err" &&
        [ "$(evaluate $stories --data "$scratch/story" --seq-len 31)" = "$(evaluate $stories --data "$scratch/story.txt" --seq-len 31)" ]
    ok "so it has on its token files"
    refuses "token files of another tokenizer" 'holds tokens of the tokenizer "bytes", expected those of "bpe-' eval $stories --data "$scratch/tokens" --device cpu
    mkdir "$scratch/no-tokenizer" && cp $stories/{config.json,model.safetensors} "$scratch/no-tokenizer"
    evaluate "$scratch/no-tokenizer" --data "$scratch/story" --seq-len 31 | grep -q '"bits_per_byte":null'; ok "a model without a tokenizer evaluates token files, without bits per byte"
    refuses "but no text" 'no-tokenizer: found no tokenizer.json, and the vocabulary has 512 tokens' eval "$scratch/no-tokenizer" --data "$scratch/text.txt" --device cpu
    evaluate "$scratch/no-tokenizer" --data "$scratch/story.txt" --seq-len 31 --tokenizer $stories >"$scratch/out" && grep -q '"bits_per_byte":0' "$scratch/out"
    ok "--tokenizer names another one"
fi
refuses "weights" 'text.txt has a weight, expected paths without weights' eval "$run" --data "$scratch/text.txt:2" "$scratch/other.txt:1" --device cpu

for peak in 0 0.01; do
    run=$scratch/budget-$peak
    train "$run" --model "$scratch/llama.json" --seq-len 32 --price 1e6 --budget 1e-9 --peak-seconds $peak && [ ! -s "$run/metrics.jsonl" ] &&
        grep -q 'no step was done: the run has cost $[0-9.e+-]*, and a step with its checkpoint would cost $[0-9.e+-]* or more; --budget $1e-09' "$scratch/err"
    ok "a budget below the cost of a step ends the run before its first step, and the log says what a step costs (--peak-seconds $peak)"
done
"$tally" train --out "$scratch/budget-0" --resume --budget 1e9 >"$scratch/out" 2>"$scratch/err" && [ -d "$scratch/budget-0/checkpoints/step-2" ]; ok "the run can be resumed with a larger budget"

# dropout, which transformers would train with, is told; keys that are not known too
echo "$llama, \"attention_dropout\": 0.1, \"favourite_colour\": 3}" >"$scratch/dropout.json"
for command in "plan --model $scratch/dropout.json" "train --model $scratch/dropout.json --data $scratch/text.txt --out $scratch/dropout --steps 1 --seq-len 32 ${shape[*]}"; do
    "$tally" $command >"$scratch/out" 2>"$scratch/err" && grep -q "dropout.json: dropout is not applied: attention_dropout 0.1" "$scratch/err" &&
        grep -q 'dropout.json: these keys are not known and are ignored: "favourite_colour"' "$scratch/err"
    ok "the log lists keys that are ignored: ${command%% *}"
done
finish
