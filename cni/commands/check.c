/* SPDX-License-Identifier: Apache-2.0 */

/* CHECK: is what ADD answered still so. The comparisons and their words are upstream's. */

#include "cni/commands/request.h"

#include "common/base/cleanup.h"
#include "common/netlink/rtnl_addr.h"
#include "common/netlink/rtnl_route.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

typedef struct LinkCheck {
        Request *request;
        LinkKernel kernel;
        Link bridge, pod, host;
} LinkCheck;

static void link_check_deinit(LinkCheck *check) {
        link_kernel_deinit(&check->kernel);
}

static bool mac_differs(const ResultInterface *interface, const Link *link) {
        uint8_t mac[6];

        if (str_is_empty(interface->mac))
                return false;
        return conf_mac_parse(interface->mac, mac) < 0 || memcmp(mac, link->mac, sizeof(mac)) != 0;
}

static int check_bridge(LinkCheck *check, Error *err) {
        const NetConf *conf = &check->request->conf;
        const char *name = conf->link.bridge;
        int i = result_find_interface(&conf->prev, name, false);
        int r;

        if (i < 0)
                return error_set(err, ERROR_NOT_FOUND, "Interface name missing ");
        r = link_find(&check->request->rtnl, 0, name, &check->bridge);
        if (r == -ENODEV)
                return error_set(err, ERROR_NOT_FOUND, "Interface name %s not found", name);
        if (r < 0)
                return error_set_errno(err, r, "look at %s", name);
        if (!str_equal(check->bridge.kind, "bridge"))
                return error_set(err, ERROR_CONFLICT,
                                 "Interface %s does not have link type of bridge", name);
        if (mac_differs(&conf->prev.interfaces[i], &check->bridge))
                return error_set(err, ERROR_CONFLICT, "Bridge interface %s Mac doesn't match: %s",
                                 name, conf->prev.interfaces[i].mac);
        if ((check->bridge.n_promiscuous > 0) != conf->link.promisc)
                return error_set(err, ERROR_CONFLICT,
                                 "Bridge interface %s configured Promisc Mode %s doesn't match "
                                 "current state: %s",
                                 name, conf->link.promisc ? "true" : "false",
                                 check->bridge.n_promiscuous ? "true" : "false");
        return 0;
}

static int check_pod(LinkCheck *check, Error *err) {
        const Request *request = check->request;
        const char *name = request->env.ifname;
        int i = result_find_interface(&request->conf.prev, name, true);
        const ResultInterface *interface = i < 0 ? NULL : &request->conf.prev.interfaces[i];
        int r;

        if (!interface || !str_equal(interface->sandbox, request->env.netns))
                return error_set(err, ERROR_CONFLICT,
                                 "Sandbox in prevResult %s doesn't match configured netns: %s",
                                 interface ? interface->sandbox : "", request->env.netns);
        r = link_find(&check->kernel.pod, 0, name, &check->pod);
        if (r == -ENODEV)
                return error_set(err, ERROR_NOT_FOUND, "Interface name %s not found", name);
        if (r < 0)
                return error_set_errno(err, r, "look at %s", name);
        if (!str_equal(check->pod.kind, "veth"))
                return error_set(err, ERROR_CONFLICT,
                                 "Error: Container interface %s not of type veth", name);
        if (mac_differs(interface, &check->pod))
                return error_set(err, ERROR_CONFLICT,
                                 "Interface %s Mac %s doesn't match container Mac", name,
                                 interface->mac);
        return 0;
}

static int check_host(LinkCheck *check, Error *err) {
        const CniResult *prev = &check->request->conf.prev;
        bool ptp = conf_is_pair(&check->request->conf);

        for (size_t i = 0; i < prev->n_interfaces; i++) {
                const ResultInterface *interface = &prev->interfaces[i];
                Link link;

                if (!str_is_empty(interface->sandbox) || strlen(interface->name) >= IFNAMSIZ ||
                    link_find(&check->request->rtnl, 0, interface->name, &link) < 0 ||
                    link.index != check->pod.peer || link.peer != check->pod.index ||
                    (!ptp && link.master != check->bridge.index))
                        continue;
                if (mac_differs(interface, &link))
                        return error_set(err, ERROR_CONFLICT,
                                         "Interface %s Mac doesn't match: %s not found",
                                         interface->name, interface->mac);
                memcpy(check->request->at.host_link, link.name, sizeof(link.name));
                check->request->at.host_index = link.index;
                check->host = link;
                return 0;
        }
        return error_set(err, ERROR_NOT_FOUND, "CNI veth created for bridge %s was not found",
                         check->request->conf.link.bridge);
}

