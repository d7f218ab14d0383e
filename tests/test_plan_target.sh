# plan --from RUN --target-loss: the curve of a run whose law is known, and what is refused.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "plan --target-loss"

# run RUN STEPS EVAL_EVERY SCHEDULE: 1000 tokens and 0.5 s a step, 2 ranks at $3.60 an hour each; held-out loss 1.5 + 50 D^-0.3 and noise
run() {
    mkdir -p "$1" && python3 - "$@" <<'P'
import json, random, sys
run, steps, every, schedule = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
random.seed(1)
with open(run + "/metrics.jsonl", "w") as f:
    for i in range(1, steps + 1):
        loss = 1.5 + 50 * (1000 * i) ** -0.3
        f.write(json.dumps({"step": i, "tokens": 1000 * i, "loss": loss + random.gauss(0, 0.02), "ranks": 2, "step_ms": 500, "usd_step": 0.001,
                            "val_loss": loss + random.gauss(0, 0.002) if i % every == 0 else None, "wall_s": 0.5 * i, "usd": 0.001 * i}) + "\n")
json.dump({"warmup": 20, "schedule": schedule}, open(run + "/config.json", "w"))
P
}
json() { # EXPRESSION ARGUMENTS...: over the JSON object o that `tally plan ARGUMENTS --json` prints
    local expression=$1; shift
    "$tally" plan "$@" --json 2>"$scratch/err" | python3 -c "import json, sys; o = json.load(sys.stdin); sys.exit(not ($expression))" 2>>"$scratch/err"
}
run "$scratch/run" 4000 10 constant
# 50 D^-0.3 is 0.4 where D is 125^(1/0.3) = 9.8 million
json 'o["losses"] == "held-out" and o["tokens"]["low"] < 125 ** (1 / 0.3) < o["tokens"]["high"] < 4 * o["tokens"]["low"] and o["tokens_so_far"] == 4e6' \
    --from "$scratch/run" --target-loss 1.9; ok "the interval holds the truth"
json 'all(abs(o["seconds"][k] / o["tokens"][k] - 0.0005) < 1e-12 and abs(o["usd"][k] / o["tokens"][k] - 1e-6) < 1e-12 and o["tokens"][k] <= 1000 * o["steps"][k] < o["tokens"][k] + 1001
    for k in ("low", "best", "high"))' --from "$scratch/run" --target-loss 1.9; ok "time, dollars and steps follow from the tokens"
json 'abs(o["usd"]["best"] - (4 + (o["tokens"]["best"] - 4e6) * 0.0005 * 2 * 7.2 / 3600)) < 1e-9' --from "$scratch/run" --target-loss 1.9 --price 7.2; ok "--price holds for what is still to do"
json 'o["reached_loss"] <= 2.2 and o["reached_tokens"] <= 4e6 and o["tokens"]["best"] < 4e6' --from "$scratch/run" --target-loss 2.2; ok "a loss that was reached"
"$tally" plan --from "$scratch/run" --target-loss 1.9 >"$scratch/out" 2>"$scratch/err" && ! grep -q "learning rate" "$scratch/out" && grep -q "^  dollars " "$scratch/out" &&
    run "$scratch/cosine" 400 400 cosine && "$tally" plan --from "$scratch/cosine" --target-loss 2.4 >"$scratch/out" 2>"$scratch/err" &&
    grep -q "means of training losses" "$scratch/out" && grep -q "The learning rate of this run decays (cosine)" "$scratch/out"
ok "the text says which losses the curve has, and that a learning rate that decays changes it"
refuses "a loss below the curve" "loss 1.2 is not above the 1.[45]" plan --from "$scratch/run" --target-loss 1.2
refuses "a loss that the curve does not determine" "loss 1.51[0-9]*: the interval is too wide: " plan --from "$scratch/run" --target-loss 1.515
run "$scratch/short" 4 10 constant
refuses "a run of 4 steps" "the curve has . points\? after its beginning, expected 8" plan --from "$scratch/short" --target-loss 2
refuses "no run" "metrics.jsonl\|config.json" plan --from "$scratch/none" --target-loss 2
refuses "no --from" "--target-loss 2: expected --from RUN with it" plan --target-loss 2
refuses "--tokens as well" "expected one of them" plan --from "$scratch/run" --target-loss 2 --tokens 1e9
refuses "a loss that is not a number" "--target-loss" plan --from "$scratch/run" --target-loss nan
refuses "a loss of 0" "--target-loss" plan --from "$scratch/run" --target-loss 0
finish
