# A run that diverges: its last good checkpoints stay, a resume begins with one of them, and broken ones are reported.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "a run that diverges"

text=$scratch/text.txt
lines_of_text 100 "$text"
tiny_llama "$scratch/model.json" 32 48 2 4 2
train() { local run=$1; shift; "$tally" train --out "$run" "$@" >"$scratch/out" 2>"$scratch/err"; }
fresh=(--model "$scratch/model.json" --data "$text" --batch 2 --seq-len 32 --threads 1 --peak-seconds 0 --device cpu)
steps_of() { ls "$1/checkpoints" | sed 's/step-//' | sort -n; } # of all checkpoints
marked() { grep -l '"finite": false' "$1"/checkpoints/step-*/progress.json | sed -E 's/.*step-([0-9]+).*/\1/'; }
good() { grep -l '"finite": true' "$1"/checkpoints/step-*/progress.json | sed -E 's/.*step-([0-9]+).*/\1/' | sort -n; }

# decoupled decay of 0.1 at a rate of 100 makes a weight -9 times itself: on any machine the loss overflows
run=$scratch/diverged
train "$run" "${fresh[@]}" --steps 400 --lr 100 --warmup 0 --clip 0 --schedule constant --checkpoint-every 2 --keep 3 --max-skipped 9
[ $? -eq 1 ] && grep -q "10 steps in a row had a loss or gradient that is not finite" "$scratch/err"; ok "a run that diverges ends with exit code 1"
first=$(sed -nE 's/^step ([0-9]+) skipped: .*; the weights were not updated$/\1/p' "$scratch/err" | head -1) kept=$(good "$run" | tr '\n' ' ')
[ "$(marked "$run")" = "$(steps_of "$run" | tail -1)" ] && [ "$(marked "$run")" -eq $((first + 9)) ]; ok "of the checkpoints with a loss that is not finite, only the last is kept"
grep -q "^warning: the loss is not finite at checkpoint step-$(marked "$run"); --resume will not use this checkpoint$" "$scratch/err"; ok "the log warns of it"
[ "$(good "$run" | wc -l)" -eq 3 ] && [ "$(good "$run" | tail -1)" -lt "$first" ]; ok "the newest three checkpoints with a finite loss are kept"
for restart in 1 2; do
    train "$run" --resume; [ $? -eq 1 ] && [ "$(good "$run" | tr '\n' ' ')" = "$kept" ]; ok "restart $restart ends in the same way, and removes no checkpoint"
done
grep -q "^skipped $run/checkpoints/step-$(marked "$run"): its loss or its weights are not finite$" "$scratch/err"; ok "the log says which checkpoint was skipped, and why"

bad=$run/checkpoints/step-$(marked "$run")
"$tally" eval "$bad" --data "$text" --seq-len 32 --threads 1 --device cpu >"$scratch/out" 2>"$scratch/err"
[ $? -eq 1 ] && grep -q "^tally: $bad: the loss is NaN, expected a finite one" "$scratch/err" && [ ! -s "$scratch/out" ]; ok "eval of the last checkpoint: the loss is not finite"
"$tally" generate "$bad" --seed 1 --threads 1 --device cpu >"$scratch/out" 2>"$scratch/err"
[ $? -eq 1 ] && grep -q "^tally: .*the weights are damaged" "$scratch/err"; ok "generate refuses the last checkpoint"
"$tally" eval "$run" --data "$text" --seq-len 32 --threads 1 --device cpu >"$scratch/out" 2>"$scratch/err" && grep -q "^skipped $bad" "$scratch/err"
ok "eval of the run uses a checkpoint whose loss is finite"

train "$run" --resume --lr 1e-5 --weight-decay 0 --steps $((first + 2)) && [ "$(steps_of "$run" | tail -1)" -eq $((first + 2)) ] && [ -z "$(marked "$run")" ]
ok "with a lower learning rate the run continues, and the checkpoint whose loss is not finite is removed"

# a moment that is not a number, as a broken memory or an older version may have left it
cat >"$scratch/break.py" <<'P'
import sys, zlib
folder = sys.argv[1]
path = folder + "/optimizer.safetensors"
data = bytearray(open(path, "rb").read())
data[-4:] = b"\0\0\xc0\x7f"
open(path, "wb").write(data)
lines = open(folder + "/MANIFEST").read().split("\n")[:-2]
crcs = " ".join("%08x" % zlib.crc32(data[i:i + (4 << 20)]) for i in range(0, len(data), 4 << 20))
lines = [f"file optimizer.safetensors {len(data)} {crcs}" if l.startswith("file optimizer") else l for l in lines]
text = "\n".join(lines) + "\n"
open(folder + "/MANIFEST", "w").write(text + "crc32 %08x\n" % zlib.crc32(text.encode()))
P
run=$scratch/broken
train "$run" "${fresh[@]}" --steps 4 --checkpoint-every 2 && python3 "$scratch/break.py" "$run/checkpoints/step-4"
train "$run" --resume --steps 5; [ $? -eq 1 ] && grep -q '^tally: step 5 is not saved: ".*" holds values that are not finite; earlier checkpoints are unchanged' "$scratch/err" &&
    [ "$(steps_of "$run" | tr '\n' ' ')" = "2 4 " ]
ok "weights that are not finite are not saved, and end the run with exit code 1"

# by time; a nanosecond has passed after every step
run=$scratch/timed
train "$run" "${fresh[@]}" --steps 6 --checkpoint-minutes 1e-12 --keep 9 && [ "$(steps_of "$run" | tr '\n' ' ')" = "1 2 3 4 5 6 " ]; ok "--checkpoint-minutes saves a checkpoint when the minutes have passed"
train "$scratch/none" "${fresh[@]}" --steps 6 --checkpoint-minutes 0 --keep 9 && [ "$(steps_of "$scratch/none" | tr '\n' ' ')" = "6 " ]; ok "--checkpoint-minutes 0 saves only at the end"
"$tally" train --help | tr -s ' \n' ' ' | grep -q -- '--checkpoint-minutes X .*(default 10)'; ok "--checkpoint-minutes is 10 by default"
cmp -s "$run/checkpoints/step-6/model.safetensors" "$scratch/none/checkpoints/step-6/model.safetensors"; ok "the weights are the same with and without these checkpoints"
finish
