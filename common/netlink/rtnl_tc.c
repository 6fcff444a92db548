/* SPDX-License-Identifier: Apache-2.0 */

/* Queueing disciplines and one filter. Knows no rates of anybody. */

#include "common/netlink/rtnl_tc.h"

#include "common/base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>

#define ROOM           512U
#define ROOT_HANDLE    TC_H_MAKE(1U << 16, 0U)
#define INGRESS_HANDLE TC_H_MAKE(0xffffU << 16, 0U)
#define CLASS_ID       TC_H_MAKE(1U << 16, 1U)

#define KIND_SIZE 16

#define NSECS_PER_SEC UINT64_C(1000000000)

uint32_t tbf_ticks(uint64_t rate_bytes, uint64_t bytes) {
        uint64_t per_tick = NSECS_PER_SEC / TBF_TICK_NSECS, ticks;

        if (rate_bytes == 0 || __builtin_mul_overflow(bytes, per_tick, &ticks))
                return UINT32_MAX;
        ticks /= rate_bytes;
        return ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
}

uint32_t tbf_ticks_kept(uint32_t ticks) {
        uint32_t most = UINT32_MAX / TBF_TICK_NSECS;

        return ticks > most ? most : ticks;
}

static struct nl_msg *start(NlBatch *batch, uint16_t type, uint16_t flags,
                            const struct tcmsg *header, const char *kind) {
        struct nl_msg *message = nl_batch_add(batch, type, flags, header, sizeof(*header), ROOM);

        if (message && kind)
                nl_batch_put(batch, nla_put_string(message, TCA_KIND, kind));
        return message;
}

static struct nlattr *nest(NlBatch *batch, struct nl_msg *message, int type) {
        struct nlattr *attr = nla_nest_start(message, type);

        if (!attr)
                nl_batch_put(batch, -1);
        return attr;
}

static void nest_end(struct nl_msg *message, struct nlattr *attr) {
        if (attr)
                (void)nla_nest_end(message, attr);
}

void tc_tbf_set(NlBatch *batch, const TbfSpec *spec) {
        struct tcmsg header = {
                .tcm_family = AF_UNSPEC,
                .tcm_ifindex = (int)spec->index,
                .tcm_handle = ROOT_HANDLE,
                .tcm_parent = TC_H_ROOT,
        };
        bool wide = spec->rate_bytes > UINT32_MAX;
        struct tc_tbf_qopt options = {
                .rate = {.rate = wide ? UINT32_MAX : (uint32_t)spec->rate_bytes},
                .limit = spec->limit_bytes,
                .buffer = spec->buffer_ticks,
        };
        struct nl_msg *message =
                start(batch, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &header, "tbf");
        struct nlattr *attr = message ? nest(batch, message, TCA_OPTIONS) : NULL;

        if (!attr)
                return;
        nl_batch_put(batch, nla_put(message, TCA_TBF_PARMS, sizeof(options), &options));
        if (wide)
                nl_batch_put(batch, nla_put_u64(message, TCA_TBF_RATE64, spec->rate_bytes));
        nest_end(message, attr);
}

static void remove_qdisc(NlBatch *batch, unsigned int index, uint32_t parent) {
        struct tcmsg header = {
                .tcm_family = AF_UNSPEC,
                .tcm_ifindex = (int)index,
                .tcm_parent = parent,
        };

        (void)start(batch, RTM_DELQDISC, 0, &header, NULL);
}

void tc_root_delete(NlBatch *batch, unsigned int index) {
        remove_qdisc(batch, index, TC_H_ROOT);
}

void tc_ingress_delete(NlBatch *batch, unsigned int index) {
        remove_qdisc(batch, index, TC_H_INGRESS);
}

void tc_ingress_add(NlBatch *batch, unsigned int index) {
        struct tcmsg header = {
                .tcm_family = AF_UNSPEC,
                .tcm_ifindex = (int)index,
                .tcm_handle = INGRESS_HANDLE,
                .tcm_parent = TC_H_INGRESS,
        };

        (void)start(batch, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &header, "ingress");
}

