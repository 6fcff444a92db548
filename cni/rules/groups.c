/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The rules themselves: what each group is made of. Pure; only this file and groups_bridge.c know
 * packets.
 *
 * Words of registers: a key starts at word 0; what a map gives starts at word 8, which no key
 * of at most 32 bytes reaches, nor does the longest that is looked up in a map.
 */

#include "cni/rules/groups_internal.h"

#include "common/base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>

#define MAP_WORD 8U

/* Priorities of the hooks, as iptables and nft(8) name them. */
#define PRIORITY_DNAT   (-100)
#define PRIORITY_FILTER 0
#define PRIORITY_SNAT   100

/* A connection gets one destination, of the first who translates it. Services come before pods: at
 * an equal priority the kernel asks the younger table first, and kube-proxy's may be older. */
#define PRIORITY_PORTS (PRIORITY_DNAT + 1)

#define CHAIN_MASQ       "masq-out" /* "masquerade" is a word of nft(8) */
#define CHAIN_PORTS_IN   "ports-prerouting"
#define CHAIN_PORTS_OUT  "ports-output"
#define CHAIN_PORTS_SNAT "ports-snat"
#define CHAIN_SOURCE     "source-check"
#define CHAIN_ISOLATION  "isolation"
#define CHAIN_LOCALNET   "localnet-check" /* a set's name is no chain's, or nft(8) is confused */
#define CHAIN_FIREWALL   "firewall-mark"
#define CHAIN_UNMARK     "firewall-unmark"

static const char *const set_names[_RULE_SET_N] = {
        [RULE_SET_MASQ] = "masq",
        [RULE_SET_PORTS] = "ports",
        [RULE_SET_PORTS_AT] = "ports-at",
        [RULE_SET_PORT_PODS] = "port-pods",
        [RULE_SET_SNAT] = "snat",
        [RULE_SET_HAIRPIN] = "hairpin",
        [RULE_SET_SNAT_ALL] = "snat-all",
        [RULE_SET_SPOOF_LINKS] = "spoof-links",
        [RULE_SET_SPOOF_MACS] = "spoof-macs",
        [RULE_SET_ARP_LINKS] = "arp-links",
        [RULE_SET_ARP_SENDERS] = "arp-senders",
        [RULE_SET_ND_LINKS] = "nd-links",
        [RULE_SET_ND_SENDERS] = "nd-senders",
        [RULE_SET_ND_TARGETS] = "nd-targets",
        [RULE_SET_PROTOCOL_LINKS] = "protocol-links",
        [RULE_SET_SOURCE_LINKS] = "source-links",
        [RULE_SET_SOURCES] = "sources",
        [RULE_SET_ISOLATED] = "isolated",
        [RULE_SET_SAME_BRIDGE] = "same-bridge",
        [RULE_SET_SERVICES] = "service-addresses",
        [RULE_SET_HELD] = "held",
        [RULE_SET_LOCALNET] = "localnet",
        [RULE_SET_FIREWALL] = "firewall",
};

const char *rule_set_name(const RuleGroup *group, RuleSet set, char *name) {
        /* One for all conditions, so that DEL finds ports without knowing the conditions. */
        bool alone = set == RULE_SET_PORT_PODS || group->suffix[0] == '\0';

        snprintf(name, RULE_SET_NAME_MAX, "%s%s%.40s", set_names[set], alone ? "" : "-",
                 alone ? "" : group->suffix);
        return name;
}

int rule_set_parse(const char *name, RuleSet *setp) {
        size_t n_best = 0;

        /* The longest wins: "ports-at-..." is no "ports-..." with an odd suffix. */
        for (unsigned int i = 0; i < _RULE_SET_N; i++) {
                size_t n = strlen(set_names[i]);

                if (n > n_best && str_has_prefix(name, set_names[i]) &&
                    (name[n] == '\0' || name[n] == '-')) {
                        n_best = n;
                        *setp = (RuleSet)i;
                }
        }
        return n_best > 0 ? 0 : -EINVAL;
}

/* --- pieces ------------------------------------------------------------------------------- */

static GroupMaker maker_of(NftBatch *batch, const RuleGroup *group) {
        bool v4 = group->family == NFPROTO_IPV4;

        return (GroupMaker){
                .batch = batch,
                .group = group,
                .n_address = v4 ? 4 : 16,
                .address_type = v4 ? NFT_TYPE_IPV4 : NFT_TYPE_IPV6,
                .source = v4 ? 12 : 8,
                .destination = v4 ? 16 : 24,
        };
}

