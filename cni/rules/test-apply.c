/* SPDX-License-Identifier: Apache-2.0 */

/* What is read and written of a list, and that the kernel may refuse it when anything changed in
 * between: a kernel of the test's own has one element, and tells its generation. */

#include "cni/spec/test-support.h"

#include "cni/rules/rules.h"
#include "tests/lib/netlink_double.h"

#include <arpa/inet.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#define NFT(type) ((uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | (type)))

static uint32_t generation;
static unsigned int n_refusals; /* of transactions that come next */
static int first_error;         /* of the transaction that comes next; 0: none */
static NftElement held;         /* what the kernel has; comment "": nothing */

static void tell_generation(uint32_t sequence) {
        struct {
                struct nfgenmsg header;
                struct nlattr attr;
                uint32_t value;
        } payload = {.attr = {.nla_len = 8, .nla_type = NFTA_GEN_ID}, .value = htonl(generation)};

        double_answer(NFT(NFT_MSG_NEWGEN), 0, sequence, &payload, sizeof(payload));
}

static void tell_element(uint32_t sequence) {
        NftBatch batch = {0};
        const struct nlmsghdr *message;
        size_t at;

        nft_batch_begin(&batch);
        at = batch.n;
        nft_element_add(&batch, &held, false);
        assert_int_equal(batch.broken, 0);
        message = (const struct nlmsghdr *)(const void *)(batch.bytes + at);
        double_answer(message->nlmsg_type, 0, sequence, nl_payload(message),
                      message->nlmsg_len - NLMSG_HDRLEN);
        nft_batch_deinit(&batch);
}

static void kernel(const struct nlmsghdr *request) {
        uint32_t sequence = request->nlmsg_seq;

        if (request->nlmsg_type == NFT(NFT_MSG_GETGEN))
                tell_generation(sequence);
        if (request->nlmsg_type == NFT(NFT_MSG_GETSETELEM) && held.comment[0])
                tell_element(sequence);
        if (request->nlmsg_type == NFT(NFT_MSG_GETSETELEM) && !held.comment[0]) {
                double_acknowledge(sequence, -ENOENT);
        } else if (request->nlmsg_type == NFT(NFT_MSG_NEWSETELEM) && first_error < 0) {
                double_acknowledge(sequence, first_error);
                first_error = 0;
        } else if (request->nlmsg_type == NFNL_MSG_BATCH_BEGIN && n_refusals > 0) {
                n_refusals--;
                generation++;
                double_acknowledge(sequence, -ERESTART);
        } else if (request->nlmsg_flags & NLM_F_ACK) {
                double_acknowledge(sequence, 0);
        }
}

static const uint8_t owner[OWNER_SIZE] = {1}, other[OWNER_SIZE] = {2};

static void comment_of(const uint8_t whose[OWNER_SIZE], const char *container, char *comment) {
        Attachment at = {.network = "net", .container_id = container, .ifname = "eth0"};

        memcpy(at.owner, whose, OWNER_SIZE);
        rule_owner_format(&at, comment);
}

/* One element: that of a masquerade, or a host port. */
static RuleList list_of(RuleSet set, RuleClaim claim) {
        RuleGroup group = {.kind = set == RULE_SET_PORTS ? RULE_GROUP_PORTS : RULE_GROUP_FIREWALL,
                           .family = NFPROTO_IPV4};
        RuleList list = {0};
        Rule *rule;

        assert_int_equal(rules_group(&list, &group), 0);
        rule = rules_append(&list, 0, set, claim);
        assert_non_null(rule);
        rule_key(rule, (const uint8_t[]){10, 1, 0, 5}, 4);
        (void)snprintf(rule->label, sizeof(rule->label), "hostPort 8080/tcp");
        comment_of(owner, "c1", list.comment);
        memcpy(rule->element.comment, list.comment, sizeof(list.comment));
        held = rule->element;
        held.set = "x";
        return list;
}

static RulesSocket start(void) {
        RulesSocket sock = RULES_SOCKET_NULL;

        sock.netfilter = double_socket();
        double_kernel = kernel;
        generation = 7;
        n_refusals = 0;
        first_error = 0;
        return sock;
}

/* What the @nth transaction said the generation was. */
static uint32_t sent_generation(size_t nth) {
        const struct nlmsghdr *begin = double_sent_message(NFNL_MSG_BATCH_BEGIN, nth);
        const struct nlattr *table[NFNL_BATCH_GENID + 1];

        assert_non_null(begin);
        assert_int_equal(nl_attributes(begin, sizeof(struct nfgenmsg), table, N_ELEMENTS(table)),
                         0);
        return ntohl(nl_get_u32(table[NFNL_BATCH_GENID], 0));
}

