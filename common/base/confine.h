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
 * @keep: capabilities, a bit for each of CAP_*; what the thread has of them stays
 *
 * no_new_privs, so that neither root nor a setuid file gets more at exec; then a filter of system
 * calls, inherited, for good: no mounts, namespaces, modules, tracing, bpf, io_uring, clock, swap,
 * reboot (EPERM), no socket but AF_UNIX (EAFNOSUPPORT), no clone3 (ENOSYS: its flags cannot be
 * seen), no system call of another ABI of this machine (ENOSYS). A kernel without filters
 * (CONFIG_SECCOMP_FILTER) and an architecture whose calls are not known here go without. Source:
 * seccomp(2), capabilities(7).
 *
 * Return: 0; -errno.
 */
int confine_thread(Confinement confinement, uint64_t keep);

/* Whether there is such a filter here, of this kernel and for this architecture. */
bool confine_has_filter(void);

#endif
