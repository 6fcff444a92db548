/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_EXEC_H
#define BERTH_BASE_EXEC_H

/* Run another program with a deadline and bounded captured output. No shell, ever. */

#include "common/base/confine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ExecRequest {
        const char *const
                *argv;       /* NULL-terminated; argv[0] is a path, or a name looked up in PATH */
        const char *program; /* what is run under the name argv[0]; NULL: argv[0] itself */
        const char *const *envp; /* NULL: this process's environment */
        const char *input;       /* fed to stdin; NULL: /dev/null */
        size_t n_input;
        uint64_t timeout_msecs;    /* 0: none */
        size_t output_limit_bytes; /* kept of stdout and of stderr each; what is beyond is read and
                                      dropped. 0: 64 KiB */
        bool (*cancelled)(
                void *userdata); /* polled every 50 ms; NULL: never. True kills the group */
        void *userdata;
        uint64_t grace_msecs; /* on timeout and cancellation the group gets SIGTERM and so long to
                                 end by itself before SIGKILL; 0: none */
        int device_fd;        /* the child has it too, and finds it as EXEC_DEVICE_PATH; 0: none */
        bool is_expendable;   /* when memory runs out, it and its children are killed before anybody
                                 else of the container */
        Confinement confinement; /* what it may still ask of the kernel */
        uint64_t capabilities;   /* with a confinement: kept of those of this process */
} ExecRequest;

/* How a child names ExecRequest.device_fd. To open it is to open what is behind the descriptor, and
 * not what a name in /dev stands for by then. */
#define EXEC_DEVICE_FD   3
#define EXEC_DEVICE_PATH "/proc/self/fd/3"

/* Starts as (ExecResult){0}; exec_result_deinit() frees. */
typedef struct ExecResult {
        int exit_status; /* 0..255; -1 if killed */
        int term_signal; /* 0, or the signal that ended it */
        char *output;    /* owned; stdout, NUL-terminated, never NULL after success of exec_run() */
        size_t n_output;
        char *errors; /* owned; stderr, likewise */
        size_t n_errors;
        bool truncated; /* some output was dropped */
        uint64_t duration_msecs;
} ExecResult;

/**
 * exec_run() - spawn, feed, collect, wait
 *
 * The child gets no descriptor but 0, 1, 2 and that of a device, an empty signal mask with default
 * dispositions, and its own process group. On timeout or cancellation the whole group is killed,
 * with SIGKILL once its grace is over, and reaped before this returns.
 *
 * The program must ignore SIGPIPE: a child may close its stdin early.
 *
 * Return: 0 when the child ended by itself, whatever its status; -ETIMEDOUT; -ECANCELED; -ENOENT if
 * there is no such program; another -errno. @result is filled also for -ETIMEDOUT and -ECANCELED.
 */
int exec_run(const ExecRequest *request, ExecResult *result);

/* This process's environment with "NAME=value" in place of its NAME; @setting NULL: as it is. The
 * strings are borrowed; caller frees the array with free(). NULL without memory. */
const char **exec_environment(const char *setting);

#define EXEC_KILL_MSECS 3000

/* The process that the last exec_run() of this thread left behind, once; 0: none. */
int exec_take_abandoned(void);

/* Whether a process that was left behind still hangs. */
bool exec_is_abandoned(int pid);

void exec_result_deinit(ExecResult *result);

/**
 * exec_settle() - until no child has a descriptor that this process has closed
 *
 * Between its birth and its exec a child has a copy of every descriptor. What another thread closes
 * in that moment stays open, for milliseconds on a busy machine: a device stays in exclusive use, a
 * mount busy. Who meets EBUSY for what is his alone settles and tries once more.
 */
void exec_settle(void);

#endif
