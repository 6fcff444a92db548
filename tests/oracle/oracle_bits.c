/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every bit of a superblock turned over, its checksum right again, and the kernel asked.
 *
 * A cell costs milliseconds: mkfs runs once for each base, one loop device serves a whole run, the
 * edit is made in place and what a mount wrote is put back from the few extents that hold data.
 * Workers share the bits between them, each with a copy of its own.
 *
 * ext4 mounts with errors=continue: with a bit turned over in s_errors it would else stop the
 * machine.
 */

#include "fs/formats/format.h"
#include "tests/oracle/oracle.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/block/loop.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

typedef struct BitBase {
        const char *name, *type, *words;
        uint64_t size;
        uint32_t offset, n_bytes;            /* of the superblock */
        uint32_t checksum, n_checksum_bytes; /* its own field in it: no bit of it is turned over */
        bool of_tree;                        /* made of a directory */
        bool is_open; /* what kernels read behind the superblock is not all read here: cells that
                         are wrong are told and counted apart */
} BitBase;

static const BitBase bases[] = {
        {"ext4", "ext4", "mke2fs -q -F -t ext4 -b 4096", 64 * MIB, 1024, 1024, 0x3fc, 4, false,
         false},
        {"ext4-1k", "ext4", "mke2fs -q -F -t ext4 -b 1024 -O ^metadata_csum,^64bit,^orphan_file",
         16 * MIB, 1024, 1024, 0x3fc, 4, false, false},
        {"ext4-old", "ext4", "mke2fs -q -F -t ext4 -b 2048 -O uninit_bg,^metadata_csum,^flex_bg",
         32 * MIB, 1024, 1024, 0x3fc, 4, false, false},
        {"ext2", "ext2", "mke2fs -q -F -t ext2 -b 1024", 8 * MIB, 1024, 1024, 0x3fc, 4, false,
         false},
        {"xfs", "xfs", "mkfs.xfs -q -f", 300 * MIB, 0, 512, 0xe0, 4, false, false},
        {"xfs-stripe", "xfs",
         "mkfs.xfs -q -f -s size=4096 -m rmapbt=1 -l size=64m,su=8k -d su=32k,sw=4", 1024 * MIB, 0,
         512, 0xe0, 4, false, false},
        {"xfs-plain", "xfs",
         "mkfs.xfs -q -f -m reflink=0,finobt=0,rmapbt=0,inobtcount=0,bigtime=0 -i sparse=0",
         300 * MIB, 0, 512, 0xe0, 4, false, false},
        {"btrfs", "btrfs", "mkfs.btrfs -q -f -s 4096", 128 * MIB, 65536, 4096, 0, 32, false, true},
        {"erofs", "erofs", "mkfs.erofs --quiet", 0, 1024, 128, 4, 4, true, false},
        {"erofs-lz4", "erofs", "mkfs.erofs --quiet -zlz4hc -Eztailpacking", 0, 1024, 128, 4, 4,
         true, false},
        {"squashfs", "squashfs", "mksquashfs", 0, 0, 96, 96, 0, true, false},
};

typedef struct Extent {
        off_t at;
        size_t n;
        uint8_t *bytes;
} Extent;

/* What a base holds, so that it can be put back. */
typedef struct Snapshot {
        off_t size;
        Extent extents[4096];
        size_t n_extents;
} Snapshot;

static void snapshot_take(Snapshot *snapshot, int fd) {
        struct stat st;
        off_t at = 0;

        assert(fstat(fd, &st) == 0);
        *snapshot = (Snapshot){.size = st.st_size};
        while ((at = lseek(fd, at, SEEK_DATA)) >= 0 && at < st.st_size) {
                off_t end = lseek(fd, at, SEEK_HOLE);

                /* Page by page: mkfs writes zeros where a hole says the same. */
                for (; at < end; at += 4096) {
                        static const uint8_t zero[4096];
                        size_t n = end - at < 4096 ? (size_t)(end - at) : 4096;
                        Extent *e = &snapshot->extents[snapshot->n_extents];

                        assert(snapshot->n_extents < N_ELEMENTS(snapshot->extents));
                        *e = (Extent){.at = at, .n = n, .bytes = malloc(n)};
                        assert(e->bytes && pread(fd, e->bytes, n, at) == (ssize_t)n);
                        if (memcmp(e->bytes, zero, n) == 0)
                                free(e->bytes);
                        else
                                snapshot->n_extents++;
                }
                at = end;
        }
}

