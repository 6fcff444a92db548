/* SPDX-License-Identifier: Apache-2.0 */

/* Volumes from blank to gone, of every kind, and every call twice. */

#include "csi/node/test-node.h"

#include "common/base/file.h"

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static unsigned int n_steps[_STEP_N];

static int count_run(void *userdata, StepKind kind, Work *work, Error *err) {
        n_steps[kind]++;
        return kernel_run(*(Node **)userdata, kind, work, err);
}

static int count_undo(void *userdata, StepKind kind, Work *work, Error *err) {
        return kernel_undo(*(Node **)userdata, kind, work, err);
}

static Node *counting_node;

static Node *node_counting(void) {
        const NodeKernel kernel = {count_run, count_undo, &counting_node};

        memset(n_steps, 0, sizeof(n_steps));
        counting_node = node_open(&kernel);
        return counting_node;
}

static unsigned int n_all_steps(void) {
        unsigned int n = 0;

        for (size_t i = 0; i < _STEP_N; i++)
                n += n_steps[i];
        return n;
}

static void live(const char *id, const char *fs_type, uint64_t size_bytes) {
        const Ask ask = {.fs_type = fs_type}, ro = {.fs_type = fs_type, .readonly = true};
        Node *node = node_counting();
        Disk *disk = disk_new(id, size_bytes);
        NodeStatsResult result;
        unsigned int n;

        expect_ok(stage(node, id, &ask));
        assert(n_steps[STEP_FORMAT] == 1 && n_steps[STEP_MOUNT] == 1);
        assert(count_mounts(STAGING) == 1);
        n = n_all_steps();
        expect_ok(stage(node, id, &ask));
        assert(n_all_steps() == n && count_mounts(STAGING) == 1);

        expect_ok(publish(node, id, TARGET, &ask));
        n = n_all_steps();
        expect_ok(publish(node, id, TARGET, &ask));
        assert(n_all_steps() == n && count_mounts(TARGET) == 1);
        make_file(TARGET "/file", "kept");
        expect(ERROR_CONFLICT, publish(node, id, TARGET, &ro));
        /* kubelet publishes SINGLE_NODE_WRITER to a second pod. */
        expect_ok(publish(node, id, TARGET2, &ro));
        assert(file_is(TARGET2 "/file", "kept"));
        assert(open(TARGET2 "/file", O_WRONLY | O_CLOEXEC) < 0 && errno == EROFS);

        expect_ok(stats(node, id, TARGET, &result));
        assert(result.has_bytes && result.bytes.total > 0 && result.bytes.available > 0);
        assert(result.has_condition && !result.abnormal);

        expect_ok(unpublish(node, id, TARGET2));
        assert(!exists(TARGET2) && exists(KUBELET "/pods/b"));
        expect_ok(unpublish(node, id, TARGET2));
        expect_ok(unpublish(node, id, TARGET));
        expect_ok(unstage(node, id, STAGING));
        assert(!disk_is_attached(disk) && count_mounts(STAGING) == 0 && exists(STAGING));
        expect_ok(unstage(node, id, STAGING));

        n = n_steps[STEP_FORMAT];
        expect_ok(stage(node, id, &ask));
        assert(n_steps[STEP_FORMAT] == n && n_steps[STEP_CHECK] == 0 && n_steps[STEP_GROW] == 0 &&
               n_steps[STEP_GROW_OFFLINE] == 0);
        assert(file_is(STAGING "/file", "kept"));
        expect_ok(unstage(node, id, STAGING));
        node_free(node);
}

static void test_ext4(void) {
        live("ext4-1", "ext4", 64 * MIB);
}

static void test_default_type(void) {
        live("any-1", NULL, 64 * MIB);
}

static void test_xfs(void) {
        live("xfs-1", "xfs", 512 * MIB);
}

static void test_btrfs(void) {
        live("btrfs-1", "btrfs", 256 * MIB);
}

/* A disk that is mounted is not shown raw, and one that is shown is neither formatted nor mounted,
 * whatever the stages before were. */
static void test_block_or_mount(void) {
        const Ask raw = {.fs_type = "block", .staging = KUBELET "/plugins/raw"},
                  raw_ro = {.fs_type = "block",
                            .staging = KUBELET "/plugins/raw",
                            .readonly = true},
                  ext4 = {.fs_type = "ext4"}, btrfs = {.fs_type = "btrfs"};
        Node *node = node_counting();

        assert(mkdir(KUBELET "/plugins/raw", 0750) == 0);
        /* Blank, and a pod has it. */
        (void)disk_new("or-1", 128 * MIB);
        expect_ok(stage(node, "or-1", &raw));
        expect_ok(publish(node, "or-1", TARGET, &raw));
        expect(ERROR_PRECONDITION, stage(node, "or-1", &ext4));
        assert(strstr(last_error.message, TARGET) && n_steps[STEP_FORMAT] == 0);
        expect_ok(publish(node, "or-1", TARGET, &raw));
        expect_ok(unpublish(node, "or-1", TARGET));
        expect_ok(unstage(node, "or-1", KUBELET "/plugins/raw"));
        for (size_t i = 0; i < 2; i++) {
                const Ask *ask = i == 0 ? &ext4 : &btrfs;
                const char *id = i == 0 ? "or-1" : "or-2";

                if (i == 1)
                        (void)disk_new(id, 256 * MIB);
                expect_ok(stage(node, id, ask));
                expect(ERROR_PRECONDITION, stage(node, id, &raw));
                assert(strstr(last_error.message, STAGING));
                expect(ERROR_PRECONDITION, publish(node, id, TARGET, &raw));
                assert(strstr(last_error.message, STAGING));
                expect(ERROR_PRECONDITION, publish(node, id, TARGET, &raw_ro));
                assert(count_mounts(STAGING) == 1);
                expect_ok(unstage(node, id, STAGING));
                /* A filesystem is in a pod's hands. */
                expect_ok(stage(node, id, &raw));
                expect_ok(publish(node, id, TARGET, &raw));
                expect(ERROR_PRECONDITION, stage(node, id, ask));
                expect_ok(unpublish(node, id, TARGET));
                expect_ok(unstage(node, id, KUBELET "/plugins/raw"));
        }
        node_free(node);
}

