/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/encrypt.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "csi/kubelet/holder.h"
#include "csi/luks/crypt.h"
#include "csi/luks/header.h"
#include "csi/luks/mapper_note.h"
#include "csi/metrics/metrics.h"
#include "csi/node/marker.h"

#include <fcntl.h>
#include <sys/stat.h>

/* Of berth-luks beside the key derivation: libraries and the header of LUKS2. */
#define OPEN_MEMORY_BYTES (UINT64_C(48) << 20)
/* And with a derivation as luks_format() chooses it. */
#define FORMAT_MEMORY_BYTES (OPEN_MEMORY_BYTES + (UINT64_C(64) << 20))

/* udev looks at what is new, and holds it for a moment. */
#define REMOVE_TRIES_MAX  25
#define REMOVE_WAIT_MSECS 40

static CryptRun crypt_run(const Job *job) {
        return (CryptRun){call_is_aborted, (void *)(uintptr_t)job->call};
}

static void log_mapper(const Job *job, LogLevel level, const char *what, const char *name) {
        const LogField fields[] = {
                {"volume", job->volume.volume_id},
                {"mapper", name},
                {"device", job->disk.device.path[0] != '\0' ? job->disk.device.path : NULL},
        };

        log_fields(level, fields, N_ELEMENTS(fields), "%s", what);
}

/* --- mappers --- */

static bool is_of_header(const Mapper *mapper, const LuksHeader *header) {
        char wanted[MAPPER_UUID_MAX];

        mapper_note_uuid(header, wanted);
        return str_has_prefix(mapper->uuid, wanted);
}

/* --- whose they are, for who looks after what is left --- */

/* @mapper: NULL: it is not open yet. Freeing and serving never need room: without the note it
 * stays, if it is left behind. */
static void note_mapper(const Job *job, const char *uuid, const Mapper *mapper, bool is_left) {
        MapperNote note = {.devno = mapper ? mapper->devno : 0,
                           .sequence = mapper ? mapper->sequence : 0,
                           .is_left = is_left};
        int r = -ENAMETOOLONG;

        (void)snprintf(note.mapper, sizeof(note.mapper), "%s", job->encryption.name);
        (void)snprintf(note.uuid, sizeof(note.uuid), "%s", uuid);
        if (strlen(job->volume.volume_id) < sizeof(note.volume_id)) {
                (void)snprintf(note.volume_id, sizeof(note.volume_id), "%s", job->volume.volume_id);
                r = mapper_note_write(job->node->config.state_dir, &note);
        }
        if (r < 0) {
                errno = -r;
                log_warning("note whose /dev/mapper/%s is: %m", note.mapper);
        }
}

static void forget_mapper(const Job *job, const char *name) {
        int r = mapper_note_remove(job->node->config.state_dir, name);

        if (r < 0) {
                errno = -r;
                log_warning("remove the note of /dev/mapper/%s: %m", name);
        }
}

static int remove_mapper(const Mapper *mapper) {
        int r = mapper_remove(mapper);

        for (int i = 0; i < REMOVE_TRIES_MAX && r == -EBUSY; i++) {
                clock_sleep(REMOVE_WAIT_MSECS);
                r = mapper_remove(mapper);
        }
        return r;
}

/*
 * Of the volume's name, and not on the volume's disk: left by a disk that was pulled away, or by
 * another volume. The kernel refuses to remove what anybody has open or mounted; a device node that
 * is bound for a pod is asked for beside that.
 */
