/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Patches: see model.h. Inventories are in inventory.c. */
#include "policy/model.h"
#include "shim/klp_shim_abi.h"

_Static_assert(PATCH_STATE_BLOCK_DISABLE == KLP_SHIM_STATE_BLOCK_DISABLE, "the shim's bits");
_Static_assert(PATCH_STATE_SHADOW == KLP_SHIM_STATE_SHADOW, "the shim's bits");
_Static_assert(PATCH_STATE_TAKEOVER == KLP_SHIM_STATE_TAKEOVER, "the shim's bits");
_Static_assert(PATCH_NAME_MAX == KLP_SHIM_NAME_LEN - 1, "the shim's bound");

static const char *const patch_kinds[_PATCH_KIND_MAX] = {
        [PATCH_MANAGED] = "managed",
        [PATCH_PLAIN] = "plain",
        [PATCH_FOREIGN] = "foreign",
};

static const char *const flag_names[] = { "block-disable", "shadow", "takeover" };

const char *patch_kind_to_string(PatchKind kind) {
        return kind >= 0 && kind < _PATCH_KIND_MAX ? patch_kinds[kind] : NULL;
}

PatchKind patch_kind_from_string(const char *s) {
        for (int i = 0; i < _PATCH_KIND_MAX; i++)
                if (streq(patch_kinds[i], s))
                        return (PatchKind) i;
        return _PATCH_KIND_INVALID;
}

const char *patch_state_flag_to_string(uint32_t flag) {
        for (unsigned i = 0; i < ELEMENTSOF(flag_names); i++)
                if (flag == 1U << i)
                        return flag_names[i];
        return NULL;
}

uint32_t patch_state_flag_from_string(const char *s) {
        for (unsigned i = 0; i < ELEMENTSOF(flag_names); i++)
                if (streq(flag_names[i], s))
                        return 1U << i;
        return 0;
}

bool patch_name_is_valid(const char *s) {
        size_t n;

        if (!s)
                return false;
        for (n = 0; s[n]; n++) {
                char c = s[n];

                if (n >= PATCH_NAME_MAX)
                        return false;
                if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      strchr("_.+-", c)))
                        return false;
        }
        /* no file name with a meaning of its own, and no option */
        return n > 0 && s[0] != '.' && s[0] != '-';
}

bool patch_name_equal(const char *a, const char *b) {
        for (;; a++, b++) {
                char ca = *a == '-' ? '_' : *a, cb = *b == '-' ? '_' : *b;

                if (ca != cb)
                        return false;
                if (!ca)
                        return true;
        }
}

/* Free text: something, not too long, no control characters. */
static bool text_is_valid(const char *s) {
        size_t n;

        for (n = 0; s[n]; n++)
                if (n >= PATCH_STRING_MAX || (unsigned char) s[n] < 0x20 || s[n] == 0x7f)
                        return false;
        return n > 0;
}

int patch_new(const char *name, Patch **ret) {
        _cleanup_patch_unref_ Patch *p = NULL;

        if (!patch_name_is_valid(name))
                return -EINVAL;
        p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        p->n_ref = 1;
        p->name = strdup(name);
        p->vendor = strdup(PATCH_VENDOR_DEFAULT);
        p->stream = strdup(PATCH_STREAM_DEFAULT);
        if (!p->name || !p->vendor || !p->stream)
                return -ENOMEM;
        *ret = TAKE_PTR(p);
        return 0;
}

Patch *patch_ref(Patch *p) {
        if (p)
                p->n_ref++;
        return p;
}

Patch *patch_unref(Patch *p) {
        if (!p || --p->n_ref > 0)
                return NULL;

        for (size_t i = 0; i < p->n_states; i++)
                free(p->states[i].name);
        free(p->states);
        for (size_t i = 0; i < p->n_functions; i++) {
                free(p->functions[i].object);
                free(p->functions[i].function);
        }
        free(p->functions);
        strv_free(p->fixes);
        strv_free(p->requires);
        strv_free(p->conflicts);
        strv_free(p->tags);
        free(p->name);
        free(p->kernel);
        free(p->vendor);
        free(p->stream);
        free(p->summary);
        free(p->severity);
        free(p->build_id);
        free(p->srcversion);
        free(p->digest);
        free(p->kernel_build_id);
        free(p);
        return NULL;
}

/* Room for one more element at powers of two. */
static int grow(void **array, size_t n, size_t size) {
        void *bigger;

        if (n > 0 && (n & (n - 1)) != 0)
                return 0;
        bigger = realloc(*array, (n > 0 ? 2 * n : 1) * size);
        if (!bigger)
                return -ENOMEM;
        *array = bigger;
        return 0;
}

const PatchState *patch_find_state(const Patch *p, uint64_t id) {
        for (size_t i = 0; i < p->n_states; i++)
                if (p->states[i].id == id)
                        return &p->states[i];
        return NULL;
}

