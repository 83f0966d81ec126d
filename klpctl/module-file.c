/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See module-file.h. An event loop of its own, for one answer. */
#include <stdlib.h>
#include <systemd/sd-event.h>

#include "klpd/inspect-client.h"
#include "klpd/patch-file.h"
#include "module-file.h"

typedef struct Reading {
        sd_event *event;
        PolicyError *error;
        Patch *patch;
        int result;
} Reading;

static void on_inspected(InspectRequest *request, int error, const char *text, const InspectResult *result,
                         void *userdata) {
        Reading *r = userdata;

        if (error < 0)
                r->result = policy_error_set(r->error, error, "%s", text);
        else
                r->patch = patch_ref(result->patch);
        (void) sd_event_exit(r->event, 0);
}

static int inspect(sd_event *event, int module_fd, Reading *r) {
        _cleanup_inspect_request_free_ InspectRequest *request = NULL;
        const InspectSpec spec = { .program = secure_getenv("KLPCTL_INSPECT") };
        sigset_t signals;
        int k;

        /* sd-event wants to be the one who hears of the child's end. */
        sigemptyset(&signals);
        sigaddset(&signals, SIGCHLD);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
                return -errno;
        k = inspect_request_new(event, module_fd, &spec, on_inspected, r, &request);
        if (k < 0)
                return policy_error_set(r->error, k, "can't have it inspected: %s", strerror(-k));
        k = sd_event_loop(event);
        return k < 0 ? k : r->result;
}

int module_file_read(int fd, Patch **ret, PolicyError *error) {
        Reading r = { .error = error };
        int module_fd, k;

        k = sealed_memfd_new_from_fd(fd, PATCH_FILE_SIZE_MAX, "module", &module_fd);
        if (k < 0)
                return policy_error_set(error, k, "can't be read: %s", strerror(-k));
        k = sd_event_new(&r.event);
        if (k >= 0)
                k = inspect(r.event, module_fd, &r);
        sd_event_unref(r.event);
        close(module_fd);
        if (k < 0) {
                patch_unref(r.patch);
                return k;
        }
        *ret = r.patch;
        return 0;
}
