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
# Plain patches with states, which the shim doesn't know before a change, are named in $plain: "NAME=ID:VERSION,...".
plain=

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
	expect_same "as predicted: $predict_what" "$TMPDIR/predict.want" "$TMPDIR/predict.have"
}
