/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Pods that seem to be gone and are not. A pod is taken for gone whose namespace cannot be opened
 * by the path that the runtime noted, and in a container whose mounts are not right no path can be.
 * Its pair of links goes with its namespace: where that is there, so is the pod.
 */

#include "cni/commands/repair.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/str.h"

/* A namespace that is gone takes its links along a moment later. */
#define TRIES     20U
#define TRY_MSECS 100U

typedef struct Unseen {
        const PodNotes *notes;
        unsigned int n;
        const PodNote *first; /* borrowed */
} Unseen;

static int each_link(const Link *link, void *userdata) {
        Unseen *unseen = userdata;

        for (size_t i = 0; i < unseen->notes->n; i++) {
                const PodNote *note = &unseen->notes->items[i];
                char alias[LINK_ALIAS_MAX];

                if (note->lives)
                        continue;
                host_link_alias(note->network, note->container, note->ifname, alias);
                if (!str_equal(alias, link->alias))
                        continue;
                unseen->n++;
                unseen->first = note;
        }
        return 0;
}

static void socket_close(NlSocket *sock) {
        nl_socket_close(sock);
}

static int count_unseen(const PodNotes *notes, Unseen *unseen, Error *err) {
        cleanup(socket_close) NlSocket rtnl = NL_SOCKET_NULL;
        int r = nl_socket_open(&rtnl, NETLINK_ROUTE);

        *unseen = (Unseen){.notes = notes};
        r = r < 0 ? r : link_dump(&rtnl, "veth", 0, each_link, unseen);
        return r < 0 ? error_set_errno(err, r, "list links") : 0;
}

int pods_need_seen(const PodNotes *notes, Error *err) {
        Unseen unseen = {0};

        for (unsigned int i = 0; i < TRIES; i++) {
                int r = count_unseen(notes, &unseen, err);

                if (r < 0 || unseen.n == 0)
                        return r;
                clock_sleep(TRY_MSECS);
        }
        return error_set(err, ERROR_PRECONDITION,
                         "nothing is collected: %u pods have links, and their namespaces cannot be "
                         "seen here (%.100s of container %.12s): run it where they can be (in a "
                         "container, mount the directory with mountPropagation HostToContainer), "
                         "or name each pod that runs with --keep",
                         unseen.n, unseen.first->netns, unseen.first->container);
}
