/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See fleet-load.h. A load makes a second list of sources beside the one in force, one file per turn of the
 * loop, and puts it in its place at the end; until then, a document that is to stay belongs to the old list
 * and is only pointed to (FleetNext.keep). What changes meanwhile begins another load after this one.
 */
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "klpd/fleet-calendar.h"
#include "klpd/fleet-expand.h"
#include "klpd/fleet-files.h"
#include "klpd/fleet-kept.h"
#include "klpd/fleet-load.h"
#include "klpd/fleet-slot.h"
#include "klpd/fleet-watch.h"
#include "klpd/livepatch-sysfs-read.h"
#include "klpd/log.h"
#include "klpd/sealed-memfd.h"
#include "policy/json.h"

#define EXPAND_AGAIN_MIN_USEC (UINT64_C(60) * 1000000)
#define EXPAND_RETRY_USEC (UINT64_C(600) * 1000000)

typedef struct FleetNext {
        FleetSource source;
        size_t keep; /* index + 1 in the list in force of what stays in force under this name; 0: nothing */
        bool same;   /* the file is the one that was looked at before */
        bool refused; /* the problem is no mistake in the file, but what it is: a replay, a wrong signature */
        FleetKept bytes; /* what is looked at: the file's, or what was kept of an earlier one */
        char *why;       /* the file's problem, while what was kept is looked at in its place */
} FleetNext;

struct FleetLoader {
        const World *world;
        FleetLoaderHandlers handlers;
        char prefix[32]; /* of paths in the file system: "" where the root is "/" */
        FleetWatch *watch;
        sd_event_source *step, *expand_again;

        FleetSource *sources;
        size_t n;
        FleetSet *set;
        FleetSource failure; /* the directories can't be read: path and problem */

        /* the load that is under way */
        bool loading, afresh, again, again_afresh;
        FleetNext *next;
        size_t n_next, at;
        HandsSignature *check;
        FleetExpand *expand;
        FleetDocument **expanded;
        size_t *expanded_at, n_expanded;
        bool renewing; /* the windows of what is in force are looked up again */
};

static int loader_step(FleetLoader *l);
static void loader_arm_expansion(FleetLoader *l, uint64_t at_least);

/* ---- the object ---- */

static void source_done(FleetSource *s) {
        free(s->path);
        free(s->name);
        fleet_document_free(s->document);
        free(s->signer);
        free(s->problem);
        *s = (FleetSource) {};
}

static void next_done(FleetNext *n) {
        source_done(&n->source);
        fleet_kept_done(&n->bytes);
        n->why = (free(n->why), NULL);
}

static void loader_drop_next(FleetLoader *l) {
        Hands *hands = l->world->hands;

        l->check = l->check ? hands->vtable->signature_free(l->check) : NULL;
        for (size_t i = 0; i < l->n_next; i++)
                next_done(&l->next[i]);
        l->next = (free(l->next), NULL);
        l->n_next = l->at = 0;
        l->expand = fleet_expand_free(l->expand);
        l->expanded = (free(l->expanded), NULL);
        l->expanded_at = (free(l->expanded_at), NULL);
        l->n_expanded = 0;
        l->step = sd_event_source_disable_unref(l->step);
        l->loading = l->renewing = false;
}

FleetLoader *fleet_loader_free(FleetLoader *l) {
        if (!l)
                return NULL;
        loader_drop_next(l);
        fleet_watch_free(l->watch);
        sd_event_source_disable_unref(l->expand_again);
        fleet_set_free(l->set);
        for (size_t i = 0; i < l->n; i++)
                source_done(&l->sources[i]);
        free(l->sources);
        source_done(&l->failure);
        free(l);
        return NULL;
}

static void on_watch(void *userdata) {
        (void) fleet_loader_reload(userdata, false);
}

static const char *const directories[] = { FLEET_DIRECTORIES, NULL };

