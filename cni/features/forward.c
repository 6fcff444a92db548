/* SPDX-License-Identifier: Apache-2.0 */

/* The rules of CNI-FORWARD, written over netlink in iptables' words. */

#include "cni/features/forward.h"

#include "common/base/cleanup.h"
#include "common/nft/nft_expr.h"
#include "common/nft/xtables.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_mark.h>

#define TABLE "filter"

#define TRIES_MAX 64

/* Rules of whole subnets, two for each. */
#define SUBNET_RULES_MAX 256

typedef struct Facts {
        uint8_t family;
        const char *admin_chain;
        uint32_t generation;
        bool has_forward, has_chain, has_admin;    /* chains */
        bool has_jump, has_admin_jump, has_accept; /* rules */
        uint64_t subnets[SUBNET_RULES_MAX];        /* handles of rules that earlier versions made */
        size_t n_subnets;
} Facts;

static void batch_deinit(NftBatch *batch) {
        nft_batch_deinit(batch);
}

static void questions_deinit(NlBatch *batch) {
        nl_batch_deinit(batch);
}

/* --- reading ------------------------------------------------------------------------------ */

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

static bool is_of_subnet(const NftRule *rule) {
        return str_has_prefix(rule->comment, "berth: from ") ||
               str_has_prefix(rule->comment, "berth: to ");
}

static int each_chain_rule(const NftRule *rule, void *userdata) {
        Facts *facts = userdata;

        if (!rule) {
                facts->has_admin_jump = facts->has_accept = false;
                facts->n_subnets = 0;
                return 0;
        }
        if (strcmp(rule->target, facts->admin_chain) == 0)
                facts->has_admin_jump = true;
        if (strcmp(rule->comment, FORWARD_COMMENT_PODS) == 0 && rule->verdict == NF_ACCEPT)
                facts->has_accept = true;
        if (is_of_subnet(rule) && facts->n_subnets < SUBNET_RULES_MAX)
                facts->subnets[facts->n_subnets++] = rule->handle;
        return 0;
}

/* Return: 1: everything stands; 0: something is missing; 2: there is no FORWARD; -errno. */
static int look(NlSocket *sock, Facts *facts) {
        int r;

        r = nft_rule_dump(sock, facts->family, TABLE, "FORWARD", each_forward_rule, facts);
        if (r == -ENOENT || r == -EOPNOTSUPP)
                return 2;
        if (r == 0 && facts->has_jump)
                r = nft_rule_dump(sock, facts->family, TABLE, FORWARD_CHAIN, each_chain_rule,
                                  facts);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        return facts->has_jump && facts->has_admin_jump && facts->has_accept;
}

static int read_facts(NlSocket *sock, Facts *facts) {
        cleanup(questions_deinit) NlBatch batch = {0};
        int r;

        nft_ask_generation(&batch);
        nft_ask_chain(&batch, facts->family, TABLE, "FORWARD");
        nft_ask_chain(&batch, facts->family, TABLE, FORWARD_CHAIN);
        nft_ask_chain(&batch, facts->family, TABLE, facts->admin_chain);
        r = nl_batch_run(sock, &batch, reply_chains, facts);
        if (r < 0 && r != -ENOENT)
                return r;
        r = facts->has_forward
                    ? nft_rule_dump(sock, facts->family, TABLE, "FORWARD", each_forward_rule, facts)
                    : 0;
        if (r == 0 && facts->has_chain)
                r = nft_rule_dump(sock, facts->family, TABLE, FORWARD_CHAIN, each_chain_rule,
                                  facts);
        return r == -ENOENT ? -ERESTART : r;
}

/* --- writing ------------------------------------------------------------------------------ */

typedef struct Writer {
        NftBatch *batch;
        uint8_t family;
        bool native; /* the kernel has no nft_compat: then iptables-nft cannot be here either */
} Writer;

static void add_chain(Writer *writer, const char *name, bool hooked) {
        nft_chain_add(writer->batch, &(NftChain){
                                             .family = writer->family,
                                             .table = TABLE,
                                             .name = name,
                                             .type = hooked ? "filter" : NULL,
                                             .hook = NF_INET_FORWARD,
                                     });
}

static void add_jump(Writer *writer, const char *from, const char *to, const char *comment) {
        nft_rule_begin(writer->batch, &(NftRuleAt){.family = writer->family,
                                                   .table = TABLE,
                                                   .chain = from,
                                                   .first = true,
                                                   .comment = comment});
        nft_expr_counter(writer->batch);
        nft_expr_verdict(writer->batch, NFT_JUMP, to);
        nft_rule_end(writer->batch);
}

/* -m mark --mark BIT/BIT */
static void match_mark(Writer *writer) {
        static const uint32_t zero, bit = RULES_FORWARD_MARK;
        struct {
                struct xt_mark_mtinfo1 info;
                uint8_t padding[XT_ALIGN(sizeof(struct xt_mark_mtinfo1)) -
                                sizeof(struct xt_mark_mtinfo1) + 1];
        } match = {.info = {.mark = bit, .mask = bit}};

        if (!writer->native) {
                nft_expr_xt_match(writer->batch, "mark", 1, &match, XT_ALIGN(sizeof(match.info)));
                return;
        }
        nft_expr_meta(writer->batch, NFT_META_MARK, 0);
        nft_expr_mask(writer->batch, 0, &bit, sizeof(bit));
        nft_expr_cmp(writer->batch, 0, &zero, sizeof(zero), true);
}

