/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_PLAN_H
#define BERTH_CSI_NODE_PLAN_H

/*
 * What is to be done to bring a volume to a path: steps and their arguments, as text to be read and
 * as orders to be carried out (apply.h). Making a plan is pure: request and facts in, plan or a
 * reason out.
 */

#include "csi/node/facts.h"
#include "csi/node/options.h"
#include "fs/make/fsck.h"
#include "fs/make/mkfs.h"

typedef enum StepKind {
        STEP_DETACH_DEAD = 0, /* what is mounted at the target is dead */
        STEP_MAKE_TARGET,     /* directory; file for a block volume */
        STEP_WIPE,            /* what an interrupted mkfs of ours left; see marker.h */
        STEP_FORMAT,
        STEP_CHECK,        /* fsck */
        STEP_GROW_OFFLINE, /* ext, where the kernel would refuse to grow it mounted */
        STEP_MOUNT,
        STEP_GROW, /* mounted */
        STEP_BIND,
        STEP_MOUNT_SHARE, /* by the helper of its filesystem */
        _STEP_N,
} StepKind;

/* Static: "mount". */
const char *step_name(StepKind kind);

#define PLAN_STEPS_MAX 8

/* What stage_plan() and the publishing of unstaged volumes need of a request. */
typedef struct MountInput {
        const char *volume_id;
        const char *fs_type; /* as asked; "" any, and the provider's default for a new one */
        const FormatRules *rules;
        const MountOptions *options; /* options_from_capability() */
        const FsMakeWords *words;    /* NULL: none */
        const FsHost *hosts;         /* [0] is this node; all must be able to mount what is made */
        size_t n_hosts;
        bool can_grow_mounted_ext; /* CAP_SYS_RESOURCE */
        uint64_t grow_to_bytes;    /* what a new filesystem is meant to grow to; 0: not said */
        bool has_selinux;
        bool never_formats;   /* a blank disk is an error */
        bool formats_to_read; /* an inline volume: nobody but this publish ever formats it */
        bool reads_only; /* this target only reads; others of the volume may write. The mount is
                            read-only, and the filesystem is mounted for writing where it can be */
} MountInput;

/* Large: on the heap. Strings are borrowed from request and facts. Do not copy by value. */
typedef struct Plan {
        StepKind steps[PLAN_STEPS_MAX];
        size_t n_steps; /* 0: everything is as asked */
        const char *device;
        const char *source; /* of a bind */
        const char *target;
        bool target_is_file;
        const char *fs_type;  /* of a mount */
        MountOptions options; /* of a mount; of a bind only set and clear */
        bool wants_write;
        bool writes_super; /* the filesystem is mounted for writing, also where only the mount is
                              read-only */
        uint64_t fs_bytes, device_bytes; /* of a grow */
        FsVolume volume;                 /* on the device; after STEP_FORMAT what was made */
        FsVerdict verdict;
        bool is_judged;
        FsckPlan fsck;
        FsMakeRequest make_request;
        FsMakePlan make;
        FsExpect expect;
        const FsHost *host;
        const MountInput *input;  /* of a mount: what was asked */
        const DeviceFacts *facts; /* of a mount: what its device is */
        const Share *share;       /* of STEP_MOUNT_SHARE */
} Plan;

/* One line per step: "mount device=/dev/sdb target=/t type=ext4 options=nosuid,nodev". Caller
 * frees; NULL without memory. */
char *plan_format(const Plan *plan);

/**
 * mount_plan() - bring the filesystem of a device to a path
 *
 * Return: 0; ERROR_CONFLICT when something else is mounted there, or the same in another way;
 * ERROR_PRECONDITION when what is on the device may not be mounted or formatted, in one sentence;
 * ERROR_UNAVAILABLE when it cannot be told what is on it.
 */
int mount_plan(const MountInput *input, const DeviceFacts *device, const TargetFacts *target,
               Plan *plan, Error *err);

/**
 * mount_decide() - whether and how what is on the device may be mounted
 * @volume: as it was found; once more after every tool that wrote, which may have replayed another
 * superblock
 * @check: what is to be checked first
 * @plan: of mount_plan(); type, options, verdict and whether it is mounted for writing are set
 *
 * Return: 0; ERROR_PRECONDITION in one sentence.
 */
int mount_decide(const FsVolume *volume, Plan *plan, FsckPlan *check, Error *err);

/* The type that a new filesystem on this volume would get. */
const char *mount_plan_type(const MountInput *input);

typedef struct BindInput {
        const char *volume_id;
        const MountOptions *options;
        bool read_only;      /* also asked for beside the options */
        const char *fs_type; /* as asked; "" any */
} BindInput;

/**
 * mount_flags_judge() - whether what is mounted has the flags that are asked for
 * @inherited: MOUNT_FLAG_* that it has without being asked: of what is bound
 * @mounted:   what it has
 *
 * Read-only or not is judged by others. nosuid and nodev, which are set for whoever does not say
 * otherwise, may be missing: another driver may have mounted it. Options of the whole filesystem
 * are not compared: kernels tell them in other words, or not at all.
 *
 * Return: 0; ERROR_CONFLICT.
 */
int mount_flags_judge(const MountOptions *options, unsigned int inherited, unsigned int mounted,
                      const char *target, Error *err);

/**
 * bind_plan() - show a staged filesystem at a path
 * @staged: what is at the staging path
 *
 * Return: 0; ERROR_PRECONDITION when nothing is staged there, or when it became read-only and
 * writing is asked; ERROR_CONFLICT.
 */
int bind_plan(const BindInput *input, const TargetFacts *staged, const TargetFacts *target,
              Plan *plan, Error *err);

/* directory_plan() - show a directory of this node. Return: 0; ERROR_CONFLICT. */
int directory_plan(const BindInput *input, const char *directory, const TargetFacts *target,
                   Plan *plan, Error *err);

/* share_plan() - mount what a server has, where nothing is mounted. Return: 0; ERROR_CONFLICT. */
int share_plan(const Share *share, const MountOptions *options, const TargetFacts *target,
               Plan *plan, Error *err);

/* block_plan() - show a device node at a path. Return: 0; ERROR_CONFLICT. */
int block_plan(const BindInput *input, const DeviceFacts *device, const TargetFacts *target,
               Plan *plan, Error *err);

#endif
