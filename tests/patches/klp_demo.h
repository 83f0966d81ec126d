/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the demo patches share: functions of Debian's newer 6.1 source
 * (6.1.192-2), which 6.1.0-47 (6.1.170-3) lacks, and what they count.
 *
 * Shadow variables: refused options are counted per network namespace; a
 * namespace that goes takes its variable along.  So there are never more of
 * them than namespaces, and none is left behind.
 *
 * Locking: counters are atomic, nothing else is shared.
 */
#ifndef KLP_DEMO_H
#define KLP_DEMO_H

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/pipe_fs_i.h>
#include <linux/slab.h>
#include <linux/ktime.h>
#include <linux/ptrace.h>
#include <linux/sockptr.h>
#include <linux/time.h>
#include <linux/uaccess.h>
#include <net/ip.h>
#include <net/net_namespace.h>

#ifndef KLP_DEMO_REFUSED
#define KLP_DEMO_REFUSED(net)		do { } while (0)
#endif
#ifndef KLP_DEMO_FASYNC_UNDONE
#define KLP_DEMO_FASYNC_UNDONE()	do { } while (0)
#endif

/* net/ipv4/ip_options.c: source routes need CAP_NET_RAW. */
static int klp_ip_options_get(struct net *net, struct ip_options_rcu **optp,
			      sockptr_t data, int optlen)
{
	struct ip_options_rcu *opt;

	opt = kzalloc(sizeof(struct ip_options_rcu) + ((optlen + 3) & ~3), GFP_KERNEL);
	if (!opt)
		return -ENOMEM;
	if (optlen && copy_from_sockptr(opt->opt.__data, data, optlen)) {
		kfree(opt);
		return -EFAULT;
	}

	while (optlen & 3)
		opt->opt.__data[optlen++] = IPOPT_END;
	opt->opt.optlen = optlen;
	if (optlen && ip_options_compile(net, &opt->opt, NULL)) {
		kfree(opt);
		return -EINVAL;
	}
	if (opt->opt.srr && !ns_capable(net->user_ns, CAP_NET_RAW)) {
		KLP_DEMO_REFUSED(net);
		kfree(opt);
		return -EPERM;
	}
	kfree(*optp);
	*optp = opt;
	return 0;
}

/* fs/pipe.c: a failure undoes only the reader entry that this very call added. */
static int __maybe_unused klp_pipe_fasync(int fd, struct file *filp, int on)
{
	struct pipe_inode_info *pipe = filp->private_data;
	int retval = 0;

	mutex_lock_nested(&pipe->mutex, I_MUTEX_PARENT);
	if (filp->f_mode & FMODE_READ)
		retval = fasync_helper(fd, filp, on, &pipe->fasync_readers);
	if ((filp->f_mode & FMODE_WRITE) && retval >= 0) {
		int read_ret = retval;

		retval = fasync_helper(fd, filp, on, &pipe->fasync_writers);
		if (retval < 0 && read_ret > 0) {
			fasync_helper(-1, filp, 0, &pipe->fasync_readers);
			KLP_DEMO_FASYNC_UNDONE();
		}
	}
	mutex_unlock(&pipe->mutex);
	return retval;
}

/*
 * kernel/time/time.c: microseconds of exactly 1,000,000 are refused.  The
 * symbol is the system call's entry, which has the registers for arguments.
 */
static long __maybe_unused klp_x64_sys_settimeofday(const struct pt_regs *regs)
{
	struct __kernel_old_timeval __user *tv = (void __user *)regs->di;
	struct timezone __user *tz = (void __user *)regs->si;
	struct timespec64 new_ts;
	struct timezone new_tz;

	if (tv) {
		if (get_user(new_ts.tv_sec, &tv->tv_sec) ||
		    get_user(new_ts.tv_nsec, &tv->tv_usec))
			return -EFAULT;

		if (new_ts.tv_nsec >= USEC_PER_SEC || new_ts.tv_nsec < 0)
			return -EINVAL;

		new_ts.tv_nsec *= NSEC_PER_USEC;
	}
	if (tz) {
		if (copy_from_user(&new_tz, tz, sizeof(*tz)))
			return -EFAULT;
	}

	return do_sys_settimeofday64(tv ? &new_ts : NULL, tz ? &new_tz : NULL);
}

#endif /* KLP_DEMO_H */
