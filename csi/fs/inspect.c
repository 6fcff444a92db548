/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a device: who it is, how large, which filesystem, which other signature, and at last
 * whether every region where signatures live is zero. The order puts the cheap answers first; only
 * "blank" needs them all.
 */

#include "csi/fs/inspect.h"

#include "csi/fs/bytes.h"
#include "csi/fs/inspect_internal.h"
#include "csi/fs/signatures.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB         (UINT64_C(1) << 20)
#define EDGE_BYTES  131072UL
#define CHUNK_BYTES 1048576UL

#define ZFS_MAGIC          UINT64_C(0x00bab10c)
#define ZFS_RING_AT        0x20000U
#define ZFS_LOOK_BYTES     32768U
#define ZFS_UBERBLOCKS_MIN 4U

typedef struct Look {
        int fd;
        FsInspection *out;
        uint8_t *chunk; /* CHUNK_BYTES */
} Look;

const char *fs_find_name(FsFind find) {
        static const char *const names[] = {"unknown", "blank", "filesystem", "other"};

        return names[find];
}

static void conclude(FsInspection *out, FsFind find, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static void conclude(FsInspection *out, FsFind find, const char *format, ...) {
        va_list args;

        out->find = find;
        va_start(args, format);
        vsnprintf(out->why, sizeof(out->why), format, args);
        va_end(args);
        str_make_utf8(out->why);
}

static void could_not_read(FsInspection *out, int r, uint64_t offset) {
        out->read_errno = -r;
        errno = -r;
        conclude(out, FS_FIND_UNKNOWN, "could not be read at offset %llu: %m",
                 (unsigned long long)offset);
}

void inspect_hit(FsInspection *out, const FsHit *hit) {
        for (size_t i = 0; i < out->n_hits; i++) {
                if (str_equal(out->hits[i].type, hit->type)) {
                        out->hits[i].bad_checksum |= hit->bad_checksum;
                        return;
                }
        }
        if (out->n_hits < FS_HITS_MAX)
                out->hits[out->n_hits++] = *hit;
}

/* Fills look->chunk with [offset, offset + n), n <= CHUNK_BYTES. A short read is an error: the
 * device said how long it is. */
static int look_read(Look *look, uint64_t offset, size_t n) {
        size_t done = 0;

        while (done < n) {
                ssize_t r = pread(look->fd, look->chunk + done, n - done, (off_t)(offset + done));

                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0)
                        return -errno;
                if (r == 0)
                        return -EIO;
                done += (size_t)r;
        }
        look->out->n_read += n;
        return 0;
}

static void look_scan(Look *look, uint64_t offset, size_t n) {
        SignatureHit found[FS_HITS_MAX];
        size_t n_found =
                signatures_scan(look->chunk, n, offset, look->out->size_bytes, found, FS_HITS_MAX);

        for (size_t i = 0; i < n_found; i++) {
                FsHit hit = {.offset = found[i].offset};

                snprintf(hit.type, sizeof(hit.type), "%s", found[i].type);
                snprintf(hit.usage, sizeof(hit.usage), "%s", found[i].usage);
                inspect_hit(look->out, &hit);
        }
}

/* Both ends, where most signatures are. */
static int look_edges(Look *look) {
        uint64_t size = look->out->size_bytes;
        uint64_t offsets[2] = {0, size > EDGE_BYTES ? size - EDGE_BYTES : 0};
        size_t n = size < EDGE_BYTES ? (size_t)size : EDGE_BYTES;

        for (size_t i = 0; i < 2; i++) {
                int r = look_read(look, offsets[i], n);

                if (r < 0) {
                        could_not_read(look->out, r, offsets[i]);
                        return r;
                }
                look_scan(look, offsets[i], n);
        }
        return 0;
}

/*
 * libblkid reads a MiB to look for ZFS, which is a third of a stage. Beside a filesystem that is
 * whole it is enough to look where each of its four labels begins to write: a pool that was ever
 * used has many uberblocks there. As libblkid, four are wanted: less may be data of a user.
 */
