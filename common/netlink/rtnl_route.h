/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NETLINK_RTNL_ROUTE_H
#define BERTH_NETLINK_RTNL_ROUTE_H

/* Unicast routes, policy rules' tables included; and the forwarding switches. */

#include "common/netlink/rtnl_addr.h"

#include <linux/rtnetlink.h> /* RT_SCOPE_*, RTN_*, RT_TABLE_* */

typedef struct Route {
        uint8_t family;   /* AF_INET, AF_INET6 */
        uint8_t prefix;   /* bits of the destination; 0 is the default route */
        uint8_t scope;    /* RT_SCOPE_*; 0 is universe */
        uint8_t protocol; /* RTPROT_*; 0: boot */
        uint8_t type;     /* RTN_*; 0: unicast */
        bool has_gateway; /* else on the link */
        bool onlink;      /* the gateway need not be reachable yet */
        bool replace;     /* NLM_F_REPLACE instead of appending a next hop */
        bool exclusive;   /* NLM_F_EXCL: -EEXIST where there is one of this metric, by any link */
        uint8_t destination[ADDR_BYTES_MAX];
        uint8_t gateway[ADDR_BYTES_MAX];
        bool has_source;
        uint8_t source[ADDR_BYTES_MAX]; /* preferred source */
        unsigned int index;             /* out link */
        uint32_t table;                 /* 0: main */
        uint32_t priority;              /* metric; 0: the kernel's default */
        uint32_t mtu_bytes;             /* 0: the link's */
        uint32_t advmss;                /* 0: the kernel's */
} Route;

/* RTM_NEWROUTE with NLM_F_CREATE and NLM_F_APPEND (the same destination again adds a next hop). */
void route_add(NlBatch *batch, const Route *route);

int route_parse(const struct nlmsghdr *message, Route *route);

/* The route to one host, as the kernel would choose now: an answer to parse with route_parse(). */
void route_get(NlBatch *batch, uint8_t family, const uint8_t *host);

/* Likewise, for what @source sends that comes in by the link @in: policy rules look at both.
 * @source NULL: what this host sends itself; @in 0: IPv6 alone can be asked about the source only.
 * The answer is the route of the table, for route_each_hop(), since 4.13; before that it is
 * route_get()'s. */
void route_get_from(NlBatch *batch, uint8_t family, const uint8_t *host, const uint8_t *source,
                    unsigned int in);

/* @each for every route of @family, the dump being complete and consistent. A route with several
 * next hops, as IPv6 makes of several routes to one destination, is told once for each. */
/* route_each_hop(): of one message. Return: 0; negative, also @each's; -EBADMSG. */
typedef int (*RouteEach)(const Route *route, void *userdata);
int route_each_hop(const struct nlmsghdr *message, RouteEach each, void *userdata);
int route_dump(NlSocket *sock, uint8_t family, RouteEach each, void *userdata);

/* Asks for net.ipv4.ip_forward (AF_INET) or net.ipv6.conf.all.forwarding (AF_INET6) of the
 * namespace. */
void forwarding_get(NlBatch *batch, uint8_t family);

/* Likewise of what a link that is made gets. */
void forwarding_get_default(NlBatch *batch, uint8_t family);

/* Return: 1 on, 0 off; -EBADMSG. */
int forwarding_parse(const struct nlmsghdr *message);

#endif
