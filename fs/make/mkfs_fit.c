/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What options need of each other and of the size. A mkfs drops by itself, or refuses, what does
 * not fit; here it is known before, so that the command says what will be made. The bounds were
 * found by running the tools of Debian 11 to 2026, and are held against them by
 * tests/integration/test_mkfs.py.
 */

#include "fs/make/mkfs_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <inttypes.h>
#include <stdio.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

void making_set(Making *m, char letter, const char *key, const char *value) {
        if (mkfs_options_set(&m->options, letter, key, value) < 0)
                m->full = true;
}

static void set_number(Making *m, char letter, const char *key, uint64_t value) {
        char text[24];

        (void)snprintf(text, sizeof(text), "%" PRIu64, value);
        making_set(m, letter, key, text);
}

uint64_t making_number(const Making *m, char letter, const char *key, uint64_t otherwise) {
        const MkfsOption *option = mkfs_options_find(&m->options, letter, key);
        uint64_t value;

        return option && fs_tool_size_parse(option->value, &value) == 0 ? value : otherwise;
}

uint32_t making_block(const Making *m) {
        switch (m->plan->kind) {
        case FS_KIND_EXT:
                return (uint32_t)making_number(m, 'b', "", 4096);
        case FS_KIND_XFS:
                return (uint32_t)making_number(m, 'b', "size", 4096);
        case FS_KIND_BTRFS:
                return (uint32_t)making_number(m, 's', "", 4096);
        case FS_KIND_NONE:
        case FS_KIND_F2FS:
        case FS_KIND_EROFS:
        case FS_KIND_SQUASHFS:
        case FS_KIND_VFAT:
        case FS_KIND_EXFAT:
        case FS_KIND_NTFS:
        case _FS_KIND_N:
                break;
        }
        return 4096;
}

/* Rounded up. */
static uint64_t whole(uint64_t n, uint64_t unit) {
        return n / unit + (n % unit != 0);
}

static bool on(const Making *m, char letter, const char *key) {
        return mkfs_options_on(&m->options, letter, key);
}

static bool by_user(const Making *m, char letter, const char *key) {
        return mkfs_options_by_user(&m->options, letter, key);
}

/* What decides how much is laid out: the size it is meant to have one day. */
static uint64_t meant_bytes(const Making *m) {
        const FsMakeRequest *request = m->request;

        return request->grow_to_bytes > request->size_bytes ? request->grow_to_bytes
                                                            : request->size_bytes;
}

/* --- base --- */

static void base_ext(Making *m) {
        making_set(m, 't', "", m->plan->fs_type);
        making_set(m, 'b', "", "4096");
        making_set(m, 'I', "", "256");
        making_set(m, 'm', "", "0");
        /* The device is zero where it matters: a discard costs minutes on some clouds. */
        making_set(m, 'E', "nodiscard", NULL);
}

static void base_xfs(Making *m) {
        making_set(m, 'b', "size", "4096");
        /* 512-byte sectors cannot be mounted on a 4Kn device, the other way round they can. */
        making_set(m, 's', "size", "4096");
        making_set(m, 'm', "crc", "1");
        /* Groups by the size alone: else by the processors of whichever node formats. */
        if (m->tool >= FS_VERSION(6, 8, 0)) {
                making_set(m, 'd', "concurrency", "0");
                making_set(m, 'l', "concurrency", "0");
        }
        making_set(m, 'K', "", NULL);
}

static void base_btrfs(Making *m) {
        /* Tools before 6.7 take the page size of the host that formats, those before 5.15 one copy
         * of the metadata where the disk says that it is none that turns. */
        making_set(m, 's', "", "4096");
        making_set(m, 'n', "", "16384");
        making_set(m, 'd', "", "single");
        making_set(m, 'm', "", "dup");
        making_set(m, 'K', "", NULL);
}

void making_base(Making *m) {
        if (m->plan->kind == FS_KIND_EXT)
                base_ext(m);
        else if (m->plan->kind == FS_KIND_XFS)
                base_xfs(m);
        else if (m->plan->kind == FS_KIND_BTRFS)
                base_btrfs(m);
}

/* --- rules --- */