static int look_zfs(Look *look) {
        uint64_t size = look->out->size_bytes & ~UINT64_C(0x3ffff);
        uint64_t labels[] = {0, 0x40000, size - 0x80000, size - 0x40000};
        unsigned int n_found = 0;

        for (size_t i = 0; size >= 0x200000 && i < N_ELEMENTS(labels); i++) {
                uint64_t offset = labels[i] + ZFS_RING_AT;
                int r = look_read(look, offset, ZFS_LOOK_BYTES);

                if (r < 0) {
                        could_not_read(look->out, r, offset);
                        return r;
                }
                for (size_t at = 0; at < ZFS_LOOK_BYTES; at += 1024)
                        if (le64(look->chunk + at) == ZFS_MAGIC ||
                            be64(look->chunk + at) == ZFS_MAGIC)
                                n_found++;
        }
        if (n_found >= ZFS_UBERBLOCKS_MIN)
                inspect_hit(look->out, &(FsHit){.type = "zfs_member",
                                                .usage = "filesystem",
                                                .offset = labels[0] + ZFS_RING_AT});
        return 0;
}

/* strcmp() by another name: through str_equal() gcc 12 sees a string of no bytes. */
static bool has_text(const char *text, const char *wanted) {
        size_t n = strlen(wanted);

        return strlen(text) == n && memcmp(text, wanted, n) == 0;
}

/* A signature that the reader's own format explains, or that a mkfs of it leaves behind without
 * harm: the backup of a partition table that is gone, and tables of other machines, which libblkid
 * also sees in random bytes. */
static bool hit_is_harmless(const FsHit *hit, const FsVolume *volume) {
        if (has_text(hit->type, volume->type) || has_text(hit->type, "gpt-backup"))
                return true;
        if (has_text(hit->usage, "partitions") && !has_text(hit->type, "gpt") &&
            !has_text(hit->type, "dos"))
                return true;
        if (volume->kind == FS_KIND_EXT && fs_kind_from_type(hit->type) == FS_KIND_EXT)
                return true;
        if (volume->kind == FS_KIND_NTFS && has_text(hit->type, "ntfs"))
                return true;
        /* Boot code and the mark of a boot sector are part of these. */
        return (volume->kind == FS_KIND_VFAT || volume->kind == FS_KIND_EXFAT ||
                volume->kind == FS_KIND_NTFS) &&
               has_text(hit->type, "dos");
}

static void conclude_volume(FsInspection *out) {
        const FsVolume *volume = &out->volume;

        for (size_t i = 0; i < out->n_hits; i++) {
                if (!hit_is_harmless(&out->hits[i], volume)) {
                        conclude(out, FS_FIND_OTHER, "holds %s and also %s at offset %llu",
                                 volume->type, out->hits[i].type,
                                 (unsigned long long)out->hits[i].offset);
                        return;
                }
        }
        if (volume->state & FS_STATE_JOURNAL_DEVICE)
                conclude(out, FS_FIND_OTHER, "holds an external ext journal");
        else if (volume->checksum == FS_CHECKSUM_BAD)
                conclude(out, FS_FIND_FILESYSTEM, "holds %s whose superblock checksum is wrong",
                         volume->type);
        else
                conclude(out, FS_FIND_FILESYSTEM, "holds %s", volume->type);
}

static void conclude_hits(FsInspection *out) {
        const FsHit *hit = &out->hits[0];

        conclude(out, FS_FIND_OTHER, "holds %s%s at offset %llu%s", hit->type,
                 hit->bad_checksum ? " with a wrong checksum" : "", (unsigned long long)hit->offset,
                 out->n_hits > 1 ? " and more" : "");
}

static size_t first_nonzero(const uint8_t *data, size_t n) {
        static const uint8_t zeros[4096];

        for (size_t at = 0; at < n; at += sizeof(zeros)) {
                size_t part = n - at < sizeof(zeros) ? n - at : sizeof(zeros);

                if (memcmp(data + at, zeros, part) == 0)
                        continue;
                while (data[at] == 0)
                        at++;
                return at;
        }
        return n;
}

/* Every region, read and zero. */
static void look_regions(Look *look) {
        FsInspection *out = look->out;
        FsRegion regions[FS_REGIONS_MAX];
        size_t n_regions = fs_blank_regions(out->size_bytes, regions);
        uint64_t data_at = UINT64_MAX;

        for (size_t i = 0; i < n_regions; i++) {
                for (uint64_t at = 0; at < regions[i].n; at += CHUNK_BYTES) {
                        uint64_t left = regions[i].n - at, offset = regions[i].offset + at;
                        size_t n = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES, nonzero;
                        int r = look_read(look, offset, n);

                        if (r < 0) {
                                could_not_read(out, r, offset);
                                return;
                        }
                        nonzero = first_nonzero(look->chunk, n);
                        if (nonzero == n)
                                continue;
                        look_scan(look, offset, n);
                        if (data_at == UINT64_MAX)
                                data_at = offset + nonzero;
                }
        }
        if (data_at == UINT64_MAX)
                conclude(out, FS_FIND_BLANK, "is blank");
        else if (out->n_hits)
                conclude_hits(out);
        else
                conclude(out, FS_FIND_OTHER, "holds data that nothing here knows, at offset %llu",
                         (unsigned long long)data_at);
}

