/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/wait/budget.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#define POLL_MSECS 100

struct Budget {
        pthread_mutex_t mutex;
        unsigned int max_running, n_running, n_waiting;
        uint64_t max_memory, memory;
        BudgetWaiter *waiters; /* borrowed; first come, first served */
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

uint64_t budget_free_memory(void) {
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

int budget_new(Budget **budgetp, const BudgetLimits *limits) {
        Budget *budget = calloc(1, sizeof(*budget));

        if (!budget)
                return -ENOMEM;
        (void)pthread_mutex_init(&budget->mutex, NULL);
        budget->max_running = limits->max_running ? limits->max_running : count_cpus();
        budget->max_memory = limits->memory_bytes ? limits->memory_bytes : budget_free_memory() / 2;
        *budgetp = budget;
        return 0;
}

void budget_free(Budget *budget) {
        if (!budget)
                return;
        (void)pthread_mutex_destroy(&budget->mutex);
        free(budget);
}

void budget_get_limits(const Budget *budget, BudgetLimits *limits) {
        *limits = (BudgetLimits){budget->max_running, budget->max_memory};
}

/* --- waiting --- */

/* What is larger than the whole may run when nothing else does: refusing it would be for ever. */
static bool has_room(const Budget *budget, uint64_t memory_bytes) {
        if (budget->n_running == 0)
                return true;
        return budget->n_running < budget->max_running && budget->memory <= budget->max_memory &&
               memory_bytes <= budget->max_memory - budget->memory;
}

static void enter(Budget *budget, uint64_t memory_bytes) {
        budget->n_running++;
        budget->memory += memory_bytes;
}

static void unlink_waiter(Budget *budget, const BudgetWaiter *waiter) {
        for (BudgetWaiter **at = &budget->waiters; *at; at = &(*at)->next)
                if (*at == waiter) {
                        *at = waiter->next;
                        budget->n_waiting--;
                        return;
                }
}

static void link_waiter(Budget *budget, BudgetWaiter *waiter) {
        BudgetWaiter **at = &budget->waiters;

        while (*at)
                at = &(*at)->next;
        waiter->next = NULL;
        *at = waiter;
        budget->n_waiting++;
}

/* Gives places to the head of the line; the mutex is held. */
static void serve(Budget *budget) {
        while (budget->waiters && has_room(budget, budget->waiters->memory_bytes)) {
                BudgetWaiter *first = budget->waiters;

                unlink_waiter(budget, first);
                enter(budget, first->memory_bytes);
                first->has_place = true;
                first->served(first);
        }
}

static void leave(Budget *budget, uint64_t memory_bytes) {
        budget->n_running--;
        budget->memory -= memory_bytes;
        serve(budget);
}

int budget_join(Budget *budget, uint64_t memory_bytes, BudgetWaiter *waiter, BudgetTicket *ticket) {
        int r = BUDGET_E_LATER;

        pthread_mutex_lock(&budget->mutex);
        waiter->memory_bytes = memory_bytes;
        waiter->has_place = false;
        if (!budget->waiters && has_room(budget, memory_bytes)) {
                enter(budget, memory_bytes);
                *ticket = (BudgetTicket){budget, memory_bytes};
                r = 0;
        } else {
                link_waiter(budget, waiter);
        }
        pthread_mutex_unlock(&budget->mutex);
        return r;
}

bool budget_has_place(Budget *budget, const BudgetWaiter *waiter) {
        bool has_place;

        pthread_mutex_lock(&budget->mutex);
        has_place = waiter->has_place;
        pthread_mutex_unlock(&budget->mutex);
        return has_place;
}

bool budget_take(Budget *budget, BudgetWaiter *waiter, BudgetTicket *ticket) {
        bool has_place;

        pthread_mutex_lock(&budget->mutex);
        has_place = waiter->has_place;
        waiter->has_place = false;
        if (has_place)
                *ticket = (BudgetTicket){budget, waiter->memory_bytes};
        pthread_mutex_unlock(&budget->mutex);
        return has_place;
}

void budget_quit(Budget *budget, BudgetWaiter *waiter) {
        pthread_mutex_lock(&budget->mutex);
        if (waiter->has_place)
                leave(budget, waiter->memory_bytes);
        else
                unlink_waiter(budget, waiter);
        waiter->has_place = false;
        serve(budget);
        pthread_mutex_unlock(&budget->mutex);
}

void budget_enter_now(Budget *budget, uint64_t memory_bytes, BudgetTicket *ticket) {
        pthread_mutex_lock(&budget->mutex);
        enter(budget, memory_bytes);
        pthread_mutex_unlock(&budget->mutex);
        *ticket = (BudgetTicket){budget, memory_bytes};
}

/* A waiter that is a thread. */
typedef struct Sleeper {
        BudgetWaiter waiter; /* first */
        sem_t served;
} Sleeper;

static void wake_sleeper(BudgetWaiter *waiter) {
        (void)sem_post(&((Sleeper *)(void *)waiter)->served);
}

static void sleep_a_moment(Sleeper *sleeper) {
        struct timespec until = clock_timespec(clock_msecs() + POLL_MSECS);

        (void)sem_clockwait(&sleeper->served, CLOCK_MONOTONIC, &until);
}

int budget_enter(Budget *budget, uint64_t memory_bytes, bool (*cancelled)(void *userdata),
                 void *userdata, BudgetTicket *ticket, Error *err) {
        Sleeper sleeper = {.waiter.served = wake_sleeper};
        bool gave_up = false;

        (void)sem_init(&sleeper.served, 0, 0);
        if (budget_join(budget, memory_bytes, &sleeper.waiter, ticket) == BUDGET_E_LATER)
                while (!budget_take(budget, &sleeper.waiter, ticket)) {
                        gave_up = cancelled && cancelled(userdata);
                        if (gave_up)
                                break;
                        sleep_a_moment(&sleeper);
                }
        if (gave_up)
                budget_quit(budget, &sleeper.waiter);
        (void)sem_destroy(&sleeper.served);
        if (gave_up)
                return error_set(err, ERROR_TIMEOUT,
                                 "cancelled while waiting for other filesystem work to end");
        return 0;
}

void budget_leave(BudgetTicket *ticket) {
        Budget *budget = ticket->budget;

        if (!budget)
                return;
        pthread_mutex_lock(&budget->mutex);
        leave(budget, ticket->memory_bytes);
        pthread_mutex_unlock(&budget->mutex);
        *ticket = (BudgetTicket){0};
}

unsigned int budget_n_running(Budget *budget) {
        unsigned int n;

        pthread_mutex_lock(&budget->mutex);
        n = budget->n_running;
        pthread_mutex_unlock(&budget->mutex);
        return n;
}

unsigned int budget_n_waiting(Budget *budget) {
        unsigned int n;

        pthread_mutex_lock(&budget->mutex);
        n = budget->n_waiting;
        pthread_mutex_unlock(&budget->mutex);
        return n;
}
