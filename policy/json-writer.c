/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See json-writer.h. */
#include "policy/json-scan.h"
#include "policy/json-writer.h"

void json_writer_reset(JsonWriter *w) {
        w->size = 0;
        w->comma = false;
        w->failed = false;
}

void json_writer_done(JsonWriter *w) {
        free(w->text);
        *w = (JsonWriter) {};
}

/* Room for n more bytes and the NUL; NULL: there is none. */
static char *reserve(JsonWriter *w, size_t n) {
        size_t room = w->room > 0 ? w->room : 4096;
        char *bigger;

        if (w->failed)
                return NULL;
        if (w->size + n < w->room)
                return w->text + w->size;
        while (room <= w->size + n)
                room *= 2;
        bigger = realloc(w->text, room);
        if (!bigger) {
                w->failed = true;
                return NULL;
        }
        w->text = bigger;
        w->room = room;
        return w->text + w->size;
}

const char *json_writer_text(JsonWriter *w) {
        char *end = reserve(w, 1);

        if (!end)
                return NULL;
        *end = 0;
        return w->text;
}

static void put(JsonWriter *w, const char *s, size_t n) {
        char *p = reserve(w, n);

        if (!p)
                return;
        memcpy(p, s, n);
        w->size += n;
}

/* Before each value that isn't the first. */
static void separate(JsonWriter *w) {
        if (w->comma)
                put(w, ",", 1);
}

void json_write_open(JsonWriter *w, char bracket) {
        separate(w);
        put(w, &bracket, 1);
        w->comma = false;
}

void json_write_close(JsonWriter *w, char bracket) {
        put(w, &bracket, 1);
        w->comma = true;
}

void json_write_key(JsonWriter *w, const char *key) {
        size_t n = strlen(key);
        char *p = reserve(w, n + 4);

        if (!p)
                return;
        if (w->comma)
                *p++ = ',';
        *p++ = '"';
        memcpy(p, key, n);
        p[n] = '"';
        p[n + 1] = ':';
        w->size += n + 3 + w->comma;
        w->comma = false;
}

static void put_escaped(JsonWriter *w, char c) {
        static const char simple[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt", hex[] = "0123456789abcdef";
        const char *found = strchr(simple, c);
        char buf[6] = { '\\', 'u', '0', '0', hex[((unsigned char) c >> 4) & 0xf], hex[c & 0xf] };

        if (c && found) {
                buf[1] = names[found - simple];
                put(w, buf, 2);
        } else
                put(w, buf, 6);
}

/* How many bytes can be copied as they are. */
static size_t ordinary(const char *s, size_t left) {
        const unsigned char *p = (const unsigned char *) s;
        size_t n = 0;

        while (n < left) {
                size_t length = 1;

                if (p[n] >= 0x80)
                        length = json_utf8_length(p + n, left - n);
                else if (p[n] < 0x20 || p[n] == '"' || p[n] == '\\')
                        break;
                if (length == 0)
                        break;
                n += length;
        }
        return n;
}

void json_write_string(JsonWriter *w, const char *s) {
        size_t left = strlen(s);

        separate(w);
        put(w, "\"", 1);
        while (left > 0) {
                size_t n = ordinary(s, left);

                put(w, s, n);
                s += n;
                left -= n;
                if (left == 0)
                        break;
                if ((unsigned char) *s < 0x80)
                        put_escaped(w, *s);
                else
                        put(w, "\xef\xbf\xbd", 3); /* U+FFFD: a message that was cut within a character */
                s++;
                left--;
        }
        put(w, "\"", 1);
        w->comma = true;
}

void json_write_u64(JsonWriter *w, uint64_t n) {
        char buf[20], *p = buf + sizeof(buf);

        separate(w);
        do
                *--p = (char) ('0' + n % 10);
        while ((n /= 10) > 0);
        put(w, p, (size_t) (buf + sizeof(buf) - p));
        w->comma = true;
}

void json_write_bool(JsonWriter *w, bool b) {
        separate(w);
        put(w, b ? "true" : "false", b ? 4 : 5);
        w->comma = true;
}

void json_write_null(JsonWriter *w) {
        separate(w);
        put(w, "null", 4);
        w->comma = true;
}

void json_write_member(JsonWriter *w, const char *key, const char *s) {
        if (!s)
                return;
        json_write_key(w, key);
        json_write_string(w, s);
}

void json_write_member_u64(JsonWriter *w, const char *key, uint64_t n) {
        json_write_key(w, key);
        json_write_u64(w, n);
}