void group_chain(const GroupMaker *maker, const char *name, const char *type, uint32_t hook,
                 int32_t priority) {
        nft_chain_add(maker->batch, &(NftChain){.family = maker->group->family,
                                                .table = RULES_TABLE,
                                                .name = name,
                                                .type = type,
                                                .hook = hook,
                                                .priority = priority});
}

void group_set(const GroupMaker *maker, RuleSet set, uint32_t key_type, uint32_t n_key,
               bool exclusive) {
        char name[RULE_SET_NAME_MAX];

        nft_set_add(maker->batch, &(NftSet){.family = maker->group->family,
                                            .table = RULES_TABLE,
                                            .name = rule_set_name(maker->group, set, name),
                                            .key_type = key_type,
                                            .n_key = n_key,
                                            .key_host_order = key_type == NFT_TYPE_IFNAME,
                                            .exclusive = exclusive});
}

void group_begin(const GroupMaker *maker, const char *chain) {
        nft_rule_begin(
                maker->batch,
                &(NftRuleAt){.family = maker->group->family, .table = RULES_TABLE, .chain = chain});
}

void group_lookup(const GroupMaker *maker, RuleSet set, uint32_t word, bool absent) {
        char name[RULE_SET_NAME_MAX];

        nft_expr_lookup(maker->batch, rule_set_name(maker->group, set, name), word, absent);
}

static void load_address(const GroupMaker *maker, uint32_t offset, uint32_t word) {
        nft_expr_payload(maker->batch, NFT_BASE_NETWORK, offset, maker->n_address, word);
}

/* The address at @offset is inside of @prefix, or with @differ outside. */
static void match_prefix(const GroupMaker *maker, uint32_t offset, const IpPrefix *prefix,
                         bool differ) {
        IpAddress first = ip_prefix_first(prefix);
        uint8_t mask[16] = {0};

        for (unsigned int bit = 0; bit < prefix->length; bit++)
                mask[bit / 8] |= (uint8_t)(0x80U >> bit % 8);
        load_address(maker, offset, 0);
        if (prefix->length < maker->n_address * 8)
                nft_expr_mask(maker->batch, 0, mask, maker->n_address);
        nft_expr_cmp(maker->batch, 0, first.bytes, maker->n_address, differ);
}

void group_match_link(const GroupMaker *maker, RuleSet links) {
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        group_lookup(maker, links, 0, false);
}

void group_drop(const GroupMaker *maker) {
        nft_expr_verdict(maker->batch, NF_DROP, NULL);
        nft_rule_end(maker->batch);
}

static bool has_subnet(const GroupMaker *maker) {
        return maker->group->subnet.length < maker->n_address * 8;
}

static IpPrefix multicast(const GroupMaker *maker) {
        if (maker->group->family == NFPROTO_IPV4)
                return (IpPrefix){{.family = AF_INET, .bytes = {224}}, 4};
        return (IpPrefix){{.family = AF_INET6, .bytes = {0xff}}, 8};
}

/* --- groups ------------------------------------------------------------------------------- */

/* Pods reach their own subnet and multicast groups under their own address. */
static void make_masq(const GroupMaker *maker) {
        const RuleMasq *masq = maker->group->masq;
        IpPrefix group = multicast(maker);

        group_chain(maker, CHAIN_MASQ, "nat", NF_INET_POST_ROUTING, PRIORITY_SNAT);
        group_set(maker, RULE_SET_MASQ, maker->address_type, maker->n_address, true);
        group_begin(maker, CHAIN_MASQ);
        load_address(maker, maker->source, 0);
        group_lookup(maker, RULE_SET_MASQ, 0, false);
        if (has_subnet(maker))
                match_prefix(maker, maker->destination, &maker->group->subnet, true);
        match_prefix(maker, maker->destination, &group, true);
        for (size_t i = 0; masq && i < masq->n_inside; i++)
                match_prefix(maker, maker->destination, &masq->inside[i], true);
        if (masq && ip_is_set(&masq->egress)) {
                nft_expr_immediate(maker->batch, 0, masq->egress.bytes, maker->n_address);
                nft_expr_snat(maker->batch, maker->group->family, 0, masq->randomly);
        } else {
                nft_expr_masquerade(maker->batch, masq && masq->randomly);
        }
        nft_rule_end(maker->batch);
}

