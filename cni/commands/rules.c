/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The module that is all nftables: masquerade, host ports, firewall and MAC check, as parts of one
 * transaction per ADD and one per DEL.
 */

#include "cni/rules/rules.h"

#include "cni/commands/request.h"
#include "cni/features/firewalld.h"
#include "cni/features/forward.h"
#include "cni/migrate/upstream.h"
#include "common/base/cleanup.h"
#include "common/netlink/rtnl_link.h"
#include "common/netlink/rtnl_route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const RulePart *const parts[] = {&part_masq, &part_portmap, &part_firewall, &part_spoof};

#define PORT_SETS                                                                                  \
        (1U << RULE_SET_PORTS | 1U << RULE_SET_PORTS_AT | 1U << RULE_SET_SNAT |                    \
         1U << RULE_SET_HAIRPIN | 1U << RULE_SET_SNAT_ALL | 1U << RULE_SET_HELD)

/* Their keys have the pod's MAC address, or what follows from it. */
#define SENDER_SETS                                                                                \
        (1U << RULE_SET_SPOOF_MACS | 1U << RULE_SET_ARP_SENDERS | 1U << RULE_SET_ND_SENDERS |      \
         1U << RULE_SET_ND_TARGETS)

typedef struct RulesState {
        PluginRole role;
        const NetConf *conf;             /* borrowed */
        bool needs_nftables;             /* now, or for the next pod that has host ports */
        void *states[N_ELEMENTS(parts)]; /* owned by the parts; NULL: nothing asked for */
        RulesSocket sock;
} RulesState;

static bool takes_part(const RulesState *state, size_t i) {
        return parts[i]->roles & ROLE_BIT(state->role);
}

static void rules_free(void *userdata) {
        RulesState *state = userdata;

        if (!state)
                return;
        for (size_t i = 0; i < N_ELEMENTS(parts); i++)
                if (state->states[i])
                        parts[i]->free(state->states[i]);
        rules_close(&state->sock);
        free(state);
}

static void freep_state(RulesState **statep) {
        rules_free(*statep);
}

/* There always is a state: DEL and GC have to know the role. */
static int rules_parse(const NetConf *conf, void **statep, Error *err) {
        cleanup(freep_state) RulesState *state = calloc(1, sizeof(*state));
        bool ports = false;
        int r;

        if (!state)
                return error_set_errno(err, ENOMEM, "rules");
        state->role = conf->role;
        state->conf = conf;
        state->sock = (RulesSocket)RULES_SOCKET_NULL;
        for (size_t i = 0; i < N_ELEMENTS(parts); i++) {
                r = takes_part(state, i) ? parts[i]->parse(conf, &state->states[i], err) : 0;
                if (r < 0)
                        return r;
                state->needs_nftables = state->needs_nftables || state->states[i];
        }
        r = json_read_bool(json_find(conf->json, "capabilities"), "portMappings", &ports, NULL);
        if (takes_part(state, 1) && (state->role == ROLE_PORTMAP || (r == 0 && ports)))
                state->needs_nftables = true;
        *statep = ptr_steal(&state);
        return 0;
}

static int look(RulesState *state, Attachment *at, Error *err) {
        int r = 0;

        for (size_t i = 0; i < N_ELEMENTS(parts) && r == 0; i++)
                if (takes_part(state, i) && parts[i]->facts)
                        r = parts[i]->facts(state->states[i], at, &state->sock, err);
        return r;
}

/* What all parts want for @at; on failure @list may hold some of it. */
static int want(const RulesState *state, const Attachment *at, bool deleting, RuleList *list,
                Error *err) {
        rule_owner_format(at, list->comment);
        for (size_t i = 0; i < N_ELEMENTS(parts); i++) {
                int r = takes_part(state, i)
                                ? parts[i]->want(state->states[i], at, deleting, list, err)
                                : 0;

                if (r < 0)
                        return r;
        }
        return 0;
}

