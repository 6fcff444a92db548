/* SPDX-License-Identifier: Apache-2.0 */

#include "common/netlink/sock_diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

/* Of enum in linux/inet_diag.h since 4.10; older headers lack it. */
#define ATTR_V6ONLY 11

typedef struct Dump {
        uint8_t protocol;
        WaitingSocketEach each;
        void *userdata;
} Dump;

/* An IPv6 socket at ::ffff:a.b.c.d has IPv4's packets alone; ::ffff:0.0.0.0 has all of them. */
static void take_mapped(WaitingSocket *found) {
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

        if (found->family != AF_INET6 || memcmp(found->address, mapped, sizeof(mapped)) != 0)
                return;
        found->family = AF_INET;
        memmove(found->address, found->address + sizeof(mapped), 4);
        memset(found->address + 4, 0, sizeof(found->address) - 4);
}

int sock_diag_parse(const struct nlmsghdr *message, uint8_t protocol, WaitingSocket *found) {
        static const uint8_t zero[16];
        const struct nlattr *table[ATTR_V6ONLY + 1];
        struct inet_diag_msg header;
        int r;

        *found = (WaitingSocket){0};
        if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY)
                return -ENOENT;
        r = nl_attributes(message, sizeof(header), table, ATTR_V6ONLY + 1);
        if (r < 0)
                return r;
        memcpy(&header, nl_payload(message), sizeof(header));
        if (header.idiag_family != AF_INET && header.idiag_family != AF_INET6)
                return -ENOENT;
        found->family = header.idiag_family;
        found->protocol = protocol;
        found->port = ntohs(header.id.idiag_sport);
        found->index = header.id.idiag_if;
        memcpy(found->address, header.id.idiag_src, header.idiag_family == AF_INET ? 4 : 16);
        take_mapped(found);
        found->both_families = found->family == AF_INET6 &&
                               memcmp(found->address, zero, sizeof(zero)) == 0 &&
                               nl_get_u8(table[ATTR_V6ONLY], 0) == 0;
        return 0;
}

static int reply(size_t index, const struct nlmsghdr *message, void *userdata) {
        const Dump *dump = userdata;
        WaitingSocket found;
        int r = message ? sock_diag_parse(message, dump->protocol, &found) : -ENOENT;

        if (r < 0)
                return r == -ENOENT ? 0 : r;
        return dump->each(&found, dump->userdata);
}

int sock_diag_waiting(NlSocket *sock, uint8_t family, uint8_t protocol, WaitingSocketEach each,
                      void *userdata) {
        struct inet_diag_req_v2 request = {
                .sdiag_family = family,
                .sdiag_protocol = protocol,
                /* A bound UDP socket without a peer is in the state of a closed TCP socket. */
                .idiag_states = 1U << (protocol == IPPROTO_UDP ? TCP_CLOSE : TCP_LISTEN),
        };
        Dump dump = {.protocol = protocol, .each = each, .userdata = userdata};
        struct nl_msg *message;
        int r;

        message = nl_message_new(SOCK_DIAG_BY_FAMILY, 0, &request, sizeof(request), 0);
        if (!message)
                return -ENOMEM;
        r = sock->fd >= 0 ? 0 : nl_socket_open(sock, NETLINK_SOCK_DIAG);
        if (r == 0)
                r = nl_socket_dump(sock, SOCK_DIAG_BY_FAMILY, message, reply, &dump);
        nlmsg_free(message);
        return r;
}
