/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/link/apply.h"

#include "cni/spec/host_link.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/netns/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* Upstream waits 2.55 s for the port and 5 s for duplicate address detection. */
#define WAIT_PORT_MSECS 2550
#define WAIT_DAD_MSECS  5000

/* One queue: a veth has no use for more without XDP, and the kernel's default of one per possible
 * CPU costs a millisecond on a large host. */
#define VETH_QUEUES 1

void link_kernel_deinit(LinkKernel *kernel) {
        nl_socket_close(&kernel->pod);
}

static int open_here(void *userdata) {
        LinkKernel *kernel = userdata;

        return nl_socket_open(&kernel->pod, NETLINK_ROUTE);
}

int link_kernel_open_pod(LinkKernel *kernel) {
        if (kernel->pod.fd >= 0)
                return 0;
        return netns_call(kernel->netns_fd, kernel->own_netns_fd, open_here, kernel);
}

/* "<step>: <error>: <the kernel's words>" */
static int step_failed(const Plan *plan, const PlanStep *step, const NlSocket *sock, int r,
                       Error *err) {
        cleanup(strbuf_deinit) StrBuf text = {0};

        plan_step_format(plan, step, &text);
        (void)error_set_errno(err, r, "%s%s%s", strbuf_text(&text), sock->text[0] ? ": " : "",
                              sock->text);
        return r;
}

/* --- steps that travel in a batch --------------------------------------------------------- */

typedef struct Run {
        LinkKernel *kernel;
        const Plan *plan;
        NlSocket *sock;
        const PlanStep *steps;
        size_t n;
        size_t first; /* the step that message 0 of the batch belongs to */
        NlBatch batch;
        Error *err;
} Run;

static void append_change(Run *run, const PlanStep *step) {
        LinkChange change = step->u.change;

        change.index = run->kernel->indices[step->link];
        if (change.set & LINK_SET_MAC)
                change.mac = step->link == LINK_POD        ? run->plan->pod_mac
                             : run->kernel->has_bridge_mac ? run->kernel->bridge_mac
                                                           : run->plan->bridge_mac;
        link_set(&run->batch, &change);
}

static void append_vlan(Run *run, const PlanStep *step) {
        PortVlan vlan = step->u.vlan;

        /* Deleting passes over what is not there. */
        if (step->kind == STEP_VLAN_CLEAR)
                vlan = (PortVlan){.first = 1, .last = 4094};
        vlan.index = run->kernel->indices[step->link];
        if (step->kind == STEP_VLAN_CLEAR)
                link_vlan_delete(&run->batch, &vlan);
        else
                link_vlan_add(&run->batch, &vlan);
}

static void append_address(Run *run, const PlanStep *step) {
        LinkAddress address = step->u.address;

        address.index = run->kernel->indices[step->link];
        if (step->kind == STEP_ADDRESS_ADD)
                addr_add(&run->batch, &address);
        else
                addr_delete(&run->batch, &address);
}

static void append_route(Run *run, const PlanStep *step) {
        Route route = step->u.route;

        route.index = run->kernel->indices[step->link];
        route_add(&run->batch, &route);
}

static void append_neighbour(Run *run, const PlanStep *step) {
        Neighbour neighbour = step->u.neighbour;

        neighbour.index = run->kernel->indices[step->link];
        neighbour_set(&run->batch, &neighbour);
}

static bool is_shared(StepLink link) {
        return link == LINK_BRIDGE || link == LINK_VLAN;
}

/* What undo must take back although the link stays. */
static void note_added(Run *run, const PlanStep *step) {
        LinkKernel *kernel = run->kernel;

        if (step->kind != STEP_ADDRESS_ADD || !is_shared(step->link) ||
            kernel->n_added == N_ELEMENTS(kernel->added))
                return;
        kernel->added[kernel->n_added] = step->u.address;
        kernel->added[kernel->n_added++].index = kernel->indices[step->link];
}

/* The same bridge address again, or one that another ADD removed first, is what was wanted. */
static bool is_done_already(Run *run, const PlanStep *step, int r) {
        if (step->optional)
                return true;
        if (step->kind == STEP_ADDRESS_ADD && is_shared(step->link))
                return r == -EEXIST;
        return step->kind == STEP_ADDRESS_REMOVE && r == -EADDRNOTAVAIL;
}

static int route_reply(size_t index, const struct nlmsghdr *reply, void *userdata) {
        return route_parse(reply, userdata);
}

