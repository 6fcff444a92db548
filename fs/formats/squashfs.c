/* SPDX-License-Identifier: Apache-2.0 */
/*
 * squashfs 4.0: a superblock of 96 bytes at 0, little endian, and tables that begin where it says
 * and end where the next one begins. Offsets: struct squashfs_super_block.
 *
 * Rules: squashfs_fill_super() and the readers of tables that it calls, Linux 6.18; those of the
 * tables' sizes came with 5.11 and into every stable series with it.
 */

#include "fs/formats/formats_internal.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "common/base/cleanup.h"

#define NONE           UINT64_MAX
#define METADATA_BYTES 8192U
#define BLOCK_RAW      0x8000U /* of a metadata block's length: not compressed */
#define FLAG_OPTIONS   0x400U  /* options of the compressor stand behind the superblock */
#define ZLIB           1U
#define INODE_BYTES    16U /* what every inode begins with */
#define TYPE_DIRECTORY 1U
#define TYPE_LONG_DIR  8U

/* A table of addresses of metadata blocks at @start, of @n entries of @bytes each, up to @end. */
typedef struct Table {
        const char *name;
        uint64_t start, end;
        uint64_t n, bytes;
        bool may_end_earlier;
} Table;

/* *firstp: where its blocks begin, which is where the table before it must end. 0; FS_E_NONE if no
 * kernel takes it; -errno. */
static int read_table(FsSource *source, const Table *table, uint64_t *firstp) {
        uint64_t n_blocks = (table->n * table->bytes + METADATA_BYTES - 1) / METADATA_BYTES;
        uint64_t n_bytes = n_blocks * 8, last;
        uint8_t address[8];
        int r;

        if (table->start > table->end || n_bytes > table->end - table->start ||
            (!table->may_end_earlier && n_bytes != table->end - table->start))
                return FS_E_NONE;
        r = source_read(source, table->start, address, sizeof(address));
        if (r < 0)
                return source_is_image_fault(r) ? FS_E_NONE : r;
        *firstp = le64(address);
        if (*firstp >= table->start)
                return FS_E_NONE;
        if (table->may_end_earlier)
                return 0;
        r = source_read(source, table->start + n_bytes - 8, address, sizeof(address));
        if (r < 0)
                return source_is_image_fault(r) ? FS_E_NONE : r;
        last = le64(address);
        return last >= table->start || table->start - last > METADATA_BYTES + 2 ? FS_E_NONE : 0;
}

/* *endp: where the table of IDs must end. */
static int read_attributes(FsSource *source, const uint8_t *sb, uint64_t *endp) {
        uint64_t start = le64(sb + 0x38), n_used = le64(sb + 0x28), first;
        uint8_t head[16];
        Table table = {.name = "attributes", .start = start + 16, .end = n_used, .bytes = 16};
        int r;

        *endp = n_used;
        if (start == NONE)
                return 0;
        if (start > n_used || n_used - start < sizeof(head))
                return FS_E_NONE;
        r = source_read(source, start, head, sizeof(head));
        if (r < 0)
                return source_is_image_fault(r) ? FS_E_NONE : r;
        table.n = le32(head + 8);
        *endp = le64(head);
        r = table.n ? read_table(source, &table, &first) : FS_E_NONE;
        return r == 0 && *endp >= first ? FS_E_NONE : r;
}

static int check_tables(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        Table tables[] = {
                {"IDs", le64(sb + 0x30), 0, le16(sb + 0x1a), 4, false},
                {"lookup", le64(sb + 0x58), 0, le32(sb + 4), 8, false},
                {"fragments", le64(sb + 0x50), 0, le32(sb + 0x10), 16, true},
        };
        uint64_t end;
        int r = read_attributes(source, sb, &end);

        if (r == FS_E_NONE)
                volume_malformed(volume, "table of attributes");
        for (size_t i = 0; r == 0 && i < 3; i++) {
                if ((i == 1 && tables[i].start == NONE) || (i == 2 && tables[i].n == 0))
                        continue;
                tables[i].end = end;
                r = tables[i].n ? read_table(source, &tables[i], &end) : FS_E_NONE;
                if (r == FS_E_NONE)
                        volume_malformed(volume, "table of %s", tables[i].name);
        }
        if (r == 0 && (le64(sb + 0x48) > end || le64(sb + 0x40) >= le64(sb + 0x48)))
                volume_malformed(volume, "tables of directories and inodes");
        if (volume->state & FS_STATE_MALFORMED)
                volume->problem_since = FS_VERSION(5, 11, 0);
        return r < 0 ? r : 0;
}

/* --- metadata blocks --- */

static bool begins_as(uint16_t compressor, const uint8_t *bytes) {
        static const uint8_t xz[] = {0xfd, '7', 'z', 'X', 'Z'}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};

        switch (compressor) {
        case 4:
                return memcmp(bytes, xz, sizeof(xz)) == 0;
        case 6:
                return memcmp(bytes, zstd, sizeof(zstd)) == 0;
        default: /* LZMA, LZO and LZ4 begin with anything */
                return true;
        }
}

