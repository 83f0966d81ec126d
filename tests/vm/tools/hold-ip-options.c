/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes a real straggler: a task that sleeps inside ip_options_get(), a function that the demo patches redirect, for as
 * long as a test wants.
 *
 * How: setsockopt(IP_OPTIONS) takes its options from a page that userfaultfd has not filled yet, so the copy in
 * ip_options_get() waits for it. No help of the kernel's is needed; any stock kernel has such places.
 *
 *   hold-ip-options READY     makes the file READY (with the sleeper's tid in it) once the task is in the function;
 *                             ends when it gets SIGTERM: the page is filled, the system call goes on
 *
 * Exit status 0 if the call went through and was released; 1 with a message otherwise.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Noreturn void die(const char *what) {
        fprintf(stderr, "hold-ip-options: %s: %s\n", what, strerror(errno));
        exit(1);
}

static void *page;
static pid_t sleeper;

static void *set_options(void *arg) {
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        (void) arg;
        if (fd < 0)
                die("no socket");

        __atomic_store_n(&sleeper, (pid_t) syscall(SYS_gettid), __ATOMIC_RELEASE);
        /* A page of zeros is a list of end-of-options. */
        if (setsockopt(fd, IPPROTO_IP, IP_OPTIONS, page, 4) < 0)
                die("setsockopt(IP_OPTIONS)");
        close(fd);
        return NULL;
}

int main(int argc, char **argv) {
        struct uffdio_api api = { .api = UFFD_API };
        struct uffdio_register reg;
        struct uffdio_zeropage zero;
        struct signalfd_siginfo info;
        struct uffd_msg msg;
        pthread_t thread;
        sigset_t mask;
        long size = sysconf(_SC_PAGESIZE);
        int uffd, sfd;
        FILE *f;

        if (argc != 2) {
                fputs("usage: hold-ip-options READY\n", stderr);
                return 1;
        }

        sigemptyset(&mask);
        sigaddset(&mask, SIGTERM);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                die("sigprocmask");
        sfd = signalfd(-1, &mask, SFD_CLOEXEC);
        if (sfd < 0)
                die("signalfd");

        uffd = (int) syscall(SYS_userfaultfd, O_CLOEXEC);
        if (uffd < 0)
                die("userfaultfd");
        if (ioctl(uffd, UFFDIO_API, &api) < 0)
                die("UFFDIO_API");
        page = mmap(NULL, (size_t) size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED)
                die("mmap");
        reg = (struct uffdio_register) {
                .range = { .start = (unsigned long) page, .len = (unsigned long) size },
                .mode = UFFDIO_REGISTER_MODE_MISSING,
        };
        if (ioctl(uffd, UFFDIO_REGISTER, &reg) < 0)
                die("UFFDIO_REGISTER");

        errno = pthread_create(&thread, NULL, set_options, NULL);
        if (errno != 0)
                die("pthread_create");

        /* The fault is reported once the task is inside the copy. */
        if (read(uffd, &msg, sizeof(msg)) != sizeof(msg) || msg.event != UFFD_EVENT_PAGEFAULT)
                die("no page fault");

        f = fopen(argv[1], "w");
        if (!f || fprintf(f, "%d\n", __atomic_load_n(&sleeper, __ATOMIC_ACQUIRE)) < 0 || fclose(f) != 0)
                die(argv[1]);

        if (read(sfd, &info, sizeof(info)) != sizeof(info))
                die("signalfd");

        zero = (struct uffdio_zeropage) { .range = reg.range };
        if (ioctl(uffd, UFFDIO_ZEROPAGE, &zero) < 0)
                die("UFFDIO_ZEROPAGE");
        errno = pthread_join(thread, NULL);
        if (errno != 0)
                die("pthread_join");
        return 0;
}
