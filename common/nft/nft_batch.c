/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Messages of nf_tables on libnl's message writer. One message is written in place and its bytes
 * are appended, so that the whole transaction is one buffer for one sendmsg(2).
 */

#include "common/nft/nft_batch.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

/* The longest message is a rule with 16 conditions of portmap, as the kernel prints it. */
#define MESSAGE_ROOM 4096U
/* 1024 host ports of both families, each element replaced: 5 MB. */
#define BATCH_MAX (16UL * 1024 * 1024)

/* Type, length, value, in user data; type 0 is the comment for rules and for elements. */
#define USERDATA_COMMENT 0
/* Of sets: the byte order of keys and of data, a number in host order. */
#define USERDATA_KEY_ORDER  0
#define USERDATA_DATA_ORDER 1
#define ORDER_HOST          1U
/* Likewise, since nft 0.9.3: of which expressions a key is, as nested user data. */
#define USERDATA_KEY_TYPEOF 3

static void broken(NftBatch *batch, int r) {
        if (r < 0 && batch->broken == 0)
                batch->broken = r;
}

/* libnl says nothing better than "does not fit". */
static void put(NftBatch *batch, int r) {
        if (r < 0)
                broken(batch, -EMSGSIZE);
}

static bool grow(NftBatch *batch, size_t n) {
        size_t n_wanted = batch->n_allocated > 0 ? batch->n_allocated : 2048;
        uint8_t *bytes;

        if (n > BATCH_MAX)
                return false;
        while (n_wanted < n)
                n_wanted *= 2;
        if (n_wanted == batch->n_allocated)
                return true;
        bytes = realloc(batch->bytes, n_wanted);
        if (!bytes)
                return false;
        batch->bytes = bytes;
        batch->n_allocated = n_wanted;
        return true;
}

static struct nl_msg *begin(NftBatch *batch, uint16_t type, uint16_t flags, uint8_t family,
                            uint16_t resource) {
        struct nfgenmsg header = {
                .nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(resource)};
        struct nlmsghdr *message;

        if (batch->broken < 0)
                return NULL;
        if (!batch->message)
                batch->message = nlmsg_alloc_size(MESSAGE_ROOM);
        if (!batch->message) {
                broken(batch, -ENOMEM);
                return NULL;
        }
        nlmsg_hdr(batch->message)->nlmsg_len = NLMSG_HDRLEN;
        message = nlmsg_put(batch->message, 0, batch->n_messages, type, 0, NLM_F_REQUEST | flags);
        if (!message || nlmsg_append(batch->message, &header, sizeof(header), NLMSG_ALIGNTO) < 0) {
                broken(batch, -EMSGSIZE);
                return NULL;
        }
        return batch->message;
}

struct nl_msg *nft_message_begin(NftBatch *batch, uint16_t type, uint16_t flags, uint8_t family) {
        if (batch->ended)
                broken(batch, -EINVAL);
        return begin(batch, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, family, 0);
}

void nft_message_end(NftBatch *batch) {
        const struct nlmsghdr *message;

        if (batch->broken < 0)
                return;
        message = nlmsg_hdr(batch->message);
        if (!grow(batch, batch->n + NLMSG_ALIGN(message->nlmsg_len))) {
                broken(batch, -ENOMEM);
                return;
        }
        memset(batch->bytes + batch->n, 0, NLMSG_ALIGN(message->nlmsg_len));
        memcpy(batch->bytes + batch->n, message, message->nlmsg_len);
        batch->n += NLMSG_ALIGN(message->nlmsg_len);
        batch->n_messages++;
}

void nft_batch_begin(NftBatch *batch) {
        struct nl_msg *message = batch->message;
        uint8_t *bytes = batch->bytes;
        size_t n_allocated = batch->n_allocated;

        *batch = (NftBatch){.bytes = bytes, .n_allocated = n_allocated, .message = message};
        if (!begin(batch, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES))
                return;
        nft_put_u32(batch, NFNL_BATCH_GENID, 0);
        nft_message_end(batch);
}