static const char *option_text(char letter, const char *key, char text[48]) {
        (void)snprintf(text, 48, "-%c%s%s", letter, *key ? " " : "", key);
        return text;
}

/* A row that is not kept: what the plan chose gives way, and is no entry any more where the tool
 * must not be told "off". */
static int break_rule(Making *m, const FsToolRule *rule, Error *err) {
        bool ours = !by_user(m, rule->letter, rule->key);
        bool other_ours = !by_user(m, rule->other_letter, rule->other);
        char one[48], other[48];

        if (rule->excludes && (ours || other_ours)) {
                if (ours)
                        making_set(m, rule->letter, rule->key, "0");
                else
                        making_set(m, rule->other_letter, rule->other, "0");
                return 0;
        }
        if (!rule->excludes && ours) {
                making_set(m, rule->letter, rule->key, "0");
                return 0;
        }
        option_text(rule->letter, rule->key, one);
        option_text(rule->other_letter, rule->other, other);
        if (rule->excludes)
                return error_set(err, ERROR_INVALID, "mkfs options %s and %s exclude each other",
                                 one, other);
        return error_set(err, ERROR_INVALID,
                         "mkfs option %s needs %s, which is %s: ask for it as well, or leave both",
                         one, other, other_ours ? "left out here" : "turned off");
}