static int del(RulesSocket *sock, RuleList *list, RuleFound *found) {
        Error err = {0};

        return rules_del(sock, list, owner, found, NULL, NULL, &err);
}

static void test_del(void **state) {
        RulesSocket sock = start();
        RuleList list = list_of(RULE_SET_FIREWALL, RULE_CLAIM_ADDRESS);
        RuleFound found = RULE_FOUND_NOT;

        assert_int_equal(del(&sock, &list, &found), 0);
        assert_int_equal(found, RULE_FOUND_SAME);
        assert_non_null(double_sent_message(NFT(NFT_MSG_DELSETELEM), 0));
        assert_int_equal(sent_generation(0), 7);
        rules_deinit(&list);
        double_close(&sock.netfilter);
}

/* Somebody changed a rule in between: everything is read again, and that is what counts. */
static void test_del_again(void **state) {
        RulesSocket sock = start();
        RuleList list = list_of(RULE_SET_FIREWALL, RULE_CLAIM_ADDRESS);

        n_refusals = 2;
        assert_int_equal(del(&sock, &list, NULL), 0);
        for (size_t i = 0; i < 3; i++)
                assert_int_equal(sent_generation(i), 7 + i);
        rules_deinit(&list);
        double_close(&sock.netfilter);
}

static void test_del_of_others(void **state) {
        RulesSocket sock = start();
        RuleList list = list_of(RULE_SET_FIREWALL, RULE_CLAIM_ADDRESS);
        RuleFound found = RULE_FOUND_SAME;

        comment_of(other, "c2", held.comment);
        assert_int_equal(del(&sock, &list, &found), 0);
        assert_int_equal(found, RULE_FOUND_NOT);
        assert_null(double_sent_message(NFT(NFT_MSG_DELSETELEM), 0));
        held.comment[0] = '\0';
        assert_int_equal(del(&sock, &list, &found), 0);
        assert_null(double_sent_message(NFT(NFT_MSG_DELSETELEM), 0));
        rules_deinit(&list);
        double_close(&sock.netfilter);
}

/* An address is whoever's got it last; the older owner's element goes in the same transaction. */
static void test_add_takes_address(void **state) {
        RulesSocket sock = start();
        RuleList list = list_of(RULE_SET_FIREWALL, RULE_CLAIM_ADDRESS);
        Error err = {0};

        comment_of(other, "c2", held.comment);
        first_error = -EEXIST;
        assert_int_equal(rules_add(&sock, &list, NULL, &err), 0);
        assert_non_null(double_sent_message(NFT(NFT_MSG_DELSETELEM), 0));
        assert_int_equal(sent_generation(0), 0);
        assert_int_equal(sent_generation(1), 7);
        rules_deinit(&list);
        double_close(&sock.netfilter);
}

static void test_add_leaves_port(void **state) {
        RulesSocket sock = start();
        RuleList list = list_of(RULE_SET_PORTS, RULE_CLAIM_FIRST);
        Error err = {0};

        comment_of(other, "c2", held.comment);
        first_error = -EEXIST;
        assert_true(rules_add(&sock, &list, NULL, &err) < 0);
        assert_int_equal(err.code, ERROR_CONFLICT);
        assert_contains(err.message, "hostPort 8080/tcp is taken by container c2 of network net");
        assert_null(double_sent_message(NFT(NFT_MSG_DELSETELEM), 0));
        rules_deinit(&list);
        double_close(&sock.netfilter);
}

/* What is ours already is kept: only the transaction that failed had it. */
static void test_add_keeps(void **state) {
        RulesSocket sock = start();
        RuleList list = list_of(RULE_SET_FIREWALL, RULE_CLAIM_ADDRESS);
        Error err = {0};

        first_error = -EEXIST;
        assert_int_equal(rules_add(&sock, &list, NULL, &err), 0);
        assert_null(double_sent_message(NFT(NFT_MSG_DELSETELEM), 0));
        assert_null(double_sent_message(NFT(NFT_MSG_NEWSETELEM), 1));
        rules_deinit(&list);
        double_close(&sock.netfilter);
}

static void test_changes_all_the_time(void **state) {
        RulesSocket sock = start();
        RuleList list = list_of(RULE_SET_FIREWALL, RULE_CLAIM_ADDRESS);
        Error err = {0};

        n_refusals = 1000;
        assert_true(rules_del(&sock, &list, owner, NULL, NULL, NULL, &err) < 0);
        assert_int_equal(err.code, ERROR_AGAIN);
        rules_deinit(&list);
        double_close(&sock.netfilter);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_del),
                cmocka_unit_test(test_del_again),
                cmocka_unit_test(test_del_of_others),
                cmocka_unit_test(test_add_takes_address),
                cmocka_unit_test(test_add_leaves_port),
                cmocka_unit_test(test_add_keeps),
                cmocka_unit_test(test_changes_all_the_time),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
