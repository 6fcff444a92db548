/* SPDX-License-Identifier: Apache-2.0 */

/* From a request to a mounted volume: facts, plan, apply; and the way back when that fails. */

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "common/block/block_sysfs.h"
#include "csi/kubelet/holder.h"
#include "csi/metrics/metrics.h"
#include "csi/node/encrypt.h"
#include "csi/node/growing.h"
#include "csi/node/marker.h"
#include "csi/node/node_internal.h"
#include "csi/node/timed.h"
#include "csi/wait/limits.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

Job *job_new(Node *node, const Call *call, const char *volume_id) {
        Job *job = calloc(1, sizeof(*job));

        if (!job)
                return NULL;
        job->node = node;
        job->call = call;
        job->volume.volume_id = volume_id;
        job->target = job->source = NODE_PATH_INIT;
        job->device_fd = job->copy_fd = -1;
        job->copy = DISK_COPY_INIT;
        return job;
}

Job *job_free(Job *job) {
        node_note_hanging(job->node, job->call, job->volume.volume_id);
        target_facts_deinit(&job->target_facts);
        target_facts_deinit(&job->source_facts);
        node_path_close(&job->target);
        node_path_close(&job->source);
        closep(&job->device_fd);
        closep(&job->copy_fd);
        disk_copy_deinit(&job->copy);
        node_locks_release(job->call, &job->locks);
        free(job->hosts);
        free(job);
        return NULL;
}

int job_open_target(Job *job, const char *field, const char *text, Error *err) {
        int r;

        r = node_path_open(&job->target, &job->node->root, field, text, err);
        if (r == NODE_PATH_E_NO_PARENT)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s: the directory that %s is to be in does not exist", field,
                                 text);
        return r;
}

/* What no disk is behind may be dead or hang, and the kernel does not tell without asking. */
static void look(Job *job, const NodePath *path, TargetFacts *facts) {
        struct statvfs usage;

        if (!facts->is_mounted || facts->is_dead || facts->mounted_on != 0 || !S_ISDIR(path->type))
                return;
        facts->is_dead = node_path_is_dead_errno(timed_look(job->node, path, &usage));
}

int job_read_target(Job *job, const NodePath *path, const DeviceFacts *device, TargetFacts *facts,
                    Error *err) {
        int r = target_facts_read(facts, path, device, err);

        if (r == 0)
                look(job, path, facts);
        return r;
}

int job_check_mounted(const Job *job, const char *field, const TargetFacts *facts, Error *err) {
        const Provider *provider = job->node->config.provider;
        bool is_raw = S_ISBLK(facts->type);
        uint64_t devno = is_raw ? facts->rdev : facts->mounted_on;

        if (!facts->is_mounted || facts->is_dead || devno == 0 || !provider->is_another ||
            !provider->is_another(job->node->config.provider_self, job->volume.volume_id, devno,
                                  is_raw))
                return 0;
        return error_set(err, ERROR_PRECONDITION,
                         "%s: another volume than %s is mounted at %s, from %s", field,
                         job->volume.volume_id, facts->path, facts->source_name);
}

/* Of a provider that finds the disk by what it says of itself, and makes nothing on one that is
 * only read. Where it is not found now the path is believed. */
static bool is_on_other_disk(const Job *job, uint64_t devno, Device *device) {
        const Provider *provider = job->node->config.provider;
        cleanup(closep) int root_fd = file_open_root();
        VolumeRef volume = job->volume;
        Call now = *job->call;
        Error error = {0};

        now.deadline_msecs = clock_msecs();
        volume.is_read_only = true;
        return provider->find_device(job->node->config.provider_self, &now, &volume, device,
                                     &error) == 0 &&
               block_sysfs_is_on(root_fd, devno, device->devno) == 0;
}

