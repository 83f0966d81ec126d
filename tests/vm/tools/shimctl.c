/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shimctl: speaks the protocol of klp_shim_abi.h, for scenarios.
 *
 *   info                          abi, kernel, generation, seq, transition
 *   generation                    the number alone
 *   patches | states | tasks      dumps, one line per object (parts of a patch joined)
 *   enable NAME [GENERATION]      exit status 0, or the errno; the extended-ack text on stderr
 *   during patches|states COMMAND the same dump, and between its first and its second message the shell's COMMAND;
 *                                 prints how many messages it had, and whether they were marked as inconsistent
 *   events [--until ENDED|COUNT] [--timeout SECONDS] [--ready FILE] [--buffer BYTES]
 *                                 one line per event, until that event has come; FILE is made when listening; LOST and
 *                                 GAP are what a listener sees whose buffer was too small
 *   join                          joins the group and leaves; the exit status says whether that was allowed
 *   time enable NAME | time states   the same, silent, and prints how many nanoseconds it took
 *   raw CMD HEX                   sends the payload (attributes in hex) with command number CMD
 *   fuzz SEED COUNT               sends COUNT malformed and random messages; prints how many got which errno
 *
 * before the verb:
 *   --as-nobody [--cap NUMBER]...   as uid 65534, with these capabilities only
 *   --netns, --userns               in a new network namespace, in a new user namespace with all capabilities there
 *
 * Model: one raw generic netlink socket, no library, so that it runs in an initramfs.  Everything that arrives is
 * checked for its length before it is read.  Exit status: 0, the (positive) errno of the kernel's answer, or 125 for
 * wrong usage and 124 for a timeout.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/capability.h>
#include "shim-nl.h"

static int join_group(void) {
        if (setsockopt(sock, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group_id, sizeof(group_id)) < 0)
                return errno;
        return 0;
}

/* ---- info ---- */

static uint64_t generation;
static bool info_quiet;

static void on_info(const void *data, size_t size) {
        Attrs t;

        attrs_parse(data, size, &t);
        generation = get_u(&t, KLP_SHIM_A_GENERATION);
        if (info_quiet)
                return;
        printf("abi=%llu kernel=%s generation=%llu seq=%llu transition=%s\n",
               (unsigned long long) get_u(&t, KLP_SHIM_A_ABI), get_s(&t, KLP_SHIM_A_KERNEL),
               (unsigned long long) generation, (unsigned long long) get_u(&t, KLP_SHIM_A_SEQ),
               t.a[KLP_SHIM_A_TRANSITION] ? get_s(&t, KLP_SHIM_A_TRANSITION) : "-");
}

static int do_info(bool quiet) {
        static Message m;

        info_quiet = quiet;
        message_init(&m, family_id, NLM_F_ACK, KLP_SHIM_CMD_INFO);
        return request(&m, on_info);
}

/* ---- Dumps ---- */

static void print_flags(uint64_t flags, const char *const *names, size_t n_names) {
        bool first = true;

        printf(" flags=");
        for (size_t i = 0; i < n_names; i++)
                if (flags & (1U << i)) {
                        printf("%s%s", first ? "" : ",", names[i]);
                        first = false;
                }
        if (first)
                putchar('-');
}

static const char *const patch_flags[] = { "enabled", "transition", "unpatching", "forced", "orphan", "retiring" };
static const char *const state_flags[] = { "block-disable", "shadow", "takeover" };

