/* SPDX-License-Identifier: Apache-2.0 */

/* A disk with the label of a configuration drive: the first byte says which of the two filesystems,
 * so that an image of ISO 9660 need not begin with 32 KiB of nothing. */

#include "csi/cloud/drive.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 65536U

typedef struct Image {
        const uint8_t *data;
        size_t n;
        uint64_t begin;
} Image;

static int read_image(void *userdata, uint64_t offset, void *buffer, size_t n) {
        const Image *image = userdata;

        if (offset < image->begin || offset - image->begin > image->n ||
            n > image->n - (offset - image->begin))
                return -ENODATA;
        memcpy(buffer, image->data + (offset - image->begin), n);
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        static const char *const path[] = {"openstack", "latest", "meta_data.json", NULL};
        Image image = {data + 1, n - 1, n > 0 && data[0] == 'i' ? 32768 : 0};
        const DriveReader reader = {read_image, &image};
        char *text = NULL;
        size_t n_text = 0;
        int r;

        if (n == 0)
                return 0;
        r = drive_read_file(&reader, "config-2", path, LIMIT, &text, &n_text);
        assert(r <= DRIVE_E_OTHER);
        assert((r == 0) == (text != NULL));
        assert(r != 0 || (n_text <= LIMIT && text[n_text] == '\0'));
        free(text);
        return 0;
}
