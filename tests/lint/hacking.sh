#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every file that HACKING.md sends a reader to is there.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2016
while IFS=: read -r line path; do
    [[ -e $path ]] || report "HACKING.md:$line: there is no $path"
done < <(grep -noE '`(common|fs|csi|cni|tests|docs|man|manifests)/[a-z0-9_/.-]+`' HACKING.md | tr -d '`')
exit "$failed"
