/* SPDX-License-Identifier: Apache-2.0 */
/* Editing images: one field changed, and every checksum over it right again. */

#include "tests/oracle/oracle.h"

#include "fs/volume/bytes.h"
#include "fs/volume/checksum.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/block/filecopy.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void fix_ext(int fd) {
        uint8_t sb[1024];

        assert(pread(fd, sb, 1024, 1024) == 1024);
        put_le32(sb + 0x3fc, checksum_crc32c(UINT32_MAX, sb, 0x3fc));
        assert(pwrite(fd, sb, 1024, 1024) == 1024);
}

static void fix_xfs(int fd) {
        uint8_t sb[4096];
        uint16_t sector;

        assert(pread(fd, sb, sizeof(sb), 0) == (ssize_t)sizeof(sb));
        /* Of what the field says now; of nonsense the kernel sums nothing. */
        sector = be16(sb + 0x66);
        if (sector < 512 || sector > sizeof(sb))
                return;
        put_le32(sb + 0xe0, 0);
        put_le32(sb + 0xe0, checksum_crc32c(UINT32_MAX, sb, sector) ^ UINT32_MAX);
        assert(pwrite(fd, sb, sector, 0) == sector);
}

static void fix_btrfs(int fd) {
        uint8_t sb[4096];

        assert(pread(fd, sb, sizeof(sb), 65536) == (ssize_t)sizeof(sb));
        put_le32(sb, checksum_crc32c(UINT32_MAX, sb + 32, sizeof(sb) - 32) ^ UINT32_MAX);
        assert(pwrite(fd, sb, sizeof(sb), 65536) == (ssize_t)sizeof(sb));
}

/* Over the rest of the first block; block 4 KiB, as mkfs makes it. */
static void fix_erofs(int fd) {
        uint8_t block[4096 - 1024];

        assert(pread(fd, block, sizeof(block), 1024) == (ssize_t)sizeof(block));
        if (!(le32(block + 8) & 1))
                return;
        put_le32(block + 4, 0);
        put_le32(block + 4, checksum_crc32c(UINT32_MAX, block, sizeof(block)));
        assert(pwrite(fd, block, sizeof(block), 1024) == (ssize_t)sizeof(block));
}

/* Its second superblock, which is to be like the first. It has a checksum only with the feature of
 * that name, which no base has. */
static void fix_f2fs(int fd) {
        uint8_t sb[3072];

        assert(pread(fd, sb, sizeof(sb), 0x400) == (ssize_t)sizeof(sb));
        assert(pwrite(fd, sb, sizeof(sb), 0x1400) == (ssize_t)sizeof(sb));
}

static void fix_image(int fd) {
        uint8_t magic[4];

        assert(pread(fd, magic, 4, 0) == 4);
        if (memcmp(magic, "XFSB", 4) == 0) {
                fix_xfs(fd);
                return;
        }
        assert(pread(fd, magic, 4, 1024) == 4);
        if (le32(magic) == 0xe0f5e1e2)
                fix_erofs(fd);
        if (le32(magic) == 0xf2f52010)
                fix_f2fs(fd);
        if (le32(magic) == 0xe0f5e1e2 || le32(magic) == 0xf2f52010)
                return;
        assert(pread(fd, magic, 2, 1024 + 0x38) == 2);
        if (le16(magic) == 0xef53)
                fix_ext(fd);
        else
                fix_btrfs(fd);
}

void oracle_mend(int fd, const char *type) {
        if (str_has_prefix(type, "ext"))
                fix_ext(fd);
        else if (str_equal(type, "xfs"))
                fix_xfs(fd);
        else if (str_equal(type, "btrfs"))
                fix_btrfs(fd);
        else if (str_equal(type, "erofs"))
                fix_erofs(fd);
}

void oracle_poke(const char *path, uint64_t offset, const void *bytes, size_t n, bool fix) {
        cleanup(closep) int fd = open(path, O_RDWR | O_CLOEXEC);

        assert(fd >= 0);
        assert(pwrite(fd, bytes, n, (off_t)offset) == (ssize_t)n);
        if (fix)
                fix_image(fd);
}

/* The journal's superblock: found by its magic and version 2 at the start of a block. */
static uint64_t find_journal(int fd) {
        uint8_t head[8];
        struct stat st;

        assert(fstat(fd, &st) == 0);
        for (off_t at = 4096; (at = lseek(fd, at, SEEK_DATA)) >= 0 && at < st.st_size; at += 4096) {
                at &= ~(off_t)4095;
                if (pread(fd, head, 8, at) == 8 && be32(head) == 0xc03b3998 && be32(head + 4) == 4)
                        return (uint64_t)at;
        }
        abort();
}