int job_check_staged_disk(const Job *job, const TargetFacts *staged, Error *err) {
        const Provider *provider = job->node->config.provider;
        Device device = {0};

        if (provider->is_another || !provider->find_device)
                return job_check_mounted(job, "staging_target_path", staged, err);
        if (!staged->is_mounted || staged->is_dead || staged->mounted_on == 0 ||
            !is_on_other_disk(job, staged->mounted_on, &device))
                return 0;
        return error_set(err, ERROR_PRECONDITION,
                         "staging_target_path: another disk than %s of volume %s is mounted at %s, "
                         "from %s",
                         device.path, job->volume.volume_id, staged->path, staged->source_name);
}

int job_open_volume(Job *job, const char *path, Error *silent, Error *err) {
        const Provider *provider = job->node->config.provider;
        int r;

        if (provider->has_volume) {
                r = provider->has_volume(job->node->config.provider_self, job->call,
                                         job->volume.volume_id, err);
                if (r == 0)
                        return error_set(err, ERROR_NOT_FOUND, "volume %s is not known here",
                                         job->volume.volume_id);
                if (r < 0 && (!silent || !err || err->code != ERROR_UNAVAILABLE))
                        return r;
                if (r < 0) {
                        *silent = *err;
                        *err = (Error){0};
                }
        }
        r = node_path_open(&job->target, &job->node->root, "volume_path", path, err);
        if (r < 0 && err && err->code == ERROR_INVALID)
                err->code = ERROR_NOT_FOUND;
        if (r == NODE_PATH_E_NO_PARENT || (r == 0 && job->target.fd < 0 && !job->target.is_dead))
                return error_set(err, ERROR_NOT_FOUND, "volume_path: %s does not exist", path);
        if (r == 0)
                r = target_facts_read(&job->target_facts, &job->target, NULL, err);
        if (r == 0 && !job->target_facts.is_mounted && !S_ISBLK(job->target_facts.type))
                return error_set(err, ERROR_NOT_FOUND, "volume_path: nothing is published at %s",
                                 path);
        return r;
}

int job_adapt(Job *job, const VolumeCapability *capability, Error *err) {
        const Provider *provider = job->node->config.provider;

        job->capability = *capability;
        job->volume.is_block = capability->is_block;
        if (!provider->adapt)
                return 0;
        return provider->adapt(job->node->config.provider_self, job->call, &job->volume,
                               &job->capability, &job->wishes, err);
}

static bool is_short(const Job *job) {
        return job->device.size_bytes > 0 && job->device.size_bytes < job->device.device.size_bytes;
}

/* From the look at who has it mounted or shown, until it is: by its disk, which a partition shares
 * with the whole and with other partitions. Of a disk that got its partition in this call the whole
 * is held already. */
static int hold_disk(Job *job, const Device *device, Error *err) {
        /* Whoever gave a loop device back may hold its number for a moment more. */
        HoldWait wait = {
                .deadline_msecs = clock_msecs() + HOLD_WAIT_MSECS,
                .cancelled = call_is_aborted,
                .userdata = (void *)(uintptr_t)job->call,
        };
        cleanup(closep) int root_fd = file_open_root();
        uint64_t devno = device->devno;
        char key[32];

        if (job->locks.disk.table)
                return 0;
        /* What is gone from sysfs already keeps its own number. */
        (void)block_sysfs_disk(root_fd, devno, &devno);
        (void)snprintf(key, sizeof(key), "%u:%u", major(devno), minor(devno));
        return hold_acquire(job->node->locks, "disk", key, HOLD_EXCLUSIVE, &wait, &job->locks.disk,
                            err);
}

/* Before a provider writes what a disk has beside its filesystem: a pod may have it raw. */
static int may_write(void *userdata, const Device *disk, Error *err) {
        Job *job = userdata;
        int r = hold_disk(job, disk, err);

        return r < 0 ? r : job_check_not_shown(job, disk, err);
}

