/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Child processes. posix_spawn() and not fork(): it is CLONE_VFORK inside glibc, so it costs the
 * same however large this process is, and it is safe beside threads.
 */

#include "common/base/exec.h"
#include "common/base/clock.h"

#include "common/base/cleanup.h"
#include "common/base/privilege.h"
#include "common/base/spawn_program.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT_LIMIT_DEFAULT (64UL * 1024)
#define POLL_STEP_MSECS      50
/* A sanitizer's frames fit, too. */
#define SPAWN_STACK_BYTES (512UL * 1024)

typedef struct Child {
        pid_t pid;
        int pid_fd;    /* -1 before Linux 5.3 */
        int input_fd;  /* write end; -1 when everything is fed */
        int output_fd; /* read ends; -1 at end of file */
        int errors_fd;
} Child;

/* Held from the birth of a child to its exec. */
static pthread_mutex_t birth = PTHREAD_MUTEX_INITIALIZER;

void exec_settle(void) {
        pthread_mutex_lock(&birth);
        pthread_mutex_unlock(&birth);
}

static void child_deinit(Child *child) {
        closep(&child->pid_fd);
        closep(&child->input_fd);
        closep(&child->output_fd);
        closep(&child->errors_fd);
}

void exec_result_deinit(ExecResult *result) {
        free(result->output);
        free(result->errors);
        *result = (ExecResult){0};
}

static int spawn_child(const ExecRequest *request, int input, int output, int errors, pid_t *pidp) {
        const int fds[] = {input, output, errors, request->device_fd};

        _Static_assert(EXEC_DEVICE_FD == STDERR_FILENO + 1, "the device comes after stderr");
        return spawn_program(request->program ? request->program : request->argv[0], request->argv,
                             request->envp, fds, request->device_fd > 0 ? 4 : 3, pidp);
}

typedef struct Birth {
        const ExecRequest *request;
        int input, output, errors;
        pid_t pid;
        int result;
} Birth;

static void *spawn_as_thread(void *userdata) {
        Birth *one = userdata;
        const ExecRequest *request = one->request;

        one->result =
                confine_thread(request->confinement, request->capabilities, request->device_fd);
        if (one->result == 0)
                one->result = spawn_child(request, one->input, one->output, one->errors, &one->pid);
        return NULL;
}

/* Capabilities and the filter are a thread's own and a child's from its birth, so a thread that
 * lives no longer gives them up: between birth and exec there is no code of ours that could. */
static int spawn_confined(const ExecRequest *request, int input, int output, int errors,
                          pid_t *pidp) {
        Birth one = {.request = request, .input = input, .output = output, .errors = errors};
        pthread_attr_t attributes;
        pthread_t thread;
        int r;

        if (pthread_attr_init(&attributes))
                return -ENOMEM;
        (void)pthread_attr_setstacksize(&attributes, SPAWN_STACK_BYTES);
        privilege_lock_pause();
        r = -pthread_create(&thread, &attributes, spawn_as_thread, &one);
        (void)pthread_attr_destroy(&attributes);
        if (r == 0)
                (void)pthread_join(thread, NULL);
        privilege_lock_resume();
        if (r < 0)
                return r;
        *pidp = one.pid;
        return one.result;
}

/* Returns when the child has let go of every descriptor: CLONE_VFORK. */
static int spawn(const ExecRequest *request, int input, int output, int errors, pid_t *pidp) {
        int r;

        pthread_mutex_lock(&birth);
        r = request->confinement ? spawn_confined(request, input, output, errors, pidp)
                                 : spawn_child(request, input, output, errors, pidp);
        pthread_mutex_unlock(&birth);
        return r;
}

/* Raising one's own score is always allowed; a child that ended already has none. */
static void make_expendable(pid_t pid) {
        cleanup(closep) int fd = -1;
        char path[40];

        (void)snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd >= 0 && write(fd, "1000", 4) < 0)
                return;
}

static int child_start(const ExecRequest *request, Child *child) {
        cleanup(closep) int input = -1, output = -1, errors = -1;
        int pair[2], r;

        if (request->input) {
                if (pipe2(pair, O_CLOEXEC) < 0)
                        return -errno;
                input = pair[0];
                child->input_fd = pair[1];
                if (fcntl(child->input_fd, F_SETFL, O_NONBLOCK) < 0)
                        return -errno;
        } else {
                input = open("/dev/null", O_RDONLY | O_CLOEXEC);
                if (input < 0)
                        return -errno;
        }
        if (pipe2(pair, O_CLOEXEC) < 0)
                return -errno;
        child->output_fd = pair[0];
        output = pair[1];
        if (pipe2(pair, O_CLOEXEC) < 0)
                return -errno;
        child->errors_fd = pair[0];
        errors = pair[1];
        r = spawn(request, input, output, errors, &child->pid);
        if (r < 0)
                return r;
        child->pid_fd = (int)syscall(SYS_pidfd_open, child->pid, 0);
        if (request->is_expendable)
                make_expendable(child->pid);
        return 0;
}

