# A training run as a user starts it: resume after a kill at any moment, signals, budget, bad input.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "the training run"

text=$scratch/text.txt
lines_of_text 400 "$text"
tiny_llama "$scratch/model.json" 32 48 2 4 2
options=(--model "$scratch/model.json" --data "$text" --steps 24 --batch 2 --seq-len 32 --warmup 4 --lr 1e-2
    --checkpoint-every 5 --eval-every 8 --eval-batches 2 --threads 1 --price 1 --keep 2 --peak-seconds 0)
train() { local run=$1; shift; "$tally" train "${options[@]}" --out "$run" "$@" >"$scratch/out" 2>"$scratch/err"; }
weights() { cat "$1"/checkpoints/step-"${2:-24}"/{model,optimizer}.safetensors | sha256sum; }

train "$scratch/whole"; ok "a run ends with exit code 0"
[ "$(grep -c '"loss"' "$scratch/whole/metrics.jsonl")" -eq 24 ]; ok "metrics.jsonl has one line per step"
[ "$(ls "$scratch/whole/checkpoints" | sort | tr '\n' ' ')" = "step-20 step-24 " ]; ok "--keep 2 keeps the last two checkpoints"
[ -s "$scratch/whole/report.html" ]; ok "the report is written"
train "$scratch/again"; [ "$(weights "$scratch/again")" = "$(weights "$scratch/whole")" ]; ok "a repeated run gives the same bits"
refuses "a folder that holds a run is not overwritten" "already holds a run" train "${options[@]}" --out "$scratch/whole"

# the ledger: bookings add up to wall time, money to the price
python3 - "$scratch/whole" <<'P'; ok "every second and cent is booked once"
import json, sys
l = json.load(open(sys.argv[1] + "/ledger.json"))
m = [json.loads(x) for x in open(sys.argv[1] + "/metrics.jsonl")]
assert abs(sum(l["bookings"].values()) - l["wall_s"]) < 1e-6, l
assert abs(sum(l["usd_by_booking"].values()) - l["usd"]) < 1e-9, l
assert abs(l["usd"] - l["wall_s"] / 3600) < 1e-9 and l["wall_s"] >= m[-1]["wall_s"], l
assert all(a["wall_s"] <= b["wall_s"] for a, b in zip(m, m[1:]))
assert m[-1]["tokens"] == 24 * 64 == l["tokens"]
P

# kill -9 in the middle of steps, saves and start-up, again and again, until it is through
kill_and_resume() { # NAME DELAYS...
    local name=$1 run=$scratch/$1; shift
    for delay in "$@"; do
        "$tally" train "${options[@]}" --out "$run" --resume >/dev/null 2>&1 & local pid=$!
        sleep "$delay"; kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null
    done
    train "$run" --resume && [ "$(weights "$run")" = "$(weights "$scratch/whole")" ]
}
kill_and_resume killed $(for i in $(seq 12); do echo "0.$((RANDOM % 40 + 5))"; done)
ok "killed at random moments and resumed, the weights are bitwise those of the uninterrupted run"

# and at every write, fsync and rename, of the saves and all else: the process dies before the N-th
short=(--steps 6 --checkpoint-every 3)
train "$scratch/short" "${short[@]}"
expected=$(weights "$scratch/short" 6) same=0 boundaries=0
{
    for n in $(seq 1 200); do
        run=$scratch/boundary
        rm -rf "$run"
        TALLY_CRASH_AT_WRITE=$n train "$run" "${short[@]}"
        [ $? -eq 137 ] || break
        boundaries=$((boundaries + 1))
        train "$run" --resume "${short[@]}" && [ "$(weights "$run" 6)" = "$expected" ] || { same=1; break; }
    done
} 2>/dev/null # the shell's own word on each kill
[ $same -eq 0 ] && [ $boundaries -ge 30 ]; ok "killed at each of $boundaries write boundaries and resumed: bitwise the same"

# killed in the last save, it has steps 4 to 6 to do again
TALLY_CRASH_AT_WRITE=$((boundaries - 20)) train "$scratch/lost" "${short[@]}" 2>/dev/null
wall=$(tail -1 "$scratch/lost/metrics.jsonl" | sed 's/.*"wall_s":\([0-9.]*\).*/\1/')
train "$scratch/lost" --resume "${short[@]}"
python3 - "$scratch/lost" "$wall" <<'P'; ok "the time of a killed attempt is booked as lost work, and stays in the bill"
import json, sys
l = json.load(open(sys.argv[1] + "/ledger.json"))
events = [json.loads(x) for x in open(sys.argv[1] + "/metrics.jsonl") if '"event"' in x]
assert events[-1]["step"] == 3 and events[-1]["wall_s"] >= float(sys.argv[2]), events
assert l["bookings"]["lost_s"] > 0 and l["wall_s"] > float(sys.argv[2]), l
assert abs(l["usd"] - l["wall_s"] / 3600) < 1e-9 and l["usd_by_booking"]["lost_s"] > 0, l
assert abs(sum(l["bookings"].values()) - l["wall_s"]) < 1e-6, l
P

train "$scratch/lost" --resume "${short[@]}" --price 3 --steps 7 && python3 - "$scratch/lost" <<'P'
import json, sys
p = sys.argv[1] + "/ledger.json"
l = json.load(open(p))
assert l["wall_s"] / 3600 < l["usd"] < 3 * l["wall_s"] / 3600, l
del l["usd_by_booking"]
json.dump(l, open(p, "w"))
P
ok "money that is billed stays the same at another price"
train "$scratch/lost" --resume "${short[@]}" --steps 7 --price 2 && python3 -c 'import json, sys
l = json.load(open(sys.argv[1] + "/ledger.json")); assert abs(l["usd"] - 2 * l["wall_s"] / 3600) < 1e-9, l' "$scratch/lost"
ok "an older bill without money by booking is priced at the present price"

