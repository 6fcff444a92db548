/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/spec/test-support.h"

static void test_find(void **state) {
        json_t *value = json_value("{'HostPort':1,'hostport':2,'x':null,'X':3}");

        assert_int_equal(json_integer_value(json_find(value, "hostPort")), 2);
        assert_int_equal(json_integer_value(json_find(value, "x")), 3);
        assert_null(json_find(value, "y"));
        assert_null(json_find(NULL, "x"));
        json_decref(value);
}

static void test_readers(void **state) {
        json_t *value =
                json_value("{'b':true,'n':7,'neg':-1,'f':1.5,'s':'t','a':['x'],'mixed':['x',"
                           "1],'o':{},'max':18446744073709551615,'e':1e3,'nul':'x\\u0000y',"
                           "'nuls':['\\u0000']}");
        bool flag = false;
        int64_t number = 5;
        uint64_t big = 5;
        const char *text = NULL;
        const json_t *part = NULL;
        Error err = {0};

        assert_int_equal(json_read_bool(value, "B", &flag, &err), 0);
        assert_true(flag);
        assert_int_equal(json_read_number(value, "n", 0, 10, &number, &err), 0);
        assert_int_equal(number, 7);
        assert_int_equal(json_read_number(value, "absent", 0, 10, &number, &err), 0);
        assert_int_equal(number, 7);
        assert_int_equal(json_read_text(value, "s", &text, &err), 0);
        assert_string_equal(text, "t");
        assert_int_equal(json_read_texts(value, "a", &part, &err), 0);
        assert_int_equal(json_read_object(value, "o", &part, &err), 0);
        assert_int_equal(json_read_u64(value, "max", UINT64_MAX, &big, &err), 0);
        assert_int_equal(big, UINT64_MAX);
        assert_false(error_is_set(&err));

        assert_true(json_read_text(value, "nul", &text, &err) < 0);
        assert_string_equal(err.message, "\"nul\" has a NUL in it");
        assert_true(json_read_texts(value, "nuls", &part, &err) < 0);
        assert_string_equal(err.message, "\"nuls\": entry 0 has a NUL in it");
        assert_true(json_read_bool(value, "n", &flag, &err) < 0);
        assert_string_equal(err.message, "\"n\" must be true or false, not a number");
        assert_true(json_read_number(value, "s", 0, 10, &number, &err) < 0);
        assert_string_equal(err.message, "\"s\" must be a number, not a string");
        assert_true(json_read_number(value, "f", 0, 10, &number, &err) < 0);
        assert_string_equal(err.message, "\"f\" must be a number, not a fraction");
        assert_true(json_read_number(value, "n", 0, 6, &number, &err) < 0);
        assert_true(json_read_u64(value, "neg", 10, &big, &err) < 0);
        assert_true(json_read_u64(value, "e", 10, &big, &err) < 0);
        assert_true(json_read_text(value, "a", &text, &err) < 0);
        assert_true(json_read_texts(value, "mixed", &part, &err) < 0);
        assert_contains(err.message, "entry 1 is a number");
        assert_int_equal(err.code, ERROR_INVALID);
        json_decref(value);
}

/* Numbers that Go reads and jansson does not; what looks like one inside a string stays. */
static void test_wide_numbers(void **state) {
        json_t *value = json_value(
                "{'s':'\\'18446744073709551615','n':[18446744073709551615,-922337203685477580,"
                "99999999999999999999999,1e5,12345678901234567890.5],'k':7}");
        json_t *list = json_object_get(value, "n");

        assert_string_equal(json_string_value(json_object_get(value, "s")),
                            "\"18446744073709551615");
        assert_int_equal(json_array_size(list), 5);
        assert_true(json_is_real(json_array_get(list, 0)));
        assert_int_equal(json_integer_value(json_array_get(list, 1)), -922337203685477580);
        assert_int_equal(json_integer_value(json_object_get(value, "k")), 7);
        json_decref(value);
}

static void test_limits(void **state) {
        char deep[200];
        json_t *value = NULL;
        Error err = {0};

        memset(deep, '[', 100);
        memset(deep + 100, ']', 100);
        assert_true(json_text_parse(deep, sizeof(deep), &value, &err) < 0);
        assert_int_equal(err.code, ERROR_RANGE);
        assert_int_equal(json_text_parse(deep + 36, 128, &value, &err), 0);
        json_decref(value);
        /* Brackets inside a string are none. */
        memcpy(deep, "\"[[[[[[\\\"[[[\"", 14);
        assert_int_equal(json_text_parse(deep, 13, &value, &err), 0);
        json_decref(value);
        err = (Error){0};
        assert_true(json_text_parse("{\"a\": 1,\n ,}", 12, &value, &err) < 0);
        assert_contains(err.message, "line 2");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_find),
                cmocka_unit_test(test_readers),
                cmocka_unit_test(test_wide_numbers),
                cmocka_unit_test(test_limits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
