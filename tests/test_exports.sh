# What a run writes for other programs: TensorBoard's event files and Prometheus's text file, read by those programs where they
# are installed, and by readers of our own.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "the exports of a run"
python=${TALLY_PYTHON:-python3}

text=$scratch/text.txt run=$scratch/run board=$scratch/board/run prom=$scratch/tally.prom
lines_of_text 200 "$text"
tiny_llama "$scratch/model.json" 16 32 1 2 1
options=(--model "$scratch/model.json" --data "$text" --steps 12 --batch 2 --seq-len 32 --warmup 2 --checkpoint-every 4
    --eval-every 3 --eval-batches 2 --threads 1 --price 1 --peak-seconds 0 --tdp-watts 5 --host-watts 3 --pue 1.2 --grid FR)
train() { "$tally" train "${options[@]}" --tensorboard "$board" --prometheus "$prom" --out "$@" >"$scratch/out" 2>"$scratch/err"; }

# events_are_those_of RUN FOLDER STEPS: the event file has exactly what the run's metrics.jsonl has, each step once and in order
cat >"$scratch/compare.py" <<'P'
import glob, json, os, struct, subprocess, sys
run, folder, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
files = [f for f in glob.glob(folder + "/*tfevents*") if os.path.getsize(f)]
assert len(files) == 1, files
events = [json.loads(x) for x in subprocess.check_output([sys.executable, "tests/read_events.py", files[0]]).splitlines()]
assert events[0]["version"] == "brain.Event:2" and events[1]["session"] == 1 and events[1]["step"] == 0
lines = [x for x in map(json.loads, open(run + "/metrics.jsonl")) if "event" not in x]
single = lambda x: struct.unpack("<f", struct.pack("<f", x))[0]
assert [e["step"] for e in events[2:]] == [x["step"] for x in lines] == list(range(1, steps + 1)), [e["step"] for e in events]
for e, x in zip(events[2:], lines):
    time = x.pop("unix_time_s")
    expected = {k: single(v) for k, v in x.items() if k != "step" and isinstance(v, (int, float)) and not isinstance(v, bool)}
    expected.update((k, single(v)) for k, v in x["usd_by_booking"].items())
    assert {t.split("/")[1]: v for t, v in e["values"].items()} == expected, (e, expected)
    assert e["wall_time"] == time
assert "loss/val_loss" in events[4]["values"] and "loss/val_loss" not in events[3]["values"]
P
events_are_those_of() { python3 "$scratch/compare.py" "$@" 2>"$scratch/err"; }

train "$run" && events_are_those_of "$run" "$board" 12; ok "the event file has every number of metrics.jsonl, each step once"
first=$(ls "$board")
train "$run" --resume --steps 14 && events_are_those_of "$run" "$board" 14; ok "a resumed run continues it, without a step twice"
[ ! -s "$board/$first" ] && [ "$(ls "$board" | sort | tail -1)" != "$first" ]
ok "a TensorBoard that watches the folder goes on from the old file, which is empty, to one of a later name"
train "$run" --resume --steps 14 && [ ! -e "$board/$first" ] && [ "$(ls "$board" | wc -l)" -eq 2 ] && events_are_those_of "$run" "$board" 14
ok "the next resume removes the empty file"

# the steps after the last checkpoint are lost and done again
crash=1
while [ $crash -lt 400 ]; do # the run dies in a late save, so that its files hold steps that no checkpoint has
    rm -rf "$scratch/killed" "$scratch/killed-board"
    TALLY_CRASH_AT_WRITE=$crash "$tally" train "${options[@]}" --tensorboard "$scratch/killed-board" --out "$scratch/killed" >/dev/null 2>&1
    [ -e "$scratch/killed/metrics.jsonl" ] && [ "$(grep -c '"loss"' "$scratch/killed/metrics.jsonl")" -ge 8 ] && break
    crash=$((crash + 8))
done 2>/dev/null
"$tally" train "${options[@]}" --tensorboard "$scratch/killed-board" --out "$scratch/killed" --resume >"$scratch/out" 2>"$scratch/err" &&
    grep -q '"event":"resume"' "$scratch/killed/metrics.jsonl" && events_are_those_of "$scratch/killed" "$scratch/killed-board" 12
ok "killed at a write and resumed, every step is there once"

