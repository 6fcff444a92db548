/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_NODE_INTERNAL_H
#define BERTH_CSI_NODE_NODE_INTERNAL_H

/* What the files of the room share. */

#include "common/block/mapper.h"
#include "csi/node/apply.h"
#include "csi/node/node.h"
#include "csi/wait/limits.h"
#include "csi/wait/waiting.h"
#include "csi/wait/watchdog.h"

#include <pthread.h>
#include <sys/statvfs.h>

/* How much is asked of this host; what costs more is asked when it matters. */
typedef enum NodeHost {
        NODE_HOST_QUICK = 0, /* files of /proc and /sys */
        NODE_HOST_TOOLS,     /* also which mkfs and fsck there are: some execs */
        NODE_HOST_PROBED,    /* also what the kernel itself says of XFS' features */
        _NODE_HOST_N,
} NodeHost;

/* A tool that hangs in the kernel although it was killed, and the volume that it works on. */
typedef struct Hanging {
        struct Hanging *next;
        int pid;
        uint64_t since_msecs;
        char volume_id[]; /* owned, with the whole */
} Hanging;

#define GROWTH_NOTES_MAX 64 /* an older one gives way */
#define GROWTH_TEXT_MAX  240

typedef struct GrowthNote {
        char volume_id[256]; /* "": none */
        char text[GROWTH_TEXT_MAX];
} GrowthNote;

struct Node {
        NodeConfig config;
        NodeRoot root; /* borrowed from @config */
        NodeKernel kernel;
        HoldTable *locks;     /* the config's, or @own_locks */
        HoldTable *own_locks; /* owned; NULL: the config has one */
        Budget *budget;       /* owned */
        Watchdog *watchdog;   /* owned */
        pthread_mutex_t hanging_mutex;
        Hanging *hanging; /* owned */
        bool has_selinux;
        bool can_grow_mounted_ext;
        bool has_no_sequence; /* as before Linux 5.15; for tests */
        pthread_mutex_t host_mutex;
        pthread_mutex_t growth_mutex;
        GrowthNote growth[GROWTH_NOTES_MAX];
        FsHost *hosts[_NODE_HOST_N]; /* owned; each read when it is first needed */
};

/* As node_new(), with another kernel; NULL: the real one. */
int node_new_with_kernel(Node **nodep, const NodeConfig *config, const NodeKernel *kernel,
                         Error *err);

/* The real one; userdata is the Node. */
int kernel_run(void *node, StepKind kind, Work *work, Error *err);
int kernel_undo(void *node, StepKind kind, Work *work, Error *err);

/* This node. Borrowed from @node. */
int node_get_host(Node *node, NodeHost how, const FsHost **hostp, Error *err);

void node_count(const Node *node, const char *metric, const char *label, double value);

/* What a tool that this thread ran for the volume left behind, if it did: node_check_hanging(). */
void node_note_hanging(Node *node, const Call *call, const char *volume_id);

/* ERROR_UNAVAILABLE while a tool hangs on the volume: a second one beside it may destroy it. */
int node_check_hanging(Node *node, const char *volume_id, Error *err);

/* Holds volume and path, and the disk of whoever mounts, formats or shows one: two volumes may name
 * the same, and each looks at what the other does before it does its own. All are released by
 * node_locks_release(). */
typedef struct NodeLocks {
        Hold volume, path, disk;
} NodeLocks;

/**
 * node_locks_acquire() - hold a volume, and a path
 * @mode: of the volume. HOLD_SHARED: nothing is changed but what is at @path
 *
 * The start of every operation: waits shortly, and without a thread (wait_for_hold()).
 */
int node_locks_acquire(Node *node, const Call *call, const char *volume_id, HoldMode mode,
                       const char *path, NodeLocks *locks, Error *err);
/* Of a call that waits (is_parked), the volume stays held. */
void node_locks_release(const Call *call, NodeLocks *locks);

/*
 * The bring-up of a volume: filled step by step, freed as a whole. On the heap, since plans are
 * large.
 */
typedef struct Job {
        Node *node;
        const Call *call;
        VolumeRef volume;
        NodeLocks locks;
        NodePath target, source;
        DeviceFacts device;
        int device_fd;
        DiskCopy copy; /* of the disk, while a tool works on it; with @copy_fd */
        int copy_fd;
        TargetFacts target_facts, source_facts;
        MountOptions options;
        FsMakeWords words;
        FsHost *hosts; /* owned; that a new filesystem must suit, this node first */
        Plan plan;
        Work work;
        Share share;                 /* of a volume that is no disk */
        VolumeCapability capability; /* the request's, as the provider adapted it */
        Wishes wishes;
        Encryption encryption;
        DeviceFacts disk; /* with is_encrypted: below the mapper, and @device is the mapper */
        Mapper mapper;
        uint64_t capacity_bytes; /* of an expansion */
        bool is_mount;           /* of a filesystem; else a raw block volume */
        bool reads_only;         /* this target, beside others that may write */
        bool is_encrypted;
        bool opened_mapper; /* by this call */
        bool has_device;    /* the provider attached it, or found it attached */
        bool has_ephemeral; /* create_ephemeral() was done */
} Job;

/* NULL without memory. */
Job *job_new(Node *node, const Call *call, const char *volume_id);
Job *job_free(Job *job);

static inline void job_freep(Job **jobp) {
        if (*jobp)
                job_free(*jobp);
}

/* Fills job->capability and job->wishes from the request's capability. */
int job_adapt(Job *job, const VolumeCapability *capability, Error *err);

