/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/condition.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/block/block_sysfs.h"

#include <fcntl.h>
#include <inttypes.h>

static void add(StrBuf *text, const char *clause) {
        strbuf_printf(text, "%s%s", text->n > 0 ? "; " : "", clause);
}

bool condition_judge(const ConditionFacts *facts, char text[CONDITION_MAX]) {
        cleanup(strbuf_deinit) StrBuf buf = {0};
        char clause[160];

        if (facts->is_dead)
                add(&buf, "the filesystem does not answer: its device is gone, or it was shut down "
                          "after an error");
        if (facts->hangs)
                add(&buf, "the filesystem does not answer in time: its device or its server hangs");
        if (facts->has_lost_disk)
                add(&buf,
                    "its file was removed or replaced; copy the data out before the pod ends");
        if (facts->is_forced_ro)
                add(&buf, "the filesystem became read-only, or shut down, after an error");
        if (facts->open_errno != 0 && !facts->is_dead) {
                errno = facts->open_errno;
                (void)snprintf(clause, sizeof(clause), "the filesystem cannot be read: %m");
                add(&buf, clause);
        }
        if (facts->has_sizes && facts->device_bytes == 0) {
                add(&buf, "the device has no size any more");
        } else if (facts->has_sizes && facts->fs_bytes > facts->device_bytes) {
                (void)snprintf(clause, sizeof(clause),
                               "the device has %" PRIu64 " bytes, less than the %" PRIu64
                               " of its filesystem",
                               facts->device_bytes, facts->fs_bytes);
                add(&buf, clause);
        }
        if (facts->n_errors > 0) {
                (void)snprintf(clause, sizeof(clause), "%s recorded %" PRIu64 " errors on %s",
                               facts->fs_type, facts->n_errors, facts->device);
                add(&buf, clause);
        }
        if (facts->not_grown)
                strbuf_printf(&buf, "%sthe filesystem did not grow to its device: %s",
                              buf.n > 0 ? "; " : "", facts->not_grown);
        if (buf.n == 0 || buf.failed) {
                (void)snprintf(text, CONDITION_MAX, "no error is known");
                return false;
        }
        (void)snprintf(text, CONDITION_MAX, "%s", strbuf_text(&buf));
        return true;
}

static uint64_t read_number(const char *path) {
        cleanup(freep) char *text = NULL;
        uint64_t value;

        if (file_read_at(AT_FDCWD, path, 4096, &text, NULL) < 0)
                return 0;
        str_trim_end(text);
        return str_parse_u64(text, UINT64_MAX, &value) == 0 ? value : 0;
}

/* The numbers of "write_errs 0\nread_errs 3\n..." together. */
static uint64_t sum_btrfs_errors(const char *path) {
        cleanup(freep) char *text = NULL;
        uint64_t sum = 0, value;
        char *save = NULL;

        if (file_read_at(AT_FDCWD, path, 4096, &text, NULL) < 0)
                return 0;
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                char *space = strchr(line, ' ');

                if (space && str_parse_u64(space + 1, UINT64_MAX, &value) == 0)
                        sum += value;
        }
        return sum;
}

/* /sys/fs/btrfs/<uuid>/devinfo/<id>/error_stats, Linux 5.14, of the filesystem on @device. */
static uint64_t read_btrfs_errors(const char *device) {
        cleanup(closedirp) DIR *dir = opendir("/sys/fs/btrfs");
        struct dirent *entry;
        uint64_t sum = 0;
        char path[512];

        while (dir && (entry = readdir(dir))) {
                (void)snprintf(path, sizeof(path), "/sys/fs/btrfs/%.64s/devices/%.64s",
                               entry->d_name, device);
                if (entry->d_name[0] == '.' || access(path, F_OK) < 0)
                        continue;
                /* A volume has one device; btrfs counts from 1. */
                (void)snprintf(path, sizeof(path), "/sys/fs/btrfs/%.64s/devinfo/1/error_stats",
                               entry->d_name);
                sum += sum_btrfs_errors(path);
        }
        return sum;
}

static uint64_t read_errors(const char *fs_type, const char *device) {
        char path[128];

        if (str_equal(fs_type, "btrfs"))
                return read_btrfs_errors(device);
        if (!str_has_prefix(fs_type, "ext"))
                return 0;
        (void)snprintf(path, sizeof(path), "/sys/fs/ext4/%.64s/errors_count", device);
        return read_number(path);
}

void condition_read(ConditionFacts *facts, const TargetFacts *target, const struct statvfs *usage) {
        cleanup(closep) int root_fd = file_open_root();
        BlockInfo info;
        int r;

        facts->is_dead = target->is_dead;
        facts->fs_type = "";
        facts->device = target->source_name;
        if (target->is_dead)
                return;
        facts->fs_type = target->mount.fs_type;
        facts->is_forced_ro = target->is_forced_ro;
        if (target->mounted_on == 0)
                return;
        r = block_sysfs_info(root_fd, target->mounted_on, &info);
        if (r < 0) {
                facts->is_dead = r == -ENODEV;
                return;
        }
        facts->n_errors = read_errors(facts->fs_type, info.name);
        facts->has_sizes = usage != NULL;
        facts->device_bytes = info.size_bytes;
        if (usage)
                facts->fs_bytes = (uint64_t)usage->f_blocks * usage->f_frsize;
}
