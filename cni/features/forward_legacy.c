/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hosts whose filter table belongs to iptables-legacy. Its tables are replaced whole, by a blob
 * that only the tool should compose; so the tool is run, and only for what is missing.
 */

#include "cni/features/forward.h"

#include "common/base/cleanup.h"
#include "common/base/exec.h"
#include "common/nft/xtables.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/netfilter.h>
#include <linux/netfilter/xt_mark.h>

#define MARK_TEXT "0x10000000" /* RULES_FORWARD_MARK */
#define TRIES_MAX 8

#define ARGUMENTS_MAX   24
#define TIMEOUT_MSECS   30000U
#define WAIT_FOR_LOCK_S "10"

static const char *const tools[2][2] = {
        {"iptables-legacy", "iptables"},
        {"ip6tables-legacy", "ip6tables"},
};

static void result_deinit_(ExecResult *result) {
        exec_result_deinit(result);
}

/**
 * run() - the tool with "-w" and @arguments, which end with NULL
 *
 * Return: its exit status; -errno with @err filled when it cannot be run.
 */
static int run(uint8_t family, const char *const *arguments, Error *err) {
        const char *argv[ARGUMENTS_MAX + 4] = {NULL, "-w", WAIT_FOR_LOCK_S};
        int r = -ENOENT;

        for (size_t i = 0; i < ARGUMENTS_MAX && arguments[i]; i++)
                argv[3 + i] = arguments[i];
        for (size_t i = 0; i < 2 && r == -ENOENT; i++) {
                cleanup(result_deinit_) ExecResult result = {0};
                ExecRequest request = {.argv = argv, .timeout_msecs = TIMEOUT_MSECS};

                argv[0] = tools[family == AF_INET6][i];
                r = exec_run(&request, &result);
                if (r == 0)
                        r = result.exit_status < 0 ? -EIO : result.exit_status;
        }
        if (r < 0)
                return error_set_errno(err, r, "firewall: run %s for the legacy filter table",
                                       tools[family == AF_INET6][0]);
        return r;
}

/* The arguments of a rule behind -A CHAIN, -C CHAIN, ... */
typedef struct LegacyRule {
        const char *chain;
        bool first;
        const char *words[12]; /* NULL-terminated */
} LegacyRule;

static int rule_run(uint8_t family, const char *verb, const LegacyRule *rule, Error *err) {
        const char *arguments[ARGUMENTS_MAX + 1] = {verb, rule->chain};

        for (size_t i = 0; i < N_ELEMENTS(rule->words) && rule->words[i]; i++)
                arguments[2 + i] = rule->words[i];
        return run(family, arguments, err);
}

static int rule_ensure(uint8_t family, const LegacyRule *rule, Error *err) {
        int r = rule_run(family, "-C", rule, err);

        if (r <= 0)
                return r;
        r = rule_run(family, rule->first ? "-I" : "-A", rule, err);
        if (r > 0)
                return error_set(err, ERROR_INTERNAL,
                                 "firewall: iptables refused a rule of chain %s (status %d)",
                                 rule->chain, r);
        return r;
}

static const char mark_and_mask[] = MARK_TEXT "/" MARK_TEXT;

static LegacyRule jump(const char *from, const char *to, const char *comment) {
        return (LegacyRule){from, true, {"-m", "comment", "--comment", comment, "-j", to}};
}

static LegacyRule accept_mark(void) {
        return (LegacyRule){
                FORWARD_CHAIN,
                false,
                {"-m", "mark", "--mark", mark_and_mask, "-m", "comment", "--comment",
                 FORWARD_COMMENT_PODS, "-j", "ACCEPT"},
        };
}

/* --- reading ------------------------------------------------------------------------------ */

int forward_legacy_read(uint8_t family, const char *table, XtTable *xt, Error *err) {
        int r = -EAGAIN;

        for (unsigned int try = 0; try < TRIES_MAX && r == -EAGAIN; try++)
                r = xtables_read(family, table, xt);
        return r < 0 ? error_set_errno(err, r, "firewall: read table %s of iptables-legacy", table)
                     : 0;
}

/* Does a rule from @offset on, up to @end or the next chain, jump to @target? */
static bool has_jump(const XtTable *xt, uint32_t offset, uint32_t end, uint32_t target) {
        XtRule rule;

        for (; offset < end && xtables_rule(xt, offset, &rule) == 0 && rule.chain[0] == '\0';
             offset = rule.next)
                if (rule.is_verdict && rule.verdict == -1 && rule.jump == target)
                        return true;
        return false;
}

/* The words that match the mark, as the match's data has them. */
static bool has_accept(const XtTable *xt, uint32_t offset) {
        const struct xt_mark_mtinfo1 info = {.mark = RULES_FORWARD_MARK,
                                             .mask = RULES_FORWARD_MARK};
        XtRule rule;

        for (; xtables_rule(xt, offset, &rule) == 0 && rule.chain[0] == '\0'; offset = rule.next)
                if (rule.is_verdict && rule.verdict == NF_ACCEPT &&
                    memmem(rule.bytes, rule.n_bytes, &info, 2 * sizeof(uint32_t)))
                        return true;
        return false;
}

static bool is_open(const XtTable *xt, const char *admin_chain) {
        uint32_t chain = 0, admin = 0, end = (uint32_t)xt->n_entries;

        return xtables_chain(xt, FORWARD_CHAIN, &chain) == 0 &&
               has_jump(xt, xt->first[NF_INET_FORWARD], xt->policy[NF_INET_FORWARD], chain) &&
               xtables_chain(xt, admin_chain, &admin) == 0 && has_jump(xt, chain, end, admin) &&
               has_accept(xt, chain);
}

int forward_legacy_is_open(uint8_t family, const char *admin_chain, Error *err) {
        cleanup(xtables_deinit) XtTable xt = {0};
        int r = forward_legacy_read(family, "filter", &xt, err);

        return r < 0 ? r : is_open(&xt, admin_chain);
}

/* --- writing ------------------------------------------------------------------------------ */

int forward_legacy_add(uint8_t family, const char *admin_chain, Error *err) {
        LegacyRule rules[] = {
                jump("FORWARD", FORWARD_CHAIN, FORWARD_COMMENT_JUMP),
                jump(FORWARD_CHAIN, admin_chain, FORWARD_COMMENT_ADMIN),
                accept_mark(),
        };
        const char *make_chain[] = {"-N", FORWARD_CHAIN, NULL};
        int r;

        /* A chain that is there already is status 1. */
        r = run(family, make_chain, err);
        make_chain[1] = admin_chain;
        r = r < 0 ? r : run(family, make_chain, err);
        for (size_t i = 0; i < N_ELEMENTS(rules) && r >= 0; i++)
                r = rule_ensure(family, &rules[i], err);
        return r < 0 ? r : 0;
}
