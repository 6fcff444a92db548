/* SPDX-License-Identifier: Apache-2.0 */

/*
 * blkid_do_probe() is called until it finds no more, as wipefs does: blkid_do_safeprobe() stops at
 * the first, and answers "ambivalent" for two.
 */

#include "common/block/block_probe.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* The kernel's own minimum for a filesystem's superblock; libblkid looks at nothing smaller. */
#define SIZE_MIN_BYTES 1025
/* A probe that finds the same thing for ever must end. */
#define STEPS_MAX 64

CLEANUP_DEFINE(blkid_probe, blkid_free_probe);

static const char *get_value(blkid_probe probe, const char *name) {
        const char *value;

        return blkid_probe_lookup_value(probe, name, &value, NULL) == 0 ? value : NULL;
}

static void copy_value(blkid_probe probe, const char *name, char *text, size_t n) {
        const char *value = get_value(probe, name);

        (void)snprintf(text, n, "%s", value ? value : "");
        str_make_utf8(text);
}

static void add(blkid_probe from, BlockProbe *probe) {
        bool is_table = get_value(from, "PTTYPE") != NULL;
        BlockSignature *signature;
        const char *offset;

        if (probe->n_signatures == BLOCK_SIGNATURES_MAX) {
                probe->is_more = true;
                return;
        }
        signature = &probe->signatures[probe->n_signatures++];
        copy_value(from, is_table ? "PTTYPE" : "TYPE", signature->type, sizeof(signature->type));
        copy_value(from, is_table ? "PTUUID" : "UUID", signature->uuid, sizeof(signature->uuid));
        copy_value(from, "LABEL", signature->label, sizeof(signature->label));
        copy_value(from, "USAGE", signature->usage, sizeof(signature->usage));
        if (is_table)
                (void)snprintf(signature->usage, sizeof(signature->usage), "partitions");
        offset = get_value(from, is_table ? "PTMAGIC_OFFSET" : "SBMAGIC_OFFSET");
        signature->has_offset =
                offset && str_parse_u64(offset, UINT64_MAX, &signature->offset) == 0;
        signature->is_bad_checksum = str_equal(get_value(from, "SBBADCSUM"), "1");
}

/* libblkid finds nothing, and does not say why, on parts of LVM and stratis that device mapper
 * keeps to itself: "LVM-<vg><lv>-tmeta". */
static bool is_private_mapper(const struct stat *status) {
        cleanup(fclosep) FILE *file = NULL;
        char path[64], uuid[256] = "";

        if (!S_ISBLK(status->st_mode))
                return false;
        (void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/dm/uuid", major(status->st_rdev),
                       minor(status->st_rdev));
        file = fopen(path, "re");
        if (!file || !fgets(uuid, sizeof(uuid), file))
                return false;
        str_trim_end(uuid);
        return (str_has_prefix(uuid, "LVM-") && strchr(uuid + strlen("LVM-"), '-')) ||
               str_has_prefix(uuid, "CRYPT-TEMP-") || str_has_prefix(uuid, "stratis-1-private");
}

static int check_size(int fd, const struct stat *status) {
        uint64_t size = (uint64_t)status->st_size;
        int r = 0;

        if (S_ISBLK(status->st_mode))
                r = block_get_size(fd, &size);
        else if (!S_ISREG(status->st_mode))
                return -ENOTBLK;
        if (r < 0)
                return r;
        return size < SIZE_MIN_BYTES ? -ENODATA : 0;
}

static int set_up(blkid_probe probe, int fd) {
        errno = 0;
        if (blkid_probe_set_device(probe, fd, 0, 0) != 0)
                return errno ? -errno : -EIO;
        if (blkid_probe_enable_superblocks(probe, 1) != 0 ||
            blkid_probe_set_superblocks_flags(
                    probe, BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
                                   BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID | BLKID_SUBLKS_BADCSUM) !=
                    0 ||
            blkid_probe_enable_partitions(probe, 1) != 0 ||
            blkid_probe_set_partitions_flags(probe, BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT) != 0)
                return -ENOMEM;
        return 0;
}

/* The device may be too short by then, or libblkid may have swallowed an error: what it looks at
 * first and last must be readable. */
static int check_readable(int fd) {
        char bytes[512];
        off_t size = lseek(fd, 0, SEEK_END);

        if (size < 0)
                return -errno;
        if (size < SIZE_MIN_BYTES)
                return -ENODATA;
        if (pread(fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes) ||
            pread(fd, bytes, sizeof(bytes), size - (off_t)sizeof(bytes)) != (ssize_t)sizeof(bytes))
                return errno ? -errno : -EIO;
        return 0;
}

int block_probe(int fd, BlockProbe *probe) {
        return block_probe_without(fd, NULL, probe);
}

static int leave_out(blkid_probe probe, const char *type) {
        /* libblkid does not write to it. */
        char *types[] = {(char *)(uintptr_t)type, NULL};

        return type && blkid_probe_filter_superblocks_type(probe, BLKID_FLTR_NOTIN, types) != 0
                       ? -ENOMEM
                       : 0;
}

int block_probe_without(int fd, const char *type, BlockProbe *probe) {
        cleanup(blkid_free_probep) blkid_probe from = blkid_new_probe();
        struct stat status;
        int r;

        *probe = (BlockProbe){0};
        if (!from)
                return -ENOMEM;
        if (fstat(fd, &status) < 0)
                return -errno;
        r = check_size(fd, &status);
        if (r == 0)
                r = set_up(from, fd);
        if (r == 0)
                r = leave_out(from, type);
        if (r < 0)
                return r;
        for (int i = 0; i < STEPS_MAX; i++) {
                errno = 0;
                r = blkid_do_probe(from);
                if (r != 0)
                        break;
                add(from, probe);
        }
        /* 1: no more. Anything else but -1 is an errno. */
        if (r < 0)
                return r == -1 ? (errno ? -errno : -EIO) : r;
        if (probe->n_signatures > 0)
                return BLOCK_PROBE_E_FOUND;
        if (is_private_mapper(&status))
                return -EACCES;
        return check_readable(fd);
}
