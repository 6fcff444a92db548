/* SPDX-License-Identifier: Apache-2.0 */

/* ADD of an interface: facts, addresses, plan, apply, rules, answer. Each step's undo follows from
 * the one before: the pair takes routes and addresses of the pod with it, IPAM its leases. */

#include "cni/commands/request.h"
#include "cni/link/host.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Processes and mounts that end let go of their namespace a moment later. */
#define ELSEWHERE_TRIES 20
#define ELSEWHERE_MSECS 50

typedef struct LinkAdd {
        Request *request;
        HostFacts facts;
        CniResult result; /* what IPAM answered, completed */
        Plan plan;
        LinkKernel kernel;
        char host_name[IFNAMSIZ];
        int held_fd; /* owned: host_link_hold() */
} LinkAdd;

static void link_add_deinit(LinkAdd *add) {
        result_deinit(&add->result);
        plan_deinit(&add->plan);
        link_kernel_deinit(&add->kernel);
        closep(&add->held_fd);
}

static void random_mac(const uint8_t *random, uint8_t mac[6]) {
        memcpy(mac, random, 6);
        mac[0] = (uint8_t)((mac[0] & 0xfc) | 0x02);
}

static void log_plan(const Plan *plan) {
        cleanup(strbuf_deinit) StrBuf text = {0};

        if (!log_is_enabled(LOG_LEVEL_DEBUG))
                return;
        plan_format(plan, &text);
        log_debug("plan: %s", strbuf_text(&text));
}

static int make_plan(LinkAdd *add, unsigned int attempt, Error *err) {
        Request *request = add->request;
        char alias[LINK_ALIAS_MAX];
        uint8_t macs[3][6];
        int r;

        host_link_name(request->at.owner, attempt, add->host_name);
        host_link_alias(request->conf.name, request->env.container_id, request->env.ifname, alias);
        random_mac(request->random + 8, macs[0]);
        host_link_mac(add->host_name, macs[1]);
        random_mac(request->random + 14, macs[2]);
        plan_deinit(&add->plan);
        r = plan_add(
                &(PlanInput){
                        .conf = &request->conf,
                        .facts = &add->facts,
                        .result = &add->result,
                        .ifname = request->env.ifname,
                        .host_name = add->host_name,
                        .alias = alias,
                        .macs = (const uint8_t(*)[6])macs,
                        .has_before_up = features_have_before_up(&request->features),
                },
                &add->plan, err);
        if (r == 0)
                log_plan(&add->plan);
        return r;
}

static int apply(LinkAdd *add, Error *err) {
        PlanKernel ops = link_kernel_ops(&add->kernel);
        int r;

        for (unsigned int attempt = 0; attempt < HOST_NAME_ATTEMPTS; attempt++) {
                r = make_plan(add, attempt, err);
                if (r < 0)
                        return r;
                add->kernel.indices[LINK_BRIDGE] = add->facts.bridge.index;
                add->kernel.indices[LINK_VLAN] = add->facts.vlan_link.index;
                add->kernel.indices[LINK_VLAN_PORT] = add->facts.vlan_link.peer;
                add->kernel.indices[LINK_LOOPBACK] = 1; /* in every namespace */
                /* Not held: a GC looks at an older link of that name this very moment, and will
                 * leave this one alone, for it has another number. */
                closep(&add->held_fd);
                (void)host_link_hold(add->host_name, &add->held_fd);
                r = plan_apply(&add->plan, PLAN_OWN, &ops, err);
                if (r != KERNEL_E_NAME_TAKEN)
                        return r;
        }
        return error_set(err, ERROR_CONFLICT,
                         "failed to find a name for the host's end: %s and %d "
                         "others are taken",
                         add->host_name, HOST_NAME_ATTEMPTS - 1);
}

static void format_mac(const uint8_t *mac, char text[18]) {
        (void)snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
                       mac[4], mac[5]);
}

static int add_interface(CniResult *result, const char *name, const uint8_t *mac,
                         const char *sandbox) {
        char text[18];

        format_mac(mac, text);
        return result_add_interface(result, name, mac ? text : NULL, sandbox);
}

/* bridge: the bridge, the host's end, the pod's; ptp: the two ends. */
static int describe_interfaces(LinkAdd *add, Error *err) {
        const Plan *plan = &add->plan;
        int r = 0, pod;

        if (plan->has_master)
                r = add_interface(&add->result, plan->bridge,
                                  add->kernel.has_bridge_mac ? add->kernel.bridge_mac
                                                             : plan->bridge_mac,
                                  NULL);
        r = r < 0 ? r : add_interface(&add->result, plan->host, plan->host_mac, NULL);
        pod = r < 0 ? r
                    : add_interface(&add->result, plan->pod, plan->pod_mac,
                                    add->request->env.netns);
        r = pod;
        if (r >= 0 && plan->vlan[0] != '\0') {
                Link link;

                r = link_find(&add->request->rtnl, 0, plan->vlan, &link);
                r = r < 0 ? r : add_interface(&add->result, plan->vlan, link.mac, NULL);
        }
        for (size_t i = 0; i < add->result.n_ips; i++)
                add->result.ips[i].interface = pod;
        return r < 0 ? error_set_errno(err, r, "result") : 0;
}

