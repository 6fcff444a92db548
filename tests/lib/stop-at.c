/* SPDX-License-Identifier: Apache-2.0 */

/*
 * stop-at PID N [CALL | ACT KUBELET_ROOT]: traces all threads of a running process and holds the
 * thread that enters the N-th system call, before that call does anything, until a line comes on
 * standard input. The other threads go on meanwhile. Prints "ready" once it traces, "at NUMBER
 * OBJECT" when a thread is held, and, when standard input ends, "seen COUNT". Only calls that look
 * at or change files, devices, mounts and processes count: waiting, memory, clocks and the sockets
 * of gRPC do not; with CALL, one of those in calls[], only that one. Programs that the process
 * starts are not traced.
 *
 * ACT names what is done while the thread is held (ACTS of test_csi_adversary.py). A call that
 * neither sees nor changes anything that this act changes or sees leaves the same world whether the
 * act comes before it or after it: then the two points are one, and the call does not count. Which
 * those are is said by the tables below, by the object of the call; a call that no table has
 * counts. With STOP_AT_LOG=FILE in the environment each call that counts is written there.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define BROKEN  125
#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE)

enum {
        DELETE = 1,
        NUMBER = 2,
        FORMAT = 4,
        SWAP = 8,
        UNMOUNT = 16,
        FILL = 32,
        ALL = 63
};

static unsigned long wanted, seen;
static unsigned int act; /* 0: every call counts */
static const char *kubelet_root = "";
static FILE *calls_log;
static pid_t held; /* the thread that waits for the line; 0: none */

typedef struct NamedCall {
        const char *name;
        unsigned long long number, argument; /* the second one; 0: any */
        const char *path;                    /* what the second one points to begins with it */
} NamedCall;

static const NamedCall calls[] = {
        {"fchmod", SYS_fchmod, 0, NULL},   {"fsync", SYS_fsync, 0, NULL},
        {"syncfs", SYS_syncfs, 0, NULL},   {"copy_file_range", SYS_copy_file_range, 0, NULL},
        {"thaw", SYS_ioctl, FITHAW, NULL}, {"open-loop", SYS_openat, 0, "/dev/loop"},
};
static const NamedCall *only; /* CALL */

