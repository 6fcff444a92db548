/* SPDX-License-Identifier: Apache-2.0 */

/* What the socket makes of answers that a kernel gives seldom, or that are not the kernel's. */

#undef NDEBUG
#include "tests/lib/netlink_double.h"

#include "common/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <linux/rtnetlink.h>

static const struct ifinfomsg loopback = {.ifi_index = 1};
static unsigned int n_replies, n_restarts;
static int answer; /* of count() */

static int count(size_t index, const struct nlmsghdr *reply, void *userdata) {
        n_replies += reply != NULL;
        n_restarts += reply == NULL;
        return reply ? answer : 0;
}

static int ask(NlSocket *sock, void (*kernel)(const struct nlmsghdr *request)) {
        NlBatch batch = {0};
        int r;

        n_replies = 0;
        double_kernel = kernel;
        assert_non_null(nl_batch_add(&batch, RTM_GETLINK, 0, &loopback, sizeof(loopback), 0));
        r = nl_batch_run(sock, &batch, count, NULL);
        nl_batch_deinit(&batch);
        return r;
}

static int dump(NlSocket *sock, void (*kernel)(const struct nlmsghdr *request)) {
        struct nl_msg *request = nl_message_new(RTM_GETLINK, 0, &loopback, sizeof(loopback), 0);
        int r;

        assert_non_null(request);
        n_replies = n_restarts = 0;
        double_kernel = kernel;
        r = nl_socket_dump(sock, RTM_GETLINK, request, count, NULL);
        nlmsg_free(request);
        return r;
}

static void tell_link(uint32_t sequence) {
        double_answer(RTM_NEWLINK, 0, sequence, &loopback, sizeof(loopback));
}

/* --- whose answer ------------------------------------------------------------------------- */

/* Anybody may send to our socket, and guess its number. */
static void stranger_first(const struct nlmsghdr *request) {
        const struct nlmsgerr refused = {.error = -EPERM};

        double_answer_from(4711, NLMSG_ERROR, NLM_F_CAPPED, request->nlmsg_seq, &refused,
                           sizeof(refused));
        tell_link(request->nlmsg_seq);
}

static void test_sender(void **state) {
        NlSocket sock = double_socket();

        assert_int_equal(ask(&sock, stranger_first), 0);
        assert_int_equal(n_replies, 1);
        double_close(&sock);
}

/* Late news of a request that was given up. */
static void late_news_first(const struct nlmsghdr *request) {
        double_acknowledge(request->nlmsg_seq - 1, -EEXIST);
        tell_link(request->nlmsg_seq - 1);
        tell_link(request->nlmsg_seq);
        if (request->nlmsg_flags & NLM_F_DUMP)
                double_answer(NLMSG_DONE, 0, request->nlmsg_seq, &(int){0}, sizeof(int));
}

static void test_sequence(void **state) {
        NlSocket sock = double_socket();

        sock.sequence = 7;
        assert_int_equal(ask(&sock, late_news_first), 0);
        assert_int_equal(n_replies, 1);
        assert_int_equal(sock.sequence, 8);
        assert_int_equal(dump(&sock, late_news_first), 0);
        assert_int_equal(n_replies, 1);
        assert_int_equal(sock.sequence, 9);
        double_close(&sock);
}

/* --- batches ------------------------------------------------------------------------------ */

static void second_fails(const struct nlmsghdr *request) {
        if (request->nlmsg_seq == 2)
                double_acknowledge(2, -ENODEV);
        if (request->nlmsg_seq == 3)
                double_acknowledge(3, -EBUSY);
        if (request->nlmsg_flags & NLM_F_ACK)
                double_acknowledge(request->nlmsg_seq, 0);
}

