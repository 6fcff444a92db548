/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The loop. What is to be done has a time at which it is due; one job runs at a time, as a child,
 * and everything else is read meanwhile. When nothing happens, nothing wakes this process but the
 * times of the jobs, which are half a minute apart or more.
 */

#include "cni/node/metrics.h"
#include "cni/node/suspects.h"
#include "cni/node/watch.h"
#include "common/base/child.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/http/http.h"
#include "common/mount/mount_api.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define NEVER UINT64_MAX

/* Announcements come in crowds, and a DEL takes a link down before it is gone. */
#define SETTLE_MSECS 200

/* Between the starts of two looks at everything, whatever is announced. */
#define REPAIR_GAP_MSECS 1000

/* What a file's change is made of takes a moment. */
#define FILES_MSECS 100

/* The first collection waits for the pods that start with the node. */
#define FIRST_GC_MSECS 60000

/* Counting costs dumps, and anybody may ask. */
#define METRICS_MSECS 1000

/* Lines of one run that are logged. */
#define LINES_MAX 100

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

typedef enum Wait {
        WAIT_SIGNALS,
        WAIT_CHILD,
        WAIT_FILES,
        WAIT_RTNL,
        WAIT_NFT,
        _WAIT_N,
} Wait;

typedef struct JobState {
        uint64_t due_msecs;
        uint64_t started_msecs;
        unsigned int n_failed; /* in a row */
        char *said;            /* owned: its last output, so that the same is logged once */
} JobState;

typedef struct Node {
        const NodeArgs *args;
        HttpServer *http; /* owned; NULL: none */
        int signals;      /* owned */
        NodeWatch watch;
        NlSocket rtnl_events, nft_events, rtnl;
        Suspects suspects;
        uint64_t suspects_due_msecs;

        Child child;
        NodeJob running;
        uint64_t kill_msecs;
        bool is_ended; /* the child was waited for */
        int status;

        JobState jobs[_NODE_JOB_N];
        char *subnets; /* owned; of the API server; NULL: not known yet */
        char why_not_ready[ERROR_MESSAGE_MAX];
        NodeCounts counts;
        char *metrics; /* owned; of */
        uint64_t metrics_msecs;
        bool stops;
} Node;

static uint32_t some_number(void) {
        uint32_t number;

        return getrandom(&number, sizeof(number), GRND_NONBLOCK) == (ssize_t)sizeof(number) ? number
                                                                                            : 0;
}

/* At this time, if it is not due before. */
static void job_due(Node *node, NodeJob job, uint64_t msecs) {
        if (node->jobs[job].due_msecs > msecs)
                node->jobs[job].due_msecs = msecs;
}

/* --- jobs ------------------------------------------------------------------------------------ */

static void job_start(Node *node, NodeJob job) {
        const char *input =
                job == NODE_JOB_INSTALL && node_args_ask(node->args) ? node->subnets : NULL;
        JobState *state = &node->jobs[job];
        NodeArgv argv;
        int r;

        node_job_argv(job, node->args, &argv);
        state->started_msecs = clock_msecs();
        state->due_msecs = NEVER;
        node->running = job;
        node->is_ended = false;
        node->kill_msecs = state->started_msecs + node_job_timeout_msecs(job);
        r = child_start(&node->child, argv.items, input);
        if (r < 0) {
                log_error("%s: cannot run %s: %s", node_job_name(job), argv.items[0],
                          strerrordesc_np(-r));
                state->n_failed++;
                node->counts.jobs[job].failed++;
                state->due_msecs =
                        state->started_msecs + node_retry_msecs(state->n_failed, some_number());
        }
}

static void start_due(Node *node) {
        uint64_t now = clock_msecs();

        for (unsigned int i = 0; i < _NODE_JOB_N && node->child.pid == 0; i++)
                if (node->jobs[i].due_msecs <= now)
                        job_start(node, (NodeJob)i);
}

/* Lines that are each about one difference; the program's own words begin with its name. */
static unsigned int count_lines(const char *text) {
        unsigned int n = 0;

        for (; text && *text; text += strcspn(text, "\n"), text += *text == '\n')
                n += !str_has_prefix(text, "berth-cni: ");
        return n;
}

/* Each line of what it said, unless it said the same the last time: what was put right is always
 * news. */
