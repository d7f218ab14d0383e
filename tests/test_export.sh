# tally export: the folder that it writes, its weights, and what it refuses.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "tally export"

lines_of_text 100 "$scratch/text.txt"
tiny_llama "$scratch/model.json" 32 48 2 4 2
"$tally" train --model "$scratch/model.json" --data "$scratch/text.txt" --out "$scratch/run" --steps 8 --batch 2 --seq-len 32 --warmup 2 --lr 1e-2 \
    --threads 1 --peak-seconds 0 >"$scratch/out" 2>"$scratch/err" || cat "$scratch/err"
saved=$scratch/run/checkpoints/step-8
loss() { "$tally" eval "$1" --data "$scratch/text.txt" --seq-len 32 --threads 1 --precision fp32 --json 2>"$scratch/err" | grep -o '"loss":[0-9.]*'; }

files="README.md config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json"
"$tally" export "$scratch/run" "$scratch/plain" >"$scratch/out" 2>"$scratch/err" && [ "$(ls -A "$scratch/plain" | LC_ALL=C sort | tr '\n' ' ')" = "$files " ] &&
    [ "$(cd "$scratch/plain" && cat $files | sha256sum)" = "$(cd "$saved" && cat $files | sha256sum)" ]
ok "an export is the checkpoint without what only training needs"
! ls -A "$scratch" | grep -q 'tmp-'; ok "it leaves nothing else behind"

mkdir "$scratch/full"
"$tally" export "$saved" "$scratch/full/" --dtype f32 --max-shard-size 20k >"$scratch/out" 2>"$scratch/err" &&
    python3 - "$scratch/full" "$saved" >"$scratch/err" 2>&1 <<'P'
import json, os, struct, sys
folder, saved = sys.argv[1:]
def read(path):
    data = open(path, "rb").read()
    n, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + n])
    header.pop("__metadata__", None)
    return {k: (v["dtype"], v["shape"], data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]]) for k, v in header.items()}
index = json.load(open(folder + "/model.safetensors.index.json"))
files = sorted(f for f in os.listdir(folder) if f.endswith(".safetensors"))
assert len(files) > 3 and files == sorted(set(index["weight_map"].values())), files
tensors, total = {}, 0
for f in files:
    of = read(folder + "/" + f)
    size = sum(len(t[2]) for t in of.values())
    assert size <= 20000 or len(of) == 1, (f, size)
    assert all(index["weight_map"][name] == f for name in of), f
    tensors.update(of)
    total += size
assert total == index["metadata"]["total_size"] and set(tensors) == set(index["weight_map"])
master = {k[7:]: v for k, v in read(saved + "/optimizer.safetensors").items() if k.startswith("master.")}
rounded = read(saved + "/model.safetensors")
assert all(t[0] == "F32" for t in tensors.values())
assert tensors["model.embed_tokens.weight"][2] == master["wte"][2]
parts = [tensors["model.layers.1.self_attn.%s_proj.weight" % x][2] for x in "qkv"]
assert b"".join(parts) == master["h.1.qkv.weight"][2], list(master)
assert set(rounded) == set(tensors) and sum(len(t[2]) for t in rounded.values()) * 2 == total
assert json.load(open(folder + "/config.json"))["torch_dtype"] == "float32"
P
ok "--dtype f32 writes the master weights, --max-shard-size divides them among files with an index"
[ -n "$(loss "$scratch/full")" ] && [ "$(loss "$scratch/full")" != "$(loss "$saved")" ] && [ "$(loss "$scratch/plain")" = "$(loss "$saved")" ]
ok "their loss in fp32 is not that of the rounded weights"
"$tally" export "$scratch/full" "$scratch/again" --dtype bf16 >"$scratch/out" 2>"$scratch/err" && cmp "$scratch/again/model.safetensors" "$saved/model.safetensors"
ok "rounded to bf16 again, they are the weights of the checkpoint"
[ ! -e "$scratch/again/README.md" ]; ok "a folder that is no checkpoint gets no card of its training"

refuses "a folder that exists" "plain: exists already; expected the name of a new folder" export "$scratch/run" "$scratch/plain"
refuses "a run without a folder to write" "missing run, checkpoint or model folder, and the folder to write" export "$scratch/run"
refuses "a dtype that is none" "--dtype is f16, expected f32|bf16" export "$scratch/run" "$scratch/x" --dtype f16
sed -i 's/"id": 256/"id": 300/' "$scratch/again/tokenizer.json"
"$tally" export "$scratch/again" "$scratch/bare" >"$scratch/out" 2>"$scratch/err" && grep -q "without a tokenizer: .*again: the tokenizer has 301 tokens, expected at most the 257" "$scratch/err" &&
    [ ! -e "$scratch/bare/tokenizer.json" ] && cmp "$scratch/bare/model.safetensors" "$saved/model.safetensors"
ok "a tokenizer with more tokens than the vocabulary is left out"
refuses "and text is not evaluated with it" "again: the tokenizer has 301 tokens" eval "$scratch/again" --data "$scratch/text.txt"
sed -i 's/"n_layer"/"n_layers"/; s/"num_hidden_layers": 2/"num_hidden_layers": 3/' "$scratch/plain/config.json"
refuses "weights that do not fit config.json" "no tensor \"model.layers.2" export "$scratch/plain" "$scratch/x"
[ ! -e "$scratch/x" ] && ! ls -A "$scratch" | grep -q 'tmp-'; ok "nothing is written for what is refused"
finish
