# SPDX-License-Identifier: Apache-2.0
"""charts/berth in a real API server: what Helm installs is taken there, changed, brought back and taken away."""

import os
import pathlib
import subprocess
import sys

import pytest

import kubernetes
import node as lib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'conformance'))
import chart  # noqa: E402

PROGRAMS = pathlib.Path(os.environ.get('BERTH_KUBERNETES', '/none'))
BERTH = ['daemonset,clusterrole,clusterrolebinding,csidriver', '-A', '-o', 'name']

if kubernetes.missing(PROGRAMS):
    pytest.skip(kubernetes.missing(PROGRAMS), allow_module_level=True)


@pytest.mark.deadline(300)
def test_the_chart_in_an_api_server(sandbox, build):
    """Installed, upgraded with other values, brought back to the first ones, and taken away without a trace."""
    helm, why = chart.need_helm()
    if not helm:
        pytest.skip(why)
    lib.Node(sandbox, build)
    cluster = kubernetes.Kubernetes(sandbox, PROGRAMS, None)

    def run(*argv):
        done = subprocess.run([helm, '--kubeconfig', cluster.config, '-n', 'kube-system', *argv], capture_output=True,
                              text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ours():
        return {one for one in cluster.kubectl('get', *BERTH).stdout.split() if 'berth' in one}

    def arguments():
        [one] = cluster.get('-n', 'kube-system', 'daemonset', '-l', 'app.kubernetes.io/instance=local')['items']
        return one['spec']['template']['spec']['containers'][0]['args']
    try:
        cluster.start_control_plane()
        assert 'rollout status' in run('install', 'berth', str(chart.CHART))
        assert {'daemonset.apps/berth-cni', 'daemonset.apps/berth-csi-local',
                'csidriver.storage.k8s.io/local.csi.berth.dev'} <= ours()
        before = ours()
        run('upgrade', 'berth', str(chart.CHART), '--reuse-values', '--set', 'csi.extraArgs={--log-level=debug}',
            '--set', 'csi.providers={local,aws}', '--set', 'csi.local.growth=true')
        assert 'daemonset.apps/berth-csi-aws' in ours() and arguments()[-1] == '--log-level=debug'
        run('rollback', 'berth', '1')
        assert ours() == before and '--log-level=debug' not in arguments()
        run('uninstall', 'berth')
        cluster.wait(lambda: not ours(), 60, 'nothing left')
    finally:
        cluster.close()
