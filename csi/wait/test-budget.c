/* SPDX-License-Identifier: Apache-2.0 */

/* The budget, with threads. */

#undef NDEBUG
#include "csi/wait/budget.h"

#include "common/base/cleanup.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Shared {
        Budget *budget;
        atomic_int inside, most, refused, done;
        atomic_bool cancel;
        uint64_t memory_bytes;
} Shared;

static bool is_cancelled(void *userdata) {
        Shared *shared = userdata;

        return atomic_load(&shared->cancel);
}

static void *work(void *userdata) {
        Shared *shared = userdata;
        BudgetTicket ticket = {0};
        Error err = {0};
        int now;

        if (budget_enter(shared->budget, shared->memory_bytes, is_cancelled, shared, &ticket,
                         &err) < 0) {
                assert_int_equal(err.code, ERROR_TIMEOUT);
                atomic_fetch_add(&shared->refused, 1);
                return NULL;
        }
        now = atomic_fetch_add(&shared->inside, 1) + 1;
        if (now > atomic_load(&shared->most))
                atomic_store(&shared->most, now);
        usleep(5000);
        atomic_fetch_sub(&shared->inside, 1);
        atomic_fetch_add(&shared->done, 1);
        budget_leave(&ticket);
        return NULL;
}

static int run_16(unsigned int max_running, uint64_t memory, uint64_t each) {
        const BudgetLimits limits = {max_running, memory};
        Shared shared = {.memory_bytes = each};
        pthread_t threads[16];

        assert_int_equal(budget_new(&shared.budget, &limits), 0);
        for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                assert_int_equal(pthread_create(&threads[i], NULL, work, &shared), 0);
        for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(shared.done, 16);
        assert_int_equal(budget_n_running(shared.budget), 0);
        assert_int_equal(budget_n_waiting(shared.budget), 0);
        budget_free(shared.budget);
        return shared.most;
}

static void test_queue_bounds(void **state) {
        assert_in_range(run_16(3, 1000, 10), 1, 3);
        /* Memory allows two at once, whatever the number. */
        assert_in_range(run_16(16, 1000, 400), 1, 2);
        /* More than there is: alone, but not never. */
        assert_int_equal(run_16(16, 1000, 5000), 1);
}

static void test_queue_cancel(void **state) {
        const BudgetLimits limits = {1, 1000};
        Shared shared = {0};
        BudgetTicket first = {0};
        pthread_t threads[3];

        assert_int_equal(budget_new(&shared.budget, &limits), 0);
        assert_int_equal(budget_enter(shared.budget, 1, NULL, NULL, &first, NULL), 0);
        for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                assert_int_equal(pthread_create(&threads[i], NULL, work, &shared), 0);
        while (budget_n_waiting(shared.budget) < 3)
                usleep(1000);
        atomic_store(&shared.cancel, true);
        for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(shared.refused, 3);
        budget_leave(&first);
        budget_leave(&first);
        budget_free(shared.budget);
}

static unsigned int n_told;

static void tell(BudgetWaiter *waiter) {
        (void)waiter;
        n_told++;
}

/* First come, first served, also where a later and smaller one would fit; and what is left is given
 * back in full. */
static void test_queue_order(void **state) {
        const BudgetLimits limits = {4, 1000};
        BudgetWaiter large = {.served = tell}, small = {.served = tell}, last = {.served = tell};
        BudgetTicket first = {0}, second = {0}, third = {0};
        Budget *budget;

        (void)state;
        n_told = 0;
        assert_int_equal(budget_new(&budget, &limits), 0);
        assert_int_equal(budget_join(budget, 600, &large, &first), 0);
        assert_int_equal(budget_join(budget, 900, &large, &second), BUDGET_E_LATER);
        assert_int_equal(budget_join(budget, 100, &small, &third), BUDGET_E_LATER);
        assert_int_equal(n_told, 0);
        budget_leave(&first);
        assert_int_equal(n_told, 2);
        assert_true(budget_take(budget, &large, &second));
        assert_true(budget_take(budget, &small, &third));
        assert_int_equal(budget_join(budget, 1, &last, &first), BUDGET_E_LATER);
        budget_leave(&third);
        assert_true(budget_take(budget, &last, &first));
        budget_leave(&second);
        budget_leave(&first);
        assert_int_equal(budget_join(budget, 1000, &large, &first), 0);
        budget_leave(&first);
        budget_free(budget);
}

static void test_queue_limits(void **state) {
        const BudgetLimits none = {0};
        BudgetLimits limits;
        Budget *budget;

        assert_int_equal(budget_new(&budget, &none), 0);
        budget_get_limits(budget, &limits);
        assert_true(limits.max_running >= 1);
        assert_true(limits.memory_bytes > 0);
        budget_free(budget);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_queue_bounds),
                cmocka_unit_test(test_queue_cancel),
                cmocka_unit_test(test_queue_order),
                cmocka_unit_test(test_queue_limits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
