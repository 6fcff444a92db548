/* SPDX-License-Identifier: Apache-2.0 */

/* The real kernel, in a network namespace of our own. */

#include "tests/lib/test.h"

#include "common/base/cleanup.h"
#include "common/netlink/rtnl_link.h"
#include "common/netlink/rtnl_route.h"

static NlSocket sock = NL_SOCKET_NULL;

static int run(NlBatch *batch) {
        int r = nl_batch_run(&sock, batch, NULL, NULL);

        nl_batch_deinit(batch);
        return r;
}

static void test_bridge(void) {
        static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
        NlBatch batch = {0};
        Link link;

        link_add_bridge(&batch, &(BridgeSpec){.name = "br0", .mac = mac, .up = true});
        link_set(&batch, &(LinkChange){.set = LINK_SET_MTU, .name = "br0", .mtu_bytes = 1400});
        assert(run(&batch) == 0);
        link_add_bridge(&batch, &(BridgeSpec){.name = "br0"});
        assert(run(&batch) == -EEXIST);
        assert(link_find(&sock, 0, "br0", &link) == 0);
        assert(strcmp(link.kind, "bridge") == 0 && link.mtu_bytes == 1400);
        assert(link.has_mac && memcmp(link.mac, mac, sizeof(mac)) == 0 && (link.flags & IFF_UP));
        assert(link_find(&sock, 0, "none", &link) == -ENODEV);
        assert(link_find(&sock, 4711, NULL, &link) == -ENODEV);
}

/* The peer is born in the other namespace; the host's end is a port and up. */
static void test_veth(int netns_fd) {
        NlBatch batch = {0};
        Link bridge, link, found;

        assert(link_find(&sock, 0, "br0", &bridge) == 0);
        link_add_veth(&batch, &(VethSpec){.name = "v0",
                                          .master = bridge.index,
                                          .peer_name = "eth0",
                                          .peer_netns_fd = netns_fd,
                                          .n_queues = 1,
                                          .up = true});
        assert(run(&batch) == 0);
        assert(link_find(&sock, 0, "v0", &link) == 0);
        assert(link.master == bridge.index && link.peer != 0 && link.peer_netnsid >= 0);
        assert(strcmp(link.kind, "veth") == 0 && link.has_port && !link.hairpin);
        link_set(&batch, &(LinkChange){.set = LINK_SET_ALIAS | LINK_SET_HAIRPIN |
                                              LINK_SET_ISOLATED | LINK_SET_GROUP,
                                       .index = link.index,
                                       .alias = "whose",
                                       .hairpin = true,
                                       .isolated = true,
                                       .group = 77});
        assert(run(&batch) == 0);
        assert(link_find(&sock, link.index, NULL, &found) == 0);
        assert(strcmp(found.alias, "whose") == 0 && found.hairpin && found.isolated);
        assert(found.group == 77);
}

static int count(const Link *link, void *userdata) {
        (*(size_t *)userdata)++;
        return 0;
}

static void test_dump(void) {
        NlBatch batch = {0};
        Link bridge;
        size_t n = 0;

        for (int i = 0; i < 40; i++) {
                char name[16], peer[16];

                (void)snprintf(name, sizeof(name), "a%d", i);
                (void)snprintf(peer, sizeof(peer), "b%d", i);
                link_add_veth(&batch, &(VethSpec){.name = name,
                                                  .peer_name = peer,
                                                  .peer_netns_fd = -1,
                                                  .n_queues = 1});
        }
        assert(run(&batch) == 0);
        assert(link_dump(&sock, "veth", 0, count, &n) == 0 && n == 81);
        n = 0;
        assert(link_find(&sock, 0, "br0", &bridge) == 0);
        assert(link_dump(&sock, "veth", bridge.index, count, &n) == 0 && n == 1);
        n = 0;
        assert(link_dump(&sock, NULL, 0, count, &n) == 0 && n >= 83);
}