static int close_stale(const Job *job, const Mapper *mapper, Error *err) {
        int r;

        if (!mapper->is_crypt || mapper->n_slaves > 1)
                return error_set(err, ERROR_PRECONDITION,
                                 "/dev/mapper/%s is not an encrypted volume, and has the name that "
                                 "the one of %s is to get: it is left alone",
                                 mapper->name, job->disk.device.path);
        r = device_is_bound(mapper->devno);
        if (r == 0)
                r = remove_mapper(mapper);
        if (r > 0 || r == -EBUSY)
                return error_set(err, ERROR_PRECONDITION,
                                 "/dev/mapper/%s (%s) does not lie on %s but on %s, and is in use: "
                                 "it is not closed. End what uses it, then: cryptsetup close %s",
                                 mapper->name, mapper->kernel_name, job->disk.device.path,
                                 mapper->n_slaves == 0 ? "a disk that is gone" : "another disk",
                                 mapper->name);
        if (r < 0)
                return error_set_errno(err, r, "close the stale /dev/mapper/%s", mapper->name);
        log_mapper(job, LOG_LEVEL_WARNING, "closed a stale mapper", mapper->name);
        return 0;
}

/* Whether the mapper of the volume's name is this volume's: 1; 0 there is none, any more. */
static int find_open(Job *job, Error *err) {
        cleanup(closep) int root_fd = file_open_root();
        LuksHeader header;
        int r;

        r = mapper_find(root_fd, job->encryption.name, &job->mapper);
        if (r == -ENODEV)
                return 0;
        if (r < 0)
                return error_set_errno(err, r, "look for /dev/mapper/%s", job->encryption.name);
        if (!job->mapper.is_crypt || job->mapper.n_slaves != 1 ||
            job->mapper.slave != job->disk.device.devno)
                return close_stale(job, &job->mapper, err);
        r = luks_header_read(job->device_fd, &header);
        if (r < 0 || !is_of_header(&job->mapper, &header))
                return error_set(err, ERROR_PRECONDITION,
                                 "/dev/mapper/%s lies on %s, and the LUKS header there is not the "
                                 "one that it was opened with: somebody wrote to the disk",
                                 job->mapper.name, job->disk.device.path);
        return 1;
}

/* By the name that everybody knows, if it is there. */
static int take_mapper(Job *job, Error *err) {
        Device *device = &job->device.device;
        struct stat status;

        memset(&job->device, 0, sizeof(job->device));
        closep(&job->device_fd);
        device->devno = job->mapper.devno;
        (void)snprintf(device->path, sizeof(device->path), "/dev/mapper/%.100s", job->mapper.name);
        if (strlen(job->mapper.name) > 100 || stat(device->path, &status) < 0 ||
            !S_ISBLK(status.st_mode) || status.st_rdev != device->devno)
                (void)snprintf(device->path, sizeof(device->path), "/dev/%s",
                               job->mapper.kernel_name);
        return device_facts_read(&job->device, &job->device_fd, err);
}

/* --- what is on the disk --- */

static bool is_luks(const FsInspection *found) {
        for (size_t i = 0; i < found->n_hits; i++)
                if (str_has_prefix(found->hits[i].type, "crypto_LUKS") &&
                    found->hits[i].offset == 0)
                        return true;
        return false;
}

static int may_format(const Job *job, Error *err) {
        const char *path = job->disk.device.path;
        int r;

        if (job->volume.is_read_only)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s is blank and the volume is asked read-only: it is encrypted "
                                 "and formatted by its first use for writing",
                                 path);
        if (job->disk.is_read_only)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s is blank and cannot be encrypted: the device is read-only",
                                 path);
        if (job->disk.is_free)
                return 0;
        r = error_set(err, ERROR_UNAVAILABLE, "%s is blank and in use by another program", path);
        holder_tell_device(job->disk.device.devno, err);
        return r;
}

/* Whether a header was being written here when the process was killed. What of it can be proven
 * ours is wiped, and the disk looked at again. One with a key slot is complete: it is opened, and
 * what is behind it is judged then, whatever a note says. */
static int take_back_unfinished(Job *job, Error *err) {
        FsClaim claim;
        Error why = {0};

        if (job->disk.inspection.find == FS_FIND_BLANK ||
            !job_has_marker(job, &job->disk, &claim) || claim.kind != FS_CLAIM_LUKS ||
            luks_is_used(job->device_fd) != 0)
                return 0;
        if (fs_take_back(job->device_fd, &claim, &why) < 0) {
                log_mapper(job, LOG_LEVEL_INFO, why.message, job->encryption.name);
                return 0;
        }
        log_mapper(job, LOG_LEVEL_WARNING, "took back a LUKS header that was half written",
                   job->encryption.name);
        return device_facts_inspect(&job->disk, job->device_fd, err);
}

