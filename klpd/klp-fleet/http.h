/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * POST requests over HTTP(S), driven by sd-event: the one place that knows libcurl. Servers are not trusted: what
 * they send is bounded, redirects and proxies are not followed, certificates are always checked.
 *
 * A call belongs to whoever started it, who frees it at any time, also from within its callbacks; freeing one that
 * is under way ends it. on_done comes once, from the event loop, never from within http_post(). A streaming
 * call hands out each line as it comes.
 */
#pragma once

#include <systemd/sd-event.h>

#include "policy/util.h"

typedef struct Http Http;
typedef struct HttpCall HttpCall;

int http_new(sd_event *event, Http **ret);
Http *http_free(Http *h); /* all its calls have been freed */
DEFINE_CLEANUP(Http *, http_free);

/* Paths of PEM files, or "". */
typedef struct HttpTls {
        const char *ca;               /* whom to trust; "": the host's own certificates */
        const char *certificate, *key; /* our own */
} HttpTls;

typedef struct HttpReply {
        const char *problem; /* why there is no reply, or NULL */
        long status;         /* 200 … */
        const char *body;    /* the call's own; of a streaming call with status 200: empty */
        size_t size;
} HttpReply;

typedef struct HttpRequest {
        const char *url;
        const char *headers[2]; /* "NAME: VALUE", or NULL */
        const char *body;
        size_t max;            /* of the reply; of a streaming call: of one line */
        uint64_t timeout_usec; /* of all of it; of a streaming call: until connected */
        HttpTls tls;
        void (*on_line)(HttpCall *call, const char *text, size_t size, void *userdata); /* makes it streaming */
        void (*on_done)(HttpCall *call, const HttpReply *reply, void *userdata);
        void *userdata;
} HttpRequest;

/* Copies what it needs of the request. -ENOMEM, -EINVAL (a URL that can't be one). */
int http_post(Http *h, const HttpRequest *request, HttpCall **ret);
HttpCall *http_call_free(HttpCall *call); /* NULL is fine */

/* "https://HOST…", or "http://HOST…"; *ret_plain: not encrypted, and to another machine. */
bool http_url_is_valid(const char *url, bool *ret_plain);
