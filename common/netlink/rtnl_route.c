/* SPDX-License-Identifier: Apache-2.0 */

#include "common/netlink/rtnl_route.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

static void put_metrics(NlBatch *batch, struct nl_msg *message, const Route *route) {
        struct nlattr *metrics;

        if (route->mtu_bytes == 0 && route->advmss == 0)
                return;
        metrics = nla_nest_start(message, RTA_METRICS);
        if (!metrics) {
                nl_batch_put(batch, -1);
                return;
        }
        if (route->mtu_bytes)
                nl_batch_put(batch, nla_put_u32(message, RTAX_MTU, route->mtu_bytes));
        if (route->advmss)
                nl_batch_put(batch, nla_put_u32(message, RTAX_ADVMSS, route->advmss));
        (void)nla_nest_end(message, metrics);
}

static void route_request(NlBatch *batch, uint16_t type, uint16_t flags, const Route *route) {
        struct rtmsg header = {
                .rtm_family = route->family,
                .rtm_dst_len = route->prefix,
                .rtm_table =
                        route->table && route->table < 256 ? (uint8_t)route->table : RT_TABLE_MAIN,
                .rtm_protocol = route->protocol ? route->protocol : RTPROT_BOOT,
                .rtm_scope = route->scope,
                .rtm_type = route->type ? route->type : RTN_UNICAST,
                .rtm_flags = route->onlink ? RTNH_F_ONLINK : 0,
        };
        int size = (int)addr_size(route->family);
        struct nl_msg *message = nl_batch_add(batch, type, flags, &header, sizeof(header), 160);

        if (!message)
                return;
        if (route->prefix > 0)
                nl_batch_put(batch, nla_put(message, RTA_DST, size, route->destination));
        if (route->has_gateway)
                nl_batch_put(batch, nla_put(message, RTA_GATEWAY, size, route->gateway));
        if (route->has_source)
                nl_batch_put(batch, nla_put(message, RTA_PREFSRC, size, route->source));
        if (route->index)
                nl_batch_put(batch, nla_put_u32(message, RTA_OIF, route->index));
        if (route->priority)
                nl_batch_put(batch, nla_put_u32(message, RTA_PRIORITY, route->priority));
        if (route->table >= 256)
                nl_batch_put(batch, nla_put_u32(message, RTA_TABLE, route->table));
        put_metrics(batch, message, route);
}

void route_add(NlBatch *batch, const Route *route) {
        /* Without NLM_F_APPEND a later route of the same metric comes first, as upstream's. */
        uint16_t mode = route->replace ? NLM_F_REPLACE : route->exclusive ? NLM_F_EXCL : 0;

        route_request(batch, RTM_NEWROUTE, (uint16_t)(NLM_F_CREATE | mode), route);
}

static int copy_address(const struct nlattr *attr, uint8_t family, uint8_t *bytes) {
        if ((size_t)nla_len(attr) != addr_size(family))
                return -EBADMSG;
        memcpy(bytes, nla_data(attr), (size_t)nla_len(attr));
        return 0;
}

static int parse_addresses(const struct nlattr *const *table, Route *route) {
        int r = 0;

        if (table[RTA_DST])
                r = copy_address(table[RTA_DST], route->family, route->destination);
        if (r == 0 && table[RTA_GATEWAY]) {
                r = copy_address(table[RTA_GATEWAY], route->family, route->gateway);
                route->has_gateway = true;
        }
        if (r == 0 && table[RTA_PREFSRC]) {
                r = copy_address(table[RTA_PREFSRC], route->family, route->source);
                route->has_source = true;
        }
        return r;
}

int route_parse(const struct nlmsghdr *message, Route *route) {
        const struct nlattr *table[RTA_MAX + 1] = {0};
        const struct nlattr *metrics[RTAX_MAX + 1] = {0};
        struct rtmsg header;
        int r;

        if (message->nlmsg_type != RTM_NEWROUTE)
                return -EBADMSG;
        r = nl_attributes(message, sizeof(header), table, N_ELEMENTS(table));
        if (r < 0)
                return r;
        memcpy(&header, nl_payload(message), sizeof(header));
        if (header.rtm_family != AF_INET && header.rtm_family != AF_INET6)
                return -EBADMSG;
        r = nl_nested(table[RTA_METRICS], metrics, N_ELEMENTS(metrics));
        if (r < 0)
                return r;
        *route = (Route){
                .family = header.rtm_family,
                .prefix = header.rtm_dst_len,
                .scope = header.rtm_scope,
                .protocol = header.rtm_protocol,
                .type = header.rtm_type,
                .onlink = (header.rtm_flags & RTNH_F_ONLINK) != 0,
                .index = nl_get_u32(table[RTA_OIF], 0),
                .table = nl_get_u32(table[RTA_TABLE], header.rtm_table),
                .priority = nl_get_u32(table[RTA_PRIORITY], 0),
                .mtu_bytes = nl_get_u32(metrics[RTAX_MTU], 0),
                .advmss = nl_get_u32(metrics[RTAX_ADVMSS], 0),
        };
        return parse_addresses(table, route);
}

void route_get(NlBatch *batch, uint8_t family, const uint8_t *host) {
        int size = (int)addr_size(family);
        struct rtmsg header = {.rtm_family = family, .rtm_dst_len = (uint8_t)(size * 8)};
        struct nl_msg *message = nl_batch_add(batch, RTM_GETROUTE, 0, &header, sizeof(header), 32);

        if (message)
                nl_batch_put(batch, nla_put(message, RTA_DST, size, host));
}

