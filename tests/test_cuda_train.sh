# Training, evaluating and sampling with --device cuda, as a user runs them, against the CPU. In a build with
# TALLY_CUDA=EMULATED it runs anywhere, else where there is a GPU.
cd "$(dirname "$0")/.." && . tests/tap.sh

text=$scratch/text.txt
lines_of_text 200 "$text"
tiny_llama "$scratch/model.json" 64 96 2 2 1 '"head_dim": 64'
options=(--model "$scratch/model.json" --data "$text" --steps 8 --batch 2 --seq-len 32 --warmup 2 --lr 1e-3
    --checkpoint-every 3 --eval-every 4 --eval-batches 2 --price 1 --keep 2 --peak-seconds 0)
train() { local run=$1; shift; "$tally" train "${options[@]}" --out "$run" "$@" >"$scratch/out" 2>"$scratch/err"; }
weights() { cat "$1"/checkpoints/step-"${2:-8}"/{model,optimizer}.safetensors | sha256sum; }

train "$scratch/cuda" --device cuda; status=$?
if [ $status -ne 0 ] && grep -qE -- '--device cuda: (this tally was built without CUDA|no GPU here|.*(driver|device))' "$scratch/err"; then
    [ $status -eq 2 ]; ok "--device cuda without a GPU is an error, not a run on the CPU"
    skip "training on CUDA" "$(head -1 "$scratch/err")"
    finish
fi
need_python "training on CUDA"
[ $status -eq 0 ]; ok "a run ends with exit code 0"
[ "$(grep -c '"loss"' "$scratch/cuda/metrics.jsonl")" -eq 8 ]; ok "metrics.jsonl has one line per step"
train "$scratch/cpu" --device cpu --threads 1
train "$scratch/cpu32" --device cpu --threads 1 --precision fp32 && train "$scratch/cuda32" --device cuda --precision fp32
# half an ulp is 2^-9 (bf16), 2^-25 (fp32); each step starts from weights that have drifted apart, and a norm, the length of a
# sum in which much cancels, shows more of it than a mean of 64 losses
python3 - "$scratch" <<'P'; ok "losses, norms and held-out losses are the CPU's within rounding, fp32 and bf16"
import json, sys
for pair, bound in ((("cpu", "cuda"), 8 * 2**-8), (("cpu32", "cuda32"), 8 * 2**-14)):
    runs = [[json.loads(x) for x in open(f"{sys.argv[1]}/{p}/metrics.jsonl")] for p in pair]
    for a, b in zip(*runs):
        for key in ("loss", "val_loss", "grad_norm"):
            if a.get(key) is None: assert b.get(key) is None, (key, a, b); continue
            drift = bound * (4 if key == "grad_norm" else 1)
            assert abs(a[key] - b[key]) <= drift * abs(a[key]), (pair, key, a["step"], a[key], b[key])
        for key in ("tokens", "flops_model", "flops_executed", "lr"): assert a[key] == b[key], (key, a, b)
P
python3 - "$scratch/cuda" <<'P'; ok "every second is booked once"
import json, sys
l = json.load(open(sys.argv[1] + "/ledger.json"))
assert abs(sum(l["bookings"].values()) - l["wall_s"]) < 1e-6 and l["bookings"]["useful_s"] > 0, l
assert abs(sum(l["usd_by_booking"].values()) - l["usd"]) < 1e-9, l
P
train "$scratch/again" --device cuda; [ "$(weights "$scratch/again")" = "$(weights "$scratch/cuda")" ]; ok "the same run again gives the same bits"
SIMT_NVTX=$scratch/ranges train "$scratch/policy" --device cuda --recompute block; [ "$(weights "$scratch/policy")" = "$(weights "$scratch/cuda")" ]; ok "--recompute block gives the same bits"
python3 -c 'import json, sys; assert json.load(open(sys.argv[1] + "/ledger.json"))["bookings"]["recompute_s"] > 0' "$scratch/policy"
ok "the time of recompute is booked, measured by the device's clock"
if [ -f "$scratch/ranges" ]; then
    printf '%s\n' "step 1" "  data wait" "  forward embedding" "  forward block 0" "  forward block 1" "  head" "  backward block 1" \
        "    recompute" "  backward block 0" "    recompute" "  backward embedding" "  optimizer" "step 2" >"$scratch/expected"
    sed -n '/^step 1$/,/^step 2$/p' "$scratch/ranges" | diff "$scratch/expected" - >"$scratch/err"; ok "the step's units are named NVTX ranges"
    [ "$(grep -c '^step' "$scratch/ranges")" -eq 8 ] && [ "$(grep -c '^evaluation' "$scratch/ranges")" -eq 2 ] && grep -q '^checkpoint' "$scratch/ranges"
    ok "evaluation and checkpoint are NVTX ranges"
