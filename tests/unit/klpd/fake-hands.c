/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fake-hands.h. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "fake-kernel.h"
#include "klpd/digest.h"
#include "policy/json.h"

struct HandsInspection {
        Later *later; /* NULL once called back */
};

static FakeKernel *fake(const Hands *h) {
        return (FakeKernel *) h;
}

/* False: the helper died before it did anything of it. */
static bool note(FakeKernel *k, const char *what, const char *name) {
        size_t n = strlen(k->log);

        (void) snprintf(k->log + n, sizeof(k->log) - n, "%s%s %s", n > 0 ? "; " : "", what, name);
        k->killed = k->kill && streq(k->kill, what);
        if (k->killed)
                k->kill = NULL;
        return !k->killed || k->kill_after;
}

void fake_kill_helper(Hands *h, const char *call, bool carried_out) {
        fake(h)->kill = call;
        fake(h)->kill_after = carried_out;
}

static void note_assisted(FakeKernel *k, bool assist, const char *what, const char *name) {
        size_t n = strlen(k->assisted);

        if (assist)
                (void) snprintf(k->assisted + n, sizeof(k->assisted) - n, "%s%s %s", n > 0 ? "; " : "", what,
                                name);
}

const char *fake_assisted(const Hands *h) {
        return fake(h)->assisted;
}

const char *fake_log(const Hands *h) {
        return fake(h)->log;
}

void fake_log_clear(Hands *h) {
        fake(h)->log[0] = 0;
        fake(h)->assisted[0] = 0;
}

static int answer(FakeKernel *k, int r, const char *text, HandsCallback callback, void *userdata) {
        Later *l = fake_later(k, 1000);

        if (k->killed) {
                r = -ECONNRESET;
                text = "the helper died (fake)";
                k->killed = false;
        }
        l->r = r;
        (void) snprintf(l->text, sizeof(l->text), "%s", text);
        l->callback = callback;
        l->userdata = userdata;
        return 0;
}

/* ---- reading ---- */

static Hands *fake_free(Hands *h) {
        FakeKernel *k = fake(h);

        while (k->laters) {
                Later *l = k->laters;

                if (l->callback)
                        l->callback(-ECANCELED, "", l->userdata);
                if (l->stacks_callback)
                        l->stacks_callback(-ECANCELED, "", NULL, 0, l->userdata);
                fake_later_free(l);
        }
        for (size_t i = 0; i < k->n_modules; i++)
                patch_unref(k->modules[i].patch);
        sd_event_unref(k->event);
        free(k->kernel);
        free(k);
        return NULL;
}

static void fake_listen(Hands *h, const HandsListener *listener) {
        fake(h)->listener = *listener;
}

static void fake_configure(Hands *h, uint64_t deadline_usec, unsigned assist_cpus) {
}

static bool fake_has_livepatch(Hands *h) {
        return fake(h)->livepatch;
}

static int fake_read_status(Hands *h, KernelStatus *ret) {
        FakeKernel *k = fake(h);

        *ret = (KernelStatus){
                        .livepatch = k->livepatch,
                        .shim_abi = k->shim ? KLP_SHIM_ABI : 0,
                        .generation = k->shim ? k->generation : 0,
        };
        if (!k->shim)
                (void) snprintf(ret->shim_problem, sizeof(ret->shim_problem),
                                "klp_shim is not loaded (fake)");
        return 0;
}

static int compare_birth(const void *a, const void *b) {
        const FakeModule *x = *(FakeModule *const *) a, *y = *(FakeModule *const *) b;

        return (x->birth > y->birth) - (x->birth < y->birth);
}

static int fake_read_inventory(Hands *h, Inventory **ret) {
        _cleanup_inventory_free_ Inventory *inventory = NULL;
        FakeModule *stack[MODULES_MAX];
        FakeKernel *k = fake(h);
        size_t n = 0;
        int r;

        r = inventory_new(k->kernel, &inventory);
        if (r < 0)
                return r;
        for (size_t i = 0; i < k->n_modules; i++)
                if (fake_on_stack(&k->modules[i]))
                        stack[n++] = &k->modules[i];
        qsort(stack, n, sizeof(*stack), compare_birth);
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = inventory_push(inventory, stack[i]->patch);
        for (size_t i = 0; r >= 0 && i < k->n_modules; i++)
                if (!fake_on_stack(&k->modules[i]))
                        r = inventory_add_loaded(inventory, k->modules[i].patch->name,
                                                 k->modules[i].patch->build_id, NULL, false);
        if (r < 0)
                return r;
        inventory->generation = k->shim ? k->generation : 0;
        if (fake_under_way(k)) {
                inventory->transition = strdup(fake_under_way(k)->patch->name);
                if (!inventory->transition)
                        return -ENOMEM;
        }
        *ret = TAKE_PTR(inventory);
        return 0;
}

