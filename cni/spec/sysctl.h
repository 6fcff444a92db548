/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_SPEC_SYSCTL_H
#define BERTH_CNI_SPEC_SYSCTL_H

/* /proc/sys as the network namespace sees it in which the calling thread is at that moment. Through
 * a procfs of our own, so that it costs the same however many namespaces the node has
 * (common/mount/procfs.h), or through /proc where there is none to be had. */

#include <stddef.h>

typedef struct Sysctls {
        int proc_fd; /* owned; -1: not opened yet; AT_FDCWD: /proc itself */
} Sysctls;

#define SYSCTLS_NULL                                                                               \
        { .proc_fd = -1 }

void sysctls_close(Sysctls *sysctls);

/* @path: whole, "/proc/sys/...", without ".."; @flags: O_RDONLY, O_WRONLY, O_RDWR, O_NOFOLLOW.
 * Return: a descriptor, owned by the caller; -errno. */
int sysctl_open(Sysctls *sysctls, const char *path, int flags);

/* Up to @limit bytes, without the end of the line; caller frees *@textp. Return: 0; -errno. */
int sysctl_read(Sysctls *sysctls, const char *path, size_t limit, char **textp);

/* Return: 0; -errno. */
int sysctl_write(Sysctls *sysctls, const char *path, const char *value);

#endif
