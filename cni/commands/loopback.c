/* SPDX-License-Identifier: Apache-2.0 */

/* loopback: lo up, lo down, is lo up. CNI_IFNAME does not count, as in upstream's. */

#include "cni/commands/request.h"

#include "common/base/cleanup.h"
#include "common/netlink/rtnl_addr.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define LO       "lo"
#define LO_INDEX 1U

static int set_flags(NlSocket *sock, unsigned int set) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};

        link_set(&batch, &(LinkChange){.set = set, .index = LO_INDEX});
        return nl_batch_run(sock, &batch, NULL, NULL);
}

/* Return: 0 with the socket open; REQUEST_E_GONE; negative. */
static int open_pod(Request *request, LinkKernel *kernel, Error *err) {
        int r = request_open(request, err);

        r = r < 0 ? r : request_open_netns(request, err);
        if (r != 0)
                return r;
        kernel->netns_fd = request->netns_fd;
        kernel->own_netns_fd = request->own_netns_fd;
        r = link_kernel_open_pod(kernel);
        return r < 0 ? error_set_errno(err, r, "netlink in \"%s\"", request->env.netns) : 0;
}

static bool is_loopback(const LinkAddress *address) {
        static const uint8_t v6[16] = {[15] = 1};

        if (address->family == AF_INET)
                return address->bytes[0] == 127;
        return memcmp(address->bytes, v6, sizeof(v6)) == 0;
}

/* The first address of each family, as upstream tells them. */
static int describe(NlSocket *sock, const char *sandbox, CniResult *result, Error *err) {
        LinkAddress addresses[16];
        bool seen_v4 = false, seen_v6 = false;
        size_t n = 0;
        int r;

        r = result_add_interface(result, LO, "00:00:00:00:00:00", sandbox);
        r = r < 0 ? r : addr_list(sock, LO_INDEX, 0, addresses, N_ELEMENTS(addresses), &n);
        for (size_t i = 0; r >= 0 && i < n && i < N_ELEMENTS(addresses); i++) {
                bool *seenp = addresses[i].family == AF_INET ? &seen_v4 : &seen_v6;
                ResultIp ip = {.interface = 0};
                char text[IP_TEXT_MAX];

                ip.address.address.family = addresses[i].family;
                ip.address.length = addresses[i].prefix;
                memcpy(ip.address.address.bytes, addresses[i].bytes, sizeof(addresses[i].bytes));
                if (!is_loopback(&addresses[i]))
                        return error_set(err, ERROR_PRECONDITION,
                                         "loopback interface found with non-loopback address "
                                         "\"%s\"",
                                         ip_format(&ip.address.address, text));
                if (!*seenp)
                        r = result_add_ip(result, &ip);
                *seenp = true;
        }
        return r < 0 ? error_set_errno(err, r, "addresses of " LO) : 0;
}

int loopback_add(Request *request, Error *err) {
        cleanup(link_kernel_deinit) LinkKernel kernel = LINK_KERNEL_NULL;
        cleanup(result_deinit) CniResult result = {0};
        int r;

        r = open_pod(request, &kernel, err);
        if (r == REQUEST_E_GONE)
                r = request_need_netns(request, err);
        if (r < 0)
                return r;
        r = set_flags(&kernel.pod, LINK_SET_UP);
        if (r < 0)
                return error_set_errno(err, r, "set " LO " up");
        if (request->conf.has_prev)
                return request_print(request, &request->conf.prev, err);
        r = describe(&kernel.pod, request->env.netns, &result, err);
        return r < 0 ? r : request_print(request, &result, err);
}

int loopback_del(Request *request, Error *err) {
        cleanup(link_kernel_deinit) LinkKernel kernel = LINK_KERNEL_NULL;
        int r = open_pod(request, &kernel, err);

        if (r == REQUEST_E_GONE)
                return 0;
        r = r < 0 ? r : set_flags(&kernel.pod, LINK_SET_DOWN);
        return r < 0 && !error_is_set(err) ? error_set_errno(err, r, "set " LO " down") : r;
}

int loopback_check(Request *request, Error *err) {
        cleanup(link_kernel_deinit) LinkKernel kernel = LINK_KERNEL_NULL;
        Link link;
        int r;

        r = open_pod(request, &kernel, err);
        if (r == REQUEST_E_GONE)
                r = request_need_netns(request, err);
        if (r < 0)
                return r;
        r = link_find(&kernel.pod, LO_INDEX, NULL, &link);
        if (r < 0)
                return error_set_errno(err, r, "look at " LO);
        if (!(link.flags & IFF_UP))
                return error_set(err, ERROR_CONFLICT, "loopback interface is down");
        return 0;
}
