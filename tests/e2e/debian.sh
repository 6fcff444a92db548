#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# debian.sh SUITE...: builds the Debian packages in a fresh root of each suite, lets lintian judge them, and installs them in
# another fresh root, where both programs, their pages, completions and units are. Exit 77: a root cannot be had.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=cross/apt.sh
. "$top/cross/apt.sh"
skip() { echo "skipped: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
for tool in mmdebstrap git; do command -v $tool >/dev/null || skip "no $tool"; done
work=$(mktemp -d /var/tmp/berth-debian-XXXXXX)
trap 'rm -rf "$work"' EXIT INT TERM

# root SUITE DIRECTORY PACKAGES: a fresh root with them
root() {
    mmdebstrap --quiet --mode=unshare --variant=apt --include="$3" "$1" "$2" "$(apt_archive "$1")" >"$work/log" 2>&1 ||
        skip "no root of $1: $(tail -n 1 "$work/log")"
}

# inside DIRECTORY COMMAND...: in namespaces of its own, which end with it
inside() {
    local directory=$1
    shift
    cp /etc/resolv.conf "$directory/etc/resolv.conf"
    unshare --mount --pid --fork --kill-child --mount-proc="$directory/proc" chroot "$directory" \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root DEBIAN_FRONTEND=noninteractive "$@"
}

for suite; do
    echo "$suite: build"
    root "$suite" "$work/build" build-essential,debhelper,lintian,ca-certificates
    mkdir -p "$work/build/src/berth"
    git -C "$top" ls-files -z --cached --others --exclude-standard | tar -C "$top" --null -T - -c | tar -x -C "$work/build/src/berth"
    inside "$work/build" bash -c 'cd /src/berth && apt-get -qq -y build-dep ./ && dpkg-buildpackage -us -uc -b' >"$work/log" 2>&1 ||
        { tail -n 40 "$work/log"; exit 1; }
    inside "$work/build" lintian --fail-on error,warning --tag-display-limit 0 --allow-root \
        "/src/$(cd "$work/build/src" && echo ./*.changes)"
    echo "$suite: install"
    root "$suite" "$work/fresh" ca-certificates
    cp "$work/build/src"/*.deb "$work/fresh/"
    inside "$work/fresh" bash -c 'apt-get -qq -y --no-install-recommends install ./berth-c*.deb' >"$work/log" 2>&1 ||
        { tail -n 40 "$work/log"; exit 1; }
    for program in berth-csi berth-cni berth-node; do
        inside "$work/fresh" "$program" --version
    done
    inside "$work/fresh" berth-csi host >/dev/null
    inside "$work/fresh" sh -c 'berth-cni install --dry-run --subnet 10.244.1.0/24 | grep -q 10-berth.conflist'
    for file in lib/systemd/system/berth-csi.service lib/systemd/system/berth-node.service etc/default/berth-csi \
        etc/default/berth-node usr/share/bash-completion/completions/berth-cni usr/libexec/cni/berth-cni; do
        [ -f "$work/fresh/$file" ] || [ -f "$work/fresh/usr/$file" ] || { echo "$suite: no $file"; exit 1; }
    done
    for file in opt/cni etc/cni; do
        [ ! -e "$work/fresh/$file" ] || { echo "$suite: the installation made /$file"; exit 1; }
    done
    inside "$work/fresh" sh -c 'apt-get -qq -y purge berth-csi berth-cni' >"$work/log" 2>&1 || { tail -n 40 "$work/log"; exit 1; }
    [ ! -e "$work/fresh/etc/default/berth-csi" ] || { echo "$suite: purge leaves its file"; exit 1; }
    rm -rf "$work/build" "$work/fresh"
done
