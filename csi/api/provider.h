/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_API_PROVIDER_H
#define BERTH_CSI_API_PROVIDER_H

/*
 * A storage provider is one struct of functions: how a volume handle becomes a block device on this
 * node, what the node is called and how many volumes it takes. NULL means the default. A provider
 * knows no gRPC and no mounting; the node service (csi/node/) formats and mounts what find_device()
 * proved.
 *
 * New members go last.
 */

#include "csi/api/request.h"

#include "common/base/cleanup.h"
#include "fs/rules.h"

#include <time.h>

typedef struct Platform Platform;   /* common/platform/platform.h */
typedef struct HoldTable HoldTable; /* csi/wait/hold.h */

/* What the command line gives every provider. Strings are borrowed and live as long as the process.
 */
typedef struct ProviderConfig {
        const char *node_name;    /* --node-name or $NODE_NAME or the host name */
        const char *driver_name;  /* --driver-name or the provider's own */
        const char *kubelet_root; /* without a trailing slash */
        const char *pool_path;    /* --pool, provider local */
        const char *root_path;    /* "" or the directory that stands for / in tests: sysfs, /dev and
                                     DMI are read below it */
        const char *metadata_url; /* NULL or the base that replaces the provider's metadata service,
                                     for tests */
        int64_t volume_limit;     /* --volume-limit; -1: unset */
        uint64_t reserved_volumes;
        const Platform *platform;
        const char *pool_reserve;         /* --pool-reserve: a size or "5%" of the pool's filesystem
                                             that volumes never get; NULL: default */
        uint64_t pool_overcommit_percent; /* --pool-overcommit: most that thin volumes may promise,
                                             in percent of what the pool can hold; 0: 100 */
        const char *workload_api_dir;     /* --workload-api-socket-dir, provider spiffe; NULL */
        bool has_reserved_volumes;        /* reserved_volumes was given, be it 0 */
        /* In place of what the metadata service says of this node; NULL: ask it. */
        const char *node_id, *instance_type, *region, *zone;
        /* The node's, borrowed. The node's calls hold ("volume", ID) while they call the provider;
         * a controller's call that changes the volume or its data takes it itself. NULL: nobody
         * else holds anything. */
        HoldTable *locks;
        const char *state_dir; /* of this plugin on this node, on another disk than a pool may be;
                                  NULL: nothing is noted */
        const char *pool_id;   /* --pool-id: the UUID that the pool must have; NULL: as noted */
        /* --inline-per-pod, --inline-per-namespace: as pool_reserve, most that the inline volumes
         * of one have together; NULL: default */
        const char *inline_per_pod, *inline_per_namespace;
        bool pool_init; /* --pool-init: a pool is made where none is and none was */
} ProviderConfig;

/* Which volume is meant, from any node request. */
struct Device;

typedef struct VolumeRef {
        const char *volume_id;
        const StringMap
                *publish_context; /* NULL where the request has none (unstage, expand, stats) */
        const StringMap *volume_context;
        const StringMap *secrets;
        bool is_block;     /* raw block is asked for; false where the request does not tell */
        bool is_read_only; /* find_device(): nothing is to be written, not even on a blank disk */
        /* find_device() asks before it writes to @disk: nobody else has it then, until the call
         * ends. NULL: nothing is written. Return: 0; <0 with @err. */
        int (*may_write)(void *userdata, const struct Device *disk, Error *err);
        void *userdata; /* of may_write() */
} VolumeRef;

/* A proven block device. */
typedef struct Device {
        char path[128];      /* "/dev/loop3"; opened by the caller right away */
        uint64_t devno;      /* st_rdev that was proven; the caller checks fstat() of what it opened
                                against it */
        uint64_t size_bytes; /* 0 = the provider does not know what to expect */
        uint64_t sequence;   /* BLKGETDISKSEQ of the disk that was proven: between the proof and the
                                caller's open another one may have got its number; 0: not known */
} Device;

/* What a volume is that is no disk: a directory of this node, or a filesystem that a server has.
 * Strings are borrowed from the request, or lie in the call's arena or the provider. */
