# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=sh
#
# The library of scenarios, described in tests/vm/README.md. Loaded by the runner, in the scenario's own process:
# fd 8 takes records for the host, stdout and stderr are the transcript. Counts live in files, so that checks made in
# subshells and pipelines count too.

state=$TMPDIR/.state
status=0

ok() {
        echo "ok $*" >>"$state/checks"
        echo "ok $SCENARIO $*" >&8
        echo "ok - $*"
}

fail() {
        echo "fail $*" >>"$state/checks"
        echo "fail $SCENARIO $*" >&8
        echo "not ok - $*"
}

skip() {
        echo "$*" >"$state/skip"
        echo "skip $SCENARIO $*" >&8
        echo "skipped: $*"
        exit 0
}

say() { printf '%s\n' "$*"; }

allow_dirty() { : >"$state/dirty"; }

# Runs a command with its output shown and kept; the status is returned, and is in $status too.
run() {
        echo "# $*"
        status=0
        "$@" >"$TMPDIR/out" 2>&1 || status=$?
        cat "$TMPDIR/out"
        return $status
}

expect() {
        expect_text=$1
        shift
        if run "$@"; then
                ok "$expect_text"
        else
                fail "$expect_text (status $status: $(tail -n 1 "$TMPDIR/out" | cut -c1-200))"
                return 1
        fi
}

# The rest is another boot's: "boots:" in the header. Orderly, or as when the power fails (nothing is written back).
# "dies": the next boot isn't expected to reach the scenario.
reboot_guest() {
        echo "orderly $*" >"$state/next"
        exit 0
}

crash_guest() {
        echo "crash $*" >"$state/next"
        exit 0
}

# The same kernel, a new userspace; or another kernel, after an orderly shutdown, or ("now") without one.
soft_reboot_guest() {
        echo soft >"$state/next"
        exit 0
}

kexec_guest() {
        cat /dev/vdb >"$KEEP/vmlinuz" && cat /dev/vdc >"$KEEP/initrd"
        must "the next kernel is loaded" kexec --load "$KEEP/vmlinuz" --initrd="$KEEP/initrd" --reuse-cmdline
        echo "kexec $*" >"$state/next"
        exit 0
}

# For what resets the guest itself, at a moment that nobody else can know, within this boot: as crash_guest, said beforehand.
# The checks so far must have passed, or the scenario ends here.
reset_expected() {
        ! grep -q '^fail' "$state/checks" || exit 0
        echo "next $SCENARIO crash" >&8
        sync
}

must() { expect "$@" || exit 99; }

expect_fail() {
        expect_text=$1
        shift
        run "$@"
        if [ $status -eq 0 ]; then
                fail "$expect_text (it succeeded)"
        elif [ $status -eq 126 ] || [ $status -eq 127 ] || [ $status -ge 128 ]; then
                fail "$expect_text (status $status is no answer)"
        else
                ok "$expect_text"
        fi
}

expect_status() {
        expect_want=$1 expect_text=$2
        shift 2
        run "$@"
        if [ $status -eq "$expect_want" ]; then
                ok "$expect_text"
        else
                fail "$expect_text (status $status instead of $expect_want: $(tail -n 1 "$TMPDIR/out" | cut -c1-200))"
        fi
}

expect_output() {
        expect_want=$1 expect_text=$2
        shift 2
        run "$@"
        if grep -Eq -- "$expect_want" "$TMPDIR/out"; then
                ok "$expect_text"
        else
                fail "$expect_text (no /$expect_want/ in: $(head -c 300 "$TMPDIR/out" | tr '\n' '|'))"
        fi
}

expect_no_output() {
        expect_want=$1 expect_text=$2
        shift 2
        run "$@"
        if [ $status -eq 126 ] || [ $status -eq 127 ]; then
                fail "$expect_text (status $status)"
        elif grep -Eq -- "$expect_want" "$TMPDIR/out"; then
                fail "$expect_text (/$expect_want/ in: $(grep -E -- "$expect_want" "$TMPDIR/out" | head -n 1))"
        else
                ok "$expect_text"
        fi
}

