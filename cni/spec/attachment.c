/* SPDX-License-Identifier: Apache-2.0 */

/* Names that follow from whose interface it is, so that DEL finds it whatever got lost. */

#include "cni/spec/attachment.h"

#include "common/base/cleanup.h"
#include "common/base/sha256.h"
#include "common/base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longest text hashed: a path-sized id would be cut, which no runtime has. */
#define OWNER_TEXT_MAX 4096

void owner_of(const char *network, const char *container_id, const char *ifname,
              uint8_t owner[OWNER_SIZE]) {
        const char *const parts[] = {network, container_id, ifname};
        uint8_t digest[SHA256_SIZE];
        char text[OWNER_TEXT_MAX];
        size_t n = 0;

        for (size_t i = 0; i < N_ELEMENTS(parts); i++) {
                size_t length = strnlen(parts[i], (sizeof(text) - n - 1) / 2);

                memcpy(text + n, parts[i], length);
                n += length;
                text[n++] = '\0';
        }
        sha256(text, n, digest);
        memcpy(owner, digest, OWNER_SIZE);
}

void host_link_name(const uint8_t owner[OWNER_SIZE], unsigned int attempt, char name[IFNAMSIZ]) {
        const uint8_t *at = owner + attempt;

        (void)snprintf(name, IFNAMSIZ, "veth%02x%02x%02x%02x", at[0], at[1], at[2], at[3]);
}

void host_link_mac(const char *name, uint8_t mac[6]) {
        uint8_t digest[SHA256_SIZE];

        sha256(name, strlen(name), digest);
        memcpy(mac, digest, 6);
        mac[0] = (uint8_t)((mac[0] & 0xfc) | 0x02); /* one station, locally administered */
}

void host_link_alias(const char *network, const char *container_id, const char *ifname,
                     char alias[LINK_ALIAS_MAX]) {
        char hex[SHA256_HEX_SIZE];
        int n = snprintf(alias, LINK_ALIAS_MAX, LINK_ALIAS_PREFIX "%s/%s/%s", network, container_id,
                         ifname);

        if (n > 0 && n < LINK_ALIAS_MAX)
                return;
        sha256_hex(container_id, strlen(container_id), hex);
        n = snprintf(alias, LINK_ALIAS_MAX, LINK_ALIAS_PREFIX "%s/#%s/%s", network, hex, ifname);
        if (n > 0 && n < LINK_ALIAS_MAX)
                return;
        sha256_hex(network, strlen(network), hex);
        (void)snprintf(alias, LINK_ALIAS_MAX, LINK_ALIAS_PREFIX "#%s/%s", hex, ifname);
}

bool host_link_alias_split(char *alias, const char *network, const char **idp,
                           const char **ifnamep) {
        char *rest = alias, *part = strsep(&rest, "/");

        if (!str_equal(part, "berth") || !str_equal(strsep(&rest, "/"), network))
                return false;
        *idp = strsep(&rest, "/");
        *ifnamep = rest; /* an interface's name has no "/" */
        return !str_is_empty(*idp) && !str_is_empty(*ifnamep);
}

bool host_link_is_ours(const Link *link, const char *alias) {
        uint8_t mac[6];

        if (!str_equal(link->kind, "veth"))
                return false;
        if (link->alias[0] != '\0')
                return str_equal(link->alias, alias);
        host_link_mac(link->name, mac);
        return link->has_mac && memcmp(mac, link->mac, sizeof(mac)) == 0;
}

void link_list_add(LinkList *list, unsigned int index) {
        if (list->n < LINK_LIST_MAX)
                list->indices[list->n++] = index;
}

static int compare_owners(const void *a, const void *b) {
        return memcmp(a, b, OWNER_SIZE);
}

bool gc_keeps(const GcRequest *gc, const uint8_t owner[OWNER_SIZE]) {
        return gc->n_owners > 0 &&
               bsearch(owner, gc->owners, gc->n_owners, OWNER_SIZE, compare_owners) != NULL;
}

bool gc_tells(const GcRequest *gc, const char *format, ...) {
        char text[320];
        va_list list;

        if (!gc->told)
                return false;
        va_start(list, format);
        (void)vsnprintf(text, sizeof(text), format, list);
        va_end(list);
        for (size_t i = 0; i < json_array_size(gc->told); i++)
                if (str_equal(json_string_value(json_array_get(gc->told, i)), text))
                        return true;
        (void)json_array_append_new(gc->told, json_string(text));
        return true;
}