void nft_batch_set_generation(NftBatch *batch, uint32_t generation) {
        size_t offset = sizeof(struct nlmsghdr) + sizeof(struct nfgenmsg) + sizeof(struct nlattr);
        uint32_t value = htonl(generation);

        if (batch->broken == 0 && batch->n >= offset + sizeof(value))
                memcpy(batch->bytes + offset, &value, sizeof(value));
}

/* Sets NLM_F_ACK in the last message: silence about all others then means success. */
static void ask_for_ack(NftBatch *batch) {
        size_t offset = 0, last = 0;
        struct nlmsghdr header;

        while (offset < batch->n) {
                last = offset;
                memcpy(&header, batch->bytes + offset, sizeof(header));
                offset += NLMSG_ALIGN(header.nlmsg_len);
        }
        memcpy(&header, batch->bytes + last, sizeof(header));
        header.nlmsg_flags |= NLM_F_ACK;
        memcpy(batch->bytes + last, &header, sizeof(header));
}

void nft_batch_end(NftBatch *batch) {
        if (batch->ended || batch->broken < 0)
                return;
        if (!nft_batch_is_empty(batch))
                ask_for_ack(batch);
        if (!begin(batch, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES))
                return;
        nft_message_end(batch);
        batch->ended = true;
}

void nft_batch_deinit(NftBatch *batch) {
        free(batch->bytes);
        if (batch->message)
                nlmsg_free(batch->message);
        *batch = (NftBatch){0};
}

/* --- attributes --------------------------------------------------------------------------- */

void nft_put_text(NftBatch *batch, int type, const char *text) {
        if (batch->broken < 0)
                return;
        if (strlen(text) > NFT_NAME_MAX)
                broken(batch, -ENAMETOOLONG);
        else
                put(batch, nla_put_string(batch->message, type, text));
}

void nft_put_u32(NftBatch *batch, int type, uint32_t value) {
        if (batch->broken == 0)
                put(batch, nla_put_u32(batch->message, type, htonl(value)));
}

void nft_put_u64(NftBatch *batch, int type, uint64_t value) {
        uint64_t big = htobe64(value);

        if (batch->broken == 0)
                put(batch, nla_put(batch->message, type, sizeof(big), &big));
}

struct nlattr *nft_nest_begin(NftBatch *batch, int type) {
        struct nlattr *nest;

        if (batch->broken < 0)
                return NULL;
        nest = nla_nest_start(batch->message, type | NLA_F_NESTED);
        if (!nest)
                broken(batch, -EMSGSIZE);
        return nest;
}

void nft_nest_end(NftBatch *batch, struct nlattr *nest) {
        if (batch->broken == 0 && nest)
                put(batch, nla_nest_end(batch->message, nest));
}

void nft_put_value(NftBatch *batch, int type, const void *value, size_t n) {
        struct nlattr *nest = nft_nest_begin(batch, type);

        if (!nest)
                return;
        if (n > NFT_VALUE_MAX)
                broken(batch, -EMSGSIZE);
        else
                put(batch, nla_put(batch->message, NFTA_DATA_VALUE, (int)n, value));
        nft_nest_end(batch, nest);
}

void nft_put_comment(NftBatch *batch, int type, const char *comment) {
        uint8_t data[2 + NFT_COMMENT_MAX] = {USERDATA_COMMENT};
        size_t n = strlen(comment);

        if (batch->broken < 0 || n == 0)
                return;
        if (n >= NFT_COMMENT_MAX) {
                broken(batch, -ENAMETOOLONG);
                return;
        }
        data[1] = (uint8_t)(n + 1);
        memcpy(data + 2, comment, n + 1);
        put(batch, nla_put(batch->message, type, (int)(2 + n + 1), data));
}

/* --- objects ------------------------------------------------------------------------------ */

void nft_table_add(NftBatch *batch, uint8_t family, const char *table) {
        if (!nft_message_begin(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE, family))
                return;
        nft_put_text(batch, NFTA_TABLE_NAME, table);
        nft_message_end(batch);
}