typedef struct Share {
        const char *directory; /* shown at the target; NULL: @source is mounted there */
        const char *fs_type;   /* of @source: "nfs" */
        const char *source;    /* "server:/export" */
        const char *server;    /* of @source, for messages */
        const char *options;   /* mount options beside those of the capability: "a,b=c"; NULL */
        const char *helper;    /* program that mounts it, as mount(8) would run it: "mount.nfs".
                                  NULL: the kernel does it alone */
        bool is_read_only;     /* whatever is asked for */
        unsigned int mode;     /* permission bits of the root once it is mounted; 0: as it is */
} Share;

#define PROVIDER_E_NO_SHARE 1 /* of find_share(): this volume is a disk */
#define PROVIDER_E_PLAIN    1 /* of encryption(): this volume is not encrypted */
/* Of begin_copy(): there can be no copy here, or no room for one. Of end_copy(): the room was used
 * up while the tool wrote. */
#define PROVIDER_E_IN_PLACE 1

/* A copy of a disk, between begin_copy() and end_copy(). All but @device is the provider's. */
typedef struct DiskCopy {
        Device device;
        int device_fd, file_fd;  /* of the copy since before the tool: they learn of each write that
                                    failed, whoever was told of it first */
        int held_fd;             /* of the disk, exclusively; -1: it has no device */
        int disk_file_fd;        /* what the disk is kept in */
        struct timespec written; /* when that was written to */
} DiskCopy;

#define DISK_COPY_INIT                                                                             \
        (DiskCopy) {                                                                               \
                .device_fd = -1, .file_fd = -1, .held_fd = -1, .disk_file_fd = -1                  \
        }

/* Closes what it has open; the disk is others' to use again. */
static inline void disk_copy_deinit(DiskCopy *copy) {
        closep(&copy->device_fd);
        closep(&copy->file_fd);
        closep(&copy->held_fd);
        closep(&copy->disk_file_fd);
}

/* How an encrypted volume is laid out: LUKS on its disk, and what everybody sees is the mapper. */
typedef struct Encryption {
        char name[128];         /* below /dev/mapper: the same as upstream's driver gives it */
        const char *passphrase; /* from the secrets; borrowed. NULL: there is none in the request */
        size_t n_passphrase;    /* bytes of it that count */
        const char *secret_key; /* where it is looked for, for messages: "luksKey" */
        unsigned int version;   /* LUKS 1 or 2, of a new volume */
        const char *cipher;     /* of a new volume: "aes-xts-plain64" */
        unsigned int key_bits;
        bool allows_discards;
} Encryption;

/* A number that is written to sysfs once a filesystem is mounted. Strings as in Wishes. */
typedef struct Tuning {
        const char *attribute; /* of the device, "queue/read_ahead_kb"; with is_btrfs of the
                                  filesystem, "allocation/data/bg_reclaim_threshold" */
        const char *value;
        bool is_btrfs; /* the volume must be btrfs */
} Tuning;

#define TUNINGS_MAX 8

/* What a volume wants beside its capability. Strings live as long as the call. */
typedef struct Wishes {
        bool never_formats; /* a blank disk is an error */
        Tuning tunings[TUNINGS_MAX];
        size_t n_tunings;
} Wishes;

enum {
        PROVIDER_STAGES = 1U << 0, /* advertises STAGE_UNSTAGE_VOLUME */
        PROVIDER_SINGLE_NODE_MULTI_WRITER = 1U << 1,
        PROVIDER_EPHEMERAL = 1U << 2, /* inline volumes */
        PROVIDER_TOPOLOGY = 1U << 3,
        PROVIDER_EXPANDS_ONLINE = 1U << 4,
        PROVIDER_BLOCK_MULTI_WRITER = 1U
                                      << 5, /* raw block volumes may be MULTI_NODE_MULTI_WRITER */
        PROVIDER_SHARED = 1U << 6,          /* filesystems that several nodes may write */
        PROVIDER_NO_EXPAND = 1U << 7,       /* leaves EXPAND_VOLUME out */
        PROVIDER_NO_CONTROLLER = 1U << 8,   /* nowhere: the plugin is all node */
        PROVIDER_CLONES = 1U << 9,          /* create_volume() makes volumes from volumes */
        PROVIDER_STAGES_BLOCK = 1U << 10,   /* raw block volumes are shown at <staging path>/<volume
                                              id> too, as upstream's driver looks for them */
        PROVIDER_EXPANDS_OFFLINE = 1U << 11,
};

