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

# stopped for a while, killed, resumed at another price, ended, and resumed at a third: every second at the price of its attempt
power="--host-watts 100 --pue 1.2 --grid FR"
begin "$scratch/chain" 30 --checkpoint-every 10 --price 360 $power
kill -STOP $pid; sleep 1; kill -CONT $pid
lines=$(wc -l <"$scratch/chain/metrics.jsonl")
for i in $(seq 600); do [ "$(wc -l <"$scratch/chain/metrics.jsonl")" -gt $((lines + 30)) ] && break; sleep 0.05; done
kill -9 $pid; wait $pid 2>/dev/null
"$tally" train "${options[@]}" --out "$scratch/chain" --resume --price 720 >/dev/null 2>&1 & pid=$!
for i in $(seq 600); do tail -n 1 "$scratch/chain/metrics.jsonl" | grep -q '"loss"' && grep -q '"event"' "$scratch/chain/metrics.jsonl" && break; sleep 0.05; done
kill -TERM $pid; wait $pid 2>/dev/null
train --out "$scratch/chain" --resume --price 1080 --steps $(($(ls "$scratch/chain/checkpoints" | sed 's/step-//' | sort -n | tail -1) + 3)) && python3 - "$scratch/chain" 2>>"$scratch/err" <<'P'
import json, sys
l = json.load(open(sys.argv[1] + "/ledger.json"))
m = [json.loads(x) for x in open(sys.argv[1] + "/metrics.jsonl")]
first, second = [x["wall_s"] for x in m if x.get("event") == "resume"]
wall = l["wall_s"]
assert 0 < first < second < wall and l["bookings"]["stopped_s"] > 0.5, l
assert abs(sum(l["bookings"].values()) - wall) < 1e-6 * wall, l
usd = 0.1 * first + 0.2 * (second - first) + 0.3 * (wall - second)
assert abs(l["usd"] - usd) < 0.005, (l["usd"], usd)
assert abs(sum(l["usd_by_booking"].values()) - l["usd"]) < 1e-9 * l["usd"], l
e = l["energy"]
assert e["devices_j"] == l["energy_j"] and l["grid"].startswith("France 2024, 0.04418 kg CO2 per kWh (Ember"), l
lost = l["bookings"]["lost_s"] + l["bookings"]["stopped_s"]  # the killed attempt may not have recorded all of its energy
assert 100 * (wall - lost) * (1 - 1e-6) <= e["host_j"] <= 100 * wall * (1 + 1e-6), (e, wall, lost)
assert abs(e["overhead_j"] / (0.2 * (e["devices_j"] + e["host_j"])) - 1) < 0.1, e
assert abs(l["kg_co2"] / (sum(e.values()) / 3.6e6 * 0.04418) - 1) < 0.1 and l["power_usd"] is None, l
P
ok "across a stop, a kill, two resumes and two changes of price the bookings add up to the time and to the bill"
grep -q "and of the host: " "$scratch/err" && grep -q "and of cooling and conversion: " "$scratch/err" && grep -q "^carbon: 0.0.* kg CO2 (France 2024" "$scratch/err"
ok "the end names the energy of host and cooling, and the carbon with its grid"

# owned: 4 USD an hour, and power by the kWh
owned="--capex 35040 --years 1 --kwh-price 1000 --tdp-watts 3600"
train --out "$scratch/owned" --steps 5 $owned --pue 1.5 && train --out "$scratch/owned" --resume --steps 9 && python3 - "$scratch/owned" <<'P'
import json, sys
l = json.load(open(sys.argv[1] + "/ledger.json"))
e = l["energy"]
assert l["price_usd_per_hour"] == 4 and e["host_j"] is None and l["kg_co2"] is None and l["grid"] is None, l
assert abs(e["overhead_j"] / e["devices_j"] - 0.5) < 1e-9, e
assert abs(l["power_usd"] / (1000 * 1.5 * e["devices_j"] / 3.6e6) - 1) < 1e-9, l
assert abs(l["usd"] / (4 * l["wall_s"] / 3600 + l["power_usd"]) - 1) < 1e-9, l
assert abs(sum(l["usd_by_booking"].values()) / l["usd"] - 1) < 1e-9, l
P
ok "devices that are owned cost their share of the capital and their power, in each attempt"
grep -q "^  and of the host: not known (--host-watts)" "$scratch/err"; ok "what is not known is named"
train --out "$scratch/plain" --steps 1 && python3 - "$scratch/plain/ledger.json" <<'P'
import json, sys
l = json.load(open(sys.argv[1]))
assert l["energy"]["host_j"] is None and l["energy"]["overhead_j"] is None and l["kg_co2"] is None and l["power_usd"] is None, l
P
ok "without these options, host, cooling and carbon are null"
for bad in "--pue 0.9|--pue is 0.9, expected a number from 1 to 10" "--pue nan|--pue is nan" "--host-watts -1|--host-watts is -1" \
    "--grid XX|--grid XX is not in the table; expected kg of CO2 per kWh, or a country: AE" "--grid -3|--grid -3: expected 0 to 5 kg" \
    "--capex 0|--capex is 0; expected more than 0" "--capex 1 --salvage 1|--salvage is 1; expected at least 0 and less than 1" \
    "--capex 1 --price 1|--price, --capex: expected one of them" "--kwh-price 0.1|--kwh-price: is for devices that are owned; expected --capex" \
    "--years 3|--years: is for devices that are owned"; do
    refuses "${bad%%|*}" "${bad#*|}" train "${options[@]}" --out "$scratch/refused" --steps 1 ${bad%%|*}
done
[ ! -e "$scratch/refused/ledger.json" ]; ok "and nothing is written"

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
