// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test patch: as good as any, until somebody writes a file; then enabling it
 * brings the kernel down. For boots that crash (scenario boot-crash).
 */
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include "klp_shim.h"

#define STATES(STATE)							\
	STATE(fuse, 77, 1, NONE, "fuse", .pre_patch = klp_test_crash_pre_patch)
KLP_SHIM_DECLARE_STATES(STATES);

static int klp_test_crash_pre_patch(struct klp_shim_state *state)
{
	struct file *file = filp_open("/etc/klp-test-crash", O_RDONLY, 0);

	if (!IS_ERR(file))
		panic("klp_test_crash: /etc/klp-test-crash is there\n");
	return 0;
}

static int klp_cmdline_proc_show(struct seq_file *m, void *v)
{
	seq_puts(m, "klp_test_crash\n");
	return 0;
}

#define VMLINUX(FUNC, o)						\
	FUNC(o, cmdline_proc_show, 0, klp_cmdline_proc_show)
KLP_SHIM_OBJECT(vmlinux, VMLINUX);

KLP_SHIM_SUMMARY("Crashes where /etc/klp-test-crash is there");
KLP_SHIM_DEFINE_PATCH("local", "crash", 1, CUMULATIVE, STATES, KLP_SHIM_OBJ(vmlinux));

static int __init klp_test_crash_init(void)
{
	return klp_shim_register_patch(&klp_shim_this_patch);
}
module_init(klp_test_crash_init);

static void __exit klp_test_crash_exit(void)
{
	klp_shim_unregister_patch(&klp_shim_this_patch);
}
module_exit(klp_test_crash_exit);

MODULE_DESCRIPTION("klpd test patch that crashes on demand");
MODULE_LICENSE("GPL");
