/* SPDX-License-Identifier: Apache-2.0 */

/* Building and reading of messages: bytes only, no socket. What comes in is foreign: every length
 * is checked before it is used. */

#include "common/netlink/nl_socket.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>

#define ATTR_HEADER sizeof(struct nlattr)

struct nl_msg *nl_message_new(uint16_t type, uint16_t flags, const void *header, size_t n_header,
                              size_t room) {
        struct nl_msg *message;
        void *at;

        message = nlmsg_alloc_size(NLMSG_HDRLEN + NLMSG_ALIGN(n_header) + room);
        if (!message)
                return NULL;
        if (!nlmsg_put(message, 0, 0, type, 0, flags))
                goto fail;
        at = nlmsg_reserve(message, n_header, NLMSG_ALIGNTO);
        if (!at)
                goto fail;
        memcpy(at, header, n_header);
        return message;
fail:
        nlmsg_free(message);
        return NULL;
}

void nl_batch_deinit(NlBatch *batch) {
        for (size_t i = 0; i < batch->n; i++)
                nlmsg_free(batch->messages[i]);
        batch->n = 0;
        batch->broken = 0;
}

struct nl_msg *nl_batch_add(NlBatch *batch, uint16_t type, uint16_t flags, const void *header,
                            size_t n_header, size_t room) {
        struct nl_msg *message;

        if (batch->n == NL_BATCH_MAX) {
                batch->broken = batch->broken ? batch->broken : -E2BIG;
                return NULL;
        }
        message = nl_message_new(type, flags, header, n_header, room);
        if (!message) {
                batch->broken = batch->broken ? batch->broken : -ENOMEM;
                return NULL;
        }
        batch->messages[batch->n++] = message;
        /* rtnetlink's types come in fours: new, delete, get, set. */
        batch->ends_in_answer = type >= RTM_BASE && type < RTM_MAX && (type & 3) == 2;
        return message;
}

/*
 * With NETLINK_CAP_ACK the attributes follow struct nlmsgerr at once (NLM_F_CAPPED); without it
 * they follow the whole request, which the kernel then echoes.
 */
static size_t ack_attributes_offset(const struct nlmsghdr *message, const struct nlmsgerr *ack) {
        size_t offset = sizeof(*ack);

        if (!(message->nlmsg_flags & NLM_F_CAPPED) && ack->msg.nlmsg_len > NLMSG_HDRLEN)
                offset += NLMSG_ALIGN((size_t)ack->msg.nlmsg_len - NLMSG_HDRLEN);
        return offset;
}

int nl_ack_parse(const struct nlmsghdr *message, char *text, uint32_t *offsetp) {
        const struct nlattr *table[NLMSGERR_ATTR_MAX + 1] = {0};
        struct nlmsgerr ack;

        text[0] = '\0';
        if (message->nlmsg_len < NLMSG_LENGTH(sizeof(ack)))
                return -EBADMSG;
        memcpy(&ack, nl_payload(message), sizeof(ack));
        if (ack.error > 0 || ack.error < -4095)
                return -EBADMSG;
        if (ack.error == 0 || !(message->nlmsg_flags & NLM_F_ACK_TLVS))
                return ack.error;
        /* A malformed text must not hide the error itself. */
        if (nl_attributes(message, ack_attributes_offset(message, &ack), table, N_ELEMENTS(table)) <
            0)
                return ack.error;
        nl_get_text(table[NLMSGERR_ATTR_MSG], text, NL_TEXT_MAX);
        if (offsetp)
                *offsetp = nl_get_u32(table[NLMSGERR_ATTR_OFFS], 0);
        return ack.error;
}

static int index_attributes(const uint8_t *at, size_t left, const struct nlattr **table,
                            size_t n_table) {
        while (left >= ATTR_HEADER) {
                const struct nlattr *attr = (const struct nlattr *)(const void *)at;
                size_t step;
                uint16_t type;

                if (attr->nla_len < ATTR_HEADER || attr->nla_len > left)
                        return -EBADMSG;
                type = attr->nla_type & (uint16_t)NLA_TYPE_MASK;
                if (type < n_table)
                        table[type] = attr;
                step = ((size_t)attr->nla_len + 3) & ~(size_t)3;
                if (step >= left)
                        break;
                at += step;
                left -= step;
        }
        return 0;
}

int nl_attributes(const struct nlmsghdr *message, size_t offset, const struct nlattr **table,
                  size_t n_table) {
        size_t start = (size_t)NLMSG_HDRLEN + NLMSG_ALIGN(offset);

        memset((void *)(uintptr_t)table, 0, n_table * sizeof(*table));
        if (message->nlmsg_len < start)
                return message->nlmsg_len >= (size_t)NLMSG_HDRLEN + offset ? 0 : -EBADMSG;
        return index_attributes((const uint8_t *)message + start, message->nlmsg_len - start, table,
                                n_table);
}

int nl_nested(const struct nlattr *nest, const struct nlattr **table, size_t n_table) {
        memset((void *)(uintptr_t)table, 0, n_table * sizeof(*table));
        if (!nest)
                return 0;
        return index_attributes((const uint8_t *)nla_data(nest), (size_t)nla_len(nest), table,
                                n_table);
}

int nl_attributes_in(const void *data, size_t n_data, const struct nlattr **table, size_t n_table) {
        memset((void *)(uintptr_t)table, 0, n_table * sizeof(*table));
        return index_attributes(data, n_data, table, n_table);
}

uint8_t nl_get_u8(const struct nlattr *attr, uint8_t fallback) {
        return attr && nla_len(attr) >= (int)sizeof(uint8_t) ? nla_get_u8(attr) : fallback;
}

uint16_t nl_get_u16(const struct nlattr *attr, uint16_t fallback) {
        return attr && nla_len(attr) >= (int)sizeof(uint16_t) ? nla_get_u16(attr) : fallback;
}

uint32_t nl_get_u32(const struct nlattr *attr, uint32_t fallback) {
        return attr && nla_len(attr) >= (int)sizeof(uint32_t) ? nla_get_u32(attr) : fallback;
}

void nl_get_text(const struct nlattr *attr, char *text, size_t n_text) {
        size_t n = attr ? strnlen(nla_data(attr), (size_t)nla_len(attr)) : 0;

        if (n >= n_text)
                n = n_text - 1;
        if (n > 0)
                memcpy(text, nla_data(attr), n);
        text[n] = '\0';
}
