/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NFT_NFT_ANSWER_H
#define BERTH_NFT_NFT_ANSWER_H

/* Pieces of the room's answers; for its own files. */

#include "common/nft/nft_query.h"

#include <linux/netfilter/nfnetlink.h>

#define NFT_HEADER_SIZE sizeof(struct nfgenmsg)

uint32_t nft_get_u32(const struct nlattr *attr, uint32_t fallback);

/* Reads the comment out of user data; "" when there is none or it is not text with its NUL. */
void nft_get_comment(const struct nlattr *attr, char *text, size_t n_text);

/* The bytes of NFTA_DATA_VALUE inside @attr. */
int nft_get_value(const struct nlattr *attr, const uint8_t **valuep, size_t *np);

/* The attributes of a list, all of one type. Return: 0; -EBADMSG; what @each returned. */
int nft_for_list(const struct nlattr *list, int (*each)(const struct nlattr *item, void *data),
                 void *data);

/* A match of xtables: adds to what @rule says of it. */
void nft_rule_take_match(NftRule *rule, const char *name, uint32_t revision, const void *info,
                         size_t n_info);

/* A target of xtables by its name. */
void nft_rule_take_target(NftRule *rule, const char *name);

#endif
