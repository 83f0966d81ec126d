/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Time in fleet files: points (RFC 3339, UTC only), spans (systemd.time(7)), and the output of systemd's own
 * calendar tool. No clock and no time zone is looked at: all is arithmetic on UTC.
 */
#include <stdio.h>

#include "policy/fleet.h"

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar. */
static int64_t days_from_date(int64_t y, unsigned m, unsigned d) {
        int64_t era;
        unsigned yoe, doy, doe;

        y -= m <= 2;
        era = y / 400;
        yoe = (unsigned) (y - era * 400);
        doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
        doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
        return era * 146097 + (int64_t) doe - 719468;
}

static void date_from_days(int64_t days, unsigned *ret_y, unsigned *ret_m, unsigned *ret_d) {
        int64_t z = days + 719468, era = z / 146097;
        unsigned doe = (unsigned) (z - era * 146097);
        unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
        unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        unsigned mp = (5 * doy + 2) / 153;

        *ret_d = doy - (153 * mp + 2) / 5 + 1;
        *ret_m = mp < 10 ? mp + 3 : mp - 9;
        *ret_y = (unsigned) (yoe + era * 400) + (*ret_m <= 2);
}

static bool digits(const char *s, unsigned n, unsigned *ret) {
        *ret = 0;
        for (unsigned i = 0; i < n; i++) {
                if (s[i] < '0' || s[i] > '9')
                        return false;
                *ret = *ret * 10 + (unsigned) (s[i] - '0');
        }
        return true;
}

