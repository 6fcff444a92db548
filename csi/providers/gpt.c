/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/providers/gpt.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/sha256.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "fs/look/inspect.h"
#include "fs/volume/checksum.h"

#include <fcntl.h>
#include <stdio.h>

#define MIB (1ULL << 20)

#define N_ENTRIES     128U
#define ENTRY_BYTES   128U
#define ENTRIES_BYTES ((size_t)N_ENTRIES * ENTRY_BYTES)
#define HEADER_BYTES  92U
#define DISK_MIN      (4 * MIB)

#define GUID_BYTES 16

/* 0FC63DAF-8483-4772-8E79-3D69D8477DE4, a Linux filesystem; the first three groups are little
 * endian. */
static const uint8_t type_guid[GUID_BYTES] = {0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47,
                                              0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4};

static const uint8_t signature[] = {'E', 'F', 'I', ' ', 'P', 'A', 'R', 'T'};

static void put(uint8_t *at, uint64_t value, size_t n) {
        for (size_t i = 0; i < n; i++)
                at[i] = (uint8_t)(value >> (8 * i));
}

/* A random one by its form (version 4), but always the same for one name. */
static void put_guid(uint8_t *at, const char *name, const char *what) {
        cleanup(freep) char *text = str_printf("%s/%s", name, what);
        uint8_t digest[SHA256_SIZE];

        sha256(text ? text : what, strlen(text ? text : what), digest);
        memcpy(at, digest, GUID_BYTES);
        at[7] = (uint8_t)((at[7] & 0x0f) | 0x40);
        at[8] = (uint8_t)((at[8] & 0x3f) | 0x80);
}

static uint32_t crc32_of(const void *data, size_t n) {
        return ~checksum_crc32(UINT32_MAX, data, n);
}

typedef struct Layout {
        uint64_t n_sectors, n_entry_sectors, first, last; /* first and last of the partition */
        uint64_t sector;
        const char *name;
} Layout;

static void put_mbr(uint8_t *at, const Layout *layout) {
        uint64_t n = layout->n_sectors - 1;

        at[447] = 0x00;
        at[448] = 0x02; /* cylinder 0, head 0, sector 2 */
        at[450] = 0xee;
        memset(at + 451, 0xff, 3);
        put(at + 454, 1, 4);
        put(at + 458, n > UINT32_MAX ? UINT32_MAX : n, 4);
        at[510] = 0x55;
        at[511] = 0xaa;
}

static void put_entries(uint8_t *at, const Layout *layout) {
        static const char label[] = "primary";

        memcpy(at, type_guid, GUID_BYTES);
        put_guid(at + 16, layout->name, "partition");
        put(at + 32, layout->first, 8);
        put(at + 40, layout->last, 8);
        for (size_t i = 0; label[i]; i++)
                at[56 + 2 * i] = (uint8_t)label[i];
}

/* @mine and @other: sectors of this header and its copy; @entries: of the entries with it. */
static void put_header(uint8_t *at, const Layout *layout, uint64_t mine, uint64_t other,
                       uint64_t entries, uint32_t entries_crc) {
        memcpy(at, signature, sizeof(signature));
        put(at + 8, 0x00010000, 4);
        put(at + 12, HEADER_BYTES, 4);
        put(at + 24, mine, 8);
        put(at + 32, other, 8);
        put(at + 40, 2 + layout->n_entry_sectors, 8);
        put(at + 48, layout->n_sectors - 2 - layout->n_entry_sectors, 8);
        put_guid(at + 56, layout->name, "disk");
        put(at + 72, entries, 8);
        put(at + 80, N_ENTRIES, 4);
        put(at + 84, ENTRY_BYTES, 4);
        put(at + 88, entries_crc, 4);
        put(at + 16, crc32_of(at, HEADER_BYTES), 4);
}

static int choose_layout(Layout *layout, uint64_t size_bytes, uint32_t sector_bytes,
                         const char *name) {
        uint64_t end;

        if (sector_bytes != 512 && sector_bytes != 4096)
                return -EINVAL;
        if (size_bytes < DISK_MIN)
                return -ENOSPC;
        *layout = (Layout){
                .n_sectors = size_bytes / sector_bytes,
                .n_entry_sectors = ENTRIES_BYTES / sector_bytes,
                .first = MIB / sector_bytes,
                .sector = sector_bytes,
                .name = name,
        };
        /* The last MiB has the copy. */
        end = (layout->n_sectors - 1 - layout->n_entry_sectors) * sector_bytes;
        layout->last = end / MIB * MIB / sector_bytes - 1;
        return 0;
}

int gpt_format(uint64_t size_bytes, uint32_t sector_bytes, const char *name, GptTable *table) {
        Layout layout;
        uint32_t crc;
        uint64_t last;
        int r = choose_layout(&layout, size_bytes, sector_bytes, name);

        *table = (GptTable){0};
        if (r < 0)
                return r;
        last = layout.n_sectors - 1;
        table->n_head = (size_t)((2 + layout.n_entry_sectors) * layout.sector);
        table->n_tail = (size_t)((1 + layout.n_entry_sectors) * layout.sector);
        table->head = calloc(1, table->n_head);
        table->tail = calloc(1, table->n_tail);
        if (!table->head || !table->tail) {
                gpt_deinit(table);
                return -ENOMEM;
        }
        put_mbr(table->head, &layout);
        put_entries(table->head + 2 * layout.sector, &layout);
        memcpy(table->tail, table->head + 2 * layout.sector, ENTRIES_BYTES);
        crc = crc32_of(table->tail, ENTRIES_BYTES);
        put_header(table->head + layout.sector, &layout, 1, last, 2, crc);
        put_header(table->tail + layout.n_entry_sectors * layout.sector, &layout, last, 1,
                   last - layout.n_entry_sectors, crc);
        return 0;
}

