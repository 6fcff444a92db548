/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of magics, and the few that need arithmetic: swap (the writer's page size), ZFS (a ring
 * of uberblocks in four labels, two of them at the end), md (aligned from the end), GPT (last
 * sector). Sources: the formats' own headers and libblkid's probes.
 */

#include "csi/fs/signatures.h"

#include "csi/fs/bytes.h"

#include <string.h>

typedef struct Magic {
        const char *type, *usage;
        uint64_t offset;
        bool from_end; /* offset counts back from the end of the device */
        uint8_t n;
        const char *bytes;
} Magic;

#define BCACHE_FAMILY "\xc6\x85\x73\xf6"

/* clang-format off */
static const Magic magics[] = {
{"LVM2_member", "raid", 0,    false, 8, "LABELONE"},
{"LVM2_member", "raid", 512,  false, 8, "LABELONE"},
{"LVM2_member", "raid", 1024, false, 8, "LABELONE"},
{"LVM2_member", "raid", 1536, false, 8, "LABELONE"},
{"linux_raid_member", "raid", 0,    false, 4, "\xfc\x4e\x2b\xa9"},
{"linux_raid_member", "raid", 4096, false, 4, "\xfc\x4e\x2b\xa9"},
{"bcache",   "raid",       4096 + 24, false, 16, BCACHE_FAMILY "\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"},
{"bcachefs", "filesystem", 4096 + 24, false, 16, BCACHE_FAMILY "\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"},
{"bcachefs", "filesystem", (2U << 20) + 24, false, 16, BCACHE_FAMILY "\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"},
{"stratis",  "raid", 512 + 4,  false, 8, "!Stra0ti"},
{"stratis",  "raid", 4608 + 4, false, 8, "!Stra0ti"},
{"vdo",      "raid", 0,        false, 8, "dmvdo001"},
{"ceph_bluestore", "other", 0, false, 22, "bluestore block device"},
{"drbd", "raid", 4096 - 60, true, 4, "\x83\x74\x02\x67"},
{"drbd", "raid", 4096 - 60, true, 4, "\x83\x74\x02\x6b"},
{"drbd", "raid", 4096 - 60, true, 4, "\x83\x74\x02\x6d"},
{"crypto_LUKS", "crypto", 0,        false, 6, "LUKS\xba\xbe"},
{"crypto_LUKS", "crypto", 0x4000,   false, 6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x8000,   false, 6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x10000,  false, 6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x20000,  false, 6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x40000,  false, 6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x80000,  false, 6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x100000, false, 6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x200000, false, 6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x400000, false, 6, "SKUL\xba\xbe"},
{"BitLocker",   "crypto", 3,        false, 8, "-FVE-FS-"},
{"gpt", "partitions", 512,  false, 8, "EFI PART"},
{"gpt", "partitions", 4096, false, 8, "EFI PART"},
{"gpt-backup", "partitions", 512,  true, 8, "EFI PART"},
{"gpt-backup", "partitions", 4096, true, 8, "EFI PART"},
{"ocfs2",    "filesystem", 1024, false, 6, "OCFSV2"},
{"ocfs2",    "filesystem", 2048, false, 6, "OCFSV2"},
{"ocfs2",    "filesystem", 4096, false, 6, "OCFSV2"},
{"ocfs2",    "filesystem", 8192, false, 6, "OCFSV2"},
{"gfs2",     "filesystem", 65536, false, 4, "\x01\x16\x19\x70"},
{"reiserfs", "filesystem", 65536 + 0x34, false, 6, "ReIsEr"},
{"jfs",      "filesystem", 32768, false, 4, "JFS1"},
{"apfs",     "filesystem", 32,    false, 4, "NXSB"},
{"ReFS",     "filesystem", 0,     false, 8, "\0\0\0ReFS\0"},
{"VMFS_volume_member", "raid", 1U << 20, false, 4, "\x0d\xd0\x01\xc0"},
{"xfs_external_log", "other", 0, false, 4, "\xfe\xed\xba\xbe"},
{"iso9660",  "filesystem", 32769, false, 5, "CD001"},
{"hfsplus",  "filesystem", 1024, false, 4, "H+\0\x04"},
{"nilfs2",   "filesystem", 1024 + 6, false, 2, "\x34\x34"},
{"btrfs",    "filesystem", (64U << 20) + 0x40, false, 8, "_BHRfS_M"},
{"btrfs",    "filesystem", (UINT64_C(256) << 30) + 0x40, false, 8, "_BHRfS_M"},
};
/* clang-format on */

static const char *const swap_magics[] = {
        "SWAP-SPACE", "SWAPSPACE2", "S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "LINHIB0001",
};

