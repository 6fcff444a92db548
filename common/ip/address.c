/* SPDX-License-Identifier: Apache-2.0 */

#include "common/ip/address.h"

#include "common/base/cleanup.h"

#include "common/base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

int ip_parse(const char *text, IpAddress *addressp) {
        IpAddress address = {0};

        if (!strchr(text, ':')) {
                address.family = AF_INET;
                /* inet_pton() refuses leading zeros, as Go does since 1.17. */
                if (inet_pton(AF_INET, text, address.bytes) != 1)
                        return -EINVAL;
        } else {
                address.family = AF_INET6;
                if (inet_pton(AF_INET6, text, address.bytes) != 1)
                        return -EINVAL;
                if (memcmp(address.bytes, mapped, sizeof(mapped)) == 0) {
                        IpAddress inner = {.family = AF_INET};

                        memcpy(inner.bytes, address.bytes + sizeof(mapped), 4);
                        address = inner;
                }
        }
        *addressp = address;
        return 0;
}

int ip_prefix_parse(const char *text, IpPrefix *prefixp) {
        const char *slash = strchr(text, '/');
        char host[IP_TEXT_MAX];
        IpPrefix prefix;
        uint64_t length;

        if (!slash || (size_t)(slash - text) >= sizeof(host))
                return -EINVAL;
        memcpy(host, text, (size_t)(slash - text));
        host[slash - text] = '\0';
        if (ip_parse(host, &prefix.address) < 0)
                return -EINVAL;
        /* A mapped address with the length of its IPv6 form is nothing that anybody means. */
        if (str_parse_u64(slash + 1, ip_size(&prefix.address) * 8, &length) < 0)
                return -EINVAL;
        prefix.length = (uint8_t)length;
        *prefixp = prefix;
        return 0;
}

const char *ip_format(const IpAddress *address, char *text) {
        if (!inet_ntop(address->family, address->bytes, text, IP_TEXT_MAX))
                text[0] = '\0';
        return text;
}

const char *ip_prefix_format(const IpPrefix *prefix, char *text) {
        size_t n;

        (void)ip_format(&prefix->address, text);
        n = strlen(text);
        (void)snprintf(text + n, IP_TEXT_MAX - n, "/%u", (unsigned int)prefix->length);
        return text;
}

int ip_compare(const IpAddress *a, const IpAddress *b) {
        if (a->family != b->family)
                return a->family == AF_INET ? -1 : 1;
        return memcmp(a->bytes, b->bytes, ip_size(a));
}

bool ip_equal(const IpAddress *a, const IpAddress *b) {
        return ip_compare(a, b) == 0;
}

bool ip_next(IpAddress *addressp) {
        for (size_t i = ip_size(addressp); i-- > 0;)
                if (++addressp->bytes[i] != 0)
                        return true;
        return false;
}

bool ip_previous(IpAddress *addressp) {
        for (size_t i = ip_size(addressp); i-- > 0;)
                if (addressp->bytes[i]-- != 0)
                        return true;
        return false;
}

uint64_t ip_distance(const IpAddress *low, const IpAddress *high) {
        uint64_t distance = 0;
        unsigned int borrow = 0;
        uint8_t difference[16];
        size_t n = ip_size(low);

        if (ip_compare(low, high) >= 0)
                return 0;
        for (size_t i = n; i-- > 0;) {
                unsigned int d = 256U + high->bytes[i] - low->bytes[i] - borrow;

                difference[i] = (uint8_t)d;
                borrow = d < 256;
        }
        for (size_t i = 0; i < n; i++) {
                if (distance >> 56)
                        return UINT64_MAX;
                distance = distance << 8 | difference[i];
        }
        return distance;
}

/* Byte @i of the netmask of @length bits. */
static uint8_t mask_byte(uint8_t length, size_t i) {
        size_t start = i * 8;

        if (length >= start + 8)
                return 0xff;
        if (length <= start)
                return 0;
        return (uint8_t)(0xffU << (start + 8 - length));
}

IpAddress ip_prefix_first(const IpPrefix *prefix) {
        IpAddress first = prefix->address;

        for (size_t i = 0; i < ip_size(&first); i++)
                first.bytes[i] &= mask_byte(prefix->length, i);
        return first;
}

IpAddress ip_prefix_last(const IpPrefix *prefix) {
        IpAddress last = prefix->address;

        for (size_t i = 0; i < ip_size(&last); i++)
                last.bytes[i] |= (uint8_t)~mask_byte(prefix->length, i);
        return last;
}

bool ip_prefix_contains(const IpPrefix *prefix, const IpAddress *address) {
        if (prefix->address.family != address->family)
                return false;
        for (size_t i = 0; i < ip_size(address); i++)
                if ((prefix->address.bytes[i] ^ address->bytes[i]) & mask_byte(prefix->length, i))
                        return false;
        return true;
}

bool ip_prefix_equal(const IpPrefix *a, const IpPrefix *b) {
        return a->length == b->length && ip_equal(&a->address, &b->address);
}

bool ip_is_zero(const IpAddress *address) {
        for (size_t i = 0; i < ip_size(address); i++)
                if (address->bytes[i] != 0)
                        return false;
        return true;
}

bool ip_is_routable(const IpAddress *address) {
        static const IpPrefix others[] = {
                {{AF_INET, {0}}, 8},           {{AF_INET, {127}}, 8},
                {{AF_INET, {169, 254}}, 16},   {{AF_INET, {224}}, 3},
                {{AF_INET6, {0xff}}, 8},       {{AF_INET6, {0xfe, 0x80}}, 10},
                {{AF_INET6, {[15] = 1}}, 128}, {{AF_INET6, {0}}, 128},
        };

        for (size_t i = 0; i < N_ELEMENTS(others); i++)
                if (others[i].address.family == address->family &&
                    ip_prefix_contains(&others[i], address))
                        return false;
        return true;
}
