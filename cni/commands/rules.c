/* SPDX-License-Identifier: Apache-2.0 */

/* The elements of all features, as one transaction per ADD and one per DEL. */

#include "cni/commands/feature_table.h"

#include "cni/features/forward.h"
#include "cni/migrate/upstream.h"
#include "common/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>

#define PORT_SETS                                                                                  \
        (1U << RULE_SET_PORTS | 1U << RULE_SET_PORTS_AT | 1U << RULE_SET_SNAT |                    \
         1U << RULE_SET_HAIRPIN | 1U << RULE_SET_SNAT_ALL | 1U << RULE_SET_HELD)

/* Their keys have the pod's MAC address, or what follows from it. */
#define SENDER_SETS                                                                                \
        (1U << RULE_SET_SPOOF_MACS | 1U << RULE_SET_ARP_SENDERS | 1U << RULE_SET_ND_SENDERS |      \
         1U << RULE_SET_ND_TARGETS)

bool rules_take_part(const Features *self) {
        for (size_t i = 0; i < FEATURES_N; i++)
                if (features_has(self, i) && features[i]->want)
                        return true;
        return false;
}

static int look(Features *self, Attachment *at, Error *err) {
        int r = 0;

        for (size_t i = 0; i < FEATURES_N && r == 0; i++)
                if (features_has(self, i) && features[i]->facts)
                        r = features[i]->facts(self->states[i], at, &self->sock, err);
        return r;
}

/* What all features want for @at; on failure @list may hold some of it. */
static int want(const Features *self, const Attachment *at, bool deleting, RuleList *list,
                Error *err) {
        rule_owner_format(at, list->comment);
        for (size_t i = 0; i < FEATURES_N; i++) {
                int r = features_has(self, i) && features[i]->want
                                ? features[i]->want(self->states[i], at, deleting, list, err)
                                : 0;

                if (r < 0)
                        return r;
        }
        return 0;
}

/* The MAC address of the pod's link, out of the result if the attachment lacks it. */
static void learn_mac(Attachment *at, const CniResult *result) {
        int i = result ? result_find_interface(result, at->ifname, true) : -1;

        if (at->has_pod_mac || i < 0 || !result->interfaces[i].mac ||
            conf_mac_parse(result->interfaces[i].mac, at->pod_mac) < 0)
                return;
        at->has_pod_mac = true;
}

/* --- DEL, GC ------------------------------------------------------------------------------ */

static bool is_owners(const RuleOwner *owner, const NftFound *found, void *userdata) {
        return memcmp(owner->owner, userdata, OWNER_SIZE) == 0;
}

/* Elements that the list does not name: the ports were others, the options of the masquerade were,
 * which are in its set's name, or nobody told the addresses. */
static unsigned int sets_to_scan(const Features *self, const Attachment *at, const RuleList *list,
                                 const RuleFound *found) {
        bool had_ports = false, all_ports = true;
        unsigned int sets = 0, masq = 0, had_masq = 0; /* bits of families */

        for (size_t i = 0; i < FEATURES_N && !at->knows_ips; i++)
                sets |= features_has(self, i) ? features[i]->sets : 0;
        for (size_t i = 0; i < list->n_rules; i++) {
                RuleSet set = list->rules[i].set;

                if (set == RULE_SET_PORT_PODS && found[i] != RULE_FOUND_NOT) {
                        had_ports = true;
                        all_ports = all_ports && found[i] == RULE_FOUND_SAME;
                } else if (set == RULE_SET_MASQ) {
                        masq |= 1U << list->rules[i].element.family;
                        if (found[i] != RULE_FOUND_NOT)
                                had_masq |= 1U << list->rules[i].element.family;
                } else if (PORT_SETS & 1U << set) {
                        all_ports = all_ports && found[i] != RULE_FOUND_NOT;
                } else if (set == RULE_SET_SPOOF_LINKS && found[i] != RULE_FOUND_NOT &&
                           !at->has_pod_mac) {
                        sets |= SENDER_SETS;
                }
        }
        if (self->conf->ip_masq && masq != had_masq)
                sets |= (1U << RULE_SET_MASQ) & feature_masquerade.sets;
        return had_ports && !all_ports ? sets | PORT_SETS : sets;
}

