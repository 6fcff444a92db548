/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_ENCRYPT_H
#define BERTH_CSI_NODE_ENCRYPT_H

/*
 * Encrypted volumes: between the disk that the provider proved and the device that is formatted,
 * mounted and shown lies a mapper. It is opened when the volume is staged (published, where there
 * is no staging) and closed when nobody uses the volume any more.
 *
 * A disk is given a LUKS header only when it is proven blank; a mapper is closed only when it is
 * this volume's, or proven stale, and nobody has it open.
 */

#include "csi/node/node_internal.h"

/**
 * encrypt_open() - after job->device was proven: if the volume is encrypted, make it the mapper
 *
 * A mapper that is open already and lies on the disk is taken as it is.
 *
 * Return: 0, also for a volume that is not encrypted; INVALID no passphrase; PRECONDITION a wrong
 * one, or what is on the disk is not LUKS and not blank, or another mapper of this name is in use;
 * UNSUPPORTED no dm-crypt; ...
 */
int encrypt_open(Job *job, Error *err);

/**
 * encrypt_close() - close the mapper of a volume that is not in use any more
 * @devno: what was mounted or shown; 0: not known
 *
 * Return: 0, also if there is none, and if somebody still uses it (with a line in the log).
 */
int encrypt_close(Job *job, uint64_t devno, Error *err);

/* What was mounted or shown is not closed, being in use: whoever looks after what is left does. */
void encrypt_leave(Job *job, uint64_t devno);

/* After a failure: closes what encrypt_open() opened. */
int encrypt_give_up(Job *job, Error *err);

/* Whether job->device is a crypt mapper; then job->disk is what it lies on, and job->mapper filled.
 */
bool encrypt_find_disk(Job *job);

/* The mapper takes all of its disk. Return: 0; see crypt_resize_volume(). */
int encrypt_resize(Job *job, Error *err);

/* Before the disk goes: a header that was half written on it, with a marker in the job's target, is
 * taken back as encrypt_open() would. Return: 0, also if it stays; ERROR_UNAVAILABLE: in use. */
int encrypt_take_back(Job *job, Error *err);

/* The job's device, a disk, becomes the mapper that is open on it: 1; 0: there is none; negative.
 */
int encrypt_follow(Job *job, Error *err);

#endif
