/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bandwidth: what goes to the pod waits in a token bucket on the host's end of the pair; what comes
 * from it is redirected to an ifb, which has the other bucket. Both in upstream's numbers.
 */

#include "cni/features/feature.h"

#include "cni/spec/failure.h"
#include "common/base/cleanup.h"
#include "common/base/sha512.h"
#include "common/netlink/rtnl_link.h"
#include "common/netlink/rtnl_tc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Packets wait at most this long, beside those of the burst. */
#define LATENCY_MSECS 25

typedef struct Shape {
        uint64_t rate_bits; /* per second; 0: no limit */
        uint64_t burst_bits;
} Shape;

typedef struct BandwidthConf {
        Shape ingress, egress; /* as the pod sees it */
} BandwidthConf;

static void batch_deinit(NlBatch *batch) {
        nl_batch_deinit(batch);
}

/* --- keys --------------------------------------------------------------------------------- */

static bool has_keys(const json_t *object) {
        return json_find(object, "ingressRate") || json_find(object, "ingressBurst") ||
               json_find(object, "egressRate") || json_find(object, "egressBurst");
}

static int read_shape(const json_t *object, const char *rate, const char *burst, Shape *shape,
                      Error *err) {
        int r = json_read_u64(object, rate, UINT64_MAX, &shape->rate_bits, err);

        if (r == 0)
                r = json_read_u64(object, burst, UINT64_MAX, &shape->burst_bits, err);
        if (r < 0)
                return r;
        if (shape->burst_bits == 0 && shape->rate_bits != 0)
                return error_set(err, ERROR_INVALID, "if rate is set, burst must also be set");
        if (shape->rate_bits == 0 && shape->burst_bits != 0)
                return error_set(err, ERROR_INVALID, "if burst is set, rate must also be set");
        if (shape->burst_bits / 8 >= UINT32_MAX)
                return error_set(err, ERROR_INVALID, "burst cannot be more than 4GB");
        if (shape->rate_bits > 0 && (shape->rate_bits < 8 || shape->burst_bits < 8))
                return error_set(err, ERROR_INVALID, "%s and %s: less than a byte is not a limit",
                                 rate, burst);
        return 0;
}

/* Keys of one upstream version. To pass over them would shape what they except. */
static int refuse_subnets(const json_t *object, Error *err) {
        static const char *const keys[] = {"shapedSubnets", "unshapedSubnets"};

        for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
                const json_t *list = NULL;
                int r = json_read_array(object, keys[i], &list, err);

                if (r < 0)
                        return r;
                if (json_array_size(list) > 0)
                        return error_set(err, ERROR_UNSUPPORTED,
                                         "%s is not supported: limits are of the whole interface",
                                         keys[i]);
        }
        return 0;
}

static void freep_conf(BandwidthConf **confp) {
        free(*confp);
}

/* The configuration wins as a whole over what the runtime asks for. */
static int bandwidth_parse(const NetConf *conf, void **statep, Error *err) {
        cleanup(freep_conf) BandwidthConf *bandwidth = calloc(1, sizeof(*bandwidth));
        const json_t *object = NULL;
        int r;

        if (!bandwidth)
                return error_set_errno(err, ENOMEM, "bandwidth");
        r = json_read_object(conf->runtime, "bandwidth", &object, err);
        if (r < 0)
                return r;
        if (has_keys(conf->json))
                object = conf->json;
        r = refuse_subnets(conf->json, err);
        r = r < 0 ? r : refuse_subnets(object, err);
        r = r < 0 ? r : read_shape(object, "ingressRate", "ingressBurst", &bandwidth->ingress, err);
        if (r == 0)
                r = read_shape(object, "egressRate", "egressBurst", &bandwidth->egress, err);
        if (r < 0)
                return r;
        if (bandwidth->ingress.rate_bits > 0 || bandwidth->egress.rate_bits > 0)
                *statep = ptr_steal(&bandwidth);
        return 0;
}

static void bandwidth_free(void *state) {
        free(state);
}

/* --- names and numbers -------------------------------------------------------------------- */

