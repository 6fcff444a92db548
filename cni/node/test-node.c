/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "cni/spec/test-support.h"

#include "cni/node/metrics.h"
#include "cni/node/suspects.h"
#include "common/base/cleanup.h"

#include <linux/netfilter.h>
#include <linux/rtnetlink.h>

/* --- announcements ------------------------------------------------------------------------ */

static const Link bridge_up = {.index = 7, .kind = "bridge", .flags = IFF_UP};
static const Link bridge_down = {.index = 7, .kind = "bridge"};
static const Link port = {
        .index = 8, .kind = "veth", .alias = "berth/net/a/eth0", .flags = IFF_UP, .master = 7};
static const Link out = {.index = 8, .kind = "veth", .alias = "berth/net/a/eth0", .flags = IFF_UP};
static const Link down = {.index = 8, .kind = "veth", .alias = "berth/net/a/eth0", .master = 7};
static const Link foreign = {.index = 9, .kind = "veth"};
static const Link uplink = {.index = 2, .flags = IFF_UP};

/* What is announced, what the link is a moment later (NULL: gone), and whether that is a reason. */
static const struct {
        RtnlEventKind kind;
        const Link *announced, *found;
        bool broken;
} cases[] = {
        /* A pod comes: its link is down, and then up. */
        {RTNL_EVENT_LINK, &down, &port, false},
        {RTNL_EVENT_LINK, &port, &port, false},
        /* It goes. */
        {RTNL_EVENT_LINK, &down, NULL, false},
        {RTNL_EVENT_PORT_GONE, &port, NULL, false},
        {RTNL_EVENT_ADDRESS_GONE, &port, NULL, false},
        {RTNL_EVENT_ROUTE_GONE, &port, NULL, false},
        /* Broken. */
        {RTNL_EVENT_LINK, &down, &down, true},
        {RTNL_EVENT_LINK, &bridge_down, &bridge_down, true},
        {RTNL_EVENT_PORT_GONE, &out, &out, true},
        {RTNL_EVENT_ADDRESS_GONE, &bridge_up, &bridge_up, true},
        {RTNL_EVENT_ROUTE_GONE, &bridge_up, &bridge_up, true},
        {RTNL_EVENT_ROUTE_GONE, &out, &out, true},
        /* An address of the host may be a Service's; one of a bridge is no news. */
        {RTNL_EVENT_ADDRESS, &uplink, &uplink, true},
        {RTNL_EVENT_ADDRESS, &bridge_up, &bridge_up, false},
        /* Others' links, and routes of other nodes. */
        {RTNL_EVENT_LINK, &foreign, &foreign, false},
        {RTNL_EVENT_ROUTE_GONE, &uplink, &uplink, false},
        {RTNL_EVENT_ADDRESS_GONE, &uplink, &uplink, false},
        {RTNL_EVENT_OTHER, &port, &port, false},
};

static void test_links(void **state) {
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                RtnlEvent event = {.kind = cases[i].kind,
                                   .index = cases[i].announced->index,
                                   .link = *cases[i].announced};
                Suspects suspects = {0};
                bool broken = false;

                suspects_rtnl(&suspects, &event);
                assert_false(suspects.is_certain);
                for (size_t k = 0; k < suspects.n && cases[i].found; k++)
                        broken |= suspect_is_broken(&suspects.items[k], cases[i].found);
                if (broken != cases[i].broken)
                        fail_msg("case %zu", i);
        }
}