static void on_patch(const void *data, size_t size) {
        static bool open_line;
        const struct nlattr *attr;
        const void *p;
        size_t left;
        Attrs t, patch, inner;

        if (!data) {
                if (open_line)
                        putchar('\n');
                return;
        }
        attrs_parse(data, size, &t);
        get_nest(&t, KLP_SHIM_A_PATCH, &patch);
        if (get_u(&patch, KLP_SHIM_PATCH_A_PART) == 0) {
                if (open_line)
                        putchar('\n');
                printf("%s vendor=%s stream=%s level=%llu cumulative=%s", get_s(&patch, KLP_SHIM_PATCH_A_NAME),
                       get_s(&patch, KLP_SHIM_PATCH_A_VENDOR), get_s(&patch, KLP_SHIM_PATCH_A_STREAM),
                       (unsigned long long) get_u(&patch, KLP_SHIM_PATCH_A_LEVEL),
                       patch.a[KLP_SHIM_PATCH_A_CUMULATIVE] ? "yes" : "no");
                print_flags(get_u(&patch, KLP_SHIM_PATCH_A_FLAGS), patch_flags, 6);
                if (patch.a[KLP_SHIM_PATCH_A_POSITION])
                        printf(" position=%llu", (unsigned long long) get_u(&patch, KLP_SHIM_PATCH_A_POSITION));
        }
        open_line = true;
        if (!t.a[KLP_SHIM_A_PATCH])
                return;
        p = attr_data(t.a[KLP_SHIM_A_PATCH]);
        left = attr_size(t.a[KLP_SHIM_A_PATCH]);
        while ((attr = attr_next(&p, &left))) {
                attrs_parse(attr_data(attr), attr_size(attr), &inner);
                if (attr_type(attr) == KLP_SHIM_PATCH_A_STATE)
                        printf(" state=%llu:%llu:%llu:%s",
                               (unsigned long long) get_u(&inner, KLP_SHIM_STATE_A_ID),
                               (unsigned long long) get_u(&inner, KLP_SHIM_STATE_A_VERSION),
                               (unsigned long long) get_u(&inner, KLP_SHIM_STATE_A_FLAGS),
                               get_s(&inner, KLP_SHIM_STATE_A_NAME));
                else if (attr_type(attr) == KLP_SHIM_PATCH_A_FUNC)
                        printf(" func=%s:%s,%llu", get_s(&inner, KLP_SHIM_FUNC_A_OBJECT),
                               get_s(&inner, KLP_SHIM_FUNC_A_FUNCTION),
                               (unsigned long long) get_u(&inner, KLP_SHIM_FUNC_A_SYMPOS));
        }
}

static void on_state(const void *data, size_t size) {
        const struct nlattr *attr;
        const void *p;
        size_t left;
        Attrs t, s;

        attrs_parse(data, size, &t);
        get_nest(&t, KLP_SHIM_A_STATE, &s);
        printf("%llu version=%llu", (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_ID),
               (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_VERSION));
        print_flags(get_u(&s, KLP_SHIM_STATE_A_FLAGS), state_flags, 3);
        printf(" name=%s holder=%s", get_s(&s, KLP_SHIM_STATE_A_NAME), get_s(&s, KLP_SHIM_STATE_A_HOLDER));
        if (t.a[KLP_SHIM_A_STATE]) {
                p = attr_data(t.a[KLP_SHIM_A_STATE]);
                left = attr_size(t.a[KLP_SHIM_A_STATE]);
                while ((attr = attr_next(&p, &left)))
                        if (attr_type(attr) == KLP_SHIM_STATE_A_OWNER)
                                printf(" owner=%.*s", (int) attr_size(attr), (const char *) attr_data(attr));
        }
        printf("%s shadow=%llu/%llu\n", s.a[KLP_SHIM_STATE_A_ORPHAN] ? " orphan" : "",
               (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_SHADOW_COUNT),
               (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_SHADOW_BYTES));
}

static void on_task(const void *data, size_t size) {
        Attrs t, k;

        attrs_parse(data, size, &t);
        get_nest(&t, KLP_SHIM_A_TASK, &k);
        printf("pid=%llu tid=%llu comm=%s%s\n", (unsigned long long) get_u(&k, KLP_SHIM_TASK_A_PID),
               (unsigned long long) get_u(&k, KLP_SHIM_TASK_A_TID), get_s(&k, KLP_SHIM_TASK_A_COMM),
               k.a[KLP_SHIM_TASK_A_KTHREAD] ? " kthread" : "");
}

static int do_dump(uint8_t cmd, answer_fn fn) {
        static Message m;
        int r;

        message_init(&m, family_id, NLM_F_DUMP, cmd);
        r = request(&m, fn);
        if (dump_interrupted)
                fprintf(stderr, "changed while it was dumped\n");
        return r;
}

static const char *during_command;
static unsigned long during_messages;

