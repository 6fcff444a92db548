/* SPDX-License-Identifier: Apache-2.0 */

/*
 * macspoofchk: frames that come out of a pod's link under another MAC address than the pod's are
 * dropped, in the bridge, before anything else looks at them.
 */

#include "cni/rules.h"

#include <errno.h>
#include <stdio.h>

#include <linux/netfilter.h>

static int spoof_parse(const NetConf *conf, void **statep, Error *err) {
        static char on;
        bool check = false;

        if (json_read_bool(conf->json, "macspoofchk", &check, err) < 0)
                return -EINVAL;
        *statep = check ? &on : NULL;
        return 0;
}

static void spoof_free(void *state) {
}

static void key_link(Rule *rule, const Attachment *at) {
        char name[IFNAMSIZ] = {0};

        snprintf(name, sizeof(name), "%s", at->host_link);
        rule_key(rule, name, sizeof(name));
}

static int spoof_want(const void *state, const Attachment *at, bool deleting, RuleList *list,
                      Error *err) {
        RuleGroup group = {.kind = RULE_GROUP_SPOOF, .family = NFPROTO_BRIDGE};
        Rule *rule;
        int r;

        if ((!state && !deleting) || (deleting && !at->host_link[0]))
                return 0;
        if (!at->host_link[0] || (!at->has_pod_mac && !deleting))
                return error_set(err, ERROR_PRECONDITION,
                                 "macspoofchk: the link of the pod is not known");
        r = rules_group(list, &group);
        if (r < 0)
                return error_set_errno(err, r, "macspoofchk");
        if (at->has_pod_mac) {
                rule = rules_append(list, (size_t)r, RULE_SET_SPOOF_MACS, RULE_CLAIM_ADDRESS);
                if (!rule)
                        return error_set_errno(err, ENOMEM, "macspoofchk");
                key_link(rule, at);
                rule_key(rule, at->pod_mac, sizeof(at->pod_mac));
                snprintf(rule->label, sizeof(rule->label), "MAC address of %s", at->host_link);
        }
        rule = rules_append(list, (size_t)r, RULE_SET_SPOOF_LINKS, RULE_CLAIM_ADDRESS);
        if (!rule)
                return error_set_errno(err, ENOMEM, "macspoofchk");
        key_link(rule, at);
        snprintf(rule->label, sizeof(rule->label), "MAC check of %s", at->host_link);
        return 0;
}

const RulePart part_spoof = {
        .name = "macspoofchk",
        .roles = ROLE_BIT(ROLE_BERTH) | ROLE_BIT(ROLE_BRIDGE),
        .sets = 1U << RULE_SET_SPOOF_LINKS | 1U << RULE_SET_SPOOF_MACS,
        .parse = spoof_parse,
        .free = spoof_free,
        .want = spoof_want,
};
