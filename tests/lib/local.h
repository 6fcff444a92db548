/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_TEST_LOCAL_H
#define BERTH_TEST_LOCAL_H

/*
 * The provider on a real pool with real loop devices. The programs that include this are run by
 * tests/integration/test_local_pool.py, which gives each case namespaces, a pool on one filesystem
 * or another, and takes away whatever loop device is left.
 */

#include "tests/lib/test.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/block/loop.h"
#include "csi/local/local.h"
#include "csi/local/pool.h"
#include "csi/local/spec.h"

#include <inttypes.h>
#include <time.h>

#define MIB (UINT64_C(1) << 20)

/* The pool and one call's memory. */
typedef struct Bed {
        const char *pool_path;
        const ControllerOps *ops;
        Pool *pool;
        Arena *arena;
        Call call;
        const char *reserve;
        uint64_t overcommit;
} Bed;

static inline bool bed_never(void *userdata) {
        return false;
}

static inline int bed_try_open(Bed *bed, Error *err) {
        ProviderConfig config = {
                .node_name = "node-1",
                .pool_path = bed->pool_path,
                .root_path = "",
                .kubelet_root = "/var/lib/kubelet",
                .volume_limit = -1,
                .pool_reserve = bed->reserve ? bed->reserve : "0",
                .pool_overcommit_percent = bed->overcommit,
                .pool_init = true,
        };
        void *self = NULL;
        int r = provider_local.open(&config, &self, err);

        if (r < 0)
                return r;
        bed->pool = self;
        bed->ops = provider_local.controller;
        if (!bed->arena)
                assert(arena_new(&bed->arena, 64 << 20) == 0);
        bed->call = (Call){
                .arena = bed->arena,
                .method = "Test",
                .deadline_msecs = UINT64_MAX,
                .cancelled = bed_never,
        };
        return 0;
}

static inline void bed_open(Bed *bed) {
        Error err = {0};

        if (bed_try_open(bed, &err) < 0) {
                printf("open: %s\n", err.message);
                abort();
        }
}

/* What calls answered stays until the program ends. */
static inline void bed_close(Bed *bed) {
        provider_local.close(bed->pool);
        bed->pool = NULL;
}

/* The call must do what is expected: ERROR_NONE, or a code. */
static inline void expect_at(int line, ErrorCode code, int r, const Error *err) {
        if ((r < 0) == (code != ERROR_NONE) && (r >= 0 || err->code == code)) {
                if (code != ERROR_NONE)
                        printf("  %s: %s\n", error_code_name(code), err->message);
                return;
        }
        printf("line %d: expected %s, got %d %s: %s\n", line, error_code_name(code), r,
               error_code_name(err->code), err->message);
        fflush(stdout);
        abort();
}

/* As a sidecar: asks again while the disk of a busy machine does not answer the pool in time. */
#define EXPECT(wanted, function, ...)                                                              \
        do {                                                                                       \
                Error expect_err_ = {0};                                                           \
                int expect_r_ = function(__VA_ARGS__, &expect_err_);                               \
                for (int expect_n_ = 0; expect_n_ < 50 && (wanted) != ERROR_UNAVAILABLE &&         \
                                        expect_r_ < 0 && expect_err_.code == ERROR_UNAVAILABLE;    \
                     expect_n_++) {                                                                \
                        usleep(100000);                                                            \
                        expect_err_ = (Error){0};                                                  \
                        expect_r_ = function(__VA_ARGS__, &expect_err_);                           \
                }                                                                                  \
                expect_at(__LINE__, wanted, expect_r_, &expect_err_);                              \
        } while (0)

/* A create request that the cases change. */
typedef struct Want {
        const char *name;
        uint64_t required, limit;
        const char *fs_type; /* NULL: raw block */
        const char *provisioning;
        ContentSourceKind source;
        const char *source_id;
} Want;