/* Writes what the pipe takes now; a child that closed its stdin early is its own business. */
static void feed(Child *child, const ExecRequest *request, size_t *n_fedp) {
        ssize_t n = write(child->input_fd, request->input + *n_fedp, request->n_input - *n_fedp);

        if (n > 0)
                *n_fedp += (size_t)n;
        if ((n < 0 && errno != EAGAIN && errno != EINTR) || *n_fedp == request->n_input)
                closep(&child->input_fd);
}

static void drain(int *fdp, StrBuf *buf, size_t limit, bool *truncatedp) {
        char chunk[4096];
        ssize_t n = read(*fdp, chunk, sizeof(chunk));
        size_t keep;

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return;
        if (n <= 0) {
                closep(fdp);
                return;
        }
        keep = (size_t)n < limit - buf->n ? (size_t)n : limit - buf->n;
        if (keep < (size_t)n)
                *truncatedp = true;
        if (keep > 0)
                strbuf_append_n(buf, chunk, keep);
}

static bool child_ended(const Child *child, siginfo_t *info) {
        info->si_pid = 0;
        return waitid(P_PID, (id_t)child->pid, info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info->si_pid != 0;
}

/* --- children that do not end although they were killed --- */

/* More would be more disks than a node has. */
#define ABANDONED_MAX 1024

static pthread_mutex_t abandoned_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t abandoned[ABANDONED_MAX];
static unsigned int n_abandoned;
static _Thread_local pid_t last_abandoned;

/* The lock is held. */
static void reap_abandoned(void) {
        for (unsigned int i = 0; i < n_abandoned;)
                if (waitpid(abandoned[i], NULL, WNOHANG) != 0)
                        abandoned[i] = abandoned[--n_abandoned];
                else
                        i++;
}

/* Beyond the limit it is only not reaped. */
static void abandon(pid_t pid) {
        pthread_mutex_lock(&abandoned_lock);
        reap_abandoned();
        if (n_abandoned < ABANDONED_MAX)
                abandoned[n_abandoned++] = pid;
        pthread_mutex_unlock(&abandoned_lock);
        last_abandoned = pid;
}

int exec_take_abandoned(void) {
        pid_t pid = last_abandoned;

        last_abandoned = 0;
        return pid;
}

bool exec_is_abandoned(int pid) {
        bool is_there = false;

        pthread_mutex_lock(&abandoned_lock);
        reap_abandoned();
        for (unsigned int i = 0; i < n_abandoned; i++)
                is_there = is_there || abandoned[i] == pid;
        pthread_mutex_unlock(&abandoned_lock);
        return is_there;
}

/* After a SIGKILL. Return: false: the kernel does not let it go. */
static bool await_death(const Child *child) {
        uint64_t end = clock_msecs() + EXEC_KILL_MSECS;
        siginfo_t info;

        while (!child_ended(child, &info)) {
                struct pollfd wait = {.fd = child->pid_fd, .events = POLLIN};
                uint64_t now = clock_msecs();

                if (now >= end)
                        return false;
                (void)poll(&wait, 1, (int)(child->pid_fd < 0 ? POLL_STEP_MSECS : end - now));
        }
        return true;
}

static void child_reap(const Child *child, ExecResult *result) {
        int status = 0;

        while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
                ;
        result->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        result->term_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

typedef struct Collected {
        StrBuf output, errors;
        size_t limit;
        bool truncated;
} Collected;

/* One round of poll(2). The pid descriptor wakes it at the child's end; without one the step does.
 */
static void collect_step(Child *child, const ExecRequest *request, Collected *collected,
                         size_t *n_fedp, int step_msecs) {
        struct pollfd fds[4] = {
                {.fd = child->input_fd, .events = POLLOUT},
                {.fd = child->output_fd, .events = POLLIN},
                {.fd = child->errors_fd, .events = POLLIN},
                {.fd = child->pid_fd, .events = POLLIN},
        };

        if (poll(fds, N_ELEMENTS(fds), step_msecs) <= 0)
                return;
        if (fds[0].revents)
                feed(child, request, n_fedp);
        if (fds[1].revents)
                drain(&child->output_fd, &collected->output, collected->limit,
                      &collected->truncated);
        if (fds[2].revents)
                drain(&child->errors_fd, &collected->errors, collected->limit,
                      &collected->truncated);
}

/*
 * What is still in the pipes after the child ended. A grandchild may hold them open for ever, so
 * reading stops as soon as they are empty for the moment.
 */
static void collect_rest(Child *child, Collected *collected) {
        int *fds[] = {&child->output_fd, &child->errors_fd};
        StrBuf *bufs[] = {&collected->output, &collected->errors};

        for (size_t i = 0; i < N_ELEMENTS(fds); i++)
                while (*fds[i] >= 0) {
                        struct pollfd fd = {.fd = *fds[i], .events = POLLIN};

                        if (poll(&fd, 1, 0) <= 0)
                                break;
                        drain(fds[i], bufs[i], collected->limit, &collected->truncated);
                }
}

/* Asks the group to end, and reads on for so long: what says why may be in its last words. */
static void ask_to_end(Child *child, const ExecRequest *request, Collected *collected) {
        uint64_t end = clock_msecs() + request->grace_msecs;
        siginfo_t info;
        size_t n_fed = request->n_input;

        closep(&child->input_fd);
        (void)kill(-child->pid, SIGTERM);
        while (!child_ended(child, &info)) {
                uint64_t now = clock_msecs();

                if (now >= end)
                        return;
                collect_step(child, request, collected, &n_fed,
                             (int)(end - now < POLL_STEP_MSECS ? end - now : POLL_STEP_MSECS));
        }
}

static int collect(Child *child, const ExecRequest *request, Collected *collected) {
        uint64_t end = request->timeout_msecs ? clock_msecs() + request->timeout_msecs : UINT64_MAX;
        bool polled = request->cancelled || child->pid_fd < 0;
        siginfo_t info;
        size_t n_fed = 0;

        if (child->input_fd >= 0 && request->n_input == 0)
                closep(&child->input_fd);
        while (!child_ended(child, &info)) {
                uint64_t now = clock_msecs();
                uint64_t left = now < end ? end - now : 0;
                uint64_t step = polled ? POLL_STEP_MSECS : 1000;

                if (left == 0)
                        return -ETIMEDOUT;
                if (request->cancelled && request->cancelled(request->userdata))
                        return -ECANCELED;
                collect_step(child, request, collected, &n_fed, (int)(step < left ? step : left));
        }
        return 0;
}

int exec_run(const ExecRequest *request, ExecResult *result) {
        cleanup(child_deinit) Child child = {
                .pid = -1, .pid_fd = -1, .input_fd = -1, .output_fd = -1, .errors_fd = -1};
        Collected collected = {.limit = request->output_limit_bytes ? request->output_limit_bytes
                                                                    : OUTPUT_LIMIT_DEFAULT};
        uint64_t start = clock_msecs();
        int r;

        r = child_start(request, &child);
        if (r < 0)
                return r;
        r = collect(&child, request, &collected);
        /* The group, and the child alone where vfork() is emulated and it has not made its group
         * yet. */
        if (r < 0 && request->grace_msecs)
                ask_to_end(&child, request, &collected);
        if (r < 0) {
                (void)kill(-child.pid, SIGKILL);
                (void)kill(child.pid, SIGKILL);
        }
        if (r < 0 && !await_death(&child)) {
                abandon(child.pid);
                result->exit_status = -1;
        } else {
                child_reap(&child, result);
        }
        collect_rest(&child, &collected);
        result->truncated = collected.truncated;
        result->duration_msecs = clock_msecs() - start;
        result->n_output = collected.output.n;
        result->n_errors = collected.errors.n;
        result->output = strbuf_steal(&collected.output);
        result->errors = strbuf_steal(&collected.errors);
        if (!result->output || !result->errors) {
                exec_result_deinit(result);
                return -ENOMEM;
        }
        return r;
}

const char **exec_environment(const char *setting) {
        size_t n = 0, kept = 0, n_name = setting ? strcspn(setting, "=") + 1 : 0;
        const char **all;

        while (environ[n])
                n++;
        all = calloc(n + 2, sizeof(*all));
        for (size_t i = 0; all && i < n; i++) {
                if (!setting || strncmp(environ[i], setting, n_name) != 0)
                        all[kept++] = environ[i];
        }
        if (all && setting)
                all[kept] = setting;
        return all;
}
