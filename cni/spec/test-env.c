/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/spec/test-support.h"

#include "cni/spec/env.h"
#include "cni/spec/failure.h"

static void test_verbs(void **state) {
        static const struct {
                CniEnv env;
                const char *message; /* NULL: fine */
        } cases[] = {
                {{.command = ""}, "required env variables [CNI_COMMAND] missing"},
                {{.command = "add"}, "unknown CNI_COMMAND: add"},
                {{.command = "VERSION"}, NULL},
                {{.command = "ADD"},
                 "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing"},
                {{.command = "ADD", .container_id = "c", .ifname = "i", .path = "p"},
                 "required env variables [CNI_NETNS] missing"},
                {{.command = "DEL", .container_id = "c", .ifname = "i", .path = "p"}, NULL},
                {{.command = "DEL", .container_id = "c", .path = "p"},
                 "required env variables [CNI_IFNAME] missing"},
                {{.command = "GC", .container_id = "", .path = "p"}, NULL},
                {{.command = "GC"}, "required env variables [CNI_PATH] missing"},
                {{.command = "STATUS", .path = "p"}, NULL},
                {{.command = "CHECK", .container_id = "c", .ifname = "i", .path = "p"},
                 "required env variables [CNI_NETNS] missing"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                CniEnv env = cases[i].env;
                Error err = {0};

                assert_int_equal(env_check(&env, &err), cases[i].message ? ENV_E_INVALID : 0);
                if (cases[i].message)
                        assert_string_equal(err.message, cases[i].message);
        }
}

static void test_names(void **state) {
        static const struct {
                const char *id, *ifname, *message, *detail;
        } cases[] = {
                {"abc-1_2.x", "eth0", NULL, NULL},
                {"a", "123456789012345", NULL, NULL},
                {"-a", "eth0", "invalid characters in containerID", "-a"},
                {"a/b", "eth0", "invalid characters in containerID", "a/b"},
                {"a", "1234567890123456", "interface name is too long",
                 "interface name should be less than 16 characters"},
                {"a", ".", "interface name is . or ..", NULL},
                {"a", "..", "interface name is . or ..", NULL},
                {"a", "e/0", "interface name contains / or : or whitespace characters", "e/0"},
                {"a", "e:0", "interface name contains / or : or whitespace characters", "e:0"},
                {"a", "e\t0", "interface name contains / or : or whitespace characters", "e\t0"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                CniEnv env = {
                        .verb = VERB_ADD, .container_id = cases[i].id, .ifname = cases[i].ifname};
                const char *detail = NULL;
                Error err = {0};

                assert_int_equal(env_check_names(&env, &detail, &err),
                                 cases[i].message ? ENV_E_INVALID : 0);
                if (!cases[i].message)
                        continue;
                assert_string_equal(err.message, cases[i].message);
                if (cases[i].detail)
                        assert_string_equal(detail, cases[i].detail);
                else
                        assert_null(detail);
        }
}

static void test_args(void **state) {
        static const struct {
                const char *text;
                const char *message; /* NULL: fine */
                const char *ip, *mac;
        } cases[] = {
                {NULL, NULL, NULL, NULL},
                {"", NULL, NULL, NULL},
                {"IP=10.0.0.1,fd00::1;MAC=02:00:00:00:00:01", NULL, "10.0.0.1,fd00::1",
                 "02:00:00:00:00:01"},
                {"K8S_POD_UID=u;IgnoreUnknown=1", NULL, NULL, NULL},
                {"IgnoreUnknown=TRUE;X=y;IP=1.2.3.4", NULL, "1.2.3.4", NULL},
                {"X=y", "ARGS: unknown args [\"X\"]", NULL, NULL},
                {"X=y;IgnoreUnknown=0", "ARGS: unknown args [\"X\"]", NULL, NULL},
                {"ip=10.0.0.1", "ARGS: unknown args [\"ip\"]", NULL, NULL},
                {"IP", "ARGS: invalid pair \"IP\"", NULL, NULL},
                {"IP=a=b", "ARGS: invalid pair \"IP=a=b\"", NULL, NULL},
                {"IP=a;", "ARGS: invalid pair \"\"", NULL, NULL},
                {"IgnoreUnknown=maybe", "must be true or false", NULL, NULL},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                cleanup(cni_args_deinit) CniArgs args = {0};
                Error err = {0};
                int r = cni_args_parse(cases[i].text, &args, &err);

                assert_int_equal(r < 0, cases[i].message != NULL);
                if (cases[i].message) {
                        assert_contains(err.message, cases[i].message);
                        continue;
                }
                assert_true(cases[i].ip ? str_equal(args.ip, cases[i].ip) : !args.ip);
                assert_true(cases[i].mac ? str_equal(args.mac, cases[i].mac) : !args.mac);
        }
}

/* The codes of the specification's table, as the house maps its own. */
static void test_failure(void **state) {
        static const struct {
                ErrorCode code;
                unsigned int expected;
        } cases[] = {
                {ERROR_INVALID, 7},     {ERROR_AGAIN, 11},     {ERROR_TIMEOUT, 11},
                {ERROR_NOT_FOUND, 102}, {ERROR_CONFLICT, 103}, {ERROR_EXHAUSTED, 107},
                {ERROR_INTERNAL, 112},  {ERROR_DENIED, 111},
        };
        cleanup(freep) char *text = NULL;
        Failure failure = {0};
        json_t *value;
        Error err = {0};

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                err = (Error){.code = cases[i].code, .message = "m"};
                assert_int_equal(failure_from_error(&failure, &err), 1);
                assert_int_equal(failure.code, cases[i].expected);
                assert_string_equal(failure.details, "m");
        }
        failure_set(&failure, 4, "bad \"\xff\"", NULL);
        text = failure_format(&failure, CNI_0_3_1);
        assert_non_null(text);
        value = json_loads(text, 0, NULL);
        assert_int_equal(json_integer_value(json_object_get(value, "code")), 4);
        assert_string_equal(json_string_value(json_object_get(value, "cniVersion")), "0.3.1");
        assert_string_equal(json_string_value(json_object_get(value, "msg")), "bad \"?\"");
        assert_null(json_object_get(value, "details"));
        json_decref(value);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_verbs),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_args),
                cmocka_unit_test(test_failure),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
