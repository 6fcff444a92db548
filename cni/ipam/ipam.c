/* SPDX-License-Identifier: Apache-2.0 */

/* Which kind of IPAM it is, and nothing more. */

#include "cni/ipam/ipam.h"

#include "cni/ipam/conf.h"
#include "cni/spec/json.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <string.h>

typedef enum IpamKind {
        IPAM_HOST_LOCAL,
        IPAM_STATIC,
        IPAM_OTHER,
} IpamKind;

static IpamKind kind_of(const Ipam *ipam) {
        if (ipam->conf->role == ROLE_HOST_LOCAL || str_equal(ipam->conf->ipam_type, "host-local"))
                return IPAM_HOST_LOCAL;
        if (ipam->conf->role == ROLE_STATIC || str_equal(ipam->conf->ipam_type, "static"))
                return IPAM_STATIC;
        return IPAM_OTHER;
}

static int delegate_add(Ipam *ipam, CniResult *result, Error *err) {
        cleanup(freep) char *output = NULL;
        json_t *json = NULL;
        int r;

        r = delegate_run(ipam, "ADD", &output, err);
        if (r < 0)
                return r;
        r = json_text_parse(output, strlen(output), &json, err);
        r = r < 0 ? r : result_parse(json, ipam->conf->version, result, err);
        json_decref(json);
        if (r < 0) {
                Error ignored = {0};

                (void)delegate_run(ipam, "DEL", NULL, &ignored);
                return error_wrap(err, r, "result of IPAM plugin %s", ipam->conf->ipam_type);
        }
        return 0;
}

int ipam_add(Ipam *ipam, CniResult *result, Error *err) {
        switch (kind_of(ipam)) {
        case IPAM_HOST_LOCAL:
                return host_local_add(ipam, result, err);
        case IPAM_STATIC:
                return static_conf_parse(ipam->conf, ipam->args, result, err);
        case IPAM_OTHER:
                break;
        }
        return delegate_add(ipam, result, err);
}

int ipam_del(Ipam *ipam, Error *err) {
        switch (kind_of(ipam)) {
        case IPAM_HOST_LOCAL:
                return host_local_del(ipam, err);
        case IPAM_STATIC:
                return 0;
        case IPAM_OTHER:
                break;
        }
        return delegate_run(ipam, "DEL", NULL, err);
}

/* What static was configured to give must be what was given. */
static int static_check(Ipam *ipam, Error *err) {
        cleanup(result_deinit) CniResult wanted = {0};
        const CniResult *prev = &ipam->conf->prev;
        char text[IP_TEXT_MAX];
        int r = static_conf_parse(ipam->conf, ipam->args, &wanted, err);

        if (r < 0)
                return r;
        if (!ipam->conf->has_prev)
                return error_set(err, ERROR_INVALID, "Required prevResult missing");
        for (size_t i = 0; i < wanted.n_ips; i++)
                for (size_t j = 0; j < prev->n_ips; j++) {
                        const ResultIp *a = &wanted.ips[i], *b = &prev->ips[j];

                        if (ip_equal(&a->address.address, &b->address.address) &&
                            ip_is_set(&a->gateway) && !ip_equal(&a->gateway, &b->gateway))
                                return error_set(err, ERROR_CONFLICT,
                                                 "static: Failed to match addr %s on interface %s",
                                                 ip_format(&b->address.address, text),
                                                 ipam->env->ifname);
                }
        return 0;
}

int ipam_check(Ipam *ipam, Error *err) {
        switch (kind_of(ipam)) {
        case IPAM_HOST_LOCAL:
                return host_local_check(ipam, err);
        case IPAM_STATIC:
                return static_check(ipam, err);
        case IPAM_OTHER:
                break;
        }
        return delegate_run(ipam, "CHECK", NULL, err);
}

int ipam_gc(Ipam *ipam, const GcRequest *gc, Error *err) {
        switch (kind_of(ipam)) {
        case IPAM_HOST_LOCAL:
                return host_local_gc(ipam, gc, err);
        case IPAM_STATIC:
                return 0;
        case IPAM_OTHER:
                break;
        }
        if (gc_tells(gc, "what IPAM plugin %s finds, which cannot be asked before",
                     ipam->conf->ipam_type))
                return 0;
        return delegate_run(ipam, "GC", NULL, err);
}

/* However it fails, the next ADD would too; 50 and 51 are its own to say. */
static int delegate_status(Ipam *ipam, Error *err) {
        int r = delegate_run(ipam, "STATUS", NULL, err);

        if (r < 0 && ipam->passed.code != CNI_CODE_UNAVAILABLE &&
            ipam->passed.code != CNI_CODE_LIMITED) {
                ipam->passed.code = 0;
                err->code = ERROR_UNAVAILABLE;
        }
        return r;
}

int ipam_status(Ipam *ipam, Error *err) {
        cleanup(result_deinit) CniResult result = {0};

        switch (kind_of(ipam)) {
        case IPAM_HOST_LOCAL:
                return host_local_status(ipam, err);
        case IPAM_STATIC:
                return static_conf_parse(ipam->conf, ipam->args, &result, err);
        case IPAM_OTHER:
                break;
        }
        return delegate_status(ipam, err);
}

int ipam_preview(Ipam *ipam, CniResult *result, Error *err) {
        switch (kind_of(ipam)) {
        case IPAM_HOST_LOCAL:
                return host_local_preview(ipam, result, err);
        case IPAM_STATIC:
                return static_conf_parse(ipam->conf, ipam->args, result, err);
        case IPAM_OTHER:
                break;
        }
        return IPAM_E_UNKNOWN;
}

void ipam_undo(Ipam *ipam) {
        Error ignored = {0};

        if (!ipam->kept)
                (void)ipam_del(ipam, &ignored);
}

int ipam_restore(Ipam *ipam, const ResultIp *ips, size_t n_ips, bool doing, StrBuf *done,
                 Error *err) {
        if (kind_of(ipam) != IPAM_HOST_LOCAL)
                return 0;
        return host_local_restore(ipam, ips, n_ips, doing, done, err);
}

int ipam_find(Ipam *ipam, CniResult *result, Error *err) {
        return kind_of(ipam) == IPAM_HOST_LOCAL ? host_local_find(ipam, result, err) : 0;
}
