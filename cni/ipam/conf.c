/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/ipam/conf.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int read_ip(const json_t *object, const char *key, IpAddress *ipp, Error *err) {
        const char *text = NULL;
        int r = json_read_text(object, key, &text, err);

        if (r < 0 || str_is_empty(text))
                return r;
        if (ip_parse(text, ipp) < 0)
                return error_set(err, ERROR_INVALID, "\"%s\": \"%s\" is not an IP address", key,
                                 text);
        return 0;
}

static int range_parse(const json_t *json, IpamRange *range, Error *err) {
        const char *subnet = NULL;
        int r;

        if (!json_is_object(json))
                return error_set(err, ERROR_INVALID, "a range must be an object, not %s",
                                 json_type_name(json));
        r = json_read_text(json, "subnet", &subnet, err);
        if (r < 0)
                return r;
        if (!subnet || ip_prefix_parse(subnet, &range->subnet) < 0)
                return error_set(err, ERROR_INVALID, "\"subnet\": \"%s\" is not a CIDR address",
                                 subnet ? subnet : "");
        r = read_ip(json, "rangeStart", &range->start, err);
        r = r < 0 ? r : read_ip(json, "rangeEnd", &range->end, err);
        return r < 0 ? r : read_ip(json, "gateway", &range->gateway, err);
}

/* Appends one set of @n ranges to the configuration. */
static int set_new(HostLocalConf *conf, size_t n, IpamSet **setp, Error *err) {
        IpamSet *set = &conf->sets[conf->n_sets];

        if (conf->n_sets == IPAM_SETS_MAX || n > IPAM_RANGES_MAX)
                return error_set(err, ERROR_INVALID,
                                 "more than %d range sets, or more than %d ranges in one",
                                 IPAM_SETS_MAX, IPAM_RANGES_MAX);
        set->ranges = calloc(n ? n : 1, sizeof(*set->ranges));
        if (!set->ranges)
                return error_set_errno(err, ENOMEM, "ranges");
        set->n = n;
        conf->n_sets++;
        *setp = set;
        return 0;
}

/* [[range, ...], ...] */
static int sets_parse(const json_t *object, const char *key, HostLocalConf *conf, Error *err) {
        const json_t *list = NULL, *ranges;
        size_t i, j;
        int r = json_read_array(object, key, &list, err);

        for (i = 0; r == 0 && i < json_array_size(list); i++) {
                IpamSet *set = NULL;

                ranges = json_array_get(list, i);
                if (!json_is_array(ranges))
                        return error_set(err, ERROR_INVALID, "%s[%zu] must be a list of ranges",
                                         key, i);
                r = set_new(conf, json_array_size(ranges), &set, err);
                for (j = 0; r == 0 && j < set->n; j++)
                        r = range_parse(json_array_get(ranges, j), &set->ranges[j], err);
                if (r < 0)
                        return error_wrap(err, r, "%s[%zu]", key, i);
        }
        return r;
}

/* The order of upstream: runtimeConfig.ipRanges, the range at the top, "ranges". */
static int all_sets_parse(const NetConf *net, HostLocalConf *conf, Error *err) {
        IpamSet *set = NULL;
        int r;

        conf->sets = calloc(IPAM_SETS_MAX, sizeof(*conf->sets));
        if (!conf->sets)
                return error_set_errno(err, ENOMEM, "ranges");
        r = sets_parse(net->runtime, "ipRanges", conf, err);
        if (r < 0)
                return r;
        if (json_find(net->ipam, "subnet")) {
                r = set_new(conf, 1, &set, err);
                r = r < 0 ? r : range_parse(net->ipam, &set->ranges[0], err);
                if (r < 0)
                        return r;
        }
        return sets_parse(net->ipam, "ranges", conf, err);
}

static int families_check(CniVersion version, size_t n_v4, size_t n_v6, Error *err) {
        if (version >= CNI_0_3_0 || (n_v4 <= 1 && n_v6 <= 1))
                return 0;
        return error_set(err, ERROR_INVALID,
                         "CNI version %s does not support more than 1 address per family",
                         cni_version_name(version));
}

static int sets_check(const NetConf *net, HostLocalConf *conf, Error *err) {
        size_t n_v4 = 0, n_v6 = 0;
        int r;

        if (conf->n_sets == 0)
                return error_set(err, ERROR_INVALID, "no IP ranges specified");
        for (size_t i = 0; i < conf->n_sets; i++) {
                r = ipam_set_complete(&conf->sets[i], err);
                if (r < 0)
                        return error_wrap(err, r, "invalid range set %zu", i);
                if (conf->sets[i].ranges[0].subnet.address.family == AF_INET)
                        n_v4++;
                else
                        n_v6++;
        }
        r = families_check(net->version, n_v4, n_v6, err);
        for (size_t i = 0; r == 0 && i < conf->n_sets; i++)
                for (size_t j = i + 1; j < conf->n_sets; j++)
                        if (ipam_sets_overlap(&conf->sets[i], &conf->sets[j]))
                                return error_set(err, ERROR_INVALID,
                                                 "range set %zu overlaps with %zu", i, j);
        return r;
}

