/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/node/suspects.h"

#include "cni/cli/install.h"
#include "cni/features/forward.h"
#include "cni/spec/attachment.h"
#include "common/base/str.h"

#include <string.h>

static bool is_bridge(const Link *link) {
        return strcmp(link->kind, "bridge") == 0;
}

/* The host's end of a pod's pair (host_link_alias()). */
static bool is_of_pod(const Link *link) {
        return str_has_prefix(link->alias, LINK_ALIAS_PREFIX);
}

static void suspect(Suspects *suspects, const RtnlEvent *event) {
        for (size_t i = 0; i < suspects->n; i++)
                if (suspects->items[i].index == event->index &&
                    suspects->items[i].kind == event->kind)
                        return;
        if (suspects->n == SUSPECTS_MAX)
                suspects->is_certain = true;
        else
                suspects->items[suspects->n++] = (Suspect){event->index, event->kind};
}

void suspects_rtnl(Suspects *suspects, const RtnlEvent *event) {
        switch (event->kind) {
        case RTNL_EVENT_LINK:
                if ((is_bridge(&event->link) || is_of_pod(&event->link)) &&
                    !(event->link.flags & IFF_UP))
                        suspect(suspects, event);
                return;
        case RTNL_EVENT_LINK_GONE:
                /* A pod's pair goes with the pod. */
                suspects->is_certain |= event->is_bridge;
                return;
        case RTNL_EVENT_PORT_GONE:
        case RTNL_EVENT_ADDRESS:
        case RTNL_EVENT_ADDRESS_GONE:
        case RTNL_EVENT_ROUTE_GONE:
                if (event->index > 0)
                        suspect(suspects, event);
                return;
        case RTNL_EVENT_FORWARDING:
                suspects->is_certain = true;
                return;
        case RTNL_EVENT_OTHER:
        case _RTNL_EVENT_N:
                return;
        }
}

bool suspect_is_broken(const Suspect *suspect, const Link *link) {
        switch (suspect->kind) {
        case RTNL_EVENT_LINK:
                return !(link->flags & IFF_UP);
        case RTNL_EVENT_PORT_GONE:
                return is_of_pod(link) && link->master == 0;
        case RTNL_EVENT_ADDRESS_GONE:
        case RTNL_EVENT_ROUTE_GONE:
                return is_bridge(link) || is_of_pod(link);
        case RTNL_EVENT_ADDRESS:
                /* It may stand for a Service (kube-ipvs0), which host ports keep off. */
                return !is_bridge(link) && !str_equal(link->kind, "veth");
        case RTNL_EVENT_OTHER:
        case RTNL_EVENT_LINK_GONE:
        case RTNL_EVENT_FORWARDING:
        case _RTNL_EVENT_N:
                break;
        }
        return false;
}

/* --- rules -------------------------------------------------------------------------------- */

static bool is_ours(const char *program) {
        for (size_t i = 0; install_names[i]; i++)
                if (str_equal(program, install_names[i]))
                        return true;
        return str_equal(program, "berth-cni");
}

/* Where the rule stands that lets pods pass iptables' FORWARD. */
static bool is_forward(const NftEvent *event) {
        return str_equal(event->chain, "FORWARD") || str_equal(event->chain, FORWARD_CHAIN) ||
               str_equal(event->chain, FORWARD_ADMIN_CHAIN);
}

void suspects_nft(Suspects *suspects, const NftEvent *event) {
        switch (event->kind) {
        case NFT_EVENT_GONE:
                suspects->rules_changed |=
                        str_equal(event->table, RULES_TABLE) || is_forward(event);
                return;
        case NFT_EVENT_NEW:
                /* With another policy, or anew. */
                suspects->rules_changed |=
                        event->object == NFT_OBJECT_CHAIN && str_equal(event->chain, "FORWARD");
                return;
        case NFT_EVENT_GENERATION:
                suspects->is_certain |= suspects->rules_changed && !is_ours(event->program);
                suspects->rules_changed = false;
                return;
        case NFT_EVENT_OTHER:
                return;
        }
}
