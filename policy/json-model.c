/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PATCH and inventory: from JSON and to JSON. A new field belongs into the table and into the *_to_json()
 * function, into schemas/, and into klpd-manifest(5).
 */
#include "policy/json-model.h"

/* --- reading --- */

static int read_kind(JsonReader *r, const JsonValue *value, void *target) {
        const char *s;
        PatchKind kind;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        kind = patch_kind_from_string(s);
        if (kind < 0)
                return json_reader_fail(r, -EBADMSG,
                                        "one of \"managed\", \"plain\", \"foreign\" is needed here");
        *(PatchKind *) target = kind;
        return 0;
}

typedef struct StateFields {
        uint64_t id;
        uint32_t version, flags;
        char *name;
} StateFields;

static int read_flag(JsonReader *r, const JsonValue *value, void *target) {
        uint32_t *flags = target, flag;
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        flag = patch_state_flag_from_string(s);
        if (flag == 0)
                return json_reader_fail(r, -EBADMSG,
                                        "one of \"block-disable\", \"shadow\", \"takeover\" is needed here");
        if (*flags & flag)
                return json_reader_fail(r, -EBADMSG, "the flag is there twice");
        *flags |= flag;
        return 0;
}

static int read_flags(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, 3, read_flag, target);
}

static int read_state_name(JsonReader *r, const JsonValue *value, void *target) {
        int q;

        q = json_read_text_or_null(r, value, target);
        if (q < 0)
                return q;
        if (*(char **) target && strlen(*(char **) target) > PATCH_NAME_MAX)
                return json_reader_fail(r, -EBADMSG, "at most %u bytes", PATCH_NAME_MAX);
        return 0;
}

static int read_state(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                { "id", json_read_u64, offsetof(StateFields, id), true },
                { "version", json_read_u32, offsetof(StateFields, version), false },
                { "flags", read_flags, offsetof(StateFields, flags), false },
                { "name", read_state_name, offsetof(StateFields, name), false },
        };
        StateFields s = {};
        Patch *p = target;
        int q;

        q = json_read_object(r, value, fields, ELEMENTSOF(fields), &s);
        if (q >= 0) {
                q = patch_add_state(p, s.id, s.version, s.flags, s.name);
                if (q == -EEXIST)
                        q = json_reader_fail(r, -EBADMSG, "the state %" PRIu64 " is there twice", s.id);
        }
        free(s.name);
        return q;
}

static int read_states(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, PATCH_STATES_MAX, read_state, target);
}

typedef struct FunctionFields {
        char *object, *function;
        uint32_t sympos;
} FunctionFields;

static int read_function(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                { "object", json_read_name, offsetof(FunctionFields, object), false },
                { "function", json_read_text, offsetof(FunctionFields, function), true },
                { "sympos", json_read_u32, offsetof(FunctionFields, sympos), false },
        };
        FunctionFields f = {};
        Patch *p = target;
        int q;

        q = json_read_object(r, value, fields, ELEMENTSOF(fields), &f);
        if (q >= 0) {
                q = patch_add_function(p, f.object ?: "vmlinux", f.function, f.sympos);
                if (q == -EEXIST)
                        q = json_reader_fail(r, -EBADMSG, "the function %s is there twice", f.function);
        }
        free(f.object);
        free(f.function);
        return q;
}

static int read_functions(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, PATCH_FUNCTIONS_MAX, read_function, target);
}

static int read_relation(JsonReader *r, const JsonValue *value, void *target) {
        Relation relation;
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        if (strlen(s) > PATCH_STRING_MAX || relation_parse(s, &relation) < 0)
                return json_reader_fail(
                                r, -EBADMSG,
                                "VENDOR/STREAM, VENDOR/STREAM>=LEVEL (also = != < <= >), state:ID or "
                                "tag:NAME is needed here");
        return strv_extend(target, s);
}

static int read_relations(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, PATCH_LIST_MAX, read_relation, target);
}

