#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""klpctl history on a journal file made for it: what is read, what isn't trusted, filters, order, columns.

The file comes from systemd-journal-remote, which takes trusted fields (_SYSTEMD_UNIT) from its input, as a journal
that was collected over the network has them.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from common import run

REMOTE = '/lib/systemd/systemd-journal-remote'
BASE = 1_700_000_000  # 2023-11-14 22:13:20 UTC
BOOT = 32 * 'a'


def message_ids():
    path = os.path.join(os.path.dirname(os.environ['KLPCTL_MAN']), '../klpd/message-ids.h')
    with open(path, encoding='utf-8') as f:
        return dict(re.findall(r'#define KLPD_MESSAGE_(\w+)\s+"([0-9a-f]{32})"', f.read()))


IDS = message_ids()


def entry(seconds, kind, unit='klpd.service', **fields):
    lines = [f'__REALTIME_TIMESTAMP={(BASE + seconds) * 1_000_000}', f'__MONOTONIC_TIMESTAMP={seconds * 1_000_000}',
             f'_BOOT_ID={BOOT}', f'MESSAGE_ID={IDS[kind]}', f'_SYSTEMD_UNIT={unit}', 'PRIORITY=5']
    for name, value in fields.items():
        for v in value if isinstance(value, list) else [value]:
            lines.append(f'{name}={v}')
    return '\n'.join(lines) + '\n\n'


def plan(size):
    return '{"verdict":"allow","violations":[' + ','.join(['{"rule":"busy"}'] * size) + ']}'


ENTRIES = [
    entry(0, 'DAEMON', KLPD_EDGE='daemon', MESSAGE='klpd started: 0 patches are enabled'),
    entry(10, 'JOB_STARTED', KLPD_EDGE='job-started', KLPD_JOB=1, KLPD_REQUEST='apply', KLPD_PATCH='klp_demo_1',
          KLPD_STREAM='demo/base', KLPD_LEVEL=1, KLPD_UID=0, KLPD_REASON='ticket 4711', MESSAGE='m',
          KLPD_OVERRIDE=['accept-irreversible', 'replace-foreign'], KLPD_PLAN=plan(10000)),
    entry(11, 'COMPLETED', KLPD_EDGE='completed', KLPD_JOB=1, KLPD_REQUEST='apply', KLPD_PATCH='klp_demo_1', KLPD_UID=0,
          KLPD_RESULT='done', KLPD_DURATION_USEC=83123, KLPD_TRANSITION_USEC=41000, MESSAGE='m'),
    # Not klpd's: anybody can write these fields.
    entry(12, 'COMPLETED', unit='user@1000.service', KLPD_EDGE='completed', KLPD_PATCH='forged', MESSAGE='m'),
    entry(20, 'REFUSED', KLPD_EDGE='refused', KLPD_REQUEST='apply', KLPD_PATCH='klp_bad', KLPD_UID=4242, MESSAGE='m',
          KLPD_RULE=['block-disable', 'level-order'], KLPD_RESULT='refused', KLPD_REASON='escape\x1b[31m'),
    entry(30, 'STATE', KLPD_EDGE='state', KLPD_JOB=2, KLPD_PATCH='klp_demo_2', KLPD_STATE_ID='0xffffffffffffffff',
          KLPD_STATE_NAME='timer', KLPD_FATE='introduce', KLPD_TO=1, MESSAGE='m'),
    entry(31, 'COMPLETED', KLPD_EDGE='completed', KLPD_JOB=2, KLPD_REQUEST='apply', KLPD_PATCH='klp_demo_2', KLPD_UID=0,
          KLPD_RESULT='done', KLPD_DURATION_USEC=2500000, KLPD_REPLACED=['klp_demo_1'], MESSAGE='m'),
    entry(40, 'STALLED', KLPD_EDGE='stalled', KLPD_JOB=3, KLPD_PATCH='klp_demo_3', KLPD_BLOCKER=['812/813 sshd'],
          MESSAGE='m'),
]


