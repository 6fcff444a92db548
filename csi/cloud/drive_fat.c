/* SPDX-License-Identifier: Apache-2.0 */

/* FAT12, FAT16 and FAT32, with long names. */

#include "csi/cloud/drive_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <string.h>
#include <strings.h>

#define ENTRY_BYTES    32U
#define LONG_PIECE     13U /* characters in one entry of a long name */
#define LONG_PIECES    20U
#define ATTRIBUTE_LONG 0x0fU
#define ATTRIBUTE_NAME 0x08U
#define ATTRIBUTE_DIR  0x10U

typedef struct Fat {
        const DriveReader *reader;
        unsigned int bits; /* 12, 16, 32 */
        uint32_t cluster_bytes, n_clusters, root_cluster;
        uint64_t fat_at, root_at, root_bytes, data_at;
} Fat;

typedef struct Entry {
        uint32_t cluster, n_bytes;
        bool is_directory;
} Entry;

/* --- the boot sector --- */

static int parse(const uint8_t boot[512], Fat *fat) {
        uint32_t sector = drive_le16(boot + 11), per_cluster = boot[13];
        uint32_t reserved = drive_le16(boot + 14), n_fats = boot[16];
        uint32_t root_entries = drive_le16(boot + 17);
        uint64_t n_sectors = drive_le16(boot + 19) ? drive_le16(boot + 19) : drive_le32(boot + 32);
        uint64_t fat_sectors =
                drive_le16(boot + 22) ? drive_le16(boot + 22) : drive_le32(boot + 36);
        uint64_t root_sectors, first;

        if (sector < 512 || sector > 4096 || (sector & (sector - 1)) || per_cluster == 0 ||
            (per_cluster & (per_cluster - 1)) || reserved == 0 || n_fats == 0 || n_fats > 4 ||
            fat_sectors == 0)
                return -EBADMSG;
        root_sectors = ((uint64_t)root_entries * ENTRY_BYTES + sector - 1) / sector;
        first = reserved + n_fats * fat_sectors + root_sectors;
        if (first >= n_sectors)
                return -EBADMSG;
        fat->cluster_bytes = sector * per_cluster;
        fat->n_clusters = (uint32_t)((n_sectors - first) / per_cluster);
        fat->bits = fat->n_clusters < 4085 ? 12 : fat->n_clusters < 65525 ? 16 : 32;
        fat->fat_at = (uint64_t)reserved * sector;
        fat->root_at = (reserved + n_fats * fat_sectors) * sector;
        fat->root_bytes = (uint64_t)root_entries * ENTRY_BYTES;
        fat->data_at = first * sector;
        fat->root_cluster = fat->bits == 32 ? drive_le32(boot + 44) : 0;
        return 0;
}

/* --- chains --- */

/* 0: the chain ends here, or is broken: what is read of it is short, which the caller sees. */
static int next_cluster(const Fat *fat, uint32_t cluster, uint32_t *nextp) {
        uint64_t at = fat->bits == 12 ? cluster + cluster / 2 : (uint64_t)cluster * (fat->bits / 8);
        uint8_t bytes[4] = {0};
        uint32_t value;
        int r = fat->reader->read(fat->reader->userdata, fat->fat_at + at, bytes,
                                  fat->bits == 32 ? 4 : 2);

        if (r < 0)
                return r;
        value = drive_le32(bytes);
        if (fat->bits == 12)
                value = cluster & 1 ? value >> 4 : value & 0xfff;
        value &= 0x0fffffff;
        *nextp = value >= 2 && value < fat->n_clusters + 2 ? value : 0;
        return 0;
}

/* At most @n bytes; *@np: how many there were. Each round fills some, so that a ring ends. */
static int read_chain(const Fat *fat, uint32_t cluster, uint8_t *buffer, size_t n, size_t *np) {
        size_t at = 0;

        while (at < n && cluster >= 2 && cluster < fat->n_clusters + 2) {
                size_t left = n - at, piece = left < fat->cluster_bytes ? left : fat->cluster_bytes;
                int r = fat->reader->read(fat->reader->userdata,
                                          fat->data_at +
                                                  (uint64_t)(cluster - 2) * fat->cluster_bytes,
                                          buffer + at, piece);

                if (r == 0)
                        r = next_cluster(fat, cluster, &cluster);
                if (r < 0)
                        return r;
                at += piece;
        }
        *np = at;
        return 0;
}

/* --- directories --- */

typedef struct LongName {
        char text[LONG_PIECE * LONG_PIECES + 1];
        bool is_used;
} LongName;

static void take_long(LongName *name, const uint8_t *entry) {
        static const uint8_t places[LONG_PIECE] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
        unsigned int piece = entry[0] & 0x1fU;

        if (piece == 0 || piece > LONG_PIECES)
                return;
        if (entry[0] & 0x40) {
                memset(name, 0, sizeof(*name));
                name->is_used = true;
        }
        for (size_t i = 0; i < LONG_PIECE; i++) {
                uint32_t c = drive_le16(entry + places[i]);

                name->text[(piece - 1) * LONG_PIECE + i] = (char)(c == 0 || c == 0xffff ? 0U
                                                                  : c < 0x80            ? c
                                                                                        : '?');
        }
}

