/* SPDX-License-Identifier: Apache-2.0 */

/* Lease files, index entries and addresses: what is accepted prints as what it was read from. */

#include "cni/ipam/lease.h"
#include "common/base/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check_address(const char *text) {
        char again[IP_TEXT_MAX];
        IpPrefix prefix, other;

        if (ip_parse(text, &prefix.address) == 0) {
                assert(ip_parse(ip_format(&prefix.address, again), &other.address) == 0);
                assert(ip_equal(&prefix.address, &other.address));
        }
        if (ip_prefix_parse(text, &prefix) == 0) {
                IpAddress first = ip_prefix_first(&prefix), last = ip_prefix_last(&prefix);

                assert(ip_prefix_parse(ip_prefix_format(&prefix, again), &other) == 0);
                assert(ip_prefix_equal(&prefix, &other));
                assert(ip_prefix_contains(&prefix, &first) && ip_prefix_contains(&prefix, &last));
                assert(ip_compare(&first, &last) <= 0);
                (void)ip_distance(&first, &last);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        cleanup(freep) char *text = malloc(n + 1);
        const char *id = NULL, *ifname = NULL;
        IpPrefix ips[LEASE_IPS_MAX];
        int found;

        assert(text);
        if (n)
                memcpy(text, data, n);
        text[n] = '\0';
        check_address(text);
        found = lease_entry_parse(text, ips, LEASE_IPS_MAX);
        assert(found < 0 || (found >= 1 && found <= LEASE_IPS_MAX));
        if (lease_content_parse(text, &id, &ifname) == 0)
                assert(id[0] != '\0' && id >= text && ifname);
        return 0;
}
