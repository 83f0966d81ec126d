/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Real fix 1, from 6.1.192: ip_options_get() refuses a source route (LSRR,
 * SSRR) unless the caller has CAP_NET_RAW over the network namespace.
 * The includer may define klp_demo_refused() to hear of each refusal.
 */
#include <linux/capability.h>
#include <linux/slab.h>
#include <linux/sockptr.h>
#include <net/ip.h>

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
#ifdef klp_demo_refused
		klp_demo_refused();
#endif
		kfree(opt);
		return -EPERM;
	}
	kfree(*optp);
	*optp = opt;
	return 0;
}
