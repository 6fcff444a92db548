#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# pytest.sh KERNEL [OPTION OF `vm run`...] -- ARGUMENT...: tests/lib/run.py ARGUMENT... under another kernel, in TAP.
# Needs BERTH_BUILD; BERTH_KUBERNETES is passed on. Skipped with a reason where there is no qemu, or where the kernel cannot be had.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source_root=$(cd "$here/../.." && pwd)
options=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1") && shift; done
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cd "$source_root" || exit 1
# One console carries both streams: what is no TAP comes last, as comments. Only /run and /dev/shm are memory there.
# shellcheck disable=SC2016 # the guest's shell expands this
inside='export BERTH_BUILD=$1 BERTH_KUBERNETES=$2 BERTH_TEST_DIR=/var/tmp BERTH_TEST_PATIENCE=5 PYTHONDONTWRITEBYTECODE=1; shift 2
/usr/bin/python3 tests/lib/run.py "$@" 2>/dev/shm/notes; rc=$?; sed "s/^/# /" /dev/shm/notes; exit $rc'
"$here/vm" run "${options[@]}" -- /bin/bash -c "$inside" inside "${BERTH_BUILD:?}" \
    "${BERTH_KUBERNETES:-/none}" "$@" 2>"$log"
rc=$?
if [ $rc = 77 ]; then
    echo "1..0 # SKIP $(sed -n 's/^SKIP: //p' "$log" | head -n 1)"
    exit 0
fi
sed 's/^/# /' "$log"
exit $rc
