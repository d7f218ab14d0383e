# tokenizer encode, decode and inspect; the tokenizers of others give the ids and texts that the library `tokenizers` gives.
cd "$(dirname "$0")/.." && . tests/tap.sh
printf '{"text":"h\\u00e9"}\n{"text":"a\\nb"}\n' >"$scratch/two.jsonl"
"$tally" tokenizer encode "$scratch/two.jsonl" >"$scratch/ids" 2>"$scratch/err"
[ "$(cat "$scratch/ids")" = "104 195 169"$'\n'"97 10 98" ]; ok "encode prints a line for each document"
[ "$("$tally" tokenizer encode "$scratch/two.jsonl" --pieces 2>"$scratch/err" | tail -1)" = '["<0x61>","<0x0A>","<0x62>"]' ]; ok "encode --pieces prints tokens"
[ "$("$tally" tokenizer decode "$scratch/ids" --null 2>"$scratch/err" | tr '\0' '|')" = "hé|a"$'\n'"b|" ]; ok "decode prints the text of each line"
[ "$(echo '[104, 256]' | "$tally" tokenizer decode --with-special 2>"$scratch/err")" = "h<|endoftext|>" ]; ok "decode takes standard input, and prints special tokens if asked"
echo 1 257 >"$scratch/high"; printf '1 2\n3 x\n' >"$scratch/odd"
refuses "an id that no token has" "line 1: 257 is no token id, expected 0 to 256" tokenizer decode "$scratch/high"
refuses "what is no id" "line 2: found 'x', expected token ids" tokenizer decode "$scratch/odd"
refuses "a tokenizer that is not there" "$scratch/none: No such file" tokenizer inspect --tokenizer "$scratch/none"
refuses "a file that is no tokenizer" "two.jsonl: has no \"model\"" tokenizer inspect --tokenizer "$scratch/two.jsonl"
"$tally" tokenizer inspect --data "$scratch/two.jsonl" --json >"$scratch/out" 2>"$scratch/err" &&
    grep -q '"fingerprint":"bytes","size":257,.*"end_of_text":256,"documents":2,"text_bytes":6,"text_tokens":6' "$scratch/out"; ok "inspect --json"
"$tally" tokenizer inspect --data "$scratch/two.jsonl" --threads 2 >"$scratch/out" 2>"$scratch/err" && grep -q '6 B in 2 documents, 6 tokens: 1.000 bytes a token' "$scratch/out"
ok "inspect"
need_python "tokenizers"
data=../shared/data/tokenizers
[ -f $data/expected.json.xz ] || { skip "the tokenizers of others" "no $data here"; finish; }

cat >"$scratch/check.py" <<'P'
import json, lzma, subprocess, sys
tally, data, scratch = sys.argv[1:]
expected = json.loads(lzma.open(f"{data}/expected.json.xz").read())
# an empty text is no document, and a document of JSON has no NUL byte
use = [i for i, text in enumerate(expected["texts"]) if text and "\0" not in text]
with open(f"{scratch}/texts.jsonl", "w", encoding="utf-8") as f:
    f.writelines(json.dumps({"text": expected["texts"][i]}) + "\n" for i in use)

def run(*words, given=None):
    r = subprocess.run([tally, "tokenizer", *words], input=given, capture_output=True)
    if r.returncode:
        raise AssertionError(r.stderr.decode())
    return r.stdout

def ids(output):
    return [[int(x) for x in line.split()] for line in output.decode().split("\n")[:-1]]

for name, e in expected["tokenizers"].items():
    path = f"{scratch}/{name}.json"
    with open(path, "wb") as f:
        f.write(lzma.open(f"{data}/{name}.tokenizer.json.xz").read())
    wrong = []
    got = ids(run("encode", f"{scratch}/texts.jsonl", "--with-special", "--ends", "--tokenizer", path))
    for i, g in zip(use, got):
        if g != ((e.get("ids_special") or e["ids"])[i] or e["ids"][i]):
            wrong.append(f"ids of {expected['names'][i]}")
    texts = run("decode", "-", "--with-special", "--null", "--tokenizer", path,
                given="".join(" ".join(map(str, e["ids"][i])) + "\n" for i in use).encode()).split(b"\0")[:-1]
    for i, g in zip(use, texts):
        want = (e.get("decoded") or [None] * len(e["ids"]))[i]
        want = expected["texts"][i] if want is None else want
        if g.decode(errors="replace") != want:
            wrong.append(f"text of {expected['names'][i]}: {g!r} {want.encode()!r}"[:400])
    if len(got) != len(use) or len(texts) != len(use):
        wrong.append(f"{len(got)} lines of ids, {len(texts)} texts")
    print(f"{name}: {wrong[:5]}" if wrong else f"{name}: same")
P
python3 "$scratch/check.py" "$tally" $data "$scratch" >"$scratch/out" 2>"$scratch/err"; ok "the tokenizers of others can be checked"
while IFS= read -r line; do
    echo "$line" >"$scratch/err"; [ "${line##*: }" = same ]; ok "${line%%:*}: ids and texts are those of the library"
done <"$scratch/out"
[ "$(wc -l <"$scratch/out")" -eq 18 ]; ok "there are 18 of them"
finish
