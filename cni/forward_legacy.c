/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hosts whose filter table belongs to iptables-legacy. Its tables are replaced whole, by a blob
 * that only the tool should compose; so the tool is run, and only for what is missing.
 */

#include "cni/forward.h"

#include "common/base/cleanup.h"
#include "common/base/exec.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/socket.h>

/* As upstream's plugin and cni/forward.c write them. */
#define COMMENT_JUMP  "CNI firewall plugin rules"
#define COMMENT_ADMIN "CNI firewall plugin admin overrides"

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

static LegacyRule jump(const char *from, const char *to, const char *comment) {
        return (LegacyRule){from, true, {"-m", "comment", "--comment", comment, "-j", to}};
}

static LegacyRule accept_from(const char *subnet) {
        return (LegacyRule){FORWARD_CHAIN, false, {"-s", subnet, "-j", "ACCEPT"}};
}

static LegacyRule accept_to(const char *subnet) {
        return (LegacyRule){
                FORWARD_CHAIN,
                false,
                {"-d", subnet, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j",
                 "ACCEPT"},
        };
}

int forward_legacy_add(const ForwardRequest *request, Error *err) {
        LegacyRule jumps[] = {
                jump("FORWARD", FORWARD_CHAIN, COMMENT_JUMP),
                jump(FORWARD_CHAIN, request->admin_chain, COMMENT_ADMIN),
        };
        const char *make_chain[] = {"-N", FORWARD_CHAIN, NULL};
        const char *make_admin[] = {"-N", request->admin_chain, NULL};
        int r;

        /* What exists is refused, which is as good. */
        r = run(request->family, make_chain, err);
        if (r >= 0)
                r = run(request->family, make_admin, err);
        for (size_t i = 0; i < N_ELEMENTS(jumps) && r >= 0; i++)
                r = rule_ensure(request->family, &jumps[i], err);
        for (size_t i = 0; i < request->n_subnets && r >= 0; i++) {
                char text[IP_TEXT_MAX];
                LegacyRule to, from;

                ip_prefix_format(&request->subnets[i], text);
                to = accept_to(text);
                from = accept_from(text);
                r = rule_ensure(request->family, &to, err);
                if (r >= 0)
                        r = rule_ensure(request->family, &from, err);
        }
        return r < 0 ? r : 0;
}

int forward_legacy_del(const ForwardRequest *request, Error *err) {
        int r = 0;

        for (size_t i = 0; i < request->n_subnets && r >= 0; i++) {
                char text[IP_TEXT_MAX];
                LegacyRule to, from;

                if (request->subnets[i].length < ip_size(&request->subnets[i].address) * 8)
                        continue;
                ip_prefix_format(&request->subnets[i], text);
                to = accept_to(text);
                from = accept_from(text);
                r = rule_run(request->family, "-D", &to, err);
                if (r >= 0)
                        r = rule_run(request->family, "-D", &from, err);
        }
        return r < 0 ? r : 0;
}

int forward_legacy_check(const ForwardRequest *request, Error *err) {
        LegacyRule jumps[] = {
                jump("FORWARD", FORWARD_CHAIN, COMMENT_JUMP),
                jump(FORWARD_CHAIN, request->admin_chain, COMMENT_ADMIN),
        };
        int r = 0;

        for (size_t i = 0; i < N_ELEMENTS(jumps) && r == 0; i++) {
                r = rule_run(request->family, "-C", &jumps[i], err);
                if (r > 0)
                        return error_set(err, ERROR_NOT_FOUND,
                                         "firewall: chain %s does not jump to %s", jumps[i].chain,
                                         jumps[i].words[5]);
        }
        for (size_t i = 0; i < request->n_subnets && r == 0; i++) {
                char text[IP_TEXT_MAX];
                LegacyRule to, from;

                ip_prefix_format(&request->subnets[i], text);
                to = accept_to(text);
                from = accept_from(text);
                r = rule_run(request->family, "-C", &to, err);
                if (r == 0)
                        r = rule_run(request->family, "-C", &from, err);
                if (r > 0)
                        return error_set(err, ERROR_NOT_FOUND,
                                         "firewall: chain " FORWARD_CHAIN " lacks a rule for %s",
                                         text);
        }
        return r;
}
