/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record-pieces IMAGE OUTPUT: reads a filesystem as the engine does and keeps what it looked at, so
 * that a test can have the filesystem in a few KiB. Runs of zeros are left out.
 */

#undef NDEBUG
#include "fs/formats/format.h"
#include "tests/lib/pieces.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>

#define GRAIN 32U

typedef struct Range {
        uint64_t offset;
        size_t n;
} Range;

static FsReader under;
static Range ranges[FS_READS_MAX];
static size_t n_ranges;

static int recording_read(void *userdata, uint64_t offset, void *buffer, size_t n) {
        (void)userdata;
        assert(n_ranges < FS_READS_MAX);
        ranges[n_ranges++] = (Range){offset, n};
        return under.read(under.userdata, offset, buffer, n);
}

static int by_offset(const void *a, const void *b) {
        const Range *x = a, *y = b;

        return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void put_le64(FILE *file, uint64_t value) {
        for (unsigned int i = 0; i < 8; i++)
                putc((int)(value >> (8 * i) & 0xff), file);
}

static void put_piece(FILE *file, uint64_t offset, const uint8_t *data, size_t n) {
        put_le64(file, offset);
        putc((int)(n & 0xff), file);
        putc((int)(n >> 8), file);
        assert(fwrite(data, 1, n, file) == n);
}

static bool is_zero(const uint8_t *data, size_t n) {
        for (size_t i = 0; i < n; i++) {
                if (data[i])
                        return false;
        }
        return true;
}

/* The parts of one range that are not zero, none of them recorded before @from. */
static uint64_t put_range(FILE *file, Range range, uint64_t from) {
        uint64_t start = range.offset > from ? range.offset : from, end = range.offset + range.n;
        size_t n, at = 0;
        uint8_t *data;

        if (end <= start)
                return from;
        n = (size_t)(end - start);
        data = malloc(n);
        assert(data && under.read(under.userdata, start, data, n) == 0);
        while (at < n) {
                size_t length = 0;

                while (at + length < n && length < 32768 &&
                       !is_zero(data + at + length,
                                n - at - length < GRAIN ? n - at - length : GRAIN))
                        length += n - at - length < GRAIN ? n - at - length : GRAIN;
                if (length)
                        put_piece(file, start + at, data + at, length);
                at += length ? length : GRAIN;
        }
        free(data);
        return end;
}

int main(int argc, char **argv) {
        FsReader reader;
        static FsVolume volume;
        uint64_t done = 0;
        FILE *file;
        int fd, r;

        assert(argc == 3);
        fd = open(argv[1], O_RDONLY | O_CLOEXEC);
        assert(fd >= 0 && fs_reader_from_fd(&under, fd) == 0);
        reader = (FsReader){.read = recording_read, .size_bytes = under.size_bytes};
        r = fs_read_volume(&reader, &volume);
        printf("%s: %d %s, %zu reads\n", argv[1], r, r == 0 ? volume.type : "", n_ranges);
        qsort(ranges, n_ranges, sizeof(ranges[0]), by_offset);
        file = fopen(argv[2], "wb");
        assert(file);
        put_le64(file, under.size_bytes);
        for (size_t i = 0; i < n_ranges; i++)
                done = put_range(file, ranges[i], done);
        assert(fclose(file) == 0);
        return r != 0;
}
