/* SPDX-License-Identifier: Apache-2.0 */

/* subnet.env and the delegate's configuration. Pure. */

#include "cni/commands/flannel.h"

#include "cni/spec/conf.h"
#include "cni/spec/json.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* --- the file ----------------------------------------------------------------------------- */

static int prefix_parse(const char *key, const char *text, uint8_t family, IpPrefix *prefix,
                        Error *err) {
        if (ip_prefix_parse(text, prefix) < 0 || prefix->address.family != family)
                return error_set(err, ERROR_INVALID,
                                 "%s: \"%s\" is not an IPv%d address with a length", key, text,
                                 family == AF_INET ? 4 : 6);
        prefix->address = ip_prefix_first(prefix);
        return 0;
}

static bool has_network(const FlannelFamily *family, const IpPrefix *network) {
        for (size_t i = 0; i < family->n_networks; i++)
                if (ip_prefix_equal(&family->networks[i], network))
                        return true;
        return false;
}

static int networks_parse(const char *key, char *text, uint8_t number, FlannelFamily *family,
                          Error *err) {
        char *rest = text, *one;

        family->n_networks = 0;
        while ((one = strsep(&rest, ","))) {
                IpPrefix network;
                int r = prefix_parse(key, one, number, &network, err);

                if (r < 0)
                        return r;
                if (has_network(family, &network))
                        continue;
                if (family->n_networks == FLANNEL_NETWORKS_MAX)
                        return error_set(err, ERROR_RANGE, "%s has more than %d networks", key,
                                         FLANNEL_NETWORKS_MAX);
                family->networks[family->n_networks++] = network;
        }
        return 0;
}

static int subnet_parse(const char *key, const char *text, uint8_t number, FlannelFamily *family,
                        Error *err) {
        int r = prefix_parse(key, text, number, &family->subnet, err);

        family->has_subnet = r == 0;
        return r;
}

static int line_parse(FlannelSubnet *subnet, const char *key, char *value, Error *err) {
        uint64_t number;

        if (str_equal(key, "FLANNEL_NETWORK"))
                return networks_parse(key, value, AF_INET, &subnet->v4, err);
        if (str_equal(key, "FLANNEL_IPV6_NETWORK"))
                return networks_parse(key, value, AF_INET6, &subnet->v6, err);
        if (str_equal(key, "FLANNEL_SUBNET"))
                return subnet_parse(key, value, AF_INET, &subnet->v4, err);
        if (str_equal(key, "FLANNEL_IPV6_SUBNET"))
                return subnet_parse(key, value, AF_INET6, &subnet->v6, err);
        if (str_equal(key, "FLANNEL_MTU")) {
                if (str_parse_u64(value, UINT32_MAX, &number) < 0)
                        return error_set(err, ERROR_INVALID, "%s: \"%s\" is not a number of bytes",
                                         key, value);
                subnet->mtu_bytes = (uint32_t)number;
                subnet->has_mtu = true;
        } else if (str_equal(key, "FLANNEL_IPMASQ")) {
                subnet->masquerade = str_equal(value, "true");
                subnet->has_masquerade = true;
        }
        return 0;
}

static int missing(const FlannelSubnet *subnet, const char *path, Error *err) {
        const char *what = subnet->v4.n_networks + subnet->v6.n_networks == 0
                                   ? "FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK"
                           : !subnet->v4.has_subnet && !subnet->v6.has_subnet
                                   ? "FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET"
                           : !subnet->has_mtu        ? "FLANNEL_MTU"
                           : !subnet->has_masquerade ? "FLANNEL_IPMASQ"
                                                     : NULL;

        return what ? error_set(err, ERROR_AGAIN, "%s is missing %s", path, what) : 0;
}

int flannel_subnet_parse(FlannelSubnet *subnet, char *text, const char *path, Error *err) {
        char *rest = text, *line;

        while ((line = strsep(&rest, "\n"))) {
                char *value = strchr(line, '=');
                int r;

                if (!value)
                        continue;
                *value++ = '\0';
                str_trim_end(value);
                r = line_parse(subnet, line, value, err);
                if (r < 0)
                        return error_wrap(err, r, "%s", path);
        }
        return missing(subnet, path, err);
}

/* --- the delegate ------------------------------------------------------------------------- */

/* json_object_set_new() that tells of memory. */
static int set_new(json_t *object, const char *key, json_t *value, Error *err) {
        return json_object_set_new(object, key, value) < 0
                       ? error_set_errno(err, ENOMEM, "delegate")
                       : 0;
}

static int set_default(json_t *object, const char *key, json_t *value, Error *err) {
        if (!json_object_get(object, key))
                return set_new(object, key, value, err);
        json_decref(value);
        return 0;
}

static json_t *prefix_object(const char *key, const IpPrefix *prefix) {
        char text[IP_TEXT_MAX];

        return json_pack("{s:s}", key, ip_prefix_format(prefix, text));
}

/* One range of one subnet for each family. */
static json_t *ranges(const FlannelSubnet *subnet) {
        const FlannelFamily *const families[] = {&subnet->v4, &subnet->v6};
        json_t *list = json_array();

        for (size_t i = 0; i < N_ELEMENTS(families); i++)
                if (families[i]->has_subnet)
                        (void)json_array_append_new(
                                list,
                                json_pack("[o]", prefix_object("subnet", &families[i]->subnet)));
        return list;
}