#define N_NAMES 2

/*
 * "bwp" and as much of a hash as fits. The first is upstream's, which tells containers apart and no
 * interfaces; the second is for another interface of the container on the same network.
 */
static void ifb_name(const Attachment *at, unsigned int i, char name[IFNAMSIZ]) {
        char *text = i == 0 ? str_printf("%s%s", at->network, at->container_id)
                            : str_printf("%s/%s/%s", at->network, at->container_id, at->ifname);
        char hex[SHA512_HEX_SIZE] = "";

        if (text)
                sha512_hex(text, strlen(text), hex);
        free(text);
        snprintf(name, IFNAMSIZ, "bwp%.12s", hex);
}

typedef struct Ifbs {
        Link links[N_NAMES]; /* index 0: there is none */
} Ifbs;

static int reply_ifb(size_t index, const struct nlmsghdr *message, void *userdata) {
        Ifbs *ifbs = userdata;

        return link_parse(message, &ifbs->links[index]);
}

static int find_ifbs(const Attachment *at, Ifbs *ifbs) {
        cleanup(batch_deinit) NlBatch batch = {0};
        char name[IFNAMSIZ];
        bool any = false;
        int r;

        for (unsigned int i = 0; i < N_NAMES; i++) {
                ifb_name(at, i, name);
                any = any || link_may_be_there(name);
                link_get(&batch, 0, name);
        }
        if (!any)
                return 0;
        r = nl_batch_run(at->rtnl, &batch, reply_ifb, ifbs);
        for (size_t i = 0; r < 0 && i < batch.n && batch.failed < batch.n; i++)
                if (batch.results[i] < 0 && batch.results[i] != -ENODEV)
                        return batch.results[i];
        return r == -ENODEV ? 0 : r;
}

/* One that says nothing is upstream's, or of an ADD that was killed. */
static bool is_ours(const Attachment *at, const Link *ifb) {
        RuleOwner owner;

        return ifb->index != 0 && str_equal(ifb->kind, "ifb") &&
               (rule_owner_parse(ifb->alias, &owner) < 0 ||
                memcmp(owner.owner, at->owner, OWNER_SIZE) == 0);
}

static TbfSpec tbf_of(const Shape *shape, unsigned int index) {
        uint64_t rate = shape->rate_bits / 8, burst = shape->burst_bits / 8;
        uint64_t limit = rate / 1000 * LATENCY_MSECS + rate % 1000 * LATENCY_MSECS / 1000 + burst;

        return (TbfSpec){
                .index = index,
                .rate_bytes = rate,
                .limit_bytes = limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit,
                .buffer_ticks = tbf_ticks(rate, burst),
        };
}

/* --- ADD ---------------------------------------------------------------------------------- */

static int fail(const Attachment *at, int r, const char *what, Error *err) {
        if (r == -ENOENT || r == -EOPNOTSUPP) {
                (void)error_set(err, ERROR_UNSUPPORTED,
                                "bandwidth: %s: this kernel lacks tbf, ifb, u32 or mirred%s%s",
                                what, at->rtnl->text[0] ? ": " : "", at->rtnl->text);
                return failure_by_kernel(err);
        }
        return error_set_errno(err, r, "bandwidth: %s%s%s", what, at->rtnl->text[0] ? ": " : "",
                               at->rtnl->text);
}

static int delete_ifb(const Attachment *at, unsigned int index) {
        cleanup(batch_deinit) NlBatch batch = {0};
        int r;

        link_delete(&batch, index, NULL);
        r = nl_batch_run(at->rtnl, &batch, NULL, NULL);
        return r == -ENODEV ? 0 : r;
}

/* With the pair, if that is removed here as well. */
static int remove_ifbs(const Attachment *at) {
        Ifbs ifbs = {0};
        int r = find_ifbs(at, &ifbs), failed;

        for (unsigned int i = 0; i < N_NAMES; i++) {
                if (!is_ours(at, &ifbs.links[i]))
                        continue;
                if (at->removed) {
                        link_list_add(at->removed, ifbs.links[i].index);
                        continue;
                }
                failed = delete_ifb(at, ifbs.links[i].index);
                r = r < 0 ? r : failed;
        }
        return r;
}