static void snapshot_restore(const Snapshot *snapshot, int fd) {
        assert(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, snapshot->size) == 0);
        for (size_t i = 0; i < snapshot->n_extents; i++) {
                const Extent *e = &snapshot->extents[i];

                assert(pwrite(fd, e->bytes, e->n, e->at) == (ssize_t)e->n);
        }
}

typedef struct BitRun {
        const BitBase *base;
        const Snapshot *snapshot;
        const FsHost *host;
        int fd, loop_fd;
        char loop[LOOP_PATH_MAX];
} BitRun;

static void prepare(const BitRun *run, uint32_t bit) {
        uint8_t byte;
        off_t at = (off_t)run->base->offset + bit / 8;

        snapshot_restore(run->snapshot, run->fd);
        assert(pread(run->fd, &byte, 1, at) == 1);
        byte ^= (uint8_t)(1U << bit % 8);
        assert(pwrite(run->fd, &byte, 1, at) == 1);
        oracle_mend(run->fd, run->base->type);
        assert(ioctl(run->loop_fd, BLKFLSBUF, 0) == 0);
}

/* What the kernel does, from the best to the worst; a copy made again before each attempt. */
static FsAnswer observe(const BitRun *run, uint32_t bit, const char *type, int *errnop) {
        static const FsAnswer order[] = {FS_ANSWER_RW, FS_ANSWER_RO, FS_ANSWER_RO_NORECOVERY};
        FsKind kind = fs_kind_from_type(type);
        const char *extra = str_has_prefix(run->base->type, "ext") ? "errors=continue" : "";

        for (size_t i = 0; i < N_ELEMENTS(order); i++) {
                const char *options = fs_answer_options(order[i], kind);
                OracleAttempt result;
                char text[96];

                (void)snprintf(text, sizeof(text), "%s%s%s", extra, *extra && *options ? "," : "",
                               options);
                if (i > 0)
                        prepare(run, bit);
                oracle_attempt_on(run->loop, type, text, &result);
                if (i == 0)
                        *errnop = result.os_errno;
                if (result.os_errno == 0 && (i > 0 || (!result.is_read_only && result.writes)))
                        return order[i];
                if (i > 0 && str_equal(fs_answer_options(FS_ANSWER_RO_NORECOVERY, kind), "ro"))
                        break;
        }
        return FS_ANSWER_NO;
}

static void run_bit(const BitRun *run, uint32_t bit, OracleJudge *judge) {
        static FsVolume volume;
        FsSituation situation = {.logical_sector_bytes = 512};
        OracleObservation seen;
        FsReader reader;
        char name[64];
        bool known;

        prepare(run, bit);
        assert(fs_reader_from_fd(&reader, run->fd) == 0);
        known = fs_read_volume(&reader, &volume) == 0;
        /* As what we take it for, as a node would. */
        seen.answer = observe(
                run, bit, known && fs_kind_from_type(volume.type) ? volume.type : run->base->type,
                &seen.os_errno);
        (void)snprintf(name, sizeof(name), "%s 0x%x.%u", run->base->name, bit / 8, bit % 8);
        oracle_judge_volume(judge, name, known ? &volume : NULL, &situation, &seen);
}

static bool is_checksum(const BitBase *base, uint32_t bit) {
        return bit / 8 >= base->checksum && bit / 8 < base->checksum + base->n_checksum_bytes;
}

/* An image of its own, so that no two workers mount one UUID. False: no tool for it here. */
static bool make_base(const OracleSet *set, const BitBase *base, unsigned int worker,
                      char path[384]) {
        char name[64];

        (void)snprintf(name, sizeof(name), "%s-%u", base->name, worker);
        oracle_image_path(set, name, path);
        if (base->of_tree)
                return oracle_make_tree(set, base->words, name);
        return oracle_make_image(set, name, base->size, base->words);
}