static void log_said(Node *node, bool failed) {
        JobState *state = &node->jobs[node->running];
        const LogField fields[] = {{"op", node_job_name(node->running)}};
        char *text = node->child.output, *save = NULL;
        unsigned int n = 0;

        if (!text || ((failed || node->running != NODE_JOB_REPAIR || count_lines(text) == 0) &&
                      str_equal(text, state->said ? state->said : "")))
                return;
        free(state->said);
        state->said = strdup(text);
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
                if (n++ < LINES_MAX)
                        log_fields(failed ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, fields,
                                   N_ELEMENTS(fields), "%s", line);
        if (n > LINES_MAX)
                log_fields(LOG_LEVEL_INFO, fields, N_ELEMENTS(fields), "and %u lines more",
                           n - LINES_MAX);
}

/* The last line of what a failed child said. */
static void keep_reason(Node *node) {
        const char *text = node->child.output ? node->child.output : "", *line = text;

        for (const char *c = text; *c; c++)
                if (c[0] == '\n' && c[1] != '\0')
                        line = c + 1;
        snprintf(node->why_not_ready, sizeof(node->why_not_ready), "%s: %.*s",
                 node_job_name(node->running), (int)strcspn(line, "\n"),
                 line[0] ? line : "it was killed");
}

static void subnets_done(Node *node, uint64_t now) {
        const char *text = node->child.output ? node->child.output : "";

        /* A few seconds more or less, so that the nodes of a cluster do not ask together. */
        node->jobs[NODE_JOB_SUBNETS].due_msecs =
                now + node->args->ask_secs * 1000 - some_number() % (node->args->ask_secs * 100);
        if (node->subnets && str_equal(node->subnets, text))
                return;
        free(node->subnets);
        node->subnets = strdup(text);
        job_due(node, NODE_JOB_INSTALL, now);
}

static void watch_files(Node *node) {
        int r = node_watch_add(&node->watch, node->args);

        if (r < 0)
                log_warning("changes of files are seen with the next look only: inotify: %s",
                            strerrordesc_np(-r));
}

static void install_done(Node *node, uint64_t now) {
        bool first = !node->counts.is_ready;

        node->counts.is_ready = true;
        watch_files(node);
        if (first && node->args->gc_secs > 0)
                job_due(node, NODE_JOB_GC, now + FIRST_GC_MSECS);
}

static void job_done(Node *node, uint64_t now) {
        switch (node->running) {
        case NODE_JOB_SUBNETS:
                subnets_done(node, now);
                return;
        case NODE_JOB_INSTALL:
                install_done(node, now);
                return;
        case NODE_JOB_REPAIR:
                if (node->args->repair_secs > 0)
                        job_due(node, NODE_JOB_REPAIR, now + node->args->repair_secs * 1000);
                return;
        case NODE_JOB_GC:
                if (node->args->gc_secs > 0)
                        job_due(node, NODE_JOB_GC, now + node->args->gc_secs * 1000);
                return;
        case _NODE_JOB_N:
                return;
        }
}

static void job_failed(Node *node, uint64_t now) {
        JobState *state = &node->jobs[node->running];

        state->n_failed++;
        if (node->running == NODE_JOB_INSTALL)
                node->counts.is_ready = false;
        if (!node->counts.is_ready)
                keep_reason(node);
        /* A pod that cannot be repaired is no reason to look at all of them each second. */
        if (node->running == NODE_JOB_REPAIR || node->running == NODE_JOB_GC)
                job_done(node, now);
        else
                job_due(node, node->running,
                        now + node_retry_msecs(state->n_failed, some_number()));
}

/* Both are wanted: its end, and what it said before. */
static void job_end(Node *node) {
        NodeJobCounts *counts = &node->counts.jobs[node->running];
        JobState *state = &node->jobs[node->running];
        bool failed = !WIFEXITED(node->status) || WEXITSTATUS(node->status) != 0;
        uint64_t now = clock_msecs();

        if (node->child.output_fd >= 0)
                (void)child_read(&node->child);
        counts->msecs += now - state->started_msecs;
        if (node->running == NODE_JOB_REPAIR)
                node->counts.repaired += count_lines(node->child.output);
        if (failed) {
                counts->failed++;
                job_failed(node, now);
        } else {
                counts->done++;
                counts->last_done_secs = (uint64_t)time(NULL);
                state->n_failed = 0;
                job_done(node, now);
        }
        if (WIFSIGNALED(node->status) && !node->stops)
                log_error("%s: ended by signal %d", node_job_name(node->running),
                          WTERMSIG(node->status));
        log_said(node, failed);
        child_deinit(&node->child);
}

