/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_PROVIDERS_LIST_H
#define BERTH_CSI_PROVIDERS_LIST_H

/* Each provider's one name that others know. */

#include "csi/api/provider.h"
#include "csi/providers/rows.h" /* made from meson.build beside: PROVIDER_ROWS(X) */

#define PROVIDER_DECLARE(name) extern const Provider provider_##name;
PROVIDER_ROWS(PROVIDER_DECLARE)

#endif
