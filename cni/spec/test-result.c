/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/spec/test-support.h"

/* Two addresses of IPv4, one of IPv6, routes of both, every field used. */
#define FULL                                                                                       \
        "{'interfaces':[{'name':'br0','mac':'02:00:00:00:00:01'},{'name':'eth0','mac':"            \
        "'02:00:00:00:00:02','sandbox':'/run/netns/a','mtu':1400,'pciID':'0000:00:01.0',"          \
        "'socketPath':'/s'}],"                                                                     \
        "'ips':[{'interface':1,'address':'10.1.0.2/24','gateway':'10.1.0.1'},{'address':"          \
        "'10.2.0.2/16'},{'interface':1,'address':'fd00::2/64','gateway':'fd00::1'}],"              \
        "'routes':[{'dst':'0.0.0.0/0','gw':'10.1.0.1'},{'dst':'10.9.0.0/16','mtu':1300,'advmss':"  \
        "1260,'priority':5,'table':100,'scope':253},{'dst':'::/0'}],"                              \
        "'dns':{'nameservers':['10.1.0.1'],'search':['a','b'],'options':['ndots:5'],'domain':"     \
        "'d'}}"

static void format_as(const char *quoted, CniVersion from, CniVersion to, json_t **jsonp) {
        json_t *value = json_value(quoted);
        cleanup(result_deinit) CniResult result = {0};
        cleanup(freep) char *text = NULL;
        Error err = {0};

        if (result_parse(value, from, &result, &err) < 0)
                fail_msg("%s", err.message);
        json_decref(value);
        if (result_format(&result, to, &text, &err) < 0)
                fail_msg("%s", err.message);
        assert_int_equal(json_text_parse(text, strlen(text), jsonp, &err), 0);
}

static void assert_json(json_t *got, const char *quoted) {
        json_t *wanted = json_value(quoted);

        if (!json_equal(got, wanted)) {
                cleanup(freep) char *text = json_dumps(got, JSON_SORT_KEYS);

                fail_msg("got %s", text);
        }
        json_decref(wanted);
        json_decref(got);
}

static void test_one(void **state) {
        json_t *got, *wanted = json_value(FULL);

        json_object_set_new(wanted, "cniVersion", json_string("1.1.0"));
        format_as(FULL, CNI_1_1_0, CNI_1_1_0, &got);
        assert_true(json_equal(got, wanted));
        json_decref(got);
        json_object_set_new(wanted, "cniVersion", json_string("1.0.0"));
        format_as(FULL, CNI_1_0_0, CNI_1_0_0, &got);
        assert_true(json_equal(got, wanted));
        json_decref(got);
        json_decref(wanted);
}

/* Before 1.0.0 each address says its version, and dns is always there. */
static void test_versioned_ips(void **state) {
        static const CniVersion versions[] = {CNI_0_3_0, CNI_0_3_1, CNI_0_4_0};

        for (size_t i = 0; i < N_ELEMENTS(versions); i++) {
                json_t *got;
                const char *name;

                format_as("{'ips':[{'address':'10.1.0.2/24'},{'address':'fd00::2/64'}]}", CNI_1_0_0,
                          versions[i], &got);
                name = json_string_value(json_object_get(got, "cniVersion"));
                assert_string_equal(name, cni_version_name(versions[i]));
                json_object_del(got, "cniVersion");
                assert_json(got, "{'ips':[{'version':'4','address':'10.1.0.2/24'},{'version':'6',"
                                 "'address':'fd00::2/64'}],'dns':{}}");
        }
}

static void test_families(void **state) {
        json_t *got;

        format_as(FULL, CNI_1_0_0, CNI_0_2_0, &got);
        assert_json(
                got,
                "{'cniVersion':'0.2.0','ip4':{'ip':'10.1.0.2/24','gateway':'10.1.0.1','routes':[{"
                "'dst':'0.0.0.0/0','gw':'10.1.0.1'},{'dst':'10.9.0.0/16'}]},"
                "'ip6':{'ip':'fd00::2/64','gateway':'fd00::1','routes':[{'dst':'::/0'}]},"
                "'dns':{'nameservers':['10.1.0.1'],'search':['a','b'],'options':['ndots:5'],"
                "'domain':'d'}}");
        /* And back. */
        format_as(
                "{'ip4':{'ip':'10.1.0.2/24','gateway':'10.1.0.1','routes':[{'dst':'0.0.0.0/0'}]}}",
                CNI_0_1_0, CNI_1_0_0, &got);
        assert_json(got, "{'cniVersion':'1.0.0','ips':[{'address':'10.1.0.2/24','gateway':"
                         "'10.1.0.1'}],'routes':[{'dst':'0.0.0.0/0'}]}");
}

