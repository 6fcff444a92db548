#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every source has one SPDX line, in its first lines.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
while read -r file; do
    n=$(head -n 3 "$file" | grep -c 'SPDX-License-Identifier: Apache-2\.0' || true)
    [ "$n" = 1 ] || report "$file: no SPDX line in its first three lines"
done < <(
    files '*.c' '*.h' '*.sh' '*.py' '*.proto' '*.mjs' meson.build meson_options.txt Containerfile check quickstart run
    files '*.yaml' '*.yml' | grep -E '^manifests/' || true
)
exit "$failed"
