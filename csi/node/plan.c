/* SPDX-License-Identifier: Apache-2.0 */

/* The decisions. No system call, no clock, no environment. */

#include "csi/node/plan.h"
#include "fs/formats/format.h"
#include "fs/tools/tools.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <inttypes.h>
#include <sys/stat.h>

static void add_step(Plan *plan, StepKind kind) {
        plan->steps[plan->n_steps++] = kind;
}

/* --- the target --- */

static int conflict_mounted(const TargetFacts *target, const char *wanted, Error *err) {
        return error_set(err, ERROR_CONFLICT, "%s is taken: %s (%s) is mounted there, not %s",
                         target->path, target->source_name,
                         target->mount.fs_type ? target->mount.fs_type : "unknown", wanted);
}

/* A free place to mount on. */
static int prepare_target(const TargetFacts *target, bool is_file, Plan *plan, Error *err) {
        plan->target = target->path;
        plan->target_is_file = is_file;
        if (target->is_dead) {
                add_step(plan, STEP_DETACH_DEAD);
                /* What is below it is only known afterwards: making it is done if it is there. */
                add_step(plan, STEP_MAKE_TARGET);
                return 0;
        }
        if (target->type == 0) {
                add_step(plan, STEP_MAKE_TARGET);
                return 0;
        }
        if (is_file ? S_ISREG(target->type) : S_ISDIR(target->type))
                return 0;
        return error_set(err, ERROR_CONFLICT, "%s is there and is not a %s", target->path,
                         is_file ? "file" : "directory");
}

/* --- mount --- */

const char *mount_plan_type(const MountInput *input) {
        if (input->fs_type[0] != '\0')
                return input->fs_type;
        return str_is_empty(input->rules->default_fs_type) ? "ext4" : input->rules->default_fs_type;
}

/* The driver of ext4 mounts what is called ext2 and ext3 as well, the other way it does not; which
 * driver has NTFS is the host's. */
static bool is_type(const char *asked, const FsVolume *volume) {
        return asked[0] == '\0' || str_equal(asked, volume->type) ||
               (str_equal(asked, "ext4") && volume->kind == FS_KIND_EXT) ||
               (fs_kind_from_type(asked) == FS_KIND_NTFS && volume->kind == FS_KIND_NTFS);
}

static bool is_mounted_type(const char *asked, const char *mounted) {
        const FsVolume volume = {.type = mounted, .kind = fs_kind_from_type(mounted)};

        return is_type(asked, &volume);
}

int mount_flags_judge(const MountOptions *options, unsigned int inherited, unsigned int mounted,
                      const char *target, Error *err) {
        const unsigned int compared = MOUNT_FLAG_NO_EXEC | MOUNT_FLAGS_ATIME |
                                      MOUNT_FLAG_NO_DIR_ATIME | MOUNT_FLAG_NO_SYMLINK_FOLLOW,
                           guards = MOUNT_FLAG_NO_SUID | MOUNT_FLAG_NO_DEV;
        unsigned int asked = (options->set | inherited) & ~options->clear, unlike;
        char is[128], should[128];

        unlike = ((asked ^ mounted) & compared) | (options->clear & mounted & guards);
        if (unlike == 0)
                return 0;
        (void)mount_flags_format(mounted & (compared | guards), is, sizeof(is));
        (void)mount_flags_format(asked & (compared | guards), should, sizeof(should));
        return error_set(
                err, ERROR_CONFLICT,
                "%s is mounted with \"%s\", the request asks for \"%s\": mount options hold "
                "until it is unmounted",
                target, is, should);
}

