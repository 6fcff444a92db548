# SPDX-License-Identifier: Apache-2.0
"""Runs a CNI plugin as a runtime does: environment, stdin, stdout, exit code."""

import json
import os
import pathlib
import subprocess

# What hangs is ended; a machine that is slow, or emulated, is no failure.
PATIENCE = int(os.environ.get('BERTH_TEST_PATIENCE', '1'))

# What a real runtime sends with every pod of Kubernetes.
KUBERNETES_ARGS = ('IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod;'
                   'K8S_POD_INFRA_CONTAINER_ID=%s;K8S_POD_UID=u')


class Done:
    """code, stdout and stderr of one exec; json: stdout decoded, None if it is empty."""

    def __init__(self, process):
        self.code = process.returncode
        self.stdout = process.stdout
        self.stderr = process.stderr
        self.json = json.loads(process.stdout) if process.stdout.strip() else None

    def ok(self):
        assert self.code == 0, f'exit code {self.code}: {self.stdout} {self.stderr}'
        return self.json

    def failed(self, code=None):
        """The error object; code: its code."""
        assert self.code != 0, f'exit code 0: {self.stdout}'
        assert self.json is not None and self.json.get('msg'), f'no error object on stdout: {self.stdout!r}'
        if code is not None:
            assert self.json['code'] == code, f'code {self.json["code"]}, expected {code}: {self.json}'
        return self.json


class Plugin:
    """One plugin executable. name: what it is called by (argv[0]), the plugin type of upstream it stands for."""

    def __init__(self, build, name='berth-cni', program=None, path=()):
        self.program = pathlib.Path(program or pathlib.Path(build) / 'cni' / 'berth-cni')
        self.name = name
        self.path = [str(one) for one in path] or [str(self.program.parent)]

    def environment(self, command, container_id=None, netns=None, ifname=None, args=None, extra=None):
        values = {'CNI_COMMAND': command, 'CNI_PATH': ':'.join(self.path), 'CNI_CONTAINERID': container_id,
                  'CNI_NETNS': netns, 'CNI_IFNAME': ifname, 'CNI_ARGS': args}
        environment = {'PATH': os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}
        # A sanitizer's settings must reach the plugin.
        environment.update({k: v for k, v in os.environ.items() if k.endswith('SAN_OPTIONS')})
        environment.update({key: str(value) for key, value in values.items() if value is not None})
        environment.update(extra or {})
        return {key: value for key, value in environment.items() if value is not None}

    def exec(self, command, conf, timeout=60 * PATIENCE, wrapper=(), **env):
        """conf: an object, or bytes to be sent as they are. env: as environment() takes it."""
        data = conf if isinstance(conf, bytes) else json.dumps(conf).encode()
        if 'strace' in wrapper:
            # Leaks cannot be looked for under ptrace.
            env['extra'] = {'ASAN_OPTIONS': 'detect_leaks=0', **(env.get('extra') or {})}
        argv = [self.name if not wrapper else str(self.program)]
        process = subprocess.run([*wrapper, *argv], executable=None if wrapper else str(self.program), input=data,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                                 env=self.environment(command, **env))
        process.stdout = process.stdout.decode()
        process.stderr = process.stderr.decode()
        return Done(process)

    def add(self, conf, netns, container_id, ifname='eth0', args=None, **kwargs):
        return self.exec('ADD', conf, netns=getattr(netns, 'path', netns), container_id=container_id, ifname=ifname,
                         args=args, **kwargs)

    def delete(self, conf, netns, container_id, ifname='eth0', result=None, args=None, **kwargs):
        """result: what ADD printed, as prevResult."""
        return self.exec('DEL', with_result(conf, result), netns=getattr(netns, 'path', netns),
                         container_id=container_id, ifname=ifname, args=args, **kwargs)

    def check(self, conf, netns, container_id, ifname='eth0', result=None, args=None, **kwargs):
        return self.exec('CHECK', with_result(conf, result), netns=getattr(netns, 'path', netns),
                         container_id=container_id, ifname=ifname, args=args, **kwargs)

    def gc(self, conf, attachments, **kwargs):
        """attachments: (container id, interface) pairs that are alive."""
        valid = [{'containerID': one, 'ifname': ifname} for one, ifname in attachments]
        return self.exec('GC', {**conf, 'cni.dev/valid-attachments': valid}, **kwargs)

    def status(self, conf, **kwargs):
        return self.exec('STATUS', conf, **kwargs)

    def version(self, version='1.1.0', **kwargs):
        return self.exec('VERSION', {'cniVersion': version}, **kwargs)


def with_result(conf, result):
    return conf if result is None or isinstance(conf, bytes) else {**conf, 'prevResult': result}


def chain(plugins, command, conflist, **kwargs):
    """Runs a list of plugins as libcni does: ADD in order, each with the result so far; the others as they are given.

    plugins: {type: Plugin}. conflist: the network configuration list. Returns the last Done, for DEL in reverse order.
    """
    result = kwargs.pop('result', None)
    confs = conflist['plugins'] if command != 'DEL' else conflist['plugins'][::-1]
    done = None
    for conf in confs:
        whole = {'cniVersion': conflist['cniVersion'], 'name': conflist['name'], **conf}
        done = plugins[conf['type']].exec(command, with_result(whole, result), **kwargs)
        if done.code != 0:
            return done
        if command == 'ADD':
            result = done.json
    return done
