# train --stop-at-loss: the run ends at the first evaluation that has reached it, on one rank and on several, and over a resume.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh
need_python "--stop-at-loss"

lines_of_text 400 "$scratch/text.txt"
tiny_llama "$scratch/model.json" 32 48 2 4 2
options=(--model "$scratch/model.json" --data "$scratch/text.txt" --batch 2 --seq-len 32 --global-batch 128 --lr 1e-2 --warmup 2 --steps 40
    --schedule constant --eval-every 5 --eval-batches 4 --threads 1 --peak-seconds 0 --device cpu)
train() { local run=$1; shift; "$tally" train "${options[@]}" --out "$run" "$@" >"$scratch/out" 2>"$scratch/err"; }
told() { job_err | grep -q -- "$1"; }
# expected RUN LOSS: the step of the first evaluation of RUN whose loss is LOSS or less
expected() {
    python3 -c 'import json, sys
lines = [json.loads(x) for x in open(sys.argv[1] + "/metrics.jsonl")]
print(next(l["step"] for l in lines if l["val_loss"] is not None and l["val_loss"] <= float(sys.argv[2])))' "$@"
}
newest() { ls "$1/checkpoints" | sed 's/step-//' | sort -n | tail -1; }

train "$scratch/whole"; ok "a run without it"
# midway between the third and the fourth evaluation
loss=$(python3 -c 'import json, sys
losses = [l["val_loss"] for l in map(json.loads, open(sys.argv[1] + "/metrics.jsonl")) if l["val_loss"] is not None]
assert losses[:5] == sorted(losses[:5], reverse=True), losses
print((losses[2] + losses[3]) / 2)' "$scratch/whole")
[ "$(expected "$scratch/whole" "$loss")" -eq 20 ]; ok "its loss falls from one evaluation to the next"
train "$scratch/run" --stop-at-loss "$loss" && [ "$(newest "$scratch/run")" -eq 20 ] && [ "$(wc -l <"$scratch/run/metrics.jsonl")" -eq 20 ] &&
    told "stopped after step 20: the held-out loss .* has reached --stop-at-loss"
ok "the run ends at the first evaluation that has reached it, with a checkpoint"
train "$scratch/run" --resume --stop-at-loss "$loss" && [ "$(newest "$scratch/run")" -eq 20 ] && told "stopped after step 20"; ok "a resume has nothing to do"
train "$scratch/run" --resume --stop-at-loss 0 && [ "$(newest "$scratch/run")" -eq 40 ] &&
    cmp "$scratch/run/checkpoints/step-40/model.safetensors" "$scratch/whole/checkpoints/step-40/model.safetensors"
ok "a resume with 0 does all steps, bitwise as without the stop"
train "$scratch/never" --steps 10 --stop-at-loss 0.001 && told "^--stop-at-loss 0.001 was not reached: the held-out loss is"; ok "a loss that is not reached is logged"
train "$scratch/last" --steps 20 --stop-at-loss "$loss" && told "stopped after step 20: the held-out loss"; ok "a loss that is reached with the last step is logged"
refuses "evaluations only at the end" "--stop-at-loss 3: --eval-every 0 evaluates only at the end; expected --eval-every N" \
    train "${options[@]}" --eval-every 0 --stop-at-loss 3 --out "$scratch/no"
"$tally" train "${options[@]}" --val-fraction 0 --stop-at-loss 3 --out "$scratch/no" 2>"$scratch/err"; [ $? -eq 2 ] &&
    told "--stop-at-loss 3: no tokens are held out" && [ ! -e "$scratch/no/metrics.jsonl" ]
ok "nothing is held out"
refuses "a loss that is not a number" "--stop-at-loss" train "${options[@]}" --stop-at-loss nan --out "$scratch/no"

need_ranks "--stop-at-loss on ranks"
timeout -s KILL 240 "$MPIEXEC" -np 2 "$tally" train "${options[@]}" --shard full --stop-at-loss "$loss" --out "$scratch/ranks" >"$scratch/out" 2>"$scratch/err" &&
    [ "$(newest "$scratch/ranks")" -eq "$(expected "$scratch/ranks" "$loss")" ] && [ "$(newest "$scratch/ranks")" -lt 40 ]
ok "all ranks end at the same step"
finish
