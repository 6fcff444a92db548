/* SPDX-License-Identifier: Apache-2.0 */

/* What a volume wishes of its device and of its filesystem in sysfs. */

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "csi/node/node_internal.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

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
