/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the bridge family: what a link may send. Which MAC address, which addresses it may
 * claim by ARP and neighbour discovery, and which protocols.
 */

#include "cni/rules/groups_internal.h"

#include "common/base/cleanup.h"

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>

#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_bridge.h>

void group_make_spoof(const GroupMaker *maker) {
        group_chain(maker, CHAIN_SPOOF, "filter", NF_BR_PRE_ROUTING, PRIORITY_EARLY);
        group_set(maker, RULE_SET_SPOOF_LINKS, NFT_TYPE_IFNAME, IFNAMSIZ, true);
        group_set(maker, RULE_SET_SPOOF_MACS, NFT_TYPE_2(NFT_TYPE_IFNAME, NFT_TYPE_ETHER),
                  IFNAMSIZ + 8, false);
        group_begin(maker, CHAIN_SPOOF);
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        group_lookup(maker, RULE_SET_SPOOF_LINKS, 0, false);
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        nft_expr_payload(maker->batch, NFT_BASE_LINK, 6, 6, IFNAMSIZ / 4);
        group_lookup(maker, RULE_SET_SPOOF_MACS, 0, true);
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

static void match_protocol(const GroupMaker *maker, uint16_t protocol) {
        uint16_t wanted = htons(protocol);

        nft_expr_meta(maker->batch, NFT_META_PROTOCOL, 0);
        nft_expr_cmp(maker->batch, 0, &wanted, sizeof(wanted), false);
}

/*
 * One VLAN tag is off by now. The receiver takes a second one off as well when both are priority
 * tags, and would find there what nobody has looked at.
 */
static void drop_hidden(const GroupMaker *maker, const char *chain, RuleSet links) {
        static const uint16_t tags[] = {ETH_P_8021Q, ETH_P_8021AD};

        for (size_t i = 0; i < N_ELEMENTS(tags); i++) {
                group_begin(maker, chain);
                match_protocol(maker, tags[i]);
                group_match_link(maker, links);
                group_drop(maker);
        }
}

/* @probe: sent from 0.0.0.0, which asks for the address that it wants to have. */
static void drop_arp(const GroupMaker *maker, bool probe) {
        uint32_t none = 0;

        group_begin(maker, CHAIN_ARP);
        match_protocol(maker, ETH_P_ARP);
        group_match_link(maker, RULE_SET_ARP_LINKS);
        nft_expr_payload(maker->batch, NFT_BASE_NETWORK, ARP_SENDER, 4, 0);
        nft_expr_cmp(maker->batch, 0, &none, sizeof(none), !probe);
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        nft_expr_payload(maker->batch, NFT_BASE_NETWORK, ARP_SENDER_MAC, 6, IFNAMSIZ / 4);
        nft_expr_payload(maker->batch, NFT_BASE_NETWORK, probe ? ARP_TARGET : ARP_SENDER, 4,
                         IFNAMSIZ / 4 + 2);
        group_lookup(maker, RULE_SET_ARP_SENDERS, 0, true);
        group_drop(maker);
}

void group_make_arp(const GroupMaker *maker) {
        group_chain(maker, CHAIN_ARP, "filter", NF_BR_PRE_ROUTING, PRIORITY_EARLY);
        group_set(maker, RULE_SET_ARP_LINKS, NFT_TYPE_IFNAME, IFNAMSIZ, true);
        group_set(maker, RULE_SET_ARP_SENDERS,
                  NFT_TYPE_3(NFT_TYPE_IFNAME, NFT_TYPE_ETHER, NFT_TYPE_IPV4), IFNAMSIZ + 8 + 4,
                  false);
        drop_hidden(maker, CHAIN_ARP, RULE_SET_ARP_LINKS);
        drop_arp(maker, true);
        drop_arp(maker, false);
}

static void match_transport(const GroupMaker *maker, uint16_t protocol, uint8_t transport) {
        match_protocol(maker, protocol);
        nft_expr_meta(maker->batch, NFT_META_L4PROTO, 0);
        nft_expr_cmp(maker->batch, 0, &transport, sizeof(transport), false);
}

static void match_type(const GroupMaker *maker, uint8_t type) {
        nft_expr_payload(maker->batch, NFT_BASE_TRANSPORT, ICMP_TYPE, sizeof(type), 0);
        nft_expr_cmp(maker->batch, 0, &type, sizeof(type), false);
}

static void begin_nd(const GroupMaker *maker, uint8_t type) {
        group_begin(maker, CHAIN_ND);
        match_transport(maker, ETH_P_IPV6, IPPROTO_ICMPV6);
        match_type(maker, type);
        group_match_link(maker, RULE_SET_ND_LINKS);
}

static void drop_foreign(const GroupMaker *maker, RuleSet set, NftBase base, uint32_t offset) {
        nft_expr_meta(maker->batch, NFT_META_IIFNAME, 0);
        nft_expr_payload(maker->batch, base, offset, sizeof(struct in6_addr), IFNAMSIZ / 4);
        group_lookup(maker, set, 0, true);
        group_drop(maker);
}

/* Its rule is in a chain of its own, where nft(8) does not know ICMPv6 and prints the target as the
 * bytes that the set is of, whatever its version calls them. */
static void make_nd_target(const GroupMaker *maker) {
        char name[RULE_SET_NAME_MAX];

        group_chain(maker, CHAIN_ND_TARGET, NULL, 0, 0);
        nft_set_add(maker->batch,
                    &(NftSet){.family = maker->group->family,
                              .table = RULES_TABLE,
                              .name = rule_set_name(maker->group, RULE_SET_ND_TARGETS, name),
                              .key_type = NFT_TYPE_2(NFT_TYPE_IFNAME, NFT_TYPE_INTEGER),
                              .n_key = IFNAMSIZ + 16,
                              .link_and_transport = ND_TARGET});
        group_begin(maker, CHAIN_ND_TARGET);
        drop_foreign(maker, RULE_SET_ND_TARGETS, NFT_BASE_TRANSPORT, ND_TARGET);
}

static void check_target(const GroupMaker *maker) {
        nft_expr_verdict(maker->batch, NFT_JUMP, CHAIN_ND_TARGET);
        nft_rule_end(maker->batch);
}

static void match_unspecified(const GroupMaker *maker, bool differs) {
        nft_expr_payload(maker->batch, NFT_BASE_NETWORK, IPV6_SOURCE, sizeof(in6addr_any), 0);
        nft_expr_cmp(maker->batch, 0, &in6addr_any, sizeof(in6addr_any), differs);
}

/*
 * A solicitation tells the receiver about its source, and one from :: which address it wants to
 * have; an advertisement about its target. A pod is no router.
 */
void group_make_nd(const GroupMaker *maker) {
        static const uint8_t asks[] = {ND_ROUTER_SOLICIT, ND_NEIGHBOR_SOLICIT};
        static const uint8_t routers[] = {ND_ROUTER_ADVERT, ND_REDIRECT};

        group_chain(maker, CHAIN_ND, "filter", NF_BR_PRE_ROUTING, PRIORITY_EARLY);
        group_set(maker, RULE_SET_ND_LINKS, NFT_TYPE_IFNAME, IFNAMSIZ, true);
        group_set(maker, RULE_SET_ND_SENDERS, NFT_TYPE_2(NFT_TYPE_IFNAME, NFT_TYPE_IPV6),
                  IFNAMSIZ + 16, false);
        make_nd_target(maker);
        drop_hidden(maker, CHAIN_ND, RULE_SET_ND_LINKS);
        for (size_t i = 0; i < N_ELEMENTS(routers); i++) {
                begin_nd(maker, routers[i]);
                group_drop(maker);
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

static void drop_others(const GroupMaker *maker) {
        static const uint16_t known[] = {ETH_P_IP, ETH_P_IPV6, ETH_P_ARP};

        group_begin(maker, CHAIN_PROTOCOL);
        nft_expr_meta(maker->batch, NFT_META_PROTOCOL, 0);
        for (size_t i = 0; i < N_ELEMENTS(known); i++) {
                uint16_t protocol = htons(known[i]);

                nft_expr_cmp(maker->batch, 0, &protocol, sizeof(protocol), true);
        }
        group_match_link(maker, RULE_SET_PROTOCOL_LINKS);
        group_drop(maker);
}

/*
 * What is neither IP nor ARP nobody has looked at: reverse ARP, ARP in a frame of IEEE 802.3 or
 * behind two tags. And a pod configures no other: it is neither their DHCP server nor their router,
 * with or without an address of that family. A packet in fragments has both ports in the first.
 */
void group_make_protocol(const GroupMaker *maker) {
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

        group_chain(maker, CHAIN_PROTOCOL, "filter", NF_BR_PRE_ROUTING, PRIORITY_EARLY);
        group_set(maker, RULE_SET_PROTOCOL_LINKS, NFT_TYPE_IFNAME, IFNAMSIZ, true);
        drop_others(maker);
        for (size_t i = 0; i < N_ELEMENTS(clients); i++) {
                uint16_t port = htons(clients[i].port);

                group_begin(maker, CHAIN_PROTOCOL);
                match_transport(maker, clients[i].protocol, IPPROTO_UDP);
                nft_expr_payload(maker->batch, NFT_BASE_TRANSPORT, UDP_DESTINATION, sizeof(port),
                                 0);
                nft_expr_cmp(maker->batch, 0, &port, sizeof(port), false);
                group_match_link(maker, RULE_SET_PROTOCOL_LINKS);
                group_drop(maker);
        }
        for (size_t i = 0; i < N_ELEMENTS(routers); i++) {
                group_begin(maker, CHAIN_PROTOCOL);
                match_transport(maker, routers[i].protocol, routers[i].transport);
                match_type(maker, routers[i].type);
                group_match_link(maker, RULE_SET_PROTOCOL_LINKS);
                group_drop(maker);
        }
}
