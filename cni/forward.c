/* SPDX-License-Identifier: Apache-2.0 */

/* The rules of CNI-FORWARD, written over netlink in iptables' words. */

#include "cni/forward.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/nft/nft_expr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_conntrack.h>

#define TABLE "filter"

#define COMMENT_JUMP  "CNI firewall plugin rules"
#define COMMENT_ADMIN "CNI firewall plugin admin overrides"

#define TRIES_MAX 64

typedef struct Facts {
        const ForwardRequest *request;
        uint32_t generation;
        bool has_forward, has_chain, has_admin; /* chains */
        bool has_jump, has_admin_jump;          /* rules */
        bool from[FORWARD_SUBNETS_MAX], to[FORWARD_SUBNETS_MAX];
        uint64_t from_handle[FORWARD_SUBNETS_MAX], to_handle[FORWARD_SUBNETS_MAX];
} Facts;

static void batch_deinit(NftBatch *batch) {
        nft_batch_deinit(batch);
}

static void questions_deinit(NlBatch *batch) {
        nl_batch_deinit(batch);
}

bool forward_is_legacy(uint8_t family) {
        const char *path =
                family == AF_INET ? "/proc/net/ip_tables_names" : "/proc/net/ip6_tables_names";
        cleanup(freep) char *text = NULL;

        if (file_read_at(AT_FDCWD, path, 4096, &text, NULL) < 0)
                return false;
        for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
                if (str_has_prefix(line, TABLE "\n"))
                        return true;
        return false;
}

/* --- reading ------------------------------------------------------------------------------ */

static void rule_comment(const IpPrefix *subnet, bool from, char comment[NFT_COMMENT_MAX]) {
        char text[IP_TEXT_MAX];

        snprintf(comment, NFT_COMMENT_MAX, "berth: %s %s", from ? "from" : "to",
                 ip_prefix_format(subnet, text));
}

static int reply_chains(size_t index, const struct nlmsghdr *message, void *userdata) {
        Facts *facts = userdata;

        switch (index) {
        case 0:
                return nft_parse_generation(message, &facts->generation);
        case 1:
                facts->has_forward = true;
                return 0;
        case 2:
                facts->has_chain = true;
                return 0;
        default:
                facts->has_admin = true;
                return 0;
        }
}

static int each_forward_rule(const NftRule *rule, void *userdata) {
        Facts *facts = userdata;

        if (!rule)
                facts->has_jump = false;
        else if (strcmp(rule->target, FORWARD_CHAIN) == 0)
                facts->has_jump = true;
        return 0;
}

static int each_chain_rule(const NftRule *rule, void *userdata) {
        Facts *facts = userdata;
        char comment[NFT_COMMENT_MAX];

        if (rule && strcmp(rule->target, facts->request->admin_chain) == 0)
                facts->has_admin_jump = true;
        for (size_t i = 0; i < facts->request->n_subnets && rule; i++) {
                rule_comment(&facts->request->subnets[i], true, comment);
                if (strcmp(rule->comment, comment) == 0) {
                        facts->from[i] = true;
                        facts->from_handle[i] = rule->handle;
                }
                rule_comment(&facts->request->subnets[i], false, comment);
                if (strcmp(rule->comment, comment) == 0) {
                        facts->to[i] = true;
                        facts->to_handle[i] = rule->handle;
                }
        }
        if (!rule) {
                facts->has_admin_jump = false;
                memset(facts->from, 0, sizeof(facts->from));
                memset(facts->to, 0, sizeof(facts->to));
        }
        return 0;
}

/* Does everything stand already? Return: 1 yes, 0 no; -errno. */
static int is_complete(NlSocket *sock, const ForwardRequest *request) {
        Facts facts = {.request = request};
        bool all;
        int r;

        r = nft_rule_dump(sock, request->family, TABLE, "FORWARD", each_forward_rule, &facts);
        if (r == 0 && facts.has_jump)
                r = nft_rule_dump(sock, request->family, TABLE, FORWARD_CHAIN, each_chain_rule,
                                  &facts);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        all = facts.has_jump && facts.has_admin_jump;
        for (size_t i = 0; i < request->n_subnets; i++)
                all = all && facts.from[i] && facts.to[i];
        return all;
}

static int read_facts(NlSocket *sock, Facts *facts) {
        cleanup(questions_deinit) NlBatch batch = {0};
        uint8_t family = facts->request->family;
        int r;

        nft_ask_generation(&batch);
        nft_ask_chain(&batch, family, TABLE, "FORWARD");
        nft_ask_chain(&batch, family, TABLE, FORWARD_CHAIN);
        nft_ask_chain(&batch, family, TABLE, facts->request->admin_chain);
        r = nl_batch_run(sock, &batch, reply_chains, facts);
        if (r < 0 && r != -ENOENT)
                return r;
        r = facts->has_forward
                    ? nft_rule_dump(sock, family, TABLE, "FORWARD", each_forward_rule, facts)
                    : 0;
        if (r == 0 && facts->has_chain)
                r = nft_rule_dump(sock, family, TABLE, FORWARD_CHAIN, each_chain_rule, facts);
        return r == -ENOENT ? -ERESTART : r;
}