void route_get_from(NlBatch *batch, uint8_t family, const uint8_t *host, const uint8_t *source,
                    unsigned int in) {
        int size = (int)addr_size(family);
        struct rtmsg header = {.rtm_family = family,
                               .rtm_dst_len = (uint8_t)(size * 8),
                               .rtm_src_len = source ? (uint8_t)(size * 8) : 0,
                               .rtm_flags = RTM_F_FIB_MATCH};
        struct nl_msg *message = nl_batch_add(batch, RTM_GETROUTE, 0, &header, sizeof(header), 64);

        if (!message)
                return;
        nl_batch_put(batch, nla_put(message, RTA_DST, size, host));
        if (source)
                nl_batch_put(batch, nla_put(message, RTA_SRC, size, source));
        if (in)
                nl_batch_put(batch, nla_put_u32(message, RTA_IIF, in));
}

typedef struct RouteWalk {
        RouteEach each;
        void *userdata;
        Route *routes; /* owned */
        size_t n, n_allocated;
} RouteWalk;

static int walk_add(const Route *route, void *userdata) {
        RouteWalk *walk = userdata;

        if (walk->n == walk->n_allocated) {
                size_t n = walk->n_allocated ? walk->n_allocated * 2 : 16;
                Route *routes = reallocarray(walk->routes, n, sizeof(*routes));

                if (!routes)
                        return -ENOMEM;
                walk->routes = routes;
                walk->n_allocated = n;
        }
        walk->routes[walk->n++] = *route;
        return 0;
}

/* @route: what the next hops have in common. */
static int each_hop(const Route *route, const struct nlattr *hops, RouteEach each, void *userdata) {
        const uint8_t *at = nla_data(hops);
        size_t left = (size_t)nla_len(hops);
        int r = 0;

        while (r == 0 && left >= sizeof(struct rtnexthop)) {
                const struct nlattr *table[RTA_MAX + 1] = {0};
                struct rtnexthop hop;
                Route one = *route;
                size_t step;

                memcpy(&hop, at, sizeof(hop));
                if (hop.rtnh_len < sizeof(hop) || hop.rtnh_len > left)
                        return -EBADMSG;
                one.index = (unsigned int)hop.rtnh_ifindex;
                one.onlink = (hop.rtnh_flags & RTNH_F_ONLINK) != 0;
                r = nl_attributes_in(at + sizeof(hop), hop.rtnh_len - sizeof(hop), table,
                                     N_ELEMENTS(table));
                if (r == 0 && table[RTA_GATEWAY]) {
                        r = copy_address(table[RTA_GATEWAY], one.family, one.gateway);
                        one.has_gateway = true;
                }
                r = r < 0 ? r : each(&one, userdata);
                step = ((size_t)hop.rtnh_len + 3) & ~(size_t)3; /* RTNH_ALIGN() */
                at += step;
                left = step < left ? left - step : 0;
        }
        return r;
}

int route_each_hop(const struct nlmsghdr *message, RouteEach each, void *userdata) {
        const struct nlattr *table[RTA_MAX + 1] = {0};
        Route route;
        int r = route_parse(message, &route);

        r = r < 0 ? r : nl_attributes(message, sizeof(struct rtmsg), table, N_ELEMENTS(table));
        if (r < 0)
                return r;
        return table[RTA_MULTIPATH] ? each_hop(&route, table[RTA_MULTIPATH], each, userdata)
                                    : each(&route, userdata);
}

static int walk_reply(size_t index, const struct nlmsghdr *reply, void *userdata) {
        RouteWalk *walk = userdata;

        if (reply)
                return route_each_hop(reply, walk_add, walk);
        walk->n = 0;
        return 0;
}

int route_dump(NlSocket *sock, uint8_t family, RouteEach each, void *userdata) {
        struct rtmsg header = {.rtm_family = family};
        RouteWalk walk = {.each = each, .userdata = userdata};
        struct nl_msg *message;
        int r;

        message = nl_message_new(RTM_GETROUTE, 0, &header, sizeof(header), 0);
        if (!message)
                return -ENOMEM;
        r = nl_socket_dump(sock, RTM_GETROUTE, message, walk_reply, &walk);
        nlmsg_free(message);
        for (size_t i = 0; r >= 0 && i < walk.n; i++)
                r = each(&walk.routes[i], userdata);
        free(walk.routes);
        return r < 0 ? r : 0;
}

static void netconf_get(NlBatch *batch, uint8_t family, int32_t index) {
        struct netconfmsg header = {.ncm_family = family};
        struct nl_msg *message =
                nl_batch_add(batch, RTM_GETNETCONF, 0, &header, sizeof(header), 16);

        if (message)
                nl_batch_put(batch, nla_put(message, NETCONFA_IFINDEX, sizeof(index), &index));
}

void forwarding_get(NlBatch *batch, uint8_t family) {
        netconf_get(batch, family, NETCONFA_IFINDEX_ALL);
}

void forwarding_get_default(NlBatch *batch, uint8_t family) {
        netconf_get(batch, family, NETCONFA_IFINDEX_DEFAULT);
}

int forwarding_parse(const struct nlmsghdr *message) {
        const struct nlattr *table[NETCONFA_MAX + 1] = {0};
        int r;

        if (message->nlmsg_type != RTM_NEWNETCONF)
                return -EBADMSG;
        r = nl_attributes(message, sizeof(struct netconfmsg), table, N_ELEMENTS(table));
        if (r < 0)
                return r;
        if (!table[NETCONFA_FORWARDING])
                return -EBADMSG;
        return nl_get_u32(table[NETCONFA_FORWARDING], 0) != 0;
}