static void set_journal_bit(int fd, FsClass class, uint32_t bit) {
        uint64_t offset = find_journal(fd);
        size_t at = class == FS_CLASS_LOG_COMPAT     ? 0x24
                    : class == FS_CLASS_LOG_INCOMPAT ? 0x28
                                                     : 0x2c;
        uint8_t sb[1024];

        assert(pread(fd, sb, 1024, (off_t)offset) == 1024);
        put_be32(sb + at, be32(sb + at) | bit);
        /* Checksums say their kind: crc32c. */
        if (class == FS_CLASS_LOG_INCOMPAT && bit & 0x18)
                sb[0x50] = 4;
        if (be32(sb + 0x28) & 0x18) {
                put_be32(sb + 0xfc, 0);
                put_be32(sb + 0xfc, checksum_crc32c(UINT32_MAX, sb, 1024));
        }
        assert(pwrite(fd, sb, 1024, (off_t)offset) == 1024);
}

static void set_bits(int fd, uint64_t offset, uint64_t bit, size_t n, bool big) {
        uint8_t bytes[8] = {0};

        assert(pread(fd, bytes, n, (off_t)offset) == (ssize_t)n);
        for (size_t i = 0; i < n; i++)
                bytes[i] |= (uint8_t)(bit >> (8 * (big ? n - 1 - i : i)));
        assert(pwrite(fd, bytes, n, (off_t)offset) == (ssize_t)n);
}

void oracle_set_bit(const char *path, FsKind kind, FsClass class, uint64_t bit) {
        static const uint16_t ext[_FS_CLASS_N] = {
                [FS_CLASS_COMPAT] = 1024 + 0x5c,
                [FS_CLASS_INCOMPAT] = 1024 + 0x60,
                [FS_CLASS_RO_COMPAT] = 1024 + 0x64,
        };
        static const uint16_t xfs[_FS_CLASS_N] = {
                [FS_CLASS_FEATURES2] = 0xc8,    [FS_CLASS_COMPAT] = 0xd0,
                [FS_CLASS_RO_COMPAT] = 0xd4,    [FS_CLASS_INCOMPAT] = 0xd8,
                [FS_CLASS_LOG_INCOMPAT] = 0xdc,
        };
        static const uint16_t btrfs[_FS_CLASS_N] = {
                [FS_CLASS_COMPAT] = 0xac,
                [FS_CLASS_RO_COMPAT] = 0xb4,
                [FS_CLASS_INCOMPAT] = 0xbc,
                [FS_CLASS_FLAGS] = 0x38,
        };
        cleanup(closep) int fd = open(path, O_RDWR | O_CLOEXEC);

        assert(fd >= 0);
        if (kind == FS_KIND_EXT && !ext[class]) {
                set_journal_bit(fd, class, (uint32_t)bit);
                return;
        }
        if (kind == FS_KIND_EXT)
                set_bits(fd, ext[class], bit, 4, false);
        else if (kind == FS_KIND_XFS && class == FS_CLASS_VERSIONNUM)
                set_bits(fd, 0x64, bit, 2, true);
        else if (kind == FS_KIND_XFS)
                set_bits(fd, xfs[class], bit, 4, true);
        else if (kind == FS_KIND_EROFS)
                set_bits(fd, 1024 + (class == FS_CLASS_COMPAT ? 0x8 : 0x50), bit, 4, false);
        else if (kind == FS_KIND_F2FS)
                for (unsigned int copy = 0; copy < 2; copy++)
                        set_bits(fd, 1024 + 0x884 + 4096 * copy, bit, 4, false);
        else
                set_bits(fd, 65536U + btrfs[class], bit, 8, false);
        /* Newer kernels want the second copy of features2 to agree. */
        if (kind == FS_KIND_XFS && class == FS_CLASS_FEATURES2)
                set_bits(fd, 0xcc, bit, 4, true);
        if (kind == FS_KIND_XFS && class == FS_CLASS_INCOMPAT && bit == 0x4) {
                uint8_t uuid[16];

                assert(pread(fd, uuid, 16, 0x20) == 16 && pwrite(fd, uuid, 16, 0xf8) == 16);
        }
        fix_image(fd);
}

