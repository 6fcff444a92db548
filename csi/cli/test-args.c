/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "csi/cli/args.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *no_environment(const char *name) {
        return NULL;
}

static const char *some_environment(const char *name) {
        if (str_equal(name, "CSI_ENDPOINT"))
                return "unix:///from/env";
        if (str_equal(name, "KUBE_NODE_NAME"))
                return "kube";
        if (str_equal(name, "NODE_NAME"))
                return "";
        return str_equal(name, "CSI_NODE_NAME") ? "csi" : NULL;
}

static int parse(const char *const *words, size_t n, ServeArgs *args, Error *err) {
        char *argv[24] = {(char *)(uintptr_t) "serve"};

        assert_true(n < N_ELEMENTS(argv));
        for (size_t i = 0; i < n; i++)
                argv[i + 1] = (char *)(uintptr_t)words[i];
        return args_parse_serve((int)n + 1, argv, no_environment, args, err);
}

#define PARSE(args, err, ...)                                                                      \
        parse((const char *const[]){__VA_ARGS__},                                                  \
              N_ELEMENTS(((const char *const[]){__VA_ARGS__})), args, err)

static void test_defaults(void **state) {
        char *argv[] = {(char *)(uintptr_t) "serve", NULL};
        ServeArgs args;
        Error err = {0};

        assert_int_equal(args_parse_serve(1, argv, no_environment, &args, &err), 0);
        assert_null(args.endpoint);
        assert_null(args.node_name);
        assert_null(args.provider);
        assert_int_equal(args.health_port, 9808);
        assert_true(args.registration);
        assert_true(args.metrics);
        assert_true(args.volume_limit == UINT64_MAX);
        assert_string_equal(args.root, "");
        assert_int_equal(args_parse_serve(1, argv, some_environment, &args, &err), 0);
        assert_string_equal(args.endpoint, "unix:///from/env");
        assert_string_equal(args.node_name, "kube");
}

static void test_every_kind(void **state) {
        ServeArgs args;
        Error err = {0};

        assert_int_equal(PARSE(&args, &err, "--endpoint", "/x", "--provider=aws",
                               "--volume-limit=25", "--health-port", "0", "--no-registration",
                               "--metrics=false", "--fsck-timeout=5m", "--mkfs-timeout", "1500ms",
                               "--drain-timeout=7", "--log-level=debug", "--log-format", "json",
                               "--node-name=", "--pool="),
                         0);
        assert_string_equal(args.endpoint, "/x");
        assert_string_equal(args.provider, "aws");
        assert_string_equal(args.node_name, "");
        assert_null(args.pool);
        assert_int_equal(args.volume_limit, 25);
        assert_int_equal(args.health_port, 0);
        assert_false(args.registration);
        assert_false(args.metrics);
        assert_int_equal(args.fsck_timeout_msecs, 300000);
        assert_int_equal(args.mkfs_timeout_msecs, 1500);
        assert_int_equal(args.drain_timeout_msecs, 7000);
        assert_int_equal(args.log_level, LOG_LEVEL_DEBUG);
        assert_int_equal(args.log_format, LOG_FORMAT_JSON);
        assert_int_equal(PARSE(&args, &err, "--registration", "--metrics=1"), 0);
        assert_true(args.registration);
}

static void test_refusals(void **state) {
        static const struct {
                const char *argument;
                const char *message;
        } cases[] = {
                {"--nosuch", "unknown flag --nosuch"},
                {"--nosuch=1", "unknown flag --nosuch"},
                {"--no-endpoint", "unknown flag --no-endpoint"},
                {"--no-registration=true", "--no-registration takes no value"},
                {"-endpoint", "unknown flag -endpoint; did you mean --endpoint?"},
                {"--driver-nam=x", "unknown flag --driver-nam; did you mean --driver-name?"},
                {"--no-metric", "unknown flag --no-metric; did you mean --no-metrics?"},
                {"stray", "unexpected argument \"stray\""},
                {"--endpoint", "--endpoint: its value is missing"},
                {"--health-port=65536", "--health-port: \"65536\", expected at most 65535"},
                {"--health-port=-1", "--health-port: \"-1\", expected a number"},
                {"--reserved-volumes=many", "--reserved-volumes: \"many\", expected a number"},
                {"--workers=many", "--workers: \"many\", expected a number from 1"},
                {"--workers=0", "--workers: \"0\", expected a number from 1"},
                {"--max-formatters=0", "--max-formatters: \"0\", expected a number from 1"},
                {"--volume-limit=0", "--volume-limit: \"0\", expected a number from 1"},
                {"--pool-overcommit=0", "--pool-overcommit: \"0\", expected a number from 1"},
                {"--mkfs-timeout=0s",
                 "--mkfs-timeout: \"0s\", expected a duration above 0 such as 90s or 10m"},
                {"--fsck-timeout=0",
                 "--fsck-timeout: \"0\", expected a duration above 0 such as 90s or 10m"},
                {"--pool=pool", "--pool: \"pool\", expected an absolute path"},
                {"--registration-dir=r", "--registration-dir: \"r\", expected an absolute path"},
                {"--registration-endpoint=r",
                 "--registration-endpoint: \"r\", expected an absolute path"},
                {"--metrics=maybe", "--metrics: \"maybe\", expected true or false"},
                {"--drain-timeout=5 m",
                 "--drain-timeout: \"5 m\", expected a duration such as 90s or 10m"},
                {"--drain-timeout=99999999999999999999h",
                 "--drain-timeout: \"99999999999999999999h\", expected a duration such as 90s or "
                 "10m"},
                {"--log-level=loud",
                 "--log-level: \"loud\", expected error, warning, info or debug"},
                {"--log-format=xml", "--log-format: \"xml\", expected logfmt or json"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                ServeArgs args;
                Error err = {0};

                assert_int_equal(PARSE(&args, &err, cases[i].argument), -EINVAL);
                assert_string_equal(err.message, cases[i].message);
        }
}

static void test_help_and_version(void **state) {
        ServeArgs args;
        Error err = {0};

        assert_int_equal(PARSE(&args, &err, "--metrics", "--help", "--nosuch"), ARGS_E_HELP);
        assert_int_equal(PARSE(&args, &err, "-h"), ARGS_E_HELP);
        assert_int_equal(PARSE(&args, &err, "--version"), ARGS_E_VERSION);
}

static void test_socket_path(void **state) {
        static const struct {
                const char *endpoint, *path; /* path NULL: refused */
        } cases[] = {
                {"unix:///csi/csi.sock", "/csi/csi.sock"},
                {"unix:/csi/csi.sock", "/csi/csi.sock"},
                {"/csi/csi.sock", "/csi/csi.sock"},
                {"unix://csi/csi.sock", "/csi/csi.sock"},
                {"unix:csi.sock", "/csi.sock"},
                {"unix://", NULL},
                {"unix:///", NULL},
                {"/", NULL},
                {"/csi/", NULL},
                {"", NULL},
                {"csi.sock", NULL},
                {"tcp://127.0.0.1:1", NULL},
                {"unix:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                const char *path = NULL;
                char buffer[32];
                Error err = {0};
                int r = args_socket_path(cases[i].endpoint, buffer, sizeof(buffer), &path, &err);

                assert_int_equal(r, cases[i].path ? 0 : -EINVAL);
                if (cases[i].path)
                        assert_string_equal(path, cases[i].path);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_defaults),    cmocka_unit_test(test_every_kind),
                cmocka_unit_test(test_refusals),    cmocka_unit_test(test_help_and_version),
                cmocka_unit_test(test_socket_path),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