/* All are tried, each has its result, and only the last one asks for an acknowledgement. */
static void test_results(void **state) {
        static const int wanted[] = {0, -ENODEV, -EBUSY, 0};
        NlSocket sock = double_socket();
        NlBatch batch = {0};

        double_kernel = second_fails;
        for (size_t i = 0; i < N_ELEMENTS(wanted); i++)
                assert_non_null(
                        nl_batch_add(&batch, RTM_SETLINK, 0, &loopback, sizeof(loopback), 0));
        assert_int_equal(nl_batch_run(&sock, &batch, NULL, NULL), -ENODEV);
        assert_int_equal(batch.failed, 1);
        for (size_t i = 0; i < N_ELEMENTS(wanted); i++) {
                const struct nlmsghdr *sent = double_sent_message(RTM_SETLINK, i);

                assert_non_null(sent);
                assert_int_equal(batch.results[i], wanted[i]);
                assert_int_equal(!!(sent->nlmsg_flags & NLM_F_ACK), i + 1 == N_ELEMENTS(wanted));
        }
        nl_batch_deinit(&batch);
        double_close(&sock);
}

static void silence(const struct nlmsghdr *request) {
}

static void test_silence(void **state) {
        NlSocket sock = double_socket();

        assert_int_equal(ask(&sock, silence), -ENODATA);
        assert_int_equal(dump(&sock, silence), -ENODATA);
        double_close(&sock);
}

/* The caller's function refuses one of two answers: both are read, for the next request's sake. */
static void test_refused_answer(void **state) {
        NlSocket sock = double_socket();

        answer = -EPROTO;
        assert_int_equal(dump(&sock, late_news_first), -EPROTO);
        assert_int_equal(double_n_taken, double_n_queued);
        assert_int_equal(ask(&sock, stranger_first), -EPROTO);
        answer = 0;
        double_close(&sock);
}

/* --- dumps -------------------------------------------------------------------------------- */

static unsigned int n_dumps;

/* Links changed while the first of two dumps was under way. */
static void interrupted_once(const struct nlmsghdr *request) {
        uint16_t flags = n_dumps++ == 0 ? NLM_F_DUMP_INTR : 0;

        double_answer(RTM_NEWLINK, flags, request->nlmsg_seq, &loopback, sizeof(loopback));
        double_answer(NLMSG_DONE, 0, request->nlmsg_seq, &(int){0}, sizeof(int));
}

static void test_interrupted(void **state) {
        NlSocket sock = double_socket();

        n_dumps = 0;
        assert_int_equal(dump(&sock, interrupted_once), 0);
        assert_int_equal(n_dumps, 2);
        assert_int_equal(n_restarts, 1);
        assert_int_equal(n_replies, 2);
        double_close(&sock);
}

/* A dump that ends early says so in its end. */
static void ends_badly(const struct nlmsghdr *request) {
        tell_link(request->nlmsg_seq);
        double_answer(NLMSG_DONE, 0, request->nlmsg_seq, &(int){-ENOBUFS}, sizeof(int));
}

static void refused(const struct nlmsghdr *request) {
        double_acknowledge(request->nlmsg_seq, -EOPNOTSUPP);
}

static void test_failed_dump(void **state) {
        NlSocket sock = double_socket();

        assert_int_equal(dump(&sock, ends_badly), -ENOBUFS);
        assert_int_equal(dump(&sock, refused), -EOPNOTSUPP);
        double_close(&sock);
}

/* --- lengths ------------------------------------------------------------------------------ */

static uint32_t told_length;

static void lies_about_length(const struct nlmsghdr *request) {
        tell_link(request->nlmsg_seq);
        memcpy(double_queue[double_n_queued - 1].bytes, &told_length, sizeof(told_length));
}

static void test_lengths(void **state) {
        static const uint32_t lengths[] = {0, NLMSG_HDRLEN - 1, 4096, UINT32_MAX};

        for (size_t i = 0; i < N_ELEMENTS(lengths); i++) {
                NlSocket sock = double_socket();

                told_length = lengths[i];
                assert_int_equal(ask(&sock, lies_about_length), -EBADMSG);
                assert_int_equal(n_replies, 0);
                double_close(&sock);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sender),         cmocka_unit_test(test_sequence),
                cmocka_unit_test(test_results),        cmocka_unit_test(test_silence),
                cmocka_unit_test(test_refused_answer), cmocka_unit_test(test_interrupted),
                cmocka_unit_test(test_failed_dump),    cmocka_unit_test(test_lengths),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
