/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/nft/nft_batch.h"
#include "common/nft/nft_expr.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

/* Headers of messages and attributes are in host order, what nf_tables puts inside is not. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define H16(v) (uint8_t)((v)&0xff), (uint8_t)((v) >> 8)
#define H32(v) H16((v)&0xffff), H16((v) >> 16)
#else
#define H16(v) (uint8_t)((v) >> 8), (uint8_t)((v)&0xff)
#define H32(v) H16((v) >> 16), H16((v)&0xffff)
#endif
#define B32(v) 0, 0, (uint8_t)((v) >> 8), (uint8_t)((v)&0xff)

#define NESTED(type)           ((type) | 0x8000)
#define ATTR(n, type)          H16(n), H16(type)
#define MESSAGE(n, type, f, s) H32(n), H16(type), H16(f), H32(s), H32(0)
#define NFT(type)              (NFNL_SUBSYS_NFTABLES << 8 | (type))

static void assert_bytes(const NftBatch *batch, const uint8_t *wanted, size_t n) {
        assert_int_equal(batch->broken, 0);
        assert_int_equal(batch->n, n);
        for (size_t i = 0; i < n; i++)
                if (batch->bytes[i] != wanted[i])
                        fail_msg("byte %zu is %02x, not %02x", i, batch->bytes[i], wanted[i]);
}

/* BATCH_BEGIN with generation 0x1234, one table, BATCH_END. */
static void test_frame(void **state) {
        /* clang-format off */
        static const uint8_t wanted[] = {
                MESSAGE(28, NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, 0), 0, 0, 0, 10, /* res_id is big-endian */
                ATTR(8, NFNL_BATCH_GENID), B32(0x1234),
                MESSAGE(32, NFT(NFT_MSG_NEWTABLE), NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK, 1),
                NFPROTO_IPV4, 0, 0, 0,
                ATTR(10, NFTA_TABLE_NAME), 'b', 'e', 'r', 't', 'h', 0, 0, 0,
                MESSAGE(20, NFNL_MSG_BATCH_END, NLM_F_REQUEST, 2), 0, 0, 0, 10, /* res_id is big-endian */
        };
        /* clang-format on */
        NftBatch batch = {0};

        nft_batch_begin(&batch);
        assert_true(nft_batch_is_empty(&batch));
        assert_int_equal(nft_batch_next(&batch), 1);
        nft_table_add(&batch, NFPROTO_IPV4, "berth");
        assert_false(nft_batch_is_empty(&batch));
        nft_batch_set_generation(&batch, 0x1234);
        nft_batch_end(&batch);
        nft_batch_end(&batch);
        assert_bytes(&batch, wanted, sizeof(wanted));
        /* After the end nothing more fits. */
        nft_table_add(&batch, NFPROTO_IPV4, "berth");
        assert_int_equal(batch.broken, -EINVAL);
        /* Used again it starts anew. */
        nft_batch_begin(&batch);
        assert_int_equal(batch.broken, 0);
        assert_int_equal(batch.n, 28);
        nft_batch_deinit(&batch);
}

static void test_map(void **state) {
        /* clang-format off */
        static const uint8_t wanted[] = {
                MESSAGE(84, NFT(NFT_MSG_NEWSET), NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, 1),
                NFPROTO_IPV6, 0, 0, 0,
                ATTR(6, NFTA_SET_TABLE), 't', 0, 0, 0,
                ATTR(6, NFTA_SET_NAME), 'm', 0, 0, 0,
                ATTR(8, NFTA_SET_FLAGS), B32(NFT_SET_MAP),
                ATTR(8, NFTA_SET_KEY_TYPE), B32(12 << 6 | 13),
                ATTR(8, NFTA_SET_KEY_LEN), B32(8),
                ATTR(8, NFTA_SET_DATA_TYPE), B32(8 << 6 | 13),
                ATTR(8, NFTA_SET_DATA_LEN), B32(20),
                ATTR(8, NFTA_SET_ID), B32(1),
        };
        /* clang-format on */
        NftBatch batch = {0};

        nft_batch_begin(&batch);
        batch.n = 0; /* without the frame */
        nft_set_add(&batch, &(NftSet){
                                    .family = NFPROTO_IPV6,
                                    .table = "t",
                                    .name = "m",
                                    .key_type = NFT_TYPE_2(NFT_TYPE_PROTO, NFT_TYPE_SERVICE),
                                    .n_key = 8,
                                    .data_type = NFT_TYPE_2(NFT_TYPE_IPV6, NFT_TYPE_SERVICE),
                                    .n_data = 20,
                                    .exclusive = true,
                            });
        assert_bytes(&batch, wanted, sizeof(wanted));
        nft_batch_deinit(&batch);
}

