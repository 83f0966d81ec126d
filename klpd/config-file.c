/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See config-file.h. A small, bounded reader: sections, Key=Value, comments with # or ;, no continuation
 * lines. The root directory comes in as an argument, so that tests read a tree of their own.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klpd/config-file.h"

#define FILE_MAX_BYTES (64U * 1024U)
#define DROPINS_MAX 256U

static const char *const config_directories[] = { "etc/klpd", "run/klpd", "usr/lib/klpd" };

typedef struct Reader {
        const ConfigSection *sections;
        size_t n_sections;
        void *target;
        ConfigReport report;
        void *userdata;
} Reader;

typedef struct Dropin {
        char name[NAME_MAX + 1];
        unsigned directory;
} Dropin;

static _printf_(4, 5) void reader_report(Reader *reader, const char *path, unsigned line, const char *format,
                                         ...) {
        char what[512], text[1024];
        va_list ap;

        if (!reader->report)
                return;
        va_start(ap, format);
        (void) vsnprintf(what, sizeof(what), format, ap);
        va_end(ap);
        if (line > 0)
                (void) snprintf(text, sizeof(text), "/%s:%u: %s", path, line, what);
        else
                (void) snprintf(text, sizeof(text), "/%s: %s", path, what);
        reader->report(text, reader->userdata);
}

int config_parse_timespan(const char *text, uint64_t *ret_usec) {
        static const struct {
                const char *name;
                uint64_t usec;
        } units[] = {
                { "usec", 1 },          { "us", 1 },
                { "msec", 1000 },       { "ms", 1000 },
                { "seconds", 1000000 }, { "second", 1000000 }, { "sec", 1000000 }, { "s", 1000000 },
                { "minutes", 60000000 }, { "minute", 60000000 }, { "min", 60000000 }, { "m", 60000000 },
                { "hours", 3600000000 }, { "hour", 3600000000 }, { "hr", 3600000000 }, { "h", 3600000000 },
                { "days", 86400000000 }, { "day", 86400000000 }, { "d", 86400000000 },
        };
        uint64_t total = 0;
        const char *p = text + strspn(text, " \t");

        if (!*p)
                return -EINVAL;
        while (*p) {
                uint64_t value = 0, factor = 1000000;

                if (!isdigit((unsigned char) *p))
                        return -EINVAL;
                for (; isdigit((unsigned char) *p); p++) {
                        value = value * 10 + (uint64_t) (*p - '0');
                        if (value > CONFIG_TIMEOUT_MAX_USEC)
                                return -ERANGE;
                }
                p += strspn(p, " \t");

                size_t n = 0;
                while (isalpha((unsigned char) p[n]))
                        n++;
                if (n > 0) {
                        factor = 0;
                        for (size_t i = 0; i < ELEMENTSOF(units); i++)
                                if (strlen(units[i].name) == n && strncmp(units[i].name, p, n) == 0)
                                        factor = units[i].usec;
                        if (factor == 0)
                                return -EINVAL;
                        p += n;
                        p += strspn(p, " \t");
                }
                if (value > CONFIG_TIMEOUT_MAX_USEC / factor)
                        return -ERANGE;
                total += value * factor;
                if (total > CONFIG_TIMEOUT_MAX_USEC)
                        return -ERANGE;
        }

        *ret_usec = total;
        return 0;
}

int parse_positive_timespan(const char *value, void *field) {
        uint64_t usec;
        int r;

        r = config_parse_timespan(value, &usec);
        if (r < 0)
                return r;
        if (usec == 0)
                return -ERANGE;
        *(uint64_t *) field = usec;
        return 0;
}

int parse_timespan(const char *value, void *field) {
        return config_parse_timespan(value, field);
}

int parse_boolean(const char *value, void *field) {
        static const char *const yes[] = {"1", "yes", "true", "on"}, *const no[] = {"0", "no", "false",
                                                                                    "off"};

        for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
                if (streq(value, yes[i])) {
                        *(bool *) field = true;
                        return 0;
                }
                if (streq(value, no[i])) {
                        *(bool *) field = false;
                        return 0;
                }
        }
        return -EINVAL;
}

int parse_path(const char *value, void *field) {
        if (strlen(value) >= CONFIG_PATH_MAX)
                return -ERANGE;
        if (*value && (*value != '/' || value[strlen(value) - 1] == '/'))
                return -EINVAL;
        (void) strcpy(field, value);
        return 0;
}

static void reader_assign(Reader *reader, const ConfigSection *section, const char *path, unsigned line,
                          const char *key, const char *value) {
        for (size_t i = 0; i < section->n_keys; i++) {
                const ConfigKey *k = &section->keys[i];
                int r;

                if (!streq(k->name, key))
                        continue;
                r = k->parse(value, (char *) reader->target + k->offset);
                if (r == -ERANGE)
                        reader_report(reader, path, line, "%s=%s is out of range, ignored", key, value);
                else if (r < 0)
                        reader_report(reader, path, line, "%s=%s can't be understood, ignored", key, value);
                return;
        }
        reader_report(reader, path, line, "unknown key '%s', ignored", key);
}

/* "[NAME]", or NULL. */
static const ConfigSection *reader_section(const Reader *reader, const char *text) {
        size_t n = strlen(text);

        for (size_t i = 0; i < reader->n_sections; i++) {
                const char *name = reader->sections[i].name;

                if (n == strlen(name) + 2 && strncmp(text + 1, name, n - 2) == 0 && text[n - 1] == ']')
                        return &reader->sections[i];
        }
        return NULL;
}