int job_find_device(Job *job, Error *err) {
        const Provider *provider = job->node->config.provider;
        void *self = job->node->config.provider_self;
        Error error = {0};
        int r;

        job->volume.is_read_only =
                !job->has_ephemeral &&
                (job->reads_only || (job->options.set & MOUNT_FLAG_READ_ONLY) != 0);
        job->volume.may_write = job->is_mount ? may_write : NULL;
        job->volume.userdata = job;
        r = provider->find_device(self, job->call, &job->volume, &job->device.device, err);
        if (r < 0)
                return r;
        r = hold_disk(job, &job->device.device, err);
        if (r < 0)
                return r;
        job->has_device = true;
        r = device_facts_read(&job->device, &job->device_fd, &error);
        if (r < 0 && is_short(job) && provider->rescan_device) {
                error = (Error){0};
                r = provider->rescan_device(self, job->call, &job->volume, &job->device.device,
                                            &error);
                if (r == 0)
                        r = device_facts_read(&job->device, &job->device_fd, &error);
        }
        if (job->node->has_no_sequence)
                job->device.sequence = 0;
        if (r < 0)
                error_move(err, &error);
        return r < 0 ? r : encrypt_open(job, err);
}

static void log_plan(const Job *job) {
        const LogField field = {"volume", job->volume.volume_id};
        cleanup(freep) char *text = NULL;
        char *save = NULL;

        if (!log_is_enabled(LOG_LEVEL_DEBUG))
                return;
        text = plan_format(&job->plan);
        for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
             line = strtok_r(NULL, "\n", &save))
                log_fields(LOG_LEVEL_DEBUG, &field, 1, "plan: %s", line);
        if (job->plan.n_steps == 0)
                log_fields(LOG_LEVEL_DEBUG, &field, 1, "plan: nothing to do");
}

/* Without a number of the disk the provider proves it once more. */
static int prove_again(void *userdata, Error *err) {
        const Job *job = userdata;
        const Device *proven = job->is_encrypted ? &job->disk.device : &job->device.device;
        const Provider *provider = job->node->config.provider;
        Device device = {0};
        int r;

        r = provider->find_device(job->node->config.provider_self, job->call, &job->volume, &device,
                                  err);
        if (r < 0)
                return r;
        if (device.devno == proven->devno)
                return 0;
        return error_set(err, ERROR_UNAVAILABLE,
                         "%s is not the device any more that was found for the volume",
                         proven->path);
}

static int end_copy(void *userdata, bool keeps, Error *err);

/* --- tools that write work on a copy, where the provider makes one --- */

static int begin_copy(void *userdata, int *fdp, Error *err) {
        Job *job = userdata;
        const Provider *provider = job->node->config.provider;
        int r;

        if (!provider->begin_copy || job->is_encrypted)
                return PROVIDER_E_IN_PLACE;
        r = provider->begin_copy(job->node->config.provider_self, job->call, &job->volume,
                                 &job->copy, err);
        if (r != 0) {
                disk_copy_deinit(&job->copy);
                return r;
        }
        job->copy_fd = block_open(job->copy.device.path, O_RDONLY, job->copy.device.devno);
        if (job->copy_fd < 0) {
                r = error_set_errno(err, job->copy_fd, "open %s", job->copy.device.path);
                (void)end_copy(job, false, NULL);
                return r;
        }
        *fdp = job->copy_fd;
        return 0;
}

/* What is behind the descriptor of the copy is the volume's device from now on. */
static int adopt_copy(Job *job, Error *err) {
        DeviceFacts *facts = &job->device;
        int r;

        facts->device = job->copy.device;
        r = device_facts_adopt(facts, job->copy_fd, err);
        if (job->node->has_no_sequence)
                facts->sequence = 0;
        closep(&job->device_fd);
        job->device_fd = fd_steal(&job->copy_fd);
        job->work.device_fd = job->device_fd;
        job->work.devno = facts->device.devno;
        job->work.sequence = facts->sequence;
        return r;
}

static int end_copy(void *userdata, bool keeps, Error *err) {
        Job *job = userdata;
        const Provider *provider = job->node->config.provider;
        int r;

        if (!keeps)
                closep(&job->copy_fd);
        r = provider->end_copy(job->node->config.provider_self, job->call, &job->volume, &job->copy,
                               keeps, err);
        if (r == 0 && keeps)
                r = adopt_copy(job, err);
        closep(&job->copy_fd);
        disk_copy_deinit(&job->copy);
        return r;
}

