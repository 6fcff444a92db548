/* SPDX-License-Identifier: Apache-2.0 */

/* Every provider, in the order in which they are asked whether this is their machine. */

#include "csi/local/local.h"
#include "csi/providers/list.h"

#include "common/base/str.h"

const Provider *const providers[] = {
        &provider_alibaba,
        &provider_aws,
        &provider_azure,
        &provider_cloudscale,
        &provider_digitalocean,
        &provider_exoscale,
        &provider_gcp,
        &provider_hetzner,
        &provider_linode,
        &provider_nfs,
        &provider_openstack,
        &provider_scaleway,
        &provider_spiffe,
        &provider_upcloud,
        &provider_vsphere,
        &provider_vultr,
        &provider_local, /* matches nothing: the default when no other does */
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
