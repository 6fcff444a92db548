/* SPDX-License-Identifier: Apache-2.0 */

/* The first bytes of a disk that may be LUKS, from whoever wrote to it: what is taken is bounded,
 * and bytes behind the header never change it. */

#include "csi/crypt/header.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        LuksHeader header, shorter;

        if (luks_header_parse(data, n, &header) != 0)
                return 0;
        assert(header.version == 1 || header.version == 2);
        assert(strnlen(header.uuid, sizeof(header.uuid)) < sizeof(header.uuid));
        assert(header.memory_bytes <= LUKS_MEMORY_MAX);
        assert(luks_header_parse(data, 208, &shorter) == 0);
        assert(strcmp(header.uuid, shorter.uuid) == 0);
        return 0;
}
