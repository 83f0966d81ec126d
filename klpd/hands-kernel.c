/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real hands (hands.h): the shim's client, the livepatch files of sysfs, klpd-helper, the sandboxed
 * inspector. Only plumbing: every call goes to one of those, or puts together what several of them say.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "klpd/hands.h"
#include "klpd/held-modules.h"
#include "klpd/inventory.h"
#include "klpd/livepatch-sysfs.h"
#include "klpd/tasks.h"
#include "klpd/transaction.h"

#define TASKS_MAX 1024U

typedef struct KernelHands {
        Hands base;
        sd_event *event;
        int root_fd;
        char *inspect_program;
        InspectMemory inspected;
        struct utsname uts;
        ShimClient *shim;
        HelperClient *helper;
        HandsListener listener;
        SysfsHost host;
        bool host_read;
        char *build_id; /* of the running kernel; NULL: not read yet, or it has none */
        char shim_problem[384];
        char lockdown[64];
        uint64_t deadline_usec;
        HelperSettle settle;
        HeldModules held;
} KernelHands;

struct HandsInspection {
        InspectRequest *request;
        HandsInspectCallback callback;
        void *userdata;
};

static KernelHands *kernel_hands(Hands *h) {
        return (KernelHands *) h;
}

static Hands *kernel_hands_free(Hands *hands) {
        KernelHands *h = kernel_hands(hands);

        shim_client_free(h->shim);
        helper_client_free(h->helper);
        if (h->host_read)
                sysfs_host_done(&h->host);
        free(h->build_id);
        if (h->root_fd >= 0)
                close(h->root_fd);
        held_modules_done(&h->held);
        free(h->inspect_program);
        inspect_memory_done(&h->inspected);
        sd_event_unref(h->event);
        free(h);
        return NULL;
}

static void on_event(ShimClient *c, const ShimEvent *event, void *userdata) {
        KernelHands *h = userdata;

        if (h->listener.event)
                h->listener.event(event, h->listener.userdata);
}

static void on_resync(ShimClient *c, void *userdata) {
        KernelHands *h = userdata;

        if (h->listener.resync)
                h->listener.resync(h->listener.userdata);
}

static void kernel_listen(Hands *hands, const HandsListener *listener) {
        kernel_hands(hands)->listener = *listener;
}

static void kernel_configure(Hands *hands, uint64_t deadline_usec, unsigned assist_cpus) {
        KernelHands *h = kernel_hands(hands);

        h->deadline_usec = deadline_usec;
        h->settle = (HelperSettle) { .assist = assist_cpus > 0, .max_cpus = assist_cpus };
}

/* ---- reading ---- */

static int read_snapshot_if_there(KernelHands *h, ShimSnapshot **ret) {
        int r;

        if (shim_client_problem(h->shim)) {
                *ret = NULL;
                return 0;
        }
        r = shim_client_read(h->shim, ret, NULL);
        if (r == -ENOENT) {
                *ret = NULL;
                return 0;
        }
        return r;
}

static bool kernel_has_livepatch(Hands *hands) {
        return faccessat(kernel_hands(hands)->root_fd, "sys/kernel/livepatch", F_OK, 0) >= 0;
}

static int kernel_read_status(Hands *hands, KernelStatus *ret) {
        KernelHands *h = kernel_hands(hands);
        const char *problem = shim_client_problem(h->shim);
        KernelStatus s = {};
        ShimInfo info;

        s.livepatch = kernel_has_livepatch(hands);
        if (!s.livepatch) /* then the shim can't be loaded either: what is missing comes first */
                problem = "this kernel has no livepatch support (/sys/kernel/livepatch is missing)";
        if (problem)
                (void) snprintf(s.shim_problem, sizeof(s.shim_problem), "%s", problem);
        else {
                PolicyError error = {};

                if (shim_client_info(h->shim, &info, &error) < 0)
                        (void) snprintf(s.shim_problem, sizeof(s.shim_problem), "%s", error.message);
                else {
                        s.shim_abi = info.abi;
                        s.generation = info.generation;
                }
        }
        *ret = s;
        return 0;
}

