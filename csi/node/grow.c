/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Growing a filesystem to the size of its device: mounted by its kernel, through a descriptor of
 * it; ext without CAP_SYS_RESOURCE unmounted, by resize2fs: of a copy where the provider makes one,
 * else of the only one there is, and then it is never cut: half done it leaves what only a person
 * can mend.
 */

#include "common/base/cleanup.h"
#include "common/base/exec.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "common/block/fsgrow.h"
#include "csi/node/growing.h"
#include "csi/node/timed.h"
#include "csi/wait/limits.h"
#include "fs/formats/format.h"
#include "fs/look/inspect.h"
#include "fs/make/fsck.h"
#include "fs/tools/tools.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>

/* --- mounted --- */

typedef struct Grow {
        TimedPlace place; /* the mounted root */
        FsKind kind;
        uint64_t device_bytes;
} Grow;

static int do_grow(void *data) {
        Grow *grow = data;
        cleanup(closep) int root = openat(grow->place.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (root < 0)
                return -errno;
        if (grow->kind == FS_KIND_EXT)
                return fsgrow_ext(root, grow->device_bytes);
        return grow->kind == FS_KIND_XFS ? fsgrow_xfs(root, grow->device_bytes)
                                         : fsgrow_btrfs(root);
}

static int still_growing(Error *err) {
        return error_set(err, ERROR_UNAVAILABLE,
                         "the filesystem is still being grown: it is frozen, its device does not "
                         "answer, or it takes long. Whoever froze it thaws it (a backup of the "
                         "node, or: fsfreeze --unfreeze and where it is mounted)");
}

int grow_check_late(const Node *node, const char *volume_id, Error *err) {
        return timed_is_late(node, TIMED_GROW, volume_id) ? still_growing(err) : 0;
}

int grow_mounted(const Node *node, const char *volume_id, const char *fs_type, int fd,
                 uint64_t device_bytes, Error *err) {
        Grow grow = {.kind = fs_kind_from_type(fs_type), .device_bytes = device_bytes};
        int r;

        if (grow.kind != FS_KIND_EXT && grow.kind != FS_KIND_XFS && grow.kind != FS_KIND_BTRFS)
                return error_set(err, ERROR_UNSUPPORTED, "%s cannot grow while it is mounted",
                                 fs_type);
        r = timed_run(node, TIMED_GROW, volume_id, fd, "", do_grow, &grow, sizeof(grow),
                      GROW_TIMEOUT_MSECS);
        if (r == -ETIMEDOUT)
                return still_growing(err);
        /* Without CAP_SYS_RESOURCE, or with errors on the filesystem. */
        if (r == -EPERM || r == -EACCES)
                return error_set(err, ERROR_PRECONDITION,
                                 "the kernel refuses to grow the %s while it is mounted; it grows "
                                 "when it is staged the next time",
                                 fs_type);
        return r < 0 ? error_set_errno(err, r, "grow the mounted %s", fs_type) : 0;
}

/* --- unmounted --- */

/* It did not end by itself, and not by a mistake of its own. */
static bool was_killed(const ExecResult *result) {
        return result->term_signal != 0 && result->term_signal != SIGABRT &&
               result->term_signal != SIGBUS && result->term_signal != SIGSEGV;
}

/* @killedp: not NULL where that makes a difference; false where it told of an error before. Return:
 * the exit status, at most @worst_status; <0 with @err. */
static int run(const char *const *argv, int worst_status, const ExecRequest *how, bool *killedp,
               Error *err) {
        ExecRequest request = *how;
        cleanup(exec_result_deinit) ExecResult result = {0};
        char line[256];
        int r;

        request.argv = argv;
        request.confinement = CONFINEMENT_TOOL;
        r = exec_run(&request, &result);
        if (r == -ENOENT)
                return error_set(err, ERROR_UNSUPPORTED, "%s is not installed", argv[0]);
        if (r < 0)
                return error_set_errno(err, r, "run %s", argv[0]);
        /* They may go on after a write that failed, and say in the end that all is well. */
        if (fs_tool_says_io_error(result.output) || fs_tool_says_io_error(result.errors))
                return error_set(err, ERROR_UNAVAILABLE,
                                 "%s could not read or write all of the disk (" FS_TOOL_IO_ERROR
                                 ")",
                                 argv[0]);
        if (result.exit_status >= 0 && result.exit_status <= worst_status)
                return result.exit_status;
        if (killedp)
                *killedp = was_killed(&result);
        if (result.term_signal)
                return error_set(err, ERROR_INTERNAL, "%s was ended by signal %d", argv[0],
                                 result.term_signal);
        fs_tool_first_line(result.errors, result.output, line, sizeof(line));
        return error_set(err, ERROR_INTERNAL, "%s ended with %d: %s", argv[0], result.exit_status,
                         line);
}

/* Return: the exit status, at most @worst_status; <0 with @err. */
static int run_check(const Call *call, int fd, const char *const *argv, int worst_status,
                     Error *err) {
        const ExecRequest request = {
                .device_fd = fd,
                .timeout_msecs = GROW_CHECK_TIMEOUT_MSECS,
                .cancelled = call ? call_is_aborted : NULL,
                .userdata = (void *)(uintptr_t)call,
                .grace_msecs = GROW_CHECK_GRACE_MSECS,
                .is_expendable = true,
        };

        return run(argv, worst_status, &request, NULL, err);
}

/* @how: "-p" corrects what needs no question, "-n" nothing. Return: 0; 1: corrected; <0 with @err.
 */
static int check(const Call *call, int fd, const char *how, Error *err) {
        const char *const argv[] = {fs_toolset_find(FS_KIND_EXT)->programs[FS_PROGRAM_CHECK],
                                    "-f",
                                    how,
                                    FSCK_EXT_WORDS,
                                    EXEC_DEVICE_PATH,
                                    NULL};

        return run_check(call, fd, argv, str_equal(how, "-n") ? 0 : 1, err);
}

int check_ext(const Call *call, int fd, Error *err) {
        return check(call, fd, "-n", err);
}

/* In steps that resize2fs is known to survive. */
static int resize(const Plan *plan, const ExecRequest *how, bool *killedp, Error *err) {
        const FsToolset *set = fs_toolset_find(FS_KIND_EXT);
        uint64_t at = plan->fs_bytes;
        char sectors[32];
        int r = 0;

        while (r == 0 && at > 0 && plan->device_bytes / set->grow_step_factor > at) {
                const char *argv[] = {set->programs[FS_PROGRAM_GROW], EXEC_DEVICE_PATH, sectors,
                                      NULL};

                at *= set->grow_step_factor;
                (void)snprintf(sectors, sizeof(sectors), "%" PRIu64 "s", at / 512);
                r = run(argv, 0, how, killedp, err);
        }
        if (r == 0) {
                const char *const argv[] = {set->programs[FS_PROGRAM_GROW], EXEC_DEVICE_PATH, NULL};

                r = run(argv, 0, how, killedp, err);
        }
        return r;
}

/* What is left of a resize2fs that did not end well. The note stays until that is found to be
 * little and corrected: till then no stage lets a check correct more. */
static int mend(const Work *work, int fd, bool killed, Error *err) {
        const Plan *plan = work->plan;
        FsckPlan mending;
        int r;

        r = killed ? 0 : growing_fail(work->target, plan->volume.uuid);
        if (r < 0)
                return error_set_errno(err, r, "note in %s that resize2fs failed",
                                       work->target->text);
        fsck_plan_cut_growth(&plan->volume, plan->device, killed, &mending);
        return fsck_run(&mending, fd, NULL, NULL, err);
}

/* With the note in place; nobody cuts it, and memory is taken from others first. What resize2fs
 * moved it may leave with a checksum of the old place (the orphan file, to 1.47.0). */
static int resize_noted(const Work *work, int fd, Error *err) {
        const ExecRequest how = {.device_fd = fd};
        Error after = {0};
        bool killed = false;
        int r, checked;

        r = growing_begin(work->target, work->plan->volume.uuid);
        if (r < 0)
                return error_set_errno(err, r, "note in %s that resize2fs begins",
                                       work->target->text);
        r = resize(work->plan, &how, &killed, err);
        checked = r < 0 ? mend(work, fd, killed, &after) : check(NULL, fd, "-p", &after);
        if (checked >= 0)
                checked = growing_end(work->target);
        if (r == 0 && checked < 0)
                error_move(err, &after);
        else if (checked < 0)
                error_join(err, &after);
        return r < 0 ? r : checked < 0 ? checked : 0;
}

/* As the kernel does at the mount. */
static int replay(const Work *work, int fd, Error *err) {
        const char *const argv[] = {fs_toolset_find(FS_KIND_EXT)->programs[FS_PROGRAM_CHECK],
                                    "-p",
                                    "-E",
                                    "journal_only",
                                    FSCK_EXT_WORDS,
                                    EXEC_DEVICE_PATH,
                                    NULL};

        return run_check(work->call, fd, argv, 1, err);
}

/* resize2fs refuses what was not checked since it was mounted the last time. */
int grow_unmounted_ext(const Work *work, int fd, Error *err) {
        const Plan *plan = work->plan;
        FsckPlan look;
        int r = plan->volume.log == FS_LOG_DIRTY ? replay(work, fd, err) : 0;

        if (r < 0)
                return r;
        fsck_plan_growth(&plan->volume, plan->device, &look);
        look.timeout_msecs = GROW_CHECK_TIMEOUT_MSECS;
        r = fsck_run(&look, fd, call_is_aborted, (void *)(uintptr_t)work->call, err);
        return r < 0 ? r : resize_noted(work, fd, err);
}

static int count_files(int fd, uint64_t *n_filesp, Error *err) {
        FsReader reader;
        int r = fs_reader_from_fd(&reader, fd);

        if (r == 0)
                r = fs_ext_count_files(&reader, n_filesp);
        return r < 0 ? error_set_errno(err, r, "read the superblock after its check") : 0;
}

/* What is only a copy may be cut at any moment. Growing makes no file and removes none: a check
 * that mends what a resize2fs destroyed does. */
int grow_copy_ext(const Work *work, int fd, Error *err) {
        const ExecRequest how = {
                .device_fd = fd,
                .cancelled = call_is_aborted,
                .userdata = (void *)(uintptr_t)work->call,
                .is_expendable = true,
        };
        uint64_t n_before = 0, n_after = 0;
        int r;

        r = check(work->call, fd, "-p", err);
        if (r >= 0)
                r = count_files(fd, &n_before, err);
        if (r == 0)
                r = resize(work->plan, &how, NULL, err);
        if (r == 0)
                r = check(work->call, fd, "-p", err);
        if (r == 1)
                r = check(work->call, fd, "-n", err);
        if (r == 0)
                r = count_files(fd, &n_after, err);
        if (r == 0 && n_after != n_before)
                return error_set(err, ERROR_INTERNAL,
                                 "resize2fs made %" PRIu64 " files of %" PRIu64
                                 ": what it did was thrown away",
                                 n_after, n_before);
        return r;
}

/* --- what did not grow --- */

void growth_note(Node *node, const char *volume_id, const char *text) {
        GrowthNote *free_one = &node->growth[0];
        const LogField field = {"volume", volume_id};

        pthread_mutex_lock(&node->growth_mutex);
        for (size_t i = 0; i < GROWTH_NOTES_MAX; i++) {
                GrowthNote *note = &node->growth[i];

                if (str_equal(note->volume_id, volume_id)) {
                        free_one = note;
                        break;
                }
                if (note->volume_id[0] == '\0')
                        free_one = note;
        }
        *free_one = (GrowthNote){0};
        if (text) {
                (void)snprintf(free_one->volume_id, sizeof(free_one->volume_id), "%s", volume_id);
                (void)snprintf(free_one->text, sizeof(free_one->text), "%s", text);
        }
        pthread_mutex_unlock(&node->growth_mutex);
        if (text)
                log_fields(LOG_LEVEL_WARNING, &field, 1, "mounted, and not grown: %s", text);
}

bool growth_get(Node *node, const char *volume_id, char text[GROWTH_TEXT_MAX]) {
        bool found = false;

        pthread_mutex_lock(&node->growth_mutex);
        for (size_t i = 0; i < GROWTH_NOTES_MAX && !found; i++) {
                found = str_equal(node->growth[i].volume_id, volume_id);
                if (found)
                        (void)snprintf(text, GROWTH_TEXT_MAX, "%s", node->growth[i].text);
        }
        pthread_mutex_unlock(&node->growth_mutex);
        return found;
}
