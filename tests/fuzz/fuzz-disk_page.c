/* SPDX-License-Identifier: Apache-2.0 */

/* What a disk says of itself: page 0x80, page 0x83 and NVMe vendor data are all read from the same
 * bytes. What comes out is text that a message can hold. */

#include "csi/cloud/disk_page.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_text(const char *text) {
        assert(text[0] != '\0' && strlen(text) < DISK_TEXT_MAX);
        for (const char *c = text; *c; c++)
                assert((unsigned char)*c >= ' ' && *c != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        Designator *found = calloc(DESIGNATORS_MAX, sizeof(*found));
        char text[DISK_TEXT_MAX];
        size_t n_found = 0;

        if (!found)
                return 0;
        if (disk_page_80(data, n, text) == 0)
                check_text(text);
        if (disk_nvme_name(data, n, text) == 0)
                check_text(text);
        if (disk_page_83(data, n, found, &n_found) == 0) {
                assert(n_found <= DESIGNATORS_MAX);
                for (size_t i = 0; i < n_found; i++) {
                        check_text(found[i].text);
                        if (found[i].type == DESIGNATOR_NAA)
                                (void)disk_hex_equal(found[i].text, found[0].text);
                }
        }
        free(found);
        return 0;
}
