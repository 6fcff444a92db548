/* SPDX-License-Identifier: Apache-2.0 */

/*
 * stop-at PID N [CALL]: traces all threads of a running process and holds the thread that enters
 * the N-th system call, before that call does anything, until a line comes on standard input. The
 * other threads go on meanwhile. Prints "ready" once it traces, "at NUMBER" when a thread is held,
 * and, when standard input ends, "seen COUNT". Only calls that look at or change files, devices,
 * mounts and processes count: waiting, memory, clocks and the sockets of gRPC do not; with CALL,
 * one of those in calls[], only that one. Programs that the process starts are not traced.
 */

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BROKEN  125
#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE)

static unsigned long wanted, seen;
static pid_t held; /* the thread that waits for the line; 0: none */

static const struct {
        const char *name;
        unsigned long long number;
} calls[] = {{"fchmod", SYS_fchmod}, {"fsync", SYS_fsync}};

static long long only = -1; /* number of CALL */

static bool counts(const struct __ptrace_syscall_info *info) {
        if (only >= 0)
                return info->entry.nr == (unsigned long long)only;
        switch (info->entry.nr) {
        case SYS_read:
        case SYS_write:
                /* Eventfds wake threads up at times of their own. */
                return info->entry.args[2] != 8;
        case SYS_futex:
#ifdef SYS_epoll_wait
        case SYS_epoll_wait:
#endif
        case SYS_epoll_pwait:
        case SYS_epoll_ctl:
#ifdef SYS_poll
        case SYS_poll:
#endif
        case SYS_ppoll:
        case SYS_sendmsg:
        case SYS_recvmsg:
        case SYS_sendto:
        case SYS_recvfrom:
        case SYS_accept4:
        case SYS_getsockopt:
        case SYS_setsockopt:
        case SYS_getpeername:
        case SYS_getsockname:
        case SYS_shutdown:
        case SYS_fcntl:
        case SYS_mmap:
        case SYS_munmap:
        case SYS_mprotect:
        case SYS_madvise:
        case SYS_brk:
        case SYS_clock_gettime:
        case SYS_clock_nanosleep:
        case SYS_nanosleep:
        case SYS_gettimeofday:
        case SYS_getrandom:
        case SYS_getpid:
        case SYS_gettid:
        case SYS_rt_sigaction:
        case SYS_rt_sigprocmask:
        case SYS_rt_sigreturn:
        case SYS_rt_sigtimedwait:
        case SYS_sched_yield:
        case SYS_rseq:
        case SYS_set_robust_list:
        case SYS_exit:
        case SYS_prctl:
        case SYS_restart_syscall:
                return false;
        default:
                return true;
        }
}

static void go_on(pid_t tid, int number) {
        (void)ptrace(PTRACE_SYSCALL, tid, NULL, number);
}

/* A thread has stopped: at a system call, by a signal, as a new thread, or in a group stop. */
static void handle(pid_t tid, int status) {
        struct __ptrace_syscall_info info = {0};
        int number = WSTOPSIG(status);

        if (!WIFSTOPPED(status))
                return;
        if (status >> 16 == PTRACE_EVENT_STOP && number != SIGTRAP) {
                (void)ptrace(PTRACE_LISTEN, tid, NULL, NULL);
                return;
        }
        if (status >> 16 != 0) {
                go_on(tid, 0);
                return;
        }
        if (number != (SIGTRAP | 0x80)) {
                go_on(tid, number);
                return;
        }
        if (wanted == 0 || seen < wanted) {
                if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) > 0 &&
                    info.op == PTRACE_SYSCALL_INFO_ENTRY && counts(&info) && ++seen == wanted) {
                        held = tid;
                        printf("at %llu\n", (unsigned long long)info.entry.nr);
                        fflush(stdout);
                        return;
                }
        }
        go_on(tid, 0);
}

static int seize(const char *pid) {
        char path[64];
        DIR *directory;
        struct dirent *entry;
        int n = 0;

        (void)snprintf(path, sizeof(path), "/proc/%s/task", pid);
        directory = opendir(path);
        if (!directory)
                return -1;
        while ((entry = readdir(directory))) {
                pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

                if (tid > 0 && ptrace(PTRACE_SEIZE, tid, NULL, OPTIONS) == 0 &&
                    ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == 0)
                        n++;
        }
        closedir(directory);
        return n;
}

static void handle_all(void) {
        int status;
        pid_t tid;

        while ((tid = waitpid(-1, &status, WNOHANG | __WALL)) > 0)
                handle(tid, status);
}

/* A line, or the end of it; both let the held thread go. False when there is nothing more to do. */
static bool take_line(void) {
        char byte;
        ssize_t n = read(STDIN_FILENO, &byte, 1);

        if (held) {
                go_on(held, 0);
                held = 0;
        }
        if (n == 1)
                return true;
        printf("seen %lu\n", seen);
        return false;
}

int main(int argc, char **argv) {
        sigset_t set;
        int fd;

        for (size_t i = 0; argc == 4 && i < sizeof(calls) / sizeof(calls[0]); i++)
                if (strcmp(argv[3], calls[i].name) == 0)
                        only = (long long)calls[i].number;
        if (argc != 3 && only < 0) {
                fprintf(stderr, "usage: stop-at PID N [CALL]\n");
                return BROKEN;
        }
        wanted = strtoul(argv[2], NULL, 10);
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, NULL);
        fd = signalfd(-1, &set, SFD_CLOEXEC);
        if (fd < 0 || seize(argv[1]) <= 0)
                return BROKEN;
        handle_all();
        printf("ready\n");
        fflush(stdout);
        for (;;) {
                struct pollfd polled[2] = {{.fd = fd, .events = POLLIN},
                                           {.fd = STDIN_FILENO, .events = POLLIN}};
                struct signalfd_siginfo siginfo;

                if (poll(polled, 2, -1) < 0 && errno != EINTR)
                        return BROKEN;
                if (polled[0].revents)
                        (void)!read(fd, &siginfo, sizeof(siginfo));
                handle_all();
                if (polled[1].revents && !take_line())
                        return 0;
        }
}
