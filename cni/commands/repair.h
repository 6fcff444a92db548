/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_COMMANDS_REPAIR_H
#define BERTH_CNI_COMMANDS_REPAIR_H

/*
 * The pods of this node: what they should have, what they have, and putting back what is missing.
 *
 * What they should have is what ADD would make: libcni's notes say with which configuration and
 * which answer each pod was attached, and plan_add() and the parts of the rules turn that into
 * steps and elements. What is there already is left alone.
 */

#include "cni/commands/request.h"
#include "cni/link/plan.h"
#include "cni/spec/pods.h"

/* --- wanted, observed, difference (cni/commands/repair_plan.c); pure
 * ---------------------------------- */

/* One link of a pair, as it is. */
typedef struct LinkObserved {
        Link link;
        LinkAddress addresses[FACTS_ADDRESSES_MAX];
        size_t n_addresses;
        Route *routes; /* owned */
        size_t n_routes;
        Neighbour *neighbours; /* owned; permanent ones, of a routed pod */
        size_t n_neighbours;
} LinkObserved;

typedef struct PairObserved {
        LinkObserved host, pod;
        bool host_is_port; /* of the bridge that is wanted, or none is */
        bool (*has_sysctl)(const char *path, const char *value); /* of the host's namespace */
} PairObserved;

void link_observed_deinit(LinkObserved *observed);
void pair_observed_deinit(PairObserved *observed);

/* Which addresses of @facts lack the route that the kernel made with them, by what @gate, whose
 * they are, has. */
void observe_connected_routes(const LinkObserved *gate, HostFacts *facts);

/**
 * plan_difference() - of the steps of an ADD those that are still to be done for a pair that exists
 * @whole: made by plan_add() of the host's facts of now, so what concerns the bridge alone is a
 *         difference already
 * @rest:  its steps; freed by plan_deinit()
 *
 * Sysctls inside the pod are the pod's own by now (but tuning's) and are left out, as is what
 * announces addresses. Return: 0; -ENOMEM.
 */
int plan_difference(const Plan *whole, const PairObserved *observed, Plan *rest);

/**
 * pods_need_seen() - are those of @notes gone that do not live? (cni/commands/pods_unseen.c)
 *
 * Waits up to 2 s for links that go. Return: 0; PRECONDITION: a link of one of them stays, so that
 * namespaces cannot be seen from here; another.
 */
int pods_need_seen(const PodNotes *notes, Error *err);

/* --- doing it (cni/commands/repair.c)
 * ----------------------------------------------------------------- */

typedef enum RepairMode {
        REPAIR_CHECK, /* says what is missing */
        REPAIR_DO,
} RepairMode;

/**
 * repair_node() - what belongs to no pod: a table of rules that lost some is taken away, for the
 * pods' to be made again; addresses of Services
 * @done: a line for each difference
 */
int repair_node(RepairMode mode, StrBuf *done, Error *err);

/* How a line begins that is about what pods share: it comes with each of them. */
#define REPAIR_OF_NODE "node: "

/**
 * repair_pod() - one pod: each plugin of ours in its list, in order
 * @is_ours: does this program serve the type on this node
 * @done:    a line for each difference
 * @otherp:  NULL, or the first plugin's type when none of the list is ours, so that nothing was
 *           compared; borrowed from @note
 *
 * Return: 0, also when nothing was to be done; negative with the reason why something could not.
 */
int repair_pod(const PodNote *note, bool (*is_ours)(const char *type, void *userdata),
               void *userdata, RepairMode mode, StrBuf *done, const char **otherp, Error *err);

/* When every pod was repaired: what earlier versions had in place of it, rules for whole subnets in
 * FORWARD, goes. Return: 0; negative. */
int repair_finish(Error *err);

#endif
