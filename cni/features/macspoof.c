/* SPDX-License-Identifier: Apache-2.0 */

/*
 * macspoofchk: what comes out of a pod's link is dropped, in the bridge and before anything else
 * looks at it, when it is a frame from another MAC address than the pod's, an ARP or neighbour
 * discovery message that claims another address than IPAM gave to the pod, or, unless anyProtocol
 * is set, what is neither IP nor ARP or would configure a neighbour.
 *
 * The frame alone would not do: whoever answers "10.1.0.5 is at my MAC address" gets the packets of
 * 10.1.0.5. What a pod without addresses of a family claims is not known here and is let through;
 * so is all of a port that carries VLANs, which has more addresses than IPAM's.
 */

#include "cni/features/feature.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include <linux/netfilter.h>

typedef struct Spoof {
        bool claims;    /* looks at them, too */
        bool protocols; /* nothing but IP and ARP, of no server */
} Spoof;

static int spoof_parse(const NetConf *conf, void **statep, Error *err) {
        static Spoof frames = {0}, claims = {.claims = true},
                     all = {.claims = true, .protocols = true};
        bool check = false, any = false;

        if (json_read_bool(conf->json, "macspoofchk", &check, err) < 0 ||
            json_read_bool(conf->json, "anyProtocol", &any, err) < 0)
                return -EINVAL;
        if (check)
                *statep = conf->link.n_trunks > 0 ? &frames : any ? &claims : &all;
        return 0;
}

static void spoof_free(void *state) {
}

static void key_link(Rule *rule, const Attachment *at) {
        char name[IFNAMSIZ] = {0};

        snprintf(name, sizeof(name), "%s", at->host_link);
        rule_key(rule, name, sizeof(name));
}

/* An element of @kind whose key begins with the link, labelled "@what of @whose". NULL without
 * memory. */
static Rule *append_to(RuleList *list, const Attachment *at, RuleGroupKind kind, uint8_t family,
                       RuleSet set, const char *what, const char *whose) {
        RuleGroup group = {.kind = kind, .family = family};
        int r = rules_group(list, &group);
        Rule *rule = r < 0 ? NULL : rules_append(list, (size_t)r, set, RULE_CLAIM_ADDRESS);

        if (!rule)
                return NULL;
        key_link(rule, at);
        snprintf(rule->label, sizeof(rule->label), "%s of %s", what, whose);
        return rule;
}

static Rule *append(RuleList *list, const Attachment *at, RuleGroupKind kind, RuleSet set,
                    const char *what, const char *whose) {
        return append_to(list, at, kind, NFPROTO_BRIDGE, set, what, whose);
}

static int want_frames(RuleList *list, const Attachment *at) {
        Rule *rule;

        if (at->has_pod_mac) {
                rule = append(list, at, RULE_GROUP_SPOOF, RULE_SET_SPOOF_MACS, "MAC address",
                              at->host_link);
                if (!rule)
                        return -ENOMEM;
                rule_key(rule, at->pod_mac, sizeof(at->pod_mac));
        }
        rule = append(list, at, RULE_GROUP_SPOOF, RULE_SET_SPOOF_LINKS, "MAC check", at->host_link);
        return rule ? 0 : -ENOMEM;
}

static bool has_family(const Attachment *at, int family) {
        for (size_t i = 0; i < at->n_ips; i++)
                if (at->ips[i].address.address.family == family)
                        return true;
        return false;
}

/* An address that the pod may claim. */
static int want_sender(RuleList *list, const Attachment *at, const IpAddress *address) {
        static const RuleSet sets[] = {RULE_SET_ND_SENDERS, RULE_SET_ND_TARGETS};
        char text[IP_TEXT_MAX];
        Rule *rule;

        ip_format(address, text);
        if (address->family == AF_INET) {
                rule = append(list, at, RULE_GROUP_ARP, RULE_SET_ARP_SENDERS, "ARP", text);
                if (!rule)
                        return -ENOMEM;
                rule_key(rule, at->pod_mac, sizeof(at->pod_mac));
                rule_key(rule, address->bytes, ip_size(address));
                return 0;
        }
        for (size_t i = 0; i < N_ELEMENTS(sets); i++) {
                rule = append(list, at, RULE_GROUP_ND, sets[i], "neighbour discovery", text);
                if (!rule)
                        return -ENOMEM;
                rule_key(rule, address->bytes, ip_size(address));
        }
        return 0;
}

/* The link-local address that the kernel makes of a MAC address (addr_gen_mode 0). */
static IpAddress link_local(const uint8_t mac[6]) {
        IpAddress address = {.family = AF_INET6, .bytes = {0xfe, 0x80}};

        address.bytes[8] = mac[0] ^ 0x02;
        address.bytes[9] = mac[1];
        address.bytes[10] = mac[2];
        address.bytes[11] = 0xff;
        address.bytes[12] = 0xfe;
        address.bytes[13] = mac[3];
        address.bytes[14] = mac[4];
        address.bytes[15] = mac[5];
        return address;
}

