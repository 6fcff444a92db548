/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ipMasq: what a pod sends out of its subnet leaves under the node's address. One element per
 * address; the rule is the same for all pods of a subnet. With clusterCIDR, what it sends to pods
 * of other nodes does not: they see who asks, and so do their network policies.
 *
 * The backend is nftables whatever ipMasqBackend asks for: "iptables" would only say by which tool
 * the same NAT table of the kernel is filled.
 */

#include "cni/features/feature.h"

#include "common/base/cleanup.h"
#include "common/base/sha256.h"
#include "common/netlink/rtnl_route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Networks of a configuration: one for each address family, and one to spare. */
#define CLUSTERS_MAX 4U

typedef struct Masq {
        IpPrefix clusters[CLUSTERS_MAX];
        size_t n_clusters;
        RuleMasq how[2]; /* IPv4, IPv6 */
        char names[2]
                  [20]; /* of what differs from the defaults, behind a set's name; "" if nothing */
} Masq;

static void freep_masq(Masq **masqp) {
        free(*masqp);
}

static int read_clusters(const json_t *json, Masq *masq, Error *err) {
        const json_t *list = NULL;
        int r = json_read_texts(json, "clusterCIDR", &list, err);

        for (size_t i = 0; i < json_array_size(list) && r == 0; i++) {
                const char *text = json_string_value(json_array_get(list, i));

                if (i == CLUSTERS_MAX)
                        r = error_set(err, ERROR_INVALID, "clusterCIDR: more than %u networks",
                                      CLUSTERS_MAX);
                else if (ip_prefix_parse(text, &masq->clusters[i]) < 0)
                        r = error_set(err, ERROR_INVALID,
                                      "clusterCIDR: \"%s\" is not a subnet (expected for example "
                                      "10.244.0.0/16)",
                                      text);
                else
                        masq->n_clusters++;
        }
        return r;
}

static RuleMasq *how_of(Masq *masq, uint8_t family) {
        return &masq->how[family == AF_INET6];
}

static int read_inside(const json_t *json, Masq *masq, Error *err) {
        const json_t *list = NULL;
        int r = json_read_texts(json, "nonMasqueradeCIDRs", &list, err);

        for (size_t i = 0; i < json_array_size(list) && r == 0; i++) {
                const char *text = json_string_value(json_array_get(list, i));
                RuleMasq *how;
                IpPrefix prefix;

                if (ip_prefix_parse(text, &prefix) < 0)
                        return error_set(err, ERROR_INVALID,
                                         "nonMasqueradeCIDRs: \"%s\" is not a subnet such as "
                                         "192.168.0.0/16",
                                         text);
                how = how_of(masq, prefix.address.family);
                if (how->n_inside == RULE_INSIDE_MAX)
                        return error_set(err, ERROR_INVALID,
                                         "nonMasqueradeCIDRs: more than %d networks of a family",
                                         RULE_INSIDE_MAX);
                how->inside[how->n_inside++] = prefix;
        }
        return r;
}

static int read_egress(const json_t *json, Masq *masq, Error *err) {
        const json_t *list = NULL;
        int r = json_read_texts(json, "egressAddress", &list, err);

        for (size_t i = 0; i < json_array_size(list) && r == 0; i++) {
                const char *text = json_string_value(json_array_get(list, i));
                IpAddress address;

                if (ip_parse(text, &address) < 0 || !ip_is_routable(&address))
                        return error_set(err, ERROR_INVALID,
                                         "egressAddress: \"%s\" is not an address that pods can "
                                         "leave this node under: expected one of the node's, such "
                                         "as 192.0.2.1",
                                         text);
                if (ip_is_set(&how_of(masq, address.family)->egress))
                        return error_set(err, ERROR_INVALID,
                                         "egressAddress: more than one of a family: \"%s\"", text);
                how_of(masq, address.family)->egress = address;
        }
        return r;
}

/* The same options always have the same name; a set's rule is one for all its pods. */
static void name_options(Masq *masq) {
        for (size_t i = 0; i < N_ELEMENTS(masq->how); i++) {
                const RuleMasq *how = &masq->how[i];
                char hex[SHA256_HEX_SIZE], text[(RULE_INSIDE_MAX + 1) * (IP_TEXT_MAX + 1) + 2];
                char one[IP_TEXT_MAX];
                size_t n = 0;

                masq->names[i][0] = '\0';
                if (how->n_inside == 0 && !how->randomly && !ip_is_set(&how->egress))
                        continue;
                for (size_t j = 0; j < how->n_inside; j++)
                        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s ",
                                              ip_prefix_format(&how->inside[j], one));
                n += (size_t)snprintf(text + n, sizeof(text) - n, "%s %d",
                                      ip_is_set(&how->egress) ? ip_format(&how->egress, one) : "-",
                                      how->randomly);
                sha256_hex(text, n, hex);
                snprintf(masq->names[i], sizeof(masq->names[i]), ".%.8s", hex);
        }
}

static int read_options(const json_t *json, Masq *masq, Error *err) {
        bool randomly = false;
        int r = read_inside(json, masq, err);

        r = r < 0 ? r : read_egress(json, masq, err);
        r = r < 0 ? r : json_read_bool(json, "randomFully", &randomly, err);
        masq->how[0].randomly = masq->how[1].randomly = randomly;
        name_options(masq);
        return r;
}

