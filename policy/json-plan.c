/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The result format of klpctl-plan (klpctl(1)): a Plan as JSON, and back for those who show what the daemon
 * planned. What is read back lies in the new plan's arena; its candidate and intermediate are patches that
 * have a name and nothing else.
 */
#include "policy/arena.h"
#include "policy/json-model.h"

/* --- writing --- */

static const char *const changes[_PLAN_CHANGE_MAX] = {
        [PLAN_GAINED] = "gained",
        [PLAN_LOST] = "lost",
        [PLAN_CHANGED_HANDS] = "changed-hands",
};

static void write_violation(JsonWriter *w, const Violation *v) {
        json_write_open(w, '{');
        json_write_member(w, "rule", rule_to_string(v->rule));
        json_write_member(w, "mode", rule_mode_to_string(v->mode));
        if (v->has_state)
                json_write_member_u64(w, "state", v->state);
        json_write_member(w, "state_name", v->state_name);
        json_write_member(w, "patch", v->patch);
        json_write_member(w, "function", v->function);
        json_write_member(w, "have", v->have);
        json_write_member(w, "want", v->want);
        json_write_member(w, "message", v->message);
        json_write_member(w, "remedy", v->remedy);
        json_write_close(w, '}');
}

static void write_version(JsonWriter *w, const char *key, bool there, uint32_t version) {
        json_write_key(w, key);
        if (there)
                json_write_u64(w, version);
        else
                json_write_null(w);
}

static void write_state(JsonWriter *w, const PlanState *s) {
        json_write_open(w, '{');
        json_write_member_u64(w, "id", s->id);
        json_write_member(w, "name", s->name);
        json_write_member(w, "fate", klp_diff_fate_name(s->fate));
        write_version(w, "from", s->has_from, s->from);
        write_version(w, "to", s->has_to, s->to);
        json_write_member(w, "from_patch", s->from_patch);
        json_write_member(w, "to_patch", s->to_patch);
        json_write_close(w, '}');
}

static void write_callback(JsonWriter *w, const PlanCallback *c) {
        json_write_open(w, '{');
        json_write_member(w, "patch", c->patch);
        json_write_member_u64(w, "state", c->state);
        json_write_member(w, "callback", klp_diff_callback_name(c->callback));
        json_write_member(w, "when", plan_callback_when(c->callback));
        json_write_close(w, '}');
}

static void write_function(JsonWriter *w, const PlanFunction *f) {
        json_write_open(w, '{');
        json_write_member(w, "object", f->object);
        json_write_member(w, "function", f->function);
        json_write_member_u64(w, "sympos", f->sympos);
        json_write_member(w, "change", changes[f->change]);
        json_write_member(w, "from_patch", f->from_patch);
        json_write_member(w, "to_patch", f->to_patch);
        json_write_close(w, '}');
}

static void write_fix(JsonWriter *w, const PlanFix *f) {
        json_write_open(w, '{');
        json_write_member(w, "fix", f->fix);
        json_write_member(w, "change", changes[f->change]);
        json_write_close(w, '}');
}

static void write_step(JsonWriter *w, const PlanStep *s) {
        json_write_open(w, '{');
        json_write_member(w, "step", plan_step_to_string(s->kind));
        json_write_member(w, "patch", s->patch);
        json_write_close(w, '}');
}

/* An array of n elements; a macro, since the types differ. */
#define WRITE_ARRAY(w, key, array, n, write_element)            \
        ({                                                      \
                json_write_key(w, key);                         \
                json_write_open(w, '[');                        \
                for (size_t _i = 0; _i < (n); _i++)             \
                        write_element(w, &(array)[_i]);         \
                json_write_close(w, ']');                       \
        })