static void match_conditions(const GroupMaker *maker) {
        const RuleConditions *conditions = maker->group->conditions;

        for (size_t i = 0; conditions && i < conditions->n; i++) {
                const RuleCondition *item = &conditions->items[i];

                if (item->kind == CONDITION_IN_LINK) {
                        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
                        nft_expr_cmp(maker->batch, 0, item->link, item->n_link, item->differs);
                } else {
                        match_prefix(maker,
                                     item->kind == CONDITION_SOURCE ? maker->source
                                                                    : maker->destination,
                                     &item->prefix, item->differs);
                }
        }
}

/* Where packets come to host ports. @before: the name in versions where they came beside
 * kube-proxy's, at its own priority. */
typedef struct Entry {
        const char *name, *before;
        uint32_t hook;
} Entry;

static const Entry entries[] = {{CHAIN_PORTS_IN, "ports-in", NF_INET_PRE_ROUTING},
                                {CHAIN_PORTS_OUT, "ports-out", NF_INET_LOCAL_OUT}};

/* Packets for this host go to @chain. */
static void make_entry(const GroupMaker *maker, const Entry *entry, const char *chain) {
        uint32_t local = RTN_LOCAL; /* host byte order, as the kernel writes it */

        group_chain(maker, entry->name, "nat", entry->hook, PRIORITY_PORTS);
        group_begin(maker, entry->name);
        match_conditions(maker);
        nft_expr_fib_daddr_type(maker->batch, 0);
        nft_expr_cmp(maker->batch, 0, &local, sizeof(local), false);
        nft_expr_verdict(maker->batch, NFT_JUMP, chain);
        nft_rule_end(maker->batch);
}

static void make_port_map(const GroupMaker *maker, const char *chain, RuleSet set) {
        char name[RULE_SET_NAME_MAX];
        uint32_t word = set == RULE_SET_PORTS_AT ? maker->n_address / 4 : 0;
        uint32_t key_type = NFT_TYPE_2(NFT_TYPE_PROTO, NFT_TYPE_SERVICE);

        if (word > 0)
                key_type = NFT_TYPE_3(maker->address_type, NFT_TYPE_PROTO, NFT_TYPE_SERVICE);
        rule_set_name(maker->group, set, name);
        nft_set_add(maker->batch,
                    &(NftSet){.family = maker->group->family,
                              .table = RULES_TABLE,
                              .name = name,
                              .key_type = key_type,
                              .n_key = word * 4 + 8,
                              .data_type = NFT_TYPE_2(maker->address_type, NFT_TYPE_SERVICE),
                              .n_data = maker->n_address + 4,
                              .exclusive = set == RULE_SET_PORTS});
        group_begin(maker, chain);
        if (word > 0)
                load_address(maker, maker->destination, 0);
        nft_expr_meta(maker->batch, NFT_META_L4PROTO, word);
        nft_expr_payload(maker->batch, NFT_BASE_TRANSPORT, 2, 2, word + 1);
        nft_expr_map(maker->batch, name, 0, MAP_WORD);
        nft_expr_dnat(maker->batch, maker->group->family, MAP_WORD,
                      MAP_WORD + maker->n_address / 4);
        nft_rule_end(maker->batch);
}

static void make_ports(const GroupMaker *maker) {
        char chain[RULE_SET_NAME_MAX];

        rule_set_name(maker->group, RULE_SET_PORTS, chain);
        group_chain(maker, chain, NULL, 0, 0);
        nft_set_add(maker->batch, &(NftSet){.family = maker->group->family,
                                            .table = RULES_TABLE,
                                            .name = set_names[RULE_SET_PORT_PODS],
                                            .key_type = maker->address_type,
                                            .n_key = maker->n_address,
                                            .data_type = NFT_TYPE_MARK,
                                            .n_data = sizeof(uint32_t),
                                            .data_host_order = true});
        make_port_map(maker, chain, RULE_SET_PORTS_AT);
        make_port_map(maker, chain, RULE_SET_PORTS);
        for (size_t i = 0; i < N_ELEMENTS(entries); i++)
                make_entry(maker, &entries[i], chain);
}

/* Key of the way back: pod address . protocol . pod port. */
static void load_back_key(const GroupMaker *maker, uint32_t word) {
        load_address(maker, maker->destination, word);
        word += maker->n_address / 4;
        nft_expr_meta(maker->batch, NFT_META_L4PROTO, word);
        nft_expr_payload(maker->batch, NFT_BASE_TRANSPORT, 2, 2, word + 1);
}