static void test_element(void **state) {
        /* clang-format off */
        static const uint8_t wanted[] = {
                MESSAGE(96, NFT(NFT_MSG_NEWSETELEM), NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, 1),
                NFPROTO_IPV4, 0, 0, 0,
                ATTR(6, NFTA_SET_ELEM_LIST_TABLE), 't', 0, 0, 0,
                ATTR(6, NFTA_SET_ELEM_LIST_SET), 's', 0, 0, 0,
                ATTR(60, NESTED(NFTA_SET_ELEM_LIST_ELEMENTS)),
                ATTR(56, NESTED(NFTA_LIST_ELEM)),
                ATTR(16, NESTED(NFTA_SET_ELEM_KEY)),
                ATTR(12, NFTA_DATA_VALUE), 6, 0, 0, 0, 0x1f, 0x90, 0, 0,
                ATTR(16, NESTED(NFTA_SET_ELEM_DATA)),
                ATTR(12, NFTA_DATA_VALUE), 10, 0, 0, 1, 0, 80, 0, 0,
                ATTR(18, NFTA_SET_ELEM_USERDATA), 0, 12, /* a comment */
                'o', 'w', 'n', 'e',
                'r', ' ', 'o', 'f', ' ', 'i', 't', 0, 0, 0,
        };
        /* clang-format on */
        NftElement element = {
                .family = NFPROTO_IPV4,
                .table = "t",
                .set = "s",
                .key = {6, 0, 0, 0, 0x1f, 0x90},
                .n_key = 8,
                .data = {10, 0, 0, 1, 0, 80},
                .n_data = 8,
                .comment = "owner of it",
        };
        NftBatch batch = {0};

        nft_batch_begin(&batch);
        batch.n = 0;
        nft_element_add(&batch, &element, true);
        assert_bytes(&batch, wanted, sizeof(wanted));
        /* Deleting names the key only. */
        batch.n = 0;
        nft_element_delete(&batch, &element);
        assert_int_equal(batch.n, 20 + 8 + 8 + 4 + 4 + 16);
        nft_batch_deinit(&batch);
}

static void test_rule(void **state) {
        /* clang-format off */
        static const uint8_t wanted[] = {
                MESSAGE(132, NFT(NFT_MSG_NEWRULE), NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND, 1),
                NFPROTO_IPV4, 0, 0, 0,
                ATTR(6, NFTA_RULE_TABLE), 't', 0, 0, 0,
                ATTR(6, NFTA_RULE_CHAIN), 'c', 0, 0, 0,
                ATTR(96, NESTED(NFTA_RULE_EXPRESSIONS)),
                ATTR(44, NESTED(NFTA_LIST_ELEM)),
                ATTR(11, NFTA_EXPR_NAME), 'l', 'o', 'o', 'k', 'u', 'p', 0, 0,
                ATTR(28, NESTED(NFTA_EXPR_DATA)),
                ATTR(6, NFTA_LOOKUP_SET), 's', 0, 0, 0,
                ATTR(8, NFTA_LOOKUP_SREG), B32(NFT_REG32_00 + 2),
                ATTR(8, NFTA_LOOKUP_FLAGS), B32(NFT_LOOKUP_F_INV),
                ATTR(48, NESTED(NFTA_LIST_ELEM)),
                ATTR(14, NFTA_EXPR_NAME), 'i', 'm', 'm', 'e', 'd', 'i', 'a', 't', 'e', 0, 0, 0,
                ATTR(28, NESTED(NFTA_EXPR_DATA)),
                ATTR(8, NFTA_IMMEDIATE_DREG), B32(NFT_REG_VERDICT),
                ATTR(16, NESTED(NFTA_IMMEDIATE_DATA)),
                ATTR(12, NESTED(NFTA_DATA_VERDICT)),
                ATTR(8, NFTA_VERDICT_CODE), B32(NF_DROP),
        };
        /* clang-format on */
        NftBatch batch = {0};

        nft_batch_begin(&batch);
        batch.n = 0;
        nft_rule_begin(&batch, &(NftRuleAt){.family = NFPROTO_IPV4, .table = "t", .chain = "c"});
        nft_expr_lookup(&batch, "s", 2, true);
        nft_expr_verdict(&batch, NF_DROP, NULL);
        nft_rule_end(&batch);
        assert_bytes(&batch, wanted, sizeof(wanted));
        nft_batch_deinit(&batch);
}

/* What does not fit breaks the batch, once and for all. */
static void test_broken(void **state) {
        char name[NFT_NAME_MAX + 2];
        NftBatch batch = {0};
        NftElement element = {.family = NFPROTO_IPV4, .table = "t", .set = "s", .n_key = 4};

        memset(name, 'x', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        nft_batch_begin(&batch);
        nft_table_add(&batch, NFPROTO_IPV4, name);
        assert_int_equal(batch.broken, -ENAMETOOLONG);
        nft_table_add(&batch, NFPROTO_IPV4, "t");
        nft_batch_end(&batch);
        assert_int_equal(batch.n_messages, 1);
        nft_batch_begin(&batch);
        element.n_key = NFT_VALUE_MAX + 1;
        nft_element_add(&batch, &element, true);
        assert_int_equal(batch.broken, -EMSGSIZE);
        nft_batch_begin(&batch);
        nft_rule_begin(&batch, &(NftRuleAt){.family = NFPROTO_IPV4, .table = "t", .chain = "c"});
        for (size_t i = 0; i < 200; i++)
                nft_expr_lookup(&batch, "set", 0, false);
        nft_rule_end(&batch);
        assert_int_equal(batch.broken, -EMSGSIZE);
        nft_batch_deinit(&batch);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_frame),   cmocka_unit_test(test_map),
                cmocka_unit_test(test_element), cmocka_unit_test(test_rule),
                cmocka_unit_test(test_broken),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