static void test_no_address(void **state) {
        cleanup(result_deinit) CniResult result = {0};
        cleanup(freep) char *text = NULL;
        Error err = {0};

        assert_true(result_format(&result, CNI_0_2_0, &text, &err) < 0);
        assert_contains(err.message, "cannot convert: no valid IP addresses");
        assert_int_equal(result_format(&result, CNI_0_3_1, &text, &err), 0);
        assert_contains(text, "\"dns\": {}");
}

static void test_strings(void **state) {
        cleanup(result_deinit) CniResult result = {0};
        cleanup(freep) char *text = NULL;
        json_t *value;
        Error err = {0};

        assert_int_equal(result_add_interface(&result, "a\"b\\c\n", NULL, NULL), 0);
        assert_int_equal(result_format(&result, CNI_1_0_0, &text, &err), 0);
        assert_int_equal(json_text_parse(text, strlen(text), &value, &err), 0);
        assert_string_equal(
                json_string_value(json_object_get(
                        json_array_get(json_object_get(value, "interfaces"), 0), "name")),
                "a\"b\\c\n");
        json_decref(value);
}

static void test_malformed(void **state) {
        static const struct {
                const char *quoted, *message;
        } cases[] = {
                {"[]", "must be an object, not a list"},
                {"{'ips':{}}", "\"ips\" must be a list, not an object"},
                {"{'ips':[1]}", "ips[0]: must be an object, not a number"},
                {"{'ips':[{}]}", "ips[0]: \"address\": \"\" is not an address with a prefix "
                                 "(expected for example 10.1.2.3/24)"},
                {"{'ips':[{'address':'10.0.0.1'}]}",
                 "is not an address with a prefix (expected for example 10.1.2.3/24)"},
                {"{'ips':[{'address':'10.0.0.1/8','interface':'0'}]}", "must be a number"},
                {"{'ips':[{'address':'10.0.0.1/8','interface':99999}]}", "must be between"},
                {"{'routes':[{'dst':'0.0.0.0/0','gw':'x'}]}", "\"gw\": \"x\" is not an IP address"},
                {"{'interfaces':[{'name':1}]}", "\"name\" must be a string"},
                {"{'dns':{'search':'x'}}", "dns: \"search\" must be a list"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                json_t *value = json_value(cases[i].quoted);
                CniResult result = {0};
                Error err = {0};

                assert_true(result_parse(value, CNI_1_0_0, &result, &err) < 0);
                assert_contains(err.message, cases[i].message);
                assert_int_equal(err.code, ERROR_INVALID);
                assert_null(result.ips);
                json_decref(value);
        }
}

static void test_too_much(void **state) {
        json_t *value = json_value("{'routes':[]}");
        json_t *route = json_value("{'dst':'10.0.0.0/8'}");
        CniResult result = {0};
        Error err = {0};

        for (size_t i = 0; i <= RESULT_ITEMS_MAX; i++)
                assert_int_equal(json_array_append(json_object_get(value, "routes"), route), 0);
        assert_true(result_parse(value, CNI_1_0_0, &result, &err) < 0);
        assert_contains(err.message, "more than 1024 interfaces, addresses or routes");
        assert_int_equal(err.code, ERROR_INVALID);
        json_decref(route);
        json_decref(value);
}

static void test_merge(void **state) {
        json_t *value = json_value(FULL);
        cleanup(result_deinit) CniResult first = {0}, merged = {0};
        Error err = {0};

        assert_int_equal(result_parse(value, CNI_1_1_0, &first, &err), 0);
        json_decref(value);
        assert_int_equal(result_merge(&merged, &first), 0);
        assert_int_equal(result_merge(&merged, &first), 0);
        assert_int_equal(merged.n_interfaces, 4);
        assert_int_equal(merged.n_ips, 6);
        assert_int_equal(merged.ips[0].interface, 1);
        assert_int_equal(merged.ips[1].interface, -1);
        assert_int_equal(merged.ips[3].interface, 3);
        assert_int_equal(merged.n_routes, 6);
        assert_int_equal(result_find_interface(&merged, "eth0", true), 1);
        assert_int_equal(result_find_interface(&merged, "eth0", false), -1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_one),      cmocka_unit_test(test_versioned_ips),
                cmocka_unit_test(test_families), cmocka_unit_test(test_no_address),
                cmocka_unit_test(test_strings),  cmocka_unit_test(test_malformed),
                cmocka_unit_test(test_too_much), cmocka_unit_test(test_merge),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