/* Of a zlib block all that it holds; *np is 0 for other compressors: nothing is known of it. */
static bool unpack(uint16_t compressor, const uint8_t *bytes, size_t n, uint8_t *to, size_t *np) {
        uLongf n_to = METADATA_BYTES;

        bool is_zlib = uncompress(to, &n_to, bytes, (uLong)n) == Z_OK;

        *np = 0;
        if (compressor != ZLIB)
                return !is_zlib && begins_as(compressor, bytes);
        if (!is_zlib)
                return false;
        *np = n_to;
        return true;
}

static int read_metadata(FsSource *source, const uint8_t *sb, uint64_t at, uint8_t *to,
                         size_t *np) {
        cleanup(freep) uint8_t *packed = calloc(1, METADATA_BYTES);
        uint8_t head[2];
        uint64_t n_used = le64(sb + 0x28);
        uint16_t n;
        int r;

        if (!packed)
                return -ENOMEM;
        if (at > n_used || n_used - at < sizeof(head))
                return FS_E_NONE;
        r = source_read(source, at, head, sizeof(head));
        if (r < 0)
                return source_is_image_fault(r) ? FS_E_NONE : r;
        n = le16(head) & (BLOCK_RAW - 1);
        if (n == 0 || n > METADATA_BYTES || n > n_used - at - sizeof(head))
                return FS_E_NONE;
        r = source_read(source, at + sizeof(head), packed, n);
        if (r < 0)
                return source_is_image_fault(r) ? FS_E_NONE : r;
        if (!(le16(head) & BLOCK_RAW))
                return unpack(le16(sb + 0x14), packed, n, to, np) ? 0 : FS_E_NONE;
        memcpy(to, packed, n);
        *np = n;
        return 0;
}

/* The inode of the root directory, which a mount reads: its block and, where that can be unpacked
 * here, its type. */
static int check_root(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        uint64_t root = le64(sb + 0x20), at;
        uint8_t block[METADATA_BYTES];
        size_t n = 0, within = root & 0xffff;
        int r = FS_E_NONE;

        if (!__builtin_add_overflow(le64(sb + 0x40), (uint32_t)(root >> 16), &at) &&
            within <= METADATA_BYTES)
                r = read_metadata(source, sb, at, block, &n);
        if (r < 0)
                return r;
        if (r == FS_E_NONE || (n && within >= n))
                volume_malformed(volume, "root inode");
        /* One that goes on in the next block is not followed. */
        if (r == 0 && n >= INODE_BYTES && within <= n - INODE_BYTES &&
            ((le16(block + within) != TYPE_DIRECTORY && le16(block + within) != TYPE_LONG_DIR) ||
             le16(block + within + 4) >= le16(sb + 0x1a) ||
             le16(block + within + 6) >= le16(sb + 0x1a)))
                volume_malformed(volume, "root inode");
        return 0;
}

/* They are never compressed themselves. */
static int check_options(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        uint8_t head[2];
        int r;

        if (!(le16(sb + 0x18) & FLAG_OPTIONS))
                return 0;
        r = source_read(source, 96, head, sizeof(head));
        if (r < 0 && !source_is_image_fault(r))
                return r;
        if (r < 0 || !(le16(head) & BLOCK_RAW) || le16(head) > (BLOCK_RAW | METADATA_BYTES))
                volume_malformed(volume, "options of the compressor");
        return 0;
}

static void check(const uint8_t *sb, FsVolume *volume) {
        uint16_t log = le16(sb + 0x16);

        if (!is_power_of_two(volume->block_bytes) || volume->block_bytes > 1048576)
                volume_malformed(volume, "block size %u", volume->block_bytes);
        if (log > 20 || volume->block_bytes != 1U << log)
                volume_malformed(volume, "block size 2^%u", (unsigned int)log);
        if ((int16_t)le16(sb + 0x1e) > 0)
                volume_malformed(volume, "version %u.%u", (unsigned int)le16(sb + 0x1c),
                                 (unsigned int)le16(sb + 0x1e));
}

static int squashfs_read(FsSource *source, const uint8_t *head, FsVolume *volume) {
        uint16_t major = le16(head + 0x1c), compressor = le16(head + 0x14);
        int r;

        if (memcmp(head, "hsqs", 4) != 0)
                return FS_E_NONE;
        volume->kind = FS_KIND_SQUASHFS;
        volume->type = "squashfs";
        volume->block_bytes = le32(head + 0xc);
        volume->fs_bytes = le64(head + 0x28);
        volume->words[FS_CLASS_VERSION] = major < 64 ? UINT64_C(1) << major : 1;
        volume->words[FS_CLASS_ALGORITHM] = compressor < 64 ? UINT64_C(1) << compressor : 1;
        check(head, volume);
        if (volume->state & FS_STATE_MALFORMED || major != 4)
                return 0;
        r = check_options(source, head, volume);
        if (r == 0 && !(volume->state & FS_STATE_MALFORMED))
                r = check_tables(source, head, volume);
        if (r == 0 && !(volume->state & FS_STATE_MALFORMED))
                r = check_root(source, head, volume);
        return r;
}

const FsFormat format_squashfs = {
        .kind = FS_KIND_SQUASHFS,
        .name = "squashfs",
        .types = {"squashfs"},
        .read = squashfs_read,
        .class_names = {[FS_CLASS_ALGORITHM] = "compressor"},
};
