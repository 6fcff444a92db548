/* SPDX-License-Identifier: Apache-2.0 */

/* A rule of nf_tables as far as it can be recognised. What is not known is said to be so: nobody
 * may take a condition that was overlooked for none. */

#include "common/nft/nft_answer.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_state.h>

#define TYPE(message) ((uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | (message)))

/* nft_ct.c and xt_conntrack.c count the states in one way. */
_Static_assert(NFT_STATE_NEW == 1U << (IP_CT_NEW % IP_CT_IS_REPLY + 1), "NF_CT_STATE_BIT()");

/* What the register holds that the next expression may compare. */
typedef enum Loaded {
        LOADED_UNKNOWN,
        LOADED_INPUT,
        LOADED_OUTPUT,
        LOADED_INPUT_INDEX,
        LOADED_OUTPUT_INDEX,
        LOADED_PROTOCOL,
        LOADED_STATE,
        LOADED_STATUS,
} Loaded;

typedef struct Parse {
        NftRule *rule;
        Loaded loaded;
        bool is_masked;
        uint32_t mask;
} Parse;

static int parse_immediate(const struct nlattr *data, Parse *parse) {
        const struct nlattr *table[NFTA_IMMEDIATE_MAX + 1];
        const struct nlattr *value[NFTA_DATA_MAX + 1];
        const struct nlattr *verdict[NFTA_VERDICT_MAX + 1];
        NftRule *rule = parse->rule;
        int r = nl_nested(data, table, NFTA_IMMEDIATE_MAX + 1);

        if (r < 0 || !table[NFTA_IMMEDIATE_DATA] || rule->verdict != INT32_MIN)
                return r;
        r = nl_nested(table[NFTA_IMMEDIATE_DATA], value, NFTA_DATA_MAX + 1);
        if (r < 0 || !value[NFTA_DATA_VERDICT])
                return r;
        r = nl_nested(value[NFTA_DATA_VERDICT], verdict, NFTA_VERDICT_MAX + 1);
        if (r < 0 || !verdict[NFTA_VERDICT_CODE])
                return r;
        rule->verdict = (int32_t)nft_get_u32(verdict[NFTA_VERDICT_CODE], 0);
        nl_get_text(verdict[NFTA_VERDICT_CHAIN], rule->target, sizeof(rule->target));
        return 0;
}

static int parse_payload(const struct nlattr *data, Parse *parse) {
        const struct nlattr *table[NFTA_PAYLOAD_MAX + 1];
        NftRule *rule = parse->rule;
        int r = nl_nested(data, table, NFTA_PAYLOAD_MAX + 1);

        parse->loaded = LOADED_UNKNOWN;
        rule->asks_more = true;
        if (r < 0 || rule->has_payload)
                return r;
        rule->has_payload = true;
        rule->payload_base = nft_get_u32(table[NFTA_PAYLOAD_BASE], UINT32_MAX);
        rule->payload_offset = nft_get_u32(table[NFTA_PAYLOAD_OFFSET], UINT32_MAX);
        rule->payload_size = nft_get_u32(table[NFTA_PAYLOAD_LEN], 0);
        return 0;
}

static int parse_meta(const struct nlattr *data, Parse *parse) {
        const struct nlattr *table[NFTA_META_MAX + 1];
        int r = nl_nested(data, table, NFTA_META_MAX + 1);

        parse->loaded = LOADED_UNKNOWN;
        /* Without a register for a result it sets something: a mark, the trace. */
        if (r < 0 || !table[NFTA_META_DREG])
                return r;
        switch (nft_get_u32(table[NFTA_META_KEY], UINT32_MAX)) {
        case NFT_META_IIFNAME:
                parse->loaded = LOADED_INPUT;
                return 0;
        case NFT_META_OIFNAME:
                parse->loaded = LOADED_OUTPUT;
                return 0;
        case NFT_META_IIF:
                parse->loaded = LOADED_INPUT_INDEX;
                return 0;
        case NFT_META_OIF:
                parse->loaded = LOADED_OUTPUT_INDEX;
                return 0;
        case NFT_META_L4PROTO:
                parse->loaded = LOADED_PROTOCOL;
                return 0;
        default:
                parse->rule->asks_more = true;
                return 0;
        }
}

