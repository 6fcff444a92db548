/* SPDX-License-Identifier: Apache-2.0 */

/* test-local POOL CASE: what the provider promises, on a real pool with real loop devices. */

#include "tests/lib/local.h"

#include "common/base/clock.h"

#include "csi/local/attach.h"

#include <pthread.h>
#include <sys/stat.h>

static uint64_t device_size(const Device *device) {
        int fd = open(device->path, O_RDONLY | O_CLOEXEC);
        off_t size;

        assert(fd >= 0);
        size = lseek(fd, 0, SEEK_END);
        close(fd);
        return (uint64_t)size;
}

static bool is_attached(const Device *device, LoopStatus *status) {
        int fd = open(device->path, O_RDONLY | O_CLOEXEC);
        int r;

        assert(fd >= 0);
        r = loop_get_status(fd, status);
        close(fd);
        return r == 0;
}

/* From the file that it had, whoever got the number since. It may have to wait for those who look
 * through all loop devices: the kernel detaches at the last close. */
static bool is_detached(const Device *device, const LoopStatus *was) {
        LoopStatus now;

        for (unsigned int i = 0; i < 200; i++) {
                if (!is_attached(device, &now) || now.backing_dev != was->backing_dev ||
                    now.backing_inode != was->backing_inode)
                        return true;
                (void)usleep(10000);
        }
        return false;
}

static bool is_direct(const Device *device) {
        LoopStatus status;

        assert(is_attached(device, &status));
        return status.is_direct_io;
}

static void make_fs(const char *fs_type, const Device *device) {
        if (strcmp(fs_type, "xfs") == 0)
                assert(test_run("mkfs.xfs", "-q", "-f", device->path, NULL) == 0);
        else
                assert(test_run("mkfs.ext4", "-q", "-F", device->path, NULL) == 0);
}

/* As the node shows a raw block volume to a pod. */
static void publish_node(const Device *device, const char *target) {
        int fd = open(target, O_CREAT | O_RDONLY | O_CLOEXEC, 0600);

        assert(fd >= 0);
        close(fd);
        assert(mount(device->path, target, NULL, MS_BIND, NULL) == 0);
}

/* --- Cases --- */

static void case_lifecycle(Bed *bed) {
        Want want = {.name = "pvc-1", .required = 64 * MIB, .fs_type = "ext4"};
        VolumeInfo info = {0}, again = {0};
        Device device, same;
        LoopStatus status;
        VolumeRef ref;

        EXPECT(ERROR_NONE, bed_create, bed, &want, &info);
        assert(info.capacity_bytes == 64 * MIB && info.n_topologies == 1);
        assert(strcmp(string_map_get(&info.topologies[0].segments, LOCAL_TOPOLOGY_KEY), "node-1") ==
               0);
        EXPECT(ERROR_NONE, bed_create, bed, &want, &again);
        assert(strcmp(info.volume_id, again.volume_id) == 0);
        assert(count_files(bed->pool_path) == 2);

        EXPECT(ERROR_NONE, bed_find, bed, info.volume_id, &device);
        EXPECT(ERROR_NONE, bed_find, bed, info.volume_id, &same);
        assert(strcmp(device.path, same.path) == 0 && device.devno == same.devno);
        assert(device.size_bytes == 64 * MIB && device_size(&device) == 64 * MIB);
        device_put(&device, 4096, "hello");

        /* A volume in use is not deleted. */
        make_fs("ext4", &device);
        assert(mkdir("/run/m", 0755) == 0);
        assert(mount(device.path, "/run/m", "ext4", 0, NULL) == 0);
        EXPECT(ERROR_PRECONDITION, bed_delete, bed, info.volume_id);
        EXPECT(ERROR_NONE, bed_release, bed, info.volume_id);
        assert(is_attached(&device, &status));

        /* Growth: the file first, the device when the node says so. */
        EXPECT(ERROR_NONE, bed_expand, bed, info.volume_id, 96 * MIB, 0);
        assert(device_size(&device) == 64 * MIB);
        ref = (VolumeRef){.volume_id = info.volume_id};
        EXPECT(ERROR_NONE, provider_local.rescan_device, bed->pool, &bed->call, &ref, &device);
        assert(device_size(&device) == 96 * MIB);
        EXPECT(ERROR_NONE, bed_expand, bed, info.volume_id, 80 * MIB, 0);
        EXPECT(ERROR_RANGE, bed_expand, bed, info.volume_id, 10 * MIB, 20 * MIB);
        EXPECT(ERROR_NOT_FOUND, bed_expand, bed, "vol-none", 10 * MIB, 0);

        assert(umount("/run/m") == 0);
        EXPECT(ERROR_NONE, bed_release, bed, info.volume_id);
        assert(is_detached(&device, &status));
        EXPECT(ERROR_NONE, bed_release, bed, info.volume_id);
        /* Attached and unused, as after a crash between unmount and release. */
        EXPECT(ERROR_NONE, bed_find, bed, info.volume_id, &device);
        assert(is_attached(&device, &status));
        EXPECT(ERROR_NONE, bed_delete, bed, info.volume_id);
        assert(is_detached(&device, &status));
        EXPECT(ERROR_NONE, bed_delete, bed, info.volume_id);
        EXPECT(ERROR_NONE, bed_release, bed, info.volume_id);
        EXPECT(ERROR_NOT_FOUND, bed_find, bed, info.volume_id, &device);
        assert(provider_local.has_volume(bed->pool, &bed->call, info.volume_id, NULL) == 0);
        assert(count_files(bed->pool_path) == 0);
}

