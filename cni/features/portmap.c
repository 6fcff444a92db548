/* SPDX-License-Identifier: Apache-2.0 */

/*
 * hostPort: each port is one element of a map from (protocol, host port) to (pod, port), and one in
 * a set that masquerades what comes from the pod's own subnet or from 127.0.0.1, so that answers
 * find their way back. The first to ask for a port has it, as long as its pod lives.
 */

#include "cni/features/feature.h"
#include "cni/features/portmap_conf.h"

#include "common/base/behind.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/nft/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netfilter.h>

static int portmap_parse(const NetConf *conf, void **statep, Error *err) {
        PortmapConf *portmap;
        int r = portmap_conf_parse(conf, &portmap, err);

        if (r == 0)
                *statep = portmap;
        return r;
}

static void portmap_free(void *state) {
        portmap_conf_free(state);
}

/* --- groups ------------------------------------------------------------------------------- */

/* The same conditions always have the same name. */
static void conditions_name(const RuleConditions *conditions, char suffix[48]) {
        char hex[SHA256_HEX_SIZE];
        char text[RULE_CONDITIONS_MAX * 80];
        size_t n = 0;

        suffix[0] = '\0';
        if (conditions->n == 0)
                return;
        for (size_t i = 0; i < conditions->n; i++) {
                const RuleCondition *item = &conditions->items[i];
                char prefix[IP_TEXT_MAX] = "";

                if (item->kind != CONDITION_IN_LINK)
                        ip_prefix_format(&item->prefix, prefix);
                n += (size_t)snprintf(text + n, sizeof(text) - n, "%d %d %s %s %u;",
                                      (int)item->kind, item->differs, prefix, item->link,
                                      item->n_link);
        }
        sha256_hex(text, n, hex);
        snprintf(suffix, 48, "%.16s", hex);
}

typedef struct Target {
        const PortmapConf *conf;
        const IpPrefix *pod;
        RuleList *list;
        size_t ports, snat, node; /* groups */
} Target;

static int open_groups(Target *target) {
        uint8_t family = rules_family(&target->pod->address);
        RuleGroup ports = {.kind = RULE_GROUP_PORTS, .family = family};
        RuleGroup all = {.kind = RULE_GROUP_SNAT_ALL, .family = family};
        RuleGroup node = {.kind = RULE_GROUP_NODE, .family = family};
        int r;

        if (target->conf) {
                ports.conditions = &target->conf->conditions[family == AF_INET6];
                conditions_name(ports.conditions, ports.suffix);
        }
        r = rules_group(target->list, &ports);
        if (r < 0)
                return r;
        target->ports = (size_t)r;
        if (target->conf) {
                r = rules_group(target->list, &node);
                if (r < 0)
                        return r;
                target->node = (size_t)r;
        }
        if (!target->conf || !target->conf->snat)
                return 0;
        r = target->conf->masq_all ? rules_group(target->list, &all)
                                   : rules_subnet_group(target->list, RULE_GROUP_SNAT, target->pod);
        if (r < 0)
                return r;
        target->snat = (size_t)r;
        return 0;
}

/* --- elements ----------------------------------------------------------------------------- */

static void key_port(Rule *rule, uint8_t protocol, uint16_t port) {
        uint16_t big = htons(port);

        rule_key(rule, &protocol, sizeof(protocol));
        rule_key(rule, &big, sizeof(big));
}

static void key_address(Rule *rule, const IpAddress *address) {
        rule_key(rule, address->bytes, ip_size(address));
}

static Rule *append(Target *target, RuleSet set, size_t group, const PortMapping *port) {
        bool first = set == RULE_SET_PORTS || set == RULE_SET_PORTS_AT;
        Rule *rule = rules_append(target->list, group, set,
                                  first ? RULE_CLAIM_FIRST : RULE_CLAIM_ADDRESS);

        if (rule && port)
                snprintf(rule->label, sizeof(rule->label), "hostPort %u/%s", port->host_port,
                         portmap_protocol_name(port->protocol));
        return rule;
}

