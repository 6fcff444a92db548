/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of places, and the few that need arithmetic: swap (the writer's page size), ZFS (a ring
 * of uberblocks in four labels, two of them at the end), ext and XFS (copies by the size of a
 * group). Sources: the formats' own headers, documents and libblkid's probes.
 */

#include "fs/look/signatures.h"

#include "fs/volume/bytes.h"

#include "common/base/cleanup.h"

#include <string.h>

typedef struct Magic {
        const char *type, *usage;
        uint64_t offset;
        uint8_t n;
        const char *bytes;
        /* From the end if not 0: the place is the last one at least @back bytes before the end that
         * is a multiple of @align, and @offset counts from there. */
        uint32_t back, align;
        bool is_copy; /* only looked for where nothing else is: other filesystems leave it alone, or
                         have data there */
} Magic;

#define COPY          true
#define GIB           (UINT64_C(1) << 30)
#define BCACHE_FAMILY "\xc6\x85\x73\xf6"
#define BCACHEFS      BCACHE_FAMILY "\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"
#define MD            "\xfc\x4e\x2b\xa9"
#define BLUESTORE     "bluestore block device"

/* clang-format off */
static const Magic magics[] = {
{"LVM2_member", "raid", 0,        8, "LABELONE"},
{"LVM2_member", "raid", 512,      8, "LABELONE"},
{"LVM2_member", "raid", 1024,     8, "LABELONE"},
{"LVM2_member", "raid", 1536,     8, "LABELONE"},
{"LVM2_member", "raid", 4096 + 4, 16, " LVM2 x[5A%r0N*>", 0, 0, COPY},
{"linux_raid_member", "raid", 0,    4, MD},
{"linux_raid_member", "raid", 4096, 4, MD},
{"linux_raid_member", "raid", 0,    4, MD, 8192, 4096},
{"linux_raid_member", "raid", 0,    4, MD, 65536, 65536},
{"linux_raid_member", "raid", 0,    4, "\xa9\x2b\x4e\xfc", 65536, 65536},
{"ddf_raid_member",   "raid", 0,    4, "\xde\x11\xde\x11", 512, 512, COPY},
{"ddf_raid_member",   "raid", 0,    4, "\xde\x11\xde\x11", 257 * 512, 512, COPY},
{"isw_raid_member",   "raid", 0,   24, "Intel Raid ISM Cfg Sig. ", 1024, 512, COPY},
{"lsi_mega_raid_member", "raid", 0, 6, "$XIDE$", 512, 512, COPY},
{"nvidia_raid_member", "raid", 0,   8, "NVIDIA  ", 1024, 512, COPY},
{"jmicron_raid_member", "raid", 0,  2, "JM", 512, 512, COPY},
{"promise_fasttrack_raid_member", "raid", 0, 24, "Promise Technology, Inc.", 63 * 512, 512, COPY},
{"promise_fasttrack_raid_member", "raid", 0, 24, "Promise Technology, Inc.", 255 * 512, 512, COPY},
{"promise_fasttrack_raid_member", "raid", 0, 24, "Promise Technology, Inc.", 256 * 512, 512, COPY},
{"adaptec_raid_member", "raid", 0,  4, "DPTM", 512, 512, COPY},
{"hpt37x_raid_member", "raid", 9 * 512 + 32, 4, "\xf0\x16\x78\x5a", 0, 0, COPY},
{"hpt45x_raid_member", "raid", 0,   4, "\xf3\x16\x78\x5a", 11 * 512, 512, COPY},
{"bcache",   "raid",       4096 + 24, 16, BCACHE_FAMILY "\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"},
{"bcachefs", "filesystem", 4096 + 24, 16, BCACHEFS},
{"bcachefs", "filesystem", (1U << 20) + 4096 + 24, 16, BCACHEFS, 0, 0, COPY},
{"bcachefs", "filesystem", (2U << 20) + 24, 16, BCACHEFS},
{"bcachefs", "filesystem", (2U << 20) + 4096 + 24, 16, BCACHEFS, 0, 0, COPY},
{"stratis",  "raid", 512 + 4,  8, "!Stra0ti"},
{"stratis",  "raid", 4608 + 4, 8, "!Stra0ti"},
{"vdo",      "raid", 0,        8, "dmvdo001"},
{"DM_snapshot_cow", "raid", 0, 4, "SnAp", 0, 0, COPY},
{"DM_verity_hash",  "raid", 0, 8, "verity\0\0", 0, 0, COPY},
{"DM_integrity",    "raid", 0, 8, "integrt\0", 0, 0, COPY},
{"oracleasm", "raid", 32, 8, "ORCLDISK", 0, 0, COPY},
{"oracleasm", "raid", (2U << 20) - 2 * 4096 + 32, 8, "ORCLDISK", 0, 0, COPY},
{"spdk_blobstore", "raid", 0, 8, "SPDKBLOB", 0, 0, COPY},
{"ldm", "raid", UINT64_C(6) * 512, 8, "PRIVHEAD", 0, 0, COPY},
{"ldm", "raid", 0, 8, "PRIVHEAD", 512, 512, COPY},
{"ceph_bluestore", "other", 0,          22, BLUESTORE},
{"ceph_bluestore", "other", GIB,        22, BLUESTORE, 0, 0, COPY},
{"ceph_bluestore", "other", 10 * GIB,   22, BLUESTORE, 0, 0, COPY},
{"ceph_bluestore", "other", 100 * GIB,  22, BLUESTORE, 0, 0, COPY},
{"ceph_bluestore", "other", 1000 * GIB, 22, BLUESTORE, 0, 0, COPY},
{"drbd", "raid", 60, 4, "\x83\x74\x02\x67", 4096, 4096},
{"drbd", "raid", 60, 4, "\x83\x74\x02\x6b", 4096, 4096},
{"drbd", "raid", 60, 4, "\x83\x74\x02\x6d", 4096, 4096},
{"crypto_LUKS", "crypto", 0,        6, "LUKS\xba\xbe"},
{"crypto_LUKS", "crypto", 0x4000,   6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x8000,   6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x10000,  6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x20000,  6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x40000,  6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x80000,  6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x100000, 6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x200000, 6, "SKUL\xba\xbe"},
{"crypto_LUKS", "crypto", 0x400000, 6, "SKUL\xba\xbe"},
{"BitLocker",   "crypto", 3,         8, "-FVE-FS-"},
{"gpt", "partitions", 512,  8, "EFI PART"},
{"gpt", "partitions", 4096, 8, "EFI PART"},
{"gpt-backup", "partitions", 0, 8, "EFI PART", 512, 512},
{"gpt-backup", "partitions", 0, 8, "EFI PART", 4096, 4096},
{"ocfs2",    "filesystem", 1024, 6, "OCFSV2"},
{"ocfs2",    "filesystem", 2048, 6, "OCFSV2"},
{"ocfs2",    "filesystem", 4096, 6, "OCFSV2"},
{"ocfs2",    "filesystem", 8192, 6, "OCFSV2"},
{"ocfs2",    "filesystem", GIB,        6, "OCFSV2", 0, 0, COPY},
{"ocfs2",    "filesystem", 4 * GIB,    6, "OCFSV2", 0, 0, COPY},
{"ocfs2",    "filesystem", 16 * GIB,   6, "OCFSV2", 0, 0, COPY},
{"ocfs2",    "filesystem", 64 * GIB,   6, "OCFSV2", 0, 0, COPY},
{"ocfs2",    "filesystem", 256 * GIB,  6, "OCFSV2", 0, 0, COPY},
{"ocfs2",    "filesystem", 1024 * GIB, 6, "OCFSV2", 0, 0, COPY},
{"gfs2",     "filesystem", 65536, 4, "\x01\x16\x19\x70"},
{"reiserfs", "filesystem", 65536 + 0x34, 6, "ReIsEr"},
{"jfs",      "filesystem", 32768, 4, "JFS1"},
{"jfs",      "filesystem", 61440, 4, "JFS1", 0, 0, COPY},
{"apfs",     "filesystem", 32,    4, "NXSB"},
{"ReFS",     "filesystem", 0,     8, "\0\0\0ReFS\0"},
{"ntfs",     "filesystem", 3, 8, "NTFS    ", 512, 512, COPY},
{"VMFS_volume_member", "raid", 1U << 20, 4, "\x0d\xd0\x01\xc0"},
{"VMFS",     "filesystem", 2U << 20, 4, "\x5e\xf1\xab\x2f", 0, 0, COPY},
{"xfs_external_log", "other", 0, 4, "\xfe\xed\xba\xbe"},
{"iso9660",  "filesystem", 32769, 5, "CD001"},
{"udf",      "filesystem", UINT64_C(256) * 2048, 2, "\x02\0", 0, 0, COPY},
{"hfsplus",  "filesystem", 1024, 4, "H+\0\x04"},
{"hfsplus",  "filesystem", 0, 4, "H+\0\x04", 1024, 512, COPY},
{"nilfs2",   "filesystem", 1024 + 6, 2, "\x34\x34"},
{"nilfs2",   "filesystem", 6, 2, "\x34\x34", 4096, 4096, COPY},
{"f2fs",     "filesystem", 5120, 4, "\x10\x20\xf5\xf2", 0, 0, COPY},
{"btrfs",    "filesystem", (64U << 20) + 0x40, 8, "_BHRfS_M"},
{"btrfs",    "filesystem", (256 * GIB) + 0x40, 8, "_BHRfS_M"},
};
/* clang-format on */

