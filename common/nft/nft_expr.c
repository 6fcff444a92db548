/* SPDX-License-Identifier: Apache-2.0 */

/* Expressions of nf_tables: each is {name, data{attributes}}. Knows no rule of anybody. */

#include "common/nft/nft_expr.h"

#include <errno.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>

static uint32_t register_of(uint32_t word) {
        return NFT_REG32_00 + word;
}

static void begin(NftBatch *batch, const char *name) {
        batch->expression = nft_nest_begin(batch, NFTA_LIST_ELEM);
        nft_put_text(batch, NFTA_EXPR_NAME, name);
        batch->data = nft_nest_begin(batch, NFTA_EXPR_DATA);
}

static void end(NftBatch *batch) {
        nft_nest_end(batch, batch->data);
        nft_nest_end(batch, batch->expression);
}

void nft_rule_begin(NftBatch *batch, const NftRuleAt *at) {
        uint16_t flags = NLM_F_CREATE | (at->first ? 0 : NLM_F_APPEND);

        if (!nft_message_begin(batch, NFT_MSG_NEWRULE, flags, at->family))
                return;
        nft_put_text(batch, NFTA_RULE_TABLE, at->table);
        nft_put_text(batch, NFTA_RULE_CHAIN, at->chain);
        if (at->comment)
                nft_put_comment(batch, NFTA_RULE_USERDATA, at->comment);
        batch->expressions = nft_nest_begin(batch, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(NftBatch *batch) {
        nft_nest_end(batch, batch->expressions);
        nft_message_end(batch);
}

void nft_rule_copy(NftBatch *batch, const NftRuleAt *at, const struct nlattr *expressions) {
        nft_rule_begin(batch, at);
        if (batch->broken == 0 && nlmsg_append(batch->message, nla_data(expressions),
                                               (size_t)nla_len(expressions), NLMSG_ALIGNTO) < 0)
                batch->broken = -EMSGSIZE;
        nft_rule_end(batch);
}

void nft_expr_payload(NftBatch *batch, NftBase base, uint32_t offset, uint32_t n, uint32_t word) {
        static const uint32_t bases[] = {
                [NFT_BASE_LINK] = NFT_PAYLOAD_LL_HEADER,
                [NFT_BASE_NETWORK] = NFT_PAYLOAD_NETWORK_HEADER,
                [NFT_BASE_TRANSPORT] = NFT_PAYLOAD_TRANSPORT_HEADER,
        };

        begin(batch, "payload");
        nft_put_u32(batch, NFTA_PAYLOAD_DREG, register_of(word));
        nft_put_u32(batch, NFTA_PAYLOAD_BASE, bases[base]);
        nft_put_u32(batch, NFTA_PAYLOAD_OFFSET, offset);
        nft_put_u32(batch, NFTA_PAYLOAD_LEN, n);
        end(batch);
}

void nft_expr_meta(NftBatch *batch, uint32_t key, uint32_t word) {
        begin(batch, "meta");
        nft_put_u32(batch, NFTA_META_KEY, key);
        nft_put_u32(batch, NFTA_META_DREG, register_of(word));
        end(batch);
}

void nft_expr_meta_set(NftBatch *batch, uint32_t key, uint32_t word) {
        begin(batch, "meta");
        nft_put_u32(batch, NFTA_META_KEY, key);
        nft_put_u32(batch, NFTA_META_SREG, register_of(word));
        end(batch);
}

void nft_expr_ct(NftBatch *batch, uint32_t key, uint32_t word) {
        begin(batch, "ct");
        nft_put_u32(batch, NFTA_CT_KEY, key);
        nft_put_u32(batch, NFTA_CT_DREG, register_of(word));
        end(batch);
}

void nft_expr_fib_daddr_type(NftBatch *batch, uint32_t word) {
        begin(batch, "fib");
        nft_put_u32(batch, NFTA_FIB_DREG, register_of(word));
        nft_put_u32(batch, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
        nft_put_u32(batch, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
        end(batch);
}

void nft_expr_cmp(NftBatch *batch, uint32_t word, const void *value, uint32_t n, bool differ) {
        begin(batch, "cmp");
        nft_put_u32(batch, NFTA_CMP_SREG, register_of(word));
        nft_put_u32(batch, NFTA_CMP_OP, differ ? NFT_CMP_NEQ : NFT_CMP_EQ);
        nft_put_value(batch, NFTA_CMP_DATA, value, n);
        end(batch);
}

void nft_expr_immediate(NftBatch *batch, uint32_t word, const void *value, uint32_t n) {
        begin(batch, "immediate");
        nft_put_u32(batch, NFTA_IMMEDIATE_DREG, register_of(word));
        nft_put_value(batch, NFTA_IMMEDIATE_DATA, value, n);
        end(batch);
}

void nft_expr_mask_flip(NftBatch *batch, uint32_t word, const void *mask, const void *flip,
                        uint32_t n) {
        begin(batch, "bitwise");
        nft_put_u32(batch, NFTA_BITWISE_SREG, register_of(word));
        nft_put_u32(batch, NFTA_BITWISE_DREG, register_of(word));
        nft_put_u32(batch, NFTA_BITWISE_LEN, n);
        nft_put_value(batch, NFTA_BITWISE_MASK, mask, n);
        nft_put_value(batch, NFTA_BITWISE_XOR, flip, n);
        end(batch);
}

void nft_expr_mask(NftBatch *batch, uint32_t word, const void *mask, uint32_t n) {
        static const uint8_t zero[NFT_VALUE_MAX];

        nft_expr_mask_flip(batch, word, mask, zero, n <= sizeof(zero) ? n : sizeof(zero));
}

void nft_expr_lookup(NftBatch *batch, const char *set, uint32_t word, bool absent) {
        begin(batch, "lookup");
        nft_put_text(batch, NFTA_LOOKUP_SET, set);
        nft_put_u32(batch, NFTA_LOOKUP_SREG, register_of(word));
        if (absent)
                nft_put_u32(batch, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
        end(batch);
}

void nft_expr_map(NftBatch *batch, const char *map, uint32_t word, uint32_t to) {
        begin(batch, "lookup");
        nft_put_text(batch, NFTA_LOOKUP_SET, map);
        nft_put_u32(batch, NFTA_LOOKUP_SREG, register_of(word));
        nft_put_u32(batch, NFTA_LOOKUP_DREG, register_of(to));
        end(batch);
}

void nft_expr_verdict(NftBatch *batch, int32_t verdict, const char *chain) {
        struct nlattr *value, *inner;

        begin(batch, "immediate");
        nft_put_u32(batch, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
        value = nft_nest_begin(batch, NFTA_IMMEDIATE_DATA);
        inner = nft_nest_begin(batch, NFTA_DATA_VERDICT);
        nft_put_u32(batch, NFTA_VERDICT_CODE, (uint32_t)verdict);
        if (chain)
                nft_put_text(batch, NFTA_VERDICT_CHAIN, chain);
        nft_nest_end(batch, inner);
        nft_nest_end(batch, value);
        end(batch);
}

void nft_expr_dnat(NftBatch *batch, uint8_t family, uint32_t address_word, uint32_t port_word) {
        begin(batch, "nat");
        nft_put_u32(batch, NFTA_NAT_TYPE, NFT_NAT_DNAT);
        nft_put_u32(batch, NFTA_NAT_FAMILY, family);
        nft_put_u32(batch, NFTA_NAT_REG_ADDR_MIN, register_of(address_word));
        nft_put_u32(batch, NFTA_NAT_REG_PROTO_MIN, register_of(port_word));
        end(batch);
}

static void put_flags(NftBatch *batch, int type, bool randomly) {
        if (randomly)
                nft_put_u32(batch, type, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
}

void nft_expr_masquerade(NftBatch *batch, bool randomly) {
        begin(batch, "masq");
        put_flags(batch, NFTA_MASQ_FLAGS, randomly);
        end(batch);
}

void nft_expr_snat(NftBatch *batch, uint8_t family, uint32_t address_word, bool randomly) {
        begin(batch, "nat");
        nft_put_u32(batch, NFTA_NAT_TYPE, NFT_NAT_SNAT);
        nft_put_u32(batch, NFTA_NAT_FAMILY, family);
        nft_put_u32(batch, NFTA_NAT_REG_ADDR_MIN, register_of(address_word));
        put_flags(batch, NFTA_NAT_FLAGS, randomly);
        end(batch);
}

void nft_expr_counter(NftBatch *batch) {
        begin(batch, "counter");
        end(batch);
}

void nft_expr_xt_match(NftBatch *batch, const char *name, uint32_t revision, const void *info,
                       uint32_t n_info) {
        begin(batch, "match");
        nft_put_text(batch, NFTA_MATCH_NAME, name);
        nft_put_u32(batch, NFTA_MATCH_REV, revision);
        if (batch->broken == 0 && nla_put(batch->message, NFTA_MATCH_INFO, (int)n_info, info) < 0)
                batch->broken = -EMSGSIZE;
        end(batch);
}
