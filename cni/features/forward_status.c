/* SPDX-License-Identifier: Apache-2.0 */

/* STATUS: what others drop of what pods send to other networks. */

#include "cni/features/firewalld.h"
#include "cni/features/forward.h"
#include "common/base/cleanup.h"
#include "common/netlink/rtnl_link.h"
#include "common/netlink/rtnl_route.h"

#include <stdio.h>
#include <sys/socket.h>

static int take_default(const Route *route, void *userdata) {
        Route *found = userdata;

        if (!route)
                *found = (Route){0};
        else if (route->prefix == 0 && route->index != 0 &&
                 (route->table == 0 || route->table == RT_TABLE_MAIN) &&
                 (found->index == 0 || route->priority < found->priority))
                *found = *route;
        return 0;
}

static void know_name(ForwardLink *link, const char *name, size_t n_known) {
        *link = (ForwardLink){.n_known = n_known};
        snprintf(link->name, sizeof(link->name), "%s", name);
}

static void find_output(ForwardLink *output) {
        static const uint8_t families[] = {AF_INET, AF_INET6};
        cleanup(nl_socket_close) NlSocket rtnl = NL_SOCKET_NULL;
        Route found = {0};
        Link link;

        if (nl_socket_open(&rtnl, NETLINK_ROUTE) < 0)
                return;
        for (size_t i = 0; i < N_ELEMENTS(families) && found.index == 0; i++)
                if (route_dump(&rtnl, families[i], take_default, &found) < 0)
                        return;
        if (found.index != 0 && link_find(&rtnl, found.index, NULL, &link) == 0)
                know_name(output, link.name, IFNAMSIZ);
}

/* Of a plugin that is chained behind another nobody knows here what pods' links are called. */
static void describe_packet(const NetConf *conf, bool firewall, ForwardPacket *packet) {
        find_output(&packet->output);
        if (conf_is_pair(conf))
                know_name(&packet->input, "veth", 4);
        else if (conf->role != ROLE_FIREWALL)
                know_name(&packet->input, conf->link.bridge, IFNAMSIZ);
        packet->iptables_opens = firewall;
        packet->firewalld_opens = firewall && firewalld_runs();
}

int forward_status(RulesSocket *sock, const NetConf *conf, Error *err) {
        ForwardPacket packet = {.iptables_opens = false};
        bool firewall = true;
        char text[256];
        int r;

        (void)json_read_bool(conf->json, RULES_KEY_FIREWALL, &firewall, NULL);
        if (conf->role != ROLE_FIREWALL && !(conf->role == ROLE_BERTH && conf->link.is_gateway))
                return 0;
        describe_packet(conf, firewall, &packet);
        r = forward_find_drop(sock, &packet, text);
        if (r <= 0)
                return 0;
        return error_set(err, ERROR_UNAVAILABLE,
                         "packets that pods send to other networks are dropped by %s; %s", text,
                         firewall ? "add a rule there that accepts them"
                                  : "\"firewall\": true, or the plugin firewall, opens chain "
                                    "FORWARD of iptables; anywhere else a rule there has to");
}
