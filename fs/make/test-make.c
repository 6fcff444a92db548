/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making filesystems on loop devices: what is made is what was planned; what is not blank, or
 * cannot be read, is not touched; what a failed mkfs left does not stand in the way of the next.
 */

#include "tests/lib/test.h"

#include "fs/formats/format.h"
#include "fs/make/fsck.h"
#include "fs/make/mkfs.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/block/loop.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>

#define MIB  (UINT64_C(1) << 20)
#define SIZE (320 * MIB)

static FsHost hosts[3];
static FsMakePlan plan;
static FsVolume volume;
static uint32_t tools[_FS_TOOLS_N];

/* This node, and kernels of other nodes. */
static void set_up_hosts(void) {
        FsHostRead here = {.root_fd = -1};
        Error err = {0};

        assert(fs_host_read(&hosts[0], &here, &err) == 0);
        assert(fs_host_from_release(&hosts[1], "5.4", 65536, FS_BYTE_ORDER_LITTLE, &err) == 0);
        assert(fs_host_from_release(&hosts[2], "5.10", 4096, FS_BYTE_ORDER_BIG, &err) == 0);
}

static FsMakeRequest request_for(const char *type, const char *device) {
        FsMakeRequest request = {.fs_type = type,
                                 .device = device,
                                 .size_bytes = SIZE,
                                 .logical_sector_bytes = 512,
                                 .hosts = hosts,
                                 .n_hosts = str_equal(type, "btrfs") ? 1 : 3,
                                 .label = "berth"};

        memcpy(request.tools, tools, sizeof(tools));
        return request;
}

static int make(int fd, const char *type, const char *device, Error *err) {
        FsExpect expect = {.size_bytes = SIZE};
        FsMakeRun run = {.expect = &expect, .timeout_msecs = 60000, .uuid = {0xbe, 0x47, 1}};
        FsMakeRequest request = request_for(type, device);
        int r = fs_make_plan(&request, &plan, err);

        return r < 0 ? r : fs_make(fd, &request, &plan, &run, &volume, err);
}

static void test_made(const char *type) {
        char path[32];
        cleanup(closep) int fd = test_loop_open(SIZE, path);
        Error err = {0};

        if (make(fd, type, path, &err) < 0) {
                printf("%s: %s\n", type, err.message);
                assert(false);
        }
        assert(str_equal(volume.type, type));
        assert(str_equal(volume.label, "berth"));
        assert(volume.uuid[0] == 0xbe && volume.uuid[1] == 0x47 && volume.uuid[2] == 1);
        assert(volume.checksum == FS_CHECKSUM_GOOD || str_equal(type, "ext3"));
        /* A second time it is not blank, and says what is there. */
        assert(make(fd, type, path, &err) < 0);
        assert(err.code == ERROR_PRECONDITION && strstr(err.message, type));
        printf("made %s: %s\n", type, err.message);
}

/* Whether the device is zero but for those bytes. */
static bool holds_only(int fd, uint64_t offset, const void *bytes, size_t n) {
        uint8_t *chunk = malloc(MIB), *wanted = malloc(MIB);
        bool same = true;

        assert(chunk && wanted);
        for (uint64_t at = 0; at < SIZE; at += MIB) {
                memset(wanted, 0, MIB);
                if (offset >= at && offset < at + MIB)
                        memcpy(wanted + (offset - at), bytes, n);
                assert(pread(fd, chunk, MIB, (off_t)at) == (ssize_t)MIB);
                same &= memcmp(chunk, wanted, MIB) == 0;
        }
        free(chunk);
        free(wanted);
        return same;
}

/* Bytes of something else: refused, and not one byte changed. */
static void test_not_touched(const char *what, uint64_t offset, const void *bytes, size_t n) {
        char path[32];
        cleanup(closep) int fd = test_loop_open(SIZE, path);
        Error err = {0};

        assert(pwrite(fd, bytes, n, (off_t)offset) == (ssize_t)n);
        assert(make(fd, "ext4", path, &err) < 0);
        assert(err.code == ERROR_PRECONDITION);
        assert(holds_only(fd, offset, bytes, n));
        printf("%s: %s\n", what, err.message);
}

