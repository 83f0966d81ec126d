/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Text for terminals. The rule of this file: a byte that klpctl has not written itself reaches the terminal
 * only through text_printable(). Task names, reasons and summaries are other people's input; an escape
 * sequence in one of them must stay text. Widths are columns as wcwidth() counts them.
 */
#include <langinfo.h>
#include <locale.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#include "terminal.h"

static const char *const colours[_COLOUR_MAX] = {
        [COLOUR_NORMAL] = "",           [COLOUR_BOLD] = "\x1b[1m",     [COLOUR_RED] = "\x1b[1;31m",
        [COLOUR_YELLOW] = "\x1b[1;33m", [COLOUR_GREEN] = "\x1b[1;32m", [COLOUR_BLUE] = "\x1b[1;34m",
        [COLOUR_GREY] = "\x1b[90m",
};

static const char *const glyphs[_GLYPH_MAX][2] = {
        [GLYPH_ELLIPSIS] = { "~", "…" }, [GLYPH_DOT] = { "*", "●" },    [GLYPH_CIRCLE] = { "o", "○" },
        [GLYPH_CROSS] = { "x", "✗" },    [GLYPH_CHECK] = { "+", "✓" },  [GLYPH_WARNING] = { "!", "⚠" },
        [GLYPH_ARROW] = { "->", "→" },   [GLYPH_BULLET] = { "-", "•" }, [GLYPH_NONE] = { "-", "-" },
};

/* -1: not set or not understood. */
static int env_bool(const char *name) {
        static const char *const yes[] = { "1",  "yes", "y",   "true",  "t",
                                           "on", "16",  "256", "24bit", "auto-16" },
                                 *const no[] = { "0", "no", "n", "false", "f", "off" };
        const char *v = getenv(name);

        for (size_t i = 0; v && i < ELEMENTSOF(yes); i++)
                if (streq(v, yes[i]))
                        return 1;
        for (size_t i = 0; v && i < ELEMENTSOF(no); i++)
                if (streq(v, no[i]))
                        return 0;

        return -1;
}

static bool want_colour(int fd) {
        const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
        int e = env_bool("SYSTEMD_COLORS");

        if (e >= 0)
                return e;
        if (no_color && *no_color) /* https://no-color.org: set and not empty */
                return false;

        return isatty(fd) && term && !streq(term, "dumb");
}

static size_t find_width(void) {
        const char *columns = getenv("COLUMNS");
        struct winsize ws = {};

        if (columns && *columns) {
                char *end;
                unsigned long n = strtoul(columns, &end, 10);

                if (*end == '\0' && n > 0 && n < 65536)
                        return n;
        }

        if (!isatty(STDOUT_FILENO))
                return 0;
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) >= 0 && ws.ws_col > 0)
                return ws.ws_col;

        return 80;
}

/* Loading a locale takes longer than all else here together: that is left until it is needed. */
static bool is_utf8(const Terminal *t) {
        static enum { UNKNOWN, OTHER, UTF8 } locale;

        if (t->utf8 == 0)
                return false;
        if (locale == UNKNOWN) {
                (void) setlocale(LC_CTYPE, "");
                locale = streq(nl_langinfo(CODESET), "UTF-8") ? UTF8 : OTHER;
        }
        /* wcwidth() needs a UTF-8 locale to know widths: glibc always has this one. */
        if (locale == OTHER && t->utf8 > 0 && setlocale(LC_CTYPE, "C.UTF-8"))
                locale = UTF8;

        return locale == UTF8;
}

void terminal_set_locale(const Terminal *t) {
        (void) is_utf8(t);
}

void terminal_init(Terminal *t) {
        *t = (Terminal){
                .colour = want_colour(STDOUT_FILENO),
                .colour_err = want_colour(STDERR_FILENO),
                .utf8 = env_bool("SYSTEMD_UTF8"),
                .tty_err = isatty(STDERR_FILENO),
                .width = find_width(),
        };
}

const char *terminal_on(const Terminal *t, Colour c) {
        return t->colour ? colours[c] : "";
}

