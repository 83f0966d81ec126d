/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Numbers, time spans and points in time as people type them. -EINVAL: not one; -ERANGE: too large.
 */
#pragma once

#include "policy/util.h"

#define USEC_PER_SEC 1000000ULL

int parse_u32(const char *s, uint32_t *ret);
int parse_u64(const char *s, uint64_t *ret);
/* "90", "90s", "1min 30s", "500ms", "2h"; a bare number is seconds. */
int parse_span(const char *s, uint64_t *ret_usec);
/* A subset of systemd.time(7): "now", "today", "yesterday", "YYYY-MM-DD", "YYYY-MM-DD HH:MM[:SS]",
 * "HH:MM[:SS]", "@SECONDS",
 * "-SPAN", "SPAN ago"; in local time. now: CLOCK_REALTIME. */
int parse_time(const char *s, uint64_t now_usec, uint64_t *ret_usec);

/* "83ms", "1.3s", "2min 5s", "3h 7min", "4d 2h". */
const char *format_span(char *buf, size_t size, uint64_t usec);
#define FORMAT_SPAN(usec) format_span((char[32]){}, 32, usec)
/* "1.5K"; bytes. */
const char *format_bytes(char *buf, size_t size, uint64_t bytes);
#define FORMAT_BYTES(n) format_bytes((char[24]){}, 24, n)