/*
 * Only what was sent to another address at first. Which one it was does not matter: an answer that
 * does not come back by this host would be from the wrong address in any case. (The host port that
 * was asked for, ct original proto-dst, is nothing that nft(8) could load again in a
 * concatenation.)
 */
static void masquerade_if_redirected(const GroupMaker *maker) {
        uint32_t redirected = IPS_DST_NAT, zero = 0;

        nft_expr_ct(maker->batch, NFT_CT_STATUS, 0);
        nft_expr_mask(maker->batch, 0, &redirected, sizeof(redirected));
        nft_expr_cmp(maker->batch, 0, &zero, sizeof(zero), true);
        nft_expr_masquerade(maker->batch, false);
}

static void make_back_rule(const GroupMaker *maker, const IpPrefix *source, RuleSet set) {
        group_begin(maker, CHAIN_PORTS_SNAT);
        if (source)
                match_prefix(maker, maker->source, source, false);
        load_back_key(maker, 0);
        group_lookup(maker, set, 0, false);
        masquerade_if_redirected(maker);
        nft_rule_end(maker->batch);
}

static uint32_t back_key_type(const GroupMaker *maker) {
        return NFT_TYPE_3(maker->address_type, NFT_TYPE_PROTO, NFT_TYPE_SERVICE);
}

/*
 * A pod that answers a neighbour of its subnet, itself, or 127.0.0.1 directly would answer from an
 * address that the other side never spoke to.
 */
static void make_snat(const GroupMaker *maker) {
        IpPrefix loopback = {{.family = AF_INET, .bytes = {127}}, 8};
        uint32_t n = maker->n_address;

        group_chain(maker, CHAIN_PORTS_SNAT, "nat", NF_INET_POST_ROUTING, PRIORITY_SNAT);
        group_set(maker, RULE_SET_SNAT, back_key_type(maker), n + 8, true);
        if (maker->group->family == NFPROTO_IPV4)
                make_back_rule(maker, &loopback, RULE_SET_SNAT);
        if (has_subnet(maker)) {
                make_back_rule(maker, &maker->group->subnet, RULE_SET_SNAT);
                return;
        }
        group_set(maker, RULE_SET_HAIRPIN,
                  maker->address_type << 3 * NFT_TYPE_BITS | back_key_type(maker), n * 2 + 8,
                  false);
        group_begin(maker, CHAIN_PORTS_SNAT);
        load_address(maker, maker->source, 0);
        load_back_key(maker, n / 4);
        group_lookup(maker, RULE_SET_HAIRPIN, 0, false);
        masquerade_if_redirected(maker);
        nft_rule_end(maker->batch);
}

static void make_snat_all(const GroupMaker *maker) {
        group_chain(maker, CHAIN_PORTS_SNAT, "nat", NF_INET_POST_ROUTING, PRIORITY_SNAT);
        group_set(maker, RULE_SET_SNAT_ALL, back_key_type(maker), maker->n_address + 8, true);
        make_back_rule(maker, NULL, RULE_SET_SNAT_ALL);
}

/* A rule before the others of @chain: they were made by then, or are by an older version. */
static void begin_first(const GroupMaker *maker, const char *chain) {
        nft_rule_begin(maker->batch, &(NftRuleAt){.family = maker->group->family,
                                                  .table = RULES_TABLE,
                                                  .chain = chain,
                                                  .first = true});
}

/*
 * An address of a Service is this host's own where kube-proxy runs in IPVS mode, and a program of
 * the host that listens at one address of it keeps that: both are left to whoever comes later.
 */
static void make_node(const GroupMaker *maker) {
        uint32_t n = maker->n_address;

        group_set(maker, RULE_SET_SERVICES, maker->address_type, n, true);
        group_set(maker, RULE_SET_HELD, back_key_type(maker), n + 8, false);
        for (size_t i = 0; i < N_ELEMENTS(entries); i++) {
                group_chain(maker, entries[i].name, "nat", entries[i].hook, PRIORITY_PORTS);
                begin_first(maker, entries[i].name);
                load_back_key(maker, 0);
                group_lookup(maker, RULE_SET_HELD, 0, false);
                nft_expr_verdict(maker->batch, NF_ACCEPT, NULL);
                nft_rule_end(maker->batch);
                begin_first(maker, entries[i].name);
                load_address(maker, maker->destination, 0);
                group_lookup(maker, RULE_SET_SERVICES, 0, false);
                nft_expr_verdict(maker->batch, NF_ACCEPT, NULL);
                nft_rule_end(maker->batch);
        }
}