static void on_during(const void *data, size_t size) {
        (void) data, (void) size;
        if (during_messages++ == 0 && system(during_command) != 0)
                die(125, "%s: failed", during_command);
}

static int do_during(const char *what, const char *command) {
        static Message m;
        int r;

        during_command = command;
        message_init(&m, family_id, NLM_F_DUMP, strcmp(what, "states") == 0 ? KLP_SHIM_CMD_STATE_GET : KLP_SHIM_CMD_PATCH_GET);
        r = request(&m, on_during);
        printf("%lu messages, %s\n", during_messages, dump_interrupted ? "inconsistent" : "consistent");
        return r;
}

/* ---- enable ---- */

static int do_enable(const char *name, const char *generation_text) {
        static Message m;
        uint64_t want;
        int r;

        if (generation_text)
                want = strtoull(generation_text, NULL, 10);
        else {
                r = do_info(true);
                if (r != 0)
                        return r;
                want = generation;
        }
        message_init(&m, family_id, NLM_F_ACK, KLP_SHIM_CMD_ENABLE);
        message_attr(&m, KLP_SHIM_A_NAME, name, strlen(name) + 1);
        message_attr(&m, KLP_SHIM_A_GENERATION, &want, sizeof(want));
        return request(&m, NULL);
}

/* ---- events ---- */

static const char *const event_names[] = {
        [KLP_SHIM_EVENT_MODULE_LOADED] = "MODULE_LOADED",
        [KLP_SHIM_EVENT_MODULE_UNLOADED] = "MODULE_UNLOADED",
        [KLP_SHIM_EVENT_REGISTERED] = "REGISTERED",
        [KLP_SHIM_EVENT_UNREGISTERED] = "UNREGISTERED",
        [KLP_SHIM_EVENT_PREPARING] = "PREPARING",
        [KLP_SHIM_EVENT_ENDED] = "ENDED",
        [KLP_SHIM_EVENT_STATE_INTRODUCED] = "STATE_INTRODUCED",
        [KLP_SHIM_EVENT_STATE_KEPT] = "STATE_KEPT",
        [KLP_SHIM_EVENT_STATE_TAKEN_OVER] = "STATE_TAKEN_OVER",
        [KLP_SHIM_EVENT_STATE_EXCHANGED] = "STATE_EXCHANGED",
        [KLP_SHIM_EVENT_STATE_REMOVED] = "STATE_REMOVED",
        [KLP_SHIM_EVENT_STATE_ORPHANED] = "STATE_ORPHANED",
        [KLP_SHIM_EVENT_SHADOW_FREED] = "SHADOW_FREED",
};
static const char *const operation_names[] = { "-", "enable", "replace", "disable" };
static const char *const end_names[] = { "-", "patched", "unpatched", "cancelled", "reversed" };

/* Prints one event; sequence numbers and times only with --all, so that transcripts can be compared. */
static const char *print_event(const void *data, size_t size, bool all, uint64_t *ret_seq) {
        uint64_t event, operation, end;
        Attrs t, s;

        attrs_parse(data, size, &t);
        event = get_u(&t, KLP_SHIM_A_EVENT);
        operation = get_u(&t, KLP_SHIM_A_OPERATION);
        end = get_u(&t, KLP_SHIM_A_END);
        *ret_seq = get_u(&t, KLP_SHIM_A_SEQ);
        if (event == 0 || event > KLP_SHIM_EVENT_SHADOW_FREED || operation > 3 || end > 4)
                die(EPROTO, "unknown event");

        if (all)
                printf("seq=%llu generation=%llu time=%llu ", (unsigned long long) *ret_seq,
                       (unsigned long long) get_u(&t, KLP_SHIM_A_GENERATION),
                       (unsigned long long) get_u(&t, KLP_SHIM_A_TIME));
        printf("%s %s", event_names[event], get_s(&t, KLP_SHIM_A_NAME));
        if (operation)
                printf(" %s", operation_names[operation]);
        if (end)
                printf(" %s error=%d", end_names[end], (int) (int32_t) get_u(&t, KLP_SHIM_A_ERROR));
        if (t.a[KLP_SHIM_A_FORCED])
                printf(" forced");
        if (t.a[KLP_SHIM_A_UNASKED])
                printf(" unasked");
        if (t.a[KLP_SHIM_A_STATE]) {
                get_nest(&t, KLP_SHIM_A_STATE, &s);
                printf(" state=%llu", (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_ID));
                if (s.a[KLP_SHIM_STATE_A_VERSION])
                        printf(" version=%llu", (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_VERSION));
                if (s.a[KLP_SHIM_STATE_A_PREV_VERSION])
                        printf(" prev=%llu", (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_PREV_VERSION));
                if (s.a[KLP_SHIM_STATE_A_SHADOW_COUNT])
                        printf(" count=%llu bytes=%llu",
                               (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_SHADOW_COUNT),
                               (unsigned long long) get_u(&s, KLP_SHIM_STATE_A_SHADOW_BYTES));
        }
        putchar('\n');
        fflush(stdout);
        return event_names[event];
}

