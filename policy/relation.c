/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/relation.h"

/* Digits only, no sign, no blank; the whole of the rest. */
static int parse_number(const char *s, uint64_t max, uint64_t *ret) {
        uint64_t n = 0;

        if (!*s)
                return -EINVAL;
        for (; *s; s++) {
                if (*s < '0' || *s > '9')
                        return -EINVAL;
                if (__builtin_mul_overflow(n, 10U, &n) ||
                    __builtin_add_overflow(n, (uint64_t) (*s - '0'), &n) || n > max)
                        return -EINVAL;
        }
        *ret = n;
        return 0;
}

static bool part_is_valid(const char *s, size_t n) {
        char buf[PATCH_NAME_MAX + 1];

        if (n > PATCH_NAME_MAX)
                return false;
        memcpy(buf, s, n);
        buf[n] = 0;
        return patch_name_is_valid(buf);
}

static int parse_stream(const char *s, Relation *r) {
        static const struct {
                const char *text;
                RelationOp op;
        } ops[] = {
                /* longer ones first */
                { ">=", RELATION_GE }, { "<=", RELATION_LE }, { "!=", RELATION_NE },
                { "=", RELATION_EQ },  { "<", RELATION_LT },  { ">", RELATION_GT },
        };
        const char *slash = strchr(s, '/'), *end;
        uint64_t level;
        size_t i;

        if (!slash)
                return -EINVAL;
        end = slash + 1 + strcspn(slash + 1, " <>=!");
        r->kind = RELATION_STREAM;
        r->vendor = s;
        r->vendor_size = (size_t) (slash - s);
        r->stream = slash + 1;
        r->stream_size = (size_t) (end - r->stream);
        if (!part_is_valid(r->vendor, r->vendor_size) || !part_is_valid(r->stream, r->stream_size))
                return -EINVAL;

        r->op = RELATION_ANY;
        if (!*end)
                return 0;
        end += strspn(end, " ");
        for (i = 0; i < ELEMENTSOF(ops); i++)
                if (strncmp(end, ops[i].text, strlen(ops[i].text)) == 0)
                        break;
        if (i >= ELEMENTSOF(ops))
                return -EINVAL;
        end += strlen(ops[i].text);
        end += strspn(end, " ");
        if (parse_number(end, UINT32_MAX, &level) < 0)
                return -EINVAL;
        r->op = ops[i].op;
        r->level = (uint32_t) level;
        return 0;
}

int relation_parse(const char *s, Relation *ret) {
        Relation r = {};

        if (strncmp(s, "state:", 6) == 0) {
                r.kind = RELATION_STATE;
                if (parse_number(s + 6, UINT64_MAX, &r.state) < 0)
                        return -EINVAL;
        } else if (strncmp(s, "tag:", 4) == 0) {
                r.kind = RELATION_TAG;
                r.tag = s + 4;
                if (!patch_name_is_valid(r.tag))
                        return -EINVAL;
        } else if (parse_stream(s, &r) < 0)
                return -EINVAL;
        *ret = r;
        return 0;
}

static bool part_equal(const char *part, size_t size, const char *s) {
        return strlen(s) == size && memcmp(part, s, size) == 0;
}

static bool level_matches(const Relation *r, uint32_t level) {
        switch (r->op) {
        case RELATION_ANY:
                return true;
        case RELATION_EQ:
                return level == r->level;
        case RELATION_NE:
                return level != r->level;
        case RELATION_LT:
                return level < r->level;
        case RELATION_LE:
                return level <= r->level;
        case RELATION_GT:
                return level > r->level;
        case RELATION_GE:
                return level >= r->level;
        }
        return false;
}

bool relation_matches(const Relation *r, const Patch *p) {
        switch (r->kind) {
        case RELATION_STATE:
                return patch_find_state(p, r->state);
        case RELATION_TAG:
                return strv_contains(p->tags, r->tag);
        case RELATION_STREAM:
                return p->kind != PATCH_FOREIGN && part_equal(r->vendor, r->vendor_size, p->vendor) &&
                        part_equal(r->stream, r->stream_size, p->stream) && level_matches(r, p->level);
        }
        return false;
}
