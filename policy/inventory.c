/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kernel runs, and what else is known of the host: see model.h. */
#include "policy/model.h"
#include "shim/klp_shim_abi.h"

int inventory_new(const char *kernel, Inventory **ret) {
        _cleanup_inventory_free_ Inventory *i = NULL;

        if (!kernel || !*kernel)
                return -EINVAL;
        i = calloc(1, sizeof(*i));
        if (!i)
                return -ENOMEM;
        i->kernel = strdup(kernel);
        if (!i->kernel)
                return -ENOMEM;
        *ret = TAKE_PTR(i);
        return 0;
}

Inventory *inventory_free(Inventory *i) {
        if (!i)
                return NULL;
        for (size_t n = 0; n < i->n_patches; n++)
                patch_unref(i->patches[n]);
        free(i->patches);
        for (size_t n = 0; n < i->n_loaded; n++) {
                free(i->loaded[n].name);
                free(i->loaded[n].build_id);
                free(i->loaded[n].srcversion);
        }
        free(i->loaded);
        free(i->kernel);
        free(i->kernel_build_id);
        free(i->transition);
        free(i);
        return NULL;
}

int inventory_push(Inventory *i, Patch *p) {
        Patch **bigger;

        if (i->n_patches >= INVENTORY_PATCHES_MAX)
                return -E2BIG;
        for (size_t n = 0; n < i->n_patches; n++)
                if (i->patches[n]->orphan == p->orphan && patch_name_equal(i->patches[n]->name, p->name))
                        return -EEXIST;
        /* Orphans stand below everything: their states are held only as long as nobody above has them. */
        if (p->orphan && i->n_patches > 0 && !i->patches[i->n_patches - 1]->orphan)
                return -EINVAL;

        bigger = realloc(i->patches, (i->n_patches + 1) * sizeof(*bigger));
        if (!bigger)
                return -ENOMEM;
        i->patches = bigger;
        i->patches[i->n_patches++] = patch_ref(p);
        return 0;
}

int inventory_add_loaded(Inventory *i, const char *name, const char *build_id, const char *srcversion,
                         bool forced) {
        LoadedModule *bigger, m = { .forced = forced };
        int r;

        if (!patch_name_is_valid(name))
                return -EINVAL;
        if (i->n_loaded >= INVENTORY_PATCHES_MAX)
                return -E2BIG;
        bigger = realloc(i->loaded, (i->n_loaded + 1) * sizeof(*bigger));
        if (!bigger)
                return -ENOMEM;
        i->loaded = bigger;

        r = free_and_strdup(&m.name, name);
        if (r >= 0)
                r = free_and_strdup(&m.build_id, build_id);
        if (r >= 0)
                r = free_and_strdup(&m.srcversion, srcversion);
        if (r < 0) {
                free(m.name);
                free(m.build_id);
                free(m.srcversion);
                return r;
        }
        i->loaded[i->n_loaded++] = m;
        return 0;
}

Patch *inventory_find(const Inventory *i, const char *name) {
        for (size_t n = 0; n < i->n_patches; n++)
                if (!i->patches[n]->orphan && patch_name_equal(i->patches[n]->name, name))
                        return i->patches[n];
        return NULL;
}

bool inventory_level(const Inventory *i, const char *vendor, const char *stream, uint32_t *ret_level) {
        uint32_t level = 0;
        bool found = false;

        for (size_t n = 0; n < i->n_patches; n++) {
                const Patch *p = i->patches[n];

                if (p->orphan || p->kind == PATCH_FOREIGN || !streq(p->vendor, vendor) ||
                    !streq(p->stream, stream))
                        continue;
                found = true;
                if (p->level > level)
                        level = p->level;
        }
        if (ret_level)
                *ret_level = level;
        return found;
}

void host_facts_init(HostFacts *h) {
        *h = (HostFacts) {
                .livepatch = true,
                .reliable_stacks = true,
                .ftrace_enabled = true,
                .shim_abi = KLP_SHIM_ABI,
        };
}
