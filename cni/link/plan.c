/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/link/plan.h"

#include "common/base/cleanup.h"
#include "common/base/sha256.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define IPV4_MTU_MIN 68
#define IPV6_MTU_MIN 1280

/* IP6_RT_PRIO_ADDRCONF of the kernel. */
#define ROUTE_PRIORITY_CONNECTED6 256

/* Of an Ethernet link that nobody has told otherwise. */
#define MTU_DEFAULT 1500

/* While a plan is being made: the first failure is kept, and later steps are dropped. */
typedef struct Maker {
        const PlanInput *input;
        const NetConf *conf;
        const LinkConf *link;
        const HostFacts *facts;
        Plan *plan;
        int failed;
        Error *err;
} Maker;

void plan_deinit(Plan *plan) {
        free(plan->steps);
        *plan = (Plan){0};
}

static PlanStep *step(Maker *maker, StepKind kind, StepLink link) {
        static PlanStep dropped;
        Plan *plan = maker->plan;

        if (maker->failed)
                return &dropped;
        if (plan->n_steps % 16 == 0) {
                PlanStep *steps = reallocarray(plan->steps, plan->n_steps + 16, sizeof(*steps));

                if (!steps || plan->n_steps >= PLAN_STEPS_MAX) {
                        plan->steps = steps ? steps : plan->steps;
                        maker->failed = error_set_errno(maker->err, ENOMEM, "plan");
                        return &dropped;
                }
                plan->steps = steps;
        }
        plan->steps[plan->n_steps] = (PlanStep){.kind = kind, .link = link};
        return &plan->steps[plan->n_steps++];
}

static PlanStep *link_set_step(Maker *maker, StepLink link, unsigned int set) {
        PlanStep *made = step(maker, STEP_LINK_SET, link);

        made->u.change.set = set;
        return made;
}

/* @name: of the link whose IPv6 switch @key is; NULL: @key is the whole path below /proc/sys. */
static PlanStep *sysctl_step(Maker *maker, StepLink link, const char *name, const char *key,
                             const char *value) {
        PlanStep *made = step(maker, STEP_SYSCTL, link);

        (void)snprintf(made->u.sysctl.path, sizeof(made->u.sysctl.path), "%s%s%s%s",
                       name ? "net/ipv6/conf/" : "", name ? name : "", name ? "/" : "", key);
        made->u.sysctl.value = value;
        return made;
}

static LinkAddress link_address(const IpAddress *ip, uint8_t length, bool dad) {
        LinkAddress address = {.family = ip->family, .prefix = length};

        memcpy(address.bytes, ip->bytes, sizeof(address.bytes));
        if (ip->family == AF_INET6) {
                address.flags = dad ? 0 : IFA_F_NODAD;
        } else if (length < 31) {
                IpPrefix prefix = {.address = *ip, .length = length};
                IpAddress last = ip_prefix_last(&prefix);

                memcpy(address.broadcast, last.bytes, sizeof(address.broadcast));
        }
        return address;
}

int plan_vlan_name(const LinkConf *link, char *name, Error *err) {
        char text[IFNAMSIZ + 8];
        int n = snprintf(text, sizeof(text), "%s.%u", link->bridge, (unsigned int)link->vlan);

        if (n >= IFNAMSIZ)
                return error_set(err, ERROR_INVALID,
                                 "the gateway of VLAN %u needs a link named \"%s\", longer than %d "
                                 "characters",
                                 (unsigned int)link->vlan, text, IFNAMSIZ - 1);
        memcpy(name, text, (size_t)n + 1);
        return 0;
}

/* --- gateways ------------------------------------------------------------------------------ */

static bool has_default_route(const CniResult *result, uint8_t family) {
        for (size_t i = 0; i < result->n_routes; i++) {
                const ResultRoute *route = &result->routes[i];

                if (route->destination.address.family == family && route->destination.length == 0 &&
                    ip_is_zero(&route->destination.address) && ip_is_set(&route->gateway))
                        return true;
        }
        return false;
}

