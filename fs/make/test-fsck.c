/* SPDX-License-Identifier: Apache-2.0 */
/* When a filesystem is checked, and what is said when a mount fails. */

#undef NDEBUG
#include "fs/formats/format.h"
#include "fs/make/fsck.h"
#include "fs/verdict/explain.h"
#include "tests/lib/pieces.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <assert.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static FsVolume volume;
static FsHost host;
static FsVerdict verdict;
static FsckPlan plan;

static void load(const char *name) {
        Pieces pieces;
        FsReader reader;
        Error err = {0};

        pieces_load(&pieces, name);
        reader = pieces_reader(&pieces);
        assert_int_equal(fs_read_volume(&reader, &volume), 0);
        pieces_unload(&pieces);
        assert_int_equal(fs_host_from_release(&host, "6.1", 4096, FS_BYTE_ORDER_LITTLE, &err), 0);
}

static void expect(FsckAction action, const char *part) {
        fsck_plan(&volume, &host, "/dev/x", false, &plan);
        assert_int_equal(plan.action, action);
        if (!strstr(plan.why, part))
                print_error("%s\n", plan.why);
        assert_non_null(strstr(plan.why, part));
        assert_int_equal(plan.argv[0] != NULL, action == FSCK_ACTION_PREEN);
}

static void test_policy(void **state) {
        (void)state;
        load("ext4");
        expect(FSCK_ACTION_NONE, "clean");
        load("ext4-caught-orphan_file");
        expect(FSCK_ACTION_REPLAY, "journal");
        volume.state |= FS_STATE_ERRORS;
        volume.n_errors = 3;
        expect(FSCK_ACTION_PREEN, "recorded 3 errors");
        assert_string_equal(plan.argv[0], "e2fsck");
        assert_string_equal(plan.argv[1], "-p");
        assert_string_equal(plan.argv[2], "/dev/x");
        assert_null(plan.argv[3]);
        assert_true(plan.timeout_msecs >= 120000 && plan.memory_bytes > 0);
        fsck_plan(&volume, &host, "/dev/x", true, &plan);
        assert_int_equal(plan.action, FSCK_ACTION_NONE);
        /* e2fsck refuses what it does not know, so it cannot help. */
        host.tools[FS_TOOLS_E2FSPROGS] = FS_VERSION(1, 46, 2);
        expect(FSCK_ACTION_REFUSE, "too old for orphan_file");

        load("ext2");
        expect(FSCK_ACTION_NONE, "clean");
        volume.state |= FS_STATE_UNCLEAN;
        expect(FSCK_ACTION_PREEN, "no journal");
        load("ext4-caught-mmp");
        expect(FSCK_ACTION_NONE, "multi-mount");
        load("xfs");
        expect(FSCK_ACTION_NONE, "clean");
        load("xfs-caught");
        expect(FSCK_ACTION_REPLAY, "log");
        volume.state |= FS_STATE_NEEDS_REPAIR;
        expect(FSCK_ACTION_REFUSE, "xfs_repair on /dev/x");
        load("btrfs-caught");
        expect(FSCK_ACTION_REPLAY, "log tree");
        load("f2fs");
        expect(FSCK_ACTION_NONE, "clean");
        volume.state |= FS_STATE_NEEDS_REPAIR;
        expect(FSCK_ACTION_PREEN, "asks");
        load("vfat");
        expect(FSCK_ACTION_NONE, "");
}

static void test_damaged(void **state) {
        static const char *const names[] = {"ext4", "xfs", "btrfs", "f2fs"};

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(names); i++) {
                load(names[i]);
                volume.checksum = FS_CHECKSUM_BAD;
                expect(FSCK_ACTION_REFUSE, "never format it");
                load(names[i]);
                volume.state |= FS_STATE_MALFORMED;
                expect(FSCK_ACTION_REFUSE, "never format it");
        }
}

/* The time and memory grow with the volume and end somewhere. */
static void test_limits(void **state) {
        uint64_t last = 0;

        (void)state;
        load("ext4");
        volume.state |= FS_STATE_ERRORS;
        for (unsigned int log = 20; log < 63; log++) {
                volume.fs_bytes = UINT64_C(1) << log;
                fsck_plan(&volume, &host, "/dev/x", false, &plan);
                assert_true(plan.timeout_msecs >= last && plan.timeout_msecs <= 3600000);
                last = plan.timeout_msecs;
        }
}

/* A stand-in for fsck that ends as it is told. */
static int run_exit(const char *script) {
        FsckPlan run = {.action = FSCK_ACTION_PREEN,
                        .argv = {"sh", "-c", script, "/dev/x", NULL},
                        .timeout_msecs = 300};
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        Error err = {0};
        int r = fsck_run(&run, fd, NULL, NULL, &err);

        close(fd);
        assert_int_equal(r < 0, error_is_set(&err));
        if (r < 0 && strstr(script, "$0"))
                assert_non_null(strstr(err.message, "/dev/x: BAD"));
        if (r < 0 && strstr(script, "tail"))
                assert_non_null(strstr(err.message, "the tail"));
        return r < 0 ? (int)err.code : 0;
}