/* Cuts blanks off both ends, in place. */
static char *strip(char *s) {
        s += strspn(s, " \t\r");
        for (size_t n = strlen(s); n > 0 && strchr(" \t\r", s[n - 1]); n--)
                s[n - 1] = 0;
        return s;
}

static void reader_parse(Reader *reader, const char *path, char *text) {
        const ConfigSection *section = NULL;
        bool in_section = false;
        unsigned line = 0;

        for (char *next = text; next;) {
                char *p = strsep(&next, "\n"), *equals;

                line++;
                p = strip(p);
                if (!*p || *p == '#' || *p == ';')
                        continue;
                if (*p == '[') {
                        in_section = true;
                        section = reader_section(reader, p);
                        if (!section)
                                reader_report(reader, path, line, "unknown section %s, ignored", p);
                        continue;
                }
                if (in_section && !section)
                        continue;
                equals = strchr(p, '=');
                if (!equals || equals == p) {
                        reader_report(reader, path, line, "not an assignment, ignored");
                        continue;
                }
                if (!in_section) {
                        reader_report(reader, path, line, "assignment outside of a section, ignored");
                        continue;
                }
                *equals = 0;
                reader_assign(reader, section, path, line, strip(p), strip(equals + 1));
        }
}

/* One file. -ENOENT if it is not there. What isn't a regular file (a link to /dev/null) counts as empty. */
static int reader_file(Reader *reader, int root_fd, const char *path) {
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        struct stat st;
        ssize_t n;
        int fd, r;

        fd = openat(root_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;

        r = -ENOMEM;
        text = malloc(FILE_MAX_BYTES + 2);
        if (!text)
                goto finish;
        r = -errno;
        if (fstat(fd, &st) < 0)
                goto finish;
        r = 0;
        if (!S_ISREG(st.st_mode))
                goto finish;

        while (size <= FILE_MAX_BYTES) {
                n = read(fd, text + size, FILE_MAX_BYTES + 1 - size);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        r = -errno;
                        goto finish;
                }
                if (n == 0)
                        break;
                size += (size_t) n;
        }
        if (size > FILE_MAX_BYTES) {
                reader_report(reader, path, 0, "larger than %u bytes, ignored", FILE_MAX_BYTES);
                goto finish;
        }
        if (memchr(text, 0, size)) {
                reader_report(reader, path, 0, "contains a NUL byte, ignored");
                goto finish;
        }
        text[size] = 0;
        reader_parse(reader, path, text);

finish:
        close(fd);
        return r;
}

static int dropin_compare(const void *a, const void *b) {
        const Dropin *x = a, *y = b;
        int c = strcmp(x->name, y->name);

        return c ? c : (x->directory > y->directory) - (x->directory < y->directory);
}

/* Appends the names of one directory's drop-ins; a missing directory is fine. */
static int collect_dropins(Reader *reader, int root_fd, const char *name, unsigned directory, Dropin *dropins,
                           unsigned *n_dropins) {
        char path[64];
        struct dirent *de;
        DIR *d;
        int fd;

        (void) snprintf(path, sizeof(path), "%s/%s.d", config_directories[directory], name);
        fd = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
        d = fdopendir(fd);
        if (!d) {
                close(fd);
                return -ENOMEM;
        }
        while ((de = readdir(d))) {
                size_t n = strlen(de->d_name);

                if (n <= 5 || de->d_name[0] == '.' || !streq(de->d_name + n - 5, ".conf"))
                        continue;
                if (*n_dropins >= DROPINS_MAX) {
                        reader_report(reader, path, 0, "more than %u drop-ins, the rest is ignored",
                                      DROPINS_MAX);
                        break;
                }
                (void) snprintf(dropins[*n_dropins].name, sizeof(dropins->name), "%s", de->d_name);
                dropins[(*n_dropins)++].directory = directory;
        }
        closedir(d);
        return 0;
}

static int reader_dropins(Reader *reader, int root_fd, const char *name) {
        _cleanup_free_ Dropin *dropins = NULL;
        unsigned n_dropins = 0;
        int r;

        dropins = calloc(DROPINS_MAX, sizeof(Dropin));
        if (!dropins)
                return -ENOMEM;
        for (unsigned i = 0; i < ELEMENTSOF(config_directories); i++) {
                r = collect_dropins(reader, root_fd, name, i, dropins, &n_dropins);
                if (r < 0)
                        return r;
        }
        qsort(dropins, n_dropins, sizeof(Dropin), dropin_compare);

        for (unsigned i = 0; i < n_dropins; i++) {
                char path[NAME_MAX + 64];

                if (i > 0 && streq(dropins[i].name, dropins[i - 1].name))
                        continue; /* hidden by a directory of higher precedence */
                (void) snprintf(path, sizeof(path), "%s/%s.d/%s",
                                config_directories[dropins[i].directory], name, dropins[i].name);
                r = reader_file(reader, root_fd, path);
                if (r < 0 && r != -ENOENT)
                        return r;
        }
        return 0;
}

int config_file_load(int root_fd, const char *name, const ConfigSection *sections, size_t n_sections,
                     void *target, ConfigReport report, void *userdata) {
        Reader reader = {
                .sections = sections,
                .n_sections = n_sections,
                .target = target,
                .report = report,
                .userdata = userdata,
        };
        int r = -ENOENT;

        for (unsigned i = 0; i < ELEMENTSOF(config_directories) && r == -ENOENT; i++) {
                char path[64];

                (void) snprintf(path, sizeof(path), "%s/%s", config_directories[i], name);
                r = reader_file(&reader, root_fd, path);
        }
        if (r < 0 && r != -ENOENT)
                return r;
        return reader_dropins(&reader, root_fd, name);
}
