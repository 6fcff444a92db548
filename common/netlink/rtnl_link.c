/* SPDX-License-Identifier: Apache-2.0 */

/* Requests about links. Reading is in rtnl_link_parse.c. */

#include "common/netlink/rtnl_link.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>

/* Every request below fits: two names, an alias, two addresses and a dozen numbers. */
#define ROOM 768

/* include/uapi/linux/if_link.h has it since 4.18 (port isolation). */
#define BRPORT_ISOLATED 33

/* The same, since 5.19 and 6.3. */
#define LINK_GRO_MAX_SIZE      58
#define LINK_GSO_IPV4_MAX_SIZE 63
#define LINK_GRO_IPV4_MAX_SIZE 64

static struct nl_msg *start(NlBatch *batch, uint16_t type, uint16_t flags,
                            const struct ifinfomsg *info) {
        return nl_batch_add(batch, type, flags, info, sizeof(*info), ROOM);
}

static void put(NlBatch *batch, struct nl_msg *message, int type, const void *data, size_t n) {
        nl_batch_put(batch, nla_put(message, type, (int)n, data));
}

static void put_u32(NlBatch *batch, struct nl_msg *message, int type, uint32_t value) {
        nl_batch_put(batch, nla_put_u32(message, type, value));
}

static void put_u8(NlBatch *batch, struct nl_msg *message, int type, uint8_t value) {
        nl_batch_put(batch, nla_put_u8(message, type, value));
}

static void put_text(NlBatch *batch, struct nl_msg *message, int type, const char *text) {
        nl_batch_put(batch, nla_put_string(message, type, text));
}

static struct nlattr *nest(NlBatch *batch, struct nl_msg *message, int type) {
        struct nlattr *attr = nla_nest_start(message, type);

        if (!attr)
                nl_batch_put(batch, -1);
        return attr;
}

static void nest_end(struct nl_msg *message, struct nlattr *attr) {
        if (attr)
                (void)nla_nest_end(message, attr);
}

