# SPDX-License-Identifier: Apache-2.0
"""What the documents name is there: metrics of the running daemon, files of the tree, flags of the programs."""

import json
import os
import pathlib
import re
import subprocess
import urllib.request

import pytest

import csi

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DOCS = SOURCE / 'docs'
MIB = 1 << 20
NAME = re.compile(r'\b((?:berth_csi|csi|process)_[a-z_]+)\b')
SUFFIX = re.compile(r'_(bucket|sum|count)$')


def exported(text):
    """{metric: {labels}} of /metrics; a histogram under its base name."""
    found = {}
    for line in text.splitlines():
        match = re.match(r'# TYPE (\w+) (\w+)', line)
        if match:
            found[match[1]] = set()
        elif line and line[0] != '#':
            name, labels = re.match(r'(\w+)(?:\{(.*)\})? ', line).groups()
            base = name if name in found else SUFFIX.sub('', name)
            found[base] |= set(re.findall(r'(\w+)="', labels or '')) - {'le'}
    return found


def serve_some(build, sandbox):
    """/metrics after a volume was made, checked, and one refused for each of the two reasons."""
    root = sandbox.shared_directory('k')
    daemon = csi.Daemon(build, sandbox.path, ['--health-port=9808', '--fs-min-kernel=none'], kubelet_root=root)
    staging = root / 'plugins/kubernetes.io/csi/local.csi.berth.dev/x/globalmount'
    staging.mkdir(parents=True)
    capability = csi.mount_capability('ext4')
    with daemon as client:
        def make(name):
            made = client.CreateVolume(name=name, capacity_range={'required_bytes': 320 * MIB},
                                       volume_capabilities=[capability]).volume.volume_id
            return made, daemon.pool / 'volumes' / f'{made}.img'

        def stage(volume, how=capability):
            return {'volume_id': volume, 'staging_target_path': str(staging), 'volume_capability': how}
        volume, image = make('one')
        for _ in range(2):
            # The second time it is one that the kernel found an error in.
            subprocess.run(['debugfs', '-w', '-R', 'ssv state 2', image], check=False, capture_output=True)
            client.NodeStageVolume(**stage(volume))
            client.NodeUnstageVolume(volume_id=volume, staging_target_path=str(staging))
            staging.mkdir(exist_ok=True)
        volume, image = make('two')
        with open(image, 'r+b') as file:
            file.seek(MIB)
            file.write(b'something')
        client.fails('FAILED_PRECONDITION', 'NodeStageVolume', **stage(volume))
        volume, image = make('three')
        subprocess.run(['mkfs.ext4', '-q', '-F', '-O', 'encrypt', image], check=True)
        with open(image, 'r+b') as file:  # a feature that no kernel has
            file.seek(1024 + 0x60)
            bits = int.from_bytes(file.read(4), 'little') | 1 << 30
            file.seek(1024 + 0x60)
            file.write(bits.to_bytes(4, 'little'))
        client.fails('FAILED_PRECONDITION', 'NodeStageVolume', **stage(volume))
        with urllib.request.urlopen('http://127.0.0.1:9808/metrics', timeout=5) as reply:
            return exported(reply.read().decode())


def expressions(dashboard):
    for panel in dashboard['panels']:
        for target in panel['targets']:
            yield target['expr']
    for variable in dashboard['templating']['list']:
        if variable['type'] == 'query':
            yield variable['query']


def test_metrics_are_those_that_are_exported(sandbox, build):
    real = serve_some(build, sandbox)
    text = (DOCS / 'metrics.md').read_text()
    table = dict(re.findall(r'^\| `(\w+)` \|[^|]*\|([^|]*)\|', text, re.M))
    # Those of berth-node have a test of their own (test_berth_node.py).
    table = {name: cell for name, cell in table.items() if not name.startswith(('berth_cni_', 'berth_node_'))}
    assert set(table) == set(real)
    labels = {name: set(re.findall(r'`(\w+)`', cell)) for name, cell in table.items()}
    labels['csi_plugin_operations_seconds'] = labels['csi_operations_seconds']
    for name, found in real.items():
        assert found in (set(), labels[name]), name
    assert [name for name, found in real.items() if not found] == ['process_start_time_seconds',
                                                                   'berth_csi_other_total']
    dashboard = json.loads((DOCS / 'grafana-dashboard.json').read_text())
    alerts = re.findall(r'expr: (?:\|\n)?((?:.|\n)*?)\n +(?:for|annotations):', text)
    asked = [*expressions(dashboard), *alerts]
    assert len(alerts) > 5 and len(asked) > 20
    for expression in asked:
        names = {SUFFIX.sub('', one) if one not in real else one for one in NAME.findall(expression)
                 if one not in ('csi_operations', 'driver_name')}
        assert names <= set(real), expression
        for name in names:
            for group in re.findall(name + r'(?:_bucket|_sum|_count)?\{([^}]*)\}', expression):
                assert set(re.findall(r'(\w+)[=!]', group)) <= labels[name] | {'job', 'instance'}, expression