else
    skip "the step's units are named NVTX ranges" "NVTX is not the emulation's"
fi

train "$scratch/resumed" --device cuda --steps 3 && train "$scratch/resumed" --device cuda --resume
[ "$(weights "$scratch/resumed")" = "$(weights "$scratch/cuda")" ]; ok "resumed: bitwise the uninterrupted run"
train "$scratch/moved" --device cpu --threads 1 --steps 3 && train "$scratch/moved" --device cuda --resume; ok "a run that began on the CPU can be resumed on the GPU"
TALLY_CRASH_AT_WRITE=30 train "$scratch/killed" --device cuda 2>/dev/null; train "$scratch/killed" --device cuda --resume
[ "$(weights "$scratch/killed")" = "$(weights "$scratch/cuda")" ]; ok "killed and resumed: bitwise the uninterrupted run"
# due after each step: while one is under way behind it, the weights are that one's already, and the save waits for it
train "$scratch/timed" --device cuda --checkpoint-minutes 1e-12 --checkpoint-every 0 --eval-every 0 --keep 9
[ "$(ls "$scratch/timed/checkpoints" | sort | tr '\n' ' ')" = "step-3 step-4 step-5 step-6 step-7 step-8 " ] && [ "$(weights "$scratch/timed")" = "$(weights "$scratch/cuda")" ]
ok "--checkpoint-minutes saves between steps, and changes no bit of the run"
train "$scratch/by-step" --device cuda --checkpoint-every 1 --keep 9
for step in 3 4 5 6 7; do [ "$(weights "$scratch/timed" $step)" = "$(weights "$scratch/by-step" $step)" ] || break; done; ok "each of these checkpoints is that of its step"

train "$scratch/diverged" --device cuda --steps 40 --lr 100 --warmup 0 --eps 1e-20 --beta1 0 --clip 0 --schedule constant --max-skipped 3 --eval-every 0
[ $? -eq 1 ] && grep -q "max-skipped" "$scratch/err"; ok "losses that are not finite end the run after --max-skipped"
"$tally" inspect "$scratch/diverged" --json >"$scratch/out" 2>"$scratch/err" && grep -q '"whole":true' "$scratch/out"
ok "they leave a checkpoint of the last weights that are finite"

# the step under way when it comes is finished, booked and saved
endless=("${options[@]}" --steps 100000 --eval-every 0 --checkpoint-every 0 --device cuda)
last_step() { tail -1 "$1/metrics.jsonl" | sed 's/.*"step":\([0-9]*\),.*/\1/'; }
"$tally" train "${endless[@]}" --out "$scratch/stopped" >/dev/null 2>"$scratch/err" & pid=$!
for i in $(seq 300); do [ "$(cat "$scratch/stopped/metrics.jsonl" 2>/dev/null | wc -l)" -ge 3 ] && break; sleep 0.1; done
kill -TERM $pid; wait $pid
[ $? -eq 143 ] && [ -d "$scratch/stopped/checkpoints/step-$(last_step "$scratch/stopped")" ] &&
    "$tally" inspect "$scratch/stopped" --json 2>"$scratch/err" | grep '"whole":true' >/dev/null
ok "after a signal, the current step is finished and saved"
"$tally" train "${endless[@]}" --out "$scratch/budget" --price 3600 --budget 1.5 >"$scratch/out" 2>"$scratch/err"; status=$?
[ $status -eq 0 ] && within_budget "$scratch/budget" 1.5 && [ -d "$scratch/budget/checkpoints/step-$(last_step "$scratch/budget")" ]
ok "--budget ends the run with a checkpoint before it is exceeded"

"$tally" eval "$scratch/cuda32" --data "$text" --seq-len 32 --json --device cuda >"$scratch/a" 2>"$scratch/err" &&
    "$tally" eval "$scratch/cuda32" --data "$text" --seq-len 32 --json --device cpu >"$scratch/b" 2>>"$scratch/err" &&
    python3 -c 'import json, sys; a, b = (json.load(open(f))["loss"] for f in sys.argv[1:]); assert abs(a - b) <= 2**-12 * b, (a, b)' "$scratch/a" "$scratch/b"
ok "eval computes the same loss as on the CPU"
for device in cuda cpu; do "$tally" generate "$scratch/cuda32" --prompt "line 3" --temperature 0 --tokens 30 --device $device >"$scratch/$device.txt" 2>"$scratch/err"; done
[ -s "$scratch/cuda.txt" ] && cmp "$scratch/cuda.txt" "$scratch/cpu.txt" >"$scratch/err" 2>&1
ok "generate gives the same text as on the CPU"
refuses "a GPU number that there is not" "--device cuda:4711" train "${options[@]}" --out "$scratch/x" --device cuda:4711
finish
