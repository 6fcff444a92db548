/* SPDX-License-Identifier: Apache-2.0 */

/* Called as host-local or static: IPAM alone, for somebody else's interface plugin. */

#include "cni/commands/request.h"

#include "common/base/cleanup.h"

int address_add(Request *request, Error *err) {
        cleanup(result_deinit) CniResult result = {0};
        int r = ipam_add(&request->ipam, &result, err);

        if (r < 0)
                return r;
        r = request_print(request, &result, err);
        if (r < 0)
                ipam_undo(&request->ipam);
        return r;
}

int address_del(Request *request, Error *err) {
        return ipam_del(&request->ipam, err);
}

int address_check(Request *request, Error *err) {
        return ipam_check(&request->ipam, err);
}

int address_gc(Request *request, Error *err) {
        cleanup(freep) uint8_t(*owners)[OWNER_SIZE] = NULL;
        cleanup(json_decrefp) json_t *told = request->env.tell ? json_array() : NULL;
        GcRequest gc = {.network = request->conf.name, .told = told};
        int r = gc_parse(&request->conf, &owners, &gc.n_owners, err);

        if (r == GC_E_NO_LIST)
                return 0;
        gc.owners = (const uint8_t(*)[OWNER_SIZE])owners;
        r = r < 0 ? r : ipam_gc(&request->ipam, &gc, err);
        if (r == 0 && told)
                request_tell(request, "garbage", told);
        return r;
}

int address_status(Request *request, Error *err) {
        int r = ipam_status(&request->ipam, err);

        if (r < 0 && err->code == ERROR_UNAVAILABLE)
                (void)failure_set(&request->failure, CNI_CODE_UNAVAILABLE, "not available",
                                  err->message);
        return r;
}