static void case_refusals(Bed *bed) {
        Want want = {.name = "a", .required = 10 * MIB, .limit = 10 * MIB, .fs_type = "ext4"};
        Want other = want, xfs = {.name = "x", .limit = 100 * MIB, .fs_type = "xfs"};
        VolumeInfo info;
        CapacityResult capacity;
        CapacityRequest request = {0};

        (void)bed_made(bed, &want);
        other.required = other.limit = 20 * MIB;
        EXPECT(ERROR_CONFLICT, bed_create, bed, &other, &info);
        other = want;
        other.provisioning = "thick";
        EXPECT(ERROR_CONFLICT, bed_create, bed, &other, &info);
        other = want;
        other.fs_type = NULL;
        EXPECT(ERROR_CONFLICT, bed_create, bed, &other, &info);
        EXPECT(ERROR_RANGE, bed_create, bed, &xfs, &info);
        xfs.limit = 0;
        xfs.required = MIB;
        EXPECT(ERROR_NONE, bed_create, bed, &xfs, &info);
        assert(info.capacity_bytes == 300 * MIB);
        other = (Want){.name = "\xff", .fs_type = "ext4"};
        EXPECT(ERROR_INVALID, bed_create, bed, &other, &info);
        other = (Want){.name = "../../../../etc/x\n", .required = MIB};
        EXPECT(ERROR_NONE, bed_create, bed, &other, &info);
        other = (Want){.name = "big", .required = UINT64_C(1) << 60, .fs_type = "ext4"};
        EXPECT(ERROR_EXHAUSTED, bed_create, bed, &other, &info);
        other = (Want){.name = "c",
                       .fs_type = "ext4",
                       .source = CONTENT_SOURCE_SNAPSHOT,
                       .source_id = "snap-none"};
        EXPECT(ERROR_NOT_FOUND, bed_create, bed, &other, &info);
        /* As a pool gives them out: of another node, which is to be tried. */
        other.source_id = "snap-0123456789abcdef0123456789abcdef";
        EXPECT(ERROR_EXHAUSTED, bed_create, bed, &other, &info);
        other.source = CONTENT_SOURCE_VOLUME;
        EXPECT(ERROR_NOT_FOUND, bed_create, bed, &other, &info);
        other.source_id = "vol-0123456789abcdef0123456789abcdef";
        EXPECT(ERROR_EXHAUSTED, bed_create, bed, &other, &info);
        assert(count_files(bed->pool_path) == 6);

        /* What is told as free can be had, to the granule, and not one more. */
        EXPECT(ERROR_NONE, bed->ops->get_capacity, bed->pool, &bed->call, &request, &capacity);
        other = (Want){.name = "more", .required = capacity.available_bytes + 64 * MIB};
        EXPECT(ERROR_EXHAUSTED, bed_create, bed, &other, &info);
        other = (Want){.name = "all", .required = capacity.available_bytes - 64 * MIB};
        EXPECT(ERROR_NONE, bed_create, bed, &other, &info);
        EXPECT(ERROR_NONE, bed->ops->get_capacity, bed->pool, &bed->call, &request, &capacity);
        assert(capacity.available_bytes <= 128 * MIB);
}

/* Snapshot, change, restore to a larger volume, clone; the source may go in between. */
static void case_snapshot(Bed *bed) {
        Want want = {.name = "a", .required = 32 * MIB, .fs_type = "ext4"};
        const char *volume_id = bed_made(bed, &want), *restored_id, *clone_id;
        SnapshotInfo snapshot = {0}, again = {0};
        SnapshotList list;
        ListRequest by_source = {
                .starting_token = "", .snapshot_id = "", .source_volume_id = volume_id};

        volume_put(bed, volume_id, 20 * MIB, "before");
        EXPECT(ERROR_NONE, bed_snapshot, bed, "s1", volume_id, &snapshot);
        assert(snapshot.ready && snapshot.size_bytes == 32 * MIB && snapshot.created_seconds > 0);
        volume_put(bed, volume_id, 20 * MIB, "after!");
        EXPECT(ERROR_NONE, bed_snapshot, bed, "s1", volume_id, &again);
        assert(strcmp(snapshot.snapshot_id, again.snapshot_id) == 0);
        assert(snapshot.created_seconds == again.created_seconds);
        EXPECT(ERROR_NOT_FOUND, bed_snapshot, bed, "s2", "vol-none", &again);
        EXPECT(ERROR_CONFLICT, bed_snapshot, bed, "s1", "vol-none", &again);

        want = (Want){.name = "restored",
                      .required = 64 * MIB,
                      .fs_type = "ext4",
                      .source = CONTENT_SOURCE_SNAPSHOT,
                      .source_id = snapshot.snapshot_id};
        restored_id = bed_made(bed, &want);
        volume_has(bed, restored_id, 20 * MIB, "before");
        assert(strcmp(restored_id, bed_made(bed, &want)) == 0);
        want.name = "too-small";
        want.required = 0;
        want.limit = 16 * MIB;
        EXPECT(ERROR_RANGE, bed_create, bed, &want, &(VolumeInfo){0});
        want = (Want){.name = "clone",
                      .fs_type = "ext4",
                      .provisioning = "thick",
                      .source = CONTENT_SOURCE_VOLUME,
                      .source_id = volume_id};
        clone_id = bed_made(bed, &want);
        volume_has(bed, clone_id, 20 * MIB, "after!");

        EXPECT(ERROR_NONE, bed->ops->list_snapshots, bed->pool, &bed->call, &by_source, &list);
        assert(list.n_snapshots == 1);
        EXPECT(ERROR_NONE, bed_delete, bed, volume_id);
        EXPECT(ERROR_NONE, bed_snapshot, bed, "s1", volume_id, &again);
        volume_has(bed, clone_id, 20 * MIB, "after!");
        want = (Want){.name = "late",
                      .fs_type = "ext4",
                      .source = CONTENT_SOURCE_SNAPSHOT,
                      .source_id = snapshot.snapshot_id};
        volume_has(bed, bed_made(bed, &want), 20 * MIB, "before");
        EXPECT(ERROR_NONE, bed->ops->delete_snapshot, bed->pool, &bed->call, snapshot.snapshot_id);
        EXPECT(ERROR_NONE, bed->ops->delete_snapshot, bed->pool, &bed->call, snapshot.snapshot_id);
        volume_has(bed, restored_id, 20 * MIB, "before");
        assert(count_files(bed->pool_path) == 6);
        /* What was made of it is found again by who asks once more; anything else has no source. */
        assert(strcmp(bed_made(bed, &want), bed_made(bed, &want)) == 0);
        want.name = "too-late";
        EXPECT(ERROR_EXHAUSTED, bed_create, bed, &want, &(VolumeInfo){0});
        assert(count_files(bed->pool_path) == 6);
}