/* Kubernetes' dns capability, of our own type only: servers, searches, options. */
static int runtime_dns(const NetConf *conf, json_t **dnsp, Error *err) {
        static const char *const keys[][2] = {
                {"servers", "nameservers"}, {"searches", "search"}, {"options", "options"}};
        const json_t *dns = NULL;
        json_t *copy = NULL;
        int r = json_read_object(conf->runtime, "dns", &dns, err);

        for (size_t i = 0; r == 0 && dns && i < N_ELEMENTS(keys); i++) {
                const json_t *list = NULL;

                r = json_read_texts(dns, keys[i][0], &list, err);
                if (r < 0 || json_array_size(list) == 0)
                        continue;
                copy = copy ? copy : json_object();
                if (json_object_set_new(copy, keys[i][1], json_deep_copy(list)) < 0)
                        r = error_set_errno(err, ENOMEM, "dns");
        }
        if (r < 0) {
                json_decref(copy);
                return r;
        }
        *dnsp = copy;
        return 0;
}

/* The runtime's, else the configuration's, else what IPAM said. */
static int choose_dns(LinkAdd *add, Error *err) {
        const NetConf *conf = &add->request->conf;
        json_t *dns = NULL;
        int r = 0;

        if (conf->role == ROLE_BERTH)
                r = runtime_dns(conf, &dns, err);
        if (r == 0 && !dns && conf->dns)
                r = result_dns_parse(conf->dns, &dns, err);
        if (r < 0 || !dns)
                return r;
        json_decref(add->result.dns);
        add->result.dns = dns;
        return 0;
}

/* Under our own type we may stand behind another plugin: what it made comes first. */
static int print(LinkAdd *add, Error *err) {
        const NetConf *conf = &add->request->conf;
        CniResult *result = &add->result;
        cleanup(result_deinit) CniResult merged = {0};
        int r;

        if (conf->role != ROLE_BERTH || !conf->has_prev)
                return request_print(add->request, result, err);
        r = result_merge(&merged, &conf->prev);
        r = result_added(r < 0 ? r : result_merge(&merged, result), err);
        return r < 0 ? r : request_print(add->request, &merged, err);
}

static void attach(LinkAdd *add) {
        Attachment *at = &add->request->at;

        if (add->plan.has_master) {
                (void)snprintf(at->bridge, sizeof(at->bridge), "%s", add->plan.bridge);
                at->bridge_index = add->kernel.indices[LINK_BRIDGE];
        }
        (void)snprintf(at->gate, sizeof(at->gate), "%s",
                       add->plan.vlan[0]      ? add->plan.vlan
                       : add->plan.has_master ? add->plan.bridge
                                              : add->plan.host);
        (void)snprintf(at->host_link, sizeof(at->host_link), "%s", add->plan.host);
        at->host_index = add->kernel.indices[LINK_HOST];
        at->host_mtu_bytes = add->plan.mtu_bytes;
        at->pod_index = add->kernel.indices[LINK_POD];
        at->ips = add->result.ips;
        at->n_ips = add->result.n_ips;
}

static void undo_link(LinkAdd *add) {
        PlanKernel ops = link_kernel_ops(&add->kernel);
        Error ignored = {0};

        (void)ops.undo(ops.userdata, &add->plan, &ignored);
}

/* What all pods share, once the pod's own part has worked; the rules, which ask the kernel for the
 * link that leads to the pod, and so need the gateways; the answer. */
static int finish(LinkAdd *add, Error *err) {
        PlanKernel ops = link_kernel_ops(&add->kernel);
        Error ignored = {0};
        int r = plan_apply(&add->plan, PLAN_SHARED, &ops, err);

        r = r < 0 ? r : features_add(&add->request->features, &add->request->at, &add->result, err);
        if (r < 0)
                return r;
        r = print(add, err);
        if (r < 0)
                features_del(&add->request->features, &add->request->at, &ignored);
        return r;
}

/* Somebody may take the bridge away at any step, and none of them says so. */
static int explain(LinkAdd *add, int r, Error *err) {
        unsigned int index = add->kernel.indices[LINK_BRIDGE];
        Link link;

        if (!add->plan.has_master || index == 0 ||
            link_find(&add->request->rtnl, index, NULL, &link) != -ENODEV)
                return r;
        *err = (Error){0};
        return error_set(err, ERROR_AGAIN, "the bridge %s was deleted meanwhile: try again",
                         add->plan.bridge);
}

