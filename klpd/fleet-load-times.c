/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What time alone changes of documents that nobody touches. Windows are known for a number of openings only, so
 * half way through they are looked up again; a document whose signer's certificate isn't valid yet is checked again
 * when it is. Both depend on what the clock said, so both are done again when it is set. Timers count from what the
 * clock says now: a clock that is set comes here, and one that is slewed takes them with it.
 */
#include "klpd/fleet-load-internal.h"

#define RENEW_MIN_USEC (UINT64_C(60) * 1000000)
#define RENEW_RETRY_USEC (UINT64_C(600) * 1000000)

/* ---- windows ---- */

static int on_renew(sd_event_source *source, uint64_t usec, void *userdata) {
        FleetLoader *l = userdata;
        int r;

        l->renew = sd_event_source_disable_unref(l->renew);
        if (l->loading)
                return 0; /* its end arms the timer again */
        l->renew_now = false;
        l->expanded = calloc(l->n + 1, sizeof(*l->expanded));
        if (!l->expanded)
                return 0;
        for (size_t i = 0; i < l->n; i++)
                if (l->sources[i].document && fleet_document_has_windows(l->sources[i].document))
                        l->expanded[l->n_expanded++] = l->sources[i].document;
        if (l->n_expanded == 0) {
                fleet_loader_drop(l);
                return 0;
        }
        l->loading = l->renewing = true;
        r = fleet_expand_new(l->world->event, l->expanded, l->n_expanded, fleet_loader_now(l),
                             fleet_loader_expanded, l, &l->expand);
        if (r < 0)
                fleet_loader_renewed(l, r, strerror(-r), NULL);
        return 0;
}

static void arm_renewal(FleetLoader *l, uint64_t after) {
        int r;

        l->renew = sd_event_source_disable_unref(l->renew);
        r = sd_event_add_time_relative(l->world->event, &l->renew, CLOCK_BOOTTIME, after, 1000000, on_renew, l);
        if (r < 0)
                log_error("Can't look up maintenance windows again: %s", strerror(-r));
}

/* UINT64_MAX: all that they will ever do is known. */
static uint64_t renewal_due(const FleetLoader *l) {
        uint64_t now = fleet_loader_now(l), after = UINT64_MAX;

        if (l->renew_now)
                return 0;
        for (size_t i = 0; i < l->n; i++) {
                const FleetDocument *d = l->sources[i].document;

                for (size_t k = 0; d && k < d->n_rules; k++)
                        for (size_t w = 0; w < d->rules[k].n_windows; w++) {
                                const FleetWindow *window = &d->rules[k].windows[w];
                                uint64_t end, half;

                                if (!window->more || window->n_intervals == 0)
                                        continue;
                                end = window->intervals[window->n_intervals - 1].end;
                                half = end > now ? (end - now) / 2 : 0;
                                if (half < after)
                                        after = half;
                        }
        }
        return after < RENEW_MIN_USEC ? RENEW_MIN_USEC : after;
}

void fleet_loader_renewed(FleetLoader *l, int r, const char *text, char *const *problems) {
        bool failed = r < 0;

        if (failed)
                log_warning("Can't look up maintenance windows again: %s", text);
        for (size_t i = 0; r >= 0 && i < l->n_expanded; i++)
                if (problems[i]) {
                        log_warning("%s: %s", l->expanded[i]->source, problems[i]);
                        failed = true;
                }
        fleet_loader_arm(l);
        if (failed)
                arm_renewal(l, RENEW_RETRY_USEC);
        fleet_loader_end(l);
}

/* ---- signatures ---- */

static void look_again(FleetLoader *l) {
        l->look_again = true;
        if (fleet_loader_reload(l, false) < 0)
                log_error("Can't look again at fleet documents whose signature isn't valid at this time");
}

static int on_timely(sd_event_source *source, uint64_t usec, void *userdata) {
        FleetLoader *l = userdata;

        l->timely = sd_event_source_disable_unref(l->timely);
        if (!l->loading) /* else its end arms the timer again */
                look_again(l);
        return 0;
}

static void arm_timely(FleetLoader *l) {
        uint64_t now = fleet_loader_now(l), first = 0;
        int r;

        l->timely = sd_event_source_disable_unref(l->timely);
        for (size_t i = 0; i < l->n; i++) {
                uint64_t t = l->sources[i].timely_usec;

                if (t > 0 && (first == 0 || t < first))
                        first = t;
        }
        if (first == 0)
                return;
        r = sd_event_add_time_relative(l->world->event, &l->timely, CLOCK_BOOTTIME,
                                       first > now ? first - now : 1000000, 0, on_timely, l);
        if (r < 0)
                log_error("Can't wait until a fleet document's signature is valid: %s", strerror(-r));
}

/* ---- both ---- */

void fleet_loader_arm(FleetLoader *l) {
        uint64_t after = renewal_due(l);

        l->renew = sd_event_source_disable_unref(l->renew);
        if (after < UINT64_MAX)
                arm_renewal(l, after);
        arm_timely(l);
}

void fleet_loader_clock_set(FleetLoader *l) {
        bool untimely = false;

        for (size_t i = 0; i < l->n; i++)
                untimely = untimely || l->sources[i].untimely;
        l->renew_now = true;
        if (l->loading)
                l->again = l->again_look = true; /* some of it was checked by the old time */
        else if (untimely)
                look_again(l);
        else
                arm_renewal(l, 0);
}
