#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# elf.sh PROGRAM...: the hardening flags have arrived in what was built: relocations read-only and bound at start,
# position-independent (or static), a stack that is no code, no search path of the build machine.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
need readelf

check() {
    local program=$1 type headers dynamic
    type=$(readelf -hW "$program" | awk '$1 == "Type:" {print $2}')
    headers=$(readelf -lW "$program")
    dynamic=$(readelf -dW "$program")
    grep -q GNU_RELRO <<<"$headers" || report "$program: no RELRO"
    grep -qE 'GNU_STACK.* RW +0x' <<<"$headers" || report "$program: the stack is executable or not declared"
    if grep -qE ' RWE ' <<<"$headers"; then report "$program: a segment is writable and executable"; fi
    if grep -q INTERP <<<"$headers"; then
        [ "$type" = DYN ] || report "$program: not position-independent"
        grep -qE 'BIND_NOW|FLAGS_1.*NOW' <<<"$dynamic" || report "$program: binds symbols lazily"
    fi
    if grep -qE 'R(UN)?PATH' <<<"$dynamic"; then report "$program: has a library search path"; fi
    if grep -q TEXTREL <<<"$dynamic"; then report "$program: has text relocations"; fi
}

for program; do
    check "$program"
done
[ $# -gt 0 ] || {
    echo 'skipped: nothing was built'
    exit 77
}
exit "$failed"
