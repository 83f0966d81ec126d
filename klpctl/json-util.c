/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON for the verbs. The conversion from D-Bus knows the types that klpd's interface has (and the other
 * plain ones), so a member that the daemon gains is passed on to programs without a change here.
 */
#include "json-util.h"

static int read_basic(sd_bus_message *m, char type, json_object **ret) {
        union {
                const char *s;
                uint8_t y;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
                double d;
                int b;
        } v = {};
        json_object *o;
        int r;

        r = sd_bus_message_read_basic(m, type, &v);
        if (r < 0)
                return r;

        switch (type) {
        case 's':
        case 'o':
        case 'g':
                o = json_object_new_string(v.s);
                break;
        case 'b':
                o = json_object_new_boolean(v.b);
                break;
        case 'y':
                o = json_object_new_int(v.y);
                break;
        case 'n':
                o = json_object_new_int(v.n);
                break;
        case 'q':
                o = json_object_new_int(v.q);
                break;
        case 'i':
                o = json_object_new_int(v.i);
                break;
        case 'u':
                o = json_object_new_int64(v.u);
                break;
        case 'x':
                o = json_object_new_int64(v.x);
                break;
        case 't':
                o = json_object_new_uint64(v.t);
                break;
        case 'd':
                o = json_object_new_double(v.d);
                break;
        default:
                return -EBADMSG;
        }
        if (!o)
                return -ENOMEM;

        *ret = o;
        return 0;
}

static int read_dictionary(sd_bus_message *m, const char *contents, json_object **ret) {
        _cleanup_json_ json_object *o = json_object_new_object();
        char entry[64];
        int r;

        if (!o)
                return -ENOMEM;
        if (strlen(contents) - 2 >= sizeof(entry))
                return -EBADMSG;
        memcpy(entry, contents + 1, strlen(contents) - 2);
        entry[strlen(contents) - 2] = '\0';

        while ((r = sd_bus_message_enter_container(m, SD_BUS_TYPE_DICT_ENTRY, entry)) > 0) {
                _cleanup_json_ json_object *value = NULL;
                const char *key;

                r = sd_bus_message_read_basic(m, 's', &key);
                if (r < 0)
                        return r;
                r = json_from_message(m, &value);
                if (r < 0)
                        return r;
                r = json_set_member(o, key, TAKE_PTR(value));
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;

        *ret = TAKE_PTR(o);
        return 0;
}

static int read_array(sd_bus_message *m, json_object **ret) {
        _cleanup_json_ json_object *a = json_object_new_array();
        int r;

        if (!a)
                return -ENOMEM;

        while ((r = sd_bus_message_at_end(m, false)) == 0) {
                _cleanup_json_ json_object *value = NULL;

                r = json_from_message(m, &value);
                if (r < 0)
                        return r;
                r = json_array_push(a, TAKE_PTR(value));
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;

        *ret = TAKE_PTR(a);
        return 0;
}

int json_from_message(sd_bus_message *m, json_object **ret) {
        _cleanup_json_ json_object *o = NULL;
        const char *contents;
        char type;
        int r;

        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r < 0)
                return r;
        if (r == 0)
                return -EBADMSG;

        if (!strchr("avr", type))
                return read_basic(m, type, ret);

        r = sd_bus_message_enter_container(m, type, contents);
        if (r < 0)
                return r;

        if (type == 'v')
                r = json_from_message(m, &o);
        else if (type == 'a' && contents[0] == '{')
                r = contents[1] == 's' ? read_dictionary(m, contents, &o) : -EBADMSG;
        else
                r = read_array(m, &o); /* a struct is an array of its members */
        if (r < 0)
                return r;

        r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(o);
        return 0;
}

static int read_struct(sd_bus_message *m, const char *const *names, size_t n_names, json_object **ret) {
        _cleanup_json_ json_object *o = json_object_new_object();
        int r;

        if (!o)
                return -ENOMEM;
        for (size_t i = 0; i < n_names; i++) {
                json_object *value;

                r = json_from_message(m, &value);
                if (r < 0)
                        return r;
                if (json_object_object_add_ex(o, names[i], value,
                                              JSON_C_OBJECT_ADD_KEY_IS_NEW | JSON_C_OBJECT_ADD_CONSTANT_KEY) < 0) {
                        json_object_put(value);
                        return -ENOMEM;
                }
        }
        *ret = TAKE_PTR(o);
        return 0;
}

int json_from_structs(sd_bus_message *m, const char *const *names, size_t n_names, json_object **ret) {
        _cleanup_json_ json_object *a = json_object_new_array();
        const char *contents;
        char type;
        int r;

        if (!a)
                return -ENOMEM;
        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r < 0)
                return r;
        if (r == 0 || type != SD_BUS_TYPE_ARRAY || contents[0] != SD_BUS_TYPE_STRUCT_BEGIN)
                return -EBADMSG;
        r = sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, contents);
        if (r < 0)
                return r;
        while ((r = sd_bus_message_at_end(m, false)) == 0) {
                json_object *o;

                r = sd_bus_message_enter_container(m, SD_BUS_TYPE_STRUCT, NULL);
                if (r < 0)
                        return r;
                r = read_struct(m, names, n_names, &o);
                if (r < 0)
                        return r;
                r = json_array_push(a, o);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(m); /* -EBUSY: it has more */
                if (r < 0)
                        return r == -EBUSY ? -EBADMSG : r;
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(a);
        return 0;
}

json_object *json_member(json_object *o, const char *key) {
        json_object *v;

        return json_object_is_type(o, json_type_object) && json_object_object_get_ex(o, key, &v) ? v : NULL;
}

const char *json_string(json_object *o, const char *key) {
        json_object *v = json_member(o, key);

        return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}

bool json_boolean(json_object *o, const char *key) {
        json_object *v = json_member(o, key);

        return json_object_is_type(v, json_type_boolean) && json_object_get_boolean(v);
}

uint64_t json_u64(json_object *o, const char *key) {
        json_object *v = json_member(o, key);

        return json_object_is_type(v, json_type_int) ? json_object_get_uint64(v) : 0;
}

bool json_has(json_object *o, const char *key) {
        return json_member(o, key);
}

json_object *json_array(json_object *o, const char *key) {
        json_object *v = json_member(o, key);

        return json_object_is_type(v, json_type_array) ? v : NULL;
}

size_t json_length(json_object *array) {
        return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

json_object *json_item(json_object *array, size_t i) {
        return i < json_length(array) ? json_object_array_get_idx(array, i) : NULL;
}

char *json_join(json_object *array, const char *separator) {
        size_t size = 1;
        char *out, *p;

        for (size_t i = 0; i < json_length(array); i++)
                size += strlen(json_object_get_string(json_item(array, i)) ?: "null") + strlen(separator);

        p = out = malloc(size);
        if (!out)
                return NULL;

        *p = '\0';
        for (size_t i = 0; i < json_length(array); i++) {
                if (i > 0)
                        p = stpcpy(p, separator);
                p = stpcpy(p, json_object_get_string(json_item(array, i)) ?: "null");
        }

        return out;
}

int json_set_member(json_object *o, const char *key, json_object *value) {
        if (!value || json_object_object_add(o, key, value) < 0) {
                json_object_put(value);
                return -ENOMEM;
        }

        return 0;
}

int json_array_push(json_object *array, json_object *value) {
        if (!value || json_object_array_add(array, value) < 0) {
                json_object_put(value);
                return -ENOMEM;
        }

        return 0;
}
