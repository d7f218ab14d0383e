# The pages and the table of `tally report`: in a real headless browser, where there is one, and read by Python.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "reports"

# a run with everything recorded, two ranks, a resume, and names that are markup
cat >"$scratch/make.py" <<'P'
import json, math, os, sys
folder, seed, steps = sys.argv[1], *map(int, sys.argv[2:])
os.makedirs(folder)
hostile = '</script><script>window.hacked=1</script><img src=x onerror="window.hacked=1">&\'"\u2028'
usd = {"useful_s": 0.0, "startup_s": 0.5, "data_wait_s": 0.0}
with open(folder + "/metrics.jsonl", "w") as f:
    for step in range(1, steps + 1):
        usd["useful_s"] += 0.01
        usd["data_wait_s"] += 0.001 * (step % 3)
        if step == 151: f.write('{"event":"resume","step":150,"wall_s":9,"usd":2}\n')
        evaluated = step % 50 == 0
        json.dump({"step": step, "a.b": {"c.d": step}, "tokens": step << 40, "flops_model": 3 << 70, "loss": 2 + 4 / step + (step * 7919 % 13 + seed) * 0.01,
                   "val_loss": 2.5 + 2 / step if evaluated else None, "lr": 1e-3 * math.cos(step / 250), "grad_norm": 1 + step % 5,
                   "step_ms": 20 + step % 4, "tokens_per_s": 50000 + step * (seed + 1), "mfu": 0.4, "hfu": 0.5, "memory_bytes": 1 << 30,
                   "ranks": 2, "exposed_ms": 1.5, "energy_j": 9, "energy_source": 'a "quoted", text\n' if step == 9 else "nvml",
                   "gpu_sm_mhz": 1700 + step % 9, "gpu_temperature_c": 60, "skipped": False, "drift_time": 0.01 * step if evaluated else None,
                   "wall_s": step * 0.03 + 2, "usd": sum(usd.values()), "usd_by_booking": {k: v for k, v in usd.items() if v}}, f)
        f.write("\n")
bookings = {"useful_s": 9.0, "startup_s": 2.0, hostile: 1.0}
json.dump({"tokens": 300 << 40, "wall_s": 12, "usd": 4, "energy_j": 3e6, "price_source": hostile, "bookings": bookings,
           "energy": {"devices_j": 3e6, "host_j": None, "overhead_j": 5e5}, "kg_co2": 0.05, "power_usd": 0.25, "grid": hostile}, open(folder + "/ledger.json", "w"))
json.dump({"model": hostile, "lr": 1e-3 * (seed + 1), "data": [hostile], hostile: seed, "out": folder}, open(folder + "/config.json", "w"))
json.dump({"source": hostile, "step_ms": 20, "usd": 3, "memory_bytes": 1 << 30, "memory": {"parameters": 1 << 29, hostile: 1 << 28},
           "actual": {"step_ms": 21.5, "usd": 4, "memory": {"parameters": 3 << 28}}, "error": {"step_ms": 0.075, "usd": 0.333}, "causes": [hostile]}, open(folder + "/plan.json", "w"))
open(folder + "/sample.txt", "w").write("</pre>" + hostile)
P
python3 "$scratch/make.py" "$scratch/one" 0 300 && python3 "$scratch/make.py" "$scratch/other <b>&" 1 200
"$tally" report "$scratch/one" 2>"$scratch/err" && [ -s "$scratch/one/report.html" ]; ok "the page of a run is report.html in its folder"
ls "$scratch/other <b>&" >"$scratch/before"
"$tally" report "$scratch/one" "$scratch/other <b>&" --out "$scratch/both.html" --csv "$scratch/both.csv" 2>"$scratch/err"; ok "a page and a table of two runs"
ls "$scratch/other <b>&" | cmp -s - "$scratch/before"; ok "with --out and --csv the folders of the runs stay as they are"
(: >"$scratch/small" && ulimit -f 8 && "$tally" report "$scratch/one" --out "$scratch/small" --csv "$scratch/small.csv") 2>"$scratch/err"
[ $? -eq 1 ] && [ ! -s "$scratch/small" ] && [ ! -e "$scratch/small.csv" ] && [ -z "$(ls "$scratch" | grep '\.tmp$')" ]; ok "a full disk leaves no half of a file"

python3 - "$scratch/both.csv" "$scratch/one" "$scratch/other <b>&" <<'P' 2>"$scratch/err"
import csv, json, sys
rows, expected = list(csv.DictReader(open(sys.argv[1], newline=""))), []
for run in sys.argv[2:]:
    for line in open(run + "/metrics.jsonl"):
        step = json.loads(line)
        if "event" not in step: expected.append((run, step))