int job_apply(Job *job, Error *err) {
        log_plan(job);
        if (job->plan.n_steps == 0)
                return 0;
        job->work = (Work){
                .call = job->call,
                .volume_id = job->volume.volume_id,
                .plan = &job->plan,
                .target = &job->target,
                .source_fd = job->source.fd,
                .device_fd = job->device_fd,
                .devno = job->device.device.devno,
                .sequence = job->device.sequence,
                .prove = prove_again,
                .begin_copy = begin_copy,
                .end_copy = end_copy,
                .userdata = job,
        };
        return apply(&job->node->kernel, &job->work, err);
}

int job_bind_block(Job *job, const BindInput *input, Error *err) {
        const Device *device = &job->device.device;
        char link[32];
        int r;

        r = block_plan(input, &job->device, &job->target_facts, &job->plan, err);
        if (r == 0 && job->plan.n_steps > 0)
                r = job_check_not_mounted(job, err);
        if (r == 0 && job->plan.n_steps > 0)
                r = job_forget_notes(job, err);
        if (r < 0)
                return r;
        /* What is shown is the node that was opened when the device was proven, whatever its name
         * stands for by now. */
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", job->device_fd);
        job->source.fd = open(link, O_PATH | O_CLOEXEC);
        if (job->source.fd < 0)
                return error_set_errno(err, errno, "open %s", device->path);
        return job_apply(job, err);
}

/* --- mount --- */

bool job_has_marker(const Job *job, const DeviceFacts *device, FsClaim *claim) {
        Marker marker = {.volume_id = job->volume.volume_id,
                         .sequence = device->sequence,
                         .size_bytes = device->size_bytes};
        bool has = marker_read(&job->target, &marker);

        *claim = marker.claim;
        return has;
}

static int has_data(void *userdata) {
        const Job *job = userdata;

        return job->node->config.provider->has_data(job->node->config.provider_self, job->call,
                                                    &job->volume);
}

static int inspect(Job *job, Error *err) {
        FsClaim claim;
        int r;

        /* Of the disk itself, not of a mapper on it. */
        if (job->node->config.provider->has_data && !job->is_encrypted) {
                job->device.has_data = has_data;
                job->device.has_data_userdata = job;
        }
        r = device_facts_inspect(&job->device, job->device_fd, err);
        if (r < 0)
                return r;
        if (job->device.inspection.find != FS_FIND_BLANK)
                job->device.has_unfinished =
                        job_has_marker(job, &job->device, &claim) && claim.kind != FS_CLAIM_LUKS;
        if (job->device.inspection.find == FS_FIND_FILESYSTEM)
                job->device.growth = growing_read(&job->target, job->device.inspection.volume.uuid);
        return 0;
}

/* What was refused, and how often. */
static void count_refusal(const Job *job) {
        const FsInspection *found = &job->device.inspection;

        if (!job->device.is_inspected)
                return;
        if (found->find == FS_FIND_OTHER)
                node_count(job->node, METRIC_BLANK_TEST_REFUSALS, "not_blank", 1);
        else if (found->find == FS_FIND_UNKNOWN)
                node_count(job->node, METRIC_BLANK_TEST_REFUSALS, "unreadable", 1);
        else if (job->plan.is_judged && job->plan.verdict.answer != FS_ANSWER_RW)
                node_count(job->node, METRIC_COMPATIBILITY_REFUSALS, job->plan.volume.type, 1);
}

/* The provider's own words are trusted, those of the volume's context are not. */
static int choose_words(Job *job, const MountInput *input, Error *err) {
        const FormatDefault *own = input->rules->defaults;
        const char *type = mount_plan_type(input);
        size_t n_own = 0;
        int r;

        r = fs_make_words(input->rules, type, job->volume.volume_context, &job->words, err);
        for (; r == 0 && own && own->fs_type; own++)
                for (size_t i = 0; str_equal(own->fs_type, type) && own->words[i]; i++)
                        n_own++;
        return r < 0 ? r
                     : mkfs_words_check(type, job->words.words + n_own, job->words.n_words - n_own,
                                        err);
}