static int parse_ct(const struct nlattr *data, Parse *parse) {
        const struct nlattr *table[NFTA_CT_MAX + 1];
        int r = nl_nested(data, table, NFTA_CT_MAX + 1);
        uint32_t key;

        parse->loaded = LOADED_UNKNOWN;
        parse->is_masked = false;
        if (r < 0 || !table[NFTA_CT_DREG])
                return r;
        key = nft_get_u32(table[NFTA_CT_KEY], UINT32_MAX);
        if (key == NFT_CT_STATE || key == NFT_CT_STATUS)
                parse->loaded = key == NFT_CT_STATE ? LOADED_STATE : LOADED_STATUS;
        else
                parse->rule->asks_more = true;
        return 0;
}

static int parse_bitwise(const struct nlattr *data, Parse *parse) {
        const struct nlattr *table[NFTA_BITWISE_MAX + 1];
        const uint8_t *value;
        size_t n;
        int r = nl_nested(data, table, NFTA_BITWISE_MAX + 1);

        r = r < 0 ? r : nft_get_value(table[NFTA_BITWISE_MASK], &value, &n);
        if (r < 0)
                return r;
        parse->is_masked = value && n == sizeof(parse->mask) &&
                           (parse->loaded == LOADED_STATE || parse->loaded == LOADED_STATUS);
        if (parse->is_masked) {
                memcpy(&parse->mask, value, n);
        } else {
                parse->loaded = LOADED_UNKNOWN;
                parse->rule->asks_more = true;
        }
        return 0;
}

static bool is_zero(const uint8_t *value, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (value[i] != 0)
                        return false;
        return true;
}

/* Of the first packet of a connection conntrack says "new", and has no status yet. */
static void take_conntrack(Parse *parse, bool differs, const uint8_t *value, size_t n) {
        NftRule *rule = parse->rule;

        if (!parse->is_masked || !differs || !is_zero(value, n))
                rule->asks_more = true;
        else if (parse->loaded == LOADED_STATUS ||
                 (parse->mask & (NFT_STATE_NEW | NFT_STATE_UNTRACKED)) == 0)
                rule->is_of_answers = true;
        else
                rule->asks_more = true;
}

static void take_condition(Parse *parse, bool differs, const uint8_t *value, size_t n) {
        static const NftSubject subjects[] = {
                [LOADED_INPUT] = NFT_SUBJECT_INPUT,
                [LOADED_OUTPUT] = NFT_SUBJECT_OUTPUT,
                [LOADED_PROTOCOL] = NFT_SUBJECT_PROTOCOL,
        };
        NftRule *rule = parse->rule;
        NftCondition *condition = &rule->conditions[rule->n_conditions];

        if (rule->n_conditions == NFT_CONDITIONS_MAX || n > sizeof(condition->value)) {
                rule->asks_more = true;
                return;
        }
        rule->n_conditions++;
        *condition = (NftCondition){.subject = subjects[parse->loaded], .differs = differs, .n = n};
        memcpy(condition->value, value, n);
}

/* The loopback link has the same number in every namespace (LOOPBACK_IFINDEX); what another number
 * is called is not known here. */
static void take_index(Parse *parse, bool differs, const uint8_t *value, size_t n) {
        static const uint8_t loopback[] = "lo";
        uint32_t index = 0;

        if (n == sizeof(index))
                memcpy(&index, value, n);
        if (index != 1) {
                parse->rule->asks_more = true;
                return;
        }
        parse->loaded = parse->loaded == LOADED_INPUT_INDEX ? LOADED_INPUT : LOADED_OUTPUT;
        take_condition(parse, differs, loopback, sizeof(loopback));
}

