/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fleet-lock.h. One request at a time; between tries a timer. */
#include <stdio.h>

#include "klpd/klp-fleet/backoff.h"
#include "klpd/klp-fleet/fleet-lock.h"
#include "klpd/klp-fleet/lock-message.h"
#include "klpd/klp-fleet/wait.h"
#include "klpd/log.h"

struct FleetLock {
        sd_event *event;
        Http *http;
        const LockConfig *config;
        const char *id;
        FleetLockGrant grant;
        void *userdata;

        Slot slot;
        HttpCall *call;
        sd_event_source *timer;
        Backoff backoff;
        char said[384]; /* the last refusal, which is not said twice */
};

static void go_on(FleetLock *l);

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        go_on(userdata);
        return 0;
}

static void retry(FleetLock *l) {
        if (wait_start(l->timer, backoff_next_random(&l->backoff)) < 0)
                log_error("Can't wait before asking for the slot again");
}

/* Once, until something else is to be said. */
static void say(FleetLock *l, const char *text) {
        if (streq(l->said, text))
                return;
        (void) snprintf(l->said, sizeof(l->said), "%s", text);
        log_notice("%s", text);
}

static void ended(FleetLock *l, bool success) {
        slot_done(&l->slot, success);
        if (!success) {
                retry(l);
                return;
        }
        backoff_reset(&l->backoff);
        go_on(l);
}

static void on_reply(HttpCall *call, const HttpReply *reply, void *userdata) {
        FleetLock *l = userdata;
        bool acquire = l->slot.busy == SLOT_ACTION_ACQUIRE, success = !reply->problem && reply->status == 200;
        char why[352], text[384];

        if (success && acquire)
                say(l, "This host has a slot");
        else if (success)
                say(l, "This host has no slot");
        else {
                if (reply->problem)
                        (void) snprintf(why, sizeof(why), "%.300s", reply->problem);
                else
                        (void) lock_describe_error(reply->status, reply->body, reply->size, why, sizeof(why));
                (void) snprintf(text, sizeof(text), "The FleetLock server %s: %.320s",
                                acquire ? "gives no slot" : "doesn't take the slot back", why);
                say(l, text);
        }
        l->call = http_call_free(l->call);
        ended(l, success);
}

static int request(FleetLock *l, const char *path) {
        _cleanup_free_ char *body = NULL;
        char url[CONFIG_URL_MAX + 32];
        HttpRequest q = {
                .url = url,
                .headers = { LOCK_HEADER },
                .max = LOCK_REPLY_MAX,
                .timeout_usec = l->config->timeout_usec,
                .tls = { l->config->ca, l->config->certificate, l->config->key },
                .on_done = on_reply,
                .userdata = l,
        };
        size_t n = strlen(l->config->url);
        int r;

        while (n > 0 && l->config->url[n - 1] == '/')
                n--;
        (void) snprintf(url, sizeof(url), "%.*s%s", (int) n, l->config->url, path);
        r = lock_request(l->id, l->config->group, &body);
        if (r < 0)
                return r;
        q.body = body;
        return http_post(l->http, &q, &l->call);
}

static void go_on(FleetLock *l) {
        int r = 0;

        switch (slot_next(&l->slot)) {
        case SLOT_ACTION_NONE:
                return;
        case SLOT_ACTION_ACQUIRE:
                r = request(l, LOCK_PATH_ACQUIRE);
                break;
        case SLOT_ACTION_RELEASE:
                r = request(l, LOCK_PATH_RELEASE);
                break;
        case SLOT_ACTION_GRANT:
                r = l->grant(l->slot.telling, l->userdata);
                break;
        }
        if (r < 0) {
                log_warning("Can't ask for the slot: %s", strerror(-r));
                ended(l, false);
        }
}

void fleet_lock_set_wanted(FleetLock *l, const char *wanted) {
        char before[SLOT_TOKEN_MAX + 1];
        bool known = l->slot.known;

        memcpy(before, l->slot.wanted, sizeof(before));
        if (slot_set_wanted(&l->slot, wanted) < 0)
                log_warning("klpd wants a slot with a token that can't be one, ignored");
        if (known == l->slot.known && streq(before, l->slot.wanted))
                return;
        /* Something new is wanted: now, not when the old one would have been tried again. */
        backoff_reset(&l->backoff);
        (void) sd_event_source_set_enabled(l->timer, SD_EVENT_OFF);
        go_on(l);
}

void fleet_lock_granted(FleetLock *l, bool success) {
        if (l->slot.busy == SLOT_ACTION_GRANT)
                ended(l, success);
}

const char *fleet_lock_status(const FleetLock *l) {
        if (!l->slot.known)
                return "klpd isn't there";
        if (l->slot.have == SLOT_HAVE_YES)
                return "held";
        if (l->slot.wanted[0])
                return "wanted";
        return l->slot.have == SLOT_HAVE_NO ? "none" : "being given back";
}

int fleet_lock_new(sd_event *event, Http *http, const LockConfig *config, const char *id, FleetLockGrant grant,
                   void *userdata, FleetLock **ret) {
        FleetLock *l = calloc(1, sizeof(*l));
        int r;

        if (!l)
                return -ENOMEM;
        l->event = sd_event_ref(event);
        l->http = http;
        l->config = config;
        l->id = id;
        l->grant = grant;
        l->userdata = userdata;
        l->backoff = (Backoff) { config->retry_usec, config->retry_max_usec, 0 };
        r = wait_new(event, CLOCK_BOOTTIME, 1000, "fleet-lock-retry", on_retry, l, &l->timer);
        if (r < 0) {
                fleet_lock_free(l);
                return r;
        }
        *ret = l;
        return 0;
}

FleetLock *fleet_lock_free(FleetLock *l) {
        if (!l)
                return NULL;
        http_call_free(l->call);
        sd_event_source_disable_unref(l->timer);
        sd_event_unref(l->event);
        free(l);
        return NULL;
}
