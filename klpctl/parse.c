/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading and writing quantities. Strict: nothing may follow, nothing is clamped, no sign where none makes
 * sense.
 */
#include <ctype.h>
#include <stdio.h>
#include <time.h>

#include "parse.h"

int parse_u64(const char *s, uint64_t *ret) {
        uint64_t n = 0;

        if (!*s)
                return -EINVAL;

        for (; *s; s++) {
                if (*s < '0' || *s > '9')
                        return -EINVAL;
                if (__builtin_mul_overflow(n, 10, &n) ||
                    __builtin_add_overflow(n, (uint64_t) (*s - '0'), &n))
                        return -ERANGE;
        }

        *ret = n;
        return 0;
}

int parse_u32(const char *s, uint32_t *ret) {
        uint64_t n;
        int r;

        r = parse_u64(s, &n);
        if (r < 0)
                return r;
        if (n > UINT32_MAX)
                return -ERANGE;

        *ret = (uint32_t) n;
        return 0;
}

static const struct {
        const char *name;
        uint64_t usec;
} units[] = {
        { "us", 1 },
        { "usec", 1 },
        { "ms", 1000 },
        { "msec", 1000 },
        { "s", USEC_PER_SEC },
        { "sec", USEC_PER_SEC },
        { "second", USEC_PER_SEC },
        { "seconds", USEC_PER_SEC },
        { "m", 60 * USEC_PER_SEC },
        { "min", 60 * USEC_PER_SEC },
        { "minute", 60 * USEC_PER_SEC },
        { "minutes", 60 * USEC_PER_SEC },
        { "h", 3600 * USEC_PER_SEC },
        { "hr", 3600 * USEC_PER_SEC },
        { "hour", 3600 * USEC_PER_SEC },
        { "hours", 3600 * USEC_PER_SEC },
        { "d", 86400 * USEC_PER_SEC },
        { "day", 86400 * USEC_PER_SEC },
        { "days", 86400 * USEC_PER_SEC },
        { "w", 7 * 86400 * USEC_PER_SEC },
        { "week", 7 * 86400 * USEC_PER_SEC },
        { "weeks", 7 * 86400 * USEC_PER_SEC },
};

static int find_unit(const char *s, size_t n, uint64_t *ret) {
        if (n == 0) {
                *ret = USEC_PER_SEC;
                return 0;
        }

        for (size_t i = 0; i < ELEMENTSOF(units); i++)
                if (strlen(units[i].name) == n && memcmp(units[i].name, s, n) == 0) {
                        *ret = units[i].usec;
                        return 0;
                }

        return -EINVAL;
}

int parse_span(const char *s, uint64_t *ret_usec) {
        uint64_t sum = 0;
        bool any = false;

        for (;;) {
                uint64_t n = 0, unit, part;
                size_t len;

                s += strspn(s, " ");
                if (!*s)
                        break;
                if (!isdigit((unsigned char) *s))
                        return -EINVAL;
                for (; isdigit((unsigned char) *s); s++)
                        if (__builtin_mul_overflow(n, 10, &n) ||
                            __builtin_add_overflow(n, (uint64_t) (*s - '0'), &n))
                                return -ERANGE;

                s += strspn(s, " ");
                len = strspn(s, "abcdefghijklmnopqrstuvwxyz");
                if (find_unit(s, len, &unit) < 0)
                        return -EINVAL;
                s += len;

                if (__builtin_mul_overflow(n, unit, &part) || __builtin_add_overflow(sum, part, &sum))
                        return -ERANGE;
                any = true;
        }
        if (!any)
                return -EINVAL;

        *ret_usec = sum;
        return 0;
}

static int parse_calendar(const char *s, const struct tm *now, uint64_t *ret_usec) {
        static const struct {
                const char *format;
                bool date, time;
        } formats[] = {
                { "%Y-%m-%d %H:%M:%S", true, true }, { "%Y-%m-%dT%H:%M:%S", true, true },
                { "%Y-%m-%d %H:%M", true, true },    { "%Y-%m-%d", true, false },
                { "%H:%M:%S", false, true },         { "%H:%M", false, true },
        };

        for (size_t i = 0; i < ELEMENTSOF(formats); i++) {
                struct tm tm = *now;
                const char *end;
                time_t t;

                tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
                tm.tm_isdst = -1;
                end = strptime(s, formats[i].format, &tm);
                if (!end || *end)
                        continue;

                /* strptime() takes the 31st of February; mktime() makes it March. That isn't what was meant.
                 */
                int day = tm.tm_mday;
                t = mktime(&tm);
                if (t < 0 || tm.tm_mday != day)
                        return -EINVAL;

                *ret_usec = (uint64_t) t * USEC_PER_SEC;
                return 0;
        }

        return -EINVAL;
}

int parse_time(const char *s, uint64_t now_usec, uint64_t *ret_usec) {
        time_t t = (time_t) (now_usec / USEC_PER_SEC);
        size_t n = strlen(s);
        uint64_t span;
        struct tm now;
        int r;

        if (streq(s, "now")) {
                *ret_usec = now_usec;
                return 0;
        }

        if (s[0] == '@') {
                r = parse_u64(s + 1, &span);
                if (r < 0)
                        return r;
                return __builtin_mul_overflow(span, USEC_PER_SEC, ret_usec) ? -ERANGE : 0;
        }

        if (s[0] == '-' || (n > 4 && streq(s + n - 4, " ago"))) {
                _cleanup_free_ char *text = s[0] == '-' ? strdup(s + 1) : strndup(s, n - 4);

                if (!text)
                        return -ENOMEM;
                r = parse_span(text, &span);
                if (r < 0)
                        return r;
                *ret_usec = span < now_usec ? now_usec - span : 0;
                return 0;
        }

        if (!localtime_r(&t, &now))
                return -ERANGE;

        if (streq(s, "today") || streq(s, "yesterday")) {
                now.tm_hour = now.tm_min = now.tm_sec = 0;
                now.tm_mday -= streq(s, "yesterday");
                now.tm_isdst = -1;
                t = mktime(&now);
                if (t < 0)
                        return -ERANGE;
                *ret_usec = (uint64_t) t * USEC_PER_SEC;
                return 0;
        }

        return parse_calendar(s, &now, ret_usec);
}

const char *format_span(char *buf, size_t size, uint64_t usec) {
        uint64_t ms = usec / 1000, s = usec / USEC_PER_SEC;

        if (usec < 1000)
                snprintf(buf, size, "%" PRIu64 "us", usec);
        else if (s < 1)
                snprintf(buf, size, "%" PRIu64 "ms", ms);
        else if (s < 60)
                snprintf(buf, size, "%" PRIu64 ".%" PRIu64 "s", s, ms % 1000 / 100);
        else if (s < 3600)
                snprintf(buf, size, "%" PRIu64 "min %" PRIu64 "s", s / 60, s % 60);
        else if (s < 86400)
                snprintf(buf, size, "%" PRIu64 "h %" PRIu64 "min", s / 3600, s % 3600 / 60);
        else
                snprintf(buf, size, "%" PRIu64 "d %" PRIu64 "h", s / 86400, s % 86400 / 3600);

        return buf;
}

const char *format_bytes(char *buf, size_t size, uint64_t bytes) {
        static const char suffixes[] = "BKMGTPE";
        double v = (double) bytes;
        size_t i = 0;

        while (v >= 1024 && suffixes[i + 1]) {
                v /= 1024;
                i++;
        }

        snprintf(buf, size, "%.*f%c", i > 0, v, suffixes[i]);
        return buf;
}
