# Signals and the standard streams: a signal that stops a run saves a checkpoint, and a broken log does not end the run.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "signals and the standard streams"

text=$scratch/text.txt
lines_of_text 400 "$text"
tiny_llama "$scratch/model.json" 32 48 2 4 2
# a learning rate that does not depend on --steps
options=(--model "$scratch/model.json" --data "$text" --batch 2 --seq-len 32 --global-batch 1024 --warmup 0 --lr 1e-2
    --schedule constant --eval-batches 2 --threads 1 --peak-seconds 0 --steps 100000)
weights() { cat "$1/checkpoints/step-$2"/{model,optimizer}.safetensors | sha256sum; }
steps_of() { grep -c '"loss"' "$1/metrics.jsonl" 2>/dev/null; }
# until RUN has told of STEPS steps; 300 s are for a machine that is busy
wait_for_steps() { for i in $(seq 3000); do [ "$(steps_of "$1")" -ge "$2" ] && return; sleep 0.1; done 2>/dev/null; false; }
newest() { ls "$1/checkpoints" | sed 's/step-//' | sort -n | tail -1; }
# resumed for two more steps, RUN has bitwise the weights of a run that never stopped
resumes() {
    local last
    last=$(($(newest "$1") + 2))
    "$tally" train "${options[@]}" --out "$1" --resume --steps $last >"$scratch/out" 2>"$scratch/err" &&
        "$tally" train "${options[@]}" --out "$scratch/whole" --steps $last >"$scratch/out" 2>"$scratch/err" &&
        [ "$(weights "$1" $last)" = "$(weights "$scratch/whole" $last)" ]
    local same=$?
    rm -rf "$scratch/whole"
    return $same
}

for signal in HUP INT TERM USR1 USR2 XCPU; do
    run=$scratch/$signal
    "$tally" train "${options[@]}" --out "$run" >"$scratch/out" 2>"$scratch/err" & pid=$!
    wait_for_steps "$run" 2; kill -$signal $pid; wait $pid
    [ $? -eq $((128 + $(kill -l $signal))) ] && grep -q "^stopped after step $(newest "$run");" "$scratch/err"
    ok "SIG$signal: saved and stopped, exit code 128 + its number"
    resumes "$run"; ok "and resumed, the weights are bitwise those of a run that never stopped"
    rm -rf "$run"
done

run=$scratch/nohup
(trap '' HUP; exec "$tally" train "${options[@]}" --out "$run" >"$scratch/out" 2>"$scratch/err") & pid=$!
wait_for_steps "$run" 1; kill -HUP $pid
wait_for_steps "$run" $(($(steps_of "$run") + 3)); kill -TERM $pid; wait $pid; [ $? -eq 143 ]
ok "a HUP that nohup ignores stays ignored"

# --- at start-up, which here measures the peak for a minute ---
run=$scratch/start
"$tally" train "${options[@]}" --peak-seconds 60 --out "$run" >"$scratch/out" 2>"$scratch/err" & pid=$!
for i in $(seq 3000); do [ -s "$run/heartbeat" ] && break; sleep 0.1; done
kill -TERM $pid; wait $pid
[ $? -eq 143 ] && grep -q "^stopped by SIGTERM before the first step: there is nothing new to save" "$scratch/err" && ! grep -q "^step" "$scratch/err"
ok "SIGTERM while the run starts ends it at once, and says that there is nothing to save"
"$tally" train "${options[@]}" --steps 2 --out "$run" --resume >"$scratch/out" 2>"$scratch/err"; ok "the run can be started again"

# --- within a step and an evaluation: broken off between two units of the model, at the N-th look for a signal ---
short=(--global-batch 128 --steps 5 --eval-every 2 --checkpoint-every 3)
"$tally" train "${options[@]}" "${short[@]}" --out "$scratch/short" >"$scratch/out" 2>"$scratch/err"
expected=$(weights "$scratch/short" 5) same=0 stops=0 run=$scratch/look
for n in $(seq 1 7 500); do
    rm -rf "$run"
    TALLY_STOP_AT_LOOK=$n "$tally" train "${options[@]}" "${short[@]}" --out "$run" >"$scratch/out" 2>"$scratch/err"; status=$?
    [ $status -eq 0 ] && break
    stops=$((stops + 1))
    [ $status -eq 143 ] && { grep -q "^stopped before a step was complete" "$scratch/err" || [ -n "$(newest "$run")" ]; } &&
        "$tally" train "${options[@]}" "${short[@]}" --out "$run" --resume >"$scratch/out" 2>"$scratch/err" &&
        [ "$(weights "$run" 5)" = "$expected" ] || { same=1; break; }
