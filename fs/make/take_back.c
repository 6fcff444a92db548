/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking back what a mkfs of ours left half made, and nothing else: it is ours if it carries the
 * UUID that this mkfs was given, and if nothing on the device speaks against that: no signature of
 * another, no data where the superblock belongs, no sector of what is to be cleared that no mkfs
 * writes. What a refusal, another program or another host is the reason for stays as it is.
 */

#include "fs/make/mkfs.h"

#include "fs/formats/format.h"
#include "fs/look/inspect.h"
#include "fs/look/signatures.h"
#include "fs/volume/bytes.h"
#include "fs/volume/checksum.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define STEP FS_REGION_BYTES_MAX
/* What is not zero is followed so far: group descriptors, bitmaps, the start of a journal. */
#define RUN_BYTES (UINT64_C(64) << 20)
/* All of it is looked at. */
#define WHOLE_BYTES (UINT64_C(1) << 30)

/* Header and key slots of LUKS2 as libcryptsetup lays them out. */
#define LUKS_BYTES (UINT64_C(16) << 20)
/* Of 512 random bytes 221 differ, give or take 5. What mke2fs, mkfs.xfs, mkfs.btrfs and mkfs.f2fs
 * make, of any size up to 3 TiB, has at most 131 values in a sector, and 246 printable characters
 * beside a label of 255. */
#define SECTOR_BYTES     512U
#define NOISE_VALUES_MIN 180
#define TEXT_CHARS_MIN   504

/* What mke2fs writes with a checksum that the UUID is part of, long before the superblock: its
 * cache decides what of it comes first. */
#define INODE_BYTES     256U
#define INODE_CHECKSUM  0x7cU
#define INODE_SIZE_MORE 0x80U
#define INODE_HIGH      0x82U
#define INODE_NUMBER    0x64U
#define INODE_ROOT      2U
#define INODE_LOST      11U /* lost+found */
/* The table begins with a block, and no block is smaller. */
#define GROUP_BYTES 1024U
#define GROUP_N     (GROUP_BYTES / INODE_BYTES)
#define GROUPS_MAX  16U /* mke2fs uses no inode behind these */

typedef struct Search {
        int fd;
        const FsClaim *claim;
        uint64_t size_bytes;
        FsRegion *regions;
        size_t n_regions;
        uint8_t *chunk; /* STEP */
        size_t n_ours;
        uint64_t data_at;  /* of the first data that nothing owns; UINT64_MAX */
        uint64_t data_end; /* of the last */
        char foreign[128]; /* "" or what is not ours, and where */
} Search;

static int read_step(const Search *search, uint64_t offset, size_t n) {
        FsReader reader;
        int r = fs_reader_from_fd(&reader, search->fd);

        return r < 0 ? r : reader.read(reader.userdata, offset, search->chunk, n);
}

static bool is_zero(const uint8_t *data, size_t n) {
        return n == 0 || (data[0] == 0 && memcmp(data, data + 1, n - 1) == 0);
}

static void found_foreign(Search *search, const char *type, uint64_t offset) {
        if (search->foreign[0] == '\0')
                (void)snprintf(search->foreign, sizeof(search->foreign), "%.40s at offset %llu",
                               type, (unsigned long long)offset);
}

static bool is_of_kind(const char *type, FsKind kind) {
        if (kind == FS_CLAIM_LUKS)
                return str_equal(type, "crypto_LUKS");
        return fs_kind_from_type(type) == kind ||
               (kind == FS_KIND_EXT && (str_equal(type, "ext") || str_equal(type, "jbd")));
}

/* LUKS has it as text. */
static bool has_uuid(const Search *search, const uint8_t *data, size_t n) {
        const uint8_t *uuid = search->claim->uuid;
        char text[37];

        if (search->claim->kind != FS_CLAIM_LUKS)
                return memmem(data, n, uuid, 16) != NULL;
        fs_uuid_format(uuid, text);
        return memmem(data, n, text, 36) != NULL;
}