static inline int bed_create(Bed *bed, const Want *want, VolumeInfo *info, Error *err) {
        VolumeCapability capability = {
                .is_block = want->fs_type == NULL,
                .fs_type = want->fs_type ? want->fs_type : "",
                .volume_mount_group = "",
                .access_mode = ACCESS_MODE_SINGLE_NODE_WRITER,
        };
        StringPair pair = {"provisioning", want->provisioning};
        CreateVolumeRequest request = {
                .name = want->name,
                .capacity_range = {want->required, want->limit},
                .capabilities = &capability,
                .n_capabilities = 1,
                .parameters = {.pairs = &pair, .n_pairs = want->provisioning ? 1 : 0},
                .source = want->source,
                .source_id = want->source_id ? want->source_id : "",
        };

        return bed->ops->create_volume(bed->pool, &bed->call, &request, info, err);
}

static inline const char *bed_made(Bed *bed, const Want *want) {
        VolumeInfo info = {0};

        EXPECT(ERROR_NONE, bed_create, bed, want, &info);
        return info.volume_id;
}

static inline int bed_snapshot(Bed *bed, const char *name, const char *volume_id,
                               SnapshotInfo *info, Error *err) {
        CreateSnapshotRequest request = {.name = name, .source_volume_id = volume_id};

        return bed->ops->create_snapshot(bed->pool, &bed->call, &request, info, err);
}

static inline int bed_delete(Bed *bed, const char *volume_id, Error *err) {
        return bed->ops->delete_volume(bed->pool, &bed->call, volume_id, err);
}

static inline int bed_find(Bed *bed, const char *volume_id, Device *device, Error *err) {
        VolumeRef ref = {.volume_id = volume_id};

        return provider_local.find_device(bed->pool, &bed->call, &ref, device, err);
}

static inline int bed_expand(Bed *bed, const char *volume_id, uint64_t required, uint64_t limit,
                             Error *err) {
        CapacityRange range = {required, limit};
        VolumeRef ref = {.volume_id = volume_id};
        Device device;
        int r = bed_find(bed, volume_id, &device, err);

        return r < 0 ? r
                     : provider_local.grow_device(bed->pool, &bed->call, &ref, &device, &range,
                                                  err);
}

static inline int bed_release(Bed *bed, const char *volume_id, Error *err) {
        VolumeRef ref = {.volume_id = volume_id};

        return provider_local.release_device(bed->pool, &bed->call, &ref, err);
}

/* Text at a place of a device, past its page cache both ways. */
static inline void device_put(const Device *device, uint64_t at, const char *text) {
        int fd = open(device->path, O_WRONLY | O_CLOEXEC);

        assert(fd >= 0);
        assert(pwrite(fd, text, strlen(text), (off_t)at) == (ssize_t)strlen(text));
        assert(fsync(fd) == 0);
        close(fd);
}

static inline void device_has(const Device *device, uint64_t at, const char *text) {
        int fd = open(device->path, O_RDONLY | O_CLOEXEC);
        char found[64] = {0};

        assert(fd >= 0);
        assert(pread(fd, found, strlen(text), (off_t)at) == (ssize_t)strlen(text));
        if (strcmp(found, text) != 0) {
                printf("at %" PRIu64 ": \"%s\", expected \"%s\"\n", at, found, text);
                abort();
        }
        close(fd);
}

/* Attaches, looks, detaches. */
static inline void volume_has(Bed *bed, const char *volume_id, uint64_t at, const char *text) {
        Device device;

        EXPECT(ERROR_NONE, bed_find, bed, volume_id, &device);
        device_has(&device, at, text);
        EXPECT(ERROR_NONE, bed_release, bed, volume_id);
}

static inline void volume_put(Bed *bed, const char *volume_id, uint64_t at, const char *text) {
        Device device;

        EXPECT(ERROR_NONE, bed_find, bed, volume_id, &device);
        device_put(&device, at, text);
        EXPECT(ERROR_NONE, bed_release, bed, volume_id);
}

/* Files below the pool, without lock and pool.json. */
static inline size_t count_files(const char *pool_path) {
        static const char *const directories[] = {"volumes", "snapshots", "groups"};
        size_t n = 0;

        for (size_t i = 0; i < N_ELEMENTS(directories); i++) {
                cleanup(freep) char *path = str_printf("%s/%s", pool_path, directories[i]);
                DIR *dir = opendir(path);
                struct dirent *item;

                assert(dir);
                while ((item = readdir(dir)))
                        n += strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0;
                closedir(dir);
        }
        return n;
}

#endif
