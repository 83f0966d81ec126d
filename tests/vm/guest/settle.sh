# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=sh
#
# For scenarios of settle assist: its threads are counted by the kernel. Each names itself once, on its own CPU, and the kernel
# traces that (task:task_rename) with the CPU on which it happened:
#
#   . "$TESTS/guest/settle.sh"
#   trace_threads        from here on
#   settle_cpus          the CPUs on which threads have run since, ascending: "0 2"
#   no_trace             at the end
#
#   helper_on CPUS       klpd-helper may use these CPUs, from its next start on: "0-3"; "" as ever
trace=/sys/kernel/tracing

trace_threads() {
	[ -e $trace/trace ] || mount -t tracefs tracefs $trace
	echo 'newcomm == "klpd-settle"' >$trace/events/task/task_rename/filter
	echo 1 >$trace/events/task/task_rename/enable
	echo 1 >$trace/tracing_on
	: >$trace/trace
}

settle_cpus() {
	sed -n 's/^.*\[0*\([0-9][0-9]*\)\].*newcomm=klpd-settle.*/\1/p' $trace/trace | sort -n | paste -sd' '
}

no_trace() {
	echo 0 >$trace/events/task/task_rename/enable
	echo 0 >$trace/events/task/task_rename/filter
	: >$trace/trace
	helper_on ""
}

helper_on() {
	rm -rf /run/systemd/system/klpd-helper.service.d
	if [ -n "$1" ]; then
		mkdir -p /run/systemd/system/klpd-helper.service.d
		printf '[Service]\nCPUAffinity=%s\n' "$1" >/run/systemd/system/klpd-helper.service.d/cpus.conf
	fi
	systemctl daemon-reload
	systemctl stop klpd-helper.service
}
