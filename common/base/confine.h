/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_CONFINE_H
#define BERTH_BASE_CONFINE_H

/* What a program may still do that reads bytes of a stranger, and may be taken over by them. */

#include <stdbool.h>
#include <stdint.h>

typedef enum Confinement {
        CONFINEMENT_NONE = 0, /* as its parent */
        CONFINEMENT_TOOL,     /* of a filesystem: its descriptors, files and memory */
        CONFINEMENT_CRYPTO,   /* also AF_ALG and the kernel's keys */
} Confinement;

/**
 * confine_thread() - the calling thread, and every process that it starts from now on
 * @keep:      capabilities, a bit for each of CAP_*; what the thread has of them stays
 * @device_fd: the device that it works on; 0: none
 *
 * no_new_privs, so that neither root nor a setuid file gets more at exec. Then a filter of system
 * calls, inherited, for good: no mounts, namespaces, modules, tracing, bpf, io_uring, clock, swap,
 * reboot (EPERM), no socket, of CONFINEMENT_CRYPTO AF_UNIX and AF_ALG alone (EAFNOSUPPORT), no
 * clone3 (ENOSYS: its flags cannot be seen), no system call of another ABI of this machine, or
 * newer than this file (ENOSYS). A kernel without filters (CONFIG_SECCOMP_FILTER) and an
 * architecture whose calls are not known here go without.
 *
 * And of CONFINEMENT_TOOL: of /dev it opens @device_fd, null, zero, full, random and urandom alone,
 * and of /proc and /sys nothing for writing (EACCES). Kernels without Landlock (before 5.13, or not
 * in "lsm=") go without. Source: seccomp(2), capabilities(7), landlock(7).
 *
 * Return: 0; -errno.
 */
int confine_thread(Confinement confinement, uint64_t keep, int device_fd);

/* Whether there is such a filter here, of this kernel and for this architecture. */
bool confine_has_filter(void);

#endif
