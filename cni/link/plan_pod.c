/* SPDX-License-Identifier: Apache-2.0 */
/* What is planned for one pod: its pair, the port of the bridge, addresses and routes in it. */

#include "cni/link/plan_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

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
static void plan_routed_switches(PlanMaker *maker) {
        bool v6 = plan_has_family(maker->input->result, AF_INET6);

        if (v6)
                plan_sysctl(maker, LINK_HOST, maker->plan->host, "accept_ra", "0")->optional = true;
        plan_sysctl(maker, LINK_HOST, maker->plan->host, "disable_ipv6", v6 ? "0" : "1")->optional =
                true;
}

/* The switches come before the alias, so that one batch does for the rest: until then the pair's
 * MAC address tells whose it is. */
void plan_port(PlanMaker *maker) {
        const LinkConf *link = maker->link;
        bool port = maker->plan->has_master;
        PlanStep *made;

        if (port)
                plan_sysctl(maker, LINK_HOST, maker->plan->host, "accept_ra", "0")->optional = true;
        else if (link->routed)
                plan_routed_switches(maker);
        else
                plan_switches(maker, LINK_HOST, maker->plan->host, NULL,
                              plan_has_family(maker->input->result, AF_INET6));
        made = plan_link_set(maker, LINK_HOST, LINK_SET_ALIAS);
        made->u.change.alias = maker->plan->alias;
        if (port)
                plan_port_flags(link, &made->u.change);
        if (port || link->routed)
                /* A port's own stack sees nothing, the bridge takes it all. A link-local address
                 * there is one more route to fe80::/64, whose list the kernel walks for each pod,
                 * and noise in the pod. */
                plan_link_set(maker, LINK_HOST, LINK_SET_NO_LINKLOCAL)->optional = true;
        plan_gso(maker, LINK_HOST, NULL);
        /* A bridge takes no more than its ports did when it was asked, and none is 64 KiB. */
        if (port)
                plan_gso(maker, LINK_BRIDGE,
                         maker->facts->has_bridge ? &maker->facts->bridge : NULL);
        (void)plan_link_set(maker, LINK_HOST, LINK_SET_UP);
}

void plan_vlans(PlanMaker *maker) {
        const LinkConf *link = maker->link;
        const PortVlan native = {.first = link->vlan ? link->vlan : 1,
                                 .last = link->vlan ? link->vlan : 1,
                                 .pvid = true,
                                 .untagged = true};

        if (link->vlan == 0 && link->n_trunks == 0)
                return;
        if (!link->preserve_default_vlan)
                (void)plan_step(maker, STEP_VLAN_CLEAR, LINK_HOST);
        if (link->vlan != 0)
                plan_step(maker, STEP_VLAN_ADD, LINK_HOST)->u.vlan = native;
        for (size_t i = 0; i < link->n_trunks; i++)
                plan_step(maker, STEP_VLAN_ADD, LINK_HOST)->u.vlan =
                        (PortVlan){.first = link->trunks[i].first, .last = link->trunks[i].last};
        /* A trunk without a VLAN of its own has 1 as its native one. */
        if (link->vlan == 0)
                plan_step(maker, STEP_VLAN_ADD, LINK_HOST)->u.vlan = native;
}

/* --- inside the pod --------------------------------------------------------------------------- */

/* Before the addresses: IPv6 may be off in the pod. */
static void plan_pod_switches(PlanMaker *maker) {
        const char *ifname = maker->input->ifname;
        bool dad = maker->link->enable_dad;

        /* Whose addresses are given to it takes none from whoever advertises. */
        if (maker->input->result->n_ips > 0)
                plan_sysctl(maker, LINK_POD, ifname, "accept_ra", "0")->optional = true;
        if (!plan_has_family(maker->input->result, AF_INET6))
                return;
        (void)plan_sysctl(maker, LINK_LOOPBACK, "lo", "disable_ipv6", "0");
        (void)plan_sysctl(maker, LINK_POD, ifname, "disable_ipv6", "0");
        (void)plan_sysctl(maker, LINK_POD, ifname, "keep_addr_on_down", "1");
        plan_sysctl(maker, LINK_POD, ifname, "accept_dad", dad ? "1" : "0")->optional = true;
        if (dad)
                plan_sysctl(maker, LINK_POD, ifname, "enhanced_dad", "1")->optional = true;
}

/* After the link is up: the kernel would tell at that moment, to a port that forwards nothing yet
 * or, if it is quick, to everybody. When to tell is plan_announce()'s. */