static int reply_link(size_t index, const struct nlmsghdr *message, void *userdata) {
        return link_parse(message, userdata);
}

/*
 * The alias lets GC know whose it is; in one message with the link, so that no kill comes between.
 * The kernel echoes the new link since 6.2; before that it is asked for.
 */
static int make_ifb(const Attachment *at, const char *name, uint32_t mtu_bytes, Link *ifb) {
        cleanup(batch_deinit) NlBatch batch = {0};
        char alias[NFT_COMMENT_MAX];
        int r;

        rule_owner_format(at, alias);
        link_add_ifb(&batch,
                     &(IfbSpec){.name = name, .mtu_bytes = mtu_bytes, .up = true, .echo = true});
        link_set(&batch, &(LinkChange){.set = LINK_SET_ALIAS | LINK_SET_TXQLEN,
                                       .name = name,
                                       .alias = alias,
                                       .txqlen = 0});
        tc_ingress_add(&batch, at->host_index);
        r = nl_batch_run(at->rtnl, &batch, reply_link, ifb);
        return r == 0 && ifb->index == 0 ? link_find(at->rtnl, 0, name, ifb) : r;
}

/* Is one in the way, it is of a killed ADD of this interface, or of another interface. Looked at
 * first: the kernel goes on after a link that could not be made, and what has that name would get
 * the alias. */
static int make_some_ifb(const Attachment *at, uint32_t mtu_bytes, char name[IFNAMSIZ], Link *ifb) {
        Ifbs ifbs = {0};
        bool others;
        int r = find_ifbs(at, &ifbs);

        others = ifbs.links[0].index != 0 && !is_ours(at, &ifbs.links[0]);
        ifb_name(at, others, name);
        if (r == 0 && others && ifbs.links[1].index != 0 && !is_ours(at, &ifbs.links[1]))
                return -EEXIST;
        if (r == 0 && ifbs.links[others].index != 0)
                r = delete_ifb(at, ifbs.links[others].index);
        return r < 0 ? r : make_ifb(at, name, mtu_bytes, ifb);
}

static int set_up_ifb(const BandwidthConf *conf, const Attachment *at, unsigned int index) {
        cleanup(batch_deinit) NlBatch batch = {0};
        TbfSpec tbf = tbf_of(&conf->egress, index);

        tc_tbf_set(&batch, &tbf);
        tc_redirect_add(&batch, at->host_index, index);
        return nl_batch_run(at->rtnl, &batch, NULL, NULL);
}

static int shape_egress(const BandwidthConf *conf, const Attachment *at, CniResult *result,
                        Error *err) {
        char name[IFNAMSIZ], mac[18] = "";
        Link ifb = {0}, host = {.mtu_bytes = at->host_mtu_bytes};
        int r = host.mtu_bytes ? 0 : link_find(at->rtnl, at->host_index, NULL, &host);

        r = r < 0 ? r : make_some_ifb(at, host.mtu_bytes, name, &ifb);
        if (r < 0)
                return fail(at, r, "make an ifb", err);
        r = set_up_ifb(conf, at, ifb.index);
        if (r < 0)
                return fail(at, r, "shape what the pod sends", err);
        if (ifb.has_mac)
                snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", ifb.mac[0], ifb.mac[1],
                         ifb.mac[2], ifb.mac[3], ifb.mac[4], ifb.mac[5]);
        r = result_add_interface(result, name, mac, NULL);
        return r < 0 ? error_set_errno(err, r, "bandwidth") : 0;
}

static int shape_ingress(const BandwidthConf *conf, const Attachment *at, Error *err) {
        cleanup(batch_deinit) NlBatch batch = {0};
        TbfSpec tbf = tbf_of(&conf->ingress, at->host_index);
        int r;

        tc_tbf_set(&batch, &tbf);
        r = nl_batch_run(at->rtnl, &batch, NULL, NULL);
        return r < 0 ? fail(at, r, "shape what the pod receives", err) : 0;
}

