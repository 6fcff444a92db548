/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "cni/rules/rules.h"

#include "cni/features/portmap_conf.h"
#include "cni/migrate/upstream.h"
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

/* --- conditions --------------------------------------------------------------------------- */

static int parse_conditions(const char *json, bool v6, RuleConditions *conditions, Error *err) {
        json_t *words = json_loads(json, 0, NULL);
        int r;

        assert_non_null(words);
        *err = (Error){0};
        r = conditions_parse(words, v6, conditions, err);
        json_decref(words);
        return r;
}

static void test_conditions(void **state) {
        static const struct {
                const char *json;
                bool v6;
                const char *wanted; /* kind differs prefix link bytes; "" none; NULL refused */
        } cases[] = {
                {"[]", false, ""},
                {"[\"\"]", false, ""},
                {"[\"-s\", \"10.0.0.0/8\"]", false, "0 0 10.0.0.0/8  0;"},
                {"[\"!\", \"-d\", \"192.0.2.0/24\"]", false, "1 1 192.0.2.0/24  0;"},
                {"[\"-d\", \"!\", \"192.0.2.7\"]", false, "1 1 192.0.2.7/32  0;"},
                {"[\"--source\", \"fd00::/8\", \"-i\", \"eth+\"]", true,
                 "0 0 fd00::/8  0;2 0  eth 3;"},
                {"[\"-i\", \"lo\"]", false, "2 0  lo 16;"},
                {"[\"-i\", \"+\"]", false, ""},
                {"[\"-m\", \"addrtype\", \"--dst-type\", \"LOCAL\"]", false, ""},
                {"[\"-m\", \"comment\", \"--comment\", \"words\"]", false, ""},
                {"[\"ip\", \"saddr\", \"!=\", \"10.0.0.0/8\"]", false, "0 1 10.0.0.0/8  0;"},
                {"[\"ip daddr == 10.0.0.1 iifname eth0\"]", false,
                 "1 0 10.0.0.1/32  0;2 0  eth0 16;"},
                {"[\"meta iifname != \\\"br*\\\"\"]", true, "2 1  br 2;"},
                {"[\"ip6\", \"saddr\", \"fd00::1\"]", true, "0 0 fd00::1/128  0;"},
                {"[\"ip6\", \"saddr\", \"fd00::1\"]", false, NULL},
                {"[\"-s\", \"fd00::1\"]", false, NULL},
                {"[\"-s\"]", false, NULL},
                {"[\"!\"]", false, NULL},
                {"[\"-p\", \"tcp\"]", false, NULL},
                {"[\"-m\", \"addrtype\", \"--dst-type\", \"UNICAST\"]", false, NULL},
                {"[\"!\", \"-m\", \"comment\", \"--comment\", \"x\"]", false, NULL},
                {"[\"ip\", \"saddr\", \"{\", \"10.0.0.1\", \"}\"]", false, NULL},
                {"[\"ip\", \"ttl\", \"1\"]", false, NULL},
                {"[\"ip\"]", false, NULL},
                {"[\"iifname\", \"an-interface-name\"]", false, NULL},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                RuleConditions conditions = {0};
                char text[512] = "";
                size_t n = 0;
                Error err;
                int r = parse_conditions(cases[i].json, cases[i].v6, &conditions, &err);

                if (!cases[i].wanted) {
                        assert_true(r < 0);
                        assert_true(str_has_prefix(err.message, "portmap: conditionsV"));
                        continue;
                }
                assert_int_equal(r, 0);
                for (size_t j = 0; j < conditions.n; j++) {
                        const RuleCondition *item = &conditions.items[j];
                        char address[IP_TEXT_MAX] = "";

                        if (item->kind != CONDITION_IN_LINK)
                                ip_prefix_format(&item->prefix, address);
                        n += (size_t)snprintf(text + n, sizeof(text) - n, "%d %d %s %s %u;",
                                              (int)item->kind, item->differs, address, item->link,
                                              item->n_link);
                }
                assert_string_equal(text, cases[i].wanted);
        }
}

static void test_too_many_conditions(void **state) {
        json_t *words = json_array();
        RuleConditions conditions;
        Error err = {0};

        for (size_t i = 0; i <= RULE_CONDITIONS_MAX; i++) {
                json_array_append_new(words, json_string("-i"));
                json_array_append_new(words, json_string("eth0"));
        }
        assert_true(conditions_parse(words, false, &conditions, &err) < 0);
        json_decref(words);
}

/* --- upstream's names --------------------------------------------------------------------- */

/* As utils.MustFormatChainNameWithPrefix("test", "1234", ...) gives them; 28 bytes each. */
static void test_chain_names(void **state) {
        char name[LEGACY_CHAIN_SIZE];

        legacy_chain_name("test", "1234", "", name);
        assert_string_equal(name, "CNI-2bbe0c48b91a7d1b8a6753a8");
        legacy_chain_name("test", "1234", "SN-", name);
        assert_string_equal(name, "CNI-SN-2bbe0c48b91a7d1b8a675");
        legacy_chain_name("test", "1234", "DN-", name);
        assert_string_equal(name, "CNI-DN-2bbe0c48b91a7d1b8a675");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_set_names),   cmocka_unit_test(test_subnet_groups),
                cmocka_unit_test(test_owner),       cmocka_unit_test(test_foreign_comments),
                cmocka_unit_test(test_groups_fit),  cmocka_unit_test(test_keys),
                cmocka_unit_test(test_conditions),  cmocka_unit_test(test_too_many_conditions),
                cmocka_unit_test(test_chain_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
