/* SPDX-License-Identifier: Apache-2.0 */

/*
 * DEL has no plan that could refuse: everything is tried, errors are gathered, missing is done.
 * Rules go first, then the links, then the leases: an address is given back when nobody can use it.
 *
 * Removing a link takes the kernel 12 to 24 ms, nearly all of it waiting (rcu_barrier) and none of
 * it CPU. By default we wait: when DEL has answered, the interface is gone, and the same name can
 * be added to the same namespace again, as runtimes and people expect. "linkRemoval": "detached"
 * takes the link down, which ends the use of its address at once, answers, and leaves the removal
 * to a child that holds nothing of ours: no lock, no descriptor of the runtime.
 */

#include "cni/request.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

typedef struct LinkDel {
        Request *request;
        LinkKernel kernel;
        LinkList doomed;  /* links of the host that go */
        CniResult leases; /* addresses, when prevResult does not tell them */
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
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        Link link;
        int r;

        r = host_link_find(&request->at, &link);
        if (r == -ENODEV)
                return;
        note(err, r, "look for the host's end of", request->env.ifname);
        if (r < 0)
                return;
        (void)snprintf(request->at.host_link, sizeof(request->at.host_link), "%s", link.name);
        request->at.host_index = link.index;
        link_list_add(&del->doomed, link.index);
        if (!request->conf.link.detached_removal)
                return;
        link_set(&batch, &(LinkChange){.set = LINK_SET_DOWN, .index = link.index});
        note(err, run_one(&request->rtnl, &batch), "set down", link.name);
}

static void remove_links(LinkDel *del, Error *err) {
        Request *request = del->request;
        bool found = del->request->at.host_index != 0;

        if (!request->conf.link.detached_removal)
                note(err, link_list_remove(&request->rtnl, &del->doomed), "remove",
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
                return;
        }
        if (ipam_find(&request->ipam, &del->leases, &ignored) == 0) {
                request->at.ips = del->leases.ips;
                request->at.n_ips = del->leases.n_ips;
        }
}

/* The child has a socket in the host's namespace and nothing else, stdio included: a runtime waits
 * for the end of those pipes. */
static void remove_detached(LinkDel *del) {
        pid_t pid = fork();

        if (pid != 0)
                return; /* also without a child: GC finds what has no valid attachment */
        (void)setsid();
        (void)dup2(del->request->rtnl.fd, STDIN_FILENO);
        (void)syscall(SYS_close_range, STDOUT_FILENO, ~0U, 0);
        del->request->rtnl.fd = STDIN_FILENO;
        (void)link_list_remove(&del->request->rtnl, &del->doomed);
        _exit(0);
}

int link_del(Request *request, Error *err) {
        cleanup(link_del_deinit) LinkDel del = {.request = request, .kernel = LINK_KERNEL_NULL};
        Error failed = {0};
        int r;

        r = request_open(request, err);
        r = r < 0 ? r : request_open_netns(request, err);
        r = r < 0 ? r : request_prepare(request, err);
        if (r < 0)
                return r;
        del.kernel.netns_fd = request->netns_fd;
        del.kernel.own_netns_fd = request->own_netns_fd;
        request->at.doomed = &del.doomed;
        find_link(&del, err);
        recall_addresses(&del);
        request_modules_del(request, err);
        remove_links(&del, err);
        /* While a link or an element may still use it, the address is nobody else's: the runtime
         * comes again, and so does GC. */
        if (!error_is_set(err) && request->conf.ipam_type[0] != '\0' &&
            ipam_del(&request->ipam, &failed) < 0)
                error_join(err, &failed);
        if (del.doomed.n > 0)
                remove_detached(&del);
        return error_is_set(err) ? -EIO : 0;
}
