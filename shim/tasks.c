// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tasks that a transition still waits for, of any patch, plain ones too.
 *
 * A dump is a snapshot taken at its start.  Idle tasks aren't on the task list:
 * an empty dump while a transition is under way may mean them.
 *
 * Locking: the task list under RCU.  The snapshot belongs to one dump.
 */
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "internal.h"

#define MAX_TASKS	(1U << 16)

struct task_entry {
	u32 pid, tid;
	bool kthread;
	char comm[TASK_COMM_LEN];
};

struct task_snapshot {
	u32 n, next;
	struct task_entry tasks[];
};

static u32 count_pending(void)
{
	struct task_struct *g, *task;
	u32 n = 0;

	rcu_read_lock();
	for_each_process_thread(g, task)
		n += klp_patch_pending(task);
	rcu_read_unlock();
	return n;
}

static void collect(struct task_snapshot *snapshot, u32 room)
{
	struct task_struct *g, *task;

	rcu_read_lock();
	for_each_process_thread(g, task) {
		struct task_entry *entry = &snapshot->tasks[snapshot->n];

		if (!klp_patch_pending(task))
			continue;
		if (snapshot->n >= room)
			goto out;
		snapshot->n++;
		entry->pid = task_tgid_nr(task);
		entry->tid = task_pid_nr(task);
		entry->kthread = task->flags & PF_KTHREAD;
		strscpy_pad(entry->comm, task->comm, sizeof(entry->comm));
	}
out:
	rcu_read_unlock();
}

int klp_shim_nl_tasks_start(struct netlink_callback *cb)
{
	struct task_snapshot *snapshot;
	u32 room;

	if (!netlink_capable(cb->skb, CAP_SYS_PTRACE)) {
		/* Lost on kernels whose generic netlink has none for the start of a dump. */
		NL_SET_ERR_MSG(cb->extack, "CAP_SYS_PTRACE is needed to list tasks");
		return -EPERM;
	}

	/* Tasks that are forked meanwhile inherit the flag: some room for them. */
	room = min(count_pending() + 64, MAX_TASKS);
	snapshot = kvzalloc(struct_size(snapshot, tasks, room), GFP_KERNEL);
	if (!snapshot)
		return -ENOMEM;
	collect(snapshot, room);
	cb->args[0] = (long)snapshot;
	return 0;
}

static int put_task(struct sk_buff *skb, struct netlink_callback *cb,
		    const struct task_entry *task)
{
	struct nlattr *nest;
	void *hdr;

	hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &klp_shim_family,
			  NLM_F_MULTI, KLP_SHIM_CMD_TASK_GET);
	if (!hdr)
		return -EMSGSIZE;
	nest = nla_nest_start(skb, KLP_SHIM_A_TASK);
	if (!nest || nla_put_u32(skb, KLP_SHIM_TASK_A_PID, task->pid) ||
	    nla_put_u32(skb, KLP_SHIM_TASK_A_TID, task->tid) ||
	    nla_put_string(skb, KLP_SHIM_TASK_A_COMM, task->comm) ||
	    (task->kthread && nla_put_flag(skb, KLP_SHIM_TASK_A_KTHREAD))) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	genlmsg_end(skb, hdr);
	return 0;
}

int klp_shim_nl_tasks(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct task_snapshot *snapshot = (void *)cb->args[0];

	for (; snapshot->next < snapshot->n; snapshot->next++)
		if (put_task(skb, cb, &snapshot->tasks[snapshot->next]))
			break;
	return skb->len;
}

int klp_shim_nl_tasks_done(struct netlink_callback *cb)
{
	kvfree((void *)cb->args[0]);
	return 0;
}
