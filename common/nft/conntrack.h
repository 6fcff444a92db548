/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NFT_CONNTRACK_H
#define BERTH_NFT_CONNTRACK_H

/* Flows that conntrack remembers. */

#include "common/netlink/nl_socket.h"

/* One tuple of a flow as far as it counts here. */
typedef struct ConntrackFlow {
        uint8_t protocol;
        uint16_t port;           /* destination of the original direction, host order */
        const struct nlattr *id; /* borrowed from the message; NULL if not told */
        const struct nlattr *tuple, *zone;
} ConntrackFlow;

/* Return: 0; -EBADMSG; -ENOMSG when @message is no flow. */
int conntrack_parse(const struct nlmsghdr *message, ConntrackFlow *flow);

/**
 * conntrack_forget_port() - delete every flow that was opened to @port of any address
 * @sock:   NETLINK_NETFILTER
 * @family: AF_INET, AF_INET6
 *
 * The kernel filters the list since Linux 5.8; an older one sends all flows.
 *
 * Return: 0; -errno (-EOPNOTSUPP or -EINVAL: the kernel has no conntrack over netlink).
 */
int conntrack_forget_port(NlSocket *sock, uint8_t family, uint8_t protocol, uint16_t port);

#endif