/* The file behind the device is shorter than the device: its end cannot be read. */
static void test_read_error(void) {
        cleanup(closep) int backing = memfd_create("berth-make", MFD_CLOEXEC), fd = -1;
        LoopConfig config = {.is_autoclear = true};
        FsInspection *seen = malloc(sizeof(*seen));
        char path[LOOP_PATH_MAX];
        unsigned int number;
        Error err = {0};

        assert(seen && backing >= 0 && ftruncate(backing, SIZE) == 0);
        config.backing_fd = backing;
        assert(loop_attach(&config, &number, &fd) == 0);
        loop_path(number, path);
        assert(ftruncate(backing, (off_t)(SIZE - MIB / 2)) == 0);
        assert(make(fd, "ext4", path, &err) < 0);
        printf("read error: %s\n", err.message);
        assert(err.code == ERROR_PRECONDITION && strstr(err.message, "not known"));
        assert(fs_inspect(fd, NULL, seen, &err) == 0);
        assert(seen->find == FS_FIND_UNKNOWN && seen->read_errno == EIO);
        free(seen);
}

static bool cancel_at_once(void *userdata) {
        (void)userdata;
        return true;
}

/* What a mkfs that is not the real one does, in place of the planned one; the device is the last
 * word, as for the real one, and the UUID the word before. */
static int make_by(int fd, const char *script, bool cancel, Error *err) {
        FsMakeRequest request = request_for("ext4", "/dev/none");
        FsMakeRun run = {.timeout_msecs = 60000,
                         .cancelled = cancel ? cancel_at_once : NULL,
                         .uuid = {0xbe, 0x47, 2}};

        *err = (Error){0};
        assert(fs_make_plan(&request, &plan, err) == 0);
        plan.argv[0] = "sh";
        plan.argv[1] = "-c";
        plan.argv[2] = script;
        plan.argv[3] = "sh";
        plan.argv[4] = "/dev/none";
        plan.argv[5] = NULL;
        plan.environment = NULL;
        plan.n_argv = 5;
        return fs_make(fd, &request, &plan, &run, &volume, err);
}

static void make_fails(int fd, const char *script, bool cancel, Error *err) {
        int r = make_by(fd, script, cancel, err);

        assert(r < 0);
}

#define MKE2FS "mke2fs -q -F -t ext4 -b 4096 -U $2 $3"

/* mkfs fails or is killed, and what it left is ours by its UUID: the next try finds a blank device.
 */
static void test_taken_back(void) {
        static const char *const scripts[] = {
                MKE2FS " && echo no luck >&2 && exit 3",
                MKE2FS " -O ^64bit,^metadata_csum",
                /* Killed before its superblocks, and after the root directory. */
                "mke2fs -q -F -t ext4 -b 4096 -I 256 -O metadata_csum,extra_isize -U $2 $3; "
                "for at in 0 32768 98304; do "
                "dd if=/dev/zero of=$3 bs=4096 seek=$at count=1 conv=notrunc 2>/dev/null; done; "
                "exit 3",
                "exit 3",
        };
        char path[32];
        Error err = {0};

        for (size_t i = 0; i < N_ELEMENTS(scripts); i++) {
                cleanup(closep) int fd = test_loop_open(SIZE, path);

                make_fails(fd, scripts[i], false, &err);
                printf("%s\n", err.message);
                assert(!strstr(err.message, "left as it is"));
                err = (Error){0};
                assert(fs_blank_test(fd, NULL, &err) == 0);
                assert(make(fd, "ext4", path, &err) == 0);
        }
}

static void test_failures(void) {
        char path[32];
        cleanup(closep) int fd = test_loop_open(SIZE, path);
        Error err = {0};

        make_fails(fd, MKE2FS "; sleep 60", true, &err);
        assert(err.code == ERROR_TIMEOUT);
        /* It may have been stopped before it wrote anything. */
        assert(fs_blank_test(fd, NULL, &err) == 0 || strstr(err.message, "is not known"));
        /* A tool that says yes and makes nothing. */
        make_fails(fd, "exit 0", false, &err);
        assert(strstr(err.message, "there is no ext4"));
        err = (Error){0};
        assert(make(fd, "ext4", path, &err) == 0);
}

/* The tool of another filesystem, which would want more of the kernel for a device than ext's has:
 * what it makes of a file is copied. */