# About the output of the last command that run or a check ran; nothing is run, and "out" stays.
expect_said() {
        if grep -Eiq -- "$1" "$TMPDIR/out"; then
                ok "$2"
        else
                fail "$2 (no /$1/ in: $(head -c 300 "$TMPDIR/out" | tr '\n' '|'))"
        fi
}

expect_eq() {
        if [ "$2" = "$3" ]; then
                ok "$1"
        else
                fail "$1 (want \"$2\", have \"$3\")"
        fi
}

expect_same() {
        if diff -u "$2" "$3"; then
                ok "$1"
        else
                fail "$1 ($3 differs from $2)"
        fi
}

wait_for() {
        wait_end=$(($(cut -d. -f1 /proc/uptime) + $1 * ${KLPD_SLOW:-1})) wait_text=$2
        shift 2
        while ! "$@" >"$TMPDIR/out" 2>&1; do
                if [ "$(cut -d. -f1 /proc/uptime)" -ge $wait_end ]; then
                        fail "$wait_text (not in time: $(tail -n 1 "$TMPDIR/out" | cut -c1-200))"
                        return 1
                fi
                sleep 0.1
        done
        ok "$wait_text"
}

wait_quietly() { # SECONDS COMMAND...: the same without a line in the transcript, and quicker
        quiet_end=$(($(cut -d. -f1 /proc/uptime) + $1 * ${KLPD_SLOW:-1}))
        shift
        until "$@"; do
                [ "$(cut -d. -f1 /proc/uptime)" -lt $quiet_end ] || return 1
                sleep 0.05
        done
}

host_record() { # JQ-FILTER: of klpd's file, which it writes when nobody waits for it
        wait_quietly 10 host_record_is_filed
        jq -c "$1" /var/lib/klpd/host.json
}
host_record_is_filed() {
        [ "$(busctl --json=short call org.klpd1 /org/klpd1 org.klpd1.Manager HostRecord | jq -r '.data[0]' | jq .serial)" = \
                "$(jq .serial /var/lib/klpd/host.json)" ]
}

livepatches() {
        ls /sys/kernel/livepatch
}

settled() {
        for settled_file in /sys/kernel/livepatch/${1:-*}/transition; do
                # A patch that goes away while this reads it is settled.
                settled_value=$(cat "$settled_file" 2>/dev/null) || continue
                [ "$settled_value" = 0 ] || return 1
        done
}

patch_enabled() {
        [ "$(cat "/sys/kernel/livepatch/$1/enabled" 2>/dev/null)" = 1 ] && settled "$1"
}

# ---- klpd (systemd guest) ----

# The heading of a step that people read (tests/demo).
step() {
        printf '\n\n── %s %s\n\n' "$1" "$2"
}

# json FILTER COMMAND...: what jq makes of the JSON that COMMAND prints.
json() {
        json_filter=$1
        shift
        "$@" 2>>"$TMPDIR/json.err" | jq -r "$json_filter"
}

# enabled_level: the level of local/base that klpd reports
enabled_patches() {
        klpctl list --json | jq -r '[.[] | select(.state == "enabled") | .name] | join(" ")'
}

# state_line ID: "VERSION HOLDER SHADOW-COUNT" of a live state, or nothing
state_line() {
        klpctl states --json | jq -r --argjson id "$1" '.[] | select(.id == $id) | "\(.version) \(.holder) \(."shadow-count")"'
}

# What a refusal may not change: what sysfs, the module list and the live states say.
kernel_picture() {
        find /sys/kernel/livepatch -mindepth 1 -maxdepth 3 | sort
        for picture_file in /sys/kernel/livepatch/*/enabled /sys/kernel/livepatch/*/transition; do
                [ ! -e "$picture_file" ] || echo "$picture_file $(cat "$picture_file")"
        done
        sed 's/ .*//' /proc/modules | sort
}
