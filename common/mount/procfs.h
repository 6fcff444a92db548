/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_MOUNT_PROCFS_H
#define BERTH_MOUNT_PROCFS_H

/**
 * procfs_open() - a procfs that nobody else uses, mounted nowhere
 *
 * /proc/sys/net is another directory in each network namespace, and of one procfs all of them have
 * the same parent and name, and so share one chain of the kernel's cache of names: whoever opens a
 * switch walks past the namespaces in which somebody looked before (proc_sys_compare; measured on
 * 6.18: 2 to 4 ms for 4,000). A procfs of its own has an empty cache, and leaves nothing in that of
 * /proc. Making it and closing it takes 60 us.
 *
 * Return: its root, with O_CLOEXEC, good for openat(2), owned by the caller; -ENOSYS before Linux
 * 5.2; -EPERM without CAP_SYS_ADMIN, and in a user namespace where /proc is partly covered; another
 * -errno. Before 5.8 it shares its cache with /proc.
 */
int procfs_open(void);

#endif
