/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "cni/rules/rules.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include <linux/netfilter.h>

static IpPrefix prefix(const char *text) {
        IpPrefix value;

        assert_int_equal(ip_prefix_parse(text, &value), 0);
        return value;
}

/* --- names -------------------------------------------------------------------------------- */

static void test_set_names(void **state) {
        RuleGroup plain = {.kind = RULE_GROUP_PORTS}, hashed = {.kind = RULE_GROUP_PORTS};
        char name[RULE_SET_NAME_MAX];
        RuleSet set;

        snprintf(hashed.suffix, sizeof(hashed.suffix), "0123456789abcdef");
        for (unsigned int i = 0; i < _RULE_SET_N; i++) {
                assert_int_equal(rule_set_parse(rule_set_name(&plain, (RuleSet)i, name), &set), 0);
                assert_int_equal(set, i);
                assert_int_equal(rule_set_parse(rule_set_name(&hashed, (RuleSet)i, name), &set), 0);
                assert_int_equal(set, i);
        }
        assert_string_equal(rule_set_name(&hashed, RULE_SET_PORTS_AT, name),
                            "ports-at-0123456789abcdef");
        assert_string_equal(rule_set_name(&hashed, RULE_SET_PORT_PODS, name), "port-pods");
        assert_int_equal(rule_set_parse("masquerade", &set), -EINVAL);
        assert_int_equal(rule_set_parse("", &set), -EINVAL);
}

static void test_subnet_groups(void **state) {
        static const struct {
                const char *address, *suffix;
        } cases[] = {
                {"10.1.2.3/16", "10.1.0.0-16"},  {"10.1.2.4/16", "10.1.0.0-16"},
                {"10.1.2.3/32", "host"},         {"10.1.2.4/32", "host"},
                {"fd00:1::5/64", "fd00_1__-64"}, {"fd00:1::5/128", "host"},
                {"10.1.2.3/24", "10.1.2.0-24"},  {"0.0.0.1/0", "0.0.0.0-0"},
        };
        RuleList list = {0};

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                IpPrefix address = prefix(cases[i].address);
                int group = rules_subnet_group(&list, RULE_GROUP_MASQ, &address);

                assert_true(group >= 0);
                assert_string_equal(list.groups[group].suffix, cases[i].suffix);
        }
        assert_int_equal(list.n_groups, 6);
        rules_deinit(&list);
}

static void test_owner(void **state) {
        static const struct {
                const char *network, *container;
        } cases[] = {
                {"net", "abc"},
                {"a-network-with-quite-a-long-name-that-does-not-fit",
                 "0123456789012345678901234567890123456789012345678901234567890123"},
                {"n",
                 "ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
                 "ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                Attachment at = {.network = cases[i].network,
                                 .container_id = cases[i].container,
                                 .ifname = "eth0",
                                 .host_link = "veth01234567",
                                 .owner = {0x01, 0xff, 0x80}};
                char comment[NFT_COMMENT_MAX];
                RuleOwner owner;

                rule_owner_format(&at, comment);
                assert_int_equal(rule_owner_parse(comment, &owner), 0);
                assert_memory_equal(owner.owner, at.owner, OWNER_SIZE);
                assert_string_equal(owner.host_link, "veth01234567");
                assert_true(rule_owner_is_of(&owner, cases[i].network));
                assert_false(rule_owner_is_of(&owner, "other"));
                assert_memory_equal(owner.container, cases[i].container, strlen(owner.container));
        }
}

static void test_foreign_comments(void **state) {
        static const char *const comments[] = {
                "",
                "a comment of somebody",
                "0123456789abcdef0123456789abcdef net - eth0",
                "0123456789abcdef0123456789abcdef net - eth0 c more",
                "0123456789abcdef0123456789abcdeg net - eth0 c",
                "0123456789abcdef0123456789abcde net - eth0 c",
                "0123456789abcdef0123456789abcdef0 net - eth0 c",
        };
        RuleOwner owner;

        for (size_t i = 0; i < N_ELEMENTS(comments); i++)
                assert_int_equal(rule_owner_parse(comments[i], &owner), -EINVAL);
}

