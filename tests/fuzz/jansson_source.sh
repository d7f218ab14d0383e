#!/usr/bin/env bash
# Prints a folder with jansson's load.c, of the version that this system ships, so that tests can build it with
# instrumentation. It is downloaded into FOLDER from the system's source packages, once. Changes nothing of the system;
# needs no root. Usage: tests/fuzz/jansson_source.sh FOLDER      exit code 1 and a line on standard error on failure
set -uo pipefail
find_source() { find "$1" -maxdepth 3 -path '*/src/load.c' -printf '%h\n' 2>/dev/null | grep . | head -1; }
fail() { echo "the source of jansson: $1" >&2; exit 1; }

mkdir -p "$1/jansson/lists/partial" && cd "$1/jansson" || fail "$1 cannot be written"
find_source "$PWD" && exit
command -v apt-get >/dev/null || fail "there is no apt-get to download it"
. /etc/os-release
case $ID in
    debian) echo "deb-src http://deb.debian.org/debian $VERSION_CODENAME main" ;;
    ubuntu) echo "deb-src http://archive.ubuntu.com/ubuntu $VERSION_CODENAME main" ;;
    *) fail "expected Debian or Ubuntu, found $ID" ;;
esac >sources.list
apt=(-qq -o "Dir::Etc::SourceList=$PWD/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$PWD/lists"
    -o "Dir::Cache=$PWD" -o Acquire::http::Timeout=20)
apt-get "${apt[@]}" update >apt.log 2>&1 && apt-get "${apt[@]}" source --download-only jansson >>apt.log 2>&1 ||
    fail "$(grep -m1 '^E:' apt.log || echo "apt-get failed")"
tar -xf jansson_*.orig.tar.* 2>apt.log || fail "$(head -1 apt.log)"
find_source "$PWD" || fail "no src/load.c in $(ls jansson_*.orig.tar.*)"