/* Each record of the log: h_fmt, and its checksum over the header (its own field zero) and body. */
void oracle_xfs_log_big_endian(const char *path) {
        cleanup(closep) int fd = open(path, O_RDWR | O_CLOEXEC);
        uint8_t sb[512], header[512];
        uint64_t start, n_blocks, ag_log;

        assert(fd >= 0 && pread(fd, sb, 512, 0) == 512);
        ag_log = sb[0x7c];
        start = be64(sb + 0x30);
        start = ((start >> ag_log) * be32(sb + 0x54) + (start & ((1U << ag_log) - 1))) *
                be32(sb + 4);
        n_blocks = (uint64_t)be32(sb + 0x60) * be32(sb + 4) / 512;
        for (uint64_t i = 0; i < n_blocks; i++) {
                off_t at = (off_t)(start + i * 512);
                uint8_t *body;
                uint32_t length, crc;

                assert(pread(fd, header, 512, at) == 512);
                if (be32(header) != 0xfeedbabe || be32(header + 4) == 0)
                        continue;
                length = be32(header + 0xc);
                put_be32(header + 0x12c, 2);
                put_le32(header + 0x20, 0);
                body = calloc(1, length + 1);
                assert(body && pread(fd, body, length, at + 512) == (ssize_t)length);
                /* One header block: logs here have buffers of 32 KiB. */
                crc = checksum_crc32c(UINT32_MAX, header, 0x148);
                crc = checksum_crc32c(crc, body, length) ^ UINT32_MAX;
                put_le32(header + 0x20, crc);
                assert(pwrite(fd, header, 512, at) == 512);
                free(body);
        }
}

static void punch(int fd, off_t from, off_t to) {
        if (to > from)
                assert(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, to - from) ==
                       0);
}

/* mkfs writes the zeros of a log or a table, or has them allocated: they become holes, so that the
 * copies of an image take what it says and no more. */
void oracle_dig_holes(const char *path) {
        static const uint8_t zero[4096];
        cleanup(closep) int fd = open(path, O_RDWR | O_CLOEXEC);
        off_t at = 0, next, size;
        uint8_t page[sizeof(zero)];
        struct stat st;

        assert(fd >= 0 && fstat(fd, &st) == 0);
        size = st.st_size & ~((off_t)sizeof(page) - 1);
        for (; at < size; at = next + (off_t)sizeof(page)) {
                next = lseek(fd, at, SEEK_DATA);
                next = next < 0 || next > size ? size : next & ~((off_t)sizeof(page) - 1);
                punch(fd, at, next);
                if (next < size && pread(fd, page, sizeof(page), next) == (ssize_t)sizeof(page) &&
                    memcmp(page, zero, sizeof(page)) == 0)
                        punch(fd, next, next + (off_t)sizeof(page));
        }
}

void oracle_copy(const char *from, const char *to) {
        cleanup(closep) int from_fd = open(from, O_RDONLY | O_CLOEXEC);
        cleanup(closep) int to_fd = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        FileCopy copy = {.from_fd = from_fd, .to_fd = to_fd};
        struct stat st;
        int r;

        assert(from_fd >= 0 && to_fd >= 0 && fstat(from_fd, &st) == 0);
        assert(ftruncate(to_fd, st.st_size) == 0);
        copy.size_bytes = (uint64_t)st.st_size;
        do
                r = filecopy_step(&copy);
        while (r == 0);
        if (r == -ENOSPC)
                printf("no space left for the images beside %s: TMPDIR names another place\n", to);
        assert(r == FILECOPY_E_DONE);
        filecopy_deinit(&copy);
}

bool oracle_catch(const char *path, const char *type, const char *to) {
        static const OracleCase plain;
        cleanup(closep) int loop_fd = -1, root_fd = -1, file_fd = -1;
        static char data[65536];

        if (oracle_mount(path, &plain, type, "", &loop_fd, &root_fd) < 0)
                return false;
        memset(data, 'c', sizeof(data));
        file_fd = openat(root_fd, "caught", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        assert(file_fd >= 0 && write(file_fd, data, sizeof(data)) == (ssize_t)sizeof(data));
        assert(fsync(file_fd) == 0);
        /* The loop device writes to the file's page cache: what was synced is in the copy. */
        assert(fsync(loop_fd) == 0);
        oracle_copy(path, to);
        return true;
}
