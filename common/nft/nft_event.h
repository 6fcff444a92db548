/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NFT_NFT_EVENT_H
#define BERTH_NFT_NFT_EVENT_H

/* What the kernel announces of a transaction: each object of it, then the generation. */

#include "common/nft/nft_query.h"

typedef enum NftEventKind {
        NFT_EVENT_OTHER,
        NFT_EVENT_NEW,        /* @object of @table is new */
        NFT_EVENT_GONE,       /* it is gone */
        NFT_EVENT_GENERATION, /* the transaction ends; @program made it */
} NftEventKind;

typedef enum NftObject {
        NFT_OBJECT_TABLE,
        NFT_OBJECT_CHAIN,
        NFT_OBJECT_RULE,
        NFT_OBJECT_SET,
        NFT_OBJECT_ELEMENT,
} NftObject;

typedef struct NftEvent {
        NftEventKind kind;
        NftObject object;
        uint8_t family; /* NFPROTO_* */
        char table[NFT_NAME_MAX + 1];
        char chain[NFT_NAME_MAX + 1]; /* of a chain or a rule; else "" */
        char program[16];             /* as ps(1) has its name; "" before Linux 4.18 */
} NftEvent;

/* Pure. Return: 0, with NFT_EVENT_OTHER for what is of no kind; -EBADMSG. */
int nft_event_parse(const struct nlmsghdr *message, NftEvent *event);

/* Joins @sock, of NETLINK_NETFILTER, to the group that announces them; as rtnl_event_join().
 * Return: 0; -errno. */
int nft_event_join(NlSocket *sock);

#endif