int patch_add_state(Patch *p, uint64_t id, uint32_t version, uint32_t flags, const char *name) {
        _cleanup_free_ char *copy = NULL;
        int r;

        if ((flags & ~PATCH_STATE_FLAGS_ALL) != 0 ||
            (name && (!text_is_valid(name) || strlen(name) > PATCH_NAME_MAX)))
                return -EINVAL;
        if (p->n_states >= PATCH_STATES_MAX)
                return -E2BIG;
        /* Tables are mostly written in ascending order: what is above all others can't be there already. */
        if (p->n_states > 0 && id <= p->highest_state && patch_find_state(p, id))
                return -EEXIST;
        if (name) {
                copy = strdup(name);
                if (!copy)
                        return -ENOMEM;
        }
        r = grow((void **) &p->states, p->n_states, sizeof(*p->states));
        if (r < 0)
                return r;
        if (id > p->highest_state)
                p->highest_state = id;
        p->states[p->n_states++] =
                        (PatchState){.id = id, .version = version, .flags = flags, .name = TAKE_PTR(copy)};
        return 0;
}

/* FNV-1a over "object:function". */
static uint32_t function_hash(const char *object, const char *function) {
        uint32_t h = 2166136261U;

        for (; *object; object++)
                h = (h ^ (unsigned char) *object) * 16777619U;
        h = (h ^ ':') * 16777619U;
        for (; *function; function++)
                h = (h ^ (unsigned char) *function) * 16777619U;
        return h;
}

int patch_add_function(Patch *p, const char *object, const char *function, uint32_t sympos) {
        _cleanup_free_ char *o = NULL, *f = NULL;
        uint32_t hash;
        int r;

        if (!patch_name_is_valid(object) || !text_is_valid(function))
                return -EINVAL;
        if (p->n_functions >= PATCH_FUNCTIONS_MAX)
                return -E2BIG;
        hash = function_hash(object, function);
        for (size_t i = 0; i < p->n_functions; i++) {
                const PatchFunction *g = &p->functions[i];

                if (g->hash == hash && g->sympos == sympos && streq(g->function, function) &&
                    streq(g->object, object))
                        return -EEXIST;
        }
        o = strdup(object);
        f = strdup(function);
        if (!o || !f)
                return -ENOMEM;
        r = grow((void **) &p->functions, p->n_functions, sizeof(*p->functions));
        if (r < 0)
                return r;
        p->functions[p->n_functions++] = (PatchFunction) {
                .object = TAKE_PTR(o), .function = TAKE_PTR(f), .sympos = sympos, .hash = hash,
        };
        return 0;
}

int patch_add_string(char ***list, const char *s) {
        if (!text_is_valid(s))
                return -EINVAL;
        if (strv_length(*list) >= PATCH_LIST_MAX)
                return -E2BIG;
        return strv_extend(list, s);
}

bool patch_same_stream(const Patch *a, const Patch *b) {
        return a->kind != PATCH_FOREIGN && b->kind != PATCH_FOREIGN && streq(a->vendor, b->vendor) &&
                streq(a->stream, b->stream);
}

int patch_compare(const Patch *a, const Patch *b) {
        int r;

        r = strcmp(a->vendor, b->vendor);
        if (r == 0)
                r = strcmp(a->stream, b->stream);
        if (r == 0 && a->level != b->level)
                r = a->level < b->level ? -1 : 1;
        return r != 0 ? r : strcmp(a->name, b->name);
}

static bool same_metadata(const Patch *a, const Patch *b) {
        /* A foreign patch is one of which only the name and the functions are known: nothing that could
         * differ. */
        if (a->kind == PATCH_FOREIGN || b->kind == PATCH_FOREIGN)
                return true;
        if (!patch_same_stream(a, b) || a->level != b->level || a->cumulative != b->cumulative ||
            a->kind != b->kind || a->n_states != b->n_states)
                return false;
        for (size_t i = 0; i < a->n_states; i++)
                if (a->states[i].id != b->states[i].id || a->states[i].version != b->states[i].version ||
                    a->states[i].flags != b->states[i].flags)
                        return false;
        return true;
}

bool patch_same_content(const Patch *a, const Patch *b) {
        if (a == b)
                return true;
        if (a->digest && b->digest)
                return streq(a->digest, b->digest);
        if (a->build_id && b->build_id)
                return streq(a->build_id, b->build_id);
        if (a->srcversion && b->srcversion)
                return streq(a->srcversion, b->srcversion);
        return same_metadata(a, b);
}

int patch_parse_stream(const char *s, char **ret_vendor, char **ret_stream) {
        _cleanup_free_ char *vendor = NULL, *stream = NULL;
        const char *slash = strchr(s, '/');

        if (!slash)
                return -EINVAL;
        vendor = strndup(s, (size_t) (slash - s));
        stream = strdup(slash + 1);
        if (!vendor || !stream)
                return -ENOMEM;
        if (!patch_name_is_valid(vendor) || !patch_name_is_valid(stream))
                return -EINVAL;
        *ret_vendor = TAKE_PTR(vendor);
        *ret_stream = TAKE_PTR(stream);
        return 0;
}
