/* SPDX-License-Identifier: Apache-2.0 */

/* Keys of the portmap plugin and the ports that the runtime asks for. Pure. */

#include "cni/features/portmap_conf.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

static const struct {
        const char *name;
        uint8_t protocol;
} protocols[] = {
        {"tcp", IPPROTO_TCP},
        {"udp", IPPROTO_UDP},
        {"sctp", IPPROTO_SCTP},
};

const char *portmap_protocol_name(uint8_t protocol) {
        for (size_t i = 0; i < N_ELEMENTS(protocols); i++)
                if (protocols[i].protocol == protocol)
                        return protocols[i].name;
        return "?";
}

static int parse_protocol(const char *text, uint8_t *protocolp, Error *err) {
        if (text[0] == '\0')
                text = "tcp"; /* the default of Kubernetes and of CRI */
        for (size_t i = 0; i < N_ELEMENTS(protocols); i++)
                if (strcasecmp(text, protocols[i].name) == 0) {
                        *protocolp = protocols[i].protocol;
                        return 0;
                }
        return error_set(err, ERROR_UNSUPPORTED,
                         "portMappings: protocol \"%s\" is not supported: tcp, udp and sctp are",
                         text);
}

/* In upstream's words, whatever is wrong with the number. */
static int parse_port(const json_t *entry, const char *key, const char *what, uint16_t *portp,
                      Error *err) {
        int64_t port = 0;
        int r = json_read_number(entry, key, INT64_MIN, INT64_MAX, &port, err);

        if (r < 0)
                return r;
        if (port <= 0 || port > UINT16_MAX)
                return error_set(err, ERROR_INVALID, "Invalid %s port number: %lld", what,
                                 (long long)port);
        *portp = (uint16_t)port;
        return 0;
}

static int parse_mapping(const json_t *entry, PortMapping *port, Error *err) {
        const char *protocol = "", *host_ip = "";
        int r;

        if (!json_is_object(entry))
                return error_set(err, ERROR_INVALID, "portMappings: an entry is %s, not an object",
                                 json_type_name(entry));
        r = parse_port(entry, "containerPort", "container", &port->pod_port, err);
        if (r == 0)
                r = parse_port(entry, "hostPort", "host", &port->host_port, err);
        if (r == 0)
                r = json_read_text(entry, "protocol", &protocol, err);
        if (r == 0)
                r = json_read_text(entry, "hostIP", &host_ip, err);
        if (r == 0)
                r = parse_protocol(protocol, &port->protocol, err);
        if (r < 0)
                return r;
        if (host_ip[0] && ip_parse(host_ip, &port->host_ip) < 0)
                return error_set(err, ERROR_INVALID, "portMappings: invalid hostIP \"%s\"",
                                 host_ip);
        return 0;
}

static int parse_mappings(const NetConf *conf, PortmapConf *portmap, Error *err) {
        const json_t *list = NULL;
        int r;

        r = json_read_array(conf->runtime, "portMappings", &list, err);
        if (r < 0 || json_array_size(list) == 0)
                return r;
        if (json_array_size(list) > RULES_PORTS_MAX)
                return error_set(err, ERROR_RANGE, "portMappings has more than %d entries",
                                 RULES_PORTS_MAX);
        portmap->ports = calloc(json_array_size(list), sizeof(*portmap->ports));
        if (!portmap->ports)
                return error_set_errno(err, ENOMEM, "portMappings");
        for (size_t i = 0; i < json_array_size(list) && r == 0; i++)
                r = parse_mapping(json_array_get(list, i), &portmap->ports[portmap->n_ports++],
                                  err);
        return r;
}

/* NULL, "iptables" and "nftables" are all done with nftables; marks are not needed, so a bit for
 * them is only checked. */