static const JsonField patch_fields[] = {
        { "name", json_read_name, offsetof(Patch, name), true },
        { "kernel", json_read_text_or_null, offsetof(Patch, kernel), false },
        { "vendor", json_read_name_or_null, offsetof(Patch, vendor), false },
        { "stream", json_read_name_or_null, offsetof(Patch, stream), false },
        { "level", json_read_u32, offsetof(Patch, level), false },
        { "cumulative", json_read_bool, offsetof(Patch, cumulative), false },
        { "kind", read_kind, offsetof(Patch, kind), false },
        { "states", read_states, 0, false },
        { "functions", read_functions, 0, false },
        { "fixes", json_read_text_list, offsetof(Patch, fixes), false },
        { "requires", read_relations, offsetof(Patch, requires), false },
        { "conflicts", read_relations, offsetof(Patch, conflicts), false },
        { "tags", json_read_name_list, offsetof(Patch, tags), false },
        { "summary", json_read_text_or_null, offsetof(Patch, summary), false },
        { "severity", json_read_text_or_null, offsetof(Patch, severity), false },
        { "build_id", json_read_hex_or_null, offsetof(Patch, build_id), false },
        { "srcversion", json_read_text_or_null, offsetof(Patch, srcversion), false },
        { "digest", json_read_hex_or_null, offsetof(Patch, digest), false },
        { "kernel_build_id", json_read_hex_or_null, offsetof(Patch, kernel_build_id), false },
        /* only in an inventory: these stand at the end */
        { "forced", json_read_bool, offsetof(Patch, forced), false },
        { "orphan", json_read_bool, offsetof(Patch, orphan), false },
};

#define N_INVENTORY_ONLY 2U

/* Nothing but a name and functions is known of a foreign patch. */
static int check_foreign_fields(JsonReader *r, Patch *p) {
        int q;

        if (p->kind != PATCH_FOREIGN)
                return 0;
        if (p->n_states > 0 || p->level != 0 || p->tags)
                return json_reader_fail(
                                r, -EBADMSG,
                                "a foreign patch has no level, states or tags: \"plain\" is one that is "
                                "known");
        q = free_and_strdup(&p->vendor, "");
        return q < 0 ? q : free_and_strdup(&p->stream, "");
}

int json_read_patch(JsonReader *r, const JsonValue *value, PatchKind kind, bool in_inventory,
                    Patch **ret) {
        _cleanup_patch_unref_ Patch *p = NULL;
        int q;

        q = patch_new("x", &p);
        if (q < 0)
                return q;
        p->kind = kind;
        q = json_read_object(r, value, patch_fields,
                             ELEMENTSOF(patch_fields) - (in_inventory ? 0 : N_INVENTORY_ONLY), p);
        if (q < 0)
                return q;
        q = check_foreign_fields(r, p);
        if (q < 0)
                return q;
        *ret = TAKE_PTR(p);
        return 0;
}

static int read_stack_patch(JsonReader *r, const JsonValue *value, void *target) {
        _cleanup_patch_unref_ Patch *p = NULL;
        int q;

        q = json_read_patch(r, value, PATCH_MANAGED, true, &p);
        if (q < 0)
                return q;
        q = inventory_push(target, p);
        if (q == -EEXIST)
                return json_reader_fail(r, -EBADMSG, "the patch %s is there twice", p->name);
        if (q == -EINVAL)
                return json_reader_fail(r, -EBADMSG, "orphans stand below all enabled patches");
        return q;
}

static int read_stack(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, INVENTORY_PATCHES_MAX, read_stack_patch, target);
}

static int read_loaded_module(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                { "name", json_read_name, offsetof(LoadedModule, name), true },
                { "build_id", json_read_hex_or_null, offsetof(LoadedModule, build_id), false },
                { "srcversion", json_read_text_or_null, offsetof(LoadedModule, srcversion), false },
                { "forced", json_read_bool, offsetof(LoadedModule, forced), false },
        };
        LoadedModule m = {};
        int q;

        q = json_read_object(r, value, fields, ELEMENTSOF(fields), &m);
        if (q >= 0)
                q = inventory_add_loaded(target, m.name, m.build_id, m.srcversion, m.forced);
        free(m.name);
        free(m.build_id);
        free(m.srcversion);
        return q;
}

static int read_loaded(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, INVENTORY_PATCHES_MAX, read_loaded_module, target);
}

int json_read_inventory(JsonReader *r, const JsonValue *value, Inventory **ret) {
        static const JsonField fields[] = {
                { "kernel", json_read_text, offsetof(Inventory, kernel), true },
                { "kernel_build_id", json_read_hex_or_null, offsetof(Inventory, kernel_build_id), false },
                { "generation", json_read_u64, offsetof(Inventory, generation), false },
                { "transition", json_read_name_or_null, offsetof(Inventory, transition), false },
                { "patches", read_stack, 0, false },
                { "loaded", read_loaded, 0, false },
        };
        _cleanup_inventory_free_ Inventory *i = NULL;
        int q;

        q = inventory_new("x", &i);
        if (q < 0)
                return q;
        q = json_read_object(r, value, fields, ELEMENTSOF(fields), i);
        if (q < 0)
                return q;
        *ret = TAKE_PTR(i);
        return 0;
}

