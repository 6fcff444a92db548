/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_TEST_NODE_H
#define BERTH_CSI_NODE_TEST_NODE_H

/*
 * For the tests of the node on real loop devices: a provider whose disks are unnamed files, a
 * kubelet root of its own, and requests with as few words as can be. Included by one .c file of a
 * test program.
 */

#include "tests/lib/test.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "common/block/loop.h"
#include "common/mount/mountinfo.h"
#include "csi/node/node_internal.h"

#include <limits.h>
#include <sys/statvfs.h>

#define KUBELET "/run/kubelet"
#define STAGING KUBELET "/plugins/staging"
#define TARGET  KUBELET "/pods/a/mount"
#define TARGET2 KUBELET "/pods/b/mount"

#define MIB (UINT64_C(1) << 20)

typedef struct Disk {
        char id[32];
        const char *other_id; /* that the provider finds it by, too; or NULL */
        int backing_fd, loop_fd;
        char path[LOOP_PATH_MAX];
        bool is_ephemeral;
        bool hides_size; /* as providers that do not know it */
        unsigned int n_found, n_released, n_rescanned;
} Disk;

static Disk disks[32];
static size_t n_disks;

static bool never(void *userdata) {
        return false;
}

static Disk *disk_find(const char *id) {
        for (size_t i = 0; i < n_disks; i++)
                if (str_equal(disks[i].id, id) || str_equal(disks[i].other_id, id))
                        return &disks[i];
        return NULL;
}

__attribute__((unused)) static Disk *disk_new(const char *id, uint64_t size_bytes) {
        Disk *disk = &disks[n_disks++];
        int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

        if (fd < 0)
                test_skip("no unnamed files in /var/tmp: %m");
        assert(n_disks <= N_ELEMENTS(disks) && !disk_find(id));
        assert(ftruncate(fd, (off_t)size_bytes) == 0);
        *disk = (Disk){.backing_fd = fd, .loop_fd = -1};
        (void)snprintf(disk->id, sizeof(disk->id), "%s", id);
        return disk;
}

static int disk_attach(Disk *disk) {
        /* Autoclear: nothing is left when the test dies. */
        const LoopConfig config = {.backing_fd = disk->backing_fd, .is_autoclear = true};
        unsigned int number;
        int r;

        if (disk->loop_fd >= 0)
                return 0;
        r = loop_attach(&config, &number, &disk->loop_fd);
        if (r == 0)
                loop_path(number, disk->path);
        return r;
}

static void disk_detach(Disk *disk) {
        if (disk->loop_fd >= 0)
                assert(loop_detach(disk->loop_fd) == 0);
        closep(&disk->loop_fd);
}

__attribute__((unused)) static void disk_resize(Disk *disk, uint64_t size_bytes) {
        assert(ftruncate(disk->backing_fd, (off_t)size_bytes) == 0);
}

__attribute__((unused)) static bool disk_is_attached(const Disk *disk) {
        return disk->loop_fd >= 0;
}

static int test_find_device(void *self, const Call *call, const VolumeRef *volume, Device *device,
                            Error *err) {
        Disk *disk = disk_find(volume->volume_id);
        struct stat status;
        int r;

        if (!disk)
                return error_set(err, ERROR_NOT_FOUND, "volume %s", volume->volume_id);
        r = disk_attach(disk);
        if (r < 0)
                return error_set_errno(err, r, "attach");
        disk->n_found++;
        assert(fstat(disk->loop_fd, &status) == 0);
        *device = (Device){.devno = status.st_rdev};
        (void)snprintf(device->path, sizeof(device->path), "%s", disk->path);
        assert(fstat(disk->backing_fd, &status) == 0);
        device->size_bytes = disk->hides_size ? 0 : (uint64_t)status.st_size;
        return 0;
}

static int test_release_device(void *self, const Call *call, const VolumeRef *volume, Error *err) {
        Disk *disk = disk_find(volume->volume_id);

        if (!disk)
                return 0;
        disk->n_released++;
        disk_detach(disk);
        return 0;
}

static int test_rescan_device(void *self, const Call *call, const VolumeRef *volume,
                              const Device *device, Error *err) {
        Disk *disk = disk_find(volume->volume_id);
        int r = disk && disk->loop_fd >= 0 ? loop_set_capacity(disk->loop_fd) : -ENODEV;

        if (disk)
                disk->n_rescanned++;
        return r < 0 ? error_set_errno(err, r, "rescan") : 0;
}