/* Two lists with one subnet, whose leases do not know of each other. */
static int route_taken(Run *run, const PlanStep *step) {
        const Route *wanted = &step->u.route;
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        IpAddress address = {.family = wanted->family};
        Route route = {0};
        Link link = {0};
        char text[IP_TEXT_MAX];

        memcpy(address.bytes, wanted->destination, ip_size(&address));
        route_get(&batch, wanted->family, wanted->destination);
        if (nl_batch_run(run->sock, &batch, route_reply, &route) < 0 ||
            link_find(run->sock, route.index, NULL, &link) < 0)
                (void)strcpy(link.name, "?");
        return error_set(run->err, ERROR_CONFLICT,
                         "this host has a route to %s already, by %s: another list has the same "
                         "subnet",
                         ip_format(&address, text), link.name);
}

static int flush(Run *run) {
        size_t n = run->batch.n;
        int r;

        r = nl_batch_run(run->sock, &run->batch, NULL, NULL);
        for (size_t i = 0; i < n && (r == 0 || run->batch.failed < n); i++)
                if (run->batch.results[i] == 0)
                        note_added(run, &run->steps[run->first + i]);
        for (size_t i = 0; r < 0 && run->batch.failed < n && i < n; i++) {
                const PlanStep *step = &run->steps[run->first + i];
                int result = run->batch.results[i];

                if (result == 0 || is_done_already(run, step, result))
                        continue;
                /* The words are about the first failure. */
                if (i != run->batch.failed)
                        run->sock->text[0] = '\0';
                nl_batch_deinit(&run->batch);
                if (result == -EEXIST && step->kind == STEP_ROUTE_ADD && step->u.route.exclusive)
                        return route_taken(run, step);
                return step_failed(run->plan, step, run->sock, result, run->err);
        }
        if (r < 0 && (run->batch.failed >= n || run->batch.broken < 0)) {
                nl_batch_deinit(&run->batch);
                return step_failed(run->plan, &run->steps[run->first], run->sock, r, run->err);
        }
        nl_batch_deinit(&run->batch);
        run->first += n;
        return 0;
}

/* --- steps that stand alone ----------------------------------------------------------------- */

static int echo_reply(size_t index, const struct nlmsghdr *reply, void *userdata) {
        return link_parse(reply, userdata);
}

/* Makes a pair. The kernel echoes it since 6.2; before that it is asked for. */
static int create_pair(NlSocket *sock, const VethSpec *spec, Link *link) {
        cleanup(nl_batch_deinit) NlBatch batch = {0}, undo = {0};
        int r;

        link->index = 0;
        link_add_veth(&batch, spec);
        r = nl_batch_run(sock, &batch, echo_reply, link);
        if (r < 0 && batch.failed < batch.n)
                return r;
        if (r == 0 && (link->index == 0 || link->peer == 0))
                r = link_find(sock, 0, spec->name, link);
        /* The name was free when we took it: what has it now is the pair that nobody can number. */
        if (r < 0) {
                link_delete(&undo, link->index, spec->name);
                (void)nl_batch_run(sock, &undo, NULL, NULL);
        }
        return r;
}

static int create_bridge(Run *run, const PlanStep *step) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        const Plan *plan = run->plan;
        Link link = {0};
        int r;

        link_add_bridge(&batch, &(BridgeSpec){
                                        .name = plan->bridge,
                                        .mac = plan->bridge_mac,
                                        .vlan_filtering = plan->bridge_filters_vlans,
                                });
        r = nl_batch_run(run->sock, &batch, NULL, NULL);
        /* Another ADD may have been first. */
        if (r == 0 || r == -EEXIST)
                r = link_find(run->sock, 0, plan->bridge, &link);
        if (r < 0)
                return step_failed(plan, step, run->sock, r, run->err);
        if (!str_equal(link.kind, "bridge"))
                return error_set(run->err, ERROR_CONFLICT,
                                 "\"%s\" already exists but is not a bridge", plan->bridge);
        run->kernel->indices[LINK_BRIDGE] = link.index;
        run->kernel->has_bridge_mac = true;
        memcpy(run->kernel->bridge_mac, link.mac, sizeof(run->kernel->bridge_mac));
        return 0;
}