int patch_parse(const char *text, size_t size, Patch **ret, PolicyError *error) {
        _cleanup_json_reader_ JsonReader r = {};
        int q;

        q = json_reader_begin(&r, text, size, error);
        if (q < 0)
                return q;
        q = json_read_patch(&r, r.root, PATCH_MANAGED, true, ret);
        return q;
}

int manifest_parse(const char *text, size_t size, Patch **ret, PolicyError *error) {
        _cleanup_patch_unref_ Patch *p = NULL;
        _cleanup_json_reader_ JsonReader r = {};
        int q;

        q = json_reader_begin(&r, text, size, error);
        if (q < 0)
                return q;
        q = json_read_patch(&r, r.root, PATCH_PLAIN, false, &p);
        if (q >= 0 && p->kind != PATCH_PLAIN)
                q = json_reader_fail(&r, -EBADMSG,
                                     "a manifest describes a plain patch: \"kind\" can only be \"plain\"");
        if (q < 0)
                return q;
        *ret = TAKE_PTR(p);
        return 0;
}

int inventory_parse(const char *text, size_t size, Inventory **ret, PolicyError *error) {
        _cleanup_json_reader_ JsonReader r = {};
        int q;

        q = json_reader_begin(&r, text, size, error);
        if (q < 0)
                return q;
        q = json_read_inventory(&r, r.root, ret);
        return q;
}

/* --- writing --- */

int json_add(struct json_object *obj, const char *key, struct json_object *value) {
        if (!value)
                return -ENOMEM;
        if (json_object_object_add(obj, key, value) < 0) {
                json_object_put(value);
                return -ENOMEM;
        }
        return 0;
}

int json_add_string(struct json_object *obj, const char *key, const char *s) {
        return s ? json_add(obj, key, json_object_new_string(s)) : 0;
}

int json_append(struct json_object *array, struct json_object *value) {
        if (!value)
                return -ENOMEM;
        if (json_object_array_add(array, value) < 0) {
                json_object_put(value);
                return -ENOMEM;
        }
        return 0;
}

/* Puts obj if r says that something went wrong. */
struct json_object *json_finish(struct json_object *obj, int r) {
        if (r >= 0)
                return obj;
        json_object_put(obj);
        return NULL;
}

struct json_object *json_from_strv(char *const *l) {
        struct json_object *array = json_object_new_array();
        int r = 0;

        if (!array)
                return NULL;
        for (char *const *s = l; r >= 0 && s && *s; s++)
                r = json_append(array, json_object_new_string(*s));
        return json_finish(array, r);
}

static struct json_object *state_to_json(const PatchState *s) {
        struct json_object *obj = json_object_new_object(), *flags = json_object_new_array();
        int r = obj && flags ? 0 : -ENOMEM;

        for (uint32_t bit = 1; r >= 0 && bit <= PATCH_STATE_FLAGS_ALL; bit <<= 1)
                if (s->flags & bit)
                        r = json_append(flags, json_object_new_string(patch_state_flag_to_string(bit)));
        if (r >= 0)
                r = json_add(obj, "id", json_object_new_uint64(s->id));
        if (r >= 0)
                r = json_add(obj, "version", json_object_new_uint64(s->version));
        if (r < 0) {
                json_object_put(flags);
                return json_finish(obj, r);
        }
        r = json_add(obj, "flags", flags);
        if (r >= 0)
                r = json_add_string(obj, "name", s->name);
        return json_finish(obj, r);
}

static struct json_object *function_to_json(const PatchFunction *f) {
        struct json_object *obj = json_object_new_object();
        int r;

        if (!obj)
                return NULL;
        r = json_add_string(obj, "object", f->object);
        if (r >= 0)
                r = json_add_string(obj, "function", f->function);
        if (r >= 0)
                r = json_add(obj, "sympos", json_object_new_uint64(f->sympos));
        return json_finish(obj, r);
}

static struct json_object *states_to_json(const Patch *p) {
        struct json_object *array = json_object_new_array();
        int r = 0;

        if (!array)
                return NULL;
        for (size_t i = 0; r >= 0 && i < p->n_states; i++)
                r = json_append(array, state_to_json(&p->states[i]));
        return json_finish(array, r);
}