static void write_file(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
        close(fd);
}

static void file_has(const char *path, const char *text) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        char found[64] = {0};

        assert(fd >= 0 && read(fd, found, sizeof(found) - 1) >= 0);
        assert(strcmp(found, text) == 0);
        close(fd);
}

/* A mounted volume: what was written and not synced is in the snapshot, whose filesystem is clean
 * and mounts without replaying a journal. */
static void case_mounted(Bed *bed) {
        Want want = {.name = "a", .required = 32 * MIB, .fs_type = "ext4"};
        const char *volume_id = bed_made(bed, &want);
        SnapshotInfo snapshot;
        Device device;
        int r;

        EXPECT(ERROR_NONE, bed_find, bed, volume_id, &device);
        make_fs("ext4", &device);
        assert(mkdir("/run/m", 0755) == 0 && mkdir("/run/n", 0755) == 0);
        assert(mount(device.path, "/run/m", "ext4", 0, NULL) == 0);
        write_file("/run/m/file", "not synced");
        EXPECT(ERROR_NONE, bed_snapshot, bed, "s", volume_id, &snapshot);
        /* Not left frozen. */
        write_file("/run/m/file", "later");
        want = (Want){.name = "restored",
                      .fs_type = "ext4",
                      .source = CONTENT_SOURCE_SNAPSHOT,
                      .source_id = snapshot.snapshot_id};
        EXPECT(ERROR_NONE, bed_find, bed, bed_made(bed, &want), &device);
        /* noload: a journal that had to be replayed would lack the file. */
        r = mount(device.path, "/run/n", "ext4", MS_RDONLY, "noload");
        if (r < 0)
                printf("mount %s: %m\n", device.path);
        assert(r == 0);
        file_has("/run/n/file", "not synced");
        file_has("/run/m/file", "later");
        assert(umount("/run/n") == 0 && umount("/run/m") == 0);
        EXPECT(ERROR_NONE, bed_release, bed, volume_id);
        /* The original too, whose file shares blocks by now: 1 KiB blocks, as mkfs makes for small
         * disks, would be too small for the sectors that direct I/O then needs. */
        EXPECT(ERROR_NONE, bed_find, bed, volume_id, &device);
        assert(mount(device.path, "/run/m", "ext4", 0, NULL) == 0);
        file_has("/run/m/file", "later");
        printf("  direct I/O: %d\n", is_direct(&device));
        assert(umount("/run/m") == 0);
        EXPECT(ERROR_NONE, bed_release, bed, volume_id);
        EXPECT(ERROR_NONE, bed_release, bed, bed_made(bed, &want));
}

/* Attached as raw block: crash-consistent where blocks can be shared, refused elsewhere. */
static void case_raw_block(Bed *bed) {
        Want want = {.name = "a", .required = 8 * MIB};
        const char *volume_id = bed_made(bed, &want);
        SnapshotInfo snapshot;
        Device device;
        int fd;

        EXPECT(ERROR_NONE, bed_find, bed, volume_id, &device);
        fd = open(device.path, O_RDWR | O_CLOEXEC);
        assert(fd >= 0 && pwrite(fd, "in the page cache", 17, 4096) == 17);
        publish_node(&device, "/run/node");
        if (!bed->pool->can_reflink) {
                EXPECT(ERROR_PRECONDITION, bed_snapshot, bed, "s", volume_id, &snapshot);
        } else {
                EXPECT(ERROR_NONE, bed_snapshot, bed, "s", volume_id, &snapshot);
                want = (Want){.name = "b",
                              .source = CONTENT_SOURCE_SNAPSHOT,
                              .source_id = snapshot.snapshot_id};
                volume_has(bed, bed_made(bed, &want), 4096, "in the page cache");
                EXPECT(ERROR_NONE, bed_delete, bed, bed_made(bed, &want));
                EXPECT(ERROR_NONE, bed->ops->delete_snapshot, bed->pool, &bed->call,
                       snapshot.snapshot_id);
        }
        assert(umount("/run/node") == 0);
        /* Nobody has it published, and somebody still has it open. */
        if (!bed->pool->can_reflink)
                EXPECT(ERROR_AGAIN, bed_snapshot, bed, "s", volume_id, &snapshot);
        close(fd);
        assert(count_files(bed->pool_path) == 2);
        EXPECT(ERROR_NONE, bed_release, bed, volume_id);
}

