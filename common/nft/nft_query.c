/* SPDX-License-Identifier: Apache-2.0 */

/* Questions, answers and dumps of nf_tables. Believes nothing about lengths. */

#include "common/nft/nft_answer.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#define TYPE(message) ((uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | (message)))
#define HEADER_SIZE   sizeof(struct nfgenmsg)
#define ROOM          512U

/* User data is a list of {type, length, value}. */
#define USERDATA_COMMENT 0

/* More expressions or elements than a message of the kernel can hold. */
#define ITEMS_MAX 65536U

static struct nl_msg *ask(NlBatch *batch, uint16_t type, uint8_t family) {
        struct nfgenmsg header = {.nfgen_family = family, .version = NFNETLINK_V0};

        return nl_batch_add(batch, TYPE(type), 0, &header, sizeof(header), ROOM);
}

void nft_ask_generation(NlBatch *batch) {
        (void)ask(batch, NFT_MSG_GETGEN, NFPROTO_UNSPEC);
}

void nft_ask_chain(NlBatch *batch, uint8_t family, const char *table, const char *chain) {
        struct nl_msg *message = ask(batch, NFT_MSG_GETCHAIN, family);

        if (!message)
                return;
        nl_batch_put(batch, nla_put_string(message, NFTA_CHAIN_TABLE, table));
        nl_batch_put(batch, nla_put_string(message, NFTA_CHAIN_NAME, chain));
}

void nft_ask_set(NlBatch *batch, uint8_t family, const char *table, const char *set) {
        struct nl_msg *message = ask(batch, NFT_MSG_GETSET, family);

        if (!message)
                return;
        nl_batch_put(batch, nla_put_string(message, NFTA_SET_TABLE, table));
        nl_batch_put(batch, nla_put_string(message, NFTA_SET_NAME, set));
}

void nft_ask_element(NlBatch *batch, const NftElement *element) {
        struct nl_msg *message = ask(batch, NFT_MSG_GETSETELEM, element->family);
        struct nlattr *list, *item, *key;

        if (!message)
                return;
        nl_batch_put(batch, nla_put_string(message, NFTA_SET_ELEM_LIST_TABLE, element->table));
        nl_batch_put(batch, nla_put_string(message, NFTA_SET_ELEM_LIST_SET, element->set));
        list = nla_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED);
        item = list ? nla_nest_start(message, NFTA_LIST_ELEM | NLA_F_NESTED) : NULL;
        key = item ? nla_nest_start(message, NFTA_SET_ELEM_KEY | NLA_F_NESTED) : NULL;
        if (!key) {
                nl_batch_put(batch, -1);
                return;
        }
        nl_batch_put(batch, nla_put(message, NFTA_DATA_VALUE, (int)element->n_key, element->key));
        nl_batch_put(batch, nla_nest_end(message, key));
        nl_batch_put(batch, nla_nest_end(message, item));
        nl_batch_put(batch, nla_nest_end(message, list));
}

/* --- answers ----------------------------------------------------------------------------- */

uint32_t nft_get_u32(const struct nlattr *attr, uint32_t fallback) {
        return ntohl(nl_get_u32(attr, htonl(fallback)));
}

/* Reads the comment out of user data; "" when there is none or it is not text with its NUL. */
void nft_get_comment(const struct nlattr *attr, char *text, size_t n_text) {
        const uint8_t *data;
        size_t n;

        text[0] = '\0';
        if (!attr)
                return;
        data = nla_data(attr);
        n = (size_t)nla_len(attr);
        while (n >= 2 && data[1] <= n - 2) {
                if (data[0] == USERDATA_COMMENT && data[1] > 0) {
                        size_t n_copy = data[1] < n_text ? data[1] : n_text - 1;

                        memcpy(text, data + 2, n_copy);
                        text[n_copy] = '\0';
                        return;
                }
                n -= 2U + data[1];
                data += 2U + data[1];
        }
}

int nft_parse_generation(const struct nlmsghdr *message, uint32_t *generationp) {
        const struct nlattr *table[NFTA_GEN_MAX + 1];
        int r;

        if (message->nlmsg_type != TYPE(NFT_MSG_NEWGEN))
                return -ENOMSG;
        r = nl_attributes(message, HEADER_SIZE, table, NFTA_GEN_MAX + 1);
        if (r < 0)
                return r;
        if (!table[NFTA_GEN_ID])
                return -EBADMSG;
        *generationp = nft_get_u32(table[NFTA_GEN_ID], 0);
        return 0;
}

static int reply_generation(size_t index, const struct nlmsghdr *message, void *userdata) {
        return nft_parse_generation(message, userdata);
}

int nft_generation(NlSocket *sock, uint32_t *generationp) {
        NlBatch batch = {0};
        int r;

        nft_ask_generation(&batch);
        r = nl_batch_run(sock, &batch, reply_generation, generationp);
        nl_batch_deinit(&batch);
        return r;
}

