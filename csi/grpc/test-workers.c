/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "csi/grpc/workers.h"

#include "common/base/cleanup.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

typedef struct Item {
        Work work; /* first: run() gets its address */
        pthread_mutex_t *gate;
        atomic_uint *n_run, *n_begun;
} Item;

static void run_item(Work *work) {
        Item *item = (Item *)(void *)work;

        if (item->n_begun)
                atomic_fetch_add(item->n_begun, 1);
        if (item->gate) {
                (void)pthread_mutex_lock(item->gate);
                (void)pthread_mutex_unlock(item->gate);
        }
        atomic_fetch_add(item->n_run, 1);
}

static void pause_msecs(long msecs) {
        (void)nanosleep(&(struct timespec){msecs / 1000, msecs % 1000 * 1000000}, NULL);
}

static void wait_for(const atomic_uint *counter, unsigned int value) {
        for (int i = 0; i < 2000 && atomic_load(counter) < value; i++)
                pause_msecs(5);
        assert_int_equal(atomic_load(counter), value);
}

static void test_all_run(void **state) {
        const WorkersConfig config = {4, 10000, 1000000, 1000};
        static Item items[5000];
        atomic_uint n_run = 0;
        Workers *workers;

        assert_int_equal(workers_new(&workers, &config), 0);
        assert_int_equal(workers_n_threads(workers), 0);
        for (size_t i = 0; i < N_ELEMENTS(items); i++) {
                items[i] = (Item){{run_item, NULL, 1}, NULL, &n_run, NULL};
                assert_int_equal(workers_submit(workers, &items[i].work), 0);
        }
        assert_in_range(workers_n_threads(workers), 1, 4);
        workers_free(workers);
        assert_int_equal(atomic_load(&n_run), N_ELEMENTS(items));
        workers_free(NULL);
}

/* Two threads are held at a gate; what comes then waits, up to the limits. */
static void test_queue_is_bounded(void **state) {
        const WorkersConfig config = {2, 3, 100, 1000};
        pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
        atomic_uint n_run = 0, n_begun = 0;
        Item items[8];
        Workers *workers;

        for (size_t i = 0; i < N_ELEMENTS(items); i++)
                items[i] = (Item){{run_item, NULL, 30}, &gate, &n_run, &n_begun};
        assert_int_equal(workers_new(&workers, &config), 0);
        (void)pthread_mutex_lock(&gate);
        assert_int_equal(workers_submit(workers, &items[0].work), 0);
        assert_int_equal(workers_submit(workers, &items[1].work), 0);
        wait_for(&n_begun, 2);
        for (size_t i = 2; i < 5; i++)
                assert_int_equal(workers_submit(workers, &items[i].work), 0);
        assert_int_equal(workers_submit(workers, &items[5].work), -EBUSY);
        assert_int_equal(workers_n_threads(workers), 2);
        (void)pthread_mutex_unlock(&gate);
        wait_for(&n_run, 5);

        (void)pthread_mutex_lock(&gate);
        items[6].work.weight_bytes = 101;
        assert_int_equal(workers_submit(workers, &items[6].work), -EBUSY);
        items[6].work.weight_bytes = 100;
        assert_int_equal(workers_submit(workers, &items[6].work), 0);
        (void)pthread_mutex_unlock(&gate);
        workers_free(workers);
        assert_int_equal(atomic_load(&n_run), 6);
}

static void test_idle_threads_end(void **state) {
        const WorkersConfig config = {8, 100, 100, 20};
        atomic_uint n_run = 0;
        Item items[16];
        Workers *workers;

        assert_int_equal(workers_new(&workers, &config), 0);
        for (int round = 0; round < 3; round++) {
                for (size_t i = 0; i < N_ELEMENTS(items); i++) {
                        items[i] = (Item){{run_item, NULL, 0}, NULL, &n_run, NULL};
                        assert_int_equal(workers_submit(workers, &items[i].work), 0);
                }
                for (int i = 0; i < 100 && workers_n_threads(workers) > 0; i++)
                        pause_msecs(20);
                assert_int_equal(workers_n_threads(workers), 0);
        }
        assert_int_equal(atomic_load(&n_run), 48);
        workers_free(workers);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_all_run),
                cmocka_unit_test(test_queue_is_bounded),
                cmocka_unit_test(test_idle_threads_end),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
