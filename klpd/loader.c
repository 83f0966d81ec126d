/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See loader.h. */
#include "klpd/loader.h"

#include <fcntl.h>
#include <libkmod.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "klpd/livepatch-sysfs-read.h"
#include "klpd/livepatch-sysfs.h"
#include "klpd/sealed-memfd.h"

#define SHIM_MODULE "klp_shim"

static int refuse(PolicyError *error, int r, const char *name, const char *reason) {
        return policy_error_set(error, r, "can't load '%s': %s", name, reason);
}

/* Who may have said EPERM or EACCES, in the order in which the kernel asks: the words are for a person. */
static int explain_denied(int root_fd, const char *name, int r, PolicyError *error) {
        char lsms[128] = "", reason[256];
        SysfsHost host;

        if (livepatch_sysfs_read_host(root_fd, &host) < 0)
                return refuse(error, r, name, strerror(-r));

        if (host.modules_disabled)
                snprintf(reason, sizeof(reason),
                         "kernel.modules_disabled is 1, no module can be loaded until the next boot");
        else if (host.lockdown && !streq(host.lockdown, "none"))
                snprintf(reason, sizeof(reason), "kernel lockdown (%.40s) allows signed modules only",
                         host.lockdown);
        else if (host.sig_enforce)
                snprintf(reason, sizeof(reason), "module.sig_enforce allows signed modules only");
        else if (sysfs_read_text(root_fd, "sys/kernel/security/lsm", lsms, sizeof(lsms)) >= 0 && lsms[0])
                snprintf(reason, sizeof(reason),
                         "refused by a security module (active: %s), or CAP_SYS_MODULE is missing", lsms);
        else
                snprintf(reason, sizeof(reason), "CAP_SYS_MODULE is missing, or a security module refuses it");

        sysfs_host_done(&host);
        return refuse(error, r, name, reason);
}

int loader_explain(int root_fd, const char *name, int r, PolicyError *error) {
        switch (-r) {
        case EPERM:
        case EACCES:
                return explain_denied(root_fd, name, r, error);
        case EEXIST:
                return refuse(error, r, name, "a module of that name is loaded already");
        case ENOEXEC:
                return refuse(error, r, name,
                              "the running kernel doesn't accept it as a module: it was built for another "
                              "kernel, or is damaged (the kernel log says which)");
        case EBADMSG:
                return refuse(error, r, name, "its signature is damaged");
        case EKEYREJECTED:
                return refuse(error, r, name,
                              "the kernel requires signed modules, and it has no signature, or one by a key "
                              "that may not sign modules");
        case ENOKEY:
                return refuse(error, r, name, "the key that signed it is not known to the kernel");
        case ENOENT:
                return refuse(error, r, name,
                              "it uses a symbol that the running kernel doesn't have, or of a module that "
                              "isn't loaded (the kernel log names it)");
        case EBUSY:
                return refuse(error, r, name,
                              "a module of that name is coming or going, or another transition is under way");
        case ENOSYS:
                return refuse(error, r, name, "this kernel can't load modules");
        case EINVAL:
                return refuse(error, r, name,
                              "it is invalid: bad parameters, an incompatible livepatch, or a function that "
                              "the running kernel doesn't have (the kernel log says which)");
        default:
                return refuse(error, r, name, strerror(-r));
        }
}

int loader_load(int root_fd, int fd, const char *name, const char *params, PolicyError *error) {
        int r;

        /* Nothing may change between check and use: there is no unsealed fallback. */
        r = sealed_memfd_check(fd);
        if (r < 0)
                return refuse(error, r, name, "its content isn't sealed");

        if (syscall(SYS_finit_module, fd, params ?: "", 0) < 0)
                return loader_explain(root_fd, name, -errno, error);
        return 0;
}

static void kmod_unrefp(struct kmod_ctx **ctx) {
        if (*ctx)
                kmod_unref(*ctx);
}

static void kmod_module_unref_listp(struct kmod_list **list) {
        if (*list)
                kmod_module_unref_list(*list);
}

int loader_load_shim(int root_fd, PolicyError *error) {
        _cleanup_(kmod_unrefp) struct kmod_ctx *ctx = NULL;
        _cleanup_(kmod_module_unref_listp) struct kmod_list *list = NULL;
        struct kmod_list *i;
        int r;

        ctx = kmod_new(NULL, NULL);
        if (!ctx)
                return policy_error_set(error, -ENOMEM, "can't set up libkmod");

        r = kmod_module_new_from_lookup(ctx, SHIM_MODULE, &list);
        if (r >= 0 && !list)
                r = -ENOENT;
        if (r == -ENOENT)
                return policy_error_set(error, r,
                                        SHIM_MODULE
                                        " isn't installed for the running kernel: build and install "
                                        "it (package klpd-dkms, or `ninja shim` and depmod)");
        if (r < 0)
                return policy_error_set(error, r, "can't look up " SHIM_MODULE ": %s", strerror(-r));

        kmod_list_foreach(i, list) {
                struct kmod_module *module = kmod_module_get_module(i);

                r = kmod_module_probe_insert_module(module, KMOD_PROBE_APPLY_BLACKLIST, NULL, NULL, NULL,
                                                    NULL);
                kmod_module_unref(module);
                if (r == KMOD_PROBE_APPLY_BLACKLIST)
                        return policy_error_set(error, -EPERM, SHIM_MODULE " is blacklisted in modprobe.d");
                if (r == -EPERM || r == -EACCES)
                        return explain_denied(root_fd, SHIM_MODULE, r, error);
                if (r < 0)
                        return policy_error_set(error, r,
                                                "loading " SHIM_MODULE
                                                " failed: %s (the kernel log may say more)",
                                                strerror(-r));
        }
        return 0;
}

int loader_unload(const char *name, PolicyError *error) {
        int r;

        if (syscall(SYS_delete_module, name, O_NONBLOCK) >= 0)
                return 0;

        r = -errno;
        switch (-r) {
        case EWOULDBLOCK:
                return policy_error_set(error, r, "module '%s' is still in use", name);
        case ENOENT:
                return policy_error_set(error, r, "module '%s' isn't loaded", name);
        case EBUSY:
                return policy_error_set(error, r, "module '%s' is coming or going, or has no exit function",
                                        name);
        case EPERM:
                return policy_error_set(error, r,
                                        "removing module '%s' was refused: CAP_SYS_MODULE is missing, or "
                                        "kernel.modules_disabled is 1",
                                        name);
        default:
                return policy_error_set(error, r, "removing module '%s' failed: %s", name, strerror(-r));
        }
}