static int parse_cmp(const struct nlattr *data, Parse *parse) {
        const struct nlattr *table[NFTA_CMP_MAX + 1];
        NftRule *rule = parse->rule;
        const uint8_t *value;
        uint32_t operation;
        size_t n;
        int r;

        r = nl_nested(data, table, NFTA_CMP_MAX + 1);
        r = r < 0 ? r : nft_get_value(table[NFTA_CMP_DATA], &value, &n);
        if (r < 0)
                return r;
        operation = nft_get_u32(table[NFTA_CMP_OP], NFT_CMP_EQ);
        if (!value || operation > NFT_CMP_NEQ || parse->loaded == LOADED_UNKNOWN)
                rule->asks_more = true;
        else if (parse->loaded == LOADED_STATE || parse->loaded == LOADED_STATUS)
                take_conntrack(parse, operation == NFT_CMP_NEQ, value, n);
        else if (parse->loaded == LOADED_INPUT_INDEX || parse->loaded == LOADED_OUTPUT_INDEX)
                take_index(parse, operation == NFT_CMP_NEQ, value, n);
        else
                take_condition(parse, operation == NFT_CMP_NEQ, value, n);
        if (!value || rule->n_compared > 0 || !rule->has_payload)
                return 0;
        if (n > sizeof(rule->compared))
                return -EBADMSG;
        memcpy(rule->compared, value, n);
        rule->n_compared = n;
        rule->differs = operation != NFT_CMP_EQ;
        return 0;
}

/* A lookup in a map of verdicts has the verdict's register for its result. */
static bool is_verdict_map(const struct nlattr *data) {
        const struct nlattr *table[NFTA_LOOKUP_MAX + 1];

        return data && nl_nested(data, table, NFTA_LOOKUP_MAX + 1) == 0 &&
               table[NFTA_LOOKUP_DREG] &&
               nft_get_u32(table[NFTA_LOOKUP_DREG], 1) == NFT_REG_VERDICT;
}

static int parse_lookup(const struct nlattr *data, Parse *parse) {
        const struct nlattr *table[NFTA_LOOKUP_MAX + 1];
        NftRule *rule = parse->rule;
        int r = nl_nested(data, table, NFTA_LOOKUP_MAX + 1);

        if (r < 0)
                return r;
        if (is_verdict_map(data))
                rule->has_other_verdict = true;
        else if (parse->loaded == LOADED_STATE && !parse->is_masked && !rule->state_set[0] &&
                 nft_get_u32(table[NFTA_LOOKUP_FLAGS], 0) == 0)
                nl_get_text(table[NFTA_LOOKUP_SET], rule->state_set, sizeof(rule->state_set));
        else
                rule->asks_more = true;
        return 0;
}

void nft_rule_take_match(NftRule *rule, const char *name, uint32_t revision, const void *info,
                         size_t n_info) {
        struct xt_conntrack_mtinfo3 conntrack;
        struct xt_state_info state;

        if (strcmp(name, "comment") == 0)
                return;
        if (strcmp(name, "conntrack") == 0 && revision == 3 && n_info >= sizeof(conntrack)) {
                memcpy(&conntrack, info, sizeof(conntrack));
                if ((conntrack.match_flags & ~XT_CONNTRACK_STATE_ALIAS) == XT_CONNTRACK_STATE &&
                    conntrack.invert_flags == 0 &&
                    (conntrack.state_mask & (NFT_STATE_NEW | NFT_STATE_UNTRACKED)) == 0) {
                        rule->is_of_answers = true;
                        return;
                }
        }
        if (strcmp(name, "state") == 0 && n_info >= sizeof(state)) {
                memcpy(&state, info, sizeof(state));
                if ((state.statemask & (NFT_STATE_NEW | NFT_STATE_UNTRACKED)) == 0) {
                        rule->is_of_answers = true;
                        return;
                }
        }
        rule->asks_more = true;
}

/* Those that go on decide nothing. */
void nft_rule_take_target(NftRule *rule, const char *name) {
        static const char *const going_on[] = {"LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS",
                                               "CT",  "TOS",   "DSCP", "CLASSIFY", "SECMARK"};

        if (strcmp(name, "REJECT") == 0) {
                rule->verdict = NF_DROP;
                return;
        }
        for (size_t i = 0; i < sizeof(going_on) / sizeof(going_on[0]); i++)
                if (strcmp(name, going_on[i]) == 0)
                        return;
        rule->has_other_verdict = true;
}

