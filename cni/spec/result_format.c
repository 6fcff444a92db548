/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Writing a result. Three shapes: 0.1.0 and 0.2.0 (ip4, ip6), 0.3.0 to 0.4.0 (lists, each address
 * with its "version"), 1.0.0 and later (without it). Upstream's types are shared by versions that
 * share a shape, so fields that came with 1.1.0 are written for 1.0.0 too, and route fields for
 * 0.3.0.
 *
 * Written by hand and not through a jansson tree: this is the last step of every ADD, and the text
 * is small.
 */

#include "cni/spec/result.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>

/* JSON strings: quotes, backslashes and control characters escaped; the rest is as it came. */
static void put_string(StrBuf *out, const char *text) {
        strbuf_append_n(out, "\"", 1);
        for (const char *at = text; *at; at++) {
                unsigned char c = (unsigned char)*at;

                if (c == '"' || c == '\\')
                        strbuf_printf(out, "\\%c", c);
                else if (c < 0x20)
                        strbuf_printf(out, "\\u%04x", c);
                else
                        strbuf_append_n(out, at, 1);
        }
        strbuf_append_n(out, "\"", 1);
}

static void put_member(StrBuf *out, const char *key, const char *text) {
        if (str_is_empty(text))
                return;
        strbuf_printf(out, ", \"%s\": ", key);
        put_string(out, text);
}

static void put_interface(StrBuf *out, const ResultInterface *interface) {
        strbuf_append(out, "{\"name\": ");
        put_string(out, interface->name ? interface->name : "");
        put_member(out, "mac", interface->mac);
        if (interface->mtu)
                strbuf_printf(out, ", \"mtu\": %" PRIu32, interface->mtu);
        put_member(out, "sandbox", interface->sandbox);
        put_member(out, "socketPath", interface->socket_path);
        put_member(out, "pciID", interface->pci_id);
        strbuf_append(out, "}");
}

static void put_ip(StrBuf *out, const ResultIp *ip, CniVersion version) {
        char text[IP_TEXT_MAX];

        strbuf_append(out, "{");
        if (version < CNI_1_0_0)
                strbuf_printf(out, "\"version\": \"%c\", ",
                              ip->address.address.family == AF_INET ? '4' : '6');
        if (ip->interface >= 0)
                strbuf_printf(out, "\"interface\": %d, ", ip->interface);
        strbuf_printf(out, "\"address\": \"%s\"", ip_prefix_format(&ip->address, text));
        if (ip_is_set(&ip->gateway))
                strbuf_printf(out, ", \"gateway\": \"%s\"", ip_format(&ip->gateway, text));
        strbuf_append(out, "}");
}

static void put_route(StrBuf *out, const ResultRoute *route, bool extended) {
        char text[IP_TEXT_MAX];

        strbuf_printf(out, "{\"dst\": \"%s\"", ip_prefix_format(&route->destination, text));
        if (ip_is_set(&route->gateway))
                strbuf_printf(out, ", \"gw\": \"%s\"", ip_format(&route->gateway, text));
        if (extended && route->mtu)
                strbuf_printf(out, ", \"mtu\": %" PRIu32, route->mtu);
        if (extended && route->advmss)
                strbuf_printf(out, ", \"advmss\": %" PRIu32, route->advmss);
        if (extended && route->priority)
                strbuf_printf(out, ", \"priority\": %" PRIu32, route->priority);
        if (extended && route->table >= 0)
                strbuf_printf(out, ", \"table\": %" PRId64, route->table);
        if (extended && route->scope >= 0)
                strbuf_printf(out, ", \"scope\": %" PRId64, route->scope);
        strbuf_append(out, "}");
}

static int put_dns(StrBuf *out, const CniResult *result, bool always) {
        cleanup(freep) char *text = NULL;

        if (!result->dns || json_object_size(result->dns) == 0) {
                if (always)
                        strbuf_append(out, ",\n    \"dns\": {}");
                return 0;
        }
        text = json_dumps(result->dns, JSON_COMPACT);
        if (!text)
                return -ENOMEM;
        strbuf_printf(out, ",\n    \"dns\": %s", text);
        return 0;
}

#define SEPARATE(out, i) strbuf_append(out, (i) == 0 ? "\n        " : ",\n        ")

static int format_lists(StrBuf *out, const CniResult *result, CniVersion version) {
        if (result->n_interfaces > 0) {
                strbuf_append(out, ",\n    \"interfaces\": [");
                for (size_t i = 0; i < result->n_interfaces; i++) {
                        SEPARATE(out, i);
                        put_interface(out, &result->interfaces[i]);
                }
                strbuf_append(out, "\n    ]");
        }
        if (result->n_ips > 0) {
                strbuf_append(out, ",\n    \"ips\": [");
                for (size_t i = 0; i < result->n_ips; i++) {
                        SEPARATE(out, i);
                        put_ip(out, &result->ips[i], version);
                }
                strbuf_append(out, "\n    ]");
        }
        if (result->n_routes > 0) {
                strbuf_append(out, ",\n    \"routes\": [");
                for (size_t i = 0; i < result->n_routes; i++) {
                        SEPARATE(out, i);
                        put_route(out, &result->routes[i], true);
                }
                strbuf_append(out, "\n    ]");
        }
        return put_dns(out, result, version < CNI_1_0_0);
}

static void format_family(StrBuf *out, const CniResult *result, const ResultIp *ip) {
        uint8_t family = ip->address.address.family;
        char text[IP_TEXT_MAX];
        size_t n = 0;

        strbuf_printf(out, ",\n    \"ip%c\": {\"ip\": \"%s\"", family == AF_INET ? '4' : '6',
                      ip_prefix_format(&ip->address, text));
        if (ip_is_set(&ip->gateway))
                strbuf_printf(out, ", \"gateway\": \"%s\"", ip_format(&ip->gateway, text));
        for (size_t i = 0; i < result->n_routes; i++) {
                if (result->routes[i].destination.address.family != family)
                        continue;
                strbuf_append(out, n++ == 0 ? ", \"routes\": [" : ", ");
                put_route(out, &result->routes[i], false);
        }
        strbuf_append(out, n > 0 ? "]}" : "}");
}

static const ResultIp *first_of(const CniResult *result, uint8_t family) {
        for (size_t i = 0; i < result->n_ips; i++)
                if (result->ips[i].address.address.family == family)
                        return &result->ips[i];
        return NULL;
}

/* The first address of each family; the rest has no place in this shape. */
static int format_families(StrBuf *out, const CniResult *result, Error *err) {
        const ResultIp *v4 = first_of(result, AF_INET), *v6 = first_of(result, AF_INET6);

        if (!v4 && !v6)
                return error_set(err, ERROR_INVALID, "cannot convert: no valid IP addresses");
        if (v4)
                format_family(out, result, v4);
        if (v6)
                format_family(out, result, v6);
        return put_dns(out, result, true);
}

int result_format(const CniResult *result, CniVersion version, char **textp, Error *err) {
        cleanup(strbuf_deinit) StrBuf out = {0};
        char *text;
        int r;

        strbuf_printf(&out, "{\n    \"cniVersion\": \"%s\"", cni_version_name(version));
        if (version < CNI_0_3_0)
                r = format_families(&out, result, err);
        else
                r = format_lists(&out, result, version);
        if (r < 0)
                return error_wrap(err, r, "result");
        strbuf_append(&out, "\n}\n");
        text = strbuf_steal(&out);
        if (!text)
                return error_set_errno(err, ENOMEM, "result");
        *textp = text;
        return 0;
}
