/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See http.h. curl's multi interface says which sockets and which time it waits for; sd-event waits, and tells
 * curl. curl must not be called back into from its own callbacks, so those only note what came; it is handed out
 * afterwards, by http_dispatch(), one call at a time and from the beginning each time, since whoever gets it may
 * free any call.
 */
#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "klpd/klp-fleet/http.h"
#include "klpd/klp-fleet/wait.h"

struct Http {
        sd_event *event;
        sd_event_source *timer;
        CURLM *multi;
        HttpCall *calls;
};

struct HttpCall {
        Http *http;
        HttpCall *next, **link;
        CURL *easy;
        struct curl_slist *headers;
        char *body;
        size_t max;
        char error[CURL_ERROR_SIZE];

        char *data;
        size_t start, scanned, size, room; /* handed out; without an end of line; there; allocated */
        bool too_long, finished;
        CURLcode code;

        void (*on_line)(HttpCall *call, const char *text, size_t size, void *userdata);
        void (*on_done)(HttpCall *call, const HttpReply *reply, void *userdata);
        void *userdata;
};

/* ---- what came ---- */

static long call_status(HttpCall *c) {
        long status = 0;

        (void) curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
        return status;
}

/* The next whole line of a streaming call, NUL-terminated, the call's own until more comes; NULL: none. */
static const char *call_line(HttpCall *c, size_t *ret_size) {
        char *line, *end;

        if (!c->on_line || c->scanned >= c->size || call_status(c) != 200)
                return NULL;
        end = memchr(c->data + c->scanned, '\n', c->size - c->scanned);
        if (!end) {
                c->scanned = c->size;
                return NULL;
        }
        *end = 0;
        line = c->data + c->start;
        *ret_size = (size_t) (end - line);
        c->start = c->scanned = (size_t) (end - c->data) + 1;
        return line;
}

static void call_finish(HttpCall *c) {
        HttpReply reply = { .status = call_status(c), .body = c->data + c->start, .size = c->size - c->start };

        c->finished = true;
        (void) curl_multi_remove_handle(c->http->multi, c->easy);
        if (c->too_long)
                reply.problem = "The server sends more than it may";
        else if (c->code != CURLE_OK)
                reply.problem = c->error[0] ? c->error : curl_easy_strerror(c->code);
        if (!c->data)
                reply.body = "";
        c->on_done(c, &reply, c->userdata);
}

/* True: something was handed out, any call may be gone. */
static bool http_dispatch_one(Http *h) {
        CURLMsg *message;
        int left;

        for (HttpCall *c = h->calls; c; c = c->next) {
                size_t n = 0;
                const char *line = c->finished ? NULL : call_line(c, &n);

                if (!line)
                        continue;
                c->on_line(c, line, n, c->userdata);
                return true;
        }
        while ((message = curl_multi_info_read(h->multi, &left))) {
                HttpCall *c = NULL;

                if (message->msg != CURLMSG_DONE ||
                    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &c) != CURLE_OK || !c)
                        continue;
                c->code = message->data.result;
                call_finish(c);
                return true;
        }
        return false;
}

static void http_dispatch(Http *h) {
        while (http_dispatch_one(h))
                ;
}

static size_t on_data(char *data, size_t one, size_t size, void *userdata) {
        HttpCall *c = userdata;

        if (c->start > 0) {
                c->size -= c->start;
                c->scanned -= c->start;
                memmove(c->data, c->data + c->start, c->size);
                c->start = 0;
        }
        if (c->size + size > c->max) {
                c->too_long = true;
                return CURL_WRITEFUNC_ERROR;
        }
        if (c->size + size > c->room) {
                size_t room = c->room * 2 > c->size + size ? c->room * 2 : c->size + size;
                char *bigger = realloc(c->data, room);

                if (!bigger)
                        return CURL_WRITEFUNC_ERROR;
                c->data = bigger;
                c->room = room;
        }
        memcpy(c->data + c->size, data, size);
        c->size += size;
        return size;
}

/* ---- curl on sd-event ---- */

static int on_socket_event(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Http *h = userdata;
        int running;

        (void) curl_multi_socket_action(h->multi, fd,
                                        (events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                                                (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                                                (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0),
                                        &running);
        http_dispatch(h);
        return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Http *h = userdata;
        int running;

        (void) curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        http_dispatch(h);
        return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *socket_data) {
        sd_event_source *source = socket_data;
        uint32_t events = (what & CURL_POLL_IN ? (uint32_t) EPOLLIN : 0) |
                          (what & CURL_POLL_OUT ? (uint32_t) EPOLLOUT : 0);
        Http *h = userdata;

        if (what == CURL_POLL_REMOVE) {
                sd_event_source_disable_unref(source);
                (void) curl_multi_assign(h->multi, fd, NULL);
                return 0;
        }
        if (source)
                return sd_event_source_set_io_events(source, events) < 0 ? -1 : 0;
        if (sd_event_add_io(h->event, &source, fd, events, on_socket_event, h) < 0)
                return -1;
        (void) sd_event_source_set_description(source, "curl-socket");
        (void) curl_multi_assign(h->multi, fd, source);
        return 0;
}

static int on_timeout(CURLM *multi, long ms, void *userdata) {
        Http *h = userdata;

        if (ms < 0)
                return sd_event_source_set_enabled(h->timer, SD_EVENT_OFF) < 0 ? -1 : 0;
        return wait_start(h->timer, (uint64_t) ms * 1000) < 0 ? -1 : 0;
}

int http_new(sd_event *event, Http **ret) {
        _cleanup_(http_freep) Http *h = NULL;
        int r;

        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
                return -ENOMEM;
        h = calloc(1, sizeof(*h));
        if (!h)
                return -ENOMEM;
        h->event = sd_event_ref(event);
        h->multi = curl_multi_init();
        if (!h->multi)
                return -ENOMEM;
        r = wait_new(event, CLOCK_MONOTONIC, 1000, "curl-timer", on_timer, h, &h->timer); /* curl's own clock */
        if (r < 0)
                return r;
        if (curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket) != CURLM_OK ||
            curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h) != CURLM_OK ||
            curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timeout) != CURLM_OK ||
            curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h) != CURLM_OK)
                return -EIO;
        *ret = TAKE_PTR(h);
        return 0;
}

