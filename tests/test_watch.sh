# tally watch: one picture where the output is no terminal; in a terminal (a pty) a screen that follows the run.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "tally watch"
unset COLUMNS NO_COLOR
export LC_ALL=C.UTF-8

# a short run of its own, so that the keys are those that a run writes
lines_of_text 100 "$scratch/text.txt"
tiny_llama "$scratch/model.json" 16 32 1 2 1
"$tally" train --model "$scratch/model.json" --data "$scratch/text.txt" --steps 30 --batch 2 --seq-len 32 --eval-every 10 --eval-batches 1 \
    --threads 1 --price 1 --peak-seconds 0 --out "$scratch/run" >/dev/null 2>"$scratch/err"
"$tally" watch "$scratch/run" >"$scratch/out" 2>"$scratch/err"; ok "without a terminal it prints one picture"
python3 - "$scratch/out" "$scratch/run" <<'P' 2>"$scratch/err"; ok "with the last step, its loss, the held-out loss, and the bill of the ledger"
import json, sys
shown = open(sys.argv[1], encoding="utf-8").read()
lines = shown.splitlines()
assert len(lines) <= 24 and max(map(len, lines)) <= 80 and "\033" not in shown, lines
last = json.loads(open(sys.argv[2] + "/metrics.jsonl").readlines()[-1])
ledger = json.load(open(sys.argv[2] + "/ledger.json"))
assert "complete" in lines[0] and "model.json" in lines[0] and "step 30/30" in lines[1], lines
assert "loss %.3f  held-out %.3f (step 30)" % (last["loss"], last["val_loss"]) in shown, lines
assert "the bill: $%.4f in" % ledger["usd"] in shown and ("$1.00 an hour" in shown or "$1.0000 an hour" in shown), lines
assert any(0x2800 < ord(c) < 0x2900 for c in shown)
for label in "useful compute", "start-up", "checkpoint":
    assert label in shown, label
P
LC_ALL=C "$tally" watch "$scratch/run" >"$scratch/out" 2>"$scratch/err" && ! grep -q '[^ -~]' "$scratch/out" && grep -q '\*\*' "$scratch/out"
ok "in a locale without UTF-8 the picture is ASCII"
cp -r "$scratch/run" "$scratch/ěš" && LC_ALL=C "$tally" watch "$scratch/ěš" >"$scratch/out" 2>"$scratch/err" && ! grep -q '[^ -~]' "$scratch/out" && head -1 "$scratch/out" | grep -qF '/?? | model.json'
ok "and so are names, whose bytes could control such a terminal"

# lines RUN FROM TO: lines of a run over 4 ranks, as they would be appended
cat >"$scratch/lines.py" <<'P'
import json, sys
run, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(run + "/metrics.jsonl", "a") as f:
    for s in range(first, last + 1):
        f.write(json.dumps({"step": s, "tokens": 100 * s, "loss": 2 + 8 / s, "val_loss": None, "lr": 1e-3, "grad_norm": 1, "skipped": False, "step_ms": 500,
            "tokens_per_s": 200, "mfu": 0.4, "hfu": 0.45, "memory_bytes": 2 << 30, "ranks": 4, "exposed_ms": 100, "slowest_rank": 2, "skew": 0.25,
            "energy_j": 600, "energy_total_j": 600 * s, "energy_source": "nvml", "usd_step": 0.01, "usd": 0.01 * s, "usd_per_mtok": 100, "wall_s": 0.5 * s,
            "usd_by_booking": {"useful_s": 0.007 * s, "exposed_communication_s": 0.002 * s, "data_wait_s": 0.001 * s},
            "gpu_sm_mhz": 1200, "gpu_sm_max_mhz": 1980, "gpu_temperature_c": 80, "gpu_throttle": "power cap", "drift_time": 0.04 if s % 7 == 0 else None,
            "drift_memory": -0.012 if s % 7 == 0 else None, "drift_usd": None}) + "\n")
