/* SPDX-License-Identifier: Apache-2.0 */

/* Leftovers of the upstream plugins that netlink reaches: iptables-nft's tables and their own. */

#include "cni/migrate/upstream.h"

#include "common/base/cleanup.h"
#include "common/base/sha512.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#define TRIES_MAX 64

/* Rules of one pod in one chain: two per address, or one per host port. */
#define HANDLES_MAX 4096

typedef enum PlaceKind {
        PLACE_OWN_CHAIN, /* a chain of the pod, and the rules of another chain that jump there */
        PLACE_COMMENTS,  /* rules of a shared chain, told apart by their comment */
        PLACE_ADDRESSES, /* rules of a shared chain, told apart by the pod's address */
} PlaceKind;

/* Where leftovers may be. The chain that is asked for is the pod's own, or else the shared one. */
typedef struct Place {
        PlaceKind kind;
        unsigned int plugins;
        uint8_t family;
        const char *table;
        const char *shared;            /* chain */
        char own[NFT_NAME_MAX + 1];    /* chain; "" if none */
        char second[NFT_NAME_MAX + 1]; /* another chain that goes with it; "" if none */
        char comment[NFT_NAME_MAX + 1];
        bool comment_is_prefix;
} Place;

#define PLACES_MAX 24

typedef struct Places {
        Place items[PLACES_MAX];
        size_t n;
        bool has_table[PLACES_MAX];
        bool found[PLACES_MAX];
        size_t asked[PLACES_MAX]; /* which place each question is about */
        uint32_t generation;
        const Attachment *at;
} Places;

void legacy_chain_name(const char *network, const char *container_id, const char *prefix,
                       char name[LEGACY_CHAIN_SIZE]) {
        char hex[SHA512_HEX_SIZE];
        char *text = str_printf("%s%s", network, container_id);

        name[0] = '\0';
        if (!text)
                return;
        sha512_hex(text, strlen(text), hex);
        snprintf(name, LEGACY_CHAIN_SIZE, "CNI-%.3s%.*s", prefix, (int)(24 - strlen(prefix)), hex);
        free(text);
}

/* --- places ------------------------------------------------------------------------------- */

static Place *add(Places *places, PlaceKind kind, unsigned int plugins, uint8_t family) {
        Place *place = &places->items[places->n++];

        *place = (Place){.kind = kind, .plugins = plugins, .family = family};
        return place;
}

static void add_masquerade(Places *places) {
        static const uint8_t families[] = {NFPROTO_IPV4, NFPROTO_IPV6};
        const Attachment *at = places->at;
        char network[SHA512_HEX_SIZE], instance[SHA512_HEX_SIZE];
        char *text;
        Place *place;

        for (size_t i = 0; i < N_ELEMENTS(families); i++) {
                place = add(places, PLACE_OWN_CHAIN, LEGACY_BRIDGE, families[i]);
                place->table = "nat";
                place->shared = "POSTROUTING";
                legacy_chain_name(at->network, at->container_id, "", place->own);
        }
        text = str_printf("%s:%s", at->ifname, at->container_id);
        if (!text)
                return;
        sha512_hex(at->network, strlen(at->network), network);
        sha512_hex(text, strlen(text), instance);
        free(text);
        place = add(places, PLACE_COMMENTS, LEGACY_BRIDGE, NFPROTO_INET);
        place->table = "cni_plugins_masquerade";
        place->shared = "masq_checks";
        place->comment_is_prefix = true;
        snprintf(place->comment, sizeof(place->comment), "%.16s-%.16s", network, instance);
}

/* A name that would be too long was never given. */
static void add_spoof_check(Places *places) {
        const Attachment *at = places->at;
        char *own = str_printf("cni-br-iface-%s-%s", at->container_id, at->ifname);
        Place *place;

        if (own && strlen(own) + strlen("-mac") <= NFT_NAME_MAX) {
                place = add(places, PLACE_OWN_CHAIN, LEGACY_BRIDGE, NFPROTO_BRIDGE);
                place->table = "nat";
                place->shared = "PREROUTING";
                memcpy(place->own, own, strlen(own) + 1);
                memcpy(place->second, own, strlen(own));
                memcpy(place->second + strlen(own), "-mac", sizeof("-mac"));
        }
        free(own);
}