static int loader_watch(FleetLoader *l) {
        /* The directory of the labels, too: which rule matches depends on them. */
        const char *const watched[] = { FLEET_DIRECTORIES, FLEET_NETWORK_DIRECTORY, "/etc/klpd" };
        const char *paths[ELEMENTSOF(watched) + 1] = {};
        char text[ELEMENTSOF(watched)][96];

        for (size_t i = 0; i < ELEMENTSOF(watched); i++) {
                (void) snprintf(text[i], sizeof(text[i]), "%s%s", l->prefix, watched[i]);
                paths[i] = text[i];
        }
        return fleet_watch_new(l->world->event, paths, on_watch, l, &l->watch);
}

int fleet_loader_new(const World *world, const FleetLoaderHandlers *handlers, FleetLoader **ret) {
        _cleanup_(fleet_loader_freep) FleetLoader *l = NULL;
        struct stat a, b;
        int r;

        l = calloc(1, sizeof(*l));
        if (!l)
                return -ENOMEM;
        l->world = world;
        l->handlers = *handlers;
        if (fstat(world->root_fd, &a) < 0 || stat("/", &b) < 0)
                return -errno;
        if (a.st_dev != b.st_dev || a.st_ino != b.st_ino)
                (void) snprintf(l->prefix, sizeof(l->prefix), "/proc/self/fd/%d", world->root_fd);
        r = loader_watch(l);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(l);
        return 0;
}

const FleetSet *fleet_loader_set(const FleetLoader *l) {
        return l->set;
}

const FleetSource *fleet_loader_sources(const FleetLoader *l, size_t *ret_n) {
        *ret_n = l->n;
        return l->sources;
}

const FleetSource *fleet_loader_missing(const FleetLoader *l) {
        if (l->failure.problem)
                return &l->failure;
        for (size_t i = 0; i < l->n; i++)
                if (!l->sources[i].network && !l->sources[i].document)
                        return &l->sources[i];
        return NULL;
}

/* ---- which files there are ---- */

static FleetSource *find_source(FleetLoader *l, bool network, const char *name, size_t *ret) {
        for (size_t i = 0; i < l->n; i++)
                if (l->sources[i].network == network && streq(l->sources[i].name, name)) {
                        *ret = i;
                        return &l->sources[i];
                }
        return NULL;
}

/* path: in the file system. Where that is on the host is what people are told. */
static int add_next(FleetLoader *l, const char *path, const char *name, bool network) {
        FleetNext *bigger = reallocarray(l->next, l->n_next + 1, sizeof(*bigger));
        FleetNext n = { .source.network = network };
        size_t i;

        if (!bigger)
                return -ENOMEM;
        l->next = bigger;
        n.source.path = strdup(path + strlen(l->prefix));
        n.source.name = strdup(name);
        if (!n.source.path || !n.source.name) {
                next_done(&n);
                return -ENOMEM;
        }
        if (find_source(l, network, name, &i))
                n.keep = i + 1;
        l->next[l->n_next++] = n;
        return 0;
}

static int find_in(FleetLoader *l, const char *const *list, bool network, char **ret_failed) {
        char text[ELEMENTSOF(directories)][96], *paths[ELEMENTSOF(directories)] = {};
        _cleanup_(fleet_files_done) FleetFiles files = {};
        int r;

        for (size_t i = 0; list[i]; i++) {
                (void) snprintf(text[i], sizeof(text[i]), "%s%s", l->prefix, list[i]);
                paths[i] = text[i];
        }
        r = fleet_files_find(paths, false, &files, ret_failed);
        for (size_t i = 0; r >= 0 && i < files.n; i++)
                r = add_next(l, files.list[i].path, files.list[i].name, network);
        return r;
}

static int compare_next(const void *a, const void *b) {
        const FleetNext *x = a, *y = b;

        return x->source.network != y->source.network ? (x->source.network ? 1 : -1)
                                                      : strcmp(x->source.name, y->source.name);
}

/* What came over the network and vanished stays: its loss must not let another rule win. A reload by hand
 * forgets it. */
