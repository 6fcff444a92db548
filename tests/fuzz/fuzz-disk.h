/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_TESTS_FUZZ_DISK_H
#define BERTH_TESTS_FUZZ_DISK_H

/*
 * A mutator for devices in pieces (tests/lib/pieces.h). A change of a byte that a checksum covers
 * ends at the check, so most of the time the checksums are made right again: of superblocks, of
 * ext's first group descriptor and its inodes, of XFS' inodes, of btrfs' trees. Offsets: the
 * kernel's headers.
 */

#include "tests/fuzz/fuzz.h"
#include "tests/lib/mend.h"
#include "tests/lib/pieces.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t n_max) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t n_max, unsigned int seed);

typedef struct ExtLayout {
        uint64_t block_bytes;
        uint32_t inode_bytes, desc_bytes, seed;
        bool is_64bit;
} ExtLayout;

static void mend_ext_descriptor(const ExtLayout *ext, uint8_t *desc) {
        uint8_t zero[4] = {0};
        uint32_t crc = checksum_crc32c(ext->seed, zero, 4);

        crc = checksum_crc32c(crc, desc, 0x1e);
        crc = checksum_crc32c(crc, zero, 2);
        crc = checksum_crc32c(crc, desc + 0x20, ext->desc_bytes - 0x20);
        desc[0x1e] = (uint8_t)crc;
        desc[0x1f] = (uint8_t)(crc >> 8);
}

static void mend_ext_inode(const ExtLayout *ext, uint32_t ino, uint8_t *inode) {
        bool is_long = ext->inode_bytes > 128 && le16(inode + 0x80) >= 4;
        uint8_t number[4];
        uint32_t crc;

        memset(inode + 0x7c, 0, 2);
        if (is_long)
                memset(inode + 0x82, 0, 2);
        put_le32(number, ino);
        crc = checksum_crc32c(ext->seed, number, 4);
        crc = checksum_crc32c(crc, inode + 0x64, 4);
        crc = checksum_crc32c(crc, inode, ext->inode_bytes);
        inode[0x7c] = (uint8_t)crc;
        inode[0x7d] = (uint8_t)(crc >> 8);
        if (is_long) {
                inode[0x82] = (uint8_t)(crc >> 16);
                inode[0x83] = (uint8_t)(crc >> 24);
        }
}

/* Its first group, with metadata_csum. */
static void mend_ext_group(Pieces *pieces, const uint8_t *sb) {
        ExtLayout ext = {
                .block_bytes = UINT64_C(1024) << (le32(sb + 0x18) & 7),
                .inode_bytes = le16(sb + 0x58),
                .is_64bit = le32(sb + 0x60) & 0x80,
                .seed = le32(sb + 0x60) & 0x2000 ? le32(sb + 0x270)
                                                 : checksum_crc32c(UINT32_MAX, sb + 0x68, 16),
        };
        uint64_t table;
        uint8_t *desc;

        ext.desc_bytes = ext.is_64bit ? 64 : 32;
        desc = pieces_at(pieces, (1 + 1024 / ext.block_bytes) * ext.block_bytes, ext.desc_bytes);
        if (!desc || !(le32(sb + 0x64) & 0x400) || ext.inode_bytes < 128 || ext.inode_bytes > 256)
                return;
        mend_ext_descriptor(&ext, desc);
        table = le32(desc + 8) | (ext.is_64bit ? (uint64_t)le32(desc + 0x28) << 32 : 0);
        if (table > UINT32_MAX)
                return;
        for (uint32_t ino = 1; ino <= 16; ino++) {
                uint8_t *inode =
                        pieces_at(pieces, table * ext.block_bytes + (ino - 1) * ext.inode_bytes,
                                  ext.inode_bytes);

                if (inode)
                        mend_ext_inode(&ext, ino, inode);
        }
}

static void mend_xfs_inodes(Pieces *pieces, const uint8_t *sb) {
        size_t n = be16(sb + 0x68);

        for (size_t i = 0; i < pieces->n_pieces && n >= 256 && n <= 2048; i++) {
                const Piece *piece = &pieces->pieces[i];

                for (size_t at = 0; piece->n - at >= n; at += n) {
                        uint8_t *inode = piece->data + at;

                        if (memcmp(inode, "IN", 2) != 0)
                                continue;
                        memset(inode + 100, 0, 4);
                        put_le32(inode + 100, checksum_crc32c(UINT32_MAX, inode, n) ^ UINT32_MAX);
                }
        }
}

/* Blocks of trees, which carry the filesystem's UUID as the superblock does; CRC-32C only. */
static void mend_btrfs_nodes(Pieces *pieces, const uint8_t *sb) {
        static uint8_t node[65536];
        uint32_t n = le32(sb + 0x94);

        if (n < 4096 || n > sizeof(node) || le16(sb + 0xc4) != 0)
                return;
        for (size_t i = 0; i < pieces->n_pieces; i++) {
                const Piece *piece = &pieces->pieces[i];

                if (piece->n < 101 || piece->offset <= 65536 ||
                    memcmp(piece->data + 0x20, sb + 0x20, 16) != 0)
                        continue;
                (void)pieces_read(pieces, piece->offset, node, n);
                put_le32(piece->data, checksum_crc32c(UINT32_MAX, node + 32, n - 32) ^ UINT32_MAX);
        }
}

static void mend_f2fs(uint8_t *sb) {
        if (le32(sb) == 0xf2f52010 && le32(sb + 0x884) & 0x800)
                put_le32(sb + 0xbfc, checksum_crc32(0xf2f52010, sb, 0xbfc));
}

static void mend_disk(Pieces *pieces) {
        uint8_t *sb;

        for (size_t i = 0; i < pieces->n_pieces; i++)
                mend_at(pieces->pieces[i].offset, pieces->pieces[i].data, pieces->pieces[i].n);
        sb = pieces_at(pieces, 0, 512);
        if (sb && memcmp(sb, "XFSB", 4) == 0)
                mend_xfs_inodes(pieces, sb);
        sb = pieces_at(pieces, 1024, 1024);
        if (sb && le16(sb + 0x38) == 0xef53)
                mend_ext_group(pieces, sb);
        sb = pieces_at(pieces, 65536, 512);
        if (sb && memcmp(sb + 0x40, "_BHRfS_M", 8) == 0)
                mend_btrfs_nodes(pieces, sb);
        sb = pieces_at(pieces, 1024, 3072);
        if (sb)
                mend_f2fs(sb);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t n_max, unsigned int seed) {
        static Pieces pieces;

        if (LLVMFuzzerMutate)
                n = LLVMFuzzerMutate(data, n, n_max);
        if (seed % 4 == 0)
                return n;
        pieces_parse(&pieces, data, n);
        mend_disk(&pieces);
        return n;
}

#endif
