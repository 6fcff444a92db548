/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bounded source of a superblock's bytes, and what the readers of formats share.
 */

#include "fs/volume/source.h"

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

void fs_uuid_format(const uint8_t uuid[16], char text[37]) {
        size_t at = 0;

        for (size_t i = 0; i < 16; i++) {
                if (i == 4 || i == 6 || i == 8 || i == 10)
                        text[at++] = '-';
                at += (size_t)snprintf(text + at, 37 - at, "%02x", (unsigned int)uuid[i]);
        }
}
