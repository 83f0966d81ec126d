/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's hands on a real kernel, without the daemon: a helper process (helper_serve(), without the
 * check of who asks), and commands that go through the same clients as klpd's. Run in a guest only.
 *
 *   hands-vm [--no-settle] COMMAND ARG... [+ COMMAND ARG...]
 *
 *   inspect FILE                klpd-inspect (path in $KLPD_INSPECT)
 *   load FILE                   sealed memfd, inspected, loaded
 *   load-unsealed FILE          has to be refused by both sides
 *   shim                        load of klp_shim, by name
 *   enable NAME [GENERATION]    through the shim; waits for ENDED, prints how long
 *   write NAME 0|1              sysfs; waits for ENDED of a managed patch, prints how long
 *   unload NAME
 *   stacks PID TID
 *   show                        shim snapshot, sysfs, modules, host facts
 *
 * Each prints one line or more; the exit status is 1 after the first command that failed.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "klpd/helper-kernel.h"
#include "klpd/helper-server.h"
#include "klpd/inspect-client.h"
#include "klpd/livepatch-sysfs-read.h"
#include "klpd/livepatch-sysfs.h"
#include "klpd/patch-file.h"
#include "klpd/shim-client.h"
#include "klpd/tasks.h"

#define SOCKET_PATH "/tmp/hands-vm.sock"
#define EVENT_WAIT_USEC (90 * 1000000ULL)

typedef struct Vm {
        sd_event *event;
        HelperClient *helper;
        ShimClient *shim;
        int root_fd;
        bool settle;
        bool answered, ended;
        int error;
        uint64_t preparing_nsec, ended_nsec;
        InspectRequest *inspection;
        int content_fd;
        char name[64];
} Vm;

static uint64_t now_nsec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000000ULL + (uint64_t) ts.tv_nsec;
}

static pid_t start_helper(int root_fd) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = SOCKET_PATH };
        pid_t pid;
        int fd;

        unlink(SOCKET_PATH);
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0 || listen(fd, 8) < 0)
                return -1;

        pid = fork();
        if (pid == 0) {
                for (;;) {
                        int c = accept(fd, NULL, NULL);

                        if (c < 0)
                                _exit(1);
                        (void) helper_serve(root_fd, c, -1, 30000);
                        close(c);
                }
        }
        close(fd);
        return pid;
}

static void on_event(ShimClient *c, const ShimEvent *e, void *userdata) {
        Vm *vm = userdata;

        printf("event %s seq %" PRIu64 " generation %" PRIu64 " %s", shim_event_to_string(e->kind) ?: "?",
               e->seq, e->generation, e->name);
        if (e->operation)
                printf(" %s", shim_operation_to_string(e->operation));
        if (e->end)
                printf(" %s error %d", shim_end_to_string(e->end), e->error);
        if (e->state_id)
                printf(" state %" PRIu64 " version %" PRIu32, e->state_id, e->state_version);
        printf("%s\n", e->unasked ? " unasked" : "");

        if (e->kind == KLP_SHIM_EVENT_PREPARING)
                vm->preparing_nsec = e->time_nsec;
        if (e->kind == KLP_SHIM_EVENT_ENDED) {
                vm->ended = true;
                vm->ended_nsec = e->time_nsec;
        }
}

static void on_shim(ShimClient *c, void *userdata) {
        printf("shim: %s\n", shim_client_problem(c) ?: "available");
}

static void on_resync(ShimClient *c, void *userdata) {
        printf("resync\n");
}

static void on_answer(int error, const char *text, void *userdata) {
        Vm *vm = userdata;

        (void) shim_client_release_events(vm->shim);
        vm->answered = true;
        vm->error = error;
        printf("answer %d (%s) %s\n", error, error ? strerror(-error) : "ok", text);
}

