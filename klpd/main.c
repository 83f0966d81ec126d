/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpd(8): the daemon. This file starts and ends it: event loop, signals, watchdog, readiness. Everything
 * else is the manager's. SIGHUP reloads; SIGTERM and SIGINT stop: what hasn't begun isn't begun any more, a
 * transition under way is followed until it is over, but not beyond STOP_USEC, since the kernel finishes it
 * without us; a second one stops at once.
 *
 * Whoever manages holds the lock /run/klpd/lock: klpd, or klpd --boot before it.
 */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "klpd/boot.h"
#include "klpd/log.h"
#include "klpd/manager.h"

#define STOP_USEC UINT64_C(60000000)

typedef struct Program {
        sd_event *event;
        Manager *manager;
        Boot *boot; /* --boot */
        uint64_t watchdog_usec;
        int lock_fd;
        bool stopping;
} Program;

static void on_ready(int r, void *userdata) {
        if (r == -EEXIST || r == -EACCES) {
                Program *p = userdata;

                (void) sd_event_exit(p->event, EXIT_FAILURE);
                return;
        }
        (void) sd_notify(false, r < 0 ? "READY=1\nSTATUS=Waiting for the bus"
                                      : "READY=1\nSTATUS=Waiting for requests");
}

static void on_stopped(void *userdata) {
        Program *p = userdata;

        (void) sd_event_exit(p->event, EXIT_SUCCESS);
}

static int on_stop_late(sd_event_source *source, uint64_t usec, void *userdata) {
        log_warning("A transition is still under way: the kernel goes on with it, klpd doesn't wait any "
                    "longer");
        on_stopped(userdata);
        return 0;
}

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        Program *p = userdata;

        if (p->stopping) {
                on_stopped(p);
                return 0;
        }
        p->stopping = true;
        (void) sd_notify(false, "STOPPING=1");
        if (sd_event_add_time_relative(p->event, NULL, CLOCK_MONOTONIC, STOP_USEC, 0, on_stop_late, p) < 0) {
                on_stopped(p);
                return 0;
        }
        manager_stop(p->manager, on_stopped, p);
        return 0;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        Program *p = userdata;

        (void) sd_notifyf(false, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_usec(CLOCK_MONOTONIC));
        manager_reload(p->manager);
        (void) sd_notify(false, "READY=1");
        return 0;
}

static int program_watch(Program *p) {
        sigset_t signals;
        int r;

        if (sigemptyset(&signals) < 0 || sigaddset(&signals, SIGTERM) < 0 ||
            sigaddset(&signals, SIGINT) < 0 || sigaddset(&signals, SIGHUP) < 0 ||
            sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
                return -errno;
        r = sd_event_add_signal(p->event, NULL, SIGTERM, on_terminate, p);
        if (r >= 0)
                r = sd_event_add_signal(p->event, NULL, SIGINT, on_terminate, p);
        if (r >= 0)
                r = sd_event_add_signal(p->event, NULL, SIGHUP, on_hangup, p);
        return r;
}

/* The one thing that wakes up an idle klpd: so it looks at the kernel then, too (manager-look.c). */
static int on_watchdog(sd_event_source *source, uint64_t usec, void *userdata) {
        Program *p = userdata;
        int r;

        (void) sd_notify(false, "WATCHDOG=1");
        if (p->manager)
                manager_look(p->manager);
        r = sd_event_source_set_time_relative(source, p->watchdog_usec / 2);
        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int program_watchdog(Program *p) {
        sd_event_source *source;
        int r;

        r = sd_watchdog_enabled(false, &p->watchdog_usec);
        if (r <= 0)
                return r;
        r = sd_event_add_time_relative(p->event, &source, CLOCK_MONOTONIC, p->watchdog_usec / 2,
                                       p->watchdog_usec / 8, on_watchdog, p);
        if (r >= 0)
                r = sd_event_source_set_description(source, "watchdog");
        if (r >= 0)
                r = sd_event_source_set_floating(source, true); /* the loop holds it */
        if (r >= 0)
                sd_event_source_unref(source);
        return r;
}

static void on_booted(int status, void *userdata) {
        Program *p = userdata;

        (void) sd_event_exit(p->event, status);
}

static int program_lock(Program *p, int root_fd) {
        if (mkdirat(root_fd, "run/klpd", 0755) < 0 && errno != EEXIST)
                return -errno;
        p->lock_fd = openat(root_fd, "run/klpd/lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (p->lock_fd < 0)
                return -errno;
        if (flock(p->lock_fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno == EWOULDBLOCK)
                        log_error("Another klpd is at work already: it holds /run/klpd/lock");
                return -errno;
        }
        return 0;
}

static int program_run(Program *p, int root_fd, bool boot) {
        Hands *hands = NULL;
        int r;

        r = program_lock(p, root_fd);
        if (r >= 0)
                r = sd_event_default(&p->event);
        if (r >= 0)
                r = program_watch(p);
        if (r >= 0)
                r = program_watchdog(p);
        if (r >= 0)
                r = hands_kernel_new(p->event, root_fd, NULL, NULL, &hands);
        if (r >= 0)
                r = manager_new(p->event, root_fd, hands, NULL, NULL, &p->manager);
        if (boot) {
                if (r >= 0)
                        r = boot_start(p->manager, on_booted, p, &p->boot);
        } else {
                if (r >= 0)
                        r = manager_start(p->manager);
                if (r >= 0)
                        r = manager_connect(p->manager, on_ready, p);
        }
        if (r >= 0)
                r = sd_event_loop(p->event);
        return r;
}

static void help(void) {
        (void) printf("klpd [--boot|--shutdown] [--help] [--version]\n\n"
                      "Manages the livepatches of this host. Started by systemd, see klpd(8); use klpctl(8) "
                      "to talk to it.\n\n"
                      "  --boot      Apply what is accepted, and end (klpd-boot.service)\n"
                      "  --shutdown  If the system is shutting down: write down that it does so in order\n");
}

int main(int argc, char *argv[]) {
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'V' },
                { "boot", no_argument, NULL, 'B' },
                { "shutdown", no_argument, NULL, 'S' },
                {},
        };
        Program program = { .lock_fd = -EBADF };
        bool boot = false, shutdown = false;
        int c, root_fd, r;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        help();
                        return EXIT_SUCCESS;
                case 'V':
                        (void) puts("klpd " KLPD_VERSION);
                        return EXIT_SUCCESS;
                case 'B':
                        boot = true;
                        break;
                case 'S':
                        shutdown = true;
                        break;
                default:
                        return EXIT_FAILURE;
                }
        if (optind < argc || (boot && shutdown)) {
                (void) fprintf(stderr, "klpd takes no arguments, and one option at most\n");
                return EXIT_FAILURE;
        }

        root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root_fd < 0) {
                log_error("Can't open /: %s", strerror(errno));
                return EXIT_FAILURE;
        }
        r = shutdown ? 0 : program_run(&program, root_fd, boot);
        if (r < 0)
                log_error("klpd failed: %s", strerror(-r));
        boot_free(program.boot);
        manager_free(program.manager);
        sd_event_unref(program.event);
        if (!boot && boot_is_stopping()) {
                int k = boot_shutdown(root_fd);

                if (k < 0)
                        log_error("Can't write down that the system is shut down in order: %s", strerror(-k));
        }
        if (program.lock_fd >= 0)
                close(program.lock_fd);
        close(root_fd);
        return r < 0 ? EXIT_FAILURE : r;
}
