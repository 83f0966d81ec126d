# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=sh
#
# For scenarios of the shim: each change of the stack is predicted before it is made, by the code that the planner
# uses (tests/vm/tools/klp-predict.c), and what the kernel called is compared with the prediction afterwards:
#
#   . "$TESTS/guest/shim.sh"
#   predict enable klp_test_b complete       what klp-predict takes: complete, reverse, fail ID, refused
#   shimctl enable klp_test_b ...            the change, and waiting for its end
#   happened                                 a check: the same calls in the same order, and no others
#
# and in scenarios of the patches klp_test_a, _b ...:
#
#   load b PARAMETER...      it registers
#   patch_on b, patch_off b  a change that completes, predicted (of klp_test_b; any other patch has its whole name here)
#   plain_off NAME           a plain patch is disabled
#   stall b                  a task sleeps in b's function: a transition that b goes away or is covered in waits; let_go
#   stall target             the same in klp_test_target (loaded), for one that redirects its functions
#   part NAME                the callbacks since the last part are those of section "== NAME" of $EXPECTS/$SCENARIO.trace
#
# Plain patches with states, which the shim doesn't know before a change, are named in $plain: "NAME=ID:VERSION,...".
plain=
# Patches that define, or trace, only some of the callbacks that are due: which, as an ERE for the beginning of such lines.
traced=

# Everything that callbacks have traced since the boot: "PATCH STATE CALLBACK ...", per-object ones with the object.
callbacks() { dmesg | sed -n 's/.*klp_trace: //p'; }

predict() {
	predict_what="$*"
	predict_seen=$(callbacks | wc -l)
	if ! shimctl patches >"$TMPDIR/predict.patches" || ! shimctl states >"$TMPDIR/predict.states"; then
		fail "the shim tells what it has, for a prediction of: $predict_what"
		return 1
	fi
	# shellcheck disable=SC2086 # one argument or none
	klp-predict "$TMPDIR/predict.patches" "$TMPDIR/predict.states" ${plain:+--plain "$plain"} "$@" \
		>"$TMPDIR/predict.want" || fail "no prediction of: $predict_what"
}

happened() {
	callbacks | tail -n "+$((predict_seen + 1))" | grep -E '^[^ ]+ [0-9]+ ' | sed 's/ data [0-9]*$//' \
		>"$TMPDIR/predict.have"
	if [ "$traced" ]; then
		grep -E "^($traced)" "$TMPDIR/predict.want" >"$TMPDIR/predict.traced"
		mv "$TMPDIR/predict.traced" "$TMPDIR/predict.want"
	fi
	expect_same "as predicted: $predict_what" "$TMPDIR/predict.want" "$TMPDIR/predict.have"
}

# The log has what earlier scenarios of the same boot said, too.
parts_seen=$(callbacks | wc -l)
part() {
	callbacks | tail -n "+$((parts_seen + 1))" >"$TMPDIR/part.$1"
	parts_seen=$((parts_seen + $(wc -l <"$TMPDIR/part.$1")))
	grep -q "^== $1\$" "$EXPECTS/$SCENARIO.trace" || fail "$SCENARIO.trace has a section $1"
	sed -n "/^== $1\$/,/^== /{/^==/d;p;}" "$EXPECTS/$SCENARIO.trace" >"$TMPDIR/part.want"
	expect_same "callbacks of: $1" "$TMPDIR/part.want" "$TMPDIR/part.$1"
}

gone() { test ! -d "/sys/kernel/livepatch/$1"; }
in_transition() { test "$(cat "/sys/kernel/livepatch/$1/transition")" = 1; }
parameter() { echo "$3" >"/sys/module/$1/parameters/$2"; }
states() { shimctl states | sort -n | sed 's/ name=test//'; }

load() {
	load_name=$1
	shift
	must "klp_test_$load_name registers" insmod "$MODULES/klp_test_$load_name.ko" "$@"
}

unload() {
	for load_name; do
		wait_for 30 "klp_test_$load_name can be removed" rmmod "klp_test_$load_name"
	done
}

# enable PATCH: the core may not be done with its last use yet (EAGAIN, 11); any other status is the answer's.
enable() {
	enable_end=$(($(cut -d. -f1 /proc/uptime) + 30))
	enable_status=11
	while [ $enable_status = 11 ] && [ "$(cut -d. -f1 /proc/uptime)" -lt $enable_end ]; do
		enable_status=0
		shimctl enable "$1" >"$TMPDIR/enable.out" 2>&1 || enable_status=$?
		[ $enable_status != 11 ] || sleep 0.1
	done
	cat "$TMPDIR/enable.out"
	return "$enable_status"
}

full_name() {
	case $1 in
	klp_*) echo "$1" ;;
	*) echo "klp_test_$1" ;;
	esac
}

patch_on() {
	predict enable "$(full_name "$1")" complete
	must "enable $1" enable "$(full_name "$1")"
	wait_for 60 "the transition of $1 completes" settled "$(full_name "$1")"
	happened
}

patch_off() {
	predict disable "$(full_name "$1")" complete
	echo 0 >"/sys/kernel/livepatch/$(full_name "$1")/enabled"
	wait_for 60 "$1 is disabled" gone "$(full_name "$1")"
	happened
}

plain_off() {
	echo 0 >"/sys/kernel/livepatch/$1/enabled"
	wait_for 60 "$1 is disabled" gone "$1"
}

sleeps_in() { grep -q "$2" "/proc/$1/stack"; }
stall() {
	if [ "$1" = target ]; then
		echo 1 >/sys/module/klp_test_target/parameters/sleep &
		sleeper=$!
		wait_for 20 "a task sleeps in the target" sleeps_in "$sleeper" klp_test_target_sleep
	else
		parameter "klp_test_$1" stall 1
		cat /proc/cmdline >"$TMPDIR/stalled.$1" &
		sleeper=$!
		wait_for 20 "a task sleeps in the function of klp_test_$1" sleeps_in "$sleeper" klp_cmdline_proc_show
	fi
	stalled_in=$1
}

let_go() {
	if [ "$stalled_in" = target ]; then
		parameter klp_test_target release 1
	else
		parameter "klp_test_$stalled_in" stall 0
	fi
	wait "$sleeper"
}
