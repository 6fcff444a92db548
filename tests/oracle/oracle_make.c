/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cases: every feature of the table that an installed mkfs can turn on, bits set by hand where
 * none can, states, sizes, and attachments. What cannot be made is named.
 */

#include "tests/oracle/oracle.h"

#include "fs/formats/format.h"
#include "fs/make/mkfs.h"

#include "common/base/cleanup.h"
#include "common/base/exec.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MIB (UINT64_C(1) << 20)

static uint32_t tools[_FS_TOOLS_N];

static OracleCase *add_case(OracleSet *set, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

static OracleCase *add_case(OracleSet *set, const char *format, ...) {
        OracleCase *added = &set->cases[set->n_cases++];
        va_list args;

        assert(set->n_cases <= ORACLE_CASES_MAX);
        *added = (OracleCase){0};
        va_start(args, format);
        (void)vsnprintf(added->name, sizeof(added->name), format, args);
        va_end(args);
        return added;
}

static void not_made(OracleSet *set, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void not_made(OracleSet *set, const char *format, ...) {
        va_list args;

        if (set->n_not_made == N_ELEMENTS(set->not_made))
                return;
        va_start(args, format);
        (void)vsnprintf(set->not_made[set->n_not_made++], sizeof(set->not_made[0]), format, args);
        va_end(args);
}

/* Runs a command whose words are split at spaces; as in a shell, NAME=VALUE may come first. */
static bool run_words(const char *words) {
        const char *argv[40];
        char text[1024], *save = NULL;
        ExecRequest request = {.argv = argv, .timeout_msecs = 60000};
        ExecResult result = {0};
        size_t n = 0;
        bool ok;

        argv[n++] = "env";
        (void)snprintf(text, sizeof(text), "%s", words);
        for (char *word = strtok_r(text, " ", &save); word && n < N_ELEMENTS(argv) - 1;
             word = strtok_r(NULL, " ", &save))
                argv[n++] = word;
        argv[n] = NULL;
        ok = exec_run(&request, &result) == 0 && result.exit_status == 0;
        exec_result_deinit(&result);
        return ok;
}

/* mkfs with the image as its last word. */
bool oracle_make_image(const OracleSet *set, const char *name, uint64_t size, const char *words) {
        char path[384], command[1024];
        bool ok;
        int fd;

        oracle_image_path(set, name, path);
        (void)snprintf(command, sizeof(command), "%s %s", words, path);
        fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
        close(fd);
        ok = run_words(command);
        if (ok)
                oracle_dig_holes(path);
        else
                unlink(path);
        return ok;
}

static void copy_case(const OracleSet *set, const char *from, const char *to, char path[384]) {
        char source[384];

        oracle_image_path(set, from, source);
        oracle_image_path(set, to, path);
        oracle_copy(source, path);
}

/* --- made by the tools --- */

typedef struct Base {
        FsKind kind;
        const char *name, *words;
        uint64_t size;
} Base;

/* The first three are edited and caught as well. */
#define N_EDITED 3

static const Base bases[] = {
        {FS_KIND_EXT, "ext4", "mke2fs -q -F -t ext4 -b 4096", 64 * MIB},
        {FS_KIND_XFS, "xfs", "mkfs.xfs -q -f", 300 * MIB},
        {FS_KIND_BTRFS, "btrfs", "mkfs.btrfs -q -f -s 4096", 128 * MIB},
        {FS_KIND_F2FS, "f2fs", "mkfs.f2fs -q -f", 64 * MIB},
        {FS_KIND_EROFS, "erofs", NULL, 0}, /* made of a directory, with the other read-only ones */
};

/* What a switch needs beside it. */
static const char *companion(const char *name) {
        static const char *const words[][2] = {
                {"bigalloc", " -C 65536"},
                {"meta_bg", " -O meta_bg,^resize_inode"},
                {"uninit_bg", " -O uninit_bg,^metadata_csum"},
                {"journal_dev", ""},
                {"sparse_super2", " -O sparse_super2,^resize_inode"},
        };

        for (size_t i = 0; i < N_ELEMENTS(words); i++) {
                if (str_equal(words[i][0], name))
                        return words[i][1];
        }
        return "";
}

static void make_features(OracleSet *set, const Base *base) {
        static const FsTools packages[] = {[FS_KIND_EXT] = FS_TOOLS_E2FSPROGS,
                                           [FS_KIND_XFS] = FS_TOOLS_XFSPROGS,
                                           [FS_KIND_BTRFS] = FS_TOOLS_BTRFS,
                                           [FS_KIND_F2FS] = FS_TOOLS_F2FS};

        for (size_t i = 0; i < fs_n_features; i++) {
                const FsFeature *f = &fs_features[i];
                char words[256], name[64];

                if (f->kind != base->kind || !f->mkfs_on)
                        continue;
                (void)snprintf(name, sizeof(name), "%s-made-%.24s", base->name, f->name);
                for (char *p = name; (p = strpbrk(p, " ()")); p++)
                        *p = '_';
                (void)snprintf(words, sizeof(words), "%s %s%s", base->words, f->mkfs_on,
                               companion(f->name));
                if (f->tool_since > tools[packages[base->kind]] ||
                    !oracle_make_image(set, name, base->size, words)) {
                        not_made(set, "%s %s: %s", base->name, f->name, f->mkfs_on);
                        continue;
                }
                add_case(set, "%s", name);
        }
}

typedef struct Other {
        const char *name, *words;
        uint64_t size_mib;
        uint32_t sector;
} Other;

static const Other others[] = {
        {"ext2", "mke2fs -q -F -t ext2", 64, 0},
        {"ext3", "mke2fs -q -F -t ext3", 64, 0},
        {"ext4-64k", "mke2fs -q -F -t ext4 -b 65536", 512, 0},
        {"ext4-8k", "mke2fs -q -F -t ext4 -b 8192", 128, 0},
        {"ext4-1k", "mke2fs -q -F -t ext4 -b 1024", 64, 0},
        {"ext4-1k-on-4kn", "mke2fs -q -F -t ext4 -b 1024", 64, 4096},
        {"ext4-on-4kn", "mke2fs -q -F -t ext4 -b 4096", 64, 4096},
        {"xfs-16k", "mkfs.xfs -q -f -b size=16384", 300, 0},
        {"xfs-64k", "mkfs.xfs -q -f -b size=65536", 300, 0},
        {"xfs-1k", "mkfs.xfs -q -f -b size=1024", 300, 0},
        {"xfs-v4-16k", "mkfs.xfs -q -f -m crc=0 -b size=16384", 300, 0},
        {"xfs-on-4kn", "mkfs.xfs -q -f", 300, 4096},
        {"xfs-4k-on-4kn", "mkfs.xfs -q -f -s size=4096", 300, 4096},
        {"xfs-4k", "mkfs.xfs -q -f -s size=4096", 300, 0},
        {"xfs-stripe", "mkfs.xfs -q -f -d su=64k,sw=2", 1024, 0},
        {"btrfs-64k", "mkfs.btrfs -q -f -s 65536 -n 65536", 256, 0},
        {"btrfs-8k", "mkfs.btrfs -q -f -s 8192", 256, 0},
        {"btrfs-on-4kn", "mkfs.btrfs -q -f -s 4096", 128, 4096},
        {"f2fs-no-encoding", "mkfs.f2fs -q -f -O casefold", 64, 0},
        {"btrfs-v1-cache", "mkfs.btrfs -q -f -s 4096 -R ^free-space-tree", 128, 0},
};

/* What a mount reads behind the superblock, in sizes that are not the tools' own: journal, log,
 * inodes, descriptors, quota and orphan files. Not in the quick set. */
static const Other unusual[] = {
        {"ext4-journal-4m", "mke2fs -q -F -t ext4 -b 4096 -J size=4", 64, 0},
        {"ext4-journal-small", "mke2fs -q -F -t ext4 -b 1024 -J size=1", 16, 0},
        {"ext4-fast-commit-small", "mke2fs -q -F -t ext4 -b 1024 -O fast_commit -J size=2", 16, 0},
        {"ext4-no-journal", "mke2fs -q -F -t ext4 -O ^has_journal", 64, 0},
        {"ext4-few-inodes", "mke2fs -q -F -t ext4 -N 16", 64, 0},
        {"ext4-many-inodes", "mke2fs -q -F -t ext4 -i 1024", 64, 0},
        {"ext4-inode-128", "mke2fs -q -F -t ext4 -I 128", 64, 0},
        {"ext4-inode-1024", "mke2fs -q -F -t ext4 -I 1024", 64, 0},
        {"ext4-inode-4096", "mke2fs -q -F -t ext4 -b 4096 -I 4096", 64, 0},
        {"ext4-resize", "mke2fs -q -F -t ext4 -b 1024 -E resize=4194304", 64, 0},
        {"ext4-no-resize", "mke2fs -q -F -t ext4 -O ^resize_inode", 64, 0},
        {"ext4-meta-bg-1k", "mke2fs -q -F -t ext4 -b 1024 -O meta_bg,^resize_inode", 256, 0},
        {"ext4-meta-bg-32", "mke2fs -q -F -t ext4 -O meta_bg,^resize_inode,^64bit", 256, 0},
        {"ext4-group-256", "mke2fs -q -F -t ext4 -b 1024 -g 256 -O ^resize_inode", 32, 0},
        {"ext4-group-2048", "mke2fs -q -F -t ext4 -b 4096 -g 2048", 128, 0},
        {"ext4-flex-2", "mke2fs -q -F -t ext4 -b 1024 -G 2", 128, 0},
        {"ext4-flex-big", "mke2fs -q -F -t ext4 -b 1024 -G 1024", 128, 0},
        {"ext4-no-flex", "mke2fs -q -F -t ext4 -b 1024 -O ^flex_bg", 128, 0},
        {"ext4-packed", "mke2fs -q -F -t ext4 -b 1024 -E packed_meta_blocks=1", 128, 0},
        {"ext4-quota-all", "mke2fs -q -F -t ext4 -O quota,project -I 256", 64, 0},
        {"ext4-quota-user", "mke2fs -q -F -t ext4 -O quota -E quotatype=usrquota", 64, 0},
        {"ext4-orphan-2m", "mke2fs -q -F -t ext4 -O orphan_file -E orphan_file_size=2M", 64, 0},
        {"ext4-cluster-1m", "mke2fs -q -F -t ext4 -O bigalloc -C 1048576", 512, 0},
        {"ext4-cluster-1k", "mke2fs -q -F -t ext4 -b 1024 -O bigalloc -C 4096", 128, 0},
        {"ext4-no-sparse", "mke2fs -q -F -t ext4 -O ^sparse_super,^resize_inode", 64, 0},
        {"ext4-2-backups", "mke2fs -q -F -t ext4 -b 1024 -O sparse_super2,^resize_inode", 64, 0},
        {"ext4-mmp-300", "mke2fs -q -F -t ext4 -O mmp -E mmp_update_interval=300", 64, 0},
        {"ext2-revision-0", "mke2fs -q -F -t ext2 -r 0", 16, 0},
        {"ext4-csum-seed", "mke2fs -q -F -t ext4 -O metadata_csum,metadata_csum_seed", 64, 0},
        {"ext4-csum-32bit", "mke2fs -q -F -t ext4 -O metadata_csum,^64bit", 64, 0},
        {"ext4-64bit-no-csum", "mke2fs -q -F -t ext4 -O 64bit,^metadata_csum,uninit_bg", 64, 0},
        {"xfs-log-64m", "mkfs.xfs -q -f -l size=64m", 320, 0},
        {"xfs-log-su", "mkfs.xfs -q -f -l su=32k", 320, 0},
        {"xfs-log-su-256k", "mkfs.xfs -q -f -l su=256k", 320, 0},
        {"xfs-log-sector-4k", "mkfs.xfs -q -f -l sectsize=4096", 320, 0},
        {"xfs-log-sector-on-4kn", "mkfs.xfs -q -f -l sectsize=4096", 320, 4096},
        {"xfs-log-last", "mkfs.xfs -q -f -l agnum=1", 320, 0},
        {"xfs-inode-256-v4", "mkfs.xfs -q -f -m crc=0 -i size=256", 320, 0},
        {"xfs-inode-1024", "mkfs.xfs -q -f -i size=1024", 320, 0},
        {"xfs-inode-2048", "mkfs.xfs -q -f -i size=2048", 320, 0},
        {"xfs-inode-2048-1k", "mkfs.xfs -q -f -b size=1024 -i size=1024", 320, 0},
        {"xfs-maxpct-0", "mkfs.xfs -q -f -i maxpct=0", 320, 0},
        {"xfs-dir-8k", "mkfs.xfs -q -f -n size=8192", 320, 0},
        {"xfs-dir-64k", "mkfs.xfs -q -f -n size=65536", 320, 0},
        {"xfs-ci", "mkfs.xfs -q -f -n version=ci", 320, 0},
        {"xfs-groups-16", "mkfs.xfs -q -f -d agcount=16", 320, 0},
        {"xfs-groups-2", "mkfs.xfs -q -f -d agcount=2", 320, 0},
        {"xfs-unaligned", "mkfs.xfs -q -f -d noalign", 320, 0},
        {"xfs-stripe-log", "mkfs.xfs -q -f -d su=256k,sw=3 -l su=256k", 1024, 0},
        {"xfs-v4-512", "mkfs.xfs -q -f -m crc=0 -b size=512", 320, 0},
        {"xfs-v4-log-1", "mkfs.xfs -q -f -m crc=0 -l version=1", 320, 0},
        {"xfs-v4-not-lazy", "mkfs.xfs -q -f -m crc=0 -l lazy-count=0", 320, 0},
        {"xfs-v4-no-ftype", "mkfs.xfs -q -f -m crc=0 -n ftype=0", 320, 0},
        {"xfs-2k", "mkfs.xfs -q -f -b size=2048", 320, 0},
        {"xfs-8k", "mkfs.xfs -q -f -b size=8192", 320, 0},
        {"xfs-32k", "mkfs.xfs -q -f -b size=32768", 320, 0},
        {"xfs-sector-2k", "mkfs.xfs -q -f -s size=2048", 320, 0},
        {"xfs-sector-8k", "mkfs.xfs -q -f -b size=8192 -s size=8192", 320, 0},
        {"xfs-sector-32k", "mkfs.xfs -q -f -b size=32768 -s size=32768", 320, 0},
        {"xfs-all-on", "mkfs.xfs -q -f -m rmapbt=1,reflink=1,finobt=1 -i sparse=1", 320, 0},
        {"xfs-all-off", "mkfs.xfs -q -f -m rmapbt=0,reflink=0,finobt=0 -i sparse=0", 320, 0},
        {"xfs-sparse-off-1k", "mkfs.xfs -q -f -b size=1024 -i sparse=0", 320, 0},
        {"xfs-sparse-off-64k", "mkfs.xfs -q -f -b size=65536 -i sparse=0,size=2048", 320, 0},
        {"btrfs-node-4k", "mkfs.btrfs -q -f -s 4096 -n 4096", 128, 0},
        {"btrfs-node-8k", "mkfs.btrfs -q -f -s 4096 -n 8192", 128, 0},
        {"btrfs-node-32k", "mkfs.btrfs -q -f -s 4096 -n 32768", 128, 0},
        {"btrfs-node-64k", "mkfs.btrfs -q -f -s 4096 -n 65536", 256, 0},
        {"btrfs-16k", "mkfs.btrfs -q -f -s 16384 -n 16384", 256, 0},
        {"btrfs-32k", "mkfs.btrfs -q -f -s 32768 -n 32768", 256, 0},
        {"btrfs-single", "mkfs.btrfs -q -f -s 4096 -m single -d single", 128, 0},
        {"btrfs-dup", "mkfs.btrfs -q -f -s 4096 -m dup -d dup", 256, 0},
        {"btrfs-mixed", "mkfs.btrfs -q -f -s 4096 -M -n 4096", 64, 0},
        {"btrfs-quota", "mkfs.btrfs -q -f -s 4096 -R quota", 128, 0},
        {"btrfs-old", "mkfs.btrfs -q -f -s 4096 -O ^extref,^skinny-metadata,^no-holes", 128, 0},
        {"btrfs-short", "mkfs.btrfs -q -f -s 4096 -b 134217728", 256, 0},
        {"f2fs-segments-2", "mkfs.f2fs -q -f -s 2", 128, 0},
        {"f2fs-zone-2", "mkfs.f2fs -q -f -z 2", 128, 0},
        {"f2fs-spare-10", "mkfs.f2fs -q -f -o 10", 128, 0},
        {"f2fs-heap", "mkfs.f2fs -q -f -a 0", 64, 0},
        {"f2fs-sector-4k", "mkfs.f2fs -q -f -w 4096", 64, 0},
        {"f2fs-nat", "mkfs.f2fs -q -f -i", 64, 0},
        {"f2fs-16k", "mkfs.f2fs -q -f -b 16384", 256, 0},
        {"f2fs-android", "mkfs.f2fs -q -f -g android", 64, 0},
};

static void plant_tree(const OracleSet *set, const char *name, char tree[300], char file[360]) {
        static char data[65536];
        int fd;

        (void)snprintf(tree, 300, "%s/tree-%.24s", set->directory, name);
        (void)snprintf(file, 360, "%s/file", tree);
        assert(mkdir(tree, 0755) == 0);
        fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        for (size_t i = 0; i < sizeof(data); i++)
                data[i] = (char)(i * i >> 7 & 63);
        assert(fd >= 0 && write(fd, data, sizeof(data)) == (ssize_t)sizeof(data));
        close(fd);
}

bool oracle_make_tree(const OracleSet *set, const char *words, const char *name) {
        char tree[300], file[360], path[384], command[1024];
        bool ok;

        oracle_image_path(set, name, path);
        plant_tree(set, name, tree, file);
        if (str_equal(words, "mksquashfs"))
                (void)snprintf(command, sizeof(command), "%s %s %s -quiet -noappend", words, tree,
                               path);
        else
                (void)snprintf(command, sizeof(command), "%s %s %s", words, path, tree);
        ok = run_words(command);
        unlink(file);
        rmdir(tree);
        return ok;
}

/* Formats that are made of a directory, and read-only. One tool takes the tree first, the other the
 * image. */
static void make_read_only(OracleSet *set) {
        static const struct {
                const char *name, *words,
                        *options; /* options: behind the tree and the image; NULL: before */
                bool wide;        /* not in the quick set */
        } rows[] = {
                {"squashfs-gzip", "mksquashfs", "-quiet -noappend -comp gzip", false},
                {"squashfs-lzo", "mksquashfs", "-quiet -noappend -comp lzo", false},
                {"squashfs-xz", "mksquashfs", "-quiet -noappend -comp xz", false},
                {"squashfs-lz4", "mksquashfs", "-quiet -noappend -comp lz4", false},
                {"squashfs-zstd", "mksquashfs", "-quiet -noappend -comp zstd", false},
                {"squashfs-lzma", "mksquashfs", "-quiet -noappend -comp lzma", false},
                {"squashfs-4k", "mksquashfs", "-quiet -noappend -b 4096", false},
                {"erofs", "mkfs.erofs --quiet", NULL, false},
                {"erofs-lz4", "mkfs.erofs --quiet -zlz4", NULL, false},
                {"erofs-big", "mkfs.erofs --quiet -zlz4hc -C65536", NULL, false},
                {"erofs-chunks", "mkfs.erofs --quiet --chunksize=4096", NULL, false},
                {"erofs-ztail", "mkfs.erofs --quiet -zlz4hc -Eztailpacking", NULL, false},
                {"erofs-fragments", "mkfs.erofs --quiet -zlz4hc -Efragments", NULL, false},
                {"erofs-legacy", "mkfs.erofs --quiet -zlz4 -Elegacy-compress", NULL, true},
                {"erofs-dedupe", "mkfs.erofs --quiet -zlz4hc -Ededupe", NULL, true},
                {"erofs-extended", "mkfs.erofs --quiet -Eforce-inode-extended", NULL, true},
                {"erofs-made-lzma", "mkfs.erofs --quiet -zlzma", NULL, true},
                {"erofs-made-deflate", "mkfs.erofs --quiet -zdeflate", NULL, true},
                {"erofs-made-zstd", "mkfs.erofs --quiet -zzstd", NULL, true},
                {"erofs-two", "mkfs.erofs --quiet -zlz4:lzma", NULL, true},
                {"erofs-512", "mkfs.erofs --quiet -b512", NULL, true},
                {"erofs-1k", "mkfs.erofs --quiet -b1024 -zlz4", NULL, true},
                {"erofs-16k", "mkfs.erofs --quiet -b16384", NULL, true},
                {"erofs-64k", "mkfs.erofs --quiet -b65536 -zlz4", NULL, true},
                {"erofs-48bit", "mkfs.erofs --quiet -E48bit", NULL, true},
                {"squashfs-1m", "mksquashfs", "-quiet -noappend -b 1048576", true},
                {"squashfs-bare", "mksquashfs", "-quiet -noappend -noI -noD -noF -noX", true},
                {"squashfs-no-exports", "mksquashfs",
                 "-quiet -noappend -no-exports -no-fragments -no-xattrs", true},
                {"squashfs-xz-bcj", "mksquashfs", "-quiet -noappend -comp xz -Xbcj x86", true},
        };
        char tree[300], file[360];

        plant_tree(set, "all", tree, file);
        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                char path[384], command[1024];

                if (rows[i].wide && !set->wide)
                        continue;
                oracle_image_path(set, rows[i].name, path);
                if (rows[i].options)
                        (void)snprintf(command, sizeof(command), "%s %s %s %s", rows[i].words, tree,
                                       path, rows[i].options);
                else
                        (void)snprintf(command, sizeof(command), "%s %s %s", rows[i].words, path,
                                       tree);
                if (run_words(command))
                        add_case(set, "%s", rows[i].name);
                else
                        not_made(set, "%s", rows[i].name);
        }
        unlink(file);
        rmdir(tree);
}

/* erofs with compressors that mkfs.erofs of this distribution does not have: the superblock names
 * one, and its configuration stands at the end of the first block, where so many slots put it. */
static void make_erofs_compressors(OracleSet *set) {
        static const struct {
                const char *name;
                uint8_t algorithm;
                uint8_t config[16]; /* its length in 16 bits, then as the compressor has it */
        } rows[] = {
                {"erofs-lzma", 2, {14, 0, 0, 0, 1, 0}}, /* a dictionary of 64 KiB */
                {"erofs-deflate", 4, {6, 0, 15}},       /* a window of 2^15 */
                {"erofs-zstd", 8, {6, 0, 0, 5}},        /* format 0, a window of 2^(10 + 5) */
        };
        static const uint8_t slots = 180;
        char base[384], path[384];

        oracle_image_path(set, "erofs", base);
        if (access(base, F_OK) < 0)
                return;
        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                uint8_t algorithms[2] = {rows[i].algorithm, 0};

                oracle_image_path(set, rows[i].name, path);
                oracle_copy(base, path);
                oracle_set_bit(path, FS_KIND_EROFS, FS_CLASS_INCOMPAT, 2);
                oracle_poke(path, 1024 + 0xd, &slots, 1, false);
                oracle_poke(path, 1024 + 0x54, algorithms, sizeof(algorithms), false);
                oracle_poke(path, 1024 + 128 + 16 * slots, rows[i].config, sizeof(rows[i].config),
                            true);
                add_case(set, "%s", rows[i].name);
        }
}

