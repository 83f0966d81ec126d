/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `requires` and `conflicts`: what the candidate wants, or doesn't want, beside it in the stack after the
 * change; it isn't counted itself.
 */
#include "policy/evaluation.h"
#include "policy/relation.h"

/*
 * A patch of the stack after the change, other than the candidate, that gives it; NULL: none. An orphan has
 * states only, and they are live.
 */
static const Patch *find_after(const Evaluation *e, const Relation *r) {
        for (size_t i = e->n_stack; i > 0; i--) {
                const Patch *q = e->stack[i - 1];

                if (change_drops(e, i - 1) || (q->orphan && r->kind != RELATION_STATE))
                        continue;
                if (relation_matches(r, q))
                        return q;
        }
        return NULL;
}

/* False: can't be understood, and that was reported. */
static bool parse(Evaluation *e, const char *text, Relation *r) {
        const Patch *p = e->change.patch;
        Violation *v;

        if (relation_parse(text, r) >= 0)
                return true;
        v = violate(e, p);
        v->have = TEXT(e, "%s", text);
        v->want = "vendor/stream>=level, state:ID or tag:NAME";
        v->message = TEXT(e, "%s %s \"%s\", which can't be understood", p->name,
                          e->rule == RULE_REQUIRES ? "requires" : "conflicts with", text);
        v->remedy = "correct the metadata of the patch";
        return false;
}

void check_requires(Evaluation *e) {
        const Patch *p = e->change.patch;

        for (char **s = p ? p->requires : NULL; s && *s; s++) {
                Relation relation;
                Violation *v;

                if (!parse(e, *s, &relation) || find_after(e, &relation))
                        continue;
                v = violate(e, p);
                v->have = "not in the stack after the change";
                v->want = TEXT(e, "%s", *s);
                v->message = TEXT(e, "%s requires %s, which would not be in the stack beside it%s", p->name,
                                  *s,
                                  change_replaces(e) && e->n_stack > 0 ? " (it replaces everything)" : "");
                v->remedy = TEXT(e, "apply what gives %s first%s", *s,
                                 change_replaces(e) ? ", and a patch that isn't cumulative on top of it"
                                                    : "");
        }
}

void check_conflicts(Evaluation *e) {
        const Patch *p = e->change.patch;

        for (char **s = p ? p->conflicts : NULL; s && *s; s++) {
                const Patch *other;
                Relation relation;
                Violation *v;

                other = parse(e, *s, &relation) ? find_after(e, &relation) : NULL;
                if (!other)
                        continue;
                v = violate(e, p);
                v->have = TEXT(e, "%s", other->name);
                v->want = TEXT(e, "not %s", *s);
                v->message = TEXT(e, "%s conflicts with %s, and %s would be in the stack beside it", p->name,
                                  *s, other->name);
                v->remedy = TEXT(e, "disable %s first", other->name);
        }
}
