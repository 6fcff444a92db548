/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/commands/repair.h"

#include "cni/commands/flannel.h"
#include "cni/features/forward.h"
#include "cni/link/host.h"
#include "cni/rules/rules.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <linux/netfilter.h>

/* Routes of one namespace; a host with more (a router's full table) is not looked through. */
#define ROUTES_MAX 16384U

/* A routed pod has one for each address of its other side. */
#define NEIGHBOURS_MAX 1024U

/* --- the node ----------------------------------------------------------------------------- */

typedef struct TableRules {
        uint8_t family;
        char chains[64][NFT_NAME_MAX + 1];
        size_t n_chains;
        size_t n; /* rules of the chain that is looked at */
} TableRules;

static int each_chain(const NftChainFound *chain, void *userdata) {
        TableRules *rules = userdata;

        if (!chain)
                rules->n_chains = 0;
        else if (chain->family == rules->family && strcmp(chain->table, RULES_TABLE) == 0 &&
                 rules->n_chains < N_ELEMENTS(rules->chains))
                memcpy(rules->chains[rules->n_chains++], chain->name, sizeof(chain->name));
        return 0;
}

static int count_rule(const NftRule *rule, void *userdata) {
        TableRules *rules = userdata;

        rules->n = rule ? rules->n + 1 : 0;
        return 0;
}

/* A chain without any rule, each of which is made with some: "nft flush" takes rules and leaves
 * sets. Return: 1 when there is one; 0; -errno. */
static int find_empty_chain(NlSocket *sock, TableRules *rules, const char **namep) {
        int r = nft_chain_dump(sock, each_chain, rules);

        for (size_t i = 0; i < rules->n_chains && r == 0; i++) {
                rules->n = 0;
                r = nft_rule_dump(sock, rules->family, RULES_TABLE, rules->chains[i], count_rule,
                                  rules);
                if (r == 0 && rules->n == 0) {
                        *namep = rules->chains[i];
                        return 1;
                }
        }
        return r == -ENOENT || r == -EOPNOTSUPP ? 0 : r;
}

static void freep_table(TableRules **rulesp) {
        free(*rulesp);
}

static void batch_deinit(NftBatch *batch) {
        nft_batch_deinit(batch);
}

static int repair_table(RulesSocket *sock, uint8_t family, RepairMode mode, StrBuf *done,
                        Error *err) {
        cleanup(freep_table) TableRules *rules = calloc(1, sizeof(*rules));
        cleanup(batch_deinit) NftBatch batch = {0};
        const char *chain = "";
        int r;

        if (!rules)
                return error_set_errno(err, ENOMEM, "look through the ruleset");
        rules->family = family;
        r = find_empty_chain(&sock->netfilter, rules, &chain);
        if (r < 0)
                return error_set_errno(err, r, "look through the ruleset");
        if (r == 0)
                return 0;
        strbuf_printf(done, "chain %s of table " RULES_TABLE " has lost its rules\n", chain);
        if (mode == REPAIR_CHECK)
                return 0;
        nft_batch_begin(&batch);
        nft_table_delete(&batch, family, RULES_TABLE);
        r = nft_batch_run(&sock->netfilter, &batch, NULL);
        return r < 0 && r != -ENOENT ? error_set_errno(err, r, "delete table " RULES_TABLE) : 0;
}

static void socket_close(NlSocket *sock) {
        nl_socket_close(sock);
}

int repair_node(RepairMode mode, StrBuf *done, Error *err) {
        static const uint8_t families[] = {NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_BRIDGE};
        cleanup(rules_close) RulesSocket sock = RULES_SOCKET_NULL;
        cleanup(socket_close) NlSocket rtnl = NL_SOCKET_NULL;
        int r = rules_open(&sock, err);

        for (size_t i = 0; i < N_ELEMENTS(families) && r == 0; i++)
                r = repair_table(&sock, families[i], mode, done, err);
        if (r < 0 || mode == REPAIR_CHECK)
                return r;
        r = nl_socket_open(&rtnl, NETLINK_ROUTE);
        return r < 0 ? error_set_errno(err, r, "open a netlink socket")
                     : rules_services_sync(&sock, &rtnl, err);
}

