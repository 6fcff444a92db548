/* SPDX-License-Identifier: Apache-2.0 */

/* The bytes of an HTTP request: what is accepted is a path that the bytes begin with, as soon as
 * the head is there and not before. Only the cuts around its end are tried: each of 4,096 would
 * take the square of that. */

#include "common/http/http.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* Where the empty line ends, or @n. */
static size_t head_end(const char *bytes, size_t n) {
        for (size_t i = 1; i < n; i++)
                if (bytes[i] == '\n' && (bytes[i - 1] == '\n' ||
                                         (i > 1 && bytes[i - 1] == '\r' && bytes[i - 2] == '\n')))
                        return i + 1;
        return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        const char *bytes = (const char *)data;
        size_t end = head_end(bytes, n), first = end > 2 ? end - 2 : 0;
        HttpRequest request;

        for (size_t cut = first; cut <= end; cut++)
                if (http_parse_request(bytes, cut, &request) == 0) {
                        assert(cut == end && request.path[0] == '/');
                        assert(memcmp(request.path, bytes + (request.is_head ? 5 : 4),
                                      strlen(request.path)) == 0);
                }
        (void)http_parse_request(bytes, n / 2, &request);
        (void)http_parse_request(bytes, n, &request);
        return 0;
}
