#!/usr/bin/env bash
# Runs the commands of the README as a new user would: in a bare Debian, made with debootstrap, from a fresh clone of what is
# committed here. Needs root, debootstrap and the network. Mounts are private to this script and end with it.
# Usage: tools/bare_system.sh SUITE FOLDER [COMMAND...]
#   SUITE    bookworm (Debian 12), trixie (Debian 13) or another that debootstrap knows
#   FOLDER   where the system is made; a system that exists there is reused, with a new clone
#   COMMAND  by default tools/quickstart.sh --seconds 10 and then tools/test.sh
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -lt 2 ]; then sed -n '/^# Usage/,/^set/{/^set/!s/^# //p}' "$0" >&2; exit 2; fi
if [ "$(id -u)" -ne 0 ]; then echo "$0: needs root, for debootstrap and chroot" >&2; exit 2; fi
if [ -z "${BARE_SYSTEM:-}" ]; then BARE_SYSTEM=1 exec unshare --mount --propagation private -- tools/bare_system.sh "$@"; fi

suite=$1 root=$2; shift 2
if [ -e "$root" ]; then
    found=$(sed -n 's/^VERSION_CODENAME=//p' "$root/etc/os-release" 2>/dev/null || true)
    [ "$found" = "$suite" ] || { echo "$root: is a system of '$found' by its etc/os-release, expected $suite or a folder that does not exist" >&2; exit 2; }
else
    debootstrap --variant=minbase "$suite" "$root" http://deb.debian.org/debian
fi
root=$(cd "$root" && pwd)
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t sysfs -o ro sysfs "$root/sys"

rm -rf "$root/root/tally"
git clone -q --no-hardlinks . "$root/root/tally"
enter() {
    env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        ${http_proxy:+http_proxy="$http_proxy"} chroot "$root" /bin/bash -c 'cd ~/tally && exec "$@"' bash "$@"
}
if [ $# -gt 0 ]; then enter "$@"; exit; fi
enter tools/quickstart.sh --seconds 10
enter tools/test.sh
