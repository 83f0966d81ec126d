/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A nudge: the systemd units of the tasks that a transition waits for are frozen for a moment and thawed
 * again, which makes most tasks return to user space, where the kernel switches them (KERNEL-FACTS.md). It is
 * opt-in (StallAction=nudge), happens once in a transition, and only to units that can bear it: never what
 * this very work needs, nor what somebody else has frozen.
 *
 * The list of units is in the write-ahead log, on the disk, before the first is frozen, and goes from it
 * after the last was thawed. A klpd that finds units in its log thaws them first thing once there is a bus.
 * Thawing what isn't frozen does nothing.
 *
 * A Nudge lives from the first freeze to the answer to the last thaw, and holds a reference of its
 * transaction; without one it is a recovery's. One at a time.
 */
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include "klpd/log.h"
#include "klpd/manager.h"

#define NUDGE_USEC UINT64_C(300000)
#define NUDGE_UNITS_MAX 32U
#define SYSTEMD "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"

struct Nudge {
        Manager *manager;
        Transaction *transaction; /* or NULL */
        char **units;
        sd_event_source *timer;
        sd_bus_slot **slots;
        size_t n_slots, n_waiting;
};

Nudge *nudge_free(Nudge *n) {
        if (!n)
                return NULL;
        for (size_t i = 0; i < n->n_slots; i++)
                sd_bus_slot_unref(n->slots[i]);
        free(n->slots);
        sd_event_source_disable_unref(n->timer);
        strv_free(n->units);
        transaction_unref(n->transaction);
        free(n);
        return NULL;
}

bool nudge_unit_allowed(const char *unit) {
        static const char *const never[] = {
                "init.scope", "*.slice", "klpd*", "dbus*", "systemd-*", "polkit*", "user@*", "*.mount", "*.swap",
        };

        for (size_t i = 0; i < ELEMENTSOF(never); i++)
                if (fnmatch(never[i], unit, 0) == 0)
                        return false;
        return true;
}

/* Frozen already, by somebody else, or nobody can tell. */
static bool is_frozen(uint32_t pid) {
        _cleanup_free_ char *cgroup = NULL;
        char path[512], text[256];
        ssize_t n;
        int fd;

        if (sd_pid_get_cgroup((pid_t) pid, &cgroup) < 0)
                return true;
        (void) snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cgroup.events", cgroup);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return true;
        n = read(fd, text, sizeof(text) - 1);
        close(fd);
        if (n <= 0)
                return true;
        text[n] = 0;
        return !strstr(text, "frozen 0");
}

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        const sd_bus_error *e = sd_bus_message_get_error(reply);

        if (e)
                log_debug("systemd: %s", e->message ?: e->name);
        return 0;
}

static void nudge_over(Nudge *n) {
        Manager *m = n->manager;
        Transaction *t = m->job && m->job->transaction->recorded ? m->job->transaction : n->transaction;
        int r;

        m->world.frozen = strv_free(m->world.frozen);
        r = t ? transaction_record_again(t) : 0;
        if (r < 0)
                log_warning("That units were thawed can't be recorded: %s", strerror(-r));
        m->nudge = nudge_free(n);
        manager_check_stopped(m);
}

static int on_thawed(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        const sd_bus_error *e = sd_bus_message_get_error(reply);
        Nudge *n = userdata;

        if (e)
                log_warning("A unit can't be thawed (is it gone?): %s", e->message ?: e->name);
        if (--n->n_waiting == 0)
                nudge_over(n);
        return 0;
}

static int call(Nudge *n, const char *member, const char *unit, sd_bus_message_handler_t callback) {
        sd_bus_slot *slot;
        int r;

        r = sd_bus_call_method_async(n->manager->bus, &slot, SYSTEMD, member, callback, n, "s", unit);
        if (r >= 0)
                n->slots[n->n_slots++] = slot;
        else
                log_warning("systemd can't be asked to %s %s: %s", member, unit, strerror(-r));
        return r;
}

static void nudge_thaw(Nudge *n) {
        char **unit;

        STRV_FOREACH(unit, n->units)
                if (call(n, "ThawUnit", *unit, on_thawed) >= 0)
                        n->n_waiting++;
        if (n->n_waiting == 0)
                nudge_over(n);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Nudge *n = userdata;

        n->timer = sd_event_source_disable_unref(n->timer);
        nudge_thaw(n);
        return 0;
}

/* Takes units over, also on failure. */
static int nudge_new(Manager *m, Transaction *t, char **units, Nudge **ret) {
        Nudge *n = calloc(1, sizeof(*n));

        if (n)
                n->slots = calloc(2 * strv_length(units) + 1, sizeof(*n->slots));
        if (!n || !n->slots) {
                strv_free(units);
                free(n);
                return -ENOMEM;
        }
        n->manager = m;
        n->transaction = t ? transaction_ref(t) : NULL;
        n->units = units;
        *ret = n;
        return 0;
}

static int choose_units(const Blocker *blockers, size_t n, char ***ret) {
        _cleanup_strv_free_ char **units = NULL;
        int r;

        for (size_t i = 0; i < n && strv_length(units) < NUDGE_UNITS_MAX; i++) {
                const char *unit = blockers[i].unit;

                if (!unit || strv_contains(units, unit) || !nudge_unit_allowed(unit) ||
                    is_frozen(blockers[i].task.pid))
                        continue;
                r = strv_extend(&units, unit);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(units);
        return 0;
}

static void say(Manager *m, const Transaction *t, char **units) {
        AuditRecord *r = audit_begin(KLPD_MESSAGE_NUDGED, "nudged");
        char **unit;

        audit_field_u64(r, "KLPD_JOB", t->id);
        audit_field(r, "KLPD_PATCH", t->name);
        STRV_FOREACH(unit, units)
                audit_field(r, "KLPD_UNIT", *unit);
        audit_send(m->audit, r, LOG_NOTICE, "Freezing for a moment what livepatch '%s' waits for: %s%s", t->name,
                   units[0], units[1] ? " and others" : "");
}

void manager_nudge(Manager *m, Transaction *t, const Blocker *blockers, size_t n_blockers) {
        _cleanup_strv_free_ char **units = NULL;
        char **unit;
        Nudge *n;
        int r;

        if (!m->bus || m->nudge || choose_units(blockers, n_blockers, &units) < 0 || !units)
                return;
        r = strv_copy(units, &m->world.frozen);
        if (r >= 0)
                r = transaction_record_again(t);
        if (r >= 0)
                r = nudge_new(m, t, TAKE_PTR(units), &n);
        if (r < 0) {
                m->world.frozen = strv_free(m->world.frozen);
                log_warning("What '%s' waits for isn't nudged, since that can't be recorded: %s", t->name,
                            strerror(-r));
                return;
        }
        m->nudge = n;
        say(m, t, n->units);
        STRV_FOREACH(unit, n->units)
                (void) call(n, "FreezeUnit", *unit, on_answer);
        if (sd_event_add_time_relative(m->event, &n->timer, CLOCK_MONOTONIC, NUDGE_USEC, 0, on_timer, n) < 0)
                nudge_thaw(n);
}

/* What an earlier klpd may have left frozen. */
void manager_thaw(Manager *m) {
        char **units;
        Nudge *n;

        if (!m->bus || m->nudge || !m->world.frozen)
                return;
        if (strv_copy(m->world.frozen, &units) < 0 ||
            nudge_new(m, m->job ? m->job->transaction : NULL, units, &n) < 0)
                return;
        log_notice("Thawing what was frozen when klpd was interrupted");
        m->nudge = n;
        nudge_thaw(n);
}
