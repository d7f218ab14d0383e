# plan: its figures are consistent and agree with hand-computed ones, and bad input gets one line that names the option.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "plan"

json() { # EXPRESSION ARGUMENTS...: python expression over the JSON object o that `tally plan ARGUMENTS --json` prints, and p, its plans
    local expression=$1; shift
    "$tally" plan "$@" --json 2>"$scratch/err" | python3 -c "
import json, math, sys
o = json.load(sys.stdin); p = o['plans']; r = p[0]
near = lambda a, b, within=1e-9: abs(a - b) <= within * abs(b)
sys.exit(not ($expression))" 2>>"$scratch/err"
}
json 'len(p) == 8 and [(r["devices"], r["shard"]) for r in p][3:5] == [(8, "full"), (64, "none")]' \
    --model llama3.2-1b --devices 8,64 --shard none,optimizer,gradients,full; ok "one row for each number of devices and each stage"
json 'all(near(r["step_ms"], r["useful_ms"] + r["recompute_ms"] + r["exposed_communication_ms"]) for r in p)' \
    --model llama3.2-1b --devices 1,8,64 --shard none,full --recompute block; ok "the step time is the sum of its parts"
json 'all(r["memory_bytes"] == sum(r["memory"].values()) for r in p)' \
    --model llama3.1-8b --devices 8 --shard none,full; ok "memory by category adds up"
json 'all(near(r["usd_per_mtok"] * r["tokens_per_s"] * 3.6e-3, 2.5 * r["devices"]) for r in p)' \
    --model llama3.1-8b --devices 8,64 --price 2.5; ok "the price per token"
json '0 < r["mfu"] < o["assumed"]["efficiency"] == 0.4' --model llama3.1-8b --devices 8 --efficiency 0.4; ok "MFU is below the assumed efficiency"

# FLOPs of design.md: 0.798 GFLOP a token
json 'near(o["flops_per_token"], 3 * (12 * (2 * 12 * 768**2 + 2 * 768 * 1025) + 2 * 768 * 50257)) and near(o["flops_per_token_palm"], 6 * o["parameters"] + 12 * 12 * 768 * 1024) and o["flops_per_token_6n"] == 6 * o["parameters"] == 6 * 124439808' \
    --model gpt2-124m --seq-len 1024; ok "FLOPs by three conventions"
json 'o["parameters"] == 124439808 and o["flops_per_token"] == 797870592' --model gpt2-124m; ok "gpt2-124m"
json 'o["parameters"] == 494032768' --model qwen2.5-0.5b; ok "qwen2.5-0.5b"
json 'o["parameters"] == 8030261248 and round(o["flops_per_token"] / 1e8) == 515' --model llama3.1-8b --seq-len 8192; ok "llama3.1-8b"
cat >"$scratch/mistral.json" <<'EOF'
{"model_type": "mistral", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
 "intermediate_size": 96, "vocab_size": 300, "max_position_embeddings": 512, "sliding_window": 40, "rms_norm_eps": 1e-5, "rope_theta": 10000}
