/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shim-walk SEED COUNT DIR: COUNT random operations on klp_shim.ko with the test patches of DIR, each predicted by the
 * model of shim-walk-model.h.
 *
 * Operations: register (also with bad tables), unregister, enable (also stale, of what is enabled, of what isn't
 * there), disable through sysfs, callbacks that fail, changes that a sleeping task stalls and that are let go or
 * reversed, with others refused meanwhile, a plain patch and a module to be patched that come and go, the shim
 * itself. After each one, and in the middle of a stalled one, everything that can be seen is compared: the answer, both
 * dumps (order, flags, positions, holders, owners, counts of shadow variables), the end that the events tell and their
 * numbers, sysfs, which function runs, the callbacks in order, and the destructors' counts.
 *
 * At the end all is disabled and removed. At the first difference it prints seed, step and the log of operations, and
 * ends with status 1; the same seed walks the same way, since nothing that is random depends on time.
 *
 * Waiting is for events of the shim, or for a condition that nobody announces (a look each 2 ms, within LIMIT_MS).
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <dirent.h>

#include "shim-nl.h"
#include "shim-walk-model.h"

#define SYSFS "/sys/kernel/livepatch"
#define LIMIT_MS 120000

static Patch patches[N_PATCHES] = {
        { .name = "klp_test_a" }, { .name = "klp_test_b" }, { .name = "klp_test_c" }, { .name = "klp_test_d" },
        { .name = "klp_test_e" },
};
static Patch *const eraser = &patches[N_PATCHES - 1]; /* has no states, so that orphans can always be removed */
static Patch plain = { .name = "klp_test_plain", .plain = true, .vmlinux = true };

static const char *modules_dir;
static uint64_t random_state, seed;
static unsigned long step, n_loads;
static bool target_loaded;
static pid_t sleeper = -1;
static Patch *sleeps_in; /* NULL: in klp_test_target */
static int event_sock = -1, kmsg = -1;
static uint64_t last_event;

enum { REFUSED, COMPLETED, REVERSED, STALLED, N_COUNTS };
static unsigned long counts[N_COUNTS];

static uint32_t rnd(uint32_t n) {
        random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
        return (uint32_t) (random_state >> 33) % n;
}

static bool chance(unsigned percent) {
        return rnd(100) < percent;
}

/* ---- The log, and how it ends ---- */

static char *op_log;
static size_t log_size;
static FILE *log_stream;

static __attribute__((format(printf, 1, 2))) void note(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        vfprintf(log_stream, format, ap);
        va_end(ap);
}

static _Noreturn __attribute__((format(printf, 1, 2))) void differ(const char *format, ...) {
        va_list ap;

        fflush(log_stream);
        printf("%s\nDIFFERS from the model, seed %llu, step %lu: ", op_log, (unsigned long long) seed, step);
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        printf("\nstack of the model, bottom first:");
        for (unsigned i = 0; i < model.n; i++)
                printf(" %s%s(%x)", model.stack[i].patch->name, model.stack[i].orphan ? "-orphan" : "",
                       model.stack[i].has);
        putchar('\n');
        if (sleeper > 0)
                kill(sleeper, SIGKILL);
        exit(1);
}

static void expect_error(const char *what, int have, int expected) {
        if (expected != 0)
                counts[REFUSED]++;
        if (have != expected)
                differ("%s: the answer is \"%s\", not \"%s\"", what, strerror(have), strerror(expected));
}

/* ---- Waiting ---- */

static int64_t now_ms(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Until CONDITION; differs with the text if it doesn't come true. */
#define wait_until(condition, ...)                                   \
        do {                                                         \
                int64_t deadline_ = now_ms() + LIMIT_MS;             \
                while (!(condition)) {                               \
                        if (now_ms() > deadline_)                    \
                                differ(__VA_ARGS__);                 \
                        poll(NULL, 0, 2);                            \
                }                                                    \
        } while (0)

/* ---- Files and modules ---- */

static int write_file(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

        if (fd < 0)
                return errno;
        if (write(fd, text, strlen(text)) < 0)
                r = errno;
        close(fd);
        return r;
}

/* The first line, without its end; false if it can't be read. */
static bool read_line(const char *path, char *buffer, size_t size) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n;

        if (fd < 0)
                return false;
        n = read(fd, buffer, size - 1);
        close(fd);
        if (n < 0)
                return false;
        buffer[n] = '\0';
        buffer[strcspn(buffer, "\n")] = '\0';
        return true;
}

static const char *parameter_path(const char *module, const char *name) {
        static char path[256];

        snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", module, name);
        return path;
}