static void undo(const Attachment *at) {
        cleanup(batch_deinit) NlBatch batch = {0};

        tc_root_delete(&batch, at->host_index);
        tc_ingress_delete(&batch, at->host_index);
        (void)nl_batch_run(at->rtnl, &batch, NULL, NULL);
        (void)remove_ifbs(at);
}

static int need_link(const Attachment *at, Error *err) {
        return at->host_index != 0
                       ? 0
                       : error_set(err, ERROR_PRECONDITION,
                                   "no veth peer of container interface found in host ns");
}

static int bandwidth_add(void *state, Attachment *at, CniResult *result, Error *err) {
        const BandwidthConf *conf = state;
        int r;

        if (!conf)
                return 0;
        r = need_link(at, err);
        if (r < 0)
                return r;
        if (conf->ingress.rate_bits > 0)
                r = shape_ingress(conf, at, err);
        if (r == 0 && conf->egress.rate_bits > 0)
                r = shape_egress(conf, at, result, err);
        if (r < 0)
                undo(at);
        return r;
}

/* --- DEL, GC, CHECK ----------------------------------------------------------------------- */

/* The bucket on the pair goes with the pair. Today's configuration need not be that of ADD. */
static int bandwidth_del(void *state, Attachment *at, RulesSocket *sock, Error *err) {
        char name[IFNAMSIZ];
        int r = remove_ifbs(at);

        ifb_name(at, 0, name);
        return r < 0 ? error_set_errno(err, r, "bandwidth: remove %s", name) : 0;
}

typedef struct Sweep {
        const GcRequest *gc;
        unsigned int indices[4096];
        size_t n;
} Sweep;

static int sweep_ifb(const Link *link, void *userdata) {
        Sweep *sweep = userdata;
        RuleOwner owner;

        if (sweep->n < N_ELEMENTS(sweep->indices) && rule_owner_parse(link->alias, &owner) == 0 &&
            rule_owner_is_of(&owner, sweep->gc->network) && !gc_keeps(sweep->gc, owner.owner) &&
            !gc_tells(sweep->gc, "link %s of container %s", link->name, owner.container))
                sweep->indices[sweep->n++] = link->index;
        return 0;
}

static void freep_sweep(Sweep **sweepp) {
        free(*sweepp);
}

static int bandwidth_gc(const GcRequest *gc, Error *err) {
        cleanup(freep_sweep) Sweep *sweep = calloc(1, sizeof(*sweep));
        int r, failed = 0;

        if (!sweep)
                return error_set_errno(err, ENOMEM, "bandwidth");
        sweep->gc = gc;
        r = link_dump(gc->rtnl, "ifb", 0, sweep_ifb, sweep);
        for (size_t i = 0; i < sweep->n; i++) {
                cleanup(batch_deinit) NlBatch batch = {0};

                link_delete(&batch, sweep->indices[i], NULL);
                failed = nl_batch_run(gc->rtnl, &batch, NULL, NULL);
                if (failed < 0 && failed != -ENODEV && r == 0)
                        r = failed;
        }
        return r < 0 ? error_set_errno(err, r, "bandwidth: remove ifbs") : 0;
}

static int reply_tbf(size_t index, const struct nlmsghdr *message, void *userdata) {
        return tc_tbf_parse(message, userdata);
}

static int check_tbf(const Attachment *at, const Shape *shape, unsigned int index, const char *name,
                     Error *err) {
        cleanup(batch_deinit) NlBatch batch = {0};
        TbfSpec wanted = tbf_of(shape, index), tbf = {0};
        int r;

        tc_root_get(&batch, index);
        r = nl_batch_run(at->rtnl, &batch, reply_tbf, &tbf);
        if (r < 0)
                return error_set(err, ERROR_NOT_FOUND, "Failed to find qdisc of %s", name);
        if (tbf.rate_bytes != wanted.rate_bytes)
                return error_set(err, ERROR_CONFLICT, "Rate doesn't match on %s", name);
        if (tbf.limit_bytes != wanted.limit_bytes)
                return error_set(err, ERROR_CONFLICT, "Limit doesn't match on %s", name);
        if (tbf_ticks_kept(tbf.buffer_ticks) != tbf_ticks_kept(wanted.buffer_ticks))
                return error_set(err, ERROR_CONFLICT, "Buffer doesn't match on %s", name);
        return 0;
}

