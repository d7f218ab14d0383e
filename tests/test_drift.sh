# What a run measures and foretells: calibration.json, and plan.json against what came true.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "the plan of a run"

text=$scratch/text.txt
lines_of_text 400 "$text"
tiny_llama "$scratch/model.json" 32 48 2 4 2
options=(--model "$scratch/model.json" --data "$text" --batch 2 --seq-len 32 --threads 1 --peak-seconds 0.01)
train() { "$tally" train "${options[@]}" "$@" >"$scratch/out" 2>"$scratch/err"; }

train --out "$scratch/short" --steps 7 && [ ! -e "$scratch/short/calibration.json" ]
ok "a run of fewer than 8 steps writes no calibration.json"

train --out "$scratch/run" --steps 12 --global-batch 128 --price 2 && python3 - "$scratch/run" <<'P'
import json, sys
c = json.load(open(sys.argv[1] + "/calibration.json"))
m = [json.loads(x) for x in open(sys.argv[1] + "/metrics.jsonl")]
steps = sorted(x["step_ms"] / 1e3 for x in m[3:])
assert c["steps"] == 9 and abs(c["step_s"] - steps[4]) < 1e-9, (c["step_s"], steps)
assert c["step_low_s"] <= c["step_s"] <= c["step_high_s"], c
assert c["usd_per_hour"] == 2 and c["micro_batches"] == 2 and c["tokens_per_step"] == 128, c
assert abs(c["flops_executed_per_s"] * c["step_s"] / m[-1]["flops_executed"] - 1) < 1e-9, c
parts = c["seconds_of_a_step"]
assert abs(sum(parts.values()) / c["step_s"] - 1) < 1e-9, parts
assert abs(sum(g["seconds"] for g in c["gemms"]) / parts["gemm"] - 1) < 1e-9, c
# every GEMM: those of the step without attention, whose FLOPs are 2q(T+1) a token and layer, backward 2.5 times that
flops = sum(2 * g["M"] * g["N"] * g["K"] * g["calls"] for g in c["gemms"])
config = json.load(open(sys.argv[1] + "/checkpoints/step-12/config.json"))
q, layers = config["hidden_size"], config["num_hidden_layers"]
attention = 3.5 * 2 * q * 33 * 128 * layers
assert flops + attention == m[-1]["flops_executed"], (flops, attention, m[-1]["flops_executed"])
P
ok "calibration.json holds the median step, and its parts and GEMMs add up"

# the run's own plan, made again after 20 of 50 steps
train --out "$scratch/own" --steps 50 --eval-every 25 --price 2 --tdp-watts 10 && python3 - "$scratch/own" <<'P'
import json, sys
p = json.load(open(sys.argv[1] + "/plan.json"))
l = json.load(open(sys.argv[1] + "/ledger.json"))
m = [json.loads(x) for x in open(sys.argv[1] + "/metrics.jsonl")]
c = json.load(open(sys.argv[1] + "/calibration.json"))
assert p["steps"] == 50 and p["provisional"] is False and "first 20 steps" in p["source"], p
first = sorted(x["step_ms"] for x in m[3:20])
assert abs(p["step_ms"] - first[8]) < 1e-6, (p["step_ms"], first)
assert abs(p["actual"]["step_ms"] / c["step_s"] - 1e3) < 1e-6, (p, c)
assert abs(p["usd"] * 1800 / p["wall_s"] - 1) < 1e-6, p  # $2 an hour
assert p["memory_bytes"] == sum(p["memory"].values()) and 0 < p["actual"]["memory"]["weights"] <= p["memory"]["weights"], p
assert 0 < p["actual"]["wall_s"] <= l["wall_s"], (l, p)  # plan.json is written before the report
for k, e in p["error"].items():
    planned, actual = p[k], p["actual"][k]
    assert e is None if actual is None else abs(e - (actual / planned - 1)) < 1e-9, (k, p)
off = any(e is not None and abs(e) > 0.1 for e in p["error"].values())
assert bool(p["causes"]) == off, p
for x in m:
    evaluated = x["step"] in (25, 50)
    assert (x["drift_time"] is not None) == (x["drift_usd"] is not None) == evaluated, x
assert abs(m[49]["drift_time"] - m[49]["drift_usd"]) < 1e-6, m[49]
P
ok "a run plans itself, again after 20 steps, and says what came true"
grep -q '^plan made again: ' "$scratch/err" && grep -q 'of the plan: time [+-][0-9]*%' "$scratch/err" &&
    grep -q '^plan  *predicted  *actual  *error' "$scratch/err" && grep -q '^  time ' "$scratch/err"