/*
 * With route_localnet a link takes packets to and from 127.0.0.0/8, which are nobody's but this
 * host's. Before conntrack: what is translated there later, and answers to it, are not meant.
 */
static void make_localnet(const GroupMaker *maker) {
        IpPrefix loopback = {{.family = AF_INET, .bytes = {127}}, 8};
        const uint32_t ends[] = {maker->destination, maker->source};

        group_chain(maker, CHAIN_LOCALNET, "filter", NF_INET_PRE_ROUTING, PRIORITY_EARLY);
        group_set(maker, RULE_SET_LOCALNET, NFT_TYPE_IFNAME, IFNAMSIZ, true);
        for (size_t i = 0; i < N_ELEMENTS(ends); i++) {
                group_begin(maker, CHAIN_LOCALNET);
                match_prefix(maker, ends[i], &loopback, false);
                nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
                group_lookup(maker, RULE_SET_LOCALNET, 0, true);
                nft_expr_verdict(maker->batch, NF_DROP, NULL);
                nft_rule_end(maker->batch);
        }
}

static void set_mark(const GroupMaker *maker, uint32_t keep, uint32_t bits) {
        nft_expr_meta(maker->batch, NFT_META_MARK, 0);
        nft_expr_mask_flip(maker->batch, 0, &keep, &bits, sizeof(keep));
        nft_expr_meta_set(maker->batch, NFT_META_MARK, 0);
}

static void match_ct(const GroupMaker *maker, uint32_t key, uint32_t bits) {
        uint32_t zero = 0;

        nft_expr_ct(maker->batch, key, 0);
        nft_expr_mask(maker->batch, 0, &bits, sizeof(bits));
        nft_expr_cmp(maker->batch, 0, &zero, sizeof(zero), true);
}

/* What pods send, what answers them, and what was sent to their host ports carries a mark through
 * the FORWARD chain (cni/features/forward.h), and no further. */
static void make_firewall(const GroupMaker *maker) {
        static const struct {
                uint32_t key, bits;
        } to_pod[] = {{NFT_CT_STATE, RULES_CT_ANSWERS}, {NFT_CT_STATUS, IPS_DST_NAT}};
        uint32_t bit = RULES_FORWARD_MARK;

        group_chain(maker, CHAIN_FIREWALL, "filter", NF_INET_FORWARD, PRIORITY_FILTER - 1);
        group_chain(maker, CHAIN_UNMARK, "filter", NF_INET_FORWARD, PRIORITY_FILTER + 1);
        group_set(maker, RULE_SET_FIREWALL, maker->address_type, maker->n_address, true);
        group_begin(maker, CHAIN_FIREWALL);
        load_address(maker, maker->source, 0);
        group_lookup(maker, RULE_SET_FIREWALL, 0, false);
        set_mark(maker, ~bit, bit);
        nft_rule_end(maker->batch);
        for (size_t i = 0; i < N_ELEMENTS(to_pod); i++) {
                group_begin(maker, CHAIN_FIREWALL);
                load_address(maker, maker->destination, 0);
                group_lookup(maker, RULE_SET_FIREWALL, 0, false);
                match_ct(maker, to_pod[i].key, to_pod[i].bits);
                set_mark(maker, ~bit, bit);
                nft_rule_end(maker->batch);
        }
        group_begin(maker, CHAIN_UNMARK);
        set_mark(maker, ~bit, 0);
        nft_rule_end(maker->batch);
}

/* What a routed pod sends is nobody's but its own. Link-local addresses lead no further than its
 * link, where nobody else is. */
static void make_source(const GroupMaker *maker) {
        IpPrefix local = {{.family = AF_INET6, .bytes = {0xfe, 0x80}}, 10};
        bool v4 = maker->group->family == NFPROTO_IPV4;

        group_chain(maker, CHAIN_SOURCE, "filter", NF_INET_PRE_ROUTING, PRIORITY_EARLY);
        group_set(maker, RULE_SET_SOURCE_LINKS, NFT_TYPE_IFNAME, IFNAMSIZ, true);
        group_set(maker, RULE_SET_SOURCES, NFT_TYPE_2(NFT_TYPE_IFNAME, maker->address_type),
                  IFNAMSIZ + maker->n_address, false);
        group_begin(maker, CHAIN_SOURCE);
        group_match_link(maker, RULE_SET_SOURCE_LINKS);
        if (!v4)
                match_prefix(maker, maker->source, &local, true);
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        load_address(maker, maker->source, IFNAMSIZ / 4);
        group_lookup(maker, RULE_SET_SOURCES, 0, true);
        group_drop(maker);
}

