// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module to be patched.
 *
 *   parameters/value	reads what klp_test_target_value() returns
 *   parameters/sleep	a write sleeps in klp_test_target_sleep() until "release"
 *			is written, or the task is killed
 *   parameters/release	lets all sleepers go
 *   parameters/interruptible	Y: any signal ends that sleep, too (the write is
 *			restarted then)
 *   parameters/kthread	Y: a kernel thread sleeps in it, too
 *   parameters/hidden	a variable that only this file knows, for relocations
 *
 * Locking: the wait queue's.
 */
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/wait.h>

static DECLARE_WAIT_QUEUE_HEAD(sleepers);
static unsigned int released;
static struct task_struct *thread;

static bool interruptible;
module_param(interruptible, bool, 0644);

static int value;

static int klp_test_target_hidden;
module_param_named(hidden, klp_test_target_hidden, int, 0444);

static noinline int klp_test_target_value(void)
{
	return READ_ONCE(value);
}

static noinline int klp_test_target_sleep(void)
{
	unsigned int start = READ_ONCE(released);

	if (current->flags & PF_KTHREAD) {
		wait_event_idle(sleepers, READ_ONCE(released) != start || kthread_should_stop());
		return 0;
	}
	if (READ_ONCE(interruptible))
		return wait_event_interruptible(sleepers, READ_ONCE(released) != start);
	return wait_event_killable(sleepers, READ_ONCE(released) != start);
}

static int value_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%d\n", klp_test_target_value());
}

static const struct kernel_param_ops value_ops = { .get = value_get };
module_param_cb(value, &value_ops, NULL, 0444);

/* The lock of all parameters must not be held while asleep. */
static int sleep_set(const char *val, const struct kernel_param *kp)
{
	int ret;

	kernel_param_unlock(THIS_MODULE);
	ret = klp_test_target_sleep();
	kernel_param_lock(THIS_MODULE);
	return ret;
}

static const struct kernel_param_ops sleep_ops = { .set = sleep_set };
module_param_cb(sleep, &sleep_ops, NULL, 0200);

static int release_set(const char *val, const struct kernel_param *kp)
{
	WRITE_ONCE(released, released + 1);
	wake_up_all(&sleepers);
	return 0;
}

static const struct kernel_param_ops release_ops = { .set = release_set };
module_param_cb(release, &release_ops, NULL, 0200);

static bool kthread;
module_param(kthread, bool, 0444);

static int thread_fn(void *data)
{
	klp_test_target_sleep();
	/* Where a transition can switch it. */
	wait_event_idle(sleepers, kthread_should_stop());
	return 0;
}

static int __init klp_test_target_init(void)
{
	if (!kthread)
		return 0;
	thread = kthread_run(thread_fn, NULL, "klp_test_target");
	return PTR_ERR_OR_ZERO(thread);
}
module_init(klp_test_target_init);

static void __exit klp_test_target_exit(void)
{
	if (thread)
		kthread_stop(thread);
}
module_exit(klp_test_target_exit);

MODULE_DESCRIPTION("klpd: a module to be patched by tests");
MODULE_LICENSE("GPL");
