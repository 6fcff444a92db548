/* SPDX-License-Identifier: Apache-2.0 */

/* Reading a result: prevResult, and what an IPAM plugin answers. */

#include "cni/spec/result.h"

#include "cni/spec/json.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static int read_address(const json_t *object, const char *key, IpAddress *addressp, Error *err) {
        const char *text = NULL;
        int r = json_read_text(object, key, &text, err);

        if (r < 0 || str_is_empty(text))
                return r;
        if (ip_parse(text, addressp) < 0)
                return error_set(err, ERROR_INVALID, "\"%s\": \"%s\" is not an IP address", key,
                                 text);
        return 0;
}

/* Return: 0; negative, also when the key is absent. */
static int read_prefix(const json_t *object, const char *key, IpPrefix *prefixp, Error *err) {
        const char *text = NULL;
        int r = json_read_text(object, key, &text, err);

        if (r < 0)
                return r;
        if (!text || ip_prefix_parse(text, prefixp) < 0)
                return error_set(err, ERROR_INVALID,
                                 "\"%s\": \"%s\" is not an address with a prefix (expected for "
                                 "example 10.1.2.3/24)",
                                 key, text ? text : "");
        return 0;
}

static int read_u32(const json_t *object, const char *key, uint32_t *valuep, Error *err) {
        int64_t value = *valuep;
        int r = json_read_number(object, key, 0, UINT32_MAX, &value, err);

        if (r == 0)
                *valuep = (uint32_t)value;
        return r;
}

static int copy_member(const json_t *object, const char *key, char **textp, Error *err) {
        const char *text = NULL;
        int r = json_read_text(object, key, &text, err);

        if (r < 0 || str_is_empty(text))
                return r;
        *textp = strdup(text);
        return *textp ? 0 : error_set_errno(err, ENOMEM, "result");
}

static int parse_interface(const json_t *json, CniResult *result, Error *err) {
        const char *name = "", *mac = NULL, *sandbox = NULL;
        ResultInterface *interface;
        int r;

        r = json_read_text(json, "name", &name, err);
        r = r < 0 ? r : json_read_text(json, "mac", &mac, err);
        r = r < 0 ? r : json_read_text(json, "sandbox", &sandbox, err);
        if (r < 0)
                return r;
        r = result_add_interface(result, name, mac, sandbox);
        if (r < 0)
                return result_added(r, err);
        interface = &result->interfaces[r];
        r = read_u32(json, "mtu", &interface->mtu, err);
        r = r < 0 ? r : copy_member(json, "socketPath", &interface->socket_path, err);
        return r < 0 ? r : copy_member(json, "pciID", &interface->pci_id, err);
}

static int parse_ip(const json_t *json, CniResult *result, Error *err) {
        ResultIp ip = {.interface = -1};
        int64_t interface = -1;
        int r;

        r = read_prefix(json, "address", &ip.address, err);
        r = r < 0 ? r : read_address(json, "gateway", &ip.gateway, err);
        r = r < 0 ? r : json_read_number(json, "interface", -1, RESULT_ITEMS_MAX, &interface, err);
        if (r < 0)
                return r;
        ip.interface = (int)interface;
        return result_added(result_add_ip(result, &ip), err);
}

static int parse_route(const json_t *json, CniResult *result, Error *err) {
        ResultRoute route = {.table = -1, .scope = -1};
        int r;

        r = read_prefix(json, "dst", &route.destination, err);
        r = r < 0 ? r : read_address(json, "gw", &route.gateway, err);
        r = r < 0 ? r : read_u32(json, "mtu", &route.mtu, err);
        r = r < 0 ? r : read_u32(json, "advmss", &route.advmss, err);
        r = r < 0 ? r : read_u32(json, "priority", &route.priority, err);
        r = r < 0 ? r : json_read_number(json, "table", 0, UINT32_MAX, &route.table, err);
        r = r < 0 ? r : json_read_number(json, "scope", 0, 255, &route.scope, err);
        if (r < 0)
                return r;
        return result_added(result_add_route(result, &route), err);
}

