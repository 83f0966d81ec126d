/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The operations of shim-walk, and the dice; a part of shim-walk.c.
 *
 * Each operation notes what it does, asks the model, does it, compares the answer. What a sleeping task stalls is
 * looked at, disturbed and perhaps turned around before it is let go.
 */
#ifndef SHIM_WALK_OPS_H
#define SHIM_WALK_OPS_H

/* ---- Modules ---- */

static void shim_load(void) {
        int r = insmod("klp_shim", "");

        if (r != 0)
                die(125, "klp_shim.ko: %s", strerror(r));
        open_socket();
        watch_open();
        if (kmsg < 0) {
                kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
                if (kmsg < 0 || lseek(kmsg, 0, SEEK_END) < 0)
                        die(125, "/dev/kmsg: %s", strerror(errno));
        }
}

static void op_shim(void) {
        bool used = false;

        for (unsigned i = 0; i < N_PATCHES; i++)
                used = used || patches[i].loaded;
        note("remove the shim%s\n", used ? ", in use" : " and load it again");
        if (used) {
                expect_error("rmmod klp_shim", rmmod("klp_shim"), EAGAIN);
                return;
        }
        close(event_sock);
        close(sock);
        rmmod_soon("klp_shim");
        shim_load();
}

/* Ids in any order; most of them keep to their kind, so that keeping and taking over are common. */
static void random_states(Patch *p, char *ret_text, size_t size) {
        unsigned id = rnd(N_IDS), n = p == eraser ? 0 : rnd(MAX_STATES + 1);

        p->n_states = 0;
        ret_text[0] = '\0';
        for (; p->n_states < n; p->n_states++) {
                State *s = &p->states[p->n_states];
                size_t used = strlen(ret_text);

                id = (id + 1 + 4 * rnd(2)) % N_IDS; /* steps of 1 or -1 */
                for (unsigned i = 0; i < p->n_states; i++)
                        if (p->states[i].id == id + 1) {
                                id = (id + 1) % N_IDS;
                                i = -1;
                        }
                *s = (State) { .id = id + 1, .version = 1 + rnd(3) };
                if (chance(id < 2 ? 85 : 10))
                        s->flags |= SHADOW;
                if (chance(60))
                        s->flags |= TAKEOVER;
                if (chance(12))
                        s->flags |= BLOCK;
                snprintf(ret_text + used, size - used, "%s%u:%u:%u", used ? "," : "", s->id, s->version, s->flags);
        }
}

static void op_load(Patch *p) {
        char states[128], args[256], path[128], text[32];
        int r;

        random_states(p, states, sizeof(states));
        p->cumulative = p == eraser || chance(40);
        p->vmlinux = chance(80);
        p->target = chance(50);
        p->level = 1 + rnd(9);
        p->fail = 0;
        p->objfail = false;
        p->destroyed = 0;
        snprintf(args, sizeof(args), "states=%s cumulative=%d level=%u vmlinux=%d target=%d", states, p->cumulative,
                 p->level, p->vmlinux, p->target);
        note("load %s %s\n", p->name, args);
        r = insmod(p->name, args);
        if (r != 0)
                differ("%s can't be loaded: %s", p->name, strerror(r));
        snprintf(path, sizeof(path), "/sys/module/%s/sections/.bss", p->name);
        if (!read_line(path, text, sizeof(text)) || strtoull(text, NULL, 16) == 0)
                die(125, "%s can't be read", path);
        p->base = strtoull(text, NULL, 16);
        p->loaded = true;
        p->order = ++n_loads;
}

static void op_load_bad(Patch *p) {
        static const char *const bad[] = { "states=1:1:0,2:1:0,1:2:0", "states=1:1:8", "states=1:1:1,7740685414803466605:1:0",
                                           "states= vendor=a/b", "states=1:1" };
        const char *args = bad[rnd(sizeof(bad) / sizeof(bad[0]))];

        note("load %s %s\n", p->name, args);
        expect_error("registering it", insmod(p->name, args), EINVAL);
}

