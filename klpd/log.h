/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpd's log for people: lines on standard error with the priority prefix that systemd understands. What
 * happened to patches goes through audit.h instead, as journal records with fields. Leaves don't log: they
 * return -errno.
 */
#pragma once

#include <syslog.h>

#include "policy/util.h"

void log_message(int priority, const char *format, ...) _printf_(2, 3);

#define log_error(...) log_message(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_message(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_message(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_DEBUG, __VA_ARGS__)
