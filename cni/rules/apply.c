/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A list of elements and the kernel. ADD tries at once what nearly always works; whatever is in the
 * way then sends it to the careful way, where everything is read first and the transaction only
 * counts if nothing changed since.
 */

#include "cni/rules/rules.h"

#include "cni/spec/failure.h"
#include "common/base/cleanup.h"
#include "common/netlink/rtnl_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <linux/netfilter.h>

/* Every loss means that somebody else on the node changed a rule within the same millisecond. */
#define TRIES_MAX 64

typedef enum RuleState {
        RULE_ABSENT,
        RULE_OURS,
        RULE_OTHER,
} RuleState;

/* What the kernel has for each rule and each group of a list. */
typedef struct Snapshot {
        const RuleList *list;
        const uint8_t *owner;
        uint32_t generation;
        bool *has_group; /* owned; NULL: not asked for */
        struct {
                RuleState state;
                bool same_data;
                char comment[NFT_COMMENT_MAX];
                char wider[NFT_COMMENT_MAX]; /* of the host port on every address; "": nobody's */
        } * rules;                           /* owned */
} Snapshot;

static void snapshot_deinit(Snapshot *snapshot) {
        free(snapshot->has_group);
        free(snapshot->rules);
}

static void batch_deinit(NftBatch *batch) {
        nft_batch_deinit(batch);
}

/* --- socket ------------------------------------------------------------------------------- */

int rules_open(RulesSocket *sock, Error *err) {
        int r;

        if (sock->netfilter.fd >= 0)
                return 0;
        r = nl_socket_open(&sock->netfilter, NETLINK_NETFILTER);
        if (r == -EPROTONOSUPPORT) {
                (void)error_set(err, ERROR_UNSUPPORTED, "this kernel has no nftables");
                return failure_by_kernel(err);
        }
        if (r < 0)
                return error_set_errno(err, r, "open a netfilter socket");
        return 0;
}

void rules_close(RulesSocket *sock) {
        nl_socket_close(&sock->netfilter);
        free(sock->shut);
        sock->shut = NULL;
        sock->n_shut = 0;
}

static int fail(RulesSocket *sock, int r, const char *what, Error *err) {
        const char *text = sock->netfilter.text;

        if (r == -EOPNOTSUPP) {
                (void)error_set(err, ERROR_UNSUPPORTED,
                                "%s: this kernel lacks what it needs of nftables%s%s", what,
                                text[0] ? ": " : "", text);
                return failure_by_kernel(err);
        }
        if (r == -EINVAL && !text[0])
                return error_set(err, ERROR_CONFLICT,
                                 "%s: table " RULES_TABLE " holds a set of another shape, of "
                                 "somebody else or of another version: delete the table",
                                 what);
        if (text[0] && r < 0)
                return error_set_errno(err, r, "%s: %s", what, text);
        return error_set_errno(err, r, "%s", what);
}

/* --- reading ------------------------------------------------------------------------------ */

typedef enum AskedKind {
        ASKED_GENERATION,
        ASKED_GROUP,
        ASKED_RULE,
        ASKED_WIDER,
} AskedKind;

typedef struct Asked {
        AskedKind kind;
        size_t index;
} Asked;

typedef struct Questions {
        NlBatch batch;
        Asked asked[NL_BATCH_MAX];
        Snapshot *snapshot;
        size_t rule; /* which one an answer is about */
} Questions;

static void questions_deinit(Questions *questions) {
        nl_batch_deinit(&questions->batch);
}

static int found_element(const NftFound *found, void *userdata) {
        Questions *questions = userdata;
        const Rule *rule = &questions->snapshot->list->rules[questions->rule];
        RuleOwner owner;
        bool ours;

        ours = rule->claim == RULE_CLAIM_NOBODY ||
               (rule_owner_parse(found->comment, &owner) == 0 &&
                memcmp(owner.owner, questions->snapshot->owner, OWNER_SIZE) == 0);
        questions->snapshot->rules[questions->rule].state = ours ? RULE_OURS : RULE_OTHER;
        questions->snapshot->rules[questions->rule].same_data =
                found->n_data >= rule->element.n_data &&
                (rule->element.n_data == 0 ||
                 memcmp(found->data, rule->element.data, rule->element.n_data) == 0);
        memcpy(questions->snapshot->rules[questions->rule].comment, found->comment,
               sizeof(found->comment));
        return 1;
}

