# Random tiny models of every family against Hugging Face transformers, where the python named by TALLY_PYTHON (python3) has it: the
# same logits from one file, several, and f16; ten steps with the losses of PyTorch's AdamW, on one rank and on three; and what
# tally saves loads in transformers with the same logits again.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh

python=${TALLY_PYTHON:-python3}
if ! "$python" -c 'import torch, transformers, safetensors' 2>/dev/null; then
    skip "models of transformers" "$python has no torch, transformers and safetensors"
    finish
fi
names=$("$python" tests/reference/families.py make "$scratch" 2>"$scratch/err"); ok "transformers makes the models"

# same_logits NAME: of the model in the folder NAME as in NAME.values.safetensors
same_logits() { "$TESTS/test_pretrained" "$1" "${2:-$1}.values.safetensors" >"$scratch/out" 2>"$scratch/err"; }
for name in $names; do
    [ "$(ls "$scratch/$name"/*.safetensors | wc -l)" -ge 2 ] && same_logits "$scratch/$name"; ok "the logits are those of transformers, from several files: $name"
    same_logits "$scratch/$name-f16"; ok "the logits are those of transformers, from f16: $name"
done
! same_logits "$scratch/llama-dynamic" "$scratch/qwen2"; ok "those of another model are not the same"
refuses "a weight of bytes" 'transformer.wte.weight" has dtype BOOL or U8, expected F32, BF16 or F16' eval "$scratch/gpt2-bytes" --tokenizer bytes --data "$scratch/text.txt"

options=(--data "$scratch/text.txt" --tokenizer bytes --val-fraction 0 --steps 10 --seq-len 24 --schedule constant --warmup 0 --lr 1e-3 --threads 1 --precision fp32 --peak-seconds 0)
i=0
for name in $names; do
    ranks=3 batch=1
    if [ $((i++ % 3)) -ne 2 ] || [ -z "${MPIEXEC:-}" ] || ! command -v "$MPIEXEC" >/dev/null; then ranks=1 batch=3; fi
    job=("$tally" train)
    [ $ranks -eq 1 ] || job=(timeout 200 "$MPIEXEC" -np $ranks "$tally" train)
    "${job[@]}" --init "$scratch/$name" --out "$scratch/$name-run" --batch $batch "${options[@]}" >"$scratch/out" 2>"$scratch/err"
    ok "trains on $ranks rank(s): $name"
done
"$python" tests/reference/families.py check "$scratch" >"$scratch/check" 2>"$scratch/err"; ok "transformers loads what was saved"
for name in $names; do
    sed -n "/ - $name\$/,/^[^#]/p" "$scratch/check" >"$scratch/err"; grep -q "^ok [0-9]* - $name\$" "$scratch/check"
    ok "the losses and weights are those of PyTorch: $name"
    same_logits "$scratch/$name-run/checkpoints/step-10" "$scratch/$name-run"; ok "the saved model has the same logits in transformers: $name"
done
finish
