#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Offline plans and policy verbs: no daemon, no bus, no privileges; only files."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

from common import DATA, KLPCTL, environment, run

NO_BUS = {'DBUS_SYSTEM_BUS_ADDRESS': 'unix:path=/nonexistent'}
INVENTORY = os.path.join(DATA, 'inventory.json')


def data(name):
    return os.path.join(DATA, name)


def load(name):
    with open(data(name), encoding='utf-8') as f:
        return json.load(f)


class Offline(unittest.TestCase):
    def check(self, status, *words, **more):
        r = run(*words, **NO_BUS, **more)
        self.assertEqual(r.status, status, r)
        return r

    def plan(self, status, *words):
        return self.check(status, 'plan', '--inventory', INVENTORY, *words)

    def test_allowed_is_0_and_prints_the_result_format(self):
        o = self.plan(0, '--request=apply', '--candidate', data('klp_demo_4.json'), '--accept-irreversible', '--json').json()
        self.assertEqual(o['verdict'], 'allow')
        self.assertEqual({s['id']: (s['fate'], s['from'], s['to']) for s in o['states']},
                         {1: ('keep', 1, 1), 2: ('takeover', 2, 3), 3: ('introduce', None, 1)})
        self.assertEqual([(c['callback'], c['when']) for c in o['callbacks']],
                         [('pre_takeover', 'before'), ('pre_patch', 'before'), ('post_takeover', 'after'),
                          ('post_patch', 'after')])
        self.assertIs(o['reversible'], False)

    def test_override_is_not_implied(self):
        for more in ([], ['--replace-foreign'], ['--allow-vendor=demo']):
            o = self.plan(3, '--candidate', data('klp_demo_4.json'), '--json', *more).json()
            self.assertEqual([v['rule'] for v in o['violations']], ['irreversible'])

    def test_refused_is_3_with_the_way_out(self):
        r = self.plan(3, 'downgrade', '--candidate', data('klp_demo_1.json'))
        for text in ('block-disable', 'state 2 "tcp-timer", patch klp_demo_3', 'way out:'):
            self.assertIn(text, r.out)
        r = self.plan(3, 'disable', 'klp_demo_3')
        self.assertIn('block-disable', r.out)

    def test_nothing_to_do_is_0(self):
        self.assertIn('nothing to do', self.plan(0, 'disable', '--patch=nonexistent').out)

    def test_profiles_decide(self):
        words = ['downgrade', '--candidate', data('klp_demo_1.json')]
        self.plan(0, *words, '--profile=level-only')
        self.plan(3, *words, '--profile=upstream')
        self.plan(2, *words, '--profile=nonsense')

    def test_policy_file_decides(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, 'policy.json')
            r = self.check(0, 'policy', 'show', '--profile=level-only', '--json')
            with open(path, 'w', encoding='utf-8') as f:
                f.write(r.out)
            self.check(0, 'policy', 'check', path)
            self.plan(0, 'downgrade', '--candidate', data('klp_demo_1.json'), '--policy', path)
            self.plan(2, 'downgrade', '--candidate', data('klp_demo_1.json'), '--policy', path, '--profile=upstream')
            self.assertEqual(self.check(0, 'policy', 'show', path, '--json').json(), r.json())

    def test_levels_and_names_come_from_the_repository(self):
        with tempfile.TemporaryDirectory() as d:
            for name in ('klp_demo_1', 'klp_demo_4'):
                shutil.copy(data(name + '.json'), os.path.join(d, name + '.klp.json'))
            o = self.plan(0, 'apply', '4', '--repository', d, '--accept-irreversible', '--json').json()
            self.assertEqual(o['patch'], 'klp_demo_4')
            self.assertEqual(self.plan(3, 'downgrade', '--repository', d, '--json').json()['patch'], 'klp_demo_1')
            self.assertEqual(self.plan(3, 'downgrade', '--patch=klp_demo_1', '--repository', d, '--json').json()['patch'],
                             'klp_demo_1')
            self.assertIn('9', self.plan(1, 'apply', '9', '--repository', d).err)

            # One that can't be read is said and hides no other.
            with open(os.path.join(d, 'broken.ko'), 'wb') as f:
                f.write(b'\x7fELF')
            r = self.plan(0, 'apply', '4', '--repository', d, '--accept-irreversible', '--json')
            self.assertEqual(r.json()['verdict'], 'allow')
            self.assertIn('broken.ko', r.err)

    def test_inventory_from_standard_input(self):
        with open(INVENTORY, 'rb') as f:
            r = self.check(3, 'plan', '--inventory', '-', 'disable', 'klp_demo_3', stdin=f.read())
        self.assertIn('block-disable', r.out)

    def test_bad_files_are_1_with_file_line_and_key(self):
        with tempfile.TemporaryDirectory() as d:
            bad = os.path.join(d, 'bad.json')
            for text, words in (('{\n "kernel": 1}', 'bad.json:2: kernel'), ('{"kernel": "a", "kernel": "b"}', 'kernel'),
                                ('{', 'bad.json'), ('', 'bad.json')):
                with open(bad, 'w', encoding='utf-8') as f:
                    f.write(text)
                r = self.check(1, 'plan', '--inventory', bad, '--candidate', data('klp_demo_1.json'))
                self.assertIn(words, r.err)
                o = self.check(1, 'plan', '--inventory', bad, '--candidate', data('klp_demo_1.json'), '--json').json()
                self.assertEqual(o['result'], 'failed')
            self.assertIn('No such file', self.plan(1, '--candidate', os.path.join(d, 'none.ko')).err)
            for content in (b'', b'nonsense', b'\x7fELF' + 60 * b'\0'):
                with open(os.path.join(d, 'x.ko'), 'wb') as f:
                    f.write(content)
                self.assertIn('x.ko', self.plan(1, '--candidate', os.path.join(d, 'x.ko')).err)

    def test_the_goal_is_given_once(self):
        self.plan(2, 'x', '--patch=y')
        self.plan(2, 'x', '--level=1')
        self.plan(2, '--patch=x', '--candidate', data('klp_demo_1.json'))
        self.plan(2, '--request=explode')

    def test_batch(self):
        cases = [{'inventory': load('inventory.json'), 'request': 'apply', 'candidate': load('klp_demo_4.json'),
                  'accept_irreversible': True},
                 {'inventory': load('inventory.json'), 'request': 'disable', 'patch': 'klp_demo_3'},
                 {'inventory': load('inventory.json'), 'request': 'downgrade', 'level': 1,
                  'repository': [load('klp_demo_1.json')], 'profile': 'level-only'},
                 {'inventory': load('inventory.json'), 'request': 'disable', 'patch': 'nonexistent'}]
        text = '\n'.join(json.dumps(c) for c in cases)
        for tail in ('', '\n', '\n\n'):
            r = self.check(0, 'plan', '--batch', stdin=(text + tail).encode())
            self.assertEqual([json.loads(line)['verdict'] for line in r.out.splitlines()],
                             ['allow', 'refuse', 'allow', 'nothing-to-do'])

    def test_batch_case_that_makes_no_sense_is_1_and_stops_nothing(self):
        text = '\nnonsense\n' + json.dumps({'inventory': {'kernel': 'a'}, 'request': 'disable', 'patch': 'x'}) + '\n'
        r = self.check(1, 'plan', '--batch', stdin=text.encode())
        lines = [json.loads(line) for line in r.out.splitlines()]
        self.assertIn('message', lines[0]['error'])
        self.assertEqual(lines[0]['error']['line'], 2)
        self.assertEqual(lines[1]['verdict'], 'nothing-to-do')
        self.assertEqual(self.check(0, 'plan', '--batch', stdin=b'').out, '')

    def test_batch_answers_before_the_next_question(self):
        with subprocess.Popen([KLPCTL, 'plan', '--batch'], env=environment(), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as p:
            for _ in range(3):
                p.stdin.write(json.dumps({'inventory': {'kernel': 'a'}, 'request': 'disable', 'patch': 'x'}).encode() + b'\n')
                p.stdin.flush()
                self.assertEqual(json.loads(p.stdout.readline())['verdict'], 'nothing-to-do')
            p.stdin.close()
            self.assertEqual(p.wait(timeout=20), 0)

    def test_batch_of_long_lines(self):
        case = {'inventory': {'kernel': 'a', 'patches': [{'name': 'p', 'states': [{'id': i, 'version': 1}
                                                                                  for i in range(8000)]}]},
                'request': 'disable', 'patch': 'p'}
        r = self.check(0, 'plan', '--batch', stdin=2 * (json.dumps(case) + '\n').encode())
        self.assertEqual([len(json.loads(line)['states']) for line in r.out.splitlines()], [8000, 8000])

    def test_policy_verbs(self):
        r = self.check(0, 'policy', 'explain', 'block-disable')
        self.assertIn('block-disable', r.out)
        self.assertIn('--accept-irreversible', self.check(0, 'policy', 'explain', 'irreversible').out)
        rules = self.check(0, 'policy', 'explain', '--json').json()
        self.assertEqual(len({o['rule'] for o in rules}), 21)
        self.assertIn('enforce', self.check(0, 'policy', 'show', '--profile=upstream').out)
        with tempfile.TemporaryDirectory() as d:
            bad = os.path.join(d, 'policy.json')
            with open(bad, 'w', encoding='utf-8') as f:
                f.write('{"profile": "nonsense"}')
            self.assertIn('policy.json:1', self.check(1, 'policy', 'check', bad).err)

    @unittest.skipUnless(shutil.which('gcc'), 'no compiler')
    def test_plain_module_takes_its_metadata_from_the_manifest(self):
        with tempfile.TemporaryDirectory() as d:
            module = os.path.join(d, 'klp_plain.ko')
            source = '''
                #define INFO(n, s) static const char n[] __attribute__((used, section(".modinfo"), aligned(1))) = s;
                INFO(a, "livepatch=Y") INFO(b, "name=klp_plain") INFO(c, "vermagic=6.1.0-47-amd64 SMP preempt mod_unload ")
                INFO(l, "license=GPL")
                int klp_enable_patch(void *); int f(void) { return klp_enable_patch(0); }
                char m[1024] __attribute__((section(".gnu.linkonce.this_module")));
                '''
            subprocess.run(['gcc', '-xc', '-', '-c', '-o', module], input=source.encode(), check=True)
            o = self.plan(0, '--candidate', module, '--json').json()
            self.assertEqual((o['patch'], o['functions']), ('klp_plain', []))

            manifest = os.path.join(d, 'klp_plain.klp.json')
            with open(manifest, 'w', encoding='utf-8') as f:
                json.dump({'name': 'klp_plain', 'cumulative': True, 'vendor': 'demo', 'stream': 'base', 'level': 9,
                           'functions': [{'object': 'vmlinux', 'function': 'fspick'}]}, f)
            o = self.plan(3, '--candidate', module, '--json').json()
            self.assertIn('plain-over-managed', [v['rule'] for v in o['violations']])
            self.assertIn('fspick', [f['function'] for f in o['functions']])

            for tool, suffix in (('xz', '.xz'), ('zstd', '.zst')):
                subprocess.run([tool, '-q', '-k', module], check=True)
                self.assertEqual(self.plan(3, '--candidate', module + suffix, '--json').json(), o, suffix)
                os.unlink(module)  # then the compressed one is what the repository has
                r = self.plan(3, '--patch=klp_plain', '--repository', d, '--json').json()
                self.assertEqual(r, o, suffix)
                subprocess.run([tool, '-q', '-d', module + suffix], check=True)
                if os.path.exists(module + suffix):  # zstd keeps it
                    os.unlink(module + suffix)

            with open(manifest, 'w', encoding='utf-8') as f:
                json.dump({'name': 'another'}, f)
            self.assertIn('another', self.plan(1, '--candidate', module).err)


if __name__ == '__main__':
    unittest.main()