static void test_block(void) {
        const Ask ask = {.fs_type = "block"}, ro = {.fs_type = "block", .readonly = true};
        Node *node = node_counting();
        Disk *disk = disk_new("block-1", 16 * MIB);
        NodeStatsResult result;
        struct stat status;
        uint64_t size;

        expect_ok(stage(node, "block-1", &ask));
        assert(n_all_steps() == 0 && disk_is_attached(disk) && count_mounts(STAGING) == 0);
        expect_ok(publish(node, "block-1", TARGET, &ask));
        assert(stat(TARGET, &status) == 0 && S_ISBLK(status.st_mode));
        expect_ok(publish(node, "block-1", TARGET, &ask));
        assert(count_mounts(TARGET) == 1);
        expect(ERROR_CONFLICT, publish(node, "block-1", TARGET, &ro));
        /* It must be usable as a device: a mount with "nodev" is not. */
        make_file(TARGET, "data");
        expect_ok(stats(node, "block-1", TARGET, &result));
        assert(result.bytes.total == 16 * MIB && !result.has_inodes && !result.abnormal);
        disk_resize(disk, 32 * MIB);
        expect_ok(expand(node, "block-1", TARGET, 32 * MIB, &size));
        assert(size == 32 * MIB);
        expect(ERROR_UNAVAILABLE, expand(node, "block-1", TARGET, 64 * MIB, &size));
        expect_ok(unpublish(node, "block-1", TARGET));
        assert(!exists(TARGET));
        expect_ok(unpublish(node, "block-1", TARGET));
        expect_ok(unstage(node, "block-1", STAGING));
        assert(!disk_is_attached(disk));
        /* Raw data is not blank, and never formatted. */
        expect(ERROR_PRECONDITION, stage(node, "block-1", &(Ask){.fs_type = "ext4"}));
        assert(!disk_is_attached(disk));
        node_free(node);
}

static void test_ephemeral(void) {
        const Ask ask = {.fs_type = "ext4", .ephemeral = true};
        Node *node = node_counting();

        expect_ok(publish(node, "csi-1", TARGET, &ask));
        assert(n_steps[STEP_FORMAT] == 1 && count_mounts(TARGET) == 1);
        make_file(TARGET "/file", "x");
        expect_ok(publish(node, "csi-1", TARGET, &ask));
        assert(count_mounts(TARGET) == 1 && file_is(TARGET "/file", "x"));
        expect_ok(unpublish(node, "csi-1", TARGET));
        assert(!exists(TARGET) && !disk_find("csi-1"));
        expect_ok(unpublish(node, "csi-1", TARGET));
        /* A failure is one after which kubelet unpublishes. */
        expect(ERROR_UNAVAILABLE,
               publish(node, "csi-2", TARGET, &(Ask){.fs_type = "vfat", .ephemeral = true}));
        expect_ok(unpublish(node, "csi-2", TARGET));
        assert(!disk_find("csi-2"));
        node_free(node);
}

/* Both staging layouts of kubelet at once, after its upgrade: unstage of one keeps the other. */
/* Two pods of a volume that is never staged, one of which only reads. Either comes first, either
 * goes first, and the plugin starts again in between. */
static void reader_beside_writer(Node **nodep, const char *type, unsigned int how) {
        const Ask write = {.fs_type = type, .unstaged = true};
        const Ask read = {.fs_type = type, .unstaged = true, .readonly = true};
        bool reader_first = how & 1, reader_goes_first = how & 2;
        char id[32];
        Disk *disk;

        (void)snprintf(id, sizeof(id), "beside-%s-%u", type, how);
        disk = disk_new(id, 320 * MIB);
        /* Made by its first use. */
        expect(ERROR_PRECONDITION, publish(*nodep, id, TARGET2, &read));
        expect_ok(publish(*nodep, id, TARGET, &write));
        if (reader_first) {
                expect_ok(unpublish(*nodep, id, TARGET));
                expect_ok(publish(*nodep, id, TARGET2, &read));
                node_free(*nodep);
                *nodep = node_open(NULL);
                expect_ok(publish(*nodep, id, TARGET, &write));
        } else {
                node_free(*nodep);
                *nodep = node_open(NULL);
                expect_ok(publish(*nodep, id, TARGET2, &read));
        }
        expect_ok(publish(*nodep, id, TARGET, &write));
        expect_ok(publish(*nodep, id, TARGET2, &read));
        expect(ERROR_CONFLICT, publish(*nodep, id, TARGET2, &write));
        make_file(TARGET "/data", "written");
        assert(file_is(TARGET2 "/data", "written"));
        assert(open(TARGET2 "/other", O_CREAT | O_WRONLY | O_CLOEXEC, 0644) < 0 && errno == EROFS);

        expect_ok(unpublish(*nodep, id, reader_goes_first ? TARGET2 : TARGET));
        assert(disk_is_attached(disk));
        node_free(*nodep);
        *nodep = node_open(NULL);
        assert(file_is(reader_goes_first ? TARGET "/data" : TARGET2 "/data", "written"));
        expect_ok(unpublish(*nodep, id, reader_goes_first ? TARGET : TARGET2));
        assert(!disk_is_attached(disk));
        disk->id[0] = '\0';
        closep(&disk->backing_fd);
        n_disks--;
}

