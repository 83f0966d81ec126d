/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shimwalk SEED COUNT DIR: COUNT random operations on klp_shim.ko with the patches klp_test_a ... klp_test_e of DIR,
 * each compared with a model of SEMANTICS.md section 2 that was written for this test alone.
 *
 * Operations: load (with random states), unload, enable, enable with a callback that fails, disable through sysfs,
 * the same stalled by a sleeping task and then let go or reversed, a plain patch that comes and goes, a module to be
 * patched that comes and goes.  At the end everything is disabled and removed, and nothing may be left.
 *
 * The model: a stack of entries, bottom first.  An entry is an enabled patch, or a disabled one that stays for its
 * orphaned states.  The holder of an id is the topmost entry that has it.
 *
 * Prints the operation and both views at the first difference, and then ends with status 1.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "shim-nl.h"

#define N_PATCHES 5
#define N_IDS 6
#define MAX_ENTRIES 32
#define SYSFS "/sys/kernel/livepatch"

enum {
        BLOCK = KLP_SHIM_STATE_BLOCK_DISABLE,
        SHADOW = KLP_SHIM_STATE_SHADOW,
        TAKEOVER = KLP_SHIM_STATE_TAKEOVER,
};

typedef struct State {
        bool there;
        uint32_t version, flags;
} State;

typedef struct Patch {
        bool loaded, cumulative, target, enabled;
        State states[N_IDS + 1];
} Patch;

/* has: bit per id. */
typedef struct Entry {
        int patch;
        bool orphan;
        unsigned has;
} Entry;

typedef struct Model {
        Patch patches[N_PATCHES];
        Entry stack[MAX_ENTRIES];
        int n_stack;
        bool shadows[N_IDS + 1]; /* there are variables of that id */
        bool plain, target;
} Model;

static Model model;
static const char *modules_dir;
static uint64_t random_state;
static unsigned long step;
static char doing[768];
static unsigned long counts[16], refused;

static uint32_t rnd(uint32_t n) {
        random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
        return (uint32_t) (random_state >> 33) % n;
}

static const char *patch_name(int p) {
        static const char *const names[] = { "klp_test_a", "klp_test_b", "klp_test_c", "klp_test_d", "klp_test_e" };
        return names[p];
}

static _Noreturn void differ(const char *what) {
        printf("DIFFERS at step %lu: %s\n  operation: %s\n", step, what, doing);
        fflush(stdout);
        exit(1);
}

static void pause_ms(long ms) {
        struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

        nanosleep(&ts, NULL);
}

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

static int read_file(const char *path, char *buffer, size_t size) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n;

        if (fd < 0)
                return -errno;
        n = read(fd, buffer, size - 1);
        close(fd);
        if (n < 0)
                return -errno;
        buffer[n] = '\0';
        return (int) n;
}