/* "2026-11-21", a character, "06:00:00": 19 bytes. */
static int parse_date_and_time(const char *s, char separator, uint64_t *ret) {
        static const uint8_t month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        unsigned y, m, d, hour, min, sec, last;

        if (!digits(s, 4, &y) || s[4] != '-' || !digits(s + 5, 2, &m) || s[7] != '-' ||
            !digits(s + 8, 2, &d) || s[10] != separator || !digits(s + 11, 2, &hour) || s[13] != ':' ||
            !digits(s + 14, 2, &min) || s[16] != ':' || !digits(s + 17, 2, &sec))
                return -EINVAL;
        if (y < 1970 || m < 1 || m > 12 || hour > 23 || min > 59 || sec > 59)
                return -EINVAL;
        last = month_days[m - 1] + (m == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
        if (d < 1 || d > last)
                return -EINVAL;
        *ret = ((uint64_t) days_from_date(y, m, d) * 86400 + hour * 3600U + min * 60U + sec) *
               FLEET_USEC_PER_SEC;
        return 0;
}

int fleet_parse_timestamp(const char *s, uint64_t *ret) {
        uint64_t t;

        if (strlen(s) != 20 || s[19] != 'Z' || parse_date_and_time(s, 'T', &t) < 0)
                return -EINVAL;
        if (t == 0)
                return -EINVAL; /* 0 is "none" everywhere else */
        *ret = t;
        return 0;
}

char *fleet_format_timestamp(uint64_t t, char *buf, size_t size) {
        uint64_t sec = t / FLEET_USEC_PER_SEC;
        unsigned y, m, d, rest = (unsigned) (sec % 86400);

        if (t == 0 || t > FLEET_TIME_MAX) {
                (void) snprintf(buf, size, "never");
                return buf;
        }
        date_from_days((int64_t) (sec / 86400), &y, &m, &d);
        (void) snprintf(buf, size, "%04u-%02u-%02uT%02u:%02u:%02uZ", y, m, d, rest / 3600, rest / 60 % 60,
                        rest % 60);
        return buf;
}

static const struct {
        const char *suffix;
        uint64_t usec;
} units[] = {
                {"seconds", 1000000},
                {"second", 1000000},
                {"sec", 1000000},
                {"s", 1000000},
                {"minutes", 60000000},
                {"minute", 60000000},
                {"min", 60000000},
                {"months", 2629800000000},
                {"month", 2629800000000},
                {"M", 2629800000000},
                {"msec", 1000},
                {"ms", 1000},
                {"m", 60000000},
                {"hours", 3600000000},
                {"hour", 3600000000},
                {"hr", 3600000000},
                {"h", 3600000000},
                {"days", 86400000000},
                {"day", 86400000000},
                {"d", 86400000000},
                {"weeks", 604800000000},
                {"week", 604800000000},
                {"w", 604800000000},
                {"years", 31557600000000},
                {"year", 31557600000000},
                {"y", 31557600000000},
                {"usec", 1},
                {"us", 1},
};

/* The longest unit that s begins with, and that no letter follows; a bare number is seconds. */
static int parse_unit(const char **s, uint64_t *ret) {
        size_t n = strspn(*s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

        if (n == 0) {
                *ret = FLEET_USEC_PER_SEC;
                return 0;
        }
        for (unsigned i = 0; i < ELEMENTSOF(units); i++)
                if (strlen(units[i].suffix) == n && strncmp(*s, units[i].suffix, n) == 0) {
                        *s += n;
                        *ret = units[i].usec;
                        return 0;
                }
        return -EINVAL;
}

int fleet_parse_span(const char *s, uint64_t *ret) {
        uint64_t sum = 0;
        bool something = false;

        for (;;) {
                uint64_t whole = 0, fraction = 0, scale = 1, unit, part;
                size_t n;
                int r;

                s += strspn(s, " ");
                if (!*s)
                        break;
                n = strspn(s, "0123456789");
                if (n == 0)
                        return -EINVAL;
                if (n > 15)
                        return -ERANGE;
                while (n-- > 0)
                        whole = whole * 10 + (uint64_t) (*s++ - '0');
                if (*s == '.') {
                        s++;
                        n = strspn(s, "0123456789");
                        if (n == 0)
                                return -EINVAL;
                        if (n > 6)
                                return -ERANGE;
                        for (; n-- > 0; scale *= 10)
                                fraction = fraction * 10 + (uint64_t) (*s++ - '0');
                }
                s += strspn(s, " ");
                r = parse_unit(&s, &unit);
                if (r < 0)
                        return r;
                if (__builtin_mul_overflow(whole, unit, &part) || __builtin_add_overflow(sum, part, &sum) ||
                    __builtin_add_overflow(sum, fraction * unit / scale, &sum))
                        return -ERANGE;
                if (sum > FLEET_TIME_MAX)
                        return -ERANGE;
                something = true;
        }
        if (!something)
                return -EINVAL;
        *ret = sum;
        return 0;
}

bool fleet_calendar_is_valid(const char *s) {
        size_t n = strlen(s);

        return n > 0 && n <= FLEET_PATTERN_MAX && s[0] != '-' &&
               strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 *:,./~-") == n;
}

bool fleet_timezone_is_valid(const char *s) {
        size_t n = strlen(s);

        return n > 0 && n <= 63 && ((s[0] >= 'A' && s[0] <= 'Z') || (s[0] >= 'a' && s[0] <= 'z')) &&
               strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+/-") == n;
}

/*
 * Lines of interest, after blanks:
 *   "Next elapse: Sat 2026-11-21 02:00:00 UTC", "Next elapse: never", "Iter. #2: …" or "Iteration #2: …"
 */
int fleet_calendar_parse(const char *text, size_t size, uint64_t *begins, size_t max, size_t *ret_n) {
        static const char next[] = "Next elapse: ",
                          iteration[] = "Iter"; /* "Iter. #2: " before systemd 254 */
        const char *end = text + size;
        bool known = false;
        size_t n = 0;

        while (text < end) {
                const char *nl = memchr(text, '\n', (size_t) (end - text)), *eol = nl ?: end, *p = text;
                uint64_t t;

                text = nl ? nl + 1 : end;
                while (p < eol && *p == ' ')
                        p++;
                if ((size_t) (eol - p) > strlen(next) && memcmp(p, next, strlen(next)) == 0)
                        p += strlen(next);
                else if ((size_t) (eol - p) > strlen(iteration) &&
                         memcmp(p, iteration, strlen(iteration)) == 0) {
                        p = memchr(p, ':', (size_t) (eol - p));
                        if (!p || eol - p < 2)
                                return -EBADMSG;
                        p += 2;
                } else
                        continue;
                known = true;
                if (eol - p == 5 && memcmp(p, "never", 5) == 0)
                        continue;
                /* "Sat ", 19 bytes, " UTC" */
                if (eol - p != 27 || p[3] != ' ' || memcmp(p + 23, " UTC", 4) != 0 ||
                    parse_date_and_time(p + 4, ' ', &t) < 0)
                        return -EBADMSG;
                if (n > 0 && t <= begins[n - 1])
                        return -EBADMSG;
                if (n < max)
                        begins[n++] = t;
        }
        if (!known)
                return -EBADMSG;
        *ret_n = n;
        return 0;
}