static int add_map(Target *target, const PortMapping *port, Error *err) {
        bool anywhere = !ip_is_set(&port->host_ip) || ip_is_zero(&port->host_ip);
        uint16_t big = htons(port->pod_port);
        Rule *rule =
                append(target, anywhere ? RULE_SET_PORTS : RULE_SET_PORTS_AT, target->ports, port);
        char text[IP_TEXT_MAX];

        if (!rule)
                return error_set_errno(err, ENOMEM, "portMappings");
        if (!anywhere) {
                key_address(rule, &port->host_ip);
                snprintf(rule->label, sizeof(rule->label), "hostPort %u/%s of %s", port->host_port,
                         portmap_protocol_name(port->protocol), ip_format(&port->host_ip, text));
        }
        key_port(rule, port->protocol, port->host_port);
        rule_data(rule, target->pod->address.bytes, ip_size(&target->pod->address));
        rule_data(rule, &big, sizeof(big));
        for (const Rule *other = target->list->rules; other < rule; other++)
                if (other->set == rule->set && other->group == rule->group &&
                    memcmp(other->element.key, rule->element.key, NFT_VALUE_MAX) == 0) {
                        if (memcmp(other->element.data, rule->element.data, NFT_VALUE_MAX) != 0)
                                return error_set(err, ERROR_INVALID, "%s is mapped twice",
                                                 rule->label);
                        target->list->n_rules--;
                        return 1;
                }
        return 0;
}

/* Several host ports may lead to one port of the pod, which has one way back. */
static void drop_if_known(RuleList *list) {
        const Rule *last = &list->rules[list->n_rules - 1];

        for (const Rule *other = list->rules; other < last; other++)
                if (other->set == last->set && other->group == last->group &&
                    memcmp(other->element.key, last->element.key, NFT_VALUE_MAX) == 0) {
                        list->n_rules--;
                        return;
                }
}

static int add_snat(Target *target, const PortMapping *port, Error *err) {
        bool host = target->pod->length >= ip_size(&target->pod->address) * 8;
        RuleSet set = target->conf->masq_all ? RULE_SET_SNAT_ALL : RULE_SET_SNAT;
        Rule *rule = append(target, set, target->snat, port);

        if (!rule)
                return error_set_errno(err, ENOMEM, "portMappings");
        key_address(rule, &target->pod->address);
        key_port(rule, port->protocol, port->pod_port);
        drop_if_known(target->list);
        if (!host || target->conf->masq_all)
                return 0;
        rule = append(target, RULE_SET_HAIRPIN, target->snat, port);
        if (!rule)
                return error_set_errno(err, ENOMEM, "portMappings");
        key_address(rule, &target->pod->address);
        key_address(rule, &target->pod->address);
        key_port(rule, port->protocol, port->pod_port);
        drop_if_known(target->list);
        return 0;
}

/* What the pod has in this family, so that DEL knows whether it found all of it. */
static int add_pod(Target *target, uint32_t n_elements, Error *err) {
        Rule *rule = append(target, RULE_SET_PORT_PODS, target->ports, NULL);

        if (!rule)
                return error_set_errno(err, ENOMEM, "portMappings");
        key_address(rule, &target->pod->address);
        rule_data(rule, &n_elements, sizeof(n_elements));
        snprintf(rule->label, sizeof(rule->label), "pod with host ports");
        return 0;
}

static int add_held(Target *target, const PortMapping *held, Error *err) {
        Rule *rule = append(target, RULE_SET_HELD, target->node, held);

        if (!rule)
                return error_set_errno(err, ENOMEM, "portMappings");
        key_address(rule, &held->host_ip);
        key_port(rule, held->protocol, held->host_port);
        drop_if_known(target->list);
        return 0;
}

/* No packet is sent to the address zero: the element says that the rules before the host ports are
 * there, also to a node whose table was made by a version that did not have them. */
