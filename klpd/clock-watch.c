/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See clock-watch.h. The timer itself never elapses: it is armed for the end of time. */
#include <sys/timerfd.h>
#include <unistd.h>

#include "klpd/clock-watch.h"
#include "klpd/livepatch-sysfs-read.h"
#include "klpd/log.h"

struct ClockWatch {
        sd_event_source *source;
        int fd;
        void (*set)(void *userdata);
        void *userdata;
};

ClockWatch *clock_watch_free(ClockWatch *w) {
        if (!w)
                return NULL;
        sd_event_source_disable_unref(w->source);
        closep(&w->fd);
        free(w);
        return NULL;
}

/* ECANCELED: the clock was set again since the last read. The timer is armed then all the same (fs/timerfd.c arms it, and
 * then looks), and whoever is told of the first time reads what the second one made. */
static int clock_watch_arm(ClockWatch *w) {
        const struct itimerspec never = { .it_value.tv_sec = INT64_MAX / 1000000000 };
        int r = timerfd_settime(w->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL);

        return r < 0 && errno != ECANCELED ? -errno : 0;
}

static int on_timer(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        ClockWatch *w = userdata;
        uint64_t n;
        int r;

        if (read(fd, &n, sizeof(n)) >= 0 || errno != ECANCELED)
                return 0;
        r = clock_watch_arm(w);
        if (r < 0) {
                log_error("Won't notice any more when the clock is set: %s", strerror(-r));
                (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        }
        w->set(w->userdata);
        return 0;
}

int clock_watch_new(sd_event *event, void (*set)(void *userdata), void *userdata, ClockWatch **ret) {
        _cleanup_(clock_watch_freep) ClockWatch *w = calloc(1, sizeof(*w));
        int r;

        if (!w)
                return -ENOMEM;
        w->set = set;
        w->userdata = userdata;
        w->fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
        if (w->fd < 0)
                return -errno;
        r = clock_watch_arm(w);
        if (r < 0)
                return r;
        r = sd_event_add_io(event, &w->source, w->fd, EPOLLIN, on_timer, w);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(w->source, "clock-watch");
        *ret = TAKE_PTR(w);
        return 0;
}