static void set_parameter(const char *module, const char *name, const char *value) {
        int r = write_file(parameter_path(module, name), value);

        if (r != 0)
                differ("%s = %s: %s", parameter_path(module, name), value, strerror(r));
}

static bool sysfs_has(const char *name) {
        char path[512];

        snprintf(path, sizeof(path), SYSFS "/%s", name);
        return access(path, F_OK) == 0;
}

/* -1: there is no such file. */
static int sysfs_value(const char *name, const char *file) {
        char path[256], text[16];

        snprintf(path, sizeof(path), SYSFS "/%s/%s", name, file);
        return read_line(path, text, sizeof(text)) ? atoi(text) : -1;
}

static int write_enabled(const char *name, const char *value) {
        char path[256];

        snprintf(path, sizeof(path), SYSFS "/%s/enabled", name);
        return write_file(path, value);
}

static int insmod(const char *name, const char *args) {
        char path[512];
        int fd, r = 0;

        snprintf(path, sizeof(path), "%s/%s.ko", modules_dir, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                die(125, "%s: %s", path, strerror(errno));
        if (syscall(SYS_finit_module, fd, args, 0) < 0)
                r = errno;
        close(fd);
        return r;
}

static int rmmod(const char *name) {
        return syscall(SYS_delete_module, name, O_NONBLOCK) < 0 ? errno : 0;
}

/* The core drops its reference on what was disabled or replaced a moment later. */
static void rmmod_soon(const char *name) {
        int r;

        wait_until((r = rmmod(name)) != EAGAIN, "%s can't be removed: it is still in use", name);
        if (r != 0)
                differ("rmmod %s: %s", name, strerror(r));
}

/* ---- Events and traces ---- */

static void watch_open(void) {
        struct sockaddr_nl self = { .nl_family = AF_NETLINK };
        int size = 4 * 1024 * 1024;

        event_sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_GENERIC);
        if (event_sock < 0 || bind(event_sock, (struct sockaddr *) &self, sizeof(self)) < 0 ||
            setsockopt(event_sock, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 ||
            setsockopt(event_sock, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group_id, sizeof(group_id)) < 0)
                die(125, "can't listen: %s", strerror(errno));
        last_event = 0;
}

typedef struct Ended {
        bool seen, unasked;
        char name[KLP_SHIM_NAME_LEN];
        unsigned operation, end;
        int error;
} Ended;

static Ended ended;

/* Takes what has arrived: numbers without a gap, and the last end that was told. */
static void take_events(void) {
        static uint8_t buffer[BUFFER_SIZE] __attribute__((aligned(8)));
        ssize_t n;

        while ((n = recv(event_sock, buffer, sizeof(buffer), 0)) > 0) {
                const struct nlmsghdr *h = (void *) buffer;

                for (size_t rest = n; NLMSG_OK(h, rest); h = NLMSG_NEXT(h, rest)) {
                        const struct genlmsghdr *g = NLMSG_DATA(h);
                        uint64_t number;
                        Attrs t;

                        if (h->nlmsg_type != family_id || g->cmd != KLP_SHIM_CMD_EVENT)
                                differ("a message that is no event");
                        attrs_parse((const uint8_t *) g + GENL_HDRLEN, h->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), &t);
                        number = get_u(&t, KLP_SHIM_A_SEQ);
                        if (last_event && number != last_event + 1)
                                differ("event %llu follows %llu", (unsigned long long) number,
                                       (unsigned long long) last_event);
                        last_event = number;
                        if (get_u(&t, KLP_SHIM_A_EVENT) != KLP_SHIM_EVENT_ENDED)
                                continue;
                        ended = (Ended) { .seen = true, .unasked = t.a[KLP_SHIM_A_UNASKED],
                                          .operation = get_u(&t, KLP_SHIM_A_OPERATION),
                                          .end = get_u(&t, KLP_SHIM_A_END),
                                          .error = (int32_t) get_u(&t, KLP_SHIM_A_ERROR) };
                        snprintf(ended.name, sizeof(ended.name), "%s", get_s(&t, KLP_SHIM_A_NAME));
                }
        }
        if (n < 0 && errno != EAGAIN)
                differ("receiving events: %s", strerror(errno));
}