static void case_group(Bed *bed) {
        Want want = {.name = "a", .required = 8 * MIB, .fs_type = "ext4"};
        const char *ids[3], *mixed[2];
        CreateGroupRequest request = {
                .name = "g", .source_volume_ids = ids, .n_source_volume_ids = 2};
        SnapshotGroup group, again;
        ErrorCode expected = ERROR_NONE;
        Device device;
        int fd;

        ids[0] = bed_made(bed, &want);
        want.name = "b";
        ids[1] = bed_made(bed, &want);
        volume_put(bed, ids[0], 0, "A");
        /* Somebody else looks at the device while it is detached. */
        EXPECT(ERROR_NONE, bed_find, bed, ids[0], &device);
        fd = open(device.path, O_RDONLY | O_CLOEXEC);
        assert(fd >= 0);
        EXPECT(ERROR_NONE, bed_release, bed, ids[0]);
        EXPECT(ERROR_AGAIN, bed->ops->create_group, bed->pool, &bed->call, &request, &group);
        close(fd);
        volume_put(bed, ids[1], 0, "B");
        EXPECT(expected, bed->ops->create_group, bed->pool, &bed->call, &request, &group);
        assert(group.n_snapshots == 2 && group.ready && group.snapshots[0].group_id[0]);
        EXPECT(ERROR_NONE, bed->ops->create_group, bed->pool, &bed->call, &request, &again);
        assert(strcmp(group.group_id, again.group_id) == 0);
        request.n_source_volume_ids = 1;
        EXPECT(ERROR_CONFLICT, bed->ops->create_group, bed->pool, &bed->call, &request, &again);
        EXPECT(ERROR_INVALID, bed->ops->delete_snapshot, bed->pool, &bed->call,
               group.snapshots[0].snapshot_id);
        for (size_t i = 0; i < 2; i++) {
                want = (Want){.name = i ? "ra" : "rb",
                              .fs_type = "ext4",
                              .source = CONTENT_SOURCE_SNAPSHOT,
                              .source_id = group.snapshots[i].snapshot_id};
                volume_has(bed, bed_made(bed, &want), 0,
                           strcmp(group.snapshots[i].source_volume_id, ids[0]) == 0 ? "A" : "B");
        }
        mixed[0] = group.snapshots[0].snapshot_id;
        mixed[1] = "snap-none";
        EXPECT(ERROR_INVALID, bed->ops->get_group, bed->pool, &bed->call, group.group_id, mixed, 2,
               &again);
        EXPECT(ERROR_NONE, bed->ops->get_group, bed->pool, &bed->call, group.group_id, NULL, 0,
               &again);
        /* A member that cannot be: nothing is left of the others. */
        request = (CreateGroupRequest){
                .name = "h", .source_volume_ids = ids, .n_source_volume_ids = 3};
        ids[2] = "vol-none";
        EXPECT(ERROR_NOT_FOUND, bed->ops->create_group, bed->pool, &bed->call, &request, &again);
        EXPECT(ERROR_NONE, bed->ops->delete_group, bed->pool, &bed->call, group.group_id, NULL, 0);
        EXPECT(ERROR_NONE, bed->ops->delete_group, bed->pool, &bed->call, group.group_id, NULL, 0);
        assert(count_files(bed->pool_path) == 8);
}

static void case_paging(Bed *bed) {
        ListRequest request = {
                .max_entries = 7, .starting_token = "", .snapshot_id = "", .source_volume_id = ""};
        StringPair size = {"size", "10Mi"};
        NodePublishRequest inline_volume = {.volume_id = "csi-0123",
                                            .volume_context = {.pairs = &size, .n_pairs = 1},
                                            .capability = {.fs_type = "", .access_mode = 7}};
        VolumeList list;
        size_t n = 0;

        for (unsigned int i = 0; i < 20; i++) {
                cleanup(freep) char *name = str_printf("v%u", i);
                Want want = {.name = name, .required = 4 * MIB};

                (void)bed_made(bed, &want);
        }
        EXPECT(ERROR_NONE, provider_local.create_ephemeral, bed->pool, &bed->call, &inline_volume);
        do {
                EXPECT(ERROR_NONE, bed->ops->list_volumes, bed->pool, &bed->call, &request, &list);
                assert(list.n_volumes <= 7 && list.n_volumes > 0);
                n += list.n_volumes;
                /* A page is right also when the last of it goes. */
                EXPECT(ERROR_NONE, bed_delete, bed, list.volumes[list.n_volumes - 1].volume_id);
                request.starting_token = list.next_token;
        } while (list.next_token[0]);
        assert(n == 20);
        request.starting_token = "invalid-token";
        EXPECT(ERROR_AGAIN, bed->ops->list_volumes, bed->pool, &bed->call, &request, &list);
        request = (ListRequest){.starting_token = "", .snapshot_id = "", .source_volume_id = ""};
        EXPECT(ERROR_NONE, bed->ops->list_volumes, bed->pool, &bed->call, &request, &list);
        assert(list.n_volumes == 17 && !list.next_token[0]);
}

static void case_ephemeral(Bed *bed) {
        StringPair pairs[] = {{"csi.storage.k8s.io/ephemeral", "true"},
                              {"csi.storage.k8s.io/pod.name", "p"},
                              {"size", "10Mi"}};
        NodePublishRequest request = {
                .volume_id = "csi-be1419c8c2a28985eeb014710d6c98ce6851ad12c14b72beab2e0142fb635b1d",
                .volume_context = {.pairs = pairs, .n_pairs = 3},
                .capability = {.fs_type = "", .access_mode = 7},
        };
        Want want = {.name = "a", .required = 8 * MIB};
        const char *volume_id = bed_made(bed, &want);
        VolumeInfo info;
        Device device;

        EXPECT(ERROR_NONE, provider_local.create_ephemeral, bed->pool, &bed->call, &request);
        EXPECT(ERROR_NONE, provider_local.create_ephemeral, bed->pool, &bed->call, &request);
        EXPECT(ERROR_NONE, bed_find, bed, request.volume_id, &device);
        assert(device.size_bytes == 10 * MIB);
        EXPECT(ERROR_NONE, bed_release, bed, request.volume_id);
        /* The controller does not know inline volumes, and inline calls do not touch others. */
        EXPECT(ERROR_NOT_FOUND, bed->ops->get_volume, bed->pool, &bed->call, request.volume_id,
               &info);
        EXPECT(ERROR_NONE, bed_delete, bed, request.volume_id);
        assert(provider_local.has_volume(bed->pool, &bed->call, request.volume_id, NULL) == 1);
        EXPECT(ERROR_NONE, provider_local.delete_ephemeral, bed->pool, &bed->call, volume_id);
        assert(provider_local.has_volume(bed->pool, &bed->call, volume_id, NULL) == 1);
        EXPECT(ERROR_NONE, provider_local.delete_ephemeral, bed->pool, &bed->call,
               request.volume_id);
        EXPECT(ERROR_NONE, provider_local.delete_ephemeral, bed->pool, &bed->call,
               request.volume_id);
        pairs[2].value = "10 apples";
        EXPECT(ERROR_INVALID, provider_local.create_ephemeral, bed->pool, &bed->call, &request);
        pairs[2] = (StringPair){"path", "/etc"};
        EXPECT(ERROR_INVALID, provider_local.create_ephemeral, bed->pool, &bed->call, &request);
        request.volume_id = volume_id;
        request.volume_context.n_pairs = 0;
        EXPECT(ERROR_CONFLICT, provider_local.create_ephemeral, bed->pool, &bed->call, &request);
        assert(count_files(bed->pool_path) == 2);
}

