/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_COMMON_IP_ADDRESS_H
#define BERTH_COMMON_IP_ADDRESS_H

/* IP addresses and prefixes as values; IPv4 fills the first 4 bytes. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct IpAddress {
        uint8_t family; /* AF_INET, AF_INET6; 0: unset */
        uint8_t bytes[16];
} IpAddress;

typedef struct IpPrefix {
        IpAddress address; /* host bits may be set: an address with its subnet's length */
        uint8_t length;    /* bits */
} IpPrefix;

/* Longest text with its NUL: an IPv6 address, "/128". */
#define IP_TEXT_MAX 52

/* Strict: dotted quad without leading zeros, or RFC 4291 text without a zone. An IPv4-mapped IPv6
 * address is IPv4, as in Go. Return: 0; -EINVAL. */
int ip_parse(const char *text, IpAddress *addressp);

/* "address/length". Return: 0; -EINVAL. */
int ip_prefix_parse(const char *text, IpPrefix *prefixp);

/* Both return @text, which has IP_TEXT_MAX bytes; RFC 5952 form, as Go prints it. */
const char *ip_format(const IpAddress *address, char *text);
const char *ip_prefix_format(const IpPrefix *prefix, char *text);

static inline size_t ip_size(const IpAddress *address) {
        return address->family == 2 /* AF_INET */ ? 4 : 16;
}

static inline bool ip_is_set(const IpAddress *address) {
        return address->family != 0;
}

bool ip_equal(const IpAddress *a, const IpAddress *b);

/* Order within one family, as big-endian numbers: < 0, 0, > 0. IPv4 sorts before IPv6. */
int ip_compare(const IpAddress *a, const IpAddress *b);

/* Return: false on overflow, then *@addressp is all ones + 1 = all zeros. */
bool ip_next(IpAddress *addressp);
bool ip_previous(IpAddress *addressp);

/* @high - @low, UINT64_MAX if more; 0 if @high < @low. */
uint64_t ip_distance(const IpAddress *low, const IpAddress *high);

bool ip_prefix_contains(const IpPrefix *prefix, const IpAddress *address);
bool ip_prefix_equal(const IpPrefix *a, const IpPrefix *b);

/* Host bits to zero; to one. */
IpAddress ip_prefix_first(const IpPrefix *prefix);
IpAddress ip_prefix_last(const IpPrefix *prefix);

bool ip_is_zero(const IpAddress *address);

/* One that a host can have and other networks can answer: neither unspecified, loopback, of the
 * link alone, for many, nor reserved (RFC 1122 3.2.1.3, 1112, 4291). */
bool ip_is_routable(const IpAddress *address);

#endif
