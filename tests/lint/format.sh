#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# All C is as clang-format writes it. Releases of clang-format differ, so only the one the style was made with judges.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
need clang-format
version=$(clang-format --version | sed -E 's/.*version ([0-9]+)\..*/\1/')
if [ "$version" != 14 ]; then
    echo "skipped: clang-format is $version, the style is for 14"
    exit 77
fi
files '*.c' '*.h' | xargs clang-format --dry-run -Werror
