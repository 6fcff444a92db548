/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/netlink/rtnl_tc.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include <linux/rtnetlink.h>

/* Against tc(8): 1 Mbit/s and 32 kbit take 32.768 ms with 1024 bits each, and so on. */
static void test_ticks(void **state) {
        static const struct {
                uint64_t rate, bytes;
                uint32_t ticks;
        } cases[] = {
                {125000, 12500, 1562500},        /* a tenth of a second */
                {1, 1, 15625000},                /* one second */
                {UINT64_C(1) << 32, 4096, 14},   /* 953 ns */
                {125000, 536870911, UINT32_MAX}, /* MaxUint32 bits at 1 Mbit/s: more than fits */
                {1, UINT32_MAX, UINT32_MAX},
                {0, 1, UINT32_MAX},
                {1, UINT64_MAX, UINT32_MAX},
                {1250000000, 536870911, 6710886},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                assert_int_equal(tbf_ticks(cases[i].rate, cases[i].bytes), cases[i].ticks);
        assert_int_equal(tbf_ticks_kept(UINT32_MAX), 67108863);
        assert_int_equal(tbf_ticks_kept(1562500), 1562500);
}

/* What is asked for is what is read back, as the kernel tells it. */
static void check_round(uint64_t rate) {
        TbfSpec spec = {.index = 7, .rate_bytes = rate, .limit_bytes = 5, .buffer_ticks = 9};
        TbfSpec again = {0};
        NlBatch batch = {0};
        struct nlmsghdr *message;

        tc_tbf_set(&batch, &spec);
        assert_int_equal(batch.broken, 0);
        message = nlmsg_hdr(batch.messages[0]);
        assert_int_equal(message->nlmsg_type, RTM_NEWQDISC);
        assert_int_equal(tc_tbf_parse(message, &again), 0);
        assert_int_equal(again.index, 7);
        assert_true(again.rate_bytes == rate);
        assert_int_equal(again.limit_bytes, 5);
        assert_int_equal(again.buffer_ticks, 9);
        for (uint32_t n = NLMSG_HDRLEN; n < message->nlmsg_len; n++) {
                uint32_t whole = message->nlmsg_len;

                message->nlmsg_len = n;
                (void)tc_tbf_parse(message, &again);
                message->nlmsg_len = whole;
        }
        nl_batch_deinit(&batch);
}

static void test_tbf(void **state) {
        check_round(1);
        check_round(UINT32_MAX);
        check_round(UINT64_C(5) << 32);
}

static void test_other_answers(void **state) {
        NlBatch batch = {0};
        TbfSpec spec;

        tc_ingress_add(&batch, 3);
        tc_redirect_add(&batch, 3, 4);
        tc_root_get(&batch, 3);
        tc_root_delete(&batch, 3);
        tc_ingress_delete(&batch, 3);
        assert_int_equal(batch.broken, 0);
        assert_int_equal(batch.n, 5);
        assert_int_equal(tc_tbf_parse(nlmsg_hdr(batch.messages[0]), &spec), -ENOENT);
        assert_int_equal(tc_tbf_parse(nlmsg_hdr(batch.messages[1]), &spec), -ENOMSG);
        nl_batch_deinit(&batch);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ticks),
                cmocka_unit_test(test_tbf),
                cmocka_unit_test(test_other_answers),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