ok "the log shows the plan, the drift at evaluations, and both side by side at the end"

# a plan from outside, for a run that stops early and goes on
echo '{"parameters": 5, "assumed": {"device": "an abacus", "usd_per_device_hour": {"value": 12}}, "plans": [{"devices": 3, "tokens_per_step": 64,
    "step_ms": 0.001, "tokens_per_s": 64e6, "wall_s": null, "usd": null, "memory_bytes": 1e6, "memory": {"weights": 1e6}}]}' >"$scratch/plan.json"
train --out "$scratch/given" --steps 40 --price 3600 --eval-every 10 --stop-at-loss 100 --plan "$scratch/plan.json" && python3 - "$scratch/given" <<'P'
import json, sys
p = json.load(open(sys.argv[1] + "/plan.json"))
assert p["source"].startswith("--plan ") and p["step_ms"] == 0.001 and abs(p["wall_s"] - 40e-6) < 1e-12, p
assert abs(p["usd"] - 40e-6 * 36 / 3600) < 1e-12 and p["energy_j"] is None and p["memory"]["master"] is None, p
assert p["error"]["step_ms"] > 1 and p["error"]["wall_s"] is None and p["error"]["usd"] is None, p  # the run is not over
assert p["causes"], p
P
ok "a run compares itself with what tally plan --json printed; what a run that is not over took is no error"
grep -q 'warning: --plan .*: is for a model of 5 parameters' "$scratch/err" && ! grep -q 'is for steps of' "$scratch/err"
ok "a plan for another model is a warning"
cp "$scratch/err" "$scratch/warnings"
before=$(head -12 "$scratch/given/plan.json")
train --out "$scratch/given" --steps 40 --resume --stop-at-loss 0 && [ "$before" = "$(head -12 "$scratch/given/plan.json")" ] &&
    grep -q '"wall_s": [0-9.]*,' <(sed -n '/"error"/,$p' "$scratch/given/plan.json") && ! grep -q '"plan":' "$scratch/given/config.json"
ok "a resumed run keeps its plan"
[ "$(grep -c "for an abacus" "$scratch/given/plan.json")" = 1 ] && grep -q 'is for 3 devices; this run has 1' "$scratch/warnings"
ok "the device of a plan from outside is named; another number of devices is a warning"
train --out "$scratch/given" --steps 40 --resume --stop-at-loss 0 && python3 - "$scratch/given" <<'P'
import json, sys
p = json.load(open(sys.argv[1] + "/plan.json"))
assert p["actual"]["step_ms"] is None and p["actual"]["memory_bytes"] is None and p["actual"]["wall_s"] > 0, p
P
ok "an attempt without a step knows neither the time nor the memory of one"
echo '{' >"$scratch/given/plan.json"
train --out "$scratch/given" --steps 41 --resume && grep -q 'plan.json:.*; the plan is made again' "$scratch/err"
ok "a damaged plan.json is made again"

# a folder of an attempt that saved nothing, and files that cannot be replaced
mkdir -p "$scratch/new/calibration.json"
cp "$scratch/own/plan.json" "$scratch/new"
train --out "$scratch/new" --steps 50 --batch 4 --peak-seconds 0 --stop-at-loss 100 --eval-every 10 &&
    grep -q 'the speed is not known before 20 steps' "$scratch/new/plan.json"; ok "a run that is not resumed does not take the plan of another"
grep -q '^warning: .*calibration.json stays as it was' "$scratch/err" && [ -e "$scratch/new/ledger.json" ]
ok "a calibration.json that cannot be written costs a warning, not the run"

refuse() { # NAME PATTERN JSON
    echo "$3" >"$scratch/bad.json"
    refuses "$1" "$2" train "${options[@]}" --steps 3 --out "$scratch/refused" --plan "$scratch/bad.json"
    [ ! -e "$scratch/refused/plan.json" ] && [ ! -e "$scratch/refused/metrics.jsonl" ]; ok "$1: nothing is written"
}
refuse "a file that is no plan" 'has no "plans"' '{"a": 1}'
refuse "several plans" 'holds 2 plans, expected one' '{"plans": [{"step_ms": 1}, {"step_ms": 2}]}'
refuse "a plan without a time" 'holds no "step_ms"' '{"plans": [{}]}'
refuse "a negative time" '"step_ms" is -1' '{"plans": [{"step_ms": -1}]}'
refuses "a plan that is not there" "missing.json" train "${options[@]}" --steps 3 --out "$scratch/refused" --plan "$scratch/missing.json"

finish
