#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
need shellcheck
{
    files '*.sh'
    files '*' | grep -vE '\.[a-z0-9]+$' | while read -r file; do
        read -r first <"$file" 2>/dev/null || true
        case $first in '#!'*sh | '#!'*'sh '*) echo "$file" ;; esac
    done
} | sort -u | xargs shellcheck -x -e SC1003
