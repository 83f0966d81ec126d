#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""klp-fleet and a real etcd: documents come, status is published, and nothing that happens to etcd loses a document."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.error

import common

CONFIG = '''[Host]
Id=host-1
[Etcd]
Endpoints={url}
RetrySec=50ms
RetryMaxSec=200ms
TimeoutSec=10s
LeaseSec=3s
'''
STATUS = '/klpd/hosts/host-1'


@unittest.skipUnless(shutil.which('etcd'), 'etcd is not there (etcd-server)')
class Documents(unittest.TestCase):
    def setUp(self):
        self.etcd = self.add(common.Etcd())
        self.fleet = self.add(common.KlpFleet(CONFIG.format(url=self.etcd.url)))

    def add(self, thing):
        self.addCleanup(thing.close)
        return thing

    def wait_for(self, text, signature='signature', name='etcd.json'):
        common.wait_until(f'{text} in {name}: {self.fleet.read(name)}\n{self.fleet.program.text()}',
                          lambda: (self.fleet.read(name), self.fleet.read(name + '.p7s'))
                          == (text.encode(), signature.encode()))

    def test_document_comes_and_changes_are_noticed(self):
        self.etcd.put_document('one')
        self.fleet.start()
        self.wait_for('one')
        self.etcd.put_document('two', 'other')
        self.wait_for('two', 'other')
        # Nothing beside these two, and everybody may read them.
        self.assertEqual(self.fleet.files(), ['etcd.json', 'etcd.json.p7s'])
        self.assertEqual(os.stat(self.fleet.path('run/klp-fleet/fleet.d/etcd.json')).st_mode & 0o777, 0o644)

    def test_document_that_comes_later_and_in_two_steps(self):
        self.fleet.start()
        self.fleet.program.wait_for('etcd has no fleet document')
        self.etcd.put('/klpd/fleet.json', 'one')
        self.fleet.program.wait_for('has no signature')
        self.assertEqual(self.fleet.files(), [])
        self.etcd.put('/klpd/fleet.json.p7s', 'signature')
        self.wait_for('one')

    def test_deleted_document_stays(self):
        self.etcd.put_document('one')
        self.fleet.start()
        self.wait_for('one')
        self.etcd.delete('/klpd/fleet.json')
        self.fleet.program.wait_for('what was there before stays')
        self.wait_for('one')
        self.etcd.delete('/klpd/fleet.json.p7s')
        self.etcd.put_document('')
        self.etcd.put_document('two')
        self.wait_for('two')

    def test_large_document(self):
        text = json.dumps({'x': ['y' * 1000] * 1000})
        self.etcd.put_document(text)
        self.fleet.start()
        self.wait_for(text)

    def test_killed_etcd_that_comes_back(self):
        self.etcd.put_document('one')
        self.fleet.start()
        self.wait_for('one')
        self.etcd.stop()
        self.fleet.program.wait_for('The watch at etcd ended')
        self.wait_for('one')
        self.assertTrue(self.etcd.start())
        self.etcd.put_document('two')
        self.wait_for('two')

    def test_wiped_etcd_begins_anew_and_the_document_stays_meanwhile(self):
        for i in range(5):
            self.etcd.put_document(f'old {i}')
        self.fleet.start()
        self.wait_for('old 4')
        self.etcd.stop()
        self.etcd.wipe()
        self.assertTrue(self.etcd.start())
        self.fleet.program.wait_for('etcd has no fleet document')
        self.wait_for('old 4')
        # Its revision is a lower one than what was seen.
        self.etcd.put_document('new')
        self.wait_for('new')

    def test_slow_etcd_is_waited_for_with_an_end(self):
        self.fleet.configure(CONFIG.format(url=self.etcd.url).replace('TimeoutSec=10s', 'TimeoutSec=2s'))
        self.etcd.put_document('one')
        self.etcd.process.send_signal(signal.SIGSTOP)
        self.fleet.start()
        self.fleet.program.wait_for("Can't read the fleet document")
        self.assertEqual(self.fleet.files(), [])
        self.etcd.process.send_signal(signal.SIGCONT)
        self.wait_for('one')

    def test_compacted_revisions(self):
        self.etcd.put_document('one')
        self.fleet.start()
        self.wait_for('one')
        for i in range(5):
            revision = self.etcd.put('/other', str(i))
        self.etcd.call('/v3/kv/compaction', revision=str(revision), physical=True)
        self.etcd.stop()
        self.assertTrue(self.etcd.start())
        self.etcd.put_document('two')
        self.wait_for('two')

    def test_killed_klp_fleet_finds_its_way(self):
        self.etcd.put_document('one')
        self.fleet.start()
        self.wait_for('one')
        self.fleet.program.kill()
        # What an interrupted write leaves behind.
        with open(self.fleet.path('run/klp-fleet/fleet.d/.etcd.json.new'), 'wb') as f:
            f.write(b'half')
        self.etcd.put_document('two')
        self.fleet.start()
        self.wait_for('two')
        self.assertEqual(self.fleet.files(), ['etcd.json', 'etcd.json.p7s'])

    def test_second_endpoint_is_used_when_the_first_is_dead(self):
        dead = f'http://127.0.0.1:{common.free_port()}'
        self.etcd.put_document('one')
        self.fleet.configure(CONFIG.format(url=f'{dead} {self.etcd.url}'))
        self.fleet.start()
        self.wait_for('one')

    def test_nothing_configured_is_nothing_to_do(self):
        self.fleet.configure('[Etcd]\n[FleetLock]\n')
        self.fleet.start()
        self.assertEqual(self.fleet.program.process.wait(common.PATIENCE), 0)
        self.assertEqual(self.fleet.files(), [])

    def test_mistakes_in_the_configuration_are_named(self):
        self.fleet.configure('[Etcd]\nEndpoints=ftp://x\nLeaseSec=1s\nDocumentName=../x\n[FleetLock]\nUrl=http://u:p@h\n')
        self.fleet.start()
        self.fleet.program.process.wait(common.PATIENCE)
        for key in ('Endpoints', 'LeaseSec', 'DocumentName', 'Url'):
            self.assertIn(f'{key}=', self.fleet.program.text())
        # A password doesn't go over the network in the clear.
        self.fleet.configure('[Etcd]\nEndpoints=http://192.0.2.1:2379\nUser=u\nPasswordFile=/etc/hostname\n')
        self.fleet.start()
        self.assertEqual(self.fleet.program.process.wait(common.PATIENCE), 1)
        self.assertIn('needs https', self.fleet.program.text())
        self.fleet.program.process.returncode = 0 # as wanted