/* Something is mounted there already: as asked, or not. Nothing is changed or checked. */
static int judge_mounted(const MountInput *input, const DeviceFacts *device,
                         const TargetFacts *target, Error *err) {
        bool wants_write = !input->reads_only && !(input->options->set & MOUNT_FLAG_READ_ONLY);
        bool is_read_only = (target->mount.flags & MOUNT_FLAG_READ_ONLY) != 0;

        if (!target->is_ours)
                return conflict_mounted(target, device->device.path, err);
        if (S_ISBLK(target->type))
                return error_set(err, ERROR_CONFLICT,
                                 "%s is published there as a block device, the request asks for a "
                                 "filesystem",
                                 target->path);
        if (!is_mounted_type(input->fs_type, target->mount.fs_type))
                return error_set(
                        err, ERROR_CONFLICT, "%s is mounted at %s as %s, the request asks for %s",
                        device->device.path, target->path, target->mount.fs_type, input->fs_type);
        if (wants_write != is_read_only)
                return mount_flags_judge(input->options, 0, target->mount.flags, target->path, err);
        return error_set(err, ERROR_CONFLICT, "%s is mounted %s at %s, the request asks for %s",
                         device->device.path, is_read_only ? "read-only" : "for writing",
                         target->path, wants_write ? "writing" : "read-only");
}

static int plan_format_new(const MountInput *input, const DeviceFacts *device, Plan *plan,
                           Error *err) {
        const char *path = device->device.path, *type = mount_plan_type(input);

        if (input->never_formats)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s is blank, and the volume says that it is never to be "
                                 "formatted",
                                 path);
        if (!plan->wants_write && !input->formats_to_read)
                return error_set(
                        err, ERROR_PRECONDITION,
                        "%s is blank and the volume is asked read-only: it is formatted by "
                        "its first use for writing",
                        path);
        if (device->is_read_only)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s is blank and cannot be formatted: the device is read-only",
                                 path);
        if (!device->is_free) {
                error_set(err, ERROR_UNAVAILABLE,
                          "%s is blank and in use by another program: perhaps a mkfs that still "
                          "runs",
                          path);
                if (err)
                        err->os_errno = EBUSY;
                return -EBUSY;
        }
        plan->make_request = (FsMakeRequest){
                .fs_type = type,
                .device = path,
                .size_bytes = device->size_bytes,
                .grow_to_bytes = input->grow_to_bytes,
                .logical_sector_bytes = device->logical_sector_bytes,
                .rules = input->rules,
                .options = input->words ? input->words->words : NULL,
                .n_options = input->words ? input->words->n_words : 0,
                .hosts = input->hosts,
                .n_hosts = input->n_hosts,
        };
        memcpy(plan->make_request.tools, input->hosts[0].tools, sizeof(plan->make_request.tools));
        plan->fs_type = type;
        plan->expect = device_facts_expect(device);
        add_step(plan, STEP_FORMAT);
        return fs_make_plan(&plan->make_request, &plan->make, err);
}

/* Nothing that is lost by it: no tool makes a filesystem so that less than this is left over. */
static uint64_t grow_threshold(const FsVolume *volume) {
        uint64_t slack = (uint64_t)volume->block_bytes * 2048;
        const uint64_t least = UINT64_C(1) << 20;

        return slack > least ? slack : least;
}

static bool can_grow(const FsVolume *volume, uint64_t device_bytes) {
        if (volume->kind != FS_KIND_EXT && volume->kind != FS_KIND_XFS &&
            volume->kind != FS_KIND_BTRFS)
                return false;
        /* The kernel's own bound, of btrfs: what is smaller stays as it is. */
        if (device_bytes < fs_toolset_find(volume->kind)->grows_to_least_bytes)
                return false;
        return volume->n_devices <= 1 && volume->fs_bytes > 0 && device_bytes > volume->fs_bytes &&
               device_bytes - volume->fs_bytes >= grow_threshold(volume);
}

/* A restore to a larger volume, or an expansion that nobody finished. Returns whether the mounted
 * filesystem is to be grown. */
static bool plan_grow(const MountInput *input, const DeviceFacts *device, Plan *plan) {
        if (!plan->wants_write || !can_grow(&plan->volume, device->size_bytes))
                return false;
        plan->fs_bytes = plan->volume.fs_bytes;
        plan->device_bytes = device->size_bytes;
        if (plan->volume.kind != FS_KIND_EXT || input->can_grow_mounted_ext)
                return true;
        if (device->is_free)
                add_step(plan, STEP_GROW_OFFLINE);
        return false;
}

