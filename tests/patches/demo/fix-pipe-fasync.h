/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Real fix 2, from 6.1.192: when pipe_fasync() fails it undoes only a reader
 * entry that this very call has added.
 * The includer may define klp_demo_fasync() to hear of each call.
 */
#include <linux/fs.h>
#include <linux/mutex.h>
#include <linux/pipe_fs_i.h>

static int klp_pipe_fasync(int fd, struct file *filp, int on)
{
	struct pipe_inode_info *pipe = filp->private_data;
	int retval = 0;

#ifdef klp_demo_fasync
	klp_demo_fasync();
#endif
	mutex_lock_nested(&pipe->mutex, I_MUTEX_PARENT);
	if (filp->f_mode & FMODE_READ)
		retval = fasync_helper(fd, filp, on, &pipe->fasync_readers);
	if ((filp->f_mode & FMODE_WRITE) && retval >= 0) {
		int read_ret = retval;

		retval = fasync_helper(fd, filp, on, &pipe->fasync_writers);
		/* Undo only a reader entry added by this call. */
		if (retval < 0 && read_ret > 0)
			fasync_helper(-1, filp, 0, &pipe->fasync_readers);
	}
	mutex_unlock(&pipe->mutex);
	return retval;
}
