/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read of a device before it is called blank. Pure: the random phase is given.
 *
 * Known places come from the one table in signatures.c. Copies of XFS' superblock have no known
 * place once the first is lost: they stand at the size of an allocation group, which is a fraction
 * of what the size was at mkfs. So the fractions of the present size are read, and, for a disk that
 * was grown or cut since, every round offset: group number n of n begins where the old disk ended,
 * and disks have round sizes. The samples are for everything that no rule knows.
 */

#include "fs/look/inspect.h"
#include "fs/look/signatures.h"

#include <stdlib.h>

#define KIB   UINT64_C(1024)
#define MIB   (KIB * KIB)
#define GIB   (KIB * MIB)
#define PROBE (4 * KIB)

/* Either end, where most formats keep something. */
#define HEAD_BYTES MIB
#define TAIL_BYTES (4 * MIB)
/* All of it is read up to here. */
#define WHOLE_BYTES (64 * MIB)

/* Groups by number of processors (xfsprogs 6.8), 32 for stripes, or as the user said. */
#define XFS_GROUPS_MAX  128
#define XFS_GROUP_BYTES (16 * KIB)
#define XFS_LARGEST     (UINT64_C(268435455) * PROBE)
#define ROUNDS          1024
/* On either side: what a format kept at the end of a smaller disk, and groups, whose sizes are
 * rounded up to whole blocks, so that n of them may reach a little further. */
#define BEFORE_BYTES (64 * KIB)
#define ROUND_BYTES  (16 * KIB)
#define SAMPLES      1000
/* No more candidates for former sizes once there are so many reads. */
#define FORMER_END 4080
/* GiB below the present size. */
#define NEAR_SIZES 64

typedef struct Regions {
        uint64_t size_bytes;
        FsRegion *regions;
        size_t n;
} Regions;

static void add(Regions *to, uint64_t offset, uint64_t n) {
        if (offset >= to->size_bytes || to->n == FS_REGIONS_MAX)
                return;
        if (n > to->size_bytes - offset)
                n = to->size_bytes - offset;
        to->regions[to->n++] = (FsRegion){.offset = offset, .n = n};
}

/* Split into reads that can go side by side. */
static void add_all(Regions *to, uint64_t offset, uint64_t n) {
        for (uint64_t at = 0; at < n; at += FS_REGION_BYTES_MAX)
                add(to, offset + at, n - at < FS_REGION_BYTES_MAX ? n - at : FS_REGION_BYTES_MAX);
}

static void add_place(void *userdata, uint64_t offset, size_t n) {
        uint64_t start = offset & ~(PROBE - 1);

        add(userdata, start, (offset + n - start + PROBE - 1) & ~(PROBE - 1));
}

static void add_fractions(Regions *to) {
        uint64_t n_blocks = to->size_bytes / PROBE;

        for (uint64_t n = 2; n <= XFS_GROUPS_MAX; n++)
                add(to, (n_blocks + n - 1) / n * PROBE, XFS_GROUP_BYTES);
        /* The largest group there is, from 4 TiB on. */
        for (uint64_t n = 1; n <= XFS_GROUPS_MAX && n * XFS_LARGEST < to->size_bytes; n++)
                add(to, n * XFS_LARGEST, XFS_GROUP_BYTES);
}

/* Of a few groups each, in case the first copies are gone too. */
static void add_multiples(Regions *to) {
        uint64_t n_blocks = to->size_bytes / PROBE;

        for (uint64_t n = 3; n <= 8; n++)
                for (uint64_t i = 2; i < n; i++)
                        add(to, (n_blocks + n - 1) / n * i * PROBE, XFS_GROUP_BYTES);
}

static uint64_t round_step(uint64_t size_bytes) {
        uint64_t step = MIB;

        while (size_bytes / step > ROUNDS)
                step *= 2;
        return step;
}

static void add_rounds(Regions *to) {
        uint64_t step = round_step(to->size_bytes);

        for (uint64_t i = 1; i <= to->size_bytes / step; i++)
                add(to, i * step - BEFORE_BYTES, BEFORE_BYTES + ROUND_BYTES);
}

/* Whether one of @n groups of this size begins where add_rounds() reads. */
static bool is_on_round(const Regions *to, uint64_t group_bytes, uint64_t n) {
        uint64_t step = round_step(to->size_bytes);

        for (uint64_t i = 1; i < n && i * group_bytes < to->size_bytes; i++) {
                uint64_t over = i * group_bytes % step;

                if (over < ROUND_BYTES || over >= step - BEFORE_BYTES)
                        return true;
        }
        return false;
}

