/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The rules themselves: what each group is made of. Pure, and the only file that knows packets.
 *
 * Words of registers: a key starts at word 0; what a map gives starts at word 8, which no key
 * of at most 32 bytes reaches, nor does the longest that is looked up in a map.
 */

#include "cni/rules/rules.h"

#include "common/base/cleanup.h"
#include "common/nft/nft_expr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdio.h>
#include <sys/socket.h>

#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_bridge.h>
#include <linux/rtnetlink.h>

#define MAP_WORD 8U

/* Priorities of the hooks, as iptables and nft(8) name them. */
#define PRIORITY_DNAT   (-100)
#define PRIORITY_FILTER 0
#define PRIORITY_SNAT   100
#define PRIORITY_EARLY  (-300) /* bridge: before its own destination NAT */

/* A connection gets one destination, of the first who translates it. Services come before pods: at
 * an equal priority the kernel asks the younger table first, and kube-proxy's may be older. */
#define PRIORITY_PORTS (PRIORITY_DNAT + 1)

#define CHAIN_MASQ       "masq-out" /* "masquerade" is a word of nft(8) */
#define CHAIN_PORTS_IN   "ports-prerouting"
#define CHAIN_PORTS_OUT  "ports-output"
#define CHAIN_PORTS_SNAT "ports-snat"
#define CHAIN_SPOOF      "spoof-check"
#define CHAIN_ARP        "arp-check"
#define CHAIN_ND         "nd-check"
#define CHAIN_ND_TARGET  "nd-target-check"
#define CHAIN_PROTOCOL   "protocol-check"
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

typedef struct Maker {
        NftBatch *batch;
        const RuleGroup *group;
        uint32_t n_address; /* bytes */
        uint32_t address_type;
        uint32_t source, destination; /* offsets in the IP header */
} Maker;

static Maker maker_of(NftBatch *batch, const RuleGroup *group) {
        bool v4 = group->family == NFPROTO_IPV4;

        return (Maker){
                .batch = batch,
                .group = group,
                .n_address = v4 ? 4 : 16,
                .address_type = v4 ? NFT_TYPE_IPV4 : NFT_TYPE_IPV6,
                .source = v4 ? 12 : 8,
                .destination = v4 ? 16 : 24,
        };
}

static void make_chain(const Maker *maker, const char *name, const char *type, uint32_t hook,
                       int32_t priority) {
        nft_chain_add(maker->batch, &(NftChain){.family = maker->group->family,
                                                .table = RULES_TABLE,
                                                .name = name,
                                                .type = type,
                                                .hook = hook,
                                                .priority = priority});
}

