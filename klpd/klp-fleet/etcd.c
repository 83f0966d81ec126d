/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See etcd.h. One short request at a time (authenticate, read, grant, put, keepalive), whichever go_on() finds
 * to be due, and beside it one watch. There is no other state to get wrong: a watch that says or does anything
 * is closed and what it watches read again, then watched from the revision behind the one that was read. A
 * revision may have been compacted, the store wiped, the server replaced: the next read tells, and while there
 * is nothing to read, what was read before stays.
 *
 * What a hostile server can make us do: one request per RetrySec=, growing to RetryMaxSec= while they fail;
 * replies and lines of a watch are bounded in size, and lines in number.
 */
#include <stdio.h>

#include "klpd/klp-fleet/backoff.h"
#include "klpd/klp-fleet/etcd.h"
#include "klpd/klp-fleet/wait.h"
#include "klpd/log.h"

#define WATCH_LINES_MAX 256U

typedef enum Due {
        DUE_NOTHING,
        DUE_TOKEN,
        DUE_READ,
        DUE_GRANT,
        DUE_PUT,
        DUE_KEEPALIVE,
} Due;

struct Etcd {
        sd_event *event;
        Http *http;
        const EtcdConfig *config;
        const char *id, *password;
        EtcdHandlers handlers;

        size_t endpoint;
        char header[ETCD_TOKEN_MAX + 32]; /* Authorization, or "" */
        bool header_proved;               /* etcd has taken it at least once */
        char document_key[ETCD_KEY_MAX], signature_key[ETCD_KEY_MAX], status_key[ETCD_KEY_MAX];

        HttpCall *call;
        Due busy; /* with call */
        sd_event_source *timer;
        bool waiting; /* for timer */
        Backoff backoff, watch_backoff;

        bool read; /* what is there is known, and watched or about to be */
        uint64_t revision, read_usec;
        HttpCall *watch;
        unsigned watch_lines;
        sd_event_source *refresh;

        uint64_t lease, ttl;
        sd_event_source *renew;
        char *status;
        bool put, renewed;

        char said[384];
};

static void go_on(Etcd *e);

/* Once, until something else is to be said. */
static void say(Etcd *e, const char *text) {
        if (streq(e->said, text))
                return;
        (void) snprintf(e->said, sizeof(e->said), "%s", text);
        log_notice("%s", text);
}

static void set_timer(sd_event_source *timer, uint64_t usec) {
        if (wait_start(timer, usec) < 0)
                log_error("Can't set a timer");
}

static void hold_back(Etcd *e, uint64_t usec) {
        e->waiting = true;
        set_timer(e->timer, usec);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Etcd *e = userdata;

        e->waiting = false;
        go_on(e);
        return 0;
}

/* ---- requests ---- */

static const char *const due_text[] = {
        [DUE_TOKEN] = "authenticate",
        [DUE_READ] = "read the fleet document",
        [DUE_GRANT] = "get a lease",
        [DUE_PUT] = "publish the status",
        [DUE_KEEPALIVE] = "renew the lease",
};

static void failed(Etcd *e, Due due, const char *why) {
        char text[384];

        (void) snprintf(text, sizeof(text), "Can't %s at etcd %.120s: %.200s", due_text[due],
                        e->config->endpoints.urls[e->endpoint], why);
        say(e, text);
        if (due == DUE_PUT)
                e->put = false;
        e->endpoint = (e->endpoint + 1) % e->config->endpoints.n;
        hold_back(e, backoff_next_random(&e->backoff));
}

static int post(Etcd *e, const char *path, const char *body, HttpRequest *q, HttpCall **ret) {
        char url[CONFIG_URL_MAX + 32];

        (void) snprintf(url, sizeof(url), "%s%s", e->config->endpoints.urls[e->endpoint], path);
        q->url = url;
        q->body = body;
        q->headers[0] = e->header[0] ? e->header : NULL;
        q->timeout_usec = e->config->timeout_usec;
        q->tls = (HttpTls) { e->config->ca, e->config->certificate, e->config->key };
        q->userdata = e;
        return http_post(e->http, q, ret);
}

