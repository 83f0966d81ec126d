/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See converge-fixture.h. */
#include "converge-fixture.h"

static uint64_t fake_now(void *userdata) {
        return ((Fixture *) userdata)->now;
}

static bool fake_synchronized(void *userdata) {
        return !((Fixture *) userdata)->unsynchronized;
}

static int keep_result(const struct iovec *fields, size_t n_fields, void *userdata) {
        Fixture *f = userdata;
        const char *result = NULL;
        bool fleet = false;
        int length = 0;

        for (size_t i = 0; i < n_fields; i++) {
                const char *s = fields[i].iov_base;

                if (fields[i].iov_len == strlen("KLPD_EDGE=fleet") && memcmp(s, "KLPD_EDGE=fleet", 15) == 0)
                        fleet = true;
                if (fields[i].iov_len > 12 && memcmp(s, "KLPD_RESULT=", 12) == 0) {
                        result = s + 12;
                        length = (int) fields[i].iov_len - 12;
                }
        }
        if (f->slow && !fleet && result && strncmp(result, "failed", 6) == 0)
                (void) usleep(400000);
        if (fleet && result) {
                size_t n = strlen(f->results);

                (void) snprintf(f->results + n, sizeof(f->results) - n, " %.*s", length, result);
        }
        return 0;
}

bool told(const Fixture *f, const char *result) {
        char text[64];
        const char *p;

        (void) snprintf(text, sizeof(text), " %s", result);
        for (p = f->results; (p = strstr(p, text)); p++)
                if (p[strlen(text)] == ' ' || !p[strlen(text)])
                        return true;
        return false;
}

void add_patch(const Fixture *f, const char *name, const char *rest) {
        char path[256], text[1024];

        (void) snprintf(path, sizeof(path), "usr/lib/klpd/patches/%s/%s.ko", f->uts.release, name);
        (void) snprintf(text, sizeof(text), "{\"name\": \"%s\", \"kernel\": \"%s\"%s%s%s}", name, f->uts.release,
                        strstr(rest, "cumulative") ? "" : ", \"cumulative\": true", *rest ? ", " : "", rest);
        tree_write(&f->tree, path, text);
}

int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        tree_new(&f->tree);
        f->now = NOW;
        assert_int_equal(uname(&f->uts), 0);
        tree_write(&f->tree, "var/lib/README", "klpd makes its directory itself\n");
        tree_write(&f->tree, "proc/sys/kernel/hostname", "web-1\n");
        tree_write(&f->tree, "proc/sys/kernel/random/boot_id", "one");
        tree_write(&f->tree, "etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        tree_write(&f->tree, "etc/os-release", "NAME=x\nID=debian\nVERSION_ID=\"12\"\n");
        tree_write(&f->tree, "etc/machine-info", "CHASSIS=vm\nTAGS=blue:canary\n");
        tree_write(&f->tree, "etc/klpd/klpd.conf",
                   "[Manager]\nProbationSec=0\nFleetRetrySec=1ms\nFleetTries=2\nTransitionTimeoutSec=50ms\n");
        add_patch(f, "p1", "\"level\": 1");
        add_patch(f, "p2", "\"level\": 2");
        *state = f;
        return 0;
}

void start(Fixture *f) {
        assert_true(sd_event_new(&f->event) >= 0);
        assert_int_equal(fake_hands_new(f->event, f->uts.release, &f->hands), 0);
        assert_int_equal(manager_new(f->event, f->tree.fd, f->hands, keep_result, f, &f->m), 0);
        f->m->converge->clock = (ConvergeClock) { fake_now, fake_synchronized, f };
        assert_int_equal(manager_start(f->m), 0);
}

int teardown(void **state) {
        Fixture *f = *state;

        manager_free(f->m);
        sd_event_unref(f->event);
        tree_done(&f->tree);
        free(f);
        return 0;
}

const FleetStatus *status(const Fixture *f) {
        return &f->m->fleet_status;
}

void idle(Fixture *f) {
        for (unsigned i = 0; i < 30; i++)
                assert_true(sd_event_run(f->event, 10000) >= 0);
}

bool phase_is(const Fixture *f, const char *phase) {
        return streq(status(f)->phase, phase);
}

void document(const Fixture *f, const char *name, const char *text) {
        char path[128], other[160];

        (void) snprintf(path, sizeof(path), "etc/klpd/fleet.d/%s", name);
        (void) snprintf(other, sizeof(other), "%s.new", path);
        tree_write(&f->tree, other, text);
        assert_int_equal(renameat(f->tree.fd, other, f->tree.fd, path), 0);
}

void want(const Fixture *f, const char *level) {
        char text[512];

        (void) snprintf(text, sizeof(text), "{\"rules\": [{\"name\": \"all\", \"level\": %s}]}", level);
        document(f, "a.json", text);
}

void restart(Fixture *f) {
        manager_free(f->m);
        f->m = NULL;
        f->event = sd_event_unref(f->event);
        f->results[0] = 0;
        start(f);
}

void network_document(const Fixture *f, const char *name, const char *signature, const char *text) {
        char path[128], other[160];

        (void) snprintf(path, sizeof(path), "run/klp-fleet/fleet.d/%s.json.p7s", name);
        tree_write(&f->tree, path, signature);
        (void) snprintf(path, sizeof(path), "run/klp-fleet/fleet.d/%s.json", name);
        (void) snprintf(other, sizeof(other), "run/klp-fleet/fleet.d/.%s.new", name);
        tree_write(&f->tree, other, text);
        assert_int_equal(renameat(f->tree.fd, other, f->tree.fd, path), 0);
}

void request(Fixture *f, RequestKind kind, const char *patch) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        JobSpec *spec;
        Job *job;

        assert_int_equal(job_spec_new(kind, &spec), 0);
        assert_int_equal(job_spec_set_patch(spec, patch, NULL), 0);
        spec->by_hand = true;
        spec->uid = 0;
        assert_int_equal(manager_start_job(f->m, spec, &job, &error), 0);
        UNTIL(f, !f->m->job);
}
