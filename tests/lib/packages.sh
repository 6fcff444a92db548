# SPDX-License-Identifier: Apache-2.0
# Sourced by ./check and ./quickstart: installs what is missing of package lists, on Debian and what derives from it.
# shellcheck shell=bash

# packages_missing LIST...: names of packages that are listed and not installed
packages_missing() {
    local name
    sed -E 's/#.*//; s/[[:space:]]+$//; /^$/d' "$@" | sort -u | while read -r name; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
    done
}

# packages_announce LIST...: says what packages_install will do, and how much that is
packages_announce() {
    local names size
    command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || return 0
    mapfile -t names < <(packages_missing "$@")
    [ ${#names[@]} -gt 0 ] || return 0
    size=$(LC_ALL=C apt-get -qq -y --no-install-recommends --print-uris install "${names[@]}" 2>/dev/null |
        awk '/^'"'"'/ { n++; bytes += $3 } END { if (n) printf ": %d packages with what they need, %.0f MB to download", n, bytes / 1e6 }') || true
    echo "  installing ${#names[@]} of $*$size"
}

# packages_install LIST...: sets packages_failed to what could not be had, packages_installed to how many came
packages_failed=()
packages_installed=0
packages_install() {
    local names name apt
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        echo "no apt-get: install by hand what these list: $*"
        return 0
    fi
    mapfile -t names < <(packages_missing "$@")
    [ ${#names[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        packages_failed=("${names[@]}")
        return 0
    fi
    apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0)
    "${apt[@]}" update >/dev/null 2>&1 || true
    if "${apt[@]}" install -y --no-install-recommends "${names[@]}" >/dev/null 2>&1; then
        packages_installed=${#names[@]}
        return 0
    fi
    # One that cannot be had must not keep the others away.
    for name in "${names[@]}"; do
        if "${apt[@]}" install -y --no-install-recommends "$name" >/dev/null 2>&1; then
            packages_installed=$((packages_installed + 1))
        else
            packages_failed+=("$name")
        fi
    done
}