static uint64_t blocks(Bed *bed, const char *volume_id) {
        cleanup(freep) char *path = str_printf("%s/volumes/%s.img", bed->pool_path, volume_id);
        struct stat st;

        assert(stat(path, &st) == 0);
        return (uint64_t)st.st_blocks * 512;
}

static void case_thick(Bed *bed) {
        Want want = {.name = "a", .required = 40 * MIB, .fs_type = "ext4", .provisioning = "thick"};
        StringPair pair = {"provisioning", "thin"};
        StringMap map = {.pairs = &pair, .n_pairs = 1};
        const char *volume_id = bed_made(bed, &want), *thin_id;
        CapacityRequest request = {0};
        CapacityResult before, after;
        Device device;

        assert(blocks(bed, volume_id) >= 40 * MIB);
        /* mkfs discards what it can. */
        EXPECT(ERROR_NONE, bed_find, bed, volume_id, &device);
        make_fs("ext4", &device);
        EXPECT(ERROR_NONE, bed_release, bed, volume_id);
        EXPECT(ERROR_NONE, bed_find, bed, volume_id, &device);
        assert(blocks(bed, volume_id) >= 40 * MIB);
        EXPECT(ERROR_NONE, bed_expand, bed, volume_id, 60 * MIB, 0);
        assert(blocks(bed, volume_id) >= 60 * MIB);
        EXPECT(ERROR_NONE, bed_release, bed, volume_id);

        want = (Want){.name = "b", .required = 40 * MIB};
        thin_id = bed_made(bed, &want);
        assert(blocks(bed, thin_id) < MIB);
        EXPECT(ERROR_NONE, bed->ops->get_capacity, bed->pool, &bed->call, &request, &before);
        pair.value = "thick";
        EXPECT(ERROR_NONE, bed->ops->modify_volume, bed->pool, &bed->call, thin_id, &map);
        assert(blocks(bed, thin_id) >= 40 * MIB);
        EXPECT(ERROR_NONE, bed->ops->get_capacity, bed->pool, &bed->call, &request, &after);
        printf("  capacity %" PRIu64 " -> %" PRIu64 "\n", before.available_bytes,
               after.available_bytes);
        assert(after.available_bytes + 16 * MIB > before.available_bytes);
        pair.key = "iops";
        EXPECT(ERROR_INVALID, bed->ops->modify_volume, bed->pool, &bed->call, thin_id, &map);
        EXPECT(ERROR_INVALID, bed->ops->modify_volume, bed->pool, &bed->call, "vol-none", &map);
        map.n_pairs = 0;
        EXPECT(ERROR_NOT_FOUND, bed->ops->modify_volume, bed->pool, &bed->call, "vol-none", &map);
}

static void case_lock(Bed *bed) {
        Bed other = {.pool_path = bed->pool_path};
        cleanup(freep) char *pool_json = str_printf("%s/pool.json", bed->pool_path);
        int fd;

        EXPECT(ERROR_UNAVAILABLE, bed_try_open, &other);
        bed_close(bed);
        bed_open(bed);
        bed_close(bed);
        assert(chmod(bed->pool_path, 0777) == 0);
        EXPECT(ERROR_PRECONDITION, bed_try_open, bed);
        assert(chmod(bed->pool_path, 0700) == 0);
        fd = open(pool_json, O_WRONLY | O_TRUNC | O_CLOEXEC);
        assert(fd >= 0 && write(fd, "{\"format\": 2}", 13) == 13);
        close(fd);
        EXPECT(ERROR_PRECONDITION, bed_try_open, bed);
        assert(unlink(pool_json) == 0);
        bed_open(bed);
}

/* What is not ours stays: files, links, damaged metadata. */
static void case_strangers(Bed *bed) {
        Want want = {.name = "a", .required = 8 * MIB}, swapped = {.name = "b", .required = MIB};
        const char *volume_id = bed_made(bed, &want), *swapped_id = bed_made(bed, &swapped);
        cleanup(freep) char *base = str_printf("%s/volumes", bed->pool_path);
        cleanup(freep) char *orphan =
                str_printf("%s/vol-0123456789abcdef0123456789abcdef.img", base);
        cleanup(freep) char *temporary =
                str_printf("%s/.vol-0123456789abcdef0123456789abcdef.json.tmp.1.2", base);
        cleanup(freep) char *other = str_printf("%s/precious", base);
        cleanup(freep) char *json = str_printf("%s/%s.json", base, volume_id);
        cleanup(freep) char *image = str_printf("%s/%s.img", base, swapped_id);
        VolumeInfo info;
        Device device;

        write_file(orphan, "x");
        write_file(temporary, "x");
        write_file(other, "x");
        bed_close(bed);
        write_file(json, "{\"format\": 1, \"id\"");
        assert(unlink(image) == 0 && symlink("/etc/passwd", image) == 0);
        bed_open(bed);
        assert(access(orphan, F_OK) == 0 && access(other, F_OK) == 0);
        assert(access(temporary, F_OK) != 0);
        /* The damaged volume keeps its name and its data, and everything else works. */
        EXPECT(ERROR_INTERNAL, bed_create, bed, &want, &info);
        EXPECT(ERROR_INTERNAL, bed_find, bed, volume_id, &device);
        EXPECT(ERROR_INTERNAL, bed_delete, bed, volume_id);
        EXPECT(ERROR_PRECONDITION, bed_find, bed, swapped_id, &device);
        EXPECT(ERROR_NONE, bed->ops->get_volume, bed->pool, &bed->call, swapped_id, &info);
        assert(info.abnormal);
        printf("  condition: %s\n", info.condition_message);
        EXPECT(ERROR_NONE, bed_delete, bed, swapped_id);
        assert(access("/etc/passwd", F_OK) == 0);
        write_file(image, "ours?");
        EXPECT(ERROR_PRECONDITION, bed_create, bed, &swapped, &info);
        file_has(image, "ours?");
        assert(count_files(bed->pool_path) == 5);
}