static void wait_ended(const Patch *p, unsigned operation, unsigned end, int error) {
        int64_t deadline = now_ms() + LIMIT_MS;

        for (take_events(); !ended.seen; take_events()) {
                struct pollfd pfd = { .fd = event_sock, .events = POLLIN };

                if (now_ms() > deadline)
                        differ("no event tells the end of the change of %s", p->name);
                poll(&pfd, 1, 1000);
        }
        if (strcmp(ended.name, p->name) != 0 || ended.operation != operation || ended.end != end ||
            ended.error != -error || ended.unasked != (operation == KLP_SHIM_OP_DISABLE))
                differ("ENDED %s operation %u end %u error %d, not %s %u %u %d", ended.name, ended.operation, ended.end,
                       ended.error, p->name, operation, end, -error);
        ended.seen = false;
        wait_until(sysfs_value(p->name, "transition") < 1, "%s is in transition after its end was told", p->name);
}

static void check_trace(void) {
        char record[2048];
        unsigned have = 0;
        ssize_t n;

        while ((n = read(kmsg, record, sizeof(record) - 1)) > 0) {
                char *call;

                record[n] = '\0';
                call = strstr(record, "klp_trace: ");
                if (!call)
                        continue;
                call += strlen("klp_trace: ");
                call[strcspn(call, "\n")] = '\0';
                if (have >= n_want || strcmp(call, want[have]) != 0)
                        differ("callback %u is \"%s\", not \"%s\"", have, call, have < n_want ? want[have] : "none");
                have++;
        }
        if (n < 0 && errno != EAGAIN)
                differ("reading the kernel log: %s", strerror(errno));
        if (have != n_want)
                differ("callback %u, \"%s\", has not run", have, want[have]);
        n_want = 0;
}

/* ---- What the shim tells ---- */

static uint64_t generation;
static char transition[KLP_SHIM_NAME_LEN];

static void on_info(const void *data, size_t size) {
        Attrs t;

        attrs_parse(data, size, &t);
        generation = get_u(&t, KLP_SHIM_A_GENERATION);
        snprintf(transition, sizeof(transition), "%s", get_s(&t, KLP_SHIM_A_TRANSITION));
}

static void get_info(void) {
        static Message m;

        message_init(&m, family_id, NLM_F_ACK, KLP_SHIM_CMD_INFO);
        if (request(&m, on_info) != 0)
                differ("INFO fails");
}

static int send_enable(const char *name, uint64_t expected) {
        static Message m;

        message_init(&m, family_id, NLM_F_ACK, KLP_SHIM_CMD_ENABLE);
        message_attr(&m, KLP_SHIM_A_NAME, name, strlen(name) + 1);
        message_attr(&m, KLP_SHIM_A_GENERATION, &expected, sizeof(expected));
        message_send(&m);
        return receive(m.header.nlmsg_seq, NULL, false);
}

/*
 * Enables with the generation of now. What passes by is waited for: the last use of the patch that isn't over yet
 * (EAGAIN), and, while a plain patch is loaded, its reference that goes unannounced (ESTALE).
 */
static int enable_now(const Patch *p) {
        int r;

        wait_until((get_info(), r = send_enable(p->name, generation),
                    !(r == EAGAIN || (r == ESTALE && plain.loaded && !plain.enabled))),
                   "%s: %s, for good", p->name, strerror(r));
        return r;
}

static char seen[8192];

static __attribute__((format(printf, 1, 2))) void see(const char *format, ...) {
        size_t used = strlen(seen);
        va_list ap;

        va_start(ap, format);
        vsnprintf(seen + used, sizeof(seen) - used, format, ap);
        va_end(ap);
}

static void see_patch(const char *name, unsigned flags, unsigned level, bool cumulative, int position) {
        see("%s%s%s%s%s level %u%s position %d\n", name, flags & KLP_SHIM_PATCH_ENABLED ? " enabled" : "",
            flags & KLP_SHIM_PATCH_TRANSITION ? " transition" : "",
            flags & KLP_SHIM_PATCH_UNPATCHING ? " unpatching" : "", flags & KLP_SHIM_PATCH_ORPHAN ? " orphan" : "",
            level, cumulative ? " cumulative" : "", position);
}

static void on_patch(const void *data, size_t size) {
        const struct nlattr *attr;
        size_t left;
        const void *at;
        Attrs t, p, s;

        attrs_parse(data, size, &t);
        get_nest(&t, KLP_SHIM_A_PATCH, &p);
        if (get_u(&p, KLP_SHIM_PATCH_A_FLAGS) & KLP_SHIM_PATCH_FORCED)
                differ("%s is told to be forced", get_s(&p, KLP_SHIM_PATCH_A_NAME));
        see_patch(get_s(&p, KLP_SHIM_PATCH_A_NAME), get_u(&p, KLP_SHIM_PATCH_A_FLAGS),
                  get_u(&p, KLP_SHIM_PATCH_A_LEVEL), p.a[KLP_SHIM_PATCH_A_CUMULATIVE],
                  p.a[KLP_SHIM_PATCH_A_POSITION] ? (int) get_u(&p, KLP_SHIM_PATCH_A_POSITION) : -1);
        at = attr_data(t.a[KLP_SHIM_A_PATCH]);
        left = attr_size(t.a[KLP_SHIM_A_PATCH]);
        while ((attr = attr_next(&at, &left))) {
                if (attr_type(attr) != KLP_SHIM_PATCH_A_STATE)
                        continue;
                attrs_parse(attr_data(attr), attr_size(attr), &s);
                see("  %llu %llu %llu\n", (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_ID),
                    (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_VERSION),
                    (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_FLAGS));
        }
}

