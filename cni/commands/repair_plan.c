/* SPDX-License-Identifier: Apache-2.0 */

/* Which steps of an ADD are still to be done. Pure. */

#include "cni/commands/repair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void link_observed_deinit(LinkObserved *observed) {
        free(observed->routes);
        free(observed->neighbours);
}

void pair_observed_deinit(PairObserved *observed) {
        link_observed_deinit(&observed->host);
        link_observed_deinit(&observed->pod);
        *observed = (PairObserved){.has_sysctl = observed->has_sysctl};
}

static bool has_address(const LinkObserved *observed, const LinkAddress *wanted) {
        for (size_t i = 0; i < observed->n_addresses; i++)
                if (observed->addresses[i].family == wanted->family &&
                    observed->addresses[i].prefix == wanted->prefix &&
                    memcmp(observed->addresses[i].bytes, wanted->bytes,
                           addr_size(wanted->family)) == 0)
                        return true;
        return false;
}

static bool has_route(const LinkObserved *observed, const Route *wanted) {
        uint32_t table = wanted->table ? wanted->table : RT_TABLE_MAIN;

        for (size_t i = 0; i < observed->n_routes; i++) {
                const Route *there = &observed->routes[i];
                size_t n = addr_size(wanted->family);

                if (there->family == wanted->family && there->prefix == wanted->prefix &&
                    there->table == table &&
                    memcmp(there->destination, wanted->destination, n) == 0 &&
                    there->has_gateway == wanted->has_gateway &&
                    (!wanted->has_gateway || memcmp(there->gateway, wanted->gateway, n) == 0))
                        return true;
        }
        return false;
}

/* One that is learnt in its place, or leads to another MAC address, does not stand for it. */
static bool has_neighbour(const LinkObserved *observed, const Neighbour *wanted) {
        for (size_t i = 0; i < observed->n_neighbours; i++) {
                const Neighbour *there = &observed->neighbours[i];

                if (there->family == wanted->family &&
                    memcmp(there->bytes, wanted->bytes, addr_size(wanted->family)) == 0 &&
                    memcmp(there->mac, wanted->mac, sizeof(wanted->mac)) == 0)
                        return true;
        }
        return false;
}

/* In whatever table: a link may be of a VRF. */
static bool has_connected_route(const LinkObserved *observed, const LinkAddress *address) {
        IpPrefix prefix = {.address = {.family = address->family}, .length = address->prefix};
        IpAddress first;

        memcpy(prefix.address.bytes, address->bytes, addr_size(address->family));
        first = ip_prefix_first(&prefix);
        for (size_t i = 0; i < observed->n_routes; i++) {
                const Route *there = &observed->routes[i];

                if (there->family == address->family && there->prefix == address->prefix &&
                    !there->has_gateway &&
                    memcmp(there->destination, first.bytes, addr_size(address->family)) == 0)
                        return true;
        }
        return false;
}

/* The kernel makes them when the link comes up, and none for a single address. */
void observe_connected_routes(const LinkObserved *gate, HostFacts *facts) {
        for (size_t i = 0; i < facts->n_addresses && (gate->link.flags & IFF_UP); i++) {
                const LinkAddress *address = &facts->addresses[i];

                facts->lacks_route[i] = address->prefix < addr_size(address->family) * 8 &&
                                        !(address->flags & IFA_F_NOPREFIXROUTE) &&
                                        !has_connected_route(gate, address);
        }
}

static bool is_up(const LinkObserved *observed) {
        return observed->link.flags & IFF_UP;
}

/* What is wanted of the pair's ends. */
static bool is_missing(const PlanStep *step, const PairObserved *observed) {
        bool in_pod = step_is_in_pod(step);
        const LinkObserved *end = in_pod ? &observed->pod : &observed->host;

        switch (step->kind) {
        case STEP_ADDRESS_ADD:
                return !has_address(end, &step->u.address);
        case STEP_ROUTE_ADD:
                return !has_route(end, &step->u.route);
        case STEP_NEIGHBOUR:
                return !has_neighbour(end, &step->u.neighbour);
        case STEP_LINK_SET:
                if (step->link == LINK_LOOPBACK || !(step->u.change.set & LINK_SET_UP))
                        return step->link == LINK_HOST && !observed->host_is_port &&
                               !(step->u.change.set & LINK_SET_NO_LINKLOCAL);
                return !is_up(end);
        case STEP_SYSCTL:
                return !in_pod && !observed->has_sysctl(step->u.sysctl.path, step->u.sysctl.value);
        case STEP_VLAN_CLEAR:
        case STEP_VLAN_ADD:
                return !observed->host_is_port;
        case STEP_BRIDGE_CREATE:
        case STEP_ADDRESS_REMOVE:
        case STEP_VETH_CREATE:
        case STEP_VLAN_LINK_CREATE:
        case STEP_WAIT_PORT:
        case STEP_WAIT_DAD:
        case STEP_BEFORE_UP:
        case STEP_ANNOUNCE:
        case _STEP_KIND_N:
                break;
        }
        return false;
}

/* Of a link that is about to be made nothing can be read. */
static bool is_made(const Plan *whole, StepLink link) {
        StepKind kind = link == LINK_BRIDGE ? STEP_BRIDGE_CREATE : STEP_VLAN_LINK_CREATE;

        for (size_t i = 0; i < whole->n_steps; i++)
                if (whole->steps[i].kind == kind)
                        return true;
        return false;
}

/* The bridge's own steps are planned from what it is; of its sysctls that is not so. */
static bool is_wanted(const Plan *whole, const PlanStep *step, const PairObserved *observed) {
        if (step_is_shared(step) && (step->kind != STEP_SYSCTL || is_made(whole, step->link)))
                return true;
        return is_missing(step, observed);
}

/* A pair goes back to its bridge before its port is set up as one. */
static PlanStep back_to_bridge(void) {
        return (PlanStep){
                .kind = STEP_LINK_SET, .link = LINK_HOST, .u.change = {.set = LINK_SET_MASTER}};
}

int plan_difference(const Plan *whole, const PairObserved *observed, Plan *rest) {
        *rest = *whole;
        rest->n_steps = 0;
        rest->steps = calloc(whole->n_steps + 1, sizeof(*rest->steps));
        if (!rest->steps)
                return -ENOMEM;
        for (size_t i = 0; i < whole->n_steps; i++) {
                const PlanStep *step = &whole->steps[i];

                if (step->kind == STEP_VETH_CREATE && whole->has_master && !observed->host_is_port)
                        rest->steps[rest->n_steps++] = back_to_bridge();
                else if (is_wanted(whole, step, observed))
                        rest->steps[rest->n_steps++] = *step;
        }
        return 0;
}