static int check_addresses(LinkCheck *check, Error *err) {
        const CniResult *prev = &check->request->conf.prev;
        LinkAddress addresses[FACTS_ADDRESSES_MAX];
        char text[IP_TEXT_MAX];
        size_t n = 0;
        int r;

        r = addr_list(&check->kernel.pod, check->pod.index, 0, addresses, N_ELEMENTS(addresses),
                      &n);
        if (r < 0)
                return error_set_errno(err, r, "addresses of %s", check->pod.name);
        for (size_t i = 0; i < prev->n_ips; i++) {
                const IpPrefix *wanted = &prev->ips[i].address;
                bool found = false;

                for (size_t j = 0; !found && j < n && j < N_ELEMENTS(addresses); j++)
                        found = addresses[j].family == wanted->address.family &&
                                addresses[j].prefix == wanted->length &&
                                memcmp(addresses[j].bytes, wanted->address.bytes,
                                       ip_size(&wanted->address)) == 0;
                if (!found)
                        return error_set(err, ERROR_NOT_FOUND,
                                         "Failed to match addr %s on interface %s",
                                         ip_prefix_format(wanted, text), check->pod.name);
        }
        return 0;
}

typedef struct RouteSearch {
        const ResultRoute *wanted;
        bool found;
} RouteSearch;

static int match_route(const Route *route, void *userdata) {
        RouteSearch *search = userdata;
        IpAddress destination = ip_prefix_first(&search->wanted->destination);
        uint32_t table =
                search->wanted->table >= 0 ? (uint32_t)search->wanted->table : RT_TABLE_MAIN;

        if (route->family == destination.family &&
            route->prefix == search->wanted->destination.length && route->table == table &&
            memcmp(route->destination, destination.bytes, ip_size(&destination)) == 0 &&
            (!ip_is_set(&search->wanted->gateway) ||
             (route->has_gateway && memcmp(route->gateway, search->wanted->gateway.bytes,
                                           ip_size(&search->wanted->gateway)) == 0)))
                search->found = true;
        return 0;
}

static int check_routes(LinkCheck *check, Error *err) {
        const CniResult *prev = &check->request->conf.prev;
        char text[IP_TEXT_MAX];

        for (size_t i = 0; i < prev->n_routes; i++) {
                RouteSearch search = {.wanted = &prev->routes[i]};
                int r = route_dump(&check->kernel.pod, search.wanted->destination.address.family,
                                   match_route, &search);

                if (r < 0)
                        return error_set_errno(err, r, "routes of the pod");
                if (!search.found)
                        return error_set(err, ERROR_NOT_FOUND,
                                         "Expected Route %s not found in routing table",
                                         ip_prefix_format(&search.wanted->destination, text));
        }
        return 0;
}

/* What comes from the pod goes no further by a link whose own switch is off. */
static int check_forwarding(const LinkCheck *check, Error *err) {
        const Request *request = check->request;
        bool pair = conf_is_pair(&request->conf);
        const Link *gate = pair ? &check->host : &check->bridge;

        if (!gate->keeps_v4 ||
            (!pair && (!request->conf.link.is_gateway || request->conf.link.vlan)))
                return 0;
        for (size_t i = 0; i < request->conf.prev.n_ips; i++)
                if (request->conf.prev.ips[i].address.address.family == AF_INET)
                        return error_set(err, ERROR_CONFLICT,
                                         "%s forwards nothing: net.ipv4.conf.%s.forwarding is 0",
                                         gate->name, gate->name);
        return 0;
}

static int check_open(LinkCheck *check, Error *err) {
        Request *request = check->request;
        int r = request_open(request, err);

        r = r < 0 ? r : request_need_netns(request, err);
        r = r < 0 ? r : request_prepare(request, err);
        if (r < 0)
                return r;
        check->kernel.netns_fd = request->netns_fd;
        check->kernel.own_netns_fd = request->own_netns_fd;
        r = link_kernel_open_pod(&check->kernel);
        return r < 0 ? error_set_errno(err, r, "netlink in \"%s\"", request->env.netns) : 0;
}

static int check_all(LinkCheck *check, Error *err) {
        Request *request = check->request;
        int r = 0;

        if (request->conf.ipam_type[0] != '\0')
                r = ipam_check(&request->ipam, err);
        if (r == 0 && !request->conf.has_prev)
                return error_set(err, ERROR_INVALID, "Required prevResult missing");
        if (r == 0 && !conf_is_pair(&request->conf))
                r = check_bridge(check, err);
        r = r < 0 ? r : check_pod(check, err);
        r = r < 0 ? r : check_host(check, err);
        r = r < 0 ? r : check_addresses(check, err);
        r = r < 0 ? r : check_routes(check, err);
        return r < 0 ? r : check_forwarding(check, err);
}

int link_check(Request *request, Error *err) {
        cleanup(link_check_deinit)
                LinkCheck check = {.request = request, .kernel = LINK_KERNEL_NULL};
        Attachment *at = &request->at;
        int r;

        r = check_open(&check, err);
        r = r < 0 ? r : check_all(&check, err);
        if (r < 0)
                return r;
        memcpy(at->bridge, check.bridge.name, sizeof(at->bridge));
        at->bridge_index = check.bridge.index;
        at->pod_index = check.pod.index;
        at->ips = request->conf.prev.ips;
        at->n_ips = request->conf.prev.n_ips;
        return features_check(&request->features, &request->at, &request->conf.prev, err);
}
