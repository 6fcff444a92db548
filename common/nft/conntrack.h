/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NFT_CONNTRACK_H
#define BERTH_NFT_CONNTRACK_H

/* Flows that conntrack remembers. */

#include "common/netlink/nl_socket.h"

/* A flow as far as it counts here. Addresses: network order, 4 or 16 bytes. */
typedef struct ConntrackFlow {
        uint8_t family; /* AF_INET, AF_INET6 */
        uint8_t protocol;
        uint16_t port;          /* destination of the original direction, host order */
        const uint8_t *answers; /* borrowed: who answers, as the reply direction's source; NULL if
                                   not told */
        size_t n_answers;
        const struct nlattr *id; /* borrowed from the message; NULL if not told */
        const struct nlattr *tuple, *zone;
} ConntrackFlow;

/* Return: 0; -EBADMSG; -ENOMSG when @message is no flow. */
int conntrack_parse(const struct nlmsghdr *message, ConntrackFlow *flow);

typedef bool (*ConntrackFilter)(const ConntrackFlow *flow, void *userdata);

/* Asked when flows are chosen, before they are deleted; may use the same socket. */
typedef bool (*ConntrackStill)(void *userdata);

/**
 * conntrack_forget() - delete every flow of @family and @protocol that @filter chooses
 * @sock:  NETLINK_NETFILTER
 * @still: NULL, or whether what @filter went by is still so; if not, nothing more is deleted. A
 * flow is deleted as the one that was seen, so what came after @still's look is safe.
 *
 * Each call walks the whole table in the kernel, about 12 ms for its 262144 buckets, however few
 * flows there are; so one call is for many ports. The kernel filters by protocol since Linux 5.8;
 * an older one sends all flows of the family.
 *
 * Return: 0; -errno (-EOPNOTSUPP or -EINVAL: the kernel has no conntrack over netlink).
 */
int conntrack_forget(NlSocket *sock, uint8_t family, uint8_t protocol, ConntrackFilter filter,
                     ConntrackStill still, void *userdata);

#endif
