/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the demo patches share: functions of Debian's newer 6.1 source
 * (6.1.192-2), which 6.1.0-47 (6.1.170-3) lacks, and what they count.  Those
 * of levels 1 and 2 use nothing that newer kernels lack: there they replace
 * code that is equal, and count.
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
#include <linux/skbuff.h>
#include <linux/sockptr.h>
#include <net/inet_sock.h>
#include <net/ip.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include <net/tcp_states.h>

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

	opt = kzalloc(sizeof(*opt) + ((optlen + 3) & ~3), GFP_KERNEL);
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

#ifdef KLP_DEMO_HAS_SOCK
/* net/ipv4/af_inet.c: options that others may still read are freed after a grace period. */
static void klp_inet_sock_destruct(struct sock *sk)
{
	struct inet_sock *inet = inet_sk(sk);

	__skb_queue_purge(&sk->sk_receive_queue);
	__skb_queue_purge(&sk->sk_error_queue);

	sk_mem_reclaim_final(sk);

	if (sk->sk_type == SOCK_STREAM && sk->sk_state != TCP_CLOSE) {
		pr_err("Attempt to release TCP socket in state %d %p\n",
		       sk->sk_state, sk);
		return;
	}
	if (!sock_flag(sk, SOCK_DEAD)) {
		pr_err("Attempt to release alive inet socket %p\n", sk);
		return;
	}

	WARN_ON_ONCE(atomic_read(&sk->sk_rmem_alloc));
	WARN_ON_ONCE(refcount_read(&sk->sk_wmem_alloc));
	WARN_ON_ONCE(sk->sk_wmem_queued);
	WARN_ON_ONCE(sk_forward_alloc_get(sk));

	kfree_rcu(rcu_dereference_protected(inet->inet_opt, 1), rcu);
	dst_release(rcu_dereference_protected(sk->sk_dst_cache, 1));
	dst_release(rcu_dereference_protected(sk->sk_rx_dst, 1));
	sk_refcnt_debug_dec(sk);
}
#endif

#endif /* KLP_DEMO_H */