#define AS_FILE(command)                                                                           \
        "f=/run/berth-other; rm -f $f; truncate -s $(blockdev --getsize64 $3) $f; " command        \
        "; dd if=$f of=$3 bs=1M conv=notrunc,sparse,fsync 2>/dev/null"

/* A table of somebody's, at so many MiB. */
#define ROWS_AT(mib)                                                                               \
        "; yes 'a row of somebody' | dd of=$3 bs=1M count=2 seek=" mib                             \
        " iflag=fullblock conv=notrunc,fsync 2>/dev/null"
#define ROWS ROWS_AT("0")

/* Whatever else is found after a failure was written by somebody else, and stays. */
static void test_left_alone(void) {
        static const struct {
                const char *script, *said;
        } cases[] = {
                {AS_FILE("mkfs.xfs -q -f $f") "; echo use -f to force overwrite >&2; exit 1",
                 "xfs at offset"},
                {AS_FILE("mkfs.xfs -q -f -m uuid=$2 $f") "; exit 1", "xfs at offset"},
                {"mke2fs -q -F -t ext4 $3; exit 1", "ext4 at offset"},
                {AS_FILE("mkfs.btrfs -q -f $f") "; exit 1", "btrfs at offset"},
                {"dd if=/dev/urandom of=$3 bs=1M count=2 conv=notrunc,fsync 2>/dev/null; exit 1",
                 "data at offset 0"},
                {MKE2FS "; printf LABELONE | dd of=$3 bs=512 seek=1 conv=notrunc 2>/dev/null; "
                        "exit 1",
                 "LVM2_member at offset"},
                /* Another host's copy, our head: as when both format at once. */
                {"mke2fs -q -F -t ext4 -b 4096 $3; dd if=$3 of=/run/berth-copy bs=4096 skip=32768 "
                 "count=1 2>/dev/null; " MKE2FS "; dd if=/run/berth-copy of=$3 bs=4096 seek=32768 "
                 "conv=notrunc 2>/dev/null; exit 1",
                 "ext at offset 134217784"},
                /* Our filesystem, or its copies, and somebody's data that no table knows. */
                {MKE2FS ROWS "; exit 1", "data that is no superblock at offset 0"},
                {MKE2FS "; printf '\\1' | dd of=$3 bs=1 seek=77 conv=notrunc 2>/dev/null; exit 1",
                 "data that is no superblock at offset 0"},
                {MKE2FS ROWS_AT("100") "; exit 1", "data that no mkfs writes at offset 106823680"},
                {MKE2FS "; dd if=/dev/urandom of=$3 bs=512 seek=300001 count=1 conv=notrunc "
                        "2>/dev/null; exit 1",
                 "data that no mkfs writes at offset 153600512"},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                char path[32];
                cleanup(closep) int fd = test_loop_open(SIZE, path);
                Error err = {0};

                make_fails(fd, cases[i].script, false, &err);
                printf("%s\n", err.message);
                assert(strstr(err.message, "left as it is") && strstr(err.message, cases[i].said));
                err = (Error){0};
                assert(fs_blank_test(fd, NULL, &err) < 0);
        }
}

static void put_noise(int fd, uint64_t offset, size_t n) {
        static uint8_t noise[64 * 1024];

        for (size_t at = 0; at < n; at += sizeof(noise)) {
                assert(getrandom(noise, sizeof(noise), 0) == sizeof(noise));
                assert(pwrite(fd, noise, sizeof(noise), (off_t)(offset + at)) == sizeof(noise));
        }
}

/* A LUKS header that cryptsetup had not written yet: ours by the mark and by noise, and by nothing
 * else. */
