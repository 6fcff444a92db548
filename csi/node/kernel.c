/* SPDX-License-Identifier: Apache-2.0 */

/* The steps of a plan on the real system. */

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/exec.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "common/block/btrfs.h"
#include "csi/kubelet/holder.h"
#include "csi/metrics/metrics.h"
#include "csi/node/growing.h"
#include "csi/node/marker.h"
#include "csi/node/node_internal.h"
#include "csi/node/share.h"
#include "csi/node/timed.h"
#include "csi/wait/limits.h"
#include "fs/formats/format.h"
#include "fs/verdict/explain.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

static void log_work(const Work *work, const char *what, const char *detail, uint64_t msecs) {
        char duration[24];
        const LogField fields[] = {
                {"volume", work->volume_id},
                {"device", work->plan->device},
                {"duration_ms", msecs ? duration : NULL},
                {"detail", detail},
        };

        (void)snprintf(duration, sizeof(duration), "%" PRIu64, msecs);
        log_fields(LOG_LEVEL_INFO, fields, N_ELEMENTS(fields), "%s", what);
}

/* The disk that was proven is behind the descriptor still: nobody detached it and attached another
 * one meanwhile, while we waited in a queue or for a tool. */
static int check_device(const Work *work, Error *err) {
        uint64_t sequence = work->sequence;

        if (work->sequence == 0)
                return work->prove ? work->prove(work->userdata, err) : 0;
        if ((block_get_sequence(work->device_fd, &sequence) == 0 && sequence == work->sequence))
                return 0;
        return error_set(err, ERROR_UNAVAILABLE,
                         "%s is not the device any more that was found for the volume",
                         work->plan->device);
}

static int open_device(const Work *work, int flags, Error *err) {
        int fd, r;

        r = check_device(work, err);
        if (r < 0)
                return r;
        fd = block_reopen(work->device_fd, flags);
        if (fd == -EBUSY) {
                r = error_set(err, ERROR_UNAVAILABLE, "%s is in use by another program",
                              work->plan->device);
                holder_tell_device(work->devno, err);
                return r;
        }
        return fd < 0 ? error_set_errno(err, fd, "open %s", work->plan->device) : fd;
}

/* --- target --- */

static int make_target(Work *work, Error *err) {
        NodePath *target = work->target;
        int fd, r = 0;

        if (!work->plan->target_is_file) {
                r = mkdirat(target->parent_fd, target->name, 0750);
        } else {
                fd = openat(target->parent_fd, target->name,
                            O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0640);
                r = fd < 0 ? -1 : close(fd);
        }
        if (r < 0 && errno != EEXIST)
                return error_set_errno(err, errno, "make %s", target->text);
        work->made_target = r == 0;
        r = node_path_reopen(target, err);
        if (r < 0)
                return r;
        if (target->fd < 0 ||
            (work->plan->target_is_file ? !S_ISREG(target->type) : !S_ISDIR(target->type)))
                return error_set(err, ERROR_CONFLICT, "%s is not a %s", target->text,
                                 work->plan->target_is_file ? "file" : "directory");
        return 0;
}

static int remove_target(Work *work, Error *err) {
        NodePath *target = work->target;

        if (!work->made_target)
                return 0;
        if (unlinkat(target->parent_fd, target->name,
                     work->plan->target_is_file ? 0 : AT_REMOVEDIR) < 0 &&
            errno != ENOENT)
                return error_set_errno(err, errno, "remove %s", target->text);
        work->made_target = false;
        return 0;
}

static int detach_dead(Node *node, Work *work, Error *err) {
        int r;

        log_work(work, "detaching a dead filesystem", work->target->text, 0);
        r = timed_detach(node, work->target, MOUNT_DETACH_LAZY, UNMOUNT_UNDO_MSECS);
        if (r < 0 && r != -EINVAL && r != -ENOENT && r != -ETIMEDOUT)
                return error_set_errno(err, r, "detach the dead filesystem at %s",
                                       work->target->text);
        return node_path_reopen(work->target, err);
}

/* --- format, check --- */

static Marker marker_of(const Work *work) {
        return (Marker){.volume_id = work->volume_id,
                        .sequence = work->sequence,
                        .size_bytes = work->plan->make_request.size_bytes};
}

