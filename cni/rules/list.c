/* SPDX-License-Identifier: Apache-2.0 */

/* The list of an attachment's elements, and the comment that says whose they are. Pure. */

#include "cni/rules/rules.h"

#include "common/base/cleanup.h"
#include "common/base/sha256.h"
#include "common/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void rules_deinit(RuleList *list) {
        free(list->groups);
        free(list->rules);
        *list = (RuleList){0};
}

int rules_group(RuleList *list, const RuleGroup *group) {
        RuleGroup *groups;

        for (size_t i = 0; i < list->n_groups; i++)
                if (list->groups[i].kind == group->kind &&
                    list->groups[i].family == group->family &&
                    str_equal(list->groups[i].suffix, group->suffix))
                        return (int)i;
        if (list->n_groups >= RULES_ELEMENTS_MAX)
                return -E2BIG;
        groups = reallocarray(list->groups, list->n_groups + 1, sizeof(*groups));
        if (!groups)
                return -ENOMEM;
        groups[list->n_groups] = *group;
        list->groups = groups;
        return (int)list->n_groups++;
}

/* "10.1.0.0-16", or "host" for a single address. */
static void subnet_suffix(const IpPrefix *subnet, char suffix[48]) {
        char text[IP_TEXT_MAX];

        if (subnet->length >= ip_size(&subnet->address) * 8) {
                snprintf(suffix, 48, "host");
                return;
        }
        ip_format(&subnet->address, text);
        /* A name of nft(8) has no colon. */
        for (char *c = text; *c; c++)
                if (*c == ':')
                        *c = '_';
        snprintf(suffix, 48, "%.40s-%u", text, subnet->length);
}

int rules_subnet_group(RuleList *list, RuleGroupKind kind, const IpPrefix *address) {
        RuleGroup group = {.kind = kind, .family = rules_family(&address->address)};

        group.subnet = (IpPrefix){ip_prefix_first(address), address->length};
        subnet_suffix(&group.subnet, group.suffix);
        return rules_group(list, &group);
}

int rules_masq_group(RuleList *list, const IpPrefix *address, const RuleMasq *masq,
                     const char *options) {
        RuleGroup group = {
                .kind = RULE_GROUP_MASQ, .family = rules_family(&address->address), .masq = masq};
        char hex[SHA256_HEX_SIZE];
        size_t n;

        group.subnet = (IpPrefix){ip_prefix_first(address), address->length};
        subnet_suffix(&group.subnet, group.suffix);
        n = strlen(group.suffix);
        if (options[0] == '\0')
                return rules_group(list, &group);
        /* rule_set_name() takes 40 bytes: a long subnet of IPv6 becomes a hash. */
        if (n + strlen(options) > 40) {
                sha256_hex(group.suffix, n, hex);
                n = (size_t)snprintf(group.suffix, sizeof(group.suffix), "%.24s", hex);
        }
        snprintf(group.suffix + n, sizeof(group.suffix) - n, "%s", options);
        return rules_group(list, &group);
}

Rule *rules_append(RuleList *list, size_t group, RuleSet set, RuleClaim claim) {
        Rule *rule;

        if (list->n_rules >= RULES_ELEMENTS_MAX)
                return NULL;
        if ((list->n_rules & (list->n_rules - 1)) == 0) {
                size_t n = list->n_rules > 0 ? list->n_rules * 2 : 4;
                Rule *rules = reallocarray(list->rules, n, sizeof(*rules));

                if (!rules)
                        return NULL;
                list->rules = rules;
        }
        rule = &list->rules[list->n_rules++];
        *rule = (Rule){
                .element = {.family = list->groups[group].family, .table = RULES_TABLE},
                .set = set,
                .claim = claim,
                .group = group,
        };
        rule_set_name(&list->groups[group], set, rule->set_name);
        if (claim != RULE_CLAIM_NOBODY)
                memcpy(rule->element.comment, list->comment, sizeof(list->comment));
        return rule;
}

static void append_part(uint8_t *value, uint32_t *np, const void *part, size_t n) {
        if (*np + n > NFT_VALUE_MAX)
                return; /* then the kernel refuses the length */
        memcpy(value + *np, part, n);
        *np += (uint32_t)(n + 3) & ~3U;
}

void rule_key(Rule *rule, const void *part, size_t n) {
        append_part(rule->element.key, &rule->element.n_key, part, n);
}

void rule_data(Rule *rule, const void *part, size_t n) {
        append_part(rule->element.data, &rule->element.n_data, part, n);
}

/* --- whose ------------------------------------------------------------------------------- */

/* "~" cannot start a network's name. */
static void network_format(const char *network, char *text, size_t n_text) {
        char hex[SHA256_HEX_SIZE];

        if (strlen(network) <= 24) {
                snprintf(text, n_text, "%s", network);
                return;
        }
        sha256_hex(network, strlen(network), hex);
        snprintf(text, n_text, "~%.23s", hex);
}

void rule_owner_format(const Attachment *at, char comment[NFT_COMMENT_MAX]) {
        char network[sizeof(((RuleOwner *)0)->network)];
        char hex[2 * OWNER_SIZE + 1];

        for (size_t i = 0; i < OWNER_SIZE; i++)
                snprintf(hex + 2 * i, 3, "%02x", at->owner[i]);
        network_format(at->network, network, sizeof(network));
        /* Cut at its end: the ID, of which the start tells enough for a person. */
        snprintf(comment, NFT_COMMENT_MAX, "%s %s %s %s %s", hex, network,
                 at->host_link[0] ? at->host_link : "-", at->ifname, at->container_id);
}

int rule_owner_parse(const char *comment, RuleOwner *owner) {
        char hex[2 * OWNER_SIZE + 1], ifname[IFNAMSIZ];
        int n = 0;

        *owner = (RuleOwner){0};
        if (sscanf(comment, "%32s %39s %15s %15s %127s%n", hex, owner->network, owner->host_link,
                   ifname, owner->container, &n) != 5 ||
            comment[n] != '\0' || strlen(hex) != 2 * OWNER_SIZE)
                return -EINVAL;
        for (size_t i = 0; i < OWNER_SIZE; i++) {
                char byte[3] = {hex[2 * i], hex[2 * i + 1]};
                uint64_t value;

                if (str_parse_hex_u64(byte, 0xff, &value) < 0)
                        return -EINVAL;
                owner->owner[i] = (uint8_t)value;
        }
        return 0;
}

bool rule_owner_is_of(const RuleOwner *owner, const char *network) {
        char text[sizeof(owner->network)];

        network_format(network, text, sizeof(text));
        return strcmp(owner->network, text) == 0;
}