/* The bytes of NFTA_DATA_VALUE inside @attr. */
int nft_get_value(const struct nlattr *attr, const uint8_t **valuep, size_t *np) {
        const struct nlattr *table[NFTA_DATA_MAX + 1];
        int r;

        *valuep = NULL;
        *np = 0;
        if (!attr)
                return 0;
        r = nl_nested(attr, table, NFTA_DATA_MAX + 1);
        if (r < 0)
                return r;
        if (!table[NFTA_DATA_VALUE])
                return 0;
        *valuep = nla_data(table[NFTA_DATA_VALUE]);
        *np = (size_t)nla_len(table[NFTA_DATA_VALUE]);
        return 0;
}

static int parse_element(const struct nlattr *item, NftElementEach each, void *userdata) {
        const struct nlattr *table[NFTA_SET_ELEM_MAX + 1];
        NftFound found = {0};
        int r;

        r = nl_nested(item, table, NFTA_SET_ELEM_MAX + 1);
        if (r < 0)
                return r;
        r = nft_get_value(table[NFTA_SET_ELEM_KEY], &found.key, &found.n_key);
        if (r < 0)
                return r;
        r = nft_get_value(table[NFTA_SET_ELEM_DATA], &found.data, &found.n_data);
        if (r < 0)
                return r;
        if (!found.key)
                return 0; /* the catch-all */
        nft_get_comment(table[NFTA_SET_ELEM_USERDATA], found.comment, sizeof(found.comment));
        return each(&found, userdata);
}

/* The attributes of a list, all of one type. Return: 0; -EBADMSG; what @each returned. */
int nft_for_list(const struct nlattr *list, int (*each)(const struct nlattr *item, void *data),
                 void *data) {
        int left = nla_len(list);
        const struct nlattr *item = nla_data(list);

        for (unsigned int i = 0; i < ITEMS_MAX && left > 0; i++) {
                int r;

                if (!nla_ok(item, left))
                        return -EBADMSG;
                r = nla_type(item) == NFTA_LIST_ELEM ? each(item, data) : 0;
                if (r != 0)
                        return r;
                item = nla_next(item, &left);
        }
        return 0;
}

typedef struct ElementList {
        NftElementEach each;
        void *userdata;
} ElementList;

static int each_element(const struct nlattr *item, void *data) {
        const ElementList *list = data;

        return parse_element(item, list->each, list->userdata);
}

int nft_parse_elements(const struct nlmsghdr *message, NftElementEach each, void *userdata) {
        const struct nlattr *table[NFTA_SET_ELEM_LIST_MAX + 1];
        ElementList list = {.each = each, .userdata = userdata};
        int r;

        if (message->nlmsg_type != TYPE(NFT_MSG_NEWSETELEM))
                return -ENOMSG;
        r = nl_attributes(message, HEADER_SIZE, table, NFTA_SET_ELEM_LIST_MAX + 1);
        if (r < 0)
                return r;
        if (!table[NFTA_SET_ELEM_LIST_ELEMENTS])
                return 0;
        return nft_for_list(table[NFTA_SET_ELEM_LIST_ELEMENTS], each_element, &list);
}

/* --- dumps ------------------------------------------------------------------------------- */

typedef struct Dump {
        NftElementEach element;
        NftRuleEach rule;
        NftNameEach name;
        NftChainEach chain;
        int name_type; /* attribute */
        void *userdata;
} Dump;

static int reply_name(const Dump *dump, const struct nlmsghdr *message) {
        const struct nlattr *table[NFTA_SET_MAX + 1];
        struct nfgenmsg header;
        char name[NFT_NAME_MAX + 1];
        int r;

        r = nl_attributes(message, HEADER_SIZE, table, NFTA_SET_MAX + 1);
        if (r < 0)
                return r;
        memcpy(&header, (const uint8_t *)message + NLMSG_HDRLEN, sizeof(header));
        nl_get_text(table[dump->name_type], name, sizeof(name));
        return dump->name(header.nfgen_family, name, dump->userdata);
}

static int reply_chain(const Dump *dump, const struct nlmsghdr *message) {
        const struct nlattr *table[NFTA_CHAIN_MAX + 1], *hook[NFTA_HOOK_MAX + 1] = {0};
        NftChainFound found = {0};
        struct nfgenmsg header;
        int r;

        r = nl_attributes(message, HEADER_SIZE, table, NFTA_CHAIN_MAX + 1);
        if (r == 0 && table[NFTA_CHAIN_HOOK]) {
                r = nl_nested(table[NFTA_CHAIN_HOOK], hook, NFTA_HOOK_MAX + 1);
                found.hooked = r == 0 && hook[NFTA_HOOK_HOOKNUM];
        }
        if (r < 0)
                return r;
        memcpy(&header, (const uint8_t *)message + NLMSG_HDRLEN, sizeof(header));
        found.family = header.nfgen_family;
        nl_get_text(table[NFTA_CHAIN_TABLE], found.table, sizeof(found.table));
        nl_get_text(table[NFTA_CHAIN_NAME], found.name, sizeof(found.name));
        nl_get_text(table[NFTA_CHAIN_TYPE], found.type, sizeof(found.type));
        if (found.hooked) {
                found.hook = nft_get_u32(hook[NFTA_HOOK_HOOKNUM], 0);
                found.priority = (int32_t)nft_get_u32(hook[NFTA_HOOK_PRIORITY], 0);
                found.policy = nft_get_u32(table[NFTA_CHAIN_POLICY], NF_ACCEPT);
        }
        return dump->chain(&found, dump->userdata);
}

