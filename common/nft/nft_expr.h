/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NFT_NFT_EXPR_H
#define BERTH_NFT_NFT_EXPR_H

/*
 * Rules: nft_rule_begin(), expressions in the order in which the kernel runs them, nft_rule_end().
 *
 * Registers are counted in words of 4 bytes from 0 to 15, as a key of several parts is laid out:
 * part 0 in word 0, the next one behind it.
 */

#include "common/nft/nft_batch.h"

typedef struct NftRuleAt {
        uint8_t family;
        const char *table;
        const char *chain;
        bool first;          /* before all others of the chain; else after them */
        const char *comment; /* NULL: none */
} NftRuleAt;

void nft_rule_begin(NftBatch *batch, const NftRuleAt *at);
void nft_rule_end(NftBatch *batch);

/* A rule of another chain anew: @expressions is NftRule's, as the kernel gave it. */
void nft_rule_copy(NftBatch *batch, const NftRuleAt *at, const struct nlattr *expressions);

/* Where a header starts, for nft_expr_payload(). */
typedef enum NftBase {
        NFT_BASE_LINK,
        NFT_BASE_NETWORK,
        NFT_BASE_TRANSPORT,
} NftBase;

void nft_expr_payload(NftBatch *batch, NftBase base, uint32_t offset, uint32_t n, uint32_t word);

/* @key: NFT_META_IIFNAME (16 bytes), NFT_META_L4PROTO (1), NFT_META_NFPROTO (1), ... */
void nft_expr_meta(NftBatch *batch, uint32_t key, uint32_t word);

/* The 4 bytes of @word become the packet's @key: NFT_META_MARK. */
void nft_expr_meta_set(NftBatch *batch, uint32_t key, uint32_t word);

/* @key: NFT_CT_STATE, NFT_CT_STATUS: 4 bytes, host order. */
void nft_expr_ct(NftBatch *batch, uint32_t key, uint32_t word);

/* fib daddr type into @word: RTN_LOCAL, ... in host order. Linux 4.10. */
void nft_expr_fib_daddr_type(NftBatch *batch, uint32_t word);

/* Goes on when the @n bytes are equal, or with @differ when they are not. */
void nft_expr_cmp(NftBatch *batch, uint32_t word, const void *value, uint32_t n, bool differ);

/* word = @value, @n bytes. */
void nft_expr_immediate(NftBatch *batch, uint32_t word, const void *value, uint32_t n);

/* word = word & @mask, @n bytes. */
void nft_expr_mask(NftBatch *batch, uint32_t word, const void *mask, uint32_t n);

/* word = (word & @mask) ^ @flip: what sets and takes away bits. */
void nft_expr_mask_flip(NftBatch *batch, uint32_t word, const void *mask, const void *flip,
                        uint32_t n);

/* Goes on when the key is in @set, or with @absent when it is not. */
void nft_expr_lookup(NftBatch *batch, const char *set, uint32_t word, bool absent);

/* Goes on when the key is in @map, with its value from word @to on. */
void nft_expr_map(NftBatch *batch, const char *map, uint32_t word, uint32_t to);

/* @verdict: NF_ACCEPT, NF_DROP, NFT_RETURN, NFT_JUMP, NFT_GOTO; @chain for the last two. */
void nft_expr_verdict(NftBatch *batch, int32_t verdict, const char *chain);

/* DNAT to the address in @address_word and the port in @port_word. */
void nft_expr_dnat(NftBatch *batch, uint8_t family, uint32_t address_word, uint32_t port_word);

/* @randomly: the source port is chosen at random (NF_NAT_RANGE_PROTO_RANDOM_FULLY) */
void nft_expr_masquerade(NftBatch *batch, bool randomly);

/* SNAT to the address in @address_word. */
void nft_expr_snat(NftBatch *batch, uint8_t family, uint32_t address_word, bool randomly);
void nft_expr_counter(NftBatch *batch);

/* A match of xtables: what iptables-nft can read in its own tables. @info has xtables' alignment.
 */
void nft_expr_xt_match(NftBatch *batch, const char *name, uint32_t revision, const void *info,
                       uint32_t n_info);

#endif
