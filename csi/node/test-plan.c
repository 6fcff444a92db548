/* SPDX-License-Identifier: Apache-2.0 */

/* Plans as text, and how they are carried out and taken back. No device, no root. */

#undef NDEBUG
#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/node/apply.h"
#include "csi/node/condition.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define GIB (UINT64_C(1) << 30)

static FsHost host;
static const char *const fs_types[] = {"ext4", "xfs", "btrfs", "ext3", NULL};
static const FormatRules rules = {.default_fs_type = "ext4", .fs_types = fs_types};

static int set_up(void **state) {
        Error err = {0};

        assert_int_equal(
                fs_host_from_release(&host, "6.1.0-18-amd64", 4096, FS_BYTE_ORDER_LITTLE, &err), 0);
        host.tools[FS_TOOLS_E2FSPROGS] = FS_VERSION(1, 47, 0);
        host.tools[FS_TOOLS_XFSPROGS] = FS_VERSION(6, 1, 0);
        host.tools[FS_TOOLS_BTRFS] = FS_VERSION(6, 2, 0);
        host.is_this_node = true;
        return 0;
}

static DeviceFacts device_make(FsFind find) {
        DeviceFacts device = {
                .device = {.path = "/dev/sdb", .devno = 0x810},
                .name = "sdb",
                .size_bytes = 10 * GIB,
                .logical_sector_bytes = 512,
                .is_free = true,
                .is_inspected = true,
                .inspection = {.find = find, .why = "the reason"},
        };

        return device;
}

static DeviceFacts device_with(FsKind kind, const char *type, uint64_t fs_bytes) {
        DeviceFacts device = device_make(FS_FIND_FILESYSTEM);
        FsVolume *volume = &device.inspection.volume;

        volume->kind = kind;
        volume->type = type;
        volume->block_bytes = 4096;
        volume->fs_bytes = fs_bytes;
        volume->device_bytes = device.size_bytes;
        volume->n_devices = 1;
        volume->checksum = FS_CHECKSUM_GOOD;
        volume->log = FS_LOG_CLEAN;
        if (kind == FS_KIND_XFS)
                volume->words[FS_CLASS_VERSION] = 1 << 5;
        return device;
}

typedef struct Setting {
        const char *fs_type;
        const char *flags;
        bool no_selinux, can_grow;
} Setting;

static MountOptions options;

static int plan_of(const Setting *setting, const DeviceFacts *device, const TargetFacts *target,
                   Plan *plan, Error *err) {
        const MountInput input = {
                .volume_id = "v",
                .fs_type = setting->fs_type,
                .rules = &rules,
                .options = &options,
                .hosts = &host,
                .n_hosts = 1,
                .can_grow_mounted_ext = setting->can_grow,
                .has_selinux = !setting->no_selinux,
        };

        options = (MountOptions){0};
        if (setting->flags)
                assert_int_equal(mount_options_add(&options, setting->flags), 0);
        return mount_plan(&input, device, target, plan, err);
}

static const TargetFacts free_target = {.path = "/t", .type = S_IFDIR};

static void expect_plan(const Setting *setting, const DeviceFacts *device,
                        const TargetFacts *target, const char *expected) {
        cleanup(freep) Plan *plan = calloc(1, sizeof(*plan));
        cleanup(freep) char *text = NULL;
        char *command;
        Error err = {0};
        int r = plan_of(setting, device, target, plan, &err);

        if (r < 0)
                fail_msg("%s", err.message);
        text = plan_format(plan);
        /* What mkfs is given in full is the business of fs/. */
        command = strstr(text, " command=\"mk");
        if (command)
                memmove(command, strchr(command, '\n'), strlen(strchr(command, '\n')) + 1);
        assert_string_equal(text, expected);
}

static void expect_refusal(const Setting *setting, const DeviceFacts *device,
                           const TargetFacts *target, ErrorCode code, const char *word) {
        cleanup(freep) Plan *plan = calloc(1, sizeof(*plan));
        Error err = {0};

        assert_true(plan_of(setting, device, target, plan, &err) < 0);
        if (err.code != code || !strstr(err.message, word))
                fail_msg("%s: %s", error_code_name(err.code), err.message);
}

