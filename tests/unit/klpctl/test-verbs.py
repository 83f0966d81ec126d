#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""klpctl against a fake klpd on a private bus: what is asked, what is printed, every exit status, JSON always valid."""

import json
import os
import signal
import tempfile
import unittest

from common import Bus, OnTerminal, run, wait_until


class Verbs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.bus = Bus()

    @classmethod
    def tearDownClass(cls):
        cls.bus.__exit__()

    def check(self, status, *words, **more):
        r = self.bus.run(*words, **more)
        self.assertEqual(r.status, status, r)
        return r

    def last_call(self):
        return self.bus.calls()[-1]

    # --- what each ending of a job is

    def test_done_is_0_and_says_what_runs(self):
        r = self.check(0, 'apply', 'ok')
        self.assertRegex(r.out, r'ok is enabled \(\d+')
        self.assertIn('1 introduced, 1 kept', r.out)
        self.assertEqual(r.err, '')

    def test_quiet_success_prints_nothing(self):
        r = self.check(0, 'apply', 'ok', '-q')
        self.assertEqual((r.out, r.err), ('', ''))

    def test_nothing_to_do_is_0(self):
        self.assertIn('Nothing to do', self.check(0, 'apply', 'nothing').out)

    def test_failed_is_1_with_the_reason(self):
        self.assertIn('Exec format error', self.check(1, 'apply', 'failed').err)

    def test_cancelled_is_1(self):
        self.assertIn('cancelled', self.check(1, 'disable', 'cancelled').err)

    def test_reversed_is_5(self):
        r = self.check(5, 'apply', 'reversed')
        self.assertIn('reversed', r.err)
        self.assertIn('runs what it ran before', r.err)

    def test_refused_is_3_and_names_rule_object_values_and_way_out(self):
        r = self.check(3, 'apply', 'refused')
        self.assertEqual(r.out, '')
        for text in ('block-disable', 'state 2 "tcp-timer", patch klp_demo_3', 'there is: not there after the change',
                     'must be: version 2', 'way out: use a patch that has state 2', 'A live state that can\'t be reverted',
                     'function-overlap', 'only a warning', 'vmlinux:fspick'):
            self.assertIn(text, r.err)

    def test_refused_without_a_rule_says_why(self):
        r = self.check(3, 'apply', 'refused-bare')
        self.assertIn('what the module registered differs from its file', r.err)

    def test_refused_call_is_3(self):
        self.check(3, 'apply', 'call-Refused')

    def test_denied_is_4(self):
        self.assertIn('polkit said no', self.check(4, 'apply', 'call-denied').err)
        r = self.check(4, 'apply', 'call-interactive', '--no-ask-password')
        self.assertIn('--no-ask-password', r.err)
        self.assertIn('interactive=no', self.last_call())

    def test_errors_of_the_call_are_1(self):
        for error in ('NoSuchPatch', 'Busy', 'Failed'):
            self.assertIn(f'what {error} looks like', self.check(1, 'apply', 'call-' + error).err)

    def test_argument_that_the_daemon_refuses_is_2(self):
        self.check(2, 'apply', 'call-invalid')

    def test_daemon_that_goes_away_is_1_and_said(self):
        with Bus() as bus:
            r = bus.run('apply', 'vanish')
            self.assertEqual(r.status, 1)
            self.assertIn('went away', r.err)

    def test_no_daemon_is_1_and_says_what_to_look_at(self):
        with Bus(fake=False) as bus:
            r = bus.run('list')
            self.assertEqual(r.status, 1)
            self.assertIn('systemctl status klpd.service', r.err)

    def test_no_bus_is_1(self):
        r = run('list', DBUS_SYSTEM_BUS_ADDRESS='unix:path=/nonexistent/bus')
        self.assertEqual(r.status, 1)
        self.assertIn('Failed to connect to the system bus', r.err)

    # --- what is sent

    def test_options_arrive(self):
        self.check(0, 'apply', 'ok', '--reason', 'CVE-1; "why"', '--timeout=2min 5s', '--accept-irreversible',
                   '--replace-foreign', '--allow-vendor=a', '--allow-vendor', 'b')
        self.assertEqual(self.last_call(), 'Apply \'ok\' reason=CVE-1; "why" timeout-usec=125000000 '
                         'accept-irreversible=yes replace-foreign=yes allow-vendor=a,b,')

    def test_nothing_is_sent_that_was_not_asked_for(self):
        self.check(0, 'apply', 'ok')
        self.assertEqual(self.last_call(), "Apply 'ok'")

    def test_levels_are_numbers_or_an_option(self):
        self.check(0, 'apply', '3')
        self.assertEqual(self.last_call(), "Apply '' level=3")
        self.check(0, 'apply', '--level=4294967295', '--stream', 'demo/base')
        self.assertEqual(self.last_call(), "Apply '' level=4294967295 stream=demo/base")
        self.check(0, 'downgrade')
        self.assertEqual(self.last_call(), "Downgrade ''")
        self.check(0, 'downgrade', '1')
        self.assertEqual(self.last_call(), "Downgrade '' level=1")

    def test_files_go_by_descriptor(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, 'x.ko')
            with open(path, 'wb') as f:
                f.write(b'x' * 1234)
            self.check(0, 'apply', path)
            self.assertEqual(self.last_call(), 'ApplyFile 1234')
            os.mkfifo(os.path.join(d, 'fifo.ko'))
            self.assertIn('no regular file', self.check(1, 'apply', os.path.join(d, 'fifo.ko')).err)
        self.assertIn('No such file', self.check(1, 'apply', './nonexistent.ko').err)

    def test_plan_asks_and_does_not_act(self):
        r = self.check(0, 'plan', 'ok')
        self.assertEqual(self.last_call(), "Plan apply 'ok'")
        for text in ('allowed', 'counters', 'pre_patch', 'post_patch', '+ vmlinux:ip_options_get', '+ CVE-2026-0001',
                     'verify, load, enable'):
            self.assertIn(text, r.out)
        self.check(3, 'plan', 'downgrade', 'refused')
        self.assertEqual(self.last_call(), "Plan downgrade 'refused'")
        self.check(0, 'plan', '--request=disable', 'nothing')
        self.assertEqual(self.last_call(), "Plan disable 'nothing'")
        self.check(0, 'plan', 'converge', 'nothing')
        self.assertEqual(self.last_call(), "Plan converge 'nothing'")

    # --- wrong command lines

    def test_usage_is_2_and_calls_nothing(self):
        before = len(self.bus.calls())
        for words in ((), ('nonsense',), ('apply',), ('apply', 'a', 'b'), ('show',), ('disable',), ('disable', '3'),
                      ('disable', 'a.ko'), ('apply', 'x', '--level=1'), ('apply', '--level=4294967296'),
                      ('apply', '--level=-1'), ('apply', '99999999999'), ('list', '--reason=x'), ('list', '--unknown'),
                      ('apply', 'x', '--timeout=soon'), ('apply', 'x', '--timeout=0'), ('apply', 'x', '--reason'),
                      ('apply', 'x', '--reason=' + 257 * 'x'), ('apply', '1', '--stream=x'), ('history', '-n', '0'),
                      ('history', '--since=whenever'), ('history', '--since=2026-02-31'), ('list', '--json=xml'), ('plan',),
                      ('plan', 'a', 'b'), ('plan', '--request=explode', 'x'), ('plan', 'x', '--policy=x'),
                      ('plan', '--batch', 'x'), ('policy',), ('policy', 'explode'), ('policy', 'explain', 'nonsense'),
                      ('downgrade', 'x.ko'), ('plan', 'converge'), ('cancel', 'x')):
            r = self.check(2, *words)
            self.assertIn('klpctl --help', r.err, words)
            self.assertEqual(r.out, '', words)
        self.assertEqual(len(self.bus.calls()), before)

    def test_help_and_version(self):
        self.assertIn('downgrade', self.check(0, '--help').out)
        self.assertRegex(self.check(0, '--version').out, r'^klpctl \d')

    def test_every_verb_and_option_is_in_help_and_man_page(self):
        text = self.check(0, '--help').out
        with open(os.environ['KLPCTL_MAN'], encoding='utf-8') as f:
            man = f.read()
        for verb in ('list', 'status', 'show', 'plan', 'apply', 'downgrade', 'disable', 'states', 'blocking', 'jobs',
                     'cancel', 'history', 'policy'):
            self.assertRegex(text, rf'(?m)^  {verb}\b')
            self.assertRegex(man, rf'(?m)^\.It Cm {verb}\b')
        import re
        for option in set(re.findall(r'--([a-z-]+)', text)) - {'with'}:
            self.assertRegex(man, rf'Fl (\w , )?-?{option}\b|, -{option}\b', option)

    # --- what is printed

    def test_list(self):
        r = self.check(0, 'list')
        self.assertIn('klp_demo_with_a_name_that_is_longer_than_most_terminals_like', r.out)
        self.assertIn('metadata makes no sense', r.out)
        self.assertIn("no longer used, but can't be removed: its reference count is 1", r.out)
        self.assertIn('4 patches listed', r.out)
        self.assertNotIn('PATCH', self.check(0, 'list', '--no-legend').out)

    def test_columns_fit_the_width(self):
        for width in (80, 100):
            r = self.check(0, 'list', COLUMNS=str(width))
            for line in r.out.splitlines():
                self.assertLessEqual(len(line), width, line)
            self.assertIn('…', r.out)
        self.assertNotIn('…', self.check(0, 'list', '--full', COLUMNS='60').out)

    def test_ascii_where_the_locale_is(self):
        r = self.check(0, 'list', LC_ALL='C', COLUMNS='80')
        self.assertTrue(r.out.isascii())
        self.assertIn('~', r.out)
        self.assertTrue(self.check(0, 'list', SYSTEMD_UTF8='0').out.isascii())
        self.assertFalse(self.check(0, 'list', LC_ALL='C', SYSTEMD_UTF8='1').out.isascii())

    def test_escape_sequences_of_others_stay_text(self):
        r = self.check(0, 'list', SYSTEMD_COLORS='1')
        self.assertIn('an escape \\x1b[31m in it, rätselhaft', r.out)
        with Bus(FAKE_TRANSITION='klp_demo_2') as bus:
            self.assertIn('ssh\\x07d', bus.run('blocking').out)

    def test_colours_only_where_they_are_wanted(self):
        self.assertNotIn('\x1b', self.check(0, 'list').out)
        self.assertIn('\x1b', self.check(0, 'list', SYSTEMD_COLORS='1').out)
        for env, want in (({}, True), ({'NO_COLOR': '1'}, False), ({'NO_COLOR': ''}, True), ({'TERM': 'dumb'}, False),
                          ({'SYSTEMD_COLORS': '0'}, False)):
            r = OnTerminal(['list'], **{**self.bus.environment(), **env}).finish()
            self.assertEqual('\x1b' in r.out, want, env)

    def test_status_and_its_problems(self):
        r = self.check(0, 'status')
        for text in ('6.1.0-47-amd64', 'ABI 1, generation 5', 'block-disable', 'demo/base 1', '1 enabled, 1 loaded, 2 available',
                     '2 live, 1 of them', 'broken can\'t be used', 'State 7 (lost) is an orphan',
                     'Module klp_old is no longer used, but can\'t be removed: used by module'):
            self.assertIn(text, r.out)
        with Bus(FAKE_SHIM='0') as bus:
            r = bus.run('status')
            self.assertEqual(r.status, 0)
            self.assertIn('klp_shim.ko is not installed', r.out)

    def test_quarantine_has_name_and_level_from_the_repository(self):
        r = self.check(0, 'quarantine')
        self.assertRegex(r.out, r'(?m)^klp_demo_2 +2 +2222222222222222 it crashed$')
        self.assertRegex(r.out, r'(?m)^gone +\S+ +3333333333333333 it was bad$')
        listed = json.loads(self.check(0, 'quarantine', '--json').out)
        self.assertEqual([(q['name'], q.get('level')) for q in listed], [('klp_demo_2', 2), ('gone', None)])

    def test_states(self):
        r = self.check(0, 'states')
        self.assertIn('18446744073709551615', r.out)
        self.assertIn('12 (1.5K)', r.out)
        self.assertIn('orphan', r.out)

    def test_show(self):
        r = self.check(0, 'show', 'klp_demo_3')
        for text in ('demo/base level 3', 'three fixes', 'CVE-2026-0001', 'tcp-timer', 'ip_options_get', '00ff'):
            self.assertIn(text, r.out)
        self.check(1, 'show', 'call-NoSuchPatch')

    def test_blocking_and_what_an_empty_list_means(self):
        self.assertIn('No transition is under way', self.check(0, 'blocking').out)
        with Bus(FAKE_TRANSITION='idle') as bus:
            self.assertIn('idle CPUs', bus.run('blocking').out)
        with Bus(FAKE_TRANSITION='klp_demo_2') as bus:
            r = bus.run('blocking')
            self.assertIn('[kworker/0:1]', r.out)
            self.assertIn('ssh.service', r.out)
            self.assertNotIn('do_ip_setsockopt', r.out)
            self.assertIn('do_ip_setsockopt', bus.run('blocking', '--stacks').out)

    def test_force_says_what_it_costs_and_wants_agreement(self):
        self.assertEqual(self.bus.run('force', '--yes').status, 1)
        with Bus(FAKE_TRANSITION='klp_demo_2') as bus:
            self.assertEqual(bus.run('force', 'other', '--yes').status, 1)
            r = bus.run('force')
            self.assertEqual(r.status, 2)
            for words in ('never enabled again', 'ssh.service', 'Only a reboot', '--yes'):
                self.assertIn(words, r.err)
            self.assertNotIn('Force', bus.log())
            r = bus.run('force', '--yes', '--reason', 'it must be')
            self.assertEqual(r.status, 0)
            self.assertIn('klp_demo_2: forced', r.out)
            self.assertIn('never enabled again', r.err)
            self.assertIn("Force 'klp_demo_2' reason=it must be", bus.log())
            for answer, status in (('no\n', 1), ('yes\n', 0)):
                t = OnTerminal(['force', 'klp_demo_2'], **bus.environment())
                t.read_until("Type 'yes'")
                t.press(answer.encode())
                self.assertEqual(t.finish().status, status)
            self.assertEqual(bus.log().count('Force'), 2)
        with Bus(FAKE_TRANSITION='klp_demo_3') as bus:
            self.assertEqual(bus.run('force', '--yes').status, 3)

    def test_reject_takes_back_what_runs(self):
        r = self.check(0, 'reject', 'ok', '--reason', 'bad')
        self.assertIn("isn't applied again", r.out)
        self.assertIn("Reject 'ok' 'bad'", self.bus.log())
        self.assertIn("wasn't enabled", self.check(0, 'reject', 'idle').out)
        self.check(1, 'reject', 'failed')

    # --- programs

    def test_json_of_every_verb(self):
        for words, kind in ((('list',), list), (('status',), dict), (('states',), list), (('blocking',), list),
                            (('jobs',), list), (('show', 'x'), dict), (('plan', 'ok'), dict), (('apply', 'ok'), dict),
                            (('downgrade',), dict), (('disable', 'ok'), dict), (('policy', 'show', '--profile=upstream'), dict),
                            (('policy', 'explain'), list), (('policy', 'explain', 'busy'), dict)):
            for mode in ('--json', '--json=short', '--json=pretty'):
                r = self.check(0, *words, mode)
                self.assertIsInstance(r.json(), kind, words)
                self.assertEqual(r.err, '')
            self.assertEqual(len(self.check(0, *words, '--json=short').out.splitlines()), 1)

    def test_json_of_failures_is_one_document_too(self):
        for words, status, result in ((('apply', 'call-denied'), 4, 'denied'), (('apply', 'call-Refused'), 3, 'refused'),
                                      (('apply', 'call-Busy'), 1, 'failed'), (('apply', 'failed'), 1, 'failed'),
                                      (('apply', 'refused'), 3, 'refused'), (('apply', 'reversed'), 5, 'reversed'),
                                      (('show', 'call-NoSuchPatch'), 1, 'failed'), (('apply', './none.ko'), 1, 'failed'),
                                      (('plan', 'call-NoSuchPatch'), 1, 'failed')):
            o = self.check(status, *words, '--json').json()
            self.assertEqual(o['result'], result, words)
        self.assertEqual(self.check(3, 'apply', 'refused', '--json').json()['plan']['violations'][0]['rule'], 'block-disable')
        self.assertEqual(self.check(3, 'plan', 'refused', '--json').json()['verdict'], 'refuse')

    def test_json_keeps_large_numbers(self):
        self.assertEqual(self.check(0, 'states', '--json').json()[0]['id'], 18446744073709551615)

    def test_output_that_cannot_be_written_is_a_failure(self):
        import subprocess
        from common import KLPCTL
        with open('/dev/full', 'w', encoding='utf-8') as full:
            p = subprocess.run([KLPCTL, 'list'], env=self.bus.environment(), stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(p.returncode, 1)
        self.assertIn(b'No space left', p.stderr)


class Following(unittest.TestCase):
    """While a job runs."""

    def setUp(self):
        self.bus = Bus()

    def tearDown(self):
        self.bus.__exit__()

    def test_no_block_prints_the_job_and_leaves_it(self):
        r = self.bus.run('apply', 'stuck', '--no-block')
        self.assertEqual((r.status, r.out), (0, 'Job 7: apply stuck\n'))
        self.assertIn('stuck', self.bus.run('jobs').out)
        self.assertEqual(self.bus.run('jobs', '--json').json()[0]['id'], 7)
        self.assertEqual(self.bus.run('apply', 'ok').status, 1)
        self.assertEqual(self.bus.run('apply', 'stuck2', '--no-block', '--json').json()['error'], 'org.klpd1.Error.Busy')

    def test_metrics_are_printed_as_they_are(self):
        text = 'klpd_level{stream="demo/b\\"ase"} 2\nklpd_drift 0\n'
        self.assertEqual(self.bus.run('metrics').out, text)
        self.assertEqual(self.bus.run('metrics', '--json').json(), text)

    def test_cancel_ends_it(self):
        t = OnTerminal(['apply', 'stuck'], **self.bus.environment())
        t.read_until('settle')
        self.assertEqual(self.bus.run('cancel', '8').status, 1)
        self.assertEqual(self.bus.run('cancel').status, 0)
        r = t.finish()
        self.assertEqual(r.status, 1)
        self.assertIn('cancelled', r.out)
        self.assertIn('Cancel', self.bus.log())
        self.assertEqual(self.bus.run('cancel').status, 1)

    def test_progress_is_one_line_that_goes_away(self):
        r = OnTerminal(['apply', 'ok-slow'], columns=60, **self.bus.environment()).finish()
        self.assertEqual(r.status, 0)
        for step in ('verify', 'load', 'enable', 'settle'):
            self.assertIn(f'apply ok-slow: {step} (', r.out)
        self.assertIn('ok-slow is enabled', r.out)
        self.assertEqual(r.out.count('\n'), 1, r.out)

    def test_no_progress_without_a_terminal(self):
        self.assertEqual(self.bus.run('apply', 'ok-slow').err, '')

    def test_what_a_long_transition_waits_for_is_shown(self):
        self.bus.__exit__()
        self.bus = Bus(FAKE_TRANSITION='stuck')
        t = OnTerminal(['apply', 'stuck'], columns=120, **self.bus.environment())
        t.read_until('waits for ssh\\x07d[813] (ssh.service), kworker/0:1[44]')
        self.assertEqual(self.bus.run('cancel').status, 0)
        t.finish()

    def test_interrupt_leaves_the_job_and_says_so(self):
        t = OnTerminal(['apply', 'stuck'], **self.bus.environment())
        t.read_until('settle')
        t.press(b'\x03')
        r = t.finish()
        self.assertEqual(r.status, -signal.SIGINT)
        self.assertIn("klpctl cancel 7", r.out)
        self.assertNotIn('Cancel', self.bus.log())
        self.assertIn('stuck', self.bus.run('jobs').out)

    def test_bus_that_goes_away_ends_it(self):
        t = OnTerminal(['apply', 'stuck'], **self.bus.environment())
        t.read_until('settle')
        self.bus.daemon.terminate()
        wait_until('klpctl to end', lambda: t.process.poll() is not None)
        self.assertEqual(t.finish().status, 1)


if __name__ == '__main__':
    unittest.main()