/* ext2, ext3 and ext4 are one. */
static bool is_of_provider(const FormatRules *rules, FsKind kind) {
        const char *const *type = rules->fs_types;

        while (type && *type && fs_kind_from_type(*type) != kind)
                type++;
        return !type || *type;
}

static void list_types(const FormatRules *rules, char *text, size_t n_text) {
        size_t n = 0;

        text[0] = '\0';
        for (size_t i = 0; rules->fs_types[i] && n < n_text; i++)
                n += (size_t)snprintf(text + n, n_text - n, "%s%s", i ? ", " : "",
                                      rules->fs_types[i]);
}

/* A driver of the kernel reads what a tenant wrote: only those that the provider's volumes need. */
static int check_type(const char *path, const MountInput *input, const FsVolume *volume,
                      Error *err) {
        char types[80];

        if (!is_type(input->fs_type, volume))
                return error_set(err, ERROR_PRECONDITION,
                                 "%s holds %s, the request asks for %s: ask for %s, or use another "
                                 "volume",
                                 path, volume->type, input->fs_type, volume->type);
        if (is_of_provider(input->rules, volume->kind))
                return 0;
        list_types(input->rules, types, sizeof(types));
        return error_set(err, ERROR_PRECONDITION,
                         "%s holds %s, which volumes of this provider do not have, expected one of "
                         "%s: copy its files to such a volume",
                         path, volume->type, types);
}

static int judge(const DeviceFacts *device, Plan *plan, Error *err) {
        const FsSituation situation = {
                .logical_sector_bytes = device->logical_sector_bytes,
                .device_read_only = device->is_read_only,
                .uuid_mounted = device->is_uuid_mounted,
        };
        char sentence[FS_SENTENCE_MAX];

        fs_verdict(&plan->volume, plan->host, &situation, &plan->verdict);
        plan->is_judged = true;
        if (plan->verdict.answer == FS_ANSWER_NO ||
            (plan->verdict.answer != FS_ANSWER_RW && plan->wants_write)) {
                fs_verdict_sentence(&plan->volume, plan->host, &plan->verdict, sentence);
                return error_set(err, ERROR_PRECONDITION, "%s: %s", device->device.path, sentence);
        }
        if (plan->verdict.answer != FS_ANSWER_RW || device->is_read_only)
                plan->writes_super = false;
        if (plan->verdict.answer == FS_ANSWER_RO_NORECOVERY)
                (void)mount_options_add(&plan->options,
                                        fs_answer_options(plan->verdict.answer, plan->volume.kind));
        return 0;
}

int mount_decide(const FsVolume *volume, Plan *plan, FsckPlan *check, Error *err) {
        const MountInput *input = plan->input;
        const char *path = plan->device;
        int r;

        plan->volume = *volume;
        r = check_type(path, input, volume, err);
        if (r < 0)
                return r;
        plan->fs_type = str_equal(input->fs_type, "ext4") ? "ext4" : volume->type;
        if (volume->kind == FS_KIND_NTFS && plan->host->ntfs_driver)
                plan->fs_type = plan->host->ntfs_driver;
        r = judge(plan->facts, plan, err);
        options_add_for(&plan->options, plan->fs_type);
        if (r == 0)
                r = options_check_own(path, volume->own_options, &plan->options,
                                      !plan->writes_super, err);
        if (r < 0)
                return r;
        fsck_plan(volume, plan->host, path, !plan->writes_super, check);
        if (check->action == FSCK_ACTION_REFUSE && plan->writes_super && !plan->wants_write) {
                plan->writes_super = false;
                fsck_plan(volume, plan->host, path, true, check);
        }
        if (check->action == FSCK_ACTION_REFUSE)
                return error_set(err, ERROR_PRECONDITION, "%s: %s", path, check->why);
        return 0;
}

