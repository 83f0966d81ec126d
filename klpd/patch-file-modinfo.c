/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See patch-file-modinfo.h. The section is a row of "key=value" strings, each ended by NUL, with any number
 * of NULs between them. Keys of ours start with "klp_" (DESIGN.md, "Metadata of a patch"); one of them that
 * we don't know is an error, since it may change what the patch means; other keys are the kernel's and
 * skipped.
 */
#include "klpd/patch-file-modinfo.h"

#include "policy/relation.h"

typedef struct Modinfo {
        PatchFile *file;
        PolicyError *error;
        const char *name, *livepatch, *vendor, *stream, *level, *cumulative, *summary, *severity,
                        *srcversion, *depends;
        const char *vermagic;
        char **states, **functions, **fixes, **requires, **conflicts;
} Modinfo;

static void modinfo_done(Modinfo *m) {
        strv_free(m->states);
        strv_free(m->functions);
        strv_free(m->fixes);
        strv_free(m->requires);
        strv_free(m->conflicts);
}

/* One line of it, the way it is quoted in errors: bounded. */
#define QUOTE_MAX 80

static int once(Modinfo *m, const char *key, const char **field, const char *value) {
        if (*field)
                return policy_error_set(m->error, -EBADMSG, ".modinfo has '%s' twice", key);
        *field = value;
        return 0;
}

static int repeated(Modinfo *m, const char *key, char ***list, size_t max, const char *value) {
        int r;

        if (strv_length(*list) >= max)
                return policy_error_set(m->error, -E2BIG, ".modinfo has more than %zu '%s'", max, key);
        r = strv_extend(list, value);
        return r < 0 ? policy_error_set(m->error, r, "%s", strerror(-r)) : 0;
}