const char *terminal_off(const Terminal *t) {
        return t->colour ? "\x1b[0m" : "";
}

const char *terminal_glyph(const Terminal *t, Glyph g) {
        return glyphs[g][is_utf8(t)];
}

/* Characters that print nothing of their own but change how others are read. */
static bool is_direction_control(wchar_t c) {
        return c == 0x061C || c == 0x200E || c == 0x200F || (c >= 0x202A && c <= 0x202E) ||
               (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;
}

/* Length in bytes of the printable character at s, 0 if there is none. Writes its width in columns. */
static size_t character(const Terminal *t, const char *s, size_t *ret_width) {
        mbstate_t state = {};
        wchar_t c;
        size_t n;
        int w;

        if ((unsigned char) *s < 0x80) {
                *ret_width = 1;
                return *s >= ' ' && *s != 0x7f;
        }
        if (!is_utf8(t))
                return 0;

        n = mbrtowc(&c, s, strlen(s), &state);
        if (n == (size_t) -1 || n == (size_t) -2 || is_direction_control(c))
                return 0;
        w = wcwidth(c);
        if (w < 0)
                return 0;

        *ret_width = (size_t) w;
        return n;
}

char *text_printable(const Terminal *t, const char *s) {
        char *out = malloc(strlen(s) * 4 + 1), *p = out;

        if (!out)
                return NULL;

        while (*s) {
                size_t width, n = character(t, s, &width);

                if (n > 0) {
                        memcpy(p, s, n);
                        p += n;
                        s += n;
                } else if ((unsigned char) *s >= 0x80 && !is_utf8(t)) {
                        *p++ = '?';
                        s++;
                        while (((unsigned char) *s & 0xc0) == 0x80) /* one mark for one character */
                                s++;
                } else
                        p += sprintf(p, "\\x%02x", (unsigned char) *s++);
        }

        *p = '\0';
        return out;
}

size_t text_width(const Terminal *t, const char *s) {
        size_t sum = 0;

        while (*s) {
                size_t width = 1, n = character(t, s, &width);

                sum += width;
                s += n > 0 ? n : 1;
        }

        return sum;
}

/* The longest prefix that fits, in bytes. */
static size_t prefix(const Terminal *t, const char *s, size_t width) {
        size_t used = 0, bytes = 0;

        while (s[bytes]) {
                size_t w = 1, n = character(t, s + bytes, &w);

                if (used + w > width)
                        break;
                used += w;
                bytes += n > 0 ? n : 1;
        }

        return bytes;
}

char *text_ellipsize(const Terminal *t, const char *s, size_t width) {
        const char *dots = terminal_glyph(t, GLYPH_ELLIPSIS);
        size_t n;
        char *out;

        if (text_width(t, s) <= width || width == 0)
                return strdup(s);

        n = prefix(t, s, width - 1);
        out = malloc(n + strlen(dots) + 1);
        if (!out)
                return NULL;

        memcpy(out, s, n);
        strcpy(out + n, dots);
        return out;
}

void text_wrap(const Terminal *t, FILE *f, Colour colour, const char *s, size_t indent) {
        size_t room = t->width > indent + 20 ? t->width - indent : 0;

        if (t->width > 0 && room == 0)
                room = 20;

        while (*s) {
                size_t n = room > 0 ? prefix(t, s, room) : strlen(s);

                if (n == 0)
                        n = 1;
                if (s[n] && s[n] != ' ') { /* back to the last blank, if there is one */
                        size_t k = n;

                        while (k > 0 && s[k - 1] != ' ')
                                k--;
                        if (k > 0)
                                n = k;
                }

                size_t end = n;
                while (end > 0 && s[end - 1] == ' ')
                        end--;
                fprintf(f, "%s%.*s%s\n", colour == COLOUR_NORMAL ? "" : terminal_on(t, colour), (int) end, s,
                        colour == COLOUR_NORMAL ? "" : terminal_off(t));

                s += n;
                while (*s == ' ')
                        s++;
                if (*s)
                        fprintf(f, "%*s", (int) indent, "");
        }
}
