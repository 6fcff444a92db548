#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every CSIDriver object of manifests/ asks of kubelet what its provider needs to know, and allows what it can do."""

import pathlib
import re
import sys

import yaml

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def providers():
    """driver name -> flags, as the sources have them."""
    found = {}
    for path in [*(SOURCE / 'csi/providers').glob('*.c'), SOURCE / 'csi/local/local.c']:
        text = path.read_text(encoding='utf-8')
        for body in re.findall(r'const Provider provider_\w+ = \{(.*?)\n\};', text, re.DOTALL):
            name = re.search(r'\.driver_name = "([^"]+)"', body)
            flags = re.search(r'\.flags = (.*?),\n', body, re.DOTALL)
            if name:
                found[name[1]] = set(re.findall(r'PROVIDER_\w+', flags[1] if flags else ''))
    return found


def wrong(spec, flags):
    """What is not as it has to be."""
    modes = spec.get('volumeLifecycleModes', ['Persistent'])
    inline = 'PROVIDER_EPHEMERAL' in flags
    if ('Ephemeral' in modes) != inline:
        yield f'volumeLifecycleModes: {modes}, and the provider has {"" if inline else "no "}inline volumes'
    if ('Persistent' in modes) == (inline and 'PROVIDER_NO_CONTROLLER' in flags):
        yield f'volumeLifecycleModes: {modes}, and Persistent is not as the provider has it'
    # Without it kubelet does not say "ephemeral", and the text of a pod passes for an administrator's.
    if inline and not spec.get('podInfoOnMount'):
        yield 'podInfoOnMount: missing, and the provider looks at what kubelet says of the pod'
    if 'Ephemeral' in modes and spec.get('attachRequired', True):
        yield 'attachRequired: true, and nobody attaches inline volumes'


def objects():
    for path in sorted((SOURCE / 'manifests').rglob('*.yaml')):
        for one in yaml.safe_load_all(path.read_text(encoding='utf-8')):
            if isinstance(one, dict) and one.get('kind') == 'CSIDriver':
                yield path.relative_to(SOURCE), one


def main():
    known, n_faults, n_seen = providers(), 0, 0
    for path, one in objects():
        n_seen += 1
        name = one['metadata']['name']
        faults = list(wrong(one['spec'], known[name])) if name in known else ['no provider has this driver name']
        for fault in faults:
            print(f'{path}: {name}: {fault}')
        n_faults += len(faults)
    if n_seen == 0 or len(known) < 3:
        print(f'{n_seen} objects, {len(known)} providers: expected more')
        n_faults += 1
    sys.exit(n_faults > 0)


if __name__ == '__main__':
    main()
