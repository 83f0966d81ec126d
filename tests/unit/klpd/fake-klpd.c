/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpd as it is, with hands that play a kernel (fake-hands.h), below a root directory of its own: what the
 * bus tests talk to. fake-klpd ROOT [no-shim|no-livepatch|fleet]; the bus is the one of
 * DBUS_SYSTEM_BUS_ADDRESS. fleet: the clock counts as certain, and whoever runs this as the user klp-fleet.
 * Edges of the audit go to standard output.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "fake-hands.h"
#include "klpd/manager.h"

static int print_record(const struct iovec *fields, size_t n_fields, void *userdata) {
        for (size_t i = 0; i < n_fields; i++)
                if (fields[i].iov_len > 10 && memcmp(fields[i].iov_base, "KLPD_EDGE=", 10) == 0)
                        (void) printf("edge %.*s\n", (int) fields[i].iov_len - 10,
                                      (const char *) fields[i].iov_base + 10);
        return fflush(stdout);
}

static bool certain(void *userdata) {
        return true;
}

static void on_ready(int r, void *userdata) {
        (void) printf("ready %d\n", r);
        (void) fflush(stdout);
}

static void on_stopped(void *userdata) {
        (void) sd_event_exit(userdata, 0);
}

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        Manager *m = userdata;

        manager_stop(m, on_stopped, sd_event_source_get_event(source));
        return 0;
}

int main(int argc, char *argv[]) {
        sd_event *event = NULL;
        Manager *manager = NULL;
        Hands *hands = NULL;
        struct utsname uts;
        sigset_t signals;
        int root_fd, r;

        if (argc < 2 || uname(&uts) < 0)
                return 1;
        root_fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (root_fd < 0)
                return 1;
        (void) sigemptyset(&signals);
        (void) sigaddset(&signals, SIGTERM);
        (void) sigprocmask(SIG_BLOCK, &signals, NULL);
        r = sd_event_default(&event);
        if (r >= 0)
                r = fake_hands_new(event, uts.release, &hands);
        if (r >= 0 && argc > 2 && !streq(argv[2], "fleet"))
                (streq(argv[2], "no-shim") ? fake_set_shim : fake_set_livepatch)(hands, false);
        if (r >= 0)
                r = manager_new(event, root_fd, hands, print_record, NULL, &manager);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGTERM, on_terminate, manager);
        if (r >= 0)
                r = manager_start(manager);
        if (r >= 0 && argc > 2 && streq(argv[2], "fleet")) {
                manager->fleet_uid = getuid();
                manager->converge->clock.synchronized = certain;
        }
        if (r >= 0)
                r = manager_connect(manager, on_ready, manager);
        if (r >= 0)
                r = sd_event_loop(event);
        manager_free(manager);
        sd_event_unref(event);
        close(root_fd);
        return r < 0 ? 1 : r;
}
