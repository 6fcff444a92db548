/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/spec/test-support.h"

#include "cni/features/portmap_conf.h"

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

static void test_node_ports(void **state) {
        static const struct {
                const char *json;
                int wanted; /* 0 fine; 1 the port is a Service's; -1 not understood */
        } cases[] = {
                {"{}", 0},
                {"{\"nodePortRange\": \"\"}", 0},
                {"{\"nodePortRange\": \"30000-32767\"}", 0},
                {"{\"nodePortRange\": \"8081-8081\"}", 0},
                {"{\"nodePortRange\": \"8079-8079\"}", 0},
                {"{\"nodePortRange\": \"8080-8080\"}", 1},
                {"{\"nodePortRange\": \"1-8080\"}", 1},
                {"{\"nodePortRange\": \"8080-65535\"}", 1},
                {"{\"nodePortRange\": \"8080\"}", -1},
                {"{\"nodePortRange\": \"0-8080\"}", -1},
                {"{\"nodePortRange\": \"-8080\"}", -1},
                {"{\"nodePortRange\": \"8080-\"}", -1},
                {"{\"nodePortRange\": \"9-8\"}", -1},
                {"{\"nodePortRange\": \"1-65536\"}", -1},
                {"{\"nodePortRange\": \"0000000001-8080\"}", -1},
                {"{\"nodePortRange\": \"1 - 9\"}", -1},
                {"{\"nodePortRange\": 8080}", -1},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                json_t *runtime = json_loads(
                        "{\"portMappings\": [{\"hostPort\": 8080, \"containerPort\": 80}]}", 0,
                        NULL);
                NetConf conf = {.json = json_loads(cases[i].json, 0, NULL), .runtime = runtime};
                PortmapConf *portmap = NULL;
                Error err = {0};
                int r = portmap_conf_parse(&conf, &portmap, &err);

                assert_int_equal(r < 0, cases[i].wanted < 0);
                if (r == 0) {
                        r = portmap_conf_check_node_ports(portmap, &err);
                        assert_int_equal(r<0, cases[i].wanted> 0);
                        assert_int_equal(err.code == ERROR_CONFLICT, cases[i].wanted > 0);
                }
                portmap_conf_free(portmap);
                json_decref((json_t *)conf.json);
                json_decref(runtime);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_conditions),
                cmocka_unit_test(test_too_many_conditions),
                cmocka_unit_test(test_node_ports),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
