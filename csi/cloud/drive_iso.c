/* SPDX-License-Identifier: Apache-2.0 */

/* ISO 9660. Names are those of the primary tree, or Joliet's where the primary has them cut. */

#include "csi/cloud/drive_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <string.h>
#include <strings.h>

#define SECTOR          2048U
#define FIRST_SECTOR    16U
#define DESCRIPTORS_MAX 16U
#define NAME_AT         33U
#define FLAG_DIRECTORY  0x02U
#define FLAG_MORE       0x80U

typedef struct Extent {
        uint32_t block, n_bytes;
        bool is_directory;
} Extent;

/* "META_DATA.JSON;1", or the same in two bytes a character. */
static bool is_name(const uint8_t *text, size_t n, bool joliet, const char *name) {
        char plain[128];
        size_t step = joliet ? 2 : 1, n_plain = 0;

        for (size_t i = 0; i + step <= n && n_plain + 1 < sizeof(plain); i += step) {
                if (joliet && text[i] != 0)
                        return false;
                plain[n_plain++] = (char)text[i + step - 1];
        }
        plain[n_plain] = '\0';
        plain[strcspn(plain, ";")] = '\0';
        n_plain = strlen(plain);
        if (n_plain > 0 && plain[n_plain - 1] == '.')
                plain[n_plain - 1] = '\0';
        return strcasecmp(plain, name) == 0;
}

/* One that goes on in another extent is larger than anything asked for here. */
static int take_record(const uint8_t *record, Extent *found) {
        *found = (Extent){drive_le32(record + 2), drive_le32(record + 10),
                          (record[25] & FLAG_DIRECTORY) != 0};
        return record[25] & FLAG_MORE ? -EFBIG : 0;
}

static int find_in_sector(const uint8_t sector[SECTOR], bool joliet, const char *name,
                          Extent *found) {
        for (size_t at = 0; at < SECTOR && sector[at] != 0; at += sector[at]) {
                const uint8_t *record = sector + at;
                size_t n = record[0];

                if (n < NAME_AT + 1 || n > SECTOR - at || NAME_AT + record[32] > n)
                        return -EBADMSG;
                if (is_name(record + NAME_AT, record[32], joliet, name))
                        return take_record(record, found);
        }
        return -ENOENT;
}

static int find(const DriveReader *reader, const Extent *directory, bool joliet, const char *name,
                Extent *found) {
        uint32_t n_bytes = directory->n_bytes;
        int r = -ENOENT;

        if (!directory->is_directory)
                return -ENOTDIR;
        if (n_bytes > DRIVE_DIRECTORY_MAX)
                n_bytes = DRIVE_DIRECTORY_MAX;
        for (uint32_t at = 0; at < n_bytes && r == -ENOENT; at += SECTOR) {
                uint8_t sector[SECTOR];

                r = reader->read(reader->userdata, (uint64_t)directory->block * SECTOR + at, sector,
                                 sizeof(sector));
                if (r == 0)
                        r = find_in_sector(sector, joliet, name, found);
        }
        return r;
}

static int walk(const DriveReader *reader, const Extent *root, bool joliet, const char *const *path,
                Extent *found) {
        Extent at = *root;
        int r = 0;

        for (; *path && r == 0; path++) {
                Extent next = {0};

                r = find(reader, &at, joliet, *path, &next);
                at = next;
        }
        *found = at;
        return r;
}

static int read_extent(const DriveReader *reader, const Extent *file, size_t limit, char **textp,
                       size_t *n_textp) {
        cleanup(freep) char *text = NULL;
        int r;

        if (file->is_directory)
                return -EISDIR;
        if (file->n_bytes > limit)
                return -EFBIG;
        text = calloc(1, (size_t)file->n_bytes + 1);
        if (!text)
                return -ENOMEM;
        r = file->n_bytes == 0 ? 0
                               : reader->read(reader->userdata, (uint64_t)file->block * SECTOR,
                                              text, file->n_bytes);
        if (r < 0)
                return r;
        *n_textp = file->n_bytes;
        *textp = ptr_steal(&text);
        return 0;
}

/* Escape sequences of UCS-2 level 1 to 3. */
static bool is_joliet(const uint8_t *descriptor) {
        return descriptor[0] == 2 && descriptor[88] == '%' && descriptor[89] == '/' &&
               strchr("@CE", descriptor[90]) && descriptor[90] != '\0';
}

int drive_iso(const DriveReader *reader, const char *label, const char *const *path, size_t limit,
              char **textp, size_t *n_textp) {
        Extent file = {0};
        int r = -ENOENT;

        for (uint32_t i = 0; i < DESCRIPTORS_MAX && r == -ENOENT; i++) {
                uint8_t descriptor[SECTOR];
                Extent root;
                int error = reader->read(reader->userdata, (uint64_t)(FIRST_SECTOR + i) * SECTOR,
                                         descriptor, sizeof(descriptor));

                if (error < 0 || memcmp(descriptor + 1, "CD001", 5) != 0)
                        return i == 0 ? DRIVE_E_OTHER : error < 0 ? error : -EBADMSG;
                /* The first one is the primary, whose label counts. */
                if (i == 0 && (descriptor[0] != 1 || !drive_is_label(descriptor + 40, 32, label)))
                        return DRIVE_E_OTHER;
                if (descriptor[0] == 255)
                        break;
                if (drive_le16(descriptor + 128) != SECTOR)
                        return -EBADMSG;
                if (descriptor[0] != 1 && !is_joliet(descriptor))
                        continue;
                (void)take_record(descriptor + 156, &root);
                r = walk(reader, &root, descriptor[0] != 1, path, &file);
        }
        return r < 0 ? r : read_extent(reader, &file, limit, textp, n_textp);
}
