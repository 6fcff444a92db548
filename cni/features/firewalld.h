/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_FEATURES_FIREWALLD_H
#define BERTH_CNI_FEATURES_FIREWALLD_H

/*
 * firewalld, where it runs: what pods forward is let through when their addresses are sources of a
 * zone that accepts, "trusted" if nobody says otherwise, as upstream's firewall plugin has it.
 * firewalld forgets that when it is reloaded; berth-cni repair puts it back.
 */

#include "cni/spec/result.h"

#define FIREWALLD_ZONE "trusted"

#define FIREWALLD_IPS_MAX 63 /* of one question */

#define FIREWALLD_E_ABSENT 1 /* no system bus, or no firewalld on it */

/* The address of each of @ips is a source of @zone; one that is already is left so. Return: 0;
 * FIREWALLD_E_ABSENT; negative. */
int firewalld_add(const char *zone, const ResultIp *ips, size_t n, Error *err);

/* Missing is done. Return: as above. */
int firewalld_remove(const char *zone, const ResultIp *ips, size_t n, Error *err);

/* Is it there to be asked? */
bool firewalld_runs(void);

/* Return: as above; NOT_FOUND naming the address. */
int firewalld_check(const char *zone, const ResultIp *ips, size_t n, Error *err);

#endif
