/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "csi/cloud/metadata_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A row cannot be asked for if the table forgets one of its parts. */
static void test_table(void **state) {
        MetadataNode node;

        for (size_t i = 0; i < n_metadata_services; i++) {
                const MetadataService *service = &metadata_services[i];
                bool has_id = false;
                size_t n_rows = 0;

                assert_ptr_equal(metadata_service_find(service->name), service);
                assert_non_null(service->bases[0]);
                for (size_t j = 0; j < N_ELEMENTS(service->bases) && service->bases[j]; j++) {
                        assert_true(str_has_prefix(service->bases[j], "http://"));
                        assert_false(str_has_suffix(service->bases[j], "/"));
                }
                assert_int_equal(service->token_path != NULL, service->token_header != NULL);
                assert_int_equal(service->token_path != NULL, service->token_seconds != 0);
                assert_int_equal(service->answer_header != NULL, service->answer_value != NULL);
                for (const MetadataRow *row = service->rows; row->field; row++) {
                        assert_true(row->path[0] == '/');
                        assert_non_null(metadata_node_field(&node, row->field));
                        /* Azure's and GCE's node IDs are made of the name. */
                        has_id |= row->flags & METADATA_ROW_REQUIRED &&
                                  (row->field == METADATA_FIELD_INSTANCE_ID ||
                                   row->field == METADATA_FIELD_NAME);
                        n_rows++;
                }
                assert_true(has_id);
                assert_in_range(n_rows, 2, METADATA_ROWS_MAX);
        }
        assert_null(metadata_service_find("aw"));
        assert_null(metadata_service_find(NULL));
}

static void test_json_text(void **state) {
        static const char text[] =
                "{\"a\": {\"b\": \"x\", \"n\": 447812345, \"f\": 1.5, \"o\": null,"
                " \"t\": true, \"l\": [1], \"e\": \"\", \"u\": \"z\\u00fcrich\","
                " \"bad\": \"line\\nbreak\", \"long\": \"12345678901234567\"},"
                " \"neg\": -5}";
        static const struct {
                const char *path;
                int r;
                const char *value;
        } cases[] = {
                {"a.b", 0, "x"},        {"a.n", 0, "447812345"},     {"neg", 0, "-5"},
                {"a.e", 0, ""},         {"a.u", 0, "z\xc3\xbcrich"}, {"a.o", -ENOENT, NULL},
                {"a.x", -ENOENT, NULL}, {"a.b.c", -ENOENT, NULL},    {"x.b", -ENOENT, NULL},
                {"a", -EINVAL, NULL},   {"a.f", -EINVAL, NULL},      {"a.t", -EINVAL, NULL},
                {"a.l", -EINVAL, NULL}, {"a.bad", -EINVAL, NULL},    {"a.long", -EINVAL, NULL},
        };
        json_t *json = NULL;

        assert_int_equal(metadata_json_parse(text, strlen(text), &json), 0);
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                char buffer[16] = "untouched";

                assert_int_equal(metadata_json_text(json, cases[i].path, buffer, sizeof(buffer)),
                                 cases[i].r);
                assert_string_equal(buffer, cases[i].value ? cases[i].value : "untouched");
        }
        json_decref(json);
}

static void test_json_limits(void **state) {
        cleanup(freep) char *deep = malloc(100001), *long_one = malloc(METADATA_ANSWER_MAX + 2);
        static const char strings[] = "[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[\"]";
        json_t *json = NULL;

        assert_non_null(deep);
        assert_non_null(long_one);
        memset(deep, '[', 100000);
        assert_int_equal(metadata_json_parse(deep, 100000, &json), -EFBIG);
        assert_int_equal(metadata_json_parse(deep, METADATA_DEPTH_MAX, &json), -EINVAL);
        memset(long_one, ' ', METADATA_ANSWER_MAX + 1);
        long_one[0] = '1';
        assert_int_equal(metadata_json_parse(long_one, METADATA_ANSWER_MAX + 1, &json), -EFBIG);
        assert_int_equal(metadata_json_parse("", 0, &json), -EINVAL);
        assert_int_equal(metadata_json_parse("{\"a\":1", 6, &json), -EINVAL);
        assert_int_equal(metadata_json_parse("{} {}", 5, &json), -EINVAL);
        assert_int_equal(metadata_json_parse("{\"a\":\"\xff\"}", 9, &json), -EINVAL);
        assert_null(json);
        assert_int_equal(metadata_json_parse(strings, strlen(strings), &json), 0);
        json_decref(json);
}

static void test_rows(void **state) {
        static const MetadataRow plain = {METADATA_FIELD_NAME, 0, "/", NULL};
        static const MetadataRow last = {METADATA_FIELD_ZONE, METADATA_ROW_LAST_ELEMENT, "/", NULL};
        static const MetadataRow inner = {METADATA_FIELD_ZONE, 0, "/", "a.zone"};
        static const struct {
                const MetadataRow *row;
                const char *text;
                size_t n;
                int r;
                const char *value;
        } cases[] = {
                {&plain, "i-1\n", 4, 0, "i-1"},
                {&plain, " \r\n x y \t\n", 10, 0, "x y"},
                {&plain, "", 0, -ENOENT, NULL},
                {&plain, "\n", 1, -ENOENT, NULL},
                {&plain, "a\0b", 3, -EINVAL, NULL},
                {&plain, "a\nb", 3, -EINVAL, NULL},
                {&plain, "\xff", 1, -EINVAL, NULL},
                {&plain, "123456789012345678901234567890123", 33, -EINVAL, NULL},
                {&last, "projects/12/zones/europe-west1-b", 32, 0, "europe-west1-b"},
                {&last, "europe-west1-b", 14, 0, "europe-west1-b"},
                {&last, "zones/", 6, -ENOENT, NULL},
                {&inner, "{\"a\":{\"zone\":\"1\"}}", 18, 0, "1"},
                {&inner, "{\"a\":{\"zone\":\"\"}}", 17, -ENOENT, NULL},
                {&inner, "<html>", 6, -EINVAL, NULL},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                char buffer[33] = "";

                assert_int_equal(metadata_row_text(cases[i].row, cases[i].text, cases[i].n, buffer,
                                                   sizeof(buffer)),
                                 cases[i].r);
                if (cases[i].value)
                        assert_string_equal(buffer, cases[i].value);
        }
}

static void test_count_lines(void **state) {
        assert_int_equal(metadata_count_lines("", NULL), 0);
        assert_int_equal(metadata_count_lines("0e:49:61:0f:c3:11/", NULL), 1);
        assert_int_equal(metadata_count_lines("02:1/\n02:2/\n", NULL), 2);
        assert_int_equal(metadata_count_lines("\n\nx\n\n", NULL), 1);
        assert_int_equal(metadata_count_lines("ami\nebs1\nroot\nebs2", "ebs"), 2);
}

static void test_client_config(void **state) {
        MetadataConfig config = {.service = metadata_service_find("aws"), .base_url = "https://x"};
        MetadataClient *client = NULL;
        Error err = {0};

        assert_true(metadata_client_new(&client, &config, &err) < 0);
        assert_int_equal(err.code, ERROR_INVALID);
        assert_null(client);
        config.base_url = "http://127.0.0.1:1///";
        config.max_tries = 1;
        assert_int_equal(metadata_client_new(&client, &config, &err), 0);
        metadata_client_free(client);
        metadata_client_free(NULL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_table),       cmocka_unit_test(test_json_text),
                cmocka_unit_test(test_json_limits), cmocka_unit_test(test_rows),
                cmocka_unit_test(test_count_lines), cmocka_unit_test(test_client_config),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
