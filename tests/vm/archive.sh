#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Packages of other Debian suites and architectures, unpacked and never installed. Sourced; needs skip().

# The archive that this machine's own apt uses, so that no host is named here.
archive_of() {
    # shellcheck disable=SC2016 # apt expands this, not the shell
    apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | sort -u |
        awk -v security="$1" '{ is = ($0 ~ /security/) } is == security { print; exit }'
}

private_apt() { # DIRECTORY ARCHITECTURE SUITE
    local dir=$1 arch=$2 suite=$3 security=0 base
    [[ $suite == *-security ]] && security=1
    base=$(archive_of "$security")
    [[ -n $base ]] || skip "no Debian archive is configured for apt"
    mkdir -p "$dir"/{lists/partial,archives/partial,empty}
    : >"$dir/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $base $suite main" >"$dir/sources.list"
    cat >"$dir/apt.conf" <<EOF
Dir::State::Lists "$dir/lists";
Dir::State::status "$dir/status";
Dir::Cache "$dir";
Dir::Cache::archives "$dir/archives";
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "$dir/empty";
Dir::Etc::preferencesparts "$dir/empty";
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
Acquire::Languages "none";
Debug::NoLocking "true";
APT::Sandbox::User "root";
EOF
    apt-get -qq -c "$dir/apt.conf" update >/dev/null 2>&1 || skip "the package lists of $suite for $arch cannot be had"
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