static int wipe(Work *work, Error *err) {
        cleanup(closep) int fd = -1;
        Marker marker = marker_of(work);
        int r;

        log_work(work, "taking back what an interrupted mkfs of this volume left", NULL, 0);
        if (!marker_read(work->target, &marker))
                return error_set(err, ERROR_UNAVAILABLE,
                                 "the note of an interrupted mkfs in %s is gone or of another disk",
                                 work->target->text);
        fd = open_device(work, O_RDONLY, err);
        if (fd < 0)
                return fd;
        r = fs_take_back(fd, &marker.claim, err);
        return r < 0 ? error_wrap(err, r, "%s", work->plan->device) : 0;
}

static int make_filesystem(Node *node, Work *work, int fd, const FsClaim *claim, Error *err) {
        FsMakeRun run = {
                .expect = &work->plan->expect,
                .timeout_msecs = node->config.mkfs_timeout_msecs ? node->config.mkfs_timeout_msecs
                                                                 : MKFS_TIMEOUT_MSECS,
                .cancelled = call_is_aborted,
                .userdata = (void *)(uintptr_t)work->call,
        };
        cleanup(freep) char *command = fs_make_plan_text(&work->plan->make);
        uint64_t start = clock_msecs();
        int r;

        memcpy(run.uuid, claim->uuid, sizeof(run.uuid));
        log_work(work, "formatting", command, 0);
        r = fs_make(fd, &work->plan->make_request, &work->plan->make, &run, &work->plan->volume,
                    err);
        node_count(node, METRIC_MKFS_SECONDS, work->plan->fs_type,
                   (double)(clock_msecs() - start) / 1000);
        if (r == 0)
                log_work(work, "formatted", work->plan->fs_type, clock_msecs() - start);
        else if (device_is_busy(work->plan->device, work->devno) > 0)
                holder_tell_device(work->devno, err);
        return r;
}

/* --- where a tool writes --- */

/* The disk itself, or a copy of it that takes its place when all is well with it. */
typedef struct ToolDisk {
        int fd; /* borrowed with @is_copy, else owned; -1 */
        bool is_copy;
} ToolDisk;

static int tool_disk_open(Work *work, ToolDisk *disk, Error *err) {
        int r = check_device(work, err);

        if (r == 0)
                r = work->begin_copy && !work->is_in_place
                            ? work->begin_copy(work->userdata, &disk->fd, err)
                            : PROVIDER_E_IN_PLACE;
        if (r < 0)
                return r;
        disk->is_copy = r == 0;
        if (!disk->is_copy)
                disk->fd = open_device(work, O_RDONLY, err);
        return disk->fd < 0 ? disk->fd : 0;
}

/* What a copy has on disk, and not what is in memory still, is looked at. Writes that failed
 * end_copy() tells of. */
static void tool_disk_settle(const ToolDisk *disk) {
        if (disk->is_copy)
                (void)block_flush(disk->fd);
}

/* @r: of the tool, and of the look at what it did. Return: that; or why the copy could not take the
 * place of the disk, which is what it was then; PROVIDER_E_IN_PLACE: once more, on the disk. */
static int tool_disk_close(Work *work, ToolDisk *disk, int r, Error *err) {
        Error error = {0};
        int closed;

        if (!disk->is_copy) {
                closep(&disk->fd);
                return r;
        }
        disk->fd = -1;
        closed = work->end_copy(work->userdata, r == 0, &error);
        if (closed == PROVIDER_E_IN_PLACE) {
                log_work(work, "no room for what a tool writes to a copy: it works on the disk",
                         error.message, 0);
                work->is_in_place = true;
                if (err)
                        *err = (Error){0};
                return closed;
        }
        if (r == 0 && closed < 0)
                error_move(err, &error);
        else if (closed < 0)
                log_work(work, "a copy that a tool worked on is still there", error.message, 0);
        return r == 0 ? closed : r;
}

static void budget_leavep(BudgetTicket *ticket) {
        budget_leave(ticket);
}

static int format(Node *node, Work *work, Error *err) {
        cleanup(budget_leavep) BudgetTicket ticket = {0};
        cleanup(closep) int fd = -1;
        Marker marker = marker_of(work);
        int r;

        r = wait_for_place(work->call, node->budget, MKFS_MEMORY_BYTES, call_is_aborted, &ticket,
                           err);
        if (r < 0)
                return r;
        fd = open_device(work, O_RDONLY, err);
        if (fd < 0)
                return fd;
        marker.claim.kind = work->plan->make.kind;
        r = fs_uuid_make(marker.claim.uuid);
        if (r == 0)
                r = marker_write(work->target, &marker);
        if (r < 0)
                return error_set_errno(err, r, "note in %s that a mkfs begins", work->target->text);
        r = make_filesystem(node, work, fd, &marker.claim, err);
        /* After a failure it stays: whether all could be taken back is for the next stage to see.
         */
        if (r == 0 && marker_remove(work->target) < 0)
                r = error_set_errno(err, EIO, "remove the note of a mkfs in %s",
                                    work->target->text);
        return r;
}

