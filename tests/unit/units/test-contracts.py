#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What units/ says is what the programs say: MESSAGE_IDs, polkit actions, bus interfaces, configuration keys, options."""

import glob
import os
import re
import subprocess
import unittest
import xml.etree.ElementTree as ET

SOURCE = os.environ['SOURCE']


def read(*path):
    with open(os.path.join(SOURCE, *path), encoding='utf-8') as f:
        return f.read()


class Contracts(unittest.TestCase):
    def test_each_message_id_has_its_catalog_entry_and_the_other_way_round(self):
        ids = re.findall(r'#define KLPD_MESSAGE_\w+\s+"([0-9a-f]{32})"', read('klpd/message-ids.h'))
        self.assertGreaterEqual(len(ids), 12)
        self.assertEqual(len(ids), len(set(ids)))
        entries = re.split(r'(?m)^-- ', read('units/klpd.catalog'))[1:]
        self.assertEqual(sorted(ids), sorted(e.split()[0] for e in entries))
        for entry in entries:
            self.assertRegex(entry, r'(?m)^Subject: \S')
            self.assertRegex(entry, r'(?m)^Defined-By: klpd$')
            text = entry.split('\n\n', 1)[1].strip()
            self.assertGreater(len(text), 80, entry)
            for line in entry.splitlines():
                self.assertLessEqual(len(line), 90, line)

    def test_fields_in_the_catalog_are_documented(self):
        header = read('klpd/message-ids.h')
        for field in set(re.findall(r'@(\w+)@', read('units/klpd.catalog'))) | set(
                re.findall(r'\bKLPD_[A-Z_]+', read('units/klpd.catalog'))):
            self.assertIn(field, header)

    def test_history_reads_every_message_id_and_field(self):
        history = read('klpctl/history.c')
        header = read('klpd/message-ids.h')
        for name in re.findall(r'#define (KLPD_MESSAGE_\w+)', header):
            self.assertIn(name, history)
        for field in set(re.findall(r'\bKLPD_(?!MESSAGE)[A-Z_]+', header.split('#pragma')[0])):
            self.assertIn(f'"{field}"', history)

    def test_each_action_is_polkits_and_the_other_way_round(self):
        used = set(re.findall(r'"(org\.klpd1\.[a-z-]+)"', read('klpd/authorize.h')))
        tree = ET.fromstring(read('units/org.klpd1.policy'))
        actions = {a.get('id'): a for a in tree.findall('action')}
        self.assertEqual(used, set(actions))
        for name, a in actions.items():
            for tag in ('allow_any', 'allow_inactive', 'allow_active'):
                # Nobody who isn't an administrator, without a password, ever.
                self.assertIn(a.find(f'defaults/{tag}').text, ('auth_admin', 'auth_admin_keep'), name)
            self.assertGreater(len(a.find('message').text), 20)
            # polkit leaves a variable that it isn't given as it is.
            self.assertNotIn('$(', a.find('message').text)
        for strict in ('apply-file', 'import', 'accept-irreversible', 'replace-foreign', 'allow-vendor', 'force'):
            self.assertEqual(actions['org.klpd1.' + strict].find('defaults/allow_active').text, 'auth_admin')

    def test_bus_policy_names_the_interfaces(self):
        conf = read('units/org.klpd1.conf')
        for file in ('org.klpd1.xml', 'org.klpd1.Job.xml', 'org.klpd1.Fleet.xml', 'org.klpd1.Slot.xml'):
            for interface in ET.fromstring(read('klpd', file)).findall('interface'):
                self.assertIn(f'send_interface="{interface.get("name")}"', conf)

    def test_configuration_example_has_every_key_with_its_default(self):
        example = dict(re.findall(r'(?m)^#(\w+)=(.*)$', read('units/klpd.conf')))
        keys = re.findall(r'\{ "(\w+)", parse_\w+, offsetof', read('klpd/config.c'))
        self.assertGreater(len(keys), 3)
        self.assertEqual(sorted(example), sorted(keys))
        self.assertEqual(re.findall(r'(?m)^[^#\s].*$', read('units/klpd.conf')), ['[Manager]'])
        for key, want in re.findall(r'(?ms)^\s*\.(\w+)_usec = UINT64_C\((\d+)\) \* 1000000', read('klpd/config.c')):
            name = {k.lower().removesuffix('sec'): k for k in keys}[key.replace('_', '')]
            self.assertEqual(example[name], want, name)

    def test_configuration_of_klp_fleet_has_every_key_with_its_default(self):
        code, example = read('klpd/klp-fleet/fleet-config.c'), read('units/klp-fleet.conf')
        man = read('klpd/klp-fleet/klp-fleet.conf.5')
        self.assertEqual(re.findall(r'(?m)^[^#\s].*$', example), ['[Host]', '[FleetLock]', '[Etcd]'])
        for section, table in ('Host', 'host'), ('FleetLock', 'lock'), ('Etcd', 'etcd'):
            keys = re.findall(r'\{ "(\w+)", parse_\w+, offsetof\(FleetConfig, (?:\w+\.)?(\w+)\)',
                              code.split(f'{table}_keys[] = {{')[1].split('};')[0])
            defaults = {}
            if f'.{table} = {{' in code:
                defaults = {field: text or number for field, text, number in re.findall(
                    r'\.(\w+) = (?:"(.*)"|SECONDS\((\d+)\))', code.split(f'.{table} = {{')[1].split('}')[0])}
            have = dict(re.findall(r'(?m)^#(\w+)=(.*)$', example.split(f'[{section}]')[1].split('[')[0]))
            self.assertEqual(sorted(have), sorted(key for key, _ in keys))
            for key, field in keys:
                self.assertEqual(have[key], defaults.get(field, ''), key)
                self.assertIn(f'.It Va {key} Ns =', man)

    def test_user_of_klp_fleet_is_the_one_that_klpd_listens_to(self):
        user = re.search(r'#define SLOT_USER "(.*)"', read('klpd/fleet-slot.h')).group(1)
        self.assertIn(f'\nu {user} ', read('units/klp-fleet.sysusers.conf'))
        unit = read('units/klp-fleet.service.in')
        self.assertIn(f'\nUser={user}\n', unit)
        self.assertIn('\nCapabilityBoundingSet=\n', unit)
        directory = re.search(r'#define FLEET_NETWORK_DIRECTORY "/run/(.*)"', read('klpd/fleet-slot.h')).group(1)
        self.assertRegex(unit, rf'(?m)^RuntimeDirectory=.*\b{directory}$')

    def test_socket_is_where_klpd_looks_for_it(self):
        path = re.search(r'#define HELPER_SOCKET_PATH "(.*)"', read('klpd/helper-client.h')).group(1)
        unit = read('units/klpd-helper.socket')
        self.assertIn(f'ListenSequentialPacket={path}\n', unit)
        self.assertIn('SocketMode=0600\n', unit)

    def test_completions_know_every_verb_and_option(self):
        text = subprocess.run([os.environ['KLPCTL'], '--help'], check=True, capture_output=True).stdout.decode()
        options = set(re.findall(r'(--[a-z-]+)', text))
        verbs = set(re.findall(r'(?m)^  ([a-z]+) ', text.split('Options:')[0]))
        self.assertGreater(len(verbs), 10)
        for file in ('units/klpctl.bash', 'units/_klpctl'):
            for word in options | verbs:
                self.assertRegex(read(file), rf'(?<![a-z-]){re.escape(word)}(?![a-z-])', file)

    def test_message_fields_are_sent_as_documented(self):
        documented = set(re.findall(r'\bKLPD_[A-Z_]+', read('klpd/message-ids.h').split('#pragma')[0]))
        sent = set()
        for path in glob.glob(os.path.join(SOURCE, 'klpd/*.c')):
            with open(path, encoding='utf-8') as f:
                sent |= set(re.findall(r'audit_field(?:_u64)?\([^"]*"(KLPD_[A-Z_]+)"', f.read()))
        self.assertLessEqual(sent, documented)


if __name__ == '__main__':
    unittest.main()