static void test_certain(void **state) {
        static const RtnlEvent events[] = {
                {.kind = RTNL_EVENT_LINK_GONE, .index = 7, .is_bridge = true},
                {.kind = RTNL_EVENT_FORWARDING},
        };
        Suspects suspects = {0};

        suspects_rtnl(&suspects, &(RtnlEvent){.kind = RTNL_EVENT_LINK_GONE, .index = 8});
        assert_false(suspects_any(&suspects));
        for (size_t i = 0; i < N_ELEMENTS(events); i++) {
                suspects = (Suspects){0};
                suspects_rtnl(&suspects, &events[i]);
                assert_true(suspects.is_certain);
        }
        /* The same again is one; too many are all. */
        suspects = (Suspects){0};
        for (unsigned int i = 0; i < 2 * SUSPECTS_MAX; i++)
                suspects_rtnl(&suspects,
                              &(RtnlEvent){.kind = RTNL_EVENT_PORT_GONE, .index = 1 + i / 2});
        assert_int_equal(suspects.n, SUSPECTS_MAX);
        assert_false(suspects.is_certain);
        suspects_rtnl(&suspects, &(RtnlEvent){.kind = RTNL_EVENT_PORT_GONE, .index = 1000});
        assert_true(suspects.is_certain);
}

/* --- rules -------------------------------------------------------------------------------- */

static void test_rules(void **state) {
        static const struct {
                NftEvent event;
                const char *program;
                bool broken;
        } rules[] = {
                {{.kind = NFT_EVENT_GONE, .object = NFT_OBJECT_TABLE, .table = "berth"},
                 "nft",
                 true},
                {{.kind = NFT_EVENT_GONE, .object = NFT_OBJECT_ELEMENT, .table = "berth"},
                 "nft",
                 true},
                {{.kind = NFT_EVENT_GONE, .object = NFT_OBJECT_ELEMENT, .table = "berth"},
                 "",
                 true},
                /* A pod of ours goes. */
                {{.kind = NFT_EVENT_GONE, .object = NFT_OBJECT_ELEMENT, .table = "berth"},
                 "berth-cni",
                 false},
                {{.kind = NFT_EVENT_GONE, .object = NFT_OBJECT_ELEMENT, .table = "berth"},
                 "portmap",
                 false},
                {{.kind = NFT_EVENT_NEW, .object = NFT_OBJECT_ELEMENT, .table = "berth"},
                 "nft",
                 false},
                /* kube-proxy's Services come and go. */
                {{.kind = NFT_EVENT_GONE, .object = NFT_OBJECT_ELEMENT, .table = "kube-proxy"},
                 "nft",
                 false},
                {{.kind = NFT_EVENT_GONE,
                  .object = NFT_OBJECT_RULE,
                  .table = "nat",
                  .chain = "KUBE-SVC"},
                 "iptables-restor",
                 false},
                /* iptables -F, -X, -P. */
                {{.kind = NFT_EVENT_GONE,
                  .object = NFT_OBJECT_RULE,
                  .table = "filter",
                  .chain = "FORWARD"},
                 "iptables",
                 true},
                {{.kind = NFT_EVENT_GONE,
                  .object = NFT_OBJECT_CHAIN,
                  .table = "filter",
                  .chain = "CNI-FORWARD"},
                 "iptables",
                 true},
                {{.kind = NFT_EVENT_NEW,
                  .object = NFT_OBJECT_CHAIN,
                  .table = "filter",
                  .chain = "FORWARD"},
                 "iptables",
                 true},
        };

        for (size_t i = 0; i < N_ELEMENTS(rules); i++) {
                NftEvent end = {.kind = NFT_EVENT_GENERATION};
                Suspects suspects = {0};

                snprintf(end.program, sizeof(end.program), "%s", rules[i].program);
                suspects_nft(&suspects, &rules[i].event);
                /* Only the end says whose it was. */
                assert_false(suspects_any(&suspects));
                suspects_nft(&suspects, &end);
                if (suspects.is_certain != rules[i].broken)
                        fail_msg("case %zu", i);
                suspects.is_certain = false;
                suspects_nft(&suspects,
                             &(NftEvent){.kind = NFT_EVENT_GENERATION, .program = "nft"});
                assert_false(suspects.is_certain);
        }
}

/* --- what is asked, and when -------------------------------------------------------------- */