static int add_vanished(FleetLoader *l) {
        int r = 0;

        for (size_t i = 0; r >= 0 && !l->afresh && i < l->n; i++) {
                bool there = false;

                if (!l->sources[i].network || !l->sources[i].document)
                        continue;
                for (size_t k = 0; k < l->n_next; k++)
                        there = there || (l->next[k].source.network &&
                                          streq(l->next[k].source.name, l->sources[i].name));
                if (there)
                        continue;
                r = add_next(l, l->sources[i].path, l->sources[i].name, true);
                if (r < 0)
                        break;
                l->next[l->n_next - 1].same = true;
                l->next[l->n_next - 1].source.problem = strdup("it has vanished; what it said stays in force "
                                                               "until klpd is reloaded");
        }
        return r;
}

static int find_all(FleetLoader *l) {
        static const char *const network[] = { FLEET_NETWORK_DIRECTORY, NULL };
        _cleanup_free_ char *failed = NULL, *failed_network = NULL;
        int r;

        r = find_in(l, directories, false, &failed);
        source_done(&l->failure);
        if (r < 0) {
                l->failure.path = failed ? strdup(failed + strlen(l->prefix)) : strdup("fleet.d");
                if (asprintf(&l->failure.problem, "can't be looked at: %s", strerror(-r)) < 0)
                        l->failure.problem = NULL;
                return r;
        }
        r = find_in(l, network, true, &failed_network);
        if (r < 0)
                log_warning("%s can't be looked at: %s", failed_network ?: FLEET_NETWORK_DIRECTORY,
                            strerror(-r));
        r = add_vanished(l);
        if (r >= 0 && l->n_next > 0)
                qsort(l->next, l->n_next, sizeof(*l->next), compare_next);
        return r;
}

/* ---- one file ---- */

static _printf_(3, 4) void set_problem(FleetNext *n, bool refused, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        free(n->source.problem);
        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);
        if (!n->why) {
                n->refused = refused;
                n->source.problem = TAKE_PTR(text);
        } else if (asprintf(&n->source.problem, "%s; nor can the earlier version be used that klpd has kept: %s",
                            n->why, text ?: "out of memory") < 0)
                n->source.problem = NULL;
        if (!n->source.problem)
                n->source.problem = strdup("out of memory");
        n->source.document = fleet_document_free(n->source.document);
        n->source.kept = false;
}

