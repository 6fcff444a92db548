/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BLOCK_LOOP_H
#define BERTH_BLOCK_LOOP_H

/*
 * Loop devices. They belong to the whole kernel and not to us: other programs and other containers
 * make them, kubelet holds block volumes with them, and numbers are used again. So a loop device is
 * known by the device and inode of the file behind it, and what is not ours is never touched.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "/dev/loop4294967295" */
#define LOOP_PATH_MAX 24

typedef struct LoopConfig {
        int backing_fd; /* borrowed; open for what is asked */
        uint64_t offset_bytes;
        uint64_t limit_bytes;          /* 0: to the end of the file, and on as it grows */
        uint32_t logical_sector_bytes; /* 0: the kernel's choice */
        bool is_read_only;
        bool wants_direct_io; /* past the page cache where the file's filesystem can; not an error
                                 where it cannot */
        bool is_autoclear;    /* detached when the last user closes it or unmounts */
} LoopConfig;

typedef struct LoopStatus {
        uint64_t backing_dev, backing_inode; /* as stat(2) tells of the file */
        uint64_t offset_bytes, limit_bytes;
        bool is_read_only, is_direct_io, is_autoclear;
} LoopStatus;

/* "/dev/loop3" */
void loop_path(unsigned int number, char path[LOOP_PATH_MAX]);

/**
 * loop_attach() - a free loop device for a file
 * @numberp: which one
 * @fdp:     open on it; with is_autoclear the device lives as long as this or another use
 *
 * Tries again when somebody else takes the free number first. LOOP_CONFIGURE (Linux 5.8) in one
 * step; before, three steps that are undone when one fails.
 *
 * Return: 0; -EBUSY when others were quicker too often; -ENOENT or -ENXIO without a device node;
 * another -errno.
 */
int loop_attach(const LoopConfig *config, unsigned int *numberp, int *fdp);

#define LOOP_E_NONE 1

/* What is attached to an open loop device. Return: 0; LOOP_E_NONE: nothing; -errno. */
int loop_get_status(int fd, LoopStatus *status);

/**
 * loop_find() - the loop device of a file
 * @backing_dev, @backing_inode: st_dev and st_ino of the file
 * @hint:    looked at first: where it was the last time; UINT_MAX: none. With it the cost does not
 *           grow with the loop devices of the node
 * @numberp: the lowest number if there are several
 *
 * Return: 0; LOOP_E_NONE; -errno.
 */
int loop_find(uint64_t backing_dev, uint64_t backing_inode, unsigned int hint,
              unsigned int *numberp);

/**
 * loop_is_possible() - whether a loop device may be behind a file, at a cost that does not grow
 * @fd: of the file
 *
 * A loop device holds its file open. The kernel grants a write lease only where nobody but @fd does
 * (fcntl(2), F_SETLEASE), so that a granted one, given back at once, is the proof that there is
 * none. Anybody else who has the file open, and a filesystem without leases, make it possible.
 */
bool loop_is_possible(int fd);

/* Takes over a new size of the file, which must be changed before. Return: 0; -errno. */
int loop_set_capacity(int fd);

/* Return: 0; -EINVAL where the file's filesystem cannot. */
int loop_set_direct_io(int fd, bool on);

/* Whether it goes when its last user does; off again, it stays after a loop_detach() that others
 * held up. Return: 0; -ENXIO if nothing is attached (any more). */
int loop_set_autoclear(int fd, bool on);

/**
 * loop_detach() - take the file away from the device
 *
 * While others have it open or mounted, the kernel makes it autoclear instead, and it goes when
 * they do. What was written to the device is in the file first. The caller proves with
 * loop_get_status() on the same descriptor that it is his.
 *
 * Return: 0, also if nothing was attached; -errno.
 */
int loop_detach(int fd);

#endif
