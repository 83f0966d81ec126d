/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See repository.h, and repository-internal.h for the model. Here: who waits, and the inspection of what is new, one
 * file after the other.
 *
 * A refresh that is asked for while another runs is served by one more look at the directories afterwards,
 * so that whoever waits gets at least what was on disk when he asked.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "klpd/import-record.h"
#include "klpd/manifest.h"
#include "klpd/patch-file.h"
#include "klpd/repository-internal.h"
#include "klpd/sealed-memfd.h"

/* So many inspections may be done again after a restart before the cache is worth its writing. */
#define UNCACHED_MAX 64U

/* ---- inspecting what is new ---- */

static void set_problem(File *f, const char *text) {
        char *copy = strdup(text);

        if (!copy)
                return;
        free(f->entry.problem);
        f->entry.problem = copy;
}

/* A record that can't be trusted makes the file unusable: what was imported isn't known any more. */
static int file_read_record(Repository *r, File *f) {
        ImportRecord record;
        PolicyError error = {};
        char text[640];
        int k;

        if (!f->record)
                return 0;
        k = import_record_read(r->root_fd, f->record, &record, &error);
        if (k < 0) {
                (void) snprintf(text, sizeof(text),
                                "the record of its import (/%s) can't be trusted: %s; import it again",
                                f->record, error.message[0] ? error.message : strerror(-k));
                set_problem(f, text);
                return k;
        }
        f->entry.recorded = TAKE_PTR(record.digest);
        import_record_done(&record);
        return 0;
}

static int file_take(Repository *r, File *f, const InspectResult *result) {
        Patch *patch;
        int k;

        k = manifest_merge(r->root_fd, f->entry.manifest, result->patch, &patch, &f->entry.problem);
        if (k < 0)
                return k;
        patch_unref(f->entry.patch);
        f->entry.patch = patch;
        return file_read_record(r, f);
}

static void on_inspected(int error, const char *text, const InspectResult *result, void *userdata) {
        Repository *r = userdata;
        File *f = r->inspecting;
        int k = error;

        r->inspecting = NULL;
        r->changed = true;
        r->n_uncached++;
        f->pending = false;
        if (k >= 0)
                k = file_take(r, f, result);
        else
                set_problem(f, text);
        if (k < 0 && !f->entry.problem)
                set_problem(f, strerror(-k));

        /* Not from within the inspection's own callback: it is freed before the next one starts. */
        (void) sd_event_source_set_enabled(r->defer, SD_EVENT_ONESHOT);
}

/* Starts the inspection of one file; an error is the file's, and said there. */
static bool file_start(Repository *r, File *f) {
        int fd = -EBADF, k;

        k = repository_open(r, &f->entry, &fd);
        if (k >= 0) {
                k = r->hands->vtable->inspect(r->hands, fd, on_inspected, r, &r->inspection);
                close(fd);
        }
        if (k < 0) {
                r->changed = true;
                f->pending = false;
                set_problem(f, k == -ELOOP || k == -EINVAL ? "it is no regular file" : strerror(-k));
                return false;
        }
        r->inspecting = f;
        return true;
}

static void repository_serve(Repository *r) {
        RepositoryWait *w = r->waits;

        /* A callback may free any wait, also the next one: start over after each. */
        while (w) {
                if (w->wanted <= r->n_scans && w->callback) {
                        RepositoryCallback callback = TAKE_PTR(w->callback);

                        callback(w->userdata);
                        w = r->waits;
                } else
                        w = w->next;
        }
}

static bool repository_wanted(const Repository *r) {
        for (const RepositoryWait *w = r->waits; w; w = w->next)
                if (w->callback && w->wanted > r->n_scans)
                        return true;
        return false;
}

static int repository_work(Repository *r) {
        int k;

        r->inspection = r->hands->vtable->inspect_free(r->inspection);
        if (r->inspecting)
                return 0;
        if (!r->running) {
                r->running = true;
                r->next = 0;
                k = repository_scan(r);
                if (k < 0)
                        r->changed = true;
                /* The views must not point to what is gone, also while what is new is inspected. */
                if (r->changed && (k == -ENOMEM || repository_make_views(r) < 0))
                        return -ENOMEM;
        }
        for (; r->next < r->n_files; r->next++)
                if (r->files[r->next]->pending && file_start(r, r->files[r->next]))
                        return 0;
        if (r->changed) {
                k = repository_make_views(r);
                if (k < 0)
                        return k;
                r->changed = false;
        }
        r->running = false;
        if (r->n_uncached > UNCACHED_MAX) {
                (void) repository_cache_write(r);
                r->n_uncached = 0;
        }
        repository_serve(r);
        if (repository_wanted(r))
                return sd_event_source_set_enabled(r->defer, SD_EVENT_ONESHOT);
        return 0;
}

static int on_defer(sd_event_source *source, void *userdata) {
        return repository_work(userdata);
}

int repository_refresh(Repository *r, RepositoryCallback callback, void *userdata, RepositoryWait **ret) {
        RepositoryWait *w;
        int k;

        w = malloc(sizeof(*w));
        if (!w)
                return -ENOMEM;
        *w = (RepositoryWait) {
                .repository = r,
                .next = r->waits,
                .link = &r->waits,
                .callback = callback,
                .userdata = userdata,
                .wanted = r->n_scans + 1,
        };
        if (!r->inspecting) {
                k = sd_event_source_set_enabled(r->defer, SD_EVENT_ONESHOT);
                if (k < 0) {
                        free(w);
                        return k;
                }
        }
        if (w->next)
                w->next->link = &w->next;
        r->waits = w;
        *ret = w;
        return 0;
}

RepositoryWait *repository_wait_free(RepositoryWait *w) {
        if (!w)
                return NULL;
        *w->link = w->next;
        if (w->next)
                w->next->link = w->link;
        free(w);
        return NULL;
}

/* ---- the object ---- */

int repository_new(sd_event *event, Hands *hands, int root_fd, const char *release, Repository **ret) {
        _cleanup_(repository_freep) Repository *r = NULL;
        int k;

        r = calloc(1, sizeof(*r));
        if (!r)
                return -ENOMEM;
        r->event = sd_event_ref(event);
        r->hands = hands;
        r->root_fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
        if (r->root_fd < 0)
                return -errno;
        r->release = strdup(release);
        if (!r->release)
                return -ENOMEM;
        k = sd_event_add_defer(event, &r->defer, on_defer, r);
        if (k >= 0)
                k = sd_event_source_set_enabled(r->defer, SD_EVENT_OFF);
        if (k >= 0)
                k = sd_event_source_set_description(r->defer, "repository");
        if (k < 0)
                return k;
        *ret = TAKE_PTR(r);
        return 0;
}

Repository *repository_free(Repository *r) {
        if (!r)
                return NULL;
        while (r->waits)
                repository_wait_free(r->waits);
        r->hands->vtable->inspect_free(r->inspection);
        for (size_t i = 0; i < r->n_files; i++)
                file_free(r->files[i]);
        free(r->files);
        free(r->entries);
        free(r->by_name);
        free(r->patches);
        repository_cache_free(r->cache);
        sd_event_source_disable_unref(r->defer);
        if (r->root_fd >= 0)
                close(r->root_fd);
        free(r->release);
        sd_event_unref(r->event);
        free(r);
        return NULL;
}

int repository_open(const Repository *r, const RepositoryEntry *entry, int *ret_fd) {
        int fd, k;

        fd = openat(r->root_fd, entry->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        k = sealed_memfd_new_from_fd(fd, PATCH_FILE_SIZE_MAX, entry->patch->name, ret_fd);
        close(fd);
        return k;
}
