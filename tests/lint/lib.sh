# SPDX-License-Identifier: Apache-2.0
# Sourced by the lints: they work on the source tree, print what is wrong, and exit 0, 1, or 77 when a tool is missing.
# shellcheck shell=bash disable=SC2034
set -eu
export LC_ALL=C.UTF-8
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

need() {
    command -v "$1" >/dev/null || {
        echo "skipped: no $1"
        exit 77
    }
}

# files PATTERN...: the project's own files by name, also in a tree without git
files() {
    local expression=() pattern
    for pattern; do
        expression+=(-o -name "$pattern")
    done
    find . \( -path './.git' -o -path './build*' -o -path './.cache' -o -name node_modules -o -name __pycache__ \) -prune \
        -o -type f \( "${expression[@]:1}" \) -print | sed 's,^\./,,' | sort
}

# report TEXT: what is wrong; the script then ends with `exit "$failed"`
failed=0
report() {
    printf '%s\n' "$*"
    failed=1
}
