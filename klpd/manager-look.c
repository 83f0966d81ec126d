/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What nobody announces: that somebody enables or disables a plain patch, through sysfs, insmod or another
 * tool (the shim hears only of modules, and of what it has composed itself). So the kernel is read, before each
 * plan and whenever the watchdog wakes klpd up, and compared with what it was when klpd looked last. What klpd
 * does itself isn't news: after a job the next look only takes note.
 */
#include <stdio.h>
#include <syslog.h>

#include "klpd/log.h"
#include "klpd/manager.h"

static void say(Manager *m, const Patch *p, const char *what) {
        AuditRecord *r = audit_begin(KLPD_MESSAGE_FOREIGN, "foreign");

        audit_field(r, "KLPD_PATCH", p->name);
        audit_send(m->audit, r, LOG_WARNING, "Livepatch '%s' %s behind klpd's back", p->name, what);
}

/* Plain or foreign, and on the stack. */
static const Patch *find_unannounced(const Inventory *inventory, const char *name) {
        const Patch *p = inventory_find(inventory, name);

        return p && p->kind != PATCH_MANAGED ? p : NULL;
}

bool manager_compare(Manager *m, const Inventory *now) {
        const Inventory *before = m->inventory;
        bool differs = false;

        if (!before || m->took_part || m->boot)
                return false;
        for (size_t i = 0; i < now->n_patches; i++) {
                const Patch *p = now->patches[i];

                if (p->kind == PATCH_MANAGED || find_unannounced(before, p->name))
                        continue;
                say(m, p, "was enabled");
                differs = true;
        }
        for (size_t i = 0; i < before->n_patches; i++) {
                const Patch *p = before->patches[i];

                if (p->kind == PATCH_MANAGED || find_unannounced(now, p->name))
                        continue;
                say(m, p, "was disabled, or replaced,");
                differs = true;
        }
        return differs;
}

void manager_look(Manager *m) {
        if (m->job || !m->status.livepatch)
                return;
        m->stale = true;
        manager_refresh(m);
}
