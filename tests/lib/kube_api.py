# SPDX-License-Identifier: Apache-2.0
"""What kube-proxy asks of an API server, and nothing else: lists of Services, EndpointSlices and Nodes, and watches of
them. It takes a real one a minute to start under an emulated processor, and this one none."""

import json
import queue
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KINDS = {'services': ('v1', 'Service'), 'nodes': ('v1', 'Node'),
         'endpointslices': ('discovery.k8s.io/v1', 'EndpointSlice')}
FAILURE = {'kind': 'Status', 'apiVersion': 'v1', 'status': 'Failure'}


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_args):
        pass

    def answer(self, code, body):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def watch(self, kind):
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        changes = self.server.api.watch(kind)
        while True:
            line = json.dumps(changes.get()).encode() + b'\n'
            self.wfile.write(b'%x\r\n%s\r\n' % (len(line), line))
            self.wfile.flush()

    def do_GET(self):
        api, url = self.server.api, urllib.parse.urlparse(self.path)
        asked = urllib.parse.parse_qs(url.query)
        parts = url.path.strip('/').split('/')
        kind = next((one for one in parts if one in KINDS), None)
        if kind is None:
            self.answer(404, {**FAILURE, 'reason': 'NotFound', 'code': 404})
        elif parts[-1] != kind:
            self.answer(200, api.objects[kind][parts[-1]])
        elif 'sendInitialEvents' in asked:
            self.answer(422, {**FAILURE, 'reason': 'Invalid', 'code': 422})
        elif asked.get('watch') in (['true'], ['1']):
            self.watch(kind)
        else:
            self.answer(200, api.list(kind))

    def do_POST(self):
        # Events, which nobody reads.
        self.rfile.read(int(self.headers.get('Content-Length', 0)))
        self.answer(201, {'kind': 'Status', 'apiVersion': 'v1', 'status': 'Success'})


class Api:
    def __init__(self):
        self.objects = {kind: {} for kind in KINDS}
        self.watches = []
        self.version = 1
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.server.api = self
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f'http://127.0.0.1:{self.server.server_address[1]}'

    def list(self, kind):
        version, name = KINDS[kind]
        with self.lock:
            return {'kind': f'{name}List', 'apiVersion': version, 'metadata': {'resourceVersion': str(self.version)},
                    'items': list(self.objects[kind].values())}

    def watch(self, kind):
        """Whatever is there is told again: who listed and watches misses nothing in between."""
        changes = queue.Queue()
        with self.lock:
            self.watches.append((kind, changes))
            for one in self.objects[kind].values():
                changes.put({'type': 'ADDED', 'object': one})
        return changes

    def apply(self, *objects):
        for one in objects:
            kind = next(kind for kind, (_, name) in KINDS.items() if name == one['kind'])
            with self.lock:
                self.version += 1
                one['metadata'] |= {'resourceVersion': str(self.version), 'uid': f'u-{one["metadata"]["name"]}'}
                if kind != 'nodes':
                    one['metadata']['namespace'] = 'default'
                self.objects[kind][one['metadata']['name']] = one
                for watched, changes in self.watches:
                    if watched == kind:
                        changes.put({'type': 'ADDED', 'object': one})