@unittest.skipUnless(shutil.which('etcd'), 'etcd is not there (etcd-server)')
class Status(unittest.TestCase):
    def add(self, thing):
        self.addCleanup(thing.close)
        return thing

    def test_status_is_published_under_a_lease(self):
        etcd, bus = self.add(common.Etcd()), self.add(common.Bus())
        fleet = self.add(common.KlpFleet(CONFIG.format(url=etcd.url), bus))
        bus.appear()
        fleet.start()
        text = common.wait_until('the status', lambda: etcd.get(STATUS))
        status = json.loads(text)
        self.assertEqual(status['id'], 'host-1')
        self.assertEqual(status['manager'], {'Levels': {'acme/base': 1}})
        self.assertEqual(status['fleet'], {'Level': 1})
        self.assertEqual(status['slot'], {'Wanted': '', 'State': 'none'})
        self.assertEqual(status['blockers'], [{'pid': 42, 'comm': 'busy "one"', 'patch-state': None}])
        bus.say('level 2')
        common.wait_until('the next level', lambda: '"acme/base":2' in (etcd.get(STATUS) or ''))
        # It is renewed for longer than it lasts, also by an etcd that was started anew …
        etcd.stop()
        self.assertTrue(etcd.start())
        bus.say('level 3')
        common.wait_until('the status after that', lambda: '"Level":3' in (etcd.get(STATUS) or ''))
        # … or that has lost everything …
        etcd.stop()
        etcd.wipe()
        self.assertTrue(etcd.start())
        common.wait_until('the status after that', lambda: '"Level":3' in (etcd.get(STATUS) or ''))
        # … and vanishes with klp-fleet.
        fleet.program.kill()
        common.wait_until('the lease to run out', lambda: etcd.get(STATUS) is None)

    def test_tls_and_users(self):
        tls = self.add(common.Tls())
        etcd, bus = self.add(common.Etcd(tls)), self.add(common.Bus())
        for user in ('root', 'host'):
            etcd.call('/v3/auth/user/add', name=user, password=f'{user} "secret"')
            etcd.call('/v3/auth/role/add', name=user)
            etcd.call('/v3/auth/user/grant', user=user, role=user)
        etcd.call('/v3/auth/role/grant', name='host', perm={'permType': 'READ', 'key': common.b64('/klpd/fleet.json'),
                                                            'range_end': common.b64('/klpd/fleet.json.p7t')})
        etcd.put_document('one')
        etcd.call('/v3/auth/enable')

        password = tls.path('password')
        with open(password, 'w', encoding='utf-8') as f:
            f.write('wrong\n')
        config = CONFIG.format(url=etcd.url) + f'User=host\nPasswordFile={password}\n'
        config += f'CertificateFile={tls.client[0]}\nKeyFile={tls.client[1]}\n'
        bus.appear()
        fleet = self.add(common.KlpFleet(config, bus))
        # Nothing is asked of a server whose certificate nobody vouches for, above all no password.
        fleet.start()
        fleet.program.wait_for('SSL certificate problem')
        fleet.configure(config + f'CAFile={tls.ca}\n')
        fleet.start()
        fleet.program.wait_for("Can't authenticate")
        self.assertEqual(fleet.files(), [])
        with open(password, 'w', encoding='utf-8') as f:
            f.write('host "secret"\n')
        fleet.start()
        common.wait_until('the document', lambda: fleet.read('etcd.json') == b'one')
        # Status can't be published, and that doesn't keep documents waiting.
        fleet.program.wait_for("Can't publish the status")
        etcd.token = etcd.call('/v3/auth/authenticate', name='root', password='root "secret"')['token']
        etcd.put_document('two')
        common.wait_until('the next document', lambda: fleet.read('etcd.json') == b'two')
        etcd.call('/v3/auth/role/grant', name='host', perm={'permType': 'READWRITE', 'key': common.b64(STATUS)})
        common.wait_until('the status', lambda: etcd.get(STATUS))
        # Its tokens don't survive it.
        etcd.token = None
        etcd.stop()
        self.restart_with_users(etcd)
        etcd.put_document('three')
        common.wait_until('the document of the restarted etcd', lambda: fleet.read('etcd.json') == b'three')
        self.assertNotIn('secret', fleet.program.text())

    def with_tokens(self, *more):
        """An etcd, a klp-fleet that has read "one" there, and what gives the operator a new token."""
        etcd = self.add(common.Etcd(None, '--bcrypt-cost', '4', *more))
        for user in ('root', 'host'):
            etcd.call('/v3/auth/user/add', name=user, password=user)
            etcd.call('/v3/auth/role/add', name=user)
            etcd.call('/v3/auth/user/grant', user=user, role=user)
        etcd.call('/v3/auth/role/grant', name='host', perm={'permType': 'READ', 'key': common.b64('/klpd/fleet.json'),
                                                            'range_end': common.b64('/klpd/fleet.json.p7t')})
        etcd.put_document('one')
        etcd.call('/v3/auth/enable')
        fleet = self.add(common.KlpFleet(CONFIG.format(url=etcd.url)))
        with open(fleet.path('password'), 'w', encoding='utf-8') as f:
            f.write('host\n')
        fleet.configure(CONFIG.format(url=etcd.url) + f'StatusPrefix=\nUser=host\nPasswordFile={fleet.path("password")}\n')
        fleet.start()
        common.wait_until('the document', lambda: fleet.read('etcd.json') == b'one')

        def enter():
            etcd.token = None
            etcd.token = etcd.call('/v3/auth/authenticate', name='root', password='root')['token']
        enter()
        return etcd, fleet, enter

    def read_again(self, etcd, fleet):
        etcd.put_document('two')
        common.wait_until(lambda: f'the next document:\n{fleet.program.text()}', lambda: fleet.read('etcd.json') == b'two')
        # What etcd means by that is nobody's trouble.
        self.assertNotIn("Can't", fleet.program.text())

    def test_token_that_has_run_out_is_replaced(self):
        etcd, fleet, enter = self.with_tokens('--auth-token-ttl', '2')

        def refused():
            try:
                etcd.call('/v3/auth/user/list')
                time.sleep(3)  # each use of it prolongs it
                return False
            except urllib.error.HTTPError:
                return True
        # klp-fleet's is as old, and is used less.
        common.wait_until('a token to run out', refused)
        enter()
        self.read_again(etcd, fleet)

    def test_token_that_is_older_than_a_change_of_users_is_replaced(self):
        with tempfile.TemporaryDirectory() as keys:
            private, public = (os.path.join(keys, name) for name in ('private', 'public'))
            subprocess.run(['openssl', 'genrsa', '-out', private, '2048'], check=True, capture_output=True)
            subprocess.run(['openssl', 'rsa', '-in', private, '-pubout', '-out', public], check=True, capture_output=True)
            etcd, fleet, enter = self.with_tokens('--auth-token',
                                                  f'jwt,pub-key={public},priv-key={private},sign-method=RS256,ttl=24h')
            etcd.call('/v3/auth/user/add', name='other', password='other')
            enter()
            self.read_again(etcd, fleet)

    def restart_with_users(self, etcd):
        self.assertTrue(etcd.start())
        etcd.token = etcd.call('/v3/auth/authenticate', name='root', password='root "secret"')['token']
        with self.assertRaises(urllib.error.HTTPError):
            token, etcd.token = etcd.token, 'nobody'
            try:
                etcd.put('/x', 'y')
            finally:
                etcd.token = token


if __name__ == '__main__':
    unittest.main()
