/* SPDX-License-Identifier: Apache-2.0 */

/* GC: what belongs to no valid attachment goes. The runtime promises that no ADD or DEL is under
 * way. Errors do not stop it. */

#include "cni/commands/request.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Attachments of one node. */
#define GC_OWNERS_MAX 65536

static int compare_owners(const void *a, const void *b) {
        return memcmp(a, b, OWNER_SIZE);
}

int gc_parse(const NetConf *conf, uint8_t (**ownersp)[OWNER_SIZE], size_t *np, Error *err) {
        cleanup(freep) uint8_t(*owners)[OWNER_SIZE] = NULL;
        const json_t *list = NULL;
        size_t n;
        int r;

        r = json_read_array(conf->json, "cni.dev/valid-attachments", &list, err);
        /* libcni writes this name as well, by mistake; some versions only this one. */
        if (r == 0 && !list)
                r = json_read_array(conf->json, "cni.dev/attachments", &list, err);
        if (r < 0 || !list)
                return r < 0 ? r : GC_E_NO_LIST;
        n = json_array_size(list);
        if (n > GC_OWNERS_MAX)
                return error_set(err, ERROR_RANGE, "more than %d valid attachments", GC_OWNERS_MAX);
        owners = calloc(n ? n : 1, sizeof(*owners));
        if (!owners)
                return error_set_errno(err, ENOMEM, "valid attachments");
        for (size_t i = 0; i < n; i++) {
                const json_t *item = json_array_get(list, i);
                const char *id = "", *ifname = "";

                r = json_read_text(item, "containerID", &id, err);
                r = r < 0 ? r : json_read_text(item, "ifname", &ifname, err);
                if (r < 0)
                        return error_wrap(err, r, "cni.dev/valid-attachments[%zu]", i);
                /* An attachment that we cannot read must not be taken for one that is gone. */
                if (id[0] == '\0' || ifname[0] == '\0')
                        return error_set(err, ERROR_INVALID,
                                         "cni.dev/valid-attachments[%zu] lacks containerID or "
                                         "ifname",
                                         i);
                owner_of(conf->name, id, ifname, owners[i]);
        }
        qsort(owners, n, OWNER_SIZE, compare_owners);
        *np = n;
        *ownersp = ptr_steal(&owners);
        return 0;
}

typedef struct LinkSweep {
        const GcRequest *gc;
        const char *bridge;
        unsigned int *indices; /* owned */
        size_t n, n_allocated;
        bool nameless; /* this pass looks for pairs without an alias */
} LinkSweep;

static int sweep_add(LinkSweep *sweep, unsigned int index) {
        if (sweep->n == sweep->n_allocated) {
                size_t n = sweep->n_allocated ? sweep->n_allocated * 2 : 16;
                unsigned int *indices = reallocarray(sweep->indices, n, sizeof(*indices));

                if (!indices)
                        return -ENOMEM;
                sweep->indices = indices;
                sweep->n_allocated = n;
        }
        sweep->indices[sweep->n++] = index;
        return 0;
}

static int sweep_link(const Link *link, void *userdata) {
        LinkSweep *sweep = userdata;
        uint8_t owner[OWNER_SIZE];
        const char *id, *ifname;
        Link copy = *link;

        if (link->alias[0] == '\0')
                return sweep->nameless && host_link_is_ours(link, "")
                               ? sweep_add(sweep, link->index)
                               : 0;
        if (sweep->nameless || !host_link_alias_split(copy.alias, sweep->gc->network, &id, &ifname))
                return 0;
        /* A hashed id cannot be compared: such a pair is left to its DEL. */
        if (id[0] == '#')
                return 0;
        owner_of(sweep->gc->network, id, ifname, owner);
        if (gc_keeps(sweep->gc, owner) ||
            gc_tells(sweep->gc, "link %s of container %s, %s", link->name, id, ifname))
                return 0;
        return sweep_add(sweep, link->index);
}

/* Many at a time: alone, each would wait 20 ms. */
static void remove_links(LinkSweep *sweep, Error *err) {
        LinkList list = {.n = 0};

        for (size_t i = 0; i < sweep->n; i++) {
                Error failed = {0};
                int r;

                link_list_add(&list, sweep->indices[i]);
                if (list.n < LINK_LIST_MAX && i + 1 < sweep->n)
                        continue;
                r = link_list_remove(sweep->gc->rtnl, &list);
                if (r < 0) {
                        (void)error_set_errno(&failed, r, "remove links");
                        error_join(err, &failed);
                }
        }
        sweep->n = 0;
}

static void forget(LinkSweep *sweep, size_t i) {
        sweep->indices[i] = sweep->indices[--sweep->n];
}

/*
 * A pair without an alias was left by an ADD that was killed between two messages, or is being made
 * right now. Who makes one holds its name, however long the kernel lets him wait. If nobody holds
 * it, and the same link, by number, still has no alias, it is abandoned. The name is not ours for
 * longer than that look.
 */
static bool is_abandoned(const GcRequest *gc, unsigned int index) {
        cleanup(closep) int fd = -1;
        Link link;

        if (link_find(gc->rtnl, index, NULL, &link) < 0 || host_link_hold(link.name, &fd) < 0)
                return false;
        return link_find(gc->rtnl, index, NULL, &link) == 0 && link.alias[0] == '\0';
}

static int sweep_nameless(const GcRequest *gc, Error *err) {
        LinkSweep sweep = {.gc = gc, .nameless = true};
        int r = link_dump(gc->rtnl, "veth", 0, sweep_link, &sweep);

        for (size_t i = sweep.n; i-- > 0;)
                if (!is_abandoned(gc, sweep.indices[i]) ||
                    gc_tells(gc, "link number %u, which an ADD that was killed left",
                             sweep.indices[i]))
                        forget(&sweep, i);
        if (r == 0)
                remove_links(&sweep, err);
        free(sweep.indices);
        return r;
}

static void sweep_links(const GcRequest *gc, Error *err) {
        LinkSweep sweep = {.gc = gc};
        Error failed = {0};
        int r;

        r = link_dump(gc->rtnl, "veth", 0, sweep_link, &sweep);
        if (r == 0)
                remove_links(&sweep, err);
        free(sweep.indices);
        r = r < 0 ? r : sweep_nameless(gc, err);
        if (r < 0) {
                (void)error_set_errno(&failed, r, "list links");
                error_join(err, &failed);
        }
}

static int collect(Request *request, bool links, Error *err) {
        cleanup(freep) uint8_t(*owners)[OWNER_SIZE] = NULL;
        cleanup(json_decrefp) json_t *told = request->env.tell ? json_array() : NULL;
        GcRequest gc = {.network = request->conf.name, .rtnl = &request->rtnl};
        Error failed = {0};
        int r;

        r = gc_parse(&request->conf, &owners, &gc.n_owners, err);
        if (r == GC_E_NO_LIST)
                return 0;
        r = r < 0 ? r : request_open(request, err);
        r = r < 0 ? r : request_prepare(request, err);
        if (r < 0)
                return r;
        gc.owners = (const uint8_t(*)[OWNER_SIZE])owners;
        gc.told = told;
        if (links)
                sweep_links(&gc, err);
        features_gc(&request->features, &gc, err);
        if (links && request->conf.ipam_type[0] != '\0' &&
            ipam_gc(&request->ipam, &gc, &failed) < 0)
                error_join(err, &failed);
        if (told)
                request_tell(request, "garbage", told);
        return error_is_set(err) ? -EIO : 0;
}

int link_gc(Request *request, Error *err) {
        return collect(request, true, err);
}

int chain_gc(Request *request, Error *err) {
        return collect(request, false, err);
}
