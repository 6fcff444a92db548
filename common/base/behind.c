/* SPDX-License-Identifier: Apache-2.0 */

#include "common/base/behind.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FDS_OF_A_PROGRAM 1024

/* Out of the way first: one may have the number that another is to get. */
static void keep_only(int *const *fds, size_t n) {
        int moved[BEHIND_FDS_MAX];

        for (size_t i = 0; i < n; i++)
                moved[i] = fcntl(*fds[i], F_DUPFD, (int)n);
        for (size_t i = 0; i < n; i++) {
                (void)dup2(moved[i], (int)i);
                *fds[i] = (int)i;
        }
        /* Before Linux 5.9; a runtime's program has few. */
        if (syscall(SYS_close_range, (unsigned int)n, ~0U, 0) < 0)
                for (int fd = (int)n; fd < FDS_OF_A_PROGRAM; fd++)
                        (void)close(fd);
}

pid_t behind_fork(int *const *fds, size_t n) {
        pid_t pid;

        if (n > BEHIND_FDS_MAX)
                return -E2BIG;
        pid = fork();
        if (pid != 0)
                return pid < 0 ? -errno : pid;
        /* First: what another process waits for may be held by a descriptor. */
        keep_only(fds, n);
        (void)setsid();
        return 0;
}

void behind_wait_rcu(void) {
        (void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}