static int64_t now_ms(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int do_events(char **argv) {
        static uint8_t buffer[BUFFER_SIZE] __attribute__((aligned(8)));
        const char *until = NULL, *ready = NULL;
        uint64_t seq, last_seq = 0;
        int64_t deadline = INT64_MAX;
        unsigned long count = 0;
        bool all = false;
        int r;

        for (; *argv; argv++) {
                if (strcmp(*argv, "--all") == 0)
                        all = true;
                else if (argv[1] && strcmp(*argv, "--until") == 0)
                        until = *++argv;
                else if (argv[1] && strcmp(*argv, "--timeout") == 0)
                        deadline = now_ms() + 1000 * strtol(*++argv, NULL, 10);
                else if (argv[1] && strcmp(*argv, "--ready") == 0)
                        ready = *++argv;
                else if (argv[1] && strcmp(*argv, "--buffer") == 0) {
                        int size = atoi(*++argv);

                        if (setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) < 0)
                                die(errno, "--buffer: %s", strerror(errno));
                }
                else
                        die(125, "events: unknown argument %s", *argv);
        }
        if (until)
                count = strtoul(until, NULL, 10);
        r = join_group();
        if (r != 0)
                die(r, "joining the group: %s", strerror(r));
        if (ready) {
                int fd = open(ready, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

                if (fd < 0)
                        die(errno, "%s: %s", ready, strerror(errno));
                close(fd);
        }

        for (;;) {
                struct pollfd pfd = { .fd = sock, .events = POLLIN };
                int64_t left = deadline == INT64_MAX ? -1 : deadline - now_ms();
                const struct nlmsghdr *h = (void *) buffer;
                ssize_t n;

                if (deadline != INT64_MAX && left <= 0)
                        return 124;
                if (poll(&pfd, 1, left > 60000 ? 60000 : (int) left) <= 0)
                        continue;
                n = recv(sock, buffer, sizeof(buffer), 0);
                if (n < 0 && errno == ENOBUFS) {
                        printf("LOST\n");
                        fflush(stdout);
                        continue;
                }
                if (n < 0)
                        die(errno, "recv: %s", strerror(errno));
                for (size_t rest = n; NLMSG_OK(h, rest); h = NLMSG_NEXT(h, rest)) {
                        const struct genlmsghdr *g = NLMSG_DATA(h);
                        const char *name;

                        if (h->nlmsg_type != family_id || h->nlmsg_len < NLMSG_LENGTH(GENL_HDRLEN) ||
                            g->cmd != KLP_SHIM_CMD_EVENT)
                                continue;
                        name = print_event((const uint8_t *) g + GENL_HDRLEN,
                                           h->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), all, &seq);
                        if (last_seq && seq != last_seq + 1)
                                printf("GAP %llu %llu\n", (unsigned long long) last_seq, (unsigned long long) seq);
                        last_seq = seq;
                        if (until && (strcmp(until, name) == 0 || (count && --count == 0)))
                                return 0;
                }
        }
}

/* ---- Measurements ---- */

