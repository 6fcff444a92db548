/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NETLINK_RTNL_ADDR_H
#define BERTH_NETLINK_RTNL_ADDR_H

/* Addresses of links. IPv4 fills the first 4 bytes, IPv6 all 16, in network order. */

#include "common/netlink/nl_socket.h"

#include <linux/if_addr.h> /* IFA_F_* */

#define ADDR_BYTES_MAX 16

typedef struct LinkAddress {
        unsigned int index; /* of the link */
        uint8_t family;     /* AF_INET, AF_INET6 */
        uint8_t prefix;     /* bits */
        uint8_t bytes[ADDR_BYTES_MAX];
        uint8_t broadcast[4]; /* IPv4; all zero: none */
        uint8_t scope;        /* RT_SCOPE_* */
        uint32_t flags;       /* IFA_F_*: NODAD for an address that is usable at once */
} LinkAddress;

static inline size_t addr_size(uint8_t family) {
        return family == 2 /* AF_INET */ ? 4 : ADDR_BYTES_MAX;
}

/* RTM_NEWADDR with NLM_F_CREATE | NLM_F_EXCL: -EEXIST when the link has it, with that prefix. */
void addr_add(NlBatch *batch, const LinkAddress *address);
void addr_delete(NlBatch *batch, const LinkAddress *address);

int addr_parse(const struct nlmsghdr *message, LinkAddress *address);

/**
 * addr_list() - addresses of one link
 * @family:    AF_INET, AF_INET6, or 0 for both
 * @addresses: @n_room entries
 * @np:        how many the link has; more than @n_room: the rest is not told
 *
 * Return: 0; -ENODEV; another -errno.
 */
int addr_list(NlSocket *sock, unsigned int index, uint8_t family, LinkAddress *addresses,
              size_t n_room, size_t *np);

#endif