@unittest.skipUnless(os.access(REMOTE, os.X_OK), 'systemd-journal-remote is not installed')
class History(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.path = os.path.join(cls.directory.name, 'test.journal')
        subprocess.run([REMOTE, '--output', cls.path, '-'], input=''.join(ENTRIES).encode(), check=True,
                       capture_output=True)

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def history(self, *words, status=0, **more):
        r = run('history', '--file', self.path, *words, **more)
        self.assertEqual(r.status, status, r)
        return r

    def edges(self, *words):
        return [r['edge'] for r in self.history('--json', *words).json()]

    def test_all_edges_of_klpd_and_of_nobody_else(self):
        self.assertEqual(self.edges(), ['daemon', 'job-started', 'completed', 'refused', 'state', 'completed', 'stalled'])
        self.assertNotIn('forged', self.history().out)

    def test_fields(self):
        r = self.history('--json').json()[1]
        want = {'time_usec': (BASE + 10) * 1_000_000, 'edge': 'job-started', 'job': 1, 'request': 'apply', 'level': 1,
                'patch': 'klp_demo_1', 'stream': 'demo/base', 'uid': 0, 'user': 'root', 'reason': 'ticket 4711',
                'overrides': ['accept-irreversible', 'replace-foreign'], 'boot_id': BOOT,
                'message_id': IDS['JOB_STARTED']}
        self.assertEqual({k: r.get(k) for k in want}, want)
        # A large field is not cut, and JSON in it is JSON.
        self.assertEqual(len(r['plan']['violations']), 10000)
        state = self.history('--json').json()[4]
        self.assertEqual((state['state'], state['to']), (18446744073709551615, 1))
        self.assertNotIn('from', state)

    def test_order_and_number(self):
        self.assertEqual(self.edges('-n', '2'), ['completed', 'stalled'])
        self.assertEqual(self.edges('-n', '2', '-r'), ['stalled', 'completed'])
        self.assertEqual(self.edges('-r')[-1], 'daemon')
        self.assertEqual(len(self.edges('-n', 'all')), 7)

    def test_time(self):
        self.assertEqual(self.edges('--since', f'@{BASE + 20}'), ['refused', 'state', 'completed', 'stalled'])
        self.assertEqual(self.edges('--until', '2023-11-14 22:13:31'), ['daemon', 'job-started', 'completed'])
        self.assertEqual(self.edges('--since', f'@{BASE + 11}', '--until', f'@{BASE + 20}'), ['completed', 'refused'])
        self.assertEqual(self.edges('--since', f'@{BASE + 11}', '--until', f'@{BASE + 20}', '-r'), ['refused', 'completed'])
        self.assertEqual(self.edges('--since', f'@{BASE + 11}', '--until', f'@{BASE + 31}', '-n1'), ['completed'])
        self.assertEqual(self.edges('--since', 'yesterday'), [])

    def test_patch_as_subject_or_replaced(self):
        self.assertEqual([r['patch'] for r in self.history('--json', '--patch=klp_demo_1').json()],
                         ['klp_demo_1', 'klp_demo_1', 'klp_demo_2'])
        self.assertEqual(self.edges('--patch=klp-bad'), ['refused'])
        self.assertEqual(self.edges('--patch=forged'), [])

    def test_table(self):
        out = self.history().out
        for text in ('2023-11-14 22:13:30', 'root', 'uid 4242', '83ms', '2.5s', 'ticket 4711', 'replaced: klp_demo_1',
                     'rules: block-disable, level-order', 'state 18446744073709551615 timer: introduce, version none to 1',
                     'waits for: 812/813 sshd', 'transition 41ms', 'overrides: accept-irreversible, replace-foreign'):
            self.assertIn(text, out)
        self.assertNotIn('\x1b', out)
        for line in self.history(COLUMNS='100').out.splitlines():
            self.assertLessEqual(len(line), 100)

    def test_nothing_to_show(self):
        self.assertEqual(self.history('--patch=nothing').out, 'No records.\n')
        self.assertEqual(self.history('--patch=nothing', '--json').json(), [])

    def test_a_record_that_was_sent_again_is_one(self):
        record = dict(KLPD_EDGE='completed', KLPD_PATCH='again', KLPD_RECORD=32 * 'b', MESSAGE='m',
                      KLPD_REALTIME_USEC=(BASE + 5) * 1_000_000)
        lost = dict(KLPD_EDGE='reversed', KLPD_PATCH='late', KLPD_RECORD=32 * 'c', MESSAGE='m', KLPD_RESENT=1,
                    KLPD_REALTIME_USEC=(BASE + 6) * 1_000_000)
        path = os.path.join(self.directory.name, 'again.journal')
        subprocess.run([REMOTE, '--output', path, '-'], check=True, capture_output=True, input=''.join([
            entry(5, 'COMPLETED', **record), entry(50, 'COMPLETED', KLPD_RESENT=1, **record),
            entry(50, 'REVERSED', **lost), entry(60, 'DAEMON', KLPD_EDGE='daemon', MESSAGE='m')]).encode())
        for words in ([], ['-r']):
            records = run('history', '--file', path, '--json', *words).json()
            self.assertEqual([r['edge'] for r in sorted(records, key=lambda r: r['time_usec'])],
                             ['completed', 'reversed', 'daemon'])
            # The time is the one at which it was made, not that of the second copy.
            self.assertEqual(sorted(r['time_usec'] for r in records),
                             [(BASE + n) * 1_000_000 for n in (5, 6, 60)])

    def test_file_that_is_no_journal(self):
        r = run('history', '--file', '/etc/passwd')
        self.assertEqual(r.status, 1)
        self.assertIn('/etc/passwd', r.err)


if __name__ == '__main__':
    unittest.main()