static void test_reader_beside_writer(void) {
        static const char *const types[] = {"ext4", "xfs", "btrfs"};
        unsigned int flags = test_provider.flags;
        Node *node;

        test_provider.flags &= ~(unsigned int)PROVIDER_STAGES;
        node = node_open(NULL);
        for (unsigned int how = 0; how < 4; how++)
                reader_beside_writer(&node, types[how % 3], how);
        node_free(node);
        test_provider.flags = flags;
}

/* As a request has a path, and as mountinfo has it: kubelet's root behind a link, behind a bind,
 * and behind both. */
static void path_as_the_kernel_has_it(const char *name, const char *here, const char *asked) {
        cleanup(freep) char *staging = str_printf("%s/plugins/staging", asked);
        cleanup(freep) char *a = str_printf("%s/pods/a/mount", asked);
        cleanup(freep) char *b = str_printf("%s/pods/b/mount", asked);
        const Ask single = {.fs_type = "ext4",
                            .mode = ACCESS_MODE_SINGLE_NODE_SINGLE_WRITER,
                            .staging = staging};
        Node *node = node_open_at(name, here, NULL);
        NodeStatsResult result;
        Disk *disk = disk_new("as-kernel", 64 * MIB);

        expect_ok(stage(node, "as-kernel", &single));
        expect_ok(stage(node, "as-kernel", &single));
        assert(disk->n_found == 2);
        expect_ok(publish(node, "as-kernel", a, &single));
        expect_ok(publish(node, "as-kernel", a, &single));
        expect(ERROR_PRECONDITION, publish(node, "as-kernel", b, &single));
        expect_ok(stats(node, "as-kernel", a, &result));
        expect_ok(unpublish(node, "as-kernel", a));
        assert(!exists(a));
        expect_ok(unstage(node, "as-kernel", staging));
        assert(!disk_is_attached(disk));
        disk->id[0] = '\0';
        closep(&disk->backing_fd);
        n_disks--;
        node_free(node);
}

static void test_kernel_paths(void) {
        static const char link[] = "/run/kubelet-link", bind[] = "/run/kubelet-bind",
                          both[] = "/run/kubelet-both", name[] = "/var/snap/kubelet";

        assert(symlink(KUBELET, link) == 0 && mkdir(bind, 0750) == 0 && symlink(bind, both) == 0);
        assert(mount(KUBELET, bind, NULL, MS_BIND | MS_REC, NULL) == 0);
        path_as_the_kernel_has_it(link, NULL, link);
        path_as_the_kernel_has_it(link, NULL, KUBELET);
        path_as_the_kernel_has_it(bind, NULL, bind);
        path_as_the_kernel_has_it(both, NULL, both);
        path_as_the_kernel_has_it(both, NULL, bind);
        path_as_the_kernel_has_it(name, link, name);
        path_as_the_kernel_has_it("/var/run/kubelet", NULL, KUBELET);
        path_as_the_kernel_has_it("/var/run/kubelet", NULL, "/var/run/kubelet");
        assert(umount2(bind, MNT_DETACH) == 0 && rmdir(bind) == 0);
        assert(unlink(link) == 0 && unlink(both) == 0);
}

/* Staged by an older kubelet, and again by a newer one: neither is a pod. */
static void test_staging_layouts(void) {
#define CSI KUBELET "/plugins/kubernetes.io/csi"
        static const char *const directories[] = {KUBELET "/plugins/kubernetes.io",
                                                  CSI,
                                                  CSI "/pv",
                                                  CSI "/pv/pvc-1",
                                                  CSI "/pv/pvc-1/globalmount",
                                                  CSI "/test.csi.berth.dev",
                                                  CSI "/test.csi.berth.dev/0a1b",
                                                  CSI "/test.csi.berth.dev/0a1b/globalmount"};
        Ask single = {.fs_type = "ext4", .mode = ACCESS_MODE_SINGLE_NODE_SINGLE_WRITER};
        Node *node = node_open(NULL);

        for (size_t i = 0; i < N_ELEMENTS(directories); i++)
                assert(mkdir(directories[i], 0750) == 0);
        disk_new("layout-1", 64 * MIB);
        for (size_t i = 4; i < N_ELEMENTS(directories); i += 3) {
                single.staging = directories[i];
                expect_ok(stage(node, "layout-1", &single));
        }
        expect_ok(publish(node, "layout-1", TARGET, &single));
        expect(ERROR_PRECONDITION, publish(node, "layout-1", TARGET2, &single));
        single.staging = directories[4];
        expect(ERROR_PRECONDITION, publish(node, "layout-1", TARGET2, &single));
        expect_ok(unpublish(node, "layout-1", TARGET));
        expect_ok(unstage(node, "layout-1", directories[4]));
        expect_ok(unstage(node, "layout-1", directories[7]));
        for (size_t i = N_ELEMENTS(directories); i > 0; i--)
                assert(rmdir(directories[i - 1]) == 0);
        node_free(node);
#undef CSI
}