static int add_node(Target *target, Error *err) {
        static const uint8_t zero[16];
        Rule *rule = rules_append(target->list, target->node, RULE_SET_SERVICES, RULE_CLAIM_NOBODY);

        if (!rule)
                return error_set_errno(err, ENOMEM, "portMappings");
        rule_key(rule, zero, ip_size(&target->pod->address));
        snprintf(rule->label, sizeof(rule->label), "what comes before host ports");
        drop_if_known(target->list);
        return 0;
}

/* What lets 127.0.0.1 leave towards pods lets others come to it. */
static int add_localnet(Target *target, Error *err) {
        RuleGroup group = {.kind = RULE_GROUP_LOCALNET, .family = NFPROTO_IPV4};
        const char name[IFNAMSIZ] = "lo";
        int r = rules_group(target->list, &group);
        Rule *rule =
                r < 0 ? NULL
                      : rules_append(target->list, (size_t)r, RULE_SET_LOCALNET, RULE_CLAIM_NOBODY);

        if (!rule)
                return error_set_errno(err, ENOMEM, "portMappings");
        rule_key(rule, name, sizeof(name));
        snprintf(rule->label, sizeof(rule->label), "127.0.0.0/8 for this host alone");
        return 0;
}

static int want_held(Target *target, Error *err) {
        const PortmapConf *conf = target->conf;
        int r = 0;

        for (size_t i = 0; i < conf->n_held && r == 0; i++)
                if (conf->held[i].host_ip.family == target->pod->address.family)
                        r = add_held(target, &conf->held[i], err);
        return r;
}

static int want_address(Target *target, bool deleting, Error *err) {
        const PortmapConf *conf = target->conf;
        size_t n_before = target->list->n_rules;
        bool any = false;
        int r = open_groups(target);

        if (r < 0)
                return error_set_errno(err, r, "portMappings");
        for (size_t i = 0; conf && i < conf->n_ports; i++) {
                const PortMapping *port = &conf->ports[i];

                if (ip_is_set(&port->host_ip) &&
                    port->host_ip.family != target->pod->address.family)
                        continue;
                any = true;
                r = add_map(target, port, err);
                if (r == 0 && conf->snat)
                        r = add_snat(target, port, err);
                if (r < 0)
                        return r;
        }
        if (conf && !any)
                return 0;
        r = conf ? want_held(target, err) : 0;
        r = r < 0 ? r : add_pod(target, (uint32_t)(target->list->n_rules - n_before), err);
        if (r < 0 || deleting)
                return r;
        r = add_node(target, err);
        if (r == 0 && conf->snat && target->pod->address.family == AF_INET)
                r = add_localnet(target, err);
        return r;
}