static int test_has_volume(void *self, const Call *call, const char *volume_id, Error *err) {
        return disk_find(volume_id) ? 1 : 0;
}

static int test_create_ephemeral(void *self, const Call *call, const NodePublishRequest *request,
                                 Error *err) {
        if (!disk_find(request->volume_id))
                disk_new(request->volume_id, 64 * MIB)->is_ephemeral = true;
        return 0;
}

static int test_delete_ephemeral(void *self, const Call *call, const char *volume_id, Error *err) {
        Disk *disk = disk_find(volume_id);

        if (!disk || !disk->is_ephemeral)
                return 0;
        disk_detach(disk);
        closep(&disk->backing_fd);
        disk->id[0] = '\0';
        return 0;
}

static const char *const test_fs_types[] = {"ext4", "xfs", "btrfs", "ext3", NULL};

static Provider test_provider = {
        .name = "test",
        .driver_name = "test.csi.berth.dev",
        .flags = PROVIDER_STAGES | PROVIDER_EPHEMERAL,
        .format = {.default_fs_type = "ext4", .fs_types = test_fs_types},
        .find_device = test_find_device,
        .release_device = test_release_device,
        .rescan_device = test_rescan_device,
        .has_volume = test_has_volume,
        .create_ephemeral = test_create_ephemeral,
        .delete_ephemeral = test_delete_ephemeral,
};

static Node *node_open_at(const char *root, const char *here, const NodeKernel *kernel) {
        const NodeConfig config = {
                .provider = &test_provider,
                .driver_name = "test.csi.berth.dev",
                .kubelet_root = root,
                .kubelet_here = here,
                .node_name = "node-1",
        };
        Node *node = NULL;
        Error err = {0};

        assert(node_new_with_kernel(&node, &config, kernel, &err) == 0);
        return node;
}

static Node *node_open(const NodeKernel *kernel) {
        return node_open_at(KUBELET, NULL, kernel);
}

/* --- requests --- */

static Arena *call_arena;

static Call call_make(void) {
        if (!call_arena)
                assert(arena_new(&call_arena, 1UL << 24) == 0);
        return (Call){
                .arena = call_arena,
                .method = "test",
                .deadline_msecs = UINT64_MAX,
                .cancelled = never,
        };
}

typedef struct Ask {
        const char *fs_type; /* NULL: any; "block": raw */
        AccessMode mode;     /* 0: SINGLE_NODE_WRITER */
        const char *flag;
        bool readonly;
        bool ephemeral;
        bool unstaged;
        const char *staging; /* NULL: STAGING */
} Ask;

static VolumeCapability capability_make(const Ask *ask) {
        static const char *flags[1];

        flags[0] = ask->flag;
        return (VolumeCapability){
                .is_block = str_equal(ask->fs_type, "block"),
                .fs_type = ask->fs_type ? ask->fs_type : "",
                .mount_flags = flags,
                .n_mount_flags = ask->flag ? 1 : 0,
                .volume_mount_group = "",
                .access_mode = ask->mode ? ask->mode : ACCESS_MODE_SINGLE_NODE_WRITER,
        };
}

static Error last_error;

/* Each returns ERROR_NONE or the code; the message is in last_error. */
static ErrorCode code_of(int r) {
        assert((r < 0) == (last_error.code != ERROR_NONE));
        assert(r <= 0);
        return last_error.code;
}

static ErrorCode stage(Node *node, const char *id, const Ask *ask) {
        const NodeStageRequest request = {
                .volume_id = id,
                .staging_path = ask->staging ? ask->staging : STAGING,
                .capability = capability_make(ask),
        };
        Call call = call_make();

        last_error = (Error){0};
        return code_of(node_stage(node, &call, &request, &last_error));
}

static ErrorCode unstage(Node *node, const char *id, const char *path) {
        const NodeUnstageRequest request = {id, path};
        Call call = call_make();

        last_error = (Error){0};
        return code_of(node_unstage(node, &call, &request, &last_error));
}