static void test_blank(void **state) {
        const DeviceFacts blank = device_make(FS_FIND_BLANK);
        const TargetFacts missing = {.path = "/t"};
        DeviceFacts other;

        expect_plan(&(Setting){""}, &blank, &free_target,
                    "format device=/dev/sdb type=ext4\n"
                    "mount device=/dev/sdb target=/t type=ext4 options=errors=...\n");
        expect_plan(&(Setting){"xfs", "nosuid,nodev"}, &blank, &missing,
                    "make-target target=/t type=directory\n"
                    "format device=/dev/sdb type=xfs\n"
                    "mount device=/dev/sdb target=/t type=xfs options=nosuid,nodev,nouuid\n");
        expect_refusal(&(Setting){"ext4", "ro"}, &blank, &free_target, ERROR_PRECONDITION, "blank");
        expect_refusal(&(Setting){"vfat"}, &blank, &free_target, ERROR_INVALID, "vfat");
        other = blank;
        other.is_read_only = true;
        expect_refusal(&(Setting){"ext4"}, &other, &free_target, ERROR_PRECONDITION, "read-only");
        other = blank;
        other.is_free = false;
        expect_refusal(&(Setting){"ext4"}, &other, &free_target, ERROR_UNAVAILABLE, "in use");
}

static void test_not_blank(void **state) {
        DeviceFacts unknown = device_make(FS_FIND_UNKNOWN), other = device_make(FS_FIND_OTHER);

        expect_refusal(&(Setting){"ext4"}, &unknown, &free_target, ERROR_UNAVAILABLE, "the reason");
        expect_refusal(&(Setting){"ext4"}, &other, &free_target, ERROR_PRECONDITION, "the reason");
        /* Only what our own mkfs left half made. */
        unknown.has_unfinished = true;
        expect_refusal(&(Setting){"ext4"}, &unknown, &free_target, ERROR_UNAVAILABLE, "the reason");
        other.has_unfinished = true;
        expect_plan(&(Setting){"ext4"}, &other, &free_target,
                    "wipe device=/dev/sdb\n"
                    "format device=/dev/sdb type=ext4\n"
                    "mount device=/dev/sdb target=/t type=ext4 options=errors=...\n");
        other.is_free = false;
        expect_refusal(&(Setting){"ext4"}, &other, &free_target, ERROR_PRECONDITION, "the reason");
}

static void test_existing(void **state) {
        DeviceFacts ext4 = device_with(FS_KIND_EXT, "ext4", 10 * GIB);
        DeviceFacts ext3 = device_with(FS_KIND_EXT, "ext3", 10 * GIB);
        DeviceFacts xfs = device_with(FS_KIND_XFS, "xfs", 10 * GIB);

        expect_plan(&(Setting){"ext4"}, &ext4, &free_target,
                    "mount device=/dev/sdb target=/t type=ext4 options=errors=...\n");
        expect_plan(&(Setting){""}, &xfs, &free_target,
                    "mount device=/dev/sdb target=/t type=xfs options=nouuid\n");
        expect_plan(&(Setting){"ext4"}, &ext3, &free_target,
                    "mount device=/dev/sdb target=/t type=ext4 options=errors=...\n");
        expect_plan(&(Setting){"ext3"}, &ext3, &free_target,
                    "mount device=/dev/sdb target=/t type=ext3 options=errors=...\n");
        expect_refusal(&(Setting){"ext3"}, &ext4, &free_target, ERROR_PRECONDITION,
                       "holds ext4, the request asks for ext3");
        expect_refusal(&(Setting){"ext4"}, &xfs, &free_target, ERROR_PRECONDITION,
                       "holds xfs, the request asks for ext4");
        /* A marker changes nothing for a filesystem that is whole. */
        ext4.has_unfinished = true;
        expect_plan(&(Setting){"ext4"}, &ext4, &free_target,
                    "mount device=/dev/sdb target=/t type=ext4 options=errors=...\n");
}

static void test_check(void **state) {
        DeviceFacts ext4 = device_with(FS_KIND_EXT, "ext4", 10 * GIB);

        ext4.inspection.volume.state = FS_STATE_ERRORS;
        ext4.inspection.volume.n_errors = 3;
        expect_plan(&(Setting){"ext4"}, &ext4, &free_target,
                    "check device=/dev/sdb why=\"ext4 recorded 3 errors\" command=\"e2fsck -p "
                    "/dev/sdb\"\n"
                    "mount device=/dev/sdb target=/t type=ext4 options=errors=...\n");
        expect_plan(&(Setting){"ext4", "ro"}, &ext4, &free_target,
                    "mount device=/dev/sdb target=/t type=ext4 options=ro,errors=...\n");
        /* Mounted elsewhere it is not touched. */
        ext4.is_free = false;
        expect_plan(&(Setting){"ext4"}, &ext4, &free_target,
                    "mount device=/dev/sdb target=/t type=ext4 options=errors=...\n");
}

