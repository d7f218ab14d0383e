# What a run accepts its resume accepts; what it is resumed with instead is told; what cannot train is refused.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "what a resume accepts"

lines_of_text 100 "$scratch/text.txt"
cp "$scratch/text.txt" "$scratch/a \"b\" \\c ü.txt"
tiny_llama "$scratch/model.json" 32 48 2 4 2
options=(--model "$scratch/model.json" --data "$scratch/text.txt" --steps 2 --batch 2 --seq-len 32 --threads 1 --peak-seconds 0 --device cpu)
train() { local run=$1; shift; "$tally" train "${options[@]}" --out "$run" "$@" >"$scratch/out" 2>"$scratch/err"; }
resume() { local run=$1; shift; "$tally" train --out "$run" --resume "$@" >"$scratch/out" 2>"$scratch/err"; }
told() { grep -q -- "$1" "$scratch/err"; }

# --- every option, at values that are valid and unusual: a run with it, the same again, and one step more ---
declare -A values=(
    [model]="" [init]="" [tokenizer]="bytes" [val-fraction]="0 0.9" [seq-len]="7" [batch]="1" [global-batch]="192" [steps]="0 3" [lr]="5e-5 0 1e-30 100" [min-lr]="0 1e-3"
    [warmup]="0 1e12" [schedule]="cosine linear wsd constant" [decay-fraction]="0 1" [beta1]="0 0.999999" [beta2]="0 0.999999"
    [eps]="1e-20 1" [weight-decay]="0 10" [clip]="0 1e9" [max-skipped]="0 1e9" [precision]="fp32" [moments]="bf16" [master]="none"
    [recompute]="selective block block:1" [shard]="none optimizer gradients" [replicas]="1" [gather-dtype]="bf16" [reduce-dtype]="bf16"
    [comm-timeout]="1 1e6" [comm]="auto" [seed]="0 9007199254740993 9000000000000000000" [device]="auto" [threads]="2"
    [attention]="own" [eval-every]="1" [eval-batches]="1 1e12" [checkpoint-every]="1 1e12" [checkpoint-minutes]="0 1e-9 1e6" [keep]="1 1e9" [price]="0 0.1 1e9" [budget]="1e12"
    [peak-seconds]="0.001" [tdp-watts]="0.5 1e6" [text-key]="content \"ü\\" [max-bad-lines]="0 1e15")
again() { # NAME WORDS...: what is tried as one run
    local name=$1 run="$scratch/run of $1"; shift
    rm -rf "$run"
    train "$run" "$@" || return 1
    local steps=$(ls "$run/checkpoints" | sed 's/step-//' | sort -n | tail -1)
    resume "$run" && ! told "^resume: --" && told "already at step $steps of --steps $steps" || return 1
    resume "$run" --steps $((steps + 1)) && [ -d "$run/checkpoints/step-$((steps + 1))" ] &&
        [ "$(grep -c '^resume: --' "$scratch/err")" -eq 1 ] && told "^resume: --steps was $steps, is now $((steps + 1))$"
}
names=$("$tally" train --help | sed -nE 's/^  --(\[no-\])?([a-z0-9-]+).*/\2/p')
[ "$(echo "$names" | wc -l)" -ge 40 ]; ok "--options lists the options"
for name in $names; do
    case $name in
    resume | config | help | plan) continue ;; # --plan: test_drift.sh
    out) again 'quotes " and \ and ü'; ok "--out: the resumed run has the same value"; continue ;;
    data) again data --data "$scratch/a \"b\" \\c ü.txt" "$scratch/text.txt"; ok "--data: the resumed run has the same value"; continue ;;
    budget) again budget --budget 1e12 --price 1; ok "--budget 1e12: the resumed run has the same value"; continue ;;
    capex) again capex --capex 30000 --salvage 0.5 --years 1 --interest 0.05 --opex 0.1 --utilisation 0.9 --kwh-price 0.12; ok "--capex and the options that need it: the resumed run has the same values"; continue ;;
    salvage | years | interest | opex | utilisation | kwh-price) continue ;; # with --capex
    grid) again grid --grid FR --pue 1.1 --host-watts 0; ok "--grid, --pue, --host-watts: the resumed run has the same values"; continue ;;
    pue | host-watts) continue ;; # with --grid
    stop-at-loss) again "$name" --stop-at-loss 1e-3 --eval-every 1; ok "--stop-at-loss 1e-3: the resumed run has the same value"; continue ;;
    tensorboard) again "$name" --tensorboard "$scratch/board"; ok "--tensorboard: the resumed run has the same value"; continue ;;
    prometheus) again "$name" --prometheus "$scratch/tally.prom"; ok "--prometheus: the resumed run has the same value"; continue ;;
    mask-documents) again "$name" --mask-documents; ok "--mask-documents: the resumed run has the same value"; continue ;;
    gemm-search) again "$name" --gemm-search; ok "--gemm-search: the resumed run has the same value"; continue ;;
    reduce-every-microbatch) again "$name" --no-reduce-every-microbatch; ok "--no-reduce-every-microbatch: the resumed run has the same value"; continue ;;
    esac
    [ "${values[$name]+known}" ]; ok "this test knows values for --$name"
    for value in ${values[$name]:-}; do again "$name" "--$name" "$value"; ok "--$name $value: the resumed run has the same value"; done
