/* SPDX-License-Identifier: Apache-2.0 */

/* What the kernel tells of links. */

#include "common/netlink/rtnl_link.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/rtnetlink.h>
#include <string.h>

#define BRPORT_ISOLATED 33 /* see rtnl_link.c */
#define BRPORT_MAX      64

static int parse_port(const struct nlattr *data, Link *link) {
        const struct nlattr *table[BRPORT_MAX] = {0};
        int r = nl_nested(data, table, N_ELEMENTS(table));

        if (r < 0)
                return r;
        link->has_port = true;
        link->hairpin = nl_get_u8(table[IFLA_BRPORT_MODE], 0) != 0;
        link->isolated = nl_get_u8(table[BRPORT_ISOLATED], 0) != 0;
        link->port_state = nl_get_u8(table[IFLA_BRPORT_STATE], 0);
        return 0;
}

static int parse_info(const struct nlattr *info, Link *link) {
        const struct nlattr *table[IFLA_INFO_MAX + 1] = {0};
        const struct nlattr *bridge[IFLA_BR_VLAN_FILTERING + 1] = {0};
        char slave[LINK_KIND_MAX];
        int r = nl_nested(info, table, N_ELEMENTS(table));

        if (r < 0)
                return r;
        nl_get_text(table[IFLA_INFO_KIND], link->kind, sizeof(link->kind));
        if (str_equal(link->kind, "bridge")) {
                r = nl_nested(table[IFLA_INFO_DATA], bridge, N_ELEMENTS(bridge));
                if (r < 0)
                        return r;
                link->vlan_filtering = nl_get_u8(bridge[IFLA_BR_VLAN_FILTERING], 0) != 0;
        }
        nl_get_text(table[IFLA_INFO_SLAVE_KIND], slave, sizeof(slave));
        if (str_equal(slave, "bridge"))
                return parse_port(table[IFLA_INFO_SLAVE_DATA], link);
        return 0;
}

/* @value: of a kernel that does not tell it. */
static int32_t conf_value(const struct nlattr *conf, size_t i, int32_t value) {
        if ((size_t)nla_len(conf) >= (i + 1) * sizeof(value))
                memcpy(&value, (const uint8_t *)nla_data(conf) + i * sizeof(value), sizeof(value));
        return value;
}

/* The switches of the link, arrays by IPV4_DEVCONF_* from 1 on, and by DEVCONF_*. */
static int parse_families(const struct nlattr *families, Link *link) {
        const struct nlattr *table[AF_INET6 + 1] = {0};
        const struct nlattr *inet[IFLA_INET_MAX + 1] = {0};
        const struct nlattr *inet6[IFLA_INET6_MAX + 1] = {0};
        int r = nl_nested(families, table, N_ELEMENTS(table));

        r = r < 0 ? r : nl_nested(table[AF_INET], inet, N_ELEMENTS(inet));
        if (r == 0 && inet[IFLA_INET_CONF])
                link->keeps_v4 =
                        conf_value(inet[IFLA_INET_CONF], IPV4_DEVCONF_FORWARDING - 1, 1) == 0;
        r = r < 0 ? r : nl_nested(table[AF_INET6], inet6, N_ELEMENTS(inet6));
        if (r < 0 || !inet6[IFLA_INET6_CONF])
                return r;
        link->has_inet6 = true;
        link->accept_ra = conf_value(inet6[IFLA_INET6_CONF], DEVCONF_ACCEPT_RA, 0);
        link->accept_dad = conf_value(inet6[IFLA_INET6_CONF], DEVCONF_ACCEPT_DAD, 0);
        link->inet6_is_off = conf_value(inet6[IFLA_INET6_CONF], DEVCONF_DISABLE_IPV6, 0) != 0;
        link->keeps_v6 = conf_value(inet6[IFLA_INET6_CONF], DEVCONF_FORWARDING, 1) == 0;
        return 0;
}