static void test_two_stagings(void) {
        const Ask ask = {.fs_type = "ext4"};
        const Ask old = {.fs_type = "ext4", .staging = KUBELET "/plugins/old"};
        Node *node = node_counting();
        Disk *disk = disk_new("two-1", 64 * MIB);

        assert(mkdir(KUBELET "/plugins/old", 0750) == 0);
        expect_ok(stage(node, "two-1", &ask));
        expect_ok(stage(node, "two-1", &old));
        assert(n_steps[STEP_FORMAT] == 1);
        expect_ok(publish(node, "two-1", TARGET, &ask));
        expect_ok(unstage(node, "two-1", KUBELET "/plugins/old"));
        assert(disk_is_attached(disk) && count_mounts(STAGING) == 1);
        /* The same filesystem by another staging path is the same volume. */
        expect_ok(publish(node, "two-1", TARGET, &ask));
        expect_ok(unpublish(node, "two-1", TARGET));
        expect_ok(unstage(node, "two-1", STAGING));
        assert(!disk_is_attached(disk));
        node_free(node);
}

/* Publish there gave the data of one volume to the pod of another. */
static void test_staging_of_another(void) {
        const Ask ask = {.fs_type = "ext4"};
        Node *node = node_counting();
        Disk *other;

        disk_new("staged-1", 64 * MIB);
        other = disk_new("staged-2", 64 * MIB);
        expect_ok(stage(node, "staged-1", &ask));
        expect(ERROR_PRECONDITION, publish(node, "staged-2", TARGET, &ask));
        assert(strstr(last_error.message, other->path) && strstr(last_error.message, STAGING));
        assert(count_mounts(TARGET) == 0);
        expect_ok(publish(node, "staged-1", TARGET, &ask));
        expect_ok(unpublish(node, "staged-1", TARGET));
        /* What is not found now is not told apart. */
        expect_ok(publish(node, "staged-0", TARGET, &ask));
        expect_ok(unpublish(node, "staged-0", TARGET));
        expect_ok(unstage(node, "staged-1", STAGING));
        expect_ok(unstage(node, "staged-2", KUBELET "/plugins/none"));
        node_free(node);
}

static void test_access_modes(void) {
        const Ask single = {.fs_type = "ext4", .mode = ACCESS_MODE_SINGLE_NODE_SINGLE_WRITER};
        Node *node = node_counting();
        struct statvfs usage;

        disk_new("mode-1", 64 * MIB);
        expect(ERROR_PRECONDITION,
               stage(node, "mode-1",
                     &(Ask){.fs_type = "ext4", .mode = ACCESS_MODE_MULTI_NODE_MULTI_WRITER}));
        expect(ERROR_PRECONDITION,
               stage(node, "mode-1",
                     &(Ask){.fs_type = "block", .mode = ACCESS_MODE_MULTI_NODE_MULTI_WRITER}));
        /* A blank disk is not formatted for who only reads. */
        expect(ERROR_PRECONDITION,
               stage(node, "mode-1",
                     &(Ask){.fs_type = "ext4", .mode = ACCESS_MODE_MULTI_NODE_READER_ONLY}));
        expect_ok(stage(node, "mode-1", &single));
        expect_ok(publish(node, "mode-1", TARGET, &single));
        expect(ERROR_PRECONDITION, publish(node, "mode-1", TARGET2, &single));
        assert(!exists(TARGET2));
        expect_ok(publish(node, "mode-1", TARGET, &single));
        expect_ok(unpublish(node, "mode-1", TARGET));
        expect_ok(unstage(node, "mode-1", STAGING));

        const Ask reader = {.fs_type = "ext4", .mode = ACCESS_MODE_MULTI_NODE_READER_ONLY};
        expect_ok(stage(node, "mode-1", &reader));
        assert(statvfs(STAGING, &usage) == 0 && (usage.f_flag & ST_RDONLY));
        expect(ERROR_CONFLICT, stage(node, "mode-1", &(Ask){.fs_type = "ext4"}));
        expect_ok(publish(node, "mode-1", TARGET, &reader));
        expect_ok(publish(node, "mode-1", TARGET2, &reader));
        expect_ok(unpublish(node, "mode-1", TARGET));
        expect_ok(unpublish(node, "mode-1", TARGET2));
        expect_ok(unstage(node, "mode-1", STAGING));
        node_free(node);
}

