#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The slot (klpd/fleet-slot.h): klp-fleet between a fake klpd and a FleetLock server for tests."""

import json
import unittest

import common

CONFIG = '''[Host]
Id={id}
[FleetLock]
Url={url}
RetrySec=50ms
RetryMaxSec=200ms
TimeoutSec=10s
'''


class Lock(unittest.TestCase):
    def setUp(self):
        self.server = self.add(common.FleetLockServer())
        self.bus = self.add(common.Bus())
        self.fleet = self.host('host-1', self.bus)

    def add(self, thing):
        self.addCleanup(thing.close)
        return thing

    def host(self, name, bus):
        return self.add(common.KlpFleet(CONFIG.format(id=name, url=self.server.url), bus))

    def paths(self):
        return [path for path, _, _ in list(self.server.requests)]

    def wait_granted(self, token, count=1, bus=None):
        bus = bus or self.bus
        common.wait_until(f'grant {token}', lambda: bus.grants().count(f'grant {token}') >= count)

    def wait_held(self, *hosts):
        common.wait_until(f'{hosts} to have the slot', lambda: self.server.holders == set(hosts))

    def test_slot_is_taken_for_a_change_and_given_back_after_it(self):
        self.bus.appear()
        self.bus.say('want t1')
        self.fleet.start()
        self.wait_granted('t1')
        self.assertEqual(self.server.holders, {'host-1'})
        path, body, headers = self.server.requests[-1]
        self.assertEqual(path, '/v1/pre-reboot')
        self.assertEqual(json.loads(body), {'client_params': {'group': 'default', 'id': 'host-1'}})
        self.assertEqual(headers['fleet-lock-protocol'], 'true')
        self.bus.say('want')
        self.wait_held()
        # And the next one.
        self.bus.say('want t2')
        self.wait_granted('t2')
        self.bus.say('want')
        self.wait_held()
        self.assertEqual(self.bus.grants(), ['grant t1', 'grant t2'])

    def test_waits_for_its_turn(self):
        other = self.add(common.Bus())
        other.appear()
        other.say('want x')
        self.host('host-2', other).start()
        self.wait_granted('x', bus=other)
        self.bus.appear()
        self.bus.say('want t1')
        self.fleet.start()
        self.fleet.program.wait_for('failed_lock_semaphore_full')
        self.assertEqual(self.bus.grants(), [])
        other.say('want')
        self.wait_granted('t1')
        self.assertEqual(self.server.most, 1)
        # Refusals that are all the same are said once.
        self.assertEqual(self.fleet.program.text().count('failed_lock_semaphore_full'), 1)

    def test_nothing_is_given_back_while_klpd_is_away(self):
        self.bus.appear()
        self.bus.say('want t1')
        self.fleet.start()
        self.wait_granted('t1')
        self.bus.vanish()
        # klp-fleet is killed as well: it knows nothing any more, and still gives nothing back.
        self.fleet.start()
        self.assertEqual(self.server.holders, {'host-1'})
        # The next klpd still wants it ("held"), from its first moment on the bus: it is told again.
        self.bus.appear('t1')
        self.wait_granted('t1')
        self.assertNotIn('/v1/steady-state', self.paths())
        self.bus.say('want')
        self.wait_held()

    def test_killed_with_the_slot_gives_it_back_later(self):
        self.bus.appear()
        self.bus.say('want t1')
        self.fleet.start()
        self.wait_granted('t1')
        self.fleet.program.kill()
        self.bus.say('want')
        self.assertEqual(self.server.holders, {'host-1'})
        self.fleet.start()
        self.wait_held()

    def test_killed_with_the_slot_takes_it_again(self):
        self.bus.appear()
        self.bus.say('want t1')
        self.fleet.start()
        self.wait_granted('t1')
        self.fleet.program.kill()
        self.fleet.start()
        self.wait_granted('t1', 2)
        self.assertEqual(self.server.holders, {'host-1'})

    def test_answer_that_is_lost_is_asked_for_again(self):
        self.server.forget_answers = True
        self.bus.appear()
        self.bus.say('want t1')
        self.fleet.start()
        common.wait_until('three tries', lambda: self.paths().count('/v1/pre-reboot') >= 3)
        self.assertEqual(self.bus.grants(), [])
        # It has the slot, and doesn't know it: it must not keep it.
        self.bus.say('want')
        self.wait_held()
        self.server.forget_answers = False
        self.bus.say('want t2')
        self.wait_granted('t2')

    def test_server_that_is_down_delays_and_never_authorises(self):
        self.server.down = True
        self.bus.appear()
        self.bus.say('want t1')
        self.fleet.start()
        common.wait_until('four tries', lambda: len(self.server.requests) >= 4)
        self.assertEqual(self.bus.grants(), [])
        self.server.down = False
        self.wait_granted('t1')

    def test_other_answers_than_200_are_no(self):
        for status in (201, 204, 301, 307, 500):
            self.server.handler = lambda path, body, handler, s=status: (s, b'')
            self.bus.appear()
            self.bus.say('want t1')
            self.fleet.start()
            n = len(self.server.requests)
            common.wait_until('two tries', lambda n=n: len(self.server.requests) >= n + 2)
            self.assertEqual(self.bus.grants(), [], status)
            self.bus.vanish()

    def test_hostile_replies_are_no(self):
        replies = [b'{"kind":"' + b'x' * 100000 + b'","value":"y"}', b'\xff' * 5000, b'{"kind":1,"value":[[[', b'[' * 10000,
                   b'{"kind":"a\\u0000b","value":"c\\nd"}']
        for reply in replies:
            self.server.handler = lambda path, body, handler, r=reply: (409, r)
            self.bus.appear()
            self.bus.say('want t1')
            self.fleet.start()
            n = len(self.server.requests)
            common.wait_until('two tries', lambda n=n: len(self.server.requests) >= n + 2)
            self.assertTrue(self.fleet.alive())
            self.assertEqual(self.bus.grants(), [])
            self.bus.vanish()
        # Not even 200 with more than there may be.
        self.server.handler = lambda path, body, handler: (200, b'x' * 1000000)
        self.bus.appear()
        self.bus.say('want t1')
        self.fleet.program.wait_for('more than it may')
        self.assertEqual(self.bus.grants(), [])

    def test_tls_with_certificates_on_both_sides(self):
        tls = self.add(common.Tls())
        server = self.add(common.FleetLockServer(tls=tls))
        config = CONFIG.format(id='host-1', url=server.url)
        config += f'CertificateFile={tls.client[0]}\nKeyFile={tls.client[1]}\n'
        self.bus.appear()
        self.bus.say('want t1')
        # Without knowing the authority: nothing is asked of this server.
        self.fleet.configure(config)
        self.fleet.start()
        self.fleet.program.wait_for('SSL certificate problem')
        self.assertEqual(server.requests, [])
        self.fleet.configure(config + f'CAFile={tls.ca}\n')
        self.fleet.start()
        self.wait_granted('t1')


if __name__ == '__main__':
    unittest.main()
