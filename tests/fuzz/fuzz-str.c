/* SPDX-License-Identifier: Apache-2.0 */

/* Numbers, sizes and UTF-8 from foreign text: what is accepted means what a slow reading of it
 * means. */

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "tests/fuzz/fuzz.h"

static void check_u64(const char *text) {
        uint64_t value, again = 0;

        if (str_parse_u64(text, UINT64_MAX, &value) == 0) {
                for (const char *c = text; *c; c++)
                        again = again * 10 + (uint64_t)(*c - '0');
                assert(value == again);
                assert(value == 0 || str_parse_u64(text, value - 1, &again) == -ERANGE);
        }
        if (str_parse_size(text, &value) == 0)
                assert(text[0] >= '0' && text[0] <= '9');
        (void)str_parse_hex_u64(text, UINT64_MAX, &value);
}

static void check_utf8(char *text, size_t n) {
        str_make_utf8(text);
        assert(strlen(text) == n);
        for (size_t i = 0; i < n;) {
                size_t step = str_utf8_length(text + i, n - i);

                assert(step >= 1 && step <= 4);
                i += step;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        cleanup(freep) char *text = malloc(n + 1);

        assert(text);
        if (n)
                memcpy(text, data, n);
        text[n] = '\0';
        check_u64(text);
        str_trim_end(text);
        check_utf8(text, strlen(text));
        return 0;
}