static void on_stacks(int error, const char *text, const char *const *stacks, size_t n, void *userdata) {
        on_answer(error, text, userdata);
        for (size_t i = 0; i < n; i++)
                printf("%s\n", stacks[i] ?: "(none)");
}

static void on_inspected(InspectRequest *r, int error, const char *text, const InspectResult *result,
                         void *userdata) {
        Vm *vm = userdata;

        on_answer(error, text, userdata);
        if (!result)
                return;
        printf("patch %s kind %s kernel %s level %" PRIu32 " states %zu functions %zu digest %s\n",
               result->patch->name, patch_kind_to_string(result->patch->kind), result->patch->kernel,
               result->patch->level, result->patch->n_states, result->patch->n_functions,
               result->patch->digest);
        snprintf(vm->name, sizeof(vm->name), "%s", result->patch->name);
        vm->content_fd = fcntl(result->content_fd, F_DUPFD_CLOEXEC, 3);
}

static int wait_answer(Vm *vm, int r) {
        uint64_t end = now_nsec() + EVENT_WAIT_USEC * 1000;

        if (r < 0) {
                printf("not accepted: %s\n", strerror(-r));
                return r;
        }
        while (!vm->answered && now_nsec() < end)
                (void) sd_event_run(vm->event, 1000000);
        return vm->answered ? vm->error : -ETIMEDOUT;
}

static int wait_ended(Vm *vm, uint64_t begun) {
        uint64_t end = now_nsec() + EVENT_WAIT_USEC * 1000;

        while (!vm->ended && now_nsec() < end)
                (void) sd_event_run(vm->event, 1000000);
        if (!vm->ended)
                return -ETIMEDOUT;
        printf("took %" PRIu64 " us, in transition %" PRIu64 " us\n", (vm->ended_nsec - begun) / 1000,
               (vm->ended_nsec - vm->preparing_nsec) / 1000);
        return 0;
}

static int inspect(Vm *vm, const char *path) {
        const InspectSpec spec = { .program = getenv("KLPD_INSPECT") };
        _cleanup_close_ int fd = -EBADF, memfd = -EBADF;
        int r;

        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = sealed_memfd_new_from_fd(fd, PATCH_FILE_SIZE_MAX, "module", &memfd);
        if (r < 0)
                return r;
        r = inspect_request_new(vm->event, memfd, &spec, on_inspected, vm, &vm->inspection);
        r = wait_answer(vm, r);
        vm->inspection = inspect_request_free(vm->inspection);
        return r;
}

static int load(Vm *vm, const char *path) {
        const HelperSettle settle = { .assist = vm->settle };
        int r;

        r = inspect(vm, path);
        if (r < 0)
                return r;
        vm->answered = false;
        r = wait_answer(vm, helper_client_load(vm->helper, vm->content_fd, vm->name, NULL, &settle, 0,
                                               on_answer, vm));
        closep(&vm->content_fd);
        vm->content_fd = -EBADF;
        return r;
}

static int load_unsealed(Vm *vm, const char *path) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        HelperRequest q = { .operation = HELPER_LOAD, .name = "x" };
        Settle *settle;
        char data[16];
        HelperReply a;

        printf("client says %d\n", helper_client_load(vm->helper, fd, "x", NULL, NULL, 0, on_answer, vm));
        helper_execute(vm->root_fd, &q, fd, &a, data, &settle);
        settle_stop(settle);
        printf("helper says %d %s\n", a.error, a.text);
        return a.error == -EPERM ? 0 : -EIO;
}

static int enable(Vm *vm, const char *name, const char *generation_text) {
        const HelperSettle settle = { .assist = vm->settle };
        uint64_t generation, begun = now_nsec();
        PolicyError error = {};
        ShimInfo info;
        int r;

        r = shim_client_info(vm->shim, &info, &error);
        if (r < 0) {
                printf("info: %s\n", error.message);
                return r;
        }
        generation = generation_text ? strtoull(generation_text, NULL, 10) : info.generation;
        if (vm->settle)
                (void) shim_client_hold_events(vm->shim);
        r = wait_answer(vm, helper_client_enable(vm->helper, name, generation, &settle, 0, on_answer, vm));
        return r < 0 ? r : wait_ended(vm, begun);
}

