/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ipMasq: what a pod sends out of its subnet leaves under the node's address. One element per
 * address; the rule is the same for all pods of a subnet.
 *
 * The backend is nftables whatever ipMasqBackend asks for: "iptables" would only say by which tool
 * the same NAT table of the kernel is filled.
 */

#include "cni/rules.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

static int masq_parse(const NetConf *conf, void **statep, Error *err) {
        static char on; /* all there is to know */
        const char *backend = "";

        if (json_read_text(conf->json, "ipMasqBackend", &backend, err) < 0)
                return -EINVAL;
        if (backend[0] && strcmp(backend, "iptables") != 0 && strcmp(backend, "nftables") != 0)
                return error_set(err, ERROR_INVALID, "unknown ipmasq backend \"%s\"", backend);
        *statep = conf->ip_masq ? &on : NULL;
        return 0;
}

static void masq_free(void *state) {
}

static int masq_want(const void *state, const Attachment *at, bool deleting, RuleList *list,
                     Error *err) {
        for (size_t i = 0; i < at->n_ips && (state || deleting); i++) {
                const IpPrefix *address = &at->ips[i].address;
                int group = rules_subnet_group(list, RULE_GROUP_MASQ, address);
                char text[IP_TEXT_MAX];
                Rule *rule;

                rule = group < 0 ? NULL
                                 : rules_append(list, (size_t)group, RULE_SET_MASQ,
                                                RULE_CLAIM_ADDRESS);
                if (!rule)
                        return error_set_errno(err, ENOMEM, "masquerade");
                rule_key(rule, address->address.bytes, ip_size(&address->address));
                snprintf(rule->label, sizeof(rule->label), "masquerade of %s",
                         ip_format(&address->address, text));
        }
        return 0;
}

const RulePart part_masq = {
        .name = "masquerade",
        .roles = ROLE_BIT(ROLE_BERTH) | ROLE_BIT(ROLE_BRIDGE) | ROLE_BIT(ROLE_PTP),
        .sets = 1U << RULE_SET_MASQ,
        .parse = masq_parse,
        .free = masq_free,
        .want = masq_want,
};
