/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_MAKE_FSCK_H
#define BERTH_FS_MAKE_FSCK_H

/*
 * Whether to check a filesystem before mounting it, and how. A clean one is not checked; a dirty
 * log is the kernel's to replay; recorded errors are preened in bounded time; what needs a person
 * is refused with instructions. Never on a mounted device.
 */

#include "fs/verdict/verdict.h"

typedef enum FsckAction {
        FSCK_ACTION_NONE = 0, /* mount */
        FSCK_ACTION_REPLAY,   /* mount; the kernel replays the log */
        FSCK_ACTION_PREEN,    /* run argv, then read again */
        FSCK_ACTION_REFUSE,   /* a person must act: see why */
} FsckAction;

/* Of every e2fsck: it replays the journal first, and would open what the superblock from there has
 * for a journal. */
#define FSCK_EXT_WORDS "-j", "/dev/null"

#define FSCK_WORDS_MAX 8

typedef struct FsckPlan {
        FsckAction action;
        const char *argv[FSCK_WORDS_MAX + 1]; /* NULL-terminated; the device is borrowed */
        uint64_t timeout_msecs;
        uint64_t memory_bytes; /* what the run may need, for the queue of heavy work */
        bool looks_first;      /* fsck_plan_growth(), fsck_plan_cut_growth() */
        bool only_sums;        /* fsck_plan_growth() */
        bool may_say_yes;      /* fsck_plan_cut_growth() */
        char why[256];         /* "ext4 recorded 3 errors"; for REFUSE with what to do */
} FsckPlan;

/* Pure. @read_only: the mount will be read-only, nothing may be written. */
void fsck_plan(const FsVolume *volume, const FsHost *host, const char *device, bool read_only,
               FsckPlan *plan);

/**
 * fsck_plan_growth() - before a resize2fs, which wants a check right before it
 *
 * What -p finds, and does not correct, it marks, and after that nothing mounts what was mounted
 * before; what it does correct may be the name of a file. So a run with -n looks first, and -p only
 * follows where it would ask for nothing but fsck_asks_sums(). The journal is replayed by then.
 */
void fsck_plan_growth(const FsVolume *volume, const char *device, FsckPlan *plan);

/**
 * fsck_plan_cut_growth() - of what a resize2fs of ours left that did not end well
 * @killed: it did not fail by itself
 *
 * Both -p and -y delete names of what they cannot read. So a run with -n looks first, and nothing
 * is corrected unless it read the whole disk without an error and would ask for little:
 * fsck_asks_little(). Then -p; and where that does not do, -y, after a kill alone.
 */
void fsck_plan_cut_growth(const FsVolume *volume, const char *device, bool killed, FsckPlan *plan);

/* Whether the output of e2fsck -n asks for nothing but what a killed resize2fs leaves: "Fix" of
 * counts and bitmaps, "Recreate" of the resize inode; tried at each of its writes. Pure. */
bool fsck_asks_little(const char *output);

/* Whether it asks for nothing but counts and bitmaps (its pass 5), which the journal's replay
 * leaves behind and -p always corrects. Pure. */
bool fsck_asks_sums(const char *output);

/**
 * fsck_run() - run a PREEN plan
 *
 * @fd: the device, which the tool is given instead of its name; it is held open by the caller
 *
 * Exit codes as fsck(8): 0 clean, 1 corrected; 4 and above are ERROR_PRECONDITION with the tool's
 * last line. The caller holds the device exclusively, so it is not mounted.
 *
 * Return: 0; negative with @err.
 */
int fsck_run(const FsckPlan *plan, int fd, bool (*cancelled)(void *userdata), void *userdata,
             Error *err);

#endif
