/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Is this device blank: the pieces of fuzz-superblock, written into a file in memory of
 * 128 KiB or 2 MiB. What is called blank has no byte that is not zero. libblkid reads it too.
 * Its corpus is small, because an input takes a millisecond.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "tests/fuzz/fuzz-disk.h"

#include "fs/look/inspect.h"

#include <sys/mman.h>
#include <unistd.h>

/* A thread for each 64 KiB of it reads whether it is blank, so that only an odd size stands for a
 * device where ZFS has room. */
#define SIZE_MAX_BYTES (2U << 20)
#define SIZE_BYTES     (128U << 10)

/* What lies behind the end is put before it, as what stands at the end of a disk does. */
static uint64_t place(const Pieces *pieces, const Piece *piece, uint64_t size) {
        uint64_t from_end = pieces->size_bytes - piece->offset;

        if (piece->offset < size)
                return piece->offset;
        return from_end <= size ? size - from_end : piece->offset % size;
}

static bool is_zero(int fd, uint64_t size) {
        static uint8_t bytes[SIZE_MAX_BYTES];

        assert(pread(fd, bytes, (size_t)size, 0) == (ssize_t)size);
        for (size_t i = 0; i < size; i++)
                if (bytes[i] != 0)
                        return false;
        return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        static Pieces pieces;
        static FsInspection inspection;
        uint8_t *copy = malloc(n ? n : 1);
        int fd = memfd_create("disk", MFD_CLOEXEC);
        Error err = {0};
        uint64_t size, most;

        assert(copy && fd >= 0);
        if (n)
                memcpy(copy, data, n);
        pieces_parse(&pieces, copy, n);
        most = pieces.size_bytes & 1 ? SIZE_MAX_BYTES : SIZE_BYTES;
        size = pieces.size_bytes < most ? pieces.size_bytes : most;
        assert(ftruncate(fd, (off_t)size) == 0);
        for (size_t i = 0; i < pieces.n_pieces && size > 0; i++) {
                const Piece *piece = &pieces.pieces[i];
                uint64_t at = place(&pieces, piece, size);
                size_t fits = piece->n < size - at ? piece->n : (size_t)(size - at);

                assert(pwrite(fd, piece->data, fits, (off_t)at) == (ssize_t)fits);
        }
        assert(fs_inspect(fd, NULL, &inspection, &err) == 0);
        assert(inspection.find != FS_FIND_BLANK || is_zero(fd, size));
        assert(inspection.n_hits <= FS_HITS_MAX && memchr(inspection.why, '\0', 256));
        close(fd);
        free(copy);
        return 0;
}
