/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See lock-message.h. */
#include <ctype.h>
#include <stdio.h>

#include "klpd/klp-fleet/lock-message.h"
#include "policy/json-reader.h"
#include "policy/json-writer.h"

static bool is_of(const char *s, const char *more, size_t max) {
        size_t n = strlen(s);

        if (n == 0 || n > max)
                return false;
        for (; *s; s++)
                if (!(isascii(*s) && isalnum((unsigned char) *s)) && !strchr(more, *s))
                        return false;
        return true;
}

bool lock_group_is_valid(const char *group) {
        return is_of(group, ".-", LOCK_GROUP_MAX);
}

bool lock_id_is_valid(const char *id) {
        return is_of(id, ".-_", LOCK_ID_MAX);
}

int lock_request(const char *id, const char *group, char **ret) {
        _cleanup_json_writer_ JsonWriter w = {};
        const char *text;
        char *copy;

        json_write_open(&w, '{');
        json_write_key(&w, "client_params");
        json_write_open(&w, '{');
        json_write_member(&w, "group", group);
        json_write_member(&w, "id", id);
        json_write_close(&w, '}');
        json_write_close(&w, '}');
        text = json_writer_text(&w);
        copy = text ? strdup(text) : NULL;
        if (!copy)
                return -ENOMEM;
        return *ret = copy, 0;
}

/* A member's text, or NULL. */
static const char *member(JsonReader *r, const char *key) {
        const JsonValue *v = json_find(r, r->root, key);
        const char *s;

        return json_is(v, JSON_STRING) && json_read_string_value(r, v, &s) >= 0 ? s : NULL;
}

char *lock_describe_error(long status, const char *text, size_t text_size, char *buf, size_t size) {
        _cleanup_json_reader_ JsonReader r = {};
        const char *kind = NULL, *value = NULL;

        if (text_size <= LOCK_REPLY_MAX && json_reader_begin(&r, text, text_size, NULL) >= 0) {
                kind = member(&r, "kind");
                value = member(&r, "value");
        }
        if (kind && value)
                (void) snprintf(buf, size, "%.64s: %.256s (%ld)", kind, value, status);
        else
                (void) snprintf(buf, size, "status %ld", status);
        for (char *p = buf; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        *p = ' ';
        return buf;
}