def markdown():
    for path in [SOURCE / 'README.md', *sorted(DOCS.glob('*.md'))]:
        yield path, path.read_text()


def test_files_are_there():
    missing = []
    for path, text in markdown():
        for name in re.findall(r'(?<![\w/])((?:manifests|tests|docs|man)/[\w./-]*\w)', text):
            if not (SOURCE / name).exists() and (SOURCE / name.split('/', maxsplit=1)[0]).exists():
                missing.append(f'{path.name}: {name}')
        for name, anchor in re.findall(r'\]\((?!https?:)([\w./-]*)(?:#([\w-]+))?\)', text):
            target = path.parent / name if name else path
            if not target.exists():
                missing.append(f'{path.name}: {name}')
            elif anchor:
                heads = [re.sub(r'[^\w -]', '', one.lower()).replace(' ', '-')
                         for one in re.findall(r'^#+ (.*)$', target.read_text(), re.M)]
                if anchor not in heads:
                    missing.append(f'{path.name}: {name}#{anchor}')
    assert not missing


# Programs and flags of others in the documents.
OTHERS = re.compile(r'^ *(?:' + '|'.join((
    'kubectl kubeadm kubelet k0s oc helm curl minikube microk8s kind meson apt-get findmnt lsblk go dd jq rm systemctl '
    '--data-dir --hostname-override --kubelet-root-dir --node-deployment --privileged --allow-privileged '
    '--allocate-node-cidrs').split())
    + r'|sudo tests|tests/|CC=)\b')


def test_flags_are_there(build):
    known = set()
    for program in ('csi/berth-csi', 'cni/berth-cni', 'cni/berth-node'):
        program = build / program
        for argv in (['--help'], ['serve', '--help'], ['install', '--help'], ['gc', '--help'],
                     ['fs', 'check', '--help'], ['fs', 'plan', '--help']):
            done = subprocess.run([program, *argv], capture_output=True, text=True, check=False)
            known |= set(re.findall(r'--[a-z][a-z-]+', done.stdout + done.stderr))
    unknown = []
    for path, text in markdown():
        if path.name not in ('install.md', 'upgrade.md', 'moving-volumes.md', 'troubleshooting.md'):
            continue
        for line in text.splitlines():
            for part in re.findall(r'`([^`]*)`', line) + ([line] if line.startswith('    ') else []):
                if OTHERS.match(part) or 'kubectl' in part or 'berth' not in part and ' ' in part:
                    continue
                for flag in re.findall(r'(?<![\w-])--[a-z][a-z-]+', part):
                    if flag not in known:
                        unknown.append(f'{path.name}: {flag}')
    assert not unknown, unknown


def test_units_do_not_start_again_what_was_typed_wrong(build):
    units = sorted((SOURCE / 'debian').glob('*.service'))
    assert len(units) == 2
    for unit in units:
        text = unit.read_text(encoding='utf-8')
        program, *argv = re.search(r'^ExecStart=/usr/bin/(.*) \$\w+$', text, re.M)[1].split()
        [path] = build.glob(f'c*/{program}')
        done = subprocess.run([path, *argv, '--no-such-flag'], capture_output=True, text=True, check=False)
        assert f'RestartPreventExitStatus={done.returncode}\n' in text, (unit.name, done.stderr)


def test_readme_shows_what_the_program_prints(build, sandbox):
    """Its blocks that begin with "$ berth-csi": the answer is this program's, from the hosts on."""
    image = sandbox.path / 'x.img'
    image.touch()
    os.truncate(image, 400 * MIB)
    made = subprocess.run(['mkfs.xfs', '-q', '-i', 'nrext64=1', image], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f'mkfs.xfs: {made.stderr.splitlines()[0]}')
    text = (SOURCE / 'README.md').read_text(encoding='utf-8')
    blocks = re.findall(r'^    \$ berth-csi (.*)\n((?:    .*\n)+)', text, re.M)
    assert len(blocks) == 2
    for command, shown in blocks:
        done = subprocess.run([build / 'csi/berth-csi', *command.split()], cwd=sandbox.path, capture_output=True,
                              text=True, check=False)
        printed, shown = done.stdout, shown.replace('\n    ', '\n').strip() + '\n'
        if command.startswith('fs check'):
            # Before them stand the UUID, and the features that this mkfs has as its defaults.
            printed, shown = (one[one.index('\n  Linux'):] for one in (printed, shown))
        assert printed == shown, done.stderr