static struct json_object *functions_to_json(const Patch *p) {
        struct json_object *array = json_object_new_array();
        int r = 0;

        if (!array)
                return NULL;
        for (size_t i = 0; r >= 0 && i < p->n_functions; i++)
                r = json_append(array, function_to_json(&p->functions[i]));
        return json_finish(array, r);
}

static int add_patch_strings(struct json_object *obj, const Patch *p) {
        const struct {
                const char *key, *value;
        } strings[] = {
                        {"summary", p->summary},   {"severity", p->severity},
                        {"build_id", p->build_id}, {"srcversion", p->srcversion},
                        {"digest", p->digest},     {"kernel_build_id", p->kernel_build_id},
        };
        int r = 0;

        for (unsigned i = 0; r >= 0 && i < ELEMENTSOF(strings); i++)
                r = json_add_string(obj, strings[i].key, strings[i].value);
        if (r >= 0 && p->forced)
                r = json_add(obj, "forced", json_object_new_boolean(true));
        if (r >= 0 && p->orphan)
                r = json_add(obj, "orphan", json_object_new_boolean(true));
        return r;
}

struct json_object *patch_to_json(const Patch *p) {
        struct json_object *obj = json_object_new_object();
        bool foreign = p->kind == PATCH_FOREIGN;
        int r;

        if (!obj)
                return NULL;
        r = json_add_string(obj, "name", p->name);
        if (r >= 0)
                r = json_add_string(obj, "kernel", p->kernel);
        if (r >= 0 && !foreign)
                r = json_add_string(obj, "vendor", p->vendor);
        if (r >= 0 && !foreign)
                r = json_add_string(obj, "stream", p->stream);
        if (r >= 0 && !foreign)
                r = json_add(obj, "level", json_object_new_uint64(p->level));
        if (r >= 0)
                r = json_add(obj, "cumulative", json_object_new_boolean(p->cumulative));
        if (r >= 0)
                r = json_add_string(obj, "kind", patch_kind_to_string(p->kind));
        if (r >= 0 && !foreign)
                r = json_add(obj, "states", states_to_json(p));
        if (r >= 0)
                r = json_add(obj, "functions", functions_to_json(p));
        if (r >= 0)
                r = json_add(obj, "fixes", json_from_strv(p->fixes));
        if (r >= 0)
                r = json_add(obj, "requires", json_from_strv(p->requires));
        if (r >= 0)
                r = json_add(obj, "conflicts", json_from_strv(p->conflicts));
        if (r >= 0 && !foreign)
                r = json_add(obj, "tags", json_from_strv(p->tags));
        if (r >= 0)
                r = add_patch_strings(obj, p);
        return json_finish(obj, r);
}

static struct json_object *loaded_to_json(const LoadedModule *m) {
        struct json_object *obj = json_object_new_object();
        int r;

        if (!obj)
                return NULL;
        r = json_add_string(obj, "name", m->name);
        if (r >= 0)
                r = json_add_string(obj, "build_id", m->build_id);
        if (r >= 0)
                r = json_add_string(obj, "srcversion", m->srcversion);
        if (r >= 0 && m->forced)
                r = json_add(obj, "forced", json_object_new_boolean(true));
        return json_finish(obj, r);
}

struct json_object *inventory_to_json(const Inventory *i) {
        struct json_object *obj = json_object_new_object(), *patches = NULL, *loaded = NULL;
        int r;

        if (!obj)
                return NULL;
        r = json_add_string(obj, "kernel", i->kernel);
        if (r >= 0)
                r = json_add_string(obj, "kernel_build_id", i->kernel_build_id);
        if (r >= 0)
                r = json_add(obj, "generation", json_object_new_uint64(i->generation));
        if (r >= 0 && i->transition)
                r = json_add_string(obj, "transition", i->transition);
        else if (r >= 0)
                r = json_object_object_add(obj, "transition", NULL) < 0 ? -ENOMEM : 0;
        if (r >= 0) {
                patches = json_object_new_array();
                r = json_add(obj, "patches", patches);
        }
        for (size_t n = 0; r >= 0 && n < i->n_patches; n++)
                r = json_append(patches, patch_to_json(i->patches[n]));
        if (r >= 0 && i->n_loaded > 0) {
                loaded = json_object_new_array();
                r = json_add(obj, "loaded", loaded);
        }
        for (size_t n = 0; r >= 0 && n < i->n_loaded; n++)
                r = json_append(loaded, loaded_to_json(&i->loaded[n]));
        return json_finish(obj, r);
}