static void test_flags(void) {
        Node *node = node_counting();
        struct statvfs usage;

        disk_new("flags-1", 64 * MIB);
        expect(ERROR_INVALID,
               stage(node, "flags-1", &(Ask){.fs_type = "ext4", .flag = "journal_path=/dev/sda"}));
        expect(ERROR_INVALID, stage(node, "flags-1", &(Ask){.fs_type = "vfat"}));
        /* The kernel's word for an option that it does not know, and no value of it. */
        expect_ok(stage(node, "flags-1", &(Ask){.fs_type = "ext4"}));
        expect_ok(unstage(node, "flags-1", STAGING));
        expect(ERROR_PRECONDITION,
               stage(node, "flags-1", &(Ask){.fs_type = "ext4", .flag = "no_such=secret"}));
        printf("  %s\n", last_error.message);
        assert(strstr(last_error.message, "no_such") && !strstr(last_error.message, "secret"));
        expect_ok(stage(node, "flags-1", &(Ask){.fs_type = "ext4", .flag = "noatime,suid"}));
        assert(statvfs(STAGING, &usage) == 0);
        assert((usage.f_flag & ST_NOATIME) && (usage.f_flag & ST_NODEV));
        assert(!(usage.f_flag & ST_NOSUID));
        expect_ok(publish(node, "flags-1", TARGET, &(Ask){.fs_type = "ext4", .flag = "noexec"}));
        assert(statvfs(TARGET, &usage) == 0);
        assert((usage.f_flag & ST_NOEXEC) && (usage.f_flag & ST_NOSUID));
        expect_ok(unpublish(node, "flags-1", TARGET));
        expect_ok(unstage(node, "flags-1", STAGING));
        node_free(node);
}

static void test_unknown(void) {
        const Ask ask = {.fs_type = "ext4"};
        Node *node = node_counting();
        NodeStatsResult result;
        uint64_t size;

        expect(ERROR_NOT_FOUND, stage(node, "none", &ask));
        expect(ERROR_PRECONDITION, publish(node, "none", TARGET, &ask));
        assert(!exists(TARGET));
        expect_ok(unpublish(node, "none", TARGET));
        expect_ok(unpublish(node, "none", KUBELET "/no/such/path"));
        expect_ok(unstage(node, "none", KUBELET "/no/such/path"));
        expect(ERROR_NOT_FOUND, stats(node, "none", TARGET, &result));
        expect(ERROR_NOT_FOUND, expand(node, "none", TARGET, 1, &size));
        disk_new("known-1", 64 * MIB);
        expect(ERROR_NOT_FOUND, stats(node, "known-1", TARGET, &result));
        expect(ERROR_NOT_FOUND, stats(node, "known-1", KUBELET "/pods", &result));
        expect(ERROR_NOT_FOUND, stats(node, "known-1", "/elsewhere", &result));
        expect(ERROR_NOT_FOUND, expand(node, "known-1", "/elsewhere", 1, &size));
        node_free(node);
}

/* --- expand --- */

static void grow(const char *id, const char *fs_type, uint64_t from, uint64_t to) {
        const Ask ask = {.fs_type = fs_type};
        Node *node = node_counting();
        Disk *disk = disk_new(id, from);
        struct statvfs before, after;
        uint64_t size = 0;

        expect_ok(stage(node, id, &ask));
        expect_ok(publish(node, id, TARGET, &ask));
        assert(statvfs(TARGET, &before) == 0);
        make_file(TARGET "/file", "kept");
        disk_resize(disk, to);
        expect_ok(expand(node, id, TARGET, to, &size));
        assert(size == to && disk->n_rescanned == 1);
        assert(statvfs(TARGET, &after) == 0);
        assert(after.f_blocks * after.f_frsize > before.f_blocks * before.f_frsize);
        assert(after.f_blocks * after.f_frsize > to / 10 * 7);
        expect_ok(expand(node, id, TARGET, to, &size));
        expect_ok(expand(node, id, STAGING, from, &size));
        assert(file_is(TARGET "/file", "kept"));
        expect_ok(unpublish(node, id, TARGET));
        expect_ok(unstage(node, id, STAGING));
        node_free(node);
}

static void test_expand_xfs(void) {
        grow("grow-xfs", "xfs", 512 * MIB, 1024 * MIB);
}

static void test_expand_btrfs(void) {
        grow("grow-btrfs", "btrfs", 256 * MIB, 512 * MIB);
}

/* A mounted ext4 is grown by who has CAP_SYS_RESOURCE; else it grows at the next stage. */
static void test_expand_ext4(void) {
        const Ask ask = {.fs_type = "ext4"};
        Node *node = node_counting();
        Disk *disk = disk_new("grow-ext4", 64 * MIB);
        struct statvfs usage;
        uint64_t size = 0;

        if (node->can_grow_mounted_ext) {
                node_free(node);
                grow("grow-ext4-online", "ext4", 64 * MIB, 256 * MIB);
                return;
        }
        expect_ok(stage(node, "grow-ext4", &ask));
        make_file(STAGING "/file", "kept");
        expect_ok(expand(node, "grow-ext4", STAGING, 64 * MIB, &size));
        disk_resize(disk, 256 * MIB);
        expect(ERROR_PRECONDITION, expand(node, "grow-ext4", STAGING, 256 * MIB, &size));
        expect_ok(unstage(node, "grow-ext4", STAGING));
        expect_ok(stage(node, "grow-ext4", &ask));
        assert(n_steps[STEP_GROW_OFFLINE] == 1);
        assert(statvfs(STAGING, &usage) == 0 && usage.f_blocks * usage.f_frsize > 200 * MIB);
        assert(file_is(STAGING "/file", "kept"));
        expect_ok(expand(node, "grow-ext4", STAGING, 256 * MIB, &size));
        expect_ok(unstage(node, "grow-ext4", STAGING));
        expect_ok(stage(node, "grow-ext4", &ask));
        assert(n_steps[STEP_GROW_OFFLINE] == 1);
        expect_ok(unstage(node, "grow-ext4", STAGING));
        node_free(node);
}

