#!/bin/bash
# How well `tally plan --from RUN` predicts the time of a step. Trains 20 steps of each configuration below, then plans every one of them
# from the run of each configuration that is named as a base, and prints predicted against measured milliseconds. What is
# measured is the median of the 20 steps without the first three. Other processes on the machine spoil the measurement; RUN_WITH
# is put before the command, for example RUN_WITH="chrt -f 1"; of ROUNDS runs of a configuration the fastest counts.
#   tools/bench_plan.sh build/tally DATA [BASE...]      DATA: as of --data; BASE: number of a configuration, from 0; default 0 and 4
set -eu
tally=$1 data=$2; shift 2
bases=("$@"); [ ${#bases[@]} -gt 0 ] || bases=(0 4)
threads=${THREADS:-1} rounds=${ROUNDS:-1}
configurations=(
    "--model gpt2-124m --batch 2 --seq-len 256"
    "--model gpt2-124m --batch 4 --seq-len 128"
    "--model gpt2-124m --batch 1 --seq-len 512"
    "--model gpt2-124m --batch 2 --seq-len 256 --recompute block"
    "--model llama-3m --batch 8 --seq-len 256"
    "--model llama-3m --batch 2 --seq-len 256"
    "--model llama-3m --batch 2 --seq-len 1024"
    "--model llama-3m --batch 8 --seq-len 256 --recompute block"
    "--model llama-3m --batch 8 --seq-len 256 --recompute selective"
    "--model llama-15m --batch 4 --seq-len 256"
    "--model llama-42m --batch 2 --seq-len 256"
    "--model smollm2-135m --batch 1 --seq-len 256"
)
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
field() { grep -o "\"$1\": *[0-9.e+-]*" "$2" | head -1 | sed 's/.*: *//'; }

faster() { awk -v a="$1" -v b="$2" 'BEGIN {exit !(a < b)}'; }
for _ in $(seq "$rounds"); do
    for i in "${!configurations[@]}"; do
        # shellcheck disable=SC2086
        ${RUN_WITH:-} "$tally" train --data "$data" --out "$runs/new" --steps 20 --warmup 4 --threads "$threads" \
            --eval-batches 1 --peak-seconds 0 ${configurations[$i]} 2>"$runs/log" || { cat "$runs/log"; exit 1; }
        mv "$runs/new/checkpoints/step-20/config.json" "$runs/$i.json" # the preset with the vocabulary of the data
        rm -r "$runs/new/checkpoints"
        if [ ! -e "$runs/$i" ]; then mv "$runs/new" "$runs/$i"
        elif faster "$(field step_s "$runs/new/calibration.json")" "$(field step_s "$runs/$i/calibration.json")"; then
            rm -r "${runs:?}/$i" && mv "$runs/new" "$runs/$i"
        else rm -r "$runs/new"; fi
    done
done

printf '| configuration | measured ms |'; for b in "${bases[@]}"; do printf ' from %s | error |' "$b"; done; echo
printf '|---|---|'; for b in "${bases[@]}"; do printf -- '---|---|'; done; echo
for i in "${!configurations[@]}"; do
    measured=$(field step_s "$runs/$i/calibration.json")
    awk -v i="$i" -v c="${configurations[$i]}" -v m="$measured" 'BEGIN {printf "| %d: %s | %.1f |", i, c, m * 1e3}'
    for b in "${bases[@]}"; do
        # shellcheck disable=SC2086
        "$tally" plan --from "$runs/$b" --recompute none ${configurations[$i]} --model "$runs/$i.json" --json >"$runs/plan.json"
        awk -v p="$(field step_ms "$runs/plan.json")" -v m="$measured" \
            'BEGIN {printf " %.1f | %+.1f%% |", p, 100 * (p / (m * 1e3) - 1)}'
    done
    echo
done
