/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/daemon/providers.h"

#include "common/base/str.h"
#include "csi/local/local.h"
#include "csi/providers/list.h"

#define PROVIDER_ADDRESS(name) &provider_##name,

const Provider *const providers[] = {
        PROVIDER_ROWS(PROVIDER_ADDRESS) &
                provider_local, /* matches nothing: the default when no other does */
        NULL,
};

const Provider *provider_find(const char *name) {
        for (size_t i = 0; providers[i]; i++)
                if (str_equal(providers[i]->name, name) ||
                    str_equal(providers[i]->driver_name, name))
                        return providers[i];
        return NULL;
}

const Provider *provider_detect(const Platform *platform) {
        for (size_t i = 0; platform && providers[i]; i++)
                if (providers[i]->match && providers[i]->match(platform))
                        return providers[i];
        return &provider_local;
}
