#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# systemd, D-Bus and polkit accept the files: systemd-analyze verify and security, catalog compiled, tmpfiles parsed, XML
# valid, bus policy loaded by a real dbus-daemon.
set -eu -o pipefail
# Environment: BUILD, SOURCE.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
meson install -C "$BUILD" --no-rebuild --destdir "$dir/root" > /dev/null
units=$dir/root/usr/lib/systemd/system

status=0
fail() {
        echo "FAILED: $*"
        status=1
}

command -v systemd-analyze > /dev/null || { echo 'systemd-analyze is not there'; exit 77; }

# The programs are in the staged tree: that is what ExecStart= is checked against.
mkdir "$dir/units"
for unit in "$units"/*; do
        sed "s|^ExecStart=/|ExecStart=$dir/root/|" "$unit" > "$dir/units/${unit##*/}"
done
for unit in klpd.service klpd-helper.socket klpd-helper.service klp-fleet.service; do
        out=$(SYSTEMD_UNIT_PATH="$dir/units:" systemd-analyze verify --man=no --recursive-errors=no "$dir/units/$unit" 2>&1) ||
                fail "systemd-analyze verify $unit: $out"
        out=$(grep -F klpd <<< "$out" || :)
        [[ -z $out ]] || fail "systemd-analyze verify $unit: $out"
done

# Exposure, in tenths: klpd decides, its helper needs what it needs (units/*.in say why).
for limit in klpd.service:25 klpd-helper.service:36 klp-fleet.service:15; do
        systemd-analyze security --offline=yes --root="$dir/root" --threshold="${limit#*:}" "${limit%:*}" > "$dir/out" 2>&1 ||
                fail "systemd-analyze security ${limit%:*}: $(tail -n 2 "$dir/out")"
done
for capability in CAP_SYS_MODULE CAP_SYS_ADMIN; do
        ! grep -q "^CapabilityBoundingSet=.*$capability" "$units/klpd.service" || fail "klpd.service has $capability"
done

journalctl --root="$dir/root" --update-catalog > "$dir/out" 2>&1 || fail "catalog: $(cat "$dir/out")"
systemd-tmpfiles --root="$dir/root" --create "$dir/root/usr/lib/tmpfiles.d/klpd.conf" > "$dir/out" 2>&1 ||
        fail "tmpfiles: $(cat "$dir/out")"
[[ -d $dir/root/run/klpd && -d $dir/root/var/lib/klpd/patches ]] || fail 'tmpfiles made no directories'

for file in "$SOURCE"/units/*.conf "$SOURCE"/units/*.policy "$SOURCE"/klpd/*.xml; do
        [[ $(head -c 1 "$file") == '<' ]] || continue
        xmllint --noout --nonet "$file" 2> "$dir/out" || fail "$(cat "$dir/out")"
done

# A bus with that policy: anybody may call what is listed, and nobody but root may own the name.
cat > "$dir/bus.conf" << EOF
<busconfig>
  <type>system</type>
  <listen>unix:path=$dir/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/>
    <allow receive_type="error"/><allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <includedir>$dir/root/usr/share/dbus-1/system.d</includedir>
</busconfig>
EOF
chmod 755 "$dir"
mkfifo "$dir/ready"
dbus-daemon --config-file="$dir/bus.conf" --nofork --nosyslog --print-address > "$dir/ready" 2> /dev/null &
bus=$!
read -r _ < "$dir/ready" || fail 'dbus-daemon refuses the policy'
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$dir/bus
chmod 666 "$dir/bus"
if [[ $(id -u) == 0 && ${FAKE_KLPD:-} ]]; then
        as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
        # Before anybody owns the name: only root may.
        out=$("${as_nobody[@]}" busctl call org.freedesktop.DBus / org.freedesktop.DBus RequestName su org.klpd1 0 2>&1) &&
                fail "nobody owns org.klpd1: $out"
        # It says so when it has the name.
        "$FAKE_KLPD" "$SOURCE/tests/unit/klpctl/data" > "$dir/ready" &
        fake=$!
        exec {calls}< "$dir/ready"
        read -r -u "$calls" _ || fail 'root can not own org.klpd1'
        "${as_nobody[@]}" busctl get-property org.klpd1 /org/klpd1 org.klpd1.Manager Version > "$dir/out" 2>&1 ||
                fail "nobody may not read a property: $(cat "$dir/out")"
        "${as_nobody[@]}" busctl call org.klpd1 /org/klpd1 org.klpd1.Manager ListStates > "$dir/out" 2>&1 ||
                fail "nobody may not call: $(cat "$dir/out")"
        "${as_nobody[@]}" busctl call org.klpd1 /org/klpd1 org.freedesktop.DBus.ObjectManager GetManagedObjects \
                > "$dir/out" 2>&1 && fail 'nobody may call an interface that is not listed'
        grep -q 'Access denied\|rejected' "$dir/out" || fail "denied by something else: $(cat "$dir/out")"
        kill "$fake"
fi
kill "$bus"

exit $status