/* A data file that was cut or is gone. */
static void case_condition(Bed *bed) {
        Want want = {.name = "a", .required = 8 * MIB};
        cleanup(freep) char *volume_id = strdup(bed_made(bed, &want));
        cleanup(freep) char *image = str_printf("%s/volumes/%s.img", bed->pool_path, volume_id);
        VolumeInfo info;
        Device device;

        EXPECT(ERROR_NONE, bed->ops->get_volume, bed->pool, &bed->call, volume_id, &info);
        assert(!info.abnormal && info.has_condition && info.condition_message);
        assert(truncate(image, MIB) == 0);
        EXPECT(ERROR_NONE, bed->ops->get_volume, bed->pool, &bed->call, volume_id, &info);
        assert(info.abnormal);
        EXPECT(ERROR_PRECONDITION, bed_find, bed, volume_id, &device);
        assert(unlink(image) == 0);
        bed_close(bed);
        bed_open(bed);
        EXPECT(ERROR_PRECONDITION, bed_create, bed, &want, &info);
        EXPECT(ERROR_NONE, bed->ops->get_volume, bed->pool, &bed->call, volume_id, &info);
        assert(info.abnormal && strstr(info.condition_message, "missing"));
        EXPECT(ERROR_NONE, bed_delete, bed, volume_id);
}

/* --- 64 at once --- */

typedef struct Worker {
        Bed bed;
        unsigned int number;
        pthread_t thread;
} Worker;

static void *work(void *userdata) {
        Worker *worker = userdata;
        Bed *bed = &worker->bed;
        cleanup(freep) char *name = str_printf("pvc-%u", worker->number / 2);
        Want want = {.name = name, .required = 4 * MIB};
        Device device;

        assert(arena_new(&bed->arena, 1 << 20) == 0);
        bed->call.arena = bed->arena;
        EXPECT(ERROR_NONE, bed_find, bed, bed_made(bed, &want), &device);
        arena_free(bed->arena);
        return NULL;
}

/* Two calls for each of 32 names: one volume and one loop device each, and no promise twice. */
static void case_parallel(Bed *bed) {
        static Worker workers[64];
        ListRequest request = {.starting_token = "", .snapshot_id = "", .source_volume_id = ""};
        struct timespec start, end;
        VolumeList list;

        (void)clock_gettime(CLOCK_MONOTONIC, &start);
        for (unsigned int i = 0; i < 64; i++) {
                int r;

                workers[i] = (Worker){.bed = *bed, .number = i};
                r = pthread_create(&workers[i].thread, NULL, work, &workers[i]);
                assert(r == 0);
        }
        for (unsigned int i = 0; i < 64; i++)
                assert(pthread_join(workers[i].thread, NULL) == 0);
        (void)clock_gettime(CLOCK_MONOTONIC, &end);
        printf("  64 creates and attaches of 32 volumes in %lld ms\n",
               (long long)(end.tv_sec - start.tv_sec) * 1000 +
                       (end.tv_nsec - start.tv_nsec) / 1000000);
        EXPECT(ERROR_NONE, bed->ops->list_volumes, bed->pool, &bed->call, &request, &list);
        assert(list.n_volumes == 32 && count_files(bed->pool_path) == 64);
        for (size_t i = 0; i < list.n_volumes; i++) {
                EXPECT(ERROR_NONE, bed_release, bed, list.volumes[i].volume_id);
                EXPECT(ERROR_NONE, bed_delete, bed, list.volumes[i].volume_id);
        }
        assert(count_files(bed->pool_path) == 0);
}

/* --- Several at one device --- */

typedef struct Looker {
        Bed bed;
        const char *seen, *own; /* one volume that all look at, and one that only this one has */
        pthread_t thread;
} Looker;

static void use_own(Looker *looker) {
        Bed *bed = &looker->bed;
        Device device;

        EXPECT(ERROR_NONE, bed_find, bed, looker->own, &device);
        EXPECT(ERROR_NONE, bed_release, bed, looker->own);
        pool_drop_orphans(bed->pool);
}

/* Who only asks about a volume finds its device beside others, and remembers where it is; the
 * survey of all devices tells it too. */
static void *look(void *userdata) {
        Looker *looker = userdata;
        Bed *bed = &looker->bed;
        VolumeInfo info;

        assert(arena_new(&bed->arena, 1 << 20) == 0);
        bed->call.arena = bed->arena;
        for (int i = 0; i < 40; i++) {
                EXPECT(ERROR_NONE, bed->ops->get_volume, bed->pool, &bed->call, looker->seen,
                       &info);
                if (i % 8 == 0)
                        use_own(looker);
        }
        arena_free(bed->arena);
        return NULL;
}

/* Built with -Db_sanitize=thread it fails when one of them remembers without the mutex. */
static void case_lookers(Bed *bed) {
        static Looker lookers[4];
        Want want = {.name = "seen", .required = 4 * MIB};
        const char *seen = bed_made(bed, &want);
        Device device;

        for (size_t i = 0; i < N_ELEMENTS(lookers); i++) {
                cleanup(freep) char *name = str_printf("own-%zu", i);

                want.name = name;
                lookers[i] = (Looker){.bed = *bed, .seen = seen, .own = bed_made(bed, &want)};
        }
        EXPECT(ERROR_NONE, bed_find, bed, seen, &device);
        for (size_t i = 0; i < N_ELEMENTS(lookers); i++) {
                int r = pthread_create(&lookers[i].thread, NULL, look, &lookers[i]);

                assert(r == 0);
        }
        for (size_t i = 0; i < N_ELEMENTS(lookers); i++)
                assert(pthread_join(lookers[i].thread, NULL) == 0);
        EXPECT(ERROR_NONE, bed_release, bed, seen);
}

