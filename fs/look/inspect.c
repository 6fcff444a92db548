/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a device: who it is, how large, which filesystem, which other signature, and at last
 * whether all that is read for "blank" is zero. The order puts the cheap answers first; only
 * "blank" needs them all.
 */

#include "fs/look/inspect.h"

#include "fs/formats/format.h"
#include "fs/look/inspect_internal.h"
#include "fs/look/signatures.h"
#include "fs/volume/bytes.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB         (UINT64_C(1) << 20)
#define EDGE_BYTES  131072UL
#define HEAD_BYTES  (UINT64_C(1) << 20)
#define CHUNK_BYTES 131072UL

#define ZFS_MAGIC          UINT64_C(0x00bab10c)
#define ZFS_RING_AT        0x20000U
#define ZFS_LOOK_BYTES     32768U
#define ZFS_UBERBLOCKS_MIN 4U

typedef struct Look {
        int fd;
        const FsExpect *expect; /* NULL: nothing is known */
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

/* A short read is an error: the device said how long it is. */
static int read_all(int fd, uint8_t *bytes, uint64_t offset, size_t n) {
        size_t done = 0;

        while (done < n) {
                ssize_t r = pread(fd, bytes + done, n - done, (off_t)(offset + done));

                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0)
                        return -errno;
                if (r == 0)
                        return -EIO;
                done += (size_t)r;
        }
        return 0;
}

/* Fills look->chunk, of CHUNK_BYTES. */
static int look_read(Look *look, uint64_t offset, size_t n) {
        int r = read_all(look->fd, look->chunk, offset, n);

        if (r == 0)
                look->out->n_read += n;
        return r;
}

