/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Check policy. A check costs minutes and memory by the size of the volume, and kubelet waits: so
 * it is only done where the filesystem itself says that something is wrong, or where nothing
 * protects it (ext2 after a crash). XFS and btrfs have no preen: their tools repair, which is a
 * person's decision.
 */

#include "fs/make/fsck.h"
#include "fs/tools/tools.h"

#include "common/base/cleanup.h"
#include "common/base/exec.h"
#include "common/base/str.h"

#include <stdarg.h>
#include <stdio.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define FSCK_GRACE_MSECS 10000

static void decide(FsckPlan *plan, FsckAction action, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static void decide(FsckPlan *plan, FsckAction action, const char *format, ...) {
        va_list args;

        plan->action = action;
        va_start(args, format);
        vsnprintf(plan->why, sizeof(plan->why), format, args);
        va_end(args);
}

/* Two minutes and 5 s for each GiB of metadata to walk, at most an hour; e2fsck needs about 1 MiB
 * for each GiB, bitmaps and the table of links. */
static void set_limits(FsckPlan *plan, const FsVolume *volume) {
        uint64_t gib = volume->fs_bytes / GIB;

        plan->timeout_msecs = 120000 + (gib < 700 ? gib * 5000 : 3480000);
        plan->memory_bytes = 32 * MIB + gib * MIB;
}

static void preen(FsckPlan *plan, const FsVolume *volume, const char *device) {
        size_t n = 0;

        plan->argv[n++] = fs_toolset_find(volume->kind)->programs[FS_PROGRAM_CHECK];
        plan->argv[n++] = volume->kind == FS_KIND_EXT ? "-p" : "-a";
        plan->argv[n++] = device;
        plan->argv[n] = NULL;
        set_limits(plan, volume);
}

/* A tool that does not know a bit refuses the whole filesystem, also to repair it. */
static const FsFeature *unknown_to_tools(const FsVolume *volume, uint32_t tools) {
        if (tools == FS_TOOLS_UNKNOWN || tools == FS_TOOLS_ABSENT)
                return NULL;
        for (FsClass class = 0; class < _FS_CLASS_N; class ++) {
                for (uint64_t left = volume->words[class]; left; left &= left - 1) {
                        const FsFeature *f =
                                fs_feature_find(volume->kind, class, left & (0 - left));

                        if (f && fs_tool_since(f, FS_TOOL_USE_REPAIR) > tools)
                                return f;
                }
        }
        return NULL;
}

static void plan_ext(const FsVolume *volume, const FsHost *host, const char *device,
                     FsckPlan *plan) {
        uint32_t tools = host->tools[FS_TOOLS_E2FSPROGS];
        const FsFeature *f = unknown_to_tools(volume, tools);
        bool wrong = volume->state & (FS_STATE_ERRORS | FS_STATE_UNCLEAN);

        if (volume->state & FS_STATE_MMP) {
                decide(plan, FSCK_ACTION_NONE, "multi-mount protection decides at the mount");
        } else if (!wrong) {
                decide(plan, volume->log == FS_LOG_DIRTY ? FSCK_ACTION_REPLAY : FSCK_ACTION_NONE,
                       volume->log == FS_LOG_DIRTY ? "the kernel replays the journal" : "clean");
        } else if (f) {
                decide(plan, FSCK_ACTION_REFUSE,
                       "%s has errors, and e2fsck of this node is too old for %s: run e2fsck -f "
                       "of a newer e2fsprogs on %s, unmounted",
                       volume->type, f->name, device);
        } else {
                if (volume->state & FS_STATE_ERRORS)
                        decide(plan, FSCK_ACTION_PREEN, "%s recorded %u errors", volume->type,
                               volume->n_errors);
                else
                        decide(plan, FSCK_ACTION_PREEN, "%s has no journal and was not unmounted",
                               volume->type);
                preen(plan, volume, device);
        }
}

static void plan_xfs(const FsVolume *volume, const char *device, FsckPlan *plan) {
        if (volume->state & (FS_STATE_NEEDS_REPAIR | FS_STATE_IN_PROGRESS))
                decide(plan, FSCK_ACTION_REFUSE,
                       "xfs is marked as needing repair: take a snapshot, then run xfs_repair on "
                       "%s, unmounted",
                       device);
        else if (volume->log == FS_LOG_DIRTY)
                decide(plan, FSCK_ACTION_REPLAY, "the kernel recovers the log");
        else
                decide(plan, FSCK_ACTION_NONE, "clean");
}

static void plan_f2fs(const FsVolume *volume, const char *device, FsckPlan *plan) {
        if (volume->state & (FS_STATE_NEEDS_REPAIR | FS_STATE_ERRORS)) {
                decide(plan, FSCK_ACTION_PREEN, "f2fs asks to be checked");
                preen(plan, volume, device);
        } else if (volume->log == FS_LOG_DIRTY) {
                decide(plan, FSCK_ACTION_REPLAY, "the kernel rolls forward");
        } else {
                decide(plan, FSCK_ACTION_NONE, "clean");
        }
}

void fsck_plan(const FsVolume *volume, const FsHost *host, const char *device, bool read_only,
               FsckPlan *plan) {
        memset(plan, 0, sizeof(*plan));
        if (volume->checksum == FS_CHECKSUM_BAD || volume->state & FS_STATE_MALFORMED) {
                decide(plan, FSCK_ACTION_REFUSE,
                       "the superblock of %s is damaged%s%s: take a snapshot, then repair it by "
                       "hand, unmounted; never format it",
                       volume->type, volume->problem[0] ? ": " : "", volume->problem);
                return;
        }
        if (read_only) {
                decide(plan, FSCK_ACTION_NONE, "nothing may be written");
                return;
        }
        switch (volume->kind) {
        case FS_KIND_EXT:
                plan_ext(volume, host, device, plan);
                break;
        case FS_KIND_XFS:
                plan_xfs(volume, device, plan);
                break;
        case FS_KIND_F2FS:
                plan_f2fs(volume, device, plan);
                break;
        case FS_KIND_BTRFS:
                decide(plan, volume->log == FS_LOG_DIRTY ? FSCK_ACTION_REPLAY : FSCK_ACTION_NONE,
                       volume->log == FS_LOG_DIRTY ? "the kernel replays the log tree" : "clean");
                break;
        case FS_KIND_NONE:
        case FS_KIND_EROFS:
        case FS_KIND_SQUASHFS:
        case FS_KIND_VFAT:
        case FS_KIND_EXFAT:
        case FS_KIND_NTFS:
        case _FS_KIND_N:
                decide(plan, FSCK_ACTION_NONE, "not checked");
                break;
        }
}

/* e2fsck -f -p DEVICE */
static void preen_all(FsckPlan *plan, const FsVolume *volume, const char *device) {
        preen(plan, volume, device);
        plan->argv[3] = plan->argv[2];
        plan->argv[2] = plan->argv[1];
        plan->argv[1] = "-f";
        plan->looks_first = true;
}

void fsck_plan_growth(const FsVolume *volume, const char *device, FsckPlan *plan) {
        memset(plan, 0, sizeof(*plan));
        decide(plan, FSCK_ACTION_PREEN, "it is to grow");
        preen_all(plan, volume, device);
        plan->only_sums = true;
}

void fsck_plan_cut_growth(const FsVolume *volume, const char *device, bool killed, FsckPlan *plan) {
        memset(plan, 0, sizeof(*plan));
        decide(plan, FSCK_ACTION_PREEN, "a resize2fs of this volume %s",
               killed ? "was interrupted" : "failed");
        preen_all(plan, volume, device);
        plan->may_say_yes = killed;
}

bool fsck_asks_little(const char *output) {
        static const char no[] = "? no";

        for (const char *at = output; (at = strstr(at, no)); at += strlen(no)) {
                size_t n = (size_t)(at - output);

                if (!(n >= 3 && strncmp(at - 3, "Fix", 3) == 0) &&
                    !(n >= 8 && strncmp(at - 8, "Recreate", 8) == 0))
                        return false;
        }
        return true;
}

bool fsck_asks_sums(const char *output) {
        const char *asked = strstr(output, "? no");
        const char *sums = strstr(output, "Pass 5:");

        return sums && (!asked || asked > sums);
}

/* The last that says something: e2fsck ends within one, which is the device's name alone then. */
static char *last_line(char *text) {
        for (;;) {
                size_t n;
                char *end;

                str_trim_end(text);
                n = strlen(text);
                end = strrchr(text, '\n');
                if (!end || text[n - 1] != ':' || strchr(end, ' '))
                        return end ? end + 1 : text;
                *end = '\0';
        }
}

/* fsck(8): 1 corrected, 2 corrected and reboot (only for a mounted root), 4 left, 8 and above the
 * tool itself failed. */
static int judge_exit(const FsckPlan *plan, const char *device, const ExecResult *result,
                      Error *err) {
        char *text = result->n_output ? result->output : result->errors;
        char *line, told[240];

        if (result->term_signal)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "%s was killed by signal %d (out of memory?)", plan->argv[0],
                                 result->term_signal);
        /* It goes on after a write that failed, and says in the end that it corrected all. */
        if (fs_tool_says_io_error(result->output) || fs_tool_says_io_error(result->errors))
                return error_set(err, ERROR_UNAVAILABLE,
                                 "%s could not read or write all of the disk (" FS_TOOL_IO_ERROR
                                 ")",
                                 plan->argv[0]);
        if (result->exit_status < 4)
                return 0;
        str_make_utf8(text);
        line = last_line(text);
        /* It knows the device by our descriptor, whoever reads it by its name. */
        if (str_has_prefix(line, EXEC_DEVICE_PATH))
                (void)snprintf(told, sizeof(told), "%s%.150s", device,
                               line + strlen(EXEC_DEVICE_PATH));
        else
                (void)snprintf(told, sizeof(told), "%.200s", line);
        if (result->exit_status & 4)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s could not correct everything by itself: take a snapshot, then "
                                 "run it by hand: %s",
                                 plan->argv[0], told);
        return error_set(err, ERROR_PRECONDITION, "%s failed with exit code %d: %s", plan->argv[0],
                         result->exit_status, told);
}

