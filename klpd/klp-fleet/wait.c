/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See wait.h. */
#include "klpd/klp-fleet/wait.h"

uint64_t clock_usec(clockid_t clock) {
        struct timespec ts;

        (void) clock_gettime(clock, &ts); /* fails only for clocks that don't exist */
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

int wait_new(sd_event *event, clockid_t clock, uint64_t accuracy_usec, const char *description,
             sd_event_time_handler_t handler, void *userdata, sd_event_source **ret) {
        sd_event_source *timer;
        int r;

        r = sd_event_add_time(event, &timer, clock, 0, accuracy_usec, handler, userdata);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(timer, SD_EVENT_OFF);
        if (r < 0) {
                sd_event_source_disable_unref(timer);
                return r;
        }
        (void) sd_event_source_set_description(timer, description);
        *ret = timer;
        return 0;
}

int wait_start(sd_event_source *timer, uint64_t usec) {
        clockid_t clock;
        uint64_t now;
        int r;

        r = sd_event_source_get_time_clock(timer, &clock);
        if (r < 0)
                return r;
        now = clock_usec(clock);
        r = sd_event_source_set_time(timer, usec < UINT64_MAX - now ? now + usec : UINT64_MAX - 1);
        if (r < 0)
                return r;
        return sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}
