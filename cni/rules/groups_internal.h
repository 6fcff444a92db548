/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_RULES_GROUPS_INTERNAL_H
#define BERTH_CNI_RULES_GROUPS_INTERNAL_H

/* What the rules of a group are written with. */

#include "cni/rules/rules.h"

#include "common/nft/nft_expr.h"

#define PRIORITY_EARLY (-300) /* bridge: before its own destination NAT */

#define CHAIN_SPOOF     "spoof-check"
#define CHAIN_ARP       "arp-check"
#define CHAIN_ND        "nd-check"
#define CHAIN_ND_TARGET "nd-target-check"
#define CHAIN_PROTOCOL  "protocol-check"

typedef struct GroupMaker {
        NftBatch *batch;
        const RuleGroup *group;
        uint32_t n_address; /* bytes */
        uint32_t address_type;
        uint32_t source, destination; /* offsets in the IP header */
} GroupMaker;

/* @type "nat", "filter", or NULL: a chain that rules jump to, at no hook. */
void group_chain(const GroupMaker *maker, const char *name, const char *type, uint32_t hook,
                 int32_t priority);

/* @n_key: bytes. @exclusive: an element has one owner. */
void group_set(const GroupMaker *maker, RuleSet set, uint32_t key_type, uint32_t n_key,
               bool exclusive);

/* A rule at the end of @chain; group_drop() or nft_rule_end() ends it. */
void group_begin(const GroupMaker *maker, const char *chain);

/* What stands at @word on is an element of @set, or with @absent is not. */
void group_lookup(const GroupMaker *maker, RuleSet set, uint32_t word, bool absent);
void group_match_link(const GroupMaker *maker, RuleSet links);
void group_drop(const GroupMaker *maker);

void group_make_spoof(const GroupMaker *maker);
void group_make_arp(const GroupMaker *maker);
void group_make_nd(const GroupMaker *maker);
void group_make_protocol(const GroupMaker *maker);

#endif