/* "META    TXT" as "META.TXT" */
static void short_name(const uint8_t *entry, char name[13]) {
        size_t n = 0;

        for (size_t i = 0; i < 8 && entry[i] != ' '; i++)
                name[n++] = (char)entry[i];
        if (entry[8] != ' ')
                name[n++] = '.';
        for (size_t i = 8; i < 11 && entry[i] != ' '; i++)
                name[n++] = (char)entry[i];
        name[n] = '\0';
}

static int find_entry(const uint8_t *entries, size_t n, const char *wanted, Entry *found) {
        LongName name = {0};

        for (size_t at = 0; at + ENTRY_BYTES <= n && entries[at] != 0; at += ENTRY_BYTES) {
                const uint8_t *entry = entries + at;
                char brief[13];

                if (entry[0] != 0xe5 && (entry[11] & 0x3f) == ATTRIBUTE_LONG) {
                        take_long(&name, entry);
                        continue;
                }
                short_name(entry, brief);
                if (entry[0] != 0xe5 && !(entry[11] & ATTRIBUTE_NAME) &&
                    (strcasecmp(brief, wanted) == 0 ||
                     (name.is_used && strcasecmp(name.text, wanted) == 0))) {
                        *found = (Entry){drive_le16(entry + 26) | drive_le16(entry + 20) << 16,
                                         drive_le32(entry + 28), (entry[11] & ATTRIBUTE_DIR) != 0};
                        return 0;
                }
                name.is_used = false;
        }
        return -ENOENT;
}

static int read_directory(const Fat *fat, const Entry *directory, uint8_t *buffer, size_t *np) {
        if (directory->cluster != 0)
                return read_chain(fat, directory->cluster, buffer, DRIVE_DIRECTORY_MAX, np);
        *np = fat->root_bytes < DRIVE_DIRECTORY_MAX ? (size_t)fat->root_bytes : DRIVE_DIRECTORY_MAX;
        return fat->reader->read(fat->reader->userdata, fat->root_at, buffer, *np);
}

static int walk(const Fat *fat, const char *const *path, Entry *found) {
        cleanup(freep) uint8_t *buffer = calloc(1, DRIVE_DIRECTORY_MAX);
        Entry at = {.cluster = fat->root_cluster, .is_directory = true};

        if (!buffer)
                return -ENOMEM;
        for (; *path; path++) {
                size_t n = 0;
                int r = at.is_directory ? read_directory(fat, &at, buffer, &n) : -ENOTDIR;

                if (r == 0)
                        r = find_entry(buffer, n, *path, &at);
                if (r < 0)
                        return r;
                if (fat->bits != 32)
                        at.cluster &= 0xffff;
        }
        *found = at;
        return 0;
}

int drive_fat(const DriveReader *reader, const char *label, const char *const *path, size_t limit,
              char **textp, size_t *n_textp) {
        cleanup(freep) char *text = NULL;
        Fat fat = {.reader = reader};
        Entry file = {0};
        uint8_t boot[512];
        size_t n = 0;
        int r = reader->read(reader->userdata, 0, boot, sizeof(boot));

        if (r < 0 || boot[510] != 0x55 || boot[511] != 0xaa ||
            !(drive_is_label(boot + 43, 11, label) || drive_is_label(boot + 71, 11, label)))
                return DRIVE_E_OTHER;
        r = parse(boot, &fat);
        if (r == 0)
                r = walk(&fat, path, &file);
        if (r < 0)
                return r;
        if (file.is_directory)
                return -EISDIR;
        if (file.n_bytes > limit)
                return -EFBIG;
        text = calloc(1, (size_t)file.n_bytes + 1);
        if (!text)
                return -ENOMEM;
        r = read_chain(&fat, file.cluster, (uint8_t *)text, file.n_bytes, &n);
        if (r == 0 && n < file.n_bytes)
                r = -EBADMSG;
        if (r < 0)
                return r;
        *n_textp = n;
        *textp = ptr_steal(&text);
        return 0;
}

/* --- either --- */

bool drive_is_label(const uint8_t *text, size_t n, const char *label) {
        size_t n_label = strlen(label);

        if (n_label > n || strncasecmp((const char *)text, label, n_label) != 0)
                return false;
        for (size_t i = n_label; i < n; i++)
                if (text[i] != ' ' && text[i] != '\0')
                        return false;
        return true;
}

int drive_read_file(const DriveReader *reader, const char *label, const char *const *path,
                    size_t limit, char **textp, size_t *n_textp) {
        int r = drive_iso(reader, label, path, limit, textp, n_textp);

        return r == DRIVE_E_OTHER ? drive_fat(reader, label, path, limit, textp, n_textp) : r;
}