static int dump_reply(size_t index, const struct nlmsghdr *message, void *userdata) {
        Dump *dump = userdata;
        NftRule rule;
        int r;

        if (dump->element)
                return message ? nft_parse_elements(message, dump->element, dump->userdata)
                               : dump->element(NULL, dump->userdata);
        if (dump->chain)
                return message ? reply_chain(dump, message) : dump->chain(NULL, dump->userdata);
        if (!message)
                return dump->rule ? dump->rule(NULL, dump->userdata)
                                  : dump->name(NFPROTO_UNSPEC, NULL, dump->userdata);
        if (dump->rule) {
                r = nft_parse_rule(message, &rule);
                return r < 0 ? r : dump->rule(&rule, dump->userdata);
        }
        return reply_name(dump, message);
}

typedef struct Names {
        int table, object; /* attribute types */
} Names;

static int run_dump(NlSocket *sock, uint16_t type, struct nl_msg *message, Dump *dump) {
        int r = nl_socket_dump(sock, TYPE(type), message, dump_reply, dump);

        nlmsg_free(message);
        return r;
}

static struct nl_msg *dump_message(uint16_t type, uint8_t family, Names names, const char *table,
                                   const char *object) {
        struct nfgenmsg header = {.nfgen_family = family, .version = NFNETLINK_V0};
        struct nl_msg *message = nl_message_new(TYPE(type), 0, &header, sizeof(header), ROOM);

        if (!message)
                return NULL;
        if ((table && nla_put_string(message, names.table, table) < 0) ||
            (object && nla_put_string(message, names.object, object) < 0)) {
                nlmsg_free(message);
                return NULL;
        }
        return message;
}

int nft_element_dump(NlSocket *sock, uint8_t family, const char *table, const char *set,
                     NftElementEach each, void *userdata) {
        Names names = {.table = NFTA_SET_ELEM_LIST_TABLE, .object = NFTA_SET_ELEM_LIST_SET};
        Dump dump = {.element = each, .userdata = userdata};
        struct nl_msg *message = dump_message(NFT_MSG_GETSETELEM, family, names, table, set);

        return message ? run_dump(sock, NFT_MSG_GETSETELEM, message, &dump) : -ENOMEM;
}

int nft_rule_dump(NlSocket *sock, uint8_t family, const char *table, const char *chain,
                  NftRuleEach each, void *userdata) {
        Names names = {.table = NFTA_RULE_TABLE, .object = NFTA_RULE_CHAIN};
        Dump dump = {.rule = each, .userdata = userdata};
        struct nl_msg *message = dump_message(NFT_MSG_GETRULE, family, names, table, chain);

        return message ? run_dump(sock, NFT_MSG_GETRULE, message, &dump) : -ENOMEM;
}

int nft_set_dump(NlSocket *sock, uint8_t family, const char *table, NftNameEach each,
                 void *userdata) {
        Names names = {.table = NFTA_SET_TABLE, .object = NFTA_SET_NAME};
        Dump dump = {.name = each, .name_type = NFTA_SET_NAME, .userdata = userdata};
        struct nl_msg *message = dump_message(NFT_MSG_GETSET, family, names, table, NULL);

        return message ? run_dump(sock, NFT_MSG_GETSET, message, &dump) : -ENOMEM;
}

int nft_table_dump(NlSocket *sock, NftNameEach each, void *userdata) {
        Dump dump = {.name = each, .name_type = NFTA_TABLE_NAME, .userdata = userdata};
        struct nl_msg *message =
                dump_message(NFT_MSG_GETTABLE, NFPROTO_UNSPEC, (Names){0}, NULL, NULL);

        return message ? run_dump(sock, NFT_MSG_GETTABLE, message, &dump) : -ENOMEM;
}

int nft_chain_dump(NlSocket *sock, NftChainEach each, void *userdata) {
        Dump dump = {.chain = each, .userdata = userdata};
        struct nl_msg *message =
                dump_message(NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, (Names){0}, NULL, NULL);

        return message ? run_dump(sock, NFT_MSG_GETCHAIN, message, &dump) : -ENOMEM;
}