/* "address" or "address/length"; host-local cares for the address only. */
static int requested_add(HostLocalConf *conf, const char *text, Error *err) {
        IpPrefix prefix;

        if (conf->n_requested == IPAM_SETS_MAX)
                return error_set(err, ERROR_INVALID, "more than %d addresses requested",
                                 IPAM_SETS_MAX);
        if (ip_parse(text, &prefix.address) < 0 && ip_prefix_parse(text, &prefix) < 0)
                return error_set(err, ERROR_INVALID, "requested \"%s\" is not an IP address", text);
        for (size_t i = 0; i < conf->n_requested; i++)
                if (ip_equal(&conf->requested[i], &prefix.address))
                        return 0;
        conf->requested[conf->n_requested++] = prefix.address;
        return 0;
}

static int requested_list(HostLocalConf *conf, const json_t *object, Error *err) {
        const json_t *list = NULL;
        int r = json_read_texts(object, "ips", &list, err);

        for (size_t i = 0; r == 0 && i < json_array_size(list); i++)
                r = requested_add(conf, json_string_value(json_array_get(list, i)), err);
        return r;
}

/* Calls @each for the parts of a comma separated list, spaces around them taken off. */
static int each_part(const char *text, int (*each)(const char *part, void *userdata, Error *err),
                     void *userdata, Error *err) {
        cleanup(freep) char *copy = strdup(text);
        char *rest = copy, *part;

        if (!copy)
                return error_set_errno(err, ENOMEM, "ARGS");
        while ((part = strsep(&rest, ","))) {
                int r;

                part += strspn(part, " \t");
                str_trim_end(part);
                r = each(part, userdata, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int requested_part(const char *part, void *userdata, Error *err) {
        return requested_add(userdata, part, err);
}

static int requested_parse(const NetConf *net, const CniArgs *args, HostLocalConf *conf,
                           Error *err) {
        int r = 0;

        conf->requested = calloc(IPAM_SETS_MAX, sizeof(*conf->requested));
        if (!conf->requested)
                return error_set_errno(err, ENOMEM, "requested addresses");
        if (!str_is_empty(args->ip))
                r = each_part(args->ip, requested_part, conf, err);
        r = r < 0 ? r : requested_list(conf, net->args, err);
        return r < 0 ? r : requested_list(conf, net->runtime, err);
}

int host_local_conf_parse(const NetConf *net, const CniArgs *args, HostLocalConf *conf,
                          Error *err) {
        int r;

        conf->data_dir = "";
        conf->resolv_conf = "";
        if (!net->ipam)
                return error_set(err, ERROR_INVALID, "IPAM config missing 'ipam' key");
        r = json_read_text(net->ipam, "dataDir", &conf->data_dir, err);
        r = r < 0 ? r : json_read_text(net->ipam, "resolvConf", &conf->resolv_conf, err);
        r = r < 0 ? r : all_sets_parse(net, conf, err);
        r = r < 0 ? r : sets_check(net, conf, err);
        r = r < 0 ? r : requested_parse(net, args, conf, err);
        r = r < 0 ? r : result_routes_parse(net->ipam, &conf->extra, err);
        return r < 0 ? error_wrap(err, r, "ipam") : 0;
}

void host_local_conf_deinit(HostLocalConf *conf) {
        for (size_t i = 0; i < conf->n_sets; i++)
                ipam_set_deinit(&conf->sets[i]);
        free(conf->sets);
        free(conf->requested);
        result_deinit(&conf->extra);
        *conf = (HostLocalConf){0};
}

/* --- static ------------------------------------------------------------------------------ */

static int static_add(CniResult *result, const char *text, const char *what, Error *err) {
        ResultIp ip = {.interface = -1};

        if (ip_prefix_parse(text, &ip.address) < 0)
                return error_set(err, ERROR_INVALID,
                                 "the '%s' field is expected to be in CIDR notation, got: '%s'",
                                 what, text);
        return result_added(result_add_ip(result, &ip), err);
}

static int static_addresses(const NetConf *net, CniResult *result, Error *err) {
        const json_t *list = NULL;
        int r = json_read_array(net->ipam, "addresses", &list, err);

        for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
                const json_t *item = json_array_get(list, i);
                const char *text = "";

                r = json_read_text(item, "address", &text, err);
                r = r < 0 ? r : static_add(result, text, "address", err);
                r = r < 0 ? r
                          : read_ip(item, "gateway", &result->ips[result->n_ips - 1].gateway, err);
                if (r < 0)
                        return error_wrap(err, r, "addresses[%zu]", i);
        }
        return r;
}

static int static_ip_part(const char *part, void *userdata, Error *err) {
        return static_add(userdata, part, "ip", err);
}

/* A gateway goes to every address whose subnet has it. */
static int static_gateway_part(const char *part, void *userdata, Error *err) {
        CniResult *result = userdata;
        IpAddress gateway;

        if (ip_parse(part, &gateway) < 0)
                return error_set(err, ERROR_INVALID, "invalid gateway address: %s", part);
        for (size_t i = 0; i < result->n_ips; i++)
                if (ip_prefix_contains(&result->ips[i].address, &gateway))
                        result->ips[i].gateway = gateway;
        return 0;
}

static int static_replace(const json_t *object, CniResult *result, Error *err) {
        const json_t *list = NULL;
        int r = json_read_texts(object, "ips", &list, err);

        if (r < 0 || json_array_size(list) == 0)
                return r;
        result->n_ips = 0;
        for (size_t i = 0; r == 0 && i < json_array_size(list); i++)
                r = static_add(result, json_string_value(json_array_get(list, i)), "ips", err);
        return r;
}

static int static_check(const NetConf *net, const CniResult *result, Error *err) {
        size_t n_v4 = 0, n_v6 = 0;

        for (size_t i = 0; i < result->n_ips; i++)
                if (result->ips[i].address.address.family == AF_INET)
                        n_v4++;
                else
                        n_v6++;
        return families_check(net->version, n_v4, n_v6, err);
}

int static_conf_parse(const NetConf *net, const CniArgs *args, CniResult *result, Error *err) {
        const json_t *dns = NULL;
        int r;

        if (!net->ipam)
                return error_set(err, ERROR_INVALID, "IPAM config missing 'ipam' key");
        r = static_addresses(net, result, err);
        if (r == 0 && !str_is_empty(args->ip))
                r = each_part(args->ip, static_ip_part, result, err);
        if (r == 0 && !str_is_empty(args->gateway))
                r = each_part(args->gateway, static_gateway_part, result, err);
        r = r < 0 ? r : static_replace(net->args, result, err);
        r = r < 0 ? r : static_replace(net->runtime, result, err);
        r = r < 0 ? r : static_check(net, result, err);
        r = r < 0 ? r : result_routes_parse(net->ipam, result, err);
        r = r < 0 ? r : json_read_object(net->ipam, "dns", &dns, err);
        if (r == 0 && dns)
                r = result_dns_parse(dns, &result->dns, err);
        return r < 0 ? error_wrap(err, r, "ipam") : 0;
}

/* --- resolv.conf --------------------------------------------------------------------------- */

static int resolv_append(json_t *dns, const char *key, const char *word) {
        json_t *list = json_object_get(dns, key);

        if (!list) {
                list = json_array();
                if (json_object_set_new(dns, key, list) < 0)
                        return -ENOMEM;
        }
        return json_array_append_new(list, json_string(word)) < 0 ? -ENOMEM : 0;
}

static int resolv_line(json_t *dns, char *line) {
        static const struct {
                const char *keyword, *key;
        } lists[] = {{"search", "search"}, {"options", "options"}};
        char *rest = NULL, *keyword = strtok_r(line, " \t\r", &rest), *word;
        int r = 0;

        if (!keyword || keyword[0] == '#' || keyword[0] == ';')
                return 0;
        word = strtok_r(NULL, " \t\r", &rest);
        if (!word)
                return 0;
        str_make_utf8(word);
        if (str_equal(keyword, "nameserver"))
                return resolv_append(dns, "nameservers", word);
        if (str_equal(keyword, "domain"))
                return json_object_set_new(dns, "domain", json_string(word)) < 0 ? -ENOMEM : 0;
        for (size_t i = 0; i < N_ELEMENTS(lists); i++)
                for (; r == 0 && word && str_equal(keyword, lists[i].keyword);
                     word = strtok_r(NULL, " \t\r", &rest)) {
                        str_make_utf8(word);
                        r = resolv_append(dns, lists[i].key, word);
                }
        return r;
}

int resolv_conf_parse(const char *text, json_t **dnsp) {
        cleanup(freep) char *copy = strdup(text);
        json_t *dns = json_object();
        char *rest = copy, *line;
        int r = copy && dns ? 0 : -ENOMEM;

        while (r == 0 && (line = strsep(&rest, "\n")))
                r = resolv_line(dns, line);
        if (r < 0 || json_object_size(dns) == 0) {
                json_decref(dns);
                return r;
        }
        *dnsp = dns;
        return 0;
}
