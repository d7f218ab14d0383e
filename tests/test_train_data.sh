# Training from token files, from text with a tokenizer, and from mixes: resumed anywhere and on any number of ranks it is the
# same run, and what does not fit together is refused.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh
need_python "training from token files"

tiny_llama "$scratch/model.json" 32 48 2 4 2
tiny_llama "$scratch/large.json" 32 48 2 4 2
sed -i 's/"vocab_size": 257/"vocab_size": 300/' "$scratch/large.json"
# letters.txt, digits.jsonl, and a byte-level tokenizer.json of 259 tokens: the bytes, two merges and an end-of-text
python3 - "$scratch" <<'P'
import json, random, sys
folder = sys.argv[1]
draw = random.Random(1)
open(folder + "/letters.txt", "w").write(" ".join(draw.choice(["the", "then", "a", "hen"]) for _ in range(4000)))
with open(folder + "/digits.jsonl", "w") as f:
    for i in range(200): f.write(json.dumps({"text": " ".join(str(draw.randrange(1000)) for _ in range(30))}) + "\n")
kept = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
others = [b for b in range(256) if b not in kept]
letter = {b: chr(b) for b in kept} | {b: chr(256 + i) for i, b in enumerate(others)}
vocabulary = {letter[b]: i for i, b in enumerate(kept + others)} | {"th": 256, "the": 257, "<|endoftext|>": 258}
json.dump({"version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
    "added_tokens": [{"id": 258, "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
              "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocabulary, "merges": ["t h", "th e"]}},
    open(folder + "/tokenizer.json", "w"))
P
options=(--steps 9 --batch 2 --seq-len 32 --global-batch 192 --precision fp32 --lr 1e-2 --threads 1 --peak-seconds 0 --device cpu)
train() { local run=$1; shift; "$tally" train "${options[@]}" --out "$scratch/$run" "$@" >"$scratch/out" 2>"$scratch/err"; }
resume() { local run=$1; shift; "$tally" train --out "$scratch/$run" --resume "$@" >"$scratch/out" 2>"$scratch/err"; }
told() { grep -q -- "$1" "$scratch/err"; }
same_bits() { cmp -s "$scratch/$1/checkpoints/step-$3/model.safetensors" "$scratch/$2/checkpoints/step-$3/model.safetensors"; }
# position RUN STEP: the windows of each source that the run has used
position() { python3 -c 'import json, sys; print(*[s["windows"] for s in json.load(open(sys.argv[1]))["sources"]])' "$scratch/$1/checkpoints/step-$2/progress.json"; }
# close_losses RUN RUN: equal within the rounding of sums in another order
close_losses() {
    python3 - "$scratch/$1/metrics.jsonl" "$scratch/$2/metrics.jsonl" <<'P'
import json, sys
a, b = ([json.loads(x)["loss"] for x in open(p) if '"loss"' in x] for p in sys.argv[1:])
assert len(a) == len(b) and all(abs(x - y) < 1e-4 * x for x, y in zip(a, b)), (a, b)
P
}

# --- token files ---
"$tally" tokenize "$scratch/letters.txt" "$scratch/digits.jsonl" --out "$scratch/files" --shard-tokens 20000 >"$scratch/out" 2>"$scratch/err" &&
    [ "$(ls "$scratch/files" | grep -c '^shard-')" -gt 1 ]; ok "tokenize writes several token files"
train shards --model "$scratch/model.json" --data "$scratch/files" --checkpoint-every 4
ok "a run on token files"
cp -r "$scratch/shards" "$scratch/again"; rm -r "$scratch/again/checkpoints/step-"[89]
resume again; same_bits shards again 9; ok "resumed, it ends with the same bits"
[ "$(position shards 9)" = 54 ]; ok "it has used 9 times 6 sequences"
train masked --model "$scratch/model.json" --data "$scratch/files" --mask-documents && ! same_bits shards masked 9; ok "--mask-documents trains something else"
mv "$scratch/files/shard-000000.tok" "$scratch/first.tok"
refuses "a resumed run without one of its files" "the crc32 of the data was [0-9]*, is now" train --out "$scratch/again" --resume --steps 10
mv "$scratch/first.tok" "$scratch/files/shard-000000.tok"

# --- a tokenizer ---
words=(--model "$scratch/large.json" --tokenizer "$scratch/tokenizer.json" --data "$scratch/letters.txt" "$scratch/digits.jsonl")
train words "${words[@]}" --checkpoint-every 4 && told "tokens, in .*/words/data/text-0$"; ok "text becomes token files beside the run"
told "vocabulary: " && false; [ "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["vocab_size"])' "$scratch/words/checkpoints/step-9/config.json")" = 300 ]
ok "a config.json keeps its vocabulary"
rm -r "$scratch/words/checkpoints/step-"[89]; cp -r "$scratch/words" "$scratch/moved"
resume words && told "which was made of this text before"; ok "resumed, the text is not encoded again"
train direct "${words[@]}" && same_bits words direct 9; ok "it ends with the same bits as an uninterrupted run"
rm -r "$scratch/moved/data"; resume moved && same_bits moved direct 9; ok "and if the token files had to be made again"
killed=0
for write in $(seq 1 3 40); do # the files of data/ take some 30 writes, syncs and renames
    (TALLY_CRASH_AT_WRITE=$write train killed "${words[@]}" --steps 1; exit $?) 2>/dev/null
    [ $? -eq 137 ] && [ ! -e "$scratch/killed/checkpoints" ] || break
    killed=$((killed + 1))
done
[ $killed -ge 5 ] && rm -rf "$scratch/killed/checkpoints" "$scratch/killed/metrics.jsonl" "$scratch/killed/config.json" && train killed "${words[@]}" && same_bits killed direct 9
ok "killed $killed times while text became token files, and then again: the same bits"
refuses "another tokenizer than the checkpoint's" "the tokenizer of the data was bpe-259-[0-9a-f]*, is now bytes" train --out "$scratch/words" --resume --steps 10 --tokenizer bytes
sed 's/"th e"//; s/"t h", /"t h"/' "$scratch/tokenizer.json" >"$scratch/other.json"
sum=$(cat "$scratch"/words/data/text-0/* | cksum)
refuses "and before its tokens are replaced" "the tokenizer of the data was bpe-259-[0-9a-f]*, is now bpe-259-" train --out "$scratch/words" --resume --steps 10 --tokenizer "$scratch/other.json"
refuses "and another seed" "--seed was 1, is now 2, but a resumed run" train --out "$scratch/words" --resume --steps 10 --seed 2
[ "$(cat "$scratch"/words/data/text-0/* | cksum)" = "$sum" ]; ok "the tokens are what they were"
refuses "token files of another tokenizer" "files: holds tokens of the tokenizer \"bytes\", expected those of \"bpe-259-" train "${options[@]}" --model "$scratch/large.json" --tokenizer "$scratch/tokenizer.json" --data "$scratch/files" --out "$scratch/none"
refuses "a vocabulary larger than the model's" "model.json: has a vocabulary of 257 tokens, but the tokenizer of the data has 259" train "${options[@]}" "${words[@]}" --model "$scratch/model.json" --out "$scratch/none2"
mkdir "$scratch/folder" && cp "$scratch/large.json" "$scratch/folder/config.json" && cp "$scratch/tokenizer.json" "$scratch/folder"
train default --model "$scratch/folder" --data "$scratch/letters.txt" --steps 1 && told "bpe-259\|tokens, in "; ok "the default is the tokenizer of the model's folder"

# --- a mix ---
mix=(--model "$scratch/model.json" --data "$scratch/files:1" "$scratch/digits.jsonl:2" "$scratch/letters.txt:6" --val-fraction 0.05)
train mix "${mix[@]}" --checkpoint-every 4 && [ "$(position mix 9)" = "6 12 36" ]; ok "sources get their share of the sequences"
told "^held-out loss of .*digits.jsonl: " && told "^data: .*letters.txt: .* epochs, 36 sequences"; ok "the log has the held-out loss and the epochs of each source"
cp -r "$scratch/mix" "$scratch/alone"; rm -r "$scratch/alone/checkpoints/step-"[89]; cp -r "$scratch/alone" "$scratch/three"
resume alone && same_bits mix alone 9; ok "resumed, it ends with the same bits"
refuses "other weights than before" "the crc32 of the data was" train --out "$scratch/alone" --resume --steps 10 --data "$scratch/files:1" "$scratch/digits.jsonl:2" "$scratch/letters.txt:5"
refuses "a weight for some paths only" "expected a weight for every path or for none" train "${options[@]}" --model "$scratch/model.json" --data "$scratch/letters.txt:1" "$scratch/digits.jsonl" --out "$scratch/none3"

need_ranks "sources on several ranks"
timeout -s KILL 240 "$MPIEXEC" -np 3 "$tally" train --out "$scratch/three" --resume --batch 2 >"$scratch/out" 2>"$scratch/err" &&
    [ "$(position three 9)" = "6 12 36" ] && close_losses mix three; ok "resumed on 3 ranks, it uses the same sequences"
timeout -s KILL 240 "$MPIEXEC" -np 3 "$tally" train "${options[@]}" "${words[@]}" --out "$scratch/ranks" >"$scratch/out" 2>"$scratch/err" &&
    close_losses direct ranks; ok "3 ranks encode text once and train on it"
finish