static int parameter(int p, const char *name, const char *value) {
        char path[256];

        snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", patch_name(p), name);
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

/* References of a patch that has just been replaced or disabled go a moment later. */
static void rmmod(const char *name) {
        for (int i = 0; i < 1000; i++) {
                if (syscall(SYS_delete_module, name, O_NONBLOCK) == 0)
                        return;
                if (errno != EAGAIN && errno != EBUSY)
                        break;
                pause_ms(i < 100 ? 1 : 10);
        }
        snprintf(doing + strlen(doing), sizeof(doing) - strlen(doing), " (rmmod %s: %s)", name, strerror(errno));
        differ("a module can't be removed");
}

static bool in_sysfs(const char *name) {
        char path[256];
        struct stat st;

        snprintf(path, sizeof(path), SYSFS "/%s", name);
        return stat(path, &st) == 0;
}

static bool in_transition(const char *name) {
        char path[256], text[8];

        snprintf(path, sizeof(path), SYSFS "/%s/transition", name);
        return read_file(path, text, sizeof(text)) > 0 && text[0] == '1';
}

static void wait_gone(const char *name) {
        for (int i = 0; in_sysfs(name); i++) {
                if (i > 4000)
                        differ("a patch stays in sysfs");
                pause_ms(i < 100 ? 1 : 10);
        }
}

static void wait_settled(const char *name) {
        for (int i = 0; in_transition(name); i++) {
                if (i > 4000)
                        differ("a transition doesn't end");
                pause_ms(i < 100 ? 1 : 10);
        }
}

static void write_enabled(const char *name, const char *value) {
        char path[256];
        int r;

        snprintf(path, sizeof(path), SYSFS "/%s/enabled", name);
        r = write_file(path, value);
        if (r != 0) {
                snprintf(doing + strlen(doing), sizeof(doing) - strlen(doing), " (%s: %s)", path, strerror(r));
                differ("sysfs refuses");
        }
}

/* ---- The shim ---- */

static uint64_t generation;

static void on_info(const void *data, size_t size) {
        Attrs t;

        attrs_parse(data, size, &t);
        generation = get_u(&t, KLP_SHIM_A_GENERATION);
}

/* EAGAIN and ESTALE pass by: the last use isn't over, a plain patch's reference has gone. */
static int shim_enable(int p) {
        static Message m;
        int r = 0;

        for (int i = 0; i < 2000; i++) {
                message_init(&m, family_id, NLM_F_ACK, KLP_SHIM_CMD_INFO);
                message_send(&m);
                r = receive(m.header.nlmsg_seq, on_info, false);
                if (r != 0)
                        return r;
                message_init(&m, family_id, NLM_F_ACK, KLP_SHIM_CMD_ENABLE);
                message_attr(&m, KLP_SHIM_A_NAME, patch_name(p), strlen(patch_name(p)) + 1);
                message_attr(&m, KLP_SHIM_A_GENERATION, &generation, sizeof(generation));
                message_send(&m);
                r = receive(m.header.nlmsg_seq, NULL, false);
                if (r != EAGAIN && r != ESTALE)
                        return r;
                pause_ms(i < 100 ? 1 : 10);
        }
        return r;
}

typedef struct Live {
        bool there, orphan, shadows;
        uint32_t version;
        char holder[64];
} Live;

static Live live[N_IDS + 1];

static void on_state(const void *data, size_t size) {
        Attrs t, s;
        uint64_t id;

        attrs_parse(data, size, &t);
        get_nest(&t, KLP_SHIM_A_STATE, &s);
        id = get_u(&s, KLP_SHIM_STATE_A_ID);
        if (id < 1 || id > N_IDS)
                differ("an id that nobody has is live");
        if (live[id].there)
                differ("an id is live twice");
        live[id] = (Live) {
                .there = true,
                .orphan = s.a[KLP_SHIM_STATE_A_ORPHAN],
                .shadows = get_u(&s, KLP_SHIM_STATE_A_SHADOW_COUNT) > 0,
                .version = (uint32_t) get_u(&s, KLP_SHIM_STATE_A_VERSION),
        };
        snprintf(live[id].holder, sizeof(live[id].holder), "%s", get_s(&s, KLP_SHIM_STATE_A_HOLDER));
}

/* ---- The model ---- */

/* Index of the entry that holds id among the lowest n, but for `without`; -1: none. */
static int holder(int id, int n, int without) {
        for (int i = n - 1; i >= 0; i--)
                if (i != without && (model.stack[i].has & (1U << id)))
                        return i;
        return -1;
}

static const State *held(int entry, int id) {
        return &model.patches[model.stack[entry].patch].states[id];
}

static int entry_of(int p) {
        for (int i = 0; i < model.n_stack; i++)
                if (model.stack[i].patch == p && !model.stack[i].orphan)
                        return i;
        return -1;
}

static void remove_entry(int i) {
        memmove(&model.stack[i], &model.stack[i + 1], (size_t) (model.n_stack - i - 1) * sizeof(Entry));
        model.n_stack--;
}

static unsigned all_ids(int p) {
        unsigned has = 0;

        for (int id = 1; id <= N_IDS; id++)
                if (model.patches[p].states[id].there)
                        has |= 1U << id;
        return has;
}

/* What an enable must answer; fail is the id whose callback refuses, or 0. */
static int predict_enable(int p, int fail) {
        const Patch *patch = &model.patches[p];
        bool fails = false;

        if (!patch->loaded)
                return ENOENT;
        if (patch->enabled)
                return EALREADY;
        for (int id = 1; id <= N_IDS; id++) {
                const State *new = &patch->states[id], *old;
                int h = holder(id, model.n_stack, -1);

                if (!new->there)
                        continue;
                if (h < 0) {
                        fails = fails || id == fail;
                        continue;
                }
                old = held(h, id);
                if (old->version == new->version) {
                        if ((old->flags ^ new->flags) & SHADOW)
                                return EINVAL;
                        continue;
                }
                fails = fails || id == fail;
                if (new->version > old->version && (new->flags & TAKEOVER))
                        continue;
                if (!patch->cumulative || ((old->flags | new->flags) & SHADOW))
                        return EINVAL;
        }
        return fails ? EIO : 0;
}

static void apply_enable(int p) {
        Patch *patch = &model.patches[p];
        int keep = 0;

        for (int id = 1; id <= N_IDS; id++) {
                const State *new = &patch->states[id];
                int h = holder(id, model.n_stack, -1);

                if (new->there && (h < 0 || held(h, id)->version != new->version) && (new->flags & SHADOW))
                        model.shadows[id] = true;
                if (!new->there && patch->cumulative)
                        model.shadows[id] = false;
        }
        for (int i = 0; i < model.n_stack; i++) {
                Entry *e = &model.stack[i];

                if (patch->cumulative) {
                        if (!e->orphan)
                                model.patches[e->patch].enabled = false;
                        continue;
                }
                /* Its orphans have a new home. */
                if (e->orphan)
                        e->has &= ~all_ids(p);
                if (!e->orphan || e->has)
                        model.stack[keep++] = *e;
        }
        model.n_stack = keep;
        model.stack[model.n_stack++] = (Entry) { .patch = p, .has = all_ids(p) };
        patch->enabled = true;
        if (patch->cumulative)
                model.plain = false;
}

static void apply_disable(int p) {
        int self = entry_of(p);
        unsigned orphans = 0;

        for (int id = 1; id <= N_IDS; id++) {
                int below;

                if (holder(id, model.n_stack, -1) != self)
                        continue;
                below = holder(id, model.n_stack, self);
                if (below < 0) {
                        if (held(self, id)->flags & BLOCK)
                                orphans |= 1U << id;
                        else
                                model.shadows[id] = false;
                } else if (held(below, id)->version != held(self, id)->version)
                        orphans |= 1U << id;
        }
        model.patches[p].enabled = false;
        if (orphans) {
                model.stack[self].orphan = true;
                model.stack[self].has = orphans;
        } else
                remove_entry(self);
}

static bool has_orphan(int p) {
        for (int i = 0; i < model.n_stack; i++)
                if (model.stack[i].patch == p && model.stack[i].orphan)
                        return true;
        return false;
}

static void compare(void) {
        static Message m;
        char text[512];
        int r;

        memset(live, 0, sizeof(live));
        message_init(&m, family_id, NLM_F_DUMP, KLP_SHIM_CMD_STATE_GET);
        message_send(&m);
        r = receive(m.header.nlmsg_seq, on_state, true);
        if (r != 0)
                differ("the dump of states fails");

        for (int id = 1; id <= N_IDS; id++) {
                int h = holder(id, model.n_stack, -1);
                const Live *l = &live[id];

                if (l->there == (h >= 0) &&
                    (h < 0 || (l->version == held(h, id)->version && l->orphan == model.stack[h].orphan &&
                               l->shadows == model.shadows[id] &&
                               strcmp(l->holder, patch_name(model.stack[h].patch)) == 0)))
                        continue;
                snprintf(text, sizeof(text),
                         "state %d: kernel: %s version %u holder %s orphan %d shadows %d; "
                         "model: %s version %u holder %s orphan %d shadows %d",
                         id, l->there ? "live" : "-", l->version, l->holder, l->orphan, l->shadows,
                         h >= 0 ? "live" : "-", h >= 0 ? held(h, id)->version : 0,
                         h >= 0 ? patch_name(model.stack[h].patch) : "", h >= 0 && model.stack[h].orphan,
                         model.shadows[id]);
                differ(text);
        }
        for (int p = 0; p < N_PATCHES; p++)
                if (in_sysfs(patch_name(p)) != model.patches[p].enabled)
                        differ("sysfs and the model differ about what is enabled");
}

/* ---- Operations ---- */

static void op_load(int p) {
        char args[256] = "", states[192] = "";
        Patch *patch = &model.patches[p];
        int r;

        memset(patch, 0, sizeof(*patch));
        for (int id = 1; id <= N_IDS; id++) {
                State *s = &patch->states[id];
                char one[32];

                if (rnd(2))
                        continue;
                *s = (State) { .there = true, .version = 1 + rnd(3), .flags = rnd(4) ? rnd(4) << 1 : rnd(8) };
                snprintf(one, sizeof(one), "%s%d:%u:%u", states[0] ? "," : "", id, s->version, s->flags);
                strcat(states, one);
        }
        patch->cumulative = rnd(2);
        patch->target = rnd(3) == 0;
        snprintf(args, sizeof(args), "states=%s cumulative=%d target=%d quiet=1", states, patch->cumulative,
                 patch->target);
        snprintf(doing, sizeof(doing), "load %s %s", patch_name(p), args);
        r = insmod(patch_name(p), args);
        if (r != 0)
                differ(strerror(r));
        patch->loaded = true;
}

static void op_unload(int p) {
        snprintf(doing, sizeof(doing), "unload %s", patch_name(p));
        rmmod(patch_name(p));
        model.patches[p].loaded = false;
}

static void wait_replaced(const bool *before) {
        for (int p = 0; p < N_PATCHES; p++)
                if (before[p] && !model.patches[p].enabled)
                        wait_gone(patch_name(p));
        if (!model.plain)
                wait_gone("klp_test_plain");
}

static void note_enabled(bool *ret) {
        for (int p = 0; p < N_PATCHES; p++)
                ret[p] = model.patches[p].enabled;
}

static void expect_error(int have, int want) {
        char text[128];

        if (want != 0)
                refused++;
        if (have == want)
                return;
        snprintf(text, sizeof(text), "the answer is %s, not %s", have ? strerror(have) : "0",
                 want ? strerror(want) : "0");
        differ(text);
}

static void op_enable(int p, int fail) {
        bool before[N_PATCHES];
        char text[16];
        int want = predict_enable(p, fail);

        snprintf(doing, sizeof(doing), "enable %s, failing at %d", patch_name(p), fail);
        snprintf(text, sizeof(text), "%d", fail);
        if (model.patches[p].loaded)
                parameter(p, "fail", text);
        note_enabled(before);
        expect_error(shim_enable(p), want);
        if (model.patches[p].loaded)
                parameter(p, "fail", "0");
        if (want != 0)
                return;
        wait_settled(patch_name(p));
        apply_enable(p);
        wait_replaced(before);
}

static void op_disable(int p) {
        snprintf(doing, sizeof(doing), "disable %s", patch_name(p));
        write_enabled(patch_name(p), "0");
        wait_gone(patch_name(p));
        apply_disable(p);
}

/* A task that sleeps in the topmost patched function; -1: there is none. */
static pid_t stall(int top) {
        char path[64], stack[4096];
        pid_t pid;

        parameter(top, "stall", "1");
        pid = fork();
        if (pid < 0)
                die(125, "fork: %s", strerror(errno));
        if (pid == 0) {
                (void) !read_file("/proc/cmdline", stack, sizeof(stack));
                _exit(0);
        }
        snprintf(path, sizeof(path), "/proc/%d/stack", (int) pid);
        for (int i = 0; i < 2000; i++) {
                if (read_file(path, stack, sizeof(stack)) > 0 && strstr(stack, "klp_cmdline_proc_show"))
                        return pid;
                pause_ms(5);
        }
        differ("no task sleeps in the patched function");
}

static void release(int top, pid_t pid) {
        parameter(top, "stall", "0");
        if (waitpid(pid, NULL, 0) < 0)
                die(125, "waitpid: %s", strerror(errno));
}

static int topmost_enabled(void) {
        if (model.plain) /* its function is on top, or might be */
                return -1;
        for (int i = model.n_stack - 1; i >= 0; i--)
                if (!model.stack[i].orphan)
                        return model.stack[i].patch;
        return -1;
}

static void op_stalled_enable(int p, int other, bool reverse) {
        int top = topmost_enabled(), want = predict_enable(p, 0);
        bool before[N_PATCHES];
        pid_t pid;

        if (top < 0 || want != 0)
                return;
        snprintf(doing, sizeof(doing), "stalled enable %s over %s%s", patch_name(p), patch_name(top),
                 reverse ? ", reversed" : "");
        note_enabled(before);
        pid = stall(top);
        expect_error(shim_enable(p), 0);
        if (!in_transition(patch_name(p)))
                differ("it isn't stalled");
        if (other != p && model.patches[other].loaded && !model.patches[other].enabled)
                expect_error(shim_enable(other), EBUSY);
        if (reverse)
                write_enabled(patch_name(p), "0");
        release(top, pid);
        wait_settled(patch_name(p));
        if (reverse) {
                wait_gone(patch_name(p));
                return;
        }
        apply_enable(p);
        wait_replaced(before);
}

static void op_stalled_disable(bool reverse) {
        int top = topmost_enabled();
        pid_t pid;

        if (top < 0)
                return;
        snprintf(doing, sizeof(doing), "stalled disable %s%s", patch_name(top), reverse ? ", reversed" : "");
        pid = stall(top);
        write_enabled(patch_name(top), "0");
        if (!in_transition(patch_name(top)))
                differ("it isn't stalled");
        if (reverse)
                write_enabled(patch_name(top), "1");
        release(top, pid);
        if (reverse) {
                wait_settled(patch_name(top));
                return;
        }
        wait_gone(patch_name(top));
        apply_disable(top);
}

/* Comes on top of everything; cumulative only to be refused, or over patches without states. */
static void op_plain(void) {
        bool cumulative = rnd(2), before[N_PATCHES], live_states = false;
        struct stat st;
        int r;

        if (stat("/sys/module/klp_test_plain", &st) == 0) {
                snprintf(doing, sizeof(doing), "unload klp_test_plain");
                if (model.plain) {
                        write_enabled("klp_test_plain", "0");
                        wait_gone("klp_test_plain");
                }
                rmmod("klp_test_plain");
                model.plain = false;
                return;
        }
        snprintf(doing, sizeof(doing), "load klp_test_plain replace=%d", cumulative);
        for (int i = 0; i < model.n_stack; i++)
                live_states = live_states || (!model.stack[i].orphan && model.stack[i].has);
        note_enabled(before);
        r = insmod("klp_test_plain", cumulative ? "replace=1" : "");
        expect_error(r, cumulative && live_states ? EINVAL : 0);
        if (r != 0)
                return;
        wait_settled("klp_test_plain");
        model.plain = true;
        if (!cumulative)
                return;
        for (int i = model.n_stack - 1; i >= 0; i--)
                if (!model.stack[i].orphan) {
                        model.patches[model.stack[i].patch].enabled = false;
                        remove_entry(i);
                }
        wait_replaced(before);
}

static void op_target(void) {
        snprintf(doing, sizeof(doing), "%s klp_test_target", model.target ? "unload" : "load");
        if (model.target)
                rmmod("klp_test_target");
        else {
                int r = insmod("klp_test_target", "");

                if (r != 0)
                        differ(strerror(r));
        }
        model.target = !model.target;
}

static void random_step(void) {
        int p = (int) rnd(N_PATCHES), what = (int) rnd(100);
        Patch *patch = &model.patches[p];

        doing[0] = '\0';
        if (!patch->loaded && what < 80) {
                op_load(p);
                counts[0]++;
        } else if (what < 10 && patch->loaded && !patch->enabled && !has_orphan(p)) {
                op_unload(p);
                counts[1]++;
        } else if (what < 55) {
                op_enable(p, rnd(4) ? 0 : 1 + (int) rnd(N_IDS));
                counts[2]++;
        } else if (what < 80 && patch->enabled) {
                op_disable(p);
                counts[3]++;
        } else if (what < 84) {
                op_stalled_enable(p, (int) rnd(N_PATCHES), rnd(2));
                counts[4]++;
        } else if (what < 87) {
                op_stalled_disable(rnd(2));
                counts[5]++;
        } else if (what < 93) {
                op_plain();
                counts[6]++;
        } else {
                op_target();
                counts[7]++;
        }
}

/* Everything goes: orphans by a cumulative patch without states. */
static void clean_up(void) {
        if (model.plain || access("/sys/module/klp_test_plain", F_OK) == 0)
                op_plain();
        if (model.target)
                op_target();
        for (int p = 0; p < N_PATCHES; p++)
                if (model.patches[p].enabled)
                        op_disable(p);
        for (int p = 0; p < N_PATCHES; p++)
                if (model.patches[p].loaded && !has_orphan(p))
                        op_unload(p);
        if (model.n_stack > 0) {
                int p = 0;

                while (model.patches[p].loaded)
                        if (++p == N_PATCHES)
                                differ("every patch has an orphan: no way out");
                memset(&model.patches[p], 0, sizeof(Patch));
                model.patches[p].cumulative = true;
                snprintf(doing, sizeof(doing), "the last replace");
                if (insmod(patch_name(p), "cumulative=1 quiet=1") != 0)
                        differ("it can't be loaded");
                model.patches[p].loaded = true;
                op_enable(p, 0);
                op_disable(p);
                for (p = 0; p < N_PATCHES; p++)
                        if (model.patches[p].loaded)
                                op_unload(p);
        }
        compare();
}

int main(int argc, char *argv[]) {
        static const char *const names[] = { "load", "unload", "enable", "disable", "stalled-enable",
                                             "stalled-disable", "plain", "target" };
        unsigned long n;

        if (argc != 4)
                die(125, "usage: shimwalk SEED COUNT DIR");
        random_state = strtoull(argv[1], NULL, 0) * 2654435761ULL + 1;
        n = strtoul(argv[2], NULL, 0);
        modules_dir = argv[3];
        open_socket();

        for (step = 1; step <= n; step++) {
                random_step();
                compare();
        }
        clean_up();
        printf("%lu operations, %lu of them refused as predicted:", n, refused);
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                printf(" %s %lu", names[i], counts[i]);
        printf("\n");
        return 0;
}
