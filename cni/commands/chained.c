/* SPDX-License-Identifier: Apache-2.0 */

/* Called as portmap, bandwidth, firewall or tuning, behind another plugin: what that one made is in
 * prevResult, and goes on as the result. */

#include "cni/commands/request.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct Chain {
        Request *request;
        LinkKernel kernel;
        CniResult result; /* a copy of prevResult, for features to add to */
        ResultIp *ips;    /* owned: the addresses of this interface */
} Chain;

static void chain_deinit(Chain *chain) {
        link_kernel_deinit(&chain->kernel);
        result_deinit(&chain->result);
        free(chain->ips);
}

/* Addresses of the interface in the pod; one that names no interface is taken for one. */
static int own_addresses(Chain *chain, Error *err) {
        const CniResult *prev = &chain->request->conf.prev;
        Attachment *at = &chain->request->at;
        size_t n = 0;

        chain->ips = calloc(prev->n_ips ? prev->n_ips : 1, sizeof(*chain->ips));
        if (!chain->ips)
                return error_set_errno(err, ENOMEM, "prevResult");
        for (size_t i = 0; i < prev->n_ips; i++) {
                int index = prev->ips[i].interface;

                if (index >= 0 && (size_t)index < prev->n_interfaces &&
                    (str_is_empty(prev->interfaces[index].sandbox) ||
                     !str_equal(prev->interfaces[index].name, at->ifname)))
                        continue;
                chain->ips[n++] = prev->ips[i];
        }
        at->ips = chain->ips;
        at->n_ips = n;
        at->knows_ips = chain->request->conf.has_prev;
        return 0;
}

/* The pod's end tells the index of the host's. */
static unsigned int peer_index(Chain *chain) {
        Request *request = chain->request;
        Link link;

        if (request->netns_fd < 0 || link_kernel_open_pod(&chain->kernel) < 0 ||
            link_find(&chain->kernel.pod, 0, request->env.ifname, &link) < 0)
                return 0;
        request->at.pod_index = link.index;
        return str_equal(link.kind, "veth") ? link.peer : 0;
}

/* Host links of prevResult: the one that is a bridge, and the one at the other end of the pair. */
static void own_links(Chain *chain) {
        const CniResult *prev = &chain->request->conf.prev;
        Attachment *at = &chain->request->at;
        unsigned int peer = peer_index(chain);

        for (size_t i = 0; i < prev->n_interfaces && i < NL_BATCH_MAX; i++) {
                const ResultInterface *interface = &prev->interfaces[i];
                Link link;

                if (!str_is_empty(interface->sandbox) || strlen(interface->name) >= IFNAMSIZ ||
                    link_find(at->rtnl, 0, interface->name, &link) < 0)
                        continue;
                if (str_equal(link.kind, "bridge") && at->bridge_index == 0) {
                        memcpy(at->bridge, link.name, sizeof(at->bridge));
                        at->bridge_index = link.index;
                } else if (link.index == peer) {
                        memcpy(at->host_link, link.name, sizeof(at->host_link));
                        at->host_index = link.index;
                }
        }
}

/* DEL asks for no link: what is taken away is found by its owner. */
static int chain_open(Chain *chain, bool deleting, Error *err) {
        Request *request = chain->request;
        int r = request_open(request, err);

        if (r == 0)
                r = deleting ? request_open_netns(request, err) : request_need_netns(request, err);
        r = r < 0 ? r : request_prepare(request, err);
        if (request->env.verb != VERB_CHECK)
                r = r < 0 ? r : request_hold(request, err);
        if (r < 0)
                return r;
        chain->kernel.netns_fd = request->netns_fd;
        chain->kernel.own_netns_fd = request->own_netns_fd;
        r = own_addresses(chain, err);
        if (r == 0 && !deleting)
                own_links(chain);
        return r;
}

static int need_prev(const Request *request, const char *words, Error *err) {
        return request->conf.has_prev ? 0 : error_set(err, ERROR_INVALID, "%s", words);
}

int request_attach(Request *request, Error *err) {
        Chain chain = {.request = request, .kernel = LINK_KERNEL_NULL};
        int r = request_open(request, err);

        r = r < 0 ? r : request_open_netns(request, err);
        r = r != 0 ? r : request_prepare(request, err);
        if (r != 0)
                return r;
        chain.kernel.netns_fd = request->netns_fd;
        chain.kernel.own_netns_fd = request->own_netns_fd;
        r = own_addresses(&chain, err);
        if (r == 0)
                own_links(&chain);
        request->ips = ptr_steal(&chain.ips);
        chain_deinit(&chain);
        return r;
}

int chain_add(Request *request, Error *err) {
        cleanup(chain_deinit) Chain chain = {.request = request, .kernel = LINK_KERNEL_NULL};
        int r;

        r = need_prev(request, "must be called as chained plugin", err);
        r = r < 0 ? r : chain_open(&chain, false, err);
        if (r < 0)
                return r;
        r = result_merge(&chain.result, &request->conf.prev);
        if (r < 0)
                return error_set_errno(err, r, "prevResult");
        r = features_add(&request->features, &request->at, &chain.result, err);
        return r < 0 ? r : request_print(request, &chain.result, err);
}

int chain_del(Request *request, Error *err) {
        cleanup(chain_deinit) Chain chain = {.request = request, .kernel = LINK_KERNEL_NULL};
        bool detached = request_is_detached(request);
        LinkList removed = {.n = 0}; /* ifbs */
        Error failed = {0};
        int r = chain_open(&chain, true, err);

        if (r < 0)
                return r;
        request->at.removed = &removed;
        features_del(&request->features, &request->at, err);
        detached =
                detached && removed.n > 0 && link_list_mark_removed(&request->rtnl, &removed) == 0;
        r = detached ? 0 : link_list_remove(&request->rtnl, &removed);
        if (r < 0) {
                (void)error_set_errno(&failed, r, "remove links of %s", request->env.ifname);
                error_join(err, &failed);
        }
        request_leave(request, detached);
        return error_is_set(err) ? -EIO : 0;
}

int chain_check(Request *request, Error *err) {
        cleanup(chain_deinit) Chain chain = {.request = request, .kernel = LINK_KERNEL_NULL};
        int r;

        r = need_prev(request, "Required prevResult missing", err);
        r = r < 0 ? r : chain_open(&chain, false, err);
        return r < 0 ? r
                     : features_check(&request->features, &request->at, &request->conf.prev, err);
}
