// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events: one multicast message for everything that a listener can't see
 * otherwise, with a sequence number that rises by one.
 *
 * Locking: event_mutex, a leaf, makes number and multicast one step, so that
 * messages leave in order.  An event that can't be allocated still takes its
 * number: listeners see the gap and dump again.
 */
#include <linux/ktime.h>

#include "internal.h"

static DEFINE_MUTEX(event_mutex);
static u64 event_seq;

u64 klp_shim_event_seq(void)
{
	u64 seq;

	mutex_lock(&event_mutex);
	seq = event_seq;
	mutex_unlock(&event_mutex);
	return seq;
}

static int put_state(struct sk_buff *skb, enum klp_shim_event event,
		     const struct klp_shim_event_info *info)
{
	const struct klp_shim_state *state = info->state;
	struct nlattr *nest;

	nest = nla_nest_start(skb, KLP_SHIM_A_STATE);
	if (!nest)
		return -EMSGSIZE;
	if (nla_put_u64_64bit(skb, KLP_SHIM_STATE_A_ID, state->id, KLP_SHIM_STATE_A_PAD))
		return -EMSGSIZE;

	if (event == KLP_SHIM_EVENT_SHADOW_FREED) {
		if (nla_put_u64_64bit(skb, KLP_SHIM_STATE_A_SHADOW_COUNT, info->shadow_count,
				      KLP_SHIM_STATE_A_PAD) ||
		    nla_put_u64_64bit(skb, KLP_SHIM_STATE_A_SHADOW_BYTES,
				      info->shadow_count * state->shadow_size,
				      KLP_SHIM_STATE_A_PAD))
			return -EMSGSIZE;
	} else if (nla_put_u32(skb, KLP_SHIM_STATE_A_VERSION, state->version) ||
		   nla_put_u32(skb, KLP_SHIM_STATE_A_FLAGS, state->flags) ||
		   nla_put_string(skb, KLP_SHIM_STATE_A_NAME, state->name ?: "") ||
		   (info->has_prev && nla_put_u32(skb, KLP_SHIM_STATE_A_PREV_VERSION,
						  info->prev_version))) {
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	return 0;
}

static int put_event(struct sk_buff *skb, enum klp_shim_event event, u64 seq,
		     const struct klp_shim_event_info *info)
{
	if (nla_put_u32(skb, KLP_SHIM_A_EVENT, event) ||
	    nla_put_u64_64bit(skb, KLP_SHIM_A_SEQ, seq, KLP_SHIM_A_PAD) ||
	    nla_put_u64_64bit(skb, KLP_SHIM_A_GENERATION, READ_ONCE(klp_shim_generation),
			      KLP_SHIM_A_PAD) ||
	    nla_put_u64_64bit(skb, KLP_SHIM_A_TIME, ktime_get_ns(), KLP_SHIM_A_PAD) ||
	    nla_put_string(skb, KLP_SHIM_A_NAME, info->name))
		return -EMSGSIZE;

	if (info->operation && nla_put_u32(skb, KLP_SHIM_A_OPERATION, info->operation))
		return -EMSGSIZE;
	if (info->end && (nla_put_u32(skb, KLP_SHIM_A_END, info->end) ||
			  nla_put_s32(skb, KLP_SHIM_A_ERROR, info->error)))
		return -EMSGSIZE;
	if (info->forced && nla_put_flag(skb, KLP_SHIM_A_FORCED))
		return -EMSGSIZE;
	if (info->unasked && nla_put_flag(skb, KLP_SHIM_A_UNASKED))
		return -EMSGSIZE;
	return info->state ? put_state(skb, event, info) : 0;
}

void klp_shim_event(enum klp_shim_event event, const struct klp_shim_event_info *info)
{
	struct sk_buff *skb;
	void *hdr;
	u64 seq;

	skb = genlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);

	mutex_lock(&event_mutex);
	seq = ++event_seq;
	hdr = skb ? genlmsg_put(skb, 0, 0, &klp_shim_family, 0, KLP_SHIM_CMD_EVENT) : NULL;
	if (!hdr || put_event(skb, event, seq, info)) {
		nlmsg_free(skb);
	} else {
		genlmsg_end(skb, hdr);
		/* -ESRCH: nobody listens. */
		genlmsg_multicast(&klp_shim_family, skb, 0, 0, GFP_KERNEL);
	}
	mutex_unlock(&event_mutex);
}
