/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_LOCAL_VOLUME_H
#define BERTH_CSI_LOCAL_VOLUME_H

/* The provider's functions, one group per file; csi/api/provider.h says what each does. @self is
 * the Pool. */

#include "csi/local/attach.h"

/* volume.c: create, delete */
int local_create_volume(void *self, const Call *call, const CreateVolumeRequest *request,
                        VolumeInfo *result, Error *err);
int local_delete_volume(void *self, const Call *call, const char *volume_id, Error *err);
int local_create_ephemeral(void *self, const Call *call, const NodePublishRequest *request,
                           Error *err);
int local_delete_ephemeral(void *self, const Call *call, const char *volume_id, Error *err);

/* resize.c: what changes of a volume */
int local_grow_device(void *self, const Call *call, const VolumeRef *volume, const Device *device,
                      const CapacityRange *range, Error *err);
int local_modify_volume(void *self, const Call *call, const char *volume_id,
                        const StringMap *parameters, Error *err);

/* query.c: what only looks */
int local_validate(void *self, const Call *call, const ValidateRequest *request,
                   ValidateResult *result, Error *err);
int local_list_volumes(void *self, const Call *call, const ListRequest *request, VolumeList *result,
                       Error *err);
int local_get_volume(void *self, const Call *call, const char *volume_id, VolumeInfo *result,
                     Error *err);
int local_get_capacity(void *self, const Call *call, const CapacityRequest *request,
                       CapacityResult *result, Error *err);
int local_list_snapshots(void *self, const Call *call, const ListRequest *request,
                         SnapshotList *result, Error *err);

/* snapshot.c */
int local_create_snapshot(void *self, const Call *call, const CreateSnapshotRequest *request,
                          SnapshotInfo *result, Error *err);
int local_delete_snapshot(void *self, const Call *call, const char *snapshot_id, Error *err);

/* group.c */
int local_create_group(void *self, const Call *call, const CreateGroupRequest *request,
                       SnapshotGroup *result, Error *err);
int local_delete_group(void *self, const Call *call, const char *group_id,
                       const char *const *snapshot_ids, size_t n_snapshot_ids, Error *err);
int local_get_group(void *self, const Call *call, const char *group_id,
                    const char *const *snapshot_ids, size_t n_snapshot_ids, SnapshotGroup *result,
                    Error *err);

/* device.c: the node's half */
int local_node_info(void *self, const Call *call, NodeInfo *info, Error *err);
int local_ready(void *self, const Call *call, Error *err);
int local_find_device(void *self, const Call *call, const VolumeRef *volume, Device *device,
                      Error *err);
/* attach_find() of the volume that is to be on @device. ERROR_PRECONDITION. */
int local_find_attached(Pool *pool, Entry *entry, const Device *device, Attachment *attachment,
                        Error *err);

int local_release_device(void *self, const Call *call, const VolumeRef *volume, Error *err);
int local_rescan_device(void *self, const Call *call, const VolumeRef *volume, const Device *device,
                        Error *err);
/* Whether anything but zeros was ever written to the volume: 1, 0, -errno. */
int local_has_data(void *self, const Call *call, const VolumeRef *volume);

/* What was made for block alone is not mounted. */
int local_adapt(void *self, const Call *call, const VolumeRef *volume, VolumeCapability *capability,
                Wishes *wishes, Error *err);

int local_has_volume(void *self, const Call *call, const char *volume_id, Error *err);
bool local_has_lost_disk(void *self, const char *volume_id, uint64_t devno);
bool local_is_another(void *self, const char *volume_id, uint64_t devno, bool is_raw);

/* work.c: tools work on a copy */
int local_begin_copy(void *self, const Call *call, const VolumeRef *volume, DiskCopy *copy,
                     Error *err);
int local_end_copy(void *self, const Call *call, const VolumeRef *volume, DiskCopy *copy,
                   bool keeps, Error *err);

/* Removes a copy that nobody works on any more, and its loop devices. @entry is held exclusively.
 * Return: 1: there was one; 0; <0 with @err. */
int local_drop_copy(Pool *pool, Entry *entry, Error *err);

/* tend.c */
void local_tend(void *self);

/* --- Shared by them --- */

/* A name that a caller chose: not empty, at most 128 bytes, UTF-8. ERROR_INVALID names @field. */
int local_check_name(const char *field, const char *name, Error *err);

/* Now, into created_*. */
void local_stamp(LocalMeta *meta);

/* All of these copy @meta into the arena. Return: 0; -ENOMEM with @err. */
int local_fill_volume(const Pool *pool, const Call *call, const LocalMeta *meta, VolumeInfo *info,
                      Error *err);
int local_fill_snapshot(const Call *call, const LocalMeta *meta, SnapshotInfo *info, Error *err);

/* Why the volume is not well, in the arena; NULL: it is. Looks at the data file only. */
const char *local_condition(const Pool *pool, const Call *call, const LocalMeta *meta);

/* Blocks to all of the file or -errno in words; stops when the call is cancelled. */
int local_preallocate(const Call *call, int fd, const LocalMeta *meta, uint64_t from_bytes,
                      Error *err);

/**
 * local_resume_copy() - go on with what a restart interrupted
 * @entry: held exclusively, COPYING; the hold is given away in any case
 *
 * Only where the source is what it was, and nobody can write to it: else the target is removed, and
 * ERROR_AGAIN has the caller come for a new one, of a moment of its own.
 */
int local_resume_copy(Pool *pool, const Call *call, Entry *entry, Error *err);

/**
 * local_start_copy() - a target that cut_run() or local_resume_copy() prepared, to its end
 * @source: held shared, given away; NULL: in place
 * @from_fd, @to_fd: given away
 */
int local_start_copy(Pool *pool, const Call *call, Entry *target, Entry *source, int from_fd,
                     int to_fd, Error *err);

#endif