Http *http_free(Http *h) {
        if (!h)
                return NULL;
        if (h->multi)
                (void) curl_multi_cleanup(h->multi);
        sd_event_source_disable_unref(h->timer);
        sd_event_unref(h->event);
        free(h);
        return NULL;
}

/* ---- calls ---- */

static bool set_tls(CURL *e, const HttpTls *tls) {
        if (tls->ca && *tls->ca &&
            (curl_easy_setopt(e, CURLOPT_CAINFO, tls->ca) != CURLE_OK ||
             curl_easy_setopt(e, CURLOPT_CAPATH, NULL) != CURLE_OK))
                return false;
        if (tls->certificate && *tls->certificate &&
            curl_easy_setopt(e, CURLOPT_SSLCERT, tls->certificate) != CURLE_OK)
                return false;
        if (tls->key && *tls->key && curl_easy_setopt(e, CURLOPT_SSLKEY, tls->key) != CURLE_OK)
                return false;
        return curl_easy_setopt(e, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2) == CURLE_OK;
}

static bool set_options(HttpCall *c, const HttpRequest *q) {
        uint64_t ms = q->timeout_usec / 1000 ?: 1;
        CURL *e = c->easy;

        /* 1.1: etcd's gateway speaks it, and a stream of its own connection is what a watch is. */
        return curl_easy_setopt(e, CURLOPT_URL, q->url) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_USERAGENT, "klp-fleet/" KLPD_VERSION) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_POST, 1L) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_POSTFIELDS, c->body) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) strlen(c->body)) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_PRIVATE, c) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_WRITEDATA, c) == CURLE_OK &&
               curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long) ms) == CURLE_OK &&
               (q->on_line || curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long) ms) == CURLE_OK) &&
               set_tls(e, &q->tls);
}

static bool add_header(HttpCall *c, const char *text) {
        struct curl_slist *list = curl_slist_append(c->headers, text);

        if (list)
                c->headers = list;
        return list;
}

int http_post(Http *h, const HttpRequest *q, HttpCall **ret) {
        HttpCall *c = calloc(1, sizeof(*c));
        bool ok;

        if (!c)
                return -ENOMEM;
        c->http = h;
        c->max = q->max;
        c->on_line = q->on_line;
        c->on_done = q->on_done;
        c->userdata = q->userdata;
        c->easy = curl_easy_init();
        c->body = strdup(q->body);
        /* No "Expect: 100-continue": bodies are short, and not every server answers it. */
        ok = c->easy && c->body && add_header(c, "Content-Type: application/json") && add_header(c, "Expect:");
        for (size_t i = 0; ok && i < ELEMENTSOF(q->headers); i++)
                ok = !q->headers[i] || add_header(c, q->headers[i]);
        ok = ok && set_options(c, q) && curl_multi_add_handle(h->multi, c->easy) == CURLM_OK;
        c->link = &h->calls;
        c->next = h->calls;
        if (c->next)
                c->next->link = &c->next;
        h->calls = c;
        if (!ok) {
                c->finished = true;
                http_call_free(c);
                return -ENOMEM;
        }
        *ret = c;
        return 0;
}

HttpCall *http_call_free(HttpCall *c) {
        if (!c)
                return NULL;
        *c->link = c->next;
        if (c->next)
                c->next->link = c->link;
        if (!c->finished)
                (void) curl_multi_remove_handle(c->http->multi, c->easy);
        if (c->easy)
                curl_easy_cleanup(c->easy);
        curl_slist_free_all(c->headers);
        free(c->body);
        free(c->data);
        free(c);
        return NULL;
}

/* ---- URLs ---- */

static void curl_freep(char **p) {
        curl_free(*p);
}

bool http_url_is_valid(const char *url, bool *ret_plain) {
        _cleanup_(curl_freep) char *scheme = NULL, *host = NULL, *user = NULL;
        CURLU *u;
        bool ok;

        for (const char *p = url; *p; p++)
                if (!isgraph((unsigned char) *p))
                        return false;
        u = curl_url();
        ok = u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
             curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
             curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
             /* Secrets belong into files, not into URLs, which are shown. */
             curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_NO_USER &&
             (streq(scheme, "https") || streq(scheme, "http"));
        if (ok)
                *ret_plain = streq(scheme, "http") && !streq(host, "127.0.0.1") && !streq(host, "[::1]") &&
                             !streq(host, "localhost");
        curl_url_cleanup(u);
        return ok;
}
