# One writer at a time for a run: a second one is refused with the name of the first, and changes nothing.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh

text=$scratch/text.txt
lines_of_text 200 "$text"
tiny_llama "$scratch/model.json" 16 16 1 2 2
options=(--model "$scratch/model.json" --data "$text" --batch 1 --seq-len 16 --threads 1 --price 1 --peak-seconds 0 --warmup 0 --eval-batches 1)
train() { local run=$1; shift; "$tally" train "${options[@]}" --out "$run" "$@" >"$scratch/out" 2>"$scratch/err"; }

# under_way RUN COMMAND...: in the background, $pid, with a line of metrics when this returns
under_way() {
    local run=$1 before; shift
    before=$(cat "$run/metrics.jsonl" 2>/dev/null | wc -l)
    "$@" >/dev/null 2>"$scratch/first.err" & pid=$!
    for i in $(seq 1200); do
        [ "$(cat "$run/metrics.jsonl" 2>/dev/null | wc -l)" -gt $((before + 1)) ] && return
        sleep 0.05
    done
    return 1
}
heavy=(--global-batch 8192) # a step takes some time: few lines of metrics, however slow the machine
begin() { local run=$1; shift; under_way "$run" "$tally" train "${options[@]}" "${heavy[@]}" --steps 100000000 --out "$run" "$@"; }
# rank 0, whom mpirun does not hurry
end() { kill -TERM "$(sed 's/.*"pid":\([0-9]*\),.*/\1/' "$run/.lock")"; wait "$pid"; }

refused=0 asked=0
in_use='is in use by process [0-9]* on .* since 2.* UTC (.*tally train'
# second NAME COMMAND...: exit code 2 and a line that names the first
second() {
    local name=$1; shift
    asked=$((asked + 1))
    timeout -s KILL 240 "$@" >"$scratch/out" 2>"$scratch/err"
    [ $? -eq 2 ] && [ "$(grep -c "$in_use" "$scratch/err")" -eq 1 ] && refused=$((refused + 1))
    ok "$name"
}
steps_are_whole() { # RUN: 1, 2, 3, ... with nothing between
    sed -n 's/^{"step":\([0-9]*\),.*/\1/p' "$1/metrics.jsonl" | awk '$1 != NR { exit 1 }' && [ -s "$1/metrics.jsonl" ]
}
ranks=()
[ -z "${MPIEXEC:-}" ] || ranks=("$MPIEXEC" -np 2 "$tally")

for kind in fresh resumed ranks; do
    run=$scratch/$kind
    if [ $kind = fresh ]; then begin "$run"
    elif [ $kind = resumed ]; then train "$run" "${heavy[@]}" --steps 3 && begin "$run" --resume
    elif [ -n "${ranks-}" ]; then under_way "$run" "${ranks[@]}" train "${options[@]}" "${heavy[@]}" --steps 100000000 --out "$run"
    else skip "ranks" "the build has no MPI"; continue; fi
    ok "the first writer runs: $kind"
    ln -s "$run" "$scratch/link-to-$kind"
    second "$kind + fresh" "$tally" train "${options[@]}" --steps 3 --out "$run"
    [ $kind = ranks ] || { [ "$(wc -l <"$scratch/err")" -eq 1 ] && grep -q "by process $pid on " "$scratch/err"; ok "the second writer is refused in one line that names the first's process"; }
    second "$kind + resumed" "$tally" train --resume --out "$run" --model "$scratch/model.json" --data "$text"
    second "$kind + fresh by a link" "$tally" train "${options[@]}" --steps 3 --out "$scratch/link-to-$kind"
    second "$kind + resumed by a link" "$tally" train "${options[@]}" --resume --out "$scratch/link-to-$kind/"
    second "$kind + resumed by a relative path" sh -c 'cd "$1" && exec "$2" train --resume --out .' - "$run" "$tally"
    second "$kind + report" "$tally" report "$run"
    second "$kind + report with a picture" "$tally" report "$run" --loss-svg "$scratch/loss.svg"
    if [ -n "${ranks-}" ] && [ $kind = fresh ]; then
        second "$kind + ranks" "${ranks[@]}" train "${options[@]}" --steps 3 --out "$run"
        second "$kind + ranks that resume" "${ranks[@]}" train "${options[@]}" --resume --out "$run"
    fi
    "$tally" inspect "$run" >"$scratch/out" 2>"$scratch/err"; ok "inspect needs no lock"
    [ $kind = resumed ] || [ ! -e "$run/report.html" ] && [ ! -e "$scratch/loss.svg" ]; ok "the refused writer wrote nothing"
    end; "$tally" inspect "$run" --json 2>"$scratch/err" | grep -q '"whole":true' && steps_are_whole "$run"; ok "$kind: the first writer ends with exit code 0"
    [ ! -e "$run/.lock" ]; ok "the first writer removes its lock"
    "$tally" report "$run" 2>"$scratch/err"; ok "after that the report can be written"
