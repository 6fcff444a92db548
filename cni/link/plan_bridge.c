/* SPDX-License-Identifier: Apache-2.0 */
/* What is planned for the bridge: its own switches, its VLANs, the gateways' addresses. */

#include "cni/link/plan_internal.h"

#include "common/base/sha256.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* IP6_RT_PRIO_ADDRCONF of the kernel. */
#define ROUTE_PRIORITY_CONNECTED6 256

/* Of an Ethernet link that nobody has told otherwise. */
#define MTU_DEFAULT 1500

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

/* Without a port the kernel may have put its own default there. */
bool plan_bridge_mtu_is_open(const HostFacts *facts) {
        return !(facts->bridge.flags & LINK_FLAG_LOWER_UP) &&
               facts->bridge.mtu_bytes == MTU_DEFAULT;
}

/* The way out has become narrower. What the host itself sends to a pod, as large as the bridge
 * takes it, would be dropped before the pod's port, since a bridge cuts nothing. Other ports keep
 * it. */
static bool is_too_large(const PlanMaker *maker, const Link *bridge) {
        return !(bridge->flags & LINK_FLAG_LOWER_UP) && bridge->mtu_bytes > maker->plan->mtu_bytes;
}

void plan_bridge(PlanMaker *maker) {
        const HostFacts *facts = maker->facts;
        const LinkConf *link = maker->link;
        const Link *there = facts->has_bridge ? &facts->bridge : NULL;
        bool filters = link->vlan != 0 || link->has_trunks;

        if (!there) {
                maker->plan->bridge_filters_vlans = filters;
                (void)plan_step(maker, STEP_BRIDGE_CREATE, LINK_BRIDGE);
        }
        if (!there || link->mtu_bytes || plan_bridge_mtu_is_open(facts) ||
            is_too_large(maker, there))
                plan_mtu(maker, LINK_BRIDGE, there);
        plan_switches(maker, LINK_BRIDGE, link->bridge, there,
                      link->is_gateway && link->vlan == 0 &&
                              plan_has_family(maker->input->result, AF_INET6));
        if (!there)
                (void)plan_link_set(maker, LINK_BRIDGE, LINK_SET_UP);
        if (link->promisc && !(facts->has_bridge && facts->bridge.n_promiscuous > 0))
                plan_link_set(maker, LINK_BRIDGE, LINK_SET_PROMISC)->u.change.promisc = true;
        if (!facts->has_bridge)
                return;
        if (!(facts->bridge.flags & IFF_UP))
                (void)plan_link_set(maker, LINK_BRIDGE, LINK_SET_UP);
        if (filters && !facts->bridge.vlan_filtering)
                plan_link_set(maker, LINK_BRIDGE, LINK_SET_VLAN_FILTERING)
                        ->u.change.vlan_filtering = true;
}

/* Of fixed form, so that two ADDs at once make one pair: "veth" and a hash of the link's name. */
static void vlan_port_name(const char *vlan, char *name) {
        char hex[SHA256_HEX_SIZE];

        sha256_hex(vlan, strlen(vlan), hex);
        (void)snprintf(name, IFNAMSIZ, "veth%.8s", hex);
}

static void plan_vlan_switches(PlanMaker *maker, const Link *there) {
        /* Both ends: what comes from the bridge has to fit through. */
        if (there) {
                plan_mtu(maker, LINK_VLAN, there);
                plan_mtu(maker, LINK_VLAN_PORT, there);
        }
        plan_gso(maker, LINK_VLAN, there);
        plan_gso(maker, LINK_VLAN_PORT, there);
        plan_switches(maker, LINK_VLAN, maker->plan->vlan, there,
                      plan_has_family(maker->input->result, AF_INET6));
        if (!there || !(there->flags & IFF_UP))
                (void)plan_link_set(maker, LINK_VLAN, LINK_SET_UP);
}

