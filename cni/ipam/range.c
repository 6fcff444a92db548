/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/ipam/range.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void ipam_set_deinit(IpamSet *set) {
        free(set->ranges);
        *set = (IpamSet){0};
}

bool ipam_range_contains(const IpamRange *range, const IpAddress *address) {
        if (!ip_prefix_contains(&range->subnet, address))
                return false;
        if (ip_is_set(&range->start) && ip_compare(address, &range->start) < 0)
                return false;
        return !ip_is_set(&range->end) || ip_compare(address, &range->end) <= 0;
}

/* IPv4 leaves out the broadcast address; IPv6 has none. */
static IpAddress last_usable(const IpPrefix *subnet) {
        IpAddress last = ip_prefix_last(subnet);

        if (last.family == AF_INET)
                (void)ip_previous(&last);
        return last;
}

static int bound_check(const IpamRange *range, const IpAddress *bound, const char *what,
                       Error *err) {
        char address[IP_TEXT_MAX], subnet[IP_TEXT_MAX];

        if (bound->family == range->subnet.address.family && ipam_range_contains(range, bound))
                return 0;
        return error_set(err, ERROR_INVALID, "%s %s not in network %s", what,
                         ip_format(bound, address), ip_prefix_format(&range->subnet, subnet));
}

int ipam_range_complete(IpamRange *range, Error *err) {
        size_t bits = ip_size(&range->subnet.address) * 8;
        IpAddress first = ip_prefix_first(&range->subnet), bound;
        char text[IP_TEXT_MAX];
        int r;

        if (range->subnet.length > bits - 2)
                return error_set(err, ERROR_INVALID, "Network %s too small to allocate from",
                                 ip_prefix_format(&range->subnet, text));
        if (!ip_equal(&first, &range->subnet.address))
                return error_set(err, ERROR_INVALID,
                                 "Network has host bits set. For a subnet mask of length %u the "
                                 "network address is %s",
                                 (unsigned int)range->subnet.length, ip_format(&first, text));
        (void)ip_next(&first);
        if (!ip_is_set(&range->gateway))
                range->gateway = first;
        bound = range->start;
        if (ip_is_set(&bound)) {
                range->start.family = 0;
                r = bound_check(range, &bound, "RangeStart", err);
                if (r < 0)
                        return r;
                range->start = bound;
        } else {
                range->start = first;
        }
        bound = range->end;
        if (ip_is_set(&bound)) {
                range->end.family = 0;
                r = bound_check(range, &bound, "RangeEnd", err);
                if (r < 0)
                        return r;
                range->end = bound;
        } else {
                range->end = last_usable(&range->subnet);
        }
        return 0;
}

static bool ranges_overlap(const IpamRange *a, const IpamRange *b) {
        if (a->subnet.address.family != b->subnet.address.family)
                return false;
        return ipam_range_contains(a, &b->start) || ipam_range_contains(a, &b->end) ||
               ipam_range_contains(b, &a->start) || ipam_range_contains(b, &a->end);
}

bool ipam_sets_overlap(const IpamSet *a, const IpamSet *b) {
        for (size_t i = 0; i < a->n; i++)
                for (size_t j = 0; j < b->n; j++)
                        if (ranges_overlap(&a->ranges[i], &b->ranges[j]))
                                return true;
        return false;
}

static int set_check_overlap(const IpamSet *set, Error *err) {
        char a[IP_TEXT_MAX], b[IP_TEXT_MAX];

        for (size_t i = 0; i < set->n; i++)
                for (size_t j = i + 1; j < set->n; j++)
                        if (ranges_overlap(&set->ranges[i], &set->ranges[j]))
                                return error_set(err, ERROR_INVALID, "subnets %s and %s overlap",
                                                 ip_prefix_format(&set->ranges[i].subnet, a),
                                                 ip_prefix_format(&set->ranges[j].subnet, b));
        return 0;
}

int ipam_set_complete(IpamSet *set, Error *err) {
        if (set->n == 0)
                return error_set(err, ERROR_INVALID, "empty range set");
        for (size_t i = 0; i < set->n; i++) {
                int r = ipam_range_complete(&set->ranges[i], err);

                if (r < 0)
                        return r;
                if (set->ranges[i].subnet.address.family != set->ranges[0].subnet.address.family)
                        return error_set(err, ERROR_INVALID, "mixed address families");
        }
        return set_check_overlap(set, err);
}

const IpamRange *ipam_set_find(const IpamSet *set, const IpAddress *address) {
        for (size_t i = 0; i < set->n; i++)
                if (ipam_range_contains(&set->ranges[i], address))
                        return &set->ranges[i];
        return NULL;
}

void ipam_set_format(const IpamSet *set, char *text, size_t n_text) {
        char start[IP_TEXT_MAX], end[IP_TEXT_MAX];
        size_t n = 0;

        text[0] = '\0';
        for (size_t i = 0; i < set->n && n < n_text; i++)
                n += (size_t)snprintf(text + n, n_text - n, "%s%s-%s", i > 0 ? "," : "",
                                      ip_format(&set->ranges[i].start, start),
                                      ip_format(&set->ranges[i].end, end));
}

uint64_t ipam_set_size(const IpamSet *set) {
        uint64_t size = 0;

        for (size_t i = 0; i < set->n; i++) {
                const IpamRange *range = &set->ranges[i];
                uint64_t n = ip_distance(&range->start, &range->end);

                /* One more for the end, one less for a gateway inside. */
                if (!ipam_range_contains(range, &range->gateway) &&
                    __builtin_add_overflow(n, 1, &n))
                        return UINT64_MAX;
                if (__builtin_add_overflow(size, n, &size))
                        return UINT64_MAX;
        }
        return size;
}

void ipam_cursor_init(IpamCursor *cursor, const IpamSet *set, const IpAddress *last) {
        *cursor = (IpamCursor){.set = set};
        for (size_t i = 0; last && i < set->n; i++)
                if (ipam_range_contains(&set->ranges[i], last)) {
                        cursor->range = i;
                        cursor->current = *last;
                        return;
                }
}

static void cursor_step(IpamCursor *cursor) {
        const IpamRange *range = &cursor->set->ranges[cursor->range];

        if (!ip_is_set(&cursor->current)) {
                cursor->current = range->start;
        } else if (ip_equal(&cursor->current, &range->end)) {
                cursor->range = (cursor->range + 1) % cursor->set->n;
                cursor->current = cursor->set->ranges[cursor->range].start;
        } else {
                (void)ip_next(&cursor->current);
        }
}

bool ipam_cursor_next(IpamCursor *cursor, IpAddress *addressp, const IpamRange **rangep) {
        for (;;) {
                const IpamRange *range;

                cursor_step(cursor);
                if (!ip_is_set(&cursor->first))
                        cursor->first = cursor->current;
                else if (ip_equal(&cursor->current, &cursor->first))
                        return false;
                range = &cursor->set->ranges[cursor->range];
                if (ip_equal(&cursor->current, &range->gateway))
                        continue;
                *addressp = cursor->current;
                *rangep = range;
                return true;
        }
}