static int found_wider(const NftFound *found, void *userdata) {
        Questions *questions = userdata;

        memcpy(questions->snapshot->rules[questions->rule].wider, found->comment,
               sizeof(found->comment));
        return 1;
}

static int reply(size_t index, const struct nlmsghdr *message, void *userdata) {
        Questions *questions = userdata;
        Asked asked = questions->asked[index];
        int r;

        switch (asked.kind) {
        case ASKED_GENERATION:
                return nft_parse_generation(message, &questions->snapshot->generation);
        case ASKED_GROUP:
                questions->snapshot->has_group[asked.index] = true;
                return 0;
        case ASKED_RULE:
                questions->rule = asked.index;
                r = nft_parse_elements(message, found_element, questions);
                return r < 0 ? r : 0;
        case ASKED_WIDER:
                questions->rule = asked.index;
                r = nft_parse_elements(message, found_wider, questions);
                return r < 0 ? r : 0;
        }
        return 0;
}

/* Sends what was asked; that something is not there is an answer too. */
static int ask_now(RulesSocket *sock, Questions *questions) {
        int r = nl_batch_run(&sock->netfilter, &questions->batch, reply, questions);

        if (r == -ENOENT) {
                r = 0;
                for (size_t i = 0; i < questions->batch.n && r == 0; i++)
                        if (questions->batch.results[i] != -ENOENT)
                                r = questions->batch.results[i];
        }
        nl_batch_deinit(&questions->batch);
        questions->batch = (NlBatch){0};
        return r;
}

static Asked *ask_next(RulesSocket *sock, Questions *questions, int *rp) {
        if (questions->batch.n == NL_BATCH_MAX)
                *rp = ask_now(sock, questions);
        return *rp < 0 ? NULL : &questions->asked[questions->batch.n];
}

static int ask_groups(RulesSocket *sock, Questions *questions, const RuleList *list) {
        static const RuleSet first_sets[_RULE_GROUP_N] = {
                [RULE_GROUP_MASQ] = RULE_SET_MASQ,
                [RULE_GROUP_PORTS] = RULE_SET_PORTS,
                [RULE_GROUP_SNAT] = RULE_SET_SNAT,
                [RULE_GROUP_SNAT_ALL] = RULE_SET_SNAT_ALL,
                [RULE_GROUP_SPOOF] = RULE_SET_SPOOF_LINKS,
                [RULE_GROUP_ARP] = RULE_SET_ARP_LINKS,
                [RULE_GROUP_ND] = RULE_SET_ND_LINKS,
                [RULE_GROUP_PROTOCOL] = RULE_SET_PROTOCOL_LINKS,
                [RULE_GROUP_SOURCE] = RULE_SET_SOURCE_LINKS,
                [RULE_GROUP_ISOLATION] = RULE_SET_ISOLATED,
                [RULE_GROUP_NODE] = RULE_SET_SERVICES,
                [RULE_GROUP_LOCALNET] = RULE_SET_LOCALNET,
                [RULE_GROUP_FIREWALL] = RULE_SET_FIREWALL,
        };
        int r = 0;

        for (size_t i = 0; i < list->n_groups; i++) {
                const RuleGroup *group = &list->groups[i];
                Asked *asked = ask_next(sock, questions, &r);
                char name[RULE_SET_NAME_MAX];

                if (!asked)
                        return r;
                *asked = (Asked){.kind = ASKED_GROUP, .index = i};
                nft_ask_set(&questions->batch, group->family, RULES_TABLE,
                            rule_set_name(group, first_sets[group->kind], name));
        }
        return 0;
}

/* A host port of one address is looked for before that of every address, and would take what comes
 * to it away from whoever has that. */
static bool is_narrow(const Rule *rule) {
        return rule->set == RULE_SET_PORTS_AT;
}

