#!/usr/bin/env bash
# Fuzzes every reader of foreign files with clang's libFuzzer. jansson is built from Debian's source package with the same
# instrumentation, so that its own branches guide the search and its memory is checked.
# Usage: tests/fuzz/run.sh [SECONDS [NAME...]]    seconds a harness (60), and which: json, corpus, ...; all
# Inputs that reach new code are kept in build-fuzz/corpus; what fails is left in build-fuzz.
# Needs clang; JANSSON_SOURCE=FOLDER names a folder with its src/load.c, which is downloaded otherwise.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}; shift || true
build=build-fuzz
mkdir -p "$build"
: "${JANSSON_SOURCE:=$(tests/fuzz/jansson_source.sh "$build")}"
CC=clang cmake -S . -B "$build" -G Ninja -DTALLY_CUDA=OFF -DTALLY_FUZZ=ON -DTALLY_JANSSON_SOURCE="$JANSSON_SOURCE" >/dev/null
cmake -S . -B "$build/seeds" -G Ninja -DTALLY_CUDA=OFF >/dev/null # the same harnesses with driver.c, which writes the seeds
names=("$@")
if [ ${#names[@]} -eq 0 ]; then for f in tests/fuzz/fuzz_*.c; do f=${f##*/fuzz_}; names+=("${f%.c}"); done; fi
for name in "${names[@]}"; do
    cmake --build "$build" --target "fuzz_$name" >/dev/null
    cmake --build "$build/seeds" --target "fuzz_$name" >/dev/null
    corpus=$build/corpus/$name
    mkdir -p "$corpus"
    "$build/seeds/fuzz_$name" --seeds "$corpus"
    echo "== $name"
    "$build/fuzz_$name" "$corpus" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 -max_len=65536 \
        -artifact_prefix="$build/$name-" -print_final_stats=1 2>&1 | grep -vE '^#|NEW|REDUCE|pulse' | tail -25
done