static bool same_file(const struct stat *a, const struct stat *b) {
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
               a->st_mode == b->st_mode && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
               a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
               a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void next_path(const FleetLoader *l, const FleetNext *n, const char *suffix, char *buf) {
        (void) snprintf(buf, PATH_MAX, "%s%s%s", l->prefix, n->source.path, suffix);
}

static int copy_text(char **field, const char *s) {
        free(*field);
        *field = s ? strdup(s) : NULL;
        return s && !*field ? -ENOMEM : 0;
}

/* The same file as before has the same outcome as before. */
static bool take_same(FleetLoader *l, FleetNext *n) {
        const FleetSource *old = n->keep > 0 ? &l->sources[n->keep - 1] : NULL;

        if (l->afresh || !old || !streq(old->path, n->source.path) || !same_file(&old->st, &n->source.st) ||
            !same_file(&old->st_signature, &n->source.st_signature))
                return false;
        n->same = true;
        return copy_text(&n->source.problem, old->problem) >= 0;
}

/* Signed, by the key that is signer, or not at all (NULL). */
static int next_parse(FleetLoader *l, FleetNext *n, const char *signer) {
        _cleanup_fleet_document_free_ FleetDocument *d = NULL;
        PolicyError error = {};
        char words[700];
        int r;

        r = fleet_file_parse(n->source.path, n->bytes.text, n->bytes.size, &d, &error);
        if (r < 0) {
                set_problem(n, false, "%s", *error.message ? policy_error_format(&error, NULL, words, sizeof(words))
                                                           : strerror(-r));
                return 0;
        }
        if (signer) {
                const char *name = d->name ?: n->source.name;
                uint64_t last;

                /* It has to come out of the record as it went in. */
                for (const unsigned char *p = (const unsigned char *) name; *p; p++)
                        if (*p < ' ' || *p >= 0x7f) {
                                set_problem(n, true, "a signed document needs a name of plain letters");
                                return 0;
                        }
                last = l->handlers.last_serial(signer, name, l->handlers.userdata);

                if (fleet_serial_check(last, d->serial, &error) < 0) {
                        set_problem(n, true, "%s", error.message);
                        return 0;
                }
                n->source.signer = strdup(signer);
                if (!n->source.signer)
                        return -ENOMEM;
        }
        n->source.document = TAKE_PTR(d);
        n->source.kept = n->why;
        return 0;
}

static bool next_judge(FleetLoader *l, FleetNext *n);

/* Since klpd has started, the file was never good: what was kept of it before is looked at in its place. True: it
 * is done with, or there is nothing kept; false: an answer comes later. */
static bool next_take_kept(FleetLoader *l, FleetNext *n) {
        FleetKept kept = {};
        int r;

        if (n->source.document || n->source.network || n->keep > 0 || n->same || n->why)
                return true;
        r = fleet_kept_read(l->world->root_fd, n->source.name, &kept);
        if (r == -ENOENT)
                return true;
        n->why = TAKE_PTR(n->source.problem);
        if (r < 0) {
                set_problem(n, n->refused, "%s", strerror(-r));
                return true;
        }
        fleet_kept_done(&n->bytes);
        n->bytes = kept;
        return next_judge(l, n);
}

static void loader_go_on(FleetLoader *l) {
        FleetNext *n = &l->next[l->at];

        if (!next_take_kept(l, n))
                return;
        if (n->source.kept && !n->source.problem)
                n->source.problem = strdup(n->why);
        l->at++;
        if (sd_event_source_set_enabled(l->step, SD_EVENT_ONESHOT) < 0)
                log_error("Can't go on reading fleet documents");
}

static void on_signature(int r, const char *text, const SignatureVerdict *verdict, void *userdata) {
        FleetLoader *l = userdata;
        FleetNext *n = &l->next[l->at];

        if (r < 0)
                set_problem(n, false, "its signature can't be checked: %s", *text ? text : strerror(-r));
        else if (verdict->status != SIGNATURE_GOOD)
                set_problem(n, true, "it has %s: %s",
                            verdict->status == SIGNATURE_MISSING ? "no signature" : "no signature that counts",
                            verdict->reason);
        else {
                n->source.valid_until_usec = verdict->valid_until_usec;
                if (next_parse(l, n, verdict->key) < 0)
                        set_problem(n, false, "out of memory");
        }
        l->check = l->world->hands->vtable->signature_free(l->check);
        loader_go_on(l);
}

/* 0: the answer comes later. */
static int next_check(FleetLoader *l, const FleetNext *n) {
        _cleanup_close_ int fd = -EBADF, signature_fd = -EBADF;
        Hands *hands = l->world->hands;
        int r;

        r = sealed_memfd_new_from_bytes(n->bytes.text, n->bytes.size, "fleet-document", &fd);
        if (r >= 0 && n->bytes.signature)
                r = sealed_memfd_new_from_bytes(n->bytes.signature, n->bytes.signature_size, "fleet-signature",
                                                &signature_fd);
        if (r < 0)
                return r;
        return hands->vtable->check_signature(hands,
                                              &(SignatureSpec) {
                                                      .use = SIGNATURE_USE_DOCUMENT,
                                                      .content_fd = fd,
                                                      .signature_fd = signature_fd,
                                                      .now_usec = l->handlers.now(l->handlers.userdata),
                                              },
                                              on_signature, l, &l->check);
}

static bool signature_required(const FleetLoader *l, const FleetNext *n) {
        const Policy *policy = l->world->policy ?: policy_default();

        return n->source.network || policy->require_signature || l->world->policy_problem;
}

/* True: it is done with; false: an answer comes later. */
static bool next_judge(FleetLoader *l, FleetNext *n) {
        int r;

        if (n->bytes.signature || signature_required(l, n)) {
                r = next_check(l, n);
                if (r >= 0)
                        return false;
                set_problem(n, false, "its signature can't be checked: %s", strerror(-r));
                return true;
        }
        r = next_parse(l, n, NULL);
        if (r < 0)
                set_problem(n, false, "%s", strerror(-r));
        return true;
}

/* As next_judge(). */
static bool next_read(FleetLoader *l, FleetNext *n) {
        char path[PATH_MAX], signature[PATH_MAX];
        int r;

        next_path(l, n, "", path);
        next_path(l, n, FLEET_SIGNATURE_SUFFIX, signature);
        if (n->same) /* vanished */
                return true;
        if (stat(path, &n->source.st) < 0) {
                set_problem(n, false, "can't be read: %s", strerror(errno));
                return true;
        }
        if (stat(signature, &n->source.st_signature) < 0)
                n->source.st_signature = (struct stat) {};
        if (take_same(l, n))
                return true;
        /* What comes over the network needs a signature anyway. */
        if (!n->source.network && n->source.st.st_mode & (S_IWGRP | S_IWOTH)) {
                set_problem(n, true, "it may be written by others than its owner (chmod go-w)");
                return true;
        }
        r = fleet_file_read(path, JSON_SIZE_MAX, &n->bytes.text, &n->bytes.size);
        if (r >= 0) {
                r = fleet_file_read(signature, SIGNATURE_SIZE_MAX, &n->bytes.signature, &n->bytes.signature_size);
                if (r == -ENOENT)
                        r = 0;
        }
        if (r < 0) {
                set_problem(n, false, "can't be read: %s", strerror(-r));
                return true;
        }
        return next_judge(l, n);
}

/* ---- windows ---- */

static void on_expanded(int r, const char *text, char *const *problems, void *userdata);

static int loader_expand(FleetLoader *l) {
        l->expanded = calloc(l->n_next + 1, sizeof(*l->expanded));
        l->expanded_at = calloc(l->n_next + 1, sizeof(*l->expanded_at));
        if (!l->expanded || !l->expanded_at)
                return -ENOMEM;
        for (size_t i = 0; i < l->n_next; i++) {
                FleetDocument *d = l->next[i].source.document;

                if (!d || !fleet_document_has_windows(d))
                        continue;
                l->expanded_at[l->n_expanded] = i;
                l->expanded[l->n_expanded++] = d;
        }
        if (l->n_expanded == 0)
                return 0;
        return fleet_expand_new(l->world->event, l->expanded, l->n_expanded,
                                l->handlers.now(l->handlers.userdata), on_expanded, l, &l->expand);
}

static int on_expand_again(sd_event_source *source, uint64_t usec, void *userdata);

/* Windows are known for a number of occurrences only: half way through, they are looked up again. */
static void loader_arm_expansion(FleetLoader *l, uint64_t at_least) {
        uint64_t now = l->handlers.now(l->handlers.userdata), after = UINT64_MAX;
        int r;

        l->expand_again = sd_event_source_disable_unref(l->expand_again);
        for (size_t i = 0; i < l->n; i++)
                for (size_t k = 0; l->sources[i].document && k < l->sources[i].document->n_rules; k++) {
                        const FleetRule *rule = &l->sources[i].document->rules[k];

                        for (size_t w = 0; w < rule->n_windows; w++) {
                                size_t n = rule->windows[w].n_intervals;
                                uint64_t end = n > 0 ? rule->windows[w].intervals[n - 1].end : 0;

                                if (end > now && (end - now) / 2 < after)
                                        after = (end - now) / 2;
                        }
                }
        if (after == UINT64_MAX)
                return;
        if (after < at_least)
                after = at_least;
        r = sd_event_add_time_relative(l->world->event, &l->expand_again, CLOCK_BOOTTIME, after, 1000000,
                                       on_expand_again, l);
        if (r < 0)
                log_error("Can't look up maintenance windows again: %s", strerror(-r));
}

static int on_expand_again(sd_event_source *source, uint64_t usec, void *userdata) {
        FleetLoader *l = userdata;
        int r;

        l->expand_again = sd_event_source_disable_unref(l->expand_again);
        if (l->loading)
                return 0; /* its end arms the timer again */
        l->expanded = calloc(l->n + 1, sizeof(*l->expanded));
        if (!l->expanded)
                return 0;
        for (size_t i = 0; i < l->n; i++)
                if (l->sources[i].document && fleet_document_has_windows(l->sources[i].document))
                        l->expanded[l->n_expanded++] = l->sources[i].document;
        l->loading = l->renewing = true;
        r = fleet_expand_new(l->world->event, l->expanded, l->n_expanded,
                             l->handlers.now(l->handlers.userdata), on_expanded, l, &l->expand);
        if (r < 0) {
                log_warning("Can't look up maintenance windows again: %s", strerror(-r));
                loader_drop_next(l);
                loader_arm_expansion(l, EXPAND_RETRY_USEC);
        }
        return 0;
}

/* ---- the end of a load ---- */

static void loader_end(FleetLoader *l) {
        loader_drop_next(l);
        if (TAKE_GENERIC(l->again, false))
                (void) fleet_loader_reload(l, TAKE_GENERIC(l->again_afresh, false));
        l->handlers.changed(l->handlers.userdata);
}

/* The record has the serial before the document counts. */
static void next_check_serial(FleetLoader *l, FleetNext *n) {
        const FleetDocument *d = n->source.document;
        const char *name;
        int r;

        if (!d || !n->source.signer)
                return;
        name = d->name ?: n->source.name;
        if (d->serial <= l->handlers.last_serial(n->source.signer, name, l->handlers.userdata))
                return;
        r = l->handlers.serial(n->source.signer, name, d->serial, l->handlers.userdata);
        if (r < 0)
                set_problem(n, false, "its serial can't be written down: %s", strerror(-r));
}

/* What stays in force of the old list; problems that are new are told. */
static void next_settle(FleetLoader *l, FleetNext *n) {
        FleetSource *old = n->keep > 0 ? &l->sources[n->keep - 1] : NULL;

        if (n->source.problem && !(old && streq_ptr(old->problem, n->source.problem)))
                l->handlers.problem(&n->source, n->refused ? "refused" : "broken", l->handlers.userdata);
        if (n->source.document || !old)
                return;
        n->source.document = TAKE_PTR(old->document);
        n->source.kept = old->kept;
        n->source.signer = (free(n->source.signer), TAKE_PTR(old->signer));
        n->source.valid_until_usec = old->valid_until_usec;
}

/* For the next klpd: what is in force now, in case that the file is broken then. Of a file that is gone, nothing. */
static void loader_keep(const FleetLoader *l) {
        _cleanup_free_ const char **names = calloc(l->n_next + 1, sizeof(*names));
        int root_fd = l->world->root_fd, r;
        size_t n = 0;

        for (size_t i = 0; names && i < l->n; i++) {
                const FleetSource *s = &l->sources[i];
                const FleetNext *x = &l->next[i];

                if (s->network || n >= FLEET_KEPT_FILES_MAX)
                        continue;
                names[n++] = s->name;
                if (!s->document || s->problem || x->same)
                        continue;
                r = fleet_kept_write(root_fd, s->name, &x->bytes);
                if (r < 0)
                        log_warning("%s is in force, but can't be kept for the next start of klpd: %s", s->path,
                                    r == -E2BIG ? "it is too large" : strerror(-r));
        }
        r = names ? fleet_kept_tidy(root_fd, names, n) : -ENOMEM;
        if (r < 0)
                log_warning("What is kept of fleet documents can't be tidied up: %s", strerror(-r));
}

static int loader_put_in_force(FleetLoader *l) {
        _cleanup_free_ FleetDocument **documents = calloc(l->n_next + 1, sizeof(*documents));
        FleetSource *sources = calloc(l->n_next + 1, sizeof(*sources));
        FleetSet *set = NULL;
        size_t n = 0;
        int r = documents && sources ? 0 : -ENOMEM;

        for (size_t i = 0; r >= 0 && i < l->n_next; i++)
                next_check_serial(l, &l->next[i]);
        for (size_t i = 0; r >= 0 && i < l->n_next; i++) {
                const FleetNext *x = &l->next[i];
                FleetDocument *d = x->source.document ?: x->keep > 0 ? l->sources[x->keep - 1].document : NULL;

                if (d)
                        documents[n++] = d;
        }
        if (r >= 0)
                r = fleet_set_new(documents, n, &set);
        if (r < 0) {
                free(sources);
                return r;
        }
        fleet_set_free(l->set);
        l->set = set;
        for (size_t i = 0; i < l->n_next; i++) {
                next_settle(l, &l->next[i]);
                sources[i] = TAKE_GENERIC(l->next[i].source, (FleetSource) {});
        }
        for (size_t i = 0; i < l->n; i++)
                source_done(&l->sources[i]);
        free(l->sources);
        l->sources = sources;
        l->n = l->n_next;
        loader_keep(l);
        return 0;
}

static void loader_finish(FleetLoader *l) {
        int r;

        r = loader_put_in_force(l);
        if (r < 0) {
                log_error("Fleet documents can't be put together, what was in force stays: %s", strerror(-r));
                source_done(&l->failure);
                l->failure.path = strdup("fleet.d");
                l->failure.problem = strdup(strerror(-r));
        }
        loader_arm_expansion(l, EXPAND_AGAIN_MIN_USEC);
        loader_end(l);
}

static void on_expanded(int r, const char *text, char *const *problems, void *userdata) {
        FleetLoader *l = userdata;

        l->expand = fleet_expand_free(l->expand);
        if (l->renewing) {
                if (r < 0)
                        log_warning("Can't look up maintenance windows again: %s", text);
                for (size_t i = 0; r >= 0 && i < l->n_expanded; i++)
                        if (problems[i])
                                log_warning("%s: %s", l->expanded[i]->source, problems[i]);
                loader_arm_expansion(l, EXPAND_RETRY_USEC);
                loader_end(l);
                return;
        }
        for (size_t i = 0; i < l->n_expanded; i++)
                if (r < 0 || problems[i])
                        set_problem(&l->next[l->expanded_at[i]], false, "%s", r < 0 ? text : problems[i]);
        loader_finish(l);
}

static int loader_step(FleetLoader *l) {
        int r;

        if (l->at < l->n_next) {
                if (next_read(l, &l->next[l->at]))
                        loader_go_on(l);
                return 0;
        }
        r = loader_expand(l);
        if (r < 0) {
                for (size_t i = 0; i < l->n_expanded; i++)
                        set_problem(&l->next[l->expanded_at[i]], false, "its windows can't be expanded: %s",
                                    strerror(-r));
        }
        if (!l->expand)
                loader_finish(l);
        return 0;
}

static int on_step(sd_event_source *source, void *userdata) {
        return loader_step(userdata);
}

static int on_failed(sd_event_source *source, void *userdata) {
        loader_end(userdata);
        return 0;
}

int fleet_loader_reload(FleetLoader *l, bool afresh) {
        bool failed;
        int r;

        if (l->loading) {
                l->again = true;
                l->again_afresh = l->again_afresh || afresh;
                return 0;
        }
        l->loading = true;
        l->afresh = afresh;
        failed = find_all(l) < 0;
        if (failed)
                l->handlers.problem(&l->failure, "broken", l->handlers.userdata);
        r = sd_event_add_defer(l->world->event, &l->step, failed ? on_failed : on_step, l);
        if (r < 0)
                loader_drop_next(l);
        return r;
}
