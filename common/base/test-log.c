/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/log.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Runs @write with stderr going to a pipe and returns what came out. */
static char *captured(void (*write_lines)(void)) {
        int saved = dup(STDERR_FILENO), pair[2];
        char *text = NULL;

        assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
        assert_true(dup2(pair[1], STDERR_FILENO) >= 0);
        write_lines();
        assert_true(dup2(saved, STDERR_FILENO) >= 0);
        close(saved);
        close(pair[1]);
        assert_int_equal(file_read_fd(pair[0], 1 << 20, &text, NULL), 0);
        close(pair[0]);
        return text;
}

static void write_sample(void) {
        const LogField fields[] = {{"volume", "pvc-1"}, {"empty", NULL}, {"path", "/a b\n\"c\""}};

        log_fields(LOG_LEVEL_INFO, fields, 3, "done in %d ms", 5);
        log_debug("not written");
}

static void write_long(void) {
        char text[10000];

        memset(text, '"', sizeof(text));
        text[sizeof(text) - 1] = '\0';
        log_info("%s", text);
}

static void write_long_field(void) {
        cleanup(freep) char *path = calloc(1, 8192);
        const LogField fields[] = {
                {"method", "NodeStageVolume"}, {"path", path},       {"target", path},
                {"code", "ABORTED"},           {"duration_ms", "5"},
        };

        assert_non_null(path);
        for (size_t i = 0; i < 8190; i += 2)
                (void)snprintf(path + i, 3, "\xc3\xa9");
        log_fields(LOG_LEVEL_INFO, fields, 5, "told");
}

static void write_obeyed(void) {
        /* NOLINTBEGIN(misc-misleading-bidirectional): what is not obeyed. */
        const LogField field = {"label", "a\xc2\x9b"
                                         "31mb\xe2\x80\xae"
                                         "c\xe2\x81\xa6"
                                         "d\xf3\xa0\x81\x81"
                                         "e\xe2\x80\x8b"
                                         "f\xc3\xa9\xf0\x9f\x90\x84"};
        /* NOLINTEND(misc-misleading-bidirectional) */

        log_fields(LOG_LEVEL_INFO, &field, 1, "x\xc2\x85y");
}

/* What comes after a value that is too long is there all the same. */
static void test_long_values_are_cut_alone(void **state) {
        cleanup(freep) char *text = NULL;

        log_setup(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
        text = captured(write_long_field);
        assert_true(strlen(text) <= LOG_LINE_MAX);
        assert_non_null(strstr(text, " method=NodeStageVolume path="));
        assert_non_null(strstr(text, "... target="));
        assert_non_null(strstr(text, " code=ABORTED duration_ms=5 msg=told\n"));
        for (size_t i = 0; i < strlen(text);) {
                size_t n = str_utf8_length(text + i, strlen(text) - i);

                assert_true(n > 0);
                i += n;
        }
}

/* C1 controls, what turns the direction of writing and what shows as nothing are for no terminal.
 */
static void test_nothing_is_obeyed(void **state) {
        cleanup(freep) char *text = NULL;

        log_setup(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
        text = captured(write_obeyed);
        assert_non_null(strstr(text, "a\\u009b31mb\\u202ec\\u2066d\\udb40\\udc41e\\u200bf"
                                     "\xc3\xa9\xf0\x9f\x90\x84"));
        assert_null(strstr(text, "\xc2"));
}

static void write_no_text(void) {
        const LogField field = {"container", "a\x9b\xff"
                                             "b\xe2\x80"};

        log_fields(LOG_LEVEL_INFO, &field, 1, "told");
}

/* An environment is no text by itself: a line of the log is, in either form. */
static void test_bytes_of_no_text(void **state) {
        cleanup(freep) char *text = NULL, *json = NULL;

        log_setup(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
        text = captured(write_no_text);
        assert_non_null(strstr(text, " container=a??b?? msg=told\n"));
        log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
        json = captured(write_no_text);
        assert_non_null(strstr(json, "\"container\":\"a??b??\""));
}

static void test_logfmt(void **state) {
        cleanup(freep) char *text = NULL;

        log_setup(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
        text = captured(write_sample);
        assert_non_null(strstr(
                text, " level=info volume=pvc-1 path=\"/a b\\n\\\"c\\\"\" msg=\"done in 5 ms\"\n"));
        assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void assert_is_json_line(const char *text) {
        json_error_t error;
        json_t *root = json_loads(text, 0, &error);

        assert_non_null(root);
        assert_string_equal(json_string_value(json_object_get(root, "level")), "info");
        json_decref(root);
}

static void test_json_parses(void **state) {
        cleanup(freep) char *text = NULL, *cut = NULL;

        log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
        text = captured(write_sample);
        assert_is_json_line(text);
        cut = captured(write_long);
        assert_true(strlen(cut) <= LOG_LINE_MAX);
        assert_is_json_line(cut);
}

static void test_names(void **state) {
        LogFormat format;
        LogLevel level;

        assert_int_equal(log_level_parse("debug", &level), 0);
        assert_int_equal(level, LOG_LEVEL_DEBUG);
        assert_int_equal(log_level_parse("loud", &level), -EINVAL);
        assert_int_equal(log_format_parse("json", &format), 0);
        assert_int_equal(log_format_parse("xml", &format), -EINVAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_logfmt),
                cmocka_unit_test(test_long_values_are_cut_alone),
                cmocka_unit_test(test_nothing_is_obeyed),
                cmocka_unit_test(test_bytes_of_no_text),
                cmocka_unit_test(test_json_parses),
                cmocka_unit_test(test_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
