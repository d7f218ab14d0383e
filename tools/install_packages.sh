#!/usr/bin/env bash
# Installs missing packages of Debian or Ubuntu, and prints which. Usage: install_packages.sh [PACKAGE...], by default those that
# the build needs.
set -euo pipefail

packages=("$@")
if [ ${#packages[@]} -eq 0 ]; then
    packages=(gcc libc6-dev make cmake ninja-build pkg-config libdnnl-dev libjansson-dev libhwloc-dev zlib1g-dev
        libpcre2-dev libutf8proc-dev libzstd-dev openmpi-bin libopenmpi-dev)
fi

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

command -v apt-get >/dev/null || { echo "missing packages: ${missing[*]}; no apt-get here to install them" >&2; exit 1; }
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "missing packages: ${missing[*]}; install them as root" >&2; exit 1; }
    as_root=(sudo)
fi
echo "installing: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq >&2
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
