/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_FEATURES_PORTMAP_CONF_H
#define BERTH_CNI_FEATURES_PORTMAP_CONF_H

/* Keys of the portmap plugin. Pure. */

#include "cni/rules/rules.h"
#include "common/netlink/sock_diag.h"

typedef struct PortMapping {
        uint16_t host_port, pod_port;
        uint8_t protocol;  /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
        IpAddress host_ip; /* family 0: every address of either family */
} PortMapping;

#define PORTMAP_IPV4 (1U << 0)
#define PORTMAP_IPV6 (1U << 1)

typedef struct PortmapConf {
        bool snat;                    /* default true */
        bool masq_all;                /* with snat: for every source */
        RuleConditions conditions[2]; /* IPv4, IPv6 */
        PortMapping *ports;           /* owned */
        size_t n_ports;
        PortMapping *held; /* owned, of the node: a program of the host listens at host_ip */
        size_t n_held;
        uint16_t node_ports[2]; /* first and last that are of Services; 0: not said */
        unsigned int families;  /* PORTMAP_ that the pod has addresses of; 0: not known */
} PortmapConf;

/* "tcp". Static. */
const char *portmap_protocol_name(uint8_t protocol);

/**
 * portmap_conf_parse() - the keys of @conf
 * @confp: NULL when no port is asked for; freed by portmap_conf_free()
 *
 * Return: 0; INVALID; UNSUPPORTED naming the key and the value.
 */
int portmap_conf_parse(const NetConf *conf, PortmapConf **confp, Error *err);
void portmap_conf_free(PortmapConf *conf);

/**
 * portmap_conf_check_node_ports() - no port is in the range of NodePorts
 *
 * A NodePort whose Service has no endpoint is in no rule of kube-proxy's that comes before ours,
 * and what it refuses with looks for the port that was asked for: a host port would take it over.
 *
 * Pure. Return: 0; CONFLICT naming the port.
 */
int portmap_conf_check_node_ports(const PortmapConf *conf, Error *err);

/**
 * portmap_conf_hold() - what a port means to a socket of this host
 *
 * One that waits at every address where the port is for every address, or at the very address of
 * the port, would lose all of it: that is refused, of a family that the pod has (@conf->families).
 * One at another address of the host keeps it, and goes into @conf->held. Of a UDP socket nobody
 * knows whether it is a server's: tunnels of the node (WireGuard, VXLAN) bind to ports that the
 * kernel gives to clients, too, so all of them count. The runtime asks again, and a client is gone
 * by then.
 *
 * Pure. Return: 0; CONFLICT naming the port and the socket; -ENOMEM.
 */
int portmap_conf_hold(PortmapConf *conf, const WaitingSocket *socket, Error *err);

/**
 * conditions_parse() - conditionsV4 or conditionsV6
 * @words: array of strings in iptables' or in nft(8)'s language
 *
 * Understood: -s, -d, -i (and their long names) with "!" before or behind; -m addrtype --dst-type
 * LOCAL, which holds anyway; -m comment; ip saddr, ip daddr, ip6 saddr, ip6 daddr, iifname with
 * == or !=. Whatever else is UNSUPPORTED by its own name.
 */
int conditions_parse(const json_t *words, bool v6, RuleConditions *conditions, Error *err);

#endif
