#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# After 'meson install' on the host itself (not into a DESTDIR, where that is the package's affair): what is running learns of
# what is new. Nothing is enabled or started. Each step is said if it fails and is no reason to fail the installation.
say() {
        echo "klpd: '$*' failed; run it again when the system is up" >&2
}
try() {
        command -v "$1" > /dev/null || return 0
        "$@" || say "$@"
}

try journalctl --update-catalog
try systemd-sysusers klp-fleet.conf
try systemd-tmpfiles --create klpd.conf
if [ -d /run/systemd/system ]; then
        try systemctl daemon-reload
        try busctl --system --quiet call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig
fi
