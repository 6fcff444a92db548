/* SPDX-License-Identifier: Apache-2.0 */

/* The result in memory. Writing and reading are in result_format.c and result_parse.c. */

#include "cni/spec/result.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void interface_deinit(ResultInterface *interface) {
        free(interface->name);
        free(interface->mac);
        free(interface->sandbox);
        free(interface->socket_path);
        free(interface->pci_id);
}

void result_deinit(CniResult *result) {
        for (size_t i = 0; i < result->n_interfaces; i++)
                interface_deinit(&result->interfaces[i]);
        free(result->interfaces);
        free(result->ips);
        free(result->routes);
        json_decref(result->dns);
        *result = (CniResult){0};
}

int result_added(int r, Error *err) {
        if (r == -E2BIG)
                return error_set(err, ERROR_INVALID, "more than %u interfaces, addresses or routes",
                                 RESULT_ITEMS_MAX);
        return r < 0 ? error_set_errno(err, r, "result") : 0;
}

/* Room for one more: grows by 8, since a pod has one or two of each. */
static int grow(void **itemsp, size_t n, size_t item_size) {
        void *items;

        if (n >= RESULT_ITEMS_MAX)
                return -E2BIG;
        if (n % 8 != 0)
                return 0;
        items = reallocarray(*itemsp, n + 8, item_size);
        if (!items)
                return -ENOMEM;
        *itemsp = items;
        return 0;
}

static bool copy_text(const char *text, char **copyp) {
        if (!text)
                return true;
        *copyp = strdup(text);
        return *copyp != NULL;
}

int result_add_interface(CniResult *result, const char *name, const char *mac,
                         const char *sandbox) {
        ResultInterface interface = {0};
        int r;

        r = grow((void **)&result->interfaces, result->n_interfaces, sizeof(interface));
        if (r < 0)
                return r;
        if (!copy_text(name, &interface.name) || !copy_text(mac, &interface.mac) ||
            !copy_text(sandbox, &interface.sandbox)) {
                interface_deinit(&interface);
                return -ENOMEM;
        }
        result->interfaces[result->n_interfaces] = interface;
        return (int)result->n_interfaces++;
}

int result_add_ip(CniResult *result, const ResultIp *ip) {
        int r = grow((void **)&result->ips, result->n_ips, sizeof(*ip));

        if (r < 0)
                return r;
        result->ips[result->n_ips] = *ip;
        return (int)result->n_ips++;
}

int result_add_route(CniResult *result, const ResultRoute *route) {
        int r = grow((void **)&result->routes, result->n_routes, sizeof(*route));

        if (r < 0)
                return r;
        result->routes[result->n_routes] = *route;
        return (int)result->n_routes++;
}

int result_find_interface(const CniResult *result, const char *name, bool in_sandbox) {
        for (size_t i = 0; i < result->n_interfaces; i++)
                if (str_equal(result->interfaces[i].name, name) &&
                    !str_is_empty(result->interfaces[i].sandbox) == in_sandbox)
                        return (int)i;
        return -1;
}

static int copy_interface(CniResult *result, const ResultInterface *from) {
        int r = result_add_interface(result, from->name, from->mac, from->sandbox);
        ResultInterface *copy;

        if (r < 0)
                return r;
        copy = &result->interfaces[r];
        copy->mtu = from->mtu;
        return copy_text(from->socket_path, &copy->socket_path) &&
                               copy_text(from->pci_id, &copy->pci_id)
                       ? 0
                       : -ENOMEM;
}

int result_merge(CniResult *result, const CniResult *from) {
        int first = (int)result->n_interfaces, r = 0;

        for (size_t i = 0; r >= 0 && i < from->n_interfaces; i++)
                r = copy_interface(result, &from->interfaces[i]);
        for (size_t i = 0; r >= 0 && i < from->n_ips; i++) {
                ResultIp ip = from->ips[i];

                ip.interface = ip.interface >= 0 ? ip.interface + first : -1;
                r = result_add_ip(result, &ip);
        }
        for (size_t i = 0; r >= 0 && i < from->n_routes; i++)
                r = result_add_route(result, &from->routes[i]);
        if (r < 0 || !from->dns)
                return r < 0 ? r : 0;
        json_decref(result->dns);
        result->dns = json_deep_copy(from->dns);
        return result->dns ? 0 : -ENOMEM;
}
