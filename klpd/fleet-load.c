/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See fleet-load.h. A load makes a second list of sources beside the one in force, one file per turn of the
 * loop, and puts it in its place at the end; until then, a document that is to stay belongs to the old list
 * and is only pointed to (FleetNext.keep). What changes meanwhile begins another load after this one.
 */
#include <stdio.h>
#include <unistd.h>

#include "klpd/fleet-files.h"
#include "klpd/fleet-load-internal.h"
#include "klpd/fleet-slot.h"

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

void fleet_loader_drop(FleetLoader *l) {
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
        l->loading = l->renewing = l->look_again = false;
}

FleetLoader *fleet_loader_free(FleetLoader *l) {
        if (!l)
                return NULL;
        fleet_loader_drop(l);
        fleet_watch_free(l->watch);
        sd_event_source_disable_unref(l->renew);
        sd_event_source_disable_unref(l->timely);
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

uint64_t fleet_loader_now(const FleetLoader *l) {
        return l->handlers.now(l->handlers.userdata);
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

/* ---- one after the other ---- */

void fleet_loader_file_done(FleetLoader *l) {
        FleetNext *n = &l->next[l->at];

        if (!fleet_next_take_kept(l, n))
                return;
        if (n->source.kept && !n->source.problem)
                n->source.problem = strdup(n->why);
        l->at++;
        if (sd_event_source_set_enabled(l->step, SD_EVENT_ONESHOT) < 0)
                log_error("Can't go on reading fleet documents");
}

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
                                fleet_loader_now(l), fleet_loader_expanded, l, &l->expand);
}

/* ---- the end of a load ---- */

void fleet_loader_end(FleetLoader *l) {
        fleet_loader_drop(l);
        l->look_again = TAKE_GENERIC(l->again_look, false);
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
                fleet_next_problem(n, false, "its serial can't be written down: %s", strerror(-r));
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
        fleet_loader_arm(l);
        fleet_loader_end(l);
}

void fleet_loader_expanded(int r, const char *text, char *const *problems, void *userdata) {
        FleetLoader *l = userdata;

        l->expand = fleet_expand_free(l->expand);
        if (l->renewing) {
                fleet_loader_renewed(l, r, text, problems);
                return;
        }
        for (size_t i = 0; i < l->n_expanded; i++)
                if (r < 0 || problems[i])
                        fleet_next_problem(&l->next[l->expanded_at[i]], false, "%s", r < 0 ? text : problems[i]);
        loader_finish(l);
}

static int loader_step(FleetLoader *l) {
        int r;

        if (l->at < l->n_next) {
                if (fleet_next_read(l, &l->next[l->at]))
                        fleet_loader_file_done(l);
                return 0;
        }
        r = loader_expand(l);
        if (r < 0) {
                for (size_t i = 0; i < l->n_expanded; i++)
                        fleet_next_problem(&l->next[l->expanded_at[i]], false, "its windows can't be expanded: %s",
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
        fleet_loader_end(userdata);
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
                fleet_loader_drop(l);
        return r;
}
