/* SPDX-License-Identifier: Apache-2.0 */

/* The bytes of an HTTP request: what is accepted is a path that the bytes begin with, and more
 * bytes never make a request of another meaning. */

#include "common/http/http.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        const char *bytes = (const char *)data;
        int last = HTTP_E_MORE;
        HttpRequest request;

        for (size_t cut = 0; cut <= n && last == HTTP_E_MORE; cut++) {
                last = http_parse_request(bytes, cut, &request);
                if (last != 0)
                        continue;
                assert(request.path[0] == '/');
                assert(memcmp(request.path, bytes + (request.is_head ? 5 : 4),
                              strlen(request.path)) == 0);
        }
        (void)http_parse_request(bytes, n, &request);
        return 0;
}
