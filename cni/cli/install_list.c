/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The configuration list that berth-cni install writes: a file's, or one made for the addresses of
 * this node's pods. Those are known to whoever gave the node its pod CIDR; they come by flag, by
 * environment, or by a file that flanneld or a script has written.
 */

#include "cni/cli/install.h"

#include "cni/spec/conf.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NETWORK_NAME "berth"
#define BRIDGE       "berth0"

/* A Node of the API with the names of its images is tens of kilobytes. */
#define SUBNET_FILE_MAX (1U << 20)
#define POLL_MSECS      100U

/* As the kernel's bridge takes them. */
#define MTU_MIN 68U
#define MTU_MAX 65535U

typedef struct KeyOfFile {
        const char *name;
        int (*take)(PodNetwork *network, const char *value, const char *where, Error *err);
} KeyOfFile;

/* --- addresses ---------------------------------------------------------------------------- */

/* @host_bits: they may be set, as flanneld writes its bridge's address */
static int take_prefixes(IpPrefix *prefixes, size_t max, size_t *np, const char *text,
                         bool host_bits, const char *where, Error *err) {
        cleanup(freep) char *copy = strdup(text);
        char *save = NULL;

        if (!copy)
                return error_set_errno(err, ENOMEM, "%s", where);
        for (char *one = strtok_r(copy, ", \t", &save); one; one = strtok_r(NULL, ", \t", &save)) {
                char subnet[IP_TEXT_MAX];
                IpPrefix prefix;
                IpAddress first;

                if (ip_prefix_parse(one, &prefix) < 0)
                        return error_set(
                                err, ERROR_INVALID,
                                "%s: \"%s\" is not a subnet (expected for example 10.244.3.0/24)",
                                where, one);
                if (*np == max)
                        return error_set(err, ERROR_INVALID, "%s: more than %zu subnets", where,
                                         max);
                first = ip_prefix_first(&prefix);
                if (!host_bits && !ip_equal(&first, &prefix.address)) {
                        prefix.address = first;
                        return error_set(err, ERROR_INVALID,
                                         "%s: \"%s\" is an address in a subnet, not a subnet "
                                         "(expected %s)",
                                         where, one, ip_prefix_format(&prefix, subnet));
                }
                prefix.address = first;
                prefixes[(*np)++] = prefix;
        }
        return 0;
}

/* What host-local would refuse for each pod: it needs a gateway's address and a pod's. */
static int check_sizes(const PodNetwork *network, const char *where, Error *err) {
        char text[IP_TEXT_MAX];

        for (size_t i = 0; i < network->n_subnets; i++) {
                const IpPrefix *subnet = &network->subnets[i];

                if (subnet->length + 2U > ip_size(&subnet->address) * 8)
                        return error_set(err, ERROR_INVALID,
                                         "%s: %s is too small: pods need at least a /%zu", where,
                                         ip_prefix_format(subnet, text),
                                         ip_size(&subnet->address) * 8 - 2);
        }
        return 0;
}

static int take_subnets(PodNetwork *network, const char *text, bool host_bits, const char *where,
                        Error *err) {
        int r = take_prefixes(network->subnets, N_ELEMENTS(network->subnets), &network->n_subnets,
                              text, host_bits, where, err);

        return r < 0 ? r : check_sizes(network, where, err);
}

int pod_network_subnets(PodNetwork *network, const char *text, const char *where, Error *err) {
        return take_subnets(network, text, false, where, err);
}

int pod_network_cluster(PodNetwork *network, const char *text, const char *where, Error *err) {
        return take_prefixes(network->cluster, N_ELEMENTS(network->cluster), &network->n_cluster,
                             text, false, where, err);
}

static int take_flannel_subnet(PodNetwork *network, const char *text, const char *where,
                               Error *err) {
        return take_subnets(network, text, true, where, err);
}

static int check_pair(const IpPrefix *one, const IpPrefix *other, Error *err) {
        char texts[2][IP_TEXT_MAX];

        if (one->address.family != other->address.family)
                return 0;
        return error_set(err, ERROR_INVALID,
                         "the subnets %s and %s are of one address family: a node has one of each",
                         ip_prefix_format(one, texts[0]), ip_prefix_format(other, texts[1]));
}

/* What no packet of a pod could come from. */
static int check_kind(const IpPrefix *subnet, Error *err) {
        static const char *const others[] = {"127.0.0.0/8", "224.0.0.0/3", "0.0.0.0/8",
                                             "::/127",      "ff00::/8",    "fe80::/10"};
        char text[IP_TEXT_MAX];

        if (subnet->length == 0)
                return error_set(err, ERROR_INVALID,
                                 "the subnet %s is every address there is: give the node's own",
                                 ip_prefix_format(subnet, text));
        for (size_t i = 0; i < N_ELEMENTS(others); i++) {
                IpPrefix other;

                if (ip_prefix_parse(others[i], &other) == 0 &&
                    other.address.family == subnet->address.family &&
                    (ip_prefix_contains(&other, &subnet->address) ||
                     ip_prefix_contains(subnet, &other.address)))
                        return error_set(err, ERROR_INVALID,
                                         "the subnet %s has addresses of %s, which no pod can have",
                                         ip_prefix_format(subnet, text), others[i]);
        }
        return 0;
}