static void test_names(void **state) {
        static const struct {
                const char *name;
                bool valid;
        } names[] = {
                {"node-1", true}, {"ip-10-0-0-1.eu-central-1.compute.internal", true},
                {"", false},      {"a/b", false},
                {"a?b", false},   {"..", false},
                {"Node", false},  {"a b", false},
                {"a%2fb", false}, {"-a", false},
        };

        for (size_t i = 0; i < N_ELEMENTS(names); i++)
                assert_int_equal(node_name_is_valid(names[i].name), names[i].valid);
}

static void test_retries(void **state) {
        static const uint64_t whole[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};

        for (unsigned int i = 0; i < N_ELEMENTS(whole); i++) {
                assert_int_equal(node_retry_msecs(i + 1, 0), whole[i]);
                for (uint32_t random = 1; random < 1000000; random += 7919) {
                        uint64_t msecs = node_retry_msecs(i + 1, random);

                        assert_true(msecs <= whole[i] && msecs >= whole[i] / 2);
                }
        }
        assert_int_equal(node_retry_msecs(UINT32_MAX, 0), 30000);
}

static void argv_text(const NodeArgv *argv, StrBuf *text) {
        for (size_t i = 0; argv->items[i]; i++)
                strbuf_printf(text, "%s%s", i > 0 ? " " : "", argv->items[i]);
}

static void test_command_lines(void **state) {
        static const NodeArgs args = {.plugin = "/berth-cni",
                                      .plugins = "/b",
                                      .configurations = "/c",
                                      .cache = "/d",
                                      .conf_name = "10.conflist",
                                      .names = "missing",
                                      .node_name = "n",
                                      .api_server = "https://a",
                                      .token_file = "/t",
                                      .ca_file = "/ca"};
        static const NodeArgs flannel = {.plugin = "/berth-cni",
                                         .plugins = "/b",
                                         .configurations = "/c",
                                         .conf_name = "10.conflist",
                                         .names = "all",
                                         .subnet_file = "/run/flannel/subnet.env",
                                         .mtu = "1400",
                                         .mode = "routed",
                                         .beside = true,
                                         .replace = true};
        static const char *const texts[_NODE_JOB_N] = {
                [NODE_JOB_SUBNETS] = "/proc/self/exe subnets --node-name n --api-server https://a "
                                     "--token-file /t --ca-file /ca --bin-dir /b --conf-dir /c",
                [NODE_JOB_INSTALL] = "/berth-cni install --bin-dir /b --conf-dir /c --conf-name "
                                     "10.conflist --managed --names missing --subnet-file "
                                     "/proc/self/fd/0",
                [NODE_JOB_REPAIR] = "/berth-cni repair --bin-dir /b --conf-dir /c --cache-dir /d",
                [NODE_JOB_GC] = "/proc/self/exe collect --bin-dir /b --conf-dir /c --cache-dir /d "
                                "--conf-name 10.conflist --plugin /berth-cni",
        };
        static NodeArgv argv;

        for (unsigned int i = 0; i < _NODE_JOB_N; i++) {
                cleanup(strbuf_deinit) StrBuf text = {0};

                node_job_argv((NodeJob)i, &args, &argv);
                argv_text(&argv, &text);
                assert_string_equal(strbuf_text(&text), texts[i]);
                assert_true(node_job_timeout_msecs((NodeJob)i) >= 30000);
        }
        {
                cleanup(strbuf_deinit) StrBuf text = {0};

                node_job_argv(NODE_JOB_INSTALL, &flannel, &argv);
                argv_text(&argv, &text);
                assert_string_equal(strbuf_text(&text),
                                    "/berth-cni install --bin-dir /b --conf-dir /c --conf-name "
                                    "10.conflist --managed --names all --subnet-file "
                                    "/run/flannel/subnet.env --mtu 1400 --mode routed --replace "
                                    "--beside");
        }
        {
                cleanup(strbuf_deinit) StrBuf text = {0};

                node_collect_argv(&args, &argv);
                argv_text(&argv, &text);
                assert_string_equal(strbuf_text(&text), "/berth-cni gc --bin-dir /b --conf-dir /c "
                                                        "--cache-dir /d /c/10.conflist");
        }
        {
                cleanup(strbuf_deinit) StrBuf text = {0};

                node_uninstall_argv(&args, &argv);
                argv_text(&argv, &text);
                assert_string_equal(strbuf_text(&text),
                                    "/berth-cni install --bin-dir /b --conf-dir "
                                    "/c --conf-name 10.conflist --uninstall");
        }
}