/* --- what happens ---------------------------------------------------------------------------- */

/* All of it, now. */
static void all_due(Node *node) {
        const NodeArgs *args = node->args;

        if (node_args_ask(args))
                job_due(node, NODE_JOB_SUBNETS, 0);
        if (!node_args_ask(args) || node->subnets)
                job_due(node, NODE_JOB_INSTALL, 0);
        job_due(node, NODE_JOB_REPAIR, 0);
        if (node->counts.is_ready)
                job_due(node, NODE_JOB_GC, 0);
}

static void on_signals(Node *node) {
        struct signalfd_siginfo info;
        pid_t pid;
        int status;

        while (read(node->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
                if (info.ssi_signo == SIGHUP)
                        all_due(node);
                else
                        node->stops |= info.ssi_signo != SIGCHLD;
        /* In a container what a killed child leaves behind becomes ours. */
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                if (pid == node->child.pid) {
                        node->status = status;
                        node->is_ended = true;
                }
}

static int on_rtnl(const struct nlmsghdr *message, void *userdata) {
        Node *node = userdata;
        RtnlEvent event;

        node->counts.announcements++;
        if (rtnl_event_parse(message, &event) == 0)
                suspects_rtnl(&node->suspects, &event);
        return 0;
}

static int on_nft(const struct nlmsghdr *message, void *userdata) {
        Node *node = userdata;
        NftEvent event;

        node->counts.announcements++;
        if (nft_event_parse(message, &event) == 0)
                suspects_nft(&node->suspects, &event);
        return 0;
}

/* What is lost may be anything. */
static void listen_to(Node *node, NlSocket *sock,
                      int (*each)(const struct nlmsghdr *message, void *userdata)) {
        bool any = suspects_any(&node->suspects);
        int r = nl_socket_receive(sock, each, node);

        node->suspects.is_certain |= r < 0 && r != -ENODATA;
        if (!any && suspects_any(&node->suspects))
                node->suspects_due_msecs = clock_msecs() + SETTLE_MSECS;
}

static bool any_is_broken(Node *node) {
        bool broken = node->suspects.is_certain;

        for (size_t i = 0; i < node->suspects.n && !broken; i++) {
                Link link;

                broken = link_find(&node->rtnl, node->suspects.items[i].index, NULL, &link) == 0 &&
                         suspect_is_broken(&node->suspects.items[i], &link);
        }
        return broken;
}

static void look_at_suspects(Node *node, uint64_t now) {
        const JobState *state = &node->jobs[NODE_JOB_REPAIR];

        if (!suspects_any(&node->suspects) || now < node->suspects_due_msecs)
                return;
        if (any_is_broken(node)) {
                uint64_t next = state->started_msecs + REPAIR_GAP_MSECS;

                node->counts.suspicions++;
                job_due(node, NODE_JOB_REPAIR, state->started_msecs > 0 && next > now ? next : now);
        }
        node->suspects.n = 0;
        node->suspects.is_certain = false;
}

/* --- HTTP ------------------------------------------------------------------------------------ */

static const char *metrics(Node *node) {
        cleanup(freep) NodeGauges *gauges = calloc(1, sizeof(*gauges));
        cleanup(freep) Counters *calls = calloc(1, sizeof(*calls));
        uint64_t now = clock_msecs();

        if (node->metrics && now - node->metrics_msecs < METRICS_MSECS)
                return node->metrics;
        if (!gauges || !calls)
                return NULL;
        node_gauges_read(node->args->cache, gauges);
        free(node->metrics);
        node->metrics = node_metrics_format(
                &node->counts, gauges, counters_read(COUNTERS_PATH, calls) == 0 ? calls : NULL);
        node->metrics_msecs = now;
        return node->metrics;
}

static void handle(void *userdata, const HttpRequest *request, HttpAnswer *answer) {
        Node *node = userdata;

        answer->status = 200;
        if (str_equal(request->path, "/livez")) {
                answer->text = strdup("ok");
        } else if (str_equal(request->path, "/readyz")) {
                answer->status = node->counts.is_ready ? 200 : 500;
                answer->text = strdup(node->counts.is_ready ? "ok" : node->why_not_ready);
        } else if (str_equal(request->path, "/metrics")) {
                const char *text = metrics(node);

                answer->text = text ? strdup(text) : NULL;
                answer->status = answer->text ? 200 : 500;
                answer->type = METRICS_CONTENT_TYPE;
        } else {
                answer->status = 404;
                answer->text = strdup("not found\n");
        }
}

static void told_bind(void *userdata, int r) {
        const Node *node = userdata;
        const NodeArgs *args = node->args;
        const char *where =
                str_is_empty(args->health_address) ? "all addresses" : args->health_address;

        if (r == 0)
                log_info("health: listening on %s port %u", where, (unsigned)args->health_port);
        else
                log_error("health: cannot listen on %s port %u: %s; the network is looked after "
                          "without health and metrics, and it is tried again each second "
                          "(--health-port: another port)",
                          where, (unsigned)args->health_port, strerrordesc_np(-r));
}

/* --- start, loop, end ------------------------------------------------------------------------ */

static int open_signals(Node *node) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        (void)signal(SIGPIPE, SIG_IGN);
        node->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return node->signals < 0 ? -errno : 0;
}

static int open_announcements(Node *node) {
        int r = nl_socket_open(&node->rtnl, NETLINK_ROUTE);

        r = r < 0 ? r : nl_socket_open(&node->rtnl_events, NETLINK_ROUTE);
        r = r < 0 ? r : rtnl_event_join(&node->rtnl_events);
        r = r < 0 ? r : nl_socket_open(&node->nft_events, NETLINK_NETFILTER);
        return r < 0 ? r : nft_event_join(&node->nft_events);
}

/* Calls are counted only where this can be: the network does not depend on it. */
static void make_counters(void) {
        int r = file_make_directories(COUNTERS_DIRECTORY, 0755);

        r = r < 0 ? r : counters_make(COUNTERS_PATH);
        if (r < 0)
                log_warning("calls are not counted: %s: %s", COUNTERS_PATH, strerrordesc_np(-r));
}

/* A container's /proc/sys is read-only. That of the host, brought along below another path, shows
 * the switches of whichever namespace looks at it, as this one does. */
static void open_sysctls(const char *path) {
        cleanup(closep) int source = path ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
        cleanup(closep) int target = open("/proc/sys/net", O_PATH | O_DIRECTORY | O_CLOEXEC);
        cleanup(closep) int parent = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
        const MountPlace place = {.fd = target, .parent_fd = parent, .name = "net"};
        MountContext context = {0};
        int r;

        if (!path)
                return;
        r = source < 0 ? -errno : mount_bind(source, &place, 0, 0, &context);
        if (r < 0)
                log_warning("sysctls cannot be repaired: %s in place of /proc/sys/net: %s", path,
                            strerrordesc_np(-r));
}

static int start_http(Node *node, Error *err) {
        const HttpConfig config = {.address = node->args->health_address,
                                   .port = (uint16_t)node->args->health_port,
                                   .handle = handle,
                                   .told_bind = told_bind,
                                   .userdata = node};
        int r = node->args->health_port > 0 ? http_open(&node->http, &config) : 0;

        if (r == -EINVAL)
                return error_set(err, ERROR_INVALID,
                                 "--health-address: \"%.64s\", expected a numeric address",
                                 node->args->health_address);
        return r < 0 ? error_set_errno(err, r, "start the HTTP server") : 0;
}

static int start(Node *node, Error *err) {
        int r;

        node->counts.started_secs = (uint64_t)time(NULL);
        snprintf(node->why_not_ready, sizeof(node->why_not_ready), "nothing is installed yet");
        r = open_signals(node);
        if (r < 0)
                return error_set_errno(err, r, "take signals");
        r = open_announcements(node);
        if (r < 0)
                return error_set_errno(err, r, "listen to the kernel");
        make_counters();
        open_sysctls(node->args->sysctls);
        r = start_http(node, err);
        watch_files(node);
        for (unsigned int i = 0; i < _NODE_JOB_N; i++)
                node->jobs[i].due_msecs = NEVER;
        job_due(node, node_args_ask(node->args) ? NODE_JOB_SUBNETS : NODE_JOB_INSTALL, 0);
        /* Pods that run need no API server. */
        if (node->args->repair_secs > 0)
                job_due(node, NODE_JOB_REPAIR, 0);
        return r;
}

static void node_deinit(Node *node) {
        http_close(node->http);
        closep(&node->signals);
        node_watch_close(&node->watch);
        nl_socket_close(&node->rtnl);
        nl_socket_close(&node->rtnl_events);
        nl_socket_close(&node->nft_events);
        child_deinit(&node->child);
        for (unsigned int i = 0; i < _NODE_JOB_N; i++)
                free(node->jobs[i].said);
        free(node->subnets);
        free(node->metrics);
}

/* Until the next time at which something is due; -1: for ever. */
static int timeout_msecs(const Node *node, int http_msecs) {
        uint64_t now = clock_msecs(), next = NEVER;

        if (node->child.pid > 0)
                next = node->kill_msecs;
        for (unsigned int i = 0; i < _NODE_JOB_N && node->child.pid == 0; i++)
                if (node->jobs[i].due_msecs < next)
                        next = node->jobs[i].due_msecs;
        if (suspects_any(&node->suspects) && node->suspects_due_msecs < next)
                next = node->suspects_due_msecs;
        if (http_msecs >= 0 && now + (uint64_t)http_msecs < next)
                next = now + (uint64_t)http_msecs;
        return next == NEVER ? -1 : next <= now ? 0 : (int)(next - now);
}

/* Installed once, it is tried again whatever happened: without subnets there is nothing yet. */
static void on_files(Node *node) {
        if (node_watch_read(&node->watch, node->args) &&
            (!node_args_ask(node->args) || node->subnets))
                job_due(node, NODE_JOB_INSTALL, clock_msecs() + FILES_MSECS);
}

static void serve(Node *node, const struct pollfd *waits, size_t n) {
        uint64_t now;

        if (waits[WAIT_SIGNALS].revents)
                on_signals(node);
        if (waits[WAIT_CHILD].revents && node->child.output_fd >= 0)
                (void)child_read(&node->child);
        if (waits[WAIT_FILES].revents)
                on_files(node);
        if (waits[WAIT_RTNL].revents)
                listen_to(node, &node->rtnl_events, on_rtnl);
        if (waits[WAIT_NFT].revents)
                listen_to(node, &node->nft_events, on_nft);
        if (node->http)
                http_serve(node->http, waits + _WAIT_N, n - _WAIT_N);
        now = clock_msecs();
        if (node->child.pid > 0 && node->is_ended)
                job_end(node);
        else if (node->child.pid > 0 && now >= node->kill_msecs) {
                child_kill(&node->child);
                node->kill_msecs = NEVER;
        }
        look_at_suspects(node, now);
}

static int loop(Node *node) {
        while (!node->stops) {
                struct pollfd waits[_WAIT_N + HTTP_WAITS_MAX] = {
                        [WAIT_SIGNALS] = {.fd = node->signals, .events = POLLIN},
                        [WAIT_FILES] = {.fd = node->watch.fd, .events = POLLIN},
                        [WAIT_RTNL] = {.fd = node->rtnl_events.fd, .events = POLLIN},
                        [WAIT_NFT] = {.fd = node->nft_events.fd, .events = POLLIN},
                };
                int http_msecs = -1;
                size_t n = _WAIT_N;

                start_due(node);
                waits[WAIT_CHILD] = (struct pollfd){.fd = node->child.output_fd, .events = POLLIN};
                if (node->http)
                        n += http_prepare(node->http, waits + _WAIT_N, &http_msecs);
                if (poll(waits, n, timeout_msecs(node, http_msecs)) < 0 && errno != EINTR)
                        return -errno;
                serve(node, waits, n);
        }
        return 0;
}

/* What runs is ended: each of its steps leaves the old or the new, and the next start does it
 * again. The network stays. */
static void stop(Node *node) {
        if (node->child.pid > 0) {
                child_kill(&node->child);
                (void)waitpid(node->child.pid, NULL, 0);
        }
        log_info("ends; the network stays as it is");
}

int node_run(const NodeArgs *args) {
        cleanup(freep) Node *node = calloc(1, sizeof(*node));
        Error err = {0};
        int r;

        if (!node) {
                log_error("out of memory");
                return 1;
        }
        *node = (Node){.args = args,
                       .signals = -1,
                       .watch = NODE_WATCH_NULL,
                       .rtnl = NL_SOCKET_NULL,
                       .rtnl_events = NL_SOCKET_NULL,
                       .nft_events = NL_SOCKET_NULL,
                       .child = CHILD_NULL};
        r = start(node, &err);
        if (r == 0) {
                log_info("berth-node " BERTH_VERSION " looks after %s and %s", args->plugins,
                         args->configurations);
                r = loop(node);
                if (r < 0)
                        (void)error_set_errno(&err, r, "wait");
                stop(node);
        }
        if (r < 0)
                log_error("%s", err.message);
        node_deinit(node);
        return r < 0;
}
