# tests/soak.sh [KILLS [SHARE]]: kills training runs with SIGKILL at random moments, KILLS times (30), and resumes each until it ends.
# Every run must end with bitwise the weights of a run that was not killed. Its ledger must have booked at least SHARE (0.99) of the
# seconds that its processes lived, and no more than all of them.
# TALLY names the program; LONGEST: a process lives up to so many seconds (3); SEED: of the moments. Prints a line of totals; exit code 1 where something is wrong.
cd "$(dirname "$0")/.." || exit 1
: "${TALLY:?TALLY names the program to test}"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 - "$TALLY" "$scratch" "${1:-30}" "${2:-0.99}" <<'P'
import hashlib, json, os, random, select, shutil, subprocess, sys, time

tally, scratch, kills_wanted, share_wanted = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
STEPS, LONGEST = 12000, float(os.environ.get("LONGEST", 3))
text, model = scratch + "/text.txt", scratch + "/model.json"
with open(text, "w") as f:
    for i in range(400):
        print(f"line {i}: the quick brown fox jumps over the lazy dog, {i * 7919 % 1000} times", file=f)
with open(model, "w") as f:
    json.dump({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 257, "hidden_size": 32,
               "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
               "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
               "tie_word_embeddings": True, "hidden_act": "silu"}, f)
command = [tally, "train", "--model", model, "--data", text, "--batch", "2", "--seq-len", "16", "--threads", "1",
           "--steps", str(STEPS), "--peak-seconds", "0", "--price", "1", "--eval-every", "3000", "--eval-batches", "20",
           "--checkpoint-every", "250", "--resume"]

def attempt(run, seconds):
    """its exit code, or None where it was killed; and how long it lived: what is waited for after a kill is the machine's"""
    start = time.monotonic()
    with open(scratch + "/log", "w") as log:
        p = subprocess.Popen(command + ["--out", run], stdout=log, stderr=log)
        end = os.pidfd_open(p.pid)
        died = select.select([end], [], [], None if seconds is None else max(0, start + seconds - time.monotonic()))[0]
        lived = time.monotonic() - start
        os.close(end)
        if not died:
            p.kill()
        code = p.wait()
    return None if code == -9 else code, lived

def weights(run):
    h = hashlib.sha256()
    for name in "model", "optimizer":
        with open(f"{run}/checkpoints/step-{STEPS}/{name}.safetensors", "rb") as f:
            h.update(f.read())
    return h.hexdigest()

def fail(what):
    print("soak:", what)
    print("".join(open(scratch + "/log").readlines()[-5:]), end="")
    sys.exit(1)

seed = int(os.environ.get("SEED", time.time()))
random.seed(seed)
if attempt(scratch + "/whole", None)[0] != 0:
    fail("the run that nobody kills has failed")
expected = weights(scratch + "/whole")
kills = runs = attempts = 0
lived = booked = stopped = 0.0
while kills < kills_wanted:
    run, own = f"{scratch}/run-{runs}", 0.0
    while True:
        code, seconds = attempt(run, random.uniform(0, LONGEST) if kills < kills_wanted else None)
        own += seconds
        attempts += 1
        if code is not None:
            break
        kills += 1
    if code:
        fail(f"seed {seed}, kill {kills}: a resume has failed with exit code {code}")
    if weights(run) != expected:
        fail(f"seed {seed}, run {runs}: other weights than those of the run that nobody killed")
    ledger = json.load(open(run + "/ledger.json"))
    if abs(sum(ledger["bookings"].values()) - ledger["wall_s"]) > 1e-6:
        fail(f"seed {seed}, run {runs}: bookings do not add up to the wall time: {ledger}")
    if abs(ledger["usd"] * 3600 - ledger["wall_s"]) > 1e-6:
        fail(f"seed {seed}, run {runs}: not billed at a dollar an hour: {ledger}")
    lived, booked, runs = lived + own, booked + ledger["wall_s"], runs + 1
    stopped += ledger["bookings"]["stopped_s"]
    shutil.rmtree(run)
share = booked / lived
print(f"soak: seed {seed}: {kills} kills, {attempts} processes, {runs} runs, all bitwise equal; lived {lived:.1f} s, "
      f"booked {booked:.1f} s ({100 * share:.2f}%), of them stopped {stopped:.1f} s")
# a start is known to 10 ms
sys.exit(not share_wanted <= share or booked > lived + 0.02 * attempts)
P