done

# --- what is another one now ---
train "$scratch/run" --warmup 1 --lr 1e-3 --eval-every 1
resume "$scratch/run" --steps 8 --lr 2e-3 --beta2 0.99 --weight-decay 0 --eval-every 0 --price 2 --no-reduce-every-microbatch; ok "a run can be resumed with other options"
for line in "--steps was 2, is now 8" "--lr was 0.001, is now 0.002" "--beta2 was 0.95, is now 0.99" "--weight-decay was 0.1, is now 0" \
    "--eval-every was 1, is now 0" "--price was not given, is now 2" "--reduce-every-microbatch was on, is now off"; do
    told "^resume: $line$"; ok "logged: $line"
done
[ "$(grep -c '^resume: --' "$scratch/err")" -eq 7 ]; ok "no other option is logged"
# cosine: 1e-4 + (lr - 1e-4)/2 (1 + cos(pi (step - 1)/(steps - 1))), step 2 of 2 and of 8
told "^resume: the learning rate of step 3 is 0.001906; with the options before it would be 0.0001$"; ok "the learning rate of the next step is logged, with its value under the options before"
resume "$scratch/run"; ! told "with the options before"; ok "if the learning rate does not change, nothing about it is logged"
refuses "fewer steps than are done" "--steps 5: .*/checkpoints/step-8 has done 8 steps already; expected 8 or more" train --out "$scratch/run" --resume --steps 5
train "$scratch/warmup" --warmup 3 --lr 3e-3; told "^warning: --warmup 3 is longer than --steps 2: .* --lr 0.003, only 0.002$"; ok "a warm-up longer than the run is warned about"
train "$scratch/warmup2" --warmup 2; ! told "warning: --warmup"; ok "a warm-up as long as the run is not warned about"

# --- --min-lr: its default is no value that was given ---
config() { python3 - "$scratch/run/config.json" "$@" <<'P'
import json, sys
o = json.load(open(sys.argv[1])); o.update(json.loads(sys.argv[2])); json.dump(o, open(sys.argv[1], "w"))
P
}
rm -rf "$scratch/run"; train "$scratch/run" --lr 5e-5; config '{"min_lr": 1e-4}' # as stored by earlier versions
resume "$scratch/run" --steps 3; ok "a run of an earlier version, which stored a default --min-lr above --lr, can be resumed"
refuses "--min-lr above --lr" "--min-lr 0.0001: exceeds --lr 5e-05" train "${options[@]}" --out "$scratch/none" --lr 5e-5 --min-lr 1e-4
refuses "and on resume" "--min-lr 0.0001: exceeds --lr 5e-05" train --out "$scratch/run" --resume --min-lr 1e-4
resume "$scratch/run" --lr 2e-5 --steps 4; ok "a lower --lr needs no --min-lr"

# --- what cannot train ---
for bad in "eps 0" "eps 1e-21" "eps nan" "eps -1" "beta1 1" "beta2 1" "beta1 -0.1" "beta2 2" "lr inf" "lr nan" "lr 1e999" "lr -1" "lr 101" "min-lr -1" \
    "clip -1" "clip inf" "weight-decay -0.1" "weight-decay inf" "decay-fraction -1" "decay-fraction 1.1" "warmup -1" "steps -1" "max-skipped -1" \
    "val-fraction 1" "val-fraction -0.1" "keep 0" "batch 0" "seq-len 0" "price -1" "budget nan" "tdp-watts -1" "comm-timeout 0" "peak-seconds -1"; do
    set -- $bad
    refuses "--$1 $2" "--$1 is $2, expected a" train "${options[@]}" --out "$scratch/none" --$1 $2
    [[ $2 =~ ^-?[0-9.]+(e-?[0-9]{1,2})?$ ]] || continue # JSON has no other numbers
    echo "{\"${1//-/_}\": $2}" >"$scratch/bad.json"
    refuses "and in --config" "bad.json: \"${1//-/_}\" is $2, expected a" train --config "$scratch/bad.json" --model "$scratch/model.json" --data "$scratch/text.txt" --out "$scratch/none"
done
[ ! -e "$scratch/none" ]; ok "nothing is written for a resume that is refused"
config '{"eps": 0}' # as accepted by earlier versions
refuses "a stored run that cannot train" "run/config.json: \"eps\" is 0, expected a number from 1e-20 to 1" train --out "$scratch/run" --resume
resume "$scratch/run" --steps 5 --eps 1e-8 && told "^resume: the options cannot be compared with those of the run so far: .*\"eps\" is 0"; ok "the run can be resumed with a valid value"
finish
