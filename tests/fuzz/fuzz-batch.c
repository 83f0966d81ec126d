/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A line of `klpctl plan --batch`: parsers and planner together; what comes out is one line, and a result or
 * an error. */
#include "policy/batch.h"
#include "policy/json.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static Batch *batch; /* kept: the same arena for all */
        struct json_object *obj;
        const char *result;
        _cleanup_plan_free_ Plan *plan = NULL;
        BatchOutcome outcome;

        if (!batch)
                must(batch_new(&batch) == 0);
        must(batch_line(batch, 1, (const char *) data, size, &result, &outcome) == 0);
        must(!strchr(result, '\n'));
        must(json_parse_strict(result, strlen(result), &obj, NULL) == 0); /* an error's message, too */
        json_object_put(obj);
        if (outcome == BATCH_ERROR) {
                must(strstr(result, "\"verdict\":\"refuse\"") && strstr(result, "\"error\":{\"message\":"));
                return 0;
        }
        must(plan_parse(result, strlen(result), &plan, NULL) == 0);
        must((plan->verdict == VERDICT_REFUSE) == (outcome == BATCH_REFUSED));
        must((plan->n_steps > 0) == (plan->verdict == VERDICT_ALLOW));
        return 0;
}
