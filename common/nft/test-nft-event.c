/* SPDX-License-Identifier: Apache-2.0 */

/* What the kernel announces of rules that nft(8) makes and takes away, whole and cut. */

#include "tests/lib/test.h"

#include "common/base/cleanup.h"
#include "common/nft/nft_event.h"

#include <linux/netfilter.h>
#include <linux/netlink.h>

static NlSocket events = NL_SOCKET_NULL;

#define SEEN_MAX 32

typedef struct Seen {
        NftEvent items[SEEN_MAX];
        size_t n;
} Seen;

static void parse_cut(const struct nlmsghdr *message) {
        for (uint32_t n = sizeof(*message); n < message->nlmsg_len; n++) {
                cleanup(freep) struct nlmsghdr *copy = malloc(n);
                NftEvent event;
                int r;

                assert(copy);
                memcpy(copy, message, n);
                copy->nlmsg_len = n;
                r = nft_event_parse(copy, &event);
                assert(r == 0 || r == -EBADMSG);
        }
}

static int take(const struct nlmsghdr *message, void *userdata) {
        Seen *seen = userdata;

        assert(seen->n < SEEN_MAX);
        assert(nft_event_parse(message, &seen->items[seen->n++]) == 0);
        parse_cut(message);
        return 0;
}

static size_t count(const Seen *seen, NftEventKind kind, NftObject object) {
        size_t n = 0;

        for (size_t i = 0; i < seen->n; i++)
                n += seen->items[i].kind == kind && seen->items[i].object == object;
        return n;
}

/* One transaction by nft: every object of it is of table ip berth, and the end says who. */
static Seen transaction(const char *text) {
        Seen seen = {0};
        const NftEvent *end;
        int r;

        assert(test_run("nft", text, NULL) == 0);
        r = nl_socket_receive(&events, take, &seen);
        assert(r == -ENODATA);
        assert(seen.n > 1);
        end = &seen.items[seen.n - 1];
        assert(end->kind == NFT_EVENT_GENERATION && strcmp(end->program, "nft") == 0);
        for (size_t i = 0; i + 1 < seen.n; i++) {
                assert(seen.items[i].kind != NFT_EVENT_GENERATION);
                assert(seen.items[i].family == NFPROTO_IPV4);
                assert(strcmp(seen.items[i].table, "berth") == 0);
                assert((seen.items[i].object == NFT_OBJECT_RULE ||
                        seen.items[i].object == NFT_OBJECT_CHAIN) ==
                       (strcmp(seen.items[i].chain, "c") == 0));
        }
        return seen;
}

int main(void) {
        Seen seen;

        test_private_namespaces(0);
        if (test_run("nft", "--version", NULL) != 0)
                test_skip("needs nftables");
        if (test_run("nft", "add table ip berth", NULL) != 0)
                test_skip("needs nf_tables of the kernel");
        assert(nl_socket_open(&events, NETLINK_NETFILTER) == 0);
        assert(nft_event_join(&events) == 0);

        seen = transaction("add set ip berth s { type ipv4_addr; }; "
                           "add element ip berth s { 10.1.0.2 }; "
                           "add chain ip berth c { type filter hook forward priority 0; }; "
                           "add rule ip berth c ip saddr @s accept");
        assert(count(&seen, NFT_EVENT_NEW, NFT_OBJECT_SET) == 1);
        assert(count(&seen, NFT_EVENT_NEW, NFT_OBJECT_ELEMENT) == 1);
        assert(count(&seen, NFT_EVENT_NEW, NFT_OBJECT_CHAIN) == 1);
        assert(count(&seen, NFT_EVENT_NEW, NFT_OBJECT_RULE) == 1);

        seen = transaction("delete element ip berth s { 10.1.0.2 }");
        assert(seen.n == 2 && count(&seen, NFT_EVENT_GONE, NFT_OBJECT_ELEMENT) == 1);
        seen = transaction("flush chain ip berth c");
        assert(seen.n == 2 && count(&seen, NFT_EVENT_GONE, NFT_OBJECT_RULE) == 1);
        seen = transaction("flush ruleset");
        assert(count(&seen, NFT_EVENT_GONE, NFT_OBJECT_TABLE) == 1);
        assert(count(&seen, NFT_EVENT_GONE, NFT_OBJECT_CHAIN) == 1);
        assert(count(&seen, NFT_EVENT_GONE, NFT_OBJECT_SET) == 1);
        nl_socket_close(&events);
        return 0;
}