/* A volume moves: a new filesystem suits more than this node. What the volume itself asks for comes
 * before the node's setting. */
static int choose_cluster(Job *job, MountInput *input, Error *err) {
        FsCluster cluster = job->node->config.cluster;
        const StringMap *context = job->volume.volume_context;
        const char *kernel = context ? string_map_get(context, FS_CLUSTER_KEY_MIN_KERNEL) : NULL;
        const char *pages = context ? string_map_get(context, FS_CLUSTER_KEY_PAGE_SIZES) : NULL;
        int r;

        if (kernel)
                cluster.min_kernel = kernel;
        if (pages)
                cluster.page_sizes = pages;
        r = fs_cluster_hosts(input->hosts, &cluster, &job->hosts, &input->n_hosts, err);
        if (r == 0)
                input->hosts = job->hosts;
        /* The node's own were checked at its start. */
        else if (r == -EINVAL && (kernel || pages))
                r = error_wrap(err, r, "volume_context");
        return r;
}

static int choose_growth(const Job *job, MountInput *input, Error *err) {
        const StringMap *context = job->volume.volume_context;
        const char *text = context ? string_map_get(context, FS_MAKE_KEY_GROW_TO) : NULL;

        if (!text || str_parse_size(text, &input->grow_to_bytes) == 0)
                return 0;
        return error_set(err, ERROR_INVALID,
                         FS_MAKE_KEY_GROW_TO " is \"%.40s\", expected a size like 1Ti", text);
}

/* A new filesystem needs to know the tools; only then they are asked for their versions. */
static int choose_host(Job *job, MountInput *input, Error *err) {
        const DeviceFacts *device = &job->device;
        bool makes = device->is_inspected &&
                     (device->inspection.find == FS_FIND_BLANK || device->has_unfinished);
        int r;

        input->n_hosts = 1;
        r = node_get_host(job->node, makes ? NODE_HOST_TOOLS : NODE_HOST_QUICK, &input->hosts, err);
        if (r < 0 || !makes)
                return r;
        r = choose_words(job, input, err);
        if (r == 0)
                r = choose_growth(job, input, err);
        input->words = &job->words;
        return r < 0 ? r : choose_cluster(job, input, err);
}

/* Whether it was refused by the table of kernels alone: distributions' kernels have more of XFS
 * than their number says, and the kernel can be asked. It complains in its log when it is, so only
 * now. */
static bool is_probe_worth(const Job *job, const MountInput *input) {
        return job->plan.is_judged && job->plan.volume.kind == FS_KIND_XFS &&
               job->plan.verdict.answer != FS_ANSWER_RW && input->n_hosts == 1;
}

static int plan(Job *job, MountInput *input, Error *err) {
        Error error = {0}, probed = {0};
        int r;

        r = mount_plan(input, &job->device, &job->target_facts, &job->plan, &error);
        if (r < 0 && is_probe_worth(job, input) &&
            node_get_host(job->node, NODE_HOST_PROBED, &input->hosts, &probed) == 0) {
                error = (Error){0};
                memset(&job->plan, 0, sizeof(job->plan));
                r = mount_plan(input, &job->device, &job->target_facts, &job->plan, &error);
        }
        if (r < 0)
                error_move(err, &error);
        return r;
}

