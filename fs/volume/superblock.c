/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a superblock of any format: the bounded source, the order of formats, and what they
 * share. One file per format beside this one.
 */

#include "fs/volume/superblock_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int fd_read(void *userdata, uint64_t offset, void *buffer, size_t n) {
        int fd = (int)(intptr_t)userdata;
        uint8_t *bytes = buffer;
        size_t done = 0;

        while (done < n) {
                ssize_t r = pread(fd, bytes + done, n - done, (off_t)(offset + done));

                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0)
                        return -errno;
                if (r == 0)
                        return -ENODATA;
                done += (size_t)r;
        }
        return 0;
}

int fs_reader_from_fd(FsReader *reader, int fd) {
        off_t end = lseek(fd, 0, SEEK_END);

        if (end < 0)
                return -errno;
        *reader = (FsReader){
                .read = fd_read,
                .userdata = (void *)(intptr_t)fd,
                .size_bytes = (uint64_t)end,
        };
        return 0;
}

static int buffer_read(void *userdata, uint64_t offset, void *buffer, size_t n) {
        const FsBuffer *source = userdata;
        size_t n_real = 0;

        if (offset < source->n)
                n_real = source->n - offset < n ? (size_t)(source->n - offset) : n;
        if (n_real)
                memcpy(buffer, source->data + offset, n_real);
        memset((uint8_t *)buffer + n_real, 0, n - n_real);
        return 0;
}

void fs_reader_from_buffer(FsReader *reader, const FsBuffer *buffer, uint64_t size_bytes) {
        /* The reader only reads: the cast drops const for the untyped pointer alone. */
        *reader = (FsReader){
                .read = buffer_read,
                .userdata = (void *)(uintptr_t)buffer,
                .size_bytes = size_bytes,
        };
}

int source_read(FsSource *source, uint64_t offset, void *buffer, size_t n) {
        uint64_t end;

        if (__builtin_add_overflow(offset, n, &end) || end > source->reader->size_bytes)
                return -ENODATA;
        if (source->n_reads >= FS_READS_MAX || n > FS_READ_BYTES_MAX - source->n_bytes)
                return -E2BIG;
        source->n_reads++;
        source->n_bytes += n;
        return source->reader->read(source->reader->userdata, offset, buffer, n);
}

void volume_malformed(FsVolume *volume, const char *format, ...) {
        va_list args;

        if (volume->state & FS_STATE_MALFORMED)
                return;
        volume->state |= FS_STATE_MALFORMED;
        va_start(args, format);
        vsnprintf(volume->problem, sizeof(volume->problem), format, args);
        va_end(args);
}

void superblock_rules(const SuperblockRule *rules, size_t n_rules, const uint8_t *sb,
                      FsVolume *volume) {
        for (size_t i = 0; i < n_rules; i++) {
                if (rules[i].ok(sb))
                        continue;
                volume_malformed(volume, "%s", rules[i].problem);
                volume->problem_since = rules[i].since;
                return;
        }
}

void volume_text(char *text, size_t n_text, const uint8_t *bytes, size_t n) {
        size_t length = 0;

        while (length < n && length < n_text - 1 && bytes[length])
                length++;
        memcpy(text, bytes, length);
        text[length] = '\0';
        str_make_utf8(text);
        for (char *p = text; *p; p++) {
                if ((unsigned char)*p < 0x20 || *p == 0x7f)
                        *p = '?';
        }
}

/* XFS and ext first: most volumes end there. A head that holds two formats is for inspect to tell;
 * here the one with the lowest magic offset wins, as in kernels that are told a type. */
static int (*const format_readers[])(FsSource *, const uint8_t *, FsVolume *) = {
        xfs_read, ext_read, f2fs_read, erofs_read, squashfs_read, plain_read, btrfs_read,
};

int fs_read_volume(const FsReader *reader, FsVolume *volume) {
        FsSource source = {.reader = reader};
        uint8_t head[FS_HEAD_BYTES] = {0};
        size_t n_head = sizeof(head);
        int r;

        if (reader->size_bytes < n_head)
                n_head = (size_t)reader->size_bytes;
        r = source_read(&source, 0, head, n_head);
        if (r < 0)
                return r;
        for (size_t i = 0; i < N_ELEMENTS(format_readers); i++) {
                FsVolume found = {.n_devices = 1, .device_bytes = reader->size_bytes};

                r = format_readers[i](&source, head, &found);
                if (r == FS_E_NONE)
                        continue;
                if (r == 0)
                        *volume = found;
                return r;
        }
        return FS_E_NONE;
}

/* Group 1 of an ext filesystem with blocks of 1, 2, 4... 64 KiB: 8 * block blocks to a group, and
 * the superblock at its start (1K blocks start at block 1). */