void nft_table_delete(NftBatch *batch, uint8_t family, const char *table) {
        if (!nft_message_begin(batch, NFT_MSG_DELTABLE, 0, family))
                return;
        nft_put_text(batch, NFTA_TABLE_NAME, table);
        nft_message_end(batch);
}

void nft_chain_add(NftBatch *batch, const NftChain *chain) {
        struct nlattr *hook;

        if (!nft_message_begin(batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE, chain->family))
                return;
        nft_put_text(batch, NFTA_CHAIN_TABLE, chain->table);
        nft_put_text(batch, NFTA_CHAIN_NAME, chain->name);
        if (chain->type) {
                hook = nft_nest_begin(batch, NFTA_CHAIN_HOOK);
                nft_put_u32(batch, NFTA_HOOK_HOOKNUM, chain->hook);
                nft_put_u32(batch, NFTA_HOOK_PRIORITY, (uint32_t)chain->priority);
                nft_nest_end(batch, hook);
                nft_put_u32(batch, NFTA_CHAIN_POLICY, NF_ACCEPT);
                nft_put_text(batch, NFTA_CHAIN_TYPE, chain->type);
        }
        nft_message_end(batch);
}

void nft_chain_delete(NftBatch *batch, uint8_t family, const char *table, const char *name) {
        if (!nft_message_begin(batch, NFT_MSG_DELCHAIN, 0, family))
                return;
        nft_put_text(batch, NFTA_CHAIN_TABLE, table);
        nft_put_text(batch, NFTA_CHAIN_NAME, name);
        nft_message_end(batch);
}

static void put_orders(NftBatch *batch, const NftSet *set) {
        uint8_t data[2 * (2 + sizeof(uint32_t))];
        uint32_t order = ORDER_HOST;
        size_t n = 0;

        for (uint8_t type = USERDATA_KEY_ORDER; type <= USERDATA_DATA_ORDER; type++) {
                if (!(type == USERDATA_KEY_ORDER ? set->key_host_order : set->data_host_order))
                        continue;
                data[n++] = type;
                data[n++] = sizeof(order);
                memcpy(data + n, &order, sizeof(order));
                n += sizeof(order);
        }
        if (n > 0 && batch->broken == 0)
                put(batch, nla_put(batch->message, NFTA_SET_USERDATA, (int)n, data));
}

/* A number and its header. */
#define USERDATA_NUMBER 6U

static uint8_t *put_number(uint8_t *at, uint8_t type, uint32_t value) {
        at[0] = type;
        at[1] = sizeof(value);
        memcpy(at + 2, &value, sizeof(value));
        return at + USERDATA_NUMBER;
}

/* What follows is @n bytes that belong to @type. */
static uint8_t *put_nest(uint8_t *at, uint8_t type, size_t n) {
        at[0] = type;
        at[1] = (uint8_t)n;
        return at + 2;
}

/*
 * "typeof meta iifname . @th,OFFSET,128": a concatenation (nft(8)'s expression 13) of meta (9) with
 * its key, and of payload (7) with protocol and template, which are none, base, offset and length
 * in bits.
 */
static void put_typeof(NftBatch *batch, const NftSet *set) {
        enum {
                EXPRESSION = 0,
                DATA = 1,
                PAYLOAD = 7,
                META = 9,
                CONCATENATION = 13
        };
        const uint32_t payload[] = {0, 0, 3, set->link_and_transport * 8, 16 * 8};
        const uint8_t n_payload = sizeof(payload) / sizeof(payload[0]);
        const size_t n_meta = 2 * USERDATA_NUMBER + 2;
        const size_t n_second = USERDATA_NUMBER + 2 + n_payload * USERDATA_NUMBER;
        const size_t n_parts = 2 + n_meta + 2 + n_second;
        uint8_t data[96] = {0}, *at = data;

        if (set->link_and_transport == 0 || batch->broken != 0)
                return;
        at = put_nest(at, USERDATA_KEY_TYPEOF, USERDATA_NUMBER + 2 + n_parts);
        at = put_number(at, EXPRESSION, CONCATENATION);
        at = put_nest(at, DATA, n_parts);
        at = put_nest(at, 0, n_meta);
        at = put_number(at, EXPRESSION, META);
        at = put_nest(at, DATA, USERDATA_NUMBER);
        at = put_number(at, 0, NFT_META_IIFNAME);
        at = put_nest(at, 1, n_second);
        at = put_number(at, EXPRESSION, PAYLOAD);
        at = put_nest(at, DATA, n_payload * USERDATA_NUMBER);
        for (uint8_t i = 0; i < n_payload; i++)
                at = put_number(at, i, payload[i]);
        put(batch, nla_put(batch->message, NFTA_SET_USERDATA, (int)(at - data), data));
}

