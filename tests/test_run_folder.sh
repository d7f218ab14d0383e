# A run's folder that changes under it, and files in it that are damaged: what is good stays so, and nothing is lost in silence.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh

text=$scratch/text.txt
lines_of_text 200 "$text"
tiny_llama "$scratch/model.json" 16 16 1 2 2
options=(--model "$scratch/model.json" --data "$text" --batch 1 --seq-len 16 --threads 1 --price 1 --peak-seconds 0 --warmup 0 --schedule constant --eval-batches 1)
train() { local run=$1; shift; "$tally" train "${options[@]}" --out "$run" "$@" >"$scratch/out" 2>"$scratch/err"; }
weights() { cat "$1"/checkpoints/step-"$2"/{model,optimizer}.safetensors | sha256sum; }
files() { (cd "$1" && find . -type f -exec sha256sum {} + | sort); }

# begin RUN COMMAND...: in the background, $pid, with a line of metrics when this returns
begin() {
    local run=$1; shift
    "$@" train "${options[@]}" --steps 100000000 --out "$run" >/dev/null 2>"$scratch/err" & pid=$!
    for i in $(seq 1200); do [ -s "$run/metrics.jsonl" ] && return; sleep 0.05; done
    return 1
}
# change COMMAND: while the process that writes stands still
change() {
    local writer
    writer=$(sed 's/.*"pid":\([0-9]*\),.*/\1/' "$run/.lock")
    kill -STOP "$writer" && "$@"
    kill -CONT "$writer"
}
# ended PATTERN: with exit code 2, and the pattern in one line of what it told
ended() {
    wait $pid
    [ $? -eq 2 ] && [ "$(grep -c "$1" "$scratch/err")" -eq 1 ]
}
last_step() { tail -1 "$1/metrics.jsonl" | sed 's/{"step":\([0-9]*\),.*/\1/'; }
goes_on() { # RUN: from the step that was saved when the run ended
    local step
    step=$(ls "$1/checkpoints" | sed -n 's/^step-//p' | sort -n | tail -1)
    train "$1" --resume --steps $((step + 3)) && grep -q "resumed from .*step-$step\$" "$scratch/err"
}

run=$scratch/run moved=$scratch/moved
kinds=("$tally")
[ -z "${MPIEXEC:-}" ] || kinds+=("$MPIEXEC -np 2 $tally")
for program in "${kinds[@]}"; do
    what=alone; [ "$program" = "$tally" ] || what=ranks
    rm -rf "$run" "$moved"
    begin "$run" $program && mv "$run" "$moved"
    ended "run: the folder of the run was moved to $moved while the run was writing to it; step [0-9]* was saved there"
    ok "$what: the run ends with an error if its folder is moved"
    [ ! -e "$run" ] && [ ! -e "$moved/.lock" ]; ok "nothing is created in the old place"
    [ -d "$moved/checkpoints/step-$(last_step "$moved")" ]; ok "all steps are in the new place, metrics and weights"
    goes_on "$moved"; ok "the run can be resumed in the new place"

    rm -rf "$run" "$moved"
    begin "$run" $program && change sh -c 'mv "$1" "$2" && cp "$3" "$1"' - "$run" "$moved" "$scratch/model.json"
    ended "was moved to $moved and replaced by another while"; ok "$what: the run ends if its folder is moved and a file takes its place"
    cmp -s "$run" "$scratch/model.json"; ok "what took its place is unchanged"

    rm -rf "$run" "$moved" "$scratch/other"
    train "$scratch/other" --steps 5 --seed 7; files "$scratch/other" >"$scratch/files"
    begin "$run" $program && change sh -c 'mv "$1" "$2" && mv "$3" "$1"' - "$run" "$moved" "$scratch/other"
    ended "was moved to $moved and replaced by another while"; ok "$what: the run ends if its folder is moved and another run takes its place"
    files "$run" | cmp -s - "$scratch/files"; ok "what took its place is unchanged"

    rm -rf "$run"
    begin "$run" $program && change rm -r "$run"
    ended "run: the folder of the run was deleted while the run was writing to it; nothing more was saved"
    ok "$what: the run ends with an error if its folder is deleted"
    [ ! -e "$run" ]; ok "the deleted folder is not created again"

    begin "$run" $program && rm "$run/metrics.jsonl"
    ended "run/metrics.jsonl: the file was deleted or moved while .*step [0-9]* was saved"; ok "$what: the run ends with an error if metrics.jsonl is deleted"
    goes_on "$run" && grep -q "metrics.jsonl: is missing; the lines of steps 1 to [0-9]* are lost" "$scratch/err"
    ok "--resume logs which lines are lost"
    rm -rf "$run"
    begin "$run" $program && cp "$run/metrics.jsonl" "$scratch/copy" && mv "$scratch/copy" "$run/metrics.jsonl"
    ended "run/metrics.jsonl: the file was replaced by another while .*step [0-9]* was saved"; ok "$what: the run ends with an error if metrics.jsonl is replaced"
    goes_on "$run" && grep -q "metrics.jsonl: the lines\? of steps\? .* missing" "$scratch/err"
    ok "--resume logs which lines are missing"
done

