/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BLOCK_FILECOPY_H
#define BERTH_BLOCK_FILECOPY_H

/*
 * Content of large files that stand for disks: shared (reflink), copied in bounded steps that keep
 * holes, preallocated. Nothing here loops for longer than one step.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Most that one filecopy_step() or filecopy_preallocate() call moves. */
#define FILECOPY_STEP_BYTES        (UINT64_C(4) << 20)
#define FILECOPY_PREALLOCATE_BYTES (UINT64_C(1) << 30)

/**
 * filecopy_can_reflink() - whether files below @dir_fd can share extents
 *
 * Found out by sharing a block between two unnamed files (O_TMPFILE), because neither the name of
 * the filesystem nor its version says it: xfs may be made without reflink.
 *
 * Return: 1; 0; -errno when the directory cannot be written.
 */
int filecopy_can_reflink(int dir_fd);

/**
 * filecopy_reflink() - make @to_fd share all extents of @from_fd
 *
 * One point in time, also while @from_fd is written: the filesystem locks both files
 * (ioctl_ficlone(2)).
 *
 * Return: 0; -EOPNOTSUPP, -EXDEV, -EINVAL where it cannot; another -errno.
 */
int filecopy_reflink(int from_fd, int to_fd);

/**
 * filecopy_mark() - from here on each write gives @fd another time of modification than *@markp
 *
 * The kernel's clock ticks slowly, and the last write may have been in the same tick as the next:
 * the time is set to one that no clock gives.
 *
 * Return: 0; -errno.
 */
int filecopy_mark(int fd, struct timespec *markp);

/* Whether it was written since. Return: 1; 0; -errno. */
int filecopy_was_written(int fd, const struct timespec *mark);

/* A copy under way. FILECOPY_INIT, then filecopy_step() until it is done; filecopy_deinit(). */
typedef struct FileCopy {
        int from_fd,
                to_fd;     /* borrowed; the same descriptor rewrites in place, which ends sharing */
        uint64_t at_bytes; /* everything before is copied; may start above 0 to resume */
        uint64_t size_bytes;
        bool real_blocks; /* never share extents, also where the filesystem could */
        bool is_again;    /* to_fd has a copy of what was there before: what is equal is only read,
                             and what is a hole by now becomes one */
        char *buffer;     /* owned */
} FileCopy;

enum {
        FILECOPY_E_DONE = 1, /* at_bytes reached size_bytes */
};

/**
 * filecopy_step() - copy the next data, at most FILECOPY_STEP_BYTES, skipping holes
 *
 * @to_fd must read as zeros where it was not written yet, unless is_again is set.
 *
 * Return: 0 and at_bytes moved; FILECOPY_E_DONE; -errno (-ENOSPC: the target's filesystem is full).
 */
int filecopy_step(FileCopy *copy);

void filecopy_deinit(FileCopy *copy);

/**
 * filecopy_preallocate() - give blocks to the holes of the next part of @fd
 * @atp: where to go on, moved by at most FILECOPY_PREALLOCATE_BYTES
 *
 * The size of the file does not change, so that a failure leaves no longer file.
 *
 * Return: 0; FILECOPY_E_DONE when *@atp reached @size_bytes; -ENOSPC; -EOPNOTSUPP.
 */
int filecopy_preallocate(int fd, uint64_t size_bytes, uint64_t *atp);

/* Gives back the blocks past the end of the file that a failed preallocation left. */
int filecopy_trim(int fd);

/* Bytes of extents that no other file shares, of the first FILECOPY_OWN_EXTENTS extents: what is
 * behind them counts as shared, and so does all where the filesystem cannot tell. */
#define FILECOPY_OWN_EXTENTS 1024
uint64_t filecopy_own_bytes(int fd);

/* Owner, mode and project of @from_fd for @to_fd, which is to take its place: quotas count by them.
 * Return: 0; -errno of the first that could not be had, after all were tried. */
int filecopy_owner(int from_fd, int to_fd);

/* btrfs: no copy on write for an empty file, without which preallocation promises nothing. A
 * filesystem without that attribute is fine. Return: 0; -errno. */
int filecopy_set_nocow(int fd);

/* Whether the file has that attribute; sharing needs it equal on both sides. */
bool filecopy_is_nocow(int fd);

#endif
