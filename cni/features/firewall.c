/* SPDX-License-Identifier: Apache-2.0 */

/*
 * firewall: pods pass iptables' FORWARD chain (cni/features/forward.h), and ingressPolicy keeps
 * bridges apart. The latter needs no chain of iptables: a drop counts in whichever table it stands.
 */

#include "cni/features/feature.h"
#include "cni/features/firewalld.h"
#include "cni/features/forward.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <linux/netfilter.h>

typedef enum IngressPolicy {
        INGRESS_OPEN,
        INGRESS_SAME_BRIDGE,
        INGRESS_ISOLATED,
} IngressPolicy;

typedef struct FirewallConf {
        bool accept;       /* in FORWARD */
        bool by_iptables;  /* asked for: firewalld is none of our business */
        bool by_firewalld; /* asked for: it has to run */
        const char *zone;  /* borrowed from the configuration */
        IngressPolicy policy;
        const char *policy_name; /* borrowed from the configuration */
        char link[IFNAMSIZ]; /* that leads to the pod: what the policy is about; "" if none does */
        char admin_chain[NFT_NAME_MAX + 1];
} FirewallConf;

static void firewall_free(void *state) {
        free(state);
}

static void freep_conf(FirewallConf **confp) {
        free(*confp);
}

static int parse_policy(const NetConf *conf, FirewallConf *firewall, Error *err) {
        const char *policy = "";
        int r = json_read_text(conf->json, "ingressPolicy", &policy, err);

        if (r < 0)
                return r;
        firewall->policy_name = policy;
        if (policy[0] == '\0' || strcmp(policy, "open") == 0)
                firewall->policy = INGRESS_OPEN;
        else if (strcmp(policy, "same-bridge") == 0)
                firewall->policy = INGRESS_SAME_BRIDGE;
        else if (strcmp(policy, "isolated") == 0)
                firewall->policy = INGRESS_ISOLATED;
        else
                return error_set(err, ERROR_INVALID, "unknown ingress policy: \"%s\"", policy);
        return 0;
}

/* As the plugin "firewall" packets are always let through; in one entry with everything else,
 * "firewall": true asks for it. */
static int firewall_parse(const NetConf *conf, void **statep, Error *err) {
        cleanup(freep_conf) FirewallConf *firewall = calloc(1, sizeof(*firewall));
        const char *backend = "", *chain = "", *zone = "";
        int r;

        if (!firewall)
                return error_set_errno(err, ENOMEM, "firewall");
        firewall->accept = conf->role == ROLE_FIREWALL;
        r = parse_policy(conf, firewall, err);
        if (r == 0 && conf->role != ROLE_FIREWALL)
                r = json_read_bool(conf->json, "firewall", &firewall->accept, err);
        if (r == 0)
                r = json_read_text(conf->json, "backend", &backend, err);
        if (r == 0)
                r = json_read_text(conf->json, "firewalldZone", &zone, err);
        if (r == 0)
                r = json_read_text(conf->json, "iptablesAdminChainName", &chain, err);
        if (r < 0)
                return r;
        firewall->by_firewalld = strcmp(backend, "firewalld") == 0;
        firewall->by_iptables = strcmp(backend, "iptables") == 0;
        firewall->zone = zone[0] ? zone : FIREWALLD_ZONE;
        if (strlen(chain) > NFT_NAME_MAX)
                return error_set(err, ERROR_INVALID, "iptablesAdminChainName is too long");
        snprintf(firewall->admin_chain, sizeof(firewall->admin_chain), "%s",
                 chain[0] ? chain : FORWARD_ADMIN_CHAIN);
        if (firewall->accept || firewall->policy != INGRESS_OPEN)
                *statep = ptr_steal(&firewall);
        return 0;
}

/* --- ingressPolicy ------------------------------------------------------------------------ */

static void key_link(Rule *rule, const FirewallConf *conf) {
        char name[IFNAMSIZ] = {0};

        snprintf(name, sizeof(name), "%s", conf->link);
        rule_key(rule, name, sizeof(name));
        snprintf(rule->label, sizeof(rule->label), "ingress policy of %s", conf->link);
}