static void rules_plan(const void *userdata, const Attachment *at, StrBuf *text) {
        cleanup(rules_deinit) RuleList list = {0};

        if (want(userdata, at, false, &list, NULL) < 0)
                return;
        for (size_t i = 0; i < list.n_rules; i++)
                strbuf_printf(text, "rule family=%u set=%s label=\"%s\"\n",
                              list.rules[i].element.family, list.rules[i].set_name,
                              list.rules[i].label);
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
static unsigned int sets_to_scan(const RulesState *state, const Attachment *at,
                                 const RuleList *list, const RuleFound *found) {
        bool had_ports = false, all_ports = true;
        unsigned int sets = 0, masq = 0, had_masq = 0; /* bits of families */

        for (size_t i = 0; i < N_ELEMENTS(parts) && !at->knows_ips; i++)
                sets |= takes_part(state, i) ? parts[i]->sets : 0;
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
        if (state->conf->ip_masq && masq != had_masq)
                sets |= (1U << RULE_SET_MASQ) & part_masq.sets;
        return had_ports && !all_ports ? sets | PORT_SETS : sets;
}

static unsigned int legacy_plugins(PluginRole role) {
        return (ROLE_BIT(role) & part_masq.roles ? LEGACY_BRIDGE : 0) |
               (ROLE_BIT(role) & part_portmap.roles ? LEGACY_PORTMAP : 0) |
               (ROLE_BIT(role) & part_firewall.roles ? LEGACY_FIREWALL : 0);
}

/* An element of ours is none of another plugin's leftovers. */
static bool any_found(const RuleList *list, const RuleFound *found) {
        for (size_t i = 0; i < list->n_rules; i++)
                if (found[i] != RULE_FOUND_NOT)
                        return true;
        return false;
}

typedef struct Deletion {
        const RulesState *state;
        const Attachment *at;
        const RuleList *list;
} Deletion;

static bool has_more(const RuleFound *found, void *userdata) {
        const Deletion *deletion = userdata;

        return sets_to_scan(deletion->state, deletion->at, deletion->list, found) != 0;
}

static int del_elements(RulesState *state, Attachment *at, Error *err) {
        cleanup(rules_deinit) RuleList list = {0};
        cleanup(freep) RuleFound *found = NULL;
        Deletion deletion = {.state = state, .at = at, .list = &list};
        unsigned int sets;
        int r;

        r = want(state, at, true, &list, err);
        if (r < 0)
                return r;
        found = calloc(list.n_rules + 1, sizeof(*found));
        if (!found)
                return error_set_errno(err, ENOMEM, "rules");
        r = rules_del(&state->sock, &list, at->owner, found, has_more, &deletion, err);
        if (r < 0)
                return r;
        at->is_ours = at->is_ours || any_found(&list, found);
        if (r != RULES_E_BEFORE)
                return 0;
        sets = sets_to_scan(state, at, &list, found);
        r = rules_scan(&state->sock, sets, is_owners, at->owner, err);
        return r < 0 ? r : rules_del(&state->sock, &list, at->owner, NULL, NULL, NULL, err);
}

static void note(int *rp, int r, Error *err, const Error *local) {
        if (r < 0 && *rp == 0)
                *rp = r;
        if (r < 0 && err)
                error_join(err, local);
}

/* What a scan took away of pods that are gone. */
static void after_scan(RulesState *state) {
        for (size_t i = 0; i < N_ELEMENTS(parts) && state->sock.n_shut > 0; i++)
                if (parts[i]->after_scan)
                        parts[i]->after_scan(state->states[i], &state->sock);
}

static int rules_module_del(void *userdata, Attachment *at, Error *err) {
        RulesState *state = userdata;
        Error local = {0};
        int r = 0;

        if (!state)
                return 0;
        learn_mac(at, &state->conf->prev);
        if (!at->host_link[0])
                host_link_name(at->owner, 0, at->host_link);
        note(&r, del_elements(state, at, &local), err, &local);
        after_scan(state);
        for (size_t i = 0; i < N_ELEMENTS(parts); i++) {
                local = (Error){0};
                if (takes_part(state, i) && parts[i]->after_del)
                        note(&r, parts[i]->after_del(state->states[i], at, &state->sock, &local),
                             err, &local);
        }
        at->netfilter_fd = state->sock.netfilter.fd;
        if (at->is_ours)
                return r;
        local = (Error){0};
        note(&r, legacy_del(&state->sock, legacy_plugins(state->role), at, &local), err, &local);
        at->netfilter_fd = state->sock.netfilter.fd;
        return r;
}

static bool is_garbage(const RuleOwner *owner, const NftFound *found, void *userdata) {
        const GcRequest *gc = userdata;

        return rule_owner_is_of(owner, gc->network) && !gc_keeps(gc, owner->owner) &&
               !gc_tells(gc, "rules of container %s", owner->container);
}

static int rules_module_gc(void *userdata, const GcRequest *gc, Error *err) {
        RulesState *state = userdata;
        GcRequest request = *gc;
        unsigned int sets = 0;
        int r;

        for (size_t i = 0; state && i < N_ELEMENTS(parts); i++)
                sets |= takes_part(state, i) ? parts[i]->sets : 0;
        r = sets != 0 ? rules_scan(&state->sock, sets, is_garbage, &request, err) : 0;
        if (state)
                after_scan(state);
        return r;
}

/* --- ADD, CHECK, STATUS ------------------------------------------------------------------- */

static int outside(RulesState *state, Attachment *at, Error *err) {
        int r = 0;

        for (size_t i = 0; i < N_ELEMENTS(parts) && r == 0; i++)
                if (takes_part(state, i) && parts[i]->outside)
                        r = parts[i]->outside(state->states[i], at, &state->sock, err);
        return r;
}

static int check_outside(RulesState *state, Attachment *at, Error *err) {
        int r = 0;

        for (size_t i = 0; i < N_ELEMENTS(parts) && r == 0; i++)
                if (takes_part(state, i) && parts[i]->check)
                        r = parts[i]->check(state->states[i], at, &state->sock, err);
        return r;
}

static int rules_module_add(void *userdata, Attachment *at, CniResult *result, Error *err) {
        cleanup(rules_deinit) RuleList list = {0};
        RulesState *state = userdata;
        int r;

        learn_mac(at, result);
        r = rules_reclaim(&state->sock, at, err);
        after_scan(state);
        r = r < 0 ? r : look(state, at, err);
        r = r < 0 ? r : want(state, at, false, &list, err);
        if (r == 0)
                r = rules_add(&state->sock, &list, at->rtnl, err);
        if (r < 0)
                return r;
        r = outside(state, at, err);
        for (size_t i = 0; i < N_ELEMENTS(parts) && r == 0; i++)
                if (takes_part(state, i) && parts[i]->after_add)
                        r = parts[i]->after_add(state->states[i], at, &state->sock, err);
        if (r < 0)
                (void)rules_del(&state->sock, &list, at->owner, NULL, NULL, NULL, NULL);
        return r;
}

static int rules_module_check(void *userdata, Attachment *at, const CniResult *result, Error *err) {
        cleanup(rules_deinit) RuleList list = {0};
        RulesState *state = userdata;
        Error ignored = {0};
        int r;

        learn_mac(at, result);
        /* As in repair: what ADD would refuse today is no fault of the pod. */
        (void)look(state, at, &ignored);
        r = want(state, at, false, &list, err);
        if (r == 0)
                r = rules_check(&state->sock, &list, at->owner, err);
        return r < 0 ? r : check_outside(state, at, err);
}

static int rules_module_repair(void *userdata, Attachment *at, const CniResult *result, bool doing,
                               StrBuf *done, Error *err) {
        cleanup(rules_deinit) RuleList list = {0};
        Error missing = {0}, other = {0}, ignored = {0};
        RulesState *state = userdata;
        int r, elements, others;

        learn_mac(at, result);
        /* A port that a program of the host has taken since is the pod's all the same. */
        (void)look(state, at, &ignored);
        r = want(state, at, false, &list, err);
        if (r < 0)
                return r;
        elements = rules_check(&state->sock, &list, at->owner, &missing);
        others = check_outside(state, at, &other);
        if (elements < 0)
                strbuf_printf(done, "%s\n", missing.message);
        if (others < 0)
                strbuf_printf(done, "%s\n", other.message);
        if (doing && elements < 0)
                r = rules_add(&state->sock, &list, at->rtnl, err);
        if (doing && others < 0 && r == 0)
                r = outside(state, at, err);
        /* With elements the pod is ours, and its DEL looks for no leftovers of another plugin. */
        if (doing && r == 0 && list.n_rules > 0)
                r = legacy_del(&state->sock, legacy_plugins(state->role), at, err);
        return r;
}

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

/*
 * What opens FORWARD of iptables, another plugin of the list may be; only who asks about the whole
 * list (berth-cni status) knows that there is none.
 */
static int forward_status(RulesState *state, Error *err) {
        ForwardPacket packet = {.iptables_opens = false};
        bool firewall = true;
        char text[256];
        int r;

        (void)json_read_bool(state->conf->json, RULES_KEY_FIREWALL, &firewall, NULL);
        if (state->role != ROLE_FIREWALL &&
            !(state->role == ROLE_BERTH && state->conf->link.is_gateway))
                return 0;
        describe_packet(state->conf, firewall, &packet);
        r = forward_find_drop(&state->sock, &packet, text);
        if (r <= 0)
                return 0;
        return error_set(err, ERROR_UNAVAILABLE,
                         "packets that pods send to other networks are dropped by %s; %s", text,
                         firewall ? "add a rule there that accepts them"
                                  : "\"firewall\": true, or the plugin firewall, opens chain "
                                    "FORWARD of iptables; anywhere else a rule there has to");
}

static int rules_module_status(void *userdata, Error *err) {
        RulesState *state = userdata;
        uint32_t generation;
        int r;

        if (!state)
                return 0;
        if (!state->needs_nftables)
                return forward_status(state, err);
        r = rules_open(&state->sock, NULL);
        if (r < 0)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "nftables is missing: this kernel has no netfilter over netlink");
        r = nft_generation(&state->sock.netfilter, &generation);
        if (r == -EPERM)
                return error_set(err, ERROR_UNAVAILABLE, "nftables may not be asked without root");
        if (r < 0)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "nftables is missing: this kernel has no nf_tables");
        return forward_status(state, err);
}

const Module module_rules = {
        .name = "rules",
        .roles = ROLE_BIT(ROLE_BERTH) | ROLE_BIT(ROLE_BRIDGE) | ROLE_BIT(ROLE_PTP) |
                 ROLE_BIT(ROLE_PORTMAP) | ROLE_BIT(ROLE_FIREWALL),
        .parse = rules_parse,
        .free = rules_free,
        .plan = rules_plan,
        .add = rules_module_add,
        .del = rules_module_del,
        .check = rules_module_check,
        .gc = rules_module_gc,
        .status = rules_module_status,
        .repair = rules_module_repair,
};
