/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "common/http/http.h"

#include "common/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_requests(void **state) {
        static const struct {
                const char *bytes;
                int r;
                const char *path;
                bool is_head;
        } cases[] = {
                {"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 0, "/healthz", false},
                {"GET /healthz HTTP/1.0\r\n\r\n", 0, "/healthz", false},
                {"HEAD /metrics HTTP/1.1\n\n", 0, "/metrics", true},
                {"GET /healthz?verbose=1&x HTTP/1.1\r\nA: b\n\r\n", 0, "/healthz", false},
                {"GET / HTTP/1.1\r\n\r\nand more", 0, "/", false},
                {"", HTTP_E_MORE, NULL, false},
                {"GET /healthz HTTP/1.1\r\n", HTTP_E_MORE, NULL, false},
                {"GET /healthz HTTP/1.1\r\nHost: a\r\n", HTTP_E_MORE, NULL, false},
                {"POST /healthz HTTP/1.1\r\n\r\n", HTTP_E_NOT_ALLOWED, NULL, false},
                {"get /healthz HTTP/1.1\r\n\r\n", HTTP_E_NOT_ALLOWED, NULL, false},
                {"GET /healthz HTTP/2.0\r\n\r\n", HTTP_E_BAD, NULL, false},
                {"GET /healthz HTTP/1.2\r\n\r\n", HTTP_E_BAD, NULL, false},
                {"GET /healthz HTTP/1.11\r\n\r\n", HTTP_E_BAD, NULL, false},
                {"GET /healthz\r\n\r\n", HTTP_E_BAD, NULL, false},
                {"GET  /healthz HTTP/1.1\r\n\r\n", HTTP_E_BAD, NULL, false},
                {"GET /healthz HTTP/1.1 x\r\n\r\n", HTTP_E_BAD, NULL, false},
                {"GET http://a/healthz HTTP/1.1\r\n\r\n", HTTP_E_BAD, NULL, false},
                {"GET /heal\tthz HTTP/1.1\r\n\r\n", HTTP_E_BAD, NULL, false},
                {"GET /\x80 HTTP/1.1\r\n\r\n", HTTP_E_BAD, NULL, false},
                {"\r\n\r\n", HTTP_E_BAD, NULL, false},
                {"\n\n", HTTP_E_BAD, NULL, false},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                HttpRequest request;

                assert_int_equal(
                        http_parse_request(cases[i].bytes, strlen(cases[i].bytes), &request),
                        cases[i].r);
                if (cases[i].r != 0)
                        continue;
                assert_string_equal(request.path, cases[i].path);
                assert_int_equal(request.is_head, cases[i].is_head);
        }
}

static void test_bounds(void **state) {
        char bytes[HTTP_REQUEST_MAX + 1];
        HttpRequest request;

        memset(bytes, 'a', sizeof(bytes));
        assert_int_equal(http_parse_request(bytes, HTTP_REQUEST_MAX - 1, &request), HTTP_E_MORE);
        assert_int_equal(http_parse_request(bytes, HTTP_REQUEST_MAX, &request), HTTP_E_BAD);
        assert_int_equal(http_parse_request(bytes, HTTP_REQUEST_MAX + 1, &request), HTTP_E_BAD);

        /* The longest path, and one more. */
        (void)snprintf(bytes, sizeof(bytes), "GET /%0254d HTTP/1.1\n\n", 0);
        assert_int_equal(http_parse_request(bytes, strlen(bytes), &request), 0);
        assert_int_equal(strlen(request.path), 255);
        (void)snprintf(bytes, sizeof(bytes), "GET /%0255d HTTP/1.1\n\n", 0);
        assert_int_equal(http_parse_request(bytes, strlen(bytes), &request), HTTP_E_BAD);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_requests),
                cmocka_unit_test(test_bounds),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
