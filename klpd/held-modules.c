/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See held-modules.h. The list is as short as what was forced on one host. */
#include "klpd/held-modules.h"

static bool is_listed(const SysfsPatches *patches, const char *name) {
        for (size_t i = 0; i < patches->n_patches; i++)
                if (patch_name_equal(patches->patches[i].name, name))
                        return true;
        return false;
}

static struct HeldModule *find(HeldModules *h, const char *name) {
        for (size_t i = 0; i < h->n; i++)
                if (streq(h->list[i].name, name))
                        return &h->list[i];
        return NULL;
}

static struct HeldModule *add(HeldModules *h, const char *name, uint64_t now_usec) {
        struct HeldModule *list = reallocarray(h->list, h->n + 1, sizeof(*list));

        if (!list)
                return NULL;
        h->list = list;
        list[h->n] = (struct HeldModule) { .name = strdup(name), .since_usec = now_usec };
        return list[h->n].name ? &list[h->n++] : NULL;
}

static void drop_unseen(HeldModules *h) {
        size_t n = 0;

        for (size_t i = 0; i < h->n; i++)
                if (h->list[i].seen)
                        h->list[n++] = h->list[i];
                else
                        free(h->list[i].name);
        h->n = n;
}

int held_modules_update(HeldModules *h, const SysfsPatches *patches, SysfsModules *modules, uint64_t now_usec) {
        for (size_t i = 0; i < h->n; i++)
                h->list[i].seen = false;
        for (size_t i = 0; i < modules->n_modules; i++) {
                SysfsModule *m = &modules->modules[i];
                struct HeldModule *held;

                if (!m->live || m->refcount <= 0 || (unsigned) m->refcount <= m->n_users ||
                    is_listed(patches, m->name))
                        continue;
                held = find(h, m->name) ?: add(h, m->name, now_usec);
                if (!held)
                        return -ENOMEM;
                held->seen = true;
                m->pinned = now_usec - held->since_usec >= HELD_USEC;
        }
        drop_unseen(h);
        return 0;
}

void held_modules_done(HeldModules *h) {
        for (size_t i = 0; i < h->n; i++)
                free(h->list[i].name);
        free(h->list);
        *h = (HeldModules) {};
}