/* A range that is given for the family of @subnet has to hold it. */
static int check_cluster(const PodNetwork *network, const IpPrefix *subnet, Error *err) {
        const IpPrefix *outside = NULL;
        char texts[2][IP_TEXT_MAX];

        for (size_t i = 0; i < network->n_cluster; i++) {
                const IpPrefix *cluster = &network->cluster[i];

                if (cluster->address.family != subnet->address.family)
                        continue;
                if (cluster->length <= subnet->length &&
                    ip_prefix_contains(cluster, &subnet->address))
                        return 0;
                outside = cluster;
        }
        if (!outside)
                return 0;
        return error_set(err, ERROR_INVALID,
                         "the cluster's range %s does not hold the node's subnet %s",
                         ip_prefix_format(outside, texts[0]), ip_prefix_format(subnet, texts[1]));
}

int pod_network_check(const PodNetwork *network, Error *err) {
        int r = 0;

        for (size_t i = 0; i < network->n_subnets && r == 0; i++) {
                r = check_kind(&network->subnets[i], err);
                r = r < 0 ? r : check_cluster(network, &network->subnets[i], err);
                for (size_t j = 0; j < i && r == 0; j++)
                        r = check_pair(&network->subnets[j], &network->subnets[i], err);
        }
        return r;
}

int pod_network_mtu(PodNetwork *network, const char *text, const char *where, Error *err) {
        uint64_t mtu;

        if (str_parse_u64(text, MTU_MAX, &mtu) < 0 || mtu < MTU_MIN)
                return error_set(err, ERROR_INVALID, "%s: \"%s\" is not an MTU (expected %u to %u)",
                                 where, text, MTU_MIN, MTU_MAX);
        network->mtu_bytes = (unsigned int)mtu;
        return 0;
}

int pod_network_mode(PodNetwork *network, const char *text, const char *where, Error *err) {
        network->routed = str_equal(text, "routed");
        if (network->routed || str_equal(text, "bridge"))
                return 0;
        return error_set(err, ERROR_INVALID, "%s: \"%s\" must be \"bridge\" or \"routed\"", where,
                         text);
}

/* flanneld that masquerades by itself leaves nothing to do for us. */
static int take_flannel_masq(PodNetwork *network, const char *value, const char *where,
                             Error *err) {
        network->masqueraded_by_others = str_equal(value, "true");
        return 0;
}

/* --- a file ------------------------------------------------------------------------------- */

static int take_line(PodNetwork *network, char *line, const char *path, Error *err) {
        static const KeyOfFile keys[] = {
                {"FLANNEL_SUBNET", take_flannel_subnet},
                {"FLANNEL_IPV6_SUBNET", take_flannel_subnet},
                {"FLANNEL_NETWORK", pod_network_cluster},
                {"FLANNEL_IPV6_NETWORK", pod_network_cluster},
                {"FLANNEL_MTU", pod_network_mtu},
                {"FLANNEL_IPMASQ", take_flannel_masq},
                {"POD_CIDR", pod_network_subnets},
                {"CLUSTER_CIDR", pod_network_cluster},
                {"POD_MTU", pod_network_mtu},
        };
        char *equals, *value;

        line += strspn(line, " \t");
        str_trim_end(line);
        if (line[0] == '#' || line[0] == '\0')
                return 0;
        equals = strchr(line, '=');
        if (!equals)
                return take_flannel_subnet(network, line, path, err);
        *equals = '\0';
        value = equals + 1;
        if (value[0] == '"' && str_has_suffix(value + 1, "\"")) {
                value[strlen(value) - 1] = '\0';
                value++;
        }
        for (size_t i = 0; i < N_ELEMENTS(keys); i++)
                if (strcmp(line, keys[i].name) == 0)
                        return keys[i].take(network, value, path, err);
        return 0;
}

/* The Node that the API server answered with, or its Status when it refused. */
static int take_node(PodNetwork *network, const char *text, const char *path, Error *err) {
        cleanup(json_decrefp) json_t *node = NULL;
        const json_t *spec, *cidrs, *cidr;
        int r = json_text_parse(text, strlen(text), &node, err);
        size_t i;

        if (r < 0)
                return error_wrap(err, r, "%s", path);
        if (json_is_string(json_object_get(node, "message")))
                return error_set(err, ERROR_NOT_FOUND, "%s has no Node, but: %.200s", path,
                                 json_string_value(json_object_get(node, "message")));
        spec = json_object_get(node, "spec");
        cidrs = json_object_get(spec, "podCIDRs");
        json_array_foreach(cidrs, i, cidr) {
                r = !json_is_string(cidr)
                            ? 0
                            : pod_network_subnets(network, json_string_value(cidr), path, err);
                if (r < 0)
                        return r;
        }
        if (network->n_subnets == 0 && json_is_string(json_object_get(spec, "podCIDR")))
                r = pod_network_subnets(
                        network, json_string_value(json_object_get(spec, "podCIDR")), path, err);
        if (r == 0 && network->n_subnets == 0)
                return error_set(err, ERROR_NOT_FOUND,
                                 "%s: the node has no podCIDR; kube-controller-manager gives it "
                                 "with --allocate-node-cidrs",
                                 path);
        return r;
}