void nft_set_add(NftBatch *batch, const NftSet *set) {
        uint16_t flags = NLM_F_CREATE | (set->exclusive ? NLM_F_EXCL : 0);

        if (!nft_message_begin(batch, NFT_MSG_NEWSET, flags, set->family))
                return;
        nft_put_text(batch, NFTA_SET_TABLE, set->table);
        nft_put_text(batch, NFTA_SET_NAME, set->name);
        nft_put_u32(batch, NFTA_SET_FLAGS, set->n_data > 0 ? NFT_SET_MAP : 0);
        nft_put_u32(batch, NFTA_SET_KEY_TYPE, set->key_type);
        nft_put_u32(batch, NFTA_SET_KEY_LEN, set->n_key);
        if (set->n_data > 0) {
                nft_put_u32(batch, NFTA_SET_DATA_TYPE, set->data_type);
                nft_put_u32(batch, NFTA_SET_DATA_LEN, set->n_data);
        }
        nft_put_u32(batch, NFTA_SET_ID, ++batch->n_sets);
        put_orders(batch, set);
        put_typeof(batch, set);
        nft_message_end(batch);
}

void nft_set_delete(NftBatch *batch, uint8_t family, const char *table, const char *name) {
        if (!nft_message_begin(batch, NFT_MSG_DELSET, 0, family))
                return;
        nft_put_text(batch, NFTA_SET_TABLE, table);
        nft_put_text(batch, NFTA_SET_NAME, name);
        nft_message_end(batch);
}

void nft_rule_delete(NftBatch *batch, uint8_t family, const char *table, const char *chain,
                     uint64_t handle) {
        if (!nft_message_begin(batch, NFT_MSG_DELRULE, 0, family))
                return;
        nft_put_text(batch, NFTA_RULE_TABLE, table);
        nft_put_text(batch, NFTA_RULE_CHAIN, chain);
        if (handle != 0)
                nft_put_u64(batch, NFTA_RULE_HANDLE, handle);
        nft_message_end(batch);
}

/* --- elements ----------------------------------------------------------------------------- */

static void element(NftBatch *batch, const NftElement *element, uint16_t type, uint16_t flags) {
        struct nlattr *list, *item;
        bool adding = type == NFT_MSG_NEWSETELEM;

        if (!nft_message_begin(batch, type, flags, element->family))
                return;
        nft_put_text(batch, NFTA_SET_ELEM_LIST_TABLE, element->table);
        nft_put_text(batch, NFTA_SET_ELEM_LIST_SET, element->set);
        list = nft_nest_begin(batch, NFTA_SET_ELEM_LIST_ELEMENTS);
        item = nft_nest_begin(batch, NFTA_LIST_ELEM);
        nft_put_value(batch, NFTA_SET_ELEM_KEY, element->key, element->n_key);
        if (adding && element->n_data > 0)
                nft_put_value(batch, NFTA_SET_ELEM_DATA, element->data, element->n_data);
        if (adding)
                nft_put_comment(batch, NFTA_SET_ELEM_USERDATA, element->comment);
        nft_nest_end(batch, item);
        nft_nest_end(batch, list);
        nft_message_end(batch);
}

void nft_element_add(NftBatch *batch, const NftElement *add, bool exclusive) {
        element(batch, add, NFT_MSG_NEWSETELEM, NLM_F_CREATE | (exclusive ? NLM_F_EXCL : 0));
}

void nft_element_delete(NftBatch *batch, const NftElement *gone) {
        element(batch, gone, NFT_MSG_DELSETELEM, 0);
}