static bool counts(const struct __ptrace_syscall_info *info) {
        if (only)
                return info->entry.nr == only->number &&
                       (only->argument == 0 || info->entry.args[1] == only->argument);
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

/* Which arguments are a descriptor and a path; -1: none. None of these calls writes a file. */
static const struct {
        int nr;
        signed char fd, path;
        bool reads_data; /* bytes and the place of a descriptor, and no more */
} looks[] = {
        {SYS_read, 0, -1, true},        {SYS_pread64, 0, -1, true},   {SYS_preadv, 0, -1, true},
        {SYS_lseek, 0, -1, true},       {SYS_close, 0, -1, false},    {SYS_fstat, 0, -1, false},
        {SYS_newfstatat, 0, 1, false},  {SYS_statx, 0, 1, false},     {SYS_openat, 0, 1, false},
        {SYS_readlinkat, 0, 1, false},  {SYS_faccessat, 0, 1, false}, {SYS_faccessat2, 0, 1, false},
        {SYS_getdents64, 0, -1, false}, {SYS_dup, 0, -1, false},
#ifdef SYS_stat
        {SYS_stat, -1, 0, false},       {SYS_lstat, -1, 0, false},    {SYS_readlink, -1, 0, false},
        {SYS_access, -1, 0, false},     {SYS_open, -1, 0, false},
#endif
};

/* What no act of these changes or looks at, by how its name begins. The paths of backing files in
 * sysfs change with names, mounts and devices. A tenant is published below kubelet's root; a volume
 * whose device goes or is formatted shows at its mount there. */
static const struct {
        const char *prefix;
        unsigned int acts;
} untouched[] = {
        {"pipe:", ALL}, {"socket:", ALL}, {"anon_inode:", ALL}, {"/memfd:", ALL},   {"/proc/", ALL},
        {"/etc/", ALL}, {"/usr/", ALL},   {"/lib", ALL},        {"/dev/null", ALL}, {"/sys/", FILL},
};

/* Of the process itself: its limits, rights, pipes and names, and where it is in an open file. */
static bool is_inner(pid_t tid, const struct __ptrace_syscall_info *info) {
        uint64_t flags = 0;
        struct iovec to = {&flags, sizeof(flags)};
        struct iovec from = {(void *)(uintptr_t)info->entry.args[0], sizeof(flags)};

        switch (info->entry.nr) {
        case SYS_prlimit64:
        case SYS_pipe2:
        case SYS_capget:
        case SYS_capset:
        case SYS_uname:
        case SYS_sysinfo:
        case SYS_pidfd_open:
                return true;
        case SYS_lseek:
                return info->entry.args[2] == SEEK_SET || info->entry.args[2] == SEEK_CUR;
        case SYS_clone:
                return info->entry.args[0] & CLONE_THREAD;
        case SYS_clone3:
                /* A thread's own calls count; a program's are not seen. */
                return process_vm_readv(tid, &to, 1, &from, 1, 0) == sizeof(flags) &&
                       flags & CLONE_THREAD;
        default:
                return false;
        }
}

/* Whose file lies where: "" if it is not attached. */
static void backing_file(unsigned long number, char text[PATH_MAX]) {
        char path[64];
        FILE *file;

        text[0] = '\0';
        (void)snprintf(path, sizeof(path), "/sys/block/loop%lu/loop/backing_file", number);
        file = fopen(path, "re");
        if (!file)
                return;
        if (!fgets(text, PATH_MAX, file))
                text[0] = '\0';
        fclose(file);
}

/* A loop device that no act takes: another's, or a free one behind the two that are taken first. */
static bool is_other_loop(const char *object) {
        static const char *const places[] = {"/sys/block/loop", "/sys/devices/virtual/block/loop",
                                             "/dev/loop"};
        const char *slash = strrchr(kubelet_root, '/');
        unsigned long number = ULONG_MAX, n_free = 0;
        char text[PATH_MAX];

        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
                size_t n = strlen(places[i]);

                if (strncmp(object, places[i], n) == 0 && object[n] >= '0' && object[n] <= '9')
                        number = strtoul(object + n, NULL, 10);
        }
        if (number == ULONG_MAX || !slash)
                return false;
        backing_file(number, text);
        if (text[0] != '\0')
                return strncmp(text, kubelet_root, (size_t)(slash - kubelet_root)) != 0;
        for (unsigned long i = 0; i < number && n_free < 2; i++) {
                backing_file(i, text);
                n_free += text[0] == '\0';
        }
        return n_free == 2;
}