static void put_mirred(NlBatch *batch, struct nl_msg *message, unsigned int to) {
        struct tc_mirred mirred = {
                .action = TC_ACT_STOLEN,
                .eaction = TCA_EGRESS_REDIR,
                .ifindex = to,
        };
        struct nlattr *list = nest(batch, message, TCA_U32_ACT);
        struct nlattr *action = list ? nest(batch, message, 1) : NULL;
        struct nlattr *options;

        if (!action)
                return;
        nl_batch_put(batch, nla_put_string(message, TCA_ACT_KIND, "mirred"));
        options = nest(batch, message, TCA_ACT_OPTIONS);
        nl_batch_put(batch, nla_put(message, TCA_MIRRED_PARMS, sizeof(mirred), &mirred));
        nest_end(message, options);
        nest_end(message, action);
        nest_end(message, list);
}

void tc_redirect_add(NlBatch *batch, unsigned int index, unsigned int to) {
        struct tcmsg header = {
                .tcm_family = AF_UNSPEC,
                .tcm_ifindex = (int)index,
                .tcm_parent = INGRESS_HANDLE,
                .tcm_info = TC_H_MAKE(1U << 16, htons(ETH_P_ALL)), /* priority 1 */
        };
        /* One key, whose mask of zeros every packet matches. */
        const struct tc_u32_sel selector = {.flags = TC_U32_TERMINAL, .nkeys = 1};
        uint8_t all[sizeof(selector) + sizeof(struct tc_u32_key)] = {0};
        struct nl_msg *message =
                start(batch, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &header, "u32");
        struct nlattr *options = message ? nest(batch, message, TCA_OPTIONS) : NULL;

        if (!options)
                return;
        memcpy(all, &selector, sizeof(selector));
        nl_batch_put(batch, nla_put_u32(message, TCA_U32_CLASSID, CLASS_ID));
        nl_batch_put(batch, nla_put(message, TCA_U32_SEL, sizeof(all), all));
        put_mirred(batch, message, to);
        nest_end(message, options);
}

void tc_root_get(NlBatch *batch, unsigned int index) {
        struct tcmsg header = {
                .tcm_family = AF_UNSPEC,
                .tcm_ifindex = (int)index,
                .tcm_parent = TC_H_ROOT,
        };

        /* Before Linux 6.8 the answer comes as an echo. */
        (void)start(batch, RTM_GETQDISC, NLM_F_ECHO, &header, NULL);
}

void tc_kind_parse(const struct nlmsghdr *message, char *kind) {
        const struct nlattr *table[TCA_MAX + 1];

        kind[0] = '\0';
        if (message->nlmsg_type == RTM_NEWQDISC &&
            nl_attributes(message, sizeof(struct tcmsg), table, TCA_MAX + 1) == 0)
                nl_get_text(table[TCA_KIND], kind, KIND_SIZE);
}

/* --- redirections ---------------------------------------------------------------------------- */

typedef struct RedirectWalk {
        unsigned int to;
        bool found;
} RedirectWalk;

/* Does the first action of a u32 filter lead there? */
static int action_leads_to(const struct nlattr *list, unsigned int to) {
        const struct nlattr *actions[2], *action[TCA_ACT_MAX + 1], *options[TCA_MIRRED_MAX + 1];
        struct tc_mirred mirred;
        char kind[KIND_SIZE] = "";
        int r = nl_nested(list, actions, N_ELEMENTS(actions));

        r = r < 0 || !actions[1] ? r : nl_nested(actions[1], action, N_ELEMENTS(action));
        if (r < 0 || !actions[1] || !action[TCA_ACT_OPTIONS])
                return r;
        nl_get_text(action[TCA_ACT_KIND], kind, sizeof(kind));
        r = nl_nested(action[TCA_ACT_OPTIONS], options, N_ELEMENTS(options));
        if (r < 0 || strcmp(kind, "mirred") != 0 || !options[TCA_MIRRED_PARMS] ||
            nla_len(options[TCA_MIRRED_PARMS]) < (int)sizeof(mirred))
                return r;
        memcpy(&mirred, nla_data(options[TCA_MIRRED_PARMS]), sizeof(mirred));
        return mirred.eaction == TCA_EGRESS_REDIR && mirred.ifindex == to;
}

