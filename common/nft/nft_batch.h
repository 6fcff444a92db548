/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NFT_NFT_BATCH_H
#define BERTH_NFT_NFT_BATCH_H

/*
 * One nftables transaction as bytes: BATCH_BEGIN, messages, BATCH_END. Pure: nothing here talks to
 * the kernel (nft_run.h does). Integers of nf_tables attributes are big-endian on every machine.
 *
 * A message that cannot be built breaks the batch, later calls do nothing, and nft_batch_run()
 * returns why; so callers check once.
 *
 * Families are NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_INET, NFPROTO_BRIDGE. Names are at most
 * NFT_NAME_MAX bytes. Source: include/uapi/linux/netfilter/nf_tables.h of Linux.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <netlink/attr.h>
#include <netlink/msg.h>

/* Beyond 31 bytes a name needs Linux 4.14. */
#define NFT_NAME_MAX 127

/* Key and data of an element: registers hold 64 bytes. */
#define NFT_VALUE_MAX 64

/* Comment of a rule or an element, with its NUL: what nft(8) reads back. */
#define NFT_COMMENT_MAX 128

typedef struct NftBatch {
        uint8_t *bytes; /* owned; complete messages with sequence numbers 0, 1, ... */
        size_t n;
        size_t n_allocated;
        struct nl_msg *message; /* owned; the one being written, used again for the next one */
        struct nlattr *expressions, *expression, *data; /* open nests of a rule */
        uint32_t n_messages;                            /* BATCH_BEGIN and BATCH_END included */
        uint32_t n_sets; /* made in this batch; each wants a number */
        bool ended;
        int broken; /* 0 or -errno */
} NftBatch;

/* @batch starts as (NftBatch){0}; this writes BATCH_BEGIN. Also empties a used one. */
void nft_batch_begin(NftBatch *batch);

/* Writes BATCH_END, once. The last message before it asks for an ack. */
void nft_batch_end(NftBatch *batch);
void nft_batch_deinit(NftBatch *batch);

/* The transaction is refused with -ERESTART unless the ruleset's generation is this one. 0: any. */
void nft_batch_set_generation(NftBatch *batch, uint32_t generation);

/* True when there is nothing between BEGIN and END. */
static inline bool nft_batch_is_empty(const NftBatch *batch) {
        return batch->n_messages <= (batch->ended ? 2U : 1U);
}

/* Index that the next message will have: an error of nft_batch_run() names it. */
static inline uint32_t nft_batch_next(const NftBatch *batch) {
        return batch->n_messages;
}

/* --- objects ------------------------------------------------------------------------------ */

/* Making what exists already is no error, unless @exclusive (-EEXIST). */
void nft_table_add(NftBatch *batch, uint8_t family, const char *table);
void nft_table_delete(NftBatch *batch, uint8_t family, const char *table);

typedef struct NftChain {
        uint8_t family;
        const char *table;
        const char *name;
        const char *type; /* "nat", "filter"; NULL: an ordinary chain, the rest does not count */
        uint32_t hook;    /* NF_INET_*, NF_BR_* */
        int32_t priority;
} NftChain;

/* The policy of a base chain is accept. */
void nft_chain_add(NftBatch *batch, const NftChain *chain);
void nft_chain_delete(NftBatch *batch, uint8_t family, const char *table, const char *name);

/* nft(8)'s numbers of types, so that it prints elements readably; the kernel keeps them only. */
#define NFT_TYPE_INTEGER    4U
#define NFT_TYPE_IPV4       7U
#define NFT_TYPE_IPV6       8U
#define NFT_TYPE_ETHER      9U
#define NFT_TYPE_PROTO      12U
#define NFT_TYPE_SERVICE    13U
#define NFT_TYPE_MARK       19U
#define NFT_TYPE_IFNAME     41U
#define NFT_TYPE_BITS       6
#define NFT_TYPE_2(a, b)    (((a) << NFT_TYPE_BITS) | (b))
#define NFT_TYPE_3(a, b, c) (NFT_TYPE_2(a, b) << NFT_TYPE_BITS | (c))

typedef struct NftSet {
        uint8_t family;
        const char *table;
        const char *name;
        uint32_t key_type;
        uint32_t n_key; /* bytes; each part of a concatenation is padded to 4 */
        uint32_t data_type;
        uint32_t n_data;     /* 0: a set, else a map */
        bool key_host_order; /* text or a number of this machine: so that nft(8) prints it right */
        bool data_host_order;
        /* The key is the incoming link and 16 bytes of the transport header from here on, which
         * have no type of their own: nft(8) loads such a set back only when told where they are
         * from. 0: another key. */
        uint32_t link_and_transport;
        bool exclusive;
} NftSet;

void nft_set_add(NftBatch *batch, const NftSet *set);
void nft_set_delete(NftBatch *batch, uint8_t family, const char *table, const char *name);

/* @handle 0: all rules of the chain. */
void nft_rule_delete(NftBatch *batch, uint8_t family, const char *table, const char *chain,
                     uint64_t handle);

/* --- elements ----------------------------------------------------------------------------- */

typedef struct NftElement {
        uint8_t family;
        const char *table;
        const char *set;
        uint8_t key[NFT_VALUE_MAX];
        uint32_t n_key;
        uint8_t data[NFT_VALUE_MAX];
        uint32_t n_data; /* 0: of a set */
        char comment[NFT_COMMENT_MAX];
} NftElement;

/* @exclusive: -EEXIST when the key is there; else that is no error and nothing changes. Another
 * value under the key is -EBUSY or -EEXIST, by the kernel's age. */
void nft_element_add(NftBatch *batch, const NftElement *element, bool exclusive);

/* By key. -ENOENT when it is not there. */
void nft_element_delete(NftBatch *batch, const NftElement *element);

/* --- shared with nft_expr.c and nft_run.c -------------------------------------------------- */

/* Starts a message of nf_tables; NULL when the batch is broken. */
struct nl_msg *nft_message_begin(NftBatch *batch, uint16_t type, uint16_t flags, uint8_t family);
void nft_message_end(NftBatch *batch);

void nft_put_text(NftBatch *batch, int type, const char *text);
void nft_put_u32(NftBatch *batch, int type, uint32_t value);
void nft_put_u64(NftBatch *batch, int type, uint64_t value);

/* NFTA_DATA_VALUE inside @type. */
void nft_put_value(NftBatch *batch, int type, const void *value, size_t n);

/* A comment as nft(8) writes it into user data. */
void nft_put_comment(NftBatch *batch, int type, const char *comment);

struct nlattr *nft_nest_begin(NftBatch *batch, int type);
void nft_nest_end(NftBatch *batch, struct nlattr *nest);

#endif