static void plan_pod_notify(PlanMaker *maker) {
        PlanStep *made;

        if (plan_has_family(maker->input->result, AF_INET)) {
                made = plan_link_set(maker, LINK_POD, LINK_SET_ARP_NOTIFY);
                made->u.change.arp_notify = true;
                made->optional = true;
        }
        if (plan_has_family(maker->input->result, AF_INET6))
                plan_sysctl(maker, LINK_POD, maker->input->ifname, "ndisc_notify", "1")->optional =
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
static bool is_beside_gateway(const PlanMaker *maker, const IpAddress *gateway) {
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

static void plan_pod_route(PlanMaker *maker, const ResultRoute *wanted) {
        const IpAddress *gateway =
                ip_is_set(&wanted->gateway)
                        ? &wanted->gateway
                        : first_gateway(maker->input->result, wanted->destination.address.family);
        Route *route = &plan_step(maker, STEP_ROUTE_ADD, LINK_POD)->u.route;
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
static void plan_ptp_routes(PlanMaker *maker, const ResultIp *ip) {
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
        plan_step(maker, STEP_ROUTE_ADD, LINK_POD)->u.route = gateway;
        plan_step(maker, STEP_ROUTE_ADD, LINK_POD)->u.route = via;
}

/* Both sides know each other: nobody asks, nobody can answer in another's place, and the host's
 * table of neighbours (1024 by default) does not bound the pods. */
static void plan_neighbour(PlanMaker *maker, StepLink on, const IpAddress *address) {
        Neighbour *neighbour = &plan_step(maker, STEP_NEIGHBOUR, on)->u.neighbour;

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
static bool is_ipv4_only(const PlanMaker *maker) {
        return maker->conf->role == ROLE_BERTH && maker->input->result->n_ips > 0 &&
               !plan_has_family(maker->input->result, AF_INET6);
}

void plan_pod(PlanMaker *maker) {
        const CniResult *result = maker->input->result;
        bool ptp = conf_is_pair(maker->conf), routed = maker->link->routed;

        plan_pod_switches(maker);
        for (size_t i = 0; i < result->n_ips; i++) {
                const IpPrefix *ip = &result->ips[i].address;
                PlanStep *made = plan_step(maker, STEP_ADDRESS_ADD, LINK_POD);

                made->u.address =
                        plan_link_address(&ip->address, ip->length, maker->link->enable_dad);
                if (ptp)
                        made->u.address.flags |= IFA_F_NOPREFIXROUTE;
        }
        if (maker->conf->role == ROLE_BERTH)
                (void)plan_link_set(maker, LINK_LOOPBACK, LINK_SET_UP);
        if (maker->link->disable_container_interface)
                return;
        plan_gso(maker, LINK_POD, NULL);
        if (is_ipv4_only(maker))
                plan_link_set(maker, LINK_POD, LINK_SET_NO_LINKLOCAL)->optional = true;
        if (maker->input->has_before_up)
                (void)plan_step(maker, STEP_BEFORE_UP, LINK_POD);
        (void)plan_link_set(maker, LINK_POD, LINK_SET_UP);
        if (!routed)
                plan_pod_notify(maker);
        if (maker->link->enable_dad && first_gateway(result, AF_INET6))
                (void)plan_step(maker, STEP_WAIT_DAD, LINK_POD);
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
void plan_ptp_host(PlanMaker *maker) {
        const CniResult *result = maker->input->result;

        for (size_t i = 0; i < result->n_ips; i++) {
                const ResultIp *ip = &result->ips[i];
                uint8_t bits = (uint8_t)(ip_size(&ip->gateway) * 8);
                /* Without an address on this link the kernel takes one of another link as the
                 * source: one that is good for that scope, so not 127.0.0.1. */
                Route route = {.family = ip->address.address.family,
                               .prefix = bits,
                               .scope = maker->link->routed ? RT_SCOPE_LINK : RT_SCOPE_HOST,
                               .exclusive = maker->link->routed};

                memcpy(route.destination, ip->address.address.bytes, sizeof(route.destination));
                if (maker->link->routed)
                        plan_neighbour(maker, LINK_HOST, &ip->address.address);
                else
                        plan_step(maker, STEP_ADDRESS_ADD, LINK_HOST)->u.address =
                                plan_link_address(&ip->gateway, bits, false);
                plan_step(maker, STEP_ROUTE_ADD, LINK_HOST)->u.route = route;
        }
}

/*
 * Who talked to the last holder of an address has its MAC address, and would send there for 8 s and
 * more: the host, and any pod or router on the same bridge, of whom the host knows nothing. When
 * the port forwards, once for each address.
 */
void plan_announce(PlanMaker *maker) {
        if (maker->plan->has_master)
                (void)plan_step(maker, STEP_WAIT_PORT, LINK_HOST);
        if (maker->input->result->n_ips > 0)
                (void)plan_step(maker, STEP_ANNOUNCE, LINK_POD);
}