static int parse_backend(const NetConf *conf, bool has_ports, Error *err) {
        const char *backend = "", *chain = NULL;
        int64_t bit = -1;
        int r;

        r = json_read_number(conf->json, "markMasqBit", INT32_MIN, INT32_MAX, &bit, err);
        if (r == 0)
                r = json_read_text(conf->json, "externalSetMarkChain", &chain, err);
        /* In one entry with a firewall, the key is that one's. */
        if (r == 0 && conf->role == ROLE_PORTMAP)
                r = json_read_text(conf->json, "backend", &backend, err);
        if (r < 0)
                return r;
        if (json_find(conf->json, "markMasqBit") && chain)
                return error_set(err, ERROR_INVALID,
                                 "Cannot specify externalSetMarkChain and markMasqBit");
        if (json_find(conf->json, "markMasqBit") && (bit < 0 || bit > 31))
                return error_set(err, ERROR_INVALID, "MasqMarkBit must be between 0 and 31");
        if (backend[0] && strcmp(backend, "iptables") != 0 && strcmp(backend, "nftables") != 0)
                return error_set(err, ERROR_INVALID, "unrecognized backend \"%s\"", backend);
        /* kube-proxy's chain says "masquerade this", which is done here without it. */
        if (has_ports && !str_is_empty(chain) && strcmp(chain, "KUBE-MARK-MASQ") != 0)
                return error_set(err, ERROR_UNSUPPORTED,
                                 "externalSetMarkChain \"%s\" is not supported: host ports are "
                                 "masqueraded by nftables sets, without marks",
                                 chain);
        return 0;
}

static const char *const condition_keys[] = {"conditionsV4", "conditionsV6"};

/* Also of a pod without ports, whose conditions nobody looks at. */
static int check_types(const NetConf *conf, Error *err) {
        const json_t *words = NULL;
        int r = 0;

        for (size_t i = 0; r == 0 && i < N_ELEMENTS(condition_keys); i++)
                r = json_read_texts(conf->json, condition_keys[i], &words, err);
        return r;
}