/* The senders come before the link in one transaction, so no packet of the pod is lost. */
static int want_claims(RuleList *list, const Attachment *at) {
        bool v4 = has_family(at, AF_INET), v6 = has_family(at, AF_INET6);
        IpAddress own = link_local(at->pod_mac);
        int r = 0;

        for (size_t i = 0; i < at->n_ips && at->has_pod_mac && r == 0; i++)
                r = want_sender(list, at, &at->ips[i].address.address);
        if (r == 0 && v6 && at->has_pod_mac)
                r = want_sender(list, at, &own);
        if (r == 0 && v4 &&
            !append(list, at, RULE_GROUP_ARP, RULE_SET_ARP_LINKS, "ARP check", at->host_link))
                r = -ENOMEM;
        if (r == 0 && v6 &&
            !append(list, at, RULE_GROUP_ND, RULE_SET_ND_LINKS, "neighbour discovery check",
                    at->host_link))
                r = -ENOMEM;
        return r;
}

static int want_protocols(RuleList *list, const Attachment *at) {
        const Rule *rule = append(list, at, RULE_GROUP_PROTOCOL, RULE_SET_PROTOCOL_LINKS,
                                  "protocol check", at->host_link);

        return rule ? 0 : -ENOMEM;
}

/* A routed pod has no neighbour but the host, which knows its MAC address: what is left to claim is
 * the source of a packet. The addresses come before the link. */
static int want_sources(RuleList *list, const Attachment *at) {
        static const uint8_t families[] = {NFPROTO_IPV4, NFPROTO_IPV6};

        for (size_t i = 0; i < at->n_ips; i++) {
                const IpAddress *address = &at->ips[i].address.address;
                char text[IP_TEXT_MAX];
                Rule *rule = append_to(list, at, RULE_GROUP_SOURCE, rules_family(address),
                                       RULE_SET_SOURCES, "source", ip_format(address, text));

                if (!rule)
                        return -ENOMEM;
                rule_key(rule, address->bytes, ip_size(address));
        }
        /* Of a family that it has no address of it sends nothing. */
        for (size_t i = 0; i < N_ELEMENTS(families); i++)
                if (!append_to(list, at, RULE_GROUP_SOURCE, families[i], RULE_SET_SOURCE_LINKS,
                               "source check", at->host_link))
                        return -ENOMEM;
        return 0;
}

static bool is_routed(const Attachment *at) {
        for (size_t i = 0; i < at->n_ips; i++) {
                IpAddress gateway = conf_routed_gateway(at->ips[i].address.address.family);

                if (!ip_equal(&at->ips[i].gateway, &gateway))
                        return false;
        }
        return at->n_ips > 0;
}

/* DEL that is told no result knows the addresses by their leases, which do not hold gateways. */
static bool lacks_gateways(const Attachment *at) {
        for (size_t i = 0; i < at->n_ips; i++)
                if (ip_is_set(&at->ips[i].gateway))
                        return false;
        return at->n_ips > 0;
}

static int spoof_want(const void *state, const Attachment *at, bool deleting, RuleList *list,
                      Error *err) {
        const Spoof *spoof = state;
        int r;

        if ((!state && !deleting) || (deleting && !at->host_link[0]))
                return 0;
        if (!at->host_link[0] || (!at->has_pod_mac && !deleting))
                return error_set(err, ERROR_PRECONDITION,
                                 "macspoofchk: the link of the pod is not known");
        r = is_routed(at) || (deleting && lacks_gateways(at)) ? want_sources(list, at) : 0;
        if (is_routed(at) || r < 0)
                return r < 0 ? error_set_errno(err, r, "macspoofchk") : 0;
        r = want_frames(list, at);
        if (r == 0 && (deleting || spoof->claims))
                r = want_claims(list, at);
        if (r == 0 && (deleting || spoof->protocols))
                r = want_protocols(list, at);
        return r < 0 ? error_set_errno(err, r, "macspoofchk") : 0;
}

const Feature feature_macspoof = {
        .name = "macspoofchk",
        .roles = ROLE_BIT(ROLE_BERTH) | ROLE_BIT(ROLE_BRIDGE),
        .sets = 1U << RULE_SET_SPOOF_LINKS | 1U << RULE_SET_SPOOF_MACS | 1U << RULE_SET_ARP_LINKS |
                1U << RULE_SET_ARP_SENDERS | 1U << RULE_SET_ND_LINKS | 1U << RULE_SET_ND_SENDERS |
                1U << RULE_SET_ND_TARGETS | 1U << RULE_SET_PROTOCOL_LINKS |
                1U << RULE_SET_SOURCE_LINKS | 1U << RULE_SET_SOURCES,
        .parse = spoof_parse,
        .free = spoof_free,
        .want = spoof_want,
};
