#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cni_tools.py TEST_FILE...: builds what upstream tests plugins with, then runs pytest on them (tests/lib/run.py).

Tests run in network namespaces of their own, where there is no network; so Go modules are fetched and built here,
before. What is built is kept in .cache/cni-tools of the source tree:

  cnitool            the runtime of containernetworking/cni
  upstream/          the plugins of containernetworking/plugins, of a current release
  source/            their source, with the tests compiled: integration.test, portmap.test, firewall.test
  flannel, flannel-before
                     flannel's plugin, and the last one of containernetworking/plugins, before flannel took it over

Without Go or without its modules the tests are skipped, with the reason. flannel's own module is not on every proxy:
the tests that want it are skipped by name then.
"""

import json
import os
import pathlib
import re
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / 'tests' / 'lib'))
import go_tools  # noqa: E402
import versions  # noqa: E402

CNI, CNI_VERSION = versions.get('cni')
PLUGINS, PLUGINS_VERSION = versions.get('cni-plugins')

CACHE = pathlib.Path(os.environ.get('BERTH_CNI_TOOLS', SOURCE / '.cache' / 'cni-tools'))

FLANNEL = versions.at('cni-flannel')
FLANNEL_BEFORE = f'{PLUGINS}/plugins/meta/flannel@{versions.get("cni-flannel-before")[1]}'

UPSTREAM = ['main/bridge', 'main/ptp', 'main/loopback', 'ipam/host-local', 'ipam/static', 'meta/portmap',
            'meta/bandwidth', 'meta/firewall', 'meta/tuning']
TESTS = {'integration.test': './integration', 'portmap.test': './plugins/meta/portmap',
         'firewall.test': './plugins/meta/firewall'}

# The portmap tests look into iptables' own chain for the rules; ours stand elsewhere. What counts, that packets get
# through before DEL and not afterwards, stays.
OUT = ['// Check the chain exists', '_, err = ipt.List("nat", dnatChainName)', 'Expect(err).NotTo(HaveOccurred())']


def go(*argv, cwd='/', **env):
    return go_tools.go(*argv, cwd=cwd, timeout=1200, **{'GOTOOLCHAIN': 'local', 'GOBIN': str(CACHE), **env})


def module(path, version):
    directory = json.loads(go('mod', 'download', '-json', f'{path}@{version}', cwd='/'))['Dir']
    return pathlib.Path(directory)


def patch(source):
    path = source / 'plugins/meta/portmap/portmap_integ_test.go'
    text = path.read_text()
    text, n = re.subn(r'\s*'.join(map(re.escape, OUT)), '', text)
    assert n == 1, f'{path}: what should be taken out is not there'
    path.write_text(text)


def make_flannel(package, name):
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        try:
            go('install', package, cwd='/', GOBIN=directory)
        except go_tools.Missing as reason:
            print(f'# {name}: {reason}')
            return
        for made in pathlib.Path(directory).iterdir():
            made.rename(CACHE / name)


def make():
    marker = CACHE / f'made-{CNI_VERSION}-{PLUGINS_VERSION}-flannel'
    if marker.exists():
        return
    source = CACHE / 'source'
    go_tools.copy_writable(module(PLUGINS, PLUGINS_VERSION), source)
    patch(source)
    go('install', f'{CNI}/cnitool@{CNI_VERSION}', cwd='/')
    make_flannel(FLANNEL, 'flannel')
    make_flannel(FLANNEL_BEFORE, 'flannel-before')
    (CACHE / 'upstream').mkdir(exist_ok=True)
    go('build', '-o', str(CACHE / 'upstream') + '/', *[f'./plugins/{one}' for one in UPSTREAM], cwd=source)
    for name, package in TESTS.items():
        go('test', '-c', '-o', str(source / package / name), package, cwd=source)
    # The suites build these themselves; then everything is at hand without a network.
    go('build', '-o', '/dev/null', './pkg/testutils/echo/server', cwd=source)
    go('build', '-o', '/dev/null', './pkg/testutils/echo/client', cwd=source)
    marker.touch()


if __name__ == '__main__':
    sys.exit(go_tools.run(CACHE, 'BERTH_CNI_TOOLS', make))