/* A superblock has its UUID within a sector or two of its magic. */
static void judge_hit(Search *search, const SignatureHit *hit, uint64_t offset, size_t n) {
        size_t at = (size_t)(hit->offset - offset) & ~(size_t)511;

        if (!is_of_kind(hit->type, search->claim->kind) ||
            !has_uuid(search, search->chunk + at, n - at < 1024 ? n - at : 1024))
                found_foreign(search, hit->type, hit->offset);
}

static bool is_noise(const uint8_t *sector) {
        uint64_t seen[4] = {0};
        int n = 0;

        for (size_t i = 0; i < SECTOR_BYTES; i++)
                seen[sector[i] / 64] |= UINT64_C(1) << sector[i] % 64;
        for (size_t i = 0; i < N_ELEMENTS(seen); i++)
                n += __builtin_popcountll(seen[i]);
        return n >= NOISE_VALUES_MIN;
}

/* Tables and logs of people, rows, sources. */
static bool is_text(const uint8_t *sector) {
        unsigned int n = 0;

        for (size_t i = 0; i < SECTOR_BYTES; i++)
                n += (sector[i] >= ' ' && sector[i] < 0x7f) || sector[i] == '\n' ||
                     sector[i] == '\t' || sector[i] == '\r';
        return n >= TEXT_CHARS_MIN;
}

static void luks_mark(const FsClaim *claim, uint8_t mark[SECTOR_BYTES]) {
        static const char text[] = "berth: a LUKS header is being made";

        memset(mark, 0, SECTOR_BYTES);
        memcpy(mark, text, sizeof(text));
        memcpy(mark + sizeof(text), claim->uuid, sizeof(claim->uuid));
}

int fs_luks_mark(int fd, const FsClaim *claim) {
        uint8_t mark[SECTOR_BYTES];
        FsReader reader;
        ssize_t n;
        int r;

        r = fs_reader_from_fd(&reader, fd);
        if (r < 0 || reader.size_bytes < LUKS_BYTES + STEP)
                return r;
        luks_mark(claim, mark);
        n = pwrite(fd, mark, sizeof(mark), (off_t)LUKS_BYTES);
        if (n != (ssize_t)sizeof(mark))
                return n < 0 ? -errno : -EIO;
        return fsync(fd) < 0 ? -errno : 0;
}

/* Takes the mark out of what was read, so that it is no data of anybody. */
static bool hide_mark(const Search *search, uint64_t offset, size_t n) {
        uint8_t mark[SECTOR_BYTES];
        uint8_t *at = search->chunk + (LUKS_BYTES - offset);

        if (search->claim->kind != FS_CLAIM_LUKS || offset > LUKS_BYTES ||
            offset + n < LUKS_BYTES + SECTOR_BYTES)
                return false;
        luks_mark(search->claim, mark);
        if (memcmp(at, mark, sizeof(mark)) != 0)
                return false;
        memset(at, 0, sizeof(mark));
        return true;
}

static int judge_region(Search *search, const FsRegion *region) {
        SignatureHit hits[FS_HITS_MAX];
        size_t n = (size_t)region->n, n_hits;
        int r = read_step(search, region->offset, n);

        if (r == 0)
                (void)hide_mark(search, region->offset, n);
        if (r < 0 || is_zero(search->chunk, n))
                return r;
        if (has_uuid(search, search->chunk, n))
                search->n_ours++;
        else if (search->data_at == UINT64_MAX)
                search->data_at = region->offset;
        search->data_end = region->offset + n;
        n_hits = signatures_scan(search->chunk, n, region->offset, search->size_bytes, true, hits,
                                 N_ELEMENTS(hits));
        for (size_t i = 0; i < n_hits; i++)
                judge_hit(search, &hits[i], region->offset, n);
        return 0;
}

/* Of an inode whose generation is 0, and of what it has. */
static uint32_t ext_seed(const Search *search, uint32_t number) {
        uint8_t bytes[4];
        uint32_t sum;

        put_le32(bytes, number);
        sum = checksum_crc32c(UINT32_MAX, search->claim->uuid, sizeof(search->claim->uuid));
        sum = checksum_crc32c(sum, bytes, sizeof(bytes));
        put_le32(bytes, 0);
        return checksum_crc32c(sum, bytes, sizeof(bytes));
}

