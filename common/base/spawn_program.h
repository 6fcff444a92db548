/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_SPAWN_PROGRAM_H
#define BERTH_BASE_SPAWN_PROGRAM_H

/* What exec_run() and child_start() have in common. */

#include <stddef.h>
#include <sys/types.h>

/**
 * spawn_program() - start @program, looked for in PATH unless it has a slash
 * @argv: NULL-terminated
 * @envp: NULL-terminated; NULL: this process's
 * @fds:  what it has as descriptors 0, 1, ...; none but these @n_fds
 *
 * It leads a process group of its own, and no signal is blocked or ignored in it.
 *
 * Return: 0 with @pidp; -errno.
 */
int spawn_program(const char *program, const char *const *argv, const char *const *envp,
                  const int *fds, size_t n_fds, pid_t *pidp);

#endif