/* All members of the object, without its brackets. */
void json_write_plan(JsonWriter *w, const Plan *p) {
        json_write_member(w, "verdict", verdict_to_string(p->verdict));
        json_write_member(w, "request", request_kind_to_string(p->request));
        json_write_member(w, "patch", p->candidate ? p->candidate->name : NULL);
        json_write_member(w, "intermediate", p->intermediate ? p->intermediate->name : NULL);
        json_write_member_u64(w, "generation", p->generation);
        WRITE_ARRAY(w, "violations", p->violations, p->n_violations, write_violation);
        WRITE_ARRAY(w, "states", p->states, p->n_states, write_state);
        WRITE_ARRAY(w, "callbacks", p->callbacks, p->n_callbacks, write_callback);
        WRITE_ARRAY(w, "functions", p->functions, p->n_functions, write_function);
        WRITE_ARRAY(w, "fixes", p->fixes, p->n_fixes, write_fix);
        WRITE_ARRAY(w, "steps", p->steps, p->n_steps, write_step);
        json_write_key(w, "reversible");
        json_write_bool(w, p->reversible);
}

struct json_object *plan_to_json(const Plan *p) {
        _cleanup_json_writer_ JsonWriter w = {};
        struct json_object *obj;
        const char *text;

        json_write_open(&w, '{');
        json_write_plan(&w, p);
        json_write_close(&w, '}');
        text = json_writer_text(&w);
        if (!text || json_parse_strict(text, w.size, &obj, NULL) < 0)
                return NULL;
        return obj;
}

/* --- reading --- */

/* Elements are read into one of these, then copied: fields of all of them. */
typedef struct Element {
        const char *rule, *mode, *state_name, *patch, *function, *have, *want, *message, *remedy;
        const char *name, *fate, *from_patch, *to_patch, *callback, *when, *object, *change, *fix, *step;
        uint64_t id;
        bool has_id, has_from, has_to;
        uint32_t from, to, sympos;
} Element;

/* Strings of an element are json-c's until the element is copied. */
static int read_borrowed(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_string_value(r, value, target);
}

static int read_id(JsonReader *r, const JsonValue *value, void *target) {
        Element *e = target;

        e->has_id = true;
        return json_read_u64(r, value, &e->id);
}

static int read_from(JsonReader *r, const JsonValue *value, void *target) {
        Element *e = target;

        e->has_from = value;
        return value ? json_read_u32(r, value, &e->from) : 0;
}

static int read_to(JsonReader *r, const JsonValue *value, void *target) {
        Element *e = target;

        e->has_to = value;
        return value ? json_read_u32(r, value, &e->to) : 0;
}

#define TEXT_FIELD(key, field, required) { key, read_borrowed, offsetof(Element, field), required }

/* NULL stays NULL; an allocation that fails is remembered by the arena. */
static const char *keep(Plan *p, const char *s) {
        return s ? arena_strdup(p->arena, s) : NULL;
}

static int index_of(const char *s, const char *(*to_string)(unsigned i), unsigned first, unsigned n) {
        for (unsigned i = first; i < n; i++)
                if (streq(to_string(i), s))
                        return (int) i;
        return -EINVAL;
}

static const char *fate_at(unsigned i) {
        return klp_diff_fate_name((enum klp_diff_fate) i);
}

static const char *callback_at(unsigned i) {
        return klp_diff_callback_name((enum klp_diff_callback) i);
}

static const char *change_at(unsigned i) {
        return changes[i];
}

static int read_violation(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                TEXT_FIELD("rule", rule, true),         TEXT_FIELD("mode", mode, true),
                { "state", read_id, 0, false },         TEXT_FIELD("state_name", state_name, false),
                TEXT_FIELD("patch", patch, false),      TEXT_FIELD("function", function, false),
                TEXT_FIELD("have", have, false),        TEXT_FIELD("want", want, false),
                TEXT_FIELD("message", message, false),  TEXT_FIELD("remedy", remedy, false),
        };
        Element e = {};
        Plan *p = target;
        RuleMode mode;
        Rule rule;
        int q;

        q = json_read_object(r, value, fields, ELEMENTSOF(fields), &e);
        if (q < 0)
                return q;
        rule = streq(e.rule, "no-path") ? RULE_NO_PATH : rule_from_string(e.rule);
        mode = rule_mode_from_string(e.mode);
        if (rule < 0 || mode <= RULE_OFF)
                return json_reader_fail(r, -EBADMSG, "no such rule or mode");
        p->violations[p->n_violations++] = (Violation){
                        .rule = rule,
                        .mode = mode,
                        .has_state = e.has_id,
                        .state = e.id,
                        .state_name = keep(p, e.state_name),
                        .patch = keep(p, e.patch),
                        .function = keep(p, e.function),
                        .have = keep(p, e.have),
                        .want = keep(p, e.want),
                        .message = keep(p, e.message),
                        .remedy = keep(p, e.remedy),
        };
        return 0;
}

