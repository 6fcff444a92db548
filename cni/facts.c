/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/facts.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <sys/socket.h>

/* Which message of the first batch asked what. */
enum {
        ASK_FORWARDING_V4,
        ASK_FORWARDING_V6,
        ASK_BRIDGE,
        ASK_VLAN,
};

static int first_reply(size_t index, const struct nlmsghdr *reply, void *userdata) {
        HostFacts *facts = userdata;

        switch (index) {
        case ASK_FORWARDING_V4:
                facts->forwards_v4 = forwarding_parse(reply) == 1;
                return 0;
        case ASK_FORWARDING_V6:
                facts->forwards_v6 = forwarding_parse(reply) == 1;
                return 0;
        case ASK_BRIDGE:
                facts->has_bridge = true;
                return link_parse(reply, &facts->bridge);
        case ASK_VLAN:
                facts->has_vlan_link = true;
                return link_parse(reply, &facts->vlan_link);
        default:
                return 0;
        }
}

/* Absent links are facts; so is a kernel without IPv6. */
static int first_judge(const NlBatch *batch, int r) {
        if (r == 0)
                return 0;
        for (size_t i = 0; i < batch->n; i++)
                if (batch->results[i] < 0 && batch->results[i] != -ENODEV && i > ASK_FORWARDING_V6)
                        return batch->results[i];
        return batch->failed < batch->n ? 0 : r;
}

static int read_links(NlSocket *rtnl, const NetConf *conf, HostFacts *facts, Error *err) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        char vlan[IFNAMSIZ];
        int r;

        forwarding_get(&batch, AF_INET);
        forwarding_get(&batch, AF_INET6);
        if (conf->role != ROLE_PTP) {
                link_get(&batch, 0, conf->link.bridge);
                if (conf->link.vlan && conf->link.is_gateway) {
                        r = plan_vlan_name(&conf->link, vlan, err);
                        if (r < 0)
                                return r;
                        link_get(&batch, 0, vlan);
                }
        }
        r = first_judge(&batch, nl_batch_run(rtnl, &batch, first_reply, facts));
        return r < 0 ? error_set_errno(err, r, "read links: %s", rtnl->text) : 0;
}

static int read_addresses(NlSocket *rtnl, const NetConf *conf, HostFacts *facts, Error *err) {
        unsigned int index = 0;
        int r;

        if (!conf->link.is_gateway || conf->role == ROLE_PTP)
                return 0;
        if (conf->link.vlan)
                index = facts->has_vlan_link ? facts->vlan_link.index : 0;
        else
                index = facts->has_bridge ? facts->bridge.index : 0;
        if (index == 0)
                return 0;
        r = addr_list(rtnl, index, 0, facts->addresses, N_ELEMENTS(facts->addresses),
                      &facts->n_addresses);
        if (r == -ENODEV)
                return 0;
        if (facts->n_addresses > N_ELEMENTS(facts->addresses))
                facts->n_addresses = N_ELEMENTS(facts->addresses);
        return r < 0 ? error_set_errno(err, r, "read addresses of %s: %s", conf->link.bridge,
                                       rtnl->text)
                     : 0;
}

typedef struct Uplink {
        Route routes[2];
        bool found[2];
} Uplink;

static int uplink_reply(size_t index, const struct nlmsghdr *reply, void *userdata) {
        Uplink *uplink = userdata;

        if (index < N_ELEMENTS(uplink->routes))
                uplink->found[index] = route_parse(reply, &uplink->routes[index]) == 0;
        return 0;
}

static void take_smaller(uint32_t *mtup, uint32_t mtu) {
        if (mtu && (*mtup == 0 || mtu < *mtup))
                *mtup = mtu;
}

/*
 * The way to the world: what the kernel would do with a packet to a well-known public address. Its
 * link's MTU is what is left after that link's own encapsulation (a tunnel device has taken its
 * headers off already), and a route may promise less. Nothing is sent.
 */
static void read_uplink(NlSocket *rtnl, HostFacts *facts) {
        static const uint8_t world_v4[4] = {1, 1, 1, 1};
        static const uint8_t world_v6[16] = {0x26, 0x06, 0x47, 0x00, 0x47, 0, 0,    0,
                                             0,    0,    0,    0,    0,    0, 0x11, 0x11};
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        Uplink uplink = {0};

        route_get(&batch, AF_INET, world_v4);
        route_get(&batch, AF_INET6, world_v6);
        (void)nl_batch_run(rtnl, &batch, uplink_reply, &uplink);
        for (size_t i = 0; i < N_ELEMENTS(uplink.routes); i++) {
                const Route *route = &uplink.routes[i];
                Link link;

                if (!uplink.found[i] || route->type != RTN_UNICAST || route->index == 0 ||
                    link_find(rtnl, route->index, NULL, &link) < 0)
                        continue;
                take_smaller(&facts->uplink_mtu_bytes, link.mtu_bytes);
                take_smaller(&facts->uplink_mtu_bytes, route->mtu_bytes);
        }
}

int host_facts_read(NlSocket *rtnl, const NetConf *conf, HostFacts *facts, Error *err) {
        int r = read_links(rtnl, conf, facts, err);

        r = r < 0 ? r : read_addresses(rtnl, conf, facts, err);
        if (r == 0 && conf->link.mtu_bytes == 0 && !facts->has_bridge)
                read_uplink(rtnl, facts);
        return r;
}
