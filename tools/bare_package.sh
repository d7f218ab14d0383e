#!/usr/bin/env bash
# Builds the Debian package in one bare Debian, installs it in another, and trains and samples there with what it installed.
# Needs root, debootstrap and the network.
# Usage: tools/bare_package.sh SUITE FOLDER
#   SUITE    bookworm (Debian 12), trixie (Debian 13) or another that debootstrap knows
#   FOLDER   where both systems are made, as FOLDER/build and FOLDER/install; the package is copied to FOLDER. An installed system
#            that exists there is made anew: it must be bare
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -ne 2 ]; then sed -n '/^# Usage/,/^set/{/^set/!s/^# //p}' "$0" >&2; exit 2; fi
suite=$1 folder=$2
mkdir -p "$folder"
if [ -e "$folder/install" ]; then rm -rf --one-file-system "$folder/install"; fi

tools/bare_system.sh "$suite" "$folder/build" bash -c 'tools/install_packages.sh && tools/install_packages.sh git dpkg-dev file &&
    cmake -S . -B build -G Ninja && cmake --build build --target tally tally_pages && cd build && rm -f ./*.deb && cpack'
rm -f "$folder"/*.deb
cp "$folder"/build/root/tally/build/*.deb "$folder"

debootstrap --variant=minbase "$suite" "$folder/install" http://deb.debian.org/debian
cp "$folder"/*.deb "$folder/install/root/"
tools/bare_system.sh "$suite" "$folder/install" bash -exc 'apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ../tally_*.deb
    cd /root && rm -rf tally && tally --version && tally --help
    zcat /usr/share/man/man1/tally.1.gz | grep -q recompute || ls /usr/share/man/man1 # minbase may leave pages out
    . /usr/share/bash-completion/completions/tally
    text=/usr/share/common-licenses
    tally tokenizer train --data $text --out words --vocab-size 1024
    tally tokenize $text --tokenizer words --out tokens
    tally train --model llama-3m --data tokens --tokenizer words --out run --steps 20 --seq-len 64 --peak-seconds 0
    tally generate run --prompt "This program" --tokens 40
    tally export run exported
    tally inspect run
    apt-get remove -y -qq tally && [ ! -e /usr/bin/tally ]'
echo "$suite: $(ls "$folder"/*.deb) was installed, used and removed"