int encrypt_take_back(Job *job, Error *err) {
        int r;

        memcpy(&job->disk, &job->device, sizeof(job->disk));
        r = device_facts_inspect(&job->disk, job->device_fd, err);
        return r < 0 ? r : take_back_unfinished(job, err);
}

int encrypt_follow(Job *job, Error *err) {
        cleanup(closep) int root_fd = file_open_root();
        int r;

        if (!job->node->config.provider->encryption ||
            mapper_find_crypt_on(root_fd, job->device.device.devno, &job->mapper) < 0)
                return 0;
        memcpy(&job->disk, &job->device, sizeof(job->disk));
        r = take_mapper(job, err);
        return r < 0 ? r : 1;
}

/* 1: a header is to be written; 0: there is one. */
static int judge(Job *job, LuksHeader *header, Error *err) {
        const FsInspection *found = &job->disk.inspection;
        const char *path = job->disk.device.path;
        int r;

        switch (found->find) {
        case FS_FIND_BLANK:
                r = may_format(job, err);
                return r < 0 ? r : 1;
        case FS_FIND_FILESYSTEM:
                return error_set(
                        err, ERROR_PRECONDITION,
                        "the volume is asked for as encrypted, and %s holds %s that is not: "
                        "nothing was changed on it",
                        path, found->volume.type);
        case FS_FIND_UNKNOWN:
                return error_set(err, ERROR_UNAVAILABLE, "cannot tell what is on %s: %s", path,
                                 found->why);
        case FS_FIND_OTHER:
                break;
        }
        if (!is_luks(found) || luks_header_read(job->device_fd, header) < 0)
                return error_set(
                        err, ERROR_PRECONDITION,
                        "the volume is asked for as encrypted, and %s is neither blank nor "
                        "LUKS: %s",
                        path, found->why);
        return 0;
}

/* --- open --- */

static int enter(Job *job, uint64_t memory_bytes, BudgetTicket *ticket, Error *err) {
        return wait_for_place(job->call, job->node->budget, memory_bytes, call_is_aborted, ticket,
                              err);
}

static void budget_leavep(BudgetTicket *ticket) {
        budget_leave(ticket);
}

/* Before it is there, with @mapper NULL, so that a process that is killed leaves nothing that
 * nobody knows. One that was left is asked for again. */
static void note_opening(const Job *job, const Mapper *mapper) {
        char uuid[MAPPER_UUID_MAX];
        LuksHeader header;
        MapperNote note;

        if (luks_header_read(job->device_fd, &header) < 0)
                return;
        mapper_note_uuid(&header, uuid);
        if (mapper_note_read(job->node->config.state_dir, job->encryption.name, &note) < 0 ||
            note.is_left || !str_equal(note.uuid, uuid) ||
            note.devno != (mapper ? mapper->devno : 0) ||
            note.sequence != (mapper ? mapper->sequence : 0) ||
            !str_equal(note.volume_id, job->volume.volume_id))
                note_mapper(job, uuid, mapper, false);
}

static int open_mapper(Job *job, uint64_t memory_bytes, Error *err) {
        cleanup(budget_leavep) BudgetTicket ticket = {0};
        cleanup(closep) int root_fd = file_open_root();
        const CryptRun run = crypt_run(job);
        int r;

        r = enter(job, OPEN_MEMORY_BYTES + memory_bytes, &ticket, err);
        if (r < 0)
                return r;
        note_opening(job, NULL);
        r = crypt_open_volume(&job->disk.device, &job->encryption, job->disk.is_read_only, &run,
                              err);
        if (r < 0)
                return r;
        r = mapper_find(root_fd, job->encryption.name, &job->mapper);
        if (r == 0 && (job->mapper.n_slaves != 1 || job->mapper.slave != job->disk.device.devno))
                r = -EIO;
        if (r < 0)
                return error_set_errno(err, r,
                                       "/dev/mapper/%s was opened, and is not there as "
                                       "it should be",
                                       job->encryption.name);
        job->opened_mapper = true;
        note_opening(job, &job->mapper);
        log_mapper(job, LOG_LEVEL_INFO, "opened the encrypted volume", job->mapper.name);
        return 0;
}

