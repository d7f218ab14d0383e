#!/usr/bin/env bash
# From a fresh clone on a bare Debian or Ubuntu: installs missing packages, builds, trains a small model for about two minutes
# with its cost at every step, samples from it, and writes a report.
# Usage: tools/quickstart.sh [--seconds N] [FILE]
#   FILE         text to learn; without it, this project's own sources and README
#   --seconds N  train for about N seconds instead of 110
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=110
if [ "${1:-}" = --seconds ]; then
    seconds=${2:-}
    case $seconds in '' | *[!0-9]* | 0* | ??????*) echo "--seconds: found '$seconds', expected a whole number from 1 to 99999" >&2; exit 2 ;; esac
    shift 2
fi
case ${1:-} in -*) set -- '' '' ;; esac # no other options
if [ $# -gt 1 ]; then echo "usage: tools/quickstart.sh [--seconds N] [FILE]" >&2; exit 2; fi
if [ $# -eq 1 ] && [ ! -r "$1" ]; then echo "$1: cannot be read; expected a text file" >&2; exit 2; fi

tools/install_packages.sh
cmake -S . -B build -G Ninja >build.log 2>&1 && cmake --build build >>build.log 2>&1 ||
    { tail -30 build.log >&2; echo "the build failed; all of it is in build.log" >&2; exit 1; }

run=runs/quickstart-$(date +%Y%m%d-%H%M%S)
if [ $# -eq 1 ]; then data=("$1"); prompt=""; else
    data=(README.md runtime layers optim parallel train tools tests)
    prompt="/* The "
fi

# As many steps as that time holds: the rate is measured, not assumed.
shape=(--model llama-3m --batch 8 --seq-len 256)
step_ms=$(build/tally bench step "${shape[@]}" --steps 3 --json | sed 's/.*"step_ms":\([0-9]*\).*/\1/')
steps=$((seconds * 1000 / (step_ms > 0 ? step_ms : 1)))
[ "$steps" -ge 20 ] || steps=20

build/tally train "${shape[@]}" --data "${data[@]}" --out "$run" --steps "$steps" --warmup $((steps / 20 + 1)) --lr 2e-3 \
    --min-lr 2e-4 --recompute selective --eval-every $((steps / 5 + 1)) --eval-batches 8
echo
echo "A sample:"
echo
build/tally generate "$run" --prompt "$prompt" --tokens 400 --temperature 0.7 --seed 1 | tee "$run/sample.txt"
build/tally report "$run"
echo
echo "The report: $run/report.html"
