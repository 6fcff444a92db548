/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NFT_NFT_QUERY_H
#define BERTH_NFT_NFT_QUERY_H

/*
 * Reading the ruleset. Questions are appended to an NlBatch (nl_socket.h), so that many cost one
 * round trip; an object that is not there is -ENOENT in its result. Answers are foreign bytes: the
 * parsers check every length.
 */

#include "common/netlink/nl_socket.h"
#include "common/nft/nft_batch.h"

/* --- questions --------------------------------------------------------------------------- */

/* Asked first, it makes the answers behind it safe to act upon: see nft_batch_set_generation(). */
void nft_ask_generation(NlBatch *batch);
void nft_ask_chain(NlBatch *batch, uint8_t family, const char *table, const char *chain);
void nft_ask_set(NlBatch *batch, uint8_t family, const char *table, const char *set);

/* By the key of @element. Linux 4.15. */
void nft_ask_element(NlBatch *batch, const NftElement *element);

/* --- answers ----------------------------------------------------------------------------- */

/* Return: 0; -EBADMSG; -ENOMSG when @message is about something else. */
int nft_parse_generation(const struct nlmsghdr *message, uint32_t *generationp);

/**
 * NftFound - what an element is
 * @comment: "" if it has none; user data of other programs may hold anything
 */
typedef struct NftFound {
        const uint8_t *key; /* borrowed from the message */
        size_t n_key;
        const uint8_t *data; /* NULL for a set */
        size_t n_data;
        char comment[NFT_COMMENT_MAX];
} NftFound;

/* Return: 0 to go on; anything else ends it and is returned. */
typedef int (*NftElementEach)(const NftFound *found, void *userdata);

/* @each for every element of one answer. Return: 0; -EBADMSG; -ENOMSG; what @each returned. */
int nft_parse_elements(const struct nlmsghdr *message, NftElementEach each, void *userdata);

/* Of a connection's first packet, tracked or not, as "ct state" has them. */
#define NFT_STATE_NEW       (1U << 3)
#define NFT_STATE_UNTRACKED (1U << 6)

/* What a rule asks of a packet. */
typedef enum NftSubject {
        NFT_SUBJECT_INPUT,    /* name of the link: as many bytes as there are, NUL included */
        NFT_SUBJECT_OUTPUT,   /* likewise */
        NFT_SUBJECT_PROTOCOL, /* IPPROTO_*, a byte */
} NftSubject;

typedef struct NftCondition {
        NftSubject subject;
        bool differs;
        uint8_t value[16]; /* IFNAMSIZ */
        size_t n;
} NftCondition;

#define NFT_CONDITIONS_MAX 4

/* A rule as far as it can be recognised: the first payload and its comparison count, and all
 * conditions. (common/nft/nft_rule.c) */
typedef struct NftRule {
        uint64_t handle;
        char chain[NFT_NAME_MAX + 1];
        char comment[NFT_COMMENT_MAX * 2]; /* of another program it may be longer: cut */
        int32_t verdict;                   /* of its immediate; INT32_MIN: none */
        char target[NFT_NAME_MAX + 1];     /* chain of a jump or goto */
        bool has_payload;
        uint32_t payload_base, payload_offset, payload_size;
        uint8_t compared[NFT_VALUE_MAX]; /* with what, "" if not by cmp */
        size_t n_compared;
        bool differs; /* cmp is != */
        NftCondition conditions[NFT_CONDITIONS_MAX];
        size_t n_conditions;
        bool is_of_answers; /* never of a connection's first packet */
        bool asks_more;     /* beside these */
        /* The set that conntrack's state is looked up in, one element of it being enough; "": none.
         * Its keys are bits, as NFT_STATE_NEW. */
        char state_set[NFT_NAME_MAX + 1];
        bool has_other_verdict;           /* by a map, of xtables, to a queue, ... */
        const struct nlattr *expressions; /* borrowed from the message; NULL: none */
} NftRule;

int nft_parse_rule(const struct nlmsghdr *message, NftRule *rule);

/* Asks for it alone. Return: 0; -errno, -EPERM without CAP_NET_ADMIN. */
int nft_generation(NlSocket *sock, uint32_t *generationp);

/* --- dumps ------------------------------------------------------------------------------- */

/**
 * nft_element_dump() - all elements of one set
 *
 * A dump may be interrupted by a change and then starts again: @each gets NULL and drops what it
 * has.
 *
 * Return: 0; -ENOENT when there is no such set; -errno.
 */
int nft_element_dump(NlSocket *sock, uint8_t family, const char *table, const char *set,
                     NftElementEach each, void *userdata);

/* All rules of @chain, or of the whole table when it is NULL; NULL to @each as above. */
typedef int (*NftRuleEach)(const NftRule *rule, void *userdata);
int nft_rule_dump(NlSocket *sock, uint8_t family, const char *table, const char *chain,
                  NftRuleEach each, void *userdata);

/* Names of the table's sets and maps; NULL to @each as above. */
typedef int (*NftNameEach)(uint8_t family, const char *name, void *userdata);
int nft_set_dump(NlSocket *sock, uint8_t family, const char *table, NftNameEach each,
                 void *userdata);

typedef struct NftChainFound {
        uint8_t family;
        char table[NFT_NAME_MAX + 1], name[NFT_NAME_MAX + 1];
        bool hooked; /* else the rest does not count */
        char type[16];
        uint32_t hook;
        int32_t priority;
        uint32_t policy; /* NF_ACCEPT, NF_DROP */
} NftChainFound;

/* Chains of all tables of all families; NULL to @each as above. */
typedef int (*NftChainEach)(const NftChainFound *chain, void *userdata);
int nft_chain_dump(NlSocket *sock, NftChainEach each, void *userdata);

/* Names of all tables of all families. */
int nft_table_dump(NlSocket *sock, NftNameEach each, void *userdata);

/* --- transactions ------------------------------------------------------------------------ */

/**
 * nft_batch_run() - hand @batch over as one transaction: all of it, or nothing
 * @failedp: index of the first message that failed (nft_batch_next()); may be NULL
 *
 * Sends the same bytes again when called again, so a generation can be set in between.
 *
 * Return: 0, also for an empty batch; -ERESTART when the generation is another one; -EOPNOTSUPP
 * when the kernel has no nf_tables; the first failure's -errno, its text in @sock.
 */
int nft_batch_run(NlSocket *sock, NftBatch *batch, uint32_t *failedp);

#endif
