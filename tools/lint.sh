#!/usr/bin/env bash
# Checks the sources: clang-format finds nothing to change, and clang-tidy finds nothing by the checks in .clang-tidy. Prints TAP.
# Only LLVM 14 is used: other versions format and warn differently. On Debian 12 it is in clang-format-14 and clang-tidy-14.
# Usage: tools/lint.sh BUILD      BUILD: a folder that CMake has configured; TALLY_CUDA=EMULATED covers the CUDA host code too
set -u
cd "$(dirname "$0")/.."
build=${1:?usage: tools/lint.sh BUILD}
failed=0 count=0
tool() { # NAME: its path in version 14
    command -v "$1-14" || { "$1" --version 2>/dev/null | grep -q 'version 14\.' && command -v "$1"; }
}
check() { # NAME TOOL COMMAND...
    local name=$1 program out; count=$((count + 1))
    program=$(tool "$2") || { echo "ok $count - $name # SKIP $2 14 is not installed"; return; }
    if out=$("${@:3}" "$program" 2>&1); then echo "ok $count - $name"; return; fi
    echo "not ok $count - $name"; grep -E '(error|warning):' <<<"$out" | sed "s|^$PWD/||; s/^/# /" | sort -u | head -40
    failed=1
}
format() {
    find runtime layers optim parallel train tools tests \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cc' \) -print0 |
        xargs -0 "$1" --dry-run -Werror
}
tidy() {
    local sources
    sources=$(sed -n 's/^ *"file": "\(.*\.c\)".*/\1/p' "$build/compile_commands.json" | grep -v '/tests/' | sort -u)
    [ -n "$sources" ] || { echo "error: no sources in $build/compile_commands.json"; return 1; }
    xargs -P "$(nproc)" -n 4 "$1" -p "$build" --quiet <<<"$sources"
}
check "the sources are formatted as .clang-format says" clang-format format
check "clang-tidy finds nothing" clang-tidy tidy
echo "1..$count"
exit $failed