/* Whoever asks for them counts on them. */
static int refuse_options(const json_t *json, Error *err) {
        static const char *const keys[] = {"nonMasqueradeCIDRs", "egressAddress", "randomFully"};

        for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
                const json_t *value = json_find(json, keys[i]);

                if (json_is_true(value) || json_array_size(value) > 0)
                        return error_set(err, ERROR_INVALID,
                                         "\"%s\" needs \"ipMasq\": true, without which nothing is "
                                         "masqueraded",
                                         keys[i]);
        }
        return 0;
}

static int masq_parse(const NetConf *conf, void **statep, Error *err) {
        cleanup(freep_masq) Masq *masq = NULL;
        const char *backend = "";
        int r;

        if (json_read_text(conf->json, "ipMasqBackend", &backend, err) < 0)
                return -EINVAL;
        if (!conf->ip_masq)
                return refuse_options(conf->json, err);
        if (backend[0] && strcmp(backend, "iptables") != 0 && strcmp(backend, "nftables") != 0)
                return error_set(err, ERROR_INVALID, "unknown ipmasq backend \"%s\"", backend);
        masq = calloc(1, sizeof(*masq));
        if (!masq)
                return error_set_errno(err, ENOMEM, "masquerade");
        r = read_clusters(conf->json, masq, err);
        r = r < 0 ? r : read_options(conf->json, masq, err);
        if (r == 0)
                *statep = ptr_steal(&masq);
        return r;
}

static void masq_free(void *state) {
        free(state);
}

/* What the pods of all nodes have, or else what those of this node have, is reached as it is. */
static IpPrefix inside(const Masq *masq, const IpPrefix *address) {
        IpPrefix wide = *address;

        for (size_t i = 0; masq && i < masq->n_clusters; i++)
                if (ip_prefix_contains(&masq->clusters[i], &address->address) &&
                    masq->clusters[i].length < wide.length)
                        wide.length = masq->clusters[i].length;
        return wide;
}

static int want_one(RuleList *list, const Masq *masq, const IpPrefix *outside_of,
                    const IpPrefix *address, Error *err) {
        bool v6 = address->address.family == AF_INET6;
        int group = rules_masq_group(list, outside_of, masq ? &masq->how[v6] : NULL,
                                     masq ? masq->names[v6] : "");
        char text[IP_TEXT_MAX];
        Rule *rule;

        rule = group < 0 ? NULL
                         : rules_append(list, (size_t)group, RULE_SET_MASQ, RULE_CLAIM_ADDRESS);
        if (!rule)
                return error_set_errno(err, ENOMEM, "masquerade");
        rule_key(rule, address->address.bytes, ip_size(&address->address));
        snprintf(rule->label, sizeof(rule->label), "masquerade of %s",
                 ip_format(&address->address, text));
        return 0;
}

/* Of a family: the other one may have none. */
static bool has_options(const Masq *masq, uint8_t family) {
        return masq && masq->names[family == AF_INET6][0] != '\0';
}

static int masq_want(const void *state, const Attachment *at, bool deleting, RuleList *list,
                     Error *err) {
        int r = 0;

        for (size_t i = 0; i < at->n_ips && r == 0 && (state || deleting); i++) {
                const IpPrefix *address = &at->ips[i].address;
                IpPrefix wide = inside(state, address);

                r = want_one(list, state, &wide, address, err);
                /* A pod from before clusterCIDR and the options were set. The same element twice
                 * would be a transaction that fails. */
                if (r == 0 && deleting &&
                    (wide.length != address->length || has_options(state, address->address.family)))
                        r = want_one(list, NULL, address, address, err);
        }
        return r;
}

/* --- facts -------------------------------------------------------------------------------- */

static int is_local(size_t index, const struct nlmsghdr *reply, void *userdata) {
        bool *localp = userdata;
        Route route;

        if (reply && route_parse(reply, &route) == 0)
                *localp = route.type == RTN_LOCAL;
        return 0;
}

/* The kernel sends under an address whether or not the node has it, and no answer comes. */
static int masq_check(const void *state, Attachment *at, RulesSocket *sock, Error *err) {
        const Masq *masq = state;

        for (size_t i = 0; masq && i < N_ELEMENTS(masq->how); i++) {
                const IpAddress *egress = &masq->how[i].egress;
                cleanup(nl_batch_deinit) NlBatch batch = {0};
                char text[IP_TEXT_MAX];
                bool local = false;

                if (!ip_is_set(egress))
                        continue;
                route_get(&batch, egress->family, egress->bytes);
                (void)nl_batch_run(at->rtnl, &batch, is_local, &local);
                if (!local)
                        return error_set(err, ERROR_PRECONDITION,
                                         "egressAddress: %s is not an address of this node: what "
                                         "pods send under it has no answer",
                                         ip_format(egress, text));
        }
        return 0;
}

static int masq_facts(void *state, Attachment *at, RulesSocket *sock, Error *err) {
        return masq_check(state, at, sock, err);
}

/* An address is the administrator's to give back. */
static int masq_repair(void *state, Attachment *at, bool doing, StrBuf *done, Error *err) {
        Error lost = {0};

        if (masq_check(state, at, NULL, &lost) == 0)
                return 0;
        if (doing)
                return error_set(err, lost.code, "%s", lost.message);
        strbuf_printf(done, "%s\n", lost.message);
        return 0;
}

const Feature feature_masquerade = {
        .name = "masquerade",
        .roles = ROLE_BIT(ROLE_BERTH) | ROLE_BIT(ROLE_BRIDGE) | ROLE_BIT(ROLE_PTP),
        .sets = 1U << RULE_SET_MASQ,
        .parse = masq_parse,
        .facts = masq_facts,
        .check = masq_check,
        .repair = masq_repair,
        .free = masq_free,
        .want = masq_want,
};
