/* SPDX-License-Identifier: Apache-2.0 */

/* STATUS: would the next ADD work, and if not, why. 50 is "no", 51 is "no, and pods that run may be
 * cut off". */

#include "cni/commands/request.h"
#include "cni/link/host.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* What the kernel gives a pair for which nobody says more. */
#define ETH_MTU 1500

static int unavailable(Request *request, unsigned int code, Error *err) {
        (void)failure_set(&request->failure, code,
                          code == CNI_CODE_LIMITED
                                  ? "not available, and running containers may be cut off"
                                  : "not available",
                          err->message);
        return -EIO;
}

typedef struct Orphans {
        char prefix[LINK_ALIAS_MAX];
        unsigned int *indices; /* owned; 0: is none */
        size_t n;
} Orphans;

static int add_orphan(const Link *link, void *userdata) {
        Orphans *orphans = userdata;
        unsigned int *indices;

        if (link->master != 0 || !str_has_prefix(link->alias, orphans->prefix))
                return 0;
        indices = reallocarray(orphans->indices, orphans->n + 1, sizeof(*indices));
        if (!indices)
                return -ENOMEM;
        orphans->indices = indices;
        indices[orphans->n++] = link->index;
        return 0;
}

/* A pair that has no bridge has a route to its pod. */
static int forget_routed(const Route *route, void *userdata) {
        const Orphans *orphans = userdata;

        for (size_t i = 0; i < orphans->n && route->prefix == addr_size(route->family) * 8; i++)
                if (orphans->indices[i] == route->index && route->table == RT_TABLE_MAIN)
                        orphans->indices[i] = 0;
        return 0;
}

/* Pairs of this network that were ports of a bridge. */
static size_t n_orphans(Request *request) {
        Orphans orphans = {.n = 0};
        size_t n = 0;

        (void)snprintf(orphans.prefix, sizeof(orphans.prefix), LINK_ALIAS_PREFIX "%s/",
                       request->conf.name);
        if (link_dump(&request->rtnl, "veth", 0, add_orphan, &orphans) == 0 && orphans.n > 0) {
                (void)route_dump(&request->rtnl, AF_INET, forget_routed, &orphans);
                (void)route_dump(&request->rtnl, AF_INET6, forget_routed, &orphans);
        }
        for (size_t i = 0; i < orphans.n; i++)
                n += orphans.indices[i] != 0;
        free(orphans.indices);
        return n;
}

/* No bridge is fine before the first pod: ADD makes it. */
static int bridge_status(Request *request, Error *err) {
        const char *name = request->conf.link.bridge;
        size_t n;
        Link link;
        int r = link_find(&request->rtnl, 0, name, &link);

        if (r == -ENODEV) {
                n = n_orphans(request);
                if (n == 0)
                        return 0;
                (void)error_set(err, ERROR_UNAVAILABLE,
                                "bridge %s is gone, %zu containers were on it", name, n);
                return unavailable(request, CNI_CODE_LIMITED, err);
        }
        if (r < 0)
                return error_set_errno(err, r, "look at %s", name);
        if (!str_equal(link.kind, "bridge")) {
                (void)error_set(err, ERROR_UNAVAILABLE, "\"%s\" exists but is not a bridge", name);
                return unavailable(request, CNI_CODE_UNAVAILABLE, err);
        }
        if (!(link.flags & IFF_UP)) {
                (void)error_set(err, ERROR_UNAVAILABLE, "bridge %s is down", name);
                return unavailable(request, CNI_CODE_LIMITED, err);
        }
        return 0;
}

/* The next ADD up to its plan: what would refuse there, refuses here. */
static int plan_next(Request *request, Plan *plan, Error *err) {
        static const uint8_t macs[3][6] = {{0}};
        cleanup(result_deinit) CniResult result = {0};
        const NetConf *conf = &request->conf;
        HostFacts facts = {0};
        int r = conf->ipam_type[0] != '\0' ? ipam_preview(&request->ipam, &result, err) : 0;
        bool unknown = r == IPAM_E_UNKNOWN;

        r = r < 0 ? r : plan_gateways(conf, &result, err);
        r = r < 0 ? r : host_facts_read(&request->rtnl, conf, &facts, err);
        r = r < 0 ? r : uplink_facts_read(&request->rtnl, conf, &result, false, &facts, err);
        if (r < 0 || unknown)
                return r;
        return plan_add(&(PlanInput){.conf = conf,
                                     .facts = &facts,
                                     .result = &result,
                                     .ifname = "eth0",
                                     .host_name = "veth",
                                     .alias = "",
                                     .macs = macs},
                        plan, err);
}

static int plan_status(Request *request, Error *err) {
        Plan plan = {0};
        int r = plan_next(request, &plan, err);

        if (r == 0 && request->env.tell && plan.n_steps > 0) {
                json_t *mtu = json_integer(plan.mtu_bytes ? plan.mtu_bytes : ETH_MTU);

                request_tell(request, "mtu", mtu);
                json_decref(mtu);
        }
        plan_deinit(&plan);
        return r < 0 ? unavailable(request, CNI_CODE_UNAVAILABLE, err) : 0;
}

static int status_of_features(Request *request, Error *err) {
        int r = features_status(&request->features, err);

        return r < 0 ? unavailable(request, CNI_CODE_UNAVAILABLE, err) : 0;
}

int link_status(Request *request, Error *err) {
        int r = request_open(request, err);

        r = r < 0 ? r : request_prepare(request, err);
        if (r == 0 && !conf_is_pair(&request->conf))
                r = bridge_status(request, err);
        r = r < 0 ? r : plan_status(request, err);
        r = r < 0 ? r : status_of_features(request, err);
        if (r < 0 || request->conf.ipam_type[0] == '\0')
                return r;
        r = ipam_status(&request->ipam, err);
        if (r < 0 && err->code == ERROR_UNAVAILABLE)
                return unavailable(request, CNI_CODE_UNAVAILABLE, err);
        return r;
}

int chain_status(Request *request, Error *err) {
        int r = request_prepare(request, err);

        return r < 0 ? r : status_of_features(request, err);
}