static int pod_has_name(LinkKernel *kernel, const char *name, bool *hasp) {
        Link link = {0};
        int r = link_kernel_open_pod(kernel);

        r = r < 0 ? r : link_find(&kernel->pod, 0, name, &link);
        *hasp = r == 0;
        return r == -ENODEV ? 0 : r;
}

/*
 * -EEXIST means the name inside the pod, or the host's. A host's end with our alias whose pod has
 * no such interface is what a killed ADD left, its namespace having been made anew: it goes.
 *
 * Return: 0 try again; KERNEL_E_NAME_TAKEN; negative.
 */
static int resolve_collision(Run *run) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        const Plan *plan = run->plan;
        bool has = true;
        Link link = {0};
        int r;

        r = pod_has_name(run->kernel, plan->pod, &has);
        if (r == 0 && has)
                return error_set(run->err, ERROR_CONFLICT,
                                 "container veth name (\"%s\") peer provided (\"%s\") already "
                                 "exists",
                                 plan->pod, plan->host);
        if (r == 0)
                r = link_find(run->sock, 0, plan->host, &link);
        if (r == -ENODEV)
                return 0;
        if (r < 0)
                return error_set_errno(run->err, r, "look for %s", plan->host);
        if (!str_equal(link.alias, plan->alias))
                return KERNEL_E_NAME_TAKEN;
        link_delete(&batch, link.index, NULL);
        r = nl_batch_run(run->sock, &batch, NULL, NULL);
        return r < 0 && r != -ENODEV ? error_set_errno(run->err, r, "remove stale %s", plan->host)
                                     : 0;
}

static int create_veth(Run *run, const PlanStep *step) {
        const Plan *plan = run->plan;
        const VethSpec spec = {
                .name = plan->host,
                .mac = plan->host_mac,
                .master = plan->has_master ? run->kernel->indices[LINK_BRIDGE] : 0,
                .peer_name = plan->pod,
                .peer_mac = plan->pod_mac,
                .peer_netns_fd = run->kernel->netns_fd,
                .mtu_bytes = plan->mtu_bytes,
                .n_queues = VETH_QUEUES,
                .echo = true,
        };
        Link link = {0};
        int r;

        r = create_pair(run->sock, &spec, &link);
        if (r == -EEXIST) {
                r = resolve_collision(run);
                if (r != 0)
                        return r;
                r = create_pair(run->sock, &spec, &link);
        }
        /* Ports whose DEL has answered go first. */
        if (r == -EXFULL && link_marked_remove(run->sock) == 0)
                r = create_pair(run->sock, &spec, &link);
        if (r == -EXFULL)
                return error_set(run->err, ERROR_EXHAUSTED,
                                 "bridge %s has no port left: the kernel allows 1023",
                                 plan->bridge);
        if (r < 0)
                return step_failed(plan, step, run->sock, r, run->err);
        run->kernel->indices[LINK_HOST] = link.index;
        run->kernel->indices[LINK_POD] = link.peer;
        return 0;
}

/* The pair that carries a VLAN's gateway: one end is the bridge's port, the other has the address.
 */
static int create_vlan_link(Run *run, const PlanStep *step) {
        const Plan *plan = run->plan;
        const VethSpec spec = {
                .name = plan->vlan_port,
                .master = run->kernel->indices[LINK_BRIDGE],
                .peer_name = plan->vlan,
                .peer_netns_fd = -1,
                .mtu_bytes = plan->mtu_bytes,
                .n_queues = VETH_QUEUES,
                .up = true,
                .echo = true,
        };
        Link link = {0};
        int r;

        r = create_pair(run->sock, &spec, &link);
        if (r == 0) {
                run->kernel->indices[LINK_VLAN_PORT] = link.index;
                run->kernel->indices[LINK_VLAN] = link.peer;
                return 0;
        }
        if (r == -EEXIST)
                r = link_find(run->sock, 0, plan->vlan, &link);
        if (r < 0)
                return step_failed(plan, step, run->sock, r, run->err);
        run->kernel->indices[LINK_VLAN] = link.index;
        run->kernel->indices[LINK_VLAN_PORT] = link.peer;
        return 0;
}

/* A read-only /proc is no obstacle when it says the right thing already. */
static bool sysctl_is(Sysctls *sysctls, const char *path, const char *value) {
        cleanup(freep) char *text = NULL;

        return sysctl_read(sysctls, path, 64, &text) == 0 && str_equal(text, value);
}