/* One without more than its first 128 bytes has half of the sum. */
static bool has_inode_sum(const Search *search, const uint8_t *inode, uint32_t number) {
        bool is_whole = le16(inode + INODE_SIZE_MORE) >= 4;
        uint8_t copy[INODE_BYTES];
        uint32_t sum;

        if (le32(inode + INODE_NUMBER) != 0)
                return false;
        memcpy(copy, inode, sizeof(copy));
        memset(copy + INODE_CHECKSUM, 0, 2);
        if (is_whole)
                memset(copy + INODE_HIGH, 0, 2);
        sum = checksum_crc32c(ext_seed(search, number), copy, sizeof(copy));
        return le16(inode + INODE_CHECKSUM) == (uint16_t)sum &&
               (!is_whole || le16(inode + INODE_HIGH) == (uint16_t)(sum >> 16));
}

/* Four inodes of the table's start: their halves together are as good as two whole sums. */
static bool are_our_inodes(const Search *search, const uint8_t *group) {
        for (uint32_t first = 1; first < GROUPS_MAX * GROUP_N; first += GROUP_N) {
                uint32_t i = 0;

                while (i < GROUP_N &&
                       has_inode_sum(search, group + (size_t)i * INODE_BYTES, first + i))
                        i++;
                if (i == GROUP_N)
                        return true;
        }
        return false;
}

static bool is_our_root(const Search *search, const uint8_t *group) {
        const uint8_t *root = group + INODE_BYTES;

        return le16(root) == 040755 && le16(root + INODE_SIZE_MORE) >= 4 &&
               has_inode_sum(search, root, INODE_ROOT);
}

/* The block of a directory ends with an entry that only has the sum: inode 0, 12 bytes, no name,
 * type 0xde. */
static bool is_our_directory(const Search *search, const uint8_t *block, size_t n) {
        static const uint8_t tail[8] = {0, 0, 0, 0, 12, 0, 0, 0xde};
        const size_t n_before = n - 12;

        if (memcmp(block + n_before, tail, sizeof(tail)) != 0)
                return false;
        return le32(block + n - 4) ==
                       checksum_crc32c(ext_seed(search, INODE_ROOT), block, n_before) ||
               le32(block + n - 4) ==
                       checksum_crc32c(ext_seed(search, INODE_LOST), block, n_before);
}

static bool has_ext_sum(const Search *search, const uint8_t *at, size_t offset, size_t n_left) {
        if (is_zero(at, GROUP_BYTES))
                return false;
        if (is_our_root(search, at) || are_our_inodes(search, at))
                return true;
        for (size_t n = GROUP_BYTES; n <= n_left && offset % n == 0 && n <= STEP; n *= 2)
                if (is_our_directory(search, at, n))
                        return true;
        return false;
}

static int look_for_sums(Search *search) {
        for (uint64_t at = 0; at < RUN_BYTES && at < search->size_bytes; at += STEP) {
                uint64_t left = search->size_bytes - at;
                size_t n = left < STEP ? (size_t)left : STEP;
                int r = read_step(search, at, n);

                if (r < 0)
                        return r;
                for (size_t k = 0; k + GROUP_BYTES <= n; k += GROUP_BYTES)
                        if (has_ext_sum(search, search->chunk + k, k, n - k)) {
                                search->n_ours++;
                                return 0;
                        }
        }
        return 0;
}

/* What the readers of superblocks and libblkid see, which know more than magics. */
static int judge_whole(Search *search) {
        cleanup(freep) FsInspection *seen = calloc(1, sizeof(*seen));
        cleanup(freep) FsVolume *volume = calloc(1, sizeof(*volume));
        FsReader reader;
        int r;

        if (!seen || !volume)
                return -ENOMEM;
        r = fs_reader_from_fd(&reader, search->fd);
        if (r == 0)
                r = fs_read_volume(&reader, volume);
        if (r < 0)
                return r;
        if (r != FS_E_NONE &&
            (volume->kind != search->claim->kind ||
             memcmp(volume->uuid, search->claim->uuid, sizeof(volume->uuid)) != 0))
                found_foreign(search, volume->type, 0);
        r = fs_inspect_library(search->fd, NULL, seen);
        for (size_t i = 0; r >= 0 && i < seen->n_hits; i++)
                if (!is_of_kind(seen->hits[i].type, search->claim->kind))
                        found_foreign(search, seen->hits[i].type, seen->hits[i].offset);
        return r;
}