static void on_state(const void *data, size_t size) {
        const struct nlattr *attr;
        size_t left;
        const void *at;
        Attrs t, s;

        attrs_parse(data, size, &t);
        get_nest(&t, KLP_SHIM_A_STATE, &s);
        see("%llu version %llu flags %llu holder %s%s shadows %llu bytes %llu owners",
            (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_ID),
            (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_VERSION),
            (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_FLAGS), get_s(&s, KLP_SHIM_STATE_A_HOLDER),
            s.a[KLP_SHIM_STATE_A_ORPHAN] ? " orphan" : "",
            (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_SHADOW_COUNT),
            (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_SHADOW_BYTES));
        at = attr_data(t.a[KLP_SHIM_A_STATE]);
        left = attr_size(t.a[KLP_SHIM_A_STATE]);
        while ((attr = attr_next(&at, &left)))
                if (attr_type(attr) == KLP_SHIM_STATE_A_OWNER)
                        see(" %.*s", (int) attr_size(attr), (const char *) attr_data(attr));
        see("\n");
}

static void dump(uint8_t cmd, answer_fn fn) {
        static Message m;
        int r;

        do {
                seen[0] = '\0';
                dump_interrupted = false;
                message_init(&m, family_id, NLM_F_DUMP, cmd);
                r = request(&m, fn);
                if (r != 0)
                        differ("a dump fails: %s", strerror(r));
        } while (dump_interrupted);
}

/* ---- What the model expects to be told ---- */

static void compare(const char *what, const char *have) {
        if (strcmp(have, seen) != 0)
                differ("%s\n--- the kernel has\n%s--- the model has\n%s---", what, have, seen);
}

static int position_of(const Patch *p) {
        int position = 0;

        for (unsigned i = 0; i < model.n; i++) {
                if (model.stack[i].orphan || model.stack[i].patch->plain)
                        continue;
                if (model.stack[i].patch == p)
                        return position;
                position++;
        }
        return -1;
}

static void check_patches(bool unpatching) {
        static char have[sizeof(seen)];
        unsigned long order = 0;

        dump(KLP_SHIM_CMD_PATCH_GET, on_patch);
        strcpy(have, seen);
        seen[0] = '\0';
        /* In the order of loading. */
        for (;;) {
                Patch *next = NULL;
                unsigned flags = 0;

                for (unsigned i = 0; i < N_PATCHES; i++)
                        if (patches[i].loaded && patches[i].order > order &&
                            (!next || patches[i].order < next->order))
                                next = &patches[i];
                if (!next)
                        break;
                order = next->order;
                if (next->enabled)
                        flags |= KLP_SHIM_PATCH_ENABLED;
                if (has_orphan(next))
                        flags |= KLP_SHIM_PATCH_ORPHAN;
                if (model.change.active && model.change.patch == next)
                        flags |= KLP_SHIM_PATCH_TRANSITION | (unpatching ? KLP_SHIM_PATCH_UNPATCHING : 0);
                see_patch(next->name, flags, next->level, next->cumulative, position_of(next));
                for (unsigned i = 0; i < next->n_states; i++)
                        see("  %u %u %u\n", next->states[i].id, next->states[i].version, next->states[i].flags);
        }
        compare("the dump of patches differs", have);
}

static void check_states(void) {
        static char have[sizeof(seen)];

        dump(KLP_SHIM_CMD_STATE_GET, on_state);
        strcpy(have, seen);
        seen[0] = '\0';
        for (unsigned i = 0; i < model.n; i++) {
                const Slot *slot = &model.stack[i];

                for (unsigned j = 0; j < slot->patch->n_states; j++) {
                        const State *s = &slot->patch->states[j];
                        unsigned n = model.keys[s->id].n;

                        if (!(slot->has & (1U << j)) || holder(s->id, NULL) != slot)
                                continue;
                        see("%u version %u flags %u holder %s%s shadows %u bytes %u owners", s->id, s->version,
                            s->flags, slot->patch->name, slot->orphan ? " orphan" : "", n, s->flags & SHADOW ? n * 8 : 0);
                        for (unsigned k = 0; k < model.n; k++)
                                if (slot_state(&model.stack[k], s->id))
                                        see(" %s", model.stack[k].patch->name);
                        see("\n");
                }
        }
        compare("the dump of states differs", have);
}