static int write_sysctl(Run *run, const PlanStep *step) {
        Sysctls *sysctls = run->kernel->sysctls;
        const char *value = step->u.sysctl.value;
        char path[STEP_PATH_MAX + 16];
        int r;

        (void)snprintf(path, sizeof(path), "/proc/sys/%s", step->u.sysctl.path);
        r = sysctl_write(sysctls, path, value);
        if (r < 0 && !step->optional && !sysctl_is(sysctls, path, value)) {
                run->sock->text[0] = '\0';
                return step_failed(run->plan, step, run->sock, r, run->err);
        }
        return 0;
}

/* Asking for the link makes the kernel (6.8) settle its state first, so one look is enough there.
 */
static int wait_port(Run *run, const PlanStep *step) {
        unsigned int waited = 0, pause = 1;

        for (;;) {
                Link link = {0};
                int r = link_find(run->sock, run->kernel->indices[step->link], NULL, &link);

                if (r < 0)
                        return step_failed(run->plan, step, run->sock, r, run->err);
                if (link.operstate == LINK_OPER_UP)
                        return 0;
                if (waited >= WAIT_PORT_MSECS)
                        return error_set(run->err, ERROR_UNAVAILABLE,
                                         "bridge port in error state: %u",
                                         (unsigned int)link.operstate);
                clock_sleep(pause);
                waited += pause;
                pause = pause < 50 ? pause * 2 : 50;
        }
}

static int wait_dad(Run *run, const PlanStep *step) {
        unsigned int index = run->kernel->indices[step->link];

        for (unsigned int waited = 0;; waited += 50) {
                LinkAddress addresses[FACTS_ADDRESSES_MAX];
                bool tentative = false;
                size_t n = 0;
                Link link = {0};
                int r = addr_list(run->sock, index, AF_INET6, addresses, N_ELEMENTS(addresses), &n);

                for (size_t i = 0; r == 0 && i < n && i < N_ELEMENTS(addresses); i++) {
                        if (addresses[i].flags & IFA_F_DADFAILED)
                                return error_set(run->err, ERROR_CONFLICT,
                                                 "failed to settle addresses for \"%s\": another "
                                                 "node has the address",
                                                 run->plan->pod);
                        tentative = tentative || (addresses[i].flags & IFA_F_TENTATIVE);
                }
                if (r == 0 && !tentative)
                        return 0;
                r = r < 0 ? r : link_find(run->sock, index, NULL, &link);
                if (r < 0)
                        return step_failed(run->plan, step, run->sock, r, run->err);
                /* It cannot settle before it has a carrier. That it runs, the kernel notes later.
                 */
                if (!(link.flags & LINK_FLAG_LOWER_UP))
                        return 0;
                if (waited >= WAIT_DAD_MSECS)
                        return error_set(run->err, ERROR_TIMEOUT,
                                         "failed to settle addresses for \"%s\": still tentative "
                                         "after %u ms",
                                         run->plan->pod, waited);
                clock_sleep(50);
        }
}

/* --- a run ----------------------------------------------------------------------------------- */

static int alone(Run *run, const PlanStep *step) {
        switch (step->kind) {
        case STEP_BRIDGE_CREATE:
                return create_bridge(run, step);
        case STEP_VETH_CREATE:
                return create_veth(run, step);
        case STEP_VLAN_LINK_CREATE:
                return create_vlan_link(run, step);
        case STEP_SYSCTL:
                return write_sysctl(run, step);
        case STEP_WAIT_PORT:
                return wait_port(run, step);
        case STEP_WAIT_DAD:
                return wait_dad(run, step);
        case STEP_BEFORE_UP:
                return run->kernel->before_up
                               ? run->kernel->before_up(run->kernel->userdata, run->err)
                               : 0;
        case STEP_LINK_SET:
        case STEP_ADDRESS_ADD:
        case STEP_ADDRESS_REMOVE:
        case STEP_VLAN_CLEAR:
        case STEP_VLAN_ADD:
        case STEP_ROUTE_ADD:
        case STEP_NEIGHBOUR:
        case STEP_ANNOUNCE:
        case _STEP_KIND_N:
                break;
        }
        return -EINVAL;
}