static void make_isolation(const GroupMaker *maker) {
        group_chain(maker, CHAIN_ISOLATION, "filter", NF_INET_FORWARD, PRIORITY_FILTER);
        group_set(maker, RULE_SET_ISOLATED, NFT_TYPE_IFNAME, IFNAMSIZ, true);
        group_set(maker, RULE_SET_SAME_BRIDGE, NFT_TYPE_2(NFT_TYPE_IFNAME, NFT_TYPE_IFNAME),
                  2 * IFNAMSIZ, false);
        group_begin(maker, CHAIN_ISOLATION);
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        group_lookup(maker, RULE_SET_ISOLATED, 0, false);
        nft_expr_meta(maker->batch, NFT_META_OIFNAME, 0);
        group_lookup(maker, RULE_SET_ISOLATED, 0, false);
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        nft_expr_meta(maker->batch, NFT_META_OIFNAME, IFNAMSIZ / 4);
        group_lookup(maker, RULE_SET_SAME_BRIDGE, 0, true);
        nft_expr_verdict(maker->batch, NF_DROP, NULL);
        nft_rule_end(maker->batch);
}

bool rule_group_move(NftBatch *batch, uint8_t family, const NftRule *rule) {
        RuleGroup group = {.kind = RULE_GROUP_NODE, .family = family};
        GroupMaker maker = maker_of(batch, &group);

        for (size_t i = 0; i < N_ELEMENTS(entries); i++) {
                if (!str_equal(rule->chain, entries[i].before))
                        continue;
                /* The others are of the node, which are made anew. */
                if (rule->target[0] != '\0' && rule->expressions) {
                        group_chain(&maker, entries[i].name, "nat", entries[i].hook,
                                    PRIORITY_PORTS);
                        nft_rule_copy(batch,
                                      &(NftRuleAt){.family = family,
                                                   .table = RULES_TABLE,
                                                   .chain = entries[i].name},
                                      rule->expressions);
                }
                return true;
        }
        return false;
}

/* PORTS has a chain for each set of conditions, of its set's name. */
static const struct {
        const char *chain;
        void (*make)(const GroupMaker *maker);
} groups[_RULE_GROUP_N] = {
        [RULE_GROUP_MASQ] = {CHAIN_MASQ, make_masq},
        [RULE_GROUP_PORTS] = {NULL, make_ports},
        [RULE_GROUP_SNAT] = {CHAIN_PORTS_SNAT, make_snat},
        [RULE_GROUP_SNAT_ALL] = {CHAIN_PORTS_SNAT, make_snat_all},
        [RULE_GROUP_SPOOF] = {CHAIN_SPOOF, group_make_spoof},
        [RULE_GROUP_ARP] = {CHAIN_ARP, group_make_arp},
        [RULE_GROUP_ND] = {CHAIN_ND, group_make_nd},
        [RULE_GROUP_PROTOCOL] = {CHAIN_PROTOCOL, group_make_protocol},
        [RULE_GROUP_SOURCE] = {CHAIN_SOURCE, make_source},
        [RULE_GROUP_ISOLATION] = {CHAIN_ISOLATION, make_isolation},
        [RULE_GROUP_NODE] = {CHAIN_PORTS_IN, make_node},
        [RULE_GROUP_LOCALNET] = {CHAIN_LOCALNET, make_localnet},
        [RULE_GROUP_FIREWALL] = {CHAIN_FIREWALL, make_firewall},
};

const char *rule_group_chain(const RuleGroup *group, char *name) {
        if (!groups[group->kind].chain)
                return rule_set_name(group, RULE_SET_PORTS, name);
        snprintf(name, RULE_SET_NAME_MAX, "%s", groups[group->kind].chain);
        return name;
}

void rule_group_make(NftBatch *batch, const RuleGroup *group) {
        GroupMaker maker = maker_of(batch, group);

        nft_table_add(batch, group->family, RULES_TABLE);
        groups[group->kind].make(&maker);
}