done
[ $same -eq 0 ] && [ $stops -ge 10 ]; ok "stopped at $stops places, exit code 143, and resumed: bitwise the same"
rm -rf "$run"
TALLY_STOP_AT_LOOK=5 "$tally" train "${options[@]}" "${short[@]}" --out "$run" >"$scratch/out" 2>"$scratch/err"
[ $? -eq 143 ] && [ ! -e "$run/checkpoints" ] && grep -q "^stopped before a step was complete: there is nothing new to save" "$scratch/err"
ok "within the first step there is nothing new to save"
rm -rf "$run"
"$tally" train "${options[@]}" --global-batch 64 --steps 1 --eval-batches 1 --out "$run" >"$scratch/out" 2>"$scratch/err"
TALLY_STOP_AT_LOOK=16 "$tally" train "${options[@]}" --global-batch 64 --steps 2 --eval-batches 0 --out "$run" --resume >"$scratch/out" 2>"$scratch/err"
[ $? -eq 143 ] && grep -q "^the evaluation after step 2 was interrupted" "$scratch/err" && [ "$(newest "$run")" = 2 ]
ok "an evaluation that is interrupted leaves a checkpoint, and the log says so"
python3 -c 'import json, sys
ledger = json.load(open(sys.argv[1] + "/ledger.json"))
assert abs(sum(ledger["bookings"].values()) - ledger["wall_s"]) < 1e-6, ledger' "$run" 2>"$scratch/err"
ok "and every second is booked once"

# --- the log ---
run=$scratch/tee
"$tally" train "${options[@]}" --out "$run" > >(head -1 >/dev/null; exec <&-; echo >"$scratch/unread") 2>&1 & pid=$!
for i in $(seq 3000); do [ -s "$scratch/unread" ] && break; sleep 0.1; done
wait_for_steps "$run" 1; wait_for_steps "$run" $(($(steps_of "$run") + 3)); ok "the run continues after the reader of its log has ended"
kill -INT $pid; wait $pid; [ $? -eq 130 ]; ok "SIGINT then saves and stops the run, like Ctrl-C with tee"
resumes "$run"; ok "and resumed, the weights are bitwise those of a run that never stopped"

for fd in 0 1 2; do
    run=$scratch/closed-$fd
    (eval "exec $fd>&-"; exec "$tally" train "${options[@]}" --out "$run" --steps 4 --checkpoint-every 2); [ $? -eq 0 ]
    ok "with descriptor $fd closed, the run ends with exit code 0"
    python3 -c 'import json, sys
steps = [json.loads(line)["step"] for line in open(sys.argv[1] + "/metrics.jsonl")]
assert steps == [1, 2, 3, 4], steps' "$run" 2>"$scratch/python"
    ok "and metrics.jsonl holds its steps and nothing else"
done 2>"$scratch/err"
"$tally" train "${options[@]}" --out "$scratch/full" --steps 4 2>/dev/full; ok "a log on a full disk does not end a run"

# --- writes that fail ---
(ulimit -f 24; exec "$tally" train "${options[@]}" --out "$scratch/limit" --steps 2 >"$scratch/out" 2>"$scratch/err")
[ $? -eq 1 ] && grep -q "^tally: $scratch/limit/.*: .*File too large" "$scratch/err"
ok "a file that exceeds ulimit -f is an error that names the file, exit code 1"
run=$scratch/results
"$tally" train "${options[@]}" --out "$run" --steps 1 >"$scratch/out" 2>"$scratch/err"
for command in "inspect $run --json" "inspect --models" "generate $run --tokens 1000000000 --temperature 0" "train --help"; do
    "$tally" $command >/dev/full 2>"$scratch/err"; [ $? -eq 1 ] && grep -q "^tally: standard output: No space left" "$scratch/err"
    ok "${command%% *}: a full disk for the result is an error"
done
{ "$tally" generate "$run" --temperature 0 --tokens 1000000000 2>"$scratch/err"; echo $? >"$scratch/code"; } | head -c 1 >/dev/null
[ "$(cat "$scratch/code")" = 1 ] && grep -q "^tally: standard output: Broken pipe" "$scratch/err"
ok "generate ends when the reader of its text has ended"
finish
