/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klp-predict: which callbacks of states the kernel will make, said before it makes them.
 *
 *   klp-predict PATCHES STATES [--plain NAME=ID:VERSION,...]... enable|disable NAME OUTCOME
 *
 * PATCHES and STATES are files with what `shimctl patches` and `shimctl states` print: the inventory before the
 * change.  Plain patches are unknown to the shim: those with states are named with --plain, the bottom first, and are
 * taken to stand below the managed ones.  OUTCOME is
 *
 *   complete        the transition completes
 *   prepare         the transition begins, and is not over yet
 *   reverse         it begins and is reversed, or the core gives the enable up after the hook
 *   fail ID         pre_patch or pre_takeover of that state returns an error
 *   refused         the shim refuses: it must be a change that SEMANTICS.md section 2 calls unsafe
 *
 * One line per call, in order, as the test patches trace them: "PATCH STATE CALLBACK", takeover callbacks with
 * " from VERSION".  Exit status 0, 3 if the outcome can't be (no such state to fail; a refusal of what is safe, or the
 * other way round), 125 for wrong usage or input.
 *
 * Model: fates and calls come from shim/klp_shim_diff.c itself, the file that klp_shim.ko and the planner are made of,
 * included here unchanged.  What this program adds is what surrounds it in the kernel: the stack before the change,
 * orphans, and the states that stay behind as orphans.  An orphan holds its state, so it stands above whoever else has
 * it: orphans are put on top, which is exact but for the order among several that one replace removes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "klp_shim_diff.c"

#define MAX_PATCHES 256
#define MAX_STATES 4096

typedef struct Patch {
        char name[KLP_SHIM_NAME_LEN];
        bool cumulative;
        long position; /* -1: not enabled */
        struct klp_diff_state states[MAX_STATES];
        struct klp_diff_patch diff;
} Patch;

static Patch *patches[MAX_PATCHES];
static size_t n_patches;
static Patch *stack[MAX_PATCHES + 1];
static struct klp_diff_patch stack_diff[MAX_PATCHES];
static u32 n_stack;

static _Noreturn __attribute__((format(printf, 2, 3))) void die(int status, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        fputs("klp-predict: ", stderr);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fputc('\n', stderr);
        exit(status);
}

/* ---- Input ---- */

static uint64_t number(const char **p, char end, const char *what) {
        char *rest;
        uint64_t value;

        errno = 0;
        value = strtoull(*p, &rest, 10);
        if (errno != 0 || rest == *p || (end && *rest != end))
                die(125, "not a number: %s", what);
        *p = end ? rest + 1 : rest;
        return value;
}

static Patch *patch_new(const char *name, bool managed) {
        Patch *patch;

        if (n_patches >= MAX_PATCHES || strlen(name) >= sizeof(patch->name))
                die(125, "too many patches, or too long a name: %s", name);
        patch = calloc(1, sizeof(*patch));
        if (!patch)
                die(125, "out of memory");
        strcpy(patch->name, name);
        patch->position = -1;
        patch->diff.states = patch->states;
        patch->diff.managed = managed;
        patches[n_patches++] = patch;
        return patch;
}

static void add_state(Patch *patch, uint64_t id, uint64_t version, uint64_t flags) {
        if (patch->diff.n_states >= MAX_STATES)
                die(125, "too many states: %s", patch->name);
        patch->states[patch->diff.n_states++] = (struct klp_diff_state) { .id = id, .version = version, .flags = flags };
}

static Patch *find(const char *name) {
        for (size_t i = 0; i < n_patches; i++)
                if (strcmp(patches[i]->name, name) == 0)
                        return patches[i];
        return NULL;
}

static char *value_of(char *word, const char *key) {
        size_t n = strlen(key);

        return strncmp(word, key, n) == 0 ? word + n : NULL;
}

/* "NAME vendor=... cumulative=yes flags=enabled position=0 state=ID:VERSION:FLAGS:NAME ... func=..." */
static void read_patch(char *line) {
        char *save = NULL, *word = strtok_r(line, " \n", &save), *value;
        Patch *patch;

        if (!word)
                return;
        patch = patch_new(word, true);
        while ((word = strtok_r(NULL, " \n", &save))) {
                const char *p;

                if ((value = value_of(word, "cumulative=")))
                        patch->cumulative = strcmp(value, "yes") == 0;
                else if ((value = value_of(word, "position="))) {
                        p = value;
                        patch->position = (long) number(&p, 0, word);
                } else if ((value = value_of(word, "state="))) {
                        uint64_t id, version;

                        p = value;
                        id = number(&p, ':', word);
                        version = number(&p, ':', word);
                        add_state(patch, id, version, number(&p, ':', word));
                }
        }
}

