# A training run on several ranks: one log, the bill, a resume on another number of ranks, and the ways in which a rank can fail.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh
need_ranks "training over ranks"
need_python "training over ranks"

text=$scratch/text.txt
lines_of_text 400 "$text"
tiny_llama "$scratch/model.json" 64 128 4 4 2
options=(--model "$scratch/model.json" --data "$text" --steps 12 --batch 2 --seq-len 32 --warmup 4 --lr 1e-2
    --checkpoint-every 4 --eval-every 6 --eval-batches 2 --threads 1 --price 1 --peak-seconds 0)
ranks() { # N RUN OPTIONS...
    local n=$1 run=$2; shift 2
    timeout -s KILL 240 "$MPIEXEC" -np "$n" "$tally" train "${options[@]}" --out "$run" "$@" >"$scratch/out" 2>"$scratch/err"
}
weights() { cat "$1"/checkpoints/step-"${2:-12}"/*.safetensors | sha256sum; }
of_steps() { grep '"loss"' "$1/metrics.jsonl" | sed -E 's/.*"step":([0-9]+),.*"loss":([0-9.e+-]+),.*/\1 \2/'; }
said() { job_err | grep -c '^tally:'; }
# a failure of one rank: some line says PATTERN, and every other line only that the rank is missing
named() {
    job_err | grep -E "^tally: rank [0-9]" | grep -qE -- "$1" &&
        ! job_err | grep '^tally:' | grep -vE -- "$1" | grep -vE "^tally: rank [0-9]: ranks? [0-9].* (died; other ranks wait for it in|waiting for) "
}
one_line() { [ "$(said)" -eq 1 ] && job_err | grep -E "^tally: rank [0-9]: " | grep -qE -- "$1"; }
pid_of() { # RANK RUN
    local p
    for p in $(pgrep -f -- "--out $2"); do
        tr '\0' '\n' 2>/dev/null <"/proc/$p/environ" | grep -qxE "(OMPI_COMM_WORLD|PMI)_RANK=$1" && echo "$p"
    done
}

ranks 4 "$scratch/four" --keep 9; ok "four ranks run to the end"
[ "$(grep -cE '^step [0-9]+/12 ' "$scratch/err")" -eq 12 ] && [ "$(grep -c '^device:' "$scratch/err")" -eq 1 ] &&
    grep -qE '\| 4 ranks, [0-9.]+% waiting, slowest [0-3] \+[0-9]+% \|' "$scratch/err" && grep -qE '^sent: [0-9]' "$scratch/err"
ok "each step is logged once, with the time that ranks waited"
[ "$(of_steps "$scratch/four" | cut -d' ' -f1 | tr '\n' ' ')" = "$(seq -s ' ' 12) " ]; ok "metrics.jsonl has each step once"
ranks 4 "$scratch/again" --keep 9; [ "$(weights "$scratch/again")" = "$(weights "$scratch/four")" ]; ok "the same run again gives the same bits"
python3 - "$scratch/four" <<'P'; ok "the bookings add up to the wall time, and wall time x price of four devices is the bill"
import json, sys
l = json.load(open(sys.argv[1] + "/ledger.json"))
m = [json.loads(x) for x in open(sys.argv[1] + "/metrics.jsonl")]
assert l["ranks"] == 4 and l["price_usd_per_hour"] == 4, l
assert abs(sum(l["bookings"].values()) - l["wall_s"]) < 1e-6, l
assert abs(sum(l["usd_by_booking"].values()) - l["usd"]) < 1e-9, l
assert abs(l["usd"] - 4 * l["wall_s"] / 3600) < 1e-9 and l["wall_s"] >= m[-1]["wall_s"], l
assert l["tokens"] == m[-1]["tokens"] == 12 * 4 * 64, l
for s in m:
    assert s["ranks"] == 4 and 0 <= s["slowest_rank"] < 4 and s["skew"] >= 0 and 0 < s["exposed_ms"] < s["step_ms"], s
    assert s["flops_model"] == m[0]["flops_model"] and s["flops_executed"] == m[0]["flops_executed"], s
P
"$tally" train "${options[@]}" --out "$scratch/alone" --batch 8 >"$scratch/out" 2>"$scratch/err" && python3 - "$scratch/four" "$scratch/alone" <<'P'
import json, sys
four, alone = ([json.loads(x) for x in open(r + "/metrics.jsonl")] for r in sys.argv[1:])
for a, b in zip(four, alone, strict=True):
    assert all(a[k] == b[k] for k in ("step", "tokens", "flops_model", "flops_executed", "lr")), (a, b)
assert b["ranks"] == 1 and b["bytes_sent"] == b["exposed_ms"] == b["slowest_rank"] == b["skew"] == 0
P
ok "FLOPs and tokens of all ranks are those of one rank with the same global batch"

# Over all ranks, with U elements in all padded units, n - 1 = 3: a gather of bf16 weights 3*2*U, a reduction of f32 sums 3*4*U,
# an all-reduce twice that. Of L = 4 blocks two stay in their slots at each turn of the direction; embedding and head are
# gathered once a step. The sums of loss and norm are 16 bytes to each of 3 peers.
for stage in none optimizer gradients full; do
    ranks 4 "$scratch/$stage" --shard $stage --global-batch 768 --steps 2 --checkpoint-every 0 --eval-every 0
    python3 - "$scratch/$stage" $stage <<'P'; ok "--shard $stage sends as many bytes per step as the formula"
import json, sys
C, F, V, q, k, L, n, micro = 64, 128, 257, 64, 32, 4, 4, 3
stage = sys.argv[2]
pad = lambda x: -(-x // (64 * (1 if stage == "none" else n))) * 64 * (1 if stage == "none" else n)
ends, block = pad(V * C) + pad(C), pad(2 * C + C * q + 2 * C * k + q * C + 3 * C * F)
U = ends + L * block
sums, reduce, gather = n * 3 * 16, 3 * 4 * U, 3 * 2 * U
full = 3 * 2 * (ends + block * (L + (L - 2) + (micro - 1) * 2 * (L - 2)))
expected = sums + {"none": 2 * reduce, "optimizer": reduce + gather, "gradients": micro * reduce + gather,
                   "full": micro * reduce + full}[stage]
for line in open(sys.argv[1] + "/metrics.jsonl"):
    assert json.loads(line)["bytes_sent"] == expected, (json.loads(line)["bytes_sent"], expected)
P
done
ranks 4 "$scratch/cores" --threads 0 --steps 1
cores=$(nproc); threads=$((cores / 4 > 0 ? cores / 4 : 1))
grep -qE "^device: .*, $threads threads," "$scratch/err"; ok "--threads 0: the ranks of a host share its cores"
if [ "$cores" -lt "$(nproc --all)" ]; then
    skip "ranks that are bound to fewer CPUs than the host has log it" "this shell is bound itself"
elif [ "$cores" -gt 1 ]; then
    ! grep -q "ranks may use" "$scratch/err"; ok "ranks that may use all CPUs log nothing about it"
    cpu=$(taskset -pc $$ | sed 's/.*: //; s/[-,].*//')
    timeout -s KILL 240 "$MPIEXEC" -np 2 taskset -c "$cpu" "$tally" train "${options[@]}" --out "$scratch/bound" --steps 1 >"$scratch/out" 2>"$scratch/err" &&
        grep -q "^2 ranks may use 1 of this host's $cores CPUs; mpirun --bind-to none" "$scratch/err"
    ok "ranks that are bound to fewer CPUs than the host has log it"
fi

# --- resume on another number of ranks ---
common=(--precision fp32 --batch 1 --global-batch 384)
ranks 4 "$scratch/fp32" "${common[@]}" --keep 9
for n in $numbers_of_ranks; do
    cp -r "$scratch/fp32" "$scratch/on-$n"; rm -r "$scratch/on-$n"/checkpoints/step-{8,12}
    ranks $n "$scratch/on-$n" --precision fp32 --batch 1 --resume
    ok "saved on 4 ranks, resumed on $n"
    python3 - "$scratch/fp32" "$scratch/on-$n" $n <<'P'; ok "each attempt is billed at the price of its own ranks"
import json, sys
l = json.load(open(sys.argv[2] + "/ledger.json"))
last = json.load(open(sys.argv[1] + "/ledger.json")) # it is of a later step than the checkpoint
usd = last["usd"] + int(sys.argv[3]) * (l["wall_s"] - last["wall_s"]) / 3600
assert abs(l["usd"] - usd) < 1e-9, (l, usd)
assert abs(sum(l["usd_by_booking"].values()) - l["usd"]) < 1e-9, l
P
    if [ $n = 4 ]; then
        [ "$(weights "$scratch/on-$n")" = "$(weights "$scratch/fp32")" ]; ok "and the weights are bitwise those of the run that never stopped"
        continue
    fi
    grep -q "^ranks: 4 before, $n now: .*rounding" "$scratch/err"; ok "the log says that the resumed run is equal within rounding"
    # A step sums over the 384 tokens of its batch, and each addition rounds by 2^-24: as much again in each of the 8 steps
    { of_steps "$scratch/fp32"; of_steps "$scratch/on-$n"; } | sort -n | awk '
        NR % 2 { step = $1; loss = $2; next }
        { d = $2 - loss; if (d < 0) d = -d; done = step > 4 ? step - 4 : 0
          if ($1 != step || d > done * 384 * 2^-24 * loss) { print step, $1, loss, $2; bad = 1 } }
        END { exit bad || NR != 24 }' >"$scratch/err"
    ok "the losses are those of the run on 4 ranks"
done
cp -r "$scratch/four" "$scratch/other"; ranks 4 "$scratch/other" --resume --steps 13 --shard optimizer &&
    grep -q "^sharding: full/1/fp32/bf16/every before, optimizer/1/fp32/bf16/every now: .*not bitwise" "$scratch/err"
ok "the log says that with another --shard the run is not bitwise the same"
ranks 4 "$scratch/other" --resume --steps 14 --batch 1 && grep -q "^batch: 2 before, 1 now: .*not bitwise" "$scratch/err"; ok "the log says that with another --batch the run is not bitwise the same"
ranks 3 "$scratch/four" --resume --steps 16; [ $? -eq 2 ] && one_line "8 sequences per step cannot be divided among 3 ranks"
ok "a number of ranks that does not divide the run's global batch is refused in one line"
ranks 2 "$scratch/four" --resume --steps 16 --batch 3; [ $? -eq 2 ] && one_line "--batch 2 fits"; ok "a --batch that does not divide the run's global batch is refused, and the error names one that fits"
ranks 4 "$scratch/four" --resume --steps 16 --global-batch 512; [ $? -eq 2 ] && one_line "expected --global-batch 256, or 0"; ok "another --global-batch is refused"

# --- what is refused, and failures of all or of one ---
ranks 3 "$scratch/x" --stesp 3; [ $? -eq 2 ] && one_line "nearest is --steps"; ok "an unknown option: one line, exit code 2"
ranks 3 "$scratch/x" --data "$scratch/none"; [ $? -eq 2 ] && one_line "$scratch/none"; ok "data that is missing: one line, exit code 2"
ranks 4 "$scratch/x" --replicas 3; [ $? -eq 2 ] && one_line "--replicas 3"; ok "--replicas that do not divide the ranks"
ranks 4 "$scratch/x" --shard none --replicas 2; [ $? -eq 2 ] && one_line "--replicas 2: with --shard none"; ok "--replicas with --shard none"
ranks 2 "$scratch/x" --gather-dtype fp32; [ $? -eq 2 ] && one_line "--gather-dtype fp32"; ok "--gather-dtype fp32 with bf16 weights"
ranks 2 "$scratch/x" --global-batch 100; [ $? -eq 2 ] && one_line "times 2 ranks = 128 tokens; --global-batch 128 fits"; ok "a global batch that does not divide"
[ ! -e "$scratch/x" ]; ok "nothing is written for input that is refused"
# OPTIONS of rank 0 : OPTIONS of rank 1
two() {
    local first=()
    while [ "$1" != : ]; do first+=("$1"); shift; done; shift
    differing 1 "$tally" train "${options[@]}" "${first[@]}" : "$tally" train "${options[@]}" "$@"
}
tr a b <"$text" >"$scratch/other.txt"
two --out "$scratch/x" : --out "$scratch/x" --data "$scratch/other.txt"; [ $? -eq 2 ] && one_line "--data: rank 1 reads .*expected the same files"
ok "other text of the same length on one rank"
[ ! -e "$scratch/x" ]; ok "text that differs is refused before anything is written"
two --out "$scratch/here" : --out "$scratch/there"; [ $? -eq 2 ] && one_line "rank 1: --out $scratch/there: .*expected a file system that all ranks share"
ok "an --out folder that one rank does not see"
[ -z "$(ls -A "$scratch/here")" ]; ok "such an --out folder is refused before anything is written into it"
two --out "$scratch/x" --comm-timeout 2 : --out "$scratch/x" --comm-timeout 2 --data "$scratch/none"; [ $? -eq 2 ] && one_line "rank 1: .*$scratch/none"
ok "a wrong option of one rank is reported as such, not as a time-out, even with a short --comm-timeout"
ranks 2 "$scratch/timed" --checkpoint-minutes 1e-12 --checkpoint-every 0 --steps 4 --keep 9 && [ "$(ls "$scratch/timed/checkpoints" | sort | tr '\n' ' ')" = "step-1 step-2 step-3 step-4 " ]
ok "--checkpoint-minutes saves on all ranks together"
ranks 2 "$scratch/diverged" --lr 100 --warmup 0 --eps 1e-20 --beta1 0 --clip 0 --weight-decay 10 --schedule constant --max-skipped 3 --steps 60 --checkpoint-every 1
[ $? -eq 1 ] && one_line "--max-skipped is 3" && [ "$(grep -c '^step [0-9]* skipped' "$scratch/err")" -eq 4 ]
ok "a loss that is not finite skips the step on all ranks, and ends the run after --max-skipped"
"$tally" inspect "$scratch/diverged" --json >"$scratch/out" 2>"$scratch/err" && grep -q '"whole":true' "$scratch/out"
ok "it leaves a checkpoint of the last weights that are finite"
grep -q '"finite": false' "$scratch/diverged"/checkpoints/step-*/progress.json && ranks 4 "$scratch/diverged" --resume --batch 1 --lr 1e-5 --weight-decay 0 --checkpoint-every 0 &&
    grep -q "^skipped $scratch/diverged/checkpoints/step-.*: its loss or its weights are not finite" "$scratch/err"
ok "this checkpoint is marked, and skipped on another number of ranks too"

# --- deaths: a step of 50 ms or so, to die in the middle of one ---
options+=(--global-batch 16384)
ranks 4 "$scratch/whole"
# after RUN has taken STEP steps, or 120 s
wait_for_step() { for i in $(seq 1200); do [ -f "$1/metrics.jsonl" ] && [ "$(grep -c '"loss"' "$1/metrics.jsonl")" -ge "$2" ] && break; sleep 0.1; done; }
start() { # RUN OPTIONS...: in the background
    "$MPIEXEC" -np 4 "$tally" train "${options[@]}" --out "$@" >"$scratch/out" 2>"$scratch/err" & mpirun=$!
    wait_for_step "$1" 5
}
# the job is over within 60 s of now; its exit code
ended() {
    for i in $(seq 600); do kill -0 $mpirun 2>/dev/null || { wait $mpirun; return; }; sleep 0.1; done
    kill -9 $mpirun $(pgrep -f -- "--out $1"); wait $mpirun; return 99
}
resumes() { ranks 4 "$1" --resume && [ "$(weights "$1")" = "$(weights "$scratch/whole")" ]; ok "$2: resumed, the weights are bitwise those of the whole run"; }
for rank in 0 2; do
    run=$scratch/killed-$rank
    start "$run"; kill -9 $(pid_of $rank "$run"); ended "$run"; status=$?
    [ $status -ne 0 ] && [ $status -ne 99 ] && { named "rank $rank .*died" || told_by_prrte $rank; }
    ok "rank $rank is killed: all ranks end, and the error names it"
    resumes "$run" "rank $rank is killed"
done

run=$scratch/stopped
start "$run" --comm-timeout 5; stopped=$(pid_of 1 "$run"); kill -STOP $stopped; ended "$run"; status=$?
[ $status -ne 0 ] && [ $status -ne 99 ] && named "ranks? ([0-9, ]*, )?1[ ,].*5 s"
ok "rank 1 is stopped: all ranks end after --comm-timeout, and one line names it"
kill -9 $stopped 2>/dev/null
resumes "$run" "rank 1 is stopped"

# not from the start: MPI's own memory is a file too
run=$scratch/disk
start "$run" --steps 100000; prlimit --pid "$(pid_of 0 "$run")" --fsize=1; ended "$run"
[ $? -eq 1 ] && named "^tally: rank 0: .*File too large"; ok "a file that one rank cannot write ends all ranks, with its error and exit code 1"

run=$scratch/term
start "$run" --steps 100000 --checkpoint-every 0; kill -USR1 $mpirun; ended "$run"; status=$?
[ $status -ne 99 ] && grep -q "^stopped after step" "$scratch/err"; ok "SIGUSR1 to mpirun, which passes it on: the step is finished and saved"
"$tally" inspect "$run" --json >"$scratch/out" 2>"$scratch/err" && grep -q '"whole":true' "$scratch/out"; ok "the checkpoint is whole"
last=$(of_steps "$run" | tail -1 | cut -d' ' -f1)
ranks 4 "$run" --resume --steps $((last + 2)) && [ "$(of_steps "$run" | wc -l)" -eq $((last + 2)) ]; ok "--resume continues from this checkpoint"
run=$scratch/term-one
start "$run"; kill -TERM $(pid_of 3 "$run"); ended "$run"; [ $? -eq 143 ]; ok "SIGTERM to one rank stops all ranks, with exit code 143"
resumes "$run" "SIGTERM to one rank"
run=$scratch/term-two
start "$run" --steps 100000 --checkpoint-every 0
first=$(pid_of 3 "$run") second=$(pid_of 1 "$run")
kill -TERM "$first"
for i in $(seq 3000); do compgen -G "$run/checkpoints/.step-*" >/dev/null && break; sleep 0.01; done
kill -TERM "$second" 2>/dev/null; ended "$run"; [ $? -eq 143 ]; ok "SIGTERM to another rank during the save does not kill it, because it is that rank's first"
"$tally" inspect "$run" --json >"$scratch/out" 2>"$scratch/err" && grep -q '"whole":true' "$scratch/out"; ok "the checkpoint is whole"
last=$(of_steps "$run" | tail -1 | cut -d' ' -f1)
ranks 4 "$run" --resume --steps $((last + 1)); ok "--resume continues from this checkpoint"

# the rank dies before the N-th write, fsync or rename of its own: rank 0's are of the run's files too
for at in 0:12 0:25 1:2 1:6 3:9; do
    rank=${at%:*} n=${at#*:} run=$scratch/save
    rm -rf "$run"
    timeout -s KILL 240 "$MPIEXEC" -np 4 bash -c "[ \${OMPI_COMM_WORLD_RANK-\${PMI_RANK-}} != $rank ] || export TALLY_CRASH_AT_WRITE=$n; exec \"\$@\"" \
        - "$tally" train "${options[@]}" --out "$run" >"$scratch/out" 2>"$scratch/err"
    status=$?
    [ $status -ne 0 ] && { named "rank $rank .*died" || told_by_prrte $rank; }; ok "rank $rank dies during a save, before its write $n: all ranks end, and the error names it"
    resumes "$run" "it"
done
finish