static bool is_whole(const Disk *disk) {
        char command[128];

        /* Its image: the device was given back. */
        (void)snprintf(command, sizeof(command), "e2fsck -fn /proc/%d/fd/%d", (int)getpid(),
                       disk->backing_fd);
        return system(command) == 0; /* NOLINT(cert-env33-c): the test's own words */
}

/* Stages, fills, grows the disk, stages again: what is there is whole, by e2fsck's word. */
static void grow_offline(const char *id, uint64_t from, uint64_t to) {
        const Ask ask = {.fs_type = "ext4"};
        Node *node = node_counting();
        Disk *disk = disk_new(id, from);
        struct statvfs usage;

        node->can_grow_mounted_ext = false;
        expect_ok(stage(node, id, &ask));
        make_file(STAGING "/file", "kept");
        expect_ok(unstage(node, id, STAGING));
        disk_resize(disk, to);
        expect_ok(stage(node, id, &ask));
        assert(n_steps[STEP_GROW_OFFLINE] == 1);
        assert(statvfs(STAGING, &usage) == 0 && usage.f_blocks * usage.f_frsize > to / 10 * 9);
        assert(file_is(STAGING "/file", "kept"));
        expect_ok(unstage(node, id, STAGING));
        assert(is_whole(disk));
        node_free(node);
}

/* Each more than 1024 times, which destroys them if it is one step of resize2fs. */
static void test_grow_steps(void) {
        grow_offline("grow-steps-64", 64 * MIB, 65 * 1024 * MIB);
        grow_offline("grow-steps-8", 8 * MIB, 9 * 1024 * MIB);
}

/* A resize2fs that ends so: at its @n-th write, the real one. */
static void put_tool(const char *name, const char *script) {
        cleanup(freep) char *tool = str_printf("/tmp/tools/%s", name);

        assert(mkdir("/tmp/tools", 0755) == 0 || errno == EEXIST);
        assert(tool);
        make_file(tool, script);
        assert(chmod(tool, 0755) == 0);
}

static void use_resize2fs(const char *script) {
        cleanup(freep) char *path = NULL;

        put_tool("resize2fs", script);
        path = str_printf("/tmp/tools:%s", getenv("PATH"));
        assert(path && setenv("PATH", path, 1) == 0);
}

static void drop_resize2fs(void) {
        const char *path = getenv("PATH");

        assert(path && setenv("PATH", path + strlen("/tmp/tools:"), 1) == 0);
}

/* Growing never blocks a mount: it is told as the condition, and done by a later stage. */
static void test_grow_fails(void) {
        const Ask ask = {.fs_type = "ext4"};
        Node *node = node_counting();
        Disk *disk = disk_new("grow-fails", 64 * MIB);
        NodeStatsResult result = {0};
        char text[GROWTH_TEXT_MAX];

        node->can_grow_mounted_ext = false;
        expect_ok(stage(node, "grow-fails", &ask));
        make_file(STAGING "/file", "kept");
        expect_ok(unstage(node, "grow-fails", STAGING));
        disk_resize(disk, 256 * MIB);
        use_resize2fs("#!/bin/sh\necho resize2fs 1.47.0 >&2\necho no luck today >&2\nexit 1\n");
        expect_ok(stage(node, "grow-fails", &ask));
        assert(file_is(STAGING "/file", "kept"));
        expect_ok(stats(node, "grow-fails", STAGING, &result));
        assert(result.abnormal && growth_get(node, "grow-fails", text));
        assert(strstr(text, "no luck today"));
        expect_ok(unstage(node, "grow-fails", STAGING));
        drop_resize2fs();
        expect_ok(stage(node, "grow-fails", &ask));
        expect_ok(stats(node, "grow-fails", STAGING, &result));
        assert(!result.abnormal);
        expect_ok(unstage(node, "grow-fails", STAGING));
        node_free(node);
}

