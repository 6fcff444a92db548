/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a table of an earlier version has otherwise. It is put right in the transaction that makes
 * what that version did not have, and before that in the order of the hooks, so that no packet
 * meets neither.
 */

#include "cni/rules/rules.h"

#include <errno.h>
#include <string.h>

/* As many as rules_groups.c knows; one more would be overlooked, not written beyond. */
#define CHAINS_MAX 2U

/* The set of RULE_GROUP_NODE in tables whose host ports come beside kube-proxy's. */
#define SERVICES_BEFORE "services"

typedef struct Move {
        NftBatch *batch;
        uint8_t family;
        char chains[CHAINS_MAX][NFT_NAME_MAX + 1]; /* whose rules were moved */
        size_t n_chains;
        bool has_services;
} Move;

/* A dump that was interrupted copies rules twice: then the generation is another one. */
static int each_rule(const NftRule *rule, void *userdata) {
        Move *move = userdata;

        if (!rule || !rule_group_move(move->batch, move->family, rule))
                return 0;
        for (size_t i = 0; i < move->n_chains; i++)
                if (strcmp(move->chains[i], rule->chain) == 0)
                        return 0;
        if (move->n_chains < CHAINS_MAX)
                memcpy(move->chains[move->n_chains++], rule->chain, sizeof(rule->chain));
        return 0;
}

static int each_set(uint8_t family, const char *name, void *userdata) {
        Move *move = userdata;

        if (name && strcmp(name, SERVICES_BEFORE) == 0)
                move->has_services = true;
        return 0;
}

int rules_move(NlSocket *sock, NftBatch *batch, uint8_t family) {
        Move move = {.batch = batch, .family = family};
        int r = nft_rule_dump(sock, family, RULES_TABLE, NULL, each_rule, &move);

        r = r < 0 ? r : nft_set_dump(sock, family, RULES_TABLE, each_set, &move);
        for (size_t i = 0; i < move.n_chains; i++)
                nft_chain_delete(batch, family, RULES_TABLE, move.chains[i]);
        if (move.has_services)
                nft_set_delete(batch, family, RULES_TABLE, SERVICES_BEFORE);
        return r == -ENOENT ? 0 : r;
}