static int fake_read_host_facts(Hands *h, HostFacts *ret) {
        FakeKernel *k = fake(h);

        host_facts_init(ret);
        ret->livepatch = k->livepatch;
        ret->shim_abi = k->shim ? KLP_SHIM_ABI : 0;
        ret->shim_problem = k->shim ? NULL : "klp_shim is not loaded (fake)";
        return 0;
}

static uint32_t flags_of(const FakeModule *m) {
        return (fake_on_stack(m) ? KLP_SHIM_PATCH_ENABLED : 0) | (m->transition ? KLP_SHIM_PATCH_TRANSITION : 0) |
               (m->transition && !m->target ? KLP_SHIM_PATCH_UNPATCHING : 0);
}

static int fake_read_patch(Hands *h, const char *name, KernelPatch *ret) {
        const FakeModule *m = fake_find(fake(h), name);

        *ret = (KernelPatch) { .refcount = -1 };
        if (m)
                *ret = (KernelPatch) {
                        .module = true,
                        .refcount = fake_on_stack(m) || fake_tagged(m, "test.held"),
                        .listed = fake_on_stack(m),
                        .enabled = m->enabled,
                        .transition = m->transition,
                        .registered = m->registered && fake(h)->shim,
                        .flags = flags_of(m),
                };
        return 0;
}

static int fake_read_snapshot(Hands *h, ShimSnapshot **ret) {
        FakeKernel *k = fake(h);
        ShimSnapshot *s;

        if (!k->shim)
                return -ENOENT;
        s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->info = (ShimInfo) { .abi = KLP_SHIM_ABI, .generation = k->generation, .seq = k->seq };
        s->patches = calloc(k->n_modules + 1, sizeof(*s->patches));
        if (!s->patches) {
                free(s);
                return -ENOMEM;
        }
        for (size_t i = 0; i < k->n_modules; i++) {
                const FakeModule *m = &k->modules[i];

                if (m->registered)
                        s->patches[s->n_patches++] = (ShimPatch){
                                        .patch = patch_ref(m->patch),
                                        .flags = flags_of(m),
                                        .on_stack = fake_on_stack(m),
                                        .position = m->birth,
                        };
        }
        *ret = s;
        return 0;
}

static int fake_read_tasks(Hands *h, ShimTask **ret, size_t *ret_n) {
        FakeKernel *k = fake(h);

        *ret = calloc(1, sizeof(**ret));
        if (!*ret)
                return -ENOMEM;
        *ret_n = 0;
        if (fake_under_way(k)) {
                **ret = (ShimTask) { .pid = 4711, .tid = 4712, .comm = "straggler" };
                *ret_n = 1;
        }
        return 0;
}

/* ---- inspecting ---- */

static int read_patch(int fd, Patch **ret) {
        static char text[65536];
        char digest[DIGEST_HEX_LEN + 1];
        PolicyError error = {};
        ssize_t n;
        int r;

        n = pread(fd, text, sizeof(text), 0);
        if (n < 0)
                return -errno;
        r = patch_parse(text, (size_t) n, ret, &error);
        if (r < 0)
                return -ENOEXEC;
        r = module_digest(text, (size_t) n, digest);
        if (r >= 0)
                r = free_and_strdup(&(*ret)->digest, digest);
        digest[40] = 0;
        if (r >= 0)
                r = free_and_strdup(&(*ret)->build_id, digest);
        return r;
}

static int on_inspect(sd_event_source *source, uint64_t usec, void *userdata) {
        HandsInspection *i = userdata;
        Later *l = TAKE_PTR(i->later);

        l->inspect_callback(l->r, l->r < 0 ? "not a module (fake)" : "", l->r < 0 ? NULL : &l->result,
                            l->userdata);
        fake_later_free(l);
        return 0;
}