/* --- writing ------------------------------------------------------------------------------ */

typedef struct Writer {
        NftBatch *batch;
        const ForwardRequest *request;
        bool native; /* the kernel has no nft_compat: then iptables-nft cannot be here either */
} Writer;

static void add_chain(Writer *writer, const char *name, bool hooked) {
        nft_chain_add(writer->batch, &(NftChain){
                                             .family = writer->request->family,
                                             .table = TABLE,
                                             .name = name,
                                             .type = hooked ? "filter" : NULL,
                                             .hook = NF_INET_FORWARD,
                                     });
}

static void add_jump(Writer *writer, const char *from, const char *to, const char *comment) {
        nft_rule_begin(writer->batch, &(NftRuleAt){.family = writer->request->family,
                                                   .table = TABLE,
                                                   .chain = from,
                                                   .first = true,
                                                   .comment = comment});
        nft_expr_counter(writer->batch);
        nft_expr_verdict(writer->batch, NFT_JUMP, to);
        nft_rule_end(writer->batch);
}

/* -m conntrack --ctstate RELATED,ESTABLISHED */
static void match_established(Writer *writer) {
        static const uint32_t zero;
        uint32_t states = 1U << (IP_CT_ESTABLISHED % IP_CT_IS_REPLY + 1) |
                          1U << (IP_CT_RELATED % IP_CT_IS_REPLY + 1);
        struct {
                struct xt_conntrack_mtinfo3 info;
                uint8_t padding[XT_ALIGN(sizeof(struct xt_conntrack_mtinfo3)) -
                                sizeof(struct xt_conntrack_mtinfo3) + 1];
        } match = {.info = {.match_flags = XT_CONNTRACK_STATE, .state_mask = (uint16_t)states}};

        if (!writer->native) {
                nft_expr_xt_match(writer->batch, "conntrack", 3, &match,
                                  XT_ALIGN(sizeof(match.info)));
                return;
        }
        nft_expr_ct(writer->batch, NFT_CT_STATE, 0);
        nft_expr_mask(writer->batch, 0, &states, sizeof(states));
        nft_expr_cmp(writer->batch, 0, &zero, sizeof(zero), true);
}

static void add_accept(Writer *writer, const IpPrefix *subnet, bool from) {
        bool v4 = writer->request->family == AF_INET;
        uint32_t n = v4 ? 4 : 16;
        uint32_t offset = (v4 ? 12U : 8U) + (from ? 0 : n);
        char comment[NFT_COMMENT_MAX];
        uint8_t mask[16] = {0};

        for (unsigned int bit = 0; bit < subnet->length; bit++)
                mask[bit / 8] |= (uint8_t)(0x80U >> bit % 8);
        rule_comment(subnet, from, comment);
        nft_rule_begin(writer->batch, &(NftRuleAt){.family = writer->request->family,
                                                   .table = TABLE,
                                                   .chain = FORWARD_CHAIN,
                                                   .comment = comment});
        nft_expr_payload(writer->batch, NFT_BASE_NETWORK, offset, n, 0);
        if (subnet->length < n * 8)
                nft_expr_mask(writer->batch, 0, mask, n);
        nft_expr_cmp(writer->batch, 0, subnet->address.bytes, n, false);
        if (!from)
                match_established(writer);
        nft_expr_counter(writer->batch);
        nft_expr_verdict(writer->batch, NF_ACCEPT, NULL);
        nft_rule_end(writer->batch);
}

static void write_missing(Writer *writer, const Facts *facts) {
        const ForwardRequest *request = facts->request;

        nft_batch_begin(writer->batch);
        if (!facts->has_forward) {
                nft_table_add(writer->batch, request->family, TABLE);
                add_chain(writer, "FORWARD", true);
        }
        if (!facts->has_chain)
                add_chain(writer, FORWARD_CHAIN, false);
        if (!facts->has_admin)
                add_chain(writer, request->admin_chain, false);
        if (!facts->has_jump)
                add_jump(writer, "FORWARD", FORWARD_CHAIN, COMMENT_JUMP);
        if (!facts->has_admin_jump)
                add_jump(writer, FORWARD_CHAIN, request->admin_chain, COMMENT_ADMIN);
        for (size_t i = 0; i < request->n_subnets; i++) {
                if (!facts->to[i])
                        add_accept(writer, &request->subnets[i], false);
                if (!facts->from[i])
                        add_accept(writer, &request->subnets[i], true);
        }
        nft_batch_set_generation(writer->batch, facts->generation);
}

