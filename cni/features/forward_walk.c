/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What becomes of a packet that a pod sends to another network, in the rules of others: each chain
 * of the hooks that it passes is walked with it, jumps included, as the kernel does. A condition
 * that cannot be judged may hold or not; only what drops either way is told.
 */

#include "cni/features/forward.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/nft/xtables.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#define CHAINS_MAX 256

/* The kernel's NFT_JUMP_STACK_SIZE. */
#define DEPTH_MAX 16U

/* Chains that are read for one question, and rules of one: more, and nothing is certain. */
#define READS_MAX 512U
#define RULES_MAX 4096U

typedef enum Outcome {
        OUTCOME_PASSES, /* or may */
        OUTCOME_DROPS,
        OUTCOME_RETURNS, /* what comes behind the jump decides */
} Outcome;

typedef enum Fit {
        FIT_NO,
        FIT_MAYBE,
        FIT_YES
} Fit;

/* What counts of a rule that may fit. */
typedef struct Step {
        bool is_certain, has_other_verdict;
        int32_t verdict;
        char target[NFT_NAME_MAX + 1]; /* of a jump; iptables-legacy has @jump */
        uint32_t jump;
        char state_set[NFT_NAME_MAX + 1]; /* as NftRule */
} Step;

typedef struct Steps {
        const ForwardPacket *packet;
        uint32_t hook; /* NF_INET_* */
        Step *items;   /* owned */
        size_t n, n_allocated;
        bool too_many;
} Steps;

typedef struct Walk {
        const ForwardPacket *packet;
        NlSocket *sock;            /* of nf_tables */
        const NftChainFound *base; /* likewise */
        const XtTable *xt;         /* of iptables-legacy, else NULL */
        uint32_t hook;             /* NF_INET_* */
        unsigned int n_reads;
        char where[NFT_NAME_MAX + 1]; /* the chain that drops */
        int r;
} Walk;

/* --- one rule ------------------------------------------------------------------------------ */

static Fit fit_name(const NftCondition *condition, const ForwardLink *link) {
        size_t n = link->n_known < condition->n ? link->n_known : condition->n;

        /* Which no packet of a pod comes by or goes out by, whatever its links are called. */
        if (condition->n >= sizeof("lo") && memcmp(condition->value, "lo", sizeof("lo")) == 0)
                return condition->differs ? FIT_YES : FIT_NO;
        if (memcmp(link->name, condition->value, n) != 0)
                return condition->differs ? FIT_YES : FIT_NO;
        if (n < condition->n)
                return FIT_MAYBE;
        return condition->differs ? FIT_NO : FIT_YES;
}

/* Before routing there is no output yet, and behind it the input is not always told. */
static Fit fit_condition(const NftCondition *condition, const ForwardPacket *packet,
                         uint32_t hook) {
        bool tcp = condition->n == 1 && condition->value[0] == IPPROTO_TCP;

        switch (condition->subject) {
        case NFT_SUBJECT_INPUT:
                return hook == NF_INET_POST_ROUTING ? FIT_MAYBE
                                                    : fit_name(condition, &packet->input);
        case NFT_SUBJECT_OUTPUT:
                return hook == NF_INET_PRE_ROUTING ? FIT_MAYBE
                                                   : fit_name(condition, &packet->output);
        case NFT_SUBJECT_PROTOCOL:
                return tcp != condition->differs ? FIT_YES : FIT_NO;
        }
        return FIT_MAYBE;
}

static Fit fit_rule(const NftRule *rule, const ForwardPacket *packet, uint32_t hook) {
        Fit fit = rule->asks_more ? FIT_MAYBE : FIT_YES;

        if (rule->is_of_answers)
                return FIT_NO;
        for (size_t i = 0; i < rule->n_conditions && fit != FIT_NO; i++) {
                Fit one = fit_condition(&rule->conditions[i], packet, hook);

                fit = one < fit ? one : fit;
        }
        return fit;
}

/* --- one chain ----------------------------------------------------------------------------- */

static int add_step(Steps *steps, const NftRule *rule, uint32_t jump) {
        Fit fit = fit_rule(rule, steps->packet, steps->hook);
        Step *step;

        if (fit == FIT_NO || (rule->verdict == INT32_MIN && !rule->has_other_verdict))
                return 0;
        if (steps->n == RULES_MAX) {
                steps->too_many = true;
                return 0;
        }
        if (steps->n == steps->n_allocated) {
                size_t n = steps->n_allocated ? steps->n_allocated * 2 : 16;
                Step *grown = realloc(steps->items, n * sizeof(*grown));

                if (!grown)
                        return -ENOMEM;
                steps->items = grown;
                steps->n_allocated = n;
        }
        step = &steps->items[steps->n++];
        *step = (Step){.is_certain = fit == FIT_YES,
                       .has_other_verdict = rule->has_other_verdict,
                       .verdict = rule->verdict,
                       .jump = jump};
        snprintf(step->target, sizeof(step->target), "%s", rule->target);
        snprintf(step->state_set, sizeof(step->state_set), "%s", rule->state_set);
        return 0;
}

