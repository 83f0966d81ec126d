/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For User Mode Linux of Linux 6.1 on processors that are younger than it. It keeps the registers of its processes in
 * buffers of the size that AVX-512 needs; where the processor has more of them (AMX), the host's kernel refuses to set
 * what is shorter than all of its registers (EFAULT), and no process of UML's gets beyond its first instruction.
 * Preloaded into UML, this makes a write of the beginning of the registers what it is meant to be: the rest stays as
 * it is. UML has one processor, and no more than one thread of it traces.
 */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

static long (*real)(enum __ptrace_request request, ...);

static void __attribute__((constructor)) find_real(void) {
        *(void **) &real = dlsym(RTLD_NEXT, "ptrace");
}

static long set_beginning(pid_t pid, void *type, const struct iovec *part) {
        /* UML's stacks are small. */
        static char all[65536] __attribute__((aligned(64)));
        struct iovec whole = { .iov_base = all, .iov_len = sizeof(all) };

        if (real(PTRACE_GETREGSET, pid, type, &whole) < 0)
                return -1;
        if (part->iov_len >= whole.iov_len) {
                errno = EFAULT;
                return -1;
        }
        memcpy(all, part->iov_base, part->iov_len);
        return real(PTRACE_SETREGSET, pid, type, &whole);
}

long ptrace(enum __ptrace_request request, ...) {
        void *address, *data;
        va_list ap;
        pid_t pid;
        long r;

        va_start(ap, request);
        pid = va_arg(ap, pid_t);
        address = va_arg(ap, void *);
        data = va_arg(ap, void *);
        va_end(ap);

        r = real(request, pid, address, data);
        if (r < 0 && errno == EFAULT && request == PTRACE_SETREGSET && address == (void *) NT_X86_XSTATE)
                r = set_beginning(pid, address, data);
        return r;
}
