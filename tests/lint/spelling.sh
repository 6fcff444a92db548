#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
need codespell
files '*.c' '*.h' '*.md' '*.py' '*.sh' '*.8' '*.proto' '*.yaml' meson.build check quickstart |
    grep -v '^tests/data/' | xargs codespell -q 3 -I tests/lint/spelling.ok
