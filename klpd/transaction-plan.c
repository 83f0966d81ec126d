/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a transaction takes a plan, the first as well as each later one: what it remembers of it (the patch's
 * name, whom it replaces, the generation), and what a verdict means for how it goes on.
 */
#include <json-c/json.h>
#include <stdio.h>

#include "klpd/transaction.h"
#include "policy/json.h"

static int plan_text(const Plan *plan, char **ret) {
        struct json_object *json;
        int r;

        json = plan_to_json(plan);
        if (!json)
                return -ENOMEM;
        r = json_to_line(json, ret);
        json_object_put(json);
        return r;
}

static int transaction_note_replaced(Transaction *t, const Inventory *inventory) {
        int r;

        t->replaced = strv_free(t->replaced);
        t->collectable = strv_free(t->collectable);
        for (size_t i = 0; i < inventory->n_patches; i++) {
                const Patch *p = inventory->patches[i];
                bool same = t->name && patch_name_equal(p->name, t->name);
                bool replaced = !t->disable && t->candidate.patch && t->candidate.patch->cumulative && !same;

                if (p->orphan || (!replaced && !(t->disable && same)))
                        continue;
                if (replaced) {
                        r = strv_extend(&t->replaced, p->name);
                        if (r < 0)
                                return r;
                }
                if (p->kind != PATCH_FOREIGN) {
                        r = strv_extend(&t->collectable, p->name);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int transaction_note_plan(Transaction *t, Plan *plan, const Inventory *inventory) {
        const Patch *present = t->spec->patch ? inventory_find(inventory, t->spec->patch) : NULL;
        const char *name = t->candidate.patch ? t->candidate.patch->name
                           : present          ? present->name
                                              : t->spec->patch;
        char *json;
        int r;

        r = plan_text(plan, &json);
        if (r < 0)
                return r;
        free(t->plan_json);
        t->plan_json = json;
        if (name && !streq_ptr(t->name, name)) {
                char *copy = strdup(name);

                if (!copy)
                        return -ENOMEM;
                free(t->name);
                t->name = copy;
        }
        if (!t->disable && t->candidate.patch && t->candidate.patch->digest) {
                r = free_and_strdup(&t->digest, t->candidate.patch->digest);
                if (r < 0)
                        return r;
        }
        t->generation = inventory->generation;
        return transaction_note_replaced(t, inventory);
}

/* "rule: what is wrong. What to do. rule: …" */
static void describe_refusal(const Plan *plan, char *text, size_t size) {
        size_t used = 0;

        text[0] = 0;
        for (size_t i = 0; i < plan->n_violations && used < size; i++) {
                const Violation *v = &plan->violations[i];
                int n;

                if (v->mode != RULE_ENFORCE)
                        continue;
                n = snprintf(text + used, size - used, "%s%s: %s%s%s", used > 0 ? "; " : "",
                             rule_to_string(v->rule), v->message ?: "", v->remedy ? " - " : "",
                             v->remedy ?: "");
                used += n > 0 ? (size_t) n : 0;
        }
}

bool transaction_take_plan(Transaction *t, Plan *plan, const Inventory *inventory) {
        char text[3072];
        int r;

        if (!t->plan && t->handlers.looked)
                t->handlers.looked(t, inventory, t->handlers.userdata);
        plan_free(t->plan);
        t->plan = plan;
        r = transaction_note_plan(t, plan, inventory);
        if (r < 0) {
                transaction_fail(t, TRANSACTION_FAILED, r, ERROR_FAILED, "Can't keep the plan: %s",
                                 strerror(-r));
                return false;
        }
        if (t->handlers.changed)
                t->handlers.changed(t, t->handlers.userdata);

        switch (plan->verdict) {
        case VERDICT_ALLOW:
                return true;
        case VERDICT_NOTHING_TO_DO:
                transaction_finish(t, TRANSACTION_NOTHING_TO_DO, NULL);
                return false;
        case VERDICT_REFUSE:
        case _VERDICT_MAX:
        case _VERDICT_INVALID:
                break;
        }
        describe_refusal(plan, text, sizeof(text));
        transaction_fail(t, TRANSACTION_REFUSED, -EPERM, ERROR_REFUSED, "Policy refuses to %s%s%s%s: %s",
                         request_kind_to_string(t->spec->kind), *transaction_patch_name(t) ? " '" : "",
                         transaction_patch_name(t), *transaction_patch_name(t) ? "'" : "", text);
        return false;
}
