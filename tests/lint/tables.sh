#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every row of the filesystem tables has its source, and docs/filesystems.md shows them as they are.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
need python3
status=0
fs/refresh sources || status=1
fs/refresh docs --check || status=1
exit "$status"