static int add_once(RulesSocket *sock, const ForwardRequest *request) {
        cleanup(batch_deinit) NftBatch batch = {0};
        Facts facts = {.request = request};
        Writer writer = {.batch = &batch, .request = request};
        int r = read_facts(&sock->netfilter, &facts);

        if (r < 0)
                return r;
        write_missing(&writer, &facts);
        r = nft_batch_run(&sock->netfilter, &batch, NULL);
        if (r == -ENOENT) {
                writer.native = true;
                write_missing(&writer, &facts);
                r = nft_batch_run(&sock->netfilter, &batch, NULL);
        }
        return r;
}

int forward_add(RulesSocket *sock, const ForwardRequest *request, Error *err) {
        int r;

        if (request->n_subnets == 0)
                return 0;
        r = rules_open(sock, err);
        if (r < 0)
                return r;
        if (is_complete(&sock->netfilter, request) > 0)
                return 0;
        if (forward_is_legacy(request->family))
                return forward_legacy_add(request, err);
        r = -ERESTART;
        for (unsigned int try = 0; try < TRIES_MAX && r == -ERESTART; try++)
                r = add_once(sock, request);
        if (r == -ERESTART)
                return error_set(err, ERROR_AGAIN, "the ruleset of this node changes all the time");
        return r < 0 ? error_set_errno(err, r, "firewall: write rules into chain FORWARD%s%s",
                                       sock->netfilter.text[0] ? ": " : "", sock->netfilter.text)
                     : 0;
}

static bool is_one_address(const IpPrefix *subnet) {
        return subnet->length >= ip_size(&subnet->address) * 8;
}

static int del_once(RulesSocket *sock, const ForwardRequest *request) {
        cleanup(batch_deinit) NftBatch batch = {0};
        Facts facts = {.request = request};
        int r = read_facts(&sock->netfilter, &facts);

        if (r < 0)
                return r;
        nft_batch_begin(&batch);
        for (size_t i = 0; i < request->n_subnets; i++) {
                if (!is_one_address(&request->subnets[i]))
                        continue;
                if (facts.from[i])
                        nft_rule_delete(&batch, request->family, TABLE, FORWARD_CHAIN,
                                        facts.from_handle[i]);
                if (facts.to[i])
                        nft_rule_delete(&batch, request->family, TABLE, FORWARD_CHAIN,
                                        facts.to_handle[i]);
        }
        nft_batch_set_generation(&batch, facts.generation);
        return nft_batch_run(&sock->netfilter, &batch, NULL);
}

int forward_del(RulesSocket *sock, const ForwardRequest *request, Error *err) {
        bool any = false;
        int r;

        for (size_t i = 0; i < request->n_subnets; i++)
                any = any || is_one_address(&request->subnets[i]);
        if (!any)
                return 0;
        if (forward_is_legacy(request->family))
                return forward_legacy_del(request, err);
        r = rules_open(sock, err);
        if (r < 0)
                return r;
        r = -ERESTART;
        for (unsigned int try = 0; try < TRIES_MAX && r == -ERESTART; try++)
                r = del_once(sock, request);
        return r < 0 && r != -EOPNOTSUPP
                       ? error_set_errno(err, r, "firewall: remove rules of chain " FORWARD_CHAIN)
                       : 0;
}

int forward_check(RulesSocket *sock, const ForwardRequest *request, Error *err) {
        Facts facts = {.request = request};
        char text[IP_TEXT_MAX];
        int r;

        if (request->n_subnets == 0)
                return 0;
        if (forward_is_legacy(request->family))
                return forward_legacy_check(request, err);
        r = rules_open(sock, err);
        if (r == 0) {
                r = read_facts(&sock->netfilter, &facts);
                if (r < 0)
                        return error_set_errno(err, r, "firewall: read chain FORWARD");
        }
        if (r < 0)
                return r;
        if (!facts.has_jump)
                return error_set(err, ERROR_NOT_FOUND,
                                 "firewall: chain FORWARD does not jump to " FORWARD_CHAIN);
        if (!facts.has_admin_jump)
                return error_set(err, ERROR_NOT_FOUND,
                                 "firewall: chain " FORWARD_CHAIN " does not jump to %s",
                                 request->admin_chain);
        for (size_t i = 0; i < request->n_subnets; i++)
                if (!facts.from[i] || !facts.to[i])
                        return error_set(err, ERROR_NOT_FOUND,
                                         "firewall: chain " FORWARD_CHAIN " lacks a rule for %s",
                                         ip_prefix_format(&request->subnets[i], text));
        return 0;
}
