/* SPDX-License-Identifier: Apache-2.0 */

/* Locks, with threads. */

#undef NDEBUG
#include "csi/wait/hold.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

static int try(HoldTable *table, const char *kind, const char *key, HoldMode mode, Hold *lock) {
        Error err = {0};
        int r = hold_acquire(table, kind, key, mode, NULL, lock, &err);

        assert_true(r == 0 || err.code == ERROR_AGAIN);
        return r;
}

static void test_names(void **state) {
        HoldTable *table = NULL;
        Hold a = {0}, b = {0}, c = {0};

        assert_int_equal(hold_table_new(&table), 0);
        assert_int_equal(hold_table_n_names(table), 0);
        assert_int_equal(try(table, "volume", "v1", HOLD_EXCLUSIVE, &a), 0);
        assert_int_equal(hold_table_n_names(table), 1);
        assert_true(try(table, "volume", "v1", HOLD_EXCLUSIVE, &b) < 0);
        assert_true(try(table, "volume", "v1", HOLD_SHARED, &b) < 0);
        assert_int_equal(try(table, "path", "v1", HOLD_EXCLUSIVE, &b), 0);
        assert_int_equal(try(table, "volume", "v2", HOLD_EXCLUSIVE, &c), 0);
        hold_release(&a);
        hold_release(&a);
        assert_int_equal(hold_table_n_names(table), 2);
        assert_int_equal(try(table, "volume", "v1", HOLD_EXCLUSIVE, &a), 0);
        hold_release(&a);
        hold_release(&b);
        hold_release(&c);
        assert_int_equal(hold_table_n_names(table), 0);
        hold_table_free(table);
}

static void test_shared(void **state) {
        HoldTable *table = NULL;
        Hold a = {0}, b = {0}, c = {0};

        assert_int_equal(hold_table_new(&table), 0);
        assert_int_equal(try(table, "volume", "v", HOLD_SHARED, &a), 0);
        assert_int_equal(try(table, "volume", "v", HOLD_SHARED, &b), 0);
        assert_true(try(table, "volume", "v", HOLD_EXCLUSIVE, &c) < 0);
        assert_int_equal(hold_table_n_names(table), 1);
        hold_release(&a);
        assert_true(try(table, "volume", "v", HOLD_EXCLUSIVE, &c) < 0);
        hold_release(&b);
        assert_int_equal(try(table, "volume", "v", HOLD_EXCLUSIVE, &c), 0);
        hold_release(&c);
        hold_table_free(table);
}

/* One thread that wants the lock and says what became of it. */
typedef struct Wanting {
        HoldTable *table;
        HoldMode mode;
        uint64_t deadline_msecs;
        atomic_bool cancel, polled;
        Hold lock;
        Error err;
        int r;
} Wanting;

static bool is_cancelled(void *userdata) {
        Wanting *wanting = userdata;

        atomic_store(&wanting->polled, true);
        return atomic_load(&wanting->cancel);
}

static void *want(void *userdata) {
        Wanting *wanting = userdata;
        const HoldWait wait = {wanting->deadline_msecs, is_cancelled, wanting};

        wanting->r = hold_acquire(wanting->table, "volume", "v", wanting->mode, &wait,
                                  &wanting->lock, &wanting->err);
        return NULL;
}

/* It is in line when it has looked at its cancellation once. */
static pthread_t start_waiting(Wanting *wanting) {
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, want, wanting), 0);
        while (!atomic_load(&wanting->polled))
                (void)sched_yield();
        return thread;
}

static void test_wait(void **state) {
        Hold held = {0}, late = {0};
        HoldTable *table = NULL;
        Wanting writer = {.mode = HOLD_EXCLUSIVE, .deadline_msecs = UINT64_MAX};
        Wanting reader = {.mode = HOLD_SHARED, .deadline_msecs = UINT64_MAX};
        pthread_t writes, reads;

        assert_int_equal(hold_table_new(&table), 0);
        writer.table = reader.table = table;
        assert_int_equal(try(table, "volume", "v", HOLD_SHARED, &held), 0);
        writes = start_waiting(&writer);
        /* A reader does not overtake the writer that waits. */
        assert_true(try(table, "volume", "v", HOLD_SHARED, &late) < 0);
        reads = start_waiting(&reader);
        hold_release(&held);
        assert_int_equal(pthread_join(writes, NULL), 0);
        assert_int_equal(writer.r, 0);
        hold_release(&writer.lock);
        assert_int_equal(pthread_join(reads, NULL), 0);
        assert_int_equal(reader.r, 0);
        hold_release(&reader.lock);
        assert_int_equal(hold_table_n_names(table), 0);
        hold_table_free(table);
}

static void test_wait_ends(void **state) {
        Hold held = {0}, shared = {0};
        HoldTable *table = NULL;
        Wanting late = {.mode = HOLD_EXCLUSIVE};
        Wanting gone = {.mode = HOLD_EXCLUSIVE, .deadline_msecs = UINT64_MAX};
        pthread_t thread;

        assert_int_equal(hold_table_new(&table), 0);
        late.table = gone.table = table;
        assert_int_equal(try(table, "volume", "v", HOLD_SHARED, &held), 0);
        late.deadline_msecs = clock_msecs() + 20;
        (void)want(&late);
        assert_true(late.r < 0);
        assert_int_equal(late.err.code, ERROR_AGAIN);
        assert_true(clock_msecs() >= late.deadline_msecs);
        thread = start_waiting(&gone);
        atomic_store(&gone.cancel, true);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_true(gone.r < 0);
        assert_int_equal(gone.err.code, ERROR_TIMEOUT);
        /* Whoever gave up keeps nobody out. */
        assert_int_equal(try(table, "volume", "v", HOLD_SHARED, &shared), 0);
        hold_release(&shared);
        hold_release(&held);
        hold_table_free(table);
}

typedef struct Shared {
        HoldTable *table;
        atomic_int readers, writers, refused;
} Shared;

static void *lock_often(void *userdata) {
        Shared *shared = userdata;

        for (int i = 0; i < 2000; i++) {
                HoldWait wait = {clock_msecs() + 5, NULL, NULL};
                HoldMode mode = i % 3 ? HOLD_SHARED : HOLD_EXCLUSIVE;
                atomic_int *mine = i % 3 ? &shared->readers : &shared->writers;
                Hold lock = {0};

                if (hold_acquire(shared->table, "volume", "v", mode, i % 2 ? &wait : NULL, &lock,
                                 NULL) < 0) {
                        atomic_fetch_add(&shared->refused, 1);
                        continue;
                }
                atomic_fetch_add(mine, 1);
                if (mode == HOLD_EXCLUSIVE) {
                        assert_int_equal(atomic_load(&shared->writers), 1);
                        assert_int_equal(atomic_load(&shared->readers), 0);
                } else {
                        assert_int_equal(atomic_load(&shared->writers), 0);
                }
                atomic_fetch_sub(mine, 1);
                hold_release(&lock);
        }
        return NULL;
}

static void test_threads(void **state) {
        Shared shared = {0};
        pthread_t threads[4];

        assert_int_equal(hold_table_new(&shared.table), 0);
        for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                assert_int_equal(pthread_create(&threads[i], NULL, lock_often, &shared), 0);
        for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(hold_table_n_names(shared.table), 0);
        hold_table_free(shared.table);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),   cmocka_unit_test(test_shared),
                cmocka_unit_test(test_wait),    cmocka_unit_test(test_wait_ends),
                cmocka_unit_test(test_threads),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
