/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/link/host.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Which message of the first batch asked what. */
enum {
        ASK_FORWARDING_V4,
        ASK_FORWARDING_V6,
        ASK_DEFAULT_V4,
        ASK_DEFAULT_V6,
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
        case ASK_DEFAULT_V4:
                facts->new_keeps_v4 = forwarding_parse(reply) == 0;
                return 0;
        case ASK_DEFAULT_V6:
                facts->new_keeps_v6 = forwarding_parse(reply) == 0;
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
                if (batch->results[i] < 0 && batch->results[i] != -ENODEV && i >= ASK_BRIDGE)
                        return batch->results[i];
        return batch->failed < batch->n ? 0 : r;
}

static int read_links(NlSocket *rtnl, const NetConf *conf, HostFacts *facts, Error *err) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        char vlan[IFNAMSIZ];
        int r;

        forwarding_get(&batch, AF_INET);
        forwarding_get(&batch, AF_INET6);
        forwarding_get_default(&batch, AF_INET);
        forwarding_get_default(&batch, AF_INET6);
        if (!conf_is_pair(conf)) {
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

        if (!conf->link.is_gateway || conf_is_pair(conf))
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

/* --- the way out --------------------------------------------------------------------------- */

#define DESTINATIONS_MAX 8

/* A destination is asked about three times, and the first answer that leads out counts: as the
 * pod's packets are routed, rules for its subnet and all; as the host's, which needs no forwarding
 * nor passes a filter by source; and the plain way, for a kernel whose routes name their next hops
 * by number alone. */
enum {
        ASK_FROM_POD,
        ASK_FROM_HOST,
        ASK_PLAIN,
        N_ASK,
};

/* Paths of one route; of more the first ones count. */
#define PATHS_MAX 16

typedef struct Paths {
        const HostFacts *facts;
        unsigned int links[PATHS_MAX];
        size_t n;
        uint32_t mtu_bytes; /* the least that a route promises; 0: none does */
} Paths;

typedef struct Uplink {
        IpAddress destinations[DESTINATIONS_MAX];
        size_t n;
        Paths paths[DESTINATIONS_MAX][N_ASK];
} Uplink;

static void add_destination(Uplink *uplink, const IpAddress *address) {
        if (uplink->n < DESTINATIONS_MAX)
                uplink->destinations[uplink->n++] = *address;
}

/* A well-known public address stands for the world. Nothing is sent. */
static void add_world(Uplink *uplink, uint8_t family) {
        static const uint8_t world_v4[4] = {1, 1, 1, 1};
        static const uint8_t world_v6[16] = {0x26, 0x06, 0x47, 0x00, 0x47, 0, 0,    0,
                                             0,    0,    0,    0,    0,    0, 0x11, 0x11};
        IpAddress world = {.family = family};

        memcpy(world.bytes, family == AF_INET ? world_v4 : world_v6, ip_size(&world));
        add_destination(uplink, &world);
}

/* Where the pod's routes lead to; a pod without any may be given some later. */
static void add_destinations(Uplink *uplink, const CniResult *result) {
        for (size_t i = 0; i < result->n_routes; i++) {
                const IpPrefix *to = &result->routes[i].destination;
                IpAddress first = ip_prefix_first(to);

                if (ip_is_zero(&first)) {
                        add_world(uplink, first.family);
                        continue;
                }
                if (to->length < ip_size(&first) * 8)
                        (void)ip_next(&first);
                add_destination(uplink, &first);
        }
        if (result->n_routes > 0)
                return;
        add_world(uplink, AF_INET);
        add_world(uplink, AF_INET6);
}

static void take_smaller(uint32_t *mtup, uint32_t mtu) {
        if (mtu && (*mtup == 0 || mtu < *mtup))
                *mtup = mtu;
}

/* Over several paths any packet may take any of them. */
static int take_path(const Route *route, void *userdata) {
        Paths *paths = userdata;
        const HostFacts *facts = paths->facts;
        bool is_bridge = facts->has_bridge && route->index == facts->bridge.index;

        if (route->type != RTN_UNICAST || route->index == 0 || is_bridge || paths->n == PATHS_MAX)
                return 0;
        paths->links[paths->n++] = route->index;
        take_smaller(&paths->mtu_bytes, route->mtu_bytes);
        return 0;
}

static int route_reply(size_t index, const struct nlmsghdr *reply, void *userdata) {
        Uplink *uplink = userdata;

        if (reply && index / N_ASK < uplink->n)
                (void)route_each_hop(reply, take_path,
                                     &uplink->paths[index / N_ASK][index % N_ASK]);
        return 0;
}

static int uplink_reply(size_t index, const struct nlmsghdr *reply, void *userdata) {
        HostFacts *facts = userdata;
        Link link;

        if (link_parse(reply, &link) < 0 || link.flags & IFF_LOOPBACK)
                return 0;
        take_smaller(&facts->uplink_mtu_bytes, link.mtu_bytes);
        if (link.keeps_v4 && facts->n_keeping < FACTS_UPLINKS_MAX)
                memcpy(facts->keeping[facts->n_keeping++], link.name, IFNAMSIZ);
        return 0;
}

/* NULL: it has none of the family. */
static const uint8_t *address_of(const CniResult *result, uint8_t family) {
        for (size_t i = 0; i < result->n_ips; i++)
                if (result->ips[i].address.address.family == family)
                        return result->ips[i].address.address.bytes;
        return NULL;
}

/* The loopback link, the first of each namespace, stands for a bridge that is to be made: rules for
 * a source are rules for any link. */
static void ask(NlBatch *batch, const IpAddress *to, const CniResult *result,
                const HostFacts *facts) {
        const uint8_t *source = address_of(result, to->family);
        unsigned int in = !source ? 0 : facts->has_bridge ? facts->bridge.index : 1;

        route_get_from(batch, to->family, to->bytes, source, in);
        route_get_from(batch, to->family, to->bytes, NULL, 0);
        route_get(batch, to->family, to->bytes);
}

static const Paths *choose_paths(const Uplink *uplink, size_t i) {
        for (size_t j = 0; j < N_ASK; j++)
                if (uplink->paths[i][j].n > 0)
                        return &uplink->paths[i][j];
        return NULL;
}

static void ask_links(NlBatch *batch, const Paths *paths) {
        for (size_t i = 0; i < paths->n && batch->n < NL_BATCH_MAX; i++)
                link_get(batch, paths->links[i], NULL);
}

/*
 * What the kernel would do with a packet to there. Its link's MTU is what is left after that link's
 * own encapsulation (a tunnel device has taken its headers off already), and a route may promise
 * less.
 */
static void read_uplink(NlSocket *rtnl, const CniResult *result, HostFacts *facts) {
        cleanup(nl_batch_deinit) NlBatch routes = {0}, links = {0};
        Uplink uplink = {.n = 0};

        add_destinations(&uplink, result);
        for (size_t i = 0; i < uplink.n; i++) {
                for (size_t j = 0; j < N_ASK; j++)
                        uplink.paths[i][j].facts = facts;
                ask(&routes, &uplink.destinations[i], result, facts);
        }
        (void)nl_batch_run(rtnl, &routes, route_reply, &uplink);
        for (size_t i = 0; i < uplink.n; i++) {
                const Paths *paths = choose_paths(&uplink, i);

                if (!paths)
                        continue;
                take_smaller(&facts->uplink_mtu_bytes, paths->mtu_bytes);
                ask_links(&links, paths);
        }
        (void)nl_batch_run(rtnl, &links, uplink_reply, facts);
}

/* --- who listens to routers ---------------------------------------------------------------- */

typedef struct Advertised {
        HostFacts *facts;
        unsigned int indices[FACTS_UPLINKS_MAX]; /* links with a route by advertisement */
        size_t n;
} Advertised;

static int advertised_route(const Route *route, void *userdata) {
        Advertised *advertised = userdata;

        if (route->protocol == RTPROT_RA && advertised->n < FACTS_UPLINKS_MAX)
                advertised->indices[advertised->n++] = route->index;
        return 0;
}

/* Hardware may hear its first advertisement later. Other links may lead to somebody's pods, who
 * must not become our router: only those who have a route already. */
static int advertised_link(const Link *link, void *userdata) {
        Advertised *advertised = userdata;
        HostFacts *facts = advertised->facts;
        bool listens = link->kind[0] == '\0' && !(link->flags & IFF_LOOPBACK);

        for (size_t i = 0; i < advertised->n; i++)
                listens = listens || advertised->indices[i] == link->index;
        if (!listens || link->accept_ra != 1 || facts->n_advertised == FACTS_UPLINKS_MAX)
                return 0;
        memcpy(facts->advertised[facts->n_advertised++], link->name, IFNAMSIZ);
        return 0;
}

static int read_advertised(NlSocket *rtnl, HostFacts *facts, Error *err) {
        Advertised advertised = {.facts = facts};
        int r = route_dump(rtnl, AF_INET6, advertised_route, &advertised);

        r = r < 0 ? r : link_dump(rtnl, NULL, 0, advertised_link, &advertised);
        return r < 0 ? error_set_errno(err, r, "list links: %s", rtnl->text) : 0;
}

static bool will_forward_v6(const NetConf *conf, const CniResult *result) {
        bool has_v6 = false;

        for (size_t i = 0; i < result->n_ips; i++)
                has_v6 = has_v6 || result->ips[i].address.address.family == AF_INET6;
        return has_v6 && (conf_is_pair(conf) || conf->link.is_gateway);
}

int uplink_facts_read(NlSocket *rtnl, const NetConf *conf, const CniResult *result, bool whole,
                      HostFacts *facts, Error *err) {
        if (conf->link.mtu_bytes == 0 || whole)
                read_uplink(rtnl, result, facts);
        if (facts->forwards_v6 || !will_forward_v6(conf, result))
                return 0;
        return read_advertised(rtnl, facts, err);
}

int host_facts_read(NlSocket *rtnl, const NetConf *conf, HostFacts *facts, Error *err) {
        int r = read_links(rtnl, conf, facts, err);

        return r < 0 ? r : read_addresses(rtnl, conf, facts, err);
}
