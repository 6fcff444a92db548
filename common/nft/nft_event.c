/* SPDX-License-Identifier: Apache-2.0 */

#include "common/nft/nft_event.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <string.h>

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#define HEADER_SIZE sizeof(struct nfgenmsg)

/* Attribute 1 of each of them is the name of the table. */
static const struct {
        uint8_t type;
        NftEventKind kind;
        NftObject object;
        unsigned int chain; /* the attribute with its name; 0: none */
} messages[] = {
        {NFT_MSG_NEWTABLE, NFT_EVENT_NEW, NFT_OBJECT_TABLE, 0},
        {NFT_MSG_DELTABLE, NFT_EVENT_GONE, NFT_OBJECT_TABLE, 0},
        {NFT_MSG_NEWCHAIN, NFT_EVENT_NEW, NFT_OBJECT_CHAIN, NFTA_CHAIN_NAME},
        {NFT_MSG_DELCHAIN, NFT_EVENT_GONE, NFT_OBJECT_CHAIN, NFTA_CHAIN_NAME},
        {NFT_MSG_NEWRULE, NFT_EVENT_NEW, NFT_OBJECT_RULE, NFTA_RULE_CHAIN},
        {NFT_MSG_DELRULE, NFT_EVENT_GONE, NFT_OBJECT_RULE, NFTA_RULE_CHAIN},
        {NFT_MSG_NEWSET, NFT_EVENT_NEW, NFT_OBJECT_SET, 0},
        {NFT_MSG_DELSET, NFT_EVENT_GONE, NFT_OBJECT_SET, 0},
        {NFT_MSG_NEWSETELEM, NFT_EVENT_NEW, NFT_OBJECT_ELEMENT, 0},
        {NFT_MSG_DELSETELEM, NFT_EVENT_GONE, NFT_OBJECT_ELEMENT, 0},
};

static int parse_object(const struct nlmsghdr *message, unsigned int chain, NftEvent *event) {
        const struct nlattr *table[4] = {0};
        struct nfgenmsg header;
        int r = nl_attributes(message, HEADER_SIZE, table, N_ELEMENTS(table));

        if (r < 0)
                return r;
        memcpy(&header, nl_payload(message), sizeof(header));
        event->family = header.nfgen_family;
        nl_get_text(table[NFTA_TABLE_NAME], event->table, sizeof(event->table));
        if (chain > 0 && chain < N_ELEMENTS(table))
                nl_get_text(table[chain], event->chain, sizeof(event->chain));
        return 0;
}

static int parse_generation(const struct nlmsghdr *message, NftEvent *event) {
        const struct nlattr *table[NFTA_GEN_MAX + 1] = {0};
        int r = nl_attributes(message, HEADER_SIZE, table, N_ELEMENTS(table));

        event->kind = NFT_EVENT_GENERATION;
        nl_get_text(table[NFTA_GEN_PROC_NAME], event->program, sizeof(event->program));
        return r;
}

int nft_event_parse(const struct nlmsghdr *message, NftEvent *event) {
        uint8_t type = (uint8_t)(message->nlmsg_type & 0xff);

        *event = (NftEvent){.kind = NFT_EVENT_OTHER};
        if (message->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES)
                return 0;
        if (type == NFT_MSG_NEWGEN)
                return parse_generation(message, event);
        for (size_t i = 0; i < N_ELEMENTS(messages); i++) {
                if (messages[i].type != type)
                        continue;
                event->kind = messages[i].kind;
                event->object = messages[i].object;
                return parse_object(message, messages[i].chain, event);
        }
        return 0;
}

int nft_event_join(NlSocket *sock) {
        return nl_socket_join(sock, NFNLGRP_NFTABLES);
}