static void check_sysfs(void) {
        unsigned position = 0;
        struct dirent *entry;
        DIR *dir;

        for (unsigned i = 0; i < model.n; i++) {
                const Patch *p = model.stack[i].patch;
                int order;

                if (model.stack[i].orphan)
                        continue;
                position++;
                if (sysfs_value(p->name, "enabled") != 1)
                        differ("sysfs doesn't say that %s is enabled", p->name);
                if (sysfs_value(p->name, "transition") != 0)
                        differ("%s is in transition", p->name);
                order = sysfs_value(p->name, "stack_order"); /* 7.2 */
                if (order != -1 && order != (int) position)
                        differ("%s is number %d of the core's stack, not %u", p->name, order, position);
        }
        dir = opendir(SYSFS);
        if (!dir)
                differ("no " SYSFS);
        while ((entry = readdir(dir)))
                if (strncmp(entry->d_name, "klp_", 4) == 0) {
                        bool known = plain.enabled && strcmp(entry->d_name, plain.name) == 0;

                        for (unsigned i = 0; i < N_PATCHES; i++)
                                known = known || (patches[i].enabled && strcmp(patches[i].name, entry->d_name) == 0);
                        if (!known) /* the core removes it from a work item */
                                wait_until(!sysfs_has(entry->d_name), "sysfs has %s", entry->d_name);
                }
        closedir(dir);
}

/* Which code runs. */
static void check_functions(void) {
        const Patch *p = active(false);
        char text[4096];

        if (!read_line("/proc/cmdline", text, sizeof(text)) || strcmp(text, p ? p->name : text) != 0 ||
            (!p && strncmp(text, "klp_test_", 9) == 0))
                differ("/proc/cmdline is \"%.40s\", not %s's", text, p ? p->name : "the kernel");
        if (!target_loaded)
                return;
        p = active(true);
        if (!read_line(parameter_path("klp_test_target", "value"), text, sizeof(text)) ||
            atoi(text) != (p ? (int) p->level : 0))
                differ("klp_test_target_value() is %s, not %s's", text, p ? p->name : "its own");
}

static void check_destroyed(void) {
        char text[32];

        for (unsigned i = 0; i < N_PATCHES; i++)
                if (patches[i].loaded &&
                    (!read_line(parameter_path(patches[i].name, "destroyed"), text, sizeof(text)) ||
                     strtoul(text, NULL, 10) != patches[i].destroyed))
                        differ("%s has destroyed %s shadow variables, not %u", patches[i].name, text,
                               patches[i].destroyed);
}

static void check_all(void) {
        get_info();
        if (transition[0])
                differ("the shim tells a transition of %s", transition);
        check_patches(false);
        check_states();
        check_sysfs();
        check_functions();
        check_destroyed();
        check_trace();
        take_events();
        if (ended.seen && !(ended.unasked && ended.end == KLP_SHIM_END_UNPATCHED))
                differ("an end of %s is told that was not expected", ended.name);
        ended.seen = false; /* what a plain patch has replaced is booked with the dump */
}

#include "shim-walk-ops.h"

int main(int argc, char *argv[]) {
        unsigned long count;

        if (argc != 4)
                die(125, "usage: shim-walk SEED COUNT DIR");
        seed = strtoull(argv[1], NULL, 0);
        random_state = seed * 2654435761ULL + 1;
        count = strtoul(argv[2], NULL, 0);
        modules_dir = argv[3];
        log_stream = open_memstream(&op_log, &log_size);
        if (!log_stream)
                die(125, "open_memstream: %s", strerror(errno));

        printf("seed %llu, %lu operations\n", (unsigned long long) seed, count);
        fflush(stdout);
        shim_load();
        for (step = 1; step <= count; step++) {
                random_operation();
                check_all();
        }
        clean_up();
        printf("as the model predicted: %lu changes completed, %lu reversed, %lu of all stalled, %lu requests refused\n"
               "states: %lu introduced, %lu kept, %lu taken over, %lu exchanged, %lu removed, %lu orphaned\n",
               counts[COMPLETED], counts[REVERSED], counts[STALLED], counts[REFUSED], model.fates[INTRODUCE],
               model.fates[KEEP], model.fates[TAKE_OVER], model.fates[EXCHANGE], model.fates[REMOVE],
               model.fates[ORPHANED]);
        return 0;
}