/* Where the marker is to be. */
static int make_target(Job *job, Error *err) {
        NodePath *target = &job->target;

        if (!job->is_mount || target->fd >= 0 || target->is_dead)
                return 0;
        if (mkdirat(target->parent_fd, target->name, 0750) < 0 && errno != EEXIST)
                return error_set_errno(err, errno, "make %s", target->text);
        return node_path_reopen(target, err);
}

/* A kernel without dm-crypt, or a key derivation that was killed: on another node the header alone
 * would be neither a volume nor blank. */
static void take_back(Job *job, const FsClaim *claim, Error *err) {
        Error other = {0};

        if (fs_take_back(job->device_fd, claim, &other) < 0) {
                error_join(err, &other);
                return;
        }
        (void)marker_remove(&job->target);
        log_mapper(job, LOG_LEVEL_WARNING,
                   "took the new LUKS header away again, since it cannot be opened here",
                   job->encryption.name);
}

static int mark_disk(const Job *job, const FsClaim *claim) {
        cleanup(closep) int fd = block_reopen(job->device_fd, O_RDWR | O_EXCL);

        return fd < 0 ? fd : fs_luks_mark(fd, claim);
}

static int write_header(Job *job, FsClaim *claim, Error *err) {
        cleanup(budget_leavep) BudgetTicket ticket = {0};
        const CryptRun run = crypt_run(job);
        Marker marker = {.volume_id = job->volume.volume_id,
                         .sequence = job->disk.sequence,
                         .size_bytes = job->disk.size_bytes,
                         .claim.kind = FS_CLAIM_LUKS};
        char uuid[37];
        int r;

        r = enter(job, FORMAT_MEMORY_BYTES, &ticket, err);
        if (r == 0)
                r = make_target(job, err);
        if (r < 0)
                return r;
        r = fs_uuid_make(marker.claim.uuid);
        if (r == 0)
                r = marker_write(&job->target, &marker);
        if (r < 0)
                return error_set_errno(err, r, "note in %s that a format begins", job->target.text);
        r = mark_disk(job, &marker.claim);
        if (r < 0)
                return error_set_errno(err, r, "note on the disk that a LUKS header begins");
        *claim = marker.claim;
        fs_uuid_format(claim->uuid, uuid);
        log_mapper(job, LOG_LEVEL_INFO, "encrypting a blank disk", job->encryption.name);
        return crypt_format_volume(job->device_fd, &job->disk.device, &job->encryption, uuid, &run,
                                   err);
}

/*
 * What a new mapper shows of zeros is noise: where a blank test looks for signatures it is made
 * zero, so that the mapper can be proven blank in its turn. The marker stays until there is a
 * filesystem: until then the noise between means nothing.
 */
static int blank_mapper(Job *job, Error *err) {
        cleanup(closep) int fd = block_reopen(job->device_fd, O_RDWR | O_EXCL);
        int r = fd < 0 ? fd : fs_zero_places(fd);

        job->device.is_new_mapper = r == 0;
        return r < 0 ? error_set_errno(err, r, "make %s blank", job->device.device.path) : 0;
}

/*
 * The disk was proven blank. Without a marker (no sequence number before Linux 5.15, a target that
 * is a file) a crash before the filesystem is made needs a person.
 */
static int format_mapper(Job *job, Error *err) {
        FsClaim claim;
        int r;

        r = write_header(job, &claim, err);
        if (r < 0)
                return r;
        r = open_mapper(job, FORMAT_MEMORY_BYTES - OPEN_MEMORY_BYTES, err);
        if (r < 0)
                take_back(job, &claim, err);
        else
                r = take_mapper(job, err);
        return r < 0 ? r : blank_mapper(job, err);
}

