#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A server that claims to be etcd and isn't: whatever it sends, klp-fleet lives, stays small, keeps the last document, and
goes on when it is told the truth again."""

import json
import time
import unittest

import common

CONFIG = '''[Host]
Id=host-1
[Etcd]
Endpoints={url}
RetrySec=10ms
RetryMaxSec=20ms
TimeoutSec=10s
LeaseSec=3s
'''


def read_reply(document='one', signature='signature', revision='7', **more):
    def value(text):
        return {'response_range': {'kvs': [{'value': common.b64(text)}], 'count': '1'}}
    return json.dumps({'header': {'revision': revision}, 'responses': [value(document), value(signature)], **more}).encode()


# Each is no, as what there is to read.
READS = [
    b'', b'{', b'[]', b'null', b'0', b'\xff\xfe', b'"' + b'a' * 100, b'[' * 100000, b'{"header":' * 50000,
    b'{"header":{"revision":"1"}}',
    b'{"header":{"revision":"1"},"responses":[]}',
    b'{"header":{"revision":"1"},"responses":[1,2]}',
    b'{"header":{"revision":"1"},"responses":[{"response_range":{"kvs":[]}},{"response_range":{"kvs":[]}}]}',
    b'{"header":{"revision":"1"},"responses":[{"response_range":{"kvs":[{"value":"!!!!"}]}},{"response_range":{}}]}',
    b'{"header":{"revision":"1"},"responses":[{"response_range":{"kvs":[{"value":["a"]}]}},{"response_range":{}}]}',
    b'{"header":{"revision":"1"},"responses":[{"response_range":{"kvs":[{},{}]}},{"response_range":{}}]}',
    b'{"header":{"revision":"1","revision":"2"},"responses":[]}',
    read_reply(revision='0'), read_reply(revision='-1'), read_reply(revision=''), read_reply(revision='9223372036854775807'),
    read_reply(revision='99999999999999999999999'), read_reply(revision=['7']), read_reply(revision=1.5),
    read_reply('x' * (9 << 20)), read_reply(signature='x' * 70000), read_reply() + b'{}', b'x' * (12 << 20),
]

# Each ends a watch, or is nothing.
WATCHES = [
    b'', b'\n' * 1000, b'{"result":{}}\n' * 100000, b'x' * (12 << 20), b'{"result":{"events":{}}}\n',
    b'{"result":{"canceled":true,"compact_revision":"99"}}\n', b'{"result":{"canceled":true,"cancel_reason":"\\u0000"}}\n',
    b'{"error":{"message":"no"}}\n', b'{"result":{"compact_revision":"x"}}\n', b'\x00' * 100 + b'\n',
    b'{"result":{"events":[{}]}}\n' * 1000,
]


class Hostile(unittest.TestCase):
    def setUp(self):
        self.reads, self.watches, self.leases = [], [], []
        self.counts = {}
        self.truth = None
        self.server = self.add(common.Server(self.answer))

    def add(self, thing):
        self.addCleanup(thing.close)
        return thing

    def answer(self, path, body, handler):
        self.counts[path] = self.counts.get(path, 0) + 1
        if path == '/v3/kv/txn':
            return (200, self.reads.pop(0)) if self.reads else (200, self.truth) if self.truth else (503, b'{}')
        if path == '/v3/watch':
            handler.send_response(200)
            handler.end_headers()
            lines = self.watches.pop(0) if self.watches else None
            if lines is not None:
                handler.wfile.write(lines)
                return None
            handler.wfile.write(b'{"result":{"created":true}}\n')
            handler.wfile.flush()
            while not self.watches and handler.connection.fileno() >= 0 and not self.reads:
                time.sleep(0.02)
            return None
        if path.startswith('/v3/lease/'):
            return (200, self.leases.pop(0)) if self.leases else (503, b'{}')
        return 200, b'{}'

    def test_reads(self):
        self.reads = list(READS)
        fleet = self.add(common.KlpFleet(CONFIG.format(url=self.server.url))).start()
        common.wait_until('all of it to be read', lambda: not self.reads)
        # The one after the last: it has been dealt with.
        n = self.counts['/v3/kv/txn']
        common.wait_until('one more', lambda: self.counts['/v3/kv/txn'] > n)
        self.assertEqual(fleet.files(), [])
        self.truth = read_reply('the truth')
        common.wait_until('the truth', lambda: fleet.read('etcd.json') == b'the truth')
        # Lies don't touch what is there.
        self.reads = list(READS)
        common.wait_until('all of it to be read again', lambda: not self.reads)
        self.assertEqual(fleet.read('etcd.json'), b'the truth')
        self.truth = read_reply('another')
        self.reads = [READS[0]]
        common.wait_until('another truth', lambda: fleet.read('etcd.json') == b'another')
        self.assertTrue(fleet.alive())
        self.assertLess(fleet.peak_kib(), 256 * 1024)

    def test_watches(self):
        self.truth = read_reply('the truth')
        self.watches = list(WATCHES)
        fleet = self.add(common.KlpFleet(CONFIG.format(url=self.server.url))).start()
        common.wait_until(f'all of it to be watched\n{fleet.program.text()}', lambda: not self.watches)
        self.truth = read_reply('another')
        self.watches = [WATCHES[-1]]
        common.wait_until('another truth', lambda: fleet.read('etcd.json') == b'another')
        # A watch ends with a read, never with more of them than there were watches.
        self.assertLessEqual(self.counts['/v3/kv/txn'], self.counts['/v3/watch'] + 1)
        self.assertTrue(fleet.alive())
        self.assertLess(fleet.peak_kib(), 256 * 1024)

    def test_leases(self):
        self.truth = read_reply()
        lies = [b'', b'{}', b'{"ID":"0","TTL":"5"}', b'{"ID":"-1","TTL":"5"}', b'{"ID":"5","TTL":"0"}', b'{"ID":"5"}',
                b'{"ID":"99999999999999999999","TTL":"5"}', b'{"ID":{},"TTL":"5"}', b'x' * 100000]
        self.leases = list(lies)
        bus = self.add(common.Bus())
        bus.appear()
        fleet = self.add(common.KlpFleet(CONFIG.format(url=self.server.url), bus)).start()
        common.wait_until('all of them to be asked for', lambda: not self.leases)
        common.wait_until('the last to be dealt with', lambda: self.counts['/v3/lease/grant'] > len(lies))
        self.assertNotIn('/v3/kv/put', self.counts)
        self.leases = [b'{"ID":"5","TTL":"18446744073709551615"}']
        common.wait_until('the status', lambda: '/v3/kv/put' in self.counts)
        self.assertTrue(fleet.alive())

    def test_elsewhere_is_not_followed(self):
        elsewhere = self.add(common.Server(lambda path, body, handler: (200, read_reply('from elsewhere'))))

        def redirect(path, body, handler):
            self.counts[path] = self.counts.get(path, 0) + 1
            handler.send_response(307)
            handler.send_header('Location', elsewhere.url + path)
            handler.send_header('Content-Length', '0')
            handler.end_headers()

        self.server.handler = redirect
        fleet = self.add(common.KlpFleet(CONFIG.format(url=self.server.url))).start()
        common.wait_until('three tries', lambda: self.counts.get('/v3/kv/txn', 0) >= 3)
        self.assertEqual(elsewhere.requests, [])
        self.assertEqual(fleet.files(), [])

    def test_tokens_that_would_be_more_than_one_header(self):
        def answer(path, body, handler):
            self.counts[path] = self.counts.get(path, 0) + 1
            if path == '/v3/auth/authenticate':
                return 200, json.dumps({'token': 'x\r\nfleet-lock-protocol: true'}).encode()
            return 200, read_reply()

        self.server.handler = answer
        fleet = common.KlpFleet('')
        self.add(fleet)
        with open(fleet.path('password'), 'w', encoding='utf-8') as f:
            f.write('secret')
        fleet.configure(CONFIG.format(url=self.server.url) + f'User=u\nPasswordFile={fleet.path("password")}\n')
        fleet.start()
        common.wait_until('three tries', lambda: self.counts.get('/v3/auth/authenticate', 0) >= 3)
        self.assertEqual(set(self.counts), {'/v3/auth/authenticate'})


if __name__ == '__main__':
    unittest.main()
