/* SPDX-License-Identifier: Apache-2.0 */

/*
 * An address is given out clean. The DEL of its last holder may have been lost, and a ruleset that
 * somebody saved may have come back: then host ports of a dead pod would lead to the new one. One
 * round trip asks whether anything is known of the address; only if so, sets are looked through.
 */

#include "cni/rules/rules.h"

#include "common/base/cleanup.h"
#include "common/netlink/rtnl_link.h"

#include <errno.h>
#include <stdio.h>

#include <linux/netfilter.h>

#define ADDRESS_SETS                                                                               \
        (1U << RULE_SET_MASQ | 1U << RULE_SET_PORTS | 1U << RULE_SET_PORTS_AT |                    \
         1U << RULE_SET_PORT_PODS | 1U << RULE_SET_SNAT | 1U << RULE_SET_HAIRPIN |                 \
         1U << RULE_SET_SNAT_ALL | 1U << RULE_SET_FIREWALL)

typedef struct Reclaim {
        const Attachment *at;
        bool any; /* of those that are looked for */
        bool own; /* those of @at's owner, and not what is dead */
} Reclaim;

static void questions_deinit(NlBatch *batch) {
        nl_batch_deinit(batch);
}

/* Two networks may have the same addresses, each on its own bridge. */
static bool is_dead(const Reclaim *reclaim, const RuleOwner *owner) {
        Link link;

        if (reclaim->own || memcmp(owner->owner, reclaim->at->owner, OWNER_SIZE) == 0)
                return reclaim->own && memcmp(owner->owner, reclaim->at->owner, OWNER_SIZE) == 0;
        return rule_owner_is_of(owner, reclaim->at->network) ||
               (strcmp(owner->host_link, "-") != 0 &&
                link_find(reclaim->at->rtnl, 0, owner->host_link, &link) == -ENODEV);
}

static int each_found(const NftFound *found, void *userdata) {
        Reclaim *reclaim = userdata;
        RuleOwner owner;

        if (rule_owner_parse(found->comment, &owner) == 0 && is_dead(reclaim, &owner))
                reclaim->any = true;
        return 1;
}

static int reply(size_t index, const struct nlmsghdr *message, void *userdata) {
        int r = nft_parse_elements(message, each_found, userdata);

        return r < 0 && r != -ENOMSG ? r : 0;
}

/* By key, in the sets that every such pod is in: host ports, masquerade of its subnet, firewall. */
static void ask(NlBatch *batch, const IpPrefix *address) {
        static const RuleSet sets[] = {RULE_SET_PORT_PODS, RULE_SET_FIREWALL};
        RuleList list = {0};
        int group = rules_subnet_group(&list, RULE_GROUP_MASQ, address);
        NftElement element = {.family = rules_family(&address->address),
                              .table = RULES_TABLE,
                              .n_key = (uint32_t)ip_size(&address->address)};
        RuleGroup plain = {.family = element.family};
        char name[RULE_SET_NAME_MAX];

        memcpy(element.key, address->address.bytes, element.n_key);
        element.set = name;
        for (size_t i = 0; i < N_ELEMENTS(sets); i++) {
                rule_set_name(&plain, sets[i], name);
                nft_ask_element(batch, &element);
        }
        if (group >= 0) {
                rule_set_name(&list.groups[group], RULE_SET_MASQ, name);
                nft_ask_element(batch, &element);
        }
        rules_deinit(&list);
}

static bool begins_with(const uint8_t *value, size_t n, const IpAddress *address) {
        return n >= ip_size(address) && memcmp(value, address->bytes, ip_size(address)) == 0;
}

/* Keys of these sets begin with the pod's address, but for host ports: those lead to it. */
static bool points_to(const Attachment *at, const NftFound *found) {
        for (size_t i = 0; i < at->n_ips; i++) {
                const IpAddress *address = &at->ips[i].address.address;
                bool is_port = found->data && found->n_data > sizeof(uint32_t);

                if (is_port ? begins_with(found->data, found->n_data, address)
                            : begins_with(found->key, found->n_key, address))
                        return true;
        }
        return false;
}

static bool is_left(const RuleOwner *owner, const NftFound *found, void *userdata) {
        const Reclaim *reclaim = userdata;

        return points_to(reclaim->at, found) && is_dead(reclaim, owner);
}

int rules_reclaim(RulesSocket *sock, const Attachment *at, Error *err) {
        cleanup(questions_deinit) NlBatch batch = {0};
        Reclaim reclaim = {.at = at};
        int r;

        if (at->n_ips == 0 || at->n_ips > NL_BATCH_MAX / 3)
                return 0;
        r = rules_open(sock, NULL);
        if (r < 0)
                return 0; /* without nftables nothing was left either */
        for (size_t i = 0; i < at->n_ips; i++)
                ask(&batch, &at->ips[i].address);
        (void)nl_batch_run(&sock->netfilter, &batch, reply, &reclaim);
        /* Sets and elements that are not there are what is hoped for. */
        if (!reclaim.any)
                return 0;
        r = rules_scan(sock, ADDRESS_SETS, is_left, &reclaim, err);
        return r < 0 ? r : 1;
}

bool rules_remain(RulesSocket *sock, const Attachment *at) {
        cleanup(questions_deinit) NlBatch batch = {0};
        Reclaim reclaim = {.at = at, .own = true};

        if (at->n_ips == 0 || at->n_ips > NL_BATCH_MAX / 3 || rules_open(sock, NULL) < 0)
                return false;
        for (size_t i = 0; i < at->n_ips; i++)
                ask(&batch, &at->ips[i].address);
        (void)nl_batch_run(&sock->netfilter, &batch, reply, &reclaim);
        return reclaim.any;
}