/*
 * Before the header itself is written, cryptsetup fills its place with noise; nothing else is
 * written at all. 1: there is such noise and nothing else, and the mark shows that it was begun.
 */
static int is_begun_luks(const Search *search) {
        int r;

        if (search->data_end > LUKS_BYTES || search->size_bytes < LUKS_BYTES + STEP)
                return 0;
        r = read_step(search, LUKS_BYTES, STEP);
        if (r < 0 || !hide_mark(search, LUKS_BYTES, STEP) || !is_zero(search->chunk, STEP))
                return r;
        for (uint64_t at = 0; at < LUKS_BYTES; at += STEP) {
                r = read_step(search, at, STEP);
                if (r < 0)
                        return r;
                for (size_t k = 0; k < STEP; k += SECTOR_BYTES)
                        if (!is_zero(search->chunk + k, SECTOR_BYTES) &&
                            !is_noise(search->chunk + k))
                                return 0;
        }
        return 1;
}

static int judge(Search *search) {
        int r = judge_whole(search);

        for (size_t i = 0; r == 0 && i < search->n_regions; i++)
                r = judge_region(search, &search->regions[i]);
        if (r == 0 && search->n_ours == 0 && search->claim->kind == FS_KIND_EXT)
                r = look_for_sums(search);
        if (r == 0 && search->n_ours == 0 && search->claim->kind == FS_CLAIM_LUKS)
                r = is_begun_luks(search);
        if (r == 1)
                search->n_ours++;
        return r < 0 ? r : 0;
}

/* --- zeros --- */

/* One step of what is to be cleared. Return: 0; 1: it is zero already; <0. */
typedef int (*StepFunction)(Search *search, uint64_t offset, size_t n);

static int read_place(const Search *search, uint64_t offset, size_t *np) {
        uint64_t left = search->size_bytes - offset;
        int r;

        *np = left < STEP ? (size_t)left : STEP;
        r = read_step(search, offset, *np);
        return r < 0 ? r : is_zero(search->chunk, *np);
}

static int clear_step(Search *search, uint64_t offset, size_t n) {
        return fs_write_zeros(search->fd, offset, n);
}

/* The UUID says whose the filesystem is, and not whose every sector is. */
static int judge_step(Search *search, uint64_t offset, size_t n) {
        /* Key slots are noise. */
        if (search->claim->kind == FS_CLAIM_LUKS && offset < LUKS_BYTES)
                return 0;
        for (size_t k = 0; k + SECTOR_BYTES <= n; k += SECTOR_BYTES)
                if (is_noise(search->chunk + k) || is_text(search->chunk + k))
                        found_foreign(search, "data that no mkfs writes", offset + k);
        return 0;
}

static int do_step(Search *search, uint64_t offset, StepFunction step) {
        size_t n;
        int r = read_place(search, offset, &n);

        return r != 0 ? r : step(search, offset, n);
}

static int do_run(Search *search, uint64_t offset, StepFunction step) {
        uint64_t end = offset + RUN_BYTES;
        int r = 0;

        for (offset &= ~(STEP - 1); r == 0 && offset < end && offset < search->size_bytes;
             offset += STEP)
                r = do_step(search, offset, step);
        return r < 0 ? r : 0;
}

/* From the end to the start: while anything is left the superblock at the start says whose it is.
 */