assert len(rows) == len(expected) == 500, len(rows)
cell = lambda v: "" if v is None else v if isinstance(v, str) else str(v).lower() if isinstance(v, bool) else v
for row, (run, step) in zip(rows, expected):
    flat = {"run": run}
    for k, v in step.items(): flat.update({k + "." + i: w for i, w in v.items()} if isinstance(v, dict) else {k: v})
    for k in row:
        want = cell(flat.get(k))
        assert row[k] == want if isinstance(want, str) else int(row[k]) == want if isinstance(want, int) else float(row[k]) == want, (k, row[k], want)
    assert set(flat) <= set(row), set(flat) - set(row)
P
ok "each cell of the CSV is the value in metrics.jsonl, with all digits"

python3 - "$scratch/one/report.html" "$scratch/both.html" <<'P' 2>"$scratch/err"
import html.parser, json, sys
class Page(html.parser.HTMLParser):
    def __init__(self): super().__init__(); self.tags, self.text, self.scripts, self.inside = [], "", [], None
    def handle_starttag(self, tag, attributes):
        self.tags.append(tag); self.inside = tag
        assert not any(a.startswith("on") or a in ("src", "href") for a, _ in attributes), attributes
    def handle_endtag(self, tag): self.inside = None
    def handle_data(self, data):
        if self.inside == "script": self.scripts.append(data)
        else: self.text += data
for path in sys.argv[1:]:
    page = Page(); page.feed(open(path).read())
    assert len(page.scripts) == 2 and "img" not in page.tags, page.tags
    assert page.text.count('<img src=x onerror="window.hacked=1">') >= 8
    data = json.loads(page.scripts[0])
    steps = [json.loads(x) for x in open(sys.argv[1].replace("report.html", "metrics.jsonl")) if "event" not in x]
    columns = data["runs"][0]["columns"]
    loss, usd = columns["LOSS"], columns.get("USEFUL_USD")
    assert all(abs(a - b["loss"]) < 1e-6 * a for a, b in zip(loss, steps)) and len(loss) == 300
    assert (usd is None) == (path != sys.argv[1])  # a comparison shows the sum alone
    assert all(abs(a - b["usd_by_booking"]["useful_s"]) < 1e-6 * a for a, b in zip(usd or [], steps))
    assert data["runs"][0]["resumed"] == [150]
P
ok "what comes from files is text in the page, never markup; its data are those of the run"
for fact in "+7.5%</td>" 'class="off">+33.3%</td>' "21.5 ms" "<td>512.0 MiB</td><td>768.0 MiB</td>" "833.3 Wh" "50 g</td>" "<td>\$0.2500</td>"; do
    grep -qF -- "$fact" "$scratch/one/report.html" || echo "$fact is missing"
done >"$scratch/err"
[ ! -s "$scratch/err" ]; ok "the plan beside what happened, memory by category, and energy by name"
grep -q '<th scope="row">lr</th><td>0.001</td><td>0.002</td>' "$scratch/both.html" && ! sed -n '/Options that differ/,/<details>/p' "$scratch/both.html" | grep -q '>data<'
ok "the options that differ, and only those"

refuses "several runs without --out" "expected --out FILE or --csv FILE" report "$scratch/one" "$scratch/one"
refuses "a picture of several runs" "--loss-svg: found 2 runs" report "$scratch/one" "$scratch/one" --out "$scratch/x" --loss-svg "$scratch/y"
refuses "nine runs on a page" "found 9 runs, expected at most 8" report 1 2 3 4 5 6 7 8 9 --out "$scratch/x"
refuses "a folder without a run" "nowhere/metrics.jsonl" report "$scratch/nowhere" --csv "$scratch/x"
[ ! -e "$scratch/x" ] && [ ! -e "$scratch/y" ]; ok "what is refused writes nothing"

browser=$(command -v chromium-headless-shell || command -v chromium || command -v google-chrome) ||
    { skip "the pages in a browser" "no chromium-headless-shell, chromium or google-chrome here"; finish; }
mkdir "$scratch/pictures" "$scratch/long" "$scratch/empty"
for i in $(seq 5000); do echo "{\"step\":$i,\"loss\":$((i * 7919 % 997)).5}"; done >"$scratch/long/metrics.jsonl"
: >"$scratch/empty/metrics.jsonl"
"$tally" report "$scratch/long" && "$tally" report "$scratch/empty"; ok "the pages of a long run and of one without steps"
pages=("$scratch/one/report.html" "$scratch/one/metrics.jsonl" "$scratch/both.html" "$scratch/long/report.html" "$scratch/long/metrics.jsonl" "$scratch/empty/report.html")
python3 tests/report_browser.py "$browser" "${pages[@]}" "$scratch/pictures" >"$scratch/checks" 2>"$scratch/err"
status=$?
[ $status -eq 0 ] || { tail -3 "$scratch/err"; echo "not ok the browser"; } >>"$scratch/checks"
while read -r line; do
    echo "$line" >"$scratch/err"
    case $line in "not ok "*) false; ok "${line#not ok }" ;; "ok "*) ok "${line#ok }" ;; esac
done <"$scratch/checks"
finish