void link_get(NlBatch *batch, unsigned int index, const char *name) {
        struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = (int)index};
        struct nl_msg *message = start(batch, RTM_GETLINK, 0, &info);

        if (!message)
                return;
        if (index == 0)
                put_text(batch, message, IFLA_IFNAME, name);
        put_u32(batch, message, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

void link_get_in(NlBatch *batch, int32_t netnsid, unsigned int index) {
        struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = (int)index};
        struct nl_msg *message = start(batch, RTM_GETLINK, 0, &info);

        if (!message)
                return;
        put_u32(batch, message, IFLA_TARGET_NETNSID, (uint32_t)netnsid);
        put_u32(batch, message, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

bool link_may_be_there(const char *name) {
        return if_nametoindex(name) != 0 || errno != ENODEV;
}

void link_add_bridge(NlBatch *batch, const BridgeSpec *spec) {
        struct ifinfomsg info = {
                .ifi_family = AF_UNSPEC,
                .ifi_flags = spec->up ? IFF_UP : 0,
                .ifi_change = spec->up ? IFF_UP : 0,
        };
        struct nl_msg *message = start(batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info);
        struct nlattr *link_info, *data;

        if (!message)
                return;
        put_text(batch, message, IFLA_IFNAME, spec->name);
        if (spec->mac)
                put(batch, message, IFLA_ADDRESS, spec->mac, LINK_MAC_SIZE);
        link_info = nest(batch, message, IFLA_LINKINFO);
        put_text(batch, message, IFLA_INFO_KIND, "bridge");
        if (spec->vlan_filtering) {
                data = nest(batch, message, IFLA_INFO_DATA);
                put_u8(batch, message, IFLA_BR_VLAN_FILTERING, 1);
                nest_end(message, data);
        }
        nest_end(message, link_info);
}

static void put_queues(NlBatch *batch, struct nl_msg *message, uint32_t n_queues) {
        if (n_queues == 0)
                return;
        put_u32(batch, message, IFLA_NUM_TX_QUEUES, n_queues);
        put_u32(batch, message, IFLA_NUM_RX_QUEUES, n_queues);
}

static void put_veth_peer(NlBatch *batch, struct nl_msg *message, const VethSpec *spec) {
        struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
        struct nlattr *peer = nest(batch, message, VETH_INFO_PEER);
        void *at = nlmsg_reserve(message, sizeof(info), NLMSG_ALIGNTO);

        if (!peer || !at) {
                nl_batch_put(batch, -1);
                return;
        }
        memcpy(at, &info, sizeof(info));
        put_text(batch, message, IFLA_IFNAME, spec->peer_name);
        if (spec->peer_mac)
                put(batch, message, IFLA_ADDRESS, spec->peer_mac, LINK_MAC_SIZE);
        if (spec->mtu_bytes)
                put_u32(batch, message, IFLA_MTU, spec->mtu_bytes);
        if (spec->peer_netns_fd >= 0)
                put_u32(batch, message, IFLA_NET_NS_FD, (uint32_t)spec->peer_netns_fd);
        put_queues(batch, message, spec->n_queues);
        nest_end(message, peer);
}

void link_add_veth(NlBatch *batch, const VethSpec *spec) {
        struct ifinfomsg info = {
                .ifi_family = AF_UNSPEC,
                .ifi_flags = spec->up ? IFF_UP : 0,
                .ifi_change = spec->up ? IFF_UP : 0,
        };
        uint16_t flags = NLM_F_CREATE | NLM_F_EXCL;
        struct nlattr *link_info, *data;
        struct nl_msg *message;

        message =
                start(batch, RTM_NEWLINK, (uint16_t)(flags | (spec->echo ? NLM_F_ECHO : 0)), &info);
        if (!message)
                return;
        put_text(batch, message, IFLA_IFNAME, spec->name);
        if (spec->mac)
                put(batch, message, IFLA_ADDRESS, spec->mac, LINK_MAC_SIZE);
        if (spec->mtu_bytes)
                put_u32(batch, message, IFLA_MTU, spec->mtu_bytes);
        if (spec->master)
                put_u32(batch, message, IFLA_MASTER, spec->master);
        put_queues(batch, message, spec->n_queues);
        link_info = nest(batch, message, IFLA_LINKINFO);
        put_text(batch, message, IFLA_INFO_KIND, "veth");
        data = nest(batch, message, IFLA_INFO_DATA);
        put_veth_peer(batch, message, spec);
        nest_end(message, data);
        nest_end(message, link_info);
}

void link_add_ifb(NlBatch *batch, const IfbSpec *spec) {
        struct ifinfomsg info = {
                .ifi_family = AF_UNSPEC,
                .ifi_flags = spec->up ? IFF_UP : 0,
                .ifi_change = spec->up ? IFF_UP : 0,
        };
        uint16_t flags = NLM_F_CREATE | NLM_F_EXCL;
        struct nl_msg *message;
        struct nlattr *link_info;

        message =
                start(batch, RTM_NEWLINK, (uint16_t)(flags | (spec->echo ? NLM_F_ECHO : 0)), &info);
        if (!message)
                return;
        put_text(batch, message, IFLA_IFNAME, spec->name);
        if (spec->mtu_bytes)
                put_u32(batch, message, IFLA_MTU, spec->mtu_bytes);
        put_u32(batch, message, IFLA_TXQLEN, 0);
        put_queues(batch, message, 1);
        link_info = nest(batch, message, IFLA_LINKINFO);
        put_text(batch, message, IFLA_INFO_KIND, "ifb");
        nest_end(message, link_info);
}

static void flag_change(struct ifinfomsg *info, unsigned int flag, bool on) {
        info->ifi_change |= flag;
        if (on)
                info->ifi_flags |= flag;
}

static struct ifinfomsg change_header(const LinkChange *change) {
        struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = (int)change->index};

        if (change->set & LINK_SET_UP)
                flag_change(&info, IFF_UP, true);
        if (change->set & LINK_SET_DOWN)
                flag_change(&info, IFF_UP, false);
        if (change->set & LINK_SET_PROMISC)
                flag_change(&info, IFF_PROMISC, change->promisc);
        if (change->set & LINK_SET_ALLMULTI)
                flag_change(&info, IFF_ALLMULTI, change->allmulti);
        return info;
}

static void put_port(NlBatch *batch, struct nl_msg *message, const LinkChange *change) {
        struct nlattr *link_info = nest(batch, message, IFLA_LINKINFO), *data;

        put_text(batch, message, IFLA_INFO_SLAVE_KIND, "bridge");
        data = nest(batch, message, IFLA_INFO_SLAVE_DATA);
        if (change->set & LINK_SET_HAIRPIN)
                put_u8(batch, message, IFLA_BRPORT_MODE, change->hairpin);
        if (change->set & LINK_SET_ISOLATED)
                put_u8(batch, message, BRPORT_ISOLATED, change->isolated);
        nest_end(message, data);
        nest_end(message, link_info);
}

static void put_bridge(NlBatch *batch, struct nl_msg *message, const LinkChange *change) {
        struct nlattr *link_info = nest(batch, message, IFLA_LINKINFO), *data;

        put_text(batch, message, IFLA_INFO_KIND, "bridge");
        data = nest(batch, message, IFLA_INFO_DATA);
        put_u8(batch, message, IFLA_BR_VLAN_FILTERING, change->vlan_filtering);
        nest_end(message, data);
        nest_end(message, link_info);
}

static void put_families(NlBatch *batch, struct nl_msg *message, const LinkChange *change) {
        struct nlattr *spec = nest(batch, message, IFLA_AF_SPEC), *family, *conf;

        if (change->set & LINK_SET_ARP_NOTIFY) {
                family = nest(batch, message, AF_INET);
                conf = nest(batch, message, IFLA_INET_CONF);
                put_u32(batch, message, IPV4_DEVCONF_ARP_NOTIFY, change->arp_notify);
                nest_end(message, conf);
                nest_end(message, family);
        }
        if (change->set & LINK_SET_NO_LINKLOCAL) {
                family = nest(batch, message, AF_INET6);
                put_u8(batch, message, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
                nest_end(message, family);
        }
        nest_end(message, spec);
}

static void put_members(NlBatch *batch, struct nl_msg *message, const LinkChange *change) {
        static const int gso[] = {IFLA_GSO_MAX_SIZE, LINK_GRO_MAX_SIZE, LINK_GSO_IPV4_MAX_SIZE,
                                  LINK_GRO_IPV4_MAX_SIZE};

        if (change->index == 0)
                put_text(batch, message, IFLA_IFNAME, change->name);
        else if (change->set & LINK_SET_NAME)
                put_text(batch, message, IFLA_IFNAME, change->new_name);
        if (change->set & LINK_SET_MASTER)
                put_u32(batch, message, IFLA_MASTER, change->master);
        if (change->set & LINK_SET_MTU)
                put_u32(batch, message, IFLA_MTU, change->mtu_bytes);
        if (change->set & LINK_SET_TXQLEN)
                put_u32(batch, message, IFLA_TXQLEN, change->txqlen);
        if (change->set & LINK_SET_GROUP)
                put_u32(batch, message, IFLA_GROUP, change->group);
        for (size_t i = 0; change->set & LINK_SET_GSO && i < N_ELEMENTS(gso); i++)
                put_u32(batch, message, gso[i], change->gso_max_bytes);
        if (change->set & LINK_SET_MAC)
                put(batch, message, IFLA_ADDRESS, change->mac, LINK_MAC_SIZE);
        if (change->set & LINK_SET_ALIAS)
                put(batch, message, IFLA_IFALIAS, change->alias, strlen(change->alias));
        if (change->set & (LINK_SET_HAIRPIN | LINK_SET_ISOLATED))
                put_port(batch, message, change);
        if (change->set & LINK_SET_VLAN_FILTERING)
                put_bridge(batch, message, change);
        if (change->set & (LINK_SET_ARP_NOTIFY | LINK_SET_NO_LINKLOCAL))
                put_families(batch, message, change);
}

void link_set(NlBatch *batch, const LinkChange *change) {
        struct ifinfomsg info = change_header(change);
        struct nl_msg *message = start(batch, RTM_NEWLINK, 0, &info);

        if (message)
                put_members(batch, message, change);
}

void link_delete(NlBatch *batch, unsigned int index, const char *name) {
        struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = (int)index};
        struct nl_msg *message = start(batch, RTM_DELLINK, 0, &info);

        if (message && index == 0)
                put_text(batch, message, IFLA_IFNAME, name);
}

void link_delete_group(NlBatch *batch, uint32_t group) {
        struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
        struct nl_msg *message = start(batch, RTM_DELLINK, 0, &info);

        if (message)
                put_u32(batch, message, IFLA_GROUP, group);
}

static void vlan_request(NlBatch *batch, uint16_t type, const PortVlan *vlan) {
        struct ifinfomsg info = {.ifi_family = AF_BRIDGE, .ifi_index = (int)vlan->index};
        struct nl_msg *message = start(batch, type, 0, &info);
        uint16_t flags = (uint16_t)((vlan->pvid ? BRIDGE_VLAN_INFO_PVID : 0) |
                                    (vlan->untagged ? BRIDGE_VLAN_INFO_UNTAGGED : 0));
        struct bridge_vlan_info entry = {.flags = flags, .vid = vlan->first};
        struct nlattr *spec;

        if (!message)
                return;
        spec = nest(batch, message, IFLA_AF_SPEC);
        if (vlan->on_bridge)
                nl_batch_put(batch, nla_put_u16(message, IFLA_BRIDGE_FLAGS, BRIDGE_FLAGS_SELF));
        if (vlan->first != vlan->last) {
                entry.flags = flags | BRIDGE_VLAN_INFO_RANGE_BEGIN;
                put(batch, message, IFLA_BRIDGE_VLAN_INFO, &entry, sizeof(entry));
                entry.flags = flags | BRIDGE_VLAN_INFO_RANGE_END;
                entry.vid = vlan->last;
        }
        put(batch, message, IFLA_BRIDGE_VLAN_INFO, &entry, sizeof(entry));
        nest_end(message, spec);
}

void link_vlan_add(NlBatch *batch, const PortVlan *vlan) {
        vlan_request(batch, RTM_SETLINK, vlan);
}

void link_vlan_delete(NlBatch *batch, const PortVlan *vlan) {
        vlan_request(batch, RTM_DELLINK, vlan);
}
