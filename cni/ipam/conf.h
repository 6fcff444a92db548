/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_IPAM_CONF_H
#define BERTH_CNI_IPAM_CONF_H

/* The "ipam" object of host-local and static, with what runtimeConfig, args and CNI_ARGS add. Pure.
 */

#include "cni/ipam/range.h"
#include "cni/spec/conf.h"
#include "cni/spec/env.h"

typedef struct HostLocalConf {
        const char *data_dir;    /* borrowed from the NetConf; "" if absent */
        const char *resolv_conf; /* likewise */
        IpamSet *sets;           /* owned */
        size_t n_sets;
        IpAddress *requested; /* owned; in the order CNI_ARGS, args, runtimeConfig */
        size_t n_requested;
        CniResult extra; /* routes */
} HostLocalConf;

/* Return: 0; negative with @err in upstream's words. host_local_conf_deinit() after either. */
int host_local_conf_parse(const NetConf *net, const CniArgs *args, HostLocalConf *conf, Error *err);
void host_local_conf_deinit(HostLocalConf *conf);

/**
 * static_conf_parse() - the result is the configuration
 * @result: empty; gets addresses, routes and dns
 */
int static_conf_parse(const NetConf *net, const CniArgs *args, CniResult *result, Error *err);

/* resolv.conf(5) to a "dns" object; NULL when it says nothing. Return: 0; -ENOMEM. */
int resolv_conf_parse(const char *text, json_t **dnsp);

#endif