int job_mount(Job *job, const VolumeCapability *capability, Error *err) {
        MountInput input = {
                .volume_id = job->volume.volume_id,
                .fs_type = capability->fs_type,
                .rules = &job->node->config.provider->format,
                .options = &job->options,
                .can_grow_mounted_ext = job->node->can_grow_mounted_ext,
                .has_selinux = job->node->has_selinux,
                .never_formats = job->wishes.never_formats,
                .reads_only = job->reads_only,
                .formats_to_read = job->has_ephemeral,
        };
        int r;

        job->is_mount = true;
        r = job_find_device(job, err);
        if (r == 0)
                r = job_read_target(job, &job->target, &job->device, &job->target_facts, err);
        /* What is mounted is not looked at any more: it is in use, perhaps since before us. */
        if (r == 0 && (!job->target_facts.is_mounted || job->target_facts.is_dead)) {
                r = job_check_not_shown(job, &job->device.device, err);
                if (r == 0)
                        r = inspect(job, err);
        }
        if (r == 0)
                r = choose_host(job, &input, err);
        if (r < 0)
                return r;
        r = plan(job, &input, err);
        if (r < 0) {
                if (err && err->os_errno == EBUSY)
                        holder_tell_device(job->device.device.devno, err);
                count_refusal(job);
                return r;
        }
        r = job_apply(job, err);
        if (r == 0)
                job_tune(job);
        return r;
}

/* --- what a volume wishes of its device and of its filesystem in sysfs --- */

/* A partition has no queue of its own: it lies in the directory of its disk. */
static int open_attribute(const Job *job, const Tuning *tuning) {
        unsigned int major_number = major(job->device.device.devno),
                     minor_number = minor(job->device.device.devno);
        char path[192], uuid[37];
        int fd;

        if (tuning->is_btrfs) {
                if (job->plan.volume.kind != FS_KIND_BTRFS)
                        return -EMEDIUMTYPE;
                fs_uuid_format(job->plan.volume.uuid, uuid);
                (void)snprintf(path, sizeof(path), "/sys/fs/btrfs/%s/%s", uuid, tuning->attribute);
                fd = open(path, O_WRONLY | O_CLOEXEC);
                return fd < 0 ? -errno : fd;
        }
        (void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major_number, minor_number,
                       tuning->attribute);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT) {
                (void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../%s", major_number,
                               minor_number, tuning->attribute);
                fd = open(path, O_WRONLY | O_CLOEXEC);
        }
        return fd < 0 ? -errno : fd;
}

void job_tune(const Job *job) {
        const LogField field = {"volume", job->volume.volume_id};

        /* Mounted before: it was written then, and others may have changed it since. */
        if (job->plan.n_steps == 0)
                return;
        for (size_t i = 0; i < job->wishes.n_tunings; i++) {
                const Tuning *tuning = &job->wishes.tunings[i];
                cleanup(closep) int fd = open_attribute(job, tuning);
                Error error = {0};
                int r = fd < 0 ? fd : file_write_all(fd, tuning->value, strlen(tuning->value));

                if (r == -EMEDIUMTYPE)
                        log_fields(LOG_LEVEL_WARNING, &field, 1, "%s is for btrfs only",
                                   tuning->attribute);
                else if (r < 0 && error_set_errno(&error, r, "set %s to %s", tuning->attribute,
                                                  tuning->value) < 0)
                        log_fields(LOG_LEVEL_WARNING, &field, 1, "%s", error.message);
        }
}

/* --- undo --- */

void job_give_up(Job *job, Error *err) {
        const Provider *provider = job->node->config.provider;
        const Device *device = &job->device.device;
        Error error = {0};
        int r;

        if (!job->has_device || (!provider->release_device && !job->opened_mapper))
                return;
        closep(&job->device_fd);
        closep(&job->source.fd);
        if (encrypt_give_up(job, &error) < 0) {
                error_join(err, &error);
                if (err)
                        err->code = ERROR_UNAVAILABLE;
                return;
        }
        if (!provider->release_device)
                return;
        if (job->is_encrypted)
                device = &job->disk.device;
        /* Somebody has it mounted or published: it was attached before this call, and stays. Where
         * that cannot be told it stays as well. */
        r = device_is_busy(device->path, device->devno);
        if (r == 0)
                r = device_is_bound(device->devno);
        if (r == 0)
                r = provider->release_device(job->node->config.provider_self, job->call,
                                             &job->volume, &error);
        else if (r > 0)
                r = 0;
        if (r == 0)
                return;
        error_join(err, &error);
        if (err)
                err->code = ERROR_UNAVAILABLE;
}