/* Twice: what gives way may be needed by a row before. */
static int keep_rules(Making *m, Error *err) {
        for (size_t i = 0; i < 2 * fs_n_tool_rules; i++) {
                const FsToolRule *rule = &fs_tool_rules[i % fs_n_tool_rules];
                int r;

                if (rule->kind != m->plan->kind || !on(m, rule->letter, rule->key) ||
                    on(m, rule->other_letter, rule->other) == !rule->excludes)
                        continue;
                r = break_rule(m, rule, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int too_small(const Making *m, uint64_t least_bytes, Error *err) {
        return error_set(err, ERROR_RANGE,
                         "%s with these options needs at least %" PRIu64 " MiB, the device has "
                         "%" PRIu64 " MiB",
                         m->plan->fs_type, (least_bytes + MIB - 1) / MIB,
                         m->request->size_bytes / MIB);
}

static int not_fit(const char *option, const char *why, Error *err) {
        return error_set(err, ERROR_INVALID, "mkfs option %s: %s", option, why);
}

/* --- ext --- */

/* Off, unless the user asked for it. */
static int drop(Making *m, const char *feature, const char *why, Error *err) {
        if (!on(m, 'O', feature))
                return 0;
        if (by_user(m, 'O', feature))
                return error_set(err, ERROR_RANGE, "mkfs option -O %s: %s", feature, why);
        making_set(m, 'O', feature, "0");
        return 0;
}

/* As mke2fs.conf of e2fsprogs has it for small, default, big and huge. */
static uint64_t inode_ratio(uint64_t size_bytes) {
        if (size_bytes >= 16 * TIB)
                return 65536;
        if (size_bytes >= 4 * TIB)
                return 32768;
        return size_bytes < 512 * MIB ? 4096 : 16384;
}

/* A group has a bitmap of one block for its clusters, and one for its inodes. mke2fs drops a last
 * group that has room for its own tables only. */
static uint64_t most_inodes(const Making *m, uint32_t block) {
        uint64_t cluster = making_number(m, 'C', "", on(m, 'O', "bigalloc") ? 16 * block : block);
        uint64_t bits = 8 * (uint64_t)block, group = bits * cluster, n_groups;
        uint64_t tables =
                bits * making_number(m, 'I', "", 256) + (block / 4 + 64) * (uint64_t)block;

        /* Without clusters mke2fs makes the groups smaller. */
        if (!on(m, 'O', "bigalloc"))
                return UINT64_MAX;
        n_groups = m->request->size_bytes / group;
        if (n_groups == 0 || m->request->size_bytes % group > tables)
                n_groups++;
        return n_groups * (bits - 64);
}

static uint64_t our_ratio(const Making *m, uint32_t block) {
        uint64_t ratio = inode_ratio(meant_bytes(m));

        while (m->request->size_bytes / ratio > most_inodes(m, block) && ratio < 64 * MIB)
                ratio *= 2;
        return ratio;
}

/* mke2fs takes one per 4 KiB, and at most one per block, where the ratio comes to none. */
static uint64_t asked_inodes(const Making *m, uint32_t block) {
        uint64_t size = m->request->size_bytes, ratio = making_number(m, 'i', "", 0);
        uint64_t count = ratio ? size / ratio : making_number(m, 'N', "", 0);

        return count ? count : size / (block > 4096 ? block : 4096);
}

static int fit_ext_inodes(Making *m, uint32_t block, Error *err) {
        uint64_t size = making_number(m, 'I', "", 256), ratio, count;

        if (size > block)
                return not_fit("-I", "an inode cannot be larger than a block", err);
        if (size == 128 && on(m, 'O', "inline_data"))
                return not_fit("-I", "inline_data needs inodes of at least 256 bytes", err);
        if (size == 128 && on(m, 'O', "project"))
                return not_fit("-I", "project needs inodes of at least 256 bytes", err);
        if (!mkfs_options_find(&m->options, 'i', "") && !mkfs_options_find(&m->options, 'N', ""))
                set_number(m, 'i', "", our_ratio(m, block));
        if (mkfs_options_find(&m->options, 'N', ""))
                mkfs_options_remove(&m->options, 'i', "");
        ratio = making_number(m, 'i', "", 0);
        count = asked_inodes(m, block);
        /* Half of the device: what is left must hold the journal and the tables. */
        if (count > m->request->size_bytes / 2 / size || (!ratio && count > UINT32_MAX / 2))
                return not_fit(ratio ? "-i" : "-N",
                               "so many inodes leave no room for data on this device", err);
        if (ratio && count > UINT32_MAX && !on(m, 'O', "64bit"))
                return not_fit("-i", "more than 2^32 inodes: expected a larger ratio", err);
        if (count > most_inodes(m, block))
                return not_fit(ratio ? "-i" : "-N",
                               "so many inodes do not fit into the block groups", err);
        return 0;
}

static int fit_ext_clusters(Making *m, uint32_t block, Error *err) {
        uint64_t cluster = making_number(m, 'C', "", on(m, 'O', "bigalloc") ? 16 * block : block);

        if (cluster < block || (on(m, 'O', "bigalloc") && cluster > 2048 * (uint64_t)block))
                return not_fit("-C", "expected from 1 to 2048 blocks", err);
        /* Half a group's clusters hold its tables. */
        if (on(m, 'O', "bigalloc") && m->request->size_bytes < 256 * cluster)
                return too_small(m, 256 * cluster, err);
        return 0;
}

/* Blocks of a group: a bitmap of one block for its clusters. Its inodes have one as well, so that
 * mke2fs makes groups smaller where many were asked for. */
static uint64_t group_blocks(const Making *m, uint64_t blocks, uint32_t block) {
        uint64_t cluster = making_number(m, 'C', "", 16 * (uint64_t)block),
                 bits = 8 * (uint64_t)block;
        uint64_t inodes = making_number(m, 'N', "", 0);
        uint64_t group = bits < 65528 ? bits : 65528;

        if (on(m, 'O', "bigalloc"))
                return group * (cluster / block);
        while (group > 256 && whole(inodes, whole(blocks, group)) > bits)
                group -= 8;
        return group;
}

/* Of all groups' descriptors, with what resize_inode keeps free behind them. */
static uint64_t descriptor_blocks(const Making *m, uint64_t blocks, uint32_t block) {
        uint64_t group = group_blocks(m, blocks, block), most = blocks * 1024;
        uint64_t per_block = block / (on(m, 'O', "64bit") ? 64 : 32), n, reserved;

        /* With blocks of 1 KiB the first is the boot sector's. */
        if (block == 1024 && !on(m, 'O', "bigalloc"))
                blocks--;
        n = whole(whole(blocks, group), per_block);
        if (!on(m, 'O', "resize_inode"))
                return n;
        if (most > UINT32_MAX)
                most = UINT32_MAX;
        reserved = whole(whole(most, group), per_block);
        reserved = reserved > n ? reserved - n : 0;
        return n + (reserved > block / 4 ? block / 4 : reserved);
}

/* As mke2fs counts: more than three quarters of a group. */
static bool is_filled_by_descriptors(const Making *m, uint64_t blocks, uint32_t block) {
        return descriptor_blocks(m, blocks, block) > group_blocks(m, blocks, block) * 3 / 4;
}

/* As mke2fs rounds them: whole blocks of each group's table, and whole bytes of its bitmap. */
static uint64_t made_inodes(const Making *m, uint64_t blocks, uint32_t block) {
        uint64_t n_groups = whole(blocks, group_blocks(m, blocks, block)), per_group;
        uint64_t per_block = block / making_number(m, 'I', "", 256);
        uint64_t wanted = asked_inodes(m, block);

        /* What is reserved, and one. */
        if (wanted < 12)
                wanted = 12;
        per_group = whole(whole(wanted, n_groups), per_block) * per_block & ~UINT64_C(7);
        return (per_group < 8 ? 8 : per_group) * n_groups;
}

/* "lost+found" and the orphan file come after ten that are reserved. */
static int fit_ext_least_inodes(const Making *m, uint64_t blocks, uint32_t block, Error *err) {
        if (made_inodes(m, blocks, block) >= 16)
                return 0;
        return not_fit(making_number(m, 'i', "", 0) ? "-i" : "-N",
                       "so few inodes of this size come to eight, expected sixteen", err);
}

/* What mke2fs has taken before it lays out the journal: at most that. */
static uint64_t table_blocks(const Making *m, uint64_t blocks, uint32_t block) {
        uint64_t n_groups, n_copies;

        n_groups = whole(blocks, group_blocks(m, blocks, block));
        /* Group 0, and powers of 3, 5 and 7. */
        n_copies = on(m, 'O', "sparse_super") && n_groups > 28 ? 28 : n_groups;
        return whole(asked_inodes(m, block) * making_number(m, 'I', "", 256), block) +
               4 * n_groups + n_copies * (1 + descriptor_blocks(m, blocks, block)) + 16;
}

/* Blocks that the journal takes: mke2fs makes none on less than 2048 blocks, and 1024 of them on
 * less than 32768. */
static int fit_ext_journal(Making *m, uint64_t blocks, uint32_t block, Error *err) {
        uint64_t journal = making_number(m, 'J', "size", 0) * MIB / block;
        uint64_t tables = table_blocks(m, blocks, block);

        if (blocks < 2048) {
                int r = drop(m, "has_journal", "the device is too small for a journal", err);

                return r < 0 ? r : keep_rules(m, err);
        }
        if (on(m, 'O', "has_journal") && journal == 0 && 1024 + tables > blocks)
                return not_fit("-I", "the tables of inodes leave no room for a journal", err);
        if (on(m, 'O', "fast_commit"))
                journal += journal / 4;
        if (journal != 0 && (journal < 1024 || journal > 10240000 || 2 * journal + tables > blocks))
                return not_fit("-J size",
                               "expected at least 1024 blocks, and at most half of what the "
                               "device has beside its tables",
                               err);
        return 0;
}

/* Then mke2fs spreads them over the disk, whatever it was asked for. */
static int spread_descriptors(Making *m, Error *err) {
        int r = drop(m, "resize_inode", "the descriptors of so many groups leave no room for it",
                     err);

        if (r < 0)
                return r;
        if (by_user(m, 'O', "meta_bg") && !on(m, 'O', "meta_bg"))
                return error_set(err, ERROR_RANGE,
                                 "mkfs option -O ^meta_bg: the descriptors of so many groups do "
                                 "not fit into one: use larger blocks");
        making_set(m, 'O', "meta_bg", "1");
        return 0;
}

static int fit_ext_large(Making *m, uint64_t blocks, uint32_t block, Error *err) {
        int r = 0;

        if (blocks > UINT32_MAX && !on(m, 'O', "64bit"))
                return error_set(
                        err, ERROR_RANGE,
                        "%s without 64bit has at most 2^32 blocks: use larger blocks, xfs, "
                        "or a host whose kernel and tools have 64bit",
                        m->plan->fs_type);
        /* Its numbers of blocks have 32 bits. Without it a mounted one grows by meta_bg. */
        if (blocks > UINT32_MAX)
                r = drop(m, "resize_inode", "it is for less than 2^32 blocks", err);
        if (r == 0 && !on(m, 'O', "meta_bg") && is_filled_by_descriptors(m, blocks, block))
                r = spread_descriptors(m, err);
        return r;
}

/* What a later growth needs now: reserved descriptors are enough for 1024 times the size. */
static int fit_ext_growth(Making *m, uint32_t block, Error *err) {
        uint64_t blocks = meant_bytes(m) / block;

        if (m->request->grow_to_bytes == 0)
                return 0;
        if (blocks > UINT32_MAX && !on(m, 'O', "64bit"))
                return error_set(err, ERROR_RANGE,
                                 "%s without 64bit does not grow beyond 2^32 blocks",
                                 m->plan->fs_type);
        if (blocks > UINT32_MAX || meant_bytes(m) / 1024 > m->request->size_bytes) {
                int r = drop(m, "resize_inode", "it reserves for 1024 times the size", err);

                if (r < 0)
                        return r;
                if (!mkfs_options_find(&m->options, 'O', "meta_bg"))
                        making_set(m, 'O', "meta_bg", "1");
        }
        return 0;
}

static int fit_ext(Making *m, Error *err) {
        uint32_t block = making_block(m);
        uint64_t blocks = m->request->size_bytes / block;
        int r = 0;

        if (blocks < 256)
                return too_small(m, 256 * (uint64_t)block, err);
        if (mkfs_options_find(&m->options, 'E', "discard"))
                mkfs_options_remove(&m->options, 'E', "nodiscard");
        r = fit_ext_clusters(m, block, err);
        if (r == 0)
                r = fit_ext_inodes(m, block, err);
        if (r == 0)
                r = fit_ext_least_inodes(m, blocks, block, err);
        if (r == 0)
                r = fit_ext_journal(m, blocks, block, err);
        if (r == 0)
                r = fit_ext_large(m, blocks, block, err);
        return r < 0 ? r : fit_ext_growth(m, block, err);
}

/* --- XFS --- */

/* 5.19 refuses logs below 64 MiB, and with them whatever is below 300 MiB. */
static bool is_strict(const Making *m) {
        return m->tool >= FS_VERSION(5, 19, 0);
}

static uint64_t least_group(const Making *m) {
        uint64_t log = making_number(m, 'l', "size", is_strict(m) ? 64 * MIB : 12 * MIB);

        return log + (is_strict(m) ? 8 : 4) * MIB;
}

/* Four groups; with stripes mkfs.xfs makes eight and more, and moves their size by a stripe unit.
 */
static uint64_t default_group(const Making *m) {
        uint64_t size = m->request->size_bytes, unit;

        unit = making_number(m, 'd', "su", making_number(m, 'd', "sunit", 0) * 512);
        if (unit == 0)
                return size / 4;
        size /= size > 512 * GIB ? 32 : size > 8 * GIB ? 16 : 8;
        return size > 2 * unit ? size - 2 * unit : 0;
}

static int fit_xfs_groups(Making *m, uint32_t block, Error *err) {
        uint64_t size = m->request->size_bytes, count = making_number(m, 'd', "agcount", 0);
        uint64_t group = making_number(m, 'd', "agsize", 0);

        if (group != 0 &&
            (group % block || group > size / 2 || (size % group && size % group < 16 * MIB)))
                return not_fit("-d agsize",
                               "expected whole blocks, at most half of the device, and a rest of "
                               "none or 16 MiB and more",
                               err);
        if (count != 0)
                group = whole(size / block, count) * block;
        /* Of at most a block less than 1 TiB. */
        if (group == 0)
                group = default_group(m);
        if (group > TIB - block && count == 0 && !making_number(m, 'd', "agsize", 0))
                group = TIB - block;
        if (group < least_group(m) || group > TIB - block)
                return error_set(err, ERROR_INVALID,
                                 "mkfs options -d and -l: groups of %" PRIu64
                                 " MiB, expected %" PRIu64
                                 " MiB (the log and some) to a block less than 1 TiB",
                                 group / MIB, least_group(m) / MIB);
        /* Their number has 32 bits, and growth adds groups of the same size. */
        if (meant_bytes(m) / group >= UINT32_MAX)
                return error_set(
                        err, ERROR_RANGE,
                        "xfs of %" PRIu64 " MiB has groups of %" PRIu64
                        " MiB, of which it has less than 2^32: it does not grow to %" PRIu64 " MiB",
                        size / MIB, group / MIB, meant_bytes(m) / MIB);
        return 0;
}

static int fit_xfs_stripes(const Making *m, uint32_t block, Error *err) {
        uint64_t unit = making_number(m, 'd', "su", 0), width = making_number(m, 'd', "sw", 0);

        if (unit % block || unit * width > 64 * MIB)
                return not_fit("-d su", "expected whole blocks, and a stripe of at most 64 MiB",
                               err);
        unit = making_number(m, 'd', "sunit", 0) * 512;
        width = making_number(m, 'd', "swidth", 0) * 512;
        if (unit % block || (unit && width % unit) || width > 64 * MIB)
                return not_fit("-d sunit", "expected whole blocks, and swidth a multiple of it",
                               err);
        if (making_number(m, 'l', "su", block) % block)
                return not_fit("-l su", "expected whole blocks", err);
        return 0;
}

static int fit_xfs_blocks(Making *m, uint32_t block, Error *err) {
        bool v5 = on(m, 'm', "crc");
        uint64_t sector, inode = making_number(m, 'i', "size", v5 ? 512 : 256);

        if (v5 && block < 1024)
                return not_fit("-b size", "expected at least 1024 with crc=1", err);
        /* Ours is the largest sector there is; a block cannot be smaller. */
        if (!by_user(m, 's', "size") && block < 4096)
                set_number(m, 's', "size", block);
        sector = making_number(m, 's', "size", 4096);
        if (sector > block)
                return not_fit("-s size", "a sector cannot be larger than a block", err);
        if (sector < m->request->logical_sector_bytes)
                return error_set(err, ERROR_INVALID,
                                 "mkfs option -%c size: the device has sectors of %u bytes",
                                 by_user(m, 's', "size") ? 's' : 'b',
                                 m->request->logical_sector_bytes);
        if (inode > block / 2 || (v5 && inode < 512))
                return not_fit("-i size",
                               "expected at most half a block, and at least 512 with crc=1", err);
        if (making_number(m, 'n', "size", block < 4096 ? 4096 : block) < block)
                return not_fit("-n size", "expected at least a block", err);
        return 0;
}

/* Growth adds groups of the first ones' size: two large ones where much is to come. */
static void fit_xfs_growth(Making *m) {
        uint64_t size = m->request->size_bytes;

        if (m->request->grow_to_bytes / 4 > size && size / 2 <= TIB && !on(m, 'd', "agcount") &&
            !on(m, 'd', "agsize") && !on(m, 'd', "su") && !on(m, 'd', "sunit")) {
                set_number(m, 'd', "agcount", 2);
                mkfs_options_remove(&m->options, 'd', "concurrency");
        }
}

static int fit_xfs(Making *m, Error *err) {
        uint32_t block = making_block(m);
        uint64_t least = is_strict(m) ? 300 * MIB : 64 * MIB;
        int r;

        /* The smallest log is a number of blocks. */
        if (block > 16384)
                least = 512 * MIB;
        if (m->request->size_bytes < least)
                return too_small(m, least, err);
        r = fit_xfs_blocks(m, block, err);
        if (r == 0)
                r = fit_xfs_stripes(m, block, err);
        if (r == 0)
                fit_xfs_growth(m);
        if (by_user(m, 'd', "agcount") || by_user(m, 'd', "agsize"))
                mkfs_options_remove(&m->options, 'd', "concurrency");
        if (by_user(m, 'l', "size"))
                mkfs_options_remove(&m->options, 'l', "concurrency");
        return r < 0 ? r : fit_xfs_groups(m, block, err);
}

/* --- btrfs, f2fs --- */

static bool is_dup(const Making *m, char letter) {
        const MkfsOption *option = mkfs_options_find(&m->options, letter, "");

        return option && str_equal(option->value, "dup");
}

/* Mixed groups hold data and metadata: one profile, one size of block. */
static int fit_btrfs_mixed(Making *m, uint32_t block, Error *err) {
        bool data = by_user(m, 'd', ""), metadata = by_user(m, 'm', "");

        if (data && metadata && is_dup(m, 'd') != is_dup(m, 'm'))
                return not_fit("-M", "expected one profile for -d and -m", err);
        if (by_user(m, 'n', "") && making_number(m, 'n', "", 0) != block)
                return not_fit("-M", "expected -n of the same size as -s", err);
        set_number(m, 'n', "", block);
        making_set(m, 'd', "",
                   (data && is_dup(m, 'd')) || (metadata && is_dup(m, 'm')) ? "dup" : "single");
        making_set(m, 'm', "", is_dup(m, 'd') ? "dup" : "single");
        return 0;
}

static int fit_btrfs(Making *m, Error *err) {
        uint32_t block = making_block(m);
        bool mixed = mkfs_options_find(&m->options, 'M', "");
        int r = mixed ? fit_btrfs_mixed(m, block, err) : 0;
        uint64_t least;

        if (r < 0)
                return r;
        if (!by_user(m, 'n', "") && making_number(m, 'n', "", 16384) < block)
                set_number(m, 'n', "", block);
        if (making_number(m, 'n', "", 16384) < block)
                return not_fit("-n", "a node cannot be smaller than a sector", err);
        least = is_dup(m, 'd') ? (is_dup(m, 'm') ? 230 * MIB : 166 * MIB)
                               : (is_dup(m, 'm') ? 109 * MIB : 46 * MIB);
        if (mixed && !is_dup(m, 'd'))
                least = 64 * MIB;
        return m->request->size_bytes < least ? too_small(m, least, err) : 0;
}

static int fit_f2fs(Making *m, Error *err) {
        uint64_t sections = making_number(m, 's', "", 1) * making_number(m, 'z', "", 1);
        uint64_t least = (48 + 16 * sections) * MIB, percent = making_number(m, 'o', "", 0);

        /* mkfs.f2fs keeps so many sections of 2 MiB segments free for what it collects. */
        if (percent != 0)
                least += (2 * (100 / percent + 1) + 6) * sections * 2 * MIB;
        /* It makes the quota's inodes for a project quota as well. */
        if (on(m, 'O', "project_quota"))
                making_set(m, 'O', "quota", "1");
        if (m->request->size_bytes > 16 * TIB || m->request->grow_to_bytes > 16 * TIB)
                return error_set(err, ERROR_RANGE, "f2fs has at most 16 TiB");
        return m->request->size_bytes < least ? too_small(m, least, err) : 0;
}

/* Of bytes that a device can have, and ext's blocks of 48 bits. */
static int fit_largest(const Making *m, Error *err) {
        uint64_t most = INT64_MAX;

        if (m->plan->kind == FS_KIND_EXT)
                most = (UINT64_C(1) << 48) * making_block(m);
        if (meant_bytes(m) <= most)
                return 0;
        return error_set(err, ERROR_RANGE, "%s has at most %" PRIu64 " bytes, not %" PRIu64,
                         m->plan->fs_type, most, meant_bytes(m));
}

int making_fit(Making *m, Error *err) {
        int r = keep_rules(m, err);

        if (r == 0)
                r = fit_largest(m, err);
        if (r < 0)
                return r;
        switch (m->plan->kind) {
        case FS_KIND_EXT:
                return fit_ext(m, err);
        case FS_KIND_XFS:
                return fit_xfs(m, err);
        case FS_KIND_BTRFS:
                return fit_btrfs(m, err);
        case FS_KIND_F2FS:
                return fit_f2fs(m, err);
        case FS_KIND_NONE:
        case FS_KIND_EROFS:
        case FS_KIND_SQUASHFS:
        case FS_KIND_VFAT:
        case FS_KIND_EXFAT:
        case FS_KIND_NTFS:
        case _FS_KIND_N:
                break;
        }
        return 0;
}
