# plan: its figures are consistent, and for bad input it names the expected values.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "plan"

json() { # EXPRESSION ARGUMENTS...: python expression over the JSON object o that `tally plan ARGUMENTS --json` prints
    local expression=$1; shift
    "$tally" plan "$@" --json 2>"$scratch/err" | python3 -c "import json, sys; o = json.load(sys.stdin); p = o['predictions']; sys.exit(not ($expression))" 2>>"$scratch/err"
}
json 'len(p) == 8 and [(r["devices"], r["shard"]) for r in p][3:5] == [(8, "full"), (64, "none")]' \
    --model llama3.2-1b --devices 8,64 --shard none,optimizer,gradients,full; ok "one row for each number of devices and each stage"
json 'all(abs(r["step_ms"] - r["compute_ms"] - r["exposed_ms"]) < 1e-5 for r in p)' \
    --model llama3.2-1b --devices 1,8,64 --shard none,full; ok "the step time is the sum of computation and exposed communication"
json 'all(r["memory_bytes"] == sum(v for k, v in r.items() if k.endswith("_bytes") and k != "memory_bytes") for r in p)' \
    --model llama3.1-8b --devices 8 --shard none,full; ok "memory by category adds up"
json 'all(abs(r["usd_per_mtok"] * r["tokens_per_s"] * 3.6e-3 / (2.5 * r["devices"]) - 1) < 1e-12 for r in p)' \
    --model llama3.1-8b --devices 8,64 --price 2.5; ok "the price per token"
json '0 < p[0]["mfu"] < o["assumed_efficiency"] == 0.4' --model llama3.1-8b --efficiency 0.4; ok "MFU is below the assumed efficiency"
"$tally" plan --model llama2-7b --devices 8 --shard none >"$scratch/out" 2>"$scratch/err" && grep -q "not run" "$scratch/out" &&
    grep -q "is assumed to be reached" "$scratch/out" && grep -q "exceeds the memory of a device" "$scratch/out"
ok "the text says that it is a prediction, what it assumes, and what does not fit into memory"
refuses "devices that are no number" '--devices "x"' plan --devices 8,x
refuses "no whole nodes" "--devices 12" plan --devices 12
refuses "an unknown stage" "--shard is \"ful\", expected none|optimizer|gradients|full" plan --shard ful
refuses "replicas that do not divide" "--replicas 3" plan --devices 8 --replicas 3
refuses "groups that straddle nodes" "--gpus-per-node 8" plan --devices 24 --replicas 2
refuses "a sequence longer than the context" "--seq-len 4096" plan --model gpt2-124m --seq-len 4096
finish