static int fake_inspect(Hands *h, int fd, HandsInspectCallback callback, void *userdata,
                        HandsInspection **ret) {
        FakeKernel *k = fake(h);
        HandsInspection *i;
        Later *l;

        i = calloc(1, sizeof(*i));
        l = calloc(1, sizeof(*l));
        if (!i || !l)
                abort();
        l->kernel = k;
        l->next = k->laters;
        k->laters = l;
        k->inspections++;
        l->inspect_callback = callback;
        l->userdata = userdata;
        l->r = read_patch(fd, &l->result.patch);
        l->result.content_fd = dup(fd);
        if (sd_event_add_time_relative(k->event, &l->source, CLOCK_MONOTONIC, 1000 / k->haste, 1, on_inspect,
                                       i) < 0)
                abort();
        i->later = l;
        *ret = i;
        return 0;
}

static HandsInspection *fake_inspect_free(HandsInspection *i) {
        if (!i)
                return NULL;
        if (i->later)
                fake_later_free(i->later);
        free(i);
        return NULL;
}

unsigned fake_inspections(const Hands *h) {
        return fake(h)->inspections;
}

static int fake_signature(Hands *h, const SignatureSpec *spec, SignatureCallback callback, void *userdata,
                          HandsSignature **ret) {
        return fake_check_signature(fake(h)->event, spec, callback, userdata, ret);
}

/* ---- changing ---- */

/* It never sleeps. */
static void fake_wake(Hands *h) {
}

static int fake_load_shim(Hands *h, HandsCallback callback, void *userdata) {
        FakeKernel *k = fake(h);

        return answer(k, k->shim ? 0 : -ENOENT, k->shim ? "" : "no klp_shim for this kernel (fake)",
                      callback, userdata);
}

static int fake_load(Hands *h, int fd, const char *name, bool assist, HandsCallback callback,
                     void *userdata) {
        FakeKernel *k = fake(h);
        Patch *patch;
        int r;

        if (!note(k, "load", name))
                return answer(k, 0, "", callback, userdata);
        note_assisted(k, assist, "load", name);
        r = read_patch(fd, &patch);
        if (r < 0)
                return answer(k, r, "not a module (fake)", callback, userdata);
        if (fake_find(k, patch->name)) {
                patch_unref(patch);
                return answer(k, -EEXIST, "already loaded (fake)", callback, userdata);
        }
        if (strv_contains(patch->tags, "test.noload")) {
                patch_unref(patch);
                return answer(k, -EKEYREJECTED, "key was rejected (fake)", callback, userdata);
        }
        if (strv_contains(patch->tags, "test.lies"))
                patch->level++;
        r = fake_insert(k, patch);
        if (r >= 0 && patch->kind == PATCH_PLAIN)
                fake_begin(k, fake_find(k, patch->name), true);
        return answer(k, r, "", callback, userdata);
}

static int fake_enable(Hands *h, const char *name, uint64_t generation, HandsCallback callback,
                       void *userdata) {
        FakeKernel *k = fake(h);
        FakeModule *m = fake_find(k, name);
        char tag[32];

        if (!note(k, "enable", name))
                return answer(k, 0, "", callback, userdata);
        note_assisted(k, true, "enable", name);
        if (!m || !m->registered)
                return answer(k, -ENOENT, "not registered (fake)", callback, userdata);
        (void) snprintf(tag, sizeof(tag), "test.stale-%u", m->n_stale);
        if (!fake_tagged(m, tag) && strv_contains(m->patch->tags, "test.stale")) {
                m->n_stale++;
                k->generation++;
                return answer(k, -ESTALE, "stale (fake)", callback, userdata);
        }
        if (generation != k->generation)
                return answer(k, -ESTALE, "stale (fake)", callback, userdata);
        if (fake_tagged(m, "test.fail"))
                return answer(k, -EINVAL, "pre_patch of state 1 failed (fake)", callback, userdata);
        if (fake_under_way(k))
                return answer(k, -EBUSY, "transition (fake)", callback, userdata);
        fake_begin(k, m, true);
        return answer(k, 0, "", callback, userdata);
}

static int fake_write_enabled(Hands *h, const char *name, bool value, bool assist, HandsCallback callback,
                              void *userdata) {
        FakeKernel *k = fake(h);
        FakeModule *m = fake_find(k, name);

        if (!note(k, value ? "write-1" : "write-0", name))
                return answer(k, 0, "", callback, userdata);
        note_assisted(k, assist, value ? "write-1" : "write-0", name);
        if (!m || !fake_on_stack(m))
                return answer(k, -ENOENT, "not listed (fake)", callback, userdata);
        if (m->enabled == value)
                return answer(k, -EINVAL, "has that value (fake)", callback, userdata);
        if (m->transition)
                fake_reverse(k, m, value);
        else if (fake_under_way(k))
                return answer(k, -EBUSY, "transition (fake)", callback, userdata);
        else
                fake_begin(k, m, value);
        return answer(k, 0, "", callback, userdata);
}