static int write_enabled(Vm *vm, const char *name, const char *value) {
        const HelperSettle settle = { .assist = vm->settle };
        uint64_t begun = now_nsec();
        int r;

        if (vm->settle)
                (void) shim_client_hold_events(vm->shim);
        r = wait_answer(vm, helper_client_write_enabled(vm->helper, name, streq(value, "1"), &settle, 0,
                                                        on_answer, vm));
        return r < 0 ? r : wait_ended(vm, begun);
}

static void show_shim(Vm *vm) {
        _cleanup_shim_snapshot_free_ ShimSnapshot *s = NULL;
        PolicyError error = {};
        ShimTask *tasks;
        size_t n_tasks;
        int r;

        r = shim_client_read(vm->shim, &s, &error);
        if (r < 0) {
                printf("shim: %d %s\n", r, error.message);
                return;
        }
        printf("shim abi %" PRIu32 " kernel %s generation %" PRIu64 " seq %" PRIu64 " transition '%s'\n",
               s->info.abi, s->info.kernel, s->info.generation, s->info.seq, s->info.transition);
        for (size_t i = 0; i < s->n_patches; i++) {
                const ShimPatch *p = s->patches + i;

                printf("shim patch %s %s/%s %" PRIu32 " flags %#" PRIx32 " on stack %d position %" PRIu32
                       " states %zu functions %zu\n",
                       p->patch->name, p->patch->vendor, p->patch->stream, p->patch->level, p->flags,
                       p->on_stack, p->position, p->patch->n_states, p->patch->n_functions);
        }
        for (size_t i = 0; i < s->n_states; i++)
                printf("shim state %" PRIu64 " %s version %" PRIu32 " holder %s owners %zu shadow %" PRIu64
                       "\n",
                       s->states[i].id, s->states[i].name, s->states[i].version, s->states[i].holder,
                       strv_length(s->states[i].owners), s->states[i].shadow_count);

        r = shim_client_tasks(vm->shim, 100, &tasks, &n_tasks, &error);
        printf("shim tasks %d %zu %s\n", r, r < 0 ? 0 : n_tasks, r < 0 ? error.message : "");
        if (r >= 0)
                free(tasks);
}

static int show(Vm *vm) {
        _cleanup_sysfs_patches_free_ SysfsPatches *patches = NULL;
        _cleanup_sysfs_modules_free_ SysfsModules *modules = NULL;
        BlockingTask *tasks;
        size_t n, total;
        _cleanup_free_ char *build_id = NULL;
        SysfsHost host;
        int r;

        show_shim(vm);

        r = livepatch_sysfs_read(vm->root_fd, &patches, &modules);
        if (r < 0)
                return r;
        for (size_t i = 0; i < patches->n_patches; i++) {
                const SysfsPatch *p = patches->patches + i;

                printf("sysfs %s enabled %d transition %d functions %zu objects %zu (%zu patched) replace %d "
                       "order %d\n",
                       p->name, p->enabled, p->transition, p->n_functions, strv_length(p->objects),
                       strv_length(p->objects_patched), p->replace, p->stack_order);
        }

        for (size_t i = 0; i < modules->n_modules; i++)
                printf("module %s order %u refcount %d live %d build id %s\n", modules->modules[i].name,
                       modules->modules[i].load_order, modules->modules[i].refcount,
                       modules->modules[i].live, modules->modules[i].build_id ?: "-");

        r = livepatch_sysfs_read_build_id(vm->root_fd, &build_id);
        if (r < 0 && r != -ENOENT)
                return r;
        r = livepatch_sysfs_read_host(vm->root_fd, &host);
        if (r < 0)
                return r;
        printf("host livepatch %d ftrace %d modules disabled %d sig_enforce %d lockdown %s "
               "build id %s kprobes %zu (%d)\n",
               host.livepatch, host.ftrace_enabled, host.modules_disabled, host.sig_enforce,
               host.lockdown ?: "-", build_id ?: "-", host.n_kprobes, host.kprobes_known);
        sysfs_host_done(&host);

        r = tasks_blocking(vm->root_fd, true, 100, &tasks, &n, &total);
        if (r < 0)
                return r;
        printf("blocking by /proc: %zu of %zu\n", n, total);
        free(tasks);
        return 0;
}

