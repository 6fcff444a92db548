/* SPDX-License-Identifier: Apache-2.0 */

#include "common/base/spawn_program.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <unistd.h>

static int set_attributes(posix_spawnattr_t *attributes) {
        sigset_t none, all;
        int r;

        sigemptyset(&none);
        sigfillset(&all);
        r = posix_spawnattr_setsigmask(attributes, &none);
        r = r ? r : posix_spawnattr_setsigdefault(attributes, &all);
        r = r ? r : posix_spawnattr_setpgroup(attributes, 0);
        return r ? r
                 : posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK |
                                                                POSIX_SPAWN_SETSIGDEF |
                                                                POSIX_SPAWN_SETPGROUP);
}

static int set_files(posix_spawn_file_actions_t *actions, const int *fds, size_t n_fds) {
        int r = 0;

        for (size_t i = 0; i < n_fds && r == 0; i++)
                r = posix_spawn_file_actions_adddup2(actions, fds[i], (int)i);
        return r ? r : posix_spawn_file_actions_addclosefrom_np(actions, (int)n_fds);
}

int spawn_program(const char *program, const char *const *argv, const char *const *envp,
                  const int *fds, size_t n_fds, pid_t *pidp) {
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        int r;

        /* Neither init can fail on glibc but for memory. */
        if (posix_spawn_file_actions_init(&actions))
                return -ENOMEM;
        if (posix_spawnattr_init(&attributes)) {
                (void)posix_spawn_file_actions_destroy(&actions);
                return -ENOMEM;
        }
        r = set_attributes(&attributes);
        r = r ? r : set_files(&actions, fds, n_fds);
        r = r ? r
              : posix_spawnp(pidp, program, &actions, &attributes, (char *const *)(uintptr_t)argv,
                             envp ? (char *const *)(uintptr_t)envp : environ);
        (void)posix_spawnattr_destroy(&attributes);
        (void)posix_spawn_file_actions_destroy(&actions);
        return -r;
}