/* An unknown feature: said in words before the kernel is asked. */
static void test_incompatible(void **state) {
        DeviceFacts ext4 = device_with(FS_KIND_EXT, "ext4", 10 * GIB);

        ext4.inspection.volume.words[FS_CLASS_INCOMPAT] = UINT64_C(1) << 31;
        expect_refusal(&(Setting){"ext4"}, &ext4, &free_target, ERROR_PRECONDITION, "/dev/sdb: ");
        ext4.inspection.volume.words[FS_CLASS_INCOMPAT] = 0;
        ext4.inspection.volume.words[FS_CLASS_RO_COMPAT] = UINT64_C(1) << 31;
        expect_refusal(&(Setting){"ext4"}, &ext4, &free_target, ERROR_PRECONDITION, "/dev/sdb: ");
        expect_plan(&(Setting){"ext4", "ro"}, &ext4, &free_target,
                    "mount device=/dev/sdb target=/t type=ext4 options=ro,errors=...\n");
}

static void test_grow(void **state) {
        DeviceFacts ext4 = device_with(FS_KIND_EXT, "ext4", 5 * GIB);
        DeviceFacts xfs = device_with(FS_KIND_XFS, "xfs", 5 * GIB);

        expect_plan(&(Setting){"xfs"}, &xfs, &free_target,
                    "mount device=/dev/sdb target=/t type=xfs options=nouuid\n"
                    "grow device=/dev/sdb type=xfs from=5368709120 to=10737418240\n");
        expect_plan(&(Setting){"ext4", NULL, false, true}, &ext4, &free_target,
                    "mount device=/dev/sdb target=/t type=ext4 options=errors=...\n"
                    "grow device=/dev/sdb type=ext4 from=5368709120 to=10737418240\n");
        expect_plan(&(Setting){"ext4"}, &ext4, &free_target,
                    "grow-offline device=/dev/sdb type=ext4 from=5368709120 to=10737418240\n"
                    "mount device=/dev/sdb target=/t type=ext4 options=errors=...\n");
        expect_plan(&(Setting){"xfs", "ro"}, &xfs, &free_target,
                    "mount device=/dev/sdb target=/t type=xfs options=ro,nouuid\n");
        /* What a tool leaves over at the end is no reason. */
        ext4.inspection.volume.fs_bytes = 10 * GIB - (UINT64_C(4) << 20);
        expect_plan(&(Setting){"ext4"}, &ext4, &free_target,
                    "mount device=/dev/sdb target=/t type=ext4 options=errors=...\n");
}

static void test_selinux(void **state) {
        const DeviceFacts ext4 = device_with(FS_KIND_EXT, "ext4", 10 * GIB);

        expect_plan(&(Setting){"ext4", "context=\"a,b\""}, &ext4, &free_target,
                    "mount device=/dev/sdb target=/t type=ext4 options=context=...,errors=...\n");
        expect_plan(&(Setting){"ext4", "context=\"a,b\"", true}, &ext4, &free_target,
                    "mount device=/dev/sdb target=/t type=ext4 options=errors=...\n");
}

static TargetFacts mounted(char *fs_type, unsigned int flags, bool is_ours) {
        return (TargetFacts){
                .path = "/t",
                .type = S_IFDIR,
                .is_mounted = true,
                .is_ours = is_ours,
                .mount = {.is_root = true, .fs_type = fs_type, .flags = flags},
                .source_name = "/dev/sdc",
        };
}