/* Return: false for a step that stands alone. */
static bool append(Run *run, const PlanStep *step) {
        switch (step->kind) {
        case STEP_LINK_SET:
                append_change(run, step);
                return true;
        case STEP_ADDRESS_ADD:
        case STEP_ADDRESS_REMOVE:
                append_address(run, step);
                return true;
        case STEP_VLAN_CLEAR:
        case STEP_VLAN_ADD:
                append_vlan(run, step);
                return true;
        case STEP_ROUTE_ADD:
                append_route(run, step);
                return true;
        case STEP_NEIGHBOUR:
                append_neighbour(run, step);
                return true;
        case STEP_ANNOUNCE:
                /* An address set anew, be it the same, makes the kernel tell the neighbours:
                 * arp_notify and ndisc_notify are on. What it told when the link came up was lost,
                 * for the bridge's port was not forwarding yet. */
                link_set(&run->batch, &(LinkChange){.set = LINK_SET_MAC,
                                                    .index = run->kernel->indices[step->link],
                                                    .mac = run->plan->pod_mac});
                return true;
        case STEP_BRIDGE_CREATE:
        case STEP_VETH_CREATE:
        case STEP_VLAN_LINK_CREATE:
        case STEP_SYSCTL:
        case STEP_WAIT_PORT:
        case STEP_WAIT_DAD:
        case STEP_BEFORE_UP:
        case _STEP_KIND_N:
                break;
        }
        return false;
}

static int run_steps(Run *run) {
        int r = 0;

        for (size_t i = 0; i < run->n; i++) {
                if (run->batch.n == NL_BATCH_MAX) {
                        r = flush(run);
                        if (r != 0)
                                return r;
                }
                if (append(run, &run->steps[i]))
                        continue;
                r = flush(run);
                r = r != 0 ? r : alone(run, &run->steps[i]);
                if (r != 0)
                        return r;
                run->first = i + 1;
        }
        return flush(run);
}

static int run_inside(void *userdata) {
        Run *run = userdata;
        int r;

        if (run->sock->fd < 0) {
                r = open_here(run->kernel);
                if (r < 0)
                        return error_set_errno(run->err, r, "netlink in the pod's namespace");
        }
        return run_steps(run);
}

static bool wants_namespace(const Run *run) {
        if (run->sock->fd < 0)
                return true;
        for (size_t i = 0; i < run->n; i++)
                if (run->steps[i].kind == STEP_SYSCTL || run->steps[i].kind == STEP_BEFORE_UP)
                        return true;
        return false;
}

static int kernel_run(void *userdata, const Plan *plan, const PlanStep *steps, size_t n,
                      size_t *donep, Error *err) {
        LinkKernel *kernel = userdata;
        bool in_pod = step_is_in_pod(&steps[0]);
        Run run = {
                .kernel = kernel,
                .plan = plan,
                .sock = in_pod ? &kernel->pod : kernel->host,
                .steps = steps,
                .n = n,
                .err = err,
        };
        int r;

        if (in_pod && wants_namespace(&run))
                r = netns_call(kernel->netns_fd, kernel->own_netns_fd, run_inside, &run);
        else
                r = run_steps(&run);
        nl_batch_deinit(&run.batch);
        *donep = run.first;
        if (r < 0 && !error_is_set(err))
                (void)error_set_errno(err, r, "enter the pod's namespace");
        return r;
}

/* A bridge that still has a carrier has another pod's port, and that pod may count on an address
 * that it found there. */
static void undo_added(LinkKernel *kernel) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        Link bridge;

        if (kernel->n_added == 0 ||
            link_find(kernel->host, kernel->indices[LINK_BRIDGE], NULL, &bridge) < 0 ||
            (bridge.flags & LINK_FLAG_LOWER_UP))
                return;
        for (size_t i = 0; i < kernel->n_added; i++)
                addr_delete(&batch, &kernel->added[i]);
        (void)nl_batch_run(kernel->host, &batch, NULL, NULL);
        kernel->n_added = 0;
}

static int kernel_undo(void *userdata, const Plan *plan, Error *err) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        LinkKernel *kernel = userdata;
        int r;

        if (kernel->indices[LINK_HOST] == 0)
                return 0;
        link_delete(&batch, kernel->indices[LINK_HOST], NULL);
        r = nl_batch_run(kernel->host, &batch, NULL, NULL);
        if (r < 0 && r != -ENODEV)
                return error_set_errno(err, r, "remove %s", plan->host);
        kernel->indices[LINK_HOST] = 0;
        undo_added(kernel);
        return 0;
}

PlanKernel link_kernel_ops(LinkKernel *kernel) {
        return (PlanKernel){.run = kernel_run, .undo = kernel_undo, .userdata = kernel};
}
