#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Three hosts, each with klpd and klp-fleet as they are, roll a level that a document at a real etcd declares: in waves, one
at a time. Only the kernels are played (tests/unit/klpd/fake-hands.h), and who signed."""

import json
import os
import shutil
import subprocess
import time
import unittest

import common

KLPCTL, FAKE_KLPD = os.environ['KLPCTL'], os.environ['FAKE_KLPD']
NAMES = ('web-1', 'web-2', 'web-3')

KLPD_CONFIG = '''[Manager]
FleetSlot=yes
FleetTries=1
ProbationSec=200ms
'''
FLEET_CONFIG = '''[Host]
Id={name}
[FleetLock]
Url={lock}
RetrySec=50ms
RetryMaxSec=200ms
[Etcd]
Endpoints={etcd}
RetrySec=50ms
RetryMaxSec=200ms
'''


class Host(common.KlpFleet):
    def __init__(self, number, lock, etcd):
        self.name = NAMES[number]
        super().__init__(FLEET_CONFIG.format(name=self.name, lock=lock, etcd=etcd), common.Bus())
        self.write('etc/klpd/klpd.conf', KLPD_CONFIG)
        self.write('etc/machine-id', f'{number + 1:032x}\n')
        self.write('proc/sys/kernel/hostname', f'{self.name}\n')
        self.write('var/lib/README', '')
        self.klpd = None

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        with open(self.path(path), 'w', encoding='utf-8') as f:
            f.write(text)

    def add_patch(self, level, *tags, **more):
        release = os.uname().release
        self.write(f'usr/lib/klpd/patches/{release}/demo_{level}.ko', json.dumps(
            {'name': f'demo_{level}', 'kernel': release, 'level': level, 'cumulative': True, 'tags': list(tags)} | more))

    def start_klpd(self):
        self.klpd = common.Lines(FAKE_KLPD, self.root, 'fleet', DBUS_SYSTEM_BUS_ADDRESS=self.bus.address)
        self.klpd.wait_for('ready 0')

    def klpctl(self, *words):
        p = subprocess.run([KLPCTL, *words], env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': self.bus.address},
                           capture_output=True, timeout=common.PATIENCE, check=False)
        if p.returncode:
            raise AssertionError(f'klpctl {words} on {self.name}: {p.returncode}\n{p.stdout.decode()}{p.stderr.decode()}')
        return p.stdout.decode()

    def fleet(self):
        return json.loads(self.klpctl('fleet', 'status', '--json=short'))

    def level(self):
        return json.loads(self.klpctl('status', '--json=short'))['levels'].get('local/base')

    def wait_level(self, level):
        common.wait_until(lambda: f'level {level} on {self.tell()}', lambda: self.level() == level)

    def wait_phase(self, phase):
        common.wait_until(lambda: f'phase {phase} on {self.tell()}', lambda: self.fleet()['phase'] == phase)

    def tell(self):
        return f'{self.name}:\n{self.klpctl("fleet", "status")}\n{self.klpd.text()}\n{self.program.text()}'

    def close(self):
        try:
            super().close()
        finally:
            if self.klpd:
                self.klpd.close()
            self.bus.close()


class Roll(common.FleetLockServer):
    """Looks, before it gives the slot to a host, at what all the others are at."""

    def __init__(self):
        self.hosts = []
        self.granted = []
        self.wrong = []
        super().__init__()

    def answer(self, path, body, handler):
        before = set(self.holders)
        answer = super().answer(path, body, handler)
        name = json.loads(body)['client_params']['id']
        if path == '/v1/pre-reboot' and answer[0] == 200 and name not in before:
            busy = [h.name for h in self.hosts if h.name != name and h.fleet()['phase'] in ('changing', 'probation')]
            self.granted.append((name, time.time()))
            if busy:
                self.wrong.append(f'{name} gets the slot while {busy} are at it')
        return answer


@unittest.skipUnless(shutil.which('etcd'), 'etcd is not there (etcd-server)')
class ThreeHosts(unittest.TestCase):
    def setUp(self):
        self.etcd, self.lock = self.add(common.Etcd()), self.add(Roll())
        self.serial = 0
        self.hosts = [self.add(Host(i, self.lock.url, self.etcd.url)) for i in range(3)]
        for host in self.hosts:
            for level in (1, 2):
                host.add_patch(level, 'test.slow')

    def add(self, thing):
        self.addCleanup(thing.close)
        return thing

    def start(self):
        for host in self.hosts:
            host.start_klpd()
            host.start()
        self.lock.hosts = self.hosts

    def declare(self, level, waves=None, signature='good fleet'):
        self.serial += 1
        rule = {'name': 'web', 'match': {'hostname': ['web-*']}, 'level': level}
        if waves:
            rule['waves'] = waves
        self.etcd.put_document(json.dumps({'name': 'fleet', 'serial': self.serial, 'rules': [rule]}), signature)

    def test_roll_in_waves_one_at_a_time(self):
        self.start()
        # What isn't signed by somebody who is trusted moves nobody.
        self.declare(1, signature='bad fleet')
        for host in self.hosts:
            common.wait_until('the document to be refused', lambda h=host: 'fleet.d/etcd.json' in h.klpctl('fleet', 'status'))
            self.assertIsNone(host.level())
        opens = int(time.time()) + 5
        self.declare(1, [{'match': {'hostname': ['web-1']}, 'opens': '2020-01-01T00:00:00Z'},
                         {'percent': 100, 'opens': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(opens))}])
        for host in self.hosts:
            host.wait_level(1)
            host.wait_phase('idle')
        self.assertEqual(sorted(name for name, _ in self.lock.granted), list(NAMES))
        for name, when in self.lock.granted:
            if name != 'web-1':
                self.assertGreaterEqual(when, opens, f'{name} is before its wave')
        # The next level, all of them at once as far as the document goes.
        self.declare(2)
        for host in self.hosts:
            host.wait_level(2)
            host.wait_phase('idle')
        self.assertEqual(self.lock.wrong, [])
        self.assertEqual(self.lock.most, 1)
        common.wait_until('all slots to be given back', lambda: not self.lock.holders)
        self.assertEqual(len(self.lock.granted), 6)
        # Everybody's status is there for everybody to see.
        for host in self.hosts:
            common.wait_until('the status', lambda h=host: '"levels":{"local/base":2}' in
                              (self.etcd.get(f'/klpd/hosts/{h.name}') or '').lower())

    def test_what_stands_in_a_hosts_way_is_published_by_name(self):
        host = self.hosts[0]
        host.add_patch(3, requires=['acme/base>=1'])
        host.add_patch(4, 'test.stall')
        host.start_klpd()
        host.start()
        self.lock.hosts = [host]
        self.declare(3)

        def status():
            return json.loads(self.etcd.get('/klpd/hosts/web-1') or '{}')

        common.wait_until('the rules that refuse', lambda: status().get('fleet', {}).get('RefusedBy') == ['no-path', 'requires'])
        self.assertEqual(status()['fleet']['Phase'], 'refused')
        self.assertIn('acme/base>=1', status()['fleet']['Message'])
        self.assertEqual(status()['blockers'], [])
        self.declare(4)
        common.wait_until('the task that is in the way', lambda: [t.get('comm') for t in status().get('blockers', [])] == ['straggler'])
        self.assertEqual(status()['fleet']['RefusedBy'], [])

    def test_host_that_fails_stops_the_roll(self):
        one, two, three = self.hosts
        for host in self.hosts:
            host.add_patch(3, *(['test.fail'] if host is two else []))
        self.start()
        # Whose turn it is, is the server's to say; here it is in this order.
        two.program.kill()
        three.program.kill()
        self.declare(3)
        one.wait_level(3)
        two.start()
        two.wait_phase('failed')
        self.assertEqual(self.lock.holders, {'web-2'})
        # Its turn would be now.
        three.start()
        three.wait_phase('slot')
        three.program.wait_for('semaphore_full')
        # Neither does a crash of anybody let go of the slot.
        two.program.kill()
        two.klpd.kill()
        count = len(self.lock.requests)
        two.start_klpd()
        two.start()
        two.wait_phase('failed')
        common.wait_until('both to ask again', lambda: {'web-2', 'web-3'} <= {
            json.loads(body)['client_params']['id'] for _, body, _ in self.lock.requests[count:]})
        self.assertEqual(self.lock.holders, {'web-2'})
        self.assertEqual(three.level(), None)
        self.assertEqual(three.fleet()['phase'], 'slot')
        # Until somebody has looked at it.
        two.klpctl('quarantine', 'demo_3')
        two.klpctl('fleet', 'resume')
        three.wait_level(3)
        three.wait_phase('idle')
        self.assertEqual(two.level(), None)
        self.assertTrue(two.fleet()['drift'])
        self.assertEqual(self.lock.wrong, [])
        self.assertEqual(self.lock.most, 1)
        common.wait_until('all slots to be given back', lambda: not self.lock.holders)


if __name__ == '__main__':
    unittest.main()
