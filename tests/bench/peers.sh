#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# peers.sh DIRECTORY [VERSION]: builds a release of the upstream CNI plugins there (the current one, or v1.9.1), as their
# own release script does it (static, stripped). Needs Go.
set -eu
directory=$(realpath -m "$1")
mkdir -p "$directory"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
module=github.com/containernetworking/plugins
version=$(go list -m -f '{{.Version}}' $module@"${2:-latest}")
GOBIN=$directory CGO_ENABLED=0 go install -trimpath -ldflags '-s -w' \
    $module/plugins/main/{bridge,ptp,loopback}@"$version" $module/plugins/ipam/{host-local,static}@"$version" \
    $module/plugins/meta/{portmap,firewall,bandwidth,tuning}@"$version"
echo "$version" >"$directory/VERSION"