P
live=$scratch/live
mkdir "$live"; echo '{"model": "red \u001b[31m", "steps": 1000}' >"$live/config.json"; touch -d "1 hour" "$live/.lock" # newer than any pause of this script
"$tally" watch "$live" >"$scratch/out" 2>"$scratch/err" && grep -q 'no sign of life\|running' "$scratch/out"; ok "a run without a step is shown"
python3 "$scratch/lines.py" "$live" 1 200
"$tally" watch "$live" >"$scratch/out" 2>"$scratch/err"
shows() { grep -qF -- "$1" "$scratch/out"; ok "$2"; }
head -1 "$scratch/out" | grep -qF 'red \x1b[31m | running'; ok "a control character in a name is shown as text"
shows "left 6m 40s \$8.00" "time and money that are left, from the recent steps"
shows "4 ranks, 20.0% waiting; slowest 2, +25%, in 100 of the last 100 steps" "the ranks"
shows "1200 W   0.03333 kWh   GPU 1200 of 1980 MHz, 80 C" "power and GPU"
shows "against the plan:  time +4.0%  memory -1.2%" "the drift from the plan"
shows "slow: ranks wait 20% of a step for communication: \$14.40 an hour" "waiting, with its cost"
shows "slow: the lag of the slowest rank is 20% of a step: \$14.40 an hour" "the lag of a rank, with its cost"
shows "slow: GPU clocks are below their maximum: power cap" "clocks"
shows "slow: data wait takes 10% of the run: \$0.2000 so far" "a part of the bill"
mkdir "$scratch/slow"; touch -d "1 hour" "$scratch/slow/.lock"; python3 "$scratch/lines.py" "$scratch/slow" 1 300
sed -i '201,$s/"tokens_per_s": 200/"tokens_per_s": 100/' "$scratch/slow/metrics.jsonl"
"$tally" watch "$scratch/slow" >"$scratch/out" 2>"$scratch/err"; shows "slow: the last 100 steps are 50% below the run's median rate: \$36.00 an hour" "a run that became slower, with its cost, in 80 columns"
"$tally" train --model "$scratch/model.json" --data "$scratch/text.txt" --steps 1000000 --batch 2 --seq-len 32 --threads 1 --peak-seconds 0 --out "$scratch/killed" >/dev/null 2>&1 & pid=$!
while kill -0 $pid 2>/dev/null && [ ! -s "$scratch/killed/metrics.jsonl" ]; do sleep 0.05; done
"$tally" watch "$scratch/killed" | head -1 | grep -q 'running'; ok "a run that trains"
kill -9 $pid; wait $pid 2>/dev/null
"$tally" watch "$scratch/killed" | head -1 | grep -q 'killed; --resume continues it'; ok "the same, killed"
touch -d '10 minutes ago' "$live"/* "$live/.lock"; "$tally" watch "$live" >"$scratch/out" 2>"$scratch/err"; shows "no sign of life for 10m" "a run that shows no sign of life"
rm "$live/.lock"; "$tally" watch "$live" >"$scratch/out" 2>"$scratch/err"; shows "ended before --steps" "a run that ended early"
COLUMNS=40 LC_ALL=C "$tally" watch "$live" >"$scratch/out" 2>"$scratch/err" && ! awk 'length($0) > 40' "$scratch/out" | grep -q .
ok "COLUMNS is the width without a terminal"

cat >"$scratch/terminal.py" <<'P'
import fcntl, json, os, pty, re, select, shutil, signal, struct, subprocess, sys, termios, time
tally, run, lines = sys.argv[1:4]

class Screen:  # of the sequences that watch writes
    def __init__(self, rows, columns, alone=False):  # alone: in a session without a shell, as under ssh -t
        self.master, self.slave = pty.openpty()
        self.all = b""
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen([tally, "watch", run, "--every", "0.1"], stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                        env=dict(os.environ, TERM="xterm"), preexec_fn=os.setsid if alone else os.setpgrp)
    def resize(self, rows, columns):
        self.rows, self.columns = rows, columns
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    def picture(self):  # the last complete one
        frames = self.all.decode("utf-8", "replace").split("\033[H")
        whole = [f for f in frames[1:] if "\033[J" in f]
        if not whole:
            return []
        frame = re.sub(r"\033\[[0-9]*m", "", whole[-1].split("\033[J")[0])
        return [line.replace("\033[K", "") for line in re.split("\r+\n", frame)]  # the terminal adds a \\r
    def wait(self, what):  # until the picture is so; the limit only ends a hang
        end = time.time() + 60
        while True:
            shown = self.picture()
            if shown and what(shown):
                assert len(shown) <= self.rows and max(map(len, shown)) <= self.columns, shown
                assert not any("\033" in x for x in shown), shown
                return shown
            assert time.time() < end, shown
            if select.select([self.master], [], [], 1)[0]:
                self.all += os.read(self.master, 65536)
    def press(self, key):
        os.write(self.master, key)
    def end(self):  # reads on, so that the process is not blocked
        while self.process.poll() is None:
            if select.select([self.master], [], [], 0.05)[0]:
                self.all += os.read(self.master, 65536)
        while select.select([self.master], [], [], 0)[0]:
            self.all += os.read(self.master, 65536)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal's settings"
        assert self.all.endswith(b"\033[?7h\033[?25h\033[?1049l"), self.all[-60:]
        return self.process.returncode

def append(first, last):
    subprocess.check_call([sys.executable, lines, run, str(first), str(last)])

def step(n):
    return lambda shown: "step %d/1000" % n in shown[1]

s = Screen(24, 80)
shown = s.wait(step(200))
assert shown[-1] == "q quits" and len(shown) == 24, shown
append(201, 203)
s.wait(step(203))
print("ok follows")
whole = open(run + "/metrics.jsonl").read()
def append_text(text):
    with open(run + "/metrics.jsonl", "a") as f:
        f.write(text)
line = whole.splitlines(True)[-1].replace('"step": 203,', '"step": 204,')
append_text(line[:100])  # half written, while two pictures are drawn
drawn = s.all.count(b"\033[H")
s.wait(lambda shown: s.all.count(b"\033[H") >= drawn + 3)
assert step(203)(s.picture()), s.picture()
append_text(line[100:])
s.wait(step(204))
print("ok half")
with open(run + "/new", "w") as f:  # a resume replaces the file
    f.write("".join(whole.splitlines(True)[:150]) + '{"event": "resume", "step": 150}\n')
os.rename(run + "/new", run + "/metrics.jsonl")
s.wait(step(150))
append(151, 152)
s.wait(step(152))
print("ok resumed")
for rows, columns in (12, 50), (40, 120), (3, 30), (1, 20), (24, 80):
    s.resize(rows, columns)
    s.wait(lambda shown: len(shown) <= rows and max(map(len, shown)) <= columns and (rows < 24 or len(shown) == rows))
print("ok resizes")
s.press(b"x")
s.wait(step(152))
s.press(b"\x1a")  # Ctrl-Z
while open("/proc/%d/stat" % s.process.pid).read().rsplit(")", 1)[1].split()[0] != "T":
    time.sleep(0.01)
os.kill(s.process.pid, signal.SIGCONT)
append(153, 153)
s.wait(step(153))
print("ok stops")
s.press(b"q")
assert s.end() == 0
print("ok q")
s = Screen(24, 80, alone=True)
s.wait(step(153))
s.press(b"\x1a")
append(154, 154)
s.wait(step(154))
s.press(b"q")
assert s.end() == 0
print("ok alone")
s = Screen(24, 80)
s.wait(step(154))
s.press(b"\x03")
assert s.end() == 0
s = Screen(24, 80)
s.wait(step(154))
s.process.send_signal(signal.SIGTERM)
assert s.end() == 0
print("ok ends")
P
touch -d "1 hour" "$live/.lock" # newer than any pause of this script
python3 "$scratch/terminal.py" "$tally" "$live" "$scratch/lines.py" >"$scratch/out" 2>"$scratch/err"
for check in "follows:in a terminal of 80x24 the screen is full, and follows the run" "half:a line that is half written waits for its end" \
    "resumed:a run that was resumed at an earlier step is read again" "resizes:the picture fits any size of the terminal" \
    "stops:Ctrl-Z stops it, and fg draws it again" "q:q ends it, and the terminal is as before" \
    "alone:Ctrl-Z does nothing where no shell could continue it" "ends:Ctrl-C and SIGTERM too"; do
    grep -qx "ok ${check%%:*}" "$scratch/out"; ok "${check#*:}"
done

refuses "a folder without a run" "expected the folder of a run" watch "$scratch"
refuses "no run" "run" watch --once
refuses "a time that is none" "--every is 0, expected" watch "$live" --every 0
finish