/* The key without the address. */
static void ask_wider(NlBatch *batch, const RuleList *list, const Rule *rule) {
        uint32_t n = rule->element.family == NFPROTO_IPV4 ? 4 : 16;
        NftElement wider = rule->element;
        char name[RULE_SET_NAME_MAX];

        wider.set = rule_set_name(&list->groups[rule->group], RULE_SET_PORTS, name);
        wider.n_key -= n;
        memmove(wider.key, wider.key + n, wider.n_key);
        nft_ask_element(batch, &wider);
}

/* Reads the generation, then everything in @list. */
static int snapshot_read(RulesSocket *sock, Snapshot *snapshot, bool with_groups) {
        cleanup(questions_deinit) Questions questions = {.snapshot = snapshot};
        const RuleList *list = snapshot->list;
        int r = 0;

        snapshot_deinit(snapshot);
        snapshot->has_group = with_groups ? calloc(list->n_groups + 1, sizeof(bool)) : NULL;
        snapshot->rules = calloc(list->n_rules + 1, sizeof(*snapshot->rules));
        if (!snapshot->rules || (with_groups && !snapshot->has_group))
                return -ENOMEM;
        questions.asked[0] = (Asked){.kind = ASKED_GENERATION};
        nft_ask_generation(&questions.batch);
        if (with_groups)
                r = ask_groups(sock, &questions, list);
        for (size_t i = 0; i < list->n_rules && r == 0; i++) {
                Asked *asked = ask_next(sock, &questions, &r);

                if (!asked)
                        return r;
                *asked = (Asked){.kind = ASKED_RULE, .index = i};
                nft_ask_element(&questions.batch, &list->rules[i].element);
        }
        for (size_t i = 0; i < list->n_rules && r == 0 && with_groups && !list->restores; i++) {
                Asked *asked = is_narrow(&list->rules[i]) ? ask_next(sock, &questions, &r) : NULL;

                if (!asked)
                        continue;
                *asked = (Asked){.kind = ASKED_WIDER, .index = i};
                ask_wider(&questions.batch, list, &list->rules[i]);
        }
        return r < 0 ? r : ask_now(sock, &questions);
}

/* --- ADD ---------------------------------------------------------------------------------- */

/* The list may have moved since its elements were written. */
static void link_names(RuleList *list) {
        for (size_t i = 0; i < list->n_rules; i++)
                list->rules[i].element.set = list->rules[i].set_name;
}

/* A dead pod's host ports are free: its link is gone with it. */
static bool is_stale(NlSocket *rtnl, const RuleOwner *owner) {
        Link link;

        return rtnl && strcmp(owner->host_link, "-") != 0 &&
               link_find(rtnl, 0, owner->host_link, &link) == -ENODEV;
}

/* Another attachment of the same container; its ID may be cut in either comment. */
static bool is_same_pod(const RuleList *list, const RuleOwner *owner) {
        RuleOwner own;
        size_t n;

        if (rule_owner_parse(list->comment, &own) < 0)
                return false;
        n = strlen(own.container) < strlen(owner->container) ? strlen(own.container)
                                                             : strlen(owner->container);
        return n >= 12 && strncmp(own.container, owner->container, n) == 0;
}

static int conflict(const Rule *rule, const char *comment, const RuleOwner *owner, Error *err) {
        if (!owner)
                return error_set(err, ERROR_CONFLICT, "%s is taken by \"%s\"", rule->label,
                                 comment);
        return error_set(err, ERROR_CONFLICT, "%s is taken by container %s of network %s",
                         rule->label, owner->container, owner->network);
}

/* Does a pod that lives, and is not this one, have the host port on every address? */
static int refuse_narrow(const Snapshot *snapshot, size_t i, NlSocket *rtnl, Error *err) {
        const char *comment = snapshot->rules[i].wider;
        RuleOwner owner;

        if (comment[0] == '\0')
                return 0;
        if (rule_owner_parse(comment, &owner) < 0)
                return conflict(&snapshot->list->rules[i], comment, NULL, err);
        if (memcmp(owner.owner, snapshot->owner, OWNER_SIZE) == 0 ||
            is_same_pod(snapshot->list, &owner) || is_stale(rtnl, &owner))
                return 0;
        return conflict(&snapshot->list->rules[i], comment, &owner, err);
}