static uint64_t directory_birth(const char *name, void *userdata) {
        KernelHands *h = userdata;
        char path[128];
        struct stat st;

        /* kernfs numbers its inodes in the order of creation (a counter that is never set back), and the
         * core makes this directory at each enabling. */
        if (snprintf(path, sizeof(path), "sys/kernel/livepatch/%s", name) >= (int) sizeof(path) ||
            fstatat(h->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return 0;
        return st.st_ino;
}

static Patch *lookup_plain(const char *name, const char *build_id, void *userdata) {
        KernelHands *h = userdata;

        return h->listener.lookup ? h->listener.lookup(name, build_id, h->listener.userdata) : NULL;
}

static int kernel_read_inventory(Hands *hands, Inventory **ret) {
        _cleanup_sysfs_patches_free_ SysfsPatches *sysfs = NULL;
        _cleanup_sysfs_modules_free_ SysfsModules *modules = NULL;
        _cleanup_shim_snapshot_free_ ShimSnapshot *snapshot = NULL;
        KernelHands *h = kernel_hands(hands);
        int r;

        r = read_snapshot_if_there(h, &snapshot);
        if (r < 0)
                return r;
        r = livepatch_sysfs_read(h->root_fd, &sysfs, &modules);
        if (r >= 0)
                r = held_modules_update(&h->held, sysfs, modules, now_usec(CLOCK_MONOTONIC));
        if (r < 0 && r != -EOPNOTSUPP)
                return r;
        if (!h->build_id) {
                r = livepatch_sysfs_read_build_id(h->root_fd, &h->build_id);
                if (r < 0 && r != -ENOENT)
                        return r;
        }

        return inventory_build(&(InventorySources) {
                                            .kernel = h->uts.release,
                                            .kernel_build_id = h->build_id,
                                            .shim = snapshot,
                                            .sysfs = sysfs,
                                            .modules = modules,
                                            .lookup = lookup_plain,
                                            .birth = directory_birth,
                                            .userdata = h,
                            }, ret);
}

static int kernel_read_host_facts(Hands *hands, HostFacts *ret) {
        KernelHands *h = kernel_hands(hands);
        const char *problem;
        HostFacts facts;
        SysfsHost host;
        int r;

        r = livepatch_sysfs_read_host(h->root_fd, &host);
        if (r < 0)
                return r;
        if (h->host_read)
                sysfs_host_done(&h->host);
        h->host = host;
        h->host_read = true;

        host_facts_init(&facts);
        facts.livepatch = host.livepatch;
        facts.ftrace_enabled = host.ftrace_enabled;
        facts.modules_disabled = host.modules_disabled;
        if (host.sig_enforce) {
                facts.signatures_required = true;
                facts.signatures_required_by = "module.sig_enforce";
        } else if (host.lockdown && !streq(host.lockdown, "none")) {
                (void) snprintf(h->lockdown, sizeof(h->lockdown), "lockdown=%s", host.lockdown);
                facts.signatures_required = true;
                facts.signatures_required_by = h->lockdown;
        }
        facts.kprobes = host.kprobes;
        facts.n_kprobes = host.n_kprobes;
        facts.shim_abi = shim_client_abi(h->shim);
        problem = shim_client_problem(h->shim);
        if (problem) {
                (void) snprintf(h->shim_problem, sizeof(h->shim_problem), "%s", problem);
                facts.shim_abi = 0;
                facts.shim_problem = h->shim_problem;
        }
        *ret = facts;
        return 0;
}

static int kernel_read_patch(Hands *hands, const char *name, KernelPatch *ret) {
        _cleanup_shim_snapshot_free_ ShimSnapshot *snapshot = NULL;
        KernelHands *h = kernel_hands(hands);
        KernelPatch p = { .refcount = -1 };
        const ShimPatch *sp;
        int r;

        r = livepatch_sysfs_read_patch(h->root_fd, name, &p.enabled, &p.transition);
        if (r < 0 && r != -ENOENT && r != -EOPNOTSUPP)
                return r;
        p.listed = r >= 0;
        if (!p.listed)
                p.enabled = p.transition = false;
        r = livepatch_sysfs_read_refcount(h->root_fd, name, &p.refcount);
        if (r < 0 && r != -ENOENT)
                return r;
        p.module = r >= 0;
        r = read_snapshot_if_there(h, &snapshot);
        if (r < 0)
                return r;
        sp = shim_snapshot_find(snapshot, name);
        if (sp) {
                p.registered = true;
                p.flags = sp->flags;
        }
        *ret = p;
        return 0;
}

static int kernel_read_snapshot(Hands *hands, ShimSnapshot **ret) {
        KernelHands *h = kernel_hands(hands);

        if (shim_client_problem(h->shim))
                return -ENOENT;
        return shim_client_read(h->shim, ret, NULL);
}

/* Without the shim: whatever waits on either side of the transition that sysfs shows. */
static int read_tasks_from_proc(KernelHands *h, ShimTask **ret, size_t *ret_n) {
        _cleanup_sysfs_patches_free_ SysfsPatches *sysfs = NULL;
        _cleanup_free_ BlockingTask *blocking = NULL;
        const SysfsPatch *under_way = NULL;
        size_t n = 0, total;
        ShimTask *tasks;
        int r;

        r = livepatch_sysfs_read(h->root_fd, &sysfs, NULL);
        if (r < 0)
                return r;
        for (size_t i = 0; i < sysfs->n_patches; i++)
                if (sysfs->patches[i].transition)
                        under_way = &sysfs->patches[i];
        if (under_way) {
                r = tasks_blocking(h->root_fd, under_way->enabled, TASKS_MAX, &blocking, &n, &total);
                if (r < 0)
                        return r;
        }
        tasks = calloc(n + 1, sizeof(ShimTask));
        if (!tasks)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                tasks[i] = (ShimTask){.pid = blocking[i].pid,
                                      .tid = blocking[i].tid,
                                      .kthread = blocking[i].kthread};
                memcpy(tasks[i].comm, blocking[i].comm, sizeof(tasks[i].comm));
        }
        *ret = tasks;
        *ret_n = n;
        return 0;
}

static int kernel_read_tasks(Hands *hands, ShimTask **ret, size_t *ret_n) {
        KernelHands *h = kernel_hands(hands);

        /* Of plain patches, too: in the kernel a task that is waited for is known by a flag of its own. */
        if (!shim_client_problem(h->shim) && shim_client_tasks(h->shim, TASKS_MAX, ret, ret_n, NULL) >= 0)
                return 0;
        return read_tasks_from_proc(h, ret, ret_n);
}

/* ---- inspecting ---- */

static void on_inspected(InspectRequest *r, int error, const char *text, const InspectResult *result,
                         void *userdata) {
        HandsInspection *i = userdata;

        i->callback(error, text, result, i->userdata);
}

static int kernel_inspect(Hands *hands, int fd, HandsInspectCallback callback, void *userdata,
                          HandsInspection **ret) {
        KernelHands *h = kernel_hands(hands);
        InspectSpec spec = { .program = h->inspect_program, .memory = &h->inspected };
        _cleanup_free_ HandsInspection *i = NULL;
        int r;

        i = malloc(sizeof(*i));
        if (!i)
                return -ENOMEM;
        *i = (HandsInspection) { .callback = callback, .userdata = userdata };
        r = inspect_request_new(h->event, fd, &spec, on_inspected, i, &i->request);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(i);
        return 0;
}

static HandsInspection *kernel_inspect_free(HandsInspection *i) {
        if (!i)
                return NULL;
        inspect_request_free(i->request);
        free(i);
        return NULL;
}

static int kernel_check_signature(Hands *hands, const SignatureSpec *spec, SignatureCallback callback,
                                  void *userdata, HandsSignature **ret) {
        KernelHands *h = kernel_hands(hands);
        SignatureCheck *check;
        int r;

        r = signature_check_new(h->event, h->root_fd, spec, h->inspect_program, 0, callback, userdata, &check);
        if (r < 0)
                return r;
        *ret = (HandsSignature *) check; /* nothing to add to it */
        return 0;
}

static HandsSignature *kernel_signature_free(HandsSignature *s) {
        signature_check_free((SignatureCheck *) s);
        return NULL;
}

/* ---- changing ---- */

typedef struct ShimLoad {
        KernelHands *hands;
        HandsCallback callback;
        void *userdata;
} ShimLoad;

static void on_shim_loaded(int error, const char *text, void *userdata) {
        ShimLoad *l = userdata;
        PolicyError problem = {};
        int r = error;

        if (r >= 0) {
                r = shim_client_connect(l->hands->shim, &problem);
                text = r < 0 ? problem.message : "";
        }
        l->callback(r, text, l->userdata);
        free(l);
}

static void kernel_wake(Hands *hands) {
        helper_client_wake(kernel_hands(hands)->helper);
}

static int kernel_load_shim(Hands *hands, HandsCallback callback, void *userdata) {
        KernelHands *h = kernel_hands(hands);
        _cleanup_free_ ShimLoad *l = NULL;
        int r;

        l = malloc(sizeof(*l));
        if (!l)
                return -ENOMEM;
        *l = (ShimLoad) { .hands = h, .callback = callback, .userdata = userdata };
        r = helper_client_load_shim(h->helper, h->deadline_usec, on_shim_loaded, l);
        if (r < 0)
                return r;
        TAKE_PTR(l);
        return 0;
}

/* A change that is assisted: events stay in the kernel's queue until it has returned
 * (shim_client_hold_events()), and are told before its answer, as they came before it. */
typedef struct Assisted {
        KernelHands *hands;
        HandsCallback callback;
        void *userdata;
} Assisted;

static void on_assisted(int error, const char *text, void *userdata) {
        _cleanup_free_ Assisted *a = userdata;

        if (error != -ECANCELED)
                (void) shim_client_release_events(a->hands->shim);
        a->callback(error, text, a->userdata);
}

static int assisted_new(KernelHands *h, HandsCallback callback, void *userdata, Assisted **ret) {
        Assisted *a;

        a = malloc(sizeof(*a));
        if (!a)
                return -ENOMEM;
        *a = (Assisted) { .hands = h, .callback = callback, .userdata = userdata };
        *ret = a;
        return 0;
}

/* r: what the helper's client said when it was asked. */
static int assisted_begin(Assisted *a, int r) {
        if (r < 0) {
                free(a);
                return r;
        }
        if (a->hands->settle.assist)
                (void) shim_client_hold_events(a->hands->shim);
        return 0;
}

static int kernel_load(Hands *hands, int module_fd, const char *name, bool assist, HandsCallback callback,
                       void *userdata) {
        KernelHands *h = kernel_hands(hands);
        Assisted *a;
        int r;

        if (!assist)
                return helper_client_load(h->helper, module_fd, name, NULL, NULL, h->deadline_usec, callback,
                                          userdata);
        r = assisted_new(h, callback, userdata, &a);
        if (r < 0)
                return r;
        return assisted_begin(a, helper_client_load(h->helper, module_fd, name, NULL, &h->settle,
                                                    h->deadline_usec, on_assisted, a));
}

static int kernel_enable(Hands *hands, const char *name, uint64_t generation, HandsCallback callback,
                         void *userdata) {
        KernelHands *h = kernel_hands(hands);
        Assisted *a;
        int r;

        r = assisted_new(h, callback, userdata, &a);
        if (r < 0)
                return r;
        return assisted_begin(a, helper_client_enable(h->helper, name, generation, &h->settle,
                                                      h->deadline_usec, on_assisted, a));
}

static int kernel_write_enabled(Hands *hands, const char *name, bool value, bool assist,
                                HandsCallback callback, void *userdata) {
        KernelHands *h = kernel_hands(hands);
        Assisted *a;
        int r;

        if (!assist)
                return helper_client_write_enabled(h->helper, name, value, NULL, h->deadline_usec, callback,
                                                   userdata);
        r = assisted_new(h, callback, userdata, &a);
        if (r < 0)
                return r;
        return assisted_begin(a, helper_client_write_enabled(h->helper, name, value, &h->settle,
                                                             h->deadline_usec, on_assisted, a));
}

static int kernel_force(Hands *hands, const char *name, HandsCallback callback, void *userdata) {
        KernelHands *h = kernel_hands(hands);

        return helper_client_force(h->helper, name, h->deadline_usec, callback, userdata);
}

static int kernel_unload(Hands *hands, const char *name, HandsCallback callback, void *userdata) {
        KernelHands *h = kernel_hands(hands);

        return helper_client_unload(h->helper, name, h->deadline_usec, callback, userdata);
}

static int kernel_read_stacks(Hands *hands, const HelperTask *tasks, size_t n, HelperStacksCallback callback,
                              void *userdata) {
        KernelHands *h = kernel_hands(hands);

        return helper_client_read_stacks(h->helper, tasks, n, h->deadline_usec, callback, userdata);
}

static const HandsVTable kernel_vtable = {
        .free = kernel_hands_free,
        .listen = kernel_listen,
        .configure = kernel_configure,
        .has_livepatch = kernel_has_livepatch,
        .read_status = kernel_read_status,
        .read_inventory = kernel_read_inventory,
        .read_host_facts = kernel_read_host_facts,
        .read_patch = kernel_read_patch,
        .read_snapshot = kernel_read_snapshot,
        .read_tasks = kernel_read_tasks,
        .inspect = kernel_inspect,
        .inspect_free = kernel_inspect_free,
        .check_signature = kernel_check_signature,
        .signature_free = kernel_signature_free,
        .wake = kernel_wake,
        .load_shim = kernel_load_shim,
        .load = kernel_load,
        .enable = kernel_enable,
        .write_enabled = kernel_write_enabled,
        .force = kernel_force,
        .unload = kernel_unload,
        .read_stacks = kernel_read_stacks,
};

int hands_kernel_new(sd_event *event, int root_fd, const char *socket_path, const char *inspect_program,
                     Hands **ret) {
        static const ShimHandlers handlers = {
                .available = on_resync,
                .gone = on_resync,
                .event = on_event,
                .resync = on_resync,
        };
        KernelHands *h;
        int r;

        h = calloc(1, sizeof(*h));
        if (!h)
                return -ENOMEM;
        h->base.vtable = &kernel_vtable;
        h->event = sd_event_ref(event);
        h->root_fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
        r = h->root_fd < 0 || uname(&h->uts) < 0 ? -errno : 0;
        if (r >= 0 && inspect_program) {
                h->inspect_program = strdup(inspect_program);
                r = h->inspect_program ? 0 : -ENOMEM;
        }
        if (r >= 0)
                r = helper_client_new(event, socket_path, &h->helper);
        if (r >= 0)
                r = shim_client_new(event, &handlers, h, &h->shim);
        if (r < 0) {
                kernel_hands_free(&h->base);
                return r;
        }
        *ret = &h->base;
        return 0;
}
