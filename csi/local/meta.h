/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_LOCAL_META_H
#define BERTH_CSI_LOCAL_META_H

/*
 * What the pool knows about one volume, snapshot or group: a JSON file beside the data file. It is
 * written before the data file exists and removed after the data file is gone, so that a data file
 * is ours exactly when its metadata says so. Pure: names and bytes only.
 */

#include "common/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CSI: a string is at most 128 bytes. */
#define LOCAL_ID_MAX 128
/* "snap-" and 32 hexadecimal digits. */
#define LOCAL_STEM_MAX 40
#define LOCAL_FS_MAX   15
/* A namespace is a DNS label, a uid of a pod a UUID. */
#define LOCAL_POD_MAX 63

/* Hex digits of a hash. */
#define LOCAL_CONTEXT_MAX 32
/* Members of a group snapshot; each is frozen at once, so this also bounds how much waits. */
#define LOCAL_MEMBERS_MAX 32
/* Larger metadata is not ours: the largest that local_meta_format() makes is under 6 KiB. */
#define LOCAL_META_MAX 16384
/* 2^62: sums of a few sizes cannot overflow. */
#define LOCAL_SIZE_MAX (UINT64_C(1) << 62)

typedef enum LocalKind {
        LOCAL_VOLUME,
        LOCAL_SNAPSHOT,
        LOCAL_GROUP, /* no data file; the commit record of its member snapshots */
        _LOCAL_KIND_N,
} LocalKind;

typedef enum LocalState {
        LOCAL_STATE_CREATING, /* after a crash: undone at start */
        LOCAL_STATE_COPYING,  /* after a crash: resumed when asked for again */
        LOCAL_STATE_READY,
        LOCAL_STATE_DELETING, /* after a crash: finished at start */
        _LOCAL_STATE_N,
} LocalState;

typedef enum LocalSource {
        LOCAL_SOURCE_NONE,
        LOCAL_SOURCE_VOLUME,
        LOCAL_SOURCE_SNAPSHOT,
        _LOCAL_SOURCE_N,
} LocalSource;

/* Where a copy is. */
typedef struct LocalCopy {
        uint64_t at_bytes;
        uint64_t size_bytes;    /* how much of the source there is to copy */
        bool in_place;          /* the data file shares extents and is being rewritten */
        int64_t source_seconds; /* st_mtim of the source when the copy began: if it moved, what is
                                 */
        int64_t source_nanos;   /* copied is of another point in time and the copy starts again */
        int64_t asked_seconds;  /* when the last call asked for it; what nobody asks for is dropped
                                   at start */
} LocalCopy;

/* By value, no allocation. */
typedef struct LocalMeta {
        LocalKind kind;
        LocalState state;
        char id[LOCAL_ID_MAX + 1];
        char stem[LOCAL_STEM_MAX + 1]; /* "<stem>.json" and "<stem>.img" */
        char name[LOCAL_ID_MAX + 1];   /* as the caller chose it; "" for ephemeral volumes */
        uint64_t size_bytes;
        uint32_t sector_bytes; /* logical sector of its loop device, see spec.h; 512 or 4096 */
        bool thick;
        bool shares; /* made thick when it was there already: it may share blocks with its source */
        bool ephemeral;
        bool allows_block, allows_mount;
        char fs_type[LOCAL_FS_MAX + 1]; /* with allows_mount */
        LocalSource source;
        char source_id[LOCAL_ID_MAX + 1]; /* of a snapshot: its volume */
        char group_id[LOCAL_ID_MAX + 1];  /* of a snapshot: "" or its group */
        int64_t created_seconds;
        int32_t created_nanos;
        /* Of an inline volume, as kubelet tells; "" when it does not. */
        char pod_namespace[LOCAL_POD_MAX + 1], pod_uid[LOCAL_POD_MAX + 1];
        /* Of the parameters that the answer of its creation had for the node; "" of release 0.1.0.
         */
        char context[LOCAL_CONTEXT_MAX + 1];
        bool froze; /* a filesystem may be left frozen by the call that was creating this */
        LocalCopy copy;
        size_t n_members; /* of a group; they are the snapshots with its id as group_id */
} LocalMeta;

/**
 * local_stem() - the file name, and for persistent objects the id, that a name stands for
 * @prefix: "vol", "snap", "grp", "eph"
 * @scope:  the node's name, so that two nodes asked for the same name make different ids
 * @name:   any bytes; only its hash is used
 */
void local_stem(const char *prefix, const char *scope, const char *name,
                char stem[LOCAL_STEM_MAX + 1]);

/* Whether @text is a stem for @kind, the only names we ever make or touch below the pool. */
bool local_stem_is_valid(LocalKind kind, const char *text, size_t n);

/* If @file_name is "<stem><suffix>": the length of the stem; else 0. */
size_t local_stem_of_file(LocalKind kind, const char *file_name, const char *suffix);

/* ".<stem>.json.tmp.<pid>.<n>", which file_write_atomic() leaves when killed. */
bool local_is_temporary(LocalKind kind, const char *file_name);

/**
 * local_meta_parse() - bytes of "<stem>.json" to @meta
 *
 * Everything is checked: a newer format, a foreign id, a size beyond LOCAL_SIZE_MAX, an unknown
 * state are errors, never guesses.
 *
 * Return: 0; ERROR_INTERNAL with the place in @err.
 */
int local_meta_parse(const char *text, size_t n, LocalKind kind, const char *stem, LocalMeta *meta,
                     Error *err);

/* The file's text with a newline; caller frees. NULL without memory. */
char *local_meta_format(const LocalMeta *meta);

#endif
