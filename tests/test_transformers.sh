# Against Hugging Face transformers itself, where the python named by TALLY_PYTHON (python3) has it: what tally saves loads
# there and has the same loss, and the committed reference values are what it computes today.
cd "$(dirname "$0")/.." && . tests/tap.sh

python=${TALLY_PYTHON:-python3}
load="a checkpoint loads in transformers with the same loss"
shards="one that 3 ranks have saved does too"
stops="its generate() ends a text where ours does"
exported="an export in several files of fp32 does, and its tokenizer gives our ids"
continues="its generate() continues a prompt as ours does, with the tokenizer of the checkpoint"
remake="the committed references are what transformers computes"
if ! "$python" -c 'import torch, transformers, safetensors' 2>/dev/null; then
    for name in "$load: gpt2" "$stops: gpt2" "$shards: gpt2" "$load: llama" "$stops: llama" "$shards: llama" "$exported" "$continues" "$remake"; do skip "$name" "$python has no torch, transformers and safetensors"; done
    finish
fi

for i in $(seq 300); do echo "line $i: a text to learn, with the number $((i * 7919 % 1000))"; done >"$scratch/text.txt"
head -c 200 "$scratch/text.txt" >"$scratch/eval.txt"
for i in $(seq 100); do echo "{\"text\": \"tide $((i % 10)) low\"}"; done >"$scratch/short.jsonl"
# same_loss FOLDER: of the text in eval.txt as that in the file ours
same_loss() {
    { od -An -v -tu1 -w1 "$scratch/eval.txt"; echo 256; } | tr '\n' ' ' |
        "$python" tests/reference/load_checkpoint.py "$1" >"$scratch/theirs" 2>"$scratch/err" &&
        python3 - "$scratch/ours" "$scratch/theirs" <<'P'
import json, sys
ours, theirs = (json.load(open(p)) for p in sys.argv[1:])
assert ours["tokens"] == theirs["predictions"] == 200, (ours, theirs)
assert abs(ours["loss"] - theirs["loss"]) <= 1e-5 * theirs["loss"], (ours, theirs)
P
}
. tests/mpi.sh

for family in gpt2 llama; do
    case $family in gpt2) reference=gpt2-tiny ;; *) reference=llama-tiny-tied ;; esac
    sed 's/"n_positions": [0-9]*/"n_positions": 256/; s/"max_position_embeddings": [0-9]*/"max_position_embeddings": 256/' "tests/reference/$reference.json" >"$scratch/$family.json"
    "$tally" train --model "$scratch/$family.json" --data "$scratch/text.txt" --out "$scratch/$family" --steps 20 --batch 2 --seq-len 64 \
        --warmup 2 --lr 1e-2 --threads 1 --precision fp32 --peak-seconds 0 >"$scratch/out" 2>"$scratch/err" &&
        "$tally" eval "$scratch/$family" --data "$scratch/eval.txt" --batch 1 --seq-len 200 --precision fp32 --json >"$scratch/ours" 2>"$scratch/err" &&
        same_loss "$scratch/$family/checkpoints/step-20"
    ok "$load: $family"
    # short documents, learned by heart: end-of-text, 256, is what follows them
    "$tally" train --model "$scratch/$family.json" --data "$scratch/short.jsonl" --out "$scratch/$family-short" --steps 200 --batch 8 --seq-len 32 \
        --warmup 10 --lr 1e-2 --threads 1 --precision fp32 --peak-seconds 0 >"$scratch/out" 2>"$scratch/err" &&
        "$tally" generate "$scratch/$family-short" --prompt tide --temperature 0 --tokens 40 --precision fp32 >"$scratch/said" 2>"$scratch/err" &&
        "$python" - "$scratch/$family-short/checkpoints/step-200" "$scratch/said" >"$scratch/out" 2>"$scratch/err" <<'P'
import sys, torch, transformers
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1])
ids = model.generate(torch.tensor([[256] + list(b"tide")]), do_sample=False, max_new_tokens=40)[0].tolist()
ours = open(sys.argv[2]).read()
assert ids[-1] == 256 and len(ids) < 40 and bytes(ids[1:-1]).decode() + "\n" == ours, (ids, ours)
P
    ok "$stops: $family"
    if [ -z "${MPIEXEC:-}" ] || ! command -v "$MPIEXEC" >/dev/null; then skip "$shards: $family" "no MPI"; continue; fi
    # what MPI itself leaves allocated is not ours
    ASAN_OPTIONS=detect_leaks=0 timeout 300 "$MPIEXEC" -np 3 "$TESTS/test_checkpoint_ranks" again "$scratch/$family/checkpoints/step-20" "$scratch/$family-3" \
        >"$scratch/out" 2>"$scratch/err" &&
        [ -f "$scratch/$family-3/checkpoints/step-20/model-00003-of-00003.safetensors" ] && same_loss "$scratch/$family-3/checkpoints/step-20"
    ok "$shards: $family"
done

"$tally" export "$scratch/llama" "$scratch/exported" --dtype f32 --max-shard-size 20k >"$scratch/out" 2>"$scratch/err" &&
    [ -f "$scratch/exported/model.safetensors.index.json" ] &&
    "$tally" eval "$scratch/llama" --data "$scratch/eval.txt" --batch 1 --seq-len 200 --precision fp32 --json >"$scratch/ours" 2>"$scratch/err" &&
    same_loss "$scratch/exported" && "$python" - "$scratch/exported" >"$scratch/out" 2>"$scratch/err" <<'P'
import sys, transformers
t = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
for text in ["every byte: " + "".join(map(chr, range(1, 0x3000))), " two  spaces\r\n\n", ""]:
    ids = t(text)["input_ids"]
    assert ids == list(text.encode()) and t.decode(ids) == text, (text[:80], ids[:80])
assert t("a<|endoftext|>")["input_ids"] == [97, 256] and t.eos_token_id == t.bos_token_id == 256 and len(t) == 257
P
ok "$exported"

stories=../shared/data/models/stories260K
if [ ! -d $stories ]; then skip "$continues" "no $stories"; else
    sed 's/"vocab_size": [0-9]*/"vocab_size": 512/' "$scratch/llama.json" >"$scratch/512.json"
    "$tally" train --model "$scratch/512.json" --tokenizer $stories --data "$scratch/short.jsonl" --out "$scratch/stories" --steps 100 --batch 8 --seq-len 32 \
        --warmup 10 --lr 1e-2 --threads 1 --precision fp32 --peak-seconds 0 >"$scratch/out" 2>"$scratch/err" &&
        "$tally" generate "$scratch/stories" --prompt tide --temperature 0 --tokens 40 --precision fp32 >"$scratch/said" 2>"$scratch/err" &&
        "$tally" generate $stories --prompt "One day, Tim" --temperature 0 --tokens 40 --precision fp32 >>"$scratch/said" 2>"$scratch/err" &&
        "$python" - "$scratch/stories/checkpoints/step-100" $stories "$scratch/said" >"$scratch/out" 2>"$scratch/err" <<'P'
import sys, transformers
said = ""
for folder, prompt in zip(sys.argv[1:], ["tide", "One day, Tim"]):
    t = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ids = model.generate(**t(prompt, return_tensors="pt"), do_sample=False, max_new_tokens=40)[0]
    said += t.decode(ids, skip_special_tokens=True) + "\n"
assert said == open(sys.argv[-1]).read(), said
P
    ok "$continues"
fi
"$python" tests/reference/make_reference.py --check >"$scratch/out" 2>"$scratch/err"; ok "$remake"
finish
