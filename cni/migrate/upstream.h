/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_MIGRATE_UPSTREAM_H
#define BERTH_CNI_MIGRATE_UPSTREAM_H

/*
 * What the upstream plugins left in iptables or nftables for a pod that was added by them, before
 * the node switched to Berth. Their names are hashes, so one round of questions tells whether
 * anything is there; usually nothing is.
 */

#include "cni/rules/rules.h"

/* Whose leftovers, as bits. */
#define LEGACY_BRIDGE   (1U << 0) /* masquerade and MAC check of bridge and ptp */
#define LEGACY_PORTMAP  (1U << 1)
#define LEGACY_FIREWALL (1U << 2)

/* "CNI-" or "CNI-DN-" and as much of a SHA-512 as fits. */
#define LEGACY_CHAIN_SIZE 29

/* utils.MustFormatChainNameWithPrefix() of upstream: @prefix "", "DN-" or "SN-". */
void legacy_chain_name(const char *network, const char *container_id, const char *prefix,
                       char name[LEGACY_CHAIN_SIZE]);

/**
 * legacy_del() - remove the leftovers of @at
 * @plugins: LEGACY_* bits
 *
 * Rules of iptables-nft and of nftables are removed over netlink. Those of iptables-legacy are
 * found by reading the kernel's table, and removed by its tool, which is run only if they are
 * there.
 *
 * Return: 0, also when there was nothing; negative with @err filled.
 */
int legacy_del(RulesSocket *sock, unsigned int plugins, const Attachment *at, Error *err);

/* The part of it in the tables of iptables-legacy. */
int legacy_xtables_del(unsigned int plugins, const Attachment *at, Error *err);

#endif
