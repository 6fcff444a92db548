/* SPDX-License-Identifier: Apache-2.0 */

/* Answers of nf_tables, conntrack and tc: first byte which parser, then a netlink message whose
 * length is made right, as the socket does. */

#include "common/netlink/rtnl_tc.h"
#include "common/nft/conntrack.h"
#include "common/nft/nft_event.h"
#include "common/nft/xtables.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/rtnetlink.h>

static int check_found(const NftFound *found, void *userdata) {
        size_t *sum = userdata;

        assert(memchr(found->comment, '\0', sizeof(found->comment)));
        for (size_t i = 0; i < found->n_key; i++)
                *sum += found->key[i];
        for (size_t i = 0; i < found->n_data; i++)
                *sum += found->data[i];
        return 0;
}

static void check_rule(const struct nlmsghdr *message) {
        NftRule rule;

        if (nft_parse_rule(message, &rule) < 0)
                return;
        assert(memchr(rule.chain, '\0', sizeof(rule.chain)));
        assert(memchr(rule.target, '\0', sizeof(rule.target)));
        assert(memchr(rule.comment, '\0', sizeof(rule.comment)));
        assert(rule.n_compared <= sizeof(rule.compared));
        assert(rule.n_conditions <= NFT_CONDITIONS_MAX);
}

static void check_event(const struct nlmsghdr *message) {
        NftEvent event;

        if (nft_event_parse(message, &event) < 0)
                return;
        assert(event.kind <= NFT_EVENT_GENERATION);
        assert(memchr(event.table, '\0', sizeof(event.table)));
        assert(memchr(event.chain, '\0', sizeof(event.chain)));
        assert(memchr(event.program, '\0', sizeof(event.program)));
}

/* A table of iptables-legacy, as the kernel hands it out. */
static void check_xtables(const uint8_t *data, size_t n, uint8_t family) {
        const XtTable xt = {.family = family, .entries = data, .n_entries = n};
        NftRule description;
        uint32_t at = 0;
        XtRule rule;

        for (unsigned int i = 0; xtables_rule(&xt, at, &rule) == 0; i++, at = rule.next) {
                assert(i < n && rule.next > at && rule.next <= n);
                assert(memchr(rule.chain, '\0', sizeof(rule.chain)));
                assert(memchr(rule.target, '\0', sizeof(rule.target)));
                xtables_describe(&xt, &rule, &description);
                assert(description.n_conditions <= NFT_CONDITIONS_MAX);
        }
        (void)xtables_chain(&xt, "CNI-FORWARD", &at);
        (void)xtables_rule(&xt, UINT32_MAX, &rule);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        static const uint16_t types[] = {
                NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE,
                NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM,
                NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN,
                NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW,
                RTM_NEWQDISC,
                NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN,
                NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE,
                NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELSETELEM,
        };
        struct nlmsghdr *message;
        ConntrackFlow flow;
        TbfSpec tbf;
        uint32_t generation;
        size_t sum = 0;

        if (n < 1 || n > 65536)
                return 0;
        message = malloc(NLMSG_HDRLEN + n);
        assert(message);
        *message = (struct nlmsghdr){
                .nlmsg_len = (uint32_t)(NLMSG_HDRLEN + n - 1),
                .nlmsg_type = types[data[0] % (sizeof(types) / sizeof(types[0]))],
        };
        memcpy((uint8_t *)message + NLMSG_HDRLEN, data + 1, n - 1);
        check_rule(message);
        check_event(message);
        (void)nft_parse_elements(message, check_found, &sum);
        (void)nft_parse_generation(message, &generation);
        (void)conntrack_parse(message, &flow);
        (void)tc_tbf_parse(message, &tbf);
        check_xtables((const uint8_t *)message + NLMSG_HDRLEN, n - 1, AF_INET);
        check_xtables((const uint8_t *)message + NLMSG_HDRLEN, n - 1, AF_INET6);
        free(message);
        return 0;
}