/* The tool said that it is clean; the superblock must say so as well, and whatever was decided on
 * it before is decided on what is there now: a journal may have held another one. */
static int check_again(Work *work, int fd, Error *err) {
        FsInspection inspection;
        FsckPlan again;
        int r;

        r = fs_inspect(fd, &work->plan->expect, &inspection, err);
        if (r < 0)
                return r;
        if (inspection.find != FS_FIND_FILESYSTEM)
                return error_set(err, ERROR_PRECONDITION, "%s after its check: %s",
                                 work->plan->device, inspection.why);
        r = mount_decide(&inspection.volume, work->plan, &again, err);
        if (r < 0)
                return r;
        if (again.action == FSCK_ACTION_PREEN)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s was checked and is still not clean: %s", work->plan->device,
                                 again.why);
        return 0;
}

/* What a tool corrected is looked at once more before it takes the place of what was there. */
static int look_at_copy(Work *work, int fd, Error *err) {
        return work->plan->volume.kind == FS_KIND_EXT ? check_ext(work->call, fd, err) : 0;
}

static int check_once(Node *node, Work *work, Error *err) {
        cleanup(budget_leavep) BudgetTicket ticket = {0};
        FsckPlan *plan = &work->plan->fsck;
        ToolDisk disk = {.fd = -1};
        uint64_t start;
        int r;

        r = wait_for_place(work->call, node->budget, plan->memory_bytes, call_is_aborted, &ticket,
                           err);
        if (r < 0)
                return r;
        r = tool_disk_open(work, &disk, err);
        if (r < 0)
                return r;
        if (node->config.fsck_timeout_msecs)
                plan->timeout_msecs = node->config.fsck_timeout_msecs;
        log_work(work, "checking", plan->why, 0);
        start = clock_msecs();
        r = fsck_run(plan, disk.fd, call_is_aborted, (void *)(uintptr_t)work->call, err);
        node_count(node, METRIC_FSCK_SECONDS, work->plan->volume.type,
                   (double)(clock_msecs() - start) / 1000);
        tool_disk_settle(&disk);
        if (r == 0) {
                log_work(work, "checked", work->plan->volume.type, clock_msecs() - start);
                r = check_again(work, disk.fd, err);
        }
        if (r == 0 && disk.is_copy)
                r = look_at_copy(work, disk.fd, err);
        return tool_disk_close(work, &disk, r, err);
}

static int check(Node *node, Work *work, Error *err) {
        int r = check_once(node, work, err);

        return r == PROVIDER_E_IN_PLACE ? check_once(node, work, err) : r;
}

/* --- mount, bind --- */

/* The driver says the same of a disk that fails and of what is damaged on a sound one. */
static const char *find_damage(const Work *work, int r, char text[FS_DAMAGE_MAX]) {
        FsReader reader;

        return r == -EIO && fs_reader_from_fd(&reader, work->device_fd) == 0 &&
                               fs_find_damage(&reader, work->plan->volume.kind, text) == 1
                       ? text
                       : NULL;
}

static int explain(const Work *work, int r, const MountContext *context, Error *err) {
        const Plan *plan = work->plan;
        char damage[FS_DAMAGE_MAX];
        const FsFailure failure = {
                .os_errno = -r,
                .read_only = !plan->writes_super,
                .options = context->option,
                .damage = find_damage(work, r, damage),
                .kernel_text = context->log[0] != '\0' ? context->log : NULL,
        };
        char text[FS_SENTENCE_MAX];
        ErrorCode code = fs_explain(&plan->volume, plan->host,
                                    plan->is_judged ? &plan->verdict : NULL, &failure, text);

        error_set(err, code, "mount %s at %s: %s", plan->device, plan->target, text);
        if (err)
                err->os_errno = -r;
        if (r == -EBUSY)
                holder_tell_device(work->devno, err);
        return r;
}

