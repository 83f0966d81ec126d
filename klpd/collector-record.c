/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See collector-record.h. */
#include <stdio.h>

#include "klpd/collector-record.h"

#define FIRST_WORDS "klpd-collector 1 "

int collector_record_format(const char *boot_id, const CollectorEntry *entries, size_t n, char **ret) {
        char *text = NULL;
        size_t size = 0;
        bool failed;
        FILE *f;

        f = open_memstream(&text, &size);
        if (!f)
                return -ENOMEM;
        (void) fprintf(f, FIRST_WORDS "%s\n", boot_id);
        for (size_t i = 0; i < n; i++)
                (void) fprintf(f, "%s %" PRIu64 "\n", entries[i].name, entries[i].due_usec);
        failed = ferror(f);
        if (fclose(f) != 0 || failed) {
                free(text);
                return -ENOMEM;
        }
        *ret = text;
        return 0;
}

static int parse_entry(char *line, CollectorEntry *ret) {
        char *blank = strchr(line, ' ');
        uint64_t usec = 0;

        if (!blank || !blank[1] || strlen(blank + 1) > 19)
                return -EBADMSG;
        *blank = 0;
        for (const char *p = blank + 1; *p; p++) {
                if (*p < '0' || *p > '9')
                        return -EBADMSG;
                usec = usec * 10 + (uint64_t) (*p - '0');
        }
        if (!patch_name_is_valid(line))
                return -EBADMSG;
        (void) snprintf(ret->name, sizeof(ret->name), "%s", line);
        ret->due_usec = usec;
        return 0;
}

int collector_record_parse(const char *text, size_t size, const char *boot_id, CollectorEntry **ret,
                           size_t *ret_n) {
        _cleanup_free_ CollectorEntry *entries = NULL;
        _cleanup_free_ char *copy = NULL;
        size_t n = 0, n_lines = 0;
        char *next, *line;
        int r;

        if (size == 0 || size > COLLECTOR_RECORD_BYTES_MAX || text[size - 1] != '\n' ||
            memchr(text, 0, size))
                return -EBADMSG;
        copy = malloc(size);
        if (!copy)
                return -ENOMEM;
        memcpy(copy, text, size - 1); /* strndup() would look for a NUL, and ASan with strict_string_checks behind it */
        copy[size - 1] = 0;
        for (const char *p = copy; *p; p++)
                n_lines += *p == '\n';
        if (n_lines > COLLECTOR_ITEMS_MAX)
                return -EBADMSG;
        entries = calloc(n_lines + 1, sizeof(*entries));
        if (!entries)
                return -ENOMEM;
        next = copy;
        line = strsep(&next, "\n");
        if (strncmp(line, FIRST_WORDS, strlen(FIRST_WORDS)) != 0)
                return -EBADMSG;
        if (!streq(line + strlen(FIRST_WORDS), boot_id))
                return -ESTALE;
        while (next) {
                r = parse_entry(strsep(&next, "\n"), &entries[n++]);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(entries);
        *ret_n = n;
        return 0;
}
