#!/usr/bin/env bash
# Installs what is missing, builds, and runs all tests. The last line is "N passed, N failed, N skipped".
# Usage: tools/test.sh [--strict] [NAME...]
#   NAME      run only the test programs whose names match one of these
#   --strict  what CI runs: warnings are errors; the code is also compiled for x86-64-v4, and with clang where it is installed;
#             clang-format and clang-tidy check it (tools/lint.sh)
set -uo pipefail
cd "$(dirname "$0")/.."
strict=()
if [ "${1:-}" = --strict ]; then strict=(-DCMAKE_COMPILE_WARNING_AS_ERROR=ON); shift; fi
case ${1:-} in -*) echo "usage: tools/test.sh [--strict] [NAME...]" >&2; exit 2 ;; esac

tools/install_packages.sh || exit 1
tools/install_packages.sh g++ libcmocka-dev valgrind python3 procps || exit 1

# The report is looked at in a browser, the Prometheus file by promtool. Where the system lacks one of them (Ubuntu has no such browser),
# or it cannot be installed, its checks are skipped by name.
if [ ${#strict[@]} -gt 0 ]; then
    for package in chromium-headless-shell prometheus; do
        apt-cache show "$package" >/dev/null 2>&1 || continue
        tools/install_packages.sh "$package" || echo "$package could not be installed" >&2
    done
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
filter=$(IFS='|'; echo "$*")

# build FOLDER "TARGET..." CMAKE_OPTIONS...
build() {
    local folder=$1 targets=$2; shift 2
    cmake -S . -B "$folder" -G Ninja "${strict[@]}" "$@" >"$log" 2>&1 &&
        cmake --build "$folder" --target $targets >>"$log" 2>&1 && return
    tail -40 "$log" >&2; echo "the build in $folder failed" >&2; echo "0 passed, 1 failed, 0 skipped"; exit 1
}

passed=0 failed=0 skipped=0
# count STATUS: adds up the TAP lines in the log, of ctest or of a script; a test that dies before its last line fails as a whole
count() {
    local status=$1 ok bad skip
    sed -i -E 's/^([0-9]+: )?not (ok [0-9]+.*# SKIP)/\1\2/' "$log" # as cmocka writes what is skipped
    skip=$(grep -cE '^([0-9]+: )?ok [0-9]+.*# SKIP' "$log")
    ok=$(($(grep -cE '^([0-9]+: )?ok [0-9]+' "$log") - skip))
    bad=$(($(grep -cE '^([0-9]+: )?not ok [0-9]+' "$log") + $(grep -cE '\*\*\*(Exception|Timeout|Not Run)' "$log")))
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ "$status" -ne 0 ]; then
        grep -E '^([0-9]+: )?(not ok|# [^o]|simt:|racecheck:)|ERROR|runtime error|\*\*\*Failed|\*\*\*Timeout|\*\*\*Exception|SEGFAULT' "$log" | head -60
    fi
    grep -E '^([0-9]+: )?ok [0-9]+.*# SKIP' "$log" | sed -E 's/^([0-9]+: )?/  /'
    echo "   $ok passed, $bad failed, $skip skipped"
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
}
# run_tests FOLDER TITLE CTEST_OPTIONS...
run_tests() {
    local folder=$1 title=$2; shift 2
    echo "== $title"
    ctest --test-dir "$folder" -V -j "$(nproc)" ${filter:+-R "$filter"} "$@" >"$log" 2>&1
    count $?
}

export OMP_WAIT_POLICY=passive # tests run side by side: threads that wait must not take the cores of those that work

# Only compiled, so that no processor and no compiler of a user's shows a warning first. Tests run for the baseline below.
compiled="tally_core simt fake_nccl kernels_racecheck"
if [ ${#strict[@]} -gt 0 ] && [ "$(uname -m)" = x86_64 ]; then
    build build-v4 "$compiled" -DTALLY_CUDA=EMULATED -DTALLY_MARCH=x86-64-v4
fi
if [ ${#strict[@]} -gt 0 ] && command -v clang >/dev/null && command -v clang++ >/dev/null; then
    tools/install_packages.sh libomp-dev || exit 1
    CC=clang CXX=clang++ build build-clang all -DTALLY_CUDA=EMULATED
fi

build build all
if grep -q '^-- CUDA.*: CPU only$' "$log"; then
    echo "== skipped: nvcc does not compile the CUDA code: $(sed -n 's/^-- \(CUDA.*\): CPU only$/\1/p' "$log")"
    skipped=1
fi
run_tests build "the tests"
build build-emulated cuda_tests -DTALLY_CUDA=EMULATED
run_tests build-emulated "the CUDA tests on the CPU, in all orders of threads and streams" -L cuda
if [ ${#strict[@]} -gt 0 ]; then
    echo "== clang-format and clang-tidy"
    tools/lint.sh build-emulated >"$log" 2>&1
    count $?
fi
if ! jansson=$(tests/fuzz/jansson_source.sh build-sanitize 2>"$log"); then
    echo "== skipped: the fuzz harnesses use the system's jansson, without instrumentation: $(cat "$log")"
    skipped=$((skipped + 1))
fi
build build-sanitize all -DTALLY_CUDA=EMULATED -DTALLY_SANITIZE=ON -DTALLY_JANSSON_SOURCE="$jansson"
# test_cuda_ranks takes a minute, has run twice above, and trains what test_cuda_fsdp, test_cuda_train and test_ranks train here
run_tests build-sanitize "the tests, with address and undefined-behaviour sanitizers" -E '^test_cuda_ranks$'

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