/* The controller half. @self is the provider's own. Each fills its result only on success. NULL:
 * the method is not there. Who has create_snapshot also makes volumes from snapshots and from
 * volumes. */
typedef struct ControllerOps {
        int (*create_volume)(void *self, const Call *call, const CreateVolumeRequest *request,
                             VolumeInfo *result, Error *err);
        int (*delete_volume)(void *self, const Call *call, const char *volume_id, Error *err);
        int (*validate)(void *self, const Call *call, const ValidateRequest *request,
                        ValidateResult *result, Error *err);
        int (*list_volumes)(void *self, const Call *call, const ListRequest *request,
                            VolumeList *result, Error *err);
        int (*get_volume)(void *self, const Call *call, const char *volume_id, VolumeInfo *result,
                          Error *err);
        int (*modify_volume)(void *self, const Call *call, const char *volume_id,
                             const StringMap *parameters, Error *err);
        int (*get_capacity)(void *self, const Call *call, const CapacityRequest *request,
                            CapacityResult *result, Error *err);
        int (*create_snapshot)(void *self, const Call *call, const CreateSnapshotRequest *request,
                               SnapshotInfo *result, Error *err);
        int (*delete_snapshot)(void *self, const Call *call, const char *snapshot_id, Error *err);
        int (*list_snapshots)(void *self, const Call *call, const ListRequest *request,
                              SnapshotList *result, Error *err);
        int (*create_group)(void *self, const Call *call, const CreateGroupRequest *request,
                            SnapshotGroup *result, Error *err);
        int (*delete_group)(void *self, const Call *call, const char *group_id,
                            const char *const *snapshot_ids, size_t n_snapshot_ids, Error *err);
        int (*get_group)(void *self, const Call *call, const char *group_id,
                         const char *const *snapshot_ids, size_t n_snapshot_ids,
                         SnapshotGroup *result, Error *err);
} ControllerOps;

