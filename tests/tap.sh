# Shared by the tests in shell: TAP lines, a scratch folder, the program.
set -u
tally=${TALLY:?TALLY names the program to test}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
count=0 failures=0

# ok NAME: the last command decides;  use: COMMAND; ok "name"
ok() {
    local status=$?
    count=$((count + 1))
    if [ $status -eq 0 ]; then echo "ok $count - $1"; else
        echo "not ok $count - $1"
        failures=$((failures + 1))
        [ ! -s "$scratch/err" ] || sed 's/^/# /' "$scratch/err" | tail -5
    fi
}
skip() { count=$((count + 1)); echo "ok $count - $1 # SKIP $2"; }

# refuses NAME PATTERN ARGUMENTS...: exit code 2, one line on standard error, which matches
refuses() {
    local name=$1 pattern=$2; shift 2
    "$tally" "$@" >"$scratch/out" 2>"$scratch/err"
    local status=$?
    [ $status -eq 2 ] && [ "$(wc -l <"$scratch/err")" -eq 1 ] && grep -q -- "$pattern" "$scratch/err"
    ok "$name"
}

# within_budget RUN USD: the last step was begun because it was expected to fit into the budget. Its real time depends on the
# machine; the shortest step before it is the least that can have been expected.
within_budget() {
    python3 - "$@" <<'P'
import json, sys
bill = [json.loads(x)["usd"] for x in open(sys.argv[1] + "/metrics.jsonl") if '"loss"' in x]
steps = [b - a for a, b in zip(bill, bill[1:-1])]
assert bill[0] > 0 and (not steps or bill[-2] + min(steps) <= float(sys.argv[2])), bill[-3:]
P
}

# need_python NAME: the rest of the script is skipped where there is no python3
need_python() { command -v python3 >/dev/null || { skip "$1" "no python3 here"; finish; }; }

# lines_of_text N FILE: N short lines, all different
lines_of_text() {
    for i in $(seq "$1"); do echo "line $i: the quick brown fox jumps over the lazy dog, $((i * 7919 % 1000)) times"; done >"$2"
}

# tiny_llama FILE HIDDEN INTERMEDIATE LAYERS HEADS KV_HEADS [KEY]...: a config.json of byte-level text with a context of 64; KEY: "name": value
tiny_llama() {
    local file=$1 hidden=$2 intermediate=$3 layers=$4 heads=$5 kv=$6; shift 6
    cat >"$file" <<J
{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 257, "hidden_size": $hidden, "intermediate_size": $intermediate,
 "num_hidden_layers": $layers, "num_attention_heads": $heads, "num_key_value_heads": $kv, ${*/%/, }"max_position_embeddings": 64,
 "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu"}
J
}

finish() { echo "1..$count"; exit $((failures > 0)); }