/* What one rule adds to the transaction. */
static int decide(NftBatch *batch, const Snapshot *snapshot, size_t i, NlSocket *rtnl, Error *err) {
        const Rule *rule = &snapshot->list->rules[i];
        RuleState state = snapshot->rules[i].state;
        RuleOwner owner;

        if (state == RULE_OURS && snapshot->rules[i].same_data)
                return 0;
        if (state == RULE_OTHER && rule->claim == RULE_CLAIM_FIRST) {
                bool known = rule_owner_parse(snapshot->rules[i].comment, &owner) == 0;

                /* As upstream: of two attachments of a pod the first has the port. */
                if (known && is_same_pod(snapshot->list, &owner) && !is_stale(rtnl, &owner))
                        return 0;
                if (!known || !is_stale(rtnl, &owner))
                        return conflict(rule, snapshot->rules[i].comment, known ? &owner : NULL,
                                        err);
        }
        if (refuse_narrow(snapshot, i, rtnl, err) < 0)
                return -EEXIST;
        if (state != RULE_ABSENT)
                nft_element_delete(batch, &rule->element);
        nft_element_add(batch, &rule->element, true);
        return 0;
}

static int make_missing(RulesSocket *sock, const Snapshot *snapshot, NftBatch *batch) {
        const RuleList *list = snapshot->list;
        int r = 0;

        for (size_t i = 0; i < list->n_groups && r == 0; i++) {
                if (snapshot->has_group[i])
                        continue;
                if (list->groups[i].kind == RULE_GROUP_NODE)
                        r = rules_move(&sock->netfilter, batch, list->groups[i].family);
                rule_group_make(batch, &list->groups[i]);
        }
        return r;
}

static int add_carefully(RulesSocket *sock, Snapshot *snapshot, NlSocket *rtnl, Error *err) {
        cleanup(batch_deinit) NftBatch batch = {0};
        const RuleList *list = snapshot->list;
        int r;

        r = snapshot_read(sock, snapshot, true);
        if (r < 0)
                return fail(sock, r, "read the ruleset", err);
        nft_batch_begin(&batch);
        r = make_missing(sock, snapshot, &batch);
        if (r < 0)
                return fail(sock, r, "read the ruleset", err);
        for (size_t i = 0; i < list->n_rules; i++) {
                r = decide(&batch, snapshot, i, rtnl, err);
                if (r < 0)
                        return r;
        }
        nft_batch_set_generation(&batch, snapshot->generation);
        r = nft_batch_run(&sock->netfilter, &batch, NULL);
        if (r == -ERESTART)
                return r;
        /* Everything that is named was there or is made in this transaction, but for the modules.
         */
        if (r == -ENOENT) {
                (void)error_set(err, ERROR_UNSUPPORTED,
                                "write the ruleset: this kernel lacks a module of nftables, such "
                                "as nft_fib_ipv4, nft_masq, nft_nat or nft_meta_bridge%s%s",
                                sock->netfilter.text[0] ? ": " : "", sock->netfilter.text);
                return failure_by_kernel(err);
        }
        return r < 0 ? fail(sock, r, "write the ruleset", err) : 0;
}

/* Lets the other one finish. */
static void back_off(unsigned int try) {
        struct timespec time = {.tv_nsec = (long)(try < 8 ? 0 : try) * 100000};

        if (time.tv_nsec > 0)
                (void)nanosleep(&time, NULL);
}

/* Return: 0; -EEXIST: it has to be looked at first; another -errno. */
static int add_at_once(RulesSocket *sock, const RuleList *list) {
        cleanup(batch_deinit) NftBatch batch = {0};

        nft_batch_begin(&batch);
        for (size_t i = 0; i < list->n_rules; i++) {
                if (is_narrow(&list->rules[i]) && !list->restores)
                        return -EEXIST;
                nft_element_add(&batch, &list->rules[i].element,
                                list->rules[i].claim != RULE_CLAIM_NOBODY);
        }
        return nft_batch_run(&sock->netfilter, &batch, NULL);
}