static int read_state(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                { "id", read_id, 0, true },
                TEXT_FIELD("name", name, false),
                TEXT_FIELD("fate", fate, true),
                { "from", read_from, 0, false },
                { "to", read_to, 0, false },
                TEXT_FIELD("from_patch", from_patch, false),
                TEXT_FIELD("to_patch", to_patch, false),
        };
        Element e = {};
        Plan *p = target;
        int q, fate;

        q = json_read_object(r, value, fields, ELEMENTSOF(fields), &e);
        if (q < 0)
                return q;
        fate = index_of(e.fate, fate_at, KLP_DIFF_INTRODUCE, KLP_DIFF_REMOVE + 1);
        if (fate < 0)
                return json_reader_fail(r, -EBADMSG, "no such fate");
        p->states[p->n_states++] = (PlanState){
                        .id = e.id,
                        .name = keep(p, e.name),
                        .fate = (enum klp_diff_fate) fate,
                        .has_from = e.has_from,
                        .has_to = e.has_to,
                        .from = e.from,
                        .to = e.to,
                        .from_patch = keep(p, e.from_patch),
                        .to_patch = keep(p, e.to_patch),
        };
        return 0;
}

static int read_callback(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                TEXT_FIELD("patch", patch, true),
                { "state", read_id, 0, true },
                TEXT_FIELD("callback", callback, true),
                TEXT_FIELD("when", when, false),
        };
        Element e = {};
        Plan *p = target;
        int q, callback;

        q = json_read_object(r, value, fields, ELEMENTSOF(fields), &e);
        if (q < 0)
                return q;
        callback = index_of(e.callback, callback_at, KLP_DIFF_PRE_PATCH, KLP_DIFF_CANCEL_TAKEOVER + 1);
        if (callback < 0)
                return json_reader_fail(r, -EBADMSG, "no such callback");
        p->callbacks[p->n_callbacks++] = (PlanCallback) {
                .patch = keep(p, e.patch), .state = e.id, .callback = (enum klp_diff_callback) callback,
        };
        return 0;
}

static int read_function(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                TEXT_FIELD("object", object, true),
                TEXT_FIELD("function", function, true),
                { "sympos", json_read_u32, offsetof(Element, sympos), false },
                TEXT_FIELD("change", change, true),
                TEXT_FIELD("from_patch", from_patch, false),
                TEXT_FIELD("to_patch", to_patch, false),
        };
        Element e = {};
        Plan *p = target;
        int q, change;

        q = json_read_object(r, value, fields, ELEMENTSOF(fields), &e);
        if (q < 0)
                return q;
        change = index_of(e.change, change_at, 0, _PLAN_CHANGE_MAX);
        if (change < 0)
                return json_reader_fail(r, -EBADMSG, "no such change");
        p->functions[p->n_functions++] = (PlanFunction) {
                .change = (PlanChange) change, .object = keep(p, e.object), .function = keep(p, e.function),
                .sympos = e.sympos, .from_patch = keep(p, e.from_patch), .to_patch = keep(p, e.to_patch),
        };
        return 0;
}

static int read_fix(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {TEXT_FIELD("fix", fix, true), TEXT_FIELD("change", change, true)};
        Element e = {};
        Plan *p = target;
        int q, change;

        q = json_read_object(r, value, fields, ELEMENTSOF(fields), &e);
        if (q < 0)
                return q;
        change = index_of(e.change, change_at, 0, PLAN_CHANGED_HANDS);
        if (change < 0)
                return json_reader_fail(r, -EBADMSG, "no such change");
        p->fixes[p->n_fixes++] = (PlanFix) { .change = (PlanChange) change, .fix = keep(p, e.fix) };
        return 0;
}

static int read_step(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {TEXT_FIELD("step", step, true),
                                           TEXT_FIELD("patch", patch, false)};
        Element e = {};
        PlanStepKind kind;
        Plan *p = target;
        int q;

        q = json_read_object(r, value, fields, ELEMENTSOF(fields), &e);
        if (q < 0)
                return q;
        kind = plan_step_from_string(e.step);
        if (kind < 0)
                return json_reader_fail(r, -EBADMSG, "no such step");
        p->steps[p->n_steps++] = (PlanStep) { .kind = kind, .patch = keep(p, e.patch) };
        return 0;
}

