/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What uninstalling leaves: pods keep their network, and so do the rules. The plugin that comes
 * back knows nothing of them, so its DEL leaves our elements, and the next pod with that address
 * would have the host ports of a dead one.
 */

#include "cni/cli/install.h"

#include "cni/rules/rules.h"
#include "cni/spec/attachment.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/netlink/nl_socket.h"
#include "common/netlink/rtnl_link.h"
#include "common/nft/nft_query.h"

#include <linux/netfilter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETS_MAX 256

typedef struct Table {
        uint8_t family;
        const char *name;
        bool is_there;
        char sets[SETS_MAX][40];
        size_t n_sets;
} Table;

typedef struct Left {
        Table tables[3];
        size_t n_pods, n_elements, n_now;
} Left;

static int each_table(uint8_t family, const char *name, void *userdata) {
        Left *left = userdata;

        for (size_t i = 0; i < N_ELEMENTS(left->tables); i++)
                if (!name)
                        left->tables[i].is_there = false;
                else if (left->tables[i].family == family && str_equal(name, RULES_TABLE))
                        left->tables[i].is_there = true;
        return 0;
}

static int each_set(uint8_t family, const char *name, void *userdata) {
        Table *table = userdata;

        if (!name)
                table->n_sets = 0;
        else if (table->n_sets < SETS_MAX)
                snprintf(table->sets[table->n_sets++], sizeof(table->sets[0]), "%s", name);
        return 0;
}

static int each_element(const NftFound *found, void *userdata) {
        Left *left = userdata;

        left->n_now = found ? left->n_now + 1 : 0;
        return 0;
}

static int each_pair(const Link *link, void *userdata) {
        Left *left = userdata;

        left->n_pods += str_has_prefix(link->alias, LINK_ALIAS_PREFIX);
        return 0;
}

static void count_elements(NlSocket *sock, Left *left, Table *table) {
        if (nft_set_dump(sock, table->family, RULES_TABLE, each_set, table) < 0)
                return;
        for (size_t i = 0; i < table->n_sets; i++) {
                left->n_now = 0;
                (void)nft_element_dump(sock, table->family, RULES_TABLE, table->sets[i],
                                       each_element, left);
                left->n_elements += left->n_now;
        }
}

static void read_left(Left *left) {
        cleanup(nl_socket_close) NlSocket rtnl = NL_SOCKET_NULL, nft = NL_SOCKET_NULL;

        if (nl_socket_open(&rtnl, NETLINK_ROUTE) == 0)
                (void)link_dump(&rtnl, "veth", 0, each_pair, left);
        if (nl_socket_open(&nft, NETLINK_NETFILTER) < 0 ||
            nft_table_dump(&nft, each_table, left) < 0)
                return;
        for (size_t i = 0; i < N_ELEMENTS(left->tables); i++)
                if (left->tables[i].is_there)
                        count_elements(&nft, left, &left->tables[i]);
}

char *install_left(void) {
        cleanup(strbuf_deinit) StrBuf text = {0};
        cleanup(freep) Left *left = calloc(1, sizeof(*left));
        const char *separator = "";

        if (!left)
                return NULL;
        left->tables[0] = (Table){.family = NFPROTO_IPV4, .name = "ip"};
        left->tables[1] = (Table){.family = NFPROTO_IPV6, .name = "ip6"};
        left->tables[2] = (Table){.family = NFPROTO_BRIDGE, .name = "bridge"};
        read_left(left);
        if (left->n_pods + left->n_elements == 0)
                return NULL;
        strbuf_printf(&text,
                      "left as they are: %zu pods that berth-cni attached, %zu elements of their "
                      "rules",
                      left->n_pods, left->n_elements);
        for (size_t i = 0; i < N_ELEMENTS(left->tables); i++)
                if (left->tables[i].is_there) {
                        strbuf_printf(&text, "%snft delete table %s " RULES_TABLE,
                                      *separator ? separator
                                                 : "; when these pods are gone, remove the rules: ",
                                      left->tables[i].name);
                        separator = " && ";
                }
        return strdup(strbuf_text(&text));
}