/* resize2fs is killed at a write of its midst: alone, and with the daemon that would mend it. */
static void test_grow_cut(void) {
        const Ask ask = {.fs_type = "ext4"};
        const char *module = getenv("KILL_AT_WRITE_MODULE");
        char script[PATH_MAX + 256];
        Node *node;
        Disk *disk;
        pid_t pid;
        int status;

        assert(module);
        node = node_counting();
        disk = disk_new("grow-cut", 64 * MIB);
        node->can_grow_mounted_ext = false;
        expect_ok(stage(node, "grow-cut", &ask));
        make_file(STAGING "/file", "kept");
        expect_ok(unstage(node, "grow-cut", STAGING));
        disk_resize(disk, 4096 * MIB);
        /* The loop device goes with its last user. */
        (void)snprintf(
                script, sizeof(script),
                "#!/bin/sh\nexec 9<\"$1\"\nkill -9 $PPID\n"
                "LD_PRELOAD=%s KILL_AT_WRITE=8 exec /sbin/resize2fs \"$@\" >/dev/null 2>&1\n",
                module);
        use_resize2fs(script);
        assert(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
        pid = test_fork();
        if (pid == 0) {
                (void)stage(node, "grow-cut", &ask);
                _exit(0);
        }
        assert(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
        /* What the daemon started runs on, and is ours now. */
        while (waitpid(-1, &status, 0) > 0 || errno == EINTR)
                ;
        (void)snprintf(script, sizeof(script),
                       "#!/bin/sh\nLD_PRELOAD=%s KILL_AT_WRITE=8 exec /sbin/resize2fs \"$@\"\n",
                       module);
        use_resize2fs(script);
        expect_ok(stage(node, "grow-cut", &ask));
        assert(n_steps[STEP_CHECK] == 1 && file_is(STAGING "/file", "kept"));
        expect_ok(unstage(node, "grow-cut", STAGING));
        drop_resize2fs();
        drop_resize2fs();
        expect_ok(stage(node, "grow-cut", &ask));
        assert(file_is(STAGING "/file", "kept"));
        expect_ok(unstage(node, "grow-cut", STAGING));
        assert(is_whole(disk));
        node_free(node);
}

/* A look and a check before it, and after it no check that writes. */
static bool was_left_alone(void) {
        cleanup(freep) char *text = NULL;
        const char *checks;

        assert(file_read_at(AT_FDCWD, "/tmp/asked", 65536, &text, NULL) == 0);
        checks = strstr(text, "-f -p ");
        return str_has_prefix(text, "-f -n ") && checks &&
               !strstr(checks + strlen("-f -p "), "-p") && !strstr(text, "-y");
}

/* A resize2fs that damages what it works on, and ends as told: e2fsck -p would delete the name of a
 * file whose inode is gone, -y all the rest, and say that all is well. */
static void expect_left_alone(const char *id, const char *damage, const char *end) {
        const Ask ask = {.fs_type = "ext4"};
        Node *node = node_counting();
        Disk *disk = disk_new(id, 64 * MIB);
        char script[512];

        node->can_grow_mounted_ext = false;
        expect_ok(stage(node, id, &ask));
        make_file(STAGING "/file", "kept");
        expect_ok(unstage(node, id, STAGING));
        disk_resize(disk, 256 * MIB);
        (void)snprintf(script, sizeof(script),
                       "#!/bin/sh\nfor request in '%s' 'ssv state 2'; do debugfs -w -R "
                       "\"$request\" \"$1\"; done >/dev/null 2>&1\n%s\n",
                       damage, end);
        use_resize2fs(script);
        put_tool("e2fsck", "#!/bin/sh\n[ \"$1\" = -V ] || echo \"$*\" >> /tmp/asked\n"
                           "exec /sbin/e2fsck \"$@\"\n");
        (void)unlink("/tmp/asked");
        for (unsigned int n = 0; n < 2; n++)
                expect(ERROR_PRECONDITION, stage(node, id, &ask));
        assert(was_left_alone());
        assert(unlink("/tmp/tools/e2fsck") == 0);
        drop_resize2fs();
        node_free(node);
}

static void test_grow_damages(void) {
        expect_left_alone("grow-no-luck", "clri /file", "echo no luck >&2; exit 1");
        expect_left_alone("grow-eio", "clri /file", "echo Input/output error >&2; kill -9 $$");
        expect_left_alone("grow-crashes", "clri <2>", "kill -SEGV $$");
        expect_left_alone("grow-killed", "clri <2>", "kill -9 $$");
}

static void run_debugfs(const Disk *disk, const char *request) {
        char command[256];

        (void)snprintf(command, sizeof(command),
                       "debugfs -w -R '%s' /proc/%d/fd/%d >/dev/null 2>&1", request, (int)getpid(),
                       disk->backing_fd);
        assert(system(command) == 0); /* NOLINT(cert-env33-c): the test's own words */
}

static bool is_marked_clean(const Disk *disk) {
        char command[256];

        (void)snprintf(command, sizeof(command),
                       "dumpe2fs -h /proc/%d/fd/%d 2>/dev/null | grep -q 'state: *clean$'",
                       (int)getpid(), disk->backing_fd);
        return system(command) == 0; /* NOLINT(cert-env33-c): the test's own words */
}

/* Nothing is wrong by its superblock, and the kernel mounts it. What e2fsck -p does not correct it
 * would mark, and what it does correct may be the name of a file. */
static void grow_unsound(const char *id, const char *damage) {
        const Ask ask = {.fs_type = "ext4"};
        Node *node = node_counting();
        Disk *disk = disk_new(id, 64 * MIB);
        NodeStatsResult result = {0};
        struct statvfs usage;

        node->can_grow_mounted_ext = false;
        expect_ok(stage(node, id, &ask));
        make_file(STAGING "/file", "kept");
        make_file(STAGING "/other", "damaged");
        expect_ok(unstage(node, id, STAGING));
        run_debugfs(disk, damage);
        assert(!is_whole(disk) && is_marked_clean(disk));
        disk_resize(disk, 256 * MIB);
        for (unsigned int n = 0; n < 2; n++) {
                expect_ok(stage(node, id, &ask));
                assert(file_is(STAGING "/file", "kept"));
                assert(statvfs(STAGING, &usage) == 0 && usage.f_blocks * usage.f_frsize < 64 * MIB);
                expect_ok(stats(node, id, STAGING, &result));
                assert(result.abnormal);
                expect_ok(unstage(node, id, STAGING));
                assert(!is_whole(disk) && is_marked_clean(disk));
        }
        node_free(node);
}

static void test_grow_unsound(void) {
        /* Its data is where the group descriptors are. */
        grow_unsound("grow-unsound", "sif other block[5] 2");
        grow_unsound("grow-loses", "clri other");
}

/* A snapshot that was restored to a larger volume. */
static void test_stage_grows(void) {
        const Ask ask = {.fs_type = "xfs"};
        Node *node = node_counting();
        Disk *disk = disk_new("restored", 512 * MIB);
        struct statvfs usage;

        expect_ok(stage(node, "restored", &ask));
        expect_ok(unstage(node, "restored", STAGING));
        disk_resize(disk, 1024 * MIB);
        expect_ok(stage(node, "restored", &ask));
        assert(n_steps[STEP_GROW] == 1);
        assert(statvfs(STAGING, &usage) == 0 && usage.f_blocks * usage.f_frsize > 800 * MIB);
        expect_ok(unstage(node, "restored", STAGING));
        expect_ok(stage(node, "restored", &ask));
        assert(n_steps[STEP_GROW] == 1);
        expect_ok(unstage(node, "restored", STAGING));
        node_free(node);
}

/* --- at once --- */

static pthread_barrier_t barrier;

static int slow_run(void *userdata, StepKind kind, Work *work, Error *err) {
        if (kind == STEP_MOUNT) {
                pthread_barrier_wait(&barrier);
                pthread_barrier_wait(&barrier);
        }
        return kernel_run(*(Node **)userdata, kind, work, err);
}

static void *stage_in_thread(void *userdata) {
        const NodeStageRequest request = {
                .volume_id = "busy-1",
                .staging_path = STAGING,
                .capability = capability_make(&(Ask){.fs_type = "ext4"}),
        };
        cleanup(freep) Error *err = calloc(1, sizeof(*err));
        Call call = {.method = "test", .deadline_msecs = UINT64_MAX, .cancelled = never};

        assert(arena_new(&call.arena, 1UL << 20) == 0);
        assert(node_stage(userdata, &call, &request, err) == 0);
        arena_free(call.arena);
        return NULL;
}

/* A second call for the same volume, or for the same path, is ABORTED; others go on. */
static void test_pending(void) {
        const NodeKernel kernel = {slow_run, count_undo, &counting_node};
        const Ask ask = {.fs_type = "ext4"}, block = {.fs_type = "block"};
        Node *node = counting_node = node_open(&kernel);
        pthread_t thread;

        disk_new("busy-1", 64 * MIB);
        disk_new("busy-2", 64 * MIB);
        assert(pthread_barrier_init(&barrier, NULL, 2) == 0);
        assert(pthread_create(&thread, NULL, stage_in_thread, node) == 0);
        pthread_barrier_wait(&barrier);
        expect(ERROR_AGAIN, stage(node, "busy-1", &ask));
        expect(ERROR_AGAIN, unstage(node, "busy-1", STAGING));
        expect(ERROR_AGAIN, stage(node, "busy-2", &ask));
        expect_ok(publish(node, "busy-2", TARGET2, &block));
        expect_ok(unpublish(node, "busy-2", TARGET2));
        pthread_barrier_wait(&barrier);
        assert(pthread_join(thread, NULL) == 0);
        expect_ok(stage(node, "busy-1", &ask));
        expect_ok(unstage(node, "busy-1", STAGING));
        node_free(node);
}

static void test_ready(void) {
        Node *node = node_counting();
        Call call = call_make();
        NodeInfo info = {0};
        Error err = {0};

        assert(node_ready(node, &call, &err) == 0);
        assert(setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1", 1) == 0);
        assert(node_ready(node, &call, &err) == 0);
        assert(mount(NULL, KUBELET, NULL, MS_PRIVATE, NULL) == 0);
        assert(node_ready(node, &call, &err) < 0);
        assert(err.code == ERROR_PRECONDITION && strstr(err.message, "Bidirectional"));
        assert(mount(NULL, KUBELET, NULL, MS_SHARED, NULL) == 0);
        assert(unsetenv("KUBERNETES_SERVICE_HOST") == 0);
        assert(node_info(node, &call, &info, &err) == 0 && str_equal(info.node_id, "node-1"));
        node_free(node);
}

int main(int argc, char **argv) {
        static const TestCase tests[] = {
                {"ext4", test_ext4},
                {"default_type", test_default_type},
                {"xfs", test_xfs},
                {"btrfs", test_btrfs},
                {"block", test_block},
                {"block_or_mount", test_block_or_mount},
                {"ephemeral", test_ephemeral},
                {"kernel_paths", test_kernel_paths},
                {"staging_layouts", test_staging_layouts},
                {"reader_beside_writer", test_reader_beside_writer},
                {"two_stagings", test_two_stagings},
                {"staging_of_another", test_staging_of_another},
                {"access_modes", test_access_modes},
                {"flags", test_flags},
                {"unknown", test_unknown},
                {"expand_xfs", test_expand_xfs},
                {"expand_btrfs", test_expand_btrfs},
                {"expand_ext4", test_expand_ext4},
                {"grow_steps", test_grow_steps},
                {"grow_fails", test_grow_fails},
                {"grow_cut", test_grow_cut},
                {"grow_damages", test_grow_damages},
                {"grow_unsound", test_grow_unsound},
                {"stage_grows", test_stage_grows},
                {"pending", test_pending},
                {"ready", test_ready},
        };

        return run_tests(tests, N_ELEMENTS(tests), argc > 1 ? argv[1] : NULL);
}
