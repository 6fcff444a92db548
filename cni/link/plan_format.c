/* SPDX-License-Identifier: Apache-2.0 */

/* The plan as text: one line per step, for debug logs, messages and tests. */

#include "cni/link/plan.h"

#include "common/base/cleanup.h"

#include <string.h>

static const char *link_name(const Plan *plan, StepLink link) {
        switch (link) {
        case LINK_BRIDGE:
                return plan->bridge;
        case LINK_HOST:
                return plan->host;
        case LINK_VLAN:
                return plan->vlan;
        case LINK_VLAN_PORT:
                return "port";
        case LINK_POD:
                return plan->pod;
        case LINK_LOOPBACK:
                return "lo";
        case _STEP_LINK_N:
                break;
        }
        return "";
}

static void put_mac(StrBuf *text, const char *key, const uint8_t *mac) {
        strbuf_printf(text, " %s=%02x:%02x:%02x:%02x:%02x:%02x", key, mac[0], mac[1], mac[2],
                      mac[3], mac[4], mac[5]);
}

static void put_mtu(StrBuf *text, uint32_t mtu_bytes) {
        if (mtu_bytes)
                strbuf_printf(text, " mtu=%u", mtu_bytes);
}

static const char *bytes_text(uint8_t family, const uint8_t *bytes, char *text) {
        IpAddress ip = {.family = family};

        memcpy(ip.bytes, bytes, sizeof(ip.bytes));
        return ip_format(&ip, text);
}

static void format_change(const Plan *plan, StepLink link, const LinkChange *change, StrBuf *text) {
        static const struct {
                unsigned int flag;
                const char *word;
        } words[] = {
                {LINK_SET_UP, "up"},
                {LINK_SET_DOWN, "down"},
                {LINK_SET_PROMISC, "promisc"},
                {LINK_SET_HAIRPIN, "hairpin"},
                {LINK_SET_ISOLATED, "isolated"},
                {LINK_SET_VLAN_FILTERING, "vlan_filtering"},
                {LINK_SET_ARP_NOTIFY, "arp_notify"},
                {LINK_SET_NO_LINKLOCAL, "no_linklocal"},
        };

        strbuf_printf(text, "link set dev=%s", link_name(plan, link));
        for (size_t i = 0; i < N_ELEMENTS(words); i++)
                if (change->set & words[i].flag)
                        strbuf_printf(text, " %s", words[i].word);
        if (change->set & LINK_SET_MASTER)
                strbuf_printf(text, " master=%s", plan->bridge);
        if (change->set & LINK_SET_MTU)
                put_mtu(text, change->mtu_bytes);
        if (change->set & LINK_SET_GSO)
                strbuf_printf(text, " gso_max_size=%u", change->gso_max_bytes);
        if (change->set & LINK_SET_ALIAS)
                strbuf_printf(text, " alias=%s", plan->alias);
        if (change->set & LINK_SET_MAC)
                put_mac(text, "mac", link == LINK_POD ? plan->pod_mac : plan->bridge_mac);
}

static void format_address(const Plan *plan, const PlanStep *step, StrBuf *text) {
        const LinkAddress *address = &step->u.address;
        char ip[IP_TEXT_MAX];

        strbuf_printf(text, "address %s dev=%s address=%s/%u",
                      step->kind == STEP_ADDRESS_ADD ? "add" : "remove",
                      link_name(plan, step->link), bytes_text(address->family, address->bytes, ip),
                      (unsigned int)address->prefix);
        if (step->kind == STEP_ADDRESS_ADD && (address->flags & IFA_F_NODAD))
                strbuf_append(text, " nodad");
        if (step->kind == STEP_ADDRESS_ADD && (address->flags & IFA_F_NOPREFIXROUTE))
                strbuf_append(text, " noprefixroute");
}