/* Length of the well-formed UTF-8 sequence at s (no surrogates, nothing overlong), or 0. */
static size_t utf8_sequence(const unsigned char *s) {
        static const struct {
                unsigned char first, last, second_min, second_max;
                unsigned char length;
        } ranges[] = {
                { 0x01, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
                { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
                { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
        };

        for (size_t i = 0; i < ELEMENTSOF(ranges); i++) {
                if (s[0] < ranges[i].first || s[0] > ranges[i].last)
                        continue;
                if (ranges[i].length > 1 && (s[1] < ranges[i].second_min || s[1] > ranges[i].second_max))
                        return 0;
                for (size_t k = 2; k < ranges[i].length; k++) /* the NUL at the end is none of these */
                        if (s[k] < 0x80 || s[k] > 0xbf)
                                return 0;
                return ranges[i].length;
        }
        return 0;
}

static bool utf8_is_valid(const char *text) {
        const unsigned char *s = (const unsigned char *) text;

        while (*s) {
                size_t n = utf8_sequence(s);

                if (n == 0)
                        return false;
                s += n;
        }
        return true;
}

static int take_klp(Modinfo *m, const char *key, const char *value) {
        /* It goes on as JSON. */
        if (!utf8_is_valid(key) || !utf8_is_valid(value))
                return policy_error_set(m->error, -EBADMSG,
                                        ".modinfo has a klp_ line that is not readable text (UTF-8)");
        if (streq(key, "klp_vendor"))
                return once(m, key, &m->vendor, value);
        if (streq(key, "klp_stream"))
                return once(m, key, &m->stream, value);
        if (streq(key, "klp_level"))
                return once(m, key, &m->level, value);
        if (streq(key, "klp_cumulative"))
                return once(m, key, &m->cumulative, value);
        if (streq(key, "klp_summary"))
                return once(m, key, &m->summary, value);
        if (streq(key, "klp_severity"))
                return once(m, key, &m->severity, value);
        if (streq(key, "klp_state"))
                return repeated(m, key, &m->states, PATCH_STATES_MAX, value);
        if (streq(key, "klp_func"))
                return repeated(m, key, &m->functions, PATCH_FUNCTIONS_MAX, value);
        if (streq(key, "klp_fixes"))
                return repeated(m, key, &m->fixes, PATCH_LIST_MAX, value);
        if (streq(key, "klp_requires"))
                return repeated(m, key, &m->requires, PATCH_LIST_MAX, value);
        if (streq(key, "klp_conflicts"))
                return repeated(m, key, &m->conflicts, PATCH_LIST_MAX, value);

        return policy_error_set(m->error, -EBADMSG,
                                ".modinfo has the key '%.*s', which this klpd doesn't know", QUOTE_MAX, key);
}

static int take(Modinfo *m, const char *key, const char *value) {
        if (streq(key, "srcversion") && !utf8_is_valid(value))
                return policy_error_set(m->error, -EBADMSG,
                                        ".modinfo: srcversion is not readable text (UTF-8)");
        if (streq(key, "name"))
                return once(m, key, &m->name, value);
        if (streq(key, "vermagic"))
                return once(m, key, &m->vermagic, value);
        if (streq(key, "depends"))
                return once(m, key, &m->depends, value);
        if (streq(key, "srcversion"))
                return once(m, key, &m->srcversion, value);
        if (streq(key, "livepatch")) { /* authors and macros both say it */
                m->livepatch = value;
                return 0;
        }
        return strncmp(key, "klp_", 4) == 0 ? take_klp(m, key, value) : 0;
}

/* Decimal, or hexadecimal with 0x; nothing before or after. */
static int parse_u64(const char *s, size_t n, uint64_t max, uint64_t *ret) {
        unsigned base = 10;
        uint64_t v = 0;

        if (n > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
                base = 16;
                s += 2;
                n -= 2;
        }
        if (n == 0)
                return -EINVAL;

        for (size_t i = 0; i < n; i++) {
                unsigned digit;

                if (s[i] >= '0' && s[i] <= '9')
                        digit = (unsigned) (s[i] - '0');
                else if (base == 16 && (s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'f')
                        digit = (unsigned) ((s[i] | 0x20) - 'a') + 10;
                else
                        return -EINVAL;
                if (v > (max - digit) / base)
                        return -ERANGE;
                v = v * base + digit;
        }

        *ret = v;
        return 0;
}

/* "ID:VERSION:FLAGS:NAME" */
static int parse_state(Modinfo *m, Patch *patch, const char *value) {
        uint64_t fields[3];
        static const uint64_t max[3] = { UINT64_MAX, UINT32_MAX, PATCH_STATE_FLAGS_ALL };
        const char *p = value;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                const char *colon = strchr(p, ':');

                if (!colon || parse_u64(p, (size_t) (colon - p), max[i], fields + i) < 0)
                        return policy_error_set(m->error, -EBADMSG,
                                                ".modinfo: '%.*s' is no klp_state (ID:VERSION:FLAGS:NAME)",
                                                QUOTE_MAX, value);
                p = colon + 1;
        }

        r = patch_add_state(patch, fields[0], (uint32_t) fields[1], (uint32_t) fields[2], *p ? p : NULL);
        if (r == -EEXIST)
                return policy_error_set(m->error, -EBADMSG, ".modinfo declares state %" PRIu64 " twice",
                                        fields[0]);
        if (r == -EINVAL)
                return policy_error_set(m->error, -EBADMSG,
                                        ".modinfo: '%.*s' is no possible state (id, version or name)",
                                        QUOTE_MAX, value);
        return r < 0 ? policy_error_set(m->error, r, "%s", strerror(-r)) : 0;
}

/* "OBJECT:FUNCTION,SYMPOS" */
static int parse_function(Modinfo *m, Patch *patch, const char *value) {
        const char *colon = strchr(value, ':'), *comma = strrchr(value, ',');
        _cleanup_free_ char *object = NULL, *function = NULL;
        uint64_t sympos;
        int r;

        if (!colon || !comma || comma < colon ||
            parse_u64(comma + 1, strlen(comma + 1), UINT32_MAX, &sympos) < 0)
                return policy_error_set(m->error, -EBADMSG,
                                        ".modinfo: '%.*s' is no klp_func (OBJECT:FUNCTION,SYMPOS)",
                                        QUOTE_MAX, value);

        object = strndup(value, (size_t) (colon - value));
        function = strndup(colon + 1, (size_t) (comma - colon - 1));
        if (!object || !function)
                return policy_error_set(m->error, -ENOMEM, "%s", strerror(ENOMEM));

        r = patch_add_function(patch, object, function, (uint32_t) sympos);
        if (r == -EEXIST)
                return policy_error_set(m->error, -EBADMSG, ".modinfo declares function '%.*s' twice",
                                        QUOTE_MAX, value);
        if (r == -EINVAL)
                return policy_error_set(m->error, -EBADMSG,
                                        ".modinfo: '%.*s' has an impossible object or function", QUOTE_MAX,
                                        value);
        return r < 0 ? policy_error_set(m->error, r, "%s", strerror(-r)) : 0;
}

static int add_strings(Modinfo *m, const char *key, char **values, char ***list, bool relations) {
        char **s;
        int r;

        STRV_FOREACH(s, values) {
                Relation relation;

                if (relations && relation_parse(*s, &relation) < 0)
                        return policy_error_set(m->error, -EBADMSG,
                                                ".modinfo: '%.*s' is nothing that %s may say", QUOTE_MAX, *s,
                                                key);
                r = patch_add_string(list, *s);
                if (r == -EINVAL)
                        return policy_error_set(m->error, -EBADMSG, ".modinfo: %s is not readable text",
                                                key);
                if (r < 0)
                        return policy_error_set(m->error, r, "too many %s", key);
        }
        return 0;
}

/* Text for people: what policy takes for readable in its lists. */
static int set_text(Modinfo *m, const char *key, char **field, const char *value) {
        _cleanup_strv_free_ char **probe = NULL;
        int r;

        if (!value)
                return 0;
        r = patch_add_string(&probe, value);
        if (r >= 0)
                r = free_and_strdup(field, value);
        if (r == -EINVAL)
                return policy_error_set(m->error, -EBADMSG, ".modinfo: %s is not readable text", key);
        return r < 0 ? policy_error_set(m->error, r, "%s", strerror(-r)) : 0;
}

static int set_name(Modinfo *m, const char *key, char **field, const char *value) {
        int r;

        if (!value)
                return 0;
        if (!patch_name_is_valid(value))
                return policy_error_set(m->error, -EBADMSG, ".modinfo: '%.*s' can't be a %s", QUOTE_MAX,
                                        value, key);
        r = free_and_strdup(field, value);
        return r < 0 ? policy_error_set(m->error, r, "%s", strerror(-r)) : 0;
}

static int set_level(Modinfo *m, Patch *patch) {
        uint64_t level;

        if (m->level) {
                if (parse_u64(m->level, strlen(m->level), UINT32_MAX, &level) < 0)
                        return policy_error_set(m->error, -EBADMSG, ".modinfo: '%.*s' can't be a klp_level",
                                                QUOTE_MAX, m->level);
                patch->level = (uint32_t) level;
        }

        if (m->cumulative) {
                if (!streq(m->cumulative, "Y") && !streq(m->cumulative, "N"))
                        return policy_error_set(m->error, -EBADMSG,
                                                ".modinfo: klp_cumulative is '%.*s', not Y or N", QUOTE_MAX,
                                                m->cumulative);
                patch->cumulative = streq(m->cumulative, "Y");
        }
        return 0;
}

/* "6.1.0-47-amd64 SMP preempt mod_unload modversions " */
static int set_kernel(Modinfo *m, Patch *patch) {
        char release[65];
        size_t n;
        int r;

        if (!m->vermagic)
                return policy_error_set(m->error, -EBADMSG,
                                        "'%s' has no vermagic: it isn't a finished module", m->name);
        n = strcspn(m->vermagic, " ");
        if (n == 0 || n >= sizeof(release) || !utf8_is_valid(m->vermagic))
                return policy_error_set(m->error, -EBADMSG, "the vermagic of '%s' names no kernel release",
                                        m->name);
        memcpy(release, m->vermagic, n);
        release[n] = 0;

        r = set_text(m, "vermagic", &m->file->vermagic, m->vermagic);
        if (r < 0)
                return r;
        return set_text(m, "vermagic", &patch->kernel, release);
}

static int set_depends(Modinfo *m) {
        const char *p = m->depends;

        while (p && *p) {
                size_t n = strcspn(p, ",");
                char name[PATCH_NAME_MAX + 1];
                int r;

                if (n > PATCH_NAME_MAX)
                        return policy_error_set(m->error, -EBADMSG,
                                                ".modinfo: depends names no possible module");
                memcpy(name, p, n);
                name[n] = 0;
                if (!patch_name_is_valid(name))
                        return policy_error_set(m->error, -EBADMSG,
                                                ".modinfo: depends names no possible module");
                r = strv_extend(&m->file->depends, name);
                if (r < 0)
                        return policy_error_set(m->error, r, "%s", strerror(-r));
                p += n;
                p += *p == ',';
        }
        return 0;
}

/* What a managed patch must say: the same macro writes it all, so what is missing was taken out. */
static int check_managed(Modinfo *m) {
        const char *missing = !m->vendor       ? "klp_vendor"
                              : !m->stream     ? "klp_stream"
                              : !m->level      ? "klp_level"
                              : !m->cumulative ? "klp_cumulative"
                                               : NULL;

        if (missing)
                return policy_error_set(m->error, -EBADMSG,
                                        "'%s' registers with klp_shim, but its .modinfo has no %s", m->name,
                                        missing);
        return 0;
}

static int fill_patch(Modinfo *m, const ModinfoContext *context, Patch *patch) {
        char **s;
        int r;

        patch->kind = context->managed ? PATCH_MANAGED : PATCH_PLAIN;
        r = set_kernel(m, patch);
        if (r < 0)
                return r;
        r = set_name(m, "klp_vendor", &patch->vendor, m->vendor);
        if (r < 0)
                return r;
        r = set_name(m, "klp_stream", &patch->stream, m->stream);
        if (r < 0)
                return r;
        r = set_level(m, patch);
        if (r < 0)
                return r;
        r = set_text(m, "klp_summary", &patch->summary, m->summary);
        if (r < 0)
                return r;
        r = set_text(m, "klp_severity", &patch->severity, m->severity);
        if (r < 0)
                return r;
        r = set_text(m, "srcversion", &patch->srcversion, m->srcversion);
        if (r < 0)
                return r;

        STRV_FOREACH(s, m->states) {
                r = parse_state(m, patch, *s);
                if (r < 0)
                        return r;
        }
        STRV_FOREACH(s, m->functions) {
                r = parse_function(m, patch, *s);
                if (r < 0)
                        return r;
        }

        r = add_strings(m, "klp_fixes", m->fixes, &patch->fixes, false);
        if (r < 0)
                return r;
        r = add_strings(m, "klp_requires", m->requires, &patch->requires, true);
        if (r < 0)
                return r;
        r = add_strings(m, "klp_conflicts", m->conflicts, &patch->conflicts, true);
        if (r < 0)
                return r;

        return set_depends(m);
}

static int read_strings(Modinfo *m, const char *p, size_t size) {
        while (size > 0) {
                size_t n = strnlen(p, size);
                char key[64];
                const char *equals;
                int r;

                if (n == size)
                        return policy_error_set(m->error, -EBADMSG,
                                                ".modinfo is cut off in the middle of a string");
                if (n > 0) {
                        equals = memchr(p, '=', n);
                        if (!equals)
                                return policy_error_set(m->error, -EBADMSG,
                                                        ".modinfo has '%.*s', which is no key=value",
                                                        QUOTE_MAX, p);
                        if ((size_t) (equals - p) < sizeof(key)) {
                                memcpy(key, p, (size_t) (equals - p));
                                key[equals - p] = 0;
                                r = take(m, key, equals + 1);
                                if (r < 0)
                                        return r;
                        }
                }
                p += n + 1;
                size -= n + 1;
        }
        return 0;
}

static int parse(Modinfo *m, const void *bytes, size_t size, const ModinfoContext *context) {
        _cleanup_patch_unref_ Patch *patch = NULL;
        int r;

        r = read_strings(m, bytes, size);
        if (r < 0)
                return r;

        if (!m->name || !patch_name_is_valid(m->name) || m->name[0] == '.')
                return policy_error_set(m->error, -EBADMSG,
                                        "the module has no name, or one that can't be a module's");
        if (!m->livepatch || !streq(m->livepatch, "Y"))
                return policy_error_set(m->error, -ENOPKG, "'%s' is a kernel module, but no livepatch",
                                        m->name);
        if (context->managed) {
                r = check_managed(m);
                if (r < 0)
                        return r;
        }

        r = patch_new(m->name, &patch);
        if (r < 0)
                return policy_error_set(m->error, r, "'%s' can't be a patch's name", m->name);
        r = fill_patch(m, context, patch);
        if (r < 0)
                return r;

        m->file->patch = TAKE_PTR(patch);
        return 0;
}

int patch_file_parse_modinfo(const void *bytes, size_t size, const ModinfoContext *context, PatchFile *file,
                             PolicyError *error) {
        Modinfo m = { .file = file, .error = error };
        int r;

        r = parse(&m, bytes, size, context);
        modinfo_done(&m);
        return r;
}
