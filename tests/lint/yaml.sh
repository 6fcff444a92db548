#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"
need yamllint
files '*.yaml' '*.yml' | grep -vE '^tests/data/|^charts/berth/templates/' | xargs -r yamllint -s -d \
    '{extends: default, rules: {line-length: {max: 160}, document-start: disable, comments: {min-spaces-from-content: 1}, truthy: {check-keys: false}}}'
