/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Disks are written by strangers: a pod owns every byte of its volume. The input is a device in
 * pieces (tests/lib/pieces.h), which is read; fuzz-verdict judges what was read, and fuzz-inspect
 * says whether it is blank. Mutations mend checksums (fuzz-disk.h).
 */

#include "tests/fuzz/fuzz-disk.h"

#include "fs/formats/format.h"
#include "fs/look/signatures.h"
#include "fs/volume/superblock.h"

static size_t n_read_bytes;
static unsigned int n_reads;

static int counting_read(void *userdata, uint64_t offset, void *buffer, size_t n) {
        const Pieces *pieces = userdata;

        /* What a reader asks for lies in the device, and is little. */
        assert(offset <= pieces->size_bytes && n <= pieces->size_bytes - offset);
        n_reads++;
        n_read_bytes += n;
        return pieces_read(userdata, offset, buffer, n);
}

static void check_text(const char *text, size_t n_max) {
        assert(strlen(text) < n_max);
}

/* As the head of a device, as a middle of one without an end, or as its end: which, the input says,
 * since each looks at some 700 places. */
static void scan(const uint8_t *data, size_t n) {
        SignatureHit hits[16];

        switch (n > 0 ? data[n - 1] % 3 : 0) {
        case 0:
                assert(signatures_scan(data, n, 0, n, true, hits, 16) <= 16);
                break;
        case 1:
                assert(signatures_scan(data, n, 4096, UINT64_MAX, true, hits, 16) <= 16);
                break;
        default:
                assert(signatures_scan(data, n, (2U << 20) - n, 2U << 20, true, hits, 1) <= 1);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        static Pieces pieces;
        static FsVolume volume;
        uint8_t *copy = malloc(n ? n : 1);
        FsReader reader;

        assert(copy);
        if (n)
                memcpy(copy, data, n);
        pieces_parse(&pieces, copy, n);
        reader = pieces_reader(&pieces);
        reader.read = counting_read;
        n_reads = 0;
        n_read_bytes = 0;
        if (fs_read_volume(&reader, &volume) == 0) {
                check_text(volume.label, sizeof(volume.label));
                check_text(volume.last_mounted, sizeof(volume.last_mounted));
                check_text(volume.writer, sizeof(volume.writer));
                check_text(volume.problem, sizeof(volume.problem));
                assert(volume.kind != FS_KIND_NONE && volume.type);
        }
        assert(n_reads <= FS_READS_MAX && n_read_bytes <= FS_READ_BYTES_MAX);
        n_reads = 0;
        n_read_bytes = 0;
        (void)fs_read_backup(&reader, &volume);
        assert(n_reads <= FS_READS_MAX && n_read_bytes <= FS_READ_BYTES_MAX);
        if (n < (2U << 20))
                scan(copy, n);
        free(copy);
        return 0;
}