EOF
# training is 3 times forward; a head's pairs of 200 tokens: 1 + 2 + .. + 40, then 40 each
json 'o["shape"]["window"] == 40 and o["shape"]["layers_with_window"] == 2 and o["flops_per_token"] * 200 ==
    3 * (200 * (2 * 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96) + 2 * 64 * 300) + 2 * 4 * 64 * (40 * 41 // 2 + 160 * 40))' \
    --model "$scratch/mistral.json" --seq-len 200; ok "a sliding window"
# PaLM, appendix B: 46.2% of 6144 TPU v4; here with a shape of about the same parameters and layers
json 'r["tokens_per_s"] == 4000 and all(near(r[k], o[f] * 4000 / (2 * 275e12)) for k, f in [("mfu", "flops_per_token"), ("mfu_palm", "flops_per_token_palm"), ("mfu_6n", "flops_per_token_6n")])' \
    --model llama2-7b --rate 4000 --devices 2 --gpu tpu-v4 --node-bandwidth 100 --node-latency 5; ok "--rate gives the MFU by each convention"
json 'near(r["mfu"], 0.3) and near(r["step_ms"], r["tokens_per_step"] * o["flops_per_token"] / (0.3 * 16 * 989.4e12) * 1e3)' \
    --model llama2-7b --mfu 0.3 --devices 16; ok "--mfu fixes the step time"
json 'abs(o["parameters"] / 6.9e9 - 1) < 1e-4 and o["shape"]["layers"] == 32 and o["shape"]["channels"] == 4096' \
    --parameters 6.9e9 --layers 32 --width 4096; ok "a model of so many parameters, layers and channels"

run="--model llama2-7b --devices 16 --tokens 1e9 --mfu 0.4 --tdp-watts 400 --host-watts 1000 --pue 1.2 --grid 0.3 --price 2 --mtbf-hours 16000"
json 'r["steps"] == math.ceil(1e9 / r["tokens_per_step"]) and near(r["run_s"], r["steps"] * r["step_ms"] * 1e-3) and near(r["wall_s"], r["run_s"] / r["goodput"])' $run; ok "steps and time of a run"
json 'near(r["device_hours"] * 3600, 16 * r["wall_s"]) and near(r["usd"], 2 * r["device_hours"]) and near(sum(r["usd_parts"].values()), r["usd"]) and near(r["usd_per_mtok"] * r["steps"] * r["tokens_per_step"], 1e6 * r["usd"])' $run; ok "the dollars are split without a rest"
for price in 2 2.31 0.0001; do "$tally" plan ${run/--price 2/--price $price} || break; done >"$scratch/out" 2>"$scratch/err"
python3 - "$scratch/out" 2>>"$scratch/err" <<'P'
import re, sys
from decimal import Decimal
usd = [Decimal(m) for m in re.findall(r"^  (?:useful|recompute|communication|failures|total) .*[$]([0-9.]+)", open(sys.argv[1]).read(), re.M)]
assert len(usd) == 15 and all(sum(usd[i:i + 4]) == usd[i + 4] > 0 for i in range(0, 15, 5)), usd
P
ok "the dollars that are printed add up to the cent"
json 'near(r["checkpoint_every_s"], (2 * 60 * 3.6e6)**0.5) and near(r["goodput"], 1 - (2 * 60 / 3.6e6)**0.5 - 300 / 3.6e6)' $run; ok "best interval and goodput"
json 'near(r["kwh"]["devices"], 16 * 0.4 * r["wall_s"] / 3600) and near(r["kwh"]["host"], 2 * r["wall_s"] / 3600) and near(r["kwh"]["total"], 1.2 * (r["kwh"]["devices"] + r["kwh"]["host"])) and near(r["energy_j"], 3.6e6 * r["kwh"]["devices"]) and near(r["kg_co2"], 0.3 * r["kwh"]["total"])' $run; ok "energy and carbon"
json 'r["tokens"] is None and all(r[k] is None for k in ("steps", "wall_s", "usd", "energy_j", "kg_co2", "goodput", "checkpoint_every_s"))' --model llama2-7b; ok "what is not known is null"
json 'r["kwh"]["host"] is None and r["kwh"]["overhead"] is None and r["kwh"]["total"] == r["kwh"]["devices"] and r["kg_co2"] is None and r["usd_parts"]["failures"] is None' \
    --model llama2-7b --tokens 1e9; ok "no host power, PUE, grid or failures is assumed"
# 30000 USD, half left after 3 years, 5% interest, 0.1 USD an hour, in use for 80%; 700 W x 1.2 x 0.1 USD
json 'near(o["assumed"]["usd_per_device_hour"]["value"], (30000 * 0.5 * (0.05 * 1.05**3 / (1.05**3 - 1)) / 8760 + 0.1) / 0.8 + 0.7 * 1.2 * 0.1)' \
    --capex 30000 --salvage 0.5 --years 3 --interest 0.05 --opex 0.1 --utilisation 0.8 --kwh-price 0.1 --pue 1.2; ok "the price of a device that is owned"
json 'all(near(r["usd"], r["device_hours"] * 30000 / (4 * 8760) + 0.1 * r["kwh"]["total"]) for r in p) and near(o["assumed"]["usd_per_device_hour"]["value"], 30000 / (4 * 8760) + 1.7 * 1.5 * 0.1)' \
    --model gpt2-124m --devices 1,3,8,16 --tokens 1e9 --capex 30000 --kwh-price 0.1 --host-watts 1000 --pue 1.5; ok "devices that are owned pay for the kWh of their hosts, shared or not"
json 'r["fits"] is False and r["spare_bytes"] == 80e9 - r["memory_bytes"] < 0' --model llama2-7b --shard none; ok "a model that does not fit, and by how much"
echo '{"name": "mine", "peak_bf16_tflops": 50}' >"$scratch/mine.json"
json 'o["assumed"]["peak_flops_per_s"]["value"] == 5e13 and r["memory_limit_bytes"] is None and r["fits"] is None and r["usd_per_mtok"] is None' \
    --model gpt2-124m --seq-len 64 --hardware "$scratch/mine.json" --memory-bandwidth 100; ok "--hardware, with what it does not tell unknown"
json 'r["memory_bytes"] > 0 and r["mfu"] > 0 and "measured" in o["assumed"]["peak_flops_per_s"]["source"]' --model llama-3m --seq-len 64 --gpu cpu --precision fp32
ok "--gpu cpu: this machine, with its measured peak"

json 'near(r["mfu"], 0.3)' --model llama-3m --seq-len 64 --gpu cpu --precision fp32 --mfu 0.3; ok "--gpu cpu with an MFU of the measured peak"

# --from: the step that a run did takes as long as it did, and needs the memory that it laid out
"$tally" train --model llama-3m --data tests/test_plan.c --out "$scratch/run" --steps 12 --seq-len 64 --batch 2 --price 0.5 --moments bf16 >"$scratch/out" 2>"$scratch/err"
measured() { python3 -c "import json, sys; c = json.load(open('$scratch/run/calibration.json')); print(c$1)"; }
json "near(r['step_ms'], 1e3 * $(measured '["step_s"]')) and r['memory'] == json.load(open('$scratch/run/plan.json'))['memory'] and r['moments'] == 'bf16' and near(o['assumed']['usd_per_device_hour']['value'], 0.5)" --from "$scratch/run"
ok "--from: time, memory and price of the step that a run did"
json "o['recompute'] == 'block' and r['batch'] == 2 and r['seq_len'] == 64 and r['step_ms'] > 0 and 'another step' in o['assumed']['speed']" --from "$scratch/run" --recompute block
ok "--from: options that are given replace those of the run"

"$tally" plan --model llama2-7b --tokens 1e9 --shard none >"$scratch/out" 2>"$scratch/err" && grep -q "not run" "$scratch/out" &&
    grep -q "is assumed to be reached" "$scratch/out" && grep -q "exceeds the memory of a device" "$scratch/out" && grep -q "^  carbon  *not known" "$scratch/out"
ok "the text of one plan says that it is a plan, what it assumes, what does not fit, and what is not known"
"$tally" plan --model llama2-7b --tokens 1e9 --devices 8,16 --shard none >"$scratch/out" 2>"$scratch/err" && [ "$(grep -c '^ *16 none ' "$scratch/out")" -eq 3 ]
ok "several plans are rows of tables: steps, memory, runs"

"$tally" plan --gpus --json | python3 -c "
import json, sys
gpus = {g['key']: g for g in json.load(sys.stdin)['gpus']}
h = gpus['h100']
assert len(gpus) > 15 and h['peak_bf16_flops_per_s'] == 989.4e12 and h['peak_fp8_flops_per_s'] > 1.9e15 and h['memory_bytes'] == 80e9
assert gpus['v100-sxm2']['peak_bf16_flops_per_s'] is None and gpus['tpu-v4']['usd_per_hour'] is None
for g in gpus.values():
    assert all((g[v] is None or g[s]) for v, s in [('peak_fp32_flops_per_s', 'peak_source'), ('memory_bytes', 'memory_source'), ('tdp_watts', 'tdp_source'), ('usd_per_hour', 'price_source')]), g
" 2>"$scratch/err"; ok "--gpus lists the hardware table; every figure has a source"

json '[(r["shard"], r["replicas"]) for r in p] == [("none", 1), ("full", 2)]' --model gpt2-124m --devices 16 --shard none,full --replicas 2
ok "--replicas is for the stages that shard"
json '2 * p[1]["memory_limit_bytes"] == p[0]["memory_limit_bytes"] and p[1]["fits"]' --model llama-3m --seq-len 64 --gpu cpu --precision fp32 \
    --threads 1 --devices 1,2 --peak-tflops 0.1 --node-bandwidth 4 --node-latency 50; ok "ranks on a CPU share its memory"
refuses "threads of each rank are not known" "--threads" plan --gpu cpu --devices 2
refuses "an unknown model, with the nearest" "llama-15m" plan --model llama-15
refuses "devices that are no number" '--devices "x"' plan --devices 8,x
refuses "a list that ends in a comma" "last comma" plan --devices 8,
refuses "no whole nodes" "--devices 12" plan --devices 12
refuses "an unknown stage" "--shard is \"ful\", expected none|optimizer|gradients|full" plan --shard ful
refuses "replicas that do not divide" "--replicas 3" plan --devices 8 --replicas 3
refuses "groups that straddle nodes" "--gpus-per-node 8" plan --devices 24 --replicas 2
refuses "a sequence longer than the context" "--seq-len 4096" plan --model gpt2-124m --seq-len 4096
refuses "an unknown device" "--gpu: .*h1000" plan --gpu h1000
refuses "a sparse peak given for dense" "--peak-tflops" plan --gpu h100 --peak-tflops 1979
refuses "a peak above the dense one" "--peak-tflops" plan --gpu a100-80gb --peak-tflops 400
refuses "a negative price" "--price" plan --price -1
refuses "no tokens" "--tokens" plan --tokens 0
refuses "1e30 tokens" "--tokens" plan --tokens 1e30
refuses "tokens that are not a number" "--tokens" plan --tokens nan
refuses "an MFU that is not a number" "--mfu" plan --mfu nan
refuses "an MFU above 1" "--mfu" plan --mfu 1.01
refuses "a price that is not a number" "--price" plan --price nan
refuses "two ways to give the speed" "--mfu, --rate" plan --mfu 0.4 --rate 1000
refuses "a rate above the peak" "--rate" plan --model llama2-7b --rate 1e6
refuses "an MFU that recomputation lifts above the peak" "--mfu" plan --model llama2-7b --mfu 0.9 --recompute block
refuses "one rate for several rows" "--rate" plan --rate 1000 --devices 1,2
refuses "a run and an MFU" "--mfu, .*--from" plan --from "$scratch/run" --mfu 0.3
refuses "the speed of another device" "--gpu h100: the run's device is .*; expected --gpu cpu" plan --from "$scratch/run" --gpu h100
refuses "the speed of a device of one's own" "--from, --hardware" plan --from "$scratch/run" --hardware "$scratch/mine.json"
refuses "the speed of other threads" "--threads 7: the run of --from measured the speed of [0-9]*; expected" plan --from "$scratch/run" --threads 7
refuses "a run that is not there" "$scratch/none" plan --from "$scratch/none"
refuses "two prices" "--price, --capex" plan --price 1 --capex 2
refuses "a price of power that rent includes" "--kwh-price" plan --kwh-price 0.1
refuses "an unknown grid" "--grid" plan --grid XX
refuses "fewer parameters than the shape has without its feed-forward" "--parameters 1e+06" plan --parameters 1e6 --layers 32 --width 4096
refuses "layers without parameters" "--parameters" plan --layers 32
refuses "no network between nodes" "--network" plan --gpu l40s --devices 16
refuses "failures that take all of the time" "--mtbf-hours 0.01: on 8 devices" plan --mtbf-hours 0.01 --devices 8
finish
