# tally tokenize: the documents of every kind of file, read back by tests/read_shard.py; any number of threads, SIGKILL at every
# write and then again give the same bytes.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "token files"
text=$scratch/text
python3 - "$text" <<'P'
import gzip, json, os, random, sys
folder = sys.argv[1]
os.makedirs(folder + "/sub")
draw = random.Random(1)
words = "the a of naïve 日本 code\n {x} \" \\ 😀 trainer\t".split(" ")
documents = []
def text(n):
    documents.append(" ".join(draw.choice(words) for _ in range(n)))
    return documents[-1]
def lines(count, most):
    return "".join(json.dumps({"id": i, "text": text(1 + draw.randrange(most))}, ensure_ascii=i % 2 == 0) + "\n" for i in range(count))
open(folder + "/1.txt", "w").write(text(300000))  # several pieces of a thread's work
open(folder + "/2.jsonl", "w").write(lines(9000, 12) + '{"no": 1}\n')
gzip.open(folder + "/3.jsonl.gz", "wt").write(lines(300, 400))
open(folder + "/4.json", "w").write("[" + ",\n".join(lines(50, 100).splitlines()) + "]")
open(folder + "/5.jsonl", "w").write(lines(3, 60000))
open(folder + "/sub/6.md", "w").write(text(10))
json.dump([list(x.encode()) for x in documents], open(folder + ".expected", "w"))
P
if command -v zstd >/dev/null; then zstd -q --rm "$text/5.jsonl"; fi
tokenize() { "$tally" tokenize "$@" >"$scratch/out" 2>"$scratch/err"; }
# killed_at WRITE ARGUMENTS...: true if SIGKILL ended it. The subshell says "Killed", to nobody.
killed_at() { local write=$1; shift; (TALLY_CRASH_AT_WRITE=$write tokenize "$@"; exit $?) 2>/dev/null; [ $? -eq 137 ]; }
# read_back FOLDER EXPECTED [SEPARATOR]: the documents of all token files in order, without end-of-text (or with the separator before them)
read_back() {
    python3 - "$@" <<'P'
import glob, json, sys
sys.path.insert(0, "tests")
import read_shard
expected = json.load(open(sys.argv[2]))
found, pieces = [], []
for path in sorted(glob.glob(sys.argv[1] + "/shard-*")):
    s = read_shard.read(path)
    if len(sys.argv) == 4:
        pieces += s["tokens"]
        continue
    assert s["vocabulary"] == 257 and s["fingerprint"] == "bytes" and s["end_of_text"] == 256
    assert s["text_bytes"] == sum(len(d) - 1 for d in s["documents"])
    found += [d[:-1] for d in s["documents"]]
if len(sys.argv) == 4:
    assert pieces == [t for d in expected for t in [int(sys.argv[3])] + d]
else:
    assert found == expected, (len(found), len(expected))
P
}

tokenize "$text" --out "$scratch/whole" --shard-tokens 500k --threads 2 && read_back "$scratch/whole" "$text.expected"; ok "a reader that knows the description only finds the documents"
[ "$(ls "$scratch"/whole/shard-* | wc -l)" -ge 3 ] && grep -q "2.jsonl:9001: found no key \"text\" but \"no\"" "$scratch/err" && grep -q '"complete": true' "$scratch/whole/tokenize.json"; ok "token files end near --shard-tokens; the log names a bad line"
for threads in 1 7; do
    tokenize "$text" --out "$scratch/threads-$threads" --shard-tokens 500k --threads $threads && diff -r "$scratch/whole" "$scratch/threads-$threads" >"$scratch/err"
    ok "$threads threads write the same bytes as two"
done
mkdir "$scratch/small" && head -n 30 "$text/2.jsonl" >"$scratch/small/a.jsonl" && head -n 40 "$text/2.jsonl" | gzip >"$scratch/small/b.jsonl.gz"
tokenize "$scratch/small" --out "$scratch/steady" --shard-tokens 1k
for write in $(seq 30); do
    rm -rf "$scratch/once"
    killed_at "$write" "$scratch/small" --out "$scratch/once" --shard-tokens 1k || break
    tokenize "$scratch/small" --out "$scratch/once" --shard-tokens 1k && diff -r "$scratch/steady" "$scratch/once" >"$scratch/err" || break
done
[ "$write" -eq 30 ]; ok "killed at any of the first 30 writes, the second run ends with the same bytes and no other file"
tokenize "$scratch/small" --out "$scratch/steady-small" --shard-tokens 200
kills=0
while killed_at $((11 + kills % 7)) "$scratch/small" --out "$scratch/killed" --shard-tokens 200; do kills=$((kills + 1)); done
[ $kills -ge 5 ] && diff -r "$scratch/steady-small" "$scratch/killed" >"$scratch/err"; ok "killed again and again, the work goes on to the same bytes"
cat "$text/2.jsonl" "$text/2.jsonl" | tokenize - --out "$scratch/input" --shard-tokens 300k
cat "$text/2.jsonl" "$text/2.jsonl" | killed_at 18 - --out "$scratch/input-killed" --shard-tokens 300k && ls "$scratch/input-killed" | grep -q shard-000000.tok && cat "$text/2.jsonl" "$text/2.jsonl" | tokenize - --out "$scratch/input-killed" --shard-tokens 300k &&
    diff -r "$scratch/input" "$scratch/input-killed" >"$scratch/err"
ok "standard input that is given again goes on too"
tokenize "$text" --out "$scratch/whole" --shard-tokens 500k && grep -q "was complete: nothing was left to do" "$scratch/err"; ok "a complete folder is left as it is"