static int backup_ext(FsSource *source, FsVolume *volume) {
        uint8_t sb[1024];

        for (unsigned int log = 10; log <= 16; log++) {
                uint64_t offset = ((uint64_t)8 << (2 * log)) + (log == 10 ? 1024 : 0);
                int r = source_read(source, offset, sb, sizeof(sb));

                if (r < 0 && !source_is_image_fault(r))
                        return r;
                if (r == 0 && ext_parse(sb, volume)) {
                        volume->backup_offset = offset;
                        return 0;
                }
        }
        return FS_E_NONE;
}

static int backup_btrfs(FsSource *source, FsVolume *volume) {
        static const uint64_t offsets[] = {UINT64_C(64) << 20, UINT64_C(256) << 30};
        uint8_t sb[4096];

        for (size_t i = 0; i < N_ELEMENTS(offsets); i++) {
                int r = source_read(source, offsets[i], sb, sizeof(sb));

                if (r < 0 && !source_is_image_fault(r))
                        return r;
                if (r == 0 && btrfs_parse(sb, volume)) {
                        volume->backup_offset = offsets[i];
                        return 0;
                }
        }
        return FS_E_NONE;
}

static int backup_f2fs(FsSource *source, FsVolume *volume) {
        uint8_t sb[3072];
        int r = source_read(source, 0x1400, sb, sizeof(sb));

        if (r < 0)
                return source_is_image_fault(r) ? FS_E_NONE : r;
        if (!f2fs_parse(sb, volume))
                return FS_E_NONE;
        volume->backup_offset = 0x1400;
        return 0;
}

int fs_read_backup(const FsReader *reader, FsVolume *volume) {
        static int (*const readers[])(FsSource *, FsVolume *) = {
                backup_ext,
                backup_btrfs,
                backup_f2fs,
        };
        FsSource source = {.reader = reader};

        for (size_t i = 0; i < N_ELEMENTS(readers); i++) {
                FsVolume found = {.n_devices = 1, .device_bytes = reader->size_bytes};
                int r = readers[i](&source, &found);

                if (r == FS_E_NONE)
                        continue;
                if (r == 0)
                        *volume = found;
                return r;
        }
        return FS_E_NONE;
}

static const char *const kind_names[_FS_KIND_N] = {
        [FS_KIND_NONE] = "none",         [FS_KIND_EXT] = "ext",   [FS_KIND_XFS] = "xfs",
        [FS_KIND_BTRFS] = "btrfs",       [FS_KIND_F2FS] = "f2fs", [FS_KIND_EROFS] = "erofs",
        [FS_KIND_SQUASHFS] = "squashfs", [FS_KIND_VFAT] = "vfat", [FS_KIND_EXFAT] = "exfat",
        [FS_KIND_NTFS] = "ntfs3",
};

const char *fs_kind_name(FsKind kind) {
        return kind >= 0 && kind < _FS_KIND_N ? kind_names[kind] : "none";
}

FsKind fs_kind_from_type(const char *type) {
        if (str_equal(type, "ext2") || str_equal(type, "ext3") || str_equal(type, "ext4"))
                return FS_KIND_EXT;
        if (str_equal(type, "ntfs"))
                return FS_KIND_NTFS;
        for (FsKind kind = FS_KIND_XFS; kind < _FS_KIND_N; kind++) {
                if (str_equal(type, kind_names[kind]))
                        return kind;
        }
        return FS_KIND_NONE;
}

const char *fs_class_name(FsKind kind, FsClass class) {
        static const char *const names[_FS_CLASS_N] = {
                [FS_CLASS_COMPAT] = "compat",
                [FS_CLASS_RO_COMPAT] = "ro_compat",
                [FS_CLASS_INCOMPAT] = "incompat",
                [FS_CLASS_LOG_COMPAT] = "journal compat",
                [FS_CLASS_LOG_RO_COMPAT] = "journal ro_compat",
                [FS_CLASS_LOG_INCOMPAT] = "journal incompat",
                [FS_CLASS_VERSION] = "version",
                [FS_CLASS_VERSIONNUM] = "versionnum",
                [FS_CLASS_FEATURES2] = "features2",
                [FS_CLASS_FEATURE] = "feature",
                [FS_CLASS_ALGORITHM] = "checksum type",
                [FS_CLASS_FLAGS] = "super flags",
        };

        if (class < 0 || class >= _FS_CLASS_N)
                return "";
        if (kind == FS_KIND_XFS && class == FS_CLASS_LOG_INCOMPAT)
                return "log_incompat";
        if (kind == FS_KIND_BTRFS && class == FS_CLASS_RO_COMPAT)
                return "compat_ro";
        if ((kind == FS_KIND_SQUASHFS || kind == FS_KIND_EROFS) && class == FS_CLASS_ALGORITHM)
                return "compressor";
        return names[class];
}

void fs_uuid_format(const uint8_t uuid[16], char text[37]) {
        size_t at = 0;

        for (size_t i = 0; i < 16; i++) {
                if (i == 4 || i == 6 || i == 8 || i == 10)
                        text[at++] = '-';
                at += (size_t)snprintf(text + at, 37 - at, "%02x", (unsigned int)uuid[i]);
        }
}
