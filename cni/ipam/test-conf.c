/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/spec/test-support.h"

#include "cni/ipam/conf.h"

/* The addresses of one round, as text. */
static void assert_round(const char *sets, const char *last, const char *expected) {
        cleanup(freep) char *text =
                str_printf("{'name':'n','ipam':{'type':'host-local','ranges':[%s]}}", sets);
        cleanup(conf_deinit) NetConf net;
        cleanup(host_local_conf_deinit) HostLocalConf conf = {0};
        cleanup(strbuf_deinit) StrBuf got = {0};
        IpAddress last_ip = last ? ip(last) : (IpAddress){0}, address;
        const IpamRange *range;
        IpamCursor cursor;
        CniArgs args = {0};
        Error err = {0};

        assert_int_equal(conf_from(&net, ROLE_HOST_LOCAL, text, &err), 0);
        if (host_local_conf_parse(&net, &args, &conf, &err) < 0)
                fail_msg("%s", err.message);
        ipam_cursor_init(&cursor, &conf.sets[0], last ? &last_ip : NULL);
        for (int i = 0; i < 100 && ipam_cursor_next(&cursor, &address, &range); i++) {
                char part[IP_TEXT_MAX];

                strbuf_printf(&got, "%s%s", got.n ? " " : "", ip_format(&address, part));
                assert_true(ipam_range_contains(range, &address));
        }
        assert_string_equal(strbuf_text(&got), expected);
}

static void test_cursor(void **state) {
        /* Without a last one: from the start, the gateway left out. */
        assert_round("[{'subnet':'10.0.0.0/29'}]", NULL,
                     "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6");
        assert_round("[{'subnet':'10.0.0.0/29'}]", "10.0.0.4",
                     "10.0.0.5 10.0.0.6 10.0.0.2 10.0.0.3 10.0.0.4");
        assert_round("[{'subnet':'10.0.0.0/29'}]", "10.0.0.6",
                     "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6");
        /* One that is not in the set says nothing. */
        assert_round("[{'subnet':'10.0.0.0/30'}]", "10.9.0.4", "10.0.0.2");
        assert_round("[{'subnet':'10.0.0.0/24','rangeStart':'10.0.0.9','rangeEnd':'10.0.0.11',"
                     "'gateway':'10.0.0.10'}]",
                     NULL, "10.0.0.9 10.0.0.11");
        assert_round("[{'subnet':'10.0.0.0/30'},{'subnet':'10.1.0.0/30','gateway':'10.1.0.2'}]",
                     "10.0.0.2", "10.1.0.1 10.0.0.2");
        assert_round("[{'subnet':'fd00::/126'}]", NULL, "fd00::2 fd00::3");
}

static void test_parse(void **state) {
        cleanup(conf_deinit) NetConf net;
        cleanup(host_local_conf_deinit) HostLocalConf conf = {0};
        CniArgs args = {.ip = "10.0.0.5, 10.0.0.5"};
        char text[256];
        Error err = {0};

        assert_int_equal(
                conf_from(&net, ROLE_BRIDGE,
                          "{'cniVersion':'1.0.0','name':'n','ipam':{'type':'host-local','subnet':"
                          "'10.0.0.0/24','dataDir':'/d','resolvConf':'/r','ranges':[[{'subnet':"
                          "'fd00::/64'}]],'routes':[{'dst':'0.0.0.0/0'},{'dst':'::/"
                          "0','priority':7}]},"
                          "'runtimeConfig':{'IPRanges':[[{'Subnet':'10.7.0.0/"
                          "24'}]],'ips':['fd00::7/64']},"
                          "'args':{'cni':{'ips':['10.7.0.9']}}}",
                          &err),
                0);
        if (host_local_conf_parse(&net, &args, &conf, &err) < 0)
                fail_msg("%s", err.message);
        assert_string_equal(conf.data_dir, "/d");
        assert_string_equal(conf.resolv_conf, "/r");
        assert_int_equal(conf.n_sets, 3);
        ipam_set_format(&conf.sets[0], text, sizeof(text));
        assert_string_equal(text, "10.7.0.1-10.7.0.254");
        ipam_set_format(&conf.sets[1], text, sizeof(text));
        assert_string_equal(text, "10.0.0.1-10.0.0.254");
        ipam_set_format(&conf.sets[2], text, sizeof(text));
        assert_string_equal(text, "fd00::1-fd00::ffff:ffff:ffff:ffff");
        assert_int_equal(ipam_set_size(&conf.sets[1]), 253);
        assert_int_equal(ipam_set_size(&conf.sets[2]), UINT64_MAX - 1);
        assert_int_equal(conf.n_requested, 3);
        assert_int_equal(conf.extra.n_routes, 2);
        assert_int_equal(conf.extra.routes[1].priority, 7);
}