static int unmount_again(Node *node, Work *work, Error *err) {
        int r;

        /* Our own descriptor would keep it busy. */
        closep(&work->target->fd);
        r = timed_detach(node, work->target, 0, UNMOUNT_UNDO_MSECS);
        if (r == -EBUSY)
                r = timed_detach(node, work->target, MOUNT_DETACH_LAZY, UNMOUNT_UNDO_MSECS);
        if (r < 0 && r != -EINVAL && r != -ENOENT)
                return error_set_errno(err, r, "unmount %s", work->target->text);
        return 0;
}

/* What was mounted is our device, and can be written if that was asked. */
static int verify_mount(Work *work, Error *err) {
        cleanup(mount_status_deinit) MountStatus status = {0};
        uint64_t devno;
        int r;

        r = node_path_reopen(work->target, err);
        if (r < 0)
                return r;
        r = mount_query(work->target->fd, MOUNT_QUERY_FULL, &status);
        if (r < 0)
                return error_set_errno(err, r, "look at the mount at %s", work->target->text);
        if (!str_equal(status.fs_type, "btrfs") || btrfs_get_device(work->target->fd, &devno) < 0)
                devno = mount_device(&status);
        if (!status.is_root || (devno != 0 && devno != work->devno))
                return error_set(err, ERROR_UNAVAILABLE,
                                 "%s became another device while it was mounted",
                                 work->plan->device);
        r = check_device(work, err);
        if (r < 0)
                return r;
        if (work->plan->wants_write && status.is_super_read_only)
                return error_set(err, ERROR_PRECONDITION,
                                 "the kernel mounted %s (%s) read-only at %s although writing was "
                                 "asked; its log says why",
                                 work->plan->device, status.fs_type, work->target->text);
        return 0;
}

/* The kernel takes a name for what it mounts: it must stand for what is open. A journal is replayed
 * before anybody can look at what was mounted. */
static int check_name(const Work *work, Error *err) {
        cleanup(closep) int fd = block_open(work->plan->device, O_RDONLY, work->devno);

        if (fd == -ENXIO || fd == -ENOENT || fd == -ENOTBLK)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "%s became another device before it was mounted",
                                 work->plan->device);
        if (fd < 0)
                return error_set_errno(err, fd, "open %s", work->plan->device);
        return check_device(work, err);
}

/* The kernel gives what it still has of the disk, frozen as it was left. One that hangs here is
 * waited for by nobody: it shows in the volume's condition. */
static void thaw(Node *node, const Work *work) {
        if (timed_thaw(node, work->target, THAW_TIMEOUT_MSECS) == 0)
                log_work(work, "thawed a filesystem that was left frozen", work->target->text, 0);
}

static int try_mount(Work *work, bool writes_super, MountContext *context) {
        const MountSpec spec = {work->plan->fs_type, work->plan->device, &work->plan->options,
                                writes_super};
        const MountPlace place = node_path_place(work->target);
        int r = mount_new(&spec, &place, context);

        if (r != -EBUSY)
                return r;
        exec_settle();
        return mount_new(&spec, &place, context);
}

static int mount_volume(Node *node, Work *work, Error *err) {
        MountContext context = {0};
        int r;

        /* From here on there is data of a user on the disk. A marker that came through a crash
         * would lie below the mount, and be believed by a later stage. */
        r = marker_remove(work->target);
        if (r == 0)
                r = growing_end(work->target);
        if (r < 0)
                return error_set_errno(err, r, "clean %s", work->target->text);
        r = check_name(work, err);
        if (r < 0)
                return r;
        /* What another disk left that had the number before. Where there is nothing to forget, or
         * it is mounted, the mount says what is wrong. */
        if (str_equal(work->plan->fs_type, "btrfs"))
                (void)btrfs_forget_device(work->plan->device);
        r = try_mount(work, work->plan->writes_super, &context);
        /* The whole filesystem is mounted read-only already, for another target. */
        if (r == -EBUSY && work->plan->writes_super && !work->plan->wants_write)
                r = try_mount(work, false, &context);
        if (r < 0)
                return explain(work, r, &context, err);
        if (context.log[0] != '\0')
                log_work(work, "the kernel's words at the mount", context.log, 0);
        r = verify_mount(work, err);
        if (r < 0) {
                Error error = {0};

                if (unmount_again(node, work, &error) < 0)
                        error_join(err, &error);
                (void)node_path_reopen(work->target, NULL);
        } else {
                thaw(node, work);
        }
        return r;
}

