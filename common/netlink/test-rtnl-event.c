/* SPDX-License-Identifier: Apache-2.0 */

/* What the kernel announces of what is done in a network namespace of our own, whole and cut. */

#include "tests/lib/test.h"

#include "common/base/cleanup.h"
#include "common/netlink/rtnl_event.h"
#include "common/netlink/rtnl_route.h"

static NlSocket sock = NL_SOCKET_NULL, events = NL_SOCKET_NULL;

/* What was announced since the last look. */
typedef struct Seen {
        size_t n[_RTNL_EVENT_N];
        unsigned int last[_RTNL_EVENT_N]; /* link */
        bool bridge_gone;
} Seen;

/* Each length that the socket could hand over: an error, or an event; a sanitizer sees more. */
static void parse_cut(const struct nlmsghdr *message) {
        for (uint32_t n = sizeof(*message); n < message->nlmsg_len; n++) {
                cleanup(freep) struct nlmsghdr *copy = malloc(n);
                RtnlEvent event;
                int r;

                assert(copy);
                memcpy(copy, message, n);
                copy->nlmsg_len = n;
                r = rtnl_event_parse(copy, &event);
                assert(r == 0 || r == -EBADMSG);
        }
}

static int take(const struct nlmsghdr *message, void *userdata) {
        Seen *seen = userdata;
        RtnlEvent event;

        assert(rtnl_event_parse(message, &event) == 0 && event.kind < _RTNL_EVENT_N);
        seen->n[event.kind]++;
        seen->last[event.kind] = event.index;
        seen->bridge_gone |= event.kind == RTNL_EVENT_LINK_GONE && event.is_bridge;
        parse_cut(message);
        return 0;
}

/* The kernel announces before it answers who asked: all is there. */
static Seen look(void) {
        Seen seen = {0};
        int r;

        r = nl_socket_receive(&events, take, &seen);
        assert(r == -ENODATA);
        return seen;
}

static int run(NlBatch *batch) {
        int r = nl_batch_run(&sock, batch, NULL, NULL);

        nl_batch_deinit(batch);
        return r;
}

static Link find(const char *name) {
        Link link;

        assert(link_find(&sock, 0, name, &link) == 0);
        return link;
}

int main(void) {
        NlBatch batch = {0};
        Link bridge, port;
        Seen seen;

        test_private_namespaces(0);
        assert(nl_socket_open(&sock, NETLINK_ROUTE) == 0);
        assert(nl_socket_open(&events, NETLINK_ROUTE) == 0);
        assert(rtnl_event_join(&events) == 0);

        link_add_bridge(&batch, &(BridgeSpec){.name = "br0", .up = true});
        assert(run(&batch) == 0);
        bridge = find("br0");
        assert(test_run("ip", "link", "add", "v0", "master", "br0", "up", "type", "veth", "peer",
                        "name", "v1", NULL) == 0);
        port = find("v0");
        seen = look();
        assert(seen.n[RTNL_EVENT_LINK] > 0 && seen.n[RTNL_EVENT_LINK_GONE] == 0);
        assert(seen.n[RTNL_EVENT_PORT_GONE] == 0 && seen.n[RTNL_EVENT_FORWARDING] == 0);

        assert(test_run("ip", "addr", "add", "10.1.0.1/16", "dev", "br0", NULL) == 0);
        seen = look();
        assert(seen.n[RTNL_EVENT_ADDRESS] == 1 && seen.last[RTNL_EVENT_ADDRESS] == bridge.index);
        assert(seen.n[RTNL_EVENT_ADDRESS_GONE] + seen.n[RTNL_EVENT_ROUTE_GONE] == 0);

        assert(test_run("ip", "route", "del", "10.1.0.0/16", "dev", "br0", NULL) == 0);
        seen = look();
        assert(seen.n[RTNL_EVENT_ROUTE_GONE] == 1 &&
               seen.last[RTNL_EVENT_ROUTE_GONE] == bridge.index);

        assert(test_run("ip", "addr", "del", "10.1.0.1/16", "dev", "br0", NULL) == 0);
        seen = look();
        assert(seen.n[RTNL_EVENT_ADDRESS_GONE] == 1 &&
               seen.last[RTNL_EVENT_ADDRESS_GONE] == bridge.index);

        assert(test_run("ip", "link", "set", "v0", "nomaster", NULL) == 0);
        seen = look();
        assert(seen.n[RTNL_EVENT_PORT_GONE] == 1 && seen.last[RTNL_EVENT_PORT_GONE] == port.index);
        assert(seen.n[RTNL_EVENT_LINK_GONE] == 0);

        /* Switches of one link are no event, those of all are. */
        test_write("/proc/sys/net/ipv4/conf/v0/forwarding", "1");
        assert(look().n[RTNL_EVENT_FORWARDING] == 0);
        test_write("/proc/sys/net/ipv4/ip_forward", "1");
        assert(look().n[RTNL_EVENT_FORWARDING] >= 1);

        assert(test_run("ip", "link", "del", "v0", NULL) == 0);
        seen = look();
        assert(seen.n[RTNL_EVENT_LINK_GONE] >= 1 && !seen.bridge_gone);
        assert(test_run("ip", "link", "del", "br0", NULL) == 0);
        seen = look();
        assert(seen.bridge_gone && seen.last[RTNL_EVENT_LINK_GONE] == bridge.index);
        nl_socket_close(&events);
        nl_socket_close(&sock);
        return 0;
}
