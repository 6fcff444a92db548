/* SPDX-License-Identifier: Apache-2.0 */

/*
 * hostPort: each port is one element of a map from (protocol, host port) to (pod, port), and one in
 * a set that masquerades what comes from the pod's own subnet or from 127.0.0.1, so that answers
 * find their way back. The first to ask for a port has it, as long as its pod lives.
 */

#include "cni/portmap_conf.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/netlink/rtnl_link.h"
#include "common/netlink/rtnl_route.h"
#include "common/nft/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

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
        size_t ports, snat; /* groups */
} Target;

static int open_groups(Target *target) {
        uint8_t family = rules_family(&target->pod->address);
        RuleGroup ports = {.kind = RULE_GROUP_PORTS, .family = family};
        RuleGroup all = {.kind = RULE_GROUP_SNAT_ALL, .family = family};
        int r;

        if (target->conf) {
                ports.conditions = &target->conf->conditions[family == AF_INET6];
                conditions_name(ports.conditions, ports.suffix);
        }
        r = rules_group(target->list, &ports);
        if (r < 0)
                return r;
        target->ports = (size_t)r;
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

static int want_address(Target *target, Error *err) {
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
        return add_pod(target, (uint32_t)(target->list->n_rules - n_before), err);
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
                r = want_address(&target, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* --- outside of nftables ------------------------------------------------------------------ */

/* An old flow of a UDP port sticks to what conntrack remembers; only telling, never failing. */
static void forget_flows(const PortmapConf *conf, const Attachment *at, RulesSocket *sock) {
        bool done[2] = {false, false};

        for (size_t i = 0; i < at->n_ips; i++) {
                uint8_t family = at->ips[i].address.address.family;

                if (done[family == AF_INET6])
                        continue;
                done[family == AF_INET6] = true;
                for (size_t j = 0; j < conf->n_ports; j++)
                        if (conf->ports[j].protocol == IPPROTO_UDP)
                                (void)conntrack_forget_port(&sock->netfilter, family, IPPROTO_UDP,
                                                            conf->ports[j].host_port);
        }
}

static int reply_route(size_t index, const struct nlmsghdr *message, void *userdata) {
        return route_parse(message, userdata);
}

static void batch_deinit(NlBatch *batch) {
        nl_batch_deinit(batch);
}

/* The link that leads to the pod: the bridge, or whatever a foreign plugin made. */
static int find_link(const Attachment *at, const IpAddress *pod, char name[IFNAMSIZ]) {
        cleanup(batch_deinit) NlBatch batch = {0};
        Route route = {0};
        Link link;
        int r;

        if (at->bridge[0]) {
                memcpy(name, at->bridge, IFNAMSIZ);
                return 0;
        }
        route_get(&batch, pod->family, pod->bytes);
        r = nl_batch_run(at->rtnl, &batch, reply_route, &route);
        if (r == 0)
                r = link_find(at->rtnl, route.index, NULL, &link);
        if (r == 0)
                memcpy(name, link.name, IFNAMSIZ);
        return r;
}

/* Lets packets from 127.0.0.1 leave towards the pod. */
static int allow_localhost(const Attachment *at, const IpAddress *pod, Error *err) {
        cleanup(closep) int fd = -1;
        char name[IFNAMSIZ], path[64 + IFNAMSIZ];

        if (find_link(at, pod, name) < 0)
                return 0; /* no way to the pod: then there is none for localhost either */
        snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/route_localnet", name);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "1", 1) != 1)
                return error_set_errno(err, errno, "unable to enable route_localnet: write %s",
                                       path);
        return 0;
}

static int portmap_after_add(const void *state, Attachment *at, RulesSocket *sock, Error *err) {
        const PortmapConf *conf = state;

        if (!conf)
                return 0;
        forget_flows(conf, at, sock);
        for (size_t i = 0; i < at->n_ips && conf->snat; i++)
                if (at->ips[i].address.address.family == AF_INET)
                        return allow_localhost(at, &at->ips[i].address.address, err);
        return 0;
}

static int portmap_after_del(const void *state, Attachment *at, RulesSocket *sock, Error *err) {
        if (state && sock->netfilter.fd >= 0)
                forget_flows(state, at, sock);
        return 0;
}

const RulePart part_portmap = {
        .name = "portmap",
        .roles = ROLE_BIT(ROLE_BERTH) | ROLE_BIT(ROLE_PORTMAP),
        .sets = 1U << RULE_SET_PORTS | 1U << RULE_SET_PORTS_AT | 1U << RULE_SET_PORT_PODS |
                1U << RULE_SET_SNAT | 1U << RULE_SET_HAIRPIN | 1U << RULE_SET_SNAT_ALL,
        .parse = portmap_parse,
        .free = portmap_free,
        .want = portmap_want,
        .after_add = portmap_after_add,
        .after_del = portmap_after_del,
};