int repair_finish(Error *err) {
        static const uint8_t families[] = {AF_INET, AF_INET6};
        cleanup(rules_close) RulesSocket sock = RULES_SOCKET_NULL;
        int r = 0;

        for (size_t i = 0; i < N_ELEMENTS(families) && r == 0; i++)
                r = forward_forget_subnets(&sock, families[i], err);
        return r;
}

/* --- what a pair is ----------------------------------------------------------------------- */

static int each_route(const Route *route, void *userdata) {
        LinkObserved *of = userdata;
        Route *grown;

        if (route->index != of->link.index || of->n_routes >= ROUTES_MAX)
                return 0;
        grown = reallocarray(of->routes, of->n_routes + 1, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        of->routes = grown;
        grown[of->n_routes++] = *route;
        return 0;
}

static int observe_routes(NlSocket *sock, LinkObserved *observed) {
        static const uint8_t families[] = {AF_INET, AF_INET6};
        int r = 0;

        for (size_t i = 0; i < N_ELEMENTS(families) && r == 0; i++)
                r = route_dump(sock, families[i], each_route, observed);
        return r;
}

static int each_neighbour(const Neighbour *neighbour, void *userdata) {
        LinkObserved *of = userdata;
        Neighbour *grown;

        if (of->n_neighbours >= NEIGHBOURS_MAX)
                return 0;
        grown = reallocarray(of->neighbours, of->n_neighbours + 1, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        of->neighbours = grown;
        grown[of->n_neighbours++] = *neighbour;
        return 0;
}

static int observe_link(NlSocket *sock, unsigned int index, const char *name, bool routed,
                        LinkObserved *observed) {
        int r = link_find(sock, index, name, &observed->link);

        if (r < 0)
                return r;
        r = addr_list(sock, observed->link.index, 0, observed->addresses, FACTS_ADDRESSES_MAX,
                      &observed->n_addresses);
        if (observed->n_addresses > FACTS_ADDRESSES_MAX)
                observed->n_addresses = FACTS_ADDRESSES_MAX;
        r = r < 0 ? r : observe_routes(sock, observed);
        if (r == 0 && routed)
                r = neighbour_dump(sock, observed->link.index, each_neighbour, observed);
        return r;
}

/* The bridge, or the link of its VLAN, if that is what pods have as their gateway. */
static int observe_gate(Request *request, HostFacts *facts, Error *err) {
        cleanup(link_observed_deinit) LinkObserved gate = {0};
        int r;

        if (facts->n_addresses == 0)
                return 0;
        gate.link = request->conf.link.vlan ? facts->vlan_link : facts->bridge;
        r = observe_routes(&request->rtnl, &gate);
        if (r < 0)
                return error_set_errno(err, r, "read the routes of %s", gate.link.name);
        observe_connected_routes(&gate, facts);
        return 0;
}

static bool has_sysctl(const char *path, const char *value) {
        cleanup(freep) char *whole = str_printf("/proc/sys/%s", path);
        cleanup(freep) char *text = NULL;

        /* What this kernel lacks is not missing. */
        if (!whole || file_read_at(AT_FDCWD, whole, 64, &text, NULL) < 0)
                return true;
        str_trim_end(text);
        return str_equal(text, value);
}

typedef struct PodRepair {
        Request *request;
        const PodNote *note;
        LinkKernel kernel;
        HostFacts facts;
        PairObserved observed;
        CniResult wanted; /* borrowed members of prevResult */
        Plan whole, rest;
} PodRepair;

static void pod_repair_deinit(PodRepair *repair) {
        link_kernel_deinit(&repair->kernel);
        pair_observed_deinit(&repair->observed);
        plan_deinit(&repair->whole);
        plan_deinit(&repair->rest);
}

static int observe(PodRepair *repair, Error *err) {
        Request *request = repair->request;
        PairObserved *observed = &repair->observed;
        bool routed = request->conf.link.routed;
        int r = link_kernel_open_pod(&repair->kernel);

        r = r < 0 ? r
                  : observe_link(&repair->kernel.pod, 0, request->env.ifname, routed,
                                 &observed->pod);
        if (r == 0 && !str_equal(observed->pod.link.kind, "veth"))
                r = -ENODEV;
        r = r < 0 ? r
                  : observe_link(&request->rtnl, observed->pod.link.peer, NULL, routed,
                                 &observed->host);
        if (r == -ENODEV)
                return error_set(err, ERROR_NOT_FOUND,
                                 "%s and its pair are gone: only a new pod gets it back",
                                 request->env.ifname);
        if (r < 0)
                return error_set_errno(err, r, "look at %s", request->env.ifname);
        if (observed->host.link.peer != observed->pod.link.index ||
            !pod_note_has_link(repair->note, &observed->host.link))
                return error_set(err, ERROR_CONFLICT,
                                 "%s under %s is another pod's (%s on the host, \"%s\"): this one "
                                 "is gone, and wants its DEL, or berth-cni gc",
                                 request->env.ifname, request->env.netns, observed->host.link.name,
                                 observed->host.link.alias);
        r = host_facts_read(&request->rtnl, &request->conf, &repair->facts, err);
        observed->has_sysctl = has_sysctl;
        r = r < 0 ? r : observe_gate(request, &repair->facts, err);
        r = r < 0 ? r
                  : uplink_facts_read(&request->rtnl, &request->conf, &request->conf.prev, true,
                                      &repair->facts, err);
        observed->host_is_port = conf_is_pair(&request->conf) ||
                                 (repair->facts.has_bridge && observed->host.link.master != 0 &&
                                  observed->host.link.master == repair->facts.bridge.index);
        return r;
}

/* --- what it should be -------------------------------------------------------------------- */

static int make_plan(PodRepair *repair, Error *err) {
        Request *request = repair->request;
        const CniResult *prev = &request->conf.prev;
        uint8_t macs[3][6] = {{0}};
        int bridge = result_find_interface(prev, request->conf.link.bridge, false);

        if (bridge >= 0 && prev->interfaces[bridge].mac)
                (void)conf_mac_parse(prev->interfaces[bridge].mac, macs[0]);
        memcpy(macs[1], repair->observed.host.link.mac, 6);
        memcpy(macs[2], repair->observed.pod.link.mac, 6);
        return plan_add(
                &(PlanInput){
                        .conf = &request->conf,
                        .facts = &repair->facts,
                        .result = prev,
                        .ifname = request->env.ifname,
                        .host_name = repair->observed.host.link.name,
                        .alias = repair->observed.host.link.alias,
                        .macs = (const uint8_t(*)[6])macs,
                        .host_end = &repair->observed.host.link,
                },
                &repair->whole, err);
}

static void tell(const Plan *plan, StrBuf *done) {
        for (size_t i = 0; i < plan->n_steps; i++) {
                if (step_is_shared(&plan->steps[i]))
                        strbuf_append(done, REPAIR_OF_NODE);
                plan_step_format(plan, &plan->steps[i], done);
                strbuf_append(done, "\n");
        }
}

/* Groups of steps of one namespace, as plan_apply() has them; nothing is undone. */
static int apply(PodRepair *repair, Error *err) {
        PlanKernel ops = link_kernel_ops(&repair->kernel);
        Plan *plan = &repair->rest;
        int r = 0;

        repair->kernel.indices[LINK_BRIDGE] = repair->facts.bridge.index;
        repair->kernel.indices[LINK_VLAN] = repair->facts.vlan_link.index;
        repair->kernel.indices[LINK_VLAN_PORT] = repair->facts.vlan_link.peer;
        repair->kernel.indices[LINK_HOST] = repair->observed.host.link.index;
        repair->kernel.indices[LINK_POD] = repair->observed.pod.link.index;
        repair->kernel.indices[LINK_LOOPBACK] = 1;
        for (size_t i = 0, n = 0; i < plan->n_steps && r == 0; i += n) {
                size_t done = 0;
                Link bridge;

                /* Its bridge may be new: the number is known only now. */
                if (plan->steps[i].kind == STEP_LINK_SET &&
                    plan->steps[i].u.change.set == LINK_SET_MASTER) {
                        r = link_find(&repair->request->rtnl, 0, plan->bridge, &bridge);
                        if (r < 0)
                                return error_set_errno(err, r, "look at %s", plan->bridge);
                        plan->steps[i].u.change.master = bridge.index;
                }
                /* What is in the way of a route of this pod's own stays behind it. */
                if (plan->steps[i].kind == STEP_ROUTE_ADD)
                        plan->steps[i].u.route.exclusive = false;
                n = 1;
                r = ops.run(ops.userdata, plan, &plan->steps[i], n, &done, err);
        }
        return r;
}

/* Apart from its caller, whose frame is as large. */
__attribute__((noinline)) static int repair_link(Request *request, const PodNote *note,
                                                 RepairMode mode, StrBuf *done, Error *err) {
        cleanup(pod_repair_deinit)
                PodRepair repair = {.request = request, .note = note, .kernel = LINK_KERNEL_NULL};
        int r;

        repair.kernel.host = &request->rtnl;
        repair.kernel.sysctls = &request->sysctls;
        repair.kernel.netns_fd = request->netns_fd;
        repair.kernel.own_netns_fd = request->own_netns_fd;
        r = observe(&repair, err);
        r = r < 0 ? r : make_plan(&repair, err);
        if (r < 0)
                return r;
        if (plan_difference(&repair.whole, &repair.observed, &repair.rest) < 0)
                return error_set_errno(err, ENOMEM, "plan");
        tell(&repair.rest, done);
        return mode == REPAIR_DO ? apply(&repair, err) : 0;
}

/* --- one plugin of one pod ---------------------------------------------------------------- */

static void request_close(Request *request) {
        nl_socket_close(&request->rtnl);
        sysctls_close(&request->sysctls);
        closep(&request->netns_fd);
        closep(&request->own_netns_fd);
        request_deinit(request);
}

/* Which may have been removed, or given to another pod since. */
static int repair_leases(Request *request, RepairMode mode, StrBuf *done, Error *err) {
        if (request->conf.ipam_type[0] == '\0')
                return 0;
        request->ipam = (Ipam){.conf = &request->conf,
                               .env = &request->env,
                               .args = &request->args,
                               .rtnl = &request->rtnl,
                               .input = request->input,
                               .n_input = request->n_input};
        return ipam_restore(&request->ipam, request->at.ips, request->at.n_ips, mode == REPAIR_DO,
                            done, err);
}

static int repair_plugin(const PodNote *note, const char *type, const json_t *conf, RepairMode mode,
                         StrBuf *done, Error *err) {
        cleanup(request_close) Request request = REQUEST_NULL;
        PluginRole role = role_from_path(type);
        int r;

        if (role == ROLE_HOST_LOCAL || role == ROLE_STATIC || role == ROLE_LOOPBACK)
                return 0;
        request.conf.role = role;
        request.env = (CniEnv){.command = "CHECK",
                               .verb = VERB_CHECK,
                               .container_id = note->container,
                               .ifname = note->ifname,
                               .netns = note->netns,
                               .path = ""};
        request.input = json_dumps(conf, 0);
        if (!request.input)
                return error_set_errno(err, ENOMEM, "%s", type);
        request.n_input = strlen(request.input);
        r = conf_parse(&request.conf, request.input, request.n_input, err);
        if (r > 0)
                return error_set(err, ERROR_INVALID, "%s", err->message);
        r = r < 0 ? r : request_attach(&request, err);
        if (r == REQUEST_E_GONE)
                return 0;
        if (r == 0 && ROLE_BIT(role) & ROLES_LINK)
                r = repair_link(&request, note, mode, done, err);
        if (r == 0 && ROLE_BIT(role) & ROLES_LINK)
                r = repair_leases(&request, mode, done, err);
        /* Behind another plugin, whose DEL may have been there. */
        if (r == 0 && request.at.pod_index == 0)
                return error_set(err, ERROR_NOT_FOUND, "%s is gone: only a new pod gets it back",
                                 note->ifname);
        return r < 0 ? r
                     : features_repair(&request.features, &request.at, &request.conf.prev,
                                       mode == REPAIR_DO, done, err);
}

/* What flannel delegated to, with what the runtime added, in place of @confp. */
static int take_delegate(const PodNote *note, json_t **confp, Error *err) {
        json_t *delegate = NULL, *result = json_find(*confp, "prevResult");
        bool kept;
        int r = flannel_recall(*confp, note->container, &delegate, &kept, err);

        if (r == 0 && result && json_object_set(delegate, "prevResult", result) < 0)
                r = error_set_errno(err, ENOMEM, "delegate");
        if (r < 0) {
                json_decref(delegate);
                return r;
        }
        json_decref(*confp);
        *confp = delegate;
        return 0;
}

/* Nobody adds the pod or takes it away from here on, and it is there. Return: 1; 0: it is gone;
 * negative. */
static int hold_pod(const PodNote *note, int *held_fdp, Error *err) {
        cleanup(socket_close) NlSocket rtnl = NL_SOCKET_NULL;
        uint8_t owner[OWNER_SIZE];

        owner_of(note->network, note->container, note->ifname, owner);
        if (attachment_hold(owner, held_fdp) == -ETIMEDOUT)
                return error_set(err, ERROR_AGAIN, "an ADD, DEL or repair has been at it for %d s",
                                 ATTACHMENT_HOLD_MSECS / 1000);
        (void)nl_socket_open(&rtnl, NETLINK_ROUTE);
        return pod_note_lives(note, &rtnl);
}

int repair_pod(const PodNote *note, bool (*is_ours)(const char *type, void *userdata),
               void *userdata, RepairMode mode, StrBuf *done, const char **otherp, Error *err) {
        const json_t *plugins = json_find(note->list, "plugins");
        cleanup(closep) int held_fd = -1;
        bool any = false;
        int held;

        *otherp = NULL;
        if (!note->list)
                return error_set(err, ERROR_INVALID, "the runtime's note has no configuration");
        held = hold_pod(note, &held_fd, err);
        if (held <= 0)
                return held;
        for (size_t i = 0; i < json_array_size(plugins); i++) {
                cleanup(json_decrefp) json_t *conf = pod_plugin_conf(note, i);
                const char *type = json_string_value(json_find(conf, "type"));
                bool ours;
                int r;

                if (!conf || !type)
                        return error_set_errno(err, ENOMEM, "configuration");
                ours = is_ours(type, userdata);
                if (role_from_path(type) == ROLE_FLANNEL) {
                        r = take_delegate(note, &conf, err);
                        if (r < 0)
                                return error_wrap(err, r, "%s", type);
                        type = json_string_value(json_find(conf, "type"));
                        /* Ours makes pairs itself; upstream's executes what has the name. */
                        ours = (ours && flannel_runs(type)) || is_ours(type, userdata);
                }
                if (!ours)
                        continue;
                any = true;
                r = repair_plugin(note, type, conf, mode, done, err);
                if (r < 0)
                        return error_wrap(err, r, "%s", type);
        }
        *otherp = any ? NULL : json_string_value(json_find(json_array_get(plugins, 0), "type"));
        return 0;
}