"$tally" report "$run" --tensorboard "$scratch/again" >"$scratch/out" 2>"$scratch/err" && events_are_those_of "$run" "$scratch/again" 14
ok "tally report --tensorboard writes the same of a run that is over"
"$tally" report "$run" --tensorboard "$scratch/again" 2>"$scratch/err" && events_are_those_of "$run" "$scratch/again" 14
ok "and replaces the file that it wrote before"
sed -i 's/"unix_time_s":[0-9.]*,*//' "$scratch/killed/metrics.jsonl"
"$tally" report "$scratch/killed" --tensorboard "$scratch/old" 2>"$scratch/err" &&
    python3 tests/read_events.py "$scratch"/old/*tfevents* | tail -1 | grep -q '"step": 12'
ok "lines of earlier versions, without the time of day, have events too"
sed -n '5,8p' "$run/metrics.jsonl" >"$scratch/again.jsonl" && mkdir "$scratch/twice" && sed 's/"loss":/"loss":1/' "$run/metrics.jsonl" | sed -n '1,9p' | cat - "$scratch/again.jsonl" >"$scratch/twice/metrics.jsonl"
"$tally" report "$scratch/twice" --tensorboard "$scratch/board/twice" 2>"$scratch/err"; ok "steps that were done again can be in metrics.jsonl too"

if "$python" -c 'import tensorboard' 2>/dev/null; then
    "$python" - "$scratch/board" "$run" 2>"$scratch/err" <<'P'
import json, sys
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
m = EventMultiplexer().AddRunsFromDirectory(sys.argv[1])
m.Reload()
assert sorted(m.Runs()) == ["run", "twice"], m.Runs()
assert [e.step for e in m.Scalars("twice", "loss/loss")] == list(range(1, 9))
assert all(abs(e.value - json.loads(x)["loss"]) < 1e-6 for e, x in zip(m.Scalars("twice", "loss/loss")[4:], open(sys.argv[2] + "/../again.jsonl")))
lines = [x for x in map(json.loads, open(sys.argv[2] + "/metrics.jsonl")) if "event" not in x]
def values(tag):
    return {e.step: e.value for e in m.Scalars("run", tag)}
loss, held_out = values("loss/loss"), values("loss/val_loss")
assert len(loss) == 14 and len(held_out) == sum(x["val_loss"] is not None for x in lines) >= 5, (loss, held_out)
for x in lines:
    assert abs(loss[x["step"]] - x["loss"]) <= abs(x["loss"]) * 2**-24, x
P
    ok "TensorBoard reads the same"
else skip "TensorBoard reads the same" "$python has no module tensorboard; TALLY_PYTHON names one that has"; fi

refuses "a folder with event files of another run" "which is not of this run" train "${options[@]}" --out "$scratch/other" --tensorboard "$board"
[ ! -e "$scratch/other" ]; ok "nothing is written then"
refuses "--tensorboard that is a file" "is not a folder" train "${options[@]}" --out "$scratch/other" --tensorboard "$text"
refuses "--prometheus in a folder that does not exist" "No such file" train "${options[@]}" --out "$scratch/other" --prometheus "$scratch/none/x.prom"
refuses "--prometheus with the name of another file" "expected such a file or a new name" train "${options[@]}" --out "$run" --resume --prometheus "$run/metrics.jsonl"
refuses "--prometheus that is a folder" "expected a regular file" train "${options[@]}" --out "$scratch/other" --prometheus "$scratch"

cat >"$scratch/read_prom.py" <<'P'
import json, re, sys
samples, kind = {}, {}
for line in open(sys.argv[1]):
    if line.startswith("# TYPE "):
        kind[line.split()[2]] = line.split()[3]
    elif not line.startswith("#"):
        name, labels, value = re.fullmatch(r"(\w+)\{(.*)\} (\S+)\n", line).groups()
        samples.setdefault(name, {})[labels] = float(value)
assert set(samples) == set(kind)
ledger = json.load(open(sys.argv[2] + "/ledger.json"))
last = [x for x in map(json.loads, open(sys.argv[2] + "/metrics.jsonl")) if "event" not in x][-1]
one = lambda name: next(iter(samples["tally_" + name].values()))
assert one("step") == last["step"] == one("steps_planned") and one("tokens") == last["tokens"]
assert one("loss_nats") == last["loss"] and one("held_out_loss_nats") == last["val_loss"] and one("active") == 0
assert abs(sum(samples["tally_booked_seconds_total"].values()) - ledger["wall_s"]) < 1e-6
assert abs(sum(samples["tally_cost_usd_total"].values()) - ledger["usd"]) < 1e-9
energy = ledger["energy"]
assert all(energy.values()) and sorted(samples["tally_energy_joules_total"].values()) == sorted(energy.values()), (energy, samples)
assert abs(one("carbon_dioxide_grams_total") / 1000 / ledger["kg_co2"] - 1) < 1e-12
P
python3 "$scratch/read_prom.py" "$prom" "$run" 2>"$scratch/err"; ok "the Prometheus file has the last step and the bill"
[ ! -e "$prom.tmp" ]; ok "no temporary file stays behind"
odd=$scratch/'a "quoted" \ name'$'\n''of two lines'$'\xff'
"$tally" train "${options[@]}" --prometheus "$scratch/odd.prom" --out "$odd" --steps 3 >"$scratch/out" 2>"$scratch/err" && LC_ALL=C.UTF-8 python3 - "$scratch/odd.prom" <<'P'
import re, sys
for line in open(sys.argv[1], encoding="utf-8"):
    if not line.startswith("#"):
        run = re.fullmatch(r'\w+\{run="((?:[^"\\\n]|\\[\\"n])*)",model="(?:[^"\\\n]|\\[\\"n])*"(?:,category="[a-z -]+")?\} [-+.e\d]+\n', line).group(1)
        assert run.endswith(r'a \"quoted\" \\ name\\x0aof two lines\\xff'), run
P
ok "a quote, a backslash, a newline and a byte that is not UTF-8 are escaped in labels"
if command -v promtool >/dev/null; then
    promtool check metrics <"$prom" >"$scratch/err" 2>&1 && [ ! -s "$scratch/err" ] && promtool check metrics <"$scratch/odd.prom" >"$scratch/err" 2>&1
    ok "promtool accepts both files without remarks"
else skip "promtool accepts both files" "no promtool here; Debian's package prometheus has it"; fi

# W&B and MLflow: stand-ins that write what they are called with
mkdir -p "$scratch/modules/mlflow"
cat >"$scratch/modules/wandb.py" <<'P'
import json, os
class Run:
    def __init__(self, **options):
        self.dir, self.calls = options["dir"], [options]
    def log(self, values, step):
        self.calls.append([step, values])
    def finish(self):
        json.dump(self.calls, open(os.path.join(self.dir, "calls"), "w"))
init = lambda **options: Run(**options)
P
touch "$scratch/modules/mlflow/__init__.py"
cat >"$scratch/modules/mlflow/entities.py" <<'P'
Metric = lambda key, value, timestamp, step: [key, value, timestamp, step]
Param = lambda key, value: [key, value]
P
cat >"$scratch/modules/mlflow/tracking.py" <<'P'
import json, types
class MlflowClient:
    def __init__(self, tracking_uri):
        self.path, self.metrics, self.params, self.ended = tracking_uri[len("file:"):], [], [], False
    def get_experiment_by_name(self, name): return None
    def create_experiment(self, name): return "7"
    def create_run(self, number, run_name): return types.SimpleNamespace(info=types.SimpleNamespace(run_id=number + run_name))
    def log_batch(self, run, metrics=(), params=()):
        assert run == "7run" and not self.ended and len(metrics) <= 1000 and len(params) <= 100
        self.metrics += metrics
        self.params += params
    def set_terminated(self, run): json.dump([self.metrics, self.params], open(self.path, "w"))
P
import() { PYTHONPATH=$scratch/modules python3 tools/import_metrics.py "$@" >"$scratch/out" 2>"$scratch/err"; }
echo '{"step": 14, "lo' >>"$run/metrics.jsonl" # killed in the middle of a line
import wandb "$run" --to "$scratch/wandb" --project p && grep -q 'skipped 1 damaged line' "$scratch/err" && import mlflow "$run" --to "$scratch/mlflow" && python3 - "$scratch" "$run" <<'P' 2>"$scratch/err"
import json, sys
lines = [x for x in map(json.loads, open(sys.argv[2] + "/metrics.jsonl").readlines()[:-1]) if "event" not in x]
config = json.load(open(sys.argv[2] + "/config.json"))
options, *steps = json.load(open(sys.argv[1] + "/wandb/calls"))
assert options["mode"] == "offline" and options["project"] == "p" and options["name"] == "run" and options["config"] == config
assert [s for s, _ in steps] == [x["step"] for x in lines] == list(range(1, 15))
for (_, values), x in zip(steps, lines):
    assert values["loss"] == x["loss"] and values["_timestamp"] == x["unix_time_s"] and ("val_loss" in values) == (x["val_loss"] is not None)
    assert values["usd_by_booking/useful_s"] == x["usd_by_booking"]["useful_s"] and "skipped" not in values and "energy_source" not in values
metrics, params = json.load(open(sys.argv[1] + "/mlflow"))
assert [m[1:] for m in metrics if m[0] == "loss"] == [[x["loss"], int(x["unix_time_s"] * 1000), x["step"]] for x in lines]
assert len(metrics) == sum(len(v) - 1 for _, v in steps) and dict(params)["seq_len"] == "32"
P
ok "import_metrics.py gives W&B and MLflow every number at its step and time, and the options"
! import wandb "$scratch" && grep -q 'expected the folder of a run' "$scratch/err"; ok "import_metrics.py refuses a folder without a run"

# a full disk costs a copy, not the run
if mkdir "$scratch/small" && mount -t tmpfs -o size=16k tmpfs "$scratch/small" 2>/dev/null; then
    trap 'umount "$scratch/small"; rm -rf "$scratch"' EXIT
    "$tally" train "${options[@]}" --steps 40 --tensorboard "$scratch/small" --out "$scratch/full" >"$scratch/out" 2>"$scratch/err" &&
        [ "$(grep -c 'warning: --tensorboard: .*No space' "$scratch/err")" -eq 1 ] && python3 tests/read_events.py "$scratch"/small/*tfevents* >"$scratch/out" && tail -1 "$scratch/out" | grep -q '"values": {"'
    ok "a full disk ends the event file after a whole record, with one warning, and the run goes on"
else skip "a full disk ends the event file after a whole record" "only root can mount a file system"; fi
finish