static unsigned int legacy_plugins(PluginRole role) {
        return (ROLE_BIT(role) & feature_masquerade.roles ? LEGACY_BRIDGE : 0) |
               (ROLE_BIT(role) & feature_portmap.roles ? LEGACY_PORTMAP : 0) |
               (ROLE_BIT(role) & feature_firewall.roles ? LEGACY_FIREWALL : 0);
}

/* An element of ours is none of another plugin's leftovers. */
static bool any_found(const RuleList *list, const RuleFound *found) {
        for (size_t i = 0; i < list->n_rules; i++)
                if (found[i] != RULE_FOUND_NOT)
                        return true;
        return false;
}

typedef struct Deletion {
        const Features *self;
        const Attachment *at;
        const RuleList *list;
} Deletion;

static bool has_more(const RuleFound *found, void *userdata) {
        const Deletion *deletion = userdata;

        return sets_to_scan(deletion->self, deletion->at, deletion->list, found) != 0;
}

static int del_elements(Features *self, Attachment *at, Error *err) {
        cleanup(rules_deinit) RuleList list = {0};
        cleanup(freep) RuleFound *found = NULL;
        Deletion deletion = {.self = self, .at = at, .list = &list};
        unsigned int sets;
        int r;

        r = want(self, at, true, &list, err);
        if (r < 0)
                return r;
        found = calloc(list.n_rules + 1, sizeof(*found));
        if (!found)
                return error_set_errno(err, ENOMEM, "rules");
        r = rules_del(&self->sock, &list, at->owner, found, has_more, &deletion, err);
        if (r < 0)
                return r;
        at->is_ours = at->is_ours || any_found(&list, found);
        if (r != RULES_E_BEFORE)
                return 0;
        sets = sets_to_scan(self, at, &list, found);
        r = rules_scan(&self->sock, sets, is_owners, at->owner, err);
        return r < 0 ? r : rules_del(&self->sock, &list, at->owner, NULL, NULL, NULL, err);
}

/* With upstream's names each plugin of the list takes away its own, and a repair between two of
 * them puts it back, for the pair is there still. The pair goes now, and nothing about it stays. */
static int del_of_chain(Features *self, Attachment *at, Error *err) {
        PluginRole role = self->conf->role;

        if ((role != ROLE_BRIDGE && role != ROLE_PTP) || !rules_remain(&self->sock, at))
                return 0;
        return rules_scan(&self->sock, (1U << _RULE_SET_N) - 1, is_owners, at->owner, err);
}

/* What a scan took away of pods that are gone. */
static void after_scan(Features *self) {
        for (size_t i = 0; i < FEATURES_N && self->sock.n_shut > 0; i++)
                if (features[i]->after_scan)
                        features[i]->after_scan(self->states[i], &self->sock);
}

void rules_of_del(Features *self, Attachment *at, Error *err) {
        Error failed = {0};

        learn_mac(at, &self->conf->prev);
        if (!at->host_link[0])
                host_link_name(at->owner, 0, at->host_link);
        if (del_elements(self, at, &failed) < 0 || del_of_chain(self, at, &failed) < 0)
                error_join(err, &failed);
        after_scan(self);
        failed = (Error){0};
        if (!at->is_ours &&
            legacy_del(&self->sock, legacy_plugins(self->conf->role), at, &failed) < 0)
                error_join(err, &failed);
}

static bool is_garbage(const RuleOwner *owner, const NftFound *found, void *userdata) {
        const GcRequest *gc = userdata;

        return rule_owner_is_of(owner, gc->network) && !gc_keeps(gc, owner->owner) &&
               !gc_tells(gc, "rules of container %s", owner->container);
}

int rules_of_gc(Features *self, const GcRequest *gc, Error *err) {
        GcRequest request = *gc;
        unsigned int sets = 0;
        int r;

        for (size_t i = 0; i < FEATURES_N; i++)
                sets |= features_has(self, i) ? features[i]->sets : 0;
        r = rules_scan(&self->sock, sets, is_garbage, &request, err);
        after_scan(self);
        return r;
}

/* --- ADD, CHECK, STATUS ------------------------------------------------------------------- */

static int outside(Features *self, Attachment *at, Error *err) {
        int r = 0;

        for (size_t i = 0; i < FEATURES_N && r == 0; i++)
                if (features_has(self, i) && features[i]->outside)
                        r = features[i]->outside(self->states[i], at, &self->sock, err);
        return r;
}

