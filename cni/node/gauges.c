/* SPDX-License-Identifier: Apache-2.0 */

/* What there is on the node, counted: leases, elements of rules, pairs. */

#include "cni/node/metrics.h"

#include "cni/rules/rules.h"
#include "cni/spec/attachment.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>

static uint64_t count_leases(int dir_fd, const char *name) {
        int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        cleanup(closedirp) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        const struct dirent *entry;
        IpAddress address;
        uint64_t n = 0;

        if (fd >= 0 && !dir)
                (void)close(fd);
        while (dir && (entry = readdir(dir)))
                n += ip_parse(entry->d_name, &address) == 0;
        return n;
}

static void read_leases(const char *cache, NodeGauges *gauges) {
        cleanup(freep) char *path = str_printf("%s/networks", cache);
        cleanup(closedirp) DIR *dir = path ? opendir(path) : NULL;
        const struct dirent *entry;

        while (dir && (entry = readdir(dir)) && gauges->n_networks < N_ELEMENTS(gauges->networks)) {
                if (entry->d_name[0] == '.' || entry->d_type == DT_REG ||
                    strlen(entry->d_name) >= sizeof(gauges->networks[0].network))
                        continue;
                snprintf(gauges->networks[gauges->n_networks].network,
                         sizeof(gauges->networks[0].network), "%s", entry->d_name);
                gauges->networks[gauges->n_networks++].leases =
                        count_leases(dirfd(dir), entry->d_name);
        }
}

static int each_set(uint8_t family, const char *name, void *userdata) {
        NodeGauges *gauges = userdata;

        if (!name)
                return 0; /* begins again: a set that is told twice is counted once below */
        for (size_t i = 0; i < gauges->n_sets; i++)
                if (gauges->sets[i].family == family && str_equal(gauges->sets[i].set, name))
                        return 0;
        if (gauges->n_sets < N_ELEMENTS(gauges->sets)) {
                gauges->sets[gauges->n_sets].family = family;
                snprintf(gauges->sets[gauges->n_sets++].set, sizeof(gauges->sets[0].set), "%s",
                         name);
        }
        return 0;
}

static int each_element(const NftFound *found, void *userdata) {
        uint64_t *n = userdata;

        *n = found ? *n + 1 : 0;
        return 0;
}

static void socket_close(NlSocket *sock) {
        nl_socket_close(sock);
}

static void read_sets(NodeGauges *gauges) {
        static const uint8_t families[] = {NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_BRIDGE};
        cleanup(socket_close) NlSocket sock = NL_SOCKET_NULL;

        if (nl_socket_open(&sock, NETLINK_NETFILTER) < 0)
                return;
        for (size_t i = 0; i < N_ELEMENTS(families); i++)
                (void)nft_set_dump(&sock, families[i], RULES_TABLE, each_set, gauges);
        for (size_t i = 0; i < gauges->n_sets; i++)
                (void)nft_element_dump(&sock, gauges->sets[i].family, RULES_TABLE,
                                       gauges->sets[i].set, each_element,
                                       &gauges->sets[i].elements);
}

static int each_link(const Link *link, void *userdata) {
        NodeGauges *gauges = userdata;

        gauges->pairs += str_has_prefix(link->alias, LINK_ALIAS_PREFIX);
        return 0;
}

static void read_pairs(NodeGauges *gauges) {
        cleanup(socket_close) NlSocket sock = NL_SOCKET_NULL;

        if (nl_socket_open(&sock, NETLINK_ROUTE) == 0)
                (void)link_dump(&sock, "veth", 0, each_link, gauges);
}

void node_gauges_read(const char *cache, NodeGauges *gauges) {
        *gauges = (NodeGauges){0};
        read_leases(cache, gauges);
        read_sets(gauges);
        read_pairs(gauges);
}