static void add_ports(Places *places) {
        static const uint8_t families[] = {NFPROTO_IPV4, NFPROTO_IPV6};
        static const char *const chains[] = {"hostports", "hostip_hostports", "masquerading"};
        const Attachment *at = places->at;

        for (size_t i = 0; i < N_ELEMENTS(families); i++) {
                Place *place = add(places, PLACE_OWN_CHAIN, LEGACY_PORTMAP, families[i]);

                place->table = "nat";
                place->shared = "CNI-HOSTPORT-DNAT";
                legacy_chain_name(at->network, at->container_id, "DN-", place->own);
                place = add(places, PLACE_OWN_CHAIN, LEGACY_PORTMAP, families[i]);
                place->table = "nat";
                place->shared = "CNI-HOSTPORT-SNAT";
                legacy_chain_name(at->network, at->container_id, "SN-", place->own);
                for (size_t j = 0; j < N_ELEMENTS(chains); j++) {
                        if (strlen(at->container_id) > NFT_NAME_MAX)
                                continue;
                        place = add(places, PLACE_COMMENTS, LEGACY_PORTMAP, families[i]);
                        place->table = "cni_hostport";
                        place->shared = chains[j];
                        snprintf(place->comment, sizeof(place->comment), "%s", at->container_id);
                }
        }
}

static void add_forward(Places *places) {
        static const uint8_t families[] = {NFPROTO_IPV4, NFPROTO_IPV6};

        for (size_t i = 0; i < N_ELEMENTS(families); i++) {
                Place *place = add(places, PLACE_ADDRESSES, LEGACY_FIREWALL, families[i]);

                place->table = "filter";
                place->shared = "CNI-FORWARD";
        }
}

static void list_places(Places *places, unsigned int plugins) {
        if (plugins & LEGACY_BRIDGE) {
                add_masquerade(places);
                add_spoof_check(places);
        }
        if (plugins & LEGACY_PORTMAP)
                add_ports(places);
        if (plugins & LEGACY_FIREWALL)
                add_forward(places);
}

static void questions_deinit(NlBatch *batch) {
        nl_batch_deinit(batch);
}

static int each_table(uint8_t family, const char *name, void *userdata) {
        Places *places = userdata;

        for (size_t i = 0; i < places->n; i++) {
                if (!name)
                        places->has_table[i] = false;
                else if (places->items[i].family == family &&
                         strcmp(places->items[i].table, name) == 0)
                        places->has_table[i] = true;
        }
        return 0;
}

static int reply(size_t index, const struct nlmsghdr *message, void *userdata) {
        Places *places = userdata;

        if (index == 0)
                return nft_parse_generation(message, &places->generation);
        places->found[places->asked[index - 1]] = true;
        return 0;
}

/* Tables first: on most nodes there are few that could hold anything. Return: how many places
 * there are; -errno. */
static int find_places(NlSocket *sock, Places *places) {
        cleanup(questions_deinit) NlBatch batch = {0};
        int n = 0, r;

        r = nft_table_dump(sock, each_table, places);
        if (r < 0)
                return r == -EOPNOTSUPP ? 0 : r;
        nft_ask_generation(&batch);
        for (size_t i = 0; i < places->n; i++) {
                const Place *place = &places->items[i];

                places->found[i] = false;
                if (!places->has_table[i])
                        continue;
                places->asked[batch.n - 1] = i;
                nft_ask_chain(&batch, place->family, place->table,
                              place->own[0] ? place->own : place->shared);
        }
        if (batch.n == 1)
                return 0;
        r = nl_batch_run(sock, &batch, reply, places);
        if (r < 0 && r != -ENOENT)
                return r;
        for (size_t i = 0; i < places->n; i++)
                n += places->found[i];
        return n;
}

/* --- rules -------------------------------------------------------------------------------- */

typedef struct Search {
        const Place *place;
        const Attachment *at;
        uint64_t handles[HANDLES_MAX];
        size_t n;
} Search;