static int each_rule(const NftRule *rule, void *userdata) {
        Steps *steps = userdata;

        if (rule)
                return add_step(steps, rule, 0);
        steps->n = 0;
        steps->too_many = false;
        return 0;
}

/* From @offset to the policy, or to the head of the next chain. */
static int read_legacy(const XtTable *xt, uint32_t offset, Steps *steps) {
        XtRule rule;
        int r = 0;

        for (; r == 0 && offset != xt->policy[steps->hook] &&
               xtables_rule(xt, offset, &rule) == 0 && rule.chain[0] == '\0';
             offset = rule.next) {
                NftRule description;

                xtables_describe(xt, &rule, &description);
                r = add_step(steps, &description, rule.jump);
        }
        return r;
}

static int each_state(const NftFound *found, void *userdata) {
        uint32_t *states = userdata, state;

        if (!found) {
                *states = 0;
        } else if (found->n_key == sizeof(state)) {
                memcpy(&state, found->key, sizeof(state));
                *states |= state;
        }
        return 0;
}

/* A set of states without "new" is what answers have; with it nobody asks what else there is. */
static Fit fit_states(Walk *walk, const char *set) {
        uint32_t states = 0;

        if (set[0] == '\0')
                return FIT_YES;
        if (!walk->base || walk->n_reads++ >= READS_MAX ||
            nft_element_dump(walk->sock, walk->base->family, walk->base->table, set, each_state,
                             &states) < 0)
                return FIT_MAYBE;
        return states & (NFT_STATE_NEW | NFT_STATE_UNTRACKED) ? FIT_MAYBE : FIT_NO;
}

static void steps_deinit(Steps *steps) {
        free(steps->items);
}

static Outcome walk_chain(Walk *walk, const char *chain, uint32_t offset, unsigned int depth);

/* A jump or goto. Return: whether the walk of this chain ends with *@outcomep. */
static bool walk_jump(Walk *walk, const Step *step, unsigned int depth, bool *may_returnp,
                      Outcome *outcomep) {
        *outcomep = walk_chain(walk, step->target, step->jump, depth + 1);
        if (*outcomep == OUTCOME_PASSES || (*outcomep == OUTCOME_DROPS && step->is_certain))
                return true;
        if (step->verdict == NFT_GOTO && *outcomep == OUTCOME_RETURNS) {
                *may_returnp = true;
                return step->is_certain;
        }
        return false;
}

static Outcome walk_steps(Walk *walk, const Steps *steps, const char *chain, unsigned int depth) {
        bool may_return = false;
        Outcome outcome;

        for (size_t i = 0; i < steps->n; i++) {
                Step *step = &steps->items[i];
                Fit fit = fit_states(walk, step->state_set);

                if (fit == FIT_NO)
                        continue;
                step->is_certain = step->is_certain && fit == FIT_YES;
                if (step->has_other_verdict)
                        return OUTCOME_PASSES;
                switch (step->verdict) {
                case NF_DROP:
                        if (!step->is_certain)
                                continue;
                        snprintf(walk->where, sizeof(walk->where), "%s", chain);
                        return may_return ? OUTCOME_RETURNS : OUTCOME_DROPS;
                case NFT_JUMP:
                case NFT_GOTO:
                        if (!walk_jump(walk, step, depth, &may_return, &outcome))
                                continue;
                        return outcome == OUTCOME_DROPS && may_return ? OUTCOME_RETURNS : outcome;
                case NFT_RETURN:
                        if (step->is_certain)
                                return OUTCOME_RETURNS;
                        may_return = true;
                        continue;
                case NFT_CONTINUE:
                        continue;
                default: /* accept, a queue */
                        return OUTCOME_PASSES;
                }
        }
        return OUTCOME_RETURNS;
}

static Outcome walk_chain(Walk *walk, const char *chain, uint32_t offset, unsigned int depth) {
        cleanup(steps_deinit) Steps steps = {.packet = walk->packet, .hook = walk->hook};

        if (walk->r < 0 || depth > DEPTH_MAX || walk->n_reads++ >= READS_MAX)
                return OUTCOME_PASSES;
        walk->r = walk->xt ? read_legacy(walk->xt, offset, &steps)
                           : nft_rule_dump(walk->sock, walk->base->family, walk->base->table, chain,
                                           each_rule, &steps);
        if (walk->r < 0 || steps.too_many)
                return OUTCOME_PASSES;
        return walk_steps(walk, &steps, chain, depth);
}

/* --- all of them --------------------------------------------------------------------------- */

typedef struct Chains {
        NftChainFound items[CHAINS_MAX];
        size_t n;
} Chains;

static bool is_passed(uint32_t hook) {
        return hook == NF_INET_PRE_ROUTING || hook == NF_INET_FORWARD ||
               hook == NF_INET_POST_ROUTING;
}

