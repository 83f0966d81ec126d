# SPDX-License-Identifier: LGPL-2.1-or-later
"""What klp-fleet's tests share: klp-fleet itself, a bus with a fake klpd on it, a real etcd, a FleetLock server, TLS.

The programs come from the environment (meson sets them): KLP_FLEET, FAKE_SLOT. Everything is on loopback; ports are
free ones.
"""

import base64
import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.request

KLP_FLEET = os.environ.get('KLP_FLEET')
FAKE_SLOT = os.environ.get('FAKE_SLOT')

# Generous: what is waited for happens in milliseconds on an idle machine.
PATIENCE = 90


def wait_until(what, condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f'waited {seconds} s for {what() if callable(what) else what}')
        time.sleep(0.02)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


BUS_CONFIG = '''<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/>
  </policy>
</busconfig>
'''


class Lines:
    """A program whose lines are looked at while it runs; they are kept."""

    def __init__(self, path, *words, stdin=None, **environment):
        self.log = tempfile.NamedTemporaryFile(prefix='klp-fleet-test-')
        self.process = subprocess.Popen([path, *words], stdin=stdin, stdout=self.log, stderr=self.log,
                                        env={**os.environ, **environment})

    def text(self):
        with open(self.log.name, encoding='utf-8', errors='replace') as f:
            return f.read()

    def lines(self):
        return self.text().splitlines()

    def wait_for(self, text, count=1):
        wait_until(lambda: f'{count} times {text!r} in what {self.process.args[0]} says:\n{self.text()}',
                   lambda: self.text().count(text) >= count)

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)

    def close(self):
        if self.process.poll() is None:
            self.kill()
        if self.process.stdin:
            self.process.stdin.close()
        self.log.close()


class Bus:
    """A bus of its own; klpd is put on it by appear()."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        path = os.path.join(self.directory.name, 'bus')
        config = os.path.join(self.directory.name, 'bus.conf')
        with open(config, 'w', encoding='utf-8') as f:
            f.write(BUS_CONFIG.format(path=path))
        self.daemon = subprocess.Popen(['dbus-daemon', '--config-file', config, '--nofork', '--nosyslog',
                                        '--print-address'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.daemon.stdout.readline(), 'dbus-daemon did not start'
        self.address = f'unix:path={path}'
        self.klpd = None

    def appear(self, wanted=''):
        self.klpd = Lines(FAKE_SLOT, wanted, stdin=subprocess.PIPE, DBUS_SYSTEM_BUS_ADDRESS=self.address)
        self.klpd.wait_for('ready')

    def vanish(self):
        self.klpd.close()
        self.klpd = None

    def say(self, line):
        self.klpd.process.stdin.write(f'{line}\n'.encode())
        self.klpd.process.stdin.flush()

    def grants(self):
        return [line for line in self.klpd.lines() if line.startswith('grant')]

    def close(self):
        if self.klpd:
            self.vanish()
        self.daemon.kill()
        self.daemon.wait()
        self.daemon.stdout.close()
        self.directory.cleanup()


class KlpFleet:
    """klp-fleet with a root directory of its own."""

    def __init__(self, config, bus=None):
        self.directory = tempfile.TemporaryDirectory()
        self.root = self.directory.name
        self.bus = bus
        self.program = None
        os.makedirs(self.path('etc/klpd'))
        os.makedirs(self.path('run'))
        self.configure(config)

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def configure(self, config):
        with open(self.path('etc/klpd/klp-fleet.conf'), 'w', encoding='utf-8') as f:
            f.write(config)

    def start(self):
        if self.program:
            self.program.close()
        address = self.bus.address if self.bus else 'unix:path=/nonexistent'
        self.program = Lines(KLP_FLEET, f'--root={self.root}', DBUS_SYSTEM_BUS_ADDRESS=address)
        return self

    def alive(self):
        return self.program.process.poll() is None

    def read(self, name):
        try:
            with open(self.path('run/klp-fleet/fleet.d', name), 'rb') as f:
                return f.read()
        except FileNotFoundError:
            return None

    def files(self):
        try:
            return sorted(os.listdir(self.path('run/klp-fleet/fleet.d')))
        except FileNotFoundError:
            return []

    def peak_kib(self):
        with open(f'/proc/{self.program.process.pid}/status', encoding='utf-8') as f:
            return next(int(line.split()[1]) for line in f if line.startswith('VmHWM'))

    def close(self):
        if self.program:
            # In an orderly way, so that a build with sanitizers says what it has to say.
            status = self.program.kill(signal.SIGTERM) if self.alive() else self.program.process.returncode
            text = self.program.text()
            self.program.close()
            if status not in (0, -signal.SIGKILL):
                raise AssertionError(f'klp-fleet ended with {status}:\n{text}')
        self.directory.cleanup()


class Tls:
    """A certificate authority, a server's certificate for 127.0.0.1, a client's."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        self.ca, self.ca_key = self.path('ca.pem'), self.path('ca.key')
        self.openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
                     '-subj', '/CN=klp-fleet test', '-keyout', self.ca_key, '-out', self.ca)
        self.server = self.issue('server', 'serverAuth')
        # etcd's gateway refuses to guess a user from a client's name: it has none.
        self.client = self.issue('client', 'clientAuth', '/O=klp-fleet')

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def openssl(self, *words):
        subprocess.run(['openssl', *words], check=True, capture_output=True)

    def issue(self, name, usage, subject=None):
        key, request, certificate, extensions = (self.path(f'{name}.{x}') for x in ('key', 'csr', 'pem', 'ext'))
        with open(extensions, 'w', encoding='utf-8') as f:
            f.write(f'subjectAltName=IP:127.0.0.1\nextendedKeyUsage={usage},clientAuth\n')
        self.openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                     '-subj', subject or f'/CN={name}', '-keyout', key, '-out', request)
        self.openssl('x509', '-req', '-in', request, '-CA', self.ca, '-CAkey', self.ca_key, '-CAcreateserial',
                     '-days', '2', '-extfile', extensions, '-out', certificate)
        return certificate, key

    def close(self):
        self.directory.cleanup()