static bool is_of_address(const Search *search, const NftRule *rule) {
        uint32_t n = search->place->family == NFPROTO_IPV4 ? 4 : 16;
        uint32_t source = n == 4 ? 12 : 8;

        if (rule->comment[0] || !rule->has_payload || rule->payload_size != n ||
            rule->payload_base != NFT_PAYLOAD_NETWORK_HEADER || rule->n_compared != n ||
            rule->differs || (rule->payload_offset != source && rule->payload_offset != source + n))
                return false;
        for (size_t i = 0; i < search->at->n_ips; i++) {
                const IpAddress *address = &search->at->ips[i].address.address;

                if (ip_size(address) == n && memcmp(address->bytes, rule->compared, n) == 0)
                        return true;
        }
        return false;
}

static bool is_leftover(const Search *search, const NftRule *rule) {
        const Place *place = search->place;

        switch (place->kind) {
        case PLACE_OWN_CHAIN:
                return strcmp(rule->target, place->own) == 0;
        case PLACE_COMMENTS:
                return place->comment_is_prefix ? str_has_prefix(rule->comment, place->comment)
                                                : strcmp(rule->comment, place->comment) == 0;
        case PLACE_ADDRESSES:
                return is_of_address(search, rule);
        }
        return false;
}

static int each_rule(const NftRule *rule, void *userdata) {
        Search *search = userdata;

        if (!rule)
                search->n = 0;
        else if (search->n < HANDLES_MAX && is_leftover(search, rule))
                search->handles[search->n++] = rule->handle;
        return 0;
}

static void delete_chain(NftBatch *batch, const Place *place, const char *chain) {
        nft_rule_delete(batch, place->family, place->table, chain, 0);
        nft_chain_delete(batch, place->family, place->table, chain);
}

static int delete_place(NlSocket *sock, NftBatch *batch, const Place *place, Search *search) {
        int r;

        search->place = place;
        search->n = 0;
        r = nft_rule_dump(sock, place->family, place->table, place->shared, each_rule, search);
        if (r < 0 && r != -ENOENT)
                return r;
        for (size_t i = 0; i < search->n; i++)
                nft_rule_delete(batch, place->family, place->table, place->shared,
                                search->handles[i]);
        if (place->own[0])
                delete_chain(batch, place, place->own);
        if (place->second[0])
                delete_chain(batch, place, place->second);
        return 0;
}

static void batch_deinit(NftBatch *batch) {
        nft_batch_deinit(batch);
}

/* Return: 0 when nothing is left; -ERESTART. */
static int del_once(NlSocket *sock, Places *places, Search *search) {
        cleanup(batch_deinit) NftBatch batch = {0};
        int r = find_places(sock, places);

        if (r <= 0)
                return r;
        nft_batch_begin(&batch);
        for (size_t i = 0; i < places->n; i++) {
                if (!places->found[i])
                        continue;
                r = delete_place(sock, &batch, &places->items[i], search);
                if (r < 0)
                        return r;
        }
        nft_batch_set_generation(&batch, places->generation);
        return nft_batch_run(sock, &batch, NULL);
}

static void freep_places(Places **placesp) {
        free(*placesp);
}

static void freep_search(Search **searchp) {
        free(*searchp);
}

int legacy_del(RulesSocket *sock, unsigned int plugins, const Attachment *at, Error *err) {
        cleanup(freep_places) Places *places = calloc(1, sizeof(*places));
        cleanup(freep_search) Search *search = calloc(1, sizeof(*search));
        Error local = {0};
        int r;

        if (!places || !search)
                return error_set_errno(err, ENOMEM, "rules of the upstream plugins");
        r = rules_open(sock, &local);
        if (r < 0 && local.code != ERROR_UNSUPPORTED) {
                if (err)
                        *err = local;
                return r;
        }
        places->at = search->at = at;
        list_places(places, plugins);
        for (unsigned int try = 0; r == 0 && try < TRIES_MAX; try++) {
                r = del_once(&sock->netfilter, places, search);
                if (r != -ERESTART)
                        break;
                r = try + 1 < TRIES_MAX ? 0 : -EAGAIN;
        }
        if (r < 0 && local.code != ERROR_UNSUPPORTED)
                return error_set_errno(err, r, "remove rules of the upstream plugins%s%s",
                                       sock->netfilter.text[0] ? ": " : "", sock->netfilter.text);
        return legacy_xtables_del(plugins, at, err);
}
