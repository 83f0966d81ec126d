/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See inspect-sandbox.h. */
#include "klpd/inspect-sandbox.h"

#include <linux/capability.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "klpd/patch-file.h"

/* A sanitizer's shadow memory is terabytes of address space. */
#if defined(__SANITIZE_ADDRESS__)
#define BOUND_ADDRESS_SPACE false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BOUND_ADDRESS_SPACE false
#endif
#endif
#ifndef BOUND_ADDRESS_SPACE
#define BOUND_ADDRESS_SPACE true
#endif

#define ADDRESS_SPACE_MAX (1024ULL * 1024 * 1024)
#define CPU_SECONDS_MAX 10

/* What computing and printing take: reading and writing what is open already, memory, the end. */
static const int allowed[] = {
                SCMP_SYS(read),           SCMP_SYS(pread64),         SCMP_SYS(readv),
                SCMP_SYS(write),          SCMP_SYS(writev),          SCMP_SYS(lseek),
                SCMP_SYS(fstat),          SCMP_SYS(close),           SCMP_SYS(brk),
                SCMP_SYS(munmap),         SCMP_SYS(mremap),          SCMP_SYS(madvise),
                SCMP_SYS(futex),          SCMP_SYS(getrandom),       SCMP_SYS(clock_gettime),
                SCMP_SYS(gettimeofday),   SCMP_SYS(getpid),          SCMP_SYS(gettid),
                SCMP_SYS(sched_yield),    SCMP_SYS(sigaltstack),     SCMP_SYS(rt_sigreturn),
                SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction),    SCMP_SYS(exit),
                SCMP_SYS(exit_group),     SCMP_SYS(restart_syscall),
};

/* What libraries try and do without: said no to, instead of killed for. */
static const int denied[] = {
                SCMP_SYS(open),       SCMP_SYS(openat),
                SCMP_SYS(openat2),    SCMP_SYS(stat),
                SCMP_SYS(newfstatat), SCMP_SYS(statx),
                SCMP_SYS(access),     SCMP_SYS(faccessat),
                SCMP_SYS(faccessat2), SCMP_SYS(readlink),
                SCMP_SYS(readlinkat), SCMP_SYS(socket),
                SCMP_SYS(ioctl),      SCMP_SYS(fcntl),
                SCMP_SYS(uname),      SCMP_SYS(sysinfo),
                SCMP_SYS(getuid),     SCMP_SYS(geteuid),
                SCMP_SYS(getgid),     SCMP_SYS(getegid),
                SCMP_SYS(prlimit64),  SCMP_SYS(sched_getaffinity),
};

static int bound(int resource, rlim_t limit) {
        struct rlimit l = { .rlim_cur = limit, .rlim_max = limit };

        return setrlimit(resource, &l) < 0 ? -errno : 0;
}

/* SIGXCPU at its end, which klpd names to people; the second after that is for nobody. */
static int bound_processor_time(void) {
        struct rlimit l = { .rlim_cur = CPU_SECONDS_MAX, .rlim_max = CPU_SECONDS_MAX + 1 };

        return setrlimit(RLIMIT_CPU, &l) < 0 ? -errno : 0;
}

static int bound_resources(void) {
        int r;

        r = BOUND_ADDRESS_SPACE ? bound(RLIMIT_AS, ADDRESS_SPACE_MAX) : 0;
        if (r < 0)
                return r;
        r = bound_processor_time();
        if (r < 0)
                return r;
        r = bound(RLIMIT_FSIZE, PATCH_FILE_SIZE_MAX);
        if (r < 0)
                return r;
        r = bound(RLIMIT_CORE, 0);
        if (r < 0)
                return r;
        return bound(RLIMIT_NPROC, 0);
}

static int drop_capabilities(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
                return -errno;
        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int allow_memory(scmp_filter_ctx filter) {
        static const int calls[] = { SCMP_SYS(mmap), SCMP_SYS(mprotect) };

        /* Never executable: what a bug writes can't be run. */
        for (size_t i = 0; i < ELEMENTSOF(calls); i++) {
                int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 1,
                                         SCMP_A2(SCMP_CMP_MASKED_EQ, 4 /* PROT_EXEC */, 0));

                if (r < 0)
                        return r;
        }
        return 0;
}

static int fill_filter(scmp_filter_ctx filter) {
        int r;

        for (size_t i = 0; i < ELEMENTSOF(allowed); i++) {
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < ELEMENTSOF(denied); i++) {
                r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), denied[i], 0);
                if (r < 0)
                        return r;
        }
        return allow_memory(filter);
}

static int filter_system_calls(void) {
        scmp_filter_ctx filter;
        int r;

        filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
        if (!filter)
                return -ENOMEM;
        r = fill_filter(filter);
        if (r >= 0)
                r = seccomp_load(filter);
        seccomp_release(filter);
        return r;
}

int inspect_sandbox_enter(void) {
        int r;

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                return -errno;

        r = bound_resources();
        if (r < 0)
                return r;
        r = drop_capabilities();
        if (r < 0)
                return r;
        return filter_system_calls();
}
