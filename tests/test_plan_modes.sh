# plan --search and plan --budget: what they print is consistent with what plan itself says of the same configuration.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "plan --search and --budget"

json() { # EXPRESSION ARGUMENTS...: python expression over the JSON object o that `tally plan ARGUMENTS --json` prints
    local expression=$1; shift
    "$tally" plan "$@" --json 2>"$scratch/err" >"$scratch/out" &&
        python3 -c "import json, sys; o = json.load(open(sys.argv[1])); sys.exit(not ($expression))" "$scratch/out" 2>>"$scratch/err"
}
model="--model llama3.2-1b --seq-len 2048 --devices 8 --gpu h100"
json 'o["cheapest"]["fits"] and o["cheapest"] in o["frontier"] and o["configurations"] > 100' $model --batch 8 --tokens 1e10 --search
ok "the cheapest configuration is on the frontier and fits"
python3 -c 'import json, sys; o = json.load(open(sys.argv[1])); print(o["cheapest"]["options"]); print(o["cheapest"]["usd"], o["cheapest"]["memory_bytes"])' \
    "$scratch/out" >"$scratch/cheapest"
read -r usd bytes < <(sed -n 2p "$scratch/cheapest")
# shellcheck disable=SC2046
json "abs(o['plans'][0]['usd'] / $usd - 1) < 1e-12 and o['plans'][0]['memory_bytes'] == $bytes" $model --tokens 1e10 $(sed -n 1p "$scratch/cheapest")
ok "plan says the same of its options"
"$tally" plan $model --batch 8 --search --svg "$scratch/f.svg" >"$scratch/out" 2>"$scratch/err" && grep -q "^\* the cheapest that fits: --batch" "$scratch/out" && grep -q "^  price .*USD per device-hour (Lambda" "$scratch/out" &&
    python3 -c 'import sys, xml.dom.minidom as x; d = x.parse(sys.argv[1]); assert len(d.getElementsByTagName("circle")) > 3' "$scratch/f.svg" 2>"$scratch/err"
ok "the text and the picture"
echo '{"name": "mine", "peak_bf16_tflops": 50}' >"$scratch/mine.json"
json 'o["memory_limit_bytes"] is None and o["fitting"] is None and o["cheapest"]["fits"] is None' \
    --model gpt2-124m --hardware "$scratch/mine.json" --memory-bandwidth 100 --search
ok "where the memory of a device is not known, no configuration is said to fit"
json 'o["cheapest"] is None and not any(p["fits"] for p in o["frontier"])' --model llama2-70b --devices 1 --search
ok "where nothing fits there is no cheapest"
json 'all(p["recompute"] == "block:3" and p["moments"] == "fp32" and p["shard"] == "gradients" for p in o["frontier"])' \
    $model --batch 4 --recompute block:3 --moments fp32 --shard gradients --search
ok "options that are given are kept"

# the speed of every configuration is the one that plan --from gives it
lines_of_text 100 "$scratch/text.txt"
"$tally" train --model llama-3m --data "$scratch/text.txt" --out "$scratch/run" --steps 10 --batch 2 --seq-len 32 --peak-seconds 0.05 \
    --eval-batches 1 >"$scratch/out" 2>"$scratch/err" && "$tally" plan --from "$scratch/run" --batch 4 --search --json >"$scratch/out" 2>"$scratch/err" &&
    python3 - "$scratch/out" "$tally" "$scratch/run" 2>"$scratch/err" <<'P'; ok "with --from, each at the speed that the run gives it"
import json, subprocess, sys
o = json.load(open(sys.argv[1]))
assert o["frontier"] and o["simulated"] == o["configurations"]
for p in o["frontier"]:
    plan = subprocess.run([sys.argv[2], "plan", "--from", sys.argv[3], "--json"] + p["options"].split(), capture_output=True, check=True)
    assert json.loads(plan.stdout)["plans"][0]["tokens_per_s"] == p["tokens_per_s"], (p, plan.stdout)
P

json 'abs(o["device_hours"] - 1000) < 1e-6 and abs(o["wall_s"] - 450000) < 1e-3 and len(o["laws"]) == 5 and o["answer"] == "besiroglu"' \
    --budget 2000 --price 2 --gpu h100 --devices 8
ok "a budget"
json 'all(abs(6 * l["parameters"] * l["tokens"] / o["flops"] - 1) < 1e-9 for l in o["laws"]) and o["laws"][4]["epochs"] > 1' \
    --budget 2000 --price 2 --gpu h100 --devices 8 --tokens-at-most 1e9
ok "every law spends the same FLOPs, and limited data is repeated"
"$tally" plan --budget 2000 --gpu h100 --devices 8 >"$scratch/out" 2>"$scratch/err" && grep -q "nearest presets" "$scratch/out" && grep -q "Besiroglu" "$scratch/out" && grep -q "^  price .*USD per device-hour (Lambda" "$scratch/out"
ok "the text names the presets and the sources"
refuses "no money" "--budget is \"0\"\|--budget is 0" plan --budget 0
refuses "money that is no number" "--budget" plan --budget nan
refuses "two modes" "--search, --budget" plan --search --budget 10
refuses "a list and a mode" "--gpus, --search" plan --gpus --search
refuses "claims and a budget" "--reproduce, .*--budget" plan --reproduce --budget 10
refuses "a model for a budget" "--model" plan --budget 10 --model gpt2-124m
refuses "the rate of an unknown model" "--budget, --rate: expected --model" plan --budget 10 --rate 1e4
json 'o["budget_usd"] == 10 and o["flops"] > 0' --budget 10 --rate 1e4 --model llama3.2-1b; ok "a budget at the MFU of a rate"
refuses "tokens for a budget" "--tokens" plan --budget 10 --tokens 1e9
refuses "several numbers of devices" "expected one each" plan --search --devices 8,16
refuses "a picture of nothing" "--svg" plan --svg x.svg
refuses "a limit without a budget" "--tokens-at-most" plan --tokens-at-most 1e9
refuses "no tokens at all" "--tokens-at-most is" plan --budget 10 --tokens-at-most 0
"$tally" plan $model --search --svg "$scratch/no/such/folder.svg" >"$scratch/out" 2>"$scratch/err"
[ $? -eq 1 ] && grep -q "no/such/folder.svg" "$scratch/err" && [ ! -s "$scratch/out" ]; ok "a picture that cannot be written fails before anything is printed"
finish
