/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_LOCAL_LOCAL_H
#define BERTH_CSI_LOCAL_LOCAL_H

/*
 * The embedded provider `local`, driver local.csi.berth.dev: volumes are files of a pool directory,
 * attached by loop. One process is node and controller of its own machine; topology key
 * "topology.local.berth.dev/node". Parameters are described in spec.h, consistency of snapshots in
 * cut.h, the layout on disk in pool.h.
 */

#include "csi/api/provider.h"

extern const Provider provider_local;

#endif