static void add_accept(Writer *writer) {
        nft_rule_begin(writer->batch, &(NftRuleAt){.family = writer->family,
                                                   .table = TABLE,
                                                   .chain = FORWARD_CHAIN,
                                                   .comment = FORWARD_COMMENT_PODS});
        match_mark(writer);
        nft_expr_counter(writer->batch);
        nft_expr_verdict(writer->batch, NF_ACCEPT, NULL);
        nft_rule_end(writer->batch);
}

static void write_missing(Writer *writer, const Facts *facts) {
        nft_batch_begin(writer->batch);
        if (!facts->has_forward) {
                nft_table_add(writer->batch, facts->family, TABLE);
                add_chain(writer, "FORWARD", true);
        }
        if (!facts->has_chain)
                add_chain(writer, FORWARD_CHAIN, false);
        if (!facts->has_admin)
                add_chain(writer, facts->admin_chain, false);
        if (!facts->has_jump)
                add_jump(writer, "FORWARD", FORWARD_CHAIN, FORWARD_COMMENT_JUMP);
        if (!facts->has_admin_jump)
                add_jump(writer, FORWARD_CHAIN, facts->admin_chain, FORWARD_COMMENT_ADMIN);
        if (!facts->has_accept)
                add_accept(writer);
        nft_batch_set_generation(writer->batch, facts->generation);
}

static int add_once(RulesSocket *sock, uint8_t family, const char *admin_chain) {
        cleanup(batch_deinit) NftBatch batch = {0};
        Facts facts = {.family = family, .admin_chain = admin_chain};
        Writer writer = {.batch = &batch, .family = family};
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

static int add_to_nft(RulesSocket *sock, uint8_t family, const char *admin_chain, Error *err) {
        int r = -ERESTART;

        for (unsigned int try = 0; try < TRIES_MAX && r == -ERESTART; try++)
                r = add_once(sock, family, admin_chain);
        if (r == -ERESTART)
                return error_set(err, ERROR_AGAIN, "the ruleset of this node changes all the time");
        return r < 0 ? error_set_errno(err, r, "firewall: write rules into chain FORWARD%s%s",
                                       sock->netfilter.text[0] ? ": " : "", sock->netfilter.text)
                     : 0;
}

static int open_and_look(RulesSocket *sock, Facts *facts, Error *err) {
        int r = rules_open(sock, err);

        if (r < 0)
                return r;
        r = look(&sock->netfilter, facts);
        return r < 0 ? error_set_errno(err, r, "firewall: read chain FORWARD") : r;
}

int forward_add(RulesSocket *sock, uint8_t family, const char *admin_chain, Error *err) {
        bool legacy = xtables_has(family, TABLE);
        Facts facts = {.family = family, .admin_chain = admin_chain};
        int r = open_and_look(sock, &facts, err);

        if (r < 0)
                return r;
        /* Two filter tables that nobody had are one too many. */
        if (r == 0 || (r == 2 && !legacy))
                r = add_to_nft(sock, family, admin_chain, err);
        if (r < 0 || !legacy)
                return r < 0 ? r : 0;
        r = forward_legacy_is_open(family, admin_chain, err);
        return r != 0 ? (r < 0 ? r : 0) : forward_legacy_add(family, admin_chain, err);
}

int forward_check(RulesSocket *sock, uint8_t family, const char *admin_chain, Error *err) {
        bool legacy = xtables_has(family, TABLE);
        Facts facts = {.family = family, .admin_chain = admin_chain};
        int r = open_and_look(sock, &facts, err);

        if (r < 0)
                return r;
        if (r != 1 && !(r == 2 && legacy)) {
                if (!facts.has_jump)
                        return error_set(err, ERROR_NOT_FOUND,
                                         "firewall: chain FORWARD does not jump to " FORWARD_CHAIN);
                if (!facts.has_admin_jump)
                        return error_set(err, ERROR_NOT_FOUND,
                                         "firewall: chain " FORWARD_CHAIN " does not jump to %s",
                                         admin_chain);
                return error_set(err, ERROR_NOT_FOUND,
                                 "firewall: chain " FORWARD_CHAIN " lacks the rule for pods");
        }
        r = legacy ? forward_legacy_is_open(family, admin_chain, err) : 1;
        if (r == 0)
                return error_set(err, ERROR_NOT_FOUND,
                                 "firewall: chain FORWARD of iptables-legacy lacks the rules "
                                 "for pods");
        return r < 0 ? r : 0;
}

static int forget_once(NlSocket *sock, uint8_t family) {
        cleanup(batch_deinit) NftBatch batch = {0};
        Facts facts = {.family = family, .admin_chain = FORWARD_ADMIN_CHAIN};
        int r = read_facts(sock, &facts);

        if (r < 0 || facts.n_subnets == 0)
                return r == -EOPNOTSUPP ? 0 : r;
        nft_batch_begin(&batch);
        for (size_t i = 0; i < facts.n_subnets; i++)
                nft_rule_delete(&batch, family, TABLE, FORWARD_CHAIN, facts.subnets[i]);
        nft_batch_set_generation(&batch, facts.generation);
        return nft_batch_run(sock, &batch, NULL);
}

int forward_forget_subnets(RulesSocket *sock, uint8_t family, Error *err) {
        int r = rules_open(sock, err);

        if (r < 0)
                return r;
        r = -ERESTART;
        for (unsigned int try = 0; try < TRIES_MAX && r == -ERESTART; try++)
                r = forget_once(&sock->netfilter, family);
        return r < 0 ? error_set_errno(err, r, "firewall: remove rules of chain " FORWARD_CHAIN)
                     : 0;
}