static int each_chain(const NftChainFound *chain, void *userdata) {
        Chains *chains = userdata;

        if (!chain)
                chains->n = 0;
        else if (chain->hooked && is_passed(chain->hook) && chains->n < CHAINS_MAX &&
                 strcmp(chain->type, "filter") == 0 && strcmp(chain->table, RULES_TABLE) != 0 &&
                 (chain->family == NFPROTO_IPV4 || chain->family == NFPROTO_IPV6 ||
                  chain->family == NFPROTO_INET))
                chains->items[chains->n++] = *chain;
        return 0;
}

static const char *family_word(uint8_t family) {
        return family == NFPROTO_IPV4 ? "ip" : family == NFPROTO_IPV6 ? "ip6" : "inet";
}

static void freep_chains(Chains **chainsp) {
        free(*chainsp);
}

static bool is_opened(const NftChainFound *chain, const ForwardPacket *packet) {
        if (chain->family == NFPROTO_INET)
                return packet->firewalld_opens && str_equal(chain->table, "firewalld");
        return packet->iptables_opens && str_equal(chain->table, "filter") &&
               str_equal(chain->name, "FORWARD");
}

/* Tables and hooks of iptables-legacy that a packet passes, and which of them is opened. */
static const struct LegacyChain {
        const char *table, *name;
        uint32_t hook;
        bool is_opened;
} legacy_chains[] = {
        {"raw", "PREROUTING", NF_INET_PRE_ROUTING, false},
        {"mangle", "PREROUTING", NF_INET_PRE_ROUTING, false},
        {"mangle", "FORWARD", NF_INET_FORWARD, false},
        {"filter", "FORWARD", NF_INET_FORWARD, true},
        {"mangle", "POSTROUTING", NF_INET_POST_ROUTING, false},
};

static int find_in_legacy(const ForwardPacket *packet, const struct LegacyChain *chain,
                          uint8_t family, char text[256]) {
        cleanup(xtables_deinit) XtTable xt = {0};
        Walk walk = {.packet = packet, .xt = &xt, .hook = chain->hook};
        bool drops, is_filter = str_equal(chain->table, "filter");
        Outcome outcome;
        XtRule policy;

        if (!xtables_has(family, chain->table) ||
            forward_legacy_read(family, chain->table, &xt, NULL) < 0)
                return 0;
        outcome = walk_chain(&walk, chain->name, xt.first[chain->hook], 0);
        drops = xtables_rule(&xt, xt.policy[chain->hook], &policy) == 0 && policy.is_verdict &&
                policy.verdict == NF_DROP;
        if (walk.r < 0 || outcome == OUTCOME_PASSES || (outcome == OUTCOME_RETURNS && !drops))
                return walk.r;
        snprintf(text, 256, "chain %s of %s%s%s%s-legacy: %s", chain->name,
                 is_filter ? "" : "table ", is_filter ? "" : chain->table, is_filter ? "" : " of ",
                 family == AF_INET ? "iptables" : "ip6tables",
                 outcome == OUTCOME_DROPS ? "a rule drops everything" : "its policy is drop");
        return 1;
}

static int find_legacy(const ForwardPacket *packet, char text[256]) {
        static const uint8_t families[] = {AF_INET, AF_INET6};
        int r = 0;

        for (size_t i = 0; i < N_ELEMENTS(families) * N_ELEMENTS(legacy_chains) && r == 0; i++) {
                const struct LegacyChain *chain = &legacy_chains[i % N_ELEMENTS(legacy_chains)];

                if (!packet->iptables_opens || !chain->is_opened)
                        r = find_in_legacy(packet, chain, families[i / N_ELEMENTS(legacy_chains)],
                                           text);
        }
        return r;
}

int forward_find_drop(RulesSocket *sock, const ForwardPacket *packet, char text[256]) {
        cleanup(freep_chains) Chains *chains = calloc(1, sizeof(*chains));
        int r = chains ? rules_open(sock, NULL) : -ENOMEM;

        r = r < 0 ? r : nft_chain_dump(&sock->netfilter, each_chain, chains);
        for (size_t i = 0; r == 0 && i < chains->n; i++) {
                const NftChainFound *chain = &chains->items[i];
                Walk walk = {.sock = &sock->netfilter,
                             .packet = packet,
                             .base = chain,
                             .hook = chain->hook};
                Outcome outcome;

                if (is_opened(chain, packet))
                        continue;
                outcome = walk_chain(&walk, chain->name, 0, 0);
                r = walk.r;
                if (r < 0 || outcome == OUTCOME_PASSES ||
                    (outcome == OUTCOME_RETURNS && chain->policy != NF_DROP))
                        continue;
                snprintf(text, 256, "chain %.64s of table %s %.64s: %s",
                         outcome == OUTCOME_DROPS ? walk.where : chain->name,
                         family_word(chain->family), chain->table,
                         outcome == OUTCOME_DROPS ? "a rule drops everything"
                                                  : "its policy is drop");
                return 1;
        }
        if (r < 0 && r != -ENOENT && r != -EOPNOTSUPP)
                return r;
        return find_legacy(packet, text);
}