static int redirect_reply(size_t index, const struct nlmsghdr *reply, void *userdata) {
        const struct nlattr *table[TCA_MAX + 1], *options[TCA_U32_MAX + 1];
        RedirectWalk *walk = userdata;
        char kind[KIND_SIZE] = "";
        int r;

        if (!reply) {
                walk->found = false;
                return 0;
        }
        if (reply->nlmsg_type != RTM_NEWTFILTER)
                return -EBADMSG;
        r = nl_attributes(reply, sizeof(struct tcmsg), table, N_ELEMENTS(table));
        if (r < 0)
                return r;
        nl_get_text(table[TCA_KIND], kind, sizeof(kind));
        if (strcmp(kind, "u32") != 0 || !table[TCA_OPTIONS])
                return 0;
        r = nl_nested(table[TCA_OPTIONS], options, N_ELEMENTS(options));
        if (r == 0 && options[TCA_U32_ACT])
                r = action_leads_to(options[TCA_U32_ACT], walk->to);
        walk->found |= r > 0;
        return r < 0 ? r : 0;
}

int tc_redirect_find(NlSocket *sock, unsigned int index, unsigned int to) {
        struct tcmsg header = {
                .tcm_family = AF_UNSPEC,
                .tcm_ifindex = (int)index,
                .tcm_parent = INGRESS_HANDLE,
        };
        RedirectWalk walk = {.to = to};
        struct nl_msg *message = nl_message_new(RTM_GETTFILTER, 0, &header, sizeof(header), 0);
        int r;

        if (!message)
                return -ENOMEM;
        r = nl_socket_dump(sock, RTM_GETTFILTER, message, redirect_reply, &walk);
        nlmsg_free(message);
        return r < 0 ? r : walk.found;
}

/* --- token buckets --------------------------------------------------------------------------- */

int tc_tbf_parse(const struct nlmsghdr *message, TbfSpec *spec) {
        const struct nlattr *table[TCA_MAX + 1], *options[TCA_TBF_MAX + 1];
        struct tc_tbf_qopt parameters;
        struct tcmsg header;
        char kind[KIND_SIZE];
        int r;

        if (message->nlmsg_type != RTM_NEWQDISC)
                return -ENOMSG;
        r = nl_attributes(message, sizeof(header), table, TCA_MAX + 1);
        if (r < 0)
                return r;
        memcpy(&header, nl_payload(message), sizeof(header));
        nl_get_text(table[TCA_KIND], kind, sizeof(kind));
        if (strcmp(kind, "tbf") != 0 || !table[TCA_OPTIONS])
                return -ENOENT;
        r = nl_nested(table[TCA_OPTIONS], options, TCA_TBF_MAX + 1);
        if (r < 0)
                return r;
        if (!options[TCA_TBF_PARMS] || nla_len(options[TCA_TBF_PARMS]) < (int)sizeof(parameters))
                return -EBADMSG;
        memcpy(&parameters, nla_data(options[TCA_TBF_PARMS]), sizeof(parameters));
        *spec = (TbfSpec){
                .index = (unsigned int)header.tcm_ifindex,
                .rate_bytes = parameters.rate.rate,
                .limit_bytes = parameters.limit,
                .buffer_ticks = parameters.buffer,
        };
        if (options[TCA_TBF_RATE64] &&
            nla_len(options[TCA_TBF_RATE64]) >= (int)sizeof(spec->rate_bytes))
                memcpy(&spec->rate_bytes, nla_data(options[TCA_TBF_RATE64]),
                       sizeof(spec->rate_bytes));
        return 0;
}
