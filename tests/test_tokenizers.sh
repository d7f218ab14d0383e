# The tokenizers of others: the ids and texts that the library `tokenizers` gives, whole and cut; and what is refused.
cd "$(dirname "$0")/.." && . tests/tap.sh
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