static int do_all(Search *search, StepFunction step) {
        bool whole = search->size_bytes <= WHOLE_BYTES;
        uint64_t head = whole ? search->size_bytes : RUN_BYTES;
        int r = 0;

        for (size_t i = search->n_regions; !whole && r == 0 && i-- > 0;)
                if (search->regions[i].offset >= head)
                        r = do_run(search, search->regions[i].offset, step);
        for (uint64_t at = (head + STEP - 1) / STEP * STEP; r >= 0 && at > 0; at -= STEP) {
                if (at == STEP && step == clear_step && fsync(search->fd) < 0)
                        return -errno;
                r = do_step(search, at - STEP, step);
        }
        return r < 0 ? r : 0;
}

static int clear_all(Search *search) {
        int r = do_all(search, clear_step);

        return r < 0 ? r : fsync(search->fd) < 0 ? -errno : 0;
}

/* Where each has its first superblock; nothing is written before it but zeros. */
static size_t superblock_offset(FsKind kind) {
        return kind == FS_KIND_EXT || kind == FS_KIND_F2FS ? 1024
               : kind == FS_KIND_BTRFS                     ? 65536
                                                           : 0;
}

/* Copies of a superblock are left when somebody begins at the start with data of his own. */
static int judge_head(Search *search) {
        size_t at = superblock_offset(search->claim->kind), n;
        int r = read_place(search, 0, &n);

        if (r != 0 || search->claim->kind == FS_CLAIM_LUKS || n < at + SECTOR_BYTES)
                return r < 0 ? r : 0;
        if (!is_zero(search->chunk, at) || (!is_zero(search->chunk + at, SECTOR_BYTES) &&
                                            !has_uuid(search, search->chunk + at, SECTOR_BYTES)))
                found_foreign(search, "data that is no superblock", 0);
        return 0;
}

static int judge_data(Search *search) {
        int r = search->n_ours == 0 ? 0 : judge_head(search);

        return r < 0 || search->n_ours == 0 ? r : do_all(search, judge_step);
}

/* --- the whole --- */

static int conclude(Search *search, Error *err) {
        char uuid[37];
        int r;

        if (search->foreign[0] == '\0' && search->n_ours == 0 && search->data_at == UINT64_MAX)
                return 0;
        fs_uuid_format(search->claim->uuid, uuid);
        if (search->foreign[0] != '\0')
                return error_set(err, ERROR_PRECONDITION,
                                 "the disk is left as it is: it holds %s, which is not what was "
                                 "being made (UUID %s)",
                                 search->foreign, uuid);
        if (search->n_ours == 0)
                return error_set(err, ERROR_PRECONDITION,
                                 "the disk is left as it is: it holds data at offset %llu that "
                                 "nothing shows to be what was being made (UUID %s)",
                                 (unsigned long long)search->data_at, uuid);
        r = clear_all(search);
        return r < 0 ? error_set_errno(err, r, "wipe what a mkfs of ours left half made") : 0;
}

int fs_take_back(int fd, const FsClaim *claim, Error *err) {
        cleanup(freep) FsRegion *regions = calloc(FS_REGIONS_MAX, sizeof(*regions));
        cleanup(freep) uint8_t *chunk = malloc(STEP);
        cleanup(closep) int own_fd = -1;
        Search search = {.claim = claim, .regions = regions, .chunk = chunk, .data_at = UINT64_MAX};
        FsReader reader;
        int r;

        if (!regions || !chunk)
                return error_set(err, ERROR_EXHAUSTED, "no memory to look at a device");
        own_fd = block_reopen(fd, O_RDWR | O_EXCL);
        if (own_fd == -EBUSY)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "the disk is left as it is: another program uses it");
        if (own_fd < 0)
                return error_set_errno(err, own_fd, "open the disk for itself alone");
        (void)block_flush(own_fd);
        r = fs_reader_from_fd(&reader, own_fd);
        search.fd = own_fd;
        search.size_bytes = reader.size_bytes;
        search.n_regions = r < 0 ? 0 : fs_blank_regions(reader.size_bytes, 0, regions);
        if (r == 0)
                r = judge(&search);
        if (r == 0)
                r = judge_data(&search);
        if (r < 0)
                return error_set_errno(err, r, "look at what a mkfs of ours left");
        return conclude(&search, err);
}