static int stacks(Vm *vm, const char *pid, const char *tid) {
        const HelperTask task = { (uint32_t) atoi(pid), (uint32_t) atoi(tid) };

        return wait_answer(vm, helper_client_read_stacks(vm->helper, &task, 1, 0, on_stacks, vm));
}

static int run_command(Vm *vm, int n, char **arg) {
        vm->answered = vm->ended = false;
        printf("== %s %s\n", arg[0], n > 1 ? arg[1] : "");

        if (streq(arg[0], "inspect") && n == 2)
                return inspect(vm, arg[1]);
        if (streq(arg[0], "load") && n == 2)
                return load(vm, arg[1]);
        if (streq(arg[0], "load-unsealed") && n == 2)
                return load_unsealed(vm, arg[1]);
        if (streq(arg[0], "shim") && n == 1)
                return wait_answer(vm, helper_client_load_shim(vm->helper, 0, on_answer, vm));
        if (streq(arg[0], "enable") && (n == 2 || n == 3))
                return enable(vm, arg[1], n == 3 ? arg[2] : NULL);
        if (streq(arg[0], "write") && n == 3)
                return write_enabled(vm, arg[1], arg[2]);
        if (streq(arg[0], "unload") && n == 2)
                return wait_answer(vm, helper_client_unload(vm->helper, arg[1], 0, on_answer, vm));
        if (streq(arg[0], "stacks") && n == 3)
                return stacks(vm, arg[1], arg[2]);
        if (streq(arg[0], "show") && n == 1)
                return show(vm);
        return -EINVAL;
}

static int run_commands(Vm *vm, int argc, char **argv) {
        for (int i = 1, n; i < argc; i += n + 1) {
                int r;

                if (streq(argv[i], "--no-settle")) {
                        vm->settle = false;
                        n = 0;
                        continue;
                }
                for (n = 0; i + n < argc && !streq(argv[i + n], "+"); n++)
                        ;
                r = n > 0 ? run_command(vm, n, argv + i) : -EINVAL;
                printf("-- %s\n", r < 0 ? strerror(-r) : "done");
                fflush(stdout);
                if (r < 0)
                        return r;
        }
        return 0;
}

int main(int argc, char *argv[]) {
        static const ShimHandlers handlers = {.available = on_shim,
                                              .gone = on_shim,
                                              .event = on_event,
                                              .resync = on_resync};
        Vm vm = { .settle = true, .content_fd = -EBADF };
        pid_t helper;
        int r;

        vm.root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        helper = start_helper(vm.root_fd);
        if (vm.root_fd < 0 || helper < 0) {
                perror("can't start the helper");
                return EXIT_FAILURE;
        }

        if ((r = sd_event_new(&vm.event)) < 0 ||
            (r = helper_client_new(vm.event, SOCKET_PATH, &vm.helper)) < 0 ||
            (r = shim_client_new(vm.event, &handlers, &vm, &vm.shim)) < 0)
                fprintf(stderr, "can't start: %s\n", strerror(-r));
        else
                r = run_commands(&vm, argc, argv);

        shim_client_free(vm.shim);
        helper_client_free(vm.helper);
        sd_event_unref(vm.event);
        kill(helper, SIGTERM);
        waitpid(helper, NULL, 0);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