typedef struct Provider {
        const char *name;        /* --provider, "aws"; also the log field */
        const char *driver_name; /* default CSI driver name, "ebs.csi.aws.com" */
        unsigned int flags;      /* PROVIDER_* */
        FormatRules format;

        /* Pure. NULL: never detected, only asked for by name. */
        bool (*match)(const Platform *platform);

        /* Reads local state; must not wait for the network. @selfp: the provider's own, freed by
         * close(). */
        int (*open)(const ProviderConfig *config, void **selfp, Error *err);
        void (*close)(void *self);

        /* ERROR_UNAVAILABLE while the metadata service does not answer: Probe says "not ready" with
         * the message. NULL: always ready. */
        int (*ready)(void *self, const Call *call, Error *err);

        /* NULL: the node name, no limit, no topology. */
        int (*node_info)(void *self, const Call *call, NodeInfo *info, Error *err);

        /*
         * Volume handle to proven device; waits for a device that is still arriving until
         * call->deadline_msecs. For `local`: attaches the loop device, or finds it attached.
         * ERROR_NOT_FOUND: the volume or its disk does not exist. ERROR_PRECONDITION: a device is
         * there and is not provably this volume.
         */
        int (*find_device)(void *self, const Call *call, const VolumeRef *volume, Device *device,
                           Error *err);

        /* After the last unmount of an unstage; gone already is done. NULL: nothing to release. */
        int (*release_device)(void *self, const Call *call, const VolumeRef *volume, Error *err);

        /* Before rescan_device() of NodeExpandVolume, where the node itself makes the disk larger.
         * NULL: a controller did. ERROR_RANGE; ERROR_EXHAUSTED. */
        int (*grow_device)(void *self, const Call *call, const VolumeRef *volume,
                           const Device *device, const CapacityRange *range, Error *err);

        /* Makes the kernel see a new size of the device (SCSI/NVMe rescan, LOOP_SET_CAPACITY).
         * NULL: nothing to do. */
        int (*rescan_device)(void *self, const Call *call, const VolumeRef *volume,
                             const Device *device, Error *err);

        /* Inline volumes: make if missing, so that find_device() finds it; remove with its data,
         * gone is done. */
        int (*create_ephemeral)(void *self, const Call *call, const NodePublishRequest *request,
                                Error *err);
        int (*delete_ephemeral)(void *self, const Call *call, const char *volume_id, Error *err);

        /* Whether @volume_id is a volume this provider knows on this node: 1, 0, -errno. NULL:
         * cannot know, assume yes. */
        int (*has_volume)(void *self, const Call *call, const char *volume_id, Error *err);

        const ControllerOps *controller; /* NULL: node only */

        /*
         * Volumes that are no disks, asked before find_device(); never staged. What the request
         * must not ask for is refused here. NULL: all volumes are disks.
         *
         * Return: 0; PROVIDER_E_NO_SHARE; ERROR_INVALID; ERROR_UNAVAILABLE.
         */
        int (*find_share)(void *self, const Call *call, const NodePublishRequest *request,
                          Share *share, Error *err);

        /*
         * Whether the disk of a volume is encrypted, and how. Without contexts, as for an unstage,
         * only the name is filled, or "" where the volume's id does not tell it. NULL: never.
         *
         * Return: 0; PROVIDER_E_PLAIN; ERROR_INVALID.
         */
        int (*encryption)(void *self, const VolumeRef *volume, Encryption *encryption, Error *err);

        /*
         * What is special in the capability of a disk, before staging and publishing: @capability
         * is the call's own copy, and its type, mode and mount flags (an array in the arena) may be
         * changed. NULL: nothing.
         *
         * Return: 0; ERROR_INVALID.
         */
        int (*adapt)(void *self, const Call *call, const VolumeRef *volume,
                     VolumeCapability *capability, Wishes *wishes, Error *err);

        /* Looks after what no call comes for again and says in the log what it did; called at the
         * start and every some minutes from one thread, beside calls. NULL: nothing. */
        void (*tend)(void *self);

        /*
         * Whether anything but zeros was ever written to the disk of a volume, known for certain:
         * 1, 0, -errno. Asked before it is formatted. NULL: the provider cannot know.
         */
        int (*has_data)(void *self, const Call *call, const VolumeRef *volume);

        /*
         * A copy of the disk of a volume that nobody uses, for tools that write to what is on it: a
         * tool that fails, destroys or is killed has done so to the copy. @copy is DISK_COPY_INIT,
         * for disk_copy_deinit(); its device is what find_device() would find. Until then nobody
         * else can mount the disk. NULL: the tools work on the disk itself.
         *
         * Return: 0, then end_copy(); PROVIDER_E_IN_PLACE; ERROR_PRECONDITION when it is in use.
         */
        int (*begin_copy)(void *self, const Call *call, const VolumeRef *volume, DiskCopy *copy,
                          Error *err);

        /*
         * @keeps: the copy takes the place of the disk, in one step that a crash does not cut. What
         * the caller has open of both may stay open, and of the disk it is closed after a success.
         * Otherwise, and after a failure, the disk is what it was, and the copy is gone.
         *
         * Return: 0; PROVIDER_E_IN_PLACE; ERROR_UNAVAILABLE when a write to the copy failed, or the
         * disk was written to meanwhile.
         */
        int (*end_copy)(void *self, const Call *call, const VolumeRef *volume, DiskCopy *copy,
                        bool keeps, Error *err);

        /*
         * Whether @devno, which a volume is mounted from or published as, is not what the provider
         * has by the volume's name (any more). Waits for nothing and asks no disk. NULL: it always
         * is.
         */
        bool (*has_lost_disk)(void *self, const char *volume_id, uint64_t devno);

        /*
         * Whether @devno, which is at a path that a call names for a volume, is certainly another
         * volume's. @is_raw: nothing that is mounted keeps the number, which may be another's
         * since; so it is certain only while the volume has a device itself. Waits for nothing and
         * asks no disk. NULL: it cannot tell.
         */
        bool (*is_another)(void *self, const char *volume_id, uint64_t devno, bool is_raw);

        /*
         * A call is to be told that another operation on the volume is under way (ERROR_AGAIN):
         * says in @err which one and how far it is, if it is one of the provider's that takes long.
         * Waits for nothing and asks no disk. NULL: it has none.
         */
        void (*tell_busy)(void *self, const char *volume_id, Error *err);
} Provider;

#endif
