/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From a bridge to routes, or back, on a node that has pods. A pod of a bridge asks that bridge for
 * every address of its subnet, and nobody there answers for a routed pod: the two would not reach
 * each other, in either family, and nothing would say so. So the mode is changed when the pods of
 * the other one are gone.
 */

#include "cni/cli/install.h"

#include "cni/spec/attachment.h"
#include "cni/spec/json.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/netlink/nl_socket.h"
#include "common/netlink/rtnl_link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Pods that the message names. */
#define NAMED_MAX 3

typedef enum Mode {
        MODE_NONE, /* makes no pods of ours */
        MODE_BRIDGE,
        MODE_ROUTED,
} Mode;

typedef struct Others {
        char prefix[300]; /* of the aliases of this network */
        Mode mode;        /* of the list that is to be written */
        StrBuf names;
        size_t n;
} Others;

static void others_deinit(Others *others) {
        strbuf_deinit(&others->names);
}

static Mode mode_of(const json_t *list) {
        const json_t *plugins = json_find(list, "plugins"), *plugin;
        size_t i;

        json_array_foreach(plugins, i, plugin) {
                const char *type = json_string_value(json_find(plugin, "type"));

                if (str_equal(type, "bridge"))
                        return MODE_BRIDGE;
                if (str_equal(type, "berth-cni"))
                        return str_equal(json_string_value(json_find(plugin, "mode")), "routed")
                                       ? MODE_ROUTED
                                       : MODE_BRIDGE;
        }
        return MODE_NONE;
}

/* A pair that is a port of something is a bridge's. */
static int each_pair(const Link *link, void *userdata) {
        Others *others = userdata;
        const char *container = link->alias + strlen(others->prefix);

        if (!str_has_prefix(link->alias, others->prefix) ||
            (link->master != 0) == (others->mode == MODE_BRIDGE))
                return 0;
        if (others->n++ < NAMED_MAX)
                strbuf_printf(&others->names, "%s%.*s", others->n > 1 ? ", " : "",
                              (int)(strcspn(container, "/") < 64 ? strcspn(container, "/") : 64),
                              container);
        return 0;
}

static int find_others(Others *others, Error *err) {
        cleanup(nl_socket_close) NlSocket rtnl = NL_SOCKET_NULL;
        int r = nl_socket_open(&rtnl, NETLINK_ROUTE);

        r = r < 0 ? r : link_dump(&rtnl, "veth", 0, each_pair, others);
        return r < 0 ? error_set_errno(err, r, "list links") : 0;
}

int install_refuse_mode(const json_t *list, const json_t *present, Error *err) {
        cleanup(others_deinit) Others others = {.mode = mode_of(list)};
        bool routed = others.mode == MODE_ROUTED;
        char more[48] = "";
        int r;

        if (others.mode == MODE_NONE || (present && mode_of(present) == others.mode))
                return 0;
        snprintf(others.prefix, sizeof(others.prefix), LINK_ALIAS_PREFIX "%.256s/",
                 json_string_value(json_find(list, "name")));
        r = find_others(&others, err);
        if (r < 0 || others.n == 0)
                return r;
        if (others.n > NAMED_MAX)
                snprintf(more, sizeof(more), " and %zu more", others.n - NAMED_MAX);
        return error_set(err, ERROR_CONFLICT,
                         "mode %s: this node has pods of mode %s, which pods of the same subnet "
                         "could not reach: %s%s; drain the node first, or add --switch-mode",
                         routed ? "routed" : "bridge", routed ? "bridge" : "routed",
                         strbuf_text(&others.names), more);
}
