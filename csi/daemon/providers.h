/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_DAEMON_PROVIDERS_H
#define BERTH_CSI_DAEMON_PROVIDERS_H

/* Every provider: `local`, and the rows of csi/providers/meson.build. */

#include "csi/api/provider.h"

/* NULL-terminated, in the order in which they are asked whether this is their machine. */
extern const Provider *const providers[];

/* By name or driver name; NULL if there is none. */
const Provider *provider_find(const char *name);

/* The first that matches @platform, else the provider `local`. */
const Provider *provider_detect(const Platform *platform);

#endif