/* A window of the device, and where the hits go. */
typedef struct Scan {
        const uint8_t *data;
        size_t n;
        uint64_t offset, size_bytes;
        SignatureHit *hits;
        size_t n_hits, n_hits_max;
} Scan;

/* The bytes at @offset of the device if all @n lie in the window, else NULL. */
static const uint8_t *window(const Scan *scan, uint64_t offset, size_t n) {
        if (offset < scan->offset || offset - scan->offset > scan->n ||
            n > scan->n - (size_t)(offset - scan->offset))
                return NULL;
        return scan->data + (offset - scan->offset);
}

static void hit(Scan *scan, const char *type, const char *usage, uint64_t offset) {
        if (scan->n_hits < scan->n_hits_max)
                scan->hits[scan->n_hits++] =
                        (SignatureHit){.type = type, .usage = usage, .offset = offset};
}

static void scan_table(Scan *scan) {
        for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
                const Magic *magic = &magics[i];
                uint64_t offset = magic->offset;
                const uint8_t *at;

                if (magic->from_end) {
                        if (magic->offset > scan->size_bytes)
                                continue;
                        offset = scan->size_bytes - magic->offset;
                }
                at = window(scan, offset, magic->n);
                if (at && memcmp(at, magic->bytes, magic->n) == 0)
                        hit(scan, magic->type, magic->usage, offset);
        }
}

static void scan_swap(Scan *scan) {
        for (uint64_t page = 4096; page <= 65536; page *= 2) {
                const uint8_t *at = window(scan, page - 10, 10);

                for (size_t i = 0; at && i < sizeof(swap_magics) / sizeof(swap_magics[0]); i++) {
                        if (memcmp(at, swap_magics[i], strlen(swap_magics[i])) == 0)
                                hit(scan, i < 2 ? "swap" : "swsuspend", "other", page - 10);
                }
        }
}

/* Version 1.0: at least 8 KiB from the end, on 4 KiB; version 0.90: the last whole 64 KiB. */
static void scan_md_end(Scan *scan) {
        const uint8_t *at;
        uint64_t offset;

        if (scan->size_bytes < 131072)
                return;
        offset = ((scan->size_bytes / 512 - 16) & ~UINT64_C(7)) * 512;
        at = window(scan, offset, 4);
        if (at && le32(at) == 0xa92b4efcU)
                hit(scan, "linux_raid_member", "raid", offset);
        offset = (scan->size_bytes & ~UINT64_C(65535)) - 65536;
        at = window(scan, offset, 4);
        if (at && (le32(at) == 0xa92b4efcU || be32(at) == 0xa92b4efcU))
                hit(scan, "linux_raid_member", "raid", offset);
}

/* The ring of 128 KiB in each label: one uberblock of any slot is enough. */
static void scan_zfs(Scan *scan) {
        uint64_t size = scan->size_bytes & ~UINT64_C(0x3ffff);
        uint64_t labels[4] = {0, 0x40000, 0, 0};

        if (size < 0x200000)
                return;
        labels[2] = size - 0x80000;
        labels[3] = size - 0x40000;
        for (size_t i = 0; i < 4; i++) {
                for (uint64_t slot = 0; slot < 128; slot++) {
                        uint64_t offset = labels[i] + 0x20000 + slot * 1024;
                        const uint8_t *at = window(scan, offset, 8);

                        if (at && (le64(at) == 0x00bab10c || be64(at) == 0x00bab10c)) {
                                hit(scan, "zfs_member", "filesystem", offset);
                                break;
                        }
                }
        }
}

/* A FAT boot sector carries the same mark; entries say whether it is a table. */
static void scan_mbr(Scan *scan) {
        const uint8_t *at = window(scan, 0, 512);
        bool entries = false;

        if (!at || at[510] != 0x55 || at[511] != 0xaa)
                return;
        for (size_t i = 0; i < 4; i++) {
                const uint8_t *entry = at + 446 + 16 * i;

                if (entry[0] & 0x7f)
                        return;
                entries |= entry[4] != 0 && le32(entry + 12) != 0;
        }
        if (entries)
                hit(scan, "dos", "partitions", 510);
}

size_t signatures_scan(const uint8_t *data, size_t n, uint64_t offset, uint64_t size_bytes,
                       SignatureHit *hits, size_t n_hits_max) {
        Scan scan = {
                .data = data,
                .n = n,
                .offset = offset,
                .size_bytes = size_bytes,
                .hits = hits,
                .n_hits_max = n_hits_max,
        };

        scan_table(&scan);
        scan_swap(&scan);
        scan_md_end(&scan);
        scan_zfs(&scan);
        scan_mbr(&scan);
        return scan.n_hits;
}
