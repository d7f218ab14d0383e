# tally tokenizer train: against a trainer of a few lines in Python, against the library `tokenizers` where the python named by
# TALLY_PYTHON (python3) has it, and against itself on another number of threads.
cd "$(dirname "$0")/.." && . tests/tap.sh

python=${TALLY_PYTHON:-python3}
naive="the merges are those of a trainer of a few lines"
need_python "$naive"
train() { "$tally" tokenizer train "$@" >"$scratch/out" 2>"$scratch/err"; }
same_files() { cmp "$1/tokenizer.json" "$2/tokenizer.json" && cmp "$1/tokenizer_config.json" "$2/tokenizer_config.json"; } >"$scratch/err" 2>&1

# Latin, Greek, Cyrillic, Chinese, Japanese, Hindi and Thai, numbers, contractions, blanks of many kinds, runs, emoji; two documents
python3 - "$scratch" <<'P'
import json, random, sys
random.seed(1)
stems = ["the", "low", "lower", "newest", "wider", "isn't", "I'LL", "don'ts", "über", "naïve", "λόγος", "Привет", "мира", "中文字", "文字",
         "日本語の", "カタカナ", "नमस्ते", "दुनिया", "สวัสดี", "1", "23", "4567", "1234567", "aaaa", "abababab", "----", "...", "👍🏽", "\u00a0", "e\u0301", "_x"]
blanks = [" ", " ", " ", " ", " ", "  ", "\n", "\n\n", "\t", " \n ", "\u3000", "\r\n", "", "   \n\n  "]
def text(words): return "".join(random.choice(stems) + random.choice(blanks) for _ in range(words))
folder = sys.argv[1]
for name, words in ("a", 4000), ("b", 3000): open(f"{folder}/{name}.txt", "w", newline="").write(text(words))
# long enough for several blocks of text, in one document and in many
open(f"{folder}/long.txt", "w", newline="").write("".join(text(3000) for _ in range(150)))
open(f"{folder}/many.jsonl", "w").write("".join(json.dumps({"text": text(random.randrange(60))}) + "\n" for _ in range(3000)))
open(f"{folder}/wide.txt", "w").write("文" * (9 << 20)) # 27 MiB without a place to cut
open(f"{folder}/ascii.txt", "w").write("low low low lower lower newest newest newest newest wider wide aaaaa aaa abab " * 9 + "a banana bandana's")
P

train --data "$scratch/ascii.txt" --out "$scratch/ascii" --vocab-size 300 &&
    python3 - "$scratch" 300 <<'P' 2>"$scratch/err"
import collections, json, re, sys
folder, size = sys.argv[1], int(sys.argv[2])
model = json.load(open(folder + "/ascii/tokenizer.json"))["model"]
alphabet, other = {}, 256
for b in range(256):
    keep = 33 <= b <= 126 or 161 <= b <= 172 or b >= 174
    alphabet[b] = chr(b) if keep else chr(other)
    other += not keep
ids = {name: i for i, name in enumerate(["<|endoftext|>"] + sorted(alphabet.values()))}
names, merges = list(ids), []
words = collections.Counter(re.findall(r"'s| ?[a-z]+| ?'+|\s+", open(folder + "/ascii.txt").read()))
words = {tuple(ids[alphabet[b]] for b in w.encode()): n for w, n in words.items()}
while len(names) < size:
    pairs = collections.Counter()
    for w, n in words.items():
        for p in zip(w, w[1:]): pairs[p] += n
    (a, b), n = min(pairs.items(), key=lambda x: (-x[1], x[0]), default=((0, 0), 0))
    if n < 2: break
    merges.append([names[a], names[b]])
    made = ids.setdefault(names[a] + names[b], len(names))
    if made == len(names): names.append(names[a] + names[b])
    after = collections.Counter()
    for w, n in words.items():
        out, i = [], 0
        while i < len(w):
            if w[i:i + 2] == (a, b): out.append(made); i += 2
            else: out.append(w[i]); i += 1
        after[tuple(out)] += n
    words = after
assert len(merges) > 20, merges
assert model["vocab"] == ids, set(model["vocab"]) ^ set(ids)
assert model["merges"] == merges, (model["merges"], merges)
P
ok "$naive"

train --data "$scratch/long.txt" "$scratch/many.jsonl" --out "$scratch/one" --vocab-size 600 --threads 1 &&
    train --data "$scratch/long.txt" "$scratch/many.jsonl" --out "$scratch/three" --vocab-size 600 --threads 3 && same_files "$scratch/one" "$scratch/three"