/* "ID version=... holder=NAME ... orphan ...": an orphan goes on the stack as a patch with just these states. */
static void read_orphan(char *line) {
        char *save = NULL, *word = strtok_r(line, " \n", &save), *value;
        const Patch *owner = NULL;
        const char *p = word;
        bool orphan = false;
        Patch *copy = NULL;
        uint64_t id;

        if (!word)
                return;
        id = number(&p, 0, word);
        while ((word = strtok_r(NULL, " \n", &save)))
                if ((value = value_of(word, "holder=")))
                        owner = find(value);
                else if (strcmp(word, "orphan") == 0)
                        orphan = true;
        if (!orphan)
                return;
        if (!owner)
                die(125, "the holder of orphan %" PRIu64 " is not among the patches", id);
        for (u32 i = 0; i < n_stack; i++)
                if (stack[i] != owner && strcmp(stack[i]->name, owner->name) == 0)
                        copy = stack[i];
        if (!copy) {
                copy = patch_new(owner->name, true);
                stack[n_stack++] = copy;
        }
        for (u32 i = 0; i < owner->diff.n_states; i++)
                if (owner->states[i].id == id)
                        add_state(copy, id, owner->states[i].version, owner->states[i].flags);
}

static void read_lines(const char *path, void (*read_line)(char *line)) {
        FILE *f = fopen(path, "re");
        char *line = NULL;
        size_t size = 0;

        if (!f)
                die(125, "%s: %s", path, strerror(errno));
        while (getline(&line, &size, f) >= 0)
                read_line(line);
        free(line);
        fclose(f);
}