/* --- A copy that outlives its call and a restart --- */

static void fill_volume(Bed *bed, const char *volume_id, uint64_t n_bytes) {
        cleanup(freep) char *chunk = malloc(MIB);
        Device device;
        int fd;

        EXPECT(ERROR_NONE, bed_find, bed, volume_id, &device);
        fd = open(device.path, O_WRONLY | O_CLOEXEC);
        assert(fd >= 0);
        for (uint64_t at = 0; at < n_bytes; at += MIB) {
                memset(chunk, 'a' + (int)(at / MIB % 26), MIB);
                assert(pwrite(fd, chunk, MIB, (off_t)at) == (ssize_t)MIB);
        }
        assert(fsync(fd) == 0);
        close(fd);
        EXPECT(ERROR_NONE, bed_release, bed, volume_id);
}

/* 600 MiB: the call has no time, the copy goes on, the pool is closed in between, and the end is
 * the whole. A reflink pool needs it only for thick clones. */
static void case_copy(Bed *bed) {
        Want want = {.name = "a", .required = 600 * MIB};
        const char *volume_id = bed_made(bed, &want);
        Want clone = {.name = "clone",
                      .provisioning = "thick",
                      .source = CONTENT_SOURCE_VOLUME,
                      .source_id = volume_id};
        VolumeInfo info = {0};
        Device device;
        unsigned int n = 0;
        int r = -1;

        fill_volume(bed, volume_id, 600 * MIB);
        for (; n < 200 && r < 0; n++) {
                Error err = {0};

                bed->call.deadline_msecs = clock_msecs() + 560;
                r = bed_create(bed, &clone, &info, &err);
                if (r == 0)
                        break;
                printf("  %s\n", err.message);
                assert(err.code == ERROR_AGAIN);
                if (n == 0 && !bed->pool->can_reflink)
                        /* The source is pinned meanwhile. */
                        EXPECT(ERROR_AGAIN, bed_find, bed, volume_id, &device);
                if (n < 3) {
                        bed_close(bed);
                        bed_open(bed);
                        volume_id = bed_made(bed, &want);
                        clone.source_id = volume_id;
                }
        }
        assert(r == 0 && n > 0);
        printf("  done after %u calls that had no time\n", n);
        bed->call.deadline_msecs = UINT64_MAX;
        for (uint64_t at = 0; at < 600; at += 37) {
                char text[2] = {(char)('a' + (int)(at % 26)), '\0'};

                volume_has(bed, info.volume_id, at * MIB + 4096, text);
        }
        assert(blocks(bed, info.volume_id) >= 600 * MIB);

        /* Deleted during the copy: nothing is left. */
        clone.name = "unwanted";
        bed->call.deadline_msecs = clock_msecs() + 520;
        {
                Error err = {0};

                (void)bed_create(bed, &clone, &info, &err);
        }
        bed->call.deadline_msecs = UINT64_MAX;
        {
                char stem[LOCAL_STEM_MAX + 1];

                local_stem("vol", "node-1", "unwanted", stem);
                for (n = 0; n < 100; n++) {
                        Error err = {0};

                        if (bed_delete(bed, stem, &err) == 0)
                                break;
                        assert(err.code == ERROR_AGAIN);
                        usleep(50000);
                }
        }
        assert(count_files(bed->pool_path) == 4);
}

/* Until it comes to its end; each answer before it is "again". Return: how often that was. */
static unsigned int copy_to_end(Bed *bed, const Want *clone, VolumeInfo *info) {
        for (unsigned int n = 0; n < 200; n++) {
                Error err = {0};

                if (bed_create(bed, clone, info, &err) == 0)
                        return n;
                printf("  %s\n", err.message);
                assert(err.code == ERROR_AGAIN);
        }
        abort();
}

/* The copy of @volume_id has begun, and the pool was closed and opened since. */
static void cut_copy(Bed *bed, const Want *clone) {
        VolumeInfo info = {0};
        Error err = {0};

        bed->call.deadline_msecs = clock_msecs() + 520;
        assert(bed_create(bed, clone, &info, &err) < 0 && err.code == ERROR_AGAIN);
        bed->call.deadline_msecs = UINT64_MAX;
        bed_close(bed);
        bed_open(bed);
}

/* What goes on with a copy has no hold on its source until then: it is in use by then, or was. No
 * copy is of two moments. */
static void case_copy_cut(Bed *bed) {
        Want want = {.name = "a", .required = 600 * MIB};
        const char *volume_id = bed_made(bed, &want);
        Want clone = {.name = "clone", .source = CONTENT_SOURCE_VOLUME, .source_id = volume_id};
        VolumeInfo info = {0};
        Device device;

        if (bed->pool->can_reflink) {
                printf("  nothing to copy\n");
                return;
        }
        fill_volume(bed, volume_id, 600 * MIB);
        cut_copy(bed, &clone);
        /* In use, by somebody who has not written yet. */
        clone.source_id = volume_id = bed_made(bed, &want);
        EXPECT(ERROR_NONE, bed_find, bed, volume_id, &device);
        publish_node(&device, "/run/node");
        EXPECT(ERROR_AGAIN, bed_create, bed, &clone, &info);
        EXPECT(ERROR_PRECONDITION, bed_create, bed, &clone, &info);
        assert(count_files(bed->pool_path) == 2);
        assert(umount("/run/node") == 0);
        EXPECT(ERROR_NONE, bed_release, bed, volume_id);
        /* Written to, and no longer in use. */
        cut_copy(bed, &clone);
        clone.source_id = volume_id = bed_made(bed, &want);
        volume_put(bed, volume_id, 0, "new");
        volume_put(bed, volume_id, 599 * MIB, "new");
        EXPECT(ERROR_AGAIN, bed_create, bed, &clone, &info);
        assert(count_files(bed->pool_path) == 2);
        (void)copy_to_end(bed, &clone, &info);
        volume_has(bed, info.volume_id, 0, "new");
        volume_has(bed, info.volume_id, 599 * MIB, "new");
}

