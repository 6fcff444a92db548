/* SPDX-License-Identifier: Apache-2.0 */

/* An answer of a metadata service: the first byte chooses the service, the rest is read by each row
 * of its table. What comes out as a name must be one. */

#include "csi/cloud/metadata_internal.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        const MetadataService *service;
        char *text;

        if (n == 0)
                return 0;
        service = &metadata_services[data[0] % n_metadata_services];
        /* As it comes from the client: with a NUL behind its end. */
        text = malloc(n);
        if (!text)
                return 0;
        memcpy(text, data + 1, n - 1);
        text[n - 1] = '\0';
        for (const MetadataRow *row = service->rows; row->field; row++) {
                char name[METADATA_TEXT_MAX];
                int r = metadata_row_text(row, text, n - 1, name, sizeof(name));

                if (r != 0)
                        continue;
                assert(name[0] != '\0' && strlen(name) < sizeof(name));
                for (const char *c = name; *c; c++)
                        assert((unsigned char)*c >= ' ' && *c != 0x7f);
        }
        assert(metadata_count_lines(text, NULL) >= metadata_count_lines(text, "ebs"));
        free(text);
        return 0;
}
