/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fleet-facts.h. */
#include <stdio.h>

#include "klpd/fleet-facts.h"
#include "klpd/fleet-files.h"
#include "klpd/livepatch-sysfs-read.h"
#include "policy/json-reader.h"
#include "policy/model.h"

#define TEXT_MAX 16384U

void fleet_facts_done(FleetFacts *f) {
        free(f->hostname);
        free(f->machine_id);
        free(f->os);
        strv_free(f->label_keys);
        strv_free(f->label_values);
        *f = (FleetFacts) {};
}

/* ---- KEY=VALUE ---- */

/* One value of a line, up to its end: "…" with escapes, '…', or bare. */
static int unquote(const char *s, size_t n, char **ret) {
        char *value, *p, quote = n > 0 && (*s == '"' || *s == '\'') ? *s : 0;

        p = value = malloc(n + 1);
        if (!value)
                return -ENOMEM;
        for (size_t i = quote ? 1 : 0; i < n && !(quote && s[i] == quote); i++) {
                if (s[i] == '\\' && quote != '\'' && i + 1 < n)
                        i++;
                *p++ = s[i];
        }
        *p = 0;
        *ret = value;
        return 0;
}

int environment_file_get(const char *text, const char *key, char **ret) {
        size_t k = strlen(key);

        while (*text) {
                const char *line = text + strspn(text, " \t");
                size_t n = strcspn(line, "\n");

                text = line + n + (line[n] == '\n');
                if (n <= k || strncmp(line, key, k) != 0 || line[k] != '=')
                        continue;
                while (n > k + 1 && strchr(" \t\r", line[n - 1]))
                        n--;
                return unquote(line + k + 1, n - k - 1, ret);
        }
        return -ENOENT;
}

static int read_os(int root_fd, char **ret) {
        _cleanup_free_ char *id = NULL, *version = NULL;
        char text[TEXT_MAX];
        int r;

        r = sysfs_read_text(root_fd, "etc/os-release", text, sizeof(text));
        if (r < 0)
                r = sysfs_read_text(root_fd, "usr/lib/os-release", text, sizeof(text));
        if (r < 0)
                return 0;
        r = environment_file_get(text, "ID", &id);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        r = environment_file_get(text, "VERSION_ID", &version);
        if (r < 0 && r != -ENOENT)
                return r;
        if (asprintf(ret, "%s%s%s", id, version ? ":" : "", version ?: "") < 0) {
                *ret = NULL;
                return -ENOMEM;
        }
        return 0;
}

/* ---- labels ---- */

static int add_label(FleetFacts *f, const char *key, const char *value) {
        int r;

        if (strv_contains(f->label_keys, key) || strv_length(f->label_keys) >= FLEET_LABELS_MAX)
                return 0;
        r = strv_extend(&f->label_keys, key);
        if (r < 0)
                return r;
        r = strv_extend(&f->label_values, value);
        if (r < 0) {
                char **last = f->label_keys + strv_length(f->label_keys) - 1;

                free(*last);
                *last = NULL;
        }
        return r;
}

static int read_label(JsonReader *r, const char *key, const JsonValue *value, void *target) {
        const char *text;
        int q;

        if (!patch_name_is_valid(key))
                return json_reader_fail(r, -EBADMSG, "not the name of a label (1 to %u of A-Z a-z 0-9 _ . + -)",
                                        PATCH_NAME_MAX);
        q = json_read_string_value(r, value, &text);
        if (q < 0)
                return q;
        if (strlen(text) > FLEET_PATTERN_MAX)
                return json_reader_fail(r, -EBADMSG, "longer than %u bytes", FLEET_PATTERN_MAX);
        return add_label(target, key, text);
}

int fleet_labels_parse(const char *text, size_t size, FleetFacts *f, PolicyError *error) {
        _cleanup_json_reader_ JsonReader reader = {};
        int r;

        r = json_reader_begin(&reader, text, size, error);
        if (r >= 0)
                r = json_read_members(&reader, reader.root, FLEET_LABELS_MAX, read_label, f);
        if (r < 0) {
                f->label_keys = strv_free(f->label_keys);
                f->label_values = strv_free(f->label_values);
        }
        return r;
}

static int read_labels(int root_fd, FleetFacts *f, PolicyError *error) {
        _cleanup_free_ char *text = malloc(FLEET_LABELS_BYTES_MAX);
        int r;

        if (!text)
                return -ENOMEM;
        r = sysfs_read_text(root_fd, FLEET_LABELS_PATH, text, FLEET_LABELS_BYTES_MAX);
        if (r == -ENOENT || r == -ENOTDIR)
                return 0;
        if (r < 0)
                return policy_error_set(error, r == -ENOMEM ? r : -EBADMSG, "it can't be read: %s",
                                        strerror(-r));
        return fleet_labels_parse(text, strlen(text), f, error);
}

static int read_machine_info(int root_fd, FleetFacts *f) {
        static const char *const keys[][2] = {
                { "CHASSIS", "chassis" },
                { "DEPLOYMENT", "deployment" },
                { "LOCATION", "location" },
        };
        _cleanup_free_ char *tags = NULL;
        char text[TEXT_MAX];
        int r;

        if (sysfs_read_text(root_fd, "etc/machine-info", text, sizeof(text)) < 0)
                return 0;
        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                _cleanup_free_ char *value = NULL;

                r = environment_file_get(text, keys[i][0], &value);
                if (r >= 0)
                        r = add_label(f, keys[i][1], value);
                if (r < 0 && r != -ENOENT)
                        return r;
        }
        r = environment_file_get(text, "TAGS", &tags);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        for (char *next = tags, *tag; (tag = strsep(&next, ":"));) {
                char key[PATCH_NAME_MAX + 1];

                if (snprintf(key, sizeof(key), "tag.%s", tag) >= (int) sizeof(key) || !patch_name_is_valid(key) ||
                    !*tag)
                        continue;
                r = add_label(f, key, "yes");
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- all of it ---- */

int fleet_facts_read(int root_fd, FleetFacts *ret, PolicyError *error) {
        FleetFacts f = {};
        char text[512];
        int labels, r = 0;

        if (error)
                *error = (PolicyError) {};
        if (sysfs_read_text(root_fd, "proc/sys/kernel/hostname", text, sizeof(text)) >= 0 && *text)
                r = free_and_strdup(&f.hostname, text);
        if (r >= 0 && sysfs_read_text(root_fd, "etc/machine-id", text, sizeof(text)) >= 0 &&
            fleet_host_id(FLEET_SLICE(text), f.host_id) >= 0) {
                f.has_host_id = true;
                r = free_and_strdup(&f.machine_id, text);
        }
        if (r >= 0)
                r = read_os(root_fd, &f.os);
        labels = r >= 0 ? read_labels(root_fd, &f, error) : 0;
        if (r >= 0 && labels != -ENOMEM)
                r = read_machine_info(root_fd, &f);
        if (r < 0 || labels == -ENOMEM) {
                fleet_facts_done(&f);
                return -ENOMEM;
        }
        *ret = f;
        return labels;
}