/* One of two: mkfs takes both, the case has the last. */
static void make_raid(OracleSet *set) {
        char words[512], spare[384];
        int fd;

        oracle_image_path(set, "spare", spare);
        fd = open(spare, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert(fd >= 0 && ftruncate(fd, (off_t)(256 * MIB)) == 0);
        close(fd);
        (void)snprintf(words, sizeof(words), "mkfs.btrfs -q -f -s 4096 -m raid1 -d raid1 %s",
                       spare);
        if (oracle_make_image(set, "btrfs-2-devices", 256 * MIB, words))
                add_case(set, "btrfs-2-devices");
        unlink(spare);
}

static void make_others(OracleSet *set, const Other *rows, size_t n) {
        for (size_t i = 0; i < n; i++) {
                if (oracle_make_image(set, rows[i].name, rows[i].size_mib * MIB, rows[i].words))
                        add_case(set, "%s", rows[i].name)->sector_bytes = rows[i].sector;
                else
                        not_made(set, "%s: %s", rows[i].name, rows[i].words);
        }
}

/* The recipes of our own plan, for this node: they must all be read-write. */
static void make_plans(OracleSet *set) {
        static const char *const kernels[] = {
                "3.10.0-1160.el7.x86_64", "4.4", "4.18", "5.4", "5.15", "6.6", "6.18"};
        static const char *const types[] = {"ext4", "ext3", "xfs", "btrfs"};
        static FsMakePlan plan;
        static FsHost host;

        for (size_t i = 0; i < N_ELEMENTS(types) * N_ELEMENTS(kernels); i++) {
                const char *type = types[i / N_ELEMENTS(kernels)];
                const char *kernel = kernels[i % N_ELEMENTS(kernels)];
                cleanup(freep) char *text = NULL;
                FsMakeRequest request = {.fs_type = type,
                                         .device = "",
                                         .size_bytes = 300 * MIB,
                                         .hosts = &host,
                                         .n_hosts = 1};
                char name[64];
                Error err = {0};

                memcpy(request.tools, tools, sizeof(tools));
                assert(fs_host_from_release(&host, kernel, 4096, FS_BYTE_ORDER_LITTLE, &err) == 0);
                if (fs_make_plan(&request, &plan, &err) < 0)
                        continue;
                plan.n_argv--;
                plan.argv[plan.n_argv] = NULL;
                text = fs_make_plan_text(&plan);
                (void)snprintf(name, sizeof(name), "%s-plan-%.12s", type, kernel);
                assert(oracle_make_image(set, name, 300 * MIB, text));
                add_case(set, "%s", name);
        }
}

/* --- edited --- */

static bool makeable(FsKind kind, FsClass class, uint64_t bit) {
        static const FsTools packages[_FS_KIND_N] = {[FS_KIND_EXT] = FS_TOOLS_E2FSPROGS,
                                                     [FS_KIND_XFS] = FS_TOOLS_XFSPROGS,
                                                     [FS_KIND_BTRFS] = FS_TOOLS_BTRFS,
                                                     [FS_KIND_F2FS] = FS_TOOLS_F2FS};
        const FsFeature *f = fs_feature_find(kind, class, bit);

        return f && f->mkfs_on && kind != FS_KIND_EROFS && f->tool_since <= tools[packages[kind]] &&
               /* Zones and aliases want devices that are not here. */
               !(kind == FS_KIND_BTRFS && class == FS_CLASS_INCOMPAT && bit == 0x1000) &&
               !(kind == FS_KIND_F2FS && bit & 0x8002);
}

/* Bits whose kernel code wants more on the disk than the bit. */
static bool needs_geometry(FsKind kind, FsClass class, uint64_t bit) {
        if (kind == FS_KIND_XFS)
                /* nrext64 and parent: a log that old tools made is too short for them. */
                return class == FS_CLASS_INCOMPAT && bit & 0x3a0;
        if (kind == FS_KIND_EROFS)
                return class != FS_CLASS_COMPAT || bit & 0x3c;
        if (kind == FS_KIND_F2FS)
                return bit & 0x1a012;
        if (kind == FS_KIND_BTRFS)
                return (class == FS_CLASS_INCOMPAT && bit & 0x11404) ||
                       (class == FS_CLASS_RO_COMPAT && bit == 0x8);
        /* A journal of less than 1280 blocks has no room for fast commits. */
        return kind == FS_KIND_EXT && class == FS_CLASS_LOG_INCOMPAT && bit == 0x20;
}

static void bit_case(OracleSet *set, const Base *base, const char *from, FsClass class,
                     uint64_t bit) {
        char name[64], path[384];

        (void)snprintf(name, sizeof(name), "%s-bit-%s-%llx", from,
                       class == FS_CLASS_LOG_INCOMPAT    ? "logincompat"
                       : class == FS_CLASS_LOG_RO_COMPAT ? "logro"
                       : class == FS_CLASS_LOG_COMPAT    ? "logcompat"
                       : class == FS_CLASS_FLAGS         ? "flags"
                                                         : fs_class_name(base->kind, class),
                       (unsigned long long)bit);
        copy_case(set, from, name, path);
        oracle_set_bit(path, base->kind, class, bit);
        add_case(set, "%s", name)->geometry = needs_geometry(base->kind, class, bit);
}

/* The words of the base image: those bits are there already. */
static uint64_t base_word(const OracleSet *set, const char *name, FsClass class) {
        char path[384];
        FsReader reader;
        FsVolume volume;
        int fd;

        oracle_image_path(set, name, path);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert(fd >= 0 && fs_reader_from_fd(&reader, fd) == 0);
        assert(fs_read_volume(&reader, &volume) == 0);
        close(fd);
        return volume.words[class];
}

static bool has_image(const OracleSet *set, const char *name) {
        char path[384];

        oracle_image_path(set, name, path);
        return access(path, F_OK) == 0;
}

static void make_bits(OracleSet *set, const Base *base, FsClass class, unsigned int width) {
        uint64_t have = base_word(set, base->name, class);

        for (unsigned int i = 0; i < width; i++) {
                uint64_t bit = UINT64_C(1) << i;
                const FsFeature *f = fs_feature_find(base->kind, class, bit);

                /* The quick set has the bits of the table that no tool here makes, and the last. */
                if (have & bit || makeable(base->kind, class, bit) ||
                    (!set->full && !f && i != width - 1))
                        continue;
                bit_case(set, base, base->name, class, bit);
        }
}

static void make_all_bits(OracleSet *set) {
        static const FsClass ext[] = {FS_CLASS_COMPAT,       FS_CLASS_INCOMPAT,
                                      FS_CLASS_RO_COMPAT,    FS_CLASS_LOG_COMPAT,
                                      FS_CLASS_LOG_INCOMPAT, FS_CLASS_LOG_RO_COMPAT};
        static const FsClass xfs[] = {FS_CLASS_COMPAT, FS_CLASS_INCOMPAT, FS_CLASS_RO_COMPAT,
                                      FS_CLASS_LOG_INCOMPAT, FS_CLASS_FEATURES2};
        static const FsClass btrfs[] = {FS_CLASS_COMPAT, FS_CLASS_INCOMPAT, FS_CLASS_RO_COMPAT};

        for (size_t i = 0; i < N_ELEMENTS(ext); i++)
                make_bits(set, &bases[0], ext[i], 32);
        for (size_t i = 0; i < N_ELEMENTS(xfs); i++)
                make_bits(set, &bases[1], xfs[i], 32);
        for (size_t i = 0; i < N_ELEMENTS(btrfs); i++)
                make_bits(set, &bases[2], btrfs[i], 64);
        for (unsigned int i = 4; i <= 6; i += 2)
                bit_case(set, &bases[1], "xfs", FS_CLASS_VERSIONNUM, UINT64_C(1) << i);
        if (has_image(set, bases[3].name))
                make_bits(set, &bases[3], FS_CLASS_FEATURE, 32);
        if (has_image(set, bases[4].name)) {
                make_bits(set, &bases[4], FS_CLASS_COMPAT, 32);
                make_bits(set, &bases[4], FS_CLASS_INCOMPAT, 32);
        }
        for (unsigned int i = 33; i <= 40; i++)
                bit_case(set, &bases[2], "btrfs", FS_CLASS_FLAGS, UINT64_C(1) << i);
}

typedef struct Edit {
        const char *from, *name;
        uint64_t offset;
        uint8_t bytes[16];
        size_t n;
        bool fix;
} Edit;

/* clang-format off */
static const Edit edits[] = {
        {"ext4", "ext4-bad-checksum", 1024 + 0x78, "x", 1, false},
        {"ext4", "ext4-magic", 1024 + 0x38, {0x34, 0x12}, 2, true},
        {"ext4", "ext4-state-error", 1024 + 0x3a, {3}, 1, true},
        {"ext4", "ext4-state-0", 1024 + 0x3a, {0}, 1, true},
        {"ext4", "ext4-errors", 1024 + 0x194, {3}, 1, true},
        {"ext4", "ext4-revision-2", 1024 + 0x4c, {2}, 1, true},
        {"ext4", "ext4-log-block-7", 1024 + 0x18, {7}, 1, true},
        {"ext4", "ext4-inode-192", 1024 + 0x58, {192, 0}, 2, true},
        {"ext4", "ext4-checksum-type-2", 1024 + 0x175, {2}, 1, true},
        {"ext4", "ext4-journal-inum-0", 1024 + 0xe0, {0}, 1, true},
        {"ext4", "ext4-desc-size-0", 1024 + 0xfe, {0, 0}, 2, true},
        {"ext4-made-casefold", "ext4-encoding-2", 1024 + 0x27c, {2}, 1, true},
        {"ext4", "ext4-no-mmp-block", 1024 + 0x61, {0x03}, 1, true},
        {"xfs", "xfs-bad-checksum", 0x6c, "x", 1, false},
        {"xfs", "xfs-inprogress", 0x7e, {1}, 1, true},
        {"xfs", "xfs-versionnum-shared", 0x64, {0xb6, 0xa5}, 2, true},
        {"xfs", "xfs-dblocks", 8, {0, 0, 0, 0, 0, 0x20, 0, 0}, 8, true},
        {"xfs", "xfs-inode-size", 0x68, {0x40, 0}, 2, true},
        {"btrfs", "btrfs-bad-checksum", 65536 + 0x12b, "x", 1, false},
        {"btrfs", "btrfs-checksum-9", 65536 + 0xc4, {9}, 1, true},
        {"btrfs", "btrfs-sectorsize-8k", 65536 + 0x90, {0, 0x20}, 2, true},
        {"btrfs", "btrfs-nodesize-1m", 65536 + 0x94, {0, 0, 0x10}, 3, true},
        {"btrfs", "btrfs-seed", 65536 + 0x38 + 4, {1}, 1, true},
};
/* clang-format on */

static void make_edits(OracleSet *set) {
        for (size_t i = 0; i < N_ELEMENTS(edits); i++) {
                char path[384];

                copy_case(set, edits[i].from, edits[i].name, path);
                oracle_poke(path, edits[i].offset, edits[i].bytes, edits[i].n, edits[i].fix);
                add_case(set, "%s", edits[i].name);
        }
}

static void make_truncated(OracleSet *set) {
        for (size_t i = 0; i < N_EDITED; i++) {
                char name[64], path[384];

                (void)snprintf(name, sizeof(name), "%s-truncated", bases[i].name);
                copy_case(set, bases[i].name, name, path);
                assert(truncate(path, (off_t)(bases[i].size - 16 * MIB)) == 0);
                add_case(set, "%s", name);
        }
}

/* Each filesystem as a crash leaves it, then with other trouble on top. */
static void make_caught(OracleSet *set) {
        static const struct {
                const char *from, *type, *to;
        } rows[] = {
                {"ext4", "ext4", "ext4-caught"},
                {"ext4-made-orphan_file", "ext4", "ext4-caught-orphan_file"},
                {"ext4-made-fast_commit", "ext4", "ext4-caught-fast_commit"},
                {"xfs", "xfs", "xfs-caught"},
                {"btrfs", "btrfs", "btrfs-caught"},
        };

        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                char from[384], copy[400], path[384], name[64];

                oracle_image_path(set, rows[i].from, from);
                oracle_image_path(set, rows[i].to, path);
                if (access(from, F_OK) < 0)
                        continue;
                (void)snprintf(copy, sizeof(copy), "%s.copy", from);
                oracle_copy(from, copy);
                assert(oracle_catch(copy, rows[i].type, path));
                unlink(copy);
                add_case(set, "%s", rows[i].to);
                (void)snprintf(name, sizeof(name), "%s-ro-device", rows[i].to);
                copy_case(set, rows[i].to, name, path);
                add_case(set, "%s", name)->read_only = true;
        }
        bit_case(set, &bases[0], "ext4-caught", FS_CLASS_RO_COMPAT, 0x80000000);
        bit_case(set, &bases[0], "ext4-caught", FS_CLASS_LOG_INCOMPAT, 0x80000000);
        bit_case(set, &bases[1], "xfs-caught", FS_CLASS_RO_COMPAT, 0x80000000);
        bit_case(set, &bases[1], "xfs-caught", FS_CLASS_LOG_INCOMPAT, 0x80000000);
        bit_case(set, &bases[2], "btrfs-caught", FS_CLASS_RO_COMPAT, UINT64_C(1) << 63);
}

