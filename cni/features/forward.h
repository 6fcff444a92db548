/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_FEATURES_FORWARD_H
#define BERTH_CNI_FEATURES_FORWARD_H

/*
 * The firewall plugin's own work: packets of pods pass a FORWARD chain whose policy is drop.
 *
 * "accept" ends the walk through one base chain only, and "drop" ends it through all of them. So
 * an accept in a table of our own cannot help where iptables' FORWARD drops: the rule must stand
 * in that very chain, and only in words that iptables reads back. As upstream, it is in a chain
 * CNI-FORWARD that FORWARD jumps to first, and a chain for the admin comes before it. Unlike
 * upstream there are no rules per pod: our own table marks what pods send and what is meant for
 * them just before (RULE_GROUP_FIREWALL), the one rule accepts the mark, and it is taken away just
 * behind. So the addresses are elements of a set, with an owner.
 *
 * Both backends of iptables may hold a FORWARD chain on one node, and both count: the one of
 * nftables is written over netlink; where there is one of iptables-legacy, it is read by
 * getsockopt(2), and only for what it lacks the iptables tool is run.
 */

#include "cni/rules/rules.h"
#include "common/nft/xtables.h"

#include <net/if.h>

#define FORWARD_CHAIN       "CNI-FORWARD"
#define FORWARD_ADMIN_CHAIN "CNI-ADMIN"

/* As upstream's plugin writes them. */
#define FORWARD_COMMENT_JUMP  "CNI firewall plugin rules"
#define FORWARD_COMMENT_ADMIN "CNI firewall plugin admin overrides"
#define FORWARD_COMMENT_PODS  "berth: pods"

/* What is missing in FORWARD of @family (AF_INET, AF_INET6) is made. */
int forward_add(RulesSocket *sock, uint8_t family, const char *admin_chain, Error *err);

/* Return: 0; NOT_FOUND naming the rule. */
int forward_check(RulesSocket *sock, uint8_t family, const char *admin_chain, Error *err);

/* Removes the rules of whole subnets that earlier versions made. */
int forward_forget_subnets(RulesSocket *sock, uint8_t family, Error *err);

/* --- what others drop (cni/features/forward_walk.c)
 * ------------------------------------------------- */

/* As much of a link's name as is known: all IFNAMSIZ bytes of it, how it begins, or 0 bytes. */
typedef struct ForwardLink {
        char name[IFNAMSIZ]; /* zeros behind it */
        size_t n_known;
} ForwardLink;

/* The first packet of a TCP connection from a pod to another network. */
typedef struct ForwardPacket {
        ForwardLink input, output;
        bool iptables_opens;  /* ADD opens chain FORWARD of iptables, whichever backend it has */
        bool firewalld_opens; /* ADD makes the pod a source of a zone of firewalld */
} ForwardPacket;

/**
 * forward_find_drop() - a chain that certainly drops it
 * @text: names it: "chain forward of table inet filter: its policy is drop"
 *
 * Return: 0: none is found; 1 with @text; -errno.
 */
int forward_find_drop(RulesSocket *sock, const ForwardPacket *packet, char text[256]);

/**
 * forward_status() - would that be what a pod of @conf sends? (cni/features/forward_status.c)
 *
 * What opens FORWARD of iptables, another plugin of the list may be; only who asks about the whole
 * list (berth-cni status) knows that there is none. Return: 0; UNAVAILABLE.
 */
int forward_status(RulesSocket *sock, const NetConf *conf, Error *err);

/* --- iptables-legacy (cni/features/forward_legacy.c)
 * ------------------------------------------------- */

/* Return: 1 when a packet with the mark passes, 0 when not; negative. */
int forward_legacy_is_open(uint8_t family, const char *admin_chain, Error *err);
int forward_legacy_add(uint8_t family, const char *admin_chain, Error *err);

/* The filter table. Return: 0, freed by xtables_deinit(); negative. */
int forward_legacy_read(uint8_t family, const char *table, XtTable *xt, Error *err);

#endif