static int plan_existing(const MountInput *input, const DeviceFacts *device, Plan *plan,
                         bool *growsp, Error *err) {
        int r = mount_decide(&device->inspection.volume, plan, &plan->fsck, err);

        if (r < 0)
                return r;
        if (device->growth != GROWING_NONE && plan->fsck.action == FSCK_ACTION_PREEN)
                fsck_plan_cut_growth(&plan->volume, plan->device, device->growth == GROWING_CUT,
                                     &plan->fsck);
        /* Mounted somewhere else it is the kernel's, and must not be touched. */
        if (plan->fsck.action == FSCK_ACTION_PREEN && device->is_free)
                add_step(plan, STEP_CHECK);
        *growsp = plan_grow(input, device, plan);
        return 0;
}

static int plan_content(const MountInput *input, const DeviceFacts *device, Plan *plan,
                        bool *growsp, Error *err) {
        const FsInspection *found = &device->inspection;
        bool ours = device->has_unfinished && device->is_free;

        switch (found->find) {
        case FS_FIND_BLANK:
                return plan_format_new(input, device, plan, err);
        case FS_FIND_FILESYSTEM:
                if (!ours || !(found->volume.state & FS_STATE_IN_PROGRESS))
                        return plan_existing(input, device, plan, growsp, err);
                break;
        case FS_FIND_OTHER:
                if (!ours)
                        return error_set(err, ERROR_PRECONDITION,
                                         "%s is not blank and holds no filesystem that can be "
                                         "mounted: %s",
                                         device->device.path, found->why);
                break;
        case FS_FIND_UNKNOWN:
                return error_set(err, ERROR_UNAVAILABLE, "cannot tell what is on %s: %s",
                                 device->device.path, found->why);
        }
        add_step(plan, STEP_WIPE);
        return plan_format_new(input, device, plan, err);
}

int mount_plan(const MountInput *input, const DeviceFacts *device, const TargetFacts *target,
               Plan *plan, Error *err) {
        bool grows = false;
        int r;

        plan->device = device->device.path;
        plan->target = target->path;
        plan->host = &input->hosts[0];
        plan->input = input;
        plan->facts = device;
        plan->writes_super = !(input->options->set & MOUNT_FLAG_READ_ONLY);
        plan->wants_write = plan->writes_super && !input->reads_only;
        if (target->is_mounted && !target->is_dead)
                return judge_mounted(input, device, target, err);
        mount_options_copy(&plan->options, input->options);
        if (input->reads_only)
                plan->options.set |= MOUNT_FLAG_READ_ONLY;
        r = prepare_target(target, false, plan, err);
        if (r == 0)
                r = plan_content(input, device, plan, &grows, err);
        if (r < 0)
                return r;
        options_add_for(&plan->options, plan->fs_type);
        if (!input->has_selinux)
                (void)options_drop_selinux(&plan->options);
        add_step(plan, STEP_MOUNT);
        if (grows)
                add_step(plan, STEP_GROW);
        return 0;
}

/* --- bind --- */

static int check_staged(const TargetFacts *staged, bool wants_write, Error *err) {
        if (!staged->is_mounted)
                return error_set(err, ERROR_PRECONDITION,
                                 "nothing is mounted at the staging path %s: the volume is not "
                                 "staged",
                                 staged->path);
        if (staged->is_dead)
                return error_set(
                        err, ERROR_UNAVAILABLE,
                        "the filesystem at the staging path %s does not answer: its device "
                        "is gone",
                        staged->path);
        if (staged->is_forced_ro && wants_write)
                return error_set(err, ERROR_PRECONDITION,
                                 "the filesystem of %s at %s became read-only after an error: end "
                                 "its pods and let them start again, so that it is checked",
                                 staged->source_name, staged->path);
        return 0;
}

/* Mounted already: the same in the same way, or not. */
static int judge_published(const TargetFacts *target, bool same, bool read_only, const char *wanted,
                           Error *err) {
        bool is_read_only = (target->mount.flags & MOUNT_FLAG_READ_ONLY) != 0;

        if (!same)
                return conflict_mounted(target, wanted, err);
        if (read_only == is_read_only)
                return 0;
        return error_set(err, ERROR_CONFLICT, "%s is published there %s, the request asks for %s",
                         target->path, is_read_only ? "read-only" : "for writing",
                         read_only ? "read-only" : "writing");
}