static void op_unload(Patch *p) {
        note("unload %s\n", p->name);
        if (p->enabled || has_orphan(p)) {
                expect_error("unloading what is in use", rmmod(p->name), EAGAIN);
                return;
        }
        rmmod_soon(p->name);
        p->loaded = false;
}

static void op_parameters(Patch *p) {
        char text[16];

        p->fail = p->n_states && chance(50) ? p->states[rnd(p->n_states)].id : 0;
        p->objfail = chance(10);
        note("%s: state %u fails%s\n", p->name, p->fail, p->objfail ? ", objects fail" : "");
        snprintf(text, sizeof(text), "%u", p->fail);
        set_parameter(p->name, "fail", text);
        set_parameter(p->name, "objfail", p->objfail ? "1" : "0");
}

/* A callback of a patch for its object can refuse the module. */
static void op_target(void) {
        bool refused = false;

        note("%s klp_test_target\n", target_loaded ? "unload" : "load");
        if (target_loaded) {
                rmmod_soon("klp_test_target");
                target_loaded = false;
                return;
        }
        for (unsigned i = 0; i < N_PATCHES; i++)
                refused = refused || (patches[i].enabled && patches[i].target && patches[i].objfail);
        expect_error("loading klp_test_target", insmod("klp_test_target", ""), refused ? EIO : 0);
        target_loaded = !refused;
}

static void op_plain(void) {
        bool replace, refused = false;

        if (plain.enabled) {
                note("disable %s\n", plain.name);
                expect_error("disabling it", write_enabled(plain.name, "0"), 0);
                wait_until(!sysfs_has(plain.name), "%s stays in sysfs", plain.name);
                drop_slot(enabled_slot(&plain));
                plain.enabled = false;
                return;
        }
        if (plain.loaded) {
                note("unload %s\n", plain.name);
                rmmod_soon(plain.name);
                plain.loaded = false;
                return;
        }

        replace = chance(50);
        for (unsigned i = 0; i < model.n; i++)
                refused = refused || (replace && !model.stack[i].orphan && model.stack[i].patch->n_states);
        note("load %s replace=%d\n", plain.name, replace);
        expect_error("loading it", insmod(plain.name, replace ? "replace=1" : ""), refused ? EINVAL : 0);
        if (refused)
                return;
        wait_until(sysfs_value(plain.name, "transition") == 0, "the transition of %s doesn't end", plain.name);
        for (unsigned i = model.n; replace && i > 0; i--)
                if (!model.stack[i - 1].orphan) {
                        model.stack[i - 1].patch->enabled = false;
                        drop_slot(&model.stack[i - 1]);
                }
        push_slot(&plain);
        plain.loaded = plain.enabled = true;
}

/* ---- Changes ---- */

static unsigned operation_of(const Patch *p, bool disable) {
        return disable ? KLP_SHIM_OP_DISABLE : p->cumulative ? KLP_SHIM_OP_REPLACE : KLP_SHIM_OP_ENABLE;
}

/* Asks for the change; true: its transition has begun. */
static bool begin(Patch *p, bool disable) {
        int expected;

        note("%s %s\n", disable ? "disable" : "enable", p->name);
        if (disable) {
                (void) model_begin(p, true);
                expect_error("disabling it", write_enabled(p->name, "0"), 0);
                return true;
        }
        if (p->objfail && (p->vmlinux || (p->target && target_loaded))) {
                expect_error("enabling it, objects fail", enable_now(p), EIO);
                return false;
        }
        expected = model_begin(p, false);
        expect_error("enabling it", enable_now(p), expected);
        /* Where callbacks have run the end is told. */
        if (expected == EIO)
                wait_ended(p, operation_of(p, false), KLP_SHIM_END_CANCELLED, EIO);
        return expected == 0;
}

