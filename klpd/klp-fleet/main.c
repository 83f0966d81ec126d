/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klp-fleet(8): between klpd and the machines that see more than one host: a FleetLock server, etcd. It has no
 * privileges, and nothing that it does authorises anything: documents go into a directory from which klpd takes
 * only what is signed, and a slot opens one gate more, after all others (klpd/fleet-slot.h).
 *
 * Two sessions with etcd, so that status that can't be published doesn't keep documents waiting. No state of its
 * own: after a crash it asks klpd what is wanted, and etcd what is there.
 */
#include <ctype.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#include "klpd/klp-fleet/document.h"
#include "klpd/klp-fleet/etcd.h"
#include "klpd/klp-fleet/fleet-lock.h"
#include "klpd/klp-fleet/link.h"
#include "klpd/log.h"

/* For FleetLock servers and keys at etcd; not the one of rollouts, so that neither tells of the other. */
#define HOST_ID_APPLICATION SD_ID128_MAKE(8c, 3f, 0b, 5e, 27, 6d, 4b, 1a, 9d, 57, e1, 44, 03, a2, b9, 6c)

typedef struct Program {
        sd_event *event;
        int root_fd;
        FleetConfig config;
        EtcdConfig reading, publishing; /* config.etcd, each without the other's part */
        char id[LOCK_ID_MAX + 1];
        char password[CONFIG_PASSWORD_MAX];
        Http *http;
        FleetLock *lock;
        Etcd *reader, *publisher;
        Link *link;
        char document[32]; /* what became of it, for STATUS= */
        char status[256];
} Program;

/* ---- what the parts tell each other ---- */

static int on_document(const EtcdRead *read, void *userdata) {
        Program *p = userdata;
        int r;

        if (!read->document || read->document_size == 0)
                return 0;
        if (!read->signature || read->signature_size == 0) {
                (void) strcpy(p->document, "not signed");
                log_warning("The fleet document at etcd has no signature at %s.p7s: not taken, what was there "
                            "before stays",
                            p->config.etcd.document_key);
                return 0;
        }
        r = document_store(p->root_fd, p->config.etcd.document_name, read->document, read->document_size,
                           read->signature, read->signature_size);
        if (r < 0)
                return r;
        (void) strcpy(p->document, "there");
        if (r > 0)
                log_info("The fleet document of etcd's revision %" PRIu64 " is there for klpd (%zu bytes)",
                         read->revision, read->document_size);
        return 0;
}

static int on_grant(const char *token, void *userdata) {
        Program *p = userdata;

        return link_grant(p->link, token);
}

static void on_wanted(const char *token, void *userdata) {
        Program *p = userdata;

        if (p->lock)
                fleet_lock_set_wanted(p->lock, token);
}

static void on_granted(bool success, void *userdata) {
        Program *p = userdata;

        if (p->lock)
                fleet_lock_granted(p->lock, success);
}

static void on_status(const char *text, void *userdata) {
        Program *p = userdata;

        if (p->publisher && etcd_set_status(p->publisher, text) < 0)
                log_warning("Out of memory: what is published of this host is not the latest");
}

static int on_event_done(sd_event_source *source, void *userdata) {
        Program *p = userdata;
        char text[sizeof(p->status)];

        (void) snprintf(text, sizeof(text), "%s%s%s%s%s%s", p->lock ? "slot: " : "",
                        p->lock ? fleet_lock_status(p->lock) : "", p->lock && p->reader ? "; " : "",
                        p->reader ? "etcd: " : "", p->reader ? etcd_status(p->reader) : "",
                        p->reader && p->document[0] ? ", document " : "");
        if (p->reader && p->document[0])
                (void) snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s", p->document);
        if (!streq(text, p->status)) {
                (void) strcpy(p->status, text);
                (void) sd_notifyf(false, "STATUS=%s", text);
        }
        return 0;
}

/* ---- start ---- */

static void on_report(const char *text, void *userdata) {
        log_warning("%s", text);
}

static int read_password(const char *path, char *ret, size_t size) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        ssize_t n = -1;
        struct stat st;
        int r = 0;

        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                r = -errno;
        else if (!S_ISREG(st.st_mode))
                r = -EINVAL;
        else {
                n = read(fd, ret, size - 1);
                r = n < 0 ? -errno : (size_t) n == size - 1 ? -EFBIG : 0;
        }
        close(fd);
        if (r < 0)
                return r;
        ret[n] = 0;
        ret[strcspn(ret, "\r\n")] = 0;
        for (const char *p = ret; *p; p++)
                if (iscntrl((unsigned char) *p))
                        return -EINVAL;
        return *ret ? 0 : -ENODATA;
}

static int find_id(Program *p) {
        sd_id128_t id;
        int r;

        if (*p->config.id)
                return memcpy(p->id, p->config.id, sizeof(p->id)), 0;
        r = sd_id128_get_machine_app_specific(HOST_ID_APPLICATION, &id);
        if (r < 0)
                return r;
        (void) snprintf(p->id, sizeof(p->id), "%s", SD_ID128_TO_STRING(id));
        return 0;
}