/* A tool works on a copy, which takes the volume's place or goes. */
static void case_work(Bed *bed) {
        const char *const provisioning[] = {"thin", "thick"};
        DiskCopy copy = DISK_COPY_INIT;
        Device device, found;
        SnapshotInfo snapshot;
        LoopStatus status;
        struct stat st;

        for (size_t i = 0; i < N_ELEMENTS(provisioning); i++) {
                Want want = {.name = provisioning[i],
                             .required = 64 * MIB,
                             .fs_type = "ext4",
                             .provisioning = provisioning[i]};
                VolumeRef ref = {.volume_id = bed_made(bed, &want)};
                cleanup(freep) char *stale =
                        str_printf("%s/volumes/%s.work", bed->pool_path, ref.volume_id);
                cleanup(freep) char *data =
                        str_printf("%s/volumes/%s.img", bed->pool_path, ref.volume_id);

                EXPECT(ERROR_NONE, bed_find, bed, ref.volume_id, &device);
                if (!bed->pool->can_reflink) {
                        assert(provider_local.begin_copy(bed->pool, &bed->call, &ref, &copy,
                                                         NULL) == PROVIDER_E_IN_PLACE);
                        continue;
                }
                make_fs("ext4", &device);
                assert(is_attached(&device, &status));

                /* Not while it is used. */
                (void)mkdir("/run/w", 0755);
                assert(mount(device.path, "/run/w", "ext4", 0, NULL) == 0);
                EXPECT(ERROR_PRECONDITION, provider_local.begin_copy, bed->pool, &bed->call, &ref,
                       &copy);
                assert(umount("/run/w") == 0);
                device_put(&device, 9 * MIB, "before");

                /* Thrown away, and nothing of it is left. */
                EXPECT(ERROR_NONE, provider_local.begin_copy, bed->pool, &bed->call, &ref, &copy);
                assert(strcmp(copy.device.path, device.path) != 0 &&
                       copy.device.size_bytes == 64 * MIB);
                device_has(&copy.device, 9 * MIB, "before");
                device_put(&copy.device, 9 * MIB, "thrown");
                EXPECT(ERROR_NONE, provider_local.end_copy, bed->pool, &bed->call, &ref, &copy,
                       false);
                assert(access(stale, F_OK) < 0);
                device_has(&device, 9 * MIB, "before");

                /* A new one in the place of one that was left. */
                EXPECT(ERROR_NONE, provider_local.begin_copy, bed->pool, &bed->call, &ref, &copy);
                disk_copy_deinit(&copy);
                EXPECT(ERROR_NONE, provider_local.begin_copy, bed->pool, &bed->call, &ref, &copy);
                device_put(&copy.device, 9 * MIB, "after!");
                /* Nobody can mount the volume meanwhile, and what was written to it is kept. */
                assert(mount(device.path, "/run/w", "ext4", 0, NULL) < 0 && errno == EBUSY);
                device_put(&device, 9 * MIB, "others");
                EXPECT(ERROR_UNAVAILABLE, provider_local.end_copy, bed->pool, &bed->call, &ref,
                       &copy, true);
                assert(access(stale, F_OK) < 0);
                device_has(&device, 9 * MIB, "others");

                EXPECT(ERROR_NONE, provider_local.begin_copy, bed->pool, &bed->call, &ref, &copy);
                device_put(&copy.device, 9 * MIB, "after!");
                EXPECT(ERROR_NONE, provider_local.end_copy, bed->pool, &bed->call, &ref, &copy,
                       true);
                disk_copy_deinit(&copy);
                assert(access(stale, F_OK) < 0 && is_detached(&device, &status));
                EXPECT(ERROR_NONE, bed_find, bed, ref.volume_id, &found);
                assert(found.devno == copy.device.devno && is_attached(&found, &status));
                device_has(&found, 9 * MIB, "after!");
                assert(stat(data, &st) == 0 && st.st_size == 64 * (off_t)MIB);
                if (i == 1)
                        assert((uint64_t)st.st_blocks * 512 >= 64 * MIB);
                EXPECT(ERROR_NONE, bed_snapshot, bed, provisioning[i], ref.volume_id, &snapshot);
                EXPECT(ERROR_NONE, bed_release, bed, ref.volume_id);
                assert(is_detached(&found, &status));
        }
}

static const struct {
        const char *name;
        void (*run)(Bed *bed);
} cases[] = {
        {"lifecycle", case_lifecycle}, {"refusals", case_refusals},   {"snapshot", case_snapshot},
        {"mounted", case_mounted},     {"raw_block", case_raw_block}, {"group", case_group},
        {"paging", case_paging},       {"ephemeral", case_ephemeral}, {"thick", case_thick},
        {"lock", case_lock},           {"strangers", case_strangers}, {"condition", case_condition},
        {"parallel", case_parallel},   {"lookers", case_lookers},     {"copy", case_copy},
        {"copy_cut", case_copy_cut},   {"work", case_work},
};

int main(int argc, char **argv) {
        Bed bed = {0};

        setvbuf(stdout, NULL, _IOLBF, 0);
        if (argc != 3) {
                for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                        puts(cases[i].name);
                return argc == 1 ? 0 : 64;
        }
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                if (strcmp(cases[i].name, argv[2]) != 0)
                        continue;
                bed.pool_path = argv[1];
                bed_open(&bed);
                printf("%s: reflink %d\n", argv[2], bed.pool->can_reflink);
                cases[i].run(&bed);
                bed_close(&bed);
                arena_free(bed.arena);
                return 0;
        }
        return 64;
}