static int bind_volume(Work *work, Error *err) {
        const MountPlace place = node_path_place(work->target);
        MountContext context = {0};
        int r;

        r = work->plan->device ? check_device(work, err) : 0;
        if (r < 0)
                return r;
        r = mount_bind(work->source_fd, &place, work->plan->options.set, work->plan->options.clear,
                       &context);
        if (r < 0)
                return error_set_errno(err, r, "bind %s at %s (%s)", work->plan->source,
                                       work->plan->target, mount_step_name(context.step));
        return node_path_reopen(work->target, err);
}

/* --- grow --- */

/* Growing never blocks a mount. */
static int grow_online(Node *node, Work *work) {
        Error error = {0};
        bool grown = grow_mounted(node, work->volume_id, work->plan->fs_type, work->target->fd,
                                  work->plan->device_bytes, &error) == 0;

        growth_note(node, work->volume_id, grown ? NULL : error.message);
        return 0;
}

static int grow_disk(Node *node, Work *work, Error *err) {
        cleanup(budget_leavep) BudgetTicket ticket = {0};
        ToolDisk disk = {.fd = -1};
        int r;

        r = wait_for_place(work->call, node->budget, GROW_MEMORY_BYTES, call_is_aborted, &ticket,
                           err);
        if (r == 0)
                r = tool_disk_open(work, &disk, err);
        if (r < 0)
                return r;
        if (disk.is_copy)
                r = grow_copy_ext(work, disk.fd, err);
        else
                r = grow_unmounted_ext(work, disk.fd, err);
        tool_disk_settle(&disk);
        if (r == 0)
                r = check_again(work, disk.fd, err);
        if (r == 0 && work->plan->volume.fs_bytes <= work->plan->fs_bytes)
                r = error_set(err, ERROR_INTERNAL, "resize2fs ended well, and %s has not grown",
                              work->plan->device);
        return tool_disk_close(work, &disk, r, err);
}

/* What failed is looked at again: it is mounted unless it needs a person now. Of a copy that could
 * not be kept the provider is asked whether the disk is still the volume's. */
static int grow_offline(Node *node, Work *work, Error *err) {
        cleanup(closep) int fd = -1;
        Error error = {0};
        int r = grow_disk(node, work, &error);

        if (r == PROVIDER_E_IN_PLACE)
                r = grow_disk(node, work, &error);
        if (r < 0 && work->call->waiting && work->call->waiting->is_parked) {
                error_move(err, &error);
                return r;
        }
        growth_note(node, work->volume_id, r < 0 ? error.message : NULL);
        if (r == 0)
                return 0;
        r = work->prove ? work->prove(work->userdata, err) : 0;
        if (r == 0)
                fd = open_device(work, O_RDONLY, err);
        if (r == 0)
                r = fd < 0 ? fd : check_again(work, fd, err);
        return r;
}

int kernel_run(void *userdata, StepKind kind, Work *work, Error *err) {
        Node *node = userdata;

        switch (kind) {
        case STEP_DETACH_DEAD:
                return detach_dead(node, work, err);
        case STEP_MAKE_TARGET:
                return make_target(work, err);
        case STEP_WIPE:
                return wipe(work, err);
        case STEP_FORMAT:
                return format(node, work, err);
        case STEP_CHECK:
                return check(node, work, err);
        case STEP_GROW_OFFLINE:
                return grow_offline(node, work, err);
        case STEP_MOUNT:
                return mount_volume(node, work, err);
        case STEP_GROW:
                return grow_online(node, work);
        case STEP_BIND:
                return bind_volume(work, err);
        case STEP_MOUNT_SHARE:
                return share_mount(node, work, err);
        case _STEP_N:
                break;
        }
        return error_set(err, ERROR_INTERNAL, "no such step");
}

int kernel_undo(void *userdata, StepKind kind, Work *work, Error *err) {
        int r;

        switch (kind) {
        case STEP_MAKE_TARGET:
                return remove_target(work, err);
        case STEP_MOUNT:
        case STEP_BIND:
                r = unmount_again(userdata, work, err);
                return r < 0 ? r : node_path_reopen(work->target, err);
        case STEP_MOUNT_SHARE:
                return share_unmount(userdata, work, err);
        case STEP_DETACH_DEAD:
        case STEP_WIPE:
        case STEP_FORMAT:
        case STEP_CHECK:
        case STEP_GROW_OFFLINE:
        case STEP_GROW:
        case _STEP_N:
                break;
        }
        return 0;
}