typedef int (*ItemParse)(const json_t *item, CniResult *result, Error *err);

static int parse_list(const json_t *json, const char *key, ItemParse parse, CniResult *result,
                      Error *err) {
        const json_t *list = NULL;
        int r = json_read_array(json, key, &list, err);

        for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
                const json_t *item = json_array_get(list, i);

                if (!json_is_object(item))
                        r = error_set(err, ERROR_INVALID, "must be an object, not %s",
                                      json_type_name(item));
                else
                        r = parse(item, result, err);
                if (r < 0)
                        return error_wrap(err, r, "%s[%zu]", key, i);
        }
        return r;
}

int result_routes_parse(const json_t *json, CniResult *result, Error *err) {
        return parse_list(json, "routes", parse_route, result, err);
}

/* "ip4": {"ip", "gateway", "routes"} of the oldest shape. */
static int parse_family(const json_t *json, const char *key, CniResult *result, Error *err) {
        const json_t *object = NULL;
        ResultIp ip = {.interface = -1};
        int r = json_read_object(json, key, &object, err);

        if (r < 0 || !object)
                return r;
        r = read_prefix(object, "ip", &ip.address, err);
        r = r < 0 ? r : read_address(object, "gateway", &ip.gateway, err);
        r = r < 0 ? r : result_added(result_add_ip(result, &ip), err);
        r = r < 0 ? r : parse_list(object, "routes", parse_route, result, err);
        return r < 0 ? error_wrap(err, r, "%s", key) : 0;
}

static int copy_dns_member(const json_t *dns, const char *key, bool list, json_t *copy,
                           Error *err) {
        const json_t *texts = NULL;
        const char *text = NULL;
        json_t *value = NULL;
        int r;

        r = list ? json_read_texts(dns, key, &texts, err) : json_read_text(dns, key, &text, err);
        if (r < 0)
                return r;
        if (texts && json_array_size(texts) > 0)
                value = json_deep_copy(texts);
        else if (!str_is_empty(text))
                value = json_string(text);
        else
                return 0;
        if (json_object_set_new(copy, key, value) < 0)
                return error_set_errno(err, ENOMEM, "dns");
        return 0;
}

int result_dns_parse(const json_t *dns, json_t **copyp, Error *err) {
        json_t *copy;
        int r;

        copy = json_object();
        if (!copy)
                return error_set_errno(err, ENOMEM, "dns");
        r = copy_dns_member(dns, "nameservers", true, copy, err);
        r = r < 0 ? r : copy_dns_member(dns, "domain", false, copy, err);
        r = r < 0 ? r : copy_dns_member(dns, "search", true, copy, err);
        r = r < 0 ? r : copy_dns_member(dns, "options", true, copy, err);
        if (r < 0 || json_object_size(copy) == 0) {
                json_decref(copy);
                return r < 0 ? error_wrap(err, r, "dns") : 0;
        }
        *copyp = copy;
        return 0;
}

static int parse_dns(const json_t *json, CniResult *result, Error *err) {
        const json_t *dns = NULL;
        int r = json_read_object(json, "dns", &dns, err);

        if (r < 0 || !dns)
                return r;
        return result_dns_parse(dns, &result->dns, err);
}

static int parse(const json_t *json, CniVersion version, CniResult *result, Error *err) {
        int r;

        if (!json_is_object(json))
                return error_set(err, ERROR_INVALID, "must be an object, not %s",
                                 json_type_name(json));
        if (version < CNI_0_3_0) {
                r = parse_family(json, "ip4", result, err);
                r = r < 0 ? r : parse_family(json, "ip6", result, err);
        } else {
                r = parse_list(json, "interfaces", parse_interface, result, err);
                r = r < 0 ? r : parse_list(json, "ips", parse_ip, result, err);
                r = r < 0 ? r : parse_list(json, "routes", parse_route, result, err);
        }
        return r < 0 ? r : parse_dns(json, result, err);
}

int result_parse(const json_t *json, CniVersion version, CniResult *result, Error *err) {
        int r = parse(json, version, result, err);

        if (r < 0)
                result_deinit(result);
        return r;
}