static void test_mounted(void **state) {
        char ext4[] = "ext4", root[] = "/";
        DeviceFacts device = device_make(FS_FIND_UNKNOWN);
        TargetFacts target = mounted(ext4, 0, true);

        target.mount.root = root;
        device.is_inspected = false;
        expect_plan(&(Setting){"ext4"}, &device, &target, "");
        expect_plan(&(Setting){""}, &device, &target, "");
        expect_refusal(&(Setting){"ext4", "ro"}, &device, &target, ERROR_CONFLICT, "for writing");
        expect_refusal(&(Setting){"xfs"}, &device, &target, ERROR_CONFLICT, "as ext4");
        expect_refusal(&(Setting){"ext4", "noexec"}, &device, &target, ERROR_CONFLICT, "noexec");
        /* Another driver mounted it; what it did not add is not asked for by anybody. */
        expect_plan(&(Setting){"ext4", "nosuid"}, &device, &target, "");
        target.mount.flags = MOUNT_FLAG_NO_ATIME;
        expect_refusal(&(Setting){"ext4"}, &device, &target, ERROR_CONFLICT, "\"noatime\"");
        expect_plan(&(Setting){"ext4", "noatime"}, &device, &target, "");
        target.mount.flags = MOUNT_FLAG_NO_SUID;
        expect_refusal(&(Setting){"ext4", "suid"}, &device, &target, ERROR_CONFLICT, "\"nosuid\"");
        target.mount.flags = MOUNT_FLAG_READ_ONLY;
        expect_refusal(&(Setting){"ext4"}, &device, &target, ERROR_CONFLICT, "read-only");
        expect_plan(&(Setting){"ext4", "ro"}, &device, &target, "");
        target.is_ours = false;
        expect_refusal(&(Setting){"ext4"}, &device, &target, ERROR_CONFLICT, "/dev/sdc");
        target.is_dead = true;
        device = device_with(FS_KIND_EXT, "ext4", 10 * GIB);
        expect_plan(&(Setting){"ext4"}, &device, &target,
                    "detach-dead target=/t\n"
                    "make-target target=/t type=directory\n"
                    "mount device=/dev/sdb target=/t type=ext4 options=errors=...\n");
}

/* Whatever is asked, and whatever only reads. */
static void test_types_of_the_provider(void **state) {
        static const struct {
                FsKind kind;
                const char *type;
        } others[] = {
                {FS_KIND_F2FS, "f2fs"}, {FS_KIND_EROFS, "erofs"}, {FS_KIND_SQUASHFS, "squashfs"},
                {FS_KIND_VFAT, "vfat"}, {FS_KIND_EXFAT, "exfat"}, {FS_KIND_NTFS, "ntfs"},
        };
        DeviceFacts device = device_with(FS_KIND_EXT, "ext2", 10 * GIB);

        for (size_t i = 0; i < N_ELEMENTS(others); i++) {
                const DeviceFacts other = device_with(others[i].kind, others[i].type, 10 * GIB);

                expect_refusal(&(Setting){""}, &other, &free_target, ERROR_PRECONDITION,
                               "expected one of ext4, xfs, btrfs, ext3:");
                expect_refusal(&(Setting){others[i].type, "ro"}, &other, &free_target,
                               ERROR_PRECONDITION, "volumes of this provider do not have");
        }
        expect_plan(&(Setting){""}, &device, &free_target,
                    "mount device=/dev/sdb target=/t type=ext2 options=errors=...\n");
}

/* A tool's replay may bring another superblock: nothing of the first decision stays. */
static void test_decided_again(void **state) {
        const DeviceFacts device = device_with(FS_KIND_EXT, "ext4", 10 * GIB);
        cleanup(freep) Plan *plan = calloc(1, sizeof(*plan));
        FsVolume replayed = device.inspection.volume;
        const MountInput input = {.fs_type = "ext4",
                                  .rules = &rules,
                                  .hosts = &host,
                                  .n_hosts = 1,
                                  .options = &options,
                                  .has_selinux = true};
        FsckPlan check;
        Error err = {0};

        options = (MountOptions){0};
        assert_int_equal(mount_plan(&input, &device, &free_target, plan, &err), 0);
        assert_int_equal(mount_decide(&replayed, plan, &check, &err), 0);
        assert_int_equal(check.action, FSCK_ACTION_NONE);
        (void)snprintf(replayed.own_options, sizeof(replayed.own_options), "data=writeback");
        assert_true(mount_decide(&replayed, plan, &check, &err) < 0);
        assert_non_null(strstr(err.message, "in its superblock"));
        replayed = device.inspection.volume;
        replayed.state = FS_STATE_EXTERNAL_LOG;
        assert_true(mount_decide(&replayed, plan, &check, &err) < 0);
        assert_int_equal(err.code, ERROR_PRECONDITION);
        replayed = device.inspection.volume;
        replayed.kind = FS_KIND_EROFS;
        replayed.type = "erofs";
        assert_true(mount_decide(&replayed, plan, &check, &err) < 0);
        assert_non_null(strstr(err.message, "the request asks for ext4"));
}

