/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NETLINK_RTNL_NEIGH_H
#define BERTH_NETLINK_RTNL_NEIGH_H

/* Neighbours: which MAC address an address of the other side has. */

#include "common/netlink/rtnl_addr.h"

typedef struct Neighbour {
        unsigned int index; /* of the link */
        uint8_t family;     /* AF_INET, AF_INET6 */
        uint8_t bytes[ADDR_BYTES_MAX];
        uint8_t mac[6];
} Neighbour;

/* A permanent one, in place of what is known: nobody asks for it, it takes no room of
 * net.*.neigh.default.gc_thresh3, and it goes with the link, or when that goes down or gets another
 * MAC address. The link has to be up. */
void neighbour_set(NlBatch *batch, const Neighbour *neighbour);

/* @each for every permanent neighbour of both families on link @index, the dump being complete. */
typedef int (*NeighbourEach)(const Neighbour *neighbour, void *userdata);
int neighbour_dump(NlSocket *sock, unsigned int index, NeighbourEach each, void *userdata);

#endif