tokenize "$scratch/small" --out "$scratch/llmc" --format llm.c --shard-tokens 1k && python3 - "$scratch/small" <<'P' && read_back "$scratch/llmc" "$scratch/small.expected" 256
import gzip, json, sys
lines = open(sys.argv[1] + "/a.jsonl").readlines() + gzip.open(sys.argv[1] + "/b.jsonl.gz", "rt").readlines()
json.dump([list(json.loads(x)["text"].encode()) for x in lines], open(sys.argv[1] + ".expected", "w"))
P
ok "llm.c's format has the separator before each document"
tokenize "$scratch/small" --out "$scratch/llmc-again" --format llm.c; grep -q "warning: token 256 begins each document; who reads llm.c's format expects 50256" "$scratch/err"; ok "a separator that llm.c does not know is told"
echo '{"q": "1+1?", "a": "2"}' >"$scratch/qa.jsonl"; echo '["Q: 1+1?\nA: 2"]' >"$scratch/qa.py"
python3 -c 'import json,sys; json.dump([list(x.encode()) for x in json.load(open(sys.argv[1], "r"))], open(sys.argv[2], "w"))' "$scratch/qa.py" "$scratch/qa.expected"
tokenize "$scratch/qa.jsonl" --out "$scratch/qa" --template 'Q: {q}\nA: {a}' && read_back "$scratch/qa" "$scratch/qa.expected"; ok "a template joins several keys"

"$tally" inspect "$scratch/steady" --json >"$scratch/out" 2>"$scratch/err" && python3 - "$scratch/out" <<'P'
import json, sys
o = json.load(open(sys.argv[1]))
files = o["token_files"]
assert len(files) == o["tokenize"]["shards"] > 1 and sum(f["tokens"] for f in files.values()) == o["tokenize"]["tokens"]
assert all(f["whole"] and f["tokenizer"] == "bytes" for f in files.values())
P
ok "inspect describes a folder of token files"
cp "$scratch/steady/shard-000000.tok" "$scratch/bad.tok" && printf '\377' | dd of="$scratch/bad.tok" bs=1 seek=1100 conv=notrunc 2>"$scratch/err"
refuses "inspect finds a damaged byte" "bad.tok: block 0 (bytes 1024 to [0-9]*) has crc32" inspect "$scratch/bad.tok"

# Parquet, where the python named by TALLY_PYTHON (python3) has pyarrow
python=${TALLY_PYTHON:-python3}
if "$python" -c "import pyarrow" 2>/dev/null; then
    mkdir "$scratch/parquet" && "$python" - "$scratch" <<'P'
import json, sys
import pyarrow as pa, pyarrow.parquet as parquet
rows = [{"text": "row %d: naïve \"日本\" \\ \n" % i + "x" * (i % 7), "n": i} for i in range(5000)]
rows[17]["text"] = None
parquet.write_table(pa.Table.from_pylist(rows[:3000]), sys.argv[1] + "/parquet/a.parquet", row_group_size=700)
parquet.write_table(pa.Table.from_pylist(rows[3000:]), sys.argv[1] + "/parquet/b.parquet")
json.dump([list(r["text"].encode()) for r in rows if r["text"]], open(sys.argv[1] + "/parquet.expected", "w"))
P
    "$python" tools/from_parquet.py "$scratch/parquet" 2>"$scratch/said" | tokenize - --out "$scratch/from-parquet" && read_back "$scratch/from-parquet" "$scratch/parquet.expected" && grep -q "skipped 1 rows with a null" "$scratch/said"
    ok "Parquet through from_parquet.py gives the documents of its rows"
    "$python" tools/from_parquet.py "$scratch/parquet" --columns n 2>"$scratch/err" >"$scratch/out"; [ $? -eq 2 ] && grep -q 'a.parquet: column "n" holds int64, expected strings' "$scratch/err" && [ ! -s "$scratch/out" ]; ok "a column that holds no strings is refused"
    "$python" tools/from_parquet.py "$scratch/parquet" --columns body 2>"$scratch/err" >"$scratch/out"; [ $? -eq 2 ] && grep -q 'found no column "body" but text, n' "$scratch/err"; ok "a missing column is named"
    "$python" tools/from_parquet.py "$text/1.txt" 2>"$scratch/err" >"$scratch/out"; [ $? -eq 2 ] && grep -q '1.txt: ' "$scratch/err" && [ "$(wc -l <"$scratch/err")" -eq 1 ]; ok "a file that is not Parquet is refused in one line"
else skip "tools/from_parquet.py" "$python has no pyarrow"; fi

refuses "no path" "missing text: files, folders, or - for standard input" tokenize --out "$scratch/x"
refuses "no folder" "--out: missing" tokenize "$text"
refuses "a key and a template" "--template and --text-key: expected only one of them" tokenize "$text" --out "$scratch/x" --template '{a}' --text-key b
refuses "a template without a key" "--template: found no {KEY}" tokenize "$text" --out "$scratch/x" --template 'a'
refuses "other files than before" 'tokenize.json: this folder was begun with files 6, found 2 now' tokenize "$scratch/small" --out "$scratch/whole" --shard-tokens 500k
refuses "other options than before" 'tokenize.json: this folder was begun with shard_tokens 500000, found 100000000 now' tokenize "$text" --out "$scratch/whole"
refuses "a folder with other files" "holds \"1.txt\" but no tokenize.json, expected a new or empty folder" tokenize "$scratch/small" --out "$text"
refuses "a file for a folder" "1.txt: is not a folder, expected a folder for the token files" tokenize "$scratch/small" --out "$text/1.txt"
touch "$scratch/empty"; refuses "no text" "found no text" tokenize "$scratch/empty" --out "$scratch/none"
finish
