/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `requires` and `conflicts`: what a patch wants, or doesn't want, beside it in the stack after the change. The patch
 * that asks isn't counted itself. The rules judge what the change does: the candidate's own relations are reported as
 * the policy says; what a change does to the relations of a patch that stays (a disable that takes away what it
 * requires, an enable that brings what it conflicts with) is a warning at most, since SEMANTICS.md speaks of the
 * candidate only.
 */
#include "policy/evaluation.h"
#include "policy/relation.h"

/* Whether patch i of the stack is there after the change. */
static bool remains(const Evaluation *e, size_t i) {
        return !change_drops(e, i);
}

/*
 * A patch of the stack after the change, other than `asker`, that gives it; NULL: none. An orphan has states only, and
 * they are live.
 */
static const Patch *find_after(const Evaluation *e, const Relation *r, const Patch *asker) {
        const Patch *p = e->change.patch;

        for (size_t i = e->n_stack; i > 0; i--) {
                const Patch *q = e->stack[i - 1];

                if (q == asker || !remains(e, i - 1) || (q->orphan && r->kind != RELATION_STATE))
                        continue;
                if (relation_matches(r, q))
                        return q;
        }
        if (e->change.kind != CHANGE_DISABLE && p && p != asker && relation_matches(r, p))
                return p;
        return NULL;
}

static bool held_before(const Evaluation *e, const Relation *r, const Patch *asker) {
        for (size_t i = 0; i < e->n_stack; i++)
                if (e->stack[i] != asker && relation_matches(r, e->stack[i]))
                        return true;
        return false;
}

/* NULL: can't be understood, and that was reported. */
static const Relation *parse(Evaluation *e, const Patch *p, const char *text, Relation *r) {
        Violation *v;

        if (relation_parse(text, r) >= 0)
                return r;
        v = violate(e, p);
        v->have = TEXT(e, "%s", text);
        v->want = "vendor/stream>=level, state:ID or tag:NAME";
        v->message = TEXT(e, "%s %s \"%s\", which can't be understood", p->name,
                          e->rule == RULE_REQUIRES ? "requires" : "conflicts with", text);
        v->remedy = "correct the metadata of the patch";
        return NULL;
}

static void report_missing(Evaluation *e, const Patch *p, const char *text) {
        bool candidate = p == e->change.patch;
        Violation *v = violate(e, p);

        v->have = "not in the stack after the change";
        v->want = TEXT(e, "%s", text);
        if (candidate) {
                v->message = TEXT(e, "%s requires %s, which would not be in the stack beside it%s", p->name, text,
                                  change_replaces(e) && e->n_stack > 0 ? " (it replaces everything)" : "");
                v->remedy = TEXT(e, "apply what gives %s first%s", text,
                                 change_replaces(e) ? ", and a patch that isn't cumulative on top of it" : "");
        } else {
                v->message = TEXT(e, "%s stays and requires %s, which the change takes away", p->name, text);
                v->remedy = TEXT(e, "disable %s too", p->name);
        }
}

static void report_present(Evaluation *e, const Patch *p, const char *text, const Patch *other) {
        Violation *v = violate(e, p);

        v->have = TEXT(e, "%s", other->name);
        v->want = TEXT(e, "not %s", text);
        v->message = TEXT(e, "%s conflicts with %s, and %s would be in the stack beside it", p->name, text, other->name);
        v->remedy = TEXT(e, "disable %s first", p == e->change.patch ? other->name : p->name);
}

static void check_requires_of(Evaluation *e, const Patch *p) {
        for (char **s = p->requires; s && *s; s++) {
                Relation relation;
                const Relation *r;

                /* A patch that stays: only if the change is to blame. */
                if (p != e->change.patch && (relation_parse(*s, &relation) < 0 || !held_before(e, &relation, p)))
                        continue;
                r = parse(e, p, *s, &relation);
                if (r && !find_after(e, r, p))
                        report_missing(e, p, *s);
        }
}

static void check_conflicts_of(Evaluation *e, const Patch *p) {
        for (char **s = p->conflicts; s && *s; s++) {
                const Patch *other;
                Relation relation;
                const Relation *r;

                if (p != e->change.patch && (relation_parse(*s, &relation) < 0 || held_before(e, &relation, p)))
                        continue;
                r = parse(e, p, *s, &relation);
                other = r ? find_after(e, r, p) : NULL;
                if (other)
                        report_present(e, p, *s, other);
        }
}

static void check_relations(Evaluation *e, void (*check)(Evaluation *e, const Patch *p)) {
        RuleMode mode = e->mode;

        if (e->change.kind != CHANGE_DISABLE && e->change.patch)
                check(e, e->change.patch);

        e->mode = RULE_WARN;
        for (size_t i = 0; i < e->n_stack; i++)
                if (remains(e, i) && !e->stack[i]->orphan)
                        check(e, e->stack[i]);
        e->mode = mode;
}

void check_requires(Evaluation *e) {
        check_relations(e, check_requires_of);
}

void check_conflicts(Evaluation *e) {
        check_relations(e, check_conflicts_of);
}
