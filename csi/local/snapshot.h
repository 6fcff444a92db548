/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_LOCAL_SNAPSHOT_H
#define BERTH_CSI_LOCAL_SNAPSHOT_H

/* What single and group snapshots share. */

#include "csi/api/request.h"
#include "csi/local/cut.h"

/* Snapshots take no parameters but Kubernetes' own. ERROR_INVALID names the key. */
int local_check_no_parameters(const StringMap *parameters, Error *err);

/* The metadata of a new snapshot @name of a volume, and the space it may take. ERROR_NOT_FOUND. */
int local_plan_snapshot(Pool *pool, const char *name, const char *source_volume_id,
                        LocalMeta *fresh, uint64_t *needs_bytes, Error *err);

#endif
