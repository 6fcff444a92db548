/* SPDX-License-Identifier: Apache-2.0 */

/* The first bytes of a disk that may be LUKS, from whoever wrote to it: what is taken is bounded,
 * and bytes behind the header never change it. */

#include "csi/luks/header.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define BINARY_BYTES 4096U

size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t n_max) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t n_max, unsigned int seed);

/* Mostly of the JSON of LUKS2, whose binary header says how long it is. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t n_max, unsigned int seed) {
        if (!LLVMFuzzerMutate)
                return n;
        if (n <= BINARY_BYTES || seed % 4 == 0)
                return LLVMFuzzerMutate(data, n, n_max);
        n = BINARY_BYTES +
            LLVMFuzzerMutate(data + BINARY_BYTES, n - BINARY_BYTES, n_max - BINARY_BYTES);
        for (size_t i = 0; i < 8; i++)
                data[8 + i] = (uint8_t)((uint64_t)n >> (56 - 8 * i));
        return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        LuksHeader header, shorter;

        (void)luks_header_is_used(data, n);

        if (luks_header_parse(data, n, &header) != 0)
                return 0;
        assert(header.version == 1 || header.version == 2);
        assert(strnlen(header.uuid, sizeof(header.uuid)) < sizeof(header.uuid));
        assert(header.memory_bytes <= LUKS_MEMORY_MAX);
        assert(luks_header_parse(data, 208, &shorter) == 0);
        assert(strcmp(header.uuid, shorter.uuid) == 0);
        return 0;
}
