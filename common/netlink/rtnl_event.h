/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NETLINK_RTNL_EVENT_H
#define BERTH_NETLINK_RTNL_EVENT_H

/* What the kernel announces of links, addresses, routes and forwarding. */

#include "common/netlink/rtnl_link.h"

typedef enum RtnlEventKind {
        RTNL_EVENT_OTHER,        /* of no kind below */
        RTNL_EVENT_LINK,         /* it is new, or something of it is */
        RTNL_EVENT_LINK_GONE,    /* the device, or its half in this namespace */
        RTNL_EVENT_PORT_GONE,    /* it is no port of its bridge any more */
        RTNL_EVENT_ADDRESS,      /* new, or changed */
        RTNL_EVENT_ADDRESS_GONE, /* */
        RTNL_EVENT_ROUTE_GONE,   /* that led over a link; the kernel tells none of IPv4 that go
                                    with a link */
        RTNL_EVENT_FORWARDING,   /* a switch of all links, as net.ipv4.ip_forward */
        _RTNL_EVENT_N,
} RtnlEventKind;

typedef struct RtnlEvent {
        RtnlEventKind kind;
        unsigned int index; /* of the link; 0 where there is none */
        bool is_bridge;     /* RTNL_EVENT_LINK_GONE */
        Link link;          /* RTNL_EVENT_LINK */
} RtnlEvent;

/* Pure. Return: 0, with RTNL_EVENT_OTHER for what is of no kind; -EBADMSG. */
int rtnl_event_parse(const struct nlmsghdr *message, RtnlEvent *event);

/* Joins @sock, of NETLINK_ROUTE, to the groups that announce them. It is for nothing else then:
 * nl_socket_receive() hands over the messages, and -ENOBUFS says that some were lost. Return: 0;
 * -errno. */
int rtnl_event_join(NlSocket *sock);

#endif