static int add_all(RulesSocket *sock, RuleList *list, NlSocket *rtnl, Error *err) {
        cleanup(snapshot_deinit) Snapshot snapshot = {.list = list};
        RuleOwner owner;
        int r;

        if (list->n_rules == 0)
                return 0;
        r = rules_open(sock, err);
        if (r < 0)
                return r;
        link_names(list);
        r = add_at_once(sock, list);
        if (r == 0)
                return 0;
        if (r != -ENOENT && r != -EEXIST && r != -EBUSY)
                return fail(sock, r, "write the ruleset", err);
        if (rule_owner_parse(list->comment, &owner) < 0)
                return error_set(err, ERROR_INTERNAL, "a list of rules has no owner");
        snapshot.owner = owner.owner;
        for (unsigned int try = 0; try < TRIES_MAX; try++) {
                r = add_carefully(sock, &snapshot, rtnl, err);
                if (r != -ERESTART)
                        return r;
                back_off(try);
        }
        return error_set(err, ERROR_AGAIN, "the ruleset of this node changes all the time");
}

static bool has_bridge_group(const RuleList *list) {
        for (size_t i = 0; i < list->n_groups; i++)
                if (list->groups[i].family == NFPROTO_BRIDGE)
                        return true;
        return false;
}

int rules_add(RulesSocket *sock, RuleList *list, NlSocket *rtnl, Error *err) {
        int r = add_all(sock, list, rtnl, err);

        if (r == 0 || !has_bridge_group(list) || err->code == ERROR_CONFLICT ||
            rules_can_check_claims())
                return r;
        (void)error_set(err, ERROR_UNSUPPORTED,
                        "macspoofchk: this kernel has no nftables for bridges "
                        "(CONFIG_NF_TABLES_BRIDGE): leave macspoofchk out of the list, or take a "
                        "kernel that has it");
        return failure_by_kernel(err);
}

/* --- DEL, CHECK --------------------------------------------------------------------------- */

/* No socket or no nf_tables means that there is nothing of ours either. */
static int open_to_read(RulesSocket *sock, bool *nothingp, Error *err) {
        Error local = {0};
        int r = rules_open(sock, &local);

        *nothingp = r < 0 && local.code == ERROR_UNSUPPORTED;
        if (*nothingp)
                return 0;
        if (r < 0 && err)
                *err = local;
        return r;
}

static void fill_found(const Snapshot *snapshot, RuleFound *found) {
        for (size_t i = 0; i < snapshot->list->n_rules && found && snapshot->rules; i++)
                found[i] = snapshot->rules[i].state != RULE_OURS ? RULE_FOUND_NOT
                           : snapshot->rules[i].same_data        ? RULE_FOUND_SAME
                                                                 : RULE_FOUND_OTHER;
}

static int del_found(RulesSocket *sock, const Snapshot *snapshot, Error *err) {
        cleanup(batch_deinit) NftBatch batch = {0};
        const RuleList *list = snapshot->list;
        int r;

        nft_batch_begin(&batch);
        for (size_t i = 0; i < list->n_rules; i++)
                if (snapshot->rules[i].state == RULE_OURS &&
                    list->rules[i].claim != RULE_CLAIM_NOBODY)
                        nft_element_delete(&batch, &list->rules[i].element);
        nft_batch_set_generation(&batch, snapshot->generation);
        r = nft_batch_run(&sock->netfilter, &batch, NULL);
        if (r == -ERESTART)
                return r;
        return r < 0 ? fail(sock, r, "write the ruleset", err) : 0;
}

