/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/nft/conntrack.h"
#include "common/nft/nft_expr.h"
#include "common/nft/nft_query.h"

#include "common/base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

/* The kernel answers in the shapes in which it is asked, so our writer makes the answers. */
static const struct nlmsghdr *last(const NftBatch *batch) {
        size_t offset = 0, at = 0;

        assert_int_equal(batch->broken, 0);
        while (offset < batch->n) {
                at = offset;
                offset += NLMSG_ALIGN(
                        ((const struct nlmsghdr *)(const void *)(batch->bytes + at))->nlmsg_len);
        }
        return (const struct nlmsghdr *)(const void *)(batch->bytes + at);
}

static int keep_found(const NftFound *found, void *userdata) {
        NftFound *kept = userdata;

        *kept = *found;
        return 7;
}

static void test_elements(void **state) {
        NftElement element = {
                .family = NFPROTO_IPV4,
                .table = "t",
                .set = "s",
                .key = {1, 2, 3, 4},
                .n_key = 4,
                .data = {5},
                .n_data = 8,
                .comment = "whose",
        };
        NftBatch batch = {0};
        NftFound found = {0};

        nft_batch_begin(&batch);
        assert_int_equal(nft_parse_elements(last(&batch), keep_found, &found), -ENOMSG);
        nft_element_add(&batch, &element, true);
        assert_int_equal(nft_parse_elements(last(&batch), keep_found, &found), 7);
        assert_int_equal(found.n_key, 4);
        assert_memory_equal(found.key, element.key, 4);
        assert_int_equal(found.n_data, 8);
        assert_memory_equal(found.data, element.data, 8);
        assert_string_equal(found.comment, "whose");
        nft_batch_deinit(&batch);
}

static void write_rule(NftBatch *batch, bool handle) {
        static const uint8_t address[] = {10, 0, 0, 1};

        nft_batch_begin(batch);
        nft_rule_begin(batch, &(NftRuleAt){.family = NFPROTO_IPV4,
                                           .table = "filter",
                                           .chain = "CNI-FORWARD",
                                           .comment = "words"});
        nft_expr_counter(batch);
        nft_expr_payload(batch, NFT_BASE_NETWORK, 12, 4, 0);
        nft_expr_cmp(batch, 0, address, sizeof(address), true);
        nft_expr_verdict(batch, NFT_JUMP, "target");
        nft_nest_end(batch, batch->expressions);
        if (handle)
                nft_put_u64(batch, NFTA_RULE_HANDLE, UINT64_C(0x100000002));
        nft_message_end(batch);
}

static void test_rule(void **state) {
        NftBatch batch = {0};
        NftRule rule;

        write_rule(&batch, false);
        assert_int_equal(nft_parse_rule(last(&batch), &rule), -EBADMSG);
        write_rule(&batch, true);
        assert_int_equal(nft_parse_rule(last(&batch), &rule), 0);
        assert_true(rule.handle == UINT64_C(0x100000002));
        assert_string_equal(rule.chain, "CNI-FORWARD");
        assert_string_equal(rule.comment, "words");
        assert_int_equal(rule.verdict, NFT_JUMP);
        assert_string_equal(rule.target, "target");
        assert_true(rule.has_payload && rule.differs);
        assert_int_equal(rule.payload_base, NFT_PAYLOAD_NETWORK_HEADER);
        assert_int_equal(rule.payload_offset, 12);
        assert_int_equal(rule.payload_size, 4);
        assert_int_equal(rule.n_compared, 4);
        assert_int_equal(rule.compared[0], 10);
        nft_batch_deinit(&batch);
}

/* Every cut, and every byte turned over, is refused or understood, never read beyond. */
static void test_damage(void **state) {
        NftBatch batch = {0};
        uint8_t *copy;
        NftRule rule;
        size_t n;

        write_rule(&batch, true);
        n = last(&batch)->nlmsg_len;
        for (size_t i = 0; i < n; i++) {
                copy = malloc(n);
                assert_non_null(copy);
                memcpy(copy, last(&batch), n);
                copy[i] ^= 0xff;
                if (i >= NLMSG_HDRLEN)
                        (void)nft_parse_rule((struct nlmsghdr *)(void *)copy, &rule);
                free(copy);
                if (i < NLMSG_HDRLEN)
                        continue;
                copy = malloc(i);
                assert_non_null(copy);
                memcpy(copy, last(&batch), i);
                ((struct nlmsghdr *)(void *)copy)->nlmsg_len = (uint32_t)i;
                (void)nft_parse_rule((struct nlmsghdr *)(void *)copy, &rule);
                free(copy);
        }
        nft_batch_deinit(&batch);
}

static void test_generation(void **state) {
        struct nfgenmsg header = {.version = NFNETLINK_V0};
        uint16_t type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN;
        struct nl_msg *message = nl_message_new(type, 0, &header, sizeof(header), 64);
        uint32_t generation = 0;

        assert_non_null(message);
        assert_int_equal(nft_parse_generation(nlmsg_hdr(message), &generation), -EBADMSG);
        assert_int_equal(nla_put_u32(message, NFTA_GEN_ID, htonl(77)), 0);
        assert_int_equal(nft_parse_generation(nlmsg_hdr(message), &generation), 0);
        assert_int_equal(generation, 77);
        nlmsg_free(message);
}

static void test_flow(void **state) {
        struct nfgenmsg header = {.nfgen_family = AF_INET, .version = NFNETLINK_V0};
        uint16_t type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
        struct nl_msg *message = nl_message_new(type, 0, &header, sizeof(header), 256);
        struct nlattr *tuple, *proto;
        ConntrackFlow flow;

        assert_non_null(message);
        assert_int_equal(conntrack_parse(nlmsg_hdr(message), &flow), -EBADMSG);
        tuple = nla_nest_start(message, CTA_TUPLE_ORIG);
        proto = nla_nest_start(message, CTA_TUPLE_PROTO);
        assert_int_equal(nla_put_u8(message, CTA_PROTO_NUM, 17), 0);
        assert_int_equal(nla_put_u16(message, CTA_PROTO_DST_PORT, htons(8053)), 0);
        nla_nest_end(message, proto);
        nla_nest_end(message, tuple);
        assert_int_equal(nla_put_u32(message, CTA_ID, 5), 0);
        assert_int_equal(conntrack_parse(nlmsg_hdr(message), &flow), 0);
        assert_int_equal(flow.protocol, 17);
        assert_int_equal(flow.port, 8053);
        assert_non_null(flow.id);
        assert_null(flow.zone);
        nlmsg_hdr(message)->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
        assert_int_equal(conntrack_parse(nlmsg_hdr(message), &flow), -ENOMSG);
        nlmsg_free(message);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_elements), cmocka_unit_test(test_rule),
                cmocka_unit_test(test_damage),   cmocka_unit_test(test_generation),
                cmocka_unit_test(test_flow),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
