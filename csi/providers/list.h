/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_PROVIDERS_LIST_H
#define BERTH_CSI_PROVIDERS_LIST_H

/* Each provider's one name that others know. */

#include "csi/api/provider.h"

extern const Provider provider_alibaba;
extern const Provider provider_aws;
extern const Provider provider_azure;
extern const Provider provider_cloudscale;
extern const Provider provider_digitalocean;
extern const Provider provider_exoscale;
extern const Provider provider_gcp;
extern const Provider provider_hetzner;
extern const Provider provider_linode;
extern const Provider provider_nfs;
extern const Provider provider_openstack;
extern const Provider provider_scaleway;
extern const Provider provider_spiffe;
extern const Provider provider_upcloud;
extern const Provider provider_vsphere;
extern const Provider provider_vultr;

#endif
