/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_LINK_PLAN_H
#define BERTH_CNI_LINK_PLAN_H

/*
 * What ADD will do to links, addresses and routes, as a list that can be printed. Pure: the
 * configuration, what the host looks like and the addresses go in, steps come out.
 */

#include "cni/spec/conf.h"
#include "common/base/str.h"
#include "common/netlink/rtnl_link.h"
#include "common/netlink/rtnl_neigh.h"
#include "common/netlink/rtnl_route.h"

/* More addresses on one bridge than this are not looked at. */
#define FACTS_ADDRESSES_MAX 64

/* Nor more uplinks of the host. */
#define FACTS_UPLINKS_MAX 32

/* The host, as read before anything is changed. */
typedef struct HostFacts {
        bool has_bridge;
        Link bridge; /* whatever has that name */
        bool has_vlan_link;
        Link vlan_link;                             /* "<bridge>.<vlan>" */
        LinkAddress addresses[FACTS_ADDRESSES_MAX]; /* of the link that carries the gateways */
        size_t n_addresses;
        /* Of these, whose connected route somebody took away: the kernel does not make it again.
         * Only repair asks. */
        bool lacks_route[FACTS_ADDRESSES_MAX];
        bool forwards_v4, forwards_v6;
        /* The switch that each link has besides is off: of links that are made, and of the ways out
         * (IPv4 alone: for IPv6 only the host's counts, and an uplink may listen to a router so).
         */
        bool new_keeps_v4, new_keeps_v6;
        char keeping[FACTS_UPLINKS_MAX][IFNAMSIZ];
        size_t n_keeping;
        uint32_t uplink_mtu_bytes; /* 0: no way out is known, or nobody needed to know */
        /* Links that take router advertisements and would not when IPv6 forwards. Told only if that
         * is about to be switched on. */
        char advertised[FACTS_UPLINKS_MAX][IFNAMSIZ];
        size_t n_advertised;
} HostFacts;

/* The name of the link that carries the gateways of a VLAN; @name has IFNAMSIZ bytes. */
int plan_vlan_name(const LinkConf *link, char *name, Error *err);

typedef enum StepKind {
        STEP_BRIDGE_CREATE,
        STEP_LINK_SET,       /* u.change */
        STEP_ADDRESS_ADD,    /* u.address */
        STEP_ADDRESS_REMOVE, /* u.address */
        STEP_SYSCTL,         /* u.sysctl, in the namespace of the step's link */
        STEP_VETH_CREATE,
        STEP_VLAN_LINK_CREATE,
        STEP_VLAN_CLEAR, /* takes every VLAN off the port */
        STEP_VLAN_ADD,   /* u.vlan */
        STEP_ROUTE_ADD,  /* u.route */
        STEP_NEIGHBOUR,  /* u.neighbour */
        STEP_WAIT_PORT,  /* until the host's end forwards */
        STEP_WAIT_DAD,   /* until no IPv6 address of the pod is tentative */
        STEP_BEFORE_UP,  /* what others want set before the pod's link is up */
        STEP_ANNOUNCE,   /* tell the network whose address it is now */
        _STEP_KIND_N,
} StepKind;

typedef enum StepLink {
        LINK_BRIDGE,
        LINK_HOST,      /* the host's end of the pair */
        LINK_VLAN,      /* "<bridge>.<vlan>" */
        LINK_VLAN_PORT, /* its port on the bridge */
        LINK_POD,       /* from here on: inside the pod */
        LINK_LOOPBACK,
        _STEP_LINK_N,
} StepLink;

#define STEP_PATH_MAX 80

typedef struct PlanStep {
        StepKind kind;
        StepLink link;
        bool optional; /* a failure is passed over: an older kernel lacks the switch */
        union {
                LinkChange change; /* index and name are filled in by apply */
                LinkAddress address;
                Route route;
                Neighbour neighbour;
                PortVlan vlan;
                struct {
                        char path[STEP_PATH_MAX]; /* below /proc/sys */
                        const char *value;        /* static */
                } sysctl;
        } u;
} PlanStep;

/* A gateway per address, two VLANs and four routes fit many times. */
#define PLAN_STEPS_MAX 4352

typedef struct Plan {
        /* What creates links, with the names. */
        char bridge[IFNAMSIZ], host[IFNAMSIZ], pod[IFNAMSIZ], vlan[IFNAMSIZ], vlan_port[IFNAMSIZ];
        char alias[LINK_ALIAS_MAX]; /* of the host's end: whose it is */
        uint8_t bridge_mac[6], host_mac[6], pod_mac[6];
        uint32_t mtu_bytes; /* of the pair; 0: the kernel's */
        bool bridge_filters_vlans;
        bool has_master; /* the host's end is a port of the bridge */
        PlanStep *steps; /* owned */
        size_t n_steps;
        size_t n_own; /* the first so many are the pod's own; what follows is shared by all pods */
} Plan;

typedef struct PlanInput {
        const NetConf *conf;
        const HostFacts *facts;
        const CniResult *result; /* ips with their gateways, routes; no ips: layer 2 only */
        const char *ifname;
        const char *host_name;    /* for the host's end */
        const char *alias;        /* for the host's end */
        const uint8_t (*macs)[6]; /* three random ones: bridge, host, pod */
        const Link *host_end;     /* as it is; NULL: about to be made */
        bool has_before_up;       /* somebody has something to do there */
} PlanInput;

/**
 * plan_gateways() - what the configuration adds to what IPAM answered
 *
 * Gives each address its gateway (isGateway: the first of its subnet, if IPAM told none) and each
 * family its default route (isDefaultGateway), in @result itself: it is part of the answer.
 */
int plan_gateways(const NetConf *conf, CniResult *result, Error *err);

/* Return: 0; negative with @err filled, nothing having been done. plan_deinit() after either. */
int plan_add(const PlanInput *input, Plan *plan, Error *err);
void plan_deinit(Plan *plan);

/* Is it about a link that pods share, or about the whole host? */
static inline bool step_is_shared(const PlanStep *step) {
        return step->link == LINK_BRIDGE || step->link == LINK_VLAN || step->link == LINK_VLAN_PORT;
}

static inline bool step_is_in_pod(const PlanStep *step) {
        return step->link >= LINK_POD;
}

/* One step as a line without newline. */
void plan_step_format(const Plan *plan, const PlanStep *step, StrBuf *text);

/* Every step, a line each. */
void plan_format(const Plan *plan, StrBuf *text);

/* --- carrying it out ----------------------------------------------------------------------- */

/* The kernel as the plan sees it; tests pass one that fails at step n. */
typedef struct PlanKernel {
        /* Steps of one namespace, in order. On failure *@donep tells how many succeeded. */
        int (*run)(void *userdata, const Plan *plan, const PlanStep *steps, size_t n, size_t *donep,
                   Error *err);
        /* Takes the pair away, and what was added to links that others share; missing is done. */
        int (*undo)(void *userdata, const Plan *plan, Error *err);
        void *userdata;
} PlanKernel;

typedef enum PlanPart {
        PLAN_OWN,    /* the bridge, the pair, what is in the pod */
        PLAN_SHARED, /* gateways and forwarding, then the announcement: when that has worked */
} PlanPart;

/* All of that part, or nothing of the pod: a bridge stays. Return: 0; what run returned otherwise,
 * also an outcome above 0. */
int plan_apply(const Plan *plan, PlanPart part, const PlanKernel *kernel, Error *err);

#endif
