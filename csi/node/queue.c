/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/queue.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#define POLL_MSECS 100

/* On the stack of who waits. */
typedef struct Waiter Waiter;
struct Waiter {
        Waiter *next;
};

struct Queue {
        pthread_mutex_t mutex;
        pthread_cond_t left; /* CLOCK_MONOTONIC */
        unsigned int max_running, n_running, n_waiting;
        uint64_t max_memory, memory;
        Waiter *waiters; /* first come, first served */
};

/* --- limits --- */

/* The number after @key in a text of lines "MemAvailable:   123 kB". */
static bool find_number(const char *text, const char *key, uint64_t *valuep) {
        const char *at = strstr(text, key);
        char digits[24];
        size_t n;

        if (!at)
                return false;
        at += strlen(key);
        at += strspn(at, " \t");
        n = strspn(at, "0123456789");
        if (n == 0 || n >= sizeof(digits))
                return false;
        memcpy(digits, at, n);
        digits[n] = '\0';
        return str_parse_u64(digits, UINT64_MAX, valuep) == 0;
}

static bool read_number(const char *path, uint64_t *valuep) {
        cleanup(freep) char *text = NULL;

        if (file_read_at(AT_FDCWD, path, 4096, &text, NULL) < 0)
                return false;
        str_trim_end(text);
        return str_parse_u64(text, UINT64_MAX, valuep) == 0;
}

/* In a container its own cgroup is mounted at the root of the hierarchy. "max" is no number. */
static uint64_t cgroup_free(const char *limit_path, const char *used_path) {
        uint64_t limit, used;

        if (!read_number(limit_path, &limit) || !read_number(used_path, &used))
                return UINT64_MAX;
        return limit > used ? limit - used : 0;
}

uint64_t queue_free_memory(void) {
        cleanup(freep) char *text = NULL;
        uint64_t least = UINT64_MAX, kib, v1, v2;

        if (file_read_at(AT_FDCWD, "/proc/meminfo", 65536, &text, NULL) == 0 &&
            find_number(text, "MemAvailable:", &kib))
                least = kib * 1024;
        v2 = cgroup_free("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current");
        v1 = cgroup_free("/sys/fs/cgroup/memory/memory.limit_in_bytes",
                         "/sys/fs/cgroup/memory/memory.usage_in_bytes");
        least = v1 < least ? v1 : least;
        return v2 < least ? v2 : least;
}

static unsigned int count_cpus(void) {
        cpu_set_t set;

        if (sched_getaffinity(0, sizeof(set), &set) < 0)
                return 1;
        return (unsigned int)CPU_COUNT(&set);
}

int queue_new(Queue **queuep, const QueueLimits *limits) {
        Queue *queue = calloc(1, sizeof(*queue));
        pthread_condattr_t attributes;

        if (!queue)
                return -ENOMEM;
        (void)pthread_mutex_init(&queue->mutex, NULL);
        (void)pthread_condattr_init(&attributes);
        (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        (void)pthread_cond_init(&queue->left, &attributes);
        (void)pthread_condattr_destroy(&attributes);
        queue->max_running = limits->max_running ? limits->max_running : count_cpus();
        queue->max_memory = limits->memory_bytes ? limits->memory_bytes : queue_free_memory() / 2;
        *queuep = queue;
        return 0;
}

void queue_free(Queue *queue) {
        if (!queue)
                return;
        (void)pthread_cond_destroy(&queue->left);
        (void)pthread_mutex_destroy(&queue->mutex);
        free(queue);
}

void queue_get_limits(const Queue *queue, QueueLimits *limits) {
        *limits = (QueueLimits){queue->max_running, queue->max_memory};
}

/* --- waiting --- */

/* What is larger than the whole may run when nothing else does: refusing it would be for ever. */
static bool has_room(const Queue *queue, uint64_t memory_bytes) {
        if (queue->n_running == 0)
                return true;
        return queue->n_running < queue->max_running && queue->memory <= queue->max_memory &&
               memory_bytes <= queue->max_memory - queue->memory;
}

static void wait_a_moment(Queue *queue) {
        struct timespec until;

        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += POLL_MSECS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
                until.tv_nsec -= 1000000000L;
                until.tv_sec++;
        }
        (void)pthread_cond_timedwait(&queue->left, &queue->mutex, &until);
}

static void unlink_waiter(Queue *queue, Waiter *waiter) {
        Waiter **at = &queue->waiters;

        while (*at != waiter)
                at = &(*at)->next;
        *at = waiter->next;
        queue->n_waiting--;
}

static void link_waiter(Queue *queue, Waiter *waiter) {
        Waiter **at = &queue->waiters;

        while (*at)
                at = &(*at)->next;
        *at = waiter;
        queue->n_waiting++;
}

int queue_enter(Queue *queue, uint64_t memory_bytes, bool (*cancelled)(void *userdata),
                void *userdata, QueueTicket *ticket, Error *err) {
        Waiter waiter = {0};
        bool gave_up = false;

        pthread_mutex_lock(&queue->mutex);
        link_waiter(queue, &waiter);
        while (queue->waiters != &waiter || !has_room(queue, memory_bytes)) {
                gave_up = cancelled && cancelled(userdata);
                if (gave_up)
                        break;
                wait_a_moment(queue);
        }
        unlink_waiter(queue, &waiter);
        if (!gave_up) {
                queue->n_running++;
                queue->memory += memory_bytes;
                *ticket = (QueueTicket){queue, memory_bytes};
        }
        pthread_cond_broadcast(&queue->left);
        pthread_mutex_unlock(&queue->mutex);
        if (gave_up)
                return error_set(err, ERROR_TIMEOUT,
                                 "cancelled while waiting for other filesystem work to end");
        return 0;
}

void queue_leave(QueueTicket *ticket) {
        Queue *queue = ticket->queue;

        if (!queue)
                return;
        pthread_mutex_lock(&queue->mutex);
        queue->n_running--;
        queue->memory -= ticket->memory_bytes;
        pthread_cond_broadcast(&queue->left);
        pthread_mutex_unlock(&queue->mutex);
        *ticket = (QueueTicket){0};
}

unsigned int queue_n_running(Queue *queue) {
        unsigned int n;

        pthread_mutex_lock(&queue->mutex);
        n = queue->n_running;
        pthread_mutex_unlock(&queue->mutex);
        return n;
}

unsigned int queue_n_waiting(Queue *queue) {
        unsigned int n;

        pthread_mutex_lock(&queue->mutex);
        n = queue->n_waiting;
        pthread_mutex_unlock(&queue->mutex);
        return n;
}
