/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_NODE_SUSPECTS_H
#define BERTH_CNI_NODE_SUSPECTS_H

/*
 * Which of the kernel's announcements mean that something is broken. Pods that come and go announce
 * a lot, and none of that may cost a look at all pods: a link is suspected, and looked at again a
 * moment later; who changed rules says its name.
 */

#include "common/netlink/rtnl_event.h"
#include "common/nft/nft_event.h"

/* More at once: then all is looked at. */
#define SUSPECTS_MAX 64

typedef struct Suspect {
        unsigned int index;
        RtnlEventKind kind;
} Suspect;

/* Starts as (Suspects){0}. */
typedef struct Suspects {
        Suspect items[SUSPECTS_MAX];
        size_t n;
        bool is_certain;    /* something is broken, or may be: no look at links is needed */
        bool rules_changed; /* by the transaction whose end has not come yet */
} Suspects;

void suspects_rtnl(Suspects *suspects, const RtnlEvent *event);
void suspects_nft(Suspects *suspects, const NftEvent *event);

/* Is a link, as it is a moment later, what the announcement made it look like? */
bool suspect_is_broken(const Suspect *suspect, const Link *link);

static inline bool suspects_any(const Suspects *suspects) {
        return suspects->n > 0 || suspects->is_certain;
}

#endif
