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

finish
