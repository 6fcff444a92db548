/* SPDX-License-Identifier: Apache-2.0 */

#include "common/netlink/rtnl_addr.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

static void address_request(NlBatch *batch, uint16_t type, uint16_t flags,
                            const LinkAddress *address) {
        struct ifaddrmsg header = {
                .ifa_family = address->family,
                .ifa_prefixlen = address->prefix,
                .ifa_flags = (uint8_t)address->flags,
                .ifa_scope = address->scope,
                .ifa_index = address->index,
        };
        static const uint8_t zero[4];
        int size = (int)addr_size(address->family);
        struct nl_msg *message = nl_batch_add(batch, type, flags, &header, sizeof(header), 96);

        if (!message)
                return;
        nl_batch_put(batch, nla_put(message, IFA_LOCAL, size, address->bytes));
        nl_batch_put(batch, nla_put(message, IFA_ADDRESS, size, address->bytes));
        if (address->family == AF_INET && memcmp(address->broadcast, zero, sizeof(zero)) != 0)
                nl_batch_put(batch, nla_put(message, IFA_BROADCAST, size, address->broadcast));
        if (address->flags)
                nl_batch_put(batch, nla_put_u32(message, IFA_FLAGS, address->flags));
}

void addr_add(NlBatch *batch, const LinkAddress *address) {
        address_request(batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, address);
}

void addr_delete(NlBatch *batch, const LinkAddress *address) {
        address_request(batch, RTM_DELADDR, 0, address);
}

int addr_parse(const struct nlmsghdr *message, LinkAddress *address) {
        const struct nlattr *table[IFA_FLAGS + 1] = {0};
        const struct nlattr *local;
        struct ifaddrmsg header;
        int r;

        if (message->nlmsg_type != RTM_NEWADDR)
                return -EBADMSG;
        r = nl_attributes(message, sizeof(header), table, N_ELEMENTS(table));
        if (r < 0)
                return r;
        memcpy(&header, nl_payload(message), sizeof(header));
        local = table[IFA_LOCAL] ? table[IFA_LOCAL] : table[IFA_ADDRESS];
        if ((header.ifa_family != AF_INET && header.ifa_family != AF_INET6) || !local ||
            (size_t)nla_len(local) != addr_size(header.ifa_family))
                return -EBADMSG;
        *address = (LinkAddress){
                .index = header.ifa_index,
                .family = header.ifa_family,
                .prefix = header.ifa_prefixlen,
                .scope = header.ifa_scope,
                .flags = nl_get_u32(table[IFA_FLAGS], header.ifa_flags),
        };
        memcpy(address->bytes, nla_data(local), (size_t)nla_len(local));
        if (table[IFA_BROADCAST] && nla_len(table[IFA_BROADCAST]) == 4)
                memcpy(address->broadcast, nla_data(table[IFA_BROADCAST]), 4);
        return 0;
}

typedef struct AddrList {
        unsigned int index;
        LinkAddress *addresses;
        size_t n, n_room;
} AddrList;

static int list_reply(size_t index, const struct nlmsghdr *reply, void *userdata) {
        AddrList *list = userdata;
        LinkAddress address;
        int r;

        if (!reply) {
                list->n = 0;
                return 0;
        }
        r = addr_parse(reply, &address);
        if (r < 0)
                return r;
        /* Kernels before 4.20 have no filter and tell of every link. */
        if (address.index != list->index)
                return 0;
        if (list->n < list->n_room)
                list->addresses[list->n] = address;
        list->n++;
        return 0;
}

int addr_list(NlSocket *sock, unsigned int index, uint8_t family, LinkAddress *addresses,
              size_t n_room, size_t *np) {
        struct ifaddrmsg header = {.ifa_family = family, .ifa_index = index};
        AddrList list = {.index = index, .addresses = addresses, .n_room = n_room};
        struct nl_msg *message;
        int r;

        message = nl_message_new(RTM_GETADDR, 0, &header, sizeof(header), 0);
        if (!message)
                return -ENOMEM;
        r = nl_socket_dump(sock, RTM_GETADDR, message, list_reply, &list);
        nlmsg_free(message);
        if (r < 0)
                return r;
        *np = list.n;
        return 0;
}