/* The header was written, and the marker says that no mkfs began: the mapper shows noise, unless
 * another host came further. */
static int finish_mapper(Job *job, Error *err) {
        const FsInspection *found = &job->device.inspection;
        FsClaim claim;
        int r;

        if (!job->is_mount || !job_has_marker(job, &job->disk, &claim) ||
            claim.kind != FS_CLAIM_LUKS)
                return 0;
        job->device.is_new_mapper = true;
        r = device_facts_inspect(&job->device, job->device_fd, err);
        job->device.is_inspected = false;
        if (r < 0 || found->find == FS_FIND_BLANK)
                return r;
        job->device.is_new_mapper = false;
        if (found->find != FS_FIND_OTHER || found->n_hits > 0 ||
            found->volume.kind != FS_KIND_NONE || !job->device.is_free)
                return 0;
        return blank_mapper(job, err);
}

/* Whether this is the publishing of what should have been staged before. */
static bool is_staged(const Job *job) {
        return (job->node->config.provider->flags & PROVIDER_STAGES) &&
               str_equal(job->call->method, "NodePublishVolume");
}

static int open_closed(Job *job, Error *err) {
        LuksHeader header = {0};
        int r;

        if (!job->encryption.passphrase || job->encryption.n_passphrase == 0)
                return error_set(err, is_staged(job) ? ERROR_PRECONDITION : ERROR_INVALID,
                                 "secrets[%s]: expected the passphrase of the encrypted volume, "
                                 "which is not open yet%s",
                                 job->encryption.secret_key,
                                 is_staged(job) ? ": it is not staged" : "");
        r = device_facts_inspect(&job->disk, job->device_fd, err);
        if (r == 0)
                r = take_back_unfinished(job, err);
        if (r == 0)
                r = judge(job, &header, err);
        if (r < 0) {
                if (job->disk.inspection.find == FS_FIND_OTHER)
                        node_count(job->node, METRIC_BLANK_TEST_REFUSALS, "not_blank", 1);
                return r;
        }
        if (r > 0)
                return format_mapper(job, err);
        if (!job->disk.is_free) {
                r = error_set(err, ERROR_PRECONDITION,
                              "%s is in use by another program, perhaps opened under another name "
                              "than %s",
                              job->disk.device.path, job->encryption.name);
                holder_tell_device(job->disk.device.devno, err);
                return r;
        }
        r = open_mapper(job, header.memory_bytes, err);
        if (r == 0)
                r = take_mapper(job, err);
        return r < 0 ? r : finish_mapper(job, err);
}

int encrypt_open(Job *job, Error *err) {
        const Provider *provider = job->node->config.provider;
        int r;

        if (!provider->encryption)
                return 0;
        r = provider->encryption(job->node->config.provider_self, &job->volume, &job->encryption,
                                 err);
        if (r != 0)
                return r == PROVIDER_E_PLAIN ? 0 : r;
        job->is_encrypted = true;
        memcpy(&job->disk, &job->device, sizeof(job->disk));
        r = find_open(job, err);
        if (r < 0)
                return r;
        /* An open mapper is what pods are shown: another one may have it, too. */
        if (r == 0) {
                r = job_check_not_shown(job, &job->disk.device, err);
                return r < 0 ? r : open_closed(job, err);
        }
        note_opening(job, &job->mapper);
        r = take_mapper(job, err);
        return r < 0 ? r : finish_mapper(job, err);
}

/* --- close --- */

/* Opened by a driver before us, it has no note until then. */
static void note_left(Job *job, const Mapper *mapper) {
        (void)snprintf(job->encryption.name, sizeof(job->encryption.name), "%s", mapper->name);
        note_mapper(job, mapper->uuid, mapper, true);
}

static int close_mapper(Job *job, const Mapper *mapper, Error *err) {
        int r = device_is_bound(mapper->devno);

        if (r == 0)
                r = remove_mapper(mapper);
        if (r > 0 || r == -EBUSY) {
                note_left(job, mapper);
                log_mapper(job, LOG_LEVEL_WARNING,
                           "the encrypted volume is still in use elsewhere: closed later",
                           mapper->name);
                return 0;
        }
        if (r < 0)
                return error_set_errno(err, r, "close /dev/mapper/%s", mapper->name);
        forget_mapper(job, mapper->name);
        log_mapper(job, LOG_LEVEL_INFO, "closed the encrypted volume", mapper->name);
        return 0;
}

