/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_FACTS_H
#define BERTH_CNI_FACTS_H

#include "cni/plan.h"

/**
 * host_facts_read() - the host as it is, in two or three round trips; nothing is changed
 *
 * The uplink is asked about only when its MTU will be needed: no mtu in the configuration, and no
 * bridge to take it from.
 */
int host_facts_read(NlSocket *rtnl, const NetConf *conf, HostFacts *facts, Error *err);

#endif