/* find_device() and device_facts_read(), with a rescan where the size lags behind. */
int job_find_device(Job *job, Error *err);

/* Opens @text as the job's target; a directory that is not there is ERROR_PRECONDITION. */
int job_open_target(Job *job, const char *field, const char *text, Error *err);

/*
 * A published volume: opens @text as the job's target and reads its facts. What is wrong with the
 * path is, here, that the volume is not there: ERROR_NOT_FOUND. A provider that cannot look,
 * because its disk is gone, fails the call; with @silent its ERROR_UNAVAILABLE is put there and the
 * path counts.
 */
int job_open_volume(Job *job, const char *text, Error *silent, Error *err);

/* target_facts_read(), where what no disk is behind is asked whether it answers: for seconds at
 * most. */
int job_read_target(Job *job, const NodePath *path, const DeviceFacts *device, TargetFacts *facts,
                    Error *err);

/* ERROR_PRECONDITION if what is mounted, or shown raw, at the path of the request's @field is
 * certainly another volume. */
int job_check_mounted(const Job *job, const char *field, const TargetFacts *facts, Error *err);

/* The same where the request has what a provider needs to find the volume's disk. */
int job_check_staged_disk(const Job *job, const TargetFacts *staged, Error *err);

/* Plan, log it, carry it out. */
int job_apply(Job *job, Error *err);

/* ERROR_PRECONDITION while the device, or what lies on it, is mounted: then it is not shown raw. */
int job_check_not_mounted(const Job *job, Error *err);

/* ERROR_PRECONDITION while a node of @device, of what lies on it or of what it lies on is bound
 * below kubelet's root, as raw block volumes are published: then it is neither formatted nor
 * mounted. */
int job_check_not_shown(const Job *job, const Device *device, Error *err);

/* Removes what kubelet's directories note of a mkfs or a resize2fs of ours on the device: a pod
 * that gets it raw may write anything, and none of it is ours to take back or to mend. Once it
 * returns 0 the notes are gone for good. */
int job_forget_notes(const Job *job, Error *err);

/* Shows the device, which was found, at the job's target, whose facts were read. */
int job_bind_block(Job *job, const BindInput *input, Error *err);

/* mount the volume's device at job->target: facts, plan, apply. */
int job_mount(Job *job, const VolumeCapability *capability, Error *err);

/* Whether a marker says that something was being made on @device: marker.h. */
bool job_has_marker(const Job *job, const DeviceFacts *device, FsClaim *claim);

/**
 * job_give_up() - after a failure: release the device that this call may have attached
 *
 * Not if it is in use by anybody. A failure to release makes the code one that kubelet takes for
 * "uncertain".
 */
void job_give_up(Job *job, Error *err);

/* FAILED_PRECONDITION for access modes that the volume cannot have. */
int node_check_mode(const Node *node, const VolumeCapability *capability, Error *err);

enum {
        NODE_UNMOUNT_KEEP_TARGET = 0,
        NODE_UNMOUNT_REMOVE_TARGET = 1U << 0,
};

/**
 * node_unmount() - unmount everything at @path, dead or not, and remove our own target
 *
 * What is stacked there is unmounted one by one. A dead or hanging filesystem is detached lazily,
 * so that nobody waits for it; a busy one is ERROR_UNAVAILABLE, and so is one whose last data does
 * not reach its disk before the call's end. A target is removed only if it is
 * an empty directory or an empty file; a marker of an interrupted mkfs goes in any case.
 */
int node_unmount(const Job *job, NodePath *path, unsigned int how, Error *err);

/* Bytes and inodes of a filesystem, as df(1) counts them. */
void stats_set_usage(const struct statvfs *usage, NodeStatsResult *result);

/* Writes what the volume wishes of sysfs, once it is mounted; what cannot be written is logged. */
void job_tune(const Job *job);

/* Grows the filesystem that @fd is a directory of to @device_bytes. Return: 0, also if there is
 * nothing to do; ERROR_PRECONDITION where only an unmounted one can grow; ERROR_UNAVAILABLE it is
 * waited for no more, and goes on; negative. */
int grow_mounted(const Node *node, const char *volume_id, const char *fs_type, int fd,
                 uint64_t device_bytes, Error *err);

/* ERROR_UNAVAILABLE while grow_mounted() of the volume goes on: what is frozen, or hangs. */
int grow_check_late(const Node *node, const char *volume_id, Error *err);

/* e2fsck, resize2fs in steps, e2fsck, of the device behind @fd. Only the first is ended when the
 * call is, and where it finds errors nothing but the journal's replay was written: what could be
 * mounted before still can. Return: 0; <0 with @err. */
int grow_unmounted_ext(const Work *work, int fd, Error *err);

/* The same of a copy: any of them is ended when the call is, and what they left is looked at more
 * closely. After a failure nothing of it is to be used. */
int grow_copy_ext(const Work *work, int fd, Error *err);

/* Whether e2fsck finds nothing to be corrected. Return: 0; <0 with @err. */
int check_ext(const Call *call, int fd, Error *err);

/* What did not grow is mounted all the same: it is logged once, and told as the volume's condition
 * until it grows or is unmounted. @text NULL: it has grown, or is gone. */
void growth_note(Node *node, const char *volume_id, const char *text);
bool growth_get(Node *node, const char *volume_id, char text[GROWTH_TEXT_MAX]);

/* For tools: true when they are to be killed. A caller whose deadline passed does not end work that
 * would only begin again with his next call. */
bool call_is_aborted(void *call);

#endif