static int program_configure(Program *p) {
        char problem[CONFIG_URL_MAX + 128];
        int r;

        r = fleet_config_load(p->root_fd, on_report, NULL, &p->config);
        if (r < 0) {
                log_error("Can't read klp-fleet.conf: %s", strerror(-r));
                return r;
        }
        if (fleet_config_problem(&p->config, problem, sizeof(problem))) {
                log_error("%s", problem);
                return -EINVAL;
        }
        if (p->config.etcd.endpoints.n > 0 && *p->config.etcd.user) {
                r = read_password(p->config.etcd.password_file, p->password, sizeof(p->password));
                if (r < 0) {
                        log_error("Can't read the password in %s: %s", p->config.etcd.password_file, strerror(-r));
                        return r;
                }
        }
        r = find_id(p);
        if (r < 0)
                log_error("This host has no machine id: %s", strerror(-r));
        return r;
}

static int program_start_etcd(Program *p) {
        EtcdHandlers handlers = { .on_document = on_document, .userdata = p };
        int r = 0;

        p->reading = p->publishing = p->config.etcd;
        p->reading.status_prefix[0] = 0;
        p->publishing.document_key[0] = 0;
        if (*p->reading.document_key)
                r = etcd_new(p->event, p->http, &p->reading, p->id, p->password, &handlers, &p->reader);
        if (r >= 0 && *p->publishing.status_prefix)
                r = etcd_new(p->event, p->http, &p->publishing, p->id, p->password, &handlers, &p->publisher);
        return r;
}

static int program_start(Program *p) {
        LinkHandlers link = {
                .on_wanted = on_wanted, .on_granted = on_granted, .on_status = on_status, .userdata = p,
        };
        sigset_t signals;
        int r;

        if (sigemptyset(&signals) < 0 || sigaddset(&signals, SIGTERM) < 0 || sigaddset(&signals, SIGINT) < 0 ||
            sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
                return -errno;
        r = sd_event_default(&p->event);
        if (r >= 0)
                r = sd_event_add_signal(p->event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(p->event, NULL, SIGINT, NULL, NULL);
        if (r >= 0)
                r = sd_event_set_watchdog(p->event, true);
        if (r >= 0)
                r = sd_event_add_post(p->event, NULL, on_event_done, p);
        if (r >= 0)
                r = http_new(p->event, &p->http);
        if (r >= 0 && *p->config.lock.url)
                r = fleet_lock_new(p->event, p->http, &p->config.lock, p->id, on_grant, p, &p->lock);
        if (r >= 0 && p->config.etcd.endpoints.n > 0)
                r = program_start_etcd(p);
        if (r >= 0 && (p->lock || p->publisher))
                r = link_new(p->event, p->id, &link, &p->link);
        return r;
}

static int program_run(Program *p) {
        int r;

        r = program_configure(p);
        if (r < 0)
                return r;
        if (!*p->config.lock.url && p->config.etcd.endpoints.n == 0) {
                log_info("Neither a FleetLock server nor etcd is configured: nothing to do");
                (void) sd_notify(false, "READY=1");
                return 0;
        }
        r = program_start(p);
        if (r >= 0) {
                (void) sd_notify(false, "READY=1");
                r = sd_event_loop(p->event);
        }
        (void) sd_notify(false, "STOPPING=1");
        if (r < 0)
                log_error("klp-fleet failed: %s", strerror(-r));
        return r;
}

static void program_done(Program *p) {
        link_free(p->link);
        fleet_lock_free(p->lock);
        etcd_free(p->reader);
        etcd_free(p->publisher);
        http_free(p->http);
        sd_event_unref(p->event);
        explicit_bzero(p->password, sizeof(p->password));
}

static void help(void) {
        (void) printf("klp-fleet [--root=PATH] [--help] [--version]\n\n"
                      "Asks a FleetLock server for this host's slot, and fetches fleet documents from etcd, for "
                      "klpd. Started by systemd, see klp-fleet(8).\n\n"
                      "  --root=PATH  Read klp-fleet.conf and write documents below another root directory\n");
}

int main(int argc, char *argv[]) {
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'V' },
                { "root", required_argument, NULL, 'R' },
                {},
        };
        Program program = { .root_fd = -EBADF };
        const char *root = "/";
        int c, r;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        help();
                        return EXIT_SUCCESS;
                case 'V':
                        (void) puts("klp-fleet " KLPD_VERSION);
                        return EXIT_SUCCESS;
                case 'R':
                        root = optarg;
                        break;
                default:
                        return EXIT_FAILURE;
                }
        if (optind < argc) {
                (void) fprintf(stderr, "klp-fleet takes no arguments\n");
                return EXIT_FAILURE;
        }
        umask(0022);
        program.root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (program.root_fd < 0) {
                log_error("Can't open %s: %s", root, strerror(errno));
                return EXIT_FAILURE;
        }
        r = program_run(&program);
        program_done(&program);
        close(program.root_fd);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