typedef struct Run {
        const FsckPlan *plan;
        int fd;
        bool (*cancelled)(void *userdata);
        void *userdata;
} Run;

/* Of pass 5 there is a line for each group. */
#define OUTPUT_MAX (16UL << 20)

/* @how: instead of "-p"; NULL: as planned. */
static int run_tool(const Run *run, const char *how, ExecResult *result, Error *err) {
        const FsckPlan *plan = run->plan;
        const char *argv[FSCK_WORDS_MAX + 1] = {0};
        const ExecRequest request = {
                .argv = argv,
                .device_fd = run->fd,
                .timeout_msecs = plan->timeout_msecs,
                .cancelled = run->cancelled,
                .userdata = run->userdata,
                .output_limit_bytes = how ? OUTPUT_MAX : 0,
                /* e2fsck ends at a safe place; one that is killed in its midst leaves it worse. */
                .grace_msecs = FSCK_GRACE_MSECS,
                .is_expendable = true,
                .confinement = CONFINEMENT_TOOL,
        };
        size_t n = 0;
        int r;

        for (; plan->argv[n + 1]; n++)
                argv[n] = how && str_equal(plan->argv[n], "-p") ? how : plan->argv[n];
        if (str_equal(plan->argv[0], fs_toolset_find(FS_KIND_EXT)->programs[FS_PROGRAM_CHECK])) {
                static const char *const words[] = {FSCK_EXT_WORDS};

                for (size_t i = 0; i < N_ELEMENTS(words); i++)
                        argv[n++] = words[i];
        }
        argv[n] = EXEC_DEVICE_PATH;
        r = exec_run(&request, result);
        if (r == -ETIMEDOUT || r == -ECANCELED)
                error_set(err, ERROR_TIMEOUT, "%s was stopped after %llu s; nothing was mounted",
                          plan->argv[0], (unsigned long long)(result->duration_msecs / 1000));
        else if (r < 0)
                error_set_errno(err, r, "run %s", plan->argv[0]);
        return r;
}