# between the last step and its checkpoint, in an evaluation of a second or more
rm -rf "$run" "$moved"; for i in $(seq 100); do cat "$text"; done >"$scratch/long.txt"
"$tally" train "${options[@]}" --data "$scratch/long.txt" --val-fraction 0.9 --batch 8 --seq-len 64 --eval-batches 0 --steps 1 --out "$run" 2>"$scratch/err" & pid=$!
for i in $(seq 1200); do grep -q '^energy:' "$scratch/err" && break; sleep 0.05; done
mv "$run" "$moved"; ended "run: the folder of the run was moved to $moved while .* step 1 was saved there"
ok "a folder that is moved during an evaluation gets the last step too"

# while a checkpoint is written; the writer stands still until the move is done
rm -rf "$run" "$moved"
"$tally" train "${options[@]}" --checkpoint-every 1 --steps 100000000 --out "$run" >/dev/null 2>"$scratch/err" & pid=$!
for i in $(seq 2000); do
    kill -STOP $pid
    [ -e "$(echo "$run"/checkpoints/.step-*.tmp/optimizer.safetensors)" ] && mv "$run" "$moved" && break
    kill -CONT $pid; sleep 0.003
done
kill -CONT $pid
ended "run: the folder of the run was moved to $moved while .* step [0-9]* was saved there"
ok "a folder that is moved while a checkpoint is written gets that step too"
[ -d "$moved/checkpoints/step-$(last_step "$moved")" ]; ok "all steps are in the new place"

# links that lead elsewhere
rm -rf "$run"; train "$run" --steps 6; echo precious >"$scratch/precious"
cp "$run/metrics.jsonl" "$scratch/metrics"; rm "$run/metrics.jsonl"; ln -s "$scratch/precious" "$run/metrics.jsonl"
for name in metrics.jsonl config.json ledger.json report.html; do ln -sf "$scratch/precious" "$run/$name.tmp"; done
train "$run" --resume --steps 8; [ $? -eq 2 ] && grep -q "metrics.jsonl: .*expected a regular file" "$scratch/err"
ok "--resume does not follow a metrics.jsonl that is a link"
rm "$run/metrics.jsonl"; { cat "$scratch/metrics"; printf '{"st'; } >"$run/metrics.jsonl"
train "$run" --resume --steps 8 && [ "$(cat "$scratch/precious")" = precious ]; ok "links in the place of temporary files are not followed"
[ -z "$(find "$run" -type l)" ]; ok "these links are removed"
mkdir "$scratch/new"; ln -s "$scratch/precious" "$scratch/new/metrics.jsonl"
train "$scratch/new" --steps 2 && [ "$(cat "$scratch/precious")" = precious ] && [ "$(grep -c loss "$scratch/new/metrics.jsonl")" -eq 2 ]
ok "a new run replaces a link"

# damage: costs what is damaged, never the resume
train "$scratch/whole" --steps 12; expected=$(weights "$scratch/whole" 12)
train "$scratch/base" --steps 8
# damaged NAME PATTERN COMMAND: run in the folder of a run of 8 steps, which is then resumed
damaged() {
    local name=$1 pattern=$2; shift 2
    rm -rf "$run"; cp -r "$scratch/base" "$run"
    (cd "$run" && "$@")
    train "$run" --resume --steps 12 && grep -q "$pattern" "$scratch/err" && [ "$(weights "$run" 12)" = "$expected" ]
    ok "resumed bitwise: $name"
    "$tally" report "$run" 2>"$scratch/err" && ! grep -q "$pattern" "$scratch/err"; ok "the damaged lines are removed"
}
damaged "a line of metrics.jsonl that is no JSON" "metrics.jsonl: line 3 .*is not a JSON object" sed -i '3s/"/x/3' metrics.jsonl
damaged "a line of NULs" "metrics.jsonl: line 3 .*begins with 20 NUL bytes" sh -c '{ head -n 2 metrics.jsonl; head -c 20 /dev/zero; echo; tail -n +4 metrics.jsonl; } >m && mv m metrics.jsonl'
damaged "a torn last line" "metrics.jsonl: line 9 .*is incomplete" sh -c 'printf "{\"step\":9,\"lo" >>metrics.jsonl'
damaged "NULs at the end" "metrics.jsonl: line 9 .*begins with 4096 NUL" sh -c 'head -c 4096 /dev/zero >>metrics.jsonl'
damaged "an empty ledger.json" "ledger.json.*the bill continues from the checkpoint" sh -c ': >ledger.json'
damaged "half a ledger.json" "ledger.json.*the bill continues from the checkpoint" truncate -s 300 ledger.json
damaged "a ledger.json of NULs" "ledger.json.*the bill continues from the checkpoint" sh -c 'head -c 900 /dev/zero >ledger.json'
rm -rf "$run"; cp -r "$scratch/base" "$run"; sed -i 3,5d "$run/metrics.jsonl"
train "$run" --resume --steps 12 && grep -q "metrics.jsonl: the lines of steps 3 to 5 are missing" "$scratch/err" && [ "$(weights "$run" 12)" = "$expected" ]
ok "resumed bitwise: lines that are missing"
: >"$run/ledger.json"; "$tally" report "$run" 2>"$scratch/err" && grep -q "ledger.json" "$scratch/err"; ok "report logs a damaged ledger.json"
"$tally" inspect "$run" >"$scratch/out" 2>"$scratch/err" && grep -q "ledger.json" "$scratch/err"; ok "inspect logs a damaged ledger.json"
finish