static void make_attached(OracleSet *set) {
        for (size_t i = 0; i < N_EDITED; i++) {
                char name[64], path[384];

                (void)snprintf(name, sizeof(name), "%s-ro-device", bases[i].name);
                copy_case(set, bases[i].name, name, path);
                add_case(set, "%s", name)->read_only = true;
                (void)snprintf(name, sizeof(name), "%s-twin", bases[i].name);
                copy_case(set, bases[i].name, name, path);
                add_case(set, "%s", name)->twin = true;
        }
}

/* Disks of every sector: what a format stores of it, and what the kernel asks of the device. */
static void make_sectors(OracleSet *set) {
        static const char *const from[] = {"ext4",   "ext4-1k", "ext4-8k",       "xfs",
                                           "xfs-4k", "xfs-8k",  "xfs-sector-8k", "btrfs",
                                           "f2fs",   "erofs",   "squashfs-gzip"};

        for (size_t i = 0; i < N_ELEMENTS(from); i++) {
                for (uint32_t sector = 1024; sector <= 16384; sector *= 2) {
                        char name[64], path[384];

                        if (!has_image(set, from[i]))
                                continue;
                        (void)snprintf(name, sizeof(name), "%s-on-%u", from[i], sector);
                        copy_case(set, from[i], name, path);
                        add_case(set, "%s", name)->sector_bytes = sector;
                }
        }
}

static void make_log_order(OracleSet *set) {
        char path[384];

        copy_case(set, "xfs-caught", "xfs-caught-big-endian", path);
        oracle_xfs_log_big_endian(path);
        add_case(set, "xfs-caught-big-endian");
}

void oracle_make(OracleSet *set) {
        fs_tools_read(tools);
        for (size_t i = 0; i < N_ELEMENTS(bases); i++) {
                if (!bases[i].words)
                        continue;
                if (oracle_make_image(set, bases[i].name, bases[i].size, bases[i].words))
                        add_case(set, "%s", bases[i].name);
                else
                        assert(i >= N_EDITED);
        }
        for (size_t i = 0; i < N_ELEMENTS(bases); i++)
                if (bases[i].words)
                        make_features(set, &bases[i]);
        make_read_only(set);
        make_erofs_compressors(set);
        make_others(set, others, N_ELEMENTS(others));
        if (set->wide)
                make_others(set, unusual, N_ELEMENTS(unusual));
        make_raid(set);
        make_plans(set);
        make_all_bits(set);
        make_edits(set);
        make_truncated(set);
        make_caught(set);
        make_log_order(set);
        make_attached(set);
        if (set->wide)
                make_sectors(set);
}
