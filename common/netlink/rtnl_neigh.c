/* SPDX-License-Identifier: Apache-2.0 */

#include "common/netlink/rtnl_neigh.h"

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