/* iptables-nft has xtables for what nft has no words for. */
static int parse_match(const struct nlattr *data, Parse *parse) {
        const struct nlattr *table[NFTA_MATCH_MAX + 1], *info;
        char name[32];
        int r = nl_nested(data, table, NFTA_MATCH_MAX + 1);

        if (r < 0)
                return r;
        nl_get_text(table[NFTA_MATCH_NAME], name, sizeof(name));
        info = table[NFTA_MATCH_INFO];
        nft_rule_take_match(parse->rule, name, nft_get_u32(table[NFTA_MATCH_REV], 0),
                            info ? nla_data(info) : NULL, info ? (size_t)nla_len(info) : 0);
        return 0;
}

static int parse_target(const struct nlattr *data, Parse *parse) {
        const struct nlattr *table[NFTA_TARGET_MAX + 1];
        char name[32];
        int r = nl_nested(data, table, NFTA_TARGET_MAX + 1);

        if (r < 0)
                return r;
        nl_get_text(table[NFTA_TARGET_NAME], name, sizeof(name));
        nft_rule_take_target(parse->rule, name);
        return 0;
}

static int parse_reject(const struct nlattr *data, Parse *parse) {
        parse->rule->verdict = NF_DROP;
        return 0;
}

static int parse_nothing(const struct nlattr *data, Parse *parse) {
        return 0;
}

static int parse_other_verdict(const struct nlattr *data, Parse *parse) {
        parse->rule->has_other_verdict = true;
        return 0;
}

static int each_expression(const struct nlattr *item, void *userdata) {
        static const struct {
                const char *name;
                int (*parse)(const struct nlattr *data, Parse *parse);
        } kinds[] = {
                {"immediate", parse_immediate},
                {"payload", parse_payload},
                {"meta", parse_meta},
                {"ct", parse_ct},
                {"bitwise", parse_bitwise},
                {"cmp", parse_cmp},
                {"lookup", parse_lookup},
                {"match", parse_match},
                {"target", parse_target},
                {"reject", parse_reject},
                {"counter", parse_nothing},
                {"log", parse_nothing},
                {"notrack", parse_nothing},
                {"queue", parse_other_verdict},
                {"objref", parse_other_verdict},
                {"synproxy", parse_other_verdict},
                {"flow_offload", parse_other_verdict},
                {"tproxy", parse_other_verdict},
                {"fwd", parse_other_verdict},
        };
        const struct nlattr *table[NFTA_EXPR_MAX + 1];
        Parse *parse = userdata;
        char name[32];
        int r;

        r = nl_nested(item, table, NFTA_EXPR_MAX + 1);
        if (r < 0)
                return r;
        nl_get_text(table[NFTA_EXPR_NAME], name, sizeof(name));
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
                if (strcmp(name, kinds[i].name) != 0)
                        continue;
                if (table[NFTA_EXPR_DATA])
                        return kinds[i].parse(table[NFTA_EXPR_DATA], parse);
        }
        parse->loaded = LOADED_UNKNOWN;
        parse->rule->asks_more = true;
        return 0;
}

int nft_parse_rule(const struct nlmsghdr *message, NftRule *rule) {
        const struct nlattr *table[NFTA_RULE_MAX + 1];
        Parse parse = {.rule = rule};
        uint64_t handle;
        int r;

        *rule = (NftRule){.verdict = INT32_MIN};
        if (message->nlmsg_type != TYPE(NFT_MSG_NEWRULE))
                return -ENOMSG;
        r = nl_attributes(message, NFT_HEADER_SIZE, table, NFTA_RULE_MAX + 1);
        if (r < 0)
                return r;
        if (!table[NFTA_RULE_HANDLE] || nla_len(table[NFTA_RULE_HANDLE]) < (int)sizeof(handle))
                return -EBADMSG;
        memcpy(&handle, nla_data(table[NFTA_RULE_HANDLE]), sizeof(handle));
        rule->handle = be64toh(handle);
        nl_get_text(table[NFTA_RULE_CHAIN], rule->chain, sizeof(rule->chain));
        nft_get_comment(table[NFTA_RULE_USERDATA], rule->comment, sizeof(rule->comment));
        rule->expressions = table[NFTA_RULE_EXPRESSIONS];
        if (!rule->expressions)
                return 0;
        return nft_for_list(table[NFTA_RULE_EXPRESSIONS], each_expression, &parse);
}
