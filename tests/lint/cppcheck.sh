#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cppcheck.sh BUILD_DIRECTORY: keeps what it learned there, so that a second run looks only at what changed.
# memleak and resourceLeak do not understand __attribute__((cleanup)); gcc -fanalyzer and LeakSanitizer do.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
need cppcheck
cache=$1/cppcheck
mkdir -p "$cache"
files '*.c' | cppcheck --file-list=- -j 2 --quiet --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
    --std=c11 -I . -D_GNU_SOURCE '-DBERTH_VERSION="0"' --cppcheck-build-dir="$cache" \
    --suppress=memleak --suppress=resourceLeak --suppress=missingInclude --suppress=unknownMacro \
    --suppress=ctuuninitvar --suppress=varFuncNullUB --suppress=nullPointerOutOfMemory --suppress=normalCheckLevelMaxBranches