/* As upstream: the first address of each family has the ports. */
static int portmap_want(const void *state, const Attachment *at, bool deleting, RuleList *list,
                        Error *err) {
        bool done[2] = {false, false};

        if (!state && !deleting)
                return 0;
        for (size_t i = 0; i < at->n_ips; i++) {
                const IpPrefix *pod = &at->ips[i].address;
                Target target = {.conf = state, .pod = pod, .list = list};
                int r;

                if (done[pod->address.family == AF_INET6])
                        continue;
                done[pod->address.family == AF_INET6] = true;
                r = want_address(&target, deleting, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* --- facts -------------------------------------------------------------------------------- */

typedef struct Listening {
        PortmapConf *conf;
        Error *err;
} Listening;

static int each_waiting(const WaitingSocket *socket, void *userdata) {
        Listening *listening = userdata;

        return portmap_conf_hold(listening->conf, socket, listening->err);
}

/* A kernel that does not tell of its sockets leaves it as upstream has it. */
static int look_at_sockets(PortmapConf *conf, Error *err) {
        static const uint8_t families[] = {AF_INET, AF_INET6},
                             protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};
        cleanup(nl_socket_close) NlSocket sock = NL_SOCKET_NULL;
        Listening listening = {.conf = conf, .err = err};

        for (size_t i = 0; i < N_ELEMENTS(protocols); i++) {
                bool asked = false;

                for (size_t j = 0; j < conf->n_ports && !asked; j++)
                        asked = conf->ports[j].protocol == protocols[i];
                for (size_t j = 0; j < N_ELEMENTS(families) && asked; j++) {
                        int r = sock_diag_waiting(&sock, families[j], protocols[i], each_waiting,
                                                  &listening);

                        if (r < 0 && error_is_set(err))
                                return r;
                }
        }
        return 0;
}

static unsigned int families_of(const Attachment *at) {
        unsigned int families = 0;

        for (size_t i = 0; i < at->n_ips; i++)
                families |=
                        at->ips[i].address.address.family == AF_INET6 ? PORTMAP_IPV6 : PORTMAP_IPV4;
        return families;
}

static int portmap_facts(void *state, Attachment *at, RulesSocket *sock, Error *err) {
        PortmapConf *conf = state;
        Error local = {0};
        int r;

        if (!conf)
                return 0;
        conf->families = families_of(at);
        r = portmap_conf_check_node_ports(state, &local);
        r = r < 0 ? r : look_at_sockets(state, &local);
        if (r < 0) {
                if (err)
                        *err = local;
                return r;
        }
        return rules_services_sync(sock, at->rtnl, err);
}

/* --- outside of nftables ------------------------------------------------------------------ */

typedef struct Stale {
        const PortmapConf *conf;
        const Attachment *at;
        const IpPrefix *pod; /* of the family; NULL: DEL was not told */
        bool pod_lives;
        RulesSocket *sock;
} Stale;

/* A flow sticks to what conntrack remembers. ADD takes those of its ports that lead elsewhere; DEL
 * those that lead to the pod, or, where nobody knows its addresses, all of its ports. */
static bool is_stale_flow(const ConntrackFlow *flow, void *userdata) {
        const Stale *stale = userdata;
        bool of_pod = stale->pod && flow->answers &&
                      flow->n_answers == ip_size(&stale->pod->address) &&
                      memcmp(flow->answers, stale->pod->address.bytes, flow->n_answers) == 0;

        if (of_pod)
                return !stale->pod_lives;
        if (stale->pod && !stale->pod_lives)
                return false;
        for (size_t i = 0; i < stale->conf->n_ports; i++)
                if (stale->conf->ports[i].protocol == IPPROTO_UDP &&
                    stale->conf->ports[i].host_port == flow->port)
                        return true;
        return false;
}

/* Nobody knows when the child of ADD gets to it: the ports may be another pod's by then, and so the
 * flows. */
static bool has_its_ports(void *userdata) {
        const Stale *stale = userdata;
        cleanup(rules_deinit) RuleList list = {0};
        Error err = {0};

        rule_owner_format(stale->at, list.comment);
        if (portmap_want(stale->conf, stale->at, false, &list, &err) < 0)
                return false;
        return rules_check(stale->sock, &list, stale->at->owner, NULL, &err) == 0 ||
               (err.code != ERROR_NOT_FOUND && err.code != ERROR_CONFLICT);
}

static const IpPrefix *first_of(const Attachment *at, uint8_t family) {
        for (size_t i = 0; i < at->n_ips; i++)
                if (at->ips[i].address.address.family == family)
                        return &at->ips[i].address;
        return NULL;
}

/* The kernel walks all of conntrack for it, 12 ms a family. */
static void forget_flows(const PortmapConf *conf, const Attachment *at, RulesSocket *sock,
                         bool pod_lives) {
        static const uint8_t families[] = {AF_INET, AF_INET6};
        Stale stale = {.conf = conf, .at = at, .pod_lives = pod_lives, .sock = sock};

        for (size_t i = 0; i < N_ELEMENTS(families); i++) {
                stale.pod = first_of(at, families[i]);
                if (stale.pod || at->n_ips == 0)
                        (void)conntrack_forget(&sock->netfilter, families[i], IPPROTO_UDP,
                                               is_stale_flow, pod_lives ? has_its_ports : NULL,
                                               &stale);
        }
}

static bool has_udp(const PortmapConf *conf) {
        for (size_t i = 0; conf && i < conf->n_ports; i++)
                if (conf->ports[i].protocol == IPPROTO_UDP)
                        return true;
        return false;
}

/* In a child, so that nobody waits. It holds nothing of its parent's: a socket that two processes
 * ask at once answers either of them, or refuses. */
static void forget_flows_behind(const PortmapConf *conf, const Attachment *at, RulesSocket *sock) {
        RulesSocket own = RULES_SOCKET_NULL;
        pid_t pid = behind_fork(NULL, 0);

        if (pid < 0)
                forget_flows(conf, at, sock, true);
        if (pid != 0)
                return;
        if (rules_open(&own, NULL) == 0)
                forget_flows(conf, at, &own, true);
        _exit(0);
}

/* Lets packets from 127.0.0.1 leave towards the pod, on the link that leads there: the bridge, its
 * VLAN link, the pair. */
static int allow_localhost(const Attachment *at, const IpAddress *pod, bool doing, Error *err) {
        cleanup(closep) int fd = -1;
        char value = '0';
        char name[IFNAMSIZ], path[64 + IFNAMSIZ];

        if (rules_link_to(at, pod, name) < 0)
                return 0; /* no way to the pod: then there is none for localhost either */
        snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/route_localnet", name);
        fd = sysctl_open(at->sysctls, path, doing ? O_RDWR : O_RDONLY);
        if (fd >= 0 && read(fd, &value, 1) == 1 && value == '1')
                return 0;
        if (!doing)
                return error_set(err, ERROR_NOT_FOUND, "%s is not 1", path);
        if (fd < 0 || pwrite(fd, "1", 1, 0) != 1)
                return error_set_errno(err, fd < 0 ? -fd : errno,
                                       "unable to enable route_localnet: write %s", path);
        return 0;
}

static int portmap_after_add(const void *state, Attachment *at, RulesSocket *sock, Error *err) {
        if (has_udp(state))
                forget_flows_behind(state, at, sock);
        return 0;
}

static int portmap_outside(const void *state, Attachment *at, RulesSocket *sock, Error *err) {
        const PortmapConf *conf = state;

        for (size_t i = 0; conf && i < at->n_ips && conf->snat; i++)
                if (at->ips[i].address.address.family == AF_INET)
                        return allow_localhost(at, &at->ips[i].address.address, true, err);
        return 0;
}

static int portmap_check(const void *state, Attachment *at, RulesSocket *sock, Error *err) {
        const PortmapConf *conf = state;

        for (size_t i = 0; conf && i < at->n_ips && conf->snat; i++)
                if (at->ips[i].address.address.family == AF_INET)
                        return allow_localhost(at, &at->ips[i].address.address, false, err);
        return 0;
}

/* Before the answer: the next pod may be given the address, and clients that stick to it. */
static int portmap_del(void *state, Attachment *at, RulesSocket *sock, Error *err) {
        if (has_udp(state) && sock->netfilter.fd >= 0)
                forget_flows(state, at, sock, false);
        return 0;
}

const Feature feature_portmap = {
        .name = "portmap",
        .roles = ROLE_BIT(ROLE_BERTH) | ROLE_BIT(ROLE_PORTMAP),
        .sets = 1U << RULE_SET_PORTS | 1U << RULE_SET_PORTS_AT | 1U << RULE_SET_PORT_PODS |
                1U << RULE_SET_SNAT | 1U << RULE_SET_HAIRPIN | 1U << RULE_SET_SNAT_ALL |
                1U << RULE_SET_HELD,
        .parse = portmap_parse,
        .free = portmap_free,
        .want = portmap_want,
        .facts = portmap_facts,
        .outside = portmap_outside,
        .check = portmap_check,
        .after_add = portmap_after_add,
        .del = portmap_del,
};
