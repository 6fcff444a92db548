/* SPDX-License-Identifier: Apache-2.0 */

/* Could this kernel make a group, asked by a transaction that is refused in any case. */

#include "cni/rules/rules.h"

#include "common/base/cleanup.h"

#include <errno.h>

#include <linux/netfilter.h>

/* What nobody has: to delete it fails, and takes back all that came before. */
#define NOBODYS_TABLE RULES_TABLE "-is-not-there"

static void batch_deinit(NftBatch *batch) {
        nft_batch_deinit(batch);
}

static bool is_lacking(int r) {
        return r == -EOPNOTSUPP || r == -EAFNOSUPPORT || r == -ENOENT;
}

int rules_probe(RulesSocket *sock, const RuleGroup *groups, size_t n, Error *err) {
        cleanup(batch_deinit) NftBatch batch = {0};
        uint32_t last, failed = 0;
        int r = rules_open(sock, err);

        if (r < 0)
                return r;
        nft_batch_begin(&batch);
        for (size_t i = 0; i < n; i++)
                rule_group_make(&batch, &groups[i]);
        last = nft_batch_next(&batch);
        nft_table_delete(&batch, groups[0].family, NOBODYS_TABLE);
        r = nft_batch_run(&sock->netfilter, &batch, &failed);
        if (is_lacking(r) && failed != last)
                return 0;
        /* A group that is there (-EEXIST) was made by this kernel. */
        return r == -ENOENT || r == -EEXIST
                       ? 1
                       : error_set_errno(err, r < 0 ? r : EINVAL, "try rules of this kernel");
}

bool rules_can_check_claims(void) {
        static const RuleGroup groups[] = {{.kind = RULE_GROUP_SPOOF, .family = NFPROTO_BRIDGE},
                                           {.kind = RULE_GROUP_ARP, .family = NFPROTO_BRIDGE},
                                           {.kind = RULE_GROUP_ND, .family = NFPROTO_BRIDGE},
                                           {.kind = RULE_GROUP_PROTOCOL, .family = NFPROTO_BRIDGE}};
        cleanup(rules_close) RulesSocket sock = RULES_SOCKET_NULL;
        Error ignored = {0};

        return rules_probe(&sock, groups, N_ELEMENTS(groups), &ignored) != 0;
}
