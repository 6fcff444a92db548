/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_BEHIND_H
#define BERTH_BASE_BEHIND_H

/* What the kernel makes somebody wait for, and nobody has to: done by a child, while this process
 * answers and ends. */

#include <stddef.h>
#include <sys/types.h>

#define BEHIND_FDS_MAX 4

/**
 * behind_fork() - a child in a session of its own, which ends with _exit()
 * @fds: what it keeps, up to BEHIND_FDS_MAX; in the child they are told under their new numbers,
 *       0, 1, ...
 *
 * It has no other descriptor, stdio included: who runs this process waits for the end of those
 * pipes.
 *
 * Return: 0 in the child; its pid; -errno when there is none.
 */
pid_t behind_fork(int *const *fds, size_t n);

/* Returns when everybody has left what the kernel took out of its lists before (RCU): up to 30 ms.
 * At once where the kernel does not offer that, with nohz_full. */
void behind_wait_rcu(void);

#endif