/* One worker: every @stride-th bit from @first. False: no tool for it here. */
static bool work(const OracleSet *set, const BitBase *base, unsigned int first, unsigned int stride,
                 OracleJudge *judge) {
        static Snapshot snapshot;
        LoopConfig config = {.is_autoclear = true, .logical_sector_bytes = 512};
        BitRun run = {.base = base, .snapshot = &snapshot};
        char path[384];
        unsigned int number;

        if (!make_base(set, base, first, path))
                return false;
        run.fd = open(path, O_RDWR | O_CLOEXEC);
        assert(run.fd >= 0);
        unlink(path);
        snapshot_take(&snapshot, run.fd);
        config.backing_fd = run.fd;
        assert(loop_attach(&config, &number, &run.loop_fd) == 0);
        loop_path(number, run.loop);
        for (uint32_t bit = first; bit < base->n_bytes * 8; bit += stride) {
                if (!is_checksum(base, bit))
                        run_bit(&run, bit, judge);
        }
        close(run.loop_fd);
        close(run.fd);
        return true;
}

/* Most of a cell is waiting for the kernel: more workers than processors. */
static size_t run_base(const OracleSet *set, const BitBase *base, const FsHost *host,
                       unsigned int n_workers, OracleSample sample, size_t *n_cellsp) {
        OracleJudge *judges;
        size_t n_wrong = 0, n_cells = 0, n_own = 0;

        judges = mmap(NULL, n_workers * sizeof(*judges), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert(judges != MAP_FAILED);
        for (unsigned int i = 0; i < n_workers; i++) {
                pid_t pid;

                judges[i].host = *host;
                oracle_judge_prepare(&judges[i]);
                (void)fflush(stdout);
                pid = fork();
                assert(pid >= 0);
                if (pid == 0) {
                        bool made;

                        oracle_place_open();
                        made = work(set, base, sample.first + i * sample.step,
                                    n_workers * sample.step, &judges[i]);
                        oracle_place_close();
                        (void)fflush(stdout);
                        _exit(made ? 0 : 77);
                }
        }
        for (unsigned int i = 0; i < n_workers; i++) {
                int status;

                assert(wait(&status) > 0);
                if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
                        printf("not makeable here: %s\n", base->name);
                } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                        printf("WRONG %s: a worker ended with status 0x%x\n", base->name,
                               (unsigned int)status);
                        n_wrong++;
                }
        }
        for (unsigned int i = 0; i < n_workers; i++) {
                n_cells += judges[i].n_cases;
                n_own += judges[i].n_own;
                n_wrong += judges[i].n_wrong + judges[i].n_number_wrong;
        }
        printf("%-12s %6zu bits, %zu %s, %zu not compared\n", base->name, n_cells, n_wrong,
               base->is_open ? "open" : "wrong", n_own);
        munmap(judges, n_workers * sizeof(*judges));
        *n_cellsp += n_cells;
        return base->is_open ? 0 : n_wrong;
}

size_t oracle_bits(const OracleSet *set, const char *only, OracleSample sample) {
        static FsHost host;
        FsHostRead here = {.root_fd = -1};
        long n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
        unsigned int n_workers = n_cpus < 1 ? 4 : n_cpus > 4 ? 16 : 4 * (unsigned int)n_cpus;
        size_t n_wrong = 0, n_cells = 0;
        Error err = {0};

        assert(fs_host_read(&host, &here, &err) == 0);
        for (size_t i = 0; i < N_ELEMENTS(bases); i++) {
                if ((only && !str_equal(only, bases[i].name)) ||
                    host.drivers[fs_kind_from_type(bases[i].type)] != FS_TRI_YES)
                        continue;
                n_wrong += run_base(set, &bases[i], &host, n_workers, sample, &n_cells);
        }
        printf("%zu bits of superblocks turned over, %zu wrong\n", n_cells, n_wrong);
        return n_wrong;
}
