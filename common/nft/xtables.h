/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NFT_XTABLES_H
#define BERTH_NFT_XTABLES_H

/* Tables of iptables-legacy, read only: they are one blob, which getsockopt(2) hands out. */

#include "common/nft/nft_query.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct XtTable {
        uint8_t family; /* AF_INET, AF_INET6 */
        uint8_t *bytes; /* owned: struct ipt_get_entries and what is behind it */
        size_t n;
        const uint8_t *entries; /* in @bytes */
        size_t n_entries;
        uint32_t first[5], policy[5]; /* offsets of each hook's first rule and of its policy */
} XtTable;

/* Does the kernel hold @table of iptables-legacy? Read in /proc/net/ip_tables_names. */
bool xtables_has(uint8_t family, const char *table);

/* Return: 0, freed by xtables_deinit(); -EAGAIN: it changed while it was read; -EFBIG beyond
 * 100,000 rules; another -errno. */
int xtables_read(uint8_t family, const char *table, XtTable *xt);
void xtables_deinit(XtTable *xt);

typedef struct XtRule {
        uint32_t offset, next;
        bool unconditional;
        bool is_verdict; /* else another target: @target */
        int32_t verdict; /* NF_ACCEPT, NF_DROP; NF_REPEAT for RETURN; -1 for a jump to @jump */
        uint32_t jump;
        char target[32];
        char chain[32]; /* of a head of a chain: its name; then nothing else counts */
        bool is_goto;   /* not a jump */
        const uint8_t *bytes;
        size_t n_bytes;
} XtRule;

/* The rule at @offset. Return: 0; -ENOENT behind the last; -EBADMSG. */
int xtables_rule(const XtTable *xt, uint32_t offset, XtRule *rule);

/* What it asks of a packet and says of it, as NftRule has that; a jump has no @target here. */
void xtables_describe(const XtTable *xt, const XtRule *rule, NftRule *description);

/* Where the rules of @chain, which is no hook's own, begin. Return: 0; -ENOENT; -EBADMSG. */
int xtables_chain(const XtTable *xt, const char *chain, uint32_t *offsetp);

#endif
