/* SPDX-License-Identifier: Apache-2.0 */

#include "common/netlink/rtnl_event.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

static int parse_link(const struct nlmsghdr *message, RtnlEvent *event) {
        struct ifinfomsg info;
        int r;

        if (message->nlmsg_len < NLMSG_LENGTH(sizeof(info)))
                return -EBADMSG;
        memcpy(&info, nl_payload(message), sizeof(info));
        event->index = (unsigned int)info.ifi_index;
        /* What a bridge tells of its ports has its family. */
        if (info.ifi_family == AF_BRIDGE)
                return 0;
        r = link_parse(message, &event->link);
        if (r == 0)
                event->kind = RTNL_EVENT_LINK;
        return r;
}

static int parse_link_gone(const struct nlmsghdr *message, RtnlEvent *event) {
        const struct nlattr *table[IFLA_MAX + 1] = {0};
        const struct nlattr *about[IFLA_INFO_MAX + 1] = {0};
        struct ifinfomsg info;
        char kind[LINK_KIND_MAX];
        int r = nl_attributes(message, sizeof(info), table, N_ELEMENTS(table));

        if (r < 0)
                return r;
        memcpy(&info, nl_payload(message), sizeof(info));
        event->index = (unsigned int)info.ifi_index;
        event->kind = info.ifi_family == AF_BRIDGE ? RTNL_EVENT_PORT_GONE : RTNL_EVENT_LINK_GONE;
        r = nl_nested(table[IFLA_LINKINFO], about, N_ELEMENTS(about));
        if (r < 0)
                return r;
        nl_get_text(about[IFLA_INFO_KIND], kind, sizeof(kind));
        event->is_bridge = str_equal(kind, "bridge");
        return 0;
}

static int parse_address(const struct nlmsghdr *message, RtnlEvent *event) {
        struct ifaddrmsg header;

        if (message->nlmsg_len < NLMSG_LENGTH(sizeof(header)))
                return -EBADMSG;
        memcpy(&header, nl_payload(message), sizeof(header));
        event->index = header.ifa_index;
        event->kind =
                message->nlmsg_type == RTM_NEWADDR ? RTNL_EVENT_ADDRESS : RTNL_EVENT_ADDRESS_GONE;
        return 0;
}

static int parse_route(const struct nlmsghdr *message, RtnlEvent *event) {
        const struct nlattr *table[RTA_MAX + 1] = {0};
        int r = nl_attributes(message, sizeof(struct rtmsg), table, N_ELEMENTS(table));

        event->index = nl_get_u32(table[RTA_OIF], 0);
        event->kind = RTNL_EVENT_ROUTE_GONE;
        return r;
}

/* Each link has switches too, which come and go with it: only those of all are told. */
static int parse_switches(const struct nlmsghdr *message, RtnlEvent *event) {
        const struct nlattr *table[NETCONFA_MAX + 1] = {0};
        int r = nl_attributes(message, sizeof(struct netconfmsg), table, N_ELEMENTS(table));

        if (r == 0 && nl_get_u32(table[NETCONFA_IFINDEX], 0) == (uint32_t)NETCONFA_IFINDEX_ALL)
                event->kind = RTNL_EVENT_FORWARDING;
        return r;
}

int rtnl_event_parse(const struct nlmsghdr *message, RtnlEvent *event) {
        *event = (RtnlEvent){.kind = RTNL_EVENT_OTHER};
        switch (message->nlmsg_type) {
        case RTM_NEWLINK:
                return parse_link(message, event);
        case RTM_DELLINK:
                return parse_link_gone(message, event);
        case RTM_NEWADDR:
        case RTM_DELADDR:
                return parse_address(message, event);
        case RTM_DELROUTE:
                return parse_route(message, event);
        case RTM_NEWNETCONF:
                return parse_switches(message, event);
        default:
                return 0;
        }
}

int rtnl_event_join(NlSocket *sock) {
        static const unsigned int groups[] = {
                RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR,  RTNLGRP_IPV6_IFADDR,  RTNLGRP_IPV4_ROUTE,
                RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF,
        };
        int r = 0;

        for (size_t i = 0; i < N_ELEMENTS(groups) && r == 0; i++)
                r = nl_socket_join(sock, groups[i]);
        return r;
}