int plan_gateways(const NetConf *conf, CniResult *result, Error *err) {
        /* ptp has no such keys: gateways and routes are IPAM's. */
        if (conf->role == ROLE_PTP)
                return 0;
        for (size_t i = 0; i < result->n_ips; i++) {
                ResultIp *ip = &result->ips[i];
                uint8_t family = ip->address.address.family;
                ResultRoute route = {
                        .destination = {.address = {.family = family}}, .table = -1, .scope = -1};
                int r;

                if (conf->link.routed) {
                        ip->gateway = conf_routed_gateway(family);
                } else if (!ip_is_set(&ip->gateway) && conf->link.is_gateway) {
                        ip->gateway = ip_prefix_first(&ip->address);
                        (void)ip_next(&ip->gateway);
                }
                if (!conf->link.is_default_gateway || has_default_route(result, family))
                        continue;
                route.gateway = ip->gateway;
                r = result_added(result_add_route(result, &route), err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static bool has_family(const CniResult *result, uint8_t family) {
        for (size_t i = 0; i < result->n_ips; i++)
                if (result->ips[i].address.address.family == family)
                        return true;
        return false;
}

/* --- the bridge ---------------------------------------------------------------------------- */

/*
 * Switches of a link of the host that leads to pods, whoever made it; @there: as it is, NULL: about
 * to be made. A pod must not become the host's router (CVE-2020-10749). And until a link-local
 * address is proven (1 to 2 s) the host asks for no neighbour on behalf of what it forwards, so a
 * pod would wait that long for its first answer. A host may have IPv6 off for links that come.
 */
static void plan_switches(Maker *maker, StepLink link, const char *name, const Link *there,
                          bool has_ipv6) {
        bool is_told = there && there->has_inet6;

        if (!is_told || there->accept_ra != 0)
                sysctl_step(maker, link, name, "accept_ra", "0")->optional = true;
        if (!is_told || there->accept_dad != 0)
                sysctl_step(maker, link, name, "accept_dad", "0")->optional = true;
        if (has_ipv6 && (!is_told || there->inet6_is_off))
                sysctl_step(maker, link, name, "disable_ipv6", "0")->optional = true;
}

/* A message of its own: only so the kernel takes it as somebody's will. */
static void plan_mtu(Maker *maker, StepLink link, const Link *there) {
        uint32_t mtu = maker->plan->mtu_bytes;

        if (mtu != 0 && (!there || there->mtu_bytes != mtu))
                link_set_step(maker, link, LINK_SET_MTU)->u.change.mtu_bytes = mtu;
}

/* What a link does not take, the host cuts before it, at several times the cost. An older kernel
 * keeps its 64 KiB. */
static void plan_gso(Maker *maker, StepLink link, const Link *there) {
        uint32_t gso = maker->link->gso_max_bytes;
        PlanStep *made;

        if (gso == 0 || (there && there->gso_max_bytes == gso))
                return;
        made = link_set_step(maker, link, LINK_SET_GSO);
        made->u.change.gso_max_bytes = gso;
        made->optional = true;
}

/* Without a port the kernel may have put its own default there. */
static bool bridge_mtu_is_open(const HostFacts *facts) {
        return !(facts->bridge.flags & LINK_FLAG_LOWER_UP) &&
               facts->bridge.mtu_bytes == MTU_DEFAULT;
}

static void plan_bridge(Maker *maker) {
        const HostFacts *facts = maker->facts;
        const LinkConf *link = maker->link;
        const Link *there = facts->has_bridge ? &facts->bridge : NULL;
        bool filters = link->vlan != 0 || link->has_trunks;

        if (!there) {
                maker->plan->bridge_filters_vlans = filters;
                (void)step(maker, STEP_BRIDGE_CREATE, LINK_BRIDGE);
        }
        if (!there || link->mtu_bytes || bridge_mtu_is_open(facts))
                plan_mtu(maker, LINK_BRIDGE, there);
        plan_switches(maker, LINK_BRIDGE, link->bridge, there,
                      link->is_gateway && link->vlan == 0 &&
                              has_family(maker->input->result, AF_INET6));
        if (!there)
                (void)link_set_step(maker, LINK_BRIDGE, LINK_SET_UP);
        if (link->promisc && !(facts->has_bridge && facts->bridge.n_promiscuous > 0))
                link_set_step(maker, LINK_BRIDGE, LINK_SET_PROMISC)->u.change.promisc = true;
        if (!facts->has_bridge)
                return;
        if (!(facts->bridge.flags & IFF_UP))
                (void)link_set_step(maker, LINK_BRIDGE, LINK_SET_UP);
        if (filters && !facts->bridge.vlan_filtering)
                link_set_step(maker, LINK_BRIDGE, LINK_SET_VLAN_FILTERING)
                        ->u.change.vlan_filtering = true;
}

/* Of fixed form, so that two ADDs at once make one pair: "veth" and a hash of the link's name. */
static void vlan_port_name(const char *vlan, char *name) {
        char hex[SHA256_HEX_SIZE];

        sha256_hex(vlan, strlen(vlan), hex);
        (void)snprintf(name, IFNAMSIZ, "veth%.8s", hex);
}

static void plan_vlan_switches(Maker *maker, const Link *there) {
        /* Both ends: what comes from the bridge has to fit through. */
        if (there) {
                plan_mtu(maker, LINK_VLAN, there);
                plan_mtu(maker, LINK_VLAN_PORT, there);
        }
        plan_gso(maker, LINK_VLAN, there);
        plan_gso(maker, LINK_VLAN_PORT, there);
        plan_switches(maker, LINK_VLAN, maker->plan->vlan, there,
                      has_family(maker->input->result, AF_INET6));
        if (!there || !(there->flags & IFF_UP))
                (void)link_set_step(maker, LINK_VLAN, LINK_SET_UP);
}

static void plan_vlan_link(Maker *maker) {
        PlanStep *made;

        vlan_port_name(maker->plan->vlan, maker->plan->vlan_port);

        if (maker->facts->has_vlan_link) {
                plan_vlan_switches(maker, &maker->facts->vlan_link);
                return;
        }
        (void)step(maker, STEP_VLAN_LINK_CREATE, LINK_VLAN);
        if (!maker->link->preserve_default_vlan)
                (void)step(maker, STEP_VLAN_CLEAR, LINK_VLAN_PORT);
        made = step(maker, STEP_VLAN_ADD, LINK_VLAN_PORT);
        made->u.vlan = (PortVlan){.first = maker->link->vlan,
                                  .last = maker->link->vlan,
                                  .pvid = true,
                                  .untagged = true};
        plan_vlan_switches(maker, NULL);
}

static bool overlaps(const LinkAddress *there, const IpPrefix *wanted) {
        IpPrefix other = {.address = {.family = there->family}, .length = there->prefix};

        memcpy(other.address.bytes, there->bytes, sizeof(other.address.bytes));
        return ip_prefix_contains(&other, &wanted->address) ||
               ip_prefix_contains(wanted, &other.address);
}

static bool is_same(const LinkAddress *there, const IpPrefix *wanted) {
        return there->family == wanted->address.family && there->prefix == wanted->length &&
               memcmp(there->bytes, wanted->address.bytes, addr_size(there->family)) == 0;
}

/* Two ranges of one family have a gateway each. */
static bool is_gateway_of_ours(const Maker *maker, const LinkAddress *there) {
        const CniResult *result = maker->input->result;

        for (size_t i = 0; i < result->n_ips; i++) {
                IpPrefix gateway = {.address = result->ips[i].gateway,
                                    .length = result->ips[i].address.length};

                if (is_same(there, &gateway))
                        return true;
        }
        return false;
}

/* As the kernel makes it with the address. */
static void plan_connected_route(Maker *maker, StepLink on, const IpPrefix *address) {
        IpAddress first = ip_prefix_first(address);
        bool v4 = first.family == AF_INET;
        Route *route = &step(maker, STEP_ROUTE_ADD, on)->u.route;

        *route = (Route){
                .family = first.family,
                .prefix = address->length,
                .scope = v4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
                .protocol = RTPROT_KERNEL,
                .replace = true,
                .has_source = v4,
                .priority = v4 ? 0 : ROUTE_PRIORITY_CONNECTED6,
        };
        memcpy(route->destination, first.bytes, sizeof(route->destination));
        memcpy(route->source, address->address.bytes, sizeof(route->source));
}

/* In the order of the kernel's list, as upstream: a conflicting one that comes first is an error
 * even when the right one follows. */
static void plan_gateway_address(Maker *maker, StepLink on, const IpPrefix *wanted) {
        const HostFacts *facts = maker->facts;
        char text[IP_TEXT_MAX];

        for (size_t i = 0; i < facts->n_addresses && !maker->failed; i++) {
                const LinkAddress *there = &facts->addresses[i];

                if (is_same(there, wanted)) {
                        if (facts->lacks_route[i])
                                plan_connected_route(maker, on, wanted);
                        return;
                }
                if (is_gateway_of_ours(maker, there))
                        continue;
                if (there->family != wanted->address.family ||
                    (there->family == AF_INET6 && !overlaps(there, wanted)))
                        continue;
                if (maker->link->force_address)
                        step(maker, STEP_ADDRESS_REMOVE, on)->u.address = *there;
                else
                        maker->failed = error_set(
                                maker->err, ERROR_CONFLICT,
                                "failed to set bridge addr: \"%s\" already has an IP address "
                                "different from %s",
                                on == LINK_VLAN ? maker->plan->vlan : maker->plan->bridge,
                                ip_prefix_format(wanted, text));
        }
        step(maker, STEP_ADDRESS_ADD, on)->u.address =
                link_address(&wanted->address, wanted->length, false);
        /* Without this the bridge takes over the lowest address of its ports, and changes it as
         * they come and go. A bridge of ours has a fixed one from the start. */
        if (on == LINK_BRIDGE && facts->has_bridge)
                (void)link_set_step(maker, LINK_BRIDGE, LINK_SET_MAC);
}

static bool gateway_seen(const CniResult *result, size_t i) {
        for (size_t j = 0; j < i; j++)
                if (ip_equal(&result->ips[j].gateway, &result->ips[i].gateway) &&
                    result->ips[j].address.length == result->ips[i].address.length)
                        return true;
        return false;
}

static void plan_forwarding(Maker *maker, uint8_t family) {
        const HostFacts *facts = maker->facts;
        bool forwards = family == AF_INET ? facts->forwards_v4 : facts->forwards_v6;

        /* A router listens to no other router, unless it is told to: the host would lose its own
         * way out when the last advertisement runs out. */
        for (size_t i = 0; !forwards && family == AF_INET6 && i < facts->n_advertised; i++)
                sysctl_step(maker, LINK_BRIDGE, facts->advertised[i], "accept_ra", "2")->optional =
                        true;
        if (!forwards)
                (void)sysctl_step(maker, LINK_BRIDGE, NULL,
                                  family == AF_INET ? "net/ipv4/ip_forward"
                                                    : "net/ipv6/conf/all/forwarding",
                                  "1");
}

static void plan_families_forwarding(Maker *maker) {
        const CniResult *result = maker->input->result;
        bool v4 = false, v6 = false;

        for (size_t i = 0; i < result->n_ips; i++)
                if (result->ips[i].address.address.family == AF_INET)
                        v4 = true;
                else
                        v6 = true;
        if (v4)
                plan_forwarding(maker, AF_INET);
        if (v6)
                plan_forwarding(maker, AF_INET6);
}

static bool has_gateways(const Maker *maker) {
        return maker->plan->has_master && maker->link->is_gateway &&
               maker->input->result->n_ips > 0;
}

static void plan_vlan_gateway_link(Maker *maker) {
        if (!has_gateways(maker) || !maker->link->vlan)
                return;
        if (plan_vlan_name(maker->link, maker->plan->vlan, maker->err) < 0)
                maker->failed = -EINVAL;
        else
                plan_vlan_link(maker);
}

static void plan_bridge_gateways(Maker *maker) {
        const CniResult *result = maker->input->result;
        StepLink on = maker->link->vlan ? LINK_VLAN : LINK_BRIDGE;

        if (!has_gateways(maker))
                return;
        for (size_t i = 0; i < result->n_ips; i++) {
                IpPrefix wanted = {.address = result->ips[i].gateway,
                                   .length = result->ips[i].address.length};

                if (ip_is_set(&wanted.address) && !gateway_seen(result, i))
                        plan_gateway_address(maker, on, &wanted);
        }
}

/* --- the pair and its port ------------------------------------------------------------------ */

static void plan_port_flags(const LinkConf *link, LinkChange *change) {
        if (link->hairpin) {
                change->set |= LINK_SET_HAIRPIN;
                change->hairpin = true;
        }
        if (link->port_isolation) {
                change->set |= LINK_SET_ISOLATED;
                change->isolated = true;
        }
}

/* Each link with IPv6 has a route to ff00::/8 in a list that the kernel walks for the next one. */
static void plan_routed_switches(Maker *maker) {
        bool v6 = has_family(maker->input->result, AF_INET6);

        if (v6)
                sysctl_step(maker, LINK_HOST, maker->plan->host, "accept_ra", "0")->optional = true;
        sysctl_step(maker, LINK_HOST, maker->plan->host, "disable_ipv6", v6 ? "0" : "1")->optional =
                true;
}

/* The switches come before the alias, so that one batch does for the rest: until then the pair's
 * MAC address tells whose it is. */
static void plan_port(Maker *maker) {
        const LinkConf *link = maker->link;
        bool port = maker->plan->has_master;
        PlanStep *made;

        if (port)
                sysctl_step(maker, LINK_HOST, maker->plan->host, "accept_ra", "0")->optional = true;
        else if (link->routed)
                plan_routed_switches(maker);
        else
                plan_switches(maker, LINK_HOST, maker->plan->host, NULL,
                              has_family(maker->input->result, AF_INET6));
        made = link_set_step(maker, LINK_HOST, LINK_SET_ALIAS);
        made->u.change.alias = maker->plan->alias;
        if (port)
                plan_port_flags(link, &made->u.change);
        if (port || link->routed)
                /* A port's own stack sees nothing, the bridge takes it all. A link-local address
                 * there is one more route to fe80::/64, whose list the kernel walks for each pod,
                 * and noise in the pod. */
                link_set_step(maker, LINK_HOST, LINK_SET_NO_LINKLOCAL)->optional = true;
        plan_gso(maker, LINK_HOST, NULL);
        /* A bridge takes no more than its ports did when it was asked, and none is 64 KiB. */
        if (port)
                plan_gso(maker, LINK_BRIDGE,
                         maker->facts->has_bridge ? &maker->facts->bridge : NULL);
        (void)link_set_step(maker, LINK_HOST, LINK_SET_UP);
}

static void plan_vlans(Maker *maker) {
        const LinkConf *link = maker->link;
        const PortVlan native = {.first = link->vlan ? link->vlan : 1,
                                 .last = link->vlan ? link->vlan : 1,
                                 .pvid = true,
                                 .untagged = true};

        if (link->vlan == 0 && link->n_trunks == 0)
                return;
        if (!link->preserve_default_vlan)
                (void)step(maker, STEP_VLAN_CLEAR, LINK_HOST);
        if (link->vlan != 0)
                step(maker, STEP_VLAN_ADD, LINK_HOST)->u.vlan = native;
        for (size_t i = 0; i < link->n_trunks; i++)
                step(maker, STEP_VLAN_ADD, LINK_HOST)->u.vlan =
                        (PortVlan){.first = link->trunks[i].first, .last = link->trunks[i].last};
        /* A trunk without a VLAN of its own has 1 as its native one. */
        if (link->vlan == 0)
                step(maker, STEP_VLAN_ADD, LINK_HOST)->u.vlan = native;
}

/* --- inside the pod --------------------------------------------------------------------------- */

/* Before the addresses: IPv6 may be off in the pod. */
static void plan_pod_switches(Maker *maker) {
        const char *ifname = maker->input->ifname;
        bool dad = maker->link->enable_dad;

        /* Whose addresses are given to it takes none from whoever advertises. */
        if (maker->input->result->n_ips > 0)
                sysctl_step(maker, LINK_POD, ifname, "accept_ra", "0")->optional = true;
        if (!has_family(maker->input->result, AF_INET6))
                return;
        (void)sysctl_step(maker, LINK_LOOPBACK, "lo", "disable_ipv6", "0");
        (void)sysctl_step(maker, LINK_POD, ifname, "disable_ipv6", "0");
        (void)sysctl_step(maker, LINK_POD, ifname, "keep_addr_on_down", "1");
        sysctl_step(maker, LINK_POD, ifname, "accept_dad", dad ? "1" : "0")->optional = true;
        if (dad)
                sysctl_step(maker, LINK_POD, ifname, "enhanced_dad", "1")->optional = true;
}

/* After the link is up: the kernel would tell at that moment, to a port that forwards nothing yet
 * or, if it is quick, to everybody. When to tell is plan_announce()'s. */
static void plan_pod_notify(Maker *maker) {
        PlanStep *made;

        if (has_family(maker->input->result, AF_INET)) {
                made = link_set_step(maker, LINK_POD, LINK_SET_ARP_NOTIFY);
                made->u.change.arp_notify = true;
                made->optional = true;
        }
        if (has_family(maker->input->result, AF_INET6))
                sysctl_step(maker, LINK_POD, maker->input->ifname, "ndisc_notify", "1")->optional =
                        true;
}

static const IpAddress *first_gateway(const CniResult *result, uint8_t family) {
        for (size_t i = 0; i < result->n_ips; i++)
                if (result->ips[i].gateway.family == family)
                        return &result->ips[i].gateway;
        return NULL;
}

/* ptp has no route to the rest of its subnet but through the gateway. Upstream takes the kernel's
 * away only after these routes are made, so they may lead over anybody there. */
static bool is_beside_gateway(const Maker *maker, const IpAddress *gateway) {
        const CniResult *result = maker->input->result;
        bool beside = false;

        if (maker->conf->role != ROLE_PTP)
                return false;
        for (size_t i = 0; i < result->n_ips; i++) {
                if (ip_equal(&result->ips[i].gateway, gateway))
                        return false;
                beside |= ip_prefix_contains(&result->ips[i].address, gateway);
        }
        return beside;
}

static void plan_pod_route(Maker *maker, const ResultRoute *wanted) {
        const IpAddress *gateway =
                ip_is_set(&wanted->gateway)
                        ? &wanted->gateway
                        : first_gateway(maker->input->result, wanted->destination.address.family);
        Route *route = &step(maker, STEP_ROUTE_ADD, LINK_POD)->u.route;
        IpAddress destination = ip_prefix_first(&wanted->destination);

        *route = (Route){
                .family = destination.family,
                .prefix = wanted->destination.length,
                .scope = wanted->scope >= 0 ? (uint8_t)wanted->scope : RT_SCOPE_UNIVERSE,
                .table = wanted->table >= 0 ? (uint32_t)wanted->table : 0,
                .priority = wanted->priority,
                .mtu_bytes = wanted->mtu,
                .advmss = wanted->advmss,
        };
        memcpy(route->destination, destination.bytes, sizeof(route->destination));
        if (gateway && gateway->family == destination.family) {
                route->has_gateway = true;
                memcpy(route->gateway, gateway->bytes, sizeof(route->gateway));
                route->onlink = is_beside_gateway(maker, gateway);
        }
}

/*
 * ptp: the subnet is reached through the gateway, not by asking on the link. The kernel is told not
 * to make its own route for the address (Linux 4.4), which upstream deletes afterwards.
 */
static void plan_ptp_routes(Maker *maker, const ResultIp *ip) {
        IpAddress subnet = ip_prefix_first(&ip->address);
        Route gateway = {.family = subnet.family,
                         .prefix = (uint8_t)(ip_size(&subnet) * 8),
                         .scope = RT_SCOPE_LINK,
                         .has_source = true};
        Route via = {.family = subnet.family,
                     .prefix = ip->address.length,
                     .has_gateway = true,
                     .has_source = true};

        memcpy(gateway.destination, ip->gateway.bytes, sizeof(gateway.destination));
        memcpy(gateway.source, ip->address.address.bytes, sizeof(gateway.source));
        memcpy(via.destination, subnet.bytes, sizeof(via.destination));
        memcpy(via.gateway, ip->gateway.bytes, sizeof(via.gateway));
        memcpy(via.source, ip->address.address.bytes, sizeof(via.source));
        step(maker, STEP_ROUTE_ADD, LINK_POD)->u.route = gateway;
        step(maker, STEP_ROUTE_ADD, LINK_POD)->u.route = via;
}

/* Both sides know each other: nobody asks, nobody can answer in another's place, and the host's
 * table of neighbours (1024 by default) does not bound the pods. */
static void plan_neighbour(Maker *maker, StepLink on, const IpAddress *address) {
        Neighbour *neighbour = &step(maker, STEP_NEIGHBOUR, on)->u.neighbour;

        neighbour->family = address->family;
        memcpy(neighbour->bytes, address->bytes, sizeof(neighbour->bytes));
        memcpy(neighbour->mac, on == LINK_POD ? maker->plan->host_mac : maker->plan->pod_mac,
               sizeof(neighbour->mac));
}

static bool neighbour_seen(const CniResult *result, size_t i) {
        for (size_t j = 0; j < i; j++)
                if (ip_equal(&result->ips[j].gateway, &result->ips[i].gateway))
                        return true;
        return false;
}

/* Under our own type a pod without IPv6 has no link-local address either: the kernel would join its
 * groups and ask for duplicates, five frames that every port of the bridge gets. */
static bool is_ipv4_only(const Maker *maker) {
        return maker->conf->role == ROLE_BERTH && maker->input->result->n_ips > 0 &&
               !has_family(maker->input->result, AF_INET6);
}

static void plan_pod(Maker *maker) {
        const CniResult *result = maker->input->result;
        bool ptp = conf_is_pair(maker->conf), routed = maker->link->routed;

        plan_pod_switches(maker);
        for (size_t i = 0; i < result->n_ips; i++) {
                const IpPrefix *ip = &result->ips[i].address;
                PlanStep *made = step(maker, STEP_ADDRESS_ADD, LINK_POD);

                made->u.address = link_address(&ip->address, ip->length, maker->link->enable_dad);
                if (ptp)
                        made->u.address.flags |= IFA_F_NOPREFIXROUTE;
        }
        if (maker->conf->role == ROLE_BERTH)
                (void)link_set_step(maker, LINK_LOOPBACK, LINK_SET_UP);
        if (maker->link->disable_container_interface)
                return;
        plan_gso(maker, LINK_POD, NULL);
        if (is_ipv4_only(maker))
                link_set_step(maker, LINK_POD, LINK_SET_NO_LINKLOCAL)->optional = true;
        if (maker->input->has_before_up)
                (void)step(maker, STEP_BEFORE_UP, LINK_POD);
        (void)link_set_step(maker, LINK_POD, LINK_SET_UP);
        if (!routed)
                plan_pod_notify(maker);
        if (maker->link->enable_dad && first_gateway(result, AF_INET6))
                (void)step(maker, STEP_WAIT_DAD, LINK_POD);
        for (size_t i = 0; routed && i < result->n_ips; i++)
                if (!neighbour_seen(result, i))
                        plan_neighbour(maker, LINK_POD, &result->ips[i].gateway);
        for (size_t i = 0; ptp && i < result->n_ips; i++)
                plan_ptp_routes(maker, &result->ips[i]);
        for (size_t i = 0; i < result->n_routes; i++)
                plan_pod_route(maker, &result->routes[i]);
}

/* The host's end of a ptp pair has the gateway's address and a route to the pod. One address on
 * thousands of links would be a list that the kernel walks: routed pods have a neighbour instead.
 */
static void plan_ptp_host(Maker *maker) {
        const CniResult *result = maker->input->result;

        for (size_t i = 0; i < result->n_ips; i++) {
                const ResultIp *ip = &result->ips[i];
                uint8_t bits = (uint8_t)(ip_size(&ip->gateway) * 8);
                /* Without an address on this link the kernel takes one of another link as the
                 * source: one that is good for that scope, so not 127.0.0.1. */
                Route route = {.family = ip->address.address.family,
                               .prefix = bits,
                               .scope = maker->link->routed ? RT_SCOPE_LINK : RT_SCOPE_HOST};

                memcpy(route.destination, ip->address.address.bytes, sizeof(route.destination));
                if (maker->link->routed)
                        plan_neighbour(maker, LINK_HOST, &ip->address.address);
                else
                        step(maker, STEP_ADDRESS_ADD, LINK_HOST)->u.address =
                                link_address(&ip->gateway, bits, false);
                step(maker, STEP_ROUTE_ADD, LINK_HOST)->u.route = route;
        }
}

/*
 * Who talked to the last holder of an address has its MAC address, and would send there for 8 s and
 * more: the host, and any pod or router on the same bridge, of whom the host knows nothing. When
 * the port forwards, once for each address.
 */
static void plan_announce(Maker *maker) {
        if (maker->plan->has_master)
                (void)step(maker, STEP_WAIT_PORT, LINK_HOST);
        if (maker->input->result->n_ips > 0)
                (void)step(maker, STEP_ANNOUNCE, LINK_POD);
}

/* --- all of it -------------------------------------------------------------------------------- */

static int check_host(const Maker *maker) {
        const HostFacts *facts = maker->facts;
        const CniResult *result = maker->input->result;

        if (!conf_is_pair(maker->conf) && facts->has_bridge &&
            !str_equal(facts->bridge.kind, "bridge"))
                return error_set(maker->err, ERROR_CONFLICT,
                                 "\"%s\" already exists but is not a bridge", maker->link->bridge);
        if (maker->conf->role == ROLE_PTP && maker->conf->ipam_type[0] == '\0')
                return error_set(maker->err, ERROR_INVALID, "ptp needs an \"ipam\" with a type");
        if (maker->conf->ipam_type[0] != '\0' && result->n_ips == 0)
                return error_set(maker->err, ERROR_PRECONDITION,
                                 "IPAM plugin returned missing IP config");
        for (size_t i = 0; conf_is_pair(maker->conf) && i < result->n_ips; i++)
                if (!ip_is_set(&result->ips[i].gateway))
                        return error_set(maker->err, ERROR_PRECONDITION,
                                         "IPAM plugin returned an address without a gateway, which "
                                         "ptp needs");
        return 0;
}

/* What fits through the way out and through the bridge. A bridge does not cut frames. */
static uint32_t pair_mtu(const Maker *maker) {
        const HostFacts *facts = maker->facts;
        uint32_t uplink = facts->uplink_mtu_bytes, bridge = facts->bridge.mtu_bytes;

        if (maker->link->mtu_bytes)
                return maker->link->mtu_bytes;
        if (conf_is_pair(maker->conf) || !facts->has_bridge)
                return uplink;
        if (uplink == 0 || (bridge < uplink && !bridge_mtu_is_open(facts)))
                return bridge;
        return uplink;
}

/* RFC 791 and RFC 8200, section 5. The kernel says only "Invalid argument", and a bridge would be
 * left so. */
static int check_mtu(const Maker *maker) {
        bool six = has_family(maker->input->result, AF_INET6);
        uint32_t mtu = pair_mtu(maker), least = six ? IPV6_MTU_MIN : IPV4_MTU_MIN;

        if (mtu == 0 || mtu >= least)
                return 0;
        return error_set(maker->err, ERROR_INVALID,
                         "an MTU of %u is too small: IPv%d needs at least %u", mtu, six ? 6 : 4,
                         least);
}

static void copy_name(char *to, const char *from) {
        (void)snprintf(to, IFNAMSIZ, "%s", from);
}

static void plan_names(Maker *maker) {
        const PlanInput *input = maker->input;
        Plan *plan = maker->plan;

        copy_name(plan->bridge, maker->link->bridge);
        copy_name(plan->host, input->host_name);
        copy_name(plan->pod, input->ifname);
        (void)snprintf(plan->alias, sizeof(plan->alias), "%s", input->alias);
        memcpy(plan->bridge_mac,
               maker->facts->has_bridge ? maker->facts->bridge.mac : input->macs[0],
               sizeof(plan->bridge_mac));
        memcpy(plan->host_mac, input->macs[1], sizeof(plan->host_mac));
        memcpy(plan->pod_mac, maker->link->has_mac ? maker->link->mac : input->macs[2],
               sizeof(plan->pod_mac));
        plan->mtu_bytes = pair_mtu(maker);
        plan->has_master = !conf_is_pair(maker->conf);
}

int plan_add(const PlanInput *input, Plan *plan, Error *err) {
        Maker maker = {
                .input = input,
                .conf = input->conf,
                .link = &input->conf->link,
                .facts = input->facts,
                .plan = plan,
                .err = err,
        };
        int r = check_host(&maker);

        r = r < 0 ? r : check_mtu(&maker);
        if (r < 0)
                return r;
        plan_names(&maker);
        if (plan->has_master)
                plan_bridge(&maker);
        plan_vlan_gateway_link(&maker);
        (void)step(&maker, STEP_VETH_CREATE, LINK_HOST);
        plan_port(&maker);
        if (plan->has_master)
                plan_vlans(&maker);
        else
                plan_ptp_host(&maker);
        plan_pod(&maker);
        plan->n_own = plan->n_steps;
        plan_bridge_gateways(&maker);
        if (has_gateways(&maker) || !plan->has_master)
                plan_families_forwarding(&maker);
        if (!maker.link->disable_container_interface && !maker.link->routed)
                plan_announce(&maker);
        return maker.failed;
}

int plan_apply(const Plan *plan, PlanPart part, const PlanKernel *kernel, Error *err) {
        bool made = part == PLAN_SHARED;
        size_t i = part == PLAN_OWN ? 0 : plan->n_own;
        size_t end = part == PLAN_OWN ? plan->n_own : plan->n_steps;

        while (i < end) {
                size_t n = 1, done = 0;
                Error ignored = {0};
                int r;

                while (i + n < end &&
                       step_is_in_pod(&plan->steps[i + n]) == step_is_in_pod(&plan->steps[i]))
                        n++;
                r = kernel->run(kernel->userdata, plan, &plan->steps[i], n, &done, err);
                for (size_t j = 0; j < (r != 0 ? done : n); j++)
                        made = made || plan->steps[i + j].kind == STEP_VETH_CREATE;
                if (r != 0) {
                        if (made)
                                (void)kernel->undo(kernel->userdata, plan, &ignored);
                        return r;
                }
                i += n;
        }
        return 0;
}