/* What the configuration says, then the whole network. */
static int add_routes(json_t *ipam, const FlannelSubnet *subnet, Error *err) {
        const FlannelFamily *const families[] = {&subnet->v4, &subnet->v6};
        const json_t *given = NULL;
        json_t *routes;
        int r = json_read_array(ipam, "routes", &given, err);

        if (r < 0)
                return error_wrap(err, r, "ipam");
        routes = given ? json_deep_copy(given) : json_array();
        for (size_t i = 0; i < N_ELEMENTS(families); i++)
                for (size_t j = 0; j < families[i]->n_networks; j++)
                        (void)json_array_append_new(
                                routes, prefix_object("dst", &families[i]->networks[j]));
        return set_new(ipam, "routes", routes, err);
}

static int add_ipam(json_t *delegate, const json_t *conf, const FlannelSubnet *subnet, Error *err) {
        const json_t *given = NULL;
        json_t *ipam;
        int r = json_read_object(conf, "ipam", &given, err);

        if (r < 0)
                return r;
        ipam = given ? json_deep_copy(given) : json_object();
        r = set_new(delegate, "ipam", ipam, err);
        r = r < 0 ? r : set_default(ipam, "type", json_string("host-local"), err);
        if (r < 0 || !subnet)
                return r;
        r = set_new(ipam, "ranges", ranges(subnet), err);
        return r < 0 ? r : add_routes(ipam, subnet, err);
}

/* What flannel says itself; and it is no delegate of itself, which would never end. */
static int refuse(const json_t *delegate, Error *err) {
        static const char *const own[] = {"name", "ipam"};
        const json_t *type = json_object_get(delegate, "type");

        if (type && !json_is_string(type))
                return error_set(err, ERROR_INVALID,
                                 "\"delegate\": \"type\" must be a string, not %s",
                                 json_type_name(type));
        if (str_equal(json_string_value(type), role_name(ROLE_FLANNEL)) ||
            str_equal(json_string_value(type), "") ||
            (type && strchr(json_string_value(type), '/')))
                return error_set(err, ERROR_INVALID,
                                 "\"delegate\": \"type\": \"%s\" is not the name of another plugin",
                                 json_string_value(type));
        for (size_t i = 0; i < N_ELEMENTS(own); i++)
                if (json_object_get(delegate, own[i]))
                        return error_set(err, ERROR_INVALID,
                                         "\"delegate\" must not have \"%s\": flannel sets it",
                                         own[i]);
        return 0;
}

static int add_defaults(json_t *delegate, const FlannelSubnet *subnet, Error *err) {
        int r = set_default(delegate, "type", json_string("bridge"), err);

        if (r == 0 && str_equal(json_string_value(json_object_get(delegate, "type")), "bridge"))
                r = set_default(delegate, "isGateway", json_true(), err);
        if (r < 0 || !subnet)
                return r;
        r = set_default(delegate, "ipMasq", json_boolean(!subnet->masquerade), err);
        return r < 0 ? r
                     : set_default(delegate, "mtu", json_integer((json_int_t)subnet->mtu_bytes),
                                   err);
}

static int fill(json_t *delegate, const json_t *conf, const FlannelSubnet *subnet, Error *err) {
        static const char *const passed[] = {"name", "cniVersion", "runtimeConfig"};
        int r = add_defaults(delegate, subnet, err);

        for (size_t i = 0; i < N_ELEMENTS(passed) && r == 0; i++) {
                json_t *value = json_find(conf, passed[i]);

                if (value && !str_equal(json_string_value(value), ""))
                        r = set_new(delegate, passed[i], json_incref(value), err);
        }
        return r < 0 ? r : add_ipam(delegate, conf, subnet, err);
}

int flannel_delegate(const json_t *conf, const FlannelSubnet *subnet, json_t **delegatep,
                     Error *err) {
        const json_t *given = NULL;
        json_t *delegate;
        int r = json_read_object(conf, "delegate", &given, err);

        r = r < 0 ? r : refuse(given, err);
        if (r < 0)
                return r;
        delegate = given ? json_deep_copy(given) : json_object();
        r = delegate ? fill(delegate, conf, subnet, err) : error_set_errno(err, ENOMEM, "delegate");
        if (r < 0) {
                json_decref(delegate);
                return r;
        }
        *delegatep = delegate;
        return 0;
}

/* A key that ADD refuses is left out, and what it asked for was not made. */
static void leave_out_refused(json_t *conf) {
        json_t *delegate = json_object_get(conf, "delegate"), *ipam = json_object_get(conf, "ipam");
        const json_t *routes = json_object_get(ipam, "routes");
        Error ignored = {0};

        if (!json_is_object(delegate))
                (void)json_object_del(conf, "delegate");
        (void)json_object_del(delegate, "name");
        (void)json_object_del(delegate, "ipam");
        if (refuse(delegate, &ignored) < 0)
                (void)json_object_del(delegate, "type");
        if (!json_is_object(ipam))
                (void)json_object_del(conf, "ipam");
        if (routes && !json_is_array(routes))
                (void)json_object_del(ipam, "routes");
}

int flannel_delegate_undo(const json_t *conf, json_t **delegatep, Error *err) {
        cleanup(json_decrefp) json_t *copy = json_deep_copy(conf);

        if (!copy)
                return error_set_errno(err, ENOMEM, "delegate");
        leave_out_refused(copy);
        return flannel_delegate(copy, NULL, delegatep, err);
}
