/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_LINK_PLAN_INTERNAL_H
#define BERTH_CNI_LINK_PLAN_INTERNAL_H

/* The parts of plan_add(), which says in which order they come. */

#include "cni/link/plan.h"

/* While a plan is being made: the first failure is kept, and later steps are dropped. */
typedef struct PlanMaker {
        const PlanInput *input;
        const NetConf *conf;
        const LinkConf *link;
        const HostFacts *facts;
        Plan *plan;
        int failed;
        Error *err;
} PlanMaker;

/* --- steps --- */

/* The next step, zeroed but for these; one that is dropped when the plan has failed or is full. */
PlanStep *plan_step(PlanMaker *maker, StepKind kind, StepLink link);
PlanStep *plan_link_set(PlanMaker *maker, StepLink link, unsigned int set);

/* @name: of the link whose IPv6 switch @key is; NULL: @key is the whole path below /proc/sys. */
PlanStep *plan_sysctl(PlanMaker *maker, StepLink link, const char *name, const char *key,
                      const char *value);

LinkAddress plan_link_address(const IpAddress *ip, uint8_t length, bool dad);
bool plan_has_family(const CniResult *result, uint8_t family);

/* --- of any link of the host; @there: as it is, NULL: about to be made --- */

void plan_switches(PlanMaker *maker, StepLink link, const char *name, const Link *there,
                   bool has_ipv6);
void plan_mtu(PlanMaker *maker, StepLink link, const Link *there);
void plan_gso(PlanMaker *maker, StepLink link, const Link *there);

/* --- the bridge --- */

/* Its MTU is nobody's will: without a port the kernel may have put its own default there. */
bool plan_bridge_mtu_is_open(const HostFacts *facts);
void plan_bridge(PlanMaker *maker);
void plan_vlan_gateway_link(PlanMaker *maker);
bool plan_has_gateways(const PlanMaker *maker);
void plan_bridge_gateways(PlanMaker *maker);
void plan_families_forwarding(PlanMaker *maker);

/* --- the pair and the pod --- */

void plan_port(PlanMaker *maker);
void plan_vlans(PlanMaker *maker);
void plan_ptp_host(PlanMaker *maker);
void plan_pod(PlanMaker *maker);
void plan_announce(PlanMaker *maker);

#endif
