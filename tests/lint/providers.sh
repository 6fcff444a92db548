#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each row of csi/providers/meson.build has the rest that a provider is made of: a source, a page and its row in the table
# of pages, an overlay, its name in man/, and a test that says it by its name. Each source belongs to a row, or is named
# there as a part of some.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

build=csi/providers/meson.build
rows=$(sed -n "/^provider_rows = \[/,/^\]/s/^    '\(.*\)',/\1/p" "$build")
[[ -n $rows ]] || report "$build: no rows"

# needs ROW FILE WHAT: FILE is there
needs() { [[ -e $2 ]] || report "$1: no $3 $2"; }
# says ROW TEXT WHAT FILE...: one of the files has it
says() { grep -qF -- "$2" "${@:4}" || report "$1: no $3 \"$2\" in ${*:4}"; }

mapfile -t tests < <(files 'test_*.py' 'test-*.c')
for row in $rows; do
    needs "$row" "csi/providers/$row.c" source
    needs "$row" "docs/providers/$row.md" page
    needs "$row" "manifests/overlays/providers/$row/kustomization.yaml" overlay
    says "$row" "($row.md)" row docs/providers/README.md
    says "$row" "$row" name man/berth-csi.8
    grep -qE "['\"]${row}['\"]|provider_${row}\b" "${tests[@]}" || report "$row: no test says its name"
done
for source in csi/providers/*.c; do
    [[ $source != */test-* ]] || continue
    name=$(basename "$source" .c)
    grep -qE "'$name(\.c)?'" "$build" || report "$source: neither a row of $build nor a part of one"
done
exit "$failed"