static int add_link(LinkAdd *add, Error *err) {
        int r = apply(add, err);

        if (r < 0)
                return explain(add, r, err);
        attach(add);
        r = describe_interfaces(add, err);
        r = r < 0 ? r : choose_dns(add, err);
        r = r < 0 ? r : finish(add, err);
        if (r == 0)
                return 0;
        undo_link(add);
        return explain(add, r, err);
}

static int add_addresses(LinkAdd *add, Error *err) {
        Request *request = add->request;
        int r;

        if (request->conf.ipam_type[0] == '\0')
                return 0;
        request->ipam.reuse = true;
        r = ipam_add(&request->ipam, &add->result, err);
        if (r < 0)
                return r;
        /* Interfaces are ours to tell, whatever an IPAM plugin says. */
        for (size_t i = 0; i < add->result.n_ips; i++)
                add->result.ips[i].interface = -1;
        r = plan_gateways(&request->conf, &add->result, err);
        if (r < 0)
                ipam_undo(&request->ipam);
        return r;
}

/* A pair of this attachment in another namespace: of a pod that runs, or of one whose DEL got lost
 * and whose namespace goes. Half made by an ADD that was killed, it has no alias. */
static int refuse_elsewhere(LinkAdd *add, Error *err) {
        Request *request = add->request;
        Link link = {0};
        int r = 0;

        if (!link_may_be_there(add->host_name))
                return 0;
        for (unsigned int i = 0; i < ELSEWHERE_TRIES && r == 0; i++) {
                if (i > 0)
                        clock_sleep(ELSEWHERE_MSECS);
                r = host_link_find(&request->at, &link);
                if (r == -ENODEV ||
                    (r == 0 && (link.alias[0] == '\0' || !host_link_lives(&request->rtnl, &link))))
                        return 0;
        }
        if (r < 0)
                return error_set_errno(err, r, "look for %s", add->host_name);
        return error_set(err, ERROR_CONFLICT,
                         "container %.64s has %s in another network namespace, which is in use "
                         "(%s on the host): DEL of that one comes first",
                         request->env.container_id, request->env.ifname, link.name);
}

/* Before any address is asked for: what failed here would give back the lease of the interface that
 * is there. */
static int refuse_second(LinkAdd *add, Error *err) {
        const char *ifname = add->request->env.ifname;
        Link link = {0};
        int r = link_kernel_open_pod(&add->kernel);

        r = r < 0 ? r : link_find(&add->kernel.pod, 0, ifname, &link);
        host_link_name(add->request->at.owner, 0, add->host_name);
        if (r == -ENODEV)
                return refuse_elsewhere(add, err);
        if (r < 0)
                return error_set_errno(err, r, "look for %s in the pod", ifname);
        return error_set(err, ERROR_CONFLICT,
                         "container veth name (\"%s\") peer provided (\"%s\") already exists",
                         ifname, add->host_name);
}

static int before_up(void *userdata, Error *err) {
        Request *request = userdata;

        return features_before_up(&request->features, &request->at, err);
}

int link_add(Request *request, Error *err) {
        cleanup(link_add_deinit)
                LinkAdd add = {.request = request, .kernel = LINK_KERNEL_NULL, .held_fd = -1};
        int r;

        r = request_open(request, err);
        r = r < 0 ? r : request_need_netns(request, err);
        r = r < 0 ? r : request_prepare(request, err);
        r = r < 0 ? r : request_hold(request, err);
        if (r < 0)
                return r;
        add.kernel.host = &request->rtnl;
        add.kernel.sysctls = &request->sysctls;
        add.kernel.netns_fd = request->netns_fd;
        add.kernel.own_netns_fd = request->own_netns_fd;
        add.kernel.before_up = before_up;
        add.kernel.userdata = request;
        r = host_facts_read(&request->rtnl, &request->conf, &add.facts, err);
        if (r == 0 && !conf_is_pair(&request->conf) && add.facts.has_bridge &&
            !str_equal(add.facts.bridge.kind, "bridge"))
                return error_set(err, ERROR_CONFLICT, "\"%s\" already exists but is not a bridge",
                                 request->conf.link.bridge);
        r = r < 0 ? r : refuse_second(&add, err);
        r = r < 0 ? r : add_addresses(&add, err);
        if (r < 0)
                return r;
        r = uplink_facts_read(&request->rtnl, &request->conf, &add.result, false, &add.facts, err);
        r = r < 0 ? r : add_link(&add, err);
        /* An address is given back when nobody can use it. */
        if (r < 0 && request->conf.ipam_type[0] != '\0' && add.kernel.indices[LINK_HOST] == 0)
                ipam_undo(&request->ipam);
        return r;
}