static const char *plan_device(const FsckPlan *plan) {
        size_t n = 0;

        while (plan->argv[n + 1])
                n++;
        return plan->argv[n];
}

/* @how as in run_tool(). */
static int run_judged(const Run *run, const char *how, Error *err) {
        ExecResult result = {0};
        int r = run_tool(run, how, &result, err);

        if (r == 0)
                r = judge_exit(run->plan, plan_device(run->plan), &result, err);
        exec_result_deinit(&result);
        return r;
}

static int say_found(const FsckPlan *plan, Error *err) {
        const char *tool = plan->argv[0];

        if (plan->only_sums)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s finds errors that are to be corrected before a growth: take a "
                                 "snapshot, then run it by hand, unmounted: %s -f %s",
                                 tool, tool, plan_device(plan));
        return error_set(err, ERROR_PRECONDITION,
                         "%s, and %s finds more than that leaves: "
                         "take a snapshot, then run it by hand: %s -f %s",
                         plan->why, tool, tool, plan_device(plan));
}

/* What there is to be corrected. Nothing is written. */
static int look(const Run *run, Error *err) {
        const char *tool = run->plan->argv[0];
        ExecResult result = {0};
        int r = run_tool(run, "-n", &result, err);

        if (r == 0 &&
            (fs_tool_says_io_error(result.output) || fs_tool_says_io_error(result.errors)))
                r = error_set(err, ERROR_UNAVAILABLE,
                              "%s could not read or write all of the disk (" FS_TOOL_IO_ERROR ")",
                              tool);
        else if (r == 0 && (result.truncated || result.exit_status < 0 || result.exit_status > 4 ||
                            !(run->plan->only_sums ? fsck_asks_sums(result.output)
                                                   : fsck_asks_little(result.output))))
                r = say_found(run->plan, err);
        exec_result_deinit(&result);
        return r;
}

int fsck_run(const FsckPlan *plan, int fd, bool (*cancelled)(void *userdata), void *userdata,
             Error *err) {
        const Run run = {plan, fd, cancelled, userdata};
        Error error = {0};
        int r;

        if (plan->action != FSCK_ACTION_PREEN)
                return 0;
        r = plan->looks_first ? look(&run, err) : 0;
        if (r < 0)
                return r;
        r = run_judged(&run, NULL, &error);
        if (r < 0 && plan->may_say_yes && error.code == ERROR_PRECONDITION)
                return run_judged(&run, "-y", err);
        if (r < 0)
                error_move(err, &error);
        return r;
}