class Etcd:
    """A real etcd on loopback; start() may be called again after stop(), also with nothing left of its data."""

    def __init__(self, tls=None, *more):
        # In memory where there is enough: it syncs each change, and a busy disk would have it time out.
        self.directory = tempfile.TemporaryDirectory(dir='/dev/shm' if self.room_in_memory() else None)
        self.tls = tls
        self.more = more
        self.process = None
        self.port = None
        self.token = None
        scheme = 'https' if tls else 'http'
        for _ in range(10):
            self.port = free_port()
            self.url = f'{scheme}://127.0.0.1:{self.port}'
            if self.start():
                return
        raise AssertionError(f'etcd does not start:\n{self.log()}')

    @staticmethod
    def room_in_memory():
        try:
            shm = os.statvfs('/dev/shm')
        except OSError:
            return False
        return os.access('/dev/shm', os.W_OK) and shm.f_bavail * shm.f_frsize > 1 << 30

    def log(self):
        with open(os.path.join(self.directory.name, 'log'), encoding='utf-8') as f:
            return f.read()

    def start(self):
        peer = f'http://127.0.0.1:{free_port()}'
        words = ['etcd', '--data-dir', os.path.join(self.directory.name, 'data'), '--listen-client-urls', self.url,
                 '--advertise-client-urls', self.url, '--listen-peer-urls', peer,
                 '--initial-advertise-peer-urls', peer, '--initial-cluster', f'default={peer}', *self.more]
        if self.tls:
            words += ['--cert-file', self.tls.server[0], '--key-file', self.tls.server[1],
                      '--trusted-ca-file', self.tls.ca, '--client-cert-auth']
        with open(os.path.join(self.directory.name, 'log'), 'wb') as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self.process.poll() is not None:
                return False
            try:
                self.call('/v3/maintenance/status')
                return True
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
        return False

    def stop(self, how=signal.SIGKILL):
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(how)
        self.process.wait(PATIENCE)

    def wipe(self):
        shutil.rmtree(os.path.join(self.directory.name, 'data'))

    def call(self, path, **body):
        context = None
        if self.tls:
            context = ssl.create_default_context(cafile=self.tls.ca)
            context.load_cert_chain(*self.tls.client)
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {'Content-Type': 'application/json'})
        if self.token:
            request.add_header('Authorization', self.token)
        with urllib.request.urlopen(request, timeout=PATIENCE, context=context) as reply:
            return json.load(reply)

    def put(self, key, value):
        return int(self.call('/v3/kv/put', key=b64(key), value=b64(value))['header']['revision'])

    def put_document(self, text, signature='signature', key='/klpd/fleet.json'):
        """Both in one transaction, as one should."""
        return int(self.call('/v3/kv/txn', success=[
            {'request_put': {'key': b64(key), 'value': b64(text)}},
            {'request_put': {'key': b64(key + '.p7s'), 'value': b64(signature)}}])['header']['revision'])

    def get(self, key):
        kvs = self.call('/v3/kv/range', key=b64(key)).get('kvs')
        return base64.b64decode(kvs[0].get('value', '')).decode() if kvs else None

    def delete(self, key):
        self.call('/v3/kv/deleterange', key=b64(key))

    def close(self):
        if self.process.poll() is None:
            self.stop()
        self.directory.cleanup()


