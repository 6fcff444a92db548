/* SPDX-License-Identifier: Apache-2.0 */

/*
 * DEL has no plan that could refuse: everything is tried, errors are gathered, missing is done.
 * Rules go first, then the links, then the leases: an address is given back when nobody can use it.
 *
 * Removing a link takes the kernel 12 to 24 ms, nearly all of it waiting (rcu_barrier) and none of
 * it CPU. So there are two ways. "wait": when DEL has answered, nothing is there any more.
 * "detached": the host's end is down, which ends the use of its address, and both ends have names
 * and a group that no interface of a pod has, so that the same name can be added again at once; a
 * child that holds no lock of ours waits for the removal. Where it is not said, detached is for
 * pods of Kubernetes: there the namespace itself goes next, and nobody looks at what is in it.
 */

#include "cni/commands/request.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct LinkDel {
        Request *request;
        LinkKernel kernel;
        bool detached;
        unsigned int pod_index; /* of the pod's end, if it is the pair's; 0: not known */
        LinkList removed;       /* links of the host that go */
        CniResult leases;       /* addresses, when prevResult does not tell them */
} LinkDel;

static void link_del_deinit(LinkDel *del) {
        link_kernel_deinit(&del->kernel);
        result_deinit(&del->leases);
}

static void note(Error *err, int r, const char *what, const char *name) {
        Error failed = {0};

        if (r >= 0)
                return;
        (void)error_set_errno(&failed, r, "%s %s", what, name);
        error_join(err, &failed);
}

static int run_one(NlSocket *sock, NlBatch *batch) {
        int r = nl_batch_run(sock, batch, NULL, NULL);

        return r == -ENODEV ? 0 : r;
}

/* A pair that is not ours by name: made by upstream's plugin before the switch. */
static int remove_in_pod(LinkDel *del) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        int r = link_kernel_open_pod(&del->kernel);

        if (r < 0)
                return r;
        link_delete(&batch, 0, del->request->env.ifname);
        return run_one(&del->kernel.pod, &batch);
}

static void find_link(LinkDel *del, Error *err) {
        Request *request = del->request;
        Link link;
        int r;

        r = host_link_find(&request->at, &link);
        /* A DEL that was killed may have given it another name already. */
        if (r == -ENODEV)
                r = link_marked_remove(&request->rtnl);
        else if (r == 0) {
                (void)snprintf(request->at.host_link, sizeof(request->at.host_link), "%s",
                               link.name);
                request->at.host_index = link.index;
                request->at.is_ours = true;
                del->pod_index = link.peer;
                link_list_add(&del->removed, link.index);
        }
        note(err, r, "look for the host's end of", request->env.ifname);
}

/* Return: false when it cannot be said that the names are free: then the removal is waited for. */
static bool free_names(LinkDel *del) {
        Request *request = del->request;
        LinkList pod = {.indices = {del->pod_index}, .n = del->pod_index != 0};

        if (link_list_mark_removed(&request->rtnl, &del->removed) < 0)
                return false;
        return pod.n == 0 || request->netns_fd < 0 ||
               (link_kernel_open_pod(&del->kernel) == 0 &&
                link_list_mark_removed(&del->kernel.pod, &pod) == 0);
}

static void remove_links(LinkDel *del, Error *err) {
        Request *request = del->request;
        bool found = request->at.host_index != 0;

        del->detached = del->detached && del->removed.n > 0 && free_names(del);
        if (!del->detached)
                note(err, link_list_remove(&request->rtnl, &del->removed), "remove",
                     request->env.ifname);
        if (!found && request->netns_fd >= 0)
                note(err, remove_in_pod(del), "remove", request->env.ifname);
}

/* Whose rules to look for. prevResult knows; else the leases do, unless they are gone as well. */
static void recall_addresses(LinkDel *del) {
        Request *request = del->request;
        Error ignored = {0};

        if (request->conf.has_prev) {
                request->at.ips = request->conf.prev.ips;
                request->at.n_ips = request->conf.prev.n_ips;
                request->at.knows_ips = true;
                return;
        }
        if (ipam_find(&request->ipam, &del->leases, &ignored) == 0) {
                request->at.ips = del->leases.ips;
                request->at.n_ips = del->leases.n_ips;
                request->at.knows_ips = request->ipam.found_whole;
        }
}

int link_del(Request *request, Error *err) {
        cleanup(link_del_deinit) LinkDel del = {.request = request,
                                                .kernel = LINK_KERNEL_NULL,
                                                .detached = request_is_detached(request)};
        Error failed = {0};
        int r;

        r = request_open(request, err);
        r = r < 0 ? r : request_open_netns(request, err);
        r = r < 0 ? r : request_prepare(request, err);
        r = r < 0 ? r : request_hold(request, err);
        if (r < 0)
                return r;
        del.kernel.netns_fd = request->netns_fd;
        del.kernel.own_netns_fd = request->own_netns_fd;
        request->at.removed = &del.removed;
        find_link(&del, err);
        recall_addresses(&del);
        features_del(&request->features, &request->at, err);
        remove_links(&del, err);
        /* While a link or an element may still use it, the address is nobody else's: the runtime
         * comes again, and so does GC. */
        if (!error_is_set(err) && request->conf.ipam_type[0] != '\0' &&
            ipam_del(&request->ipam, &failed) < 0)
                error_join(err, &failed);
        request_leave(request, del.detached);
        return error_is_set(err) ? -EIO : 0;
}