int pod_network_parse(PodNetwork *network, char *text, const char *path, Error *err) {
        char *save = NULL;

        if (text[strspn(text, " \t\r\n")] == '{')
                return take_node(network, text, path, err);
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                int r = take_line(network, line, path, err);

                if (r < 0)
                        return r;
        }
        return network->n_subnets > 0 ? 0
                                      : error_set(err, ERROR_NOT_FOUND, "%s names no subnet", path);
}

/* Whoever writes it may do so in pieces, or start after us: what it lacks now may come. */
int pod_network_read(PodNetwork *network, const char *path, unsigned int wait_msecs, Error *err) {
        for (unsigned int waited = 0;; waited += POLL_MSECS) {
                cleanup(freep) char *text = NULL;
                PodNetwork read = *network;
                int r;

                r = file_read_at(AT_FDCWD, path, SUBNET_FILE_MAX, &text, NULL);
                r = r < 0 ? error_set_errno(err, r, "read %s", path)
                          : pod_network_parse(&read, text, path, err);
                if (r == 0) {
                        *network = read;
                        return 0;
                }
                if (waited >= wait_msecs)
                        return r;
                clock_sleep(POLL_MSECS);
        }
}

/* --- the list ----------------------------------------------------------------------------- */

static json_t *prefix_json(const IpPrefix *prefix) {
        char text[IP_TEXT_MAX];

        return json_string(ip_prefix_format(prefix, text));
}

static json_t *cluster_json(const PodNetwork *network) {
        json_t *list = json_array();

        for (size_t i = 0; list && i < network->n_cluster; i++)
                if (json_array_append_new(list, prefix_json(&network->cluster[i])) < 0) {
                        json_decref(list);
                        return NULL;
                }
        return list;
}

int pod_network_list(const PodNetwork *network, json_t **listp, Error *err) {
        cleanup(json_decrefp) json_t *ranges = json_array(), *cluster = NULL;
        cleanup(json_decrefp) json_t *plugin = NULL;
        int r = ranges ? 0 : -1;

        for (size_t i = 0; i < network->n_subnets && r == 0; i++)
                r = json_array_append_new(
                        ranges, json_pack("[{s:o}]", "subnet", prefix_json(&network->subnets[i])));
        plugin = r < 0 ? NULL
                       : json_pack("{s:s, s:b, s:b, s:b, s:b, s:{s:b, s:b}, s:{s:s, s:O}}", "type",
                                   "berth-cni", "isDefaultGateway", 1, "ipMasq",
                                   !network->masqueraded_by_others, "firewall", 1, "macspoofchk",
                                   !network->no_claims, "capabilities", "portMappings", 1,
                                   "bandwidth", 1, "ipam", "type", "host-local", "ranges", ranges);
        if (plugin)
                r = network->routed
                            ? json_object_set_new(plugin, "mode", json_string("routed"))
                            : json_object_update_new(plugin, json_pack("{s:s, s:b}", "bridge",
                                                                       BRIDGE, "hairpinMode", 1));
        if (plugin && r == 0 && network->n_cluster > 0) {
                cluster = cluster_json(network);
                r = json_object_set(plugin, "clusterCIDR", cluster);
        }
        if (plugin && r == 0 && network->mtu_bytes > 0)
                r = json_object_set_new(plugin, "mtu", json_integer(network->mtu_bytes));
        *listp = plugin && r == 0 ? json_pack("{s:s, s:[s, s], s:s, s:[O]}", "cniVersion", "1.0.0",
                                              "cniVersions", "1.0.0", "1.1.0", "name", NETWORK_NAME,
                                              "plugins", plugin)
                                  : NULL;
        if (*listp && network->is_managed &&
            json_object_set_new(*listp, INSTALL_KEY_MANAGED, json_string("berth-node")) < 0) {
                json_decref(*listp);
                *listp = NULL;
        }
        return *listp ? 0 : error_set_errno(err, ENOMEM, "make a configuration list");
}

bool install_list_stays(const json_t *list, const json_t *wanted) {
        cleanup(json_decrefp) json_t *present = json_copy((json_t *)(uintptr_t)list);
        cleanup(json_decrefp) json_t *bare = json_copy((json_t *)(uintptr_t)wanted);

        if (json_object_get(list, INSTALL_KEY_MANAGED))
                return false;
        /* As versions before the mark wrote it for the same node. */
        (void)json_object_del(bare, INSTALL_KEY_MANAGED);
        (void)json_object_del(bare, "cniVersions");
        (void)json_object_del(present, "cniVersions");
        return !json_equal(present, bare);
}
