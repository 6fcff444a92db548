#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Packages of other Debian suites and architectures, unpacked and never installed. Sourced; needs skip().

# shellcheck source=cross/apt.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../cross/apt.sh"

private_apt() { # DIRECTORY ARCHITECTURE SUITE
    apt_private "$@" || skip "the package lists of $3 for $2 cannot be had"
}

download() { # APT-DIRECTORY PACKAGE INTO
    local deb
    (cd "$1/archives" && rm -f "$2"_*.deb && apt-get -qq -c "$1/apt.conf" download "$2" >/dev/null 2>&1) ||
        skip "package $2 cannot be downloaded"
    deb=$(ls "$1/archives/$2"_*.deb)
    dpkg-deb -x "$deb" "$3"
    rm -f "$deb"
}

# With all that it needs, libc too: what is unpacked runs by its own ld.so.
download_closure() { # APT-DIRECTORY INTO PACKAGE...
    local dir=$1 into=$2 deb
    shift 2
    rm -f "$dir"/archives/*.deb
    apt-get -qq -y -c "$dir/apt.conf" -o Debug::NoLocking=true --no-install-recommends --download-only \
        install "$@" >/dev/null 2>&1 || skip "packages $* cannot be downloaded"
    for deb in "$dir"/archives/*.deb; do dpkg-deb -x "$deb" "$into"; done
    rm -f "$dir"/archives/*.deb
}
