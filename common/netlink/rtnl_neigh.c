/* SPDX-License-Identifier: Apache-2.0 */

#include "common/netlink/rtnl_neigh.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

void neighbour_set(NlBatch *batch, const Neighbour *neighbour) {
        struct ndmsg header = {
                .ndm_family = neighbour->family,
                .ndm_ifindex = (int)neighbour->index,
                .ndm_state = NUD_PERMANENT,
        };
        struct nl_msg *message = nl_batch_add(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE,
                                              &header, sizeof(header), 64);

        if (!message)
                return;
        nl_batch_put(batch, nla_put(message, NDA_DST, (int)addr_size(neighbour->family),
                                    neighbour->bytes));
        nl_batch_put(batch, nla_put(message, NDA_LLADDR, sizeof(neighbour->mac), neighbour->mac));
}

typedef struct NeighbourWalk {
        unsigned int index;
        Neighbour *items; /* owned */
        size_t n;
} NeighbourWalk;

static int walk_add(NeighbourWalk *walk, const Neighbour *neighbour) {
        Neighbour *items = reallocarray(walk->items, walk->n + 1, sizeof(*items));

        if (!items)
                return -ENOMEM;
        walk->items = items;
        items[walk->n++] = *neighbour;
        return 0;
}

static int walk_reply(size_t index, const struct nlmsghdr *reply, void *userdata) {
        const struct nlattr *table[NDA_LLADDR + 1] = {0};
        NeighbourWalk *walk = userdata;
        Neighbour neighbour = {0};
        struct ndmsg header;
        int r;

        if (!reply) {
                walk->n = 0;
                return 0;
        }
        if (reply->nlmsg_type != RTM_NEWNEIGH)
                return -EBADMSG;
        r = nl_attributes(reply, sizeof(header), table, N_ELEMENTS(table));
        if (r < 0)
                return r;
        memcpy(&header, nl_payload(reply), sizeof(header));
        /* A bridge tells of its own (AF_BRIDGE), and an old kernel of every link. */
        if (header.ndm_ifindex != (int)walk->index || !(header.ndm_state & NUD_PERMANENT) ||
            (header.ndm_family != AF_INET && header.ndm_family != AF_INET6) || !table[NDA_DST] ||
            (size_t)nla_len(table[NDA_DST]) != addr_size(header.ndm_family) || !table[NDA_LLADDR] ||
            nla_len(table[NDA_LLADDR]) != sizeof(neighbour.mac))
                return 0;
        neighbour.index = walk->index;
        neighbour.family = header.ndm_family;
        memcpy(neighbour.bytes, nla_data(table[NDA_DST]), addr_size(header.ndm_family));
        memcpy(neighbour.mac, nla_data(table[NDA_LLADDR]), sizeof(neighbour.mac));
        return walk_add(walk, &neighbour);
}

int neighbour_dump(NlSocket *sock, unsigned int index, NeighbourEach each, void *userdata) {
        struct ndmsg header = {.ndm_family = AF_UNSPEC};
        NeighbourWalk walk = {.index = index};
        struct nl_msg *message = nl_message_new(RTM_GETNEIGH, 0, &header, sizeof(header), 16);
        int r;

        if (!message)
                return -ENOMEM;
        r = nla_put_u32(message, NDA_IFINDEX, index) < 0
                    ? -ENOMEM
                    : nl_socket_dump(sock, RTM_GETNEIGH, message, walk_reply, &walk);
        nlmsg_free(message);
        for (size_t i = 0; r >= 0 && i < walk.n; i++)
                r = each(&walk.items[i], userdata);
        free(walk.items);
        return r < 0 ? r : 0;
}