/* Group 1 of a disk of @size_bytes, for the numbers of groups that people and processors make and
 * that are no power of two, which come out round. */
static void add_former_size(Regions *to, uint64_t size_bytes) {
        static const uint8_t n_groups[] = {3,  5,  6,  7,  9,  10, 11,  12,  13, 14, 18,
                                           20, 22, 24, 26, 28, 30, 36,  40,  44, 48, 52,
                                           56, 60, 72, 80, 88, 96, 104, 112, 176};

        for (size_t k = 0; k < sizeof(n_groups); k++) {
                uint64_t group = (size_bytes / PROBE + n_groups[k] - 1) / n_groups[k] * PROBE;

                if (!is_on_round(to, group, n_groups[k]) && to->n < FORMER_END)
                        add(to, group, PROBE);
        }
}

/* A sixteenth of a power of two, or two digits and zeros: 300 GiB, 1100 GiB. The likeliest first:
 * there is an end to it. */
static void add_former_sizes(Regions *to) {
        uint64_t unit = MIB, tens = GIB;

        while (unit <= to->size_bytes / 32)
                unit *= 2;
        for (uint64_t i = 1; i <= 48; i++)
                add_former_size(to, i * unit);
        while (tens <= to->size_bytes / 100)
                tens *= 10;
        for (uint64_t i = 1; i < 100; i++)
                if (i * tens > to->size_bytes / 4 && i * tens / 2 < to->size_bytes)
                        add_former_size(to, i * tens);
}

/* A disk that was grown by a few GiB, with the four groups that mkfs.xfs makes by itself. */
static void add_near_sizes(Regions *to) {
        uint64_t former = to->size_bytes / GIB;

        for (uint64_t i = 0; i < NEAR_SIZES && i + 1 < former && to->n < FORMER_END; i++)
                add(to, ((former - i) * GIB / PROBE + 3) / 4 * PROBE, PROBE);
}

static void add_samples(Regions *to, uint64_t phase) {
        uint64_t step = to->size_bytes / SAMPLES & ~(PROBE - 1);

        for (uint64_t i = 0; i < SAMPLES; i++)
                add(to, i * step + (phase % step & ~(PROBE - 1)), PROBE);
}

static int compare(const void *a, const void *b) {
        const FsRegion *left = a, *right = b;

        return (left->offset > right->offset) - (left->offset < right->offset);
}

/* Of two that overlap the later one loses what the earlier one has. */
static size_t cut(FsRegion *regions, size_t n) {
        uint64_t end = 0;
        size_t kept = 0;

        for (size_t i = 0; i < n; i++) {
                FsRegion region = regions[i];

                if (region.offset + region.n <= end)
                        continue;
                if (region.offset < end) {
                        region.n -= end - region.offset;
                        region.offset = end;
                }
                end = region.offset + region.n;
                regions[kept++] = region;
        }
        return kept;
}

static size_t finish(Regions *to) {
        qsort(to->regions, to->n, sizeof(to->regions[0]), compare);
        return cut(to->regions, to->n);
}

static void add_places(Regions *to) {
        uint64_t size = to->size_bytes;

        add_all(to, 0, size < HEAD_BYTES ? size : HEAD_BYTES);
        add_all(to, size > TAIL_BYTES ? (size - TAIL_BYTES) & ~(PROBE - 1) : 0, TAIL_BYTES + PROBE);
        signatures_places(size, add_place, to);
        add_fractions(to);
}

size_t fs_known_places(uint64_t size_bytes, FsRegion *regions) {
        Regions to = {.size_bytes = size_bytes, .regions = regions};

        add_places(&to);
        return finish(&to);
}

size_t fs_blank_regions(uint64_t size_bytes, uint64_t phase, FsRegion *regions) {
        Regions to = {.size_bytes = size_bytes, .regions = regions};

        if (size_bytes <= WHOLE_BYTES) {
                add_all(&to, 0, size_bytes);
                return finish(&to);
        }
        add_places(&to);
        add_rounds(&to);
        add_multiples(&to);
        add_samples(&to, phase);
        add_near_sizes(&to);
        add_former_sizes(&to);
        return finish(&to);
}
