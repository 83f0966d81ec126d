/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See fleet-watch.h. One inotify source for each path: on the directory itself, or on the ancestor that is
 * there. Whatever is heard of an ancestor, and the end of a directory, arms all of them again; after arming,
 * what is there is looked at once more by the caller, so nothing can slip in between.
 */
#include <limits.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "klpd/fleet-watch.h"
#include "klpd/log.h"

#define SETTLE_USEC UINT64_C(200000)
#define PATHS_MAX 8U
#define CONTENT_EVENTS                                                                                    \
        (IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | \
         IN_MOVE_SELF)
#define ANCESTOR_EVENTS (IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF)

typedef struct Watched {
        FleetWatch *watch;
        char *path;
        char next[NAME_MAX + 1]; /* the component that is waited for; "": the directory itself is there */
        sd_event_source *source;
} Watched;

struct FleetWatch {
        sd_event *event;
        Watched paths[PATHS_MAX];
        size_t n;
        void (*changed)(void *userdata);
        void *userdata;
        sd_event_source *timer;
        bool rearm;
};

static int watched_arm(Watched *w);

FleetWatch *fleet_watch_free(FleetWatch *w) {
        if (!w)
                return NULL;
        for (size_t i = 0; i < w->n; i++) {
                sd_event_source_disable_unref(w->paths[i].source);
                free(w->paths[i].path);
        }
        sd_event_source_disable_unref(w->timer);
        sd_event_unref(w->event);
        free(w);
        return NULL;
}

static int on_settled(sd_event_source *source, uint64_t usec, void *userdata) {
        FleetWatch *w = userdata;
        int r;

        w->timer = sd_event_source_disable_unref(w->timer);
        if (TAKE_GENERIC(w->rearm, false))
                for (size_t i = 0; i < w->n; i++) {
                        r = watched_arm(&w->paths[i]);
                        if (r < 0)
                                log_warning("Changes of %s won't be noticed, only after a reload: %s",
                                            w->paths[i].path, strerror(-r));
                }
        w->changed(w->userdata);
        return 0;
}

static int on_inotify(sd_event_source *source, const struct inotify_event *e, void *userdata) {
        Watched *w = userdata;
        FleetWatch *all = w->watch;
        int r;

        if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT | IN_Q_OVERFLOW))
                all->rearm = true;
        else if (*w->next) {
                if (e->len == 0 || !streq(e->name, w->next))
                        return 0;
                all->rearm = true;
        }
        if (all->timer)
                return 0;
        r = sd_event_add_time_relative(all->event, &all->timer, CLOCK_MONOTONIC, SETTLE_USEC, 0, on_settled, all);
        if (r < 0)
                log_error("Can't follow changes of %s: %s", w->path, strerror(-r));
        return 0;
}

/* Cuts the path to what is there; next is the component behind it. */
static void nearest(const char *path, char *existing, size_t size, char *next) {
        struct stat st;

        (void) snprintf(existing, size, "%s", path);
        *next = 0;
        while (stat(existing, &st) < 0 || !S_ISDIR(st.st_mode)) {
                char *slash = strrchr(existing, '/');

                if (!slash)
                        break;
                (void) snprintf(next, NAME_MAX + 1, "%s", slash + 1);
                slash[slash == existing] = 0;
                if (slash == existing)
                        break;
        }
}

static int watched_arm(Watched *w) {
        char existing[PATH_MAX];
        int r = 0;

        w->source = sd_event_source_disable_unref(w->source);
        /* It may come while we look: then what it is in has changed, and is looked at again. */
        for (unsigned i = 0; i < 4; i++) {
                nearest(w->path, existing, sizeof(existing), w->next);
                r = sd_event_add_inotify(w->watch->event, &w->source, existing,
                                         (*w->next ? ANCESTOR_EVENTS : CONTENT_EVENTS) | IN_ONLYDIR, on_inotify,
                                         w);
                if (r != -ENOENT && r != -ENOTDIR)
                        break;
        }
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(w->source, "fleet-watch");
        if (*w->next) {
                char now[PATH_MAX], next[NAME_MAX + 1];

                nearest(w->path, now, sizeof(now), next);
                if (!streq(now, existing))
                        return watched_arm(w);
        }
        return 0;
}

int fleet_watch_new(sd_event *event, const char *const *paths, void (*changed)(void *userdata),
                    void *userdata, FleetWatch **ret) {
        _cleanup_(fleet_watch_freep) FleetWatch *w = NULL;
        int r;

        w = calloc(1, sizeof(*w));
        if (!w)
                return -ENOMEM;
        w->event = sd_event_ref(event);
        w->changed = changed;
        w->userdata = userdata;
        for (; *paths; paths++) {
                Watched *one = &w->paths[w->n];

                if (w->n >= PATHS_MAX)
                        return -E2BIG;
                *one = (Watched) { .watch = w, .path = strdup(*paths) };
                if (!one->path)
                        return -ENOMEM;
                w->n++;
                r = watched_arm(one);
                if (r < 0)
                        log_warning("Changes of %s won't be noticed, only after a reload: %s", one->path,
                                    strerror(-r));
        }
        *ret = TAKE_PTR(w);
        return 0;
}
