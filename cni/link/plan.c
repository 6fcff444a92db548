/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan as a whole: in which order, and what refuses it. What is planned for the bridge is in
 * plan_bridge.c, for the pod in plan_pod.c.
 */

#include "cni/link/plan_internal.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define IPV4_MTU_MIN 68
#define IPV6_MTU_MIN 1280

void plan_deinit(Plan *plan) {
        free(plan->steps);
        *plan = (Plan){0};
}

PlanStep *plan_step(PlanMaker *maker, StepKind kind, StepLink link) {
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

PlanStep *plan_link_set(PlanMaker *maker, StepLink link, unsigned int set) {
        PlanStep *made = plan_step(maker, STEP_LINK_SET, link);

        made->u.change.set = set;
        return made;
}

/* @name: of the link whose IPv6 switch @key is; NULL: @key is the whole path below /proc/sys. */
PlanStep *plan_sysctl(PlanMaker *maker, StepLink link, const char *name, const char *key,
                      const char *value) {
        PlanStep *made = plan_step(maker, STEP_SYSCTL, link);

        (void)snprintf(made->u.sysctl.path, sizeof(made->u.sysctl.path), "%s%s%s%s",
                       name ? "net/ipv6/conf/" : "", name ? name : "", name ? "/" : "", key);
        made->u.sysctl.value = value;
        return made;
}

LinkAddress plan_link_address(const IpAddress *ip, uint8_t length, bool dad) {
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

bool plan_has_family(const CniResult *result, uint8_t family) {
        for (size_t i = 0; i < result->n_ips; i++)
                if (result->ips[i].address.address.family == family)
                        return true;
        return false;
}

/* --- links of the host, whichever ----------------------------------------------------------- */

/*
 * Switches of a link of the host that leads to pods, whoever made it; @there: as it is, NULL: about
 * to be made. A pod must not become the host's router (CVE-2020-10749). And until a link-local
 * address is proven (1 to 2 s) the host asks for no neighbour on behalf of what it forwards, so a
 * pod would wait that long for its first answer. A host may have IPv6 off for links that come.
 */
void plan_switches(PlanMaker *maker, StepLink link, const char *name, const Link *there,
                   bool has_ipv6) {
        bool is_told = there && there->has_inet6;

        if (!is_told || there->accept_ra != 0)
                plan_sysctl(maker, link, name, "accept_ra", "0")->optional = true;
        if (!is_told || there->accept_dad != 0)
                plan_sysctl(maker, link, name, "accept_dad", "0")->optional = true;
        if (has_ipv6 && (!is_told || there->inet6_is_off))
                plan_sysctl(maker, link, name, "disable_ipv6", "0")->optional = true;
}

/* A message of its own: only so the kernel takes it as somebody's will. */
void plan_mtu(PlanMaker *maker, StepLink link, const Link *there) {
        uint32_t mtu = maker->plan->mtu_bytes;

        if (mtu != 0 && (!there || there->mtu_bytes != mtu))
                plan_link_set(maker, link, LINK_SET_MTU)->u.change.mtu_bytes = mtu;
}

/* What a link does not take, the host cuts before it, at several times the cost. An older kernel
 * keeps its 64 KiB. */
void plan_gso(PlanMaker *maker, StepLink link, const Link *there) {
        uint32_t gso = maker->link->gso_max_bytes;
        PlanStep *made;

        if (gso == 0 || (there && there->gso_max_bytes == gso))
                return;
        made = plan_link_set(maker, link, LINK_SET_GSO);
        made->u.change.gso_max_bytes = gso;
        made->optional = true;
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

/* --- all of it -------------------------------------------------------------------------------- */

static int check_host(const PlanMaker *maker) {
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
static uint32_t pair_mtu(const PlanMaker *maker) {
        const HostFacts *facts = maker->facts;
        uint32_t uplink = facts->uplink_mtu_bytes, bridge = facts->bridge.mtu_bytes;

        if (maker->link->mtu_bytes)
                return maker->link->mtu_bytes;
        if (conf_is_pair(maker->conf) || !facts->has_bridge)
                return uplink;
        if (uplink == 0 || (bridge < uplink && !plan_bridge_mtu_is_open(facts)))
                return bridge;
        return uplink;
}

/* RFC 791 and RFC 8200, section 5. The kernel says only "Invalid argument", and a bridge would be
 * left so. */
static int check_mtu(const PlanMaker *maker) {
        bool six = plan_has_family(maker->input->result, AF_INET6);
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

static void plan_names(PlanMaker *maker) {
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
        PlanMaker maker = {
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
        (void)plan_step(&maker, STEP_VETH_CREATE, LINK_HOST);
        plan_port(&maker);
        if (plan->has_master)
                plan_vlans(&maker);
        else
                plan_ptp_host(&maker);
        plan_pod(&maker);
        plan->n_own = plan->n_steps;
        plan_bridge_gateways(&maker);
        if (plan_has_gateways(&maker) || !plan->has_master)
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