/* A bind has the flags of what it shows, and its own. */
static int judge_bound(const BindInput *input, const TargetFacts *staged, const TargetFacts *target,
                       Error *err) {
        unsigned int inherited = staged->mount.flags;

        if (!is_mounted_type(input->fs_type, target->mount.fs_type))
                return error_set(err, ERROR_CONFLICT,
                                 "%s is published there as %s, the request asks for %s",
                                 target->path, target->mount.fs_type, input->fs_type);
        return mount_flags_judge(input->options, inherited, target->mount.flags, target->path, err);
}

int bind_plan(const BindInput *input, const TargetFacts *staged, const TargetFacts *target,
              Plan *plan, Error *err) {
        unsigned int set = input->options->set | (input->read_only ? MOUNT_FLAG_READ_ONLY : 0U);
        bool same, read_only = (set & MOUNT_FLAG_READ_ONLY) != 0;
        int r;

        plan->target = target->path;
        plan->source = staged->path;
        if (target->is_mounted && !target->is_dead && staged->is_mounted && !staged->is_dead) {
                same = target->mount.dev == staged->mount.dev &&
                       str_equal(target->mount.root, staged->mount.root);
                read_only = read_only || (staged->mount.flags & MOUNT_FLAG_READ_ONLY);
                r = judge_published(target, same, read_only, staged->source_name, err);
                return r < 0 ? r : judge_bound(input, staged, target, err);
        }
        r = check_staged(staged, !read_only, err);
        if (r == 0)
                r = prepare_target(target, false, plan, err);
        if (r < 0)
                return r;
        plan->options.set = set;
        plan->options.clear = input->options->clear & ~(unsigned int)MOUNT_FLAG_READ_ONLY;
        add_step(plan, STEP_BIND);
        return 0;
}

int block_plan(const BindInput *input, const DeviceFacts *device, const TargetFacts *target,
               Plan *plan, Error *err) {
        bool read_only = input->read_only || (input->options->set & MOUNT_FLAG_READ_ONLY);
        int r;

        plan->target = target->path;
        plan->source = plan->device = device->device.path;
        if (target->is_mounted && !target->is_dead && target->is_ours && !S_ISBLK(target->type))
                return error_set(err, ERROR_CONFLICT,
                                 "%s is published there as a filesystem, the request asks for a "
                                 "block device",
                                 target->path);
        if (target->is_mounted && !target->is_dead)
                return judge_published(target, target->is_ours, read_only, device->device.path,
                                       err);
        /* A node that some driver made there, and not a bind of one. */
        if (S_ISBLK(target->type) && target->is_ours)
                return 0;
        r = prepare_target(target, true, plan, err);
        if (r < 0)
                return r;
        /* Not "nodev": the device is what is wanted. */
        plan->options.set = read_only ? MOUNT_FLAG_READ_ONLY : 0U;
        add_step(plan, STEP_BIND);
        return 0;
}

/* --- what is no disk --- */

int directory_plan(const BindInput *input, const char *directory, const TargetFacts *target,
                   Plan *plan, Error *err) {
        int r;

        plan->source = directory;
        if (target->is_mounted && !target->is_dead)
                return conflict_mounted(target, directory, err);
        r = prepare_target(target, false, plan, err);
        if (r < 0)
                return r;
        plan->options.set = input->options->set | (input->read_only ? MOUNT_FLAG_READ_ONLY : 0U);
        plan->options.clear = input->options->clear & ~(unsigned int)MOUNT_FLAG_READ_ONLY;
        add_step(plan, STEP_BIND);
        return 0;
}

int share_plan(const Share *share, const MountOptions *options, const TargetFacts *target,
               Plan *plan, Error *err) {
        int r;

        if (target->is_mounted && !target->is_dead)
                return conflict_mounted(target, share->source, err);
        r = prepare_target(target, false, plan, err);
        if (r < 0)
                return r;
        plan->share = share;
        plan->fs_type = share->fs_type;
        mount_options_copy(&plan->options, options);
        add_step(plan, STEP_MOUNT_SHARE);
        return 0;
}
