/* SPDX-License-Identifier: Apache-2.0 */

/* Finding and deleting flows. */

#include "common/nft/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#define TYPE(message) ((uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | (message)))

/* Linux 5.8; the numbers of the flags are not in any header of the kernel's interface. */
#define ATTR_FILTER            25
#define ATTR_FILTER_ORIG_FLAGS 1
#define FILTER_PROTO_NUM       (1U << 3)

/* Deleted in one round; what is left is found by the next one. */
#define FLOWS_PER_ROUND NL_BATCH_MAX
#define ROUNDS_MAX      1024

#define ROOM 512U

/* The address that the reply direction comes from. */
static void parse_answers(const struct nlattr *reply, ConntrackFlow *flow) {
        const struct nlattr *tuple[CTA_TUPLE_MAX + 1];
        const struct nlattr *ip[CTA_IP_MAX + 1];
        const struct nlattr *source;

        if (!reply || nl_nested(reply, tuple, CTA_TUPLE_MAX + 1) < 0 || !tuple[CTA_TUPLE_IP] ||
            nl_nested(tuple[CTA_TUPLE_IP], ip, CTA_IP_MAX + 1) < 0)
                return;
        source = ip[CTA_IP_V4_SRC] ? ip[CTA_IP_V4_SRC] : ip[CTA_IP_V6_SRC];
        if (!source)
                return;
        flow->answers = nla_data(source);
        flow->n_answers = (size_t)nla_len(source);
}

int conntrack_parse(const struct nlmsghdr *message, ConntrackFlow *flow) {
        const struct nlattr *table[CTA_MAX + 1];
        const struct nlattr *tuple[CTA_TUPLE_MAX + 1];
        const struct nlattr *proto[CTA_PROTO_MAX + 1];
        struct nfgenmsg header;
        int r;

        *flow = (ConntrackFlow){0};
        if (message->nlmsg_type != TYPE(IPCTNL_MSG_CT_NEW))
                return -ENOMSG;
        r = nl_attributes(message, sizeof(struct nfgenmsg), table, CTA_MAX + 1);
        if (r < 0)
                return r;
        if (!table[CTA_TUPLE_ORIG])
                return -EBADMSG;
        r = nl_nested(table[CTA_TUPLE_ORIG], tuple, CTA_TUPLE_MAX + 1);
        if (r < 0)
                return r;
        if (!tuple[CTA_TUPLE_PROTO])
                return -EBADMSG;
        r = nl_nested(tuple[CTA_TUPLE_PROTO], proto, CTA_PROTO_MAX + 1);
        if (r < 0)
                return r;
        memcpy(&header, nl_payload(message), sizeof(header));
        flow->family = header.nfgen_family;
        flow->protocol = nl_get_u8(proto[CTA_PROTO_NUM], 0);
        flow->port = ntohs(nl_get_u16(proto[CTA_PROTO_DST_PORT], 0));
        parse_answers(table[CTA_TUPLE_REPLY], flow);
        flow->tuple = table[CTA_TUPLE_ORIG];
        flow->zone = table[CTA_ZONE];
        flow->id = table[CTA_ID];
        return 0;
}

typedef struct Round {
        NlBatch deletions;
        uint8_t family, protocol;
        ConntrackFilter filter;
        ConntrackStill still;
        void *userdata;
} Round;

static void put_copy(NlBatch *batch, struct nl_msg *message, const struct nlattr *attr) {
        if (attr)
                nl_batch_put(batch,
                             nla_put(message, attr->nla_type, nla_len(attr), nla_data(attr)));
}

static int each_flow(size_t index, const struct nlmsghdr *message, void *userdata) {
        struct nfgenmsg header = {.version = NFNETLINK_V0};
        Round *round = userdata;
        struct nl_msg *deletion;
        ConntrackFlow flow;
        int r;

        if (!message)
                return 0; /* deleting a flow twice does no harm */
        r = conntrack_parse(message, &flow);
        if (r < 0)
                return r;
        if (flow.protocol != round->protocol || round->deletions.n == FLOWS_PER_ROUND ||
            !round->filter(&flow, round->userdata))
                return 0;
        header.nfgen_family = round->family;
        deletion = nl_batch_add(&round->deletions, TYPE(IPCTNL_MSG_CT_DELETE), 0, &header,
                                sizeof(header), ROOM);
        if (!deletion)
                return -ENOMEM;
        put_copy(&round->deletions, deletion, flow.tuple);
        put_copy(&round->deletions, deletion, flow.zone);
        put_copy(&round->deletions, deletion, flow.id);
        return 0;
}

/* Asks for flows by protocol; a kernel that does not know the filter ignores it. */
static struct nl_msg *question(const Round *round) {
        struct nfgenmsg header = {.nfgen_family = round->family, .version = NFNETLINK_V0};
        struct nl_msg *message =
                nl_message_new(TYPE(IPCTNL_MSG_CT_GET), 0, &header, sizeof(header), ROOM);
        struct nlattr *tuple, *proto, *filter;

        if (!message)
                return NULL;
        tuple = nla_nest_start(message, CTA_TUPLE_ORIG | NLA_F_NESTED);
        proto = tuple ? nla_nest_start(message, CTA_TUPLE_PROTO | NLA_F_NESTED) : NULL;
        if (!proto || nla_put_u8(message, CTA_PROTO_NUM, round->protocol) < 0)
                goto failed;
        nla_nest_end(message, proto);
        nla_nest_end(message, tuple);
        filter = nla_nest_start(message, ATTR_FILTER | NLA_F_NESTED);
        if (!filter || nla_put_u32(message, ATTR_FILTER_ORIG_FLAGS, FILTER_PROTO_NUM) < 0)
                goto failed;
        nla_nest_end(message, filter);
        return message;
failed:
        nlmsg_free(message);
        return NULL;
}

/* Return: flows deleted; -errno. */
static int forget_some(NlSocket *sock, Round *round) {
        struct nl_msg *message = question(round);
        int r;

        if (!message)
                return -ENOMEM;
        r = nl_socket_dump(sock, TYPE(IPCTNL_MSG_CT_GET), message, each_flow, round);
        nlmsg_free(message);
        if (r < 0 || round->deletions.n == 0)
                return r;
        if (round->still && !round->still(round->userdata))
                return 0;
        /* A flow that ended by itself in between is -ENOENT. */
        r = nl_batch_run(sock, &round->deletions, NULL, NULL);
        return r == 0 || r == -ENOENT ? (int)round->deletions.n : r;
}

int conntrack_forget(NlSocket *sock, uint8_t family, uint8_t protocol, ConntrackFilter filter,
                     ConntrackStill still, void *userdata) {
        int r = 0;

        for (unsigned int i = 0; i < ROUNDS_MAX; i++) {
                Round round = {.family = family,
                               .protocol = protocol,
                               .filter = filter,
                               .still = still,
                               .userdata = userdata};

                r = forget_some(sock, &round);
                nl_batch_deinit(&round.deletions);
                if (r < FLOWS_PER_ROUND)
                        break;
        }
        return r < 0 ? r : 0;
}