/* --- metrics ------------------------------------------------------------------------------ */

static void test_metrics(void **state) {
        cleanup(freep) NodeGauges *gauges = calloc(1, sizeof(*gauges));
        cleanup(freep) Counters *calls = calloc(1, sizeof(*calls));
        cleanup(freep) char *text = NULL;
        const NodeCounts counts = {
                .repaired = 3,
                .is_ready = true,
                .jobs[NODE_JOB_REPAIR] = {.done = 2, .failed = 1, .msecs = 1500}};
        static const char *const lines[] = {
                "\nberth_node_ready 1\n",
                "\nberth_node_repaired_total 3\n",
                "\nberth_node_jobs_total{job=\"repair\",result=\"failed\"} 1\n",
                "\nberth_node_job_seconds_total{job=\"repair\"} 1.500\n",
                "\nberth_node_leases{network=\"a\\\"b\"} 4\n",
                "\nberth_node_elements{family=\"ip6\",set=\"masq\"} 5\n",
                "\nberth_cni_calls_seconds_bucket{type=\"berth-cni\",command=\"ADD\",le=\"0.0005\"}"
                " 1\n",
                "\nberth_cni_calls_seconds_bucket{type=\"berth-cni\",command=\"ADD\",le=\"0.001\"} "
                "3\n",
                "\nberth_cni_calls_seconds_bucket{type=\"berth-cni\",command=\"ADD\",le=\"+Inf\"} "
                "4\n",
                "\nberth_cni_calls_seconds_sum{type=\"berth-cni\",command=\"ADD\"} 1.500000000\n",
                "\nberth_cni_calls_seconds_count{type=\"berth-cni\",command=\"ADD\"} 4\n",
                "\nberth_cni_failures_total{type=\"berth-cni\",command=\"ADD\",reason=\"again\"} "
                "2\n",
        };

        assert_non_null(gauges);
        assert_non_null(calls);
        snprintf(gauges->networks[0].network, sizeof(gauges->networks[0].network), "a\"b");
        gauges->networks[0].leases = 4;
        gauges->n_networks = 1;
        snprintf(gauges->sets[0].set, sizeof(gauges->sets[0].set), "masq");
        gauges->sets[0].family = NFPROTO_IPV6;
        gauges->sets[0].elements = 5;
        gauges->n_sets = 1;
        calls->calls[ROLE_BERTH][VERB_ADD] = (CallCounter){
                .n = 4, .nsecs = 1500000000, .within = {1, 2, [COUNTER_BOUNDS_N] = 1}};
        calls->calls[ROLE_BERTH][VERB_ADD].failed[counter_reason(11)] = 2;
        text = node_metrics_format(&counts, gauges, calls);
        assert_non_null(text);
        for (size_t i = 0; i < N_ELEMENTS(lines); i++)
                if (!strstr(text, lines[i]))
                        fail_msg("no %s in\n%s", lines[i] + 1, text);
        assert_null(strstr(text, "command=\"DEL\""));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_links),   cmocka_unit_test(test_certain),
                cmocka_unit_test(test_rules),   cmocka_unit_test(test_names),
                cmocka_unit_test(test_retries), cmocka_unit_test(test_command_lines),
                cmocka_unit_test(test_metrics),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