static void plan_vlan_link(PlanMaker *maker) {
        PlanStep *made;

        vlan_port_name(maker->plan->vlan, maker->plan->vlan_port);

        if (maker->facts->has_vlan_link) {
                plan_vlan_switches(maker, &maker->facts->vlan_link);
                return;
        }
        (void)plan_step(maker, STEP_VLAN_LINK_CREATE, LINK_VLAN);
        if (!maker->link->preserve_default_vlan)
                (void)plan_step(maker, STEP_VLAN_CLEAR, LINK_VLAN_PORT);
        made = plan_step(maker, STEP_VLAN_ADD, LINK_VLAN_PORT);
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
static bool is_gateway_of_ours(const PlanMaker *maker, const LinkAddress *there) {
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
static void plan_connected_route(PlanMaker *maker, StepLink on, const IpPrefix *address) {
        IpAddress first = ip_prefix_first(address);
        bool v4 = first.family == AF_INET;
        Route *route = &plan_step(maker, STEP_ROUTE_ADD, on)->u.route;

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
static void plan_gateway_address(PlanMaker *maker, StepLink on, const IpPrefix *wanted) {
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
                        plan_step(maker, STEP_ADDRESS_REMOVE, on)->u.address = *there;
                else
                        maker->failed = error_set(
                                maker->err, ERROR_CONFLICT,
                                "failed to set bridge addr: \"%s\" already has an IP address "
                                "different from %s",
                                on == LINK_VLAN ? maker->plan->vlan : maker->plan->bridge,
                                ip_prefix_format(wanted, text));
        }
        plan_step(maker, STEP_ADDRESS_ADD, on)->u.address =
                plan_link_address(&wanted->address, wanted->length, false);
        /* Without this the bridge takes over the lowest address of its ports, and changes it as
         * they come and go. A bridge of ours has a fixed one from the start. */
        if (on == LINK_BRIDGE && facts->has_bridge)
                (void)plan_link_set(maker, LINK_BRIDGE, LINK_SET_MAC);
}

static bool gateway_seen(const CniResult *result, size_t i) {
        for (size_t j = 0; j < i; j++)
                if (ip_equal(&result->ips[j].gateway, &result->ips[i].gateway) &&
                    result->ips[j].address.length == result->ips[i].address.length)
                        return true;
        return false;
}

static void plan_link_forwarding(PlanMaker *maker, StepLink link, const char *name,
                                 uint8_t family) {
        PlanStep *made = plan_step(maker, STEP_SYSCTL, link);

        (void)snprintf(made->u.sysctl.path, sizeof(made->u.sysctl.path),
                       "net/ipv%d/conf/%s/forwarding", family == AF_INET ? 4 : 6, name);
        made->u.sysctl.value = "1";
}

/* The kernel asks the link that a packet comes by as well. Each switch follows the host's only at
 * the moment when that changes. */
static void plan_links_forwarding(PlanMaker *maker, uint8_t family) {
        const HostFacts *facts = maker->facts;
        bool v4 = family == AF_INET, of_new = v4 ? facts->new_keeps_v4 : facts->new_keeps_v6;
        StepLink gate = !maker->plan->has_master ? LINK_HOST
                        : maker->link->vlan      ? LINK_VLAN
                                                 : LINK_BRIDGE;
        const Link *there = gate == LINK_BRIDGE && facts->has_bridge      ? &facts->bridge
                            : gate == LINK_VLAN && facts->has_vlan_link   ? &facts->vlan_link
                            : gate == LINK_HOST && maker->input->host_end ? maker->input->host_end
                                                                          : NULL;
        const char *name = gate == LINK_HOST   ? maker->plan->host
                           : gate == LINK_VLAN ? maker->plan->vlan
                                               : maker->plan->bridge;

        if (there ? (v4 ? there->keeps_v4 : there->keeps_v6) : of_new)
                plan_link_forwarding(maker, gate, name, family);
        for (size_t i = 0; v4 && i < facts->n_keeping; i++)
                plan_link_forwarding(maker, LINK_BRIDGE, facts->keeping[i], family);
}

static void plan_forwarding(PlanMaker *maker, uint8_t family) {
        const HostFacts *facts = maker->facts;
        bool forwards = family == AF_INET ? facts->forwards_v4 : facts->forwards_v6;

        /* A router listens to no other router, unless it is told to: the host would lose its own
         * way out when the last advertisement runs out. */
        for (size_t i = 0; !forwards && family == AF_INET6 && i < facts->n_advertised; i++)
                plan_sysctl(maker, LINK_BRIDGE, facts->advertised[i], "accept_ra", "2")->optional =
                        true;
        if (!forwards)
                (void)plan_sysctl(maker, LINK_BRIDGE, NULL,
                                  family == AF_INET ? "net/ipv4/ip_forward"
                                                    : "net/ipv6/conf/all/forwarding",
                                  "1");
        else
                plan_links_forwarding(maker, family);
}

void plan_families_forwarding(PlanMaker *maker) {
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

bool plan_has_gateways(const PlanMaker *maker) {
        return maker->plan->has_master && maker->link->is_gateway &&
               maker->input->result->n_ips > 0;
}

void plan_vlan_gateway_link(PlanMaker *maker) {
        if (!plan_has_gateways(maker) || !maker->link->vlan)
                return;
        if (plan_vlan_name(maker->link, maker->plan->vlan, maker->err) < 0)
                maker->failed = -EINVAL;
        else
                plan_vlan_link(maker);
}

void plan_bridge_gateways(PlanMaker *maker) {
        const CniResult *result = maker->input->result;
        StepLink on = maker->link->vlan ? LINK_VLAN : LINK_BRIDGE;

        if (!plan_has_gateways(maker))
                return;
        for (size_t i = 0; i < result->n_ips; i++) {
                IpPrefix wanted = {.address = result->ips[i].gateway,
                                   .length = result->ips[i].address.length};

                if (ip_is_set(&wanted.address) && !gateway_seen(result, i))
                        plan_gateway_address(maker, on, &wanted);
        }
}
