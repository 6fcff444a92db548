/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_FORWARD_H
#define BERTH_CNI_FORWARD_H

/*
 * The firewall plugin's own work: packets of pods pass a FORWARD chain whose policy is drop.
 *
 * "accept" ends the walk through one base chain only, and "drop" ends it through all of them. So
 * an accept in a table of our own cannot help where iptables' FORWARD drops: the rules must stand
 * in that very chain, and only in words that iptables reads back. As upstream, they are in a chain
 * CNI-FORWARD that FORWARD jumps to first, and a chain for the admin comes before them; unlike
 * upstream, there are two rules per subnet and none per pod.
 *
 * Where the filter table is iptables' own (iptables-legacy), netlink does not reach it: there, and
 * only there, the iptables tool is run.
 */

#include "cni/rules.h"

#define FORWARD_CHAIN       "CNI-FORWARD"
#define FORWARD_ADMIN_CHAIN "CNI-ADMIN"

/* Different subnets of one attachment and family. */
#define FORWARD_SUBNETS_MAX 16

typedef struct ForwardRequest {
        uint8_t family; /* AF_INET, AF_INET6 */
        const char *admin_chain;
        IpPrefix subnets[FORWARD_SUBNETS_MAX]; /* host bits are zero */
        size_t n_subnets;
} ForwardRequest;

/* What is missing is made, in one transaction. */
int forward_add(RulesSocket *sock, const ForwardRequest *request, Error *err);

/* Takes away the rules of full-length subnets (those are one pod's); others are the network's. */
int forward_del(RulesSocket *sock, const ForwardRequest *request, Error *err);

/* Return: 0; NOT_FOUND naming the rule. */
int forward_check(RulesSocket *sock, const ForwardRequest *request, Error *err);

/* Is the filter table of @family that of iptables-legacy? */
bool forward_is_legacy(uint8_t family);

/* The same three by the iptables tool. */
int forward_legacy_add(const ForwardRequest *request, Error *err);
int forward_legacy_del(const ForwardRequest *request, Error *err);
int forward_legacy_check(const ForwardRequest *request, Error *err);

#endif