static int bandwidth_check(const void *state, Attachment *at, RulesSocket *sock, Error *err) {
        const BandwidthConf *conf = state;
        char name[IFNAMSIZ];
        Ifbs ifbs = {0};
        const Link *ifb;
        int r;

        if (!conf)
                return 0;
        r = need_link(at, err);
        if (r == 0 && conf->ingress.rate_bits > 0)
                r = check_tbf(at, &conf->ingress, at->host_index, at->host_link, err);
        if (r < 0 || conf->egress.rate_bits == 0)
                return r;
        r = find_ifbs(at, &ifbs);
        ifb = is_ours(at, &ifbs.links[0]) ? &ifbs.links[0] : &ifbs.links[1];
        ifb_name(at, ifb == &ifbs.links[1], name);
        if (r == 0 && !is_ours(at, ifb))
                r = -ENODEV;
        if (r < 0)
                return error_set_errno(err, r, "get ifb device: %s", name);
        if (!(ifb->flags & IFF_UP))
                return error_set(err, ERROR_CONFLICT, "ifb device %s is down", name);
        r = tc_redirect_find(at->rtnl, at->host_index, ifb->index);
        if (r <= 0)
                return error_set(err, ERROR_NOT_FOUND, "%s is not redirected to %s", at->host_link,
                                 name);
        return check_tbf(at, &conf->egress, ifb->index, name, err);
}

/* --- repair ------------------------------------------------------------------------------- */

static int reply_kind(size_t index, const struct nlmsghdr *message, void *userdata) {
        tc_kind_parse(message, userdata);
        return 0;
}

/* Later versions of upstream's plugin have classes in its place: a pod that one of them shaped
 * keeps them. */
static bool is_shaped_by_classes(const Attachment *at) {
        cleanup(batch_deinit) NlBatch batch = {0};
        Ifbs ifbs = {0};
        char kind[16] = "";

        tc_root_get(&batch, at->host_index);
        if (nl_batch_run(at->rtnl, &batch, reply_kind, kind) == 0 && str_equal(kind, "htb"))
                return true;
        nl_batch_deinit(&batch);
        batch = (NlBatch){0};
        if (find_ifbs(at, &ifbs) < 0 || !is_ours(at, &ifbs.links[0]))
                return false;
        tc_root_get(&batch, ifbs.links[0].index);
        return nl_batch_run(at->rtnl, &batch, reply_kind, kind) == 0 && str_equal(kind, "htb");
}

/* All of it anew: the parts hang together, the redirection goes with either of its ends. */
static int bandwidth_repair(void *state, Attachment *at, bool doing, StrBuf *done, Error *err) {
        CniResult ignored = {0};
        Error missing = {0};
        int r;

        if (!state || bandwidth_check(state, at, NULL, &missing) == 0 || is_shaped_by_classes(at))
                return 0;
        strbuf_printf(done, "bandwidth: %s\n", missing.message);
        if (!doing)
                return 0;
        r = need_link(at, err);
        if (r < 0)
                return r;
        undo(at);
        r = bandwidth_add(state, at, &ignored, err);
        result_deinit(&ignored);
        return r;
}

const Feature feature_bandwidth = {
        .name = "bandwidth",
        .roles = ROLE_BIT(ROLE_BERTH) | ROLE_BIT(ROLE_BANDWIDTH),
        .parse = bandwidth_parse,
        .free = bandwidth_free,
        .add = bandwidth_add,
        .del = bandwidth_del,
        .check = bandwidth_check,
        .gc = bandwidth_gc,
        .repair = bandwidth_repair,
};
