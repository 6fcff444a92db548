/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_PROCESS_H
#define BERTH_BASE_PROCESS_H

/*
 * Which other process uses something, by /proc. Of another PID namespace nothing is seen; a process
 * that ends meanwhile is none.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* Links that are looked at in all, some microseconds each. */
#define PROCESS_LINKS_MAX 200000

typedef struct Process {
        int pid;
        char name[32]; /* as ps(1) shows it: "dd" */
} Process;

/**
 * process_find_user() - a process that has something open, or is in it
 * @is_it: asked of each descriptor, working directory and root; the mask has STATX_TYPE and, since
 *         Linux 5.8, STATX_MNT_ID. No filesystem is asked for it, so that a dead one holds nobody
 *
 * Return: 1; 0 none was seen; -errno.
 */
int process_find_user(bool (*is_it)(void *userdata, const struct statx *status), void *userdata,
                      Process *process);

/**
 * process_each_mount_namespace() - one process of each other mount namespace
 * @each: gets the text of its mountinfo; other than 0 ends it
 *
 * At most 256 namespaces. Return: what @each returned last; 0; -errno.
 */
int process_each_mount_namespace(int (*each)(void *userdata, const Process *process,
                                             const char *mountinfo, size_t n_mountinfo),
                                 void *userdata);

#endif
