# SPDX-License-Identifier: Apache-2.0
"""The daemon with a node behind it that touches nothing and does what the volume id says.

csi/service/test-double.h: "sleep-300" takes 300 ms unless it is cancelled, "deaf-300" anyway, "error-5" fails.
"""

import contextlib

import csi


class Server(csi.Daemon):
    """The daemon with the double; no registration unless registration=directory."""

    def __init__(self, build, directory, argv=(), registration=None, ready=None):
        super().__init__(build, directory)
        self.argv = [str(build / 'csi/cli/test-csi-daemon'), f'--endpoint=unix://{self.socket_path}']
        self.argv.append(f'--registration-dir={registration}' if registration else '--no-registration')
        self.argv += argv
        if ready:
            self.environment['BERTH_TEST_READY'] = ready


@contextlib.contextmanager
def serving(build, directory, *argv, **keywords):
    server = Server(build, directory, argv, **keywords)
    client = server.start(ready_seconds=0 if keywords.get('ready') else 60)
    try:
        yield server, client
    finally:
        if client:
            client.close()
        if server.process.poll() is None:
            server.kill()
