/* SPDX-License-Identifier: Apache-2.0 */

/* What the kernel answers: a datagram of messages, each read as everything it could be. */

#include "common/base/cleanup.h"
#include "common/netlink/rtnl_event.h"
#include "common/netlink/rtnl_route.h"
#include "common/netlink/sock_diag.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void read_message(const struct nlmsghdr *message) {
        char text[NL_TEXT_MAX];
        uint32_t offset;
        LinkAddress address;
        WaitingSocket waiting;
        Route route;
        RtnlEvent event;
        Link link;

        (void)nl_ack_parse(message, text, &offset);
        assert(memchr(text, '\0', sizeof(text)));
        if (link_parse(message, &link) == 0)
                assert(memchr(link.name, '\0', sizeof(link.name)) &&
                       memchr(link.alias, '\0', sizeof(link.alias)) &&
                       memchr(link.kind, '\0', sizeof(link.kind)));
        if (addr_parse(message, &address) == 0)
                assert(address.family == 2 || address.family == 10);
        if (rtnl_event_parse(message, &event) == 0)
                assert(event.kind < _RTNL_EVENT_N &&
                       memchr(event.link.name, '\0', sizeof(event.link.name)));
        (void)route_parse(message, &route);
        (void)forwarding_parse(message);
        if (sock_diag_parse(message, 6, &waiting) == 0)
                assert(waiting.family == 2 || waiting.family == 10);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        cleanup(freep) uint8_t *copy = malloc(n ? n : 1);
        size_t at = 0;

        assert(copy);
        if (n)
                memcpy(copy, data, n);
        while (n - at >= sizeof(struct nlmsghdr)) {
                cleanup(freep) uint8_t *one = NULL;
                struct nlmsghdr header;
                size_t step;

                memcpy(&header, copy + at, sizeof(header));
                if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > n - at)
                        break;
                /* A copy of its own, so that a read behind its end is seen. */
                one = malloc(header.nlmsg_len);
                assert(one);
                memcpy(one, copy + at, header.nlmsg_len);
                read_message((const struct nlmsghdr *)(void *)one);
                step = ((size_t)header.nlmsg_len + 3) & ~(size_t)3;
                if (step > n - at)
                        break;
                at += step;
        }
        return 0;
}
