#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
need mandoc
files '*.8' | xargs -r mandoc -Tlint -Wwarning