static int on_token(Etcd *e, const HttpReply *reply, PolicyError *error) {
        char token[ETCD_TOKEN_MAX + 1];
        int r;

        r = etcd_parse_token(reply->body, reply->size, token, error);
        if (r >= 0)
                (void) snprintf(e->header, sizeof(e->header), "Authorization: %s", token);
        return r;
}

static int on_read(Etcd *e, const HttpReply *reply, PolicyError *error) {
        _cleanup_etcd_read_ EtcdRead read = {};
        int r;

        r = etcd_parse_read(reply->body, reply->size, &read, error);
        if (r < 0)
                return r;
        r = e->handlers.on_document(&read, e->handlers.userdata);
        if (r < 0)
                return policy_error_set(error, r, "what was read can't be kept: %s", strerror(-r));
        e->revision = read.revision;
        e->read_usec = clock_usec(CLOCK_BOOTTIME);
        e->read = true;
        if (!read.document)
                say(e, "etcd has no fleet document; what was there before stays");
        return 0;
}

static int on_lease(Etcd *e, bool granted, const HttpReply *reply, PolicyError *error) {
        uint64_t lease, ttl;
        int r;

        r = etcd_parse_lease(reply->body, reply->size, &lease, &ttl, error);
        if (r < 0)
                return r;
        if (granted && ttl == 0)
                return policy_error_set(error, -EBADMSG, "a lease that is over as it begins");
        if (!granted && (ttl == 0 || lease != e->lease)) {
                /* It ran out while etcd was away, or etcd begins anew. */
                e->lease = 0;
                e->put = false;
                return 0;
        }
        e->lease = lease;
        e->ttl = ttl;
        e->renewed = true;
        if (granted)
                e->put = false;
        set_timer(e->renew, ttl * UINT64_C(1000000) / 3);
        return 0;
}

static int take(Etcd *e, Due due, const HttpReply *reply, PolicyError *error) {
        switch (due) {
        case DUE_TOKEN:
                return on_token(e, reply, error);
        case DUE_READ:
                return on_read(e, reply, error);
        case DUE_GRANT:
                return on_lease(e, true, reply, error);
        case DUE_KEEPALIVE:
                return on_lease(e, false, reply, error);
        case DUE_PUT:
        case DUE_NOTHING:
                break;
        }
        return 0;
}

/*
 * Tokens and leases end, above all when etcd was started anew, and a token that carries the state of users and roles in
 * itself (--auth-token=jwt) with each change of them: an invalid argument, to etcd. True: it needn't be called a failure.
 */
static bool refused(Etcd *e, Due due, unsigned code, long status) {
        bool unknown = code == ETCD_CODE_UNAUTHENTICATED || code == ETCD_CODE_INVALID_ARGUMENT || status == 401;
        bool expired = unknown && e->header_proved;

        if (unknown) {
                e->header[0] = 0;
                e->header_proved = false;
        }
        if (code == ETCD_CODE_NOT_FOUND && (due == DUE_PUT || due == DUE_KEEPALIVE))
                e->lease = 0;
        if (due == DUE_PUT)
                e->put = false;
        return expired;
}

static void succeeded(Etcd *e, Due due) {
        if (due == DUE_TOKEN)
                return;
        e->header_proved = *e->header;
        if (e->backoff.n > 0)
                say(e, "etcd answers again");
        backoff_reset(&e->backoff);
}

static void on_reply(HttpCall *call, const HttpReply *reply, void *userdata) {
        PolicyError error = {};
        Etcd *e = userdata;
        Due due = e->busy;
        char why[512];
        int r = 0;

        e->busy = DUE_NOTHING;
        if (reply->problem)
                failed(e, due, reply->problem);
        else if (reply->status != 200) {
                unsigned code = etcd_describe_error(reply->status, reply->body, reply->size, why, sizeof(why));

                if (!refused(e, due, code, reply->status))
                        failed(e, due, why);
        } else {
                r = take(e, due, reply, &error);
                if (r < 0)
                        failed(e, due, policy_error_format(&error, NULL, why, sizeof(why)));
                else
                        succeeded(e, due);
        }
        e->call = http_call_free(e->call);
        go_on(e);
}

/* ---- the watch ---- */