static void look_scan(FsInspection *out, const uint8_t *data, uint64_t offset, size_t n,
                      bool copies) {
        SignatureHit found[FS_HITS_MAX];
        size_t n_found =
                signatures_scan(data, n, offset, out->size_bytes, copies, found, FS_HITS_MAX);

        for (size_t i = 0; i < n_found; i++) {
                FsHit hit = {.offset = found[i].offset};

                snprintf(hit.type, sizeof(hit.type), "%s", found[i].type);
                snprintf(hit.usage, sizeof(hit.usage), "%s", found[i].usage);
                inspect_hit(out, &hit);
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
                look_scan(look->out, look->chunk, offsets[i], n, false);
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

/* The mark of a boot sector alone, as a boot loader in front of a filesystem has it, is no table.
 */
static bool is_boot_code(int fd, const FsHit *hit, const FsVolume *volume) {
        SignatureHit hits[8];
        uint8_t sector[512];

        if (volume->kind != FS_KIND_EXT || !has_text(hit->type, "dos") ||
            pread(fd, sector, sizeof(sector), 0) != (ssize_t)sizeof(sector))
                return false;
        for (size_t i = signatures_scan(sector, sizeof(sector), 0, UINT64_MAX, false, hits,
                                        N_ELEMENTS(hits));
             i-- > 0;) {
                if (has_text(hits[i].type, "dos"))
                        return false;
        }
        return true;
}

static void conclude_volume(int fd, FsInspection *out) {
        const FsVolume *volume = &out->volume;

        for (size_t i = 0; i < out->n_hits; i++) {
                if (is_boot_code(fd, &out->hits[i], volume))
                        continue;
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

        if (hit->offset > HEAD_BYTES &&
            (has_text(hit->type, "xfs") || has_text(hit->type, "ext"))) {
                conclude(out, FS_FIND_OTHER,
                         "holds %s that lost its superblock (a copy is at offset %llu)", hit->type,
                         (unsigned long long)hit->offset);
                return;
        }
        conclude(out, FS_FIND_OTHER, "holds %s%s at offset %llu%s", hit->type,
                 hit->bad_checksum ? " with a wrong checksum" : "", (unsigned long long)hit->offset,
                 out->n_hits > 1 ? " and more" : "");
}

/* --- blank --- */

/* Reads that wait side by side: a disk of a cloud answers each after a millisecond, and takes many
 * at once. */
#define READERS_MAX  32
#define READER_STACK 131072UL

/* What the readers share. */
typedef struct Reading {
        int fd;
        const FsRegion *regions;
        size_t n_regions;
        _Atomic size_t next;
        pthread_mutex_t mutex; /* for what follows */
        FsInspection *out;
        uint64_t data_at; /* lowest byte that is not zero; UINT64_MAX */
        uint64_t failed_at;
        int error; /* of the lowest read that failed; 0 */
} Reading;

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

static void note_failure(Reading *reading, uint64_t offset, int r) {
        if (offset >= reading->failed_at)
                return;
        reading->failed_at = offset;
        reading->error = r;
}

static void read_region(Reading *reading, const FsRegion *region, uint8_t *chunk) {
        size_t n = (size_t)region->n, nonzero = n;
        int r = chunk ? read_all(reading->fd, chunk, region->offset, n) : -ENOMEM;

        if (r == 0)
                nonzero = first_nonzero(chunk, n);
        pthread_mutex_lock(&reading->mutex);
        if (r < 0)
                note_failure(reading, region->offset, r);
        else
                reading->out->n_read += n;
        if (nonzero < n) {
                look_scan(reading->out, chunk, region->offset, n, true);
                if (region->offset + nonzero < reading->data_at)
                        reading->data_at = region->offset + nonzero;
        }
        pthread_mutex_unlock(&reading->mutex);
}

static void *read_regions(void *userdata) {
        Reading *reading = userdata;
        uint8_t *chunk = malloc(FS_REGION_BYTES_MAX);
        size_t i;

        while ((i = reading->next++) < reading->n_regions)
                read_region(reading, &reading->regions[i], chunk);
        free(chunk);
        return NULL;
}

/* This thread, and as many more as there may be. */
static void read_side_by_side(Reading *reading) {
        pthread_t threads[READERS_MAX - 1];
        pthread_attr_t attributes;
        size_t n = 0;

        if (pthread_attr_init(&attributes) == 0) {
                (void)pthread_attr_setstacksize(&attributes, READER_STACK);
                while (n < N_ELEMENTS(threads) && n < reading->n_regions &&
                       pthread_create(&threads[n], &attributes, read_regions, reading) == 0)
                        n++;
                (void)pthread_attr_destroy(&attributes);
        }
        (void)read_regions(reading);
        for (size_t i = 0; i < n; i++)
                (void)pthread_join(threads[i], NULL);
}

/* What the provider says of it. False: that is already the answer. */
static bool ask_provider(const Look *look) {
        int r = FS_DATA_UNKNOWN;

        /* What was written through the device, and not yet to what is behind it. */
        if (look->expect && look->expect->has_data)
                r = fsync(look->fd) < 0 ? -errno : look->expect->has_data(look->expect->userdata);

        if (r < 0) {
                look->out->read_errno = -r;
                errno = -r;
                conclude(look->out, FS_FIND_UNKNOWN, "could not be asked for its data: %m");
        } else if (r == 1) {
                conclude(
                        look->out, FS_FIND_OTHER,
                        "holds data, although nothing that is known stands where it is looked for");
        }
        return r == 0 || r == FS_DATA_UNKNOWN;
}

static uint64_t random_phase(void) {
        uint64_t phase = 0;

        /* Without random numbers a fixed phase is as good but for what hides from it. */
        return getrandom(&phase, sizeof(phase), GRND_NONBLOCK) == sizeof(phase) ? phase : 0;
}

static void conclude_reading(Look *look, const Reading *reading) {
        FsInspection *out = look->out;

        if (out->n_hits)
                conclude_hits(out);
        else if (reading->data_at != UINT64_MAX)
                conclude(out, FS_FIND_OTHER, "holds data that nothing here knows, at offset %llu",
                         (unsigned long long)reading->data_at);
        else if (reading->error)
                could_not_read(out, reading->error, reading->failed_at);
        else if (ask_provider(look))
                conclude(out, FS_FIND_BLANK, "is blank");
}

/* Every region, read and zero. */
static void look_regions(Look *look) {
        cleanup(freep) FsRegion *regions = calloc(FS_REGIONS_MAX, sizeof(*regions));
        Reading reading = {.fd = look->fd,
                           .regions = regions,
                           .mutex = PTHREAD_MUTEX_INITIALIZER,
                           .out = look->out,
                           .data_at = UINT64_MAX,
                           .failed_at = UINT64_MAX};
        uint64_t size = look->out->size_bytes;

        if (!regions) {
                could_not_read(look->out, -ENOMEM, 0);
                return;
        }
        if (look->expect && look->expect->is_noise)
                reading.n_regions = fs_known_places(size, regions);
        else
                reading.n_regions = fs_blank_regions(size, random_phase(), regions);
        /* Nothing is read ahead of a sample. */
        (void)posix_fadvise(look->fd, 0, 0, POSIX_FADV_RANDOM);
        read_side_by_side(&reading);
        (void)posix_fadvise(look->fd, 0, 0, POSIX_FADV_NORMAL);
        conclude_reading(look, &reading);
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
        r = fs_inspect_library(look->fd, whole ? "zfs_member" : NULL, out);
        if (r < 0) {
                out->read_errno = -r;
                errno = -r;
                conclude(out, FS_FIND_UNKNOWN, "could not be probed: %m");
        } else if (found) {
                conclude_volume(look->fd, out);
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
        Look state = {.fd = fd, .expect = expect, .out = inspection, .chunk = chunk};
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
