#!/usr/bin/env bash
# From a fresh clone on a bare Debian or Ubuntu: installs missing packages, builds, trains a tokenizer and then a small model for
# about two minutes with its cost at every step, samples from it, and writes a report.
# Usage: tools/quickstart.sh [--seconds N] [FILE]
#   FILE         text to learn; without it, the Jargon File of Debian's package jargon-text (1.6 MB, public domain), or, where that
#                cannot be downloaded, the licences in /usr/share/common-licenses
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

# the Jargon File from its first entry on, without the indentation of its lines
jargon() {
    local folder
    folder=$(mktemp -d)
    if (cd "$folder" && apt-get -o APT::Sandbox::User=root download -qq jargon-text && dpkg -x jargon-text_*.deb .) >"$folder/log" 2>&1; then
        gzip -dc "$folder/usr/share/doc/jargon-text/jargon.txt.gz" | sed -n '/^   :/,$ { s/^   //; p }' >"$1"
    else
        echo "jargon-text cannot be downloaded: $(tail -n 1 "$folder/log")" >&2
    fi
    rm -r "$folder"
    [ -s "$1" ]
}

run=runs/quickstart-$(date +%Y%m%d-%H%M%S) prompt=""
mkdir -p "$run"
if [ $# -eq 1 ]; then data=("$1")
elif jargon "$run/jargon.txt"; then data=("$run/jargon.txt") prompt=':quickstart: n.'
else
    mapfile -t data < <(find /usr/share/common-licenses -type f | sort) # without its links, which would be texts given twice
    prompt="This program"
    echo "the text is /usr/share/common-licenses instead: little and repetitive, and the sample reads like a licence" >&2
fi

# A vocabulary of 4096 tokens; a short text gives fewer.
build/tally tokenizer train --data "${data[@]}" --out "$run/tokenizer" --json >"$run/tokenizer.log"
tokens=$(sed 's/.*"tokens":\([0-9]*\).*/\1/' "$run/tokenizer.log")
echo "tokenizer: $tokens tokens, in $run/tokenizer" >&2
# A model so large that the time holds at most about 6 passes over the text: more passes of a small model only learn it by heart. The
# speed is measured, not assumed. A token of such a text is about 3 bytes; a step has 4 x 128.
bytes=$(cat "${data[@]}" | wc -c)
shape=(--model "$run/shape.json" --batch 4 --seq-len 128)
for width in 128 192 256 384 512; do
    cat >"$run/shape.json" <<J
{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": $tokens, "hidden_size": $width, "intermediate_size": $((3 * width)),
 "num_hidden_layers": 4, "num_attention_heads": $((width / 32)), "num_key_value_heads": $((width / 32)), "max_position_embeddings": 128,
 "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu"}
J
    step_ms=$(build/tally bench step "${shape[@]}" --steps 20 --json | sed 's/.*"step_ms":\([0-9.]*\).*/\1/')
    steps=$(awk -v s="$seconds" -v ms="$step_ms" 'BEGIN { n = int(s * 1000 / ms); print n < 20 ? 20 : n }')
    if [ $((steps * 4 * 128 * 3)) -le $((6 * bytes)) ]; then break; fi
done

build/tally train "${shape[@]}" --tokenizer "$run/tokenizer" --data "${data[@]}" --out "$run" --steps "$steps" --warmup $((steps / 20 + 1)) \
    --lr "$(awk -v w=$width 'BEGIN { print 0.384 / w }')" --min-lr 1e-4 --beta2 0.98 --weight-decay 0.01 --eval-every $((steps / 5 + 1)) --eval-batches 32
echo
echo "A sample:"
echo
build/tally generate "$run" --prompt "$prompt" --tokens 250 --temperature 0.6 --top-p 0.9 --seed 1 | tee "$run/sample.txt"
build/tally report "$run"
echo
echo "The report: $run/report.html"