class Server:
    """An HTTP server for tests: what it answers is handler(path, body, request handler), a (status, bytes) or None if
    the handler has written the answer itself."""

    def __init__(self, handler, tls=None):
        outer = self
        self.handler = handler
        self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            disable_nagle_algorithm = True

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
                outer.requests.append((self.path, body, dict(self.headers)))
                try:
                    answer = outer.handler(self.path, body, self)
                    if answer is None:
                        self.close_connection = True
                        return
                    self.send_response(answer[0])
                    self.send_header('Content-Length', str(len(answer[1])))
                    self.end_headers()
                    self.wfile.write(answer[1])
                except OSError:
                    self.close_connection = True

            def log_message(self, *_):
                pass

        class Threads(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # clients that go away in the middle are what is tested

        self.server = Threads(('127.0.0.1', 0), Handler)
        self.url = f'{"https" if tls else "http"}://127.0.0.1:{self.server.server_address[1]}'
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls.server)
            context.load_verify_locations(tls.ca)
            context.verify_mode = ssl.CERT_REQUIRED
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class FleetLockServer(Server):
    """A FleetLock server for tests, with one group and room for `slots` hosts: what airlock does, in memory. It is not
    for use: it keeps nothing and trusts everybody."""

    def __init__(self, slots=1, tls=None):
        self.slots = slots
        self.holders = set()
        self.most = 0
        self.down = False
        self.forget_answers = False
        self.lock = threading.Lock()
        super().__init__(self.answer, tls)

    def answer(self, path, body, handler):
        def no(status, kind, value):
            return status, json.dumps({'kind': kind, 'value': value}).encode()

        if self.down:
            return None
        if handler.headers.get('fleet-lock-protocol') != 'true':
            return no(400, 'missing_header', 'no fleet-lock-protocol header')
        parameters = json.loads(body)['client_params']
        host, group = parameters['id'], parameters['group']
        if group != 'default':
            return no(400, 'unknown_group', group)
        with self.lock:
            if path == '/v1/pre-reboot':
                if host not in self.holders and len(self.holders) >= self.slots:
                    return no(409, 'failed_lock_semaphore_full', 'all slots are taken')
                self.holders.add(host)
                self.most = max(self.most, len(self.holders))
            elif path == '/v1/steady-state':
                self.holders.discard(host)
            else:
                return no(404, 'not_found', path)
        if self.forget_answers:
            return None
        return 200, b''