int rules_del(RulesSocket *sock, const RuleList *list, const uint8_t owner[OWNER_SIZE],
              RuleFound *found, RuleBefore before, void *userdata, Error *err) {
        cleanup(snapshot_deinit) Snapshot snapshot = {.list = list, .owner = owner};
        bool nothing;
        int r;

        if (list->n_rules == 0)
                return before && before(found, userdata) ? RULES_E_BEFORE : 0;
        r = open_to_read(sock, &nothing, err);
        if (r < 0 || nothing)
                return r;
        for (size_t i = 0; i < list->n_rules; i++)
                list->rules[i].element.set = list->rules[i].set_name;
        for (unsigned int try = 0; try < TRIES_MAX; try++) {
                r = snapshot_read(sock, &snapshot, false);
                if (r < 0)
                        return r == -EOPNOTSUPP ? 0 : fail(sock, r, "read the ruleset", err);
                fill_found(&snapshot, found);
                if (before && before(found, userdata))
                        return RULES_E_BEFORE;
                r = del_found(sock, &snapshot, err);
                if (r != -ERESTART)
                        return r;
                back_off(try);
        }
        return error_set(err, ERROR_AGAIN, "the ruleset of this node changes all the time");
}

static int count_rule(const NftRule *rule, void *userdata) {
        size_t *np = userdata;

        *np = rule ? *np + 1 : 0;
        return 0;
}

/* "nft flush table" takes the rules and leaves sets and elements. */
static int check_chains(RulesSocket *sock, const RuleList *list, Error *err) {
        for (size_t i = 0; i < list->n_groups; i++) {
                const RuleGroup *group = &list->groups[i];
                char chain[RULE_SET_NAME_MAX];
                size_t n = 0;
                int r;

                r = nft_rule_dump(&sock->netfilter, group->family, RULES_TABLE,
                                  rule_group_chain(group, chain), count_rule, &n);
                if (r < 0 && r != -ENOENT)
                        return fail(sock, r, "read the ruleset", err);
                if (n == 0)
                        return error_set(err, ERROR_NOT_FOUND,
                                         "chain %s of table " RULES_TABLE
                                         " has lost its rules: delete the table",
                                         chain);
        }
        return 0;
}

static int check_rule(const Snapshot *snapshot, size_t i, Error *err) {
        const Rule *rule = &snapshot->list->rules[i];
        RuleState state = snapshot->rules[i].state;
        RuleOwner other;

        /* What the other attachment of the pod has, this one does not lack. */
        if (state == RULE_OTHER && rule->claim == RULE_CLAIM_FIRST &&
            rule_owner_parse(snapshot->rules[i].comment, &other) == 0 &&
            is_same_pod(snapshot->list, &other))
                return 0;
        if (state == RULE_ABSENT)
                return error_set(err, ERROR_NOT_FOUND, "%s is missing in set %s of %s", rule->label,
                                 rule->set_name, RULES_TABLE);
        /* How many elements there are is DEL's to know: held ports count as well, which are not
         * asked for here. */
        if (state == RULE_OTHER ||
            (!snapshot->rules[i].same_data && rule->set != RULE_SET_PORT_PODS))
                return error_set(err, ERROR_CONFLICT, "%s in set %s belongs to \"%s\"", rule->label,
                                 rule->set_name, snapshot->rules[i].comment);
        return 0;
}

static int check_rules(const Snapshot *snapshot, StrBuf *all, Error *err) {
        int first = 0;

        for (size_t i = 0; i < snapshot->list->n_rules && (first == 0 || all); i++) {
                Error one = {0};
                int r = check_rule(snapshot, i, &one);

                if (r == 0)
                        continue;
                if (all)
                        strbuf_printf(all, "%s\n", one.message);
                if (first == 0)
                        *err = one;
                first = first < 0 ? first : r;
        }
        return first;
}

int rules_check(RulesSocket *sock, const RuleList *list, const uint8_t owner[OWNER_SIZE],
                StrBuf *all, Error *err) {
        cleanup(snapshot_deinit) Snapshot snapshot = {.list = list, .owner = owner};
        int r;

        if (list->n_rules == 0)
                return 0;
        r = rules_open(sock, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < list->n_rules; i++)
                list->rules[i].element.set = list->rules[i].set_name;
        r = snapshot_read(sock, &snapshot, false);
        if (r < 0)
                return fail(sock, r, "read the ruleset", err);
        r = check_rules(&snapshot, all, err);
        return r < 0 ? r : check_chains(sock, list, err);
}