/* goes_on: it was not reversed. */
static void end(Patch *p, bool disable, bool goes_on) {
        unsigned how = !goes_on ? KLP_SHIM_END_REVERSED : disable ? KLP_SHIM_END_UNPATCHED : KLP_SHIM_END_PATCHED;

        wait_ended(p, operation_of(p, disable), how, 0);
        counts[goes_on ? COMPLETED : REVERSED]++;
        if (goes_on)
                model_finish();
        else
                model_back();
}

static void op_change(Patch *p) {
        bool disable = p->enabled;

        if (begin(p, disable))
                end(p, disable, true);
}

static void op_refused(Patch *p) {
        int r;

        switch (rnd(3)) {
        case 0:
                note("enable of what isn't there\n");
                get_info();
                expect_error("enabling nothing", send_enable("klp_test_nothing", generation), ENOENT);
                break;
        case 1:
                note("enable %s as it is\n", p->name);
                if (p->loaded && !p->enabled)
                        return;
                get_info();
                expect_error("enabling it", send_enable(p->name, generation), p->loaded ? EALREADY : ENOENT);
                break;
        case 2:
                note("enable %s, stale\n", p->name);
                if (!p->loaded || p->enabled)
                        return;
                wait_until((get_info(), r = send_enable(p->name, generation - 1)) != EAGAIN, "%s: its last use is never over",
                           p->name);
                expect_error("enabling it", r, ESTALE);
                break;
        }
}

/* ---- Stalled changes ---- */

static bool sleeps(void) {
        char path[64], stack[4096] = "";
        ssize_t n;
        int fd;

        snprintf(path, sizeof(path), "/proc/%d/stack", (int) sleeper);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        n = read(fd, stack, sizeof(stack) - 1);
        close(fd);
        return n > 0 && strstr(stack, sleeps_in ? "klp_cmdline_proc_show" : "klp_test_target_sleep");
}

/* A task that sleeps in a function of p, or of klp_test_target itself. */
static void sleeper_start(Patch *p) {
        char text[4096];

        sleeps_in = p;
        if (p)
                set_parameter(p->name, "stall", "1");
        fflush(stdout);
        sleeper = fork();
        if (sleeper < 0)
                die(125, "fork: %s", strerror(errno));
        if (sleeper == 0) {
                if (p)
                        (void) read_line("/proc/cmdline", text, sizeof(text));
                else
                        (void) write_file(parameter_path("klp_test_target", "sleep"), "1");
                _exit(0);
        }
        wait_until(sleeps(), "no task sleeps in a function of %s", p ? p->name : "klp_test_target");
}

static void sleeper_end(void) {
        if (sleeps_in)
                set_parameter(sleeps_in->name, "stall", "0");
        else
                set_parameter("klp_test_target", "release", "1");
        wait_until(waitpid(sleeper, NULL, WNOHANG) == sleeper, "the task sleeps on");
        sleeper = -1;
}

static bool sleeper_listed;

static void on_task(const void *data, size_t size) {
        Attrs t, k;

        attrs_parse(data, size, &t);
        get_nest(&t, KLP_SHIM_A_TASK, &k);
        if (get_u(&k, KLP_SHIM_TASK_A_PID) == (uint64_t) sleeper && get_u(&k, KLP_SHIM_TASK_A_TID) == (uint64_t) sleeper)
                sleeper_listed = true;
}

static void check_stalled(const Patch *p, bool unpatching) {
        if (sysfs_value(p->name, "transition") != 1)
                differ("%s isn't stalled", p->name);
        if (sysfs_value(p->name, "enabled") != !unpatching)
                differ("sysfs has %s going the wrong way", p->name);
        get_info();
        if (strcmp(transition, p->name) != 0)
                differ("INFO tells a transition of \"%s\", not of %s", transition, p->name);
        check_patches(unpatching);
        check_states();
        sleeper_listed = false;
        dump(KLP_SHIM_CMD_TASK_GET, on_task);
        if (!sleeper_listed)
                differ("the task in the way isn't listed");
}