static int check_outside(Features *self, Attachment *at, Error *err) {
        int r = 0;

        for (size_t i = 0; i < FEATURES_N && r == 0; i++)
                if (features_has(self, i) && features[i]->check && !features[i]->repair)
                        r = features[i]->check(self->states[i], at, &self->sock, err);
        return r;
}

int rules_of_add(Features *self, Attachment *at, const CniResult *result, Error *err) {
        cleanup(rules_deinit) RuleList list = {0};
        int r;

        learn_mac(at, result);
        r = rules_reclaim(&self->sock, at, err);
        after_scan(self);
        r = r < 0 ? r : look(self, at, err);
        r = r < 0 ? r : want(self, at, false, &list, err);
        if (r == 0)
                r = rules_add(&self->sock, &list, at->rtnl, err);
        if (r < 0)
                return r;
        r = outside(self, at, err);
        for (size_t i = 0; i < FEATURES_N && r == 0; i++)
                if (features_has(self, i) && features[i]->after_add)
                        r = features[i]->after_add(self->states[i], at, &self->sock, err);
        if (r < 0)
                (void)rules_del(&self->sock, &list, at->owner, NULL, NULL, NULL, NULL);
        return r;
}

int rules_of_check(Features *self, Attachment *at, const CniResult *result, Error *err) {
        cleanup(rules_deinit) RuleList list = {0};
        Error ignored = {0};
        int r;

        learn_mac(at, result);
        /* As in repair: what ADD would refuse today is no fault of the pod. */
        (void)look(self, at, &ignored);
        r = want(self, at, false, &list, err);
        return r < 0 ? r : rules_check(&self->sock, &list, at->owner, NULL, err);
}

int rules_of_repair(Features *self, Attachment *at, const CniResult *result, bool doing,
                    StrBuf *done, Error *err) {
        cleanup(rules_deinit) RuleList list = {.restores = true};
        Error missing = {0}, other = {0}, ignored = {0};
        size_t n_before = done->n;
        int r, elements, others;

        learn_mac(at, result);
        /* A port that a program of the host has taken since is the pod's all the same. */
        (void)look(self, at, &ignored);
        r = want(self, at, false, &list, err);
        if (r < 0)
                return r;
        elements = rules_check(&self->sock, &list, at->owner, done, &missing);
        others = check_outside(self, at, &other);
        if (elements < 0 && done->n == n_before)
                strbuf_printf(done, "%s\n", missing.message);
        if (others < 0)
                strbuf_printf(done, "%s\n", other.message);
        if (doing && elements < 0)
                r = rules_add(&self->sock, &list, at->rtnl, err);
        if (doing && others < 0 && r == 0)
                r = outside(self, at, err);
        /* With elements the pod is ours, and its DEL looks for no leftovers of another plugin. */
        if (doing && r == 0 && list.n_rules > 0)
                r = legacy_del(&self->sock, legacy_plugins(self->conf->role), at, err);
        return r;
}

/* Now, or for the next pod that has host ports. */
static bool needs_nftables(const Features *self) {
        PluginRole role = self->conf->role;
        bool ports = role == ROLE_PORTMAP;
        int r = 0;

        for (size_t i = 0; i < FEATURES_N; i++)
                if (self->states[i] && features[i]->want)
                        return true;
        if (!ports && (ROLE_BIT(role) & feature_portmap.roles))
                r = json_read_bool(json_find(self->conf->json, "capabilities"), "portMappings",
                                   &ports, NULL);
        return r == 0 && ports;
}

int rules_of_status(Features *self, Error *err) {
        uint32_t generation;
        int r;

        if (!needs_nftables(self))
                return forward_status(&self->sock, self->conf, err);
        r = rules_open(&self->sock, NULL);
        if (r < 0)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "nftables is missing: this kernel has no netfilter over netlink");
        r = nft_generation(&self->sock.netfilter, &generation);
        if (r == -EPERM)
                return error_set(err, ERROR_UNAVAILABLE, "nftables may not be asked without root");
        if (r < 0)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "nftables is missing: this kernel has no nf_tables");
        return forward_status(&self->sock, self->conf, err);
}
