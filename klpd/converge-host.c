/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See converge-host.h. */
#include <sys/timex.h>
#include <time.h>

#include "klpd/converge-host.h"
#include "klpd/probation.h"

/* ---- the clock ---- */

static uint64_t system_now(void *userdata) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_REALTIME, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

/* Only reads: klpd.service has no CAP_SYS_TIME. */
static bool system_synchronized(void *userdata) {
        struct timex t = {};

        return adjtimex(&t) >= 0 && !(t.status & STA_UNSYNC);
}

const ConvergeClock converge_clock_system = { system_now, system_synchronized, NULL };

/* ---- what runs, and what there is ---- */

static bool counts(const Patch *p) {
        return p->kind != PATCH_FOREIGN && !p->orphan;
}

/* The file that an enabled patch was loaded from, as far as it can be told: what runs has no digest of its
 * own, only a build id. */
static const char *digest_of(const World *w, const Patch *p) {
        const RepositoryEntry *entry;

        if (p->digest)
                return p->digest;
        entry = w->repository ? repository_find(w->repository, p->name) : NULL;
        return entry && !entry->problem && p->build_id && streq_ptr(entry->patch->build_id, p->build_id)
                               ? entry->patch->digest
                               : NULL;
}

static int add_running(const World *w, const Inventory *inventory, ConvergeHost *h) {
        size_t n_fixes = 0, n = 0, k = 0;

        for (size_t i = 0; i < inventory->n_patches; i++)
                n_fixes += strv_length(inventory->patches[i]->fixes);
        h->running = calloc(inventory->n_patches + 1, sizeof(*h->running));
        h->fixes = calloc(n_fixes + 1, sizeof(*h->fixes));
        if (!h->running || !h->fixes)
                return -ENOMEM;
        for (size_t i = 0; i < inventory->n_patches; i++) {
                const Patch *p = inventory->patches[i];
                char **fix;

                if (!counts(p))
                        continue;
                h->running[n] = (FleetRunning) {
                        .name = FLEET_SLICE(p->name),
                        .vendor = FLEET_SLICE(p->vendor),
                        .stream = FLEET_SLICE(p->stream),
                        .digest = FLEET_SLICE(digest_of(w, p)),
                        .build_id = FLEET_SLICE(p->build_id),
                        .level = p->level,
                        .first_fix = k,
                        .n_fixes = strv_length(p->fixes),
                };
                n++;
                STRV_FOREACH(fix, p->fixes)
                        h->fixes[k++] = FLEET_SLICE(*fix);
        }
        h->host.running = h->running;
        h->host.n_running = n;
        h->host.fixes = h->fixes;
        h->host.n_fixes = k;
        return 0;
}

static int add_available(const World *w, ConvergeHost *h) {
        Patch *const *patches;
        size_t n = 0, k = 0;

        patches = repository_patches(w->repository, &n);
        h->available = calloc(n + 1, sizeof(*h->available));
        if (!h->available)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                const Patch *p = patches[i];

                if (p->kernel && !streq(p->kernel, w->release))
                        continue;
                h->available[k++] = (FleetAvailable) {
                        .vendor = FLEET_SLICE(p->vendor),
                        .stream = FLEET_SLICE(p->stream),
                        .digest = FLEET_SLICE(p->digest),
                        .level = p->level,
                };
        }
        h->host.available = h->available;
        h->host.n_available = k;
        h->host.knows_available = true;
        return 0;
}

/* ---- what stands above documents ---- */

static int make_slices(char *const *a, char *const *b, FleetSlice **ret, size_t *ret_n) {
        char *const *s;
        size_t n = 0;

        *ret = calloc(strv_length(a) + strv_length(b) + 1, sizeof(**ret));
        if (!*ret)
                return -ENOMEM;
        STRV_FOREACH(s, a)
                (*ret)[n++] = FLEET_SLICE(*s);
        STRV_FOREACH(s, b)
                (*ret)[n++] = FLEET_SLICE(*s);
        *ret_n = n;
        return 0;
}

static int add_operator(const World *w, ConvergeHost *h) {
        const Policy *policy = w->policy ?: policy_default();
        FleetHost *host = &h->host;
        int r;

        host->mode_off = w->config->mode == MODE_OFF;
        host->held = policy->hold;
        host->hold_reason = FLEET_SLICE(policy->hold_reason);
        r = make_slices(policy->hold_streams, NULL, &h->held_streams, &host->n_held_streams);
        if (r >= 0)
                r = make_slices(policy->quarantine, w->probation ? probation_quarantined(w->probation) : NULL,
                                &h->quarantine, &host->n_quarantine);
        host->held_streams = h->held_streams;
        host->quarantine = h->quarantine;
        return r;
}

static int add_record(const FleetRecord *record, ConvergeHost *h) {
        FleetHost *host = &h->host;

        h->failed = calloc(record->n_failed + 1, sizeof(*h->failed));
        if (!h->failed)
                return -ENOMEM;
        for (size_t i = 0; i < record->n_failed; i++)
                h->failed[i] = (FleetFailure) { FLEET_SLICE(record->failed[i].document),
                                                FLEET_SLICE(record->failed[i].content) };
        host->failed = h->failed;
        host->n_failed = record->n_failed;
        host->overridden = record->overridden;
        host->override_stream = FLEET_SLICE(record->override_stream);
        host->last_trusted = record->last_trusted_usec;
        host->goal_since = record->goal_since_usec;
        return 0;
}

static int add_facts(const World *w, ConvergeHost *h, PolicyError *error) {
        const FleetFacts *f = &h->facts;
        size_t n;
        int r;

        r = fleet_facts_read(w->root_fd, &h->facts, error);
        if (r == -ENOMEM)
                return r;
        n = strv_length(f->label_keys);
        h->labels = calloc(n + 1, sizeof(*h->labels));
        if (!h->labels)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                h->labels[i] = (FleetLabel) { FLEET_SLICE(f->label_keys[i]), FLEET_SLICE(f->label_values[i]) };
        h->host.labels = h->labels;
        h->host.n_labels = n;
        h->host.hostname = FLEET_SLICE(f->hostname);
        h->host.machine_id = FLEET_SLICE(f->machine_id);
        h->host.os = FLEET_SLICE(f->os);
        h->host.kernel = FLEET_SLICE(w->release);
        h->host.has_host_id = f->has_host_id;
        memcpy(h->host.host_id, f->host_id, sizeof(f->host_id));
        return r;
}

int converge_host_build(const World *world, const Inventory *inventory, const FleetRecord *record,
                        const ConvergeClock *clock, ConvergeHost *ret, PolicyError *error) {
        ConvergeHost h = {};
        int facts, r;

        r = facts = add_facts(world, &h, error);
        if (r != -ENOMEM)
                r = add_running(world, inventory, &h);
        if (r >= 0)
                r = add_available(world, &h);
        if (r >= 0)
                r = add_operator(world, &h);
        if (r >= 0)
                r = add_record(record, &h);
        if (r < 0) {
                converge_host_done(&h);
                return r;
        }
        h.host.clock_unsynchronized = !clock->synchronized(clock->userdata);
        *ret = h;
        return facts;
}

void converge_host_done(ConvergeHost *h) {
        fleet_facts_done(&h->facts);
        free(h->labels);
        free(h->running);
        free(h->fixes);
        free(h->quarantine);
        free(h->held_streams);
        free(h->available);
        free(h->failed);
        *h = (ConvergeHost) {};
}