/* It is over, one way or another: what it watched is read again, after a while unless something has changed. */
static void unwatch(Etcd *e, const char *why) {
        uint64_t since = clock_usec(CLOCK_BOOTTIME) - e->read_usec, wait = 0;

        e->watch = http_call_free(e->watch);
        (void) sd_event_source_set_enabled(e->refresh, SD_EVENT_OFF);
        e->read = false;
        if (why) {
                char text[384];

                (void) snprintf(text, sizeof(text), "The watch at etcd ended: %.300s", why);
                say(e, text);
                wait = backoff_next_random(&e->watch_backoff);
        } else {
                backoff_reset(&e->watch_backoff);
                if (since < e->config->retry_usec)
                        wait = e->config->retry_usec - since;
        }
        if (wait > 0 && !e->waiting)
                hold_back(e, wait);
        go_on(e);
}

static void on_watch_line(HttpCall *call, const char *text, size_t size, void *userdata) {
        EtcdWatch what = ETCD_WATCH_NOTHING;
        PolicyError error = {};
        Etcd *e = userdata;
        char why[512];
        int r;

        r = etcd_parse_watch(text, size, &what, &error);
        if (r < 0 || what == ETCD_WATCH_ENDED) {
                unwatch(e, policy_error_format(&error, NULL, why, sizeof(why)));
                return;
        }
        if (what == ETCD_WATCH_CHANGED || ++e->watch_lines > WATCH_LINES_MAX) {
                unwatch(e, what == ETCD_WATCH_CHANGED ? NULL : "it says too much about nothing");
                return;
        }
        if (e->watch_lines == 1)
                set_timer(e->refresh, e->config->refresh_usec -
                                              random_number() % (e->config->refresh_usec / 10 + 1));
}

static void on_watch_done(HttpCall *call, const HttpReply *reply, void *userdata) {
        Etcd *e = userdata;
        char why[512];

        if (reply->problem)
                (void) snprintf(why, sizeof(why), "%s", reply->problem);
        else if (reply->status != 200) {
                unsigned code = etcd_describe_error(reply->status, reply->body, reply->size, why, sizeof(why));

                (void) refused(e, DUE_NOTHING, code, reply->status);
        } else
                (void) snprintf(why, sizeof(why), "the server closed it");
        unwatch(e, why);
}

/* A watch that has said nothing yet is none; one that lives is looked behind now and then, too. */
static int on_refresh(sd_event_source *source, uint64_t usec, void *userdata) {
        Etcd *e = userdata;

        unwatch(e, e->watch_lines == 0 ? "the server doesn't answer" : NULL);
        return 0;
}

static int start_watch(Etcd *e) {
        HttpRequest q = { .max = ETCD_READ_MAX, .on_line = on_watch_line, .on_done = on_watch_done };
        _cleanup_free_ char *body = NULL;
        int r;

        r = etcd_request_watch(e->document_key, e->signature_key, e->revision + 1, &body);
        if (r >= 0)
                r = post(e, "/v3/watch", body, &q, &e->watch);
        if (r < 0)
                return r;
        e->watch_lines = 0;
        set_timer(e->refresh, e->config->timeout_usec);
        return 0;
}

/* ---- what is due ---- */

static int on_renew(sd_event_source *source, uint64_t usec, void *userdata) {
        Etcd *e = userdata;

        e->renewed = false;
        go_on(e);
        return 0;
}

static Due find_due(const Etcd *e) {
        if (*e->config->user && !e->header[0])
                return DUE_TOKEN;
        if (*e->document_key && !e->read)
                return DUE_READ;
        if (!*e->status_key || !e->status)
                return DUE_NOTHING;
        if (e->lease == 0)
                return DUE_GRANT;
        if (!e->put)
                return DUE_PUT;
        return e->renewed ? DUE_NOTHING : DUE_KEEPALIVE;
}