#define EXT_MAGIC_AT 0x38U
#define EXT_GROUP_AT 0x5aU
#define XFS_MAGIC    UINT32_C(0x58465342)

static const char *const swap_magics[] = {
        "SWAP-SPACE", "SWAPSPACE2", "S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "LINHIB0001",
};

/* A window of the device, and where the hits go. */
typedef struct Scan {
        const uint8_t *data;
        size_t n;
        uint64_t offset, size_bytes;
        bool copies;
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

/* Where it stands on a device of this size. */
static bool magic_place(const Magic *magic, uint64_t size_bytes, uint64_t *offsetp) {
        uint64_t end;

        *offsetp = magic->offset;
        if (magic->back == 0)
                return true;
        if (size_bytes < magic->back)
                return false;
        end = size_bytes - magic->back;
        *offsetp += end - end % magic->align;
        return true;
}

static void scan_table(Scan *scan) {
        for (size_t i = 0; i < N_ELEMENTS(magics); i++) {
                const Magic *magic = &magics[i];
                const uint8_t *at;
                uint64_t offset;

                if ((magic->is_copy && !scan->copies) ||
                    !magic_place(magic, scan->size_bytes, &offset))
                        continue;
                at = window(scan, offset, magic->n);
                if (at && memcmp(at, magic->bytes, magic->n) == 0)
                        hit(scan, magic->type, magic->usage, offset);
        }
}

typedef void ExtPlace(void *userdata, uint64_t offset, uint64_t group);

/*
 * Every copy that a device of @end bytes can have. A group has eight clusters (without bigalloc:
 * blocks) for each byte of a block: 8 MiB with blocks of 1 KiB, and then they begin at block 1, to
 * 1 TiB with clusters of 2 MiB. With sparse_super groups 1 and the powers of 3, 5 and 7 have a
 * copy, with sparse_super2 group 1 and the last.
 */
static void ext_places(uint64_t end, ExtPlace *place, void *userdata) {
        static const uint8_t bases[] = {3, 5, 7};

        for (unsigned int shift = 23; shift <= 40; shift++) {
                uint64_t start = shift == 23 ? 1024 : 0, last;

                if (end <= start)
                        return;
                last = (end - start - 1) >> shift;
                if (last >= 1)
                        place(userdata, (UINT64_C(1) << shift) + start, 1);
                if (last > 1)
                        place(userdata, (last << shift) + start, last);
                for (size_t i = 0; i < N_ELEMENTS(bases); i++)
                        for (uint64_t group = bases[i]; group <= last; group *= bases[i])
                                place(userdata, (group << shift) + start, group);
        }
}

/* The number of the group is in its copy. */
static void scan_ext_place(void *userdata, uint64_t offset, uint64_t group) {
        Scan *scan = userdata;
        const uint8_t *at = window(scan, offset, 1024);

        if (at && le16(at + EXT_MAGIC_AT) == 0xef53 && le16(at + EXT_GROUP_AT) == (uint16_t)group)
                hit(scan, "ext", "filesystem", offset + EXT_MAGIC_AT);
}

static void scan_ext(Scan *scan) {
        ext_places(scan->size_bytes, scan_ext_place, scan);
}

/* Wherever a group begins; the head's own superblock is for its reader. */
static void scan_xfs(Scan *scan) {
        for (size_t at = 0; scan->n - at >= 512; at += 512)
                if (be32(scan->data + at) == XFS_MAGIC && scan->offset + at > 0) {
                        hit(scan, "xfs", "filesystem", scan->offset + at);
                        return;
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
                       bool copies, SignatureHit *hits, size_t n_hits_max) {
        Scan scan = {
                .data = data,
                .n = n,
                .offset = offset,
                .size_bytes = size_bytes,
                .copies = copies,
                .hits = hits,
                .n_hits_max = n_hits_max,
        };

        scan_table(&scan);
        scan_swap(&scan);
        if (copies) {
                scan_ext(&scan);
                scan_xfs(&scan);
        }
        scan_zfs(&scan);
        scan_mbr(&scan);
        return scan.n_hits;
}

typedef struct Places {
        void (*place)(void *userdata, uint64_t offset, size_t n);
        void *userdata;
} Places;

static void add_ext_place(void *userdata, uint64_t offset, uint64_t group) {
        Places *to = userdata;

        to->place(to->userdata, offset, 1024);
}

void signatures_places(uint64_t size_bytes,
                       void (*place)(void *userdata, uint64_t offset, size_t n), void *userdata) {
        Places to = {.place = place, .userdata = userdata};
        uint64_t zfs_end = size_bytes & ~UINT64_C(0x3ffff), offset;

        for (size_t i = 0; i < N_ELEMENTS(magics); i++)
                if (magic_place(&magics[i], size_bytes, &offset))
                        place(userdata, offset, magics[i].n);
        for (uint64_t page = 4096; page <= 65536; page *= 2)
                place(userdata, page - 10, 10);
        ext_places(size_bytes, add_ext_place, &to);
        /* The two labels at the start lie in the first MiB. */
        for (uint64_t back = 0x40000; back <= 0x80000 && zfs_end >= back; back += 0x40000)
                place(userdata, zfs_end - back + 0x20000, 4096);
}