int link_parse(const struct nlmsghdr *message, Link *link) {
        const struct nlattr *table[IFLA_MAX + 1] = {0};
        const struct nlattr *mac;
        struct ifinfomsg info;
        int r;

        if (message->nlmsg_type != RTM_NEWLINK)
                return -EBADMSG;
        r = nl_attributes(message, sizeof(info), table, N_ELEMENTS(table));
        if (r < 0)
                return r;
        memcpy(&info, nl_payload(message), sizeof(info));
        *link = (Link){
                .index = (unsigned int)info.ifi_index,
                .flags = info.ifi_flags,
                .mtu_bytes = nl_get_u32(table[IFLA_MTU], 0),
                .gso_max_bytes = nl_get_u32(table[IFLA_GSO_MAX_SIZE], 0),
                .txqlen = nl_get_u32(table[IFLA_TXQLEN], 0),
                .group = nl_get_u32(table[IFLA_GROUP], 0),
                .master = nl_get_u32(table[IFLA_MASTER], 0),
                .peer = nl_get_u32(table[IFLA_LINK], 0),
                .peer_netnsid = (int32_t)nl_get_u32(table[IFLA_LINK_NETNSID], UINT32_MAX),
                .operstate = nl_get_u8(table[IFLA_OPERSTATE], 0),
                .n_promiscuous = nl_get_u32(table[IFLA_PROMISCUITY], 0),
        };
        nl_get_text(table[IFLA_IFNAME], link->name, sizeof(link->name));
        nl_get_text(table[IFLA_IFALIAS], link->alias, sizeof(link->alias));
        mac = table[IFLA_ADDRESS];
        if (mac && nla_len(mac) == LINK_MAC_SIZE) {
                memcpy(link->mac, nla_data(mac), LINK_MAC_SIZE);
                link->has_mac = true;
        }
        r = parse_families(table[IFLA_AF_SPEC], link);
        return r < 0 ? r : parse_info(table[IFLA_LINKINFO], link);
}

static int find_reply(size_t index, const struct nlmsghdr *reply, void *userdata) {
        return link_parse(reply, userdata);
}

int link_find(NlSocket *sock, unsigned int index, const char *name, Link *link) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        Link found = {0};
        int r;

        link_get(&batch, index, name);
        r = nl_batch_run(sock, &batch, find_reply, &found);
        if (r < 0)
                return r;
        if (found.index == 0)
                return -ENODATA;
        *link = found;
        return 0;
}

int link_find_in(NlSocket *sock, int32_t netnsid, unsigned int index, Link *link) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        Link found = {0};
        int r;

        link_get_in(&batch, netnsid, index);
        r = nl_batch_run(sock, &batch, find_reply, &found);
        if (r < 0)
                return r;
        *link = found;
        return found.index == 0 ? -ENODATA : 0;
}

typedef struct Gathered {
        Link *links; /* owned */
        size_t n, n_allocated;
        const char *kind;
} Gathered;

static void gathered_deinit(Gathered *gathered) {
        free(gathered->links);
}

static int gather(size_t index, const struct nlmsghdr *reply, void *userdata) {
        Gathered *gathered = userdata;
        Link link;
        int r;

        if (!reply) {
                gathered->n = 0;
                return 0;
        }
        r = link_parse(reply, &link);
        if (r < 0)
                return r;
        /* A kernel that does not know the kind's module ignores the filter. */
        if (gathered->kind && !str_equal(gathered->kind, link.kind))
                return 0;
        if (gathered->n == gathered->n_allocated) {
                size_t n = gathered->n_allocated ? gathered->n_allocated * 2 : 16;
                Link *links = reallocarray(gathered->links, n, sizeof(*links));

                if (!links)
                        return -ENOMEM;
                gathered->links = links;
                gathered->n_allocated = n;
        }
        gathered->links[gathered->n++] = link;
        return 0;
}

static int dump_request(const char *kind, unsigned int master, struct nl_msg **messagep) {
        struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
        struct nl_msg *message;
        struct nlattr *link_info;
        int r = 0;

        message = nl_message_new(RTM_GETLINK, 0, &info, sizeof(info), 64);
        if (!message)
                return -ENOMEM;
        r |= nla_put_u32(message, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        if (master)
                r |= nla_put_u32(message, IFLA_MASTER, master);
        if (kind) {
                link_info = nla_nest_start(message, IFLA_LINKINFO);
                r |= link_info ? nla_put_string(message, IFLA_INFO_KIND, kind) : -1;
                if (link_info)
                        (void)nla_nest_end(message, link_info);
        }
        if (r < 0) {
                nlmsg_free(message);
                return -EMSGSIZE;
        }
        *messagep = message;
        return 0;
}

int link_dump(NlSocket *sock, const char *kind, unsigned int master, LinkEach each,
              void *userdata) {
        cleanup(gathered_deinit) Gathered gathered = {.kind = kind};
        struct nl_msg *message;
        int r;

        r = dump_request(kind, master, &message);
        if (r < 0)
                return r;
        r = nl_socket_dump(sock, RTM_GETLINK, message, gather, &gathered);
        nlmsg_free(message);
        for (size_t i = 0; r >= 0 && i < gathered.n; i++)
                r = each(&gathered.links[i], userdata);
        return r < 0 ? r : 0;
}