done
[ $refused -eq $asked ]; ok "the second writer was refused $refused of $asked times"

# in the same instant: one of them trains
one_of_many=0
for i in 1 2 3; do
    run=$scratch/together-$i pids=() won=0 lost=0
    for k in 1 2 3 4; do "$tally" train "${options[@]}" --steps 200 --seed $k --out "$run" >/dev/null 2>"$scratch/err-$k" & pids[k]=$!; done
    for k in 1 2 3 4; do
        wait "${pids[k]}"
        case $? in 0) won=$((won + 1)) ;; 2) grep -q "is in use by\|already holds a run" "$scratch/err-$k" && lost=$((lost + 1)) ;; esac
    done
    [ $won -eq 1 ] && [ $lost -eq 3 ] && steps_are_whole "$run" && one_of_many=$((one_of_many + 1))
done
[ $one_of_many -eq 3 ]; ok "of four writers that start at the same time, one trains and three are refused"

# what a killed process leaves
run=$scratch/killed
begin "$run" --checkpoint-every 5
for i in $(seq 1200); do [ -d "$run/checkpoints/step-5" ] && break; sleep 0.05; done
kill -9 $pid; wait $pid 2>/dev/null
[ -s "$run/.lock" ]; ok "a killed process leaves its lock"
"$tally" report "$run" 2>"$scratch/err" && grep -q "the lock of process $pid on .* is stale" "$scratch/err"; ok "the lock of a killed process is taken over, and this is logged"
begin "$run" --checkpoint-every 5 --resume; kill -9 $pid; wait $pid 2>/dev/null
train "$run" --resume --steps $(($(tail -1 "$run/metrics.jsonl" | sed 's/{"step":\([0-9]*\),.*/\1/') + 5)) && grep -q "is stale" "$scratch/err" && steps_are_whole "$run"
ok "--resume takes over a lock too"
: >"$run/.lock"; "$tally" report "$run" 2>"$scratch/err"; ok "an empty lock that no running process holds is taken over"
head -c 3000 /dev/urandom >"$run/.lock"; "$tally" report "$run" 2>"$scratch/err"; ok "a damaged lock that no running process holds is taken over"
echo precious >"$scratch/precious"; ln -s "$scratch/precious" "$run/.lock"
refuses "a link in the lock's place" "expected a regular file" report "$run"
[ "$(cat "$scratch/precious")" = precious ]; ok "the lock does not change a file that a link points to"
rm "$run/.lock"; mkfifo "$run/.lock"; refuses "a pipe in the lock's place" "expected a regular file" report "$run"; rm "$run/.lock"
cp -a "$scratch/fresh" "$scratch/copied"; run=$scratch/fresh; begin "$run" --resume; cp "$run/.lock" "$scratch/copied/.lock"
train "$scratch/copied" --resume --steps 100000000 --budget 0; [ $? -eq 0 ]; ok "a copy of a run can be resumed while the run is locked"
end

# nothing is left of a run that never began
refuses "bad input" "no-such-text" train --data "$scratch/no-such-text" --out "$scratch/new/deep/er/run"
[ ! -e "$scratch/new" ]; ok "a train that is refused creates no folder"
mkdir "$scratch/mine"; refuses "bad input, with a folder that was there" "no-such-text" train --data "$scratch/no-such-text" --out "$scratch/mine/run/"
[ -d "$scratch/mine" ] && [ -z "$(ls -A "$scratch/mine")" ]; ok "a train that is refused leaves an existing folder as it was"
refuses "a report of no run" "$scratch/none" report "$scratch/none"
finish
