/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_PRIVILEGE_H
#define BERTH_BASE_PRIVILEGE_H

/* Giving up what root can do and this program does not. */

#include <stdbool.h>
#include <stdint.h>

#define PRIVILEGE_BIT(number) (UINT64_C(1) << (number))

/**
 * privilege_limit() - keep some capabilities, and let no child get more
 * @keep: a bit for each, CAP_* of linux/capability.h
 *
 * What is not kept leaves the bounding set, so that a tool that is run as root has no more either,
 * and no setuid file gives it back (no_new_privs). Not being allowed to (no CAP_SETPCAP) is no
 * error: then the bounding set is what it was. Call it before there are threads: each has its own.
 *
 * Return: 0; -errno.
 */
int privilege_limit(uint64_t keep);

/**
 * privilege_hide_memory() - no core file, and nobody without CAP_SYS_PTRACE looks into this process
 *
 * The limit of core files is inherited by children. Return: 0; -errno.
 */
int privilege_hide_memory(void);

/**
 * privilege_lock_memory() - nothing of this process goes to a disk that is swapped to
 *
 * All that it has and will have, each page when it is first used (MCL_ONFAULT, Linux 4.4). Only
 * with CAP_IPC_LOCK or without a limit: within RLIMIT_MEMLOCK, 64 KiB or 8 MiB in a container, what
 * is beyond would not be swappable but unavailable. Children do not inherit it. Source:
 * mlockall(2).
 *
 * Return: 0; -EPERM when it may not, and nothing is locked; -errno.
 */
int privilege_lock_memory(void);

/* Around what a thread maps that has no CAP_IPC_LOCK, which the kernel refuses otherwise: what is
 * new meanwhile is locked afterwards. By a thread that has it, one at a time. */
void privilege_lock_pause(void);
void privilege_lock_resume(void);

/* Whether this thread has a capability in effect. */
bool privilege_has(unsigned int number);

#endif
