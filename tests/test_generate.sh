# tally generate: prompts from the command line and from files, stop tokens, characters, and what it refuses.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "tally generate"

for i in $(seq 60); do echo "{\"text\": \"tide $((i % 3)) löw\"}"; done >"$scratch/text.jsonl"
tiny_llama "$scratch/model.json" 32 48 2 4 2
"$tally" train --model "$scratch/model.json" --data "$scratch/text.jsonl" --out "$scratch/run" --steps 150 --batch 8 --seq-len 32 --warmup 10 --lr 1e-2 \
    --threads 1 --peak-seconds 0 >"$scratch/out" 2>"$scratch/err" && "$tally" export "$scratch/run" "$scratch/model" >"$scratch/out" 2>"$scratch/err" || cat "$scratch/err"
say() { "$tally" generate "$scratch/model" --temperature 0 --threads 1 --tokens 30 "$@" 2>"$scratch/err"; }

[ "$(say --prompt 'tide 1')" = "tide 1 löw" ]; ok "a text ends at end-of-text"
say --prompt-file <(:) >/dev/null; [ $? -eq 2 ]; ok "a prompt file must be a regular file"
printf 'tide 1' >"$scratch/prompt.txt"
[ "$(say --prompt-file "$scratch/prompt.txt")" = "tide 1 löw" ]; ok "--prompt-file FILE is the whole file"
[ "$(say --prompt $'tide 1 l\xc3')" = "tide 1 löw" ]; ok "a prompt that ends inside a character is continued there"
[ "$(say --prompt 'tide 1' --tokens 3 | od -An -c | tr -d ' \n')" = "$(printf 'tide 1 l\xc3\n' | od -An -c | tr -d ' \n')" ]
ok "bytes of a character that is not complete at the end are printed too"