static void test_invalid(void **state) {
        static const struct {
                const char *ipam, *message;
        } cases[] = {
                {"{'type':'host-local'}", "no IP ranges specified"},
                {"{'type':'host-local','subnet':'10.0.0.0/31'}",
                 "Network 10.0.0.0/31 too small to allocate from"},
                {"{'type':'host-local','subnet':'fd00::/127'}", "too small"},
                {"{'type':'host-local','subnet':'10.0.0.1/24'}",
                 "Network has host bits set. For a subnet mask of length 24 the network address is "
                 "10.0.0.0"},
                {"{'type':'host-local','subnet':'10.0.0.0'}", "is not a CIDR address"},
                {"{'type':'host-local','subnet':'10.0.0.0/24','rangeStart':'10.0.1.1'}",
                 "RangeStart 10.0.1.1 not in network 10.0.0.0/24"},
                {"{'type':'host-local','subnet':'10.0.0.0/24','rangeStart':'10.0.0.9','rangeEnd':"
                 "'10.0.0.3'}",
                 "RangeStart 10.0.0.9 not in network"},
                {"{'type':'host-local','subnet':'10.0.0.0/24','rangeEnd':'fd00::1'}", "RangeEnd"},
                {"{'type':'host-local','ranges':[[]]}", "invalid range set 0: empty range set"},
                {"{'type':'host-local','ranges':[[{'subnet':'10.0.0.0/24'},{'subnet':'fd00::/"
                 "64'}]]}",
                 "mixed address families"},
                {"{'type':'host-local','ranges':[[{'subnet':'10.0.0.0/24'},{'subnet':'10.0.0.0/"
                 "16'}]]"
                 "}",
                 "subnets 10.0.0.0/24 and 10.0.0.0/16 overlap"},
                {"{'type':'host-local','ranges':[[{'subnet':'10.0.0.0/24'}],[{'subnet':"
                 "'10.0.0.0/16'}]]}",
                 "range set 0 overlaps with 1"},
                {"{'type':'host-local','ranges':[{'subnet':'10.0.0.0/24'}]}",
                 "ranges[0] must be a list of ranges"},
                {"{'type':'host-local','subnet':'10.0.0.0/24','routes':[{}]}", "routes[0]"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                cleanup(freep) char *text =
                        str_printf("{'cniVersion':'1.0.0','name':'n','ipam':%s}", cases[i].ipam);
                cleanup(conf_deinit) NetConf net;
                cleanup(host_local_conf_deinit) HostLocalConf conf = {0};
                CniArgs args = {0};
                Error err = {0};

                assert_int_equal(conf_from(&net, ROLE_BRIDGE, text, &err), 0);
                assert_true(host_local_conf_parse(&net, &args, &conf, &err) < 0);
                assert_contains(err.message, cases[i].message);
        }
}

static void test_old_version(void **state) {
        cleanup(conf_deinit) NetConf net;
        cleanup(host_local_conf_deinit) HostLocalConf conf = {0};
        CniArgs args = {0};
        Error err = {0};

        assert_int_equal(conf_from(&net, ROLE_BRIDGE,
                                   "{'cniVersion':'0.2.0','name':'n','ipam':{'ranges':[[{'subnet':"
                                   "'10.0.0.0/24'}],[{'subnet':'10.1.0.0/24'}]]}}",
                                   &err),
                         0);
        assert_true(host_local_conf_parse(&net, &args, &conf, &err) < 0);
        assert_contains(err.message,
                        "CNI version 0.2.0 does not support more than 1 address per family");
}

static void test_static(void **state) {
        static const struct {
                const char *keys;
                CniArgs args;
                const char *expected; /* "address gateway;...", or the error after "!" */
        } cases[] = {
                {"'ipam':{'addresses':[{'address':'10.0.0.5/24','gateway':'10.0.0.254'},{'address':"
                 "'fd00::5/64'}]}",
                 {0},
                 "10.0.0.5/24 10.0.0.254;fd00::5/64 -;"},
                {"'ipam':{'addresses':[{'address':'10.0.0.5/24'}]}",
                 {.ip = "10.9.0.5/16", .gateway = "10.9.0.1,10.0.0.1"},
                 "10.0.0.5/24 10.0.0.1;10.9.0.5/16 10.9.0.1;"},
                {"'ipam':{'addresses':[{'address':'10.0.0.5/24'}]},'args':{'cni':{'ips':"
                 "['10.1.1.1/8']}}",
                 {0},
                 "10.1.1.1/8 -;"},
                {"'ipam':{},'args':{'cni':{'ips':['10.1.1.1/8']}},'runtimeConfig':{'IPs':"
                 "['10.2.2.2/8','fd00::1/64']}",
                 {0},
                 "10.2.2.2/8 -;fd00::1/64 -;"},
                {"'ipam':{'addresses':[{'address':'10.0.0.5'}]}",
                 {0},
                 "!the 'address' field is expected to be in CIDR notation, got: '10.0.0.5'"},
                {"'ipam':{}",
                 {.ip = "10.0.0.5"},
                 "!the 'ip' field is expected to be in CIDR notation"},
                {"'ipam':{}", {.gateway = "x"}, "!invalid gateway address: x"},
                {"'x':1", {0}, "!IPAM config missing 'ipam' key"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                cleanup(freep) char *text =
                        str_printf("{'cniVersion':'1.0.0','name':'n',%s}", cases[i].keys);
                cleanup(conf_deinit) NetConf net;
                cleanup(result_deinit) CniResult result = {0};
                cleanup(strbuf_deinit) StrBuf got = {0};
                Error err = {0};
                int r;

                assert_int_equal(conf_from(&net, ROLE_STATIC, text, &err), 0);
                r = static_conf_parse(&net, &cases[i].args, &result, &err);
                if (cases[i].expected[0] == '!') {
                        assert_true(r < 0);
                        assert_contains(err.message, cases[i].expected + 1);
                        continue;
                }
                assert_int_equal(r, 0);
                for (size_t j = 0; j < result.n_ips; j++) {
                        char one[IP_TEXT_MAX], other[IP_TEXT_MAX];

                        strbuf_printf(&got, "%s %s;", ip_prefix_format(&result.ips[j].address, one),
                                      ip_is_set(&result.ips[j].gateway)
                                              ? ip_format(&result.ips[j].gateway, other)
                                              : "-");
                }
                assert_string_equal(strbuf_text(&got), cases[i].expected);
        }
}

static void test_resolv_conf(void **state) {
        static const char text[] = "# c\n; c\nnameserver 10.0.0.1 extra\nnameserver\tfd00::1\r\n"
                                   "domain d\nsearch a b\nsearch c\noptions ndots:5 rotate\n"
                                   "sortlist x\nnameserver\n";
        json_t *dns = NULL, *wanted = json_value("{'nameservers':['10.0.0.1','fd00::1'],'domain':"
                                                 "'d','search':['a','b','c'],'options':['ndots:5',"
                                                 "'rotate']}");

        assert_int_equal(resolv_conf_parse(text, &dns), 0);
        assert_true(json_equal(dns, wanted));
        json_decref(dns);
        json_decref(wanted);
        dns = NULL;
        assert_int_equal(resolv_conf_parse("# nothing\n", &dns), 0);
        assert_null(dns);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cursor),  cmocka_unit_test(test_parse),
                cmocka_unit_test(test_invalid), cmocka_unit_test(test_old_version),
                cmocka_unit_test(test_static),  cmocka_unit_test(test_resolv_conf),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