static Rule *want_pair(const FirewallConf *conf, size_t group, RuleList *list) {
        Rule *rule = rules_append(list, group, RULE_SET_SAME_BRIDGE, RULE_CLAIM_NOBODY);

        if (rule) {
                key_link(rule, conf);
                key_link(rule, conf);
        }
        return rule;
}

static int want_isolation(const FirewallConf *conf, uint8_t family, RuleList *list, Error *err) {
        RuleGroup group = {.kind = RULE_GROUP_ISOLATION, .family = family};
        int r = rules_group(list, &group);
        Rule *rule;

        rule = r < 0 ? NULL : rules_append(list, (size_t)r, RULE_SET_ISOLATED, RULE_CLAIM_NOBODY);
        if (rule)
                key_link(rule, conf);
        if (!rule || (conf->policy == INGRESS_SAME_BRIDGE && !want_pair(conf, (size_t)r, list)))
                return error_set_errno(err, ENOMEM, "ingressPolicy");
        return 0;
}

static int want_policy(const FirewallConf *conf, const Attachment *at, RuleList *list, Error *err) {
        bool done[2] = {false, false};

        if (conf->policy == INGRESS_OPEN)
                return 0;
        if (!at->bridge[0] || !conf->link[0])
                return error_set(err, ERROR_PRECONDITION,
                                 "interface needs to be set for ingress policy \"%s\", make sure "
                                 "to chain \"firewall\" plugin with \"bridge\"",
                                 conf->policy_name);
        for (size_t i = 0; i < at->n_ips; i++) {
                uint8_t family = rules_family(&at->ips[i].address.address);
                int r;

                if (done[family == AF_INET6])
                        continue;
                done[family == AF_INET6] = true;
                r = want_isolation(conf, family, list, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* --- FORWARD ------------------------------------------------------------------------------ */

static int want_pass(const Attachment *at, RuleList *list, Error *err) {
        for (size_t i = 0; i < at->n_ips; i++) {
                const IpAddress *address = &at->ips[i].address.address;
                RuleGroup group = {.kind = RULE_GROUP_FIREWALL, .family = rules_family(address)};
                int r = rules_group(list, &group);
                char text[IP_TEXT_MAX];
                Rule *rule;

                rule = r < 0 ? NULL
                             : rules_append(list, (size_t)r, RULE_SET_FIREWALL, RULE_CLAIM_ADDRESS);
                if (!rule)
                        return error_set_errno(err, ENOMEM, "firewall");
                rule_key(rule, address->bytes, ip_size(address));
                snprintf(rule->label, sizeof(rule->label), "firewall for %s",
                         ip_format(address, text));
        }
        return 0;
}

/* The policy's elements are the link's, and outlive its pods. */
static int firewall_want(const void *state, const Attachment *at, bool deleting, RuleList *list,
                         Error *err) {
        const FirewallConf *conf = state;
        int r = 0;

        if (deleting)
                return want_pass(at, list, err);
        if (!conf)
                return 0;
        if (conf->accept)
                r = want_pass(at, list, err);
        return r < 0 ? r : want_policy(conf, at, list, err);
}

static int firewall_facts(void *state, Attachment *at, RulesSocket *sock, Error *err) {
        FirewallConf *conf = state;

        for (size_t i = 0; conf && conf->policy != INGRESS_OPEN && i < at->n_ips; i++)
                if (rules_link_to(at, &at->ips[i].address.address, conf->link) == 0)
                        return 0;
        /* Without a route to the pod its bridge is all there is. */
        if (conf)
                memcpy(conf->link, at->bridge, sizeof(conf->link));
        return 0;
}

/* A bridge that was "same-bridge" before may not stay so. */
static int forget_pairs(const FirewallConf *conf, const Attachment *at, RulesSocket *sock) {
        for (size_t i = 0; i < at->n_ips; i++) {
                RuleGroup group = {.kind = RULE_GROUP_ISOLATION,
                                   .family = rules_family(&at->ips[i].address.address)};
                RuleList list = {0};
                NftBatch batch = {0};
                Rule *rule = NULL;
                int r = rules_group(&list, &group);

                if (r >= 0)
                        rule = want_pair(conf, (size_t)r, &list);
                nft_batch_begin(&batch);
                if (rule) {
                        rule->element.set = rule->set_name;
                        nft_element_delete(&batch, &rule->element);
                        r = nft_batch_run(&sock->netfilter, &batch, NULL);
                }
                nft_batch_deinit(&batch);
                rules_deinit(&list);
                if (r < 0 && r != -ENOENT)
                        return r;
        }
        return 0;
}

typedef int (*ForwardDo)(RulesSocket *sock, uint8_t family, const char *admin_chain, Error *err);

static int for_families(const FirewallConf *conf, const Attachment *at, RulesSocket *sock,
                        ForwardDo function, Error *err) {
        bool done[2] = {false, false};
        int r = 0;

        for (size_t i = 0; i < at->n_ips && r >= 0; i++) {
                uint8_t family = at->ips[i].address.address.family;

                if (done[family == AF_INET6])
                        continue;
                done[family == AF_INET6] = true;
                r = function(sock, family, conf->admin_chain, err);
        }
        return r;
}

/* firewalld's own rules refuse what no zone lets through, whatever other tables say. It is told
 * where it runs, and FORWARD of iptables, which may be there beside it, is opened all the same. */
static int tell_firewalld(const FirewallConf *conf, const Attachment *at, Error *err) {
        int r = conf->by_iptables ? FIREWALLD_E_ABSENT
                                  : firewalld_add(conf->zone, at->ips, at->n_ips, err);

        if (r == FIREWALLD_E_ABSENT && conf->by_firewalld)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "firewall: \"backend\": \"firewalld\", but firewalld does not run "
                                 "on this node: start it, or leave the backend out");
        return r < 0 ? r : 0;
}

static int firewall_outside(const void *state, Attachment *at, RulesSocket *sock, Error *err) {
        const FirewallConf *conf = state;
        Error ignored = {0};
        int r = 0;

        if (!conf)
                return 0;
        if (conf->policy == INGRESS_ISOLATED)
                r = forget_pairs(conf, at, sock);
        if (r < 0)
                return error_set_errno(err, r, "ingressPolicy");
        if (!conf->accept)
                return 0;
        r = tell_firewalld(conf, at, err);
        if (r < 0)
                return r;
        r = for_families(conf, at, sock, forward_add, err);
        if (r < 0 && !conf->by_iptables)
                (void)firewalld_remove(conf->zone, at->ips, at->n_ips, &ignored);
        return r;
}

static int firewall_check(const void *state, Attachment *at, RulesSocket *sock, Error *err) {
        const FirewallConf *conf = state;
        int r;

        if (!conf || !conf->accept)
                return 0;
        r = conf->by_iptables ? 0 : firewalld_check(conf->zone, at->ips, at->n_ips, err);
        return r < 0 ? r : for_families(conf, at, sock, forward_check, err);
}

static void firewall_after_scan(const void *state, RulesSocket *sock) {
        const FirewallConf *conf = state;
        int r = conf && conf->by_iptables ? FIREWALLD_E_ABSENT : 0;

        for (size_t i = 0; i < sock->n_shut && r == 0; i += FIREWALLD_IPS_MAX) {
                size_t left = sock->n_shut - i;
                Error ignored = {0};

                r = firewalld_remove(conf ? conf->zone : FIREWALLD_ZONE, sock->shut + i,
                                     left < FIREWALLD_IPS_MAX ? left : FIREWALLD_IPS_MAX, &ignored);
        }
        sock->n_shut = 0;
}

/* Of a failed ADD too. What it cannot be asked now, its next reload forgets. */
static int firewall_del(void *state, Attachment *at, RulesSocket *sock, Error *err) {
        const FirewallConf *conf = state;
        int r = conf && conf->accept && !conf->by_iptables && at->n_ips > 0
                        ? firewalld_remove(conf->zone, at->ips, at->n_ips, err)
                        : 0;

        return r < 0 ? r : 0;
}

const Feature feature_firewall = {
        .name = "firewall",
        .roles = ROLE_BIT(ROLE_BERTH) | ROLE_BIT(ROLE_FIREWALL),
        .sets = 1U << RULE_SET_FIREWALL,
        .parse = firewall_parse,
        .free = firewall_free,
        .want = firewall_want,
        .facts = firewall_facts,
        .outside = firewall_outside,
        .check = firewall_check,
        .after_scan = firewall_after_scan,
        .del = firewall_del,
};