void gpt_deinit(GptTable *table) {
        free(table->head);
        free(table->tail);
        *table = (GptTable){0};
}

/* --- on a disk --- */

static int read_at(int fd, uint8_t *data, size_t n, uint64_t offset) {
        for (size_t done = 0; done < n;) {
                ssize_t r = pread(fd, data + done, n - done, (off_t)(offset + done));

                if (r <= 0)
                        return r < 0 ? -errno : -EIO;
                done += (size_t)r;
        }
        return 0;
}

static int write_at(int fd, const uint8_t *data, size_t n, uint64_t offset) {
        for (size_t done = 0; done < n;) {
                ssize_t r = pwrite(fd, data + done, n - done, (off_t)(offset + done));

                if (r <= 0)
                        return r < 0 ? -errno : -EIO;
                done += (size_t)r;
        }
        return 0;
}

/*
 * Takes away what an attempt before this one wrote in part: sectors that are what it would write,
 * beside others that are zero. Anything else stays, and makes the disk one that is not blank.
 */
static int clean(int fd, const uint8_t *wanted, size_t n, uint64_t offset, uint32_t sector) {
        cleanup(freep) uint8_t *found = calloc(1, n);
        static const uint8_t zeros[4096];
        bool is_written = false;
        int r = found ? read_at(fd, found, n, offset) : -ENOMEM;

        for (size_t at = 0; r == 0 && at < n; at += sector) {
                if (memcmp(found + at, zeros, sector) == 0)
                        continue;
                if (memcmp(found + at, wanted + at, sector) != 0)
                        return 0;
                is_written = true;
        }
        if (r < 0 || !is_written)
                return r;
        memset(found, 0, n);
        return write_at(fd, found, n, offset);
}

static int write_table(int fd, const GptTable *table, uint64_t size_bytes) {
        int r = write_at(fd, table->tail, table->n_tail, size_bytes - table->n_tail);

        if (r == 0)
                r = write_at(fd, table->head, table->n_head, 0);
        if (r == 0 && fsync(fd) < 0)
                r = -errno;
        return r < 0 ? r : block_read_partitions(fd);
}

/* Whether the table is there already, and the kernel has not read it yet. */
static bool is_there(int fd, const GptTable *table) {
        cleanup(freep) uint8_t *found = calloc(1, table->n_head);

        return found && read_at(fd, found, table->n_head, 0) == 0 &&
               memcmp(found, table->head, table->n_head) == 0;
}

/* Return: 0; GPT_E_NOT_BLANK; negative. */
static int make(int fd, const Device *disk, const GptTable *table, uint64_t size, uint32_t sector,
                Error *err) {
        const FsExpect expect = {size, disk->devno};
        Error why = {0};
        int r;

        if (is_there(fd, table)) {
                r = write_table(fd, table, size);
                return r < 0 ? error_set_errno(err, r, "partition table of %s", disk->path) : 0;
        }
        r = clean(fd, table->tail, table->n_tail, size - table->n_tail, sector);
        if (r == 0)
                r = clean(fd, table->head, table->n_head, 0, sector);
        if (r == 0 && fsync(fd) < 0)
                r = -errno;
        if (r < 0)
                return error_set_errno(err, r, "partition table of %s", disk->path);
        /* What is on the disk, not what somebody's cache has of it. */
        (void)block_flush(fd);
        if (fs_blank_test(fd, &expect, &why) < 0) {
                log_info("%s gets no partition: %s", disk->path, why.message);
                return GPT_E_NOT_BLANK;
        }
        log_info("%s is blank and gets a partition", disk->path);
        r = write_table(fd, table, size);
        return r < 0 ? error_set_errno(err, r, "partition table of %s", disk->path) : 0;
}

int gpt_make(const Device *disk, const char *name, Error *err) {
        cleanup(gpt_deinit) GptTable table = {0};
        cleanup(closep) int fd = block_open(disk->path, O_RDWR | O_EXCL, disk->devno);
        uint64_t size = 0;
        uint32_t sector = 0;
        int r = fd < 0 ? fd : block_get_size(fd, &size);

        if (r == 0)
                r = block_get_logical_sector(fd, &sector);
        if (r == 0)
                r = gpt_format(size, sector, name, &table);
        if (r != 0)
                return error_set_errno(err, r, "partition table of %s", disk->path);
        return make(fd, disk, &table, size, sector, err);
}

int gpt_count(const ProviderConfig *config, const Device *disk, size_t *np, unsigned int *lastp) {
        const char *name = strrchr(disk->path, '/') + 1;
        cleanup(freep) char *path = str_printf("%s/sys/block/%s", config->root_path, name);
        cleanup(closedirp) DIR *dir = path ? opendir(path) : NULL;
        const struct dirent *entry;
        size_t n = 0;
        unsigned int last = 0;

        if (!dir)
                return path ? -errno : -ENOMEM;
        while ((entry = readdir(dir))) {
                const char *digits = entry->d_name + strlen(entry->d_name);
                cleanup(freep) char *file = str_printf("%s/partition", entry->d_name);
                uint64_t number;

                if (!file)
                        return -ENOMEM;
                while (digits > entry->d_name && digits[-1] >= '0' && digits[-1] <= '9')
                        digits--;
                if (!str_has_prefix(entry->d_name, name) ||
                    faccessat(dirfd(dir), file, F_OK, 0) < 0 ||
                    str_parse_u64(digits, UINT32_MAX, &number) < 0)
                        continue;
                n++;
                last = number > last ? (unsigned int)number : last;
        }
        *np = n;
        *lastp = last;
        return 0;
}