ok "the same files on 1 and on 3 threads"
train --data "$scratch/wide.txt" --out "$scratch/wide" --threads 1 --json && python3 -c '
import json, sys
r = json.load(open(sys.argv[1]))
assert r["text_bytes"] == 27 << 20 and r["words"] <= 27 << 20 >> 9 and r["tokens"] < 300, r' "$scratch/out" 2>"$scratch/err"
ok "a long text without a blank"
printf 'one \377\376 two\n\200' >"$scratch/broken.txt"
train --data "$scratch/broken.txt" --out "$scratch/broken" && python3 -c '
import json, sys
assert len(json.load(open(sys.argv[1]))["model"]["vocab"]) == 257' "$scratch/broken/tokenizer.json" 2>"$scratch/err"
ok "bytes that are not UTF-8 are read"
train --data "$scratch/a.txt" --out "$scratch/special" --vocab-size 300 --special '<|end|>' '<|user|>' '<ü>' && python3 -c '
import json, sys
t, c = (json.load(open(sys.argv[1] + "/tokenizer" + x)) for x in (".json", "_config.json"))
assert [a["content"] for a in t["added_tokens"]] == ["<|end|>", "<|user|>", "<ü>"] and len(t["model"]["vocab"]) == 300
assert c["eos_token"] == "<|end|>" and t["model"]["vocab"]["<|user|>"] == 1' "$scratch/special" 2>"$scratch/err"
ok "special tokens come first, and the first of them ends a text"

refuses "a folder that holds a tokenizer is refused" 'special/tokenizer.json: exists already' tokenizer train --data "$scratch/a.txt" --out "$scratch/special"
refuses "a vocabulary without room for a merge is refused" 'found 258, expected more than 258' \
    tokenizer train --data "$scratch/a.txt" --out "$scratch/x" --vocab-size 258 --special a b
refuses "a special token given twice is refused" '--special "a": given twice' tokenizer train --data "$scratch/a.txt" --out "$scratch/x" --special a a
refuses "a special token that is a word of text is refused" '--special "user": is a word' tokenizer train --data "$scratch/a.txt" --out "$scratch/x" --special '<|end|>' user
refuses "a special token that stands for a word with a space is refused" '--special "Ġuser": is a word' tokenizer train --data "$scratch/a.txt" --out "$scratch/x" --special Ġuser
refuses "a special token that is not UTF-8 is refused" 'expected UTF-8' tokenizer train --data "$scratch/a.txt" --out "$scratch/x" --special $'\377'
refuses "a missing text is refused" 'expected a text file or a folder' tokenizer train --data "$scratch/none.txt" --out "$scratch/x"
[ ! -e "$scratch/x/tokenizer.json" ]; ok "what fails leaves no tokenizer"

for pattern in gpt2 llama3 qwen2; do
    name="vocabulary, merges and ids are those of tokenizers: $pattern"
    "$python" -c 'import tokenizers' 2>/dev/null || { skip "$name" "$python has no tokenizers"; continue; }
    train --data "$scratch"/{a,b,long}.txt "$scratch/many.jsonl" --out "$scratch/$pattern" --vocab-size 2000 --pattern "$pattern" --min-frequency 3 &&
        "$python" - "$scratch" "$pattern" <<'P' 2>"$scratch/err"
import json, sys
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
folder, pattern = sys.argv[1:]
read = lambda name: open(f"{folder}/{name}", newline="").read()
texts = [read("a.txt"), read("b.txt"), read("long.txt")] + [json.loads(x)["text"] for x in open(folder + "/many.jsonl")]
level = pre_tokenizers.ByteLevel
if pattern == "gpt2": pre = level(add_prefix_space=False)
else:
    digits = r"\p{N}{1,3}" if pattern == "llama3" else r"\p{N}"
    regex = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"), level(add_prefix_space=False, use_regex=False)])
theirs = Tokenizer(models.BPE())
theirs.pre_tokenizer = pre
theirs.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=2000, min_frequency=3, special_tokens=["<|endoftext|>"],
                                                      initial_alphabet=level.alphabet(), show_progress=False))
ours = Tokenizer.from_file(f"{folder}/{pattern}/tokenizer.json")
a, b = (json.loads(t.to_str())["model"] for t in (theirs, ours))
assert len(b["merges"]) > 300, len(b["merges"])
assert a["vocab"] == b["vocab"] and a["merges"] == b["merges"]
for text in texts[:2] + ["", " ", "<|endoftext|> a"]:
    assert ours.encode(text).ids == theirs.encode(text).ids and ours.decode(ours.encode(text).ids, skip_special_tokens=False) == text, text
P
    ok "$name"
done

name="transformers loads the folder"
if "$python" -c 'import transformers' 2>/dev/null; then
    "$python" -c '
import sys
from transformers import AutoTokenizer
t = AutoTokenizer.from_pretrained(sys.argv[1])
text = open(sys.argv[2], newline="").read()
assert t.eos_token == "<|endoftext|>" and t.eos_token_id == 0 and t.decode(t(text)["input_ids"]) == text' "$scratch/one" "$scratch/b.txt" 2>"$scratch/err"
    ok "$name"
else skip "$name" "$python has no transformers"; fi
finish