/* A filesystem that lost its primary superblock is one, not a blank device. */
static bool look_backup(Look *look, const FsReader *reader) {
        FsVolume volume;
        int r = fs_read_backup(reader, &volume);

        if (r == FS_E_NONE)
                return false;
        if (r < 0) {
                could_not_read(look->out, r, 0);
                return true;
        }
        look->out->volume = volume;
        conclude(look->out, FS_FIND_OTHER,
                 "holds %s that lost its superblock (a copy is at offset %llu)", volume.type,
                 (unsigned long long)volume.backup_offset);
        return true;
}

static void look(Look *look, const FsReader *reader) {
        FsInspection *out = look->out;
        bool found, whole;
        int r;

        r = fs_read_volume(reader, &out->volume);
        if (r < 0) {
                could_not_read(out, r, 0);
                return;
        }
        found = r == 0;
        whole = found && out->volume.checksum != FS_CHECKSUM_BAD;
        if (look_edges(look) < 0 || (whole && look_zfs(look) < 0))
                return;
        r = inspect_library(look->fd, whole ? "zfs_member" : NULL, out);
        if (r < 0) {
                out->read_errno = -r;
                errno = -r;
                conclude(out, FS_FIND_UNKNOWN, "could not be probed: %m");
        } else if (found) {
                conclude_volume(out);
        } else if (out->n_hits) {
                conclude_hits(out);
        } else if (!look_backup(look, reader)) {
                look_regions(look);
        }
}

/* Who it is and how long, before anything is read. Returns false when that is already the answer.
 */
static bool is_expected(int fd, const FsExpect *expect, FsInspection *out) {
        struct stat st;

        if (fstat(fd, &st) < 0) {
                could_not_read(out, -errno, 0);
                return false;
        }
        if (expect && expect->devno && (!S_ISBLK(st.st_mode) || st.st_rdev != expect->devno)) {
                conclude(out, FS_FIND_UNKNOWN, "is not the device that was proven");
                return false;
        }
        if (out->size_bytes < 65536) {
                conclude(out, FS_FIND_UNKNOWN, "has %llu bytes, too few for any filesystem",
                         (unsigned long long)out->size_bytes);
                return false;
        }
        if (expect && expect->size_bytes && expect->size_bytes != out->size_bytes) {
                conclude(out, FS_FIND_UNKNOWN, "has %llu bytes where %llu were expected",
                         (unsigned long long)out->size_bytes,
                         (unsigned long long)expect->size_bytes);
                return false;
        }
        return true;
}

int fs_inspect(int fd, const FsExpect *expect, FsInspection *inspection, Error *err) {
        cleanup(freep) uint8_t *chunk = malloc(CHUNK_BYTES);
        Look state = {.fd = fd, .out = inspection, .chunk = chunk};
        FsReader reader;
        int r;

        memset(inspection, 0, sizeof(*inspection));
        if (!chunk)
                return error_set(err, ERROR_EXHAUSTED, "no memory to look at a device");
        r = fs_reader_from_fd(&reader, fd);
        if (r < 0)
                return error_set_errno(err, r, "find the size of the device");
        inspection->size_bytes = reader.size_bytes;
        if (is_expected(fd, expect, inspection))
                look(&state, &reader);
        return 0;
}

int fs_blank_test(int fd, const FsExpect *expect, Error *err) {
        cleanup(freep) FsInspection *inspection = malloc(sizeof(*inspection));
        int r;

        if (!inspection)
                return error_set(err, ERROR_EXHAUSTED, "no memory to look at a device");
        r = fs_inspect(fd, expect, inspection, err);
        if (r < 0)
                return r;
        if (inspection->find == FS_FIND_BLANK)
                return 0;
        if (inspection->find == FS_FIND_UNKNOWN)
                return error_set(err, ERROR_PRECONDITION,
                                 "not formatted: whether the device is blank is not known: it %s",
                                 inspection->why);
        return error_set(err, ERROR_PRECONDITION, "not formatted: the device is not blank: it %s",
                         inspection->why);
}
