/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a boot began and ended (SEMANTICS.md section 6): the mark that is on disk before anything is applied at
 * boot, the note that the system was shut down in order, and what the next boot concludes from both.
 */
#include <stdio.h>
#include <syslog.h>

#include "klpd/log.h"
#include "klpd/probation-internal.h"

/* ---- how the last boot ended ---- */

int probation_quarantine_digest(Probation *p, const char *digest, const char *name, const char *reason) {
        int r;

        r = host_quarantine_add(&p->record, digest, name, reason, now_usec(CLOCK_REALTIME));
        if (r >= 0) {
                char text[512];

                (void) snprintf(text, sizeof(text), "The content of livepatch '%s' is in quarantine: %s",
                                name, reason);
                probation_audit(p, "quarantine", name, digest, LOG_WARNING, text);
        }
        return r;
}

/* A mark without a name is from a klpd that wrote none. */
static const char *name_of(const HostRecord *r, const HostMark *m) {
        if (m->name)
                return m->name;
        for (size_t i = 0; i < r->n_accepted; i++)
                if (streq(r->accepted[i].digest, m->digest))
                        return r->accepted[i].name;
        for (size_t i = 0; i < r->n_trial; i++)
                if (streq(r->trial[i].digest, m->digest))
                        return r->trial[i].name;
        return "unknown";
}

void probation_drop_quarantined(HostPatch **list, size_t *n, const HostRecord *r) {
        for (size_t i = *n; i-- > 0;)
                if (host_quarantine_has(r, (*list)[i].digest))
                        host_patch_remove(list, n, &(*list)[i]);
}

static int conclude_unclean(Probation *p) {
        HostRecord *r = &p->record;
        int k = 0;

        for (size_t i = 0; i < r->n_mark; i++) {
                p->boot_failed = true;
                k = probation_quarantine_digest(p, r->mark[i].digest, name_of(r, &r->mark[i]),
                                                "it was applied at the last boot, which then crashed");
                if (k < 0)
                        return k;
        }
        for (size_t i = 0; i < r->n_trial; i++) {
                if (!streq(r->trial[i].boot_id, r->boot_id))
                        continue; /* it wasn't enabled in that boot */
                k = probation_quarantine_digest(p, r->trial[i].digest, r->trial[i].name,
                                      "the host crashed while it was on trial");
                if (k < 0)
                        return k;
        }
        probation_drop_quarantined(&r->trial, &r->n_trial, r);
        probation_drop_quarantined(&r->accepted, &r->n_accepted, r);
        return 0;
}

/* Stopped for a shutdown, and here again: a soft reboot (or a shutdown that didn't come to pass). */
static void conclude_soft_reboot(Probation *p) {
        p->record.orderly = false;
        (void) probation_write(p);
        audit_send(p->world->audit, audit_begin(KLPD_MESSAGE_DAEMON, "daemon"), LOG_INFO,
                   "A soft reboot: the kernel, and the livepatches in it, ran on; trials and the boot mark "
                   "count from its own boot");
}

/* Once per boot. A soft reboot is a restart (same boot id), kexec is a boot. */
void probation_conclude_boot(Probation *p) {
        HostRecord *r = &p->record;
        int k = 0;

        p->goes_on = streq_ptr(r->boot_id, p->boot_id);
        if (p->goes_on) {
                if (r->orderly)
                        conclude_soft_reboot(p);
                return;
        }
        if (r->boot_id && !r->orderly)
                k = conclude_unclean(p);
        if (k >= 0)
                k = free_and_strdup(&r->boot_id, p->boot_id);
        if (k < 0) {
                probation_distrust(p, strerror(-k));
                return;
        }
        r->orderly = false;
        host_mark_clear(r);
        if (probation_write(p) < 0)
                probation_distrust(p, "what the last boot shows couldn't be written down");
        else if (p->boot_failed)
                log_error("The last boot applied livepatches and crashed: none is applied in this one");
}

/* ---- boot and shutdown ---- */

int probation_mark(Probation *p) {
        HostRecord *r = &p->record;
        int k = 0;

        if (p->problem)
                return -EBADMSG;
        host_mark_clear(r);
        for (size_t i = 0; k >= 0 && i < r->n_accepted; i++)
                if (streq(r->accepted[i].kernel, p->world->release))
                        k = host_mark_add(r, r->accepted[i].digest, r->accepted[i].name);
        return k < 0 ? k : probation_write(p);
}

int probation_shutdown(Probation *p) {
        if (p->problem)
                return -EBADMSG;
        if (!p->record.boot_id || p->record.orderly)
                return 0;
        p->record.orderly = true;
        return probation_write(p);
}