static void test_luks_begun(void) {
        static const struct {
                const char *text;
                uint64_t noise_at;
                bool marked, other_mark, is_ours;
        } cases[] = {
                {NULL, MIB, true, false, true},
                {NULL, MIB, false, false, false},
                {NULL, MIB, true, true, false},
                {NULL, 40 * MIB, true, false, false},
                {"a row of somebody's table", MIB, true, false, false},
                {"a row of somebody's table", MIB, false, false, false},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                FsClaim claim = {.kind = FS_CLAIM_LUKS, .uuid = {0xbe, 0x47, 2}}, other = claim;
                char path[32];
                cleanup(closep) int fd = test_loop_open(SIZE, path);
                Error err = {0};
                int r;

                other.uuid[15] = cases[i].other_mark;
                if (cases[i].marked)
                        assert(fs_luks_mark(fd, &other) == 0);
                put_noise(fd, cases[i].noise_at, 4 * MIB);
                if (cases[i].text)
                        assert(pwrite(fd, cases[i].text, strlen(cases[i].text),
                                      (off_t)(9 * MIB + 512)) > 0);
                assert(fsync(fd) == 0);
                r = fs_take_back(fd, &claim, &err);
                printf("luks %zu: %s\n", i, err.message);
                assert((r == 0) == cases[i].is_ours);
                err = (Error){0};
                assert((fs_blank_test(fd, NULL, &err) == 0) == cases[i].is_ours);
        }
}

/* In use: neither mkfs nor the taking back touches it. */
static void test_busy(void) {
        char path[32];
        cleanup(closep) int fd = test_loop_open(SIZE, path), other = -1;
        Error err = {0};

        other = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
        assert(other >= 0);
        assert(make(fd, "xfs", path, &err) < 0);
        printf("busy: %s\n", err.message);
        assert(strstr(err.message, "another program uses it"));
        err = (Error){0};
        assert(fs_blank_test(fd, NULL, &err) == 0);
}

/* Errors that a filesystem recorded are gone after a preen. */
static void test_preen(void) {
        char path[32];
        cleanup(closep) int fd = test_loop_open(SIZE, path);
        FsReader reader;
        FsckPlan check;
        Error err = {0};

        assert(make(fd, "ext4", path, &err) == 0);
        assert(test_run("debugfs", "-w", "-R", "ssv state 2", path, NULL) == 0);
        assert(fs_reader_from_fd(&reader, fd) == 0 && fs_read_volume(&reader, &volume) == 0);
        assert(volume.state & FS_STATE_ERRORS);
        fsck_plan(&volume, &hosts[0], path, false, &check);
        assert(check.action == FSCK_ACTION_PREEN);
        if (fsck_run(&check, fd, NULL, NULL, &err) < 0) {
                printf("%s\n", err.message);
                assert(false);
        }
        assert(fs_read_volume(&reader, &volume) == 0);
        assert(!(volume.state & FS_STATE_ERRORS));
}

/* A kernel that says little of itself, asked about XFS: more than its number tells. */
static void test_probe(void) {
        FsHostRead how = {.root_fd = -1, .release = "5.4.0-77.el9.x86_64", .probe = true};
        static FsHost real, asked;
        FsHostRead here = {.root_fd = -1};
        Error err = {0};

        assert(fs_host_read(&real, &here, &err) == 0);
        if (real.drivers[FS_KIND_XFS] != FS_TRI_YES)
                return;
        assert(fs_host_read(&asked, &how, &err) == 0);
        for (FsClass class = FS_CLASS_RO_COMPAT; class <= FS_CLASS_INCOMPAT; class ++) {
                const FsMask *mask = &asked.masks[FS_KIND_XFS][class];

                assert(mask->probed);
                assert((mask->have & mask->probed) ==
                       (real.masks[FS_KIND_XFS][class].have & mask->probed));
                printf("probe: %s 0x%llx of 0x%llx\n", fs_class_name(FS_KIND_XFS, class),
                       (unsigned long long)(mask->have & mask->probed),
                       (unsigned long long)mask->probed);
        }
}

int main(void) {
        static const uint8_t md[4] = {0xfc, 0x4e, 0x2b, 0xa9};

        setvbuf(stdout, NULL, _IOLBF, 0);
        test_require_root();
        fs_tools_read(tools);
        set_up_hosts();
        test_made("ext4");
        test_made("ext3");
        test_made("xfs");
        test_made("btrfs");
        test_not_touched("LVM", 512, "LABELONE", 8);
        test_not_touched("md 1.0", SIZE - 8192, md, sizeof(md));
        test_not_touched("data", 100000, "data", 4);
        test_not_touched("backup of ext4", UINT64_C(32768) * 4096 + 0x38, "\x53\xef", 2);
        test_read_error();
        test_taken_back();
        test_failures();
        test_left_alone();
        test_luks_begun();
        test_busy();
        test_preen();
        test_probe();
        return 0;
}
