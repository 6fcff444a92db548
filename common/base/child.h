/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_CHILD_H
#define BERTH_BASE_CHILD_H

/* A program that runs beside this one, for a poll loop: exec_run() of exec.h waits instead. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Kept of what it says; the rest is read and dropped. */
#define CHILD_OUTPUT_MAX (256UL * 1024)

/* Starts as CHILD_NULL. */
typedef struct Child {
        pid_t pid;     /* 0: none runs */
        int output_fd; /* owned; to be read when it is readable; -1: it has been read to its end */
        char *output;  /* owned; stdout and stderr, in the order in which they came; NUL-terminated
                        */
        size_t n_output;
        bool truncated;
} Child;

#define CHILD_NULL                                                                                 \
        { .output_fd = -1 }

/**
 * child_start() - run @argv, of a process group of its own
 * @argv:  NULL-terminated; argv[0] is a path
 * @input: what it finds on stdin, which can be opened as /proc/self/fd/0 too; NULL: nothing
 *
 * It has no descriptor but 0, 1 and 2, no signal blocked, and this process's environment.
 *
 * Return: 0; -errno; a @child that runs already is -EBUSY.
 */
int child_start(Child *child, const char *const *argv, const char *input);

/* Takes what is there. Return: 1 when that was the end; 0; -errno. */
int child_read(Child *child);

/* SIGKILL to the group. */
void child_kill(const Child *child);

/* Frees what it said, and forgets it: it has been waited for. */
void child_deinit(Child *child);

#endif
