/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/spec/host_link.h"

#include "common/base/cleanup.h"
#include "common/netns/netns.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int host_link_hold(const char *name, int *fdp) {
        char text[IFNAMSIZ + 16];

        (void)snprintf(text, sizeof(text), "berth-cni/%s", name);
        return netns_hold_name(text, fdp);
}

int attachment_hold(const uint8_t owner[OWNER_SIZE], int *fdp) {
        char text[64] = "berth-cni/attachment/";
        size_t n = strlen(text);

        for (size_t i = 0; i < OWNER_SIZE; i++)
                n += (size_t)snprintf(text + n, sizeof(text) - n, "%02x", owner[i]);
        return netns_hold_name_wait(text, ATTACHMENT_HOLD_MSECS, fdp);
}

bool host_link_lives(NlSocket *rtnl, const Link *link) {
        Link other;
        int r = link->peer_netnsid < 0 ? link_find(rtnl, link->peer, NULL, &other)
                                       : link_find_in(rtnl, link->peer_netnsid, link->peer, &other);

        /* Without an id, the namespace is the host's own, or one that goes. */
        if (link->peer_netnsid < 0 && r == 0)
                return str_equal(other.kind, "veth") && other.peer == link->index;
        return r != -EINVAL && r != -ENODEV;
}

typedef struct LinkSearch {
        char alias[LINK_ALIAS_MAX];
        Link *link;
        bool found;
} LinkSearch;

static int search_reply(size_t index, const struct nlmsghdr *reply, void *userdata) {
        LinkSearch *search = userdata;
        Link link;
        int r = link_parse(reply, &link);

        if (r < 0 || search->found || !host_link_is_ours(&link, search->alias))
                return r;
        *search->link = link;
        search->found = true;
        return 0;
}

/* Names from @first on, @n of them, in one round trip. */
static int search_names(const Attachment *at, LinkSearch *search, unsigned int first,
                        unsigned int n) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        char name[IFNAMSIZ];
        int r;

        for (unsigned int i = 0; i < n; i++) {
                host_link_name(at->owner, first + i, name);
                link_get(&batch, 0, name);
        }
        r = nl_batch_run(at->rtnl, &batch, search_reply, search);
        for (size_t i = 0; r < 0 && batch.failed < batch.n && i < batch.n; i++)
                if (batch.results[i] < 0 && batch.results[i] != -ENODEV)
                        return batch.results[i];
        return r < 0 && batch.failed == batch.n ? r : 0;
}

/* Nearly always it is the first; which of them were taken at the time of ADD nobody knows. */
int host_link_find(const Attachment *at, Link *link) {
        LinkSearch search = {.link = link};
        int r;

        host_link_alias(at->network, at->container_id, at->ifname, search.alias);
        r = search_names(at, &search, 0, 1);
        if (r == 0 && !search.found)
                r = search_names(at, &search, 1, HOST_NAME_ATTEMPTS - 1);
        if (r < 0)
                return r;
        return search.found ? 0 : -ENODEV;
}

/* "BERT": nobody else's. Two who remove at once may remove each other's, which is what both want.
 */
#define REMOVED_GROUP 0x42455254

/* That a link is gone, or that a name is taken, stops nobody. */
static int run_all(NlSocket *rtnl, NlBatch *batch) {
        int r = nl_batch_run(rtnl, batch, NULL, NULL);

        for (size_t i = 0; r < 0 && batch->failed < batch->n && i < batch->n; i++)
                if (batch->results[i] < 0 && batch->results[i] != -ENODEV)
                        return batch->results[i];
        return r == -ENODEV ? 0 : r;
}

int link_marked_remove(NlSocket *rtnl) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};

        link_delete_group(&batch, REMOVED_GROUP);
        return run_all(rtnl, &batch);
}

int link_list_mark_removed(NlSocket *rtnl, const LinkList *list) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};

        for (size_t i = 0; i < list->n; i++) {
                char name[IFNAMSIZ];

                (void)snprintf(name, sizeof(name), "gone%u", list->indices[i]);
                link_set(&batch, &(LinkChange){.set = LINK_SET_GROUP | LINK_SET_DOWN,
                                               .index = list->indices[i],
                                               .group = REMOVED_GROUP});
                link_set(&batch, &(LinkChange){.set = LINK_SET_NAME,
                                               .index = list->indices[i],
                                               .new_name = name});
        }
        return run_all(rtnl, &batch);
}

int link_list_remove(NlSocket *rtnl, LinkList *list) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};

        if (list->n == 1)
                link_delete(&batch, list->indices[0], NULL);
        for (size_t i = 0; list->n > 1 && i < list->n; i++)
                link_set(&batch, &(LinkChange){.set = LINK_SET_GROUP,
                                               .index = list->indices[i],
                                               .group = REMOVED_GROUP});
        if (list->n > 1)
                link_delete_group(&batch, REMOVED_GROUP);
        list->n = 0;
        return run_all(rtnl, &batch);
}