/* --- groups ------------------------------------------------------------------------------- */

/* Each group is one transaction that fits, and its first set is made exclusively. */
static void test_groups_fit(void **state) {
        RuleConditions conditions = {.n = RULE_CONDITIONS_MAX};

        for (size_t i = 0; i < conditions.n; i++)
                conditions.items[i] = (RuleCondition){
                        .kind = i % 2 ? CONDITION_SOURCE : CONDITION_IN_LINK,
                        .prefix = prefix("fd00::/7"),
                        .link = "eth0",
                        .n_link = IFNAMSIZ,
                };
        for (unsigned int kind = 0; kind < _RULE_GROUP_N; kind++) {
                RuleGroup group = {
                        .kind = (RuleGroupKind)kind,
                        .family = kind == RULE_GROUP_SPOOF || kind == RULE_GROUP_ARP ||
                                                  kind == RULE_GROUP_ND ||
                                                  kind == RULE_GROUP_PROTOCOL
                                          ? NFPROTO_BRIDGE
                                          : NFPROTO_IPV6,
                        .subnet = prefix("fd00:1::/64"),
                };
                NftBatch batch = {0};
                size_t n_exclusive = 0;

                if (kind == RULE_GROUP_PORTS)
                        group.conditions = &conditions;
                conditions.n = 10;
                nft_batch_begin(&batch);
                rule_group_make(&batch, &group);
                nft_batch_end(&batch);
                assert_int_equal(batch.broken, 0);
                for (size_t at = 0; at < batch.n;) {
                        struct nlmsghdr header;

                        memcpy(&header, batch.bytes + at, sizeof(header));
                        n_exclusive += (header.nlmsg_flags & NLM_F_EXCL) != 0;
                        at += NLMSG_ALIGN(header.nlmsg_len);
                }
                assert_int_equal(n_exclusive, 1);
                nft_batch_deinit(&batch);
        }
}

static void test_keys(void **state) {
        static const uint8_t wanted[] = {6, 0, 0, 0, 0x1f, 0x90, 0, 0, 1, 2, 3, 4};
        RuleGroup group = {.kind = RULE_GROUP_PORTS, .family = NFPROTO_IPV4};
        uint8_t protocol = 6, port[2] = {0x1f, 0x90}, address[4] = {1, 2, 3, 4}, big[60] = {0};
        RuleList list = {0};
        Rule *rule;

        assert_int_equal(rules_group(&list, &group), 0);
        assert_int_equal(rules_group(&list, &group), 0);
        rule = rules_append(&list, 0, RULE_SET_PORTS, RULE_CLAIM_FIRST);
        assert_non_null(rule);
        rule_key(rule, &protocol, 1);
        rule_key(rule, port, 2);
        rule_key(rule, address, 4);
        assert_int_equal(rule->element.n_key, sizeof(wanted));
        assert_memory_equal(rule->element.key, wanted, sizeof(wanted));
        rule_key(rule, big, sizeof(big)); /* does not fit: the key stays as it is */
        assert_int_equal(rule->element.n_key, sizeof(wanted));
        for (size_t i = 1; i < RULES_ELEMENTS_MAX; i++)
                assert_non_null(rules_append(&list, 0, RULE_SET_PORTS, RULE_CLAIM_FIRST));
        assert_null(rules_append(&list, 0, RULE_SET_PORTS, RULE_CLAIM_FIRST));
        rules_deinit(&list);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_set_names),  cmocka_unit_test(test_subnet_groups),
                cmocka_unit_test(test_owner),      cmocka_unit_test(test_foreign_comments),
                cmocka_unit_test(test_groups_fit), cmocka_unit_test(test_keys),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