static int parse_conditions(const NetConf *conf, PortmapConf *portmap, Error *err) {
        for (size_t i = 0; i < N_ELEMENTS(condition_keys); i++) {
                const json_t *words = NULL;
                int r = json_read_texts(conf->json, condition_keys[i], &words, err);

                if (r == 0 && words)
                        r = conditions_parse(words, i == 1, &portmap->conditions[i], err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Addresses of Services are never a host port's, whoever else takes them for this host's own. */
static int parse_services(const NetConf *conf, PortmapConf *portmap, Error *err) {
        const json_t *list = NULL;
        int r = json_read_texts(conf->json, "serviceCIDR", &list, err);

        for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
                const char *text = json_string_value(json_array_get(list, i));
                RuleCondition one = {.kind = CONDITION_DESTINATION, .differs = true};
                RuleConditions *conditions;

                if (ip_prefix_parse(text, &one.prefix) < 0)
                        return error_set(err, ERROR_INVALID,
                                         "serviceCIDR: \"%s\" is not a subnet (expected for "
                                         "example 10.96.0.0/12)",
                                         text);
                conditions = &portmap->conditions[one.prefix.address.family == AF_INET6];
                if (conditions->n == RULE_CONDITIONS_MAX)
                        return error_set(err, ERROR_INVALID,
                                         "serviceCIDR: too many networks and conditions");
                conditions->items[conditions->n++] = one;
        }
        return r;
}

/* "30000-32767", as the API server's --service-node-port-range. */
static int parse_node_ports(const NetConf *conf, PortmapConf *portmap, Error *err) {
        const char *text = NULL;
        int r = json_read_text(conf->json, "nodePortRange", &text, err);
        uint64_t ends[2] = {0};
        const char *dash;
        char first[8];

        if (r < 0 || str_is_empty(text))
                return r;
        dash = strchr(text, '-');
        (void)snprintf(first, sizeof(first), "%.*s", dash ? (int)(dash - text) : 0, text);
        if (!dash || dash - text >= (ptrdiff_t)sizeof(first) ||
            str_parse_u64(first, UINT16_MAX, &ends[0]) < 0 ||
            str_parse_u64(dash + 1, UINT16_MAX, &ends[1]) < 0 || ends[0] == 0 || ends[0] > ends[1])
                return error_set(err, ERROR_INVALID,
                                 "nodePortRange: \"%.32s\" is not a range of ports (expected for "
                                 "example 30000-32767)",
                                 text);
        for (size_t i = 0; i < N_ELEMENTS(ends); i++)
                portmap->node_ports[i] = (uint16_t)ends[i];
        return 0;
}

int portmap_conf_check_node_ports(const PortmapConf *conf, Error *err) {
        for (size_t i = 0; i < conf->n_ports; i++) {
                const PortMapping *port = &conf->ports[i];

                if (port->host_port >= conf->node_ports[0] &&
                    port->host_port <= conf->node_ports[1])
                        return error_set(err, ERROR_CONFLICT,
                                         "hostPort %u/%s is in nodePortRange %u-%u, whose ports "
                                         "are of Services: choose another hostPort",
                                         port->host_port, portmap_protocol_name(port->protocol),
                                         conf->node_ports[0], conf->node_ports[1]);
        }
        return 0;
}

/* --- sockets of the host ------------------------------------------------------------------ */

static bool is_everywhere(const WaitingSocket *socket) {
        static const uint8_t zero[sizeof(socket->address)];

        return memcmp(socket->address, zero, sizeof(zero)) == 0;
}

/* Has the pod an address of the family, so that its ports are opened there? */
static bool serves(const PortmapConf *conf, uint8_t family) {
        return conf->families == 0 ||
               (conf->families & (family == AF_INET6 ? PORTMAP_IPV6 : PORTMAP_IPV4));
}

/* Return: does the socket wait at an address that the port is for? As bind(2) sees it: one that
 * waits at every address waits at each of them. */
static bool overlaps(const PortmapConf *conf, const PortMapping *port,
                     const WaitingSocket *socket) {
        bool any_port = !ip_is_set(&port->host_ip) || ip_is_zero(&port->host_ip);

        if (socket->protocol != port->protocol || socket->port != port->host_port)
                return false;
        if (!ip_is_set(&port->host_ip))
                return serves(conf, socket->family) ||
                       (socket->both_families && serves(conf, AF_INET));
        if (socket->family != port->host_ip.family && !socket->both_families)
                return false;
        return any_port || is_everywhere(socket) ||
               (socket->family == port->host_ip.family &&
                memcmp(socket->address, port->host_ip.bytes, ip_size(&port->host_ip)) == 0);
}

static int hold(PortmapConf *conf, const PortMapping *port, const WaitingSocket *socket) {
        PortMapping *held = reallocarray(conf->held, conf->n_held + 1, sizeof(*held));

        if (!held)
                return -ENOMEM;
        conf->held = held;
        held[conf->n_held] = *port;
        held[conf->n_held].host_ip = (IpAddress){.family = socket->family};
        memcpy(held[conf->n_held].host_ip.bytes, socket->address, sizeof(socket->address));
        conf->n_held++;
        return 0;
}

int portmap_conf_hold(PortmapConf *conf, const WaitingSocket *socket, Error *err) {
        IpAddress address = {.family = socket->family};
        char text[IP_TEXT_MAX], where[IP_TEXT_MAX + 2];

        memcpy(address.bytes, socket->address, sizeof(socket->address));
        snprintf(where, sizeof(where), address.family == AF_INET6 ? "[%s]" : "%s",
                 ip_format(&address, text));
        for (size_t i = 0; i < conf->n_ports; i++) {
                const PortMapping *port = &conf->ports[i];
                bool anywhere = !ip_is_set(&port->host_ip) || ip_is_zero(&port->host_ip);

                if (!overlaps(conf, port, socket))
                        continue;
                if (anywhere && !is_everywhere(socket)) {
                        if (hold(conf, port, socket) < 0)
                                return error_set_errno(err, ENOMEM, "portMappings");
                        continue;
                }
                return error_set(err, ERROR_CONFLICT,
                                 "hostPort %u/%s is in use by a program of this host, which "
                                 "listens at %s: choose another hostPort",
                                 port->host_port, portmap_protocol_name(port->protocol), where);
        }
        return 0;
}

void portmap_conf_free(PortmapConf *conf) {
        if (!conf)
                return;
        free(conf->ports);
        free(conf->held);
        free(conf);
}

CLEANUP_DEFINE(PortmapConf *, portmap_conf_free);

int portmap_conf_parse(const NetConf *conf, PortmapConf **confp, Error *err) {
        cleanup(portmap_conf_freep) PortmapConf *portmap = calloc(1, sizeof(*portmap));
        int r;

        *confp = NULL;
        if (!portmap)
                return error_set_errno(err, ENOMEM, "portmap");
        portmap->snat = true;
        r = json_read_bool(conf->json, "snat", &portmap->snat, err);
        if (r == 0)
                r = json_read_bool(conf->json, "masqAll", &portmap->masq_all, err);
        if (r == 0)
                r = parse_mappings(conf, portmap, err);
        if (r == 0)
                r = parse_backend(conf, portmap->n_ports > 0, err);
        if (r == 0)
                r = check_types(conf, err);
        if (r < 0 || portmap->n_ports == 0)
                return r;
        r = parse_conditions(conf, portmap, err);
        r = r < 0 ? r : parse_services(conf, portmap, err);
        r = r < 0 ? r : parse_node_ports(conf, portmap, err);
        if (r < 0)
                return r;
        *confp = ptr_steal(&portmap);
        return 0;
}