static void make_set(const Maker *maker, RuleSet set, uint32_t key_type, uint32_t n_key,
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

static void begin(const Maker *maker, const char *chain) {
        nft_rule_begin(
                maker->batch,
                &(NftRuleAt){.family = maker->group->family, .table = RULES_TABLE, .chain = chain});
}

static void lookup(const Maker *maker, RuleSet set, uint32_t word, bool absent) {
        char name[RULE_SET_NAME_MAX];

        nft_expr_lookup(maker->batch, rule_set_name(maker->group, set, name), word, absent);
}

static void load_address(const Maker *maker, uint32_t offset, uint32_t word) {
        nft_expr_payload(maker->batch, NFT_BASE_NETWORK, offset, maker->n_address, word);
}

/* The address at @offset is inside of @prefix, or with @differ outside. */
static void match_prefix(const Maker *maker, uint32_t offset, const IpPrefix *prefix, bool differ) {
        IpAddress first = ip_prefix_first(prefix);
        uint8_t mask[16] = {0};

        for (unsigned int bit = 0; bit < prefix->length; bit++)
                mask[bit / 8] |= (uint8_t)(0x80U >> bit % 8);
        load_address(maker, offset, 0);
        if (prefix->length < maker->n_address * 8)
                nft_expr_mask(maker->batch, 0, mask, maker->n_address);
        nft_expr_cmp(maker->batch, 0, first.bytes, maker->n_address, differ);
}

static bool has_subnet(const Maker *maker) {
        return maker->group->subnet.length < maker->n_address * 8;
}

static IpPrefix multicast(const Maker *maker) {
        if (maker->group->family == NFPROTO_IPV4)
                return (IpPrefix){{.family = AF_INET, .bytes = {224}}, 4};
        return (IpPrefix){{.family = AF_INET6, .bytes = {0xff}}, 8};
}

/* --- groups ------------------------------------------------------------------------------- */

/* Pods reach their own subnet and multicast groups under their own address. */
static void make_masq(const Maker *maker) {
        const RuleMasq *masq = maker->group->masq;
        IpPrefix group = multicast(maker);

        make_chain(maker, CHAIN_MASQ, "nat", NF_INET_POST_ROUTING, PRIORITY_SNAT);
        make_set(maker, RULE_SET_MASQ, maker->address_type, maker->n_address, true);
        begin(maker, CHAIN_MASQ);
        load_address(maker, maker->source, 0);
        lookup(maker, RULE_SET_MASQ, 0, false);
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

static void match_conditions(const Maker *maker) {
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
static void make_entry(const Maker *maker, const Entry *entry, const char *chain) {
        uint32_t local = RTN_LOCAL; /* host byte order, as the kernel writes it */

        make_chain(maker, entry->name, "nat", entry->hook, PRIORITY_PORTS);
        begin(maker, entry->name);
        match_conditions(maker);
        nft_expr_fib_daddr_type(maker->batch, 0);
        nft_expr_cmp(maker->batch, 0, &local, sizeof(local), false);
        nft_expr_verdict(maker->batch, NFT_JUMP, chain);
        nft_rule_end(maker->batch);
}

static void make_port_map(const Maker *maker, const char *chain, RuleSet set) {
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
        begin(maker, chain);
        if (word > 0)
                load_address(maker, maker->destination, 0);
        nft_expr_meta(maker->batch, NFT_META_L4PROTO, word);
        nft_expr_payload(maker->batch, NFT_BASE_TRANSPORT, 2, 2, word + 1);
        nft_expr_map(maker->batch, name, 0, MAP_WORD);
        nft_expr_dnat(maker->batch, maker->group->family, MAP_WORD,
                      MAP_WORD + maker->n_address / 4);
        nft_rule_end(maker->batch);
}

static void make_ports(const Maker *maker) {
        char chain[RULE_SET_NAME_MAX];

        rule_set_name(maker->group, RULE_SET_PORTS, chain);
        make_chain(maker, chain, NULL, 0, 0);
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
static void load_back_key(const Maker *maker, uint32_t word) {
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
static void masquerade_if_redirected(const Maker *maker) {
        uint32_t redirected = IPS_DST_NAT, zero = 0;

        nft_expr_ct(maker->batch, NFT_CT_STATUS, 0);
        nft_expr_mask(maker->batch, 0, &redirected, sizeof(redirected));
        nft_expr_cmp(maker->batch, 0, &zero, sizeof(zero), true);
        nft_expr_masquerade(maker->batch, false);
}

static void make_back_rule(const Maker *maker, const IpPrefix *source, RuleSet set) {
        begin(maker, CHAIN_PORTS_SNAT);
        if (source)
                match_prefix(maker, maker->source, source, false);
        load_back_key(maker, 0);
        lookup(maker, set, 0, false);
        masquerade_if_redirected(maker);
        nft_rule_end(maker->batch);
}

static uint32_t back_key_type(const Maker *maker) {
        return NFT_TYPE_3(maker->address_type, NFT_TYPE_PROTO, NFT_TYPE_SERVICE);
}

/*
 * A pod that answers a neighbour of its subnet, itself, or 127.0.0.1 directly would answer from an
 * address that the other side never spoke to.
 */
static void make_snat(const Maker *maker) {
        IpPrefix loopback = {{.family = AF_INET, .bytes = {127}}, 8};
        uint32_t n = maker->n_address;

        make_chain(maker, CHAIN_PORTS_SNAT, "nat", NF_INET_POST_ROUTING, PRIORITY_SNAT);
        make_set(maker, RULE_SET_SNAT, back_key_type(maker), n + 8, true);
        if (maker->group->family == NFPROTO_IPV4)
                make_back_rule(maker, &loopback, RULE_SET_SNAT);
        if (has_subnet(maker)) {
                make_back_rule(maker, &maker->group->subnet, RULE_SET_SNAT);
                return;
        }
        make_set(maker, RULE_SET_HAIRPIN,
                 maker->address_type << 3 * NFT_TYPE_BITS | back_key_type(maker), n * 2 + 8, false);
        begin(maker, CHAIN_PORTS_SNAT);
        load_address(maker, maker->source, 0);
        load_back_key(maker, n / 4);
        lookup(maker, RULE_SET_HAIRPIN, 0, false);
        masquerade_if_redirected(maker);
        nft_rule_end(maker->batch);
}

static void make_snat_all(const Maker *maker) {
        make_chain(maker, CHAIN_PORTS_SNAT, "nat", NF_INET_POST_ROUTING, PRIORITY_SNAT);
        make_set(maker, RULE_SET_SNAT_ALL, back_key_type(maker), maker->n_address + 8, true);
        make_back_rule(maker, NULL, RULE_SET_SNAT_ALL);
}

/* A rule before the others of @chain: they were made by then, or are by an older version. */
static void begin_first(const Maker *maker, const char *chain) {
        nft_rule_begin(maker->batch, &(NftRuleAt){.family = maker->group->family,
                                                  .table = RULES_TABLE,
                                                  .chain = chain,
                                                  .first = true});
}

/*
 * An address of a Service is this host's own where kube-proxy runs in IPVS mode, and a program of
 * the host that listens at one address of it keeps that: both are left to whoever comes later.
 */
static void make_node(const Maker *maker) {
        uint32_t n = maker->n_address;

        make_set(maker, RULE_SET_SERVICES, maker->address_type, n, true);
        make_set(maker, RULE_SET_HELD, back_key_type(maker), n + 8, false);
        for (size_t i = 0; i < N_ELEMENTS(entries); i++) {
                make_chain(maker, entries[i].name, "nat", entries[i].hook, PRIORITY_PORTS);
                begin_first(maker, entries[i].name);
                load_back_key(maker, 0);
                lookup(maker, RULE_SET_HELD, 0, false);
                nft_expr_verdict(maker->batch, NF_ACCEPT, NULL);
                nft_rule_end(maker->batch);
                begin_first(maker, entries[i].name);
                load_address(maker, maker->destination, 0);
                lookup(maker, RULE_SET_SERVICES, 0, false);
                nft_expr_verdict(maker->batch, NF_ACCEPT, NULL);
                nft_rule_end(maker->batch);
        }
}

/*
 * With route_localnet a link takes packets to and from 127.0.0.0/8, which are nobody's but this
 * host's. Before conntrack: what is translated there later, and answers to it, are not meant.
 */
static void make_localnet(const Maker *maker) {
        IpPrefix loopback = {{.family = AF_INET, .bytes = {127}}, 8};
        const uint32_t ends[] = {maker->destination, maker->source};

        make_chain(maker, CHAIN_LOCALNET, "filter", NF_INET_PRE_ROUTING, PRIORITY_EARLY);
        make_set(maker, RULE_SET_LOCALNET, NFT_TYPE_IFNAME, IFNAMSIZ, true);
        for (size_t i = 0; i < N_ELEMENTS(ends); i++) {
                begin(maker, CHAIN_LOCALNET);
                match_prefix(maker, ends[i], &loopback, false);
                nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
                lookup(maker, RULE_SET_LOCALNET, 0, true);
                nft_expr_verdict(maker->batch, NF_DROP, NULL);
                nft_rule_end(maker->batch);
        }
}

static void set_mark(const Maker *maker, uint32_t keep, uint32_t bits) {
        nft_expr_meta(maker->batch, NFT_META_MARK, 0);
        nft_expr_mask_flip(maker->batch, 0, &keep, &bits, sizeof(keep));
        nft_expr_meta_set(maker->batch, NFT_META_MARK, 0);
}

static void match_ct(const Maker *maker, uint32_t key, uint32_t bits) {
        uint32_t zero = 0;

        nft_expr_ct(maker->batch, key, 0);
        nft_expr_mask(maker->batch, 0, &bits, sizeof(bits));
        nft_expr_cmp(maker->batch, 0, &zero, sizeof(zero), true);
}

/* What pods send, what answers them, and what was sent to their host ports carries a mark through
 * the FORWARD chain (cni/features/forward.h), and no further. */
static void make_firewall(const Maker *maker) {
        static const struct {
                uint32_t key, bits;
        } to_pod[] = {{NFT_CT_STATE, RULES_CT_ANSWERS}, {NFT_CT_STATUS, IPS_DST_NAT}};
        uint32_t bit = RULES_FORWARD_MARK;

        make_chain(maker, CHAIN_FIREWALL, "filter", NF_INET_FORWARD, PRIORITY_FILTER - 1);
        make_chain(maker, CHAIN_UNMARK, "filter", NF_INET_FORWARD, PRIORITY_FILTER + 1);
        make_set(maker, RULE_SET_FIREWALL, maker->address_type, maker->n_address, true);
        begin(maker, CHAIN_FIREWALL);
        load_address(maker, maker->source, 0);
        lookup(maker, RULE_SET_FIREWALL, 0, false);
        set_mark(maker, ~bit, bit);
        nft_rule_end(maker->batch);
        for (size_t i = 0; i < N_ELEMENTS(to_pod); i++) {
                begin(maker, CHAIN_FIREWALL);
                load_address(maker, maker->destination, 0);
                lookup(maker, RULE_SET_FIREWALL, 0, false);
                match_ct(maker, to_pod[i].key, to_pod[i].bits);
                set_mark(maker, ~bit, bit);
                nft_rule_end(maker->batch);
        }
        begin(maker, CHAIN_UNMARK);
        set_mark(maker, ~bit, 0);
        nft_rule_end(maker->batch);
}

static void make_spoof(const Maker *maker) {
        make_chain(maker, CHAIN_SPOOF, "filter", NF_BR_PRE_ROUTING, PRIORITY_EARLY);
        make_set(maker, RULE_SET_SPOOF_LINKS, NFT_TYPE_IFNAME, IFNAMSIZ, true);
        make_set(maker, RULE_SET_SPOOF_MACS, NFT_TYPE_2(NFT_TYPE_IFNAME, NFT_TYPE_ETHER),
                 IFNAMSIZ + 8, false);
        begin(maker, CHAIN_SPOOF);
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        lookup(maker, RULE_SET_SPOOF_LINKS, 0, false);
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        nft_expr_payload(maker->batch, NFT_BASE_LINK, 6, 6, IFNAMSIZ / 4);
        lookup(maker, RULE_SET_SPOOF_MACS, 0, true);
        nft_expr_verdict(maker->batch, NF_DROP, NULL);
        nft_rule_end(maker->batch);
}

/* --- who claims an address ---------------------------------------------------------------- */

/* Offsets in an ARP message for IPv4 over Ethernet. A receiver takes no other. */
#define ARP_SENDER_MAC 8
#define ARP_SENDER     14
#define ARP_TARGET     24

#define IPV6_SOURCE 8

/* Of ICMP and ICMPv6; of ICMPv6 as in RFC 4861. */
#define ICMP_TYPE 0
#define ND_TARGET 8

/* Of UDP; a client has them whatever port its server sends from. */
#define UDP_DESTINATION 2
#define DHCP_CLIENT     68
#define DHCPV6_CLIENT   546

static void match_protocol(const Maker *maker, uint16_t protocol) {
        uint16_t wanted = htons(protocol);

        nft_expr_meta(maker->batch, NFT_META_PROTOCOL, 0);
        nft_expr_cmp(maker->batch, 0, &wanted, sizeof(wanted), false);
}

static void match_link(const Maker *maker, RuleSet links) {
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        lookup(maker, links, 0, false);
}

static void drop(const Maker *maker) {
        nft_expr_verdict(maker->batch, NF_DROP, NULL);
        nft_rule_end(maker->batch);
}

/*
 * One VLAN tag is off by now. The receiver takes a second one off as well when both are priority
 * tags, and would find there what nobody has looked at.
 */
static void drop_hidden(const Maker *maker, const char *chain, RuleSet links) {
        static const uint16_t tags[] = {ETH_P_8021Q, ETH_P_8021AD};

        for (size_t i = 0; i < N_ELEMENTS(tags); i++) {
                begin(maker, chain);
                match_protocol(maker, tags[i]);
                match_link(maker, links);
                drop(maker);
        }
}

/* @probe: sent from 0.0.0.0, which asks for the address that it wants to have. */
static void drop_arp(const Maker *maker, bool probe) {
        uint32_t none = 0;

        begin(maker, CHAIN_ARP);
        match_protocol(maker, ETH_P_ARP);
        match_link(maker, RULE_SET_ARP_LINKS);
        nft_expr_payload(maker->batch, NFT_BASE_NETWORK, ARP_SENDER, 4, 0);
        nft_expr_cmp(maker->batch, 0, &none, sizeof(none), !probe);
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        nft_expr_payload(maker->batch, NFT_BASE_NETWORK, ARP_SENDER_MAC, 6, IFNAMSIZ / 4);
        nft_expr_payload(maker->batch, NFT_BASE_NETWORK, probe ? ARP_TARGET : ARP_SENDER, 4,
                         IFNAMSIZ / 4 + 2);
        lookup(maker, RULE_SET_ARP_SENDERS, 0, true);
        drop(maker);
}

static void make_arp(const Maker *maker) {
        make_chain(maker, CHAIN_ARP, "filter", NF_BR_PRE_ROUTING, PRIORITY_EARLY);
        make_set(maker, RULE_SET_ARP_LINKS, NFT_TYPE_IFNAME, IFNAMSIZ, true);
        make_set(maker, RULE_SET_ARP_SENDERS,
                 NFT_TYPE_3(NFT_TYPE_IFNAME, NFT_TYPE_ETHER, NFT_TYPE_IPV4), IFNAMSIZ + 8 + 4,
                 false);
        drop_hidden(maker, CHAIN_ARP, RULE_SET_ARP_LINKS);
        drop_arp(maker, true);
        drop_arp(maker, false);
}

static void match_transport(const Maker *maker, uint16_t protocol, uint8_t transport) {
        match_protocol(maker, protocol);
        nft_expr_meta(maker->batch, NFT_META_L4PROTO, 0);
        nft_expr_cmp(maker->batch, 0, &transport, sizeof(transport), false);
}

static void match_type(const Maker *maker, uint8_t type) {
        nft_expr_payload(maker->batch, NFT_BASE_TRANSPORT, ICMP_TYPE, sizeof(type), 0);
        nft_expr_cmp(maker->batch, 0, &type, sizeof(type), false);
}

static void begin_nd(const Maker *maker, uint8_t type) {
        begin(maker, CHAIN_ND);
        match_transport(maker, ETH_P_IPV6, IPPROTO_ICMPV6);
        match_type(maker, type);
        match_link(maker, RULE_SET_ND_LINKS);
}

static void drop_foreign(const Maker *maker, RuleSet set, NftBase base, uint32_t offset) {
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        nft_expr_payload(maker->batch, base, offset, sizeof(struct in6_addr), IFNAMSIZ / 4);
        lookup(maker, set, 0, true);
        drop(maker);
}

/* Its rule is in a chain of its own, where nft(8) does not know ICMPv6 and prints the target as the
 * bytes that the set is of, whatever its version calls them. */
static void make_nd_target(const Maker *maker) {
        char name[RULE_SET_NAME_MAX];

        make_chain(maker, CHAIN_ND_TARGET, NULL, 0, 0);
        nft_set_add(maker->batch,
                    &(NftSet){.family = maker->group->family,
                              .table = RULES_TABLE,
                              .name = rule_set_name(maker->group, RULE_SET_ND_TARGETS, name),
                              .key_type = NFT_TYPE_2(NFT_TYPE_IFNAME, NFT_TYPE_INTEGER),
                              .n_key = IFNAMSIZ + 16,
                              .link_and_transport = ND_TARGET});
        begin(maker, CHAIN_ND_TARGET);
        drop_foreign(maker, RULE_SET_ND_TARGETS, NFT_BASE_TRANSPORT, ND_TARGET);
}

static void check_target(const Maker *maker) {
        nft_expr_verdict(maker->batch, NFT_JUMP, CHAIN_ND_TARGET);
        nft_rule_end(maker->batch);
}

static void match_unspecified(const Maker *maker, bool differs) {
        nft_expr_payload(maker->batch, NFT_BASE_NETWORK, IPV6_SOURCE, sizeof(in6addr_any), 0);
        nft_expr_cmp(maker->batch, 0, &in6addr_any, sizeof(in6addr_any), differs);
}

/*
 * A solicitation tells the receiver about its source, and one from :: which address it wants to
 * have; an advertisement about its target. A pod is no router.
 */
static void make_nd(const Maker *maker) {
        static const uint8_t asks[] = {ND_ROUTER_SOLICIT, ND_NEIGHBOR_SOLICIT};
        static const uint8_t routers[] = {ND_ROUTER_ADVERT, ND_REDIRECT};

        make_chain(maker, CHAIN_ND, "filter", NF_BR_PRE_ROUTING, PRIORITY_EARLY);
        make_set(maker, RULE_SET_ND_LINKS, NFT_TYPE_IFNAME, IFNAMSIZ, true);
        make_set(maker, RULE_SET_ND_SENDERS, NFT_TYPE_2(NFT_TYPE_IFNAME, NFT_TYPE_IPV6),
                 IFNAMSIZ + 16, false);
        make_nd_target(maker);
        drop_hidden(maker, CHAIN_ND, RULE_SET_ND_LINKS);
        for (size_t i = 0; i < N_ELEMENTS(routers); i++) {
                begin_nd(maker, routers[i]);
                drop(maker);
        }
        for (size_t i = 0; i < N_ELEMENTS(asks); i++) {
                begin_nd(maker, asks[i]);
                match_unspecified(maker, true);
                drop_foreign(maker, RULE_SET_ND_SENDERS, NFT_BASE_NETWORK, IPV6_SOURCE);
        }
        begin_nd(maker, ND_NEIGHBOR_SOLICIT);
        match_unspecified(maker, false);
        check_target(maker);
        begin_nd(maker, ND_NEIGHBOR_ADVERT);
        check_target(maker);
}

static void drop_others(const Maker *maker) {
        static const uint16_t known[] = {ETH_P_IP, ETH_P_IPV6, ETH_P_ARP};

        begin(maker, CHAIN_PROTOCOL);
        nft_expr_meta(maker->batch, NFT_META_PROTOCOL, 0);
        for (size_t i = 0; i < N_ELEMENTS(known); i++) {
                uint16_t protocol = htons(known[i]);

                nft_expr_cmp(maker->batch, 0, &protocol, sizeof(protocol), true);
        }
        match_link(maker, RULE_SET_PROTOCOL_LINKS);
        drop(maker);
}

/*
 * What is neither IP nor ARP nobody has looked at: reverse ARP, ARP in a frame of IEEE 802.3 or
 * behind two tags. And a pod configures no other: it is neither their DHCP server nor their router,
 * with or without an address of that family. A packet in fragments has both ports in the first.
 */
static void make_protocol(const Maker *maker) {
        static const struct {
                uint16_t protocol, port;
        } clients[] = {{ETH_P_IP, DHCP_CLIENT}, {ETH_P_IPV6, DHCPV6_CLIENT}};
        static const struct {
                uint16_t protocol;
                uint8_t transport, type;
        } routers[] = {{ETH_P_IP, IPPROTO_ICMP, ICMP_REDIRECT},
                       {ETH_P_IP, IPPROTO_ICMP, ICMP_ROUTERADVERT},
                       {ETH_P_IPV6, IPPROTO_ICMPV6, ND_ROUTER_ADVERT},
                       {ETH_P_IPV6, IPPROTO_ICMPV6, ND_REDIRECT}};

        make_chain(maker, CHAIN_PROTOCOL, "filter", NF_BR_PRE_ROUTING, PRIORITY_EARLY);
        make_set(maker, RULE_SET_PROTOCOL_LINKS, NFT_TYPE_IFNAME, IFNAMSIZ, true);
        drop_others(maker);
        for (size_t i = 0; i < N_ELEMENTS(clients); i++) {
                uint16_t port = htons(clients[i].port);

                begin(maker, CHAIN_PROTOCOL);
                match_transport(maker, clients[i].protocol, IPPROTO_UDP);
                nft_expr_payload(maker->batch, NFT_BASE_TRANSPORT, UDP_DESTINATION, sizeof(port),
                                 0);
                nft_expr_cmp(maker->batch, 0, &port, sizeof(port), false);
                match_link(maker, RULE_SET_PROTOCOL_LINKS);
                drop(maker);
        }
        for (size_t i = 0; i < N_ELEMENTS(routers); i++) {
                begin(maker, CHAIN_PROTOCOL);
                match_transport(maker, routers[i].protocol, routers[i].transport);
                match_type(maker, routers[i].type);
                match_link(maker, RULE_SET_PROTOCOL_LINKS);
                drop(maker);
        }
}

/* What a routed pod sends is nobody's but its own. Link-local addresses lead no further than its
 * link, where nobody else is. */
static void make_source(const Maker *maker) {
        IpPrefix local = {{.family = AF_INET6, .bytes = {0xfe, 0x80}}, 10};
        bool v4 = maker->group->family == NFPROTO_IPV4;

        make_chain(maker, CHAIN_SOURCE, "filter", NF_INET_PRE_ROUTING, PRIORITY_EARLY);
        make_set(maker, RULE_SET_SOURCE_LINKS, NFT_TYPE_IFNAME, IFNAMSIZ, true);
        make_set(maker, RULE_SET_SOURCES, NFT_TYPE_2(NFT_TYPE_IFNAME, maker->address_type),
                 IFNAMSIZ + maker->n_address, false);
        begin(maker, CHAIN_SOURCE);
        match_link(maker, RULE_SET_SOURCE_LINKS);
        if (!v4)
                match_prefix(maker, maker->source, &local, true);
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        load_address(maker, maker->source, IFNAMSIZ / 4);
        lookup(maker, RULE_SET_SOURCES, 0, true);
        drop(maker);
}

static void make_isolation(const Maker *maker) {
        make_chain(maker, CHAIN_ISOLATION, "filter", NF_INET_FORWARD, PRIORITY_FILTER);
        make_set(maker, RULE_SET_ISOLATED, NFT_TYPE_IFNAME, IFNAMSIZ, true);
        make_set(maker, RULE_SET_SAME_BRIDGE, NFT_TYPE_2(NFT_TYPE_IFNAME, NFT_TYPE_IFNAME),
                 2 * IFNAMSIZ, false);
        begin(maker, CHAIN_ISOLATION);
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        lookup(maker, RULE_SET_ISOLATED, 0, false);
        nft_expr_meta(maker->batch, NFT_META_OIFNAME, 0);
        lookup(maker, RULE_SET_ISOLATED, 0, false);
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        nft_expr_meta(maker->batch, NFT_META_OIFNAME, IFNAMSIZ / 4);
        lookup(maker, RULE_SET_SAME_BRIDGE, 0, true);
        nft_expr_verdict(maker->batch, NF_DROP, NULL);
        nft_rule_end(maker->batch);
}

bool rule_group_move(NftBatch *batch, uint8_t family, const NftRule *rule) {
        RuleGroup group = {.kind = RULE_GROUP_NODE, .family = family};
        Maker maker = maker_of(batch, &group);

        for (size_t i = 0; i < N_ELEMENTS(entries); i++) {
                if (!str_equal(rule->chain, entries[i].before))
                        continue;
                /* The others are of the node, which are made anew. */
                if (rule->target[0] != '\0' && rule->expressions) {
                        make_chain(&maker, entries[i].name, "nat", entries[i].hook, PRIORITY_PORTS);
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

const char *rule_group_chain(const RuleGroup *group, char *name) {
        static const char *const chains[_RULE_GROUP_N] = {
                [RULE_GROUP_MASQ] = CHAIN_MASQ,
                [RULE_GROUP_SNAT] = CHAIN_PORTS_SNAT,
                [RULE_GROUP_SNAT_ALL] = CHAIN_PORTS_SNAT,
                [RULE_GROUP_SPOOF] = CHAIN_SPOOF,
                [RULE_GROUP_ARP] = CHAIN_ARP,
                [RULE_GROUP_ND] = CHAIN_ND,
                [RULE_GROUP_PROTOCOL] = CHAIN_PROTOCOL,
                [RULE_GROUP_SOURCE] = CHAIN_SOURCE,
                [RULE_GROUP_ISOLATION] = CHAIN_ISOLATION,
                [RULE_GROUP_NODE] = CHAIN_PORTS_IN,
                [RULE_GROUP_LOCALNET] = CHAIN_LOCALNET,
                [RULE_GROUP_FIREWALL] = CHAIN_FIREWALL,
        };

        if (group->kind == RULE_GROUP_PORTS)
                return rule_set_name(group, RULE_SET_PORTS, name);
        snprintf(name, RULE_SET_NAME_MAX, "%s", chains[group->kind]);
        return name;
}

void rule_group_make(NftBatch *batch, const RuleGroup *group) {
        static void (*const makers[_RULE_GROUP_N])(const Maker *maker) = {
                [RULE_GROUP_MASQ] = make_masq,         [RULE_GROUP_PORTS] = make_ports,
                [RULE_GROUP_SNAT] = make_snat,         [RULE_GROUP_SNAT_ALL] = make_snat_all,
                [RULE_GROUP_SPOOF] = make_spoof,       [RULE_GROUP_ISOLATION] = make_isolation,
                [RULE_GROUP_ARP] = make_arp,           [RULE_GROUP_ND] = make_nd,
                [RULE_GROUP_NODE] = make_node,         [RULE_GROUP_LOCALNET] = make_localnet,
                [RULE_GROUP_FIREWALL] = make_firewall, [RULE_GROUP_SOURCE] = make_source,
                [RULE_GROUP_PROTOCOL] = make_protocol,
        };
        Maker maker = maker_of(batch, group);

        nft_table_add(batch, group->family, RULES_TABLE);
        makers[group->kind](&maker);
}
