/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "common/base/arguments.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct option options[] = {
        {"endpoint", required_argument, NULL, 'e'},
        {"metrics", optional_argument, NULL, 'm'},
        {"dry-run", no_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
};

/* Reads all of it. Return: the vals in one text, or the error. */
static const char *read_all(const char *shorts, const char *const *words, size_t n) {
        static char text[600];
        char *argv[8] = {NULL};
        size_t n_text = 0;
        Error err = {0};
        int c;

        for (size_t i = 0; i < n; i++)
                argv[i] = (char *)(uintptr_t)words[i];
        optind = 0;
        while ((c = arguments_next((int)n, argv, shorts, options, &err)) > 0)
                n_text += (size_t)snprintf(text + n_text, sizeof(text) - n_text, "%c%s%s%s", c,
                                           optarg ? "(" : "", optarg ? optarg : "",
                                           optarg ? ")" : "");
        if (c == -EINVAL)
                return memcpy(text, err.message, strlen(err.message) + 1);
        assert_int_equal(c, ARGUMENTS_END);
        (void)snprintf(text + n_text, sizeof(text) - n_text, " %zu", n - (size_t)optind);
        return text;
}

static void test_options(void **state) {
        static const struct {
                const char *words[5];
                size_t n;
                const char *shorts, *expected;
        } cases[] = {
                {{"x"}, 1, ":h", " 0"},
                {{"x", "--endpoint", "/a", "--dry-run"}, 4, ":h", "e(/a)d 0"},
                {{"x", "--endpoint=/a", "-h"}, 3, ":h", "e(/a)h 0"},
                {{"x", "--endpoint", "--dry-run"}, 3, ":h", "e(--dry-run) 0"},
                {{"x", "--metrics", "false"}, 3, ":h", "m 1"},
                {{"x", "--metrics=false"}, 2, ":h", "m(false) 0"},
                {{"x", "a", "--dry-run", "b"}, 4, ":h", "d 2"},
                {{"x", "a", "--dry-run", "b"}, 4, "+:h", " 3"},
                {{"x", "--", "--nosuch"}, 3, ":h", " 1"},
                {{"x", "--nosuch"}, 2, ":h", "unknown flag --nosuch"},
                {{"x", "--endpiont=/a"},
                 2,
                 ":h",
                 "unknown flag --endpiont; did you mean --endpoint?"},
                {{"x", "-endpoint", "/a"},
                 3,
                 ":h",
                 "unknown flag -endpoint; did you mean --endpoint?"},
                {{"x", "a", "-endpoint"},
                 3,
                 ":h",
                 "unknown flag -endpoint; did you mean --endpoint?"},
                /* A shortened name is none, with a value in the next argument either. */
                {{"x", "--dry"}, 2, ":h", "unknown flag --dry; did you mean --dry-run?"},
                {{"x", "--dry-ru"}, 2, ":h", "unknown flag --dry-ru; did you mean --dry-run?"},
                {{"x", "--endpoin", "/a"},
                 3,
                 ":h",
                 "unknown flag --endpoin; did you mean --endpoint?"},
                {{"x", "--endpoint"}, 2, ":h", "--endpoint: its value is missing"},
                {{"x", "--dry-run=yes"}, 2, ":h", "--dry-run takes no value"},
                {{"x", "-q"}, 2, ":h", "unknown flag -q"},
                {{"x", "-e"}, 2, ":h", "unknown flag -e"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                assert_string_equal(read_all(cases[i].shorts, cases[i].words, cases[i].n),
                                    cases[i].expected);
}

static const char *nearest(const char *given) {
        static const char *const names[] = {"gc", "status", "check", "repair", "list", "install"};
        static char text[64];
        Nearest found = {.given = given, .n_given = strlen(given)};

        for (size_t i = 0; i < N_ELEMENTS(names); i++)
                nearest_offer(&found, names[i]);
        return nearest_text(&found, "", text, sizeof(text));
}

static void test_nearest(void **state) {
        char longer[200];

        assert_string_equal(nearest("stauts"), "; did you mean status?");
        assert_string_equal(nearest("cheek"), "; did you mean check?");
        assert_string_equal(nearest("insttall"), "; did you mean install?");
        assert_string_equal(nearest("lists"), "; did you mean list?");
        assert_string_equal(nearest("uninstall"), "");
        assert_string_equal(nearest(""), "");
        assert_string_equal(nearest("ls"), "");
        assert_string_equal(nearest("xx"), "");
        memset(longer, 'a', sizeof(longer));
        longer[sizeof(longer) - 1] = '\0';
        assert_string_equal(nearest(longer), "");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_options),
                cmocka_unit_test(test_nearest),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
