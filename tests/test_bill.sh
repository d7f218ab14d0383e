# The bill of a run: every second of its life is booked, and large numbers do not overflow.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "what a run books"

text=$scratch/text.txt
lines_of_text 400 "$text"
tiny_llama "$scratch/model.json" 32 48 2 4 2
options=(--model "$scratch/model.json" --data "$text" --batch 2 --seq-len 32 --warmup 4 --threads 1 --peak-seconds 0)

refuses "tokens of a run beyond 2^63 are refused" "--steps 1000000000000 of 1000000000000 tokens" \
    train "${options[@]}" --steps 1000000000000 --global-batch 1000000000000 --out "$scratch/many"

train() { "$tally" train "${options[@]}" "$@" >"$scratch/out" 2>"$scratch/err"; }
# begins a run in the background, in $pid, and waits until it has written LINES lines of metrics
begin() { # RUN LINES OPTIONS...
    local run=$1 lines=$2; shift 2
    "$tally" train "${options[@]}" --out "$run" --steps 10000000 --checkpoint-every 0 "$@" >/dev/null 2>&1 & pid=$!
    for i in $(seq 600); do
        [ "$(cat "$run/metrics.jsonl" 2>/dev/null | wc -l)" -ge "$lines" ] && return
        sleep 0.05
    done
}
now() { date +%s.%N; }

# killed before its first checkpoint, and the same command again without --resume, at another price
since=$(now); begin "$scratch/again" 20 --price 1; sleep 1; kill -9 $pid; wait $pid 2>/dev/null; until=$(now)
train --out "$scratch/again" --steps 3 --price 5 && python3 - "$scratch/again" "$since" "$until" <<'P'
import json, sys
l = json.load(open(sys.argv[1] + "/ledger.json"))
lived = float(sys.argv[3]) - float(sys.argv[2])
lost = l["bookings"]["lost_s"]
assert 0.8 * lived < lost < lived + 0.05, (lost, lived)  # lived is longer by what the shell took
assert abs(l["usd_by_booking"]["lost_s"] * 3600 - lost) < 1e-6, l  # as paid
assert abs(l["usd"] * 3600 - lost - 5 * (l["wall_s"] - lost)) < 1e-6, l
m = [json.loads(x) for x in open(sys.argv[1] + "/metrics.jsonl")]
assert [x.get("step") for x in m] == [0, 1, 2, 3] and m[0]["event"] == "resume" and m[0]["dropped_lines"] >= 20, m[0]
assert abs(m[0]["wall_s"] - lost) < 1e-6, (m[0], lost)
P
ok "what a run spent before its first checkpoint stays in the bill when the run is started again"
grep -q '<td>\$0\.[0-9]*</td>' "$scratch/again/report.html" && python3 - "$scratch/again" <<'P'
import html, json, re, sys
page = html.unescape(open(sys.argv[1] + "/report.html").read())
rows = dict(re.findall(r'<tr><td><i class="b\d+"></i>([^<]*)</td>.*?<td>\$([0-9.]+)</td></tr>', page))
l = json.load(open(sys.argv[1] + "/ledger.json"))
paid, share = l["usd_by_booking"]["lost_s"], l["usd"] * l["bookings"]["lost_s"] / l["wall_s"]
assert abs(float(rows["lost work"]) - paid) < 0.2 * abs(share - paid), (rows, paid, share)
P
ok "report.html shows the money of each booking at the price that was paid"

# a refused attempt leaves the heartbeat as it was
cp "$scratch/again/heartbeat" "$scratch/heartbeat"
refuses "a folder that holds a run" "already holds a run" train "${options[@]}" --steps 3 --out "$scratch/again"
cmp -s "$scratch/again/heartbeat" "$scratch/heartbeat"; ok "a refused attempt does not change the heartbeat"

# stopped, and continued
begin "$scratch/stopped" 20
since=$(now); kill -STOP $pid; from=$(now); sleep 2; until=$(now); kill -CONT $pid; after=$(now)
lines=$(wc -l <"$scratch/stopped/metrics.jsonl")
for i in $(seq 600); do [ "$(wc -l <"$scratch/stopped/metrics.jsonl")" -gt $((lines + 20)) ] && break; sleep 0.05; done
kill -TERM $pid; wait $pid 2>/dev/null
python3 - "$scratch/stopped" "$since" "$from" "$until" "$after" <<'P'
import json, sys
l = json.load(open(sys.argv[1] + "/ledger.json"))
since, first, until, after = map(float, sys.argv[2:])
stopped = l["bookings"]["stopped_s"]
# the tick before the stop is known to 0.1 s, on an idle machine; one that is loaded moves both ends
assert 0.5 * (until - first) < stopped < after - since + 1, (stopped, first - since, until - first)
assert l["usd"] is None or l["usd_by_booking"]["stopped_s"] > 0, l
assert abs(sum(l["bookings"].values()) - l["wall_s"]) < 1e-6, l
P
ok "time in which the process is stopped is booked as stopped"
sed -i '/"stopped_s"/d; s/\("lost_s": [0-9.e-]*\),/\1/' "$scratch/stopped/ledger.json"
train --out "$scratch/stopped" --resume --steps $(($(ls "$scratch/stopped/checkpoints" | sed 's/step-//') + 2))
ok "an older ledger.json without this booking can be read"

finish