/* Every message is tried and has its own result, the words are about the first failure. */
static void test_results(void) {
        cleanup(nl_batch_deinit) NlBatch batch = {0};
        Link link;

        link_delete(&batch, 0, "none");
        link_set(&batch, &(LinkChange){.set = LINK_SET_MTU, .name = "a0", .mtu_bytes = 1300});
        link_set(&batch, &(LinkChange){.set = LINK_SET_MTU, .name = "a0", .mtu_bytes = 7});
        link_get(&batch, 0, "none");
        assert(nl_batch_run(&sock, &batch, NULL, NULL) == -ENODEV);
        assert(batch.failed == 0 && batch.results[0] == -ENODEV && batch.results[1] == 0);
        assert(batch.results[2] == -EINVAL && batch.results[3] == -ENODEV);
        assert(link_find(&sock, 0, "a0", &link) == 0 && link.mtu_bytes == 1300);
        nl_batch_deinit(&batch);
        link_set(&batch, &(LinkChange){.set = LINK_SET_MTU, .name = "a0", .mtu_bytes = 7});
        assert(nl_batch_run(&sock, &batch, NULL, NULL) == -EINVAL);
        assert(strstr(sock.text, "mtu"));
}

static void test_addresses_and_routes(void) {
        const LinkAddress address = {.family = AF_INET,
                                     .prefix = 24,
                                     .bytes = {10, 1, 0, 1},
                                     .broadcast = {10, 1, 0, 255}};
        LinkAddress found[8], one = address;
        NlBatch batch = {0};
        size_t n = 0;
        Link link;

        assert(link_find(&sock, 0, "br0", &link) == 0);
        one.index = link.index;
        addr_add(&batch, &one);
        assert(run(&batch) == 0);
        addr_add(&batch, &one);
        assert(run(&batch) == -EEXIST);
        assert(addr_list(&sock, link.index, AF_INET, found, N_ELEMENTS(found), &n) == 0 && n == 1);
        assert(memcmp(found[0].bytes, one.bytes, 4) == 0 && found[0].prefix == 24);
        route_add(&batch, &(Route){.family = AF_INET,
                                   .prefix = 16,
                                   .destination = {10, 9},
                                   .has_gateway = true,
                                   .gateway = {10, 1, 0, 9},
                                   .index = link.index});
        assert(run(&batch) == 0);
        route_add(&batch, &(Route){.family = AF_INET,
                                   .prefix = 16,
                                   .destination = {10, 8},
                                   .has_gateway = true,
                                   .gateway = {10, 99, 0, 9},
                                   .index = link.index});
        assert(run(&batch) == -ENETUNREACH && strstr(sock.text, "gateway"));
        addr_delete(&batch, &one);
        assert(run(&batch) == 0);
        assert(addr_list(&sock, link.index, AF_INET, found, N_ELEMENTS(found), &n) == 0 && n == 0);
}

static void test_delete_group(void) {
        NlBatch batch = {0};
        size_t n = 0;

        for (int i = 0; i < 3; i++) {
                char name[16];

                (void)snprintf(name, sizeof(name), "a%d", i);
                link_set(&batch, &(LinkChange){.set = LINK_SET_GROUP, .name = name, .group = 9});
        }
        link_delete_group(&batch, 9);
        assert(run(&batch) == 0);
        assert(link_dump(&sock, "veth", 0, count, &n) == 0 && n == 81 - 6);
        link_delete_group(&batch, 9);
        assert(run(&batch) == -ENODEV);
}

int main(void) {
        int netns_fd;

        test_private_namespaces(0);
        netns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        assert(netns_fd >= 0 && unshare(CLONE_NEWNET) == 0);
        assert(nl_socket_open(&sock, NETLINK_ROUTE) == 0);
        test_bridge();
        test_veth(netns_fd);
        test_dump();
        test_results();
        test_addresses_and_routes();
        test_delete_group();
        nl_socket_close(&sock);
        close(netns_fd);
        return 0;
}
