/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_IPAM_RANGE_H
#define BERTH_CNI_IPAM_RANGE_H

/* Ranges and range sets of host-local, with its rules and its words. Pure. */

#include "common/base/error.h"
#include "common/ip/address.h"

#define IPAM_SETS_MAX   32 /* addresses of one interface */
#define IPAM_RANGES_MAX 64 /* alternatives within one set */

typedef struct IpamRange {
        IpPrefix subnet;
        IpAddress start, end; /* both inclusive; family 0 before ipam_range_complete(): default */
        IpAddress gateway;    /* likewise; never given to a pod */
} IpamRange;

typedef struct IpamSet {
        IpamRange *ranges; /* owned */
        size_t n;
} IpamSet;

void ipam_set_deinit(IpamSet *set);

/* Checks @range and fills in what is left out. Return: 0; negative, @err in upstream's words. */
int ipam_range_complete(IpamRange *range, Error *err);

/* Completes each range; one family, no overlap. */
int ipam_set_complete(IpamSet *set, Error *err);

bool ipam_sets_overlap(const IpamSet *a, const IpamSet *b);

bool ipam_range_contains(const IpamRange *range, const IpAddress *address);

/* The range of @set that has @address, or NULL. */
const IpamRange *ipam_set_find(const IpamSet *set, const IpAddress *address);

/* "10.1.0.1-10.1.0.254,10.2.0.1-10.2.0.9", cut to @n_text. */
void ipam_set_format(const IpamSet *set, char *text, size_t n_text);

/* Addresses that can be given out, gateways not counted; UINT64_MAX if more. */
uint64_t ipam_set_size(const IpamSet *set);

/* Round robin: every address of the set once, gateways left out. */
typedef struct IpamCursor {
        const IpamSet *set;
        size_t range;
        IpAddress current; /* family 0: before the first */
        IpAddress first;   /* where it began; seeing it again is the end */
} IpamCursor;

/* @last: the address given out last; the cursor starts behind it. NULL, or one that is not in the
 * set: from the beginning. */
void ipam_cursor_init(IpamCursor *cursor, const IpamSet *set, const IpAddress *last);

/* The next candidate and its range. Return: false at the end. */
bool ipam_cursor_next(IpamCursor *cursor, IpAddress *addressp, const IpamRange **rangep);

#endif