static ErrorCode publish(Node *node, const char *id, const char *target, const Ask *ask) {
        static const StringPair inline_pair = {"csi.storage.k8s.io/ephemeral", "true"};
        const NodePublishRequest request = {
                .volume_id = id,
                .staging_path = ask->ephemeral || ask->unstaged ? ""
                                : ask->staging                  ? ask->staging
                                                                : STAGING,
                .target_path = target,
                .volume_context = {&inline_pair, ask->ephemeral ? 1 : 0},
                .capability = capability_make(ask),
                .readonly = ask->readonly,
        };
        Call call = call_make();

        last_error = (Error){0};
        return code_of(node_publish(node, &call, &request, &last_error));
}

static ErrorCode unpublish(Node *node, const char *id, const char *target) {
        const NodeUnpublishRequest request = {id, target};
        Call call = call_make();

        last_error = (Error){0};
        return code_of(node_unpublish(node, &call, &request, &last_error));
}

__attribute__((unused)) static ErrorCode expand(Node *node, const char *id, const char *path,
                                                uint64_t required, uint64_t *capacityp) {
        const NodeExpandRequest request = {
                .volume_id = id,
                .volume_path = path,
                .staging_path = "",
                .capacity_range = {.required_bytes = required},
        };
        NodeExpandResult result = {0};
        Call call = call_make();
        int r;

        last_error = (Error){0};
        r = node_expand(node, &call, &request, &result, &last_error);
        *capacityp = result.capacity_bytes;
        return code_of(r);
}

__attribute__((unused)) static ErrorCode stats(Node *node, const char *id, const char *path,
                                               NodeStatsResult *result) {
        const NodeStatsRequest request = {id, path, ""};
        Call call = call_make();

        *result = (NodeStatsResult){0};
        last_error = (Error){0};
        return code_of(node_stats(node, &call, &request, result, &last_error));
}

/* An expected code; prints what came instead. */
#define expect(code, expression)                                                                   \
        do {                                                                                       \
                ErrorCode code_ = (expression);                                                    \
                if (code_ != (code)) {                                                             \
                        printf("%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #expression,             \
                               error_code_name(code_), last_error.message);                        \
                        fflush(stdout);                                                            \
                        abort();                                                                   \
                }                                                                                  \
        } while (0)

#define expect_ok(expression) expect(ERROR_NONE, expression)

/* --- what is there --- */

__attribute__((unused)) static size_t count_mounts(const char *path) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        size_t n = 0;

        assert(mountinfo_read(&table) == 0);
        for (size_t i = 0; i < table->n_mounts; i++)
                n += str_equal(table->mounts[i].target, path);
        return n;
}

__attribute__((unused)) static bool exists(const char *path) {
        return access(path, F_OK) == 0;
}

__attribute__((unused)) static void make_file(const char *path, const char *text) {
        cleanup(closep) int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);

        assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

__attribute__((unused)) static bool file_is(const char *path, const char *text) {
        char buffer[64] = "";
        cleanup(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

        return fd >= 0 && read(fd, buffer, sizeof(buffer) - 1) == (ssize_t)strlen(text) &&
               str_equal(buffer, text);
}

static void set_up_root(void) {
        test_require_root();
        test_private_namespaces(0);
        assert(mkdir(KUBELET, 0750) == 0);
        assert(mount("tmpfs", KUBELET, "tmpfs", 0, "mode=750") == 0);
        assert(mount(NULL, KUBELET, NULL, MS_SHARED, NULL) == 0);
        assert(mkdir(KUBELET "/plugins", 0750) == 0 && mkdir(STAGING, 0750) == 0);
        assert(mkdir(KUBELET "/pods", 0750) == 0 && mkdir(KUBELET "/pods/a", 0750) == 0);
        assert(mkdir(KUBELET "/pods/b", 0750) == 0);
}

typedef struct TestCase {
        const char *name;
        void (*run)(void);
} TestCase;

/* argv[1], if given: only this one. */
static int run_tests(const TestCase *tests, size_t n, const char *only) {
        set_up_root();
        for (size_t i = 0; i < n; i++) {
                if (only && !str_equal(only, tests[i].name))
                        continue;
                printf("%s\n", tests[i].name);
                fflush(stdout);
                tests[i].run();
                if (count_mounts(STAGING) || count_mounts(TARGET) || count_mounts(TARGET2)) {
                        printf("left mounted\n");
                        return 1;
                }
        }
        arena_free(call_arena);
        return 0;
}

#endif