/* Room for all elements first: json_read_array() then appends. */
#define READ_ARRAY(name, field)                                                                             \
        static int read_##field(JsonReader *r, const JsonValue *value, void *target) {                   \
                Plan *p = target;                                                                           \
                size_t n = json_is(value, JSON_ARRAY) ? value->size : 0;                                    \
                                                                                                            \
                p->field = arena_alloc(p->arena, n, sizeof(*p->field));                                     \
                if (!p->field)                                                                              \
                        return -ENOMEM;                                                                     \
                return json_read_array(r, value, n, read_##name, target);                                   \
        }                                                                                                   \
        struct read_##field##_needs_semicolon

READ_ARRAY(violation, violations);
READ_ARRAY(state, states);
READ_ARRAY(callback, callbacks);
READ_ARRAY(function, functions);
READ_ARRAY(fix, fixes);
READ_ARRAY(step, steps);

static int read_verdict(JsonReader *r, const JsonValue *value, void *target) {
        Verdict verdict;
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        verdict = verdict_from_string(s);
        if (verdict < 0)
                return json_reader_fail(r, -EBADMSG, "no such verdict");
        *(Verdict *) target = verdict;
        return 0;
}

static int read_request(JsonReader *r, const JsonValue *value, void *target) {
        RequestKind kind;
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        kind = request_kind_from_string(s);
        if (kind < 0)
                return json_reader_fail(r, -EBADMSG, "no such request");
        *(RequestKind *) target = kind;
        return 0;
}

/* A patch of which only the name is known; held in plan->patches. */
static int read_named_patch(JsonReader *r, const JsonValue *value, Patch **field, Plan *p) {
        Patch *patch;
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        q = patch_new(s, &patch);
        if (q == -EINVAL)
                return json_reader_fail(r, -EBADMSG, "not the name of a patch");
        if (q < 0)
                return q;
        p->patches[p->n_patches++] = patch;
        *field = patch;
        return 0;
}

static int read_candidate(JsonReader *r, const JsonValue *value, void *target) {
        Plan *p = target;

        return read_named_patch(r, value, &p->candidate, p);
}

static int read_intermediate(JsonReader *r, const JsonValue *value, void *target) {
        Plan *p = target;

        return read_named_patch(r, value, &p->intermediate, p);
}

static const JsonField plan_fields[] = {
        { "verdict", read_verdict, offsetof(Plan, verdict), true },
        { "request", read_request, offsetof(Plan, request), false },
        { "patch", read_candidate, 0, false },
        { "intermediate", read_intermediate, 0, false },
        { "generation", json_read_u64, offsetof(Plan, generation), false },
        { "violations", read_violations, 0, false },
        { "states", read_states, 0, false },
        { "callbacks", read_callbacks, 0, false },
        { "functions", read_functions, 0, false },
        { "fixes", read_fixes, 0, false },
        { "steps", read_steps, 0, false },
        { "reversible", json_read_bool, offsetof(Plan, reversible), false },
};

int plan_parse(const char *text, size_t size, Plan **ret, PolicyError *error) {
        _cleanup_plan_free_ Plan *p = NULL;
        _cleanup_json_reader_ JsonReader r = {};
        int q;

        q = plan_new(&p);
        if (q < 0)
                return policy_error_set(error, q, "out of memory");
        p->patches = arena_alloc(p->arena, 2, sizeof(*p->patches));
        if (!p->patches)
                return policy_error_set(error, -ENOMEM, "out of memory");
        q = json_reader_begin(&r, text, size, error);
        if (q < 0)
                return q;
        q = json_read_object(&r, r.root, plan_fields, ELEMENTSOF(plan_fields), p);
        if (q >= 0 && arena_failed(p->arena))
                q = -ENOMEM;
        if (q == -ENOMEM)
                return policy_error_set(error, q, "out of memory");
        if (q < 0)
                return q;
        *ret = TAKE_PTR(p);
        return 0;
}