static void text_of_fd(pid_t tid, int fd, char text[PATH_MAX]) {
        char path[64];
        ssize_t n;

        if (fd == AT_FDCWD)
                (void)snprintf(path, sizeof(path), "/proc/%d/cwd", tid);
        else
                (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", tid, fd);
        n = readlink(path, text, PATH_MAX - 1);
        text[n > 0 ? n : 0] = '\0';
}

static void read_text(pid_t tid, uint64_t address, char text[PATH_MAX]) {
        size_t done = 0;

        while (done < PATH_MAX - 1) {
                /* Not over the end of a page at once: the next one may not be there. */
                size_t n = 4096 - ((address + done) & 4095);
                struct iovec to = {text + done, n < PATH_MAX - 1 - done ? n : PATH_MAX - 1 - done};
                struct iovec from = {(void *)(uintptr_t)(address + done), to.iov_len};
                ssize_t got = process_vm_readv(tid, &to, 1, &from, 1, 0);

                if (got <= 0 || memchr(text + done, '\0', (size_t)got))
                        break;
                done += (size_t)got;
        }
        text[PATH_MAX - 1] = '\0';
}

/* "" where it is not known. */
static void object_of(pid_t tid, const struct __ptrace_syscall_info *info, size_t i,
                      char object[PATH_MAX]) {
        char path[PATH_MAX] = "";

        object[0] = '\0';
        if (looks[i].path >= 0)
                read_text(tid, info->entry.args[(int)looks[i].path], path);
        if (path[0] != '/' && looks[i].fd >= 0)
                text_of_fd(tid, (int)info->entry.args[(int)looks[i].fd], object);
        if (path[0] == '\0')
                return;
        if (path[0] != '/') {
                size_t n = strlen(object);

                (void)snprintf(object + n, PATH_MAX - n, "/%.2000s", path);
        } else {
                memcpy(object, path, sizeof(path));
        }
}

/* Of a CALL that is asked for by its path. */
static bool has_path(pid_t tid, const struct __ptrace_syscall_info *info) {
        char path[PATH_MAX] = "";

        if (!only || !only->path)
                return true;
        read_text(tid, info->entry.args[1], path);
        return strncmp(path, only->path, strlen(only->path)) == 0;
}

static bool is_untouched(const char *object) {
        size_t n_root = strlen(kubelet_root);

        /* Links to files of the pool, and the mounts. */
        if (strstr(object, "/fd") || strstr(object, "mount") || strstr(object, "/..") ||
            strstr(object, "/root/") || strstr(object, "/cwd"))
                return false;
        if (n_root > 0 && strncmp(object, kubelet_root, n_root) == 0)
                return act & (SWAP | UNMOUNT | FILL);
        for (size_t i = 0; i < sizeof(untouched) / sizeof(untouched[0]); i++)
                if (strncmp(object, untouched[i].prefix, strlen(untouched[i].prefix)) == 0)
                        return act & untouched[i].acts;
        return false;
}

static bool opens_to_write(const struct __ptrace_syscall_info *info) {
        uint64_t flags;

        if (info->entry.nr == SYS_openat)
                flags = info->entry.args[2];
#ifdef SYS_open
        else if (info->entry.nr == SYS_open)
                flags = info->entry.args[1];
#endif
        else
                return false;
        return flags & (O_ACCMODE | O_CREAT | O_TRUNC | O_EXCL);
}

/* Whether the act leaves the same world before this call as after it. */
static bool commutes(pid_t tid, const struct __ptrace_syscall_info *info, char object[PATH_MAX]) {
        object[0] = '\0';
        if (is_inner(tid, info))
                return true;
        for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
                if (looks[i].nr != (int)info->entry.nr)
                        continue;
                object_of(tid, info, i, object);
                if (opens_to_write(info))
                        return false;
                if (is_untouched(object) || is_other_loop(object))
                        return true;
                /* An open file keeps its bytes when its name goes, and its device when its mount
                 * goes; the act that fills takes free space and nothing else, which only a close
                 * can give back. */
                if (looks[i].reads_data && strncmp(object, "/sys/", 5) != 0 &&
                    strncmp(object, "/proc/", 6) != 0)
                        return act & (SWAP | UNMOUNT | FILL);
                return act & FILL && info->entry.nr != SYS_close;
        }
        return false;
}

static unsigned int act_by_name(const char *name) {
        static const char *const names[] = {"delete", "number",  "format",
                                            "swap",   "unmount", "fill"};

        for (unsigned int i = 0; i < 6; i++)
                if (strcmp(name, names[i]) == 0)
                        return 1U << i;
        return 0;
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
                char object[PATH_MAX] = "";

                if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) > 0 &&
                    info.op == PTRACE_SYSCALL_INFO_ENTRY && counts(&info) && has_path(tid, &info) &&
                    !(act && commutes(tid, &info, object))) {
                        if (calls_log)
                                fprintf(calls_log, "%llu %s\n", (unsigned long long)info.entry.nr,
                                        object);
                        if (++seen == wanted) {
                                held = tid;
                                printf("at %llu %s\n", (unsigned long long)info.entry.nr, object);
                                fflush(stdout);
                                return;
                        }
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
        if (calls_log)
                fclose(calls_log);
        return false;
}

int main(int argc, char **argv) {
        sigset_t set;
        int fd;

        for (size_t i = 0; argc == 4 && i < sizeof(calls) / sizeof(calls[0]); i++)
                if (strcmp(argv[3], calls[i].name) == 0)
                        only = &calls[i];
        if (argc != 3 && argc != 5 && !only) {
                fprintf(stderr, "usage: stop-at PID N [CALL | ACT KUBELET_ROOT]\n");
                return BROKEN;
        }
        wanted = strtoul(argv[2], NULL, 10);
        if (argc == 5) {
                act = act_by_name(argv[3]);
                kubelet_root = argv[4];
        }
        if (getenv("STOP_AT_LOG"))
                calls_log = fopen(getenv("STOP_AT_LOG"), "ae");
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