static void test_run(void **state) {
        (void)state;
        assert_int_equal(run_exit("exit 0"), 0);
        assert_int_equal(run_exit("exit 1"), 0);
        assert_int_equal(run_exit("exit 2"), 0);
        assert_int_equal(run_exit("echo head; echo the tail; exit 4"), ERROR_PRECONDITION);
        assert_int_equal(run_exit("echo the tail >&2; exit 8"), ERROR_PRECONDITION);
        /* The device is given by descriptor, and told by its name. */
        assert_int_equal(run_exit("test $0 -ef /dev/null && echo \"$0: BAD\" && exit 4"),
                         ERROR_PRECONDITION);
        assert_int_equal(run_exit("kill -9 $$"), ERROR_UNAVAILABLE);
        assert_int_equal(run_exit("sleep 5"), ERROR_TIMEOUT);
}

static ErrorCode explain(int os_errno, bool read_only, const char *options, const char *kernel,
                         const char *part) {
        FsFailure failure = {.os_errno = os_errno,
                             .read_only = read_only,
                             .options = options,
                             .kernel_text = kernel};
        char text[FS_SENTENCE_MAX];
        ErrorCode code = fs_explain(&volume, &host, &verdict, &failure, text);

        assert_true(strlen(text) <= 400);
        if (!strstr(text, part))
                print_error("%s\n", text);
        assert_non_null(strstr(text, part));
        return code;
}

static void test_explain(void **state) {
        FsSituation twin = {.uuid_mounted = true};
        Error err = {0};

        (void)state;
        /* It was foreseen. */
        load("xfs-all");
        assert_int_equal(fs_host_from_release(&host, "5.4", 4096, 0, &err), 0);
        fs_verdict(&volume, &host, NULL, &verdict);
        assert_int_equal(explain(EINVAL, false, "", NULL, "nrext64 (incompat 0x20)"),
                         ERROR_PRECONDITION);
        /* It was not: the errno, its meaning, the kernel's last line. */
        load("ext4");
        fs_verdict(&volume, &host, NULL, &verdict);
        assert_int_equal(explain(EINVAL, false, "foo", "ext4: Unknown parameter 'foo'\n",
                                 "the kernel says: ext4: Unknown parameter 'foo'; options: foo"),
                         ERROR_PRECONDITION);
        assert_int_equal(explain(EBUSY, false, "", NULL, "in use by another"), ERROR_UNAVAILABLE);
        assert_int_equal(explain(EIO, false, "", "one\ntwo\n", "the kernel says: two"),
                         ERROR_UNAVAILABLE);
        assert_int_equal(explain(EROFS, true, "", NULL, "read-only"), ERROR_PRECONDITION);
        assert_int_equal(explain(E2BIG, false, "", NULL, "ext4 was not mounted"), ERROR_INTERNAL);
        load("xfs");
        fs_verdict(&volume, &host, &twin, &verdict);
        assert_int_equal(explain(EINVAL, false, "", NULL, "needs nouuid"), ERROR_PRECONDITION);
}

/* A kernel may print anything, of any length. */
static void test_explain_long(void **state) {
        char *noise = malloc(100000);

        (void)state;
        memset(noise, 'n', 99999);
        noise[99999] = '\0';
        load("ext4");
        fs_verdict(&volume, &host, NULL, &verdict);
        explain(EIO, false, noise, noise, "ext4 was not mounted");
        free(noise);
}

/* The words of e2fsck 1.47.0 -fn, of what a resize2fs left that was killed, and of more than that.
 */
static void test_asks_little(void **state) {
        (void)state;
        assert_true(fsck_asks_little(""));
        assert_true(fsck_asks_little(
                "Resize inode not valid.  Recreate? no\n\nPass 5: Checking group summary "
                "information\nFree blocks count wrong (61, counted=60).\nFix? no\n\nBlock bitmap "
                "differences:  +(8193--8449)\nFix? no\n"));
        assert_false(
                fsck_asks_little("Fix? no\nEntry 'file' in / (2) has deleted/unused inode 12.  "
                                 "Clear? no\n"));
        assert_false(fsck_asks_little("Error reading block 42 (Short read).  Ignore error? no\n"));
        assert_false(fsck_asks_little("Fix? no\nForce rewrite? no\n"));
        assert_false(fsck_asks_little("? no\nFix? no\n"));
}

/* Names may be lost by "e2fsck -y": only what a kill left is corrected so, and never unseen. */
static void test_asks_sums(void **state) {
        (void)state;
        assert_false(fsck_asks_sums("Clone multiply-claimed blocks? no\nPass 5: Checking\n"));
        assert_false(fsck_asks_sums("Pass 1: Checking inodes\nFix? no\n"));
        assert_false(fsck_asks_sums(""));
        assert_true(fsck_asks_sums("Pass 1: Checking inodes\nPass 5: Checking\n"));
        assert_true(fsck_asks_sums("Pass 5: Checking\nBlock bitmap differences:  -9\nFix? no\n"));
}

static void test_cut_growth(void **state) {
        (void)state;
        load("ext4");
        for (int killed = 0; killed < 2; killed++) {
                fsck_plan_cut_growth(&volume, "/dev/x", killed, &plan);
                assert_int_equal(plan.action, FSCK_ACTION_PREEN);
                assert_true(plan.looks_first);
                assert_int_equal(plan.may_say_yes, killed);
                assert_string_equal(plan.argv[1], "-f");
                assert_string_equal(plan.argv[2], "-p");
                assert_string_equal(plan.argv[3], "/dev/x");
                assert_null(plan.argv[4]);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_policy),      cmocka_unit_test(test_damaged),
                cmocka_unit_test(test_limits),      cmocka_unit_test(test_run),
                cmocka_unit_test(test_explain),     cmocka_unit_test(test_explain_long),
                cmocka_unit_test(test_asks_little), cmocka_unit_test(test_asks_sums),
                cmocka_unit_test(test_cut_growth),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