static void test_bind(void **state) {
        char ext4[] = "ext4", root[] = "/", other[] = "/dir";
        TargetFacts staged = mounted(ext4, MOUNT_FLAG_NO_SUID, false), target = staged;
        const TargetFacts missing = {.path = "/p"};
        BindInput input = {"v", &options, false, ""};
        cleanup(freep) Plan *plan = calloc(1, sizeof(*plan));
        cleanup(freep) char *text = NULL;
        Error err = {0};

        staged.mount.root = target.mount.root = root;
        options = (MountOptions){.set = MOUNT_FLAG_NO_EXEC};
        assert_int_equal(bind_plan(&input, &staged, &missing, plan, &err), 0);
        text = plan_format(plan);
        assert_string_equal(text, "make-target target=/p type=directory\n"
                                  "bind source=/t target=/p options=noexec\n");
        /* The same already; another flag or type, read-only or not, another tree is not the same.
         */
        *plan = (Plan){0};
        assert_true(bind_plan(&input, &staged, &target, plan, &err) < 0);
        assert_int_equal(err.code, ERROR_CONFLICT);
        assert_non_null(
                strstr(err.message, "with \"nosuid\", the request asks for \"nosuid,noexec\""));
        target.mount.flags |= MOUNT_FLAG_NO_EXEC;
        input.fs_type = "xfs";
        assert_true(bind_plan(&input, &staged, &target, plan, &err) < 0);
        assert_int_equal(err.code, ERROR_CONFLICT);
        input.fs_type = "ext4";
        assert_int_equal(bind_plan(&input, &staged, &target, plan, &err), 0);
        assert_int_equal(plan->n_steps, 0);
        input.read_only = true;
        assert_true(bind_plan(&input, &staged, &target, plan, &err) < 0);
        assert_int_equal(err.code, ERROR_CONFLICT);
        target.mount.root = other;
        assert_true(bind_plan(&input, &staged, &target, plan, &err) < 0);
        assert_int_equal(err.code, ERROR_CONFLICT);
        /* What is staged must be well for who writes. */
        staged.is_forced_ro = true;
        assert_int_equal(bind_plan(&input, &staged, &missing, plan, &err), 0);
        input.read_only = false;
        assert_true(bind_plan(&input, &staged, &missing, plan, &err) < 0);
        assert_int_equal(err.code, ERROR_PRECONDITION);
        staged.is_mounted = false;
        assert_true(bind_plan(&input, &staged, &missing, plan, &err) < 0);
        assert_int_equal(err.code, ERROR_PRECONDITION);
}

static void test_block(void **state) {
        const DeviceFacts device = device_make(FS_FIND_UNKNOWN);
        TargetFacts target = {.path = "/p"};
        char ext4[] = "ext4";
        const BindInput input = {"v", &options, true, ""};
        cleanup(freep) Plan *plan = calloc(1, sizeof(*plan));
        cleanup(freep) char *text = NULL;
        Error err = {0};

        options = (MountOptions){0};
        assert_int_equal(block_plan(&input, &device, &target, plan, &err), 0);
        text = plan_format(plan);
        assert_string_equal(text, "make-target target=/p type=file\n"
                                  "bind source=/dev/sdb target=/p options=ro\n");
        target.type = S_IFDIR;
        assert_true(block_plan(&input, &device, &target, plan, &err) < 0);
        assert_int_equal(err.code, ERROR_CONFLICT);
        /* Its filesystem is no node of it, and the other way. */
        target = mounted(ext4, 0, true);
        assert_true(block_plan(&input, &device, &target, plan, &err) < 0);
        assert_int_equal(err.code, ERROR_CONFLICT);
        target.type = S_IFBLK;
        expect_refusal(&(Setting){""}, &device, &target, ERROR_CONFLICT, "as a block device");
        options = (MountOptions){0};
        target = (TargetFacts){.path = "/p"};
        /* A node that another driver made. */
        target.type = S_IFBLK;
        target.is_ours = true;
        *plan = (Plan){0};
        assert_int_equal(block_plan(&input, &device, &target, plan, &err), 0);
        assert_int_equal(plan->n_steps, 0);
}