/* Something else while p is in transition. */
static void disturb(Patch *p) {
        Patch *other = &patches[rnd(N_PATCHES)];

        switch (rnd(5)) {
        case 0:
                if (!other->loaded || other == p)
                        return;
                note(" enable %s meanwhile\n", other->name);
                expect_error("enabling it", enable_now(other), other->enabled ? EALREADY : EBUSY);
                break;
        case 1:
                if (!other->enabled || other == p)
                        return;
                note(" disable %s meanwhile\n", other->name);
                expect_error("disabling it", write_enabled(other->name, "0"), EBUSY);
                break;
        case 2:
                if (plain.loaded)
                        return;
                note(" load %s meanwhile\n", plain.name);
                expect_error("loading it", insmod(plain.name, ""), EBUSY);
                break;
        case 3:
                note(" meanwhile: ");
                if (!other->loaded)
                        op_load(other);
                else
                        op_unload(other);
                break;
        case 4:
                if (!sleeps_in)
                        return;
                note(" meanwhile: ");
                op_target();
                break;
        }
}

/* What would stall, by where the task sleeps: in p's code that goes or gets company, in the target's that is redirected. */
static bool stalls(const Patch *p) {
        if (!sleeps_in)
                return !p->enabled && p->target;
        return p->enabled ? p == sleeps_in : p->vmlinux || p->cumulative;
}

static void op_stalled(Patch *p) {
        Patch *in = active(false);
        bool enabled, disable = p->enabled;

        if (target_loaded && !active(true) && chance(40))
                in = NULL;
        else if (!in || in->plain)
                return;
        sleeps_in = in;
        if (!stalls(p))
                return;

        note("stalled in %s: ", in ? in->name : "klp_test_target");
        sleeper_start(in);
        if (!begin(p, disable)) {
                sleeper_end();
                return;
        }
        counts[STALLED]++;
        enabled = !disable;
        check_stalled(p, !enabled);
        disturb(p);
        check_stalled(p, !enabled);
        if (chance(60)) {
                note(" turn %s around\n", p->name);
                expect_error("writing what it says", write_enabled(p->name, enabled ? "1" : "0"), EINVAL);
                expect_error("reversing it", write_enabled(p->name, enabled ? "0" : "1"), 0);
                /* The sleeper is where it should be for that: it may end at any moment, so nothing is looked at. */
                enabled = !enabled;
        }
        sleeper_end();
        end(p, disable, enabled != disable);
}

/* ---- The dice ---- */

static void random_operation(void) {
        Patch *p = &patches[rnd(N_PATCHES)];
        unsigned what = rnd(100);

        if (!p->loaded && what < 85) {
                if (chance(10))
                        op_load_bad(p);
                else
                        op_load(p);
        } else if (what < 50 && p->loaded)
                op_change(p);
        else if (what < 62 && p->loaded)
                op_stalled(p);
        else if (what < 72 && p->loaded)
                op_unload(p);
        else if (what < 82 && p->loaded)
                op_parameters(p);
        else if (what < 88)
                op_target();
        else if (what < 93)
                op_plain();
        else if (what < 98)
                op_refused(p);
        else
                op_shim();
}

/* Everything goes; the last orphans with a cumulative patch that has no states. */
static void clean_up(void) {
        note("the end\n");
        while (plain.loaded)
                op_plain();
        for (unsigned i = 0; i < N_PATCHES; i++)
                if (patches[i].enabled)
                        op_change(&patches[i]);
        if (model.n > 0) {
                if (!eraser->loaded)
                        op_load(eraser);
                eraser->objfail = false;
                set_parameter(eraser->name, "objfail", "0");
                op_change(eraser);
                op_change(eraser);
        }
        check_all();
        for (unsigned i = 0; i < N_PATCHES; i++)
                if (patches[i].loaded)
                        op_unload(&patches[i]);
        if (target_loaded)
                op_target();
        check_all();
        for (unsigned id = 1; id <= N_IDS; id++)
                if (model.keys[id].n)
                        differ("shadow variables of state %u are left", id);
        close(event_sock);
        close(sock);
        rmmod_soon("klp_shim");
}

#endif