static void format_route(const Plan *plan, const PlanStep *step, StrBuf *text) {
        const Route *route = &step->u.route;
        char ip[IP_TEXT_MAX];

        strbuf_printf(text, "route add dev=%s to=%s/%u", link_name(plan, step->link),
                      bytes_text(route->family, route->destination, ip),
                      (unsigned int)route->prefix);
        if (route->has_gateway)
                strbuf_printf(text, " via=%s%s", bytes_text(route->family, route->gateway, ip),
                              route->onlink ? " onlink" : "");
        if (route->has_source)
                strbuf_printf(text, " source=%s", bytes_text(route->family, route->source, ip));
        if (route->scope != RT_SCOPE_UNIVERSE)
                strbuf_printf(text, " scope=%u", (unsigned int)route->scope);
        if (route->table)
                strbuf_printf(text, " table=%u", route->table);
        if (route->priority)
                strbuf_printf(text, " priority=%u", route->priority);
        put_mtu(text, route->mtu_bytes);
        if (route->advmss)
                strbuf_printf(text, " advmss=%u", route->advmss);
}

static void format_vlan(const Plan *plan, const PlanStep *step, StrBuf *text) {
        const PortVlan *vlan = &step->u.vlan;

        strbuf_printf(text, "vlan add dev=%s id=%u", link_name(plan, step->link),
                      (unsigned int)vlan->first);
        if (vlan->last != vlan->first)
                strbuf_printf(text, "-%u", (unsigned int)vlan->last);
        strbuf_append(text, vlan->pvid ? " pvid untagged" : " tagged");
}

static void format_veth(const Plan *plan, StrBuf *text) {
        strbuf_printf(text, "veth create name=%s peer=%s", plan->host, plan->pod);
        if (plan->has_master)
                strbuf_printf(text, " master=%s", plan->bridge);
        put_mtu(text, plan->mtu_bytes);
        put_mac(text, "mac", plan->pod_mac);
}

static void format_bridge(const Plan *plan, StrBuf *text) {
        strbuf_printf(text, "bridge create name=%s", plan->bridge);
        put_mac(text, "mac", plan->bridge_mac);
        if (plan->bridge_filters_vlans)
                strbuf_append(text, " vlan_filtering");
}

void plan_step_format(const Plan *plan, const PlanStep *step, StrBuf *text) {
        char ip[IP_TEXT_MAX];

        switch (step->kind) {
        case STEP_BRIDGE_CREATE:
                format_bridge(plan, text);
                return;
        case STEP_LINK_SET:
                format_change(plan, step->link, &step->u.change, text);
                return;
        case STEP_ADDRESS_ADD:
        case STEP_ADDRESS_REMOVE:
                format_address(plan, step, text);
                return;
        case STEP_SYSCTL:
                strbuf_printf(text, "sysctl %s=%s", step->u.sysctl.path, step->u.sysctl.value);
                return;
        case STEP_VETH_CREATE:
                format_veth(plan, text);
                return;
        case STEP_VLAN_LINK_CREATE:
                strbuf_printf(text, "veth create name=%s peer=port master=%s", plan->vlan,
                              plan->bridge);
                return;
        case STEP_VLAN_CLEAR:
                strbuf_printf(text, "vlan clear dev=%s", link_name(plan, step->link));
                return;
        case STEP_VLAN_ADD:
                format_vlan(plan, step, text);
                return;
        case STEP_ROUTE_ADD:
                format_route(plan, step, text);
                return;
        case STEP_NEIGHBOUR:
                strbuf_printf(text, "neighbour set dev=%s to=%s", link_name(plan, step->link),
                              bytes_text(step->u.neighbour.family, step->u.neighbour.bytes, ip));
                put_mac(text, "mac", step->u.neighbour.mac);
                return;
        case STEP_WAIT_PORT:
                strbuf_printf(text, "wait port dev=%s", plan->host);
                return;
        case STEP_WAIT_DAD:
                strbuf_printf(text, "wait dad dev=%s", plan->pod);
                return;
        case STEP_BEFORE_UP:
                strbuf_printf(text, "before up dev=%s", plan->pod);
                return;
        case STEP_ANNOUNCE:
                strbuf_printf(text, "announce dev=%s", plan->pod);
                return;
        case _STEP_KIND_N:
                break;
        }
}

void plan_format(const Plan *plan, StrBuf *text) {
        for (size_t i = 0; i < plan->n_steps; i++) {
                plan_step_format(plan, &plan->steps[i], text);
                strbuf_append(text, "\n");
        }
}