void encrypt_leave(Job *job, uint64_t devno) {
        cleanup(closep) int root_fd = file_open_root();
        Mapper mapper;

        if (job->node->config.provider->encryption && devno != 0 &&
            mapper_read(root_fd, devno, &mapper) == 0 && mapper.is_crypt)
                note_left(job, &mapper);
}

/* The disk of the volume, if it is there now: nobody waits for it. */
static int find_by_disk(Job *job, int root_fd, Mapper *mapper) {
        const Provider *provider = job->node->config.provider;
        Call call = *job->call;
        Device device = {0};

        call.deadline_msecs = clock_msecs();
        if (provider->find_device(job->node->config.provider_self, &call, &job->volume, &device,
                                  NULL) < 0)
                return -ENODEV;
        return mapper_find_crypt_on(root_fd, device.devno, mapper);
}

int encrypt_close(Job *job, uint64_t devno, Error *err) {
        const Provider *provider = job->node->config.provider;
        cleanup(closep) int root_fd = file_open_root();
        Mapper mapper;
        int r = -ENODEV;

        if (!provider->encryption)
                return 0;
        if (devno != 0)
                r = mapper_read(root_fd, devno, &mapper);
        /* It was mounted or shown right at the volume's path. */
        if (r == 0)
                return mapper.is_crypt ? close_mapper(job, &mapper, err) : 0;
        r = provider->encryption(job->node->config.provider_self, &job->volume, &job->encryption,
                                 NULL);
        if (r != 0)
                return 0;
        r = job->encryption.name[0] != '\0' ? mapper_find(root_fd, job->encryption.name, &mapper)
                                            : find_by_disk(job, root_fd, &mapper);
        if (r == -ENODEV || (r == 0 && !mapper.is_crypt))
                return 0;
        return r < 0 ? error_set_errno(err, r, "look for the mapper of %s", job->volume.volume_id)
                     : close_mapper(job, &mapper, err);
}

int encrypt_give_up(Job *job, Error *err) {
        int r;

        if (!job->opened_mapper)
                return 0;
        r = remove_mapper(&job->mapper);
        job->opened_mapper = false;
        if (r == 0)
                forget_mapper(job, job->mapper.name);
        if (r == 0 || r == -EBUSY)
                return 0;
        return error_set_errno(err, r, "close /dev/mapper/%s", job->mapper.name);
}

/* --- expand --- */

bool encrypt_find_disk(Job *job) {
        cleanup(closep) int root_fd = file_open_root();
        BlockInfo info;

        if (!job->node->config.provider->encryption ||
            mapper_read(root_fd, job->device.device.devno, &job->mapper) < 0 ||
            !job->mapper.is_crypt || job->mapper.n_slaves != 1 ||
            block_sysfs_info(root_fd, job->mapper.slave, &info) < 0)
                return false;
        job->disk.device.devno = info.devno;
        (void)snprintf(job->disk.device.path, sizeof(job->disk.device.path), "/dev/%s", info.name);
        return true;
}

int encrypt_resize(Job *job, Error *err) {
        const Provider *provider = job->node->config.provider;
        cleanup(budget_leavep) BudgetTicket ticket = {0};
        const CryptRun run = crypt_run(job);
        int r;

        /* Which secret it is; that the volume is encrypted, the mapper says. */
        r = provider->encryption(job->node->config.provider_self, &job->volume, &job->encryption,
                                 err);
        if (r < 0)
                return r;
        (void)snprintf(job->encryption.name, sizeof(job->encryption.name), "%s", job->mapper.name);
        r = enter(job, OPEN_MEMORY_BYTES, &ticket, err);
        return r < 0 ? r : crypt_resize_volume(&job->encryption, &run, err);
}
