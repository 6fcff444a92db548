# SPDX-License-Identifier: Apache-2.0
# Sourced: an apt of its own in a directory, for another suite or architecture than this machine's. The machine's dpkg
# database is not read and not changed.
# shellcheck shell=bash

# apt_archive SUITE: the archive that this machine's own apt uses for it, so that no host is named here
apt_archive() {
    local security=0
    [[ $1 == *-security ]] && security=1
    # shellcheck disable=SC2016 # apt expands this, not the shell
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 2>/dev/null | sort -u |
        awk -v security=$security '$1 == "Debian" { is = ($2 ~ /security/) } $1 == "Debian" && is == security { print $2; exit }'
}

# apt_private DIRECTORY ARCHITECTURE SUITE...: makes DIRECTORY/apt.conf and fetches the lists; with APT_TYPE=deb-src those
# of source packages.
# Return: 1 if there is no such archive, or its lists cannot be had.
apt_private() {
    local dir=$1 arch=$2 suite base
    shift 2
    mkdir -p "$dir"/{lists/partial,archives/partial,empty}
    : >"$dir/status"
    : >"$dir/sources.list"
    for suite; do
        base=$(apt_archive "$suite")
        [ -n "$base" ] || return 1
        echo "${APT_TYPE:-deb} [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $base $suite main" >>"$dir/sources.list"
    done
    cat >"$dir/apt.conf" <<CONF
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
CONF
    apt-get -qq -c "$dir/apt.conf" -o APT::Update::Error-Mode=any update >/dev/null 2>&1
}
