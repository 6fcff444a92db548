/* SPDX-License-Identifier: Apache-2.0 */

/* What of this node counts for rules: the link that leads to a pod, and the addresses of Services
 * that kube-proxy gives to the host in IPVS mode. */

#include "cni/rules/rules.h"

#include "common/base/cleanup.h"
#include "common/netlink/rtnl_link.h"
#include "common/netlink/rtnl_route.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <linux/netfilter.h>

/* Where kube-proxy puts them. */
#define SERVICES_LINK "kube-ipvs0"

/* Services of a cluster; with two families and external addresses each has a few. */
#define SERVICES_MAX 65536

#define TRIES_MAX 16

static void batch_deinit(NlBatch *batch) {
        nl_batch_deinit(batch);
}

static void rules_batch_deinit(NftBatch *batch) {
        nft_batch_deinit(batch);
}

/* --- the link to a pod -------------------------------------------------------------------- */

static int reply_route(size_t index, const struct nlmsghdr *message, void *userdata) {
        return route_parse(message, userdata);
}

int rules_link_to(const Attachment *at, const IpAddress *pod, char name[IFNAMSIZ]) {
        cleanup(batch_deinit) NlBatch batch = {0};
        Route route = {0};
        Link link;
        int r;

        if (at->gate[0]) {
                memcpy(name, at->gate, IFNAMSIZ);
                return 0;
        }
        route_get(&batch, pod->family, pod->bytes);
        r = nl_batch_run(at->rtnl, &batch, reply_route, &route);
        /* By a router: that is the way to other hosts. */
        if (r == 0 && (route.has_gateway || route.index == 0))
                r = -ENETUNREACH;
        if (r == 0)
                r = link_find(at->rtnl, route.index, NULL, &link);
        if (r == 0)
                memcpy(name, link.name, IFNAMSIZ);
        return r;
}

/* --- Services ----------------------------------------------------------------------------- */

typedef struct Services {
        uint8_t family;
        LinkAddress *wanted; /* owned; sorted by bytes */
        size_t n_wanted;
        bool *present;    /* owned; of wanted */
        NftElement *gone; /* owned */
        size_t n_gone;
        char set[RULE_SET_NAME_MAX];
} Services;

static void services_deinit(Services *services) {
        free(services->wanted);
        free(services->present);
        free(services->gone);
}

static int compare_addresses(const void *a, const void *b) {
        const LinkAddress *one = a, *other = b;

        return memcmp(one->bytes, other->bytes, sizeof(one->bytes));
}

static void key_of(const Services *services, const uint8_t *bytes, NftElement *element) {
        *element = (NftElement){.family = services->family,
                                .table = RULES_TABLE,
                                .set = services->set,
                                .n_key = (uint32_t)addr_size(services->family)};
        memcpy(element->key, bytes, element->n_key);
}

static int each_present(const NftFound *found, void *userdata) {
        static const uint8_t zero[ADDR_BYTES_MAX];
        Services *services = userdata;
        LinkAddress key = {.family = services->family};
        LinkAddress *wanted;
        void *grown;

        if (!found) {
                services->n_gone = 0;
                return 0;
        }
        if (found->n_key != addr_size(services->family) ||
            memcmp(found->key, zero, found->n_key) == 0)
                return 0;
        memcpy(key.bytes, found->key, found->n_key);
        wanted = services->n_wanted == 0 ? NULL
                                         : bsearch(&key, services->wanted, services->n_wanted,
                                                   sizeof(key), compare_addresses);
        if (wanted) {
                services->present[wanted - services->wanted] = true;
                return 0;
        }
        grown = reallocarray(services->gone, services->n_gone + 1, sizeof(*services->gone));
        if (!grown)
                return -ENOMEM;
        services->gone = grown;
        key_of(services, key.bytes, &services->gone[services->n_gone++]);
        return 0;
}

static int read_wanted(NlSocket *rtnl, unsigned int index, Services *services) {
        size_t n = 0;
        int r;

        if (index == 0)
                return 0;
        services->wanted = calloc(SERVICES_MAX, sizeof(*services->wanted));
        if (!services->wanted)
                return -ENOMEM;
        r = addr_list(rtnl, index, services->family, services->wanted, SERVICES_MAX, &n);
        if (r < 0)
                return r;
        services->n_wanted = n < SERVICES_MAX ? n : SERVICES_MAX;
        qsort(services->wanted, services->n_wanted, sizeof(*services->wanted), compare_addresses);
        services->present = calloc(services->n_wanted + 1, sizeof(bool));
        return services->present ? 0 : -ENOMEM;
}

static int make_group(NlSocket *sock, NftBatch *batch, const RuleGroup *group) {
        uint32_t generation;
        int r = nft_generation(sock, &generation);

        if (r < 0)
                return r;
        nft_batch_set_generation(batch, generation);
        r = rules_move(sock, batch, group->family);
        rule_group_make(batch, group);
        return r;
}

/* Return: 0; -EEXIST when somebody made the set in between; -ERESTART when the ruleset changed. */
static int sync_once(NlSocket *sock, Services *services) {
        cleanup(rules_batch_deinit) NftBatch batch = {0};
        RuleGroup group = {.kind = RULE_GROUP_NODE, .family = services->family};
        int r;

        rule_set_name(&group, RULE_SET_SERVICES, services->set);
        services->n_gone = 0;
        r = nft_element_dump(sock, services->family, RULES_TABLE, services->set, each_present,
                             services);
        if (r == -ENOENT && services->n_wanted == 0)
                return 0;
        nft_batch_begin(&batch);
        if (r == -ENOENT)
                r = make_group(sock, &batch, &group);
        if (r < 0)
                return r;
        for (size_t i = 0; i < services->n_gone; i++)
                nft_element_delete(&batch, &services->gone[i]);
        for (size_t i = 0; i < services->n_wanted; i++) {
                NftElement element;

                if (services->present[i])
                        continue;
                key_of(services, services->wanted[i].bytes, &element);
                nft_element_add(&batch, &element, false);
        }
        return nft_batch_run(sock, &batch, NULL);
}

static int sync_family(RulesSocket *sock, NlSocket *rtnl, unsigned int index, uint8_t family) {
        cleanup(services_deinit) Services services = {.family = family};
        int r = read_wanted(rtnl, index, &services);

        for (unsigned int try = 0; try < TRIES_MAX && r == 0; try++) {
                r = sync_once(&sock->netfilter, &services);
                if (r != -EEXIST && r != -ENOENT && r != -ERESTART)
                        return r;
                r = 0;
        }
        return r;
}

int rules_services_sync(RulesSocket *sock, NlSocket *rtnl, Error *err) {
        static const uint8_t families[] = {NFPROTO_IPV4, NFPROTO_IPV6};
        Link link;
        int r = link_find(rtnl, 0, SERVICES_LINK, &link);

        if (r == -ENODEV)
                return 0;
        r = r < 0 ? error_set_errno(err, r, "look at " SERVICES_LINK) : rules_open(sock, err);
        for (size_t i = 0; i < N_ELEMENTS(families) && r == 0; i++) {
                r = sync_family(sock, rtnl, link.index, families[i]);
                if (r < 0)
                        return error_set_errno(err, r, "addresses of Services on " SERVICES_LINK);
        }
        return r;
}