static int start(Etcd *e, Due due) {
        static const char *const paths[] = {
                [DUE_TOKEN] = "/v3/auth/authenticate", [DUE_READ] = "/v3/kv/txn",
                [DUE_GRANT] = "/v3/lease/grant",       [DUE_PUT] = "/v3/kv/put",
                [DUE_KEEPALIVE] = "/v3/lease/keepalive",
        };
        HttpRequest q = { .max = due == DUE_READ ? ETCD_READ_MAX : ETCD_REPLY_MAX, .on_done = on_reply };
        _cleanup_free_ char *body = NULL;
        int r = -EINVAL;

        switch (due) {
        case DUE_NOTHING:
                return 0;
        case DUE_TOKEN:
                r = etcd_request_authenticate(e->config->user, e->password, &body);
                break;
        case DUE_READ:
                r = etcd_request_read(e->document_key, e->signature_key, &body);
                break;
        case DUE_GRANT:
                r = etcd_request_lease_grant(e->config->lease_usec / 1000000, &body);
                break;
        case DUE_PUT:
                r = etcd_request_put(e->status_key, e->status, e->lease, &body);
                break;
        case DUE_KEEPALIVE:
                r = etcd_request_lease(e->lease, &body);
                break;
        }
        if (r >= 0)
                r = post(e, paths[due], body, &q, &e->call);
        if (body)
                explicit_bzero(body, strlen(body)); /* may have the password */
        if (r < 0)
                return r;
        e->busy = due;
        if (due == DUE_PUT)
                e->put = true; /* unless there is something newer when it ends, or it fails */
        return 0;
}

static void go_on(Etcd *e) {
        Due due = find_due(e);
        int r = 0;

        if (e->waiting)
                return;
        if (*e->document_key && e->read && !e->watch)
                r = start_watch(e);
        if (r >= 0 && !e->call)
                r = start(e, due);
        if (r < 0)
                failed(e, due == DUE_NOTHING ? DUE_READ : due, strerror(-r));
}

int etcd_set_status(Etcd *e, const char *text) {
        char *copy;

        if (streq_ptr(e->status, text))
                return 0;
        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        free(e->status);
        e->status = copy;
        e->put = false;
        go_on(e);
        return 1;
}

const char *etcd_status(const Etcd *e) {
        if (e->backoff.n > 0)
                return "not reachable";
        return e->watch && e->watch_lines > 0 ? "watching" : "reading";
}

int etcd_new(sd_event *event, Http *http, const EtcdConfig *config, const char *id, const char *password,
             const EtcdHandlers *handlers, Etcd **ret) {
        Etcd *e = calloc(1, sizeof(*e));
        int r;

        if (!e)
                return -ENOMEM;
        e->event = sd_event_ref(event);
        e->http = http;
        e->config = config;
        e->id = id;
        e->password = password;
        e->handlers = *handlers;
        e->backoff = e->watch_backoff = (Backoff) { config->retry_usec, config->retry_max_usec, 0 };
        if (*config->document_key) {
                (void) snprintf(e->document_key, sizeof(e->document_key), "%s", config->document_key);
                (void) snprintf(e->signature_key, sizeof(e->signature_key), "%.*s.p7s",
                                (int) sizeof(e->signature_key) - 5, config->document_key);
        }
        if (*config->status_prefix)
                (void) snprintf(e->status_key, sizeof(e->status_key), "%.*s%s",
                                (int) (sizeof(e->status_key) - LOCK_ID_MAX - 1), config->status_prefix, id);
        r = wait_new(event, CLOCK_BOOTTIME, 1000, "etcd-retry", on_timer, e, &e->timer);
        if (r >= 0)
                r = wait_new(event, CLOCK_BOOTTIME, 0, "etcd-refresh", on_refresh, e, &e->refresh);
        if (r >= 0)
                r = wait_new(event, CLOCK_BOOTTIME, 0, "etcd-lease", on_renew, e, &e->renew);
        if (r >= 0)
                hold_back(e, 0); /* for the loop */
        if (r < 0) {
                etcd_free(e);
                return r;
        }
        *ret = e;
        return 0;
}

Etcd *etcd_free(Etcd *e) {
        if (!e)
                return NULL;
        http_call_free(e->call);
        http_call_free(e->watch);
        sd_event_source_disable_unref(e->timer);
        sd_event_source_disable_unref(e->refresh);
        sd_event_source_disable_unref(e->renew);
        sd_event_unref(e->event);
        free(e->status);
        explicit_bzero(e->header, sizeof(e->header));
        free(e);
        return NULL;
}