static int fake_force(Hands *h, const char *name, HandsCallback callback, void *userdata) {
        FakeKernel *k = fake(h);
        FakeModule *m = fake_find(k, name);

        if (!note(k, "force", name))
                return answer(k, 0, "", callback, userdata);
        if (!m || !m->transition)
                return answer(k, -EINVAL, "not in transition (fake)", callback, userdata);
        fake_finish(k, m, m->enabled ? KLP_SHIM_END_PATCHED : KLP_SHIM_END_UNPATCHED);
        return answer(k, 0, "", callback, userdata);
}

static int fake_unload(Hands *h, const char *name, HandsCallback callback, void *userdata) {
        FakeKernel *k = fake(h);
        FakeModule *m = fake_find(k, name);

        if (!note(k, "unload", name))
                return answer(k, 0, "", callback, userdata);
        if (!m)
                return answer(k, -ENOENT, "not loaded (fake)", callback, userdata);
        if (fake_on_stack(m) || (fake_tagged(m, "test.busymod") && m->n_unload++ < 3))
                return answer(k, -EWOULDBLOCK, "in use (fake)", callback, userdata);
        fake_send_event(k, m, KLP_SHIM_EVENT_UNREGISTERED, 0, 0);
        fake_send_event(k, m, KLP_SHIM_EVENT_MODULE_UNLOADED, 0, 0);
        patch_unref(m->patch);
        *m = k->modules[--k->n_modules];
        k->generation++;
        return answer(k, 0, "", callback, userdata);
}

static int fake_read_stacks(Hands *h, const HelperTask *tasks, size_t n, HelperStacksCallback callback,
                            void *userdata) {
        Later *l = fake_later(fake(h), 1000);

        l->stacks_callback = callback;
        l->userdata = userdata;
        return 0;
}

/* ---- behind klpd's back ---- */

void fake_bump_generation(Hands *h) {
        fake(h)->generation++;
}

int fake_insmod(Hands *h, const char *json, bool enabled) {
        FakeKernel *k = fake(h);
        PolicyError error = {};
        Patch *patch;
        int r;

        r = patch_parse(json, strlen(json), &patch, &error);
        if (r < 0)
                return r;
        r = fake_insert(k, patch);
        if (r >= 0 && enabled)
                fake_begin(k, fake_find(k, patch->name), true);
        return r;
}

void fake_hurry(Hands *h, unsigned haste) {
        fake(h)->haste = haste;
}

void fake_set_shim(Hands *h, bool present) {
        fake(h)->shim = present;
}

void fake_set_livepatch(Hands *h, bool present) {
        fake(h)->livepatch = present;
}

bool fake_is_enabled(const Hands *h, const char *name) {
        const FakeModule *m = fake_find(fake(h), name);

        return m && m->enabled && !m->transition;
}

bool fake_is_loaded(const Hands *h, const char *name) {
        return fake_find(fake(h), name);
}

bool fake_in_transition(const Hands *h) {
        return fake_under_way(fake(h));
}

static const HandsVTable fake_vtable = {
        .free = fake_free,
        .listen = fake_listen,
        .configure = fake_configure,
        .has_livepatch = fake_has_livepatch,
        .read_status = fake_read_status,
        .read_inventory = fake_read_inventory,
        .read_host_facts = fake_read_host_facts,
        .read_patch = fake_read_patch,
        .read_snapshot = fake_read_snapshot,
        .read_tasks = fake_read_tasks,
        .inspect = fake_inspect,
        .inspect_free = fake_inspect_free,
        .check_signature = fake_signature,
        .signature_free = fake_signature_free,
        .wake = fake_wake,
        .load_shim = fake_load_shim,
        .load = fake_load,
        .enable = fake_enable,
        .write_enabled = fake_write_enabled,
        .force = fake_force,
        .unload = fake_unload,
        .read_stacks = fake_read_stacks,
};

int fake_hands_new(sd_event *event, const char *kernel, Hands **ret) {
        FakeKernel *k = calloc(1, sizeof(*k));

        if (!k)
                return -ENOMEM;
        k->base.vtable = &fake_vtable;
        k->event = sd_event_ref(event);
        k->kernel = strdup(kernel);
        k->generation = k->haste = 1;
        k->shim = k->livepatch = true;
        *ret = &k->base;
        return k->kernel ? 0 : -ENOMEM;
}
