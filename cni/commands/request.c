/* SPDX-License-Identifier: Apache-2.0 */

/* What the verbs share: opening, the attachment, the answer. */

#include "cni/commands/request.h"

#include "common/base/behind.h"
#include "common/base/cleanup.h"
#include "common/netns/netns.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The process ends here: its descriptors are left for the kernel to close all at once. */
void request_deinit(Request *request) {
        features_deinit(&request->features);
        free(request->rtnl.buffer);
        request->rtnl.buffer = NULL;
        conf_deinit(&request->conf);
        cni_args_deinit(&request->args);
        free(request->input);
        free(request->ips);
        free(request->output);
}

int request_open(Request *request, Error *err) {
        int r = netns_open_own(&request->own_netns_fd);

        if (r < 0)
                return error_set_errno(err, r, "open our own network namespace");
        r = nl_socket_open(&request->rtnl, NETLINK_ROUTE);
        return r < 0 ? error_set_errno(err, r, "open a netlink socket") : 0;
}

int request_open_netns(Request *request, Error *err) {
        const char *path = request->env.netns;
        bool same = false;
        int r;

        if (str_is_empty(path))
                return REQUEST_E_GONE;
        r = netns_open(path, &request->netns_fd);
        if (r == NETNS_E_NOT_NETNS || r == -ENOENT || r == -ENOTDIR)
                return REQUEST_E_GONE;
        if (r < 0)
                return error_set_errno(err, r, "failed to open netns \"%s\"", path);
        if (env_allows_own_netns(&request->env))
                return 0;
        r = netns_is_same(request->netns_fd, request->own_netns_fd, &same);
        if (r < 0)
                return error_set_errno(err, r, "netns \"%s\"", path);
        if (!same)
                return 0;
        (void)failure_set(&request->failure, CNI_CODE_NETNS,
                          "plugin's netns and netns from CNI_NETNS should not be the same", path);
        return error_set(err, ERROR_INVALID, "netns \"%s\" is our own", path);
}

int request_need_netns(Request *request, Error *err) {
        int r = request_open_netns(request, err);

        if (r != REQUEST_E_GONE)
                return r;
        (void)error_set(err, ERROR_NOT_FOUND, "failed to open netns \"%s\"", request->env.netns);
        (void)failure_set(&request->failure, CNI_CODE_UNKNOWN, err->message,
                          "there is no network namespace under this path");
        return -ENOENT;
}

int request_prepare(Request *request, Error *err) {
        request->at = (Attachment){
                .network = request->conf.name,
                .container_id = request->env.container_id,
                .ifname = request->env.ifname,
                .netns_path = str_is_empty(request->env.netns) ? NULL : request->env.netns,
                .netns_fd = request->netns_fd,
                .own_netns_fd = request->own_netns_fd,
                .netfilter_fd = -1,
                .rtnl = &request->rtnl,
                .sysctls = &request->sysctls,
        };
        if (request->env.container_id && request->env.ifname)
                owner_of(request->conf.name, request->env.container_id, request->env.ifname,
                         request->at.owner);
        return features_parse(&request->features, &request->conf, err);
}

int request_hold(Request *request, Error *err) {
        if (request->held_fd >= 0 ||
            attachment_hold(request->at.owner, &request->held_fd) != -ETIMEDOUT)
                return 0;
        return error_set(err, ERROR_AGAIN,
                         "another process has been at %s of container %.64s for %d s: try again",
                         request->at.ifname, request->at.container_id,
                         ATTACHMENT_HOLD_MSECS / 1000);
}

bool request_is_detached(const Request *request) {
        LinkRemoval removal = request->conf.link.removal;

        return removal == REMOVAL_DETACHED ||
               (removal == REMOVAL_BY_RUNTIME && env_is_kubernetes(&request->env));
}

/* While one child waits for the kernel, the links of all others gather, and go together: each
 * removal holds the lock of all links. Who finds the name held has set its links aside by then, and
 * the holder looks once more after it gave the name back. */
static void remove_links(Request *request) {
        int held_fd = -1;

        if (netns_hold_name("berth-cni/gone", &held_fd) < 0)
                return;
        (void)link_marked_remove(&request->rtnl);
        closep(&held_fd);
        (void)link_marked_remove(&request->rtnl);
}

/* What a transaction took away is gone by then. */
static void finish(Request *request, bool links) {
        if (links)
                remove_links(request);
        behind_wait_rcu();
}

void request_leave(Request *request, bool links) {
        int *netfilter = &request->at.netfilter_fd;
        int *fds[] = {&request->rtnl.fd, netfilter};
        pid_t pid;

        if (*netfilter < 0 && !links)
                return;
        pid = behind_fork(fds, *netfilter < 0 ? 1 : 2);
        if (pid == 0 || (pid < 0 && links))
                finish(request, links);
        if (pid == 0)
                _exit(0);
}

int request_print(Request *request, const CniResult *result, Error *err) {
        return result_format(result, request->conf.version, &request->output, err);
}

void request_tell(Request *request, const char *key, json_t *value) {
        json_t *answer = json_pack("{s:O}", key, value);

        free(request->output);
        request->output = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
        json_decref(answer);
}