python3 - "$scratch/killed" <<'P'; ok "a killed run's ledger still adds up, and its lost work is booked"
import json, sys
l = json.load(open(sys.argv[1] + "/ledger.json"))
assert abs(sum(l["bookings"].values()) - l["wall_s"]) < 1e-6, l
steps = [json.loads(x) for x in open(sys.argv[1] + "/metrics.jsonl")]
numbers = [s["step"] for s in steps if "loss" in s]
assert numbers == list(range(1, 25)), numbers
P

for signal in INT:130 TERM:143; do
    expected=${signal#*:} signal=${signal%:*}
    run=$scratch/signal-$signal
    # python restores SIGINT, which a script's background jobs have ignored
    python3 -c 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])' \
        "$tally" train "${options[@]}" --steps 100000 --out "$run" --checkpoint-every 0 >/dev/null 2>"$scratch/err" & pid=$!
    for i in $(seq 200); do [ -s "$run/metrics.jsonl" ] && break; sleep 0.05; done
    kill -"$signal" $pid; wait $pid
    [ $? -eq "$expected" ]
    ok "SIG$signal saves and stops with its exit code"
    "$tally" inspect "$run" --json >"$scratch/out" 2>"$scratch/err" && grep -q '"whole":true' "$scratch/out"
    ok "this checkpoint is complete"
done

train "$scratch/budget" --steps 100000 --price 3600 --budget 1.5; status=$?
# on a busy machine starting alone may cost more: then there is no step
[ $status -eq 0 ] && { within_budget "$scratch/budget" 1.5 || [ ! -s "$scratch/budget/metrics.jsonl" ]; } && ls "$scratch/budget/checkpoints" | grep -q step-
ok "--budget ends the run with a checkpoint before it is exceeded"

train "$scratch/diverged" --lr 100 --warmup 0 --eps 1e-20 --beta1 0 --clip 0 --schedule constant --max-skipped 3; [ $? -eq 1 ] && grep -q "max-skipped" "$scratch/err"
ok "losses that are not finite end the run after --max-skipped, with exit code 1"
"$tally" inspect "$scratch/diverged" --json >"$scratch/out" 2>"$scratch/err" && grep -q '"whole":true' "$scratch/out"
ok "they leave a checkpoint of the last weights that are finite"

for variant in "--precision fp32" "--moments bf16" "--master none" "--recompute block" "--global-batch 256"; do
    train "$scratch/v1" $variant && train "$scratch/v2" --steps 24 $variant --checkpoint-every 7
    [ "$(weights "$scratch/v1")" = "$(weights "$scratch/v2")" ]
    ok "$variant: a repeated run gives the same bits"
    rm -rf "$scratch/v1" "$scratch/v2"
done
train "$scratch/blocks" --recompute block; [ "$(weights "$scratch/blocks")" = "$(weights "$scratch/whole")" ]
ok "--recompute block ends with bitwise the weights of --recompute none"

"$tally" train --out "$scratch/whole" --resume --steps 30 >"$scratch/out" 2>"$scratch/err" && [ -d "$scratch/whole/checkpoints/step-30" ]
ok "--resume --steps continues with the options of the run"
"$tally" generate "$scratch/whole" --seed 3 --tokens 40 >"$scratch/a" 2>"$scratch/err" && "$tally" generate "$scratch/whole" --seed 3 --tokens 40 >"$scratch/b" 2>/dev/null && cmp -s "$scratch/a" "$scratch/b"
ok "generate with the same seed gives the same text"
"$tally" eval "$scratch/whole" --data "$text" --seq-len 32 --json >"$scratch/out" 2>"$scratch/err" && grep -q '"loss":[0-9]' "$scratch/out"
ok "eval prints a loss"

echo short >"$scratch/short.txt"
refuses "text shorter than a sequence" "expected" train --data "$scratch/short.txt" --out "$scratch/x"
refuses "--data that is missing" "$scratch/none" train --data "$scratch/none" --out "$scratch/x"
refuses "an unknown option, with the nearest" "nearest is --steps" train --data "$text" --out "$scratch/x" --stesp 3
refuses "an unknown model, with the nearest" "gpt2-124m" train --data "$text" --out "$scratch/x" --model gpt2-124
refuses "a number that is none" "--steps" train --data "$text" --out "$scratch/x" --steps many
refuses "a global batch that does not divide" "--global-batch" train "${options[@]}" --out "$scratch/x" --global-batch 100
refuses "a recompute policy that is none" "--recompute" train "${options[@]}" --out "$scratch/x" --recompute all
refuses "another seed on resume" "--seed" train "${options[@]}" --out "$scratch/again" --resume --seed 5
refuses "other data on resume" "crc32 of the data" train "${options[@]}" --out "$scratch/again" --resume --data tests/tap.sh
refuses "another held-out part on resume" "--val-fraction" train "${options[@]}" --out "$scratch/again" --resume --val-fraction 0.2
sed 's/10000.0/500000.0/' "$scratch/model.json" >"$scratch/other.json"
refuses "another model of the same shapes on resume" "not the model of" train "${options[@]}" --out "$scratch/again" --resume --model "$scratch/other.json"
echo '{"stesp": 3}' >"$scratch/bad.json"
refuses "an unknown key in --config" "nearest is \"steps\"" train --config "$scratch/bad.json" --data "$text" --out "$scratch/x"
refuses "a folder without a model" "expected a run" generate "$scratch"
refuses "an unknown command" "nearest is train" trian
[ ! -e "$scratch/x" ]; ok "nothing is written for input that is refused"
finish