static void read_plain(char *text) {
        char *states = strchr(text, '='), *save = NULL;
        Patch *patch;

        if (!states)
                die(125, "--plain NAME=ID:VERSION,...");
        *states++ = '\0';
        patch = patch_new(text, false);
        for (char *word = strtok_r(states, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
                const char *p = word;
                uint64_t id = number(&p, ':', word);

                add_state(patch, id, number(&p, 0, word), 0);
        }
        stack[n_stack++] = patch;
}

/* Enabled patches by their position; positions have no gaps. */
static void make_stack(void) {
        size_t n = n_patches;

        for (long position = 0;; position++) {
                Patch *patch = NULL;

                for (size_t i = 0; i < n; i++)
                        if (patches[i]->position == position)
                                patch = patches[i];
                if (!patch)
                        return;
                stack[n_stack++] = patch;
        }
}

/* ---- Prediction ---- */

static struct klp_diff_entry *entries, *scratch;
static struct klp_diff_call *calls;
static u32 n_entries;

static const struct klp_diff_state *state_of(u32 patch, u32 state) {
        return &stack[patch]->states[state];
}

/* SEMANTICS.md section 3, behind our back: what must not go this way stays as an orphan, and nobody is called. */
static void drop_orphans(u32 disabled) {
        u32 out = 0;

        for (u32 i = 0; i < n_entries; i++) {
                const struct klp_diff_entry *e = &entries[i];

                if (e->from_patch == disabled && (e->fate == KLP_DIFF_REMOVE || e->fate == KLP_DIFF_EXCHANGE) &&
                    (e->unsafe || (state_of(e->from_patch, e->from_state)->flags & KLP_SHIM_STATE_BLOCK_DISABLE)))
                        continue;
                entries[out++] = entries[i];
        }
        n_entries = out;
}

/* Section 2: an unsafe exchange, or a plain patch's state that would have to be undone by its own code. */
static bool is_refused(void) {
        for (u32 i = 0; i < n_entries; i++) {
                const struct klp_diff_entry *e = &entries[i];
                bool goes = e->fate == KLP_DIFF_REMOVE || e->fate == KLP_DIFF_EXCHANGE;

                if (e->unsafe || (goes && !stack[e->from_patch]->diff.managed))
                        return true;
        }
        return false;
}

static u32 make_calls(const struct klp_diff_change *change, enum klp_diff_phase phase, u32 failed) {
        return klp_diff_calls(change, entries, n_entries, phase, failed, calls);
}

static void print_calls(u32 n) {
        for (u32 i = 0; i < n; i++) {
                const struct klp_diff_call *call = &calls[i];
                const struct klp_diff_entry *e = &entries[call->entry];

                printf("%s %llu %s", stack[call->patch]->name,
                       (unsigned long long) state_of(call->patch, call->state)->id,
                       klp_diff_callback_name(call->callback));
                if (call->callback == KLP_DIFF_PRE_TAKEOVER || call->callback == KLP_DIFF_POST_TAKEOVER ||
                    call->callback == KLP_DIFF_CANCEL_TAKEOVER)
                        printf(" from %u", state_of(e->from_patch, e->from_state)->version);
                putchar('\n');
        }
}

static void predict_failure(const struct klp_diff_change *change, uint64_t id) {
        u32 n = make_calls(change, KLP_DIFF_PREPARE, 0);

        for (u32 i = 0; i < n; i++)
                if (state_of(calls[i].patch, calls[i].state)->id == id &&
                    (calls[i].callback == KLP_DIFF_PRE_PATCH || calls[i].callback == KLP_DIFF_PRE_TAKEOVER)) {
                        print_calls(i + 1);
                        print_calls(make_calls(change, KLP_DIFF_UNDO, i));
                        return;
                }
        die(3, "nothing asks state %" PRIu64 " in this change", id);
}

static void predict(const struct klp_diff_change *change, const char *outcome, const char *argument) {
        if (is_refused() != (strcmp(outcome, "refused") == 0) && change->op != KLP_DIFF_DISABLE)
                die(3, "%s", is_refused() ? "the shim refuses this change" : "nothing here is to be refused");
        if (strcmp(outcome, "refused") == 0)
                return;
        if (strcmp(outcome, "fail") == 0) {
                predict_failure(change, number(&argument, 0, argument));
                return;
        }
        print_calls(make_calls(change, KLP_DIFF_PREPARE, 0));
        if (strcmp(outcome, "complete") == 0)
                print_calls(make_calls(change, KLP_DIFF_COMPLETE, 0));
        else if (strcmp(outcome, "reverse") == 0)
                print_calls(make_calls(change, KLP_DIFF_REVERSE, 0));
        else if (strcmp(outcome, "prepare") != 0)
                die(125, "unknown outcome %s", outcome);
}

static void begin(struct klp_diff_change *change, const char *verb, Patch *patch) {
        u32 room;

        for (u32 i = 0; i < n_stack; i++)
                stack_diff[i] = stack[i]->diff;
        change->stack = stack_diff;
        change->n_stack = n_stack;
        if (strcmp(verb, "enable") == 0) {
                if (patch->position >= 0)
                        die(3, "%s is enabled", patch->name);
                change->op = patch->cumulative ? KLP_DIFF_REPLACE : KLP_DIFF_ENABLE;
                change->new_patch = &patch->diff;
                stack[n_stack] = patch;
        } else if (strcmp(verb, "disable") == 0) {
                change->op = KLP_DIFF_DISABLE;
                for (change->disabled = 0; change->disabled < n_stack; change->disabled++)
                        if (stack[change->disabled] == patch)
                                break;
                if (change->disabled == n_stack)
                        die(3, "%s is not enabled", patch->name);
        } else
                die(125, "unknown change %s", verb);

        room = klp_diff_max_entries(change) + 1;
        entries = calloc(room, sizeof(*entries));
        scratch = calloc(room, sizeof(*scratch));
        calls = calloc(2 * (size_t) room, sizeof(*calls));
        if (!entries || !scratch || !calls)
                die(125, "out of memory");
        n_entries = klp_diff_fates(change, entries, scratch);
        if (change->op == KLP_DIFF_DISABLE)
                drop_orphans(change->disabled);
}

int main(int argc, char *argv[]) {
        struct klp_diff_change change = {};
        char **arg = argv + 3, *const *end = argv + argc;
        Patch *patch;

        if (argc < 6)
                die(125, "usage: klp-predict PATCHES STATES [--plain NAME=ID:VERSION,...]... enable|disable NAME OUTCOME");
        read_lines(argv[1], read_patch);
        for (; arg + 1 < end && strcmp(*arg, "--plain") == 0; arg += 2)
                read_plain(arg[1]);
        make_stack();
        read_lines(argv[2], read_orphan);
        if (end - arg < 3 || (strcmp(arg[2], "fail") == 0) != (end - arg == 4))
                die(125, "a change, a patch and an outcome are needed");
        patch = find(arg[1]);
        if (!patch)
                die(3, "no patch %s is registered", arg[1]);
        begin(&change, arg[0], patch);
        predict(&change, arg[2], arg[3]);
        return 0;
}