/* --- apply --- */

typedef struct Trace {
        char text[256];
        size_t fails_at, n_run;
        bool undo_fails;
} Trace;

static int trace_run(void *userdata, StepKind kind, Work *work, Error *err) {
        Trace *trace = userdata;

        if (trace->n_run++ == trace->fails_at)
                return error_set(err, ERROR_PRECONDITION, "no");
        (void)snprintf(trace->text + strlen(trace->text), sizeof(trace->text) - strlen(trace->text),
                       "+%s ", step_name(kind));
        return 0;
}

static int trace_undo(void *userdata, StepKind kind, Work *work, Error *err) {
        Trace *trace = userdata;

        (void)snprintf(trace->text + strlen(trace->text), sizeof(trace->text) - strlen(trace->text),
                       "-%s ", step_name(kind));
        return trace->undo_fails ? error_set(err, ERROR_INTERNAL, "stuck") : 0;
}

static void check_apply(size_t fails_at, bool undo_fails, ErrorCode code, const char *expected) {
        cleanup(freep) Plan *plan = calloc(1, sizeof(*plan));
        Trace trace = {.fails_at = fails_at, .undo_fails = undo_fails};
        const NodeKernel kernel = {trace_run, trace_undo, &trace};
        const Call call = {0};
        Work work = {.call = &call, .volume_id = "v", .plan = plan};
        Error err = {0};

        plan->steps[plan->n_steps++] = STEP_MAKE_TARGET;
        plan->steps[plan->n_steps++] = STEP_FORMAT;
        plan->steps[plan->n_steps++] = STEP_MOUNT;
        assert_int_equal(apply(&kernel, &work, &err) < 0, code != ERROR_NONE);
        assert_int_equal(err.code, code);
        assert_string_equal(trace.text, expected);
}

static void test_apply(void **state) {
        check_apply(9, false, ERROR_NONE, "+make-target +format +mount ");
        check_apply(0, false, ERROR_PRECONDITION, "");
        check_apply(1, false, ERROR_PRECONDITION, "+make-target -make-target ");
        check_apply(2, false, ERROR_PRECONDITION, "+make-target +format -format -make-target ");
        /* What cannot be undone is uncertain for kubelet, and the rest is undone. */
        check_apply(2, true, ERROR_UNAVAILABLE, "+make-target +format -format -make-target ");
}

static void test_condition(void **state) {
        static const struct {
                ConditionFacts facts;
                const char *words; /* NULL: well */
        } cases[] = {
                {{.fs_type = "ext4"}, NULL},
                {{.fs_type = "ext4", .has_sizes = true, .fs_bytes = 9, .device_bytes = 9}, NULL},
                {{.fs_type = "ext4", .has_sizes = true, .fs_bytes = 9, .device_bytes = 8},
                 "8 bytes"},
                {{.fs_type = "ext4", .has_sizes = true, .fs_bytes = 9}, "no size"},
                {{.is_dead = true}, "does not answer"},
                {{.is_forced_ro = true}, "read-only"},
                {{.open_errno = EIO}, "Input/output error"},
                {{.fs_type = "ext4", .device = "/dev/sdb", .n_errors = 2},
                 "ext4 recorded 2 errors on /dev/sdb"},
                {{.is_forced_ro = true, .open_errno = EIO}, "; "},
        };
        char text[CONDITION_MAX];

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                assert_int_equal(condition_judge(&cases[i].facts, text), cases[i].words != NULL);
                if (cases[i].words && !strstr(text, cases[i].words))
                        fail_msg("%s", text);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_blank),
                cmocka_unit_test(test_not_blank),
                cmocka_unit_test(test_existing),
                cmocka_unit_test(test_check),
                cmocka_unit_test(test_incompatible),
                cmocka_unit_test(test_grow),
                cmocka_unit_test(test_selinux),
                cmocka_unit_test(test_mounted),
                cmocka_unit_test(test_types_of_the_provider),
                cmocka_unit_test(test_decided_again),
                cmocka_unit_test(test_bind),
                cmocka_unit_test(test_block),
                cmocka_unit_test(test_apply),
                cmocka_unit_test(test_condition),
        };

        return cmocka_run_group_tests(tests, set_up, NULL);
}
