/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See host-status.h. */
#include "klpd/klp-fleet/host-status.h"

#define DEPTH_MAX 8U

static int write_basic(JsonWriter *w, sd_bus_message *m, char type) {
        union {
                const char *s;
                uint8_t y;
                int b;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
        } v;
        int64_t number;
        int r;

        r = sd_bus_message_read_basic(m, type, &v);
        if (r <= 0)
                return r < 0 ? r : -EBADMSG;
        switch (type) {
        case 's':
        case 'o':
        case 'g':
                json_write_string(w, v.s);
                return 0;
        case 'b':
                json_write_bool(w, v.b);
                return 0;
        case 't':
                json_write_u64(w, v.t);
                return 0;
        case 'y':
                number = v.y;
                break;
        case 'q':
                number = v.q;
                break;
        case 'u':
                number = v.u;
                break;
        case 'n':
                number = v.n;
                break;
        case 'i':
                number = v.i;
                break;
        case 'x':
                number = v.x;
                break;
        default:
                return -EBADMSG;
        }
        if (number < 0)
                json_write_null(w);
        else
                json_write_u64(w, (uint64_t) number);
        return 0;
}

static int write_dictionary(JsonWriter *w, sd_bus_message *m, unsigned depth) {
        int r;

        json_write_open(w, '{');
        while ((r = sd_bus_message_at_end(m, false)) == 0) {
                const char *key, *contents;
                char type;

                r = sd_bus_message_peek_type(m, &type, &contents);
                if (r >= 0)
                        r = sd_bus_message_enter_container(m, type, contents);
                if (r >= 0)
                        r = sd_bus_message_read_basic(m, 's', &key);
                if (r < 0)
                        return r;
                /* Names of properties need no escapes; a stream might. */
                if (key[strcspn(key, "\"\\")] || !key[0])
                        return -EBADMSG;
                json_write_key(w, key);
                r = status_write_value(w, m, depth + 1);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        json_write_close(w, '}');
        return r;
}

int status_write_value(JsonWriter *w, sd_bus_message *m, unsigned depth) {
        const char *contents;
        char type;
        int r;

        if (depth > DEPTH_MAX)
                return -EBADMSG;
        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r <= 0)
                return r < 0 ? r : -EBADMSG;
        if (type != 'a' && type != 'v' && type != 'r')
                return write_basic(w, m, type);
        r = sd_bus_message_enter_container(m, type, contents);
        if (r < 0)
                return r;
        if (type == 'v')
                r = status_write_value(w, m, depth + 1);
        else if (type == 'a' && contents[0] == '{')
                r = contents[1] == 's' ? write_dictionary(w, m, depth) : -EBADMSG;
        else {
                json_write_open(w, '[');
                while (r >= 0 && (r = sd_bus_message_at_end(m, false)) == 0)
                        r = status_write_value(w, m, depth + 1);
                json_write_close(w, ']');
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int write_part(JsonWriter *w, const char *key, sd_bus_message *m) {
        int r;

        if (!m)
                return 0;
        r = sd_bus_message_rewind(m, true);
        if (r < 0)
                return r;
        json_write_key(w, key);
        return status_write_value(w, m, 0);
}

static int write_blockers(JsonWriter *w, sd_bus_message *m) {
        unsigned n = 0;
        int r;

        r = sd_bus_message_rewind(m, true);
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'a', "a{sv}");
        if (r < 0)
                return r;
        json_write_key(w, "blockers");
        json_write_open(w, '[');
        while (n++ < STATUS_BLOCKERS_MAX && (r = sd_bus_message_at_end(m, false)) == 0) {
                r = status_write_value(w, m, 1);
                if (r < 0)
                        return r;
        }
        json_write_close(w, ']');
        return r < 0 ? r : 0;
}

static int format(const StatusParts *p, bool with_blockers, size_t max, char **ret) {
        _cleanup_json_writer_ JsonWriter w = {};
        const char *text;
        char *copy;
        int r;

        json_write_open(&w, '{');
        json_write_member(&w, "id", p->id);
        json_write_member(&w, "hostname", p->hostname);
        r = write_part(&w, "manager", p->manager);
        if (r >= 0)
                r = write_part(&w, "fleet", p->fleet);
        if (r >= 0)
                r = write_part(&w, "slot", p->slot);
        if (r >= 0 && p->blockers && with_blockers)
                r = write_blockers(&w, p->blockers);
        if (r < 0)
                return r;
        json_write_close(&w, '}');
        text = json_writer_text(&w);
        if (!text)
                return -ENOMEM;
        if (w.size > max)
                return -E2BIG;
        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

int status_format(const StatusParts *parts, size_t max, char **ret) {
        int r = format(parts, true, max, ret);

        return r == -E2BIG && parts->blockers ? format(parts, false, max, ret) : r;
}
