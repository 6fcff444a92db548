/* SPDX-License-Identifier: Apache-2.0 */

/*
 * kill-at N PROGRAM [ARGUMENT...]: runs a program and kills it with SIGKILL as it enters its N-th
 * system call after execve(2), before that call does anything. Exits with 137 when it did, with the
 * program's own status when that came first, and with 125 when it could not run it.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILLED 137
#define BROKEN 125

static int start(char **argv) {
        pid_t pid = fork();

        if (pid != 0)
                return pid;
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
                _exit(BROKEN);
        execv(argv[0], argv);
        _exit(BROKEN);
}

static int ended(int status) {
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv) {
        unsigned long n = argc > 2 ? strtoul(argv[1], NULL, 10) : 0, seen = 0;
        int inside = 0, status;
        pid_t pid;

        if (n == 0) {
                fprintf(stderr, "usage: kill-at N PROGRAM [ARGUMENT...]\n");
                return BROKEN;
        }
        pid = start(argv + 2);
        if (pid < 0 || waitpid(pid, &status, 0) < 0)
                return BROKEN;
        if (!WIFSTOPPED(status))
                return ended(status);
        (void)ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
        for (;;) {
                int number = 0;

                if (WIFSTOPPED(status) && WSTOPSIG(status) != (SIGTRAP | 0x80) &&
                    WSTOPSIG(status) != SIGTRAP)
                        number = WSTOPSIG(status);
                if (ptrace(PTRACE_SYSCALL, pid, NULL, number) < 0 || waitpid(pid, &status, 0) < 0)
                        return BROKEN;
                if (!WIFSTOPPED(status))
                        return ended(status);
                if (WSTOPSIG(status) != (SIGTRAP | 0x80))
                        continue;
                inside = !inside;
                if (!inside || ++seen < n)
                        continue;
                (void)kill(pid, SIGKILL);
                (void)waitpid(pid, &status, 0);
                return KILLED;
        }
}