python3 - "$tally" "$scratch/model" <<'P'
import os, subprocess, sys
p = subprocess.Popen([sys.argv[1], "generate", sys.argv[2], "--prompt", "tide 1 l", "--temperature", "0", "--threads", "1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
parts = iter(lambda: os.read(p.stdout.fileno(), 100), b"")
assert "".join(part.decode() for part in parts) == "tide 1 löw\n" # decode fails for a part that ends inside a character
P
ok "a character is written when it is complete, not byte by byte"

cat >"$scratch/prompts.jsonl" <<'J'
{"prompt": "tide 1"}

{"prompt": "tide 2 l", "other": 3}
{"prompt": ""}
J
say --prompt-file "$scratch/prompts.jsonl" --tokens 9 >"$scratch/out" && python3 - "$scratch/out" <<'P'
import json, sys
r = [json.loads(x) for x in open(sys.argv[1])]
assert r[0] == {"prompt": "tide 1", "text": " löw", "tokens": 5, "end": "stop"}, r
assert r[1] == {"prompt": "tide 2 l", "text": "öw", "tokens": 3, "end": "stop"}, r
assert r[2]["prompt"] == "" and r[2]["tokens"] == len(r[2]["text"].encode()) == 9 and r[2]["end"] == "length" and len(r) == 3, r
P
ok "the prompts of a .jsonl file give a line of JSON each"
draw() { say --temperature 1.5 --seed 7 "$@"; }
draw --prompt-file "$scratch/prompts.jsonl" >"$scratch/a"; sed 1d "$scratch/prompts.jsonl" >"$scratch/fewer.jsonl"
draw --prompt-file "$scratch/prompts.jsonl" | cmp -s - "$scratch/a" && [ "$(draw --prompt 'tide 1' | tail -c +7)" = "$(head -1 "$scratch/a" | python3 -c 'import json, sys; print(json.loads(input())["text"])')" ]
ok "the first of several prompts gets the same draws as a prompt alone"

# prompts of different lengths, continued together; then beyond the cache, which rows fill at different times
for i in $(seq 9); do echo "{\"prompt\": \"tide $(head -c $((i * i % 20)) "$scratch/text.jsonl" | tr '"' "'")\"}"; done >"$scratch/many.jsonl"
echo '{"model_type": "gpt2", "vocab_size": 257, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}' >"$scratch/gpt2.json"
"$tally" train --model "$scratch/gpt2.json" --data "$scratch/text.jsonl" --out "$scratch/gpt2" --steps 20 --batch 8 --seq-len 32 --warmup 2 --lr 1e-2 \
    --threads 1 --peak-seconds 0 >"$scratch/out" 2>"$scratch/err" || cat "$scratch/err"
together() { "$tally" generate "$1" --prompt-file "$scratch/many.jsonl" --temperature 2 --seed 3 --tokens 50 --threads 1 --precision fp32 --context 40 --batch "$2" 2>"$scratch/err"; }
for model in model gpt2; do
    together "$scratch/$model" 1 >"$scratch/a" && [ "$(wc -l <"$scratch/a")" -eq 9 ] && together "$scratch/$model" 4 | cmp -s - "$scratch/a" && together "$scratch/$model" 128 | cmp -s - "$scratch/a"
    ok "the texts do not depend on how many are continued together: $model"
done

# generation_config.json decides where a text ends
stop() { echo "$1" >"$scratch/model/generation_config.json"; }
stop '{"eos_token_id": [108, 256]}'; [ "$(say --prompt 'tide 1')" = "tide 1 " ]; ok "any token of a list ends the text"
stop '{"eos_token_id": 119}'; [ "$(say --prompt 'tide 1' --tokens 20)" = "tide 1 lö" ]; ok "so does a single one"
stop '{}'; [ "$(say --prompt 'tide 1')" = "tide 1 löw" ]; ok "without one, that of config.json does"
stop '{"eos_token_id": 256, "temperature": 0.6, "top_p": null, "repetition_penalty": 1.1, "use_cache": true}'
"$tally" generate "$scratch/model" --seed 1 --tokens 1 >"$scratch/out" 2>"$scratch/err" &&
    grep -q 'generation_config.json: these settings are not applied: temperature, repetition_penalty$' "$scratch/err"
ok "settings of generation_config.json that are not applied are logged"
stop '{"eos_token_id": [3, 257]}'
"$tally" generate "$scratch/model" --seed 1 --tokens 1 >"$scratch/out" 2>"$scratch/err" && grep -q 'no text ends at token 257 of "eos_token_id": the vocabulary has 257' "$scratch/err"
ok "a stop token that the model does not have is logged"
stop '{"eos_token_id": "x"}'; refuses "a stop token that is no number" 'generation_config.json: key "eos_token_id"' generate "$scratch/model" --seed 1
stop '{"eos_token_id": 256}'

draw --temperature 10 --prompt tide >"$scratch/a"; draw --temperature 10 --prompt tide --no-begin >"$scratch/b"; draw --temperature 10 --prompt tide --begin >"$scratch/c"
[ -s "$scratch/b" ] && ! cmp -s "$scratch/a" "$scratch/b" && cmp -s "$scratch/a" "$scratch/c"
ok "--no-begin leaves out the token before the prompt"
stories=../shared/data/models/stories260K
if [ ! -d $stories ]; then skip "special tokens in a prompt" "no $stories"; else
    story() { "$tally" generate $stories --temperature 0 --tokens 20 --threads 1 --precision fp32 "$@" 2>"$scratch/err"; }
    plain=$(story --prompt 'Once upon'); special=$(story --prompt '<s>Once upon' --no-begin)
    [ "${plain:0:23}" = "Once upon a time, there" ] && [ "$special" = "<s> $plain" ]
    ok "special tokens in a prompt are recognised"
fi
refuses "nothing to begin with" "prompt: found no token to begin with" generate "$scratch/model" --seed 1 --no-begin
refuses "two prompts" "prompt and --prompt-file: expected one of them" generate "$scratch/model" --seed 1 --prompt a --prompt-file "$scratch/prompt.txt"
echo '{"text": "a"}' >"$scratch/bad.jsonl"
refuses "a line without a prompt" 'bad.jsonl:1: expected an object with a string under "prompt"' generate "$scratch/model" --seed 1 --prompt-file "$scratch/bad.jsonl"
: >"$scratch/empty.jsonl"
refuses "a file without prompts" 'empty.jsonl: found no prompts' generate "$scratch/model" --seed 1 --prompt-file "$scratch/empty.jsonl"
refuses "a tokenizer that is missing" "none" generate "$scratch/model" --seed 1 --tokenizer "$scratch/none"
sed -i 's/"vocab_size": 257/"vocab_size": 300/' "$scratch/model/config.json"; rm "$scratch/model/tokenizer.json"
refuses "a model without a tokenizer" "found no tokenizer.json, and the vocabulary has 300 tokens" generate "$scratch/model" --seed 1
finish
