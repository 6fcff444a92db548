/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_LINK_HOST_H
#define BERTH_CNI_LINK_HOST_H

#include "cni/link/plan.h"

/* host_facts_read() - the host as it is, in one or two round trips; nothing is changed */
int host_facts_read(NlSocket *rtnl, const NetConf *conf, HostFacts *facts, Error *err);

/**
 * uplink_facts_read() - the way out of this host, for a pod with these addresses and routes
 *
 * @whole: as a comparison has to see it; else the MTU, and whether these links forward, is asked
 *         about only when the MTU is needed: none is in the configuration
 *
 * Links that take
 * router advertisements only when IPv6 is about to be forwarded for the first time.
 */
int uplink_facts_read(NlSocket *rtnl, const NetConf *conf, const CniResult *result, bool whole,
                      HostFacts *facts, Error *err);

#endif