static int do_time(const char *what, const char *name) {
        struct timespec start, end;
        static Message m;
        int r;

        r = do_info(true);
        if (r != 0)
                return r;
        if (strcmp(what, "enable") == 0 && name) {
                message_init(&m, family_id, NLM_F_ACK, KLP_SHIM_CMD_ENABLE);
                message_attr(&m, KLP_SHIM_A_NAME, name, strlen(name) + 1);
                message_attr(&m, KLP_SHIM_A_GENERATION, &generation, sizeof(generation));
        } else if (strcmp(what, "states") == 0)
                message_init(&m, family_id, NLM_F_DUMP, KLP_SHIM_CMD_STATE_GET);
        else
                die(125, "usage: time enable NAME | time states");

        clock_gettime(CLOCK_MONOTONIC, &start);
        r = request(&m, NULL);
        clock_gettime(CLOCK_MONOTONIC, &end);
        if (r == 0)
                printf("%lld\n", (long long) (end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec);
        return r;
}

/* ---- Raw and random messages ---- */

static int do_raw(const char *cmd, const char *hex) {
        static Message m;

        message_init(&m, family_id, NLM_F_ACK, strtoul(cmd, NULL, 10));
        for (; hex && hex[0] && hex[1]; hex += 2) {
                char digits[3] = { hex[0], hex[1], 0 };
                uint8_t byte = strtoul(digits, NULL, 16);

                message_append(&m, &byte, 1);
        }
        return request(&m, NULL);
}

static uint64_t random_state;

static uint32_t random_u32(void) {
        random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
        return random_state >> 33;
}

static void random_attrs(Message *m) {
        unsigned n = random_u32() % 6;

        while (n--) {
                uint16_t type = random_u32() % 8 == 0 ? random_u32() : random_u32() % 24;
                uint8_t data[128];
                size_t size = random_u32() % 4 == 0 ? random_u32() % sizeof(data) : (random_u32() % 3) * 4;

                for (size_t i = 0; i < size; i++)
                        data[i] = random_u32();
                if (random_u32() % 4 == 0)
                        type |= NLA_F_NESTED;
                if (random_u32() % 3 == 0)
                        message_attr(m, KLP_SHIM_A_NAME, "klp_test_a", 11);
                /* Near the generation that it started with, so that some of them are right. */
                if (random_u32() % 3 == 0) {
                        uint64_t near = generation + random_u32() % 8;

                        message_attr(m, KLP_SHIM_A_GENERATION, &near, sizeof(near));
                }
                message_attr(m, type, data, size);
        }
}

static void drain(void) {
        static uint8_t buffer[BUFFER_SIZE];

        while (recv(sock, buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
                ;
}

static int do_fuzz(const char *seed, const char *count_text) {
        unsigned long count = strtoul(count_text, NULL, 10), by_errno[256] = {};
        static Message m;
        int r = do_info(true);

        if (r != 0)
                return r;
        random_state = strtoull(seed, NULL, 10);
        for (unsigned long i = 0; i < count; i++) {
                struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
                uint8_t cmd = random_u32() % 16 == 0 ? random_u32() : random_u32() % 8;
                bool dumps = cmd >= KLP_SHIM_CMD_PATCH_GET && cmd <= KLP_SHIM_CMD_TASK_GET;
                uint16_t flags = (random_u32() % 8 == 0) != dumps ? NLM_F_DUMP : NLM_F_ACK;
                size_t length;

                message_init(&m, family_id, flags, cmd);
                random_attrs(&m);
                length = m.header.nlmsg_len;
                /* Lengths that lie, and bytes that changed on the way. */
                switch (random_u32() % 8) {
                case 0:
                        m.header.nlmsg_len = random_u32() % (length + 64);
                        break;
                case 1:
                        for (int j = 0; j < 3; j++)
                                m.bytes[NLMSG_HDRLEN + random_u32() % (length - NLMSG_HDRLEN)] = random_u32();
                        break;
                case 2:
                        length -= random_u32() % (length - NLMSG_LENGTH(GENL_HDRLEN) + 1);
                        m.header.nlmsg_len = length;
                        break;
                }
                if (sendto(sock, m.bytes, length, 0, (struct sockaddr *) &kernel, sizeof(kernel)) < 0)
                        continue;
                /* What the kernel can't even take for a message isn't answered. */
                if (m.header.nlmsg_len < NLMSG_LENGTH(0) || m.header.nlmsg_len > length) {
                        drain();
                        by_errno[255]++;
                        continue;
                }
                r = receive(m.header.nlmsg_seq, NULL, false);
                by_errno[r & 255]++;
                drain();
        }
        for (int i = 0; i < 256; i++)
                if (by_errno[i])
                        printf("%s: %lu\n", i == 255 ? "unanswerable" : i ? strerror(i) : "ok", by_errno[i]);
        return 0;
}

/* ---- Other identities ---- */

static void become_nobody(uint64_t caps) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = {
                { .effective = caps, .permitted = caps },
                { .effective = caps >> 32, .permitted = caps >> 32 },
        };

        if (prctl(PR_SET_KEEPCAPS, 1) < 0 || setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
            setresuid(65534, 65534, 65534) < 0 || syscall(SYS_capset, &header, data) < 0)
                die(125, "can't become nobody: %s", strerror(errno));
}

/* Eats the options before the verb. */
static void identity(int *argc, char ***argv) {
        bool nobody = false;
        uint64_t caps = 0;

        for (; *argc > 1 && strncmp((*argv)[1], "--", 2) == 0; (*argc)--, (*argv)++) {
                const char *option = (*argv)[1];

                if (strcmp(option, "--as-nobody") == 0)
                        nobody = true;
                else if (strcmp(option, "--cap") == 0 && *argc > 2) {
                        caps |= 1ULL << (strtoul((*argv)[2], NULL, 10) & 63);
                        (*argc)--, (*argv)++;
                } else if (strcmp(option, "--netns") == 0) {
                        if (unshare(CLONE_NEWNET) < 0)
                                die(125, "unshare: %s", strerror(errno));
                } else if (strcmp(option, "--userns") == 0) {
                        if (unshare(CLONE_NEWUSER) < 0)
                                die(125, "unshare: %s", strerror(errno));
                } else
                        die(125, "unknown option %s", option);
        }
        if (nobody)
                become_nobody(caps);
}

int main(int argc, char *argv[]) {
        const char *verb;
        int r;

        identity(&argc, &argv);
        verb = argc > 1 ? argv[1] : "";
        open_socket();
        if (strcmp(verb, "info") == 0)
                r = do_info(false);
        else if (strcmp(verb, "generation") == 0) {
                r = do_info(true);
                if (r == 0)
                        printf("%llu\n", (unsigned long long) generation);
        } else if (strcmp(verb, "patches") == 0 || strcmp(verb, "dump-patches") == 0) {
                r = do_dump(KLP_SHIM_CMD_PATCH_GET, on_patch);
                on_patch(NULL, 0);
        } else if (strcmp(verb, "states") == 0 || strcmp(verb, "dump-states") == 0)
                r = do_dump(KLP_SHIM_CMD_STATE_GET, on_state);
        else if (strcmp(verb, "tasks") == 0)
                r = do_dump(KLP_SHIM_CMD_TASK_GET, on_task);
        else if (strcmp(verb, "enable") == 0 && (argc == 3 || argc == 4))
                r = do_enable(argv[2], argv[3]);
        else if (strcmp(verb, "during") == 0 && argc == 4)
                r = do_during(argv[2], argv[3]);
        else if (strcmp(verb, "events") == 0)
                r = do_events(argv + 2);
        else if (strcmp(verb, "join") == 0) {
                r = join_group();
                if (r != 0)
                        fprintf(stderr, "%s\n", strerror(r));
        } else if (strcmp(verb, "time") == 0 && (argc == 3 || argc == 4))
                r = do_time(argv[2], argv[3]);
        else if (strcmp(verb, "raw") == 0 && (argc == 3 || argc == 4))
                r = do_raw(argv[2], argv[3]);
        else if (strcmp(verb, "fuzz") == 0 && argc == 4)
                r = do_fuzz(argv[2], argv[3]);
        else
                die(125, "usage: shimctl info|generation|patches|states|tasks|enable NAME [GENERATION]|"
                         "during patches|states COMMAND|events [--until E] [--timeout S] [--ready FILE] [--buffer N] [--all]|join|time enable NAME|time states|"
                         "raw CMD HEX|fuzz SEED COUNT");
        return r;
}
