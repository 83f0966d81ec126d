#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""klpctl fleet: documents, inventories, and what is printed about them. No daemon, no bus, no privileges."""

import collections
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from common import KLPCTL, run

NOW = '--at=2026-11-21T12:00:00Z'
APPLICATION = bytes.fromhex('5b38121f9069afcb30173d7b898a0df0')  # klpd-fleet.json(5)


def host(name, level=5, kernel='6.1.0-47-amd64', **more):
    patches = [{'name': f'klp_{level}', 'vendor': 'acme', 'stream': 'base', 'level': level, 'fixes': ['CVE-1']}]
    return {'hostname': name, 'inventory': {'kernel': kernel, 'patches': patches if level else []}, **more}


def rule(name, **more):
    return {'name': name, 'stream': 'acme/base', **more}


LEVELS = [{'stream': 'acme/base', 'kernel': '6.1.*', 'level': n, 'fixes': [f'CVE-{i}' for i in range(1, n - 3)]}
          for n in (5, 6, 7)]


class Fleet(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def write(self, name, content):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(content if isinstance(content, str) else json.dumps(content))
        return path

    def hosts(self, *hosts):
        return '--inventory=' + self.write('hosts.jsonl', ''.join(json.dumps(h) + '\n' for h in hosts))

    def check(self, status, *words):
        r = run(*words, DBUS_SYSTEM_BUS_ADDRESS='unix:path=/nonexistent')
        self.assertEqual(r.status, status, r)
        return r

    def plan(self, status, *words):
        lines = [json.loads(line) for line in self.check(status, 'fleet', 'plan', '--json', NOW, *words).out.splitlines()]
        return lines[:-1], lines[-1]['summary']

    def test_validate_says_file_line_and_key(self):
        good = self.write('good.json', {'rules': [rule('a', level=7)]})
        bad = self.write('bad.json', '{\n  "rules": [\n    {"name": "a", "levle": 7}\n  ]\n}\n')
        self.assertIn('is valid: 1 rules', self.check(0, 'fleet', 'validate', good).out)
        r = self.check(1, 'fleet', 'validate', good, bad)
        self.assertIn(f'{bad}:3: rules[0].levle: unknown key', r.err)
        self.assertIn('good.json: is valid', r.out)  # what is wrong with one does not hide the others
        o = self.check(1, 'fleet', 'validate', '--json', good, bad).json()
        self.assertEqual([(d['valid'], d.get('line'), d.get('key')) for d in o['documents']],
                         [(False, 3, 'rules[0].levle'), (True, None, None)])
        self.check(1, 'fleet', 'validate', os.path.join(self.dir, 'nowhere'))

    def test_validate_refuses_what_systemd_does_not_know(self):
        for calendar, timezone in (('Sat 25:00', 'UTC'), ('Sat 02:00', 'Europe/Nowhere')):
            window = {'calendar': calendar, 'duration': '2h', 'timezone': timezone}
            bad = self.write('bad.json', {'rules': [rule('a', level=7, windows=[window])]})
            self.assertIn(f'a: the window "{calendar}" ({timezone}): ', self.check(1, 'fleet', 'validate', bad).err)

    def test_validate_warns_of_what_can_hardly_be_meant(self):
        self.write('d/10.json', {'levels': [{'kernel': 'k', 'level': 3, 'digest': '0' * 64}], 'rules': [rule('all', level=7)]})
        self.write('d/20.json', {'levels': [{'kernel': 'k', 'level': 3, 'digest': '1' * 64}], 'rules': [rule('never', level=6)],
                                 'not_after': '2026-11-21T12:00:00Z'})
        o = self.check(0, 'fleet', 'validate', '--json', NOW, os.path.join(self.dir, 'd')).json()
        self.assertTrue(o['valid'])
        for text, warning in zip(('has expired', 'never matches', 'is stated differently'), o['warnings'], strict=True):
            self.assertIn(text, warning)

    def test_plan_has_a_line_per_host_and_a_summary(self):
        d = self.write('a.json', {'levels': LEVELS, 'rules': [rule('db', match={'hostname': ['db*']}, level='latest', hold='audit'),
                                                              rule('rest', level='latest')]})
        lines, summary = self.plan(0, self.hosts(host('db-1'), host('web-1'), host('web-2', 7)), d)
        self.assertEqual([(o['hostname'], o['rule'], o['level'], o['goal'], o['verdict'], o['reason']) for o in lines],
                         [('db-1', 'db', 5, 7, 'stay', 'hold-rule'), ('web-1', 'rest', 5, 7, 'change', 'ready'),
                          ('web-2', 'rest', 7, 7, 'done', 'at-goal')])
        self.assertEqual(lines[0]['open_fixes'], ['CVE-2', 'CVE-3'])
        self.assertEqual(summary['verdicts'], {'unmanaged': 0, 'done': 1, 'change': 1, 'wait': 0, 'stay': 1})
        self.assertEqual(summary['open_fixes'], [{'fix': 'CVE-2', 'hosts': 1}, {'fix': 'CVE-3', 'hosts': 1}])
        self.assertEqual([(r['rule'], r['hosts']) for r in summary['rules']], [('db', 1), ('rest', 2)])
        only = self.check(0, 'fleet', 'plan', '--json', '--summary', NOW, self.hosts(host('db-1')), d).json()
        self.assertEqual(list(only), ['summary'])
        text = self.check(0, 'fleet', 'plan', NOW, self.hosts(host('db-1')), d).out
        for word in ('db-1', 'hold-rule', '1 hosts.'):
            self.assertIn(word, text)

    def test_plan_predicts_what_the_policy_would_refuse(self):
        one_way = {'id': 7, 'version': 1, 'flags': ['block-disable'], 'name': 'one-way'}
        for level, more in ((5, {}), (6, {}), (7, {'states': [one_way]})):
            self.write(f'patches/klp_{level}.json', {'name': f'klp_{level}', 'vendor': 'acme', 'stream': 'base', 'level': level,
                                                     'cumulative': True, **more})
        patches = '--repository=' + os.path.join(self.dir, 'patches')
        stuck = host('stuck', 7)
        stuck['inventory']['patches'][0].update(states=[one_way], cumulative=True)
        hosts = self.hosts(host('up', 5), stuck, host('there', 6), host('held', 5, hold='no'))
        six = self.write('six.json', {'rules': [rule('a', level=6)]})
        def refused(document):
            return json.loads(self.check(0, 'fleet', 'plan', '--json', NOW, hosts, patches, document).out.splitlines()[-1])[
                'refused_by_policy']

        lines, _ = self.plan(0, hosts, patches, six)
        self.assertEqual([(o['hostname'], o['verdict'], o.get('plan', {}).get('verdict')) for o in lines],
                         [('up', 'change', 'allow'), ('stuck', 'change', 'refuse'), ('there', 'done', None), ('held', 'stay', None)])
        self.assertIn('block-disable', lines[1]['plan']['rules'])
        self.assertIn('one-way', lines[1]['plan']['message'])
        self.assertEqual((refused(six)['hosts'], refused(six)['block-disable']), (1, 1))
        text = self.check(0, 'fleet', 'plan', NOW, hosts, patches, six).out
        self.assertRegex(text, r'stuck +7 +6 +refused +[a-z,-]*block-disable')
        self.assertIn('The policy would refuse 1 hosts', text)
        # Another policy, another answer.
        lines, _ = self.plan(0, hosts, patches, '--profile=upstream', six)
        self.assertNotIn('block-disable', lines[1]['plan']['rules'])
        # Irreversible unless the rule accepts it; and a patch that isn't there.
        for more, verdict in (({}, 'refuse'), ({'accept_irreversible': True}, 'allow')):
            seven = self.write('seven.json', {'rules': [rule('a', level=7, **more)]})
            lines, _ = self.plan(0, self.hosts(host('up', 5)), patches, seven)
            self.assertEqual(lines[0]['plan']['verdict'], verdict)
        eight = self.write('eight.json', {'rules': [rule('a', level=8)]})
        lines, _ = self.plan(0, hosts, patches, eight)
        self.assertIn('no patch of level 8', lines[0]['plan']['message'])
        self.assertEqual(refused(eight)['no_patch'], 1)
        # Without patches nothing is planned, and a policy means nothing.
        self.assertNotIn('plan', self.plan(0, self.hosts(host('up', 5)), eight)[0][0])
        self.check(2, 'fleet', 'plan', NOW, hosts, '--profile=upstream', eight)
        self.check(2, 'fleet', 'diff', hosts, patches, six, eight)

    def test_a_line_that_is_no_host_is_said_and_the_rest_goes_on(self):
        d = self.write('a.json', {'rules': [rule('all', level=7)]})
        inventory = self.write('hosts.jsonl', '\n'.join((json.dumps(host('a')), '{"hostname": "b\\u001b"}', '',
                                                         json.dumps(host('c')))))
        lines, summary = self.plan(1, f'--inventory={inventory}', d)
        self.assertEqual([o.get('hostname') for o in lines], ['a', None, 'c'])
        self.assertEqual((lines[1]['line'], lines[1]['error']['key']), (2, 'hostname'))
        self.assertEqual((summary['hosts'], summary['invalid']), (2, 1))

    def test_names_order_and_hide_documents(self):
        for path, name in (('etc/50.json', 'etc50'), ('usr/10.json', 'usr10'), ('usr/50.json', 'usr50'), ('usr/99.json', 'usr99')):
            self.write(path, {'rules': [rule(name, level=7, match={'kernel': ['x' if name == 'usr10' else '*']})]})
        self.write('etc/99.json', '')
        directories = [os.path.join(self.dir, d) for d in ('etc', 'usr')]
        lines, summary = self.plan(0, self.hosts(host('a')), *directories)
        self.assertEqual([r['rule'] for r in summary['rules']], ['usr10', 'etc50'])
        self.assertEqual(lines[0]['rule'], 'etc50')

    def test_windows_are_in_their_time_zone(self):
        window = {'calendar': 'Sat 13:30', 'duration': '1h', 'timezone': 'Europe/Berlin'}  # 12:30 UTC in winter
        d = self.write('a.json', {'rules': [rule('all', level=7, windows=[window])]})
        for at, verdict, until in (('2026-11-21T12:29:59Z', 'wait', '2026-11-21T12:30:00Z'),
                                   ('2026-11-21T12:30:00Z', 'change', '2026-11-21T12:30:00Z'),
                                   ('2026-11-21T13:29:59Z', 'change', '2026-11-21T13:29:59Z'),
                                   ('2026-11-21T13:30:00Z', 'wait', '2026-11-28T12:30:00Z'),
                                   ('2026-07-03T13:30:00Z', 'wait', '2026-07-04T11:30:00Z')):
            o = self.check(0, 'fleet', 'explain', '--json', f'--at={at}', self.hosts(host('a')), d).json()
            self.assertEqual((o['verdict'], o['until']), (verdict, until), at)

    def test_diff_says_which_hosts_change(self):
        old = self.write('old.json', {'levels': LEVELS, 'rules': [rule('all', level=6)]})
        new = self.write('new.json', {'levels': LEVELS, 'rules': [rule('web', match={'hostname': ['web*']}, level=7),
                                                                  rule('others', level=6)]})
        inventory = self.hosts(host('web-1'), host('db-1'))
        lines = [json.loads(line) for line in self.check(0, 'fleet', 'diff', '--json', NOW, old, new, inventory).out.splitlines()]
        self.assertEqual([(o['hostname'], o['old']['goal'], o['new']['goal']) for o in lines[:-1]], [('web-1', 6, 7)])
        self.assertEqual(lines[-1]['summary'], {'hosts': 2, 'changed': 1, 'invalid': 0})
        self.assertIn('1 of 2 hosts change.', self.check(0, 'fleet', 'diff', NOW, old, new, inventory).out)
        self.assertIn('0 of 2 hosts change.', self.check(0, 'fleet', 'diff', NOW, old, old, inventory).out)

    def test_explain_says_who_won_and_who_did_not(self):
        d = self.write('a.json', {'levels': LEVELS, 'rules': [rule('db', match={'labels': {'role': ['db']}}, level=7),
                                                              rule('rest', level='latest', hold='audit')]})
        out = self.check(0, 'fleet', 'explain', NOW, self.hosts(host('web-1', labels={'role': 'web'})), d).out
        for text in ("db: role doesn't match", 'rest (', 'stay (hold-rule)', 'held by the rule: audit', 'CVE-2, CVE-3'):
            self.assertIn(text, out)

    def test_host_id_is_systemds_application_specific_id(self):
        machine = '0123456789abcdef0123456789abcdef'
        mac = bytearray(hmac.new(bytes.fromhex(machine), APPLICATION, hashlib.sha256).digest()[:16])
        mac[6], mac[8] = mac[6] & 0x0f | 0x40, mac[8] & 0x3f | 0x80
        d = self.write('a.json', {'rules': [rule('all', level=7, rollout=0)]})
        messages = {self.plan(0, self.hosts(h), d)[0][0]['message']
                    for h in (host('a', machine_id=machine), host('a', host_id=bytes(mac).hex()))}
        self.assertEqual(len(messages), 1)
        self.assertIn('the host is in its percent', messages.pop())
        other = self.plan(0, self.hosts(host('a')), d)[0][0]['message']
        self.assertIn("the host's id is not known", other)

    def test_simulation_of_a_fleet(self):
        """validate, plan and diff over 20,000 hosts, with --full a million: one answer for each, and they agree."""
        n = 1000000 if os.environ.get('KLPD_FULL') == '1' else 20000
        inventory = os.path.join(self.dir, 'fleet.jsonl')
        subprocess.run([os.environ['FLEET_GENERATE'], 'hosts', str(n), os.environ.get('KLPD_SEED', '1'), inventory], check=True)
        rules = [rule('held', match={'labels': {'site': ['dc7']}}, level='latest', hold='audit'),
                 rule('some', match={'hostname': ['web-*']}, level=6, rollout=30),
                 rule('rest', at_least=6)]
        levels = [{'stream': 'acme/base', 'kernel': '6.*', 'level': level} for level in (5, 6, 7)]
        old = self.write('old.json', {'levels': levels, 'rules': rules})
        rules[1]['rollout'] = 40
        new = self.write('new.json', {'levels': levels, 'rules': rules})
        self.check(0, 'fleet', 'validate', old, new)

        def plan(document):
            words = [KLPCTL, 'fleet', 'plan', '--json=short', NOW, '--inventory', inventory, document]
            with subprocess.Popen(words, stdout=subprocess.PIPE) as p:
                for line in p.stdout:
                    yield json.loads(line)
            self.assertEqual(p.returncode, 0)

        changed = inside = outside = 0
        verdicts = collections.Counter()
        for a, b in zip(plan(old), plan(new), strict=True):
            if 'summary' in a:
                summary = a['summary']  # the last line
                continue
            self.assertEqual(a['hostname'], b['hostname'])
            verdicts[a['verdict']] += 1
            changed += any(a[key] != b[key] for key in ('verdict', 'reason', 'goal'))
            if a['rule'] == 'some' and a['reason'] in ('ready', 'rollout'):
                inside += a['reason'] == 'ready'
                outside += a['reason'] == 'rollout'
                self.assertFalse(a['reason'] == 'ready' and b['reason'] == 'rollout')  # only ever adds
        self.assertEqual(summary['hosts'], n)
        self.assertEqual(sum(verdicts.values()), n)
        self.assertEqual({v: c for v, c in summary['verdicts'].items() if c}, dict(verdicts))
        total = inside + outside
        self.assertLess(abs(inside - 0.3 * total), 6 * (total * 0.3 * 0.7) ** 0.5)
        o = self.check(0, 'fleet', 'diff', '--json=short', '--summary', NOW, '--inventory', inventory, old, new).json()
        self.assertEqual(o['summary'], {'hosts': n, 'changed': changed, 'invalid': 0})
        self.assertLess(abs(changed - 0.1 * total), 6 * (total * 0.1 * 0.9) ** 0.5)

    def test_wrong_command_lines(self):
        d = self.write('a.json', {'rules': [rule('all', level=7)]})
        for words in (['plan', d], ['explain', d], ['diff', d], ['nonsense'], ['validate', '--inventory=x', d],
                      ['explain', '--summary', d], ['plan', '--at=someday', d]):
            self.check(2, 'fleet', *words)


if __name__ == '__main__':
    unittest.main()
