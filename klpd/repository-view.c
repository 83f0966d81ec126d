/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The views of the repository (repository-internal.h): entries by level, by name, and the usable patches. */
#include "klpd/repository-internal.h"

static int entry_compare(const void *a, const void *b) {
        const RepositoryEntry *x = a, *y = b;
        int c = patch_compare(x->patch, y->patch);

        if (c)
                return c;
        if (x->imported != y->imported) /* a package's file comes before an imported one */
                return x->imported ? 1 : -1;
        return strcmp(x->path, y->path);
}

/* As module names compare: '-' and '_' are the same. */
static int name_compare(const char *a, const char *b) {
        for (;; a++, b++) {
                char x = *a == '-' ? '_' : *a, y = *b == '-' ? '_' : *b;

                if (x != y)
                        return (unsigned char) x < (unsigned char) y ? -1 : 1;
                if (!x)
                        return 0;
        }
}

static int compare_by_name(const void *a, const void *b) {
        const RepositoryEntry *x = *(RepositoryEntry *const *) a, *y = *(RepositoryEntry *const *) b;
        int c = name_compare(x->patch->name, y->patch->name);

        if (c)
                return c;
        if (!x->problem != !y->problem)
                return x->problem ? 1 : -1;
        if (x->imported != y->imported)
                return x->imported ? 1 : -1;
        return strcmp(x->path, y->path);
}

/* Of several entries with one name, the first in the order of compare_by_name() is the one that counts. */
static void mark_shadowed(RepositoryEntry **by_name, size_t n) {
        for (size_t i = 0; i < n; i++)
                by_name[i]->shadowed = i > 0 && name_compare(by_name[i]->patch->name,
                                                             by_name[i - 1]->patch->name) == 0;
}

static int make_room(Repository *r) {
        RepositoryEntry *entries, **by_name;
        Patch **patches;

        entries = reallocarray(r->entries, r->n_files + 1, sizeof(*entries));
        if (!entries)
                return -ENOMEM;
        r->entries = entries;
        by_name = reallocarray(r->by_name, r->n_files + 1, sizeof(*by_name));
        if (!by_name)
                return -ENOMEM;
        r->by_name = by_name;
        patches = reallocarray(r->patches, r->n_files + 1, sizeof(*patches));
        if (!patches)
                return -ENOMEM;
        r->patches = patches;
        return 0;
}

int repository_make_views(Repository *r) {
        size_t n = 0;

        r->n_entries = r->n_patches = 0;
        if (make_room(r) < 0)
                return -ENOMEM;
        for (size_t i = 0; i < r->n_files; i++)
                if (!r->files[i]->pending)
                        r->entries[n++] = r->files[i]->entry;
        qsort(r->entries, n, sizeof(*r->entries), entry_compare);
        for (size_t i = 0; i < n; i++)
                r->by_name[i] = &r->entries[i];
        qsort(r->by_name, n, sizeof(*r->by_name), compare_by_name);
        mark_shadowed(r->by_name, n);
        for (size_t i = 0; i < n; i++)
                if (!r->entries[i].problem && !r->entries[i].shadowed)
                        r->patches[r->n_patches++] = r->entries[i].patch;
        r->n_entries = n;
        return 0;
}

const RepositoryEntry *repository_entries(const Repository *r, size_t *ret_n) {
        *ret_n = r->n_entries;
        return r->entries;
}

const RepositoryEntry *repository_find(const Repository *r, const char *name) {
        size_t low = 0, high = r->n_entries;

        while (low < high) { /* the first of that name, which is not shadowed */
                size_t middle = low + (high - low) / 2;

                if (name_compare(r->by_name[middle]->patch->name, name) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < r->n_entries && name_compare(r->by_name[low]->patch->name, name) == 0 ? r->by_name[low] : NULL;
}

Patch *const *repository_patches(const Repository *r, size_t *ret_n) {
        *ret_n = r->n_patches;
        return r->patches;
}

bool repository_entry_altered(const RepositoryEntry *e) {
        return e->recorded && !e->problem && !streq_ptr(e->recorded, e->patch->digest);
}
