/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Disks are written by strangers: a pod owns every byte of its volume. The input is a device in
 * pieces (tests/lib/pieces.h); it is read, judged for hosts of every kind, and put into words.
 */

#include "tests/fuzz/fuzz.h"

#include "csi/fs/fsck.h"
#include "csi/fs/signatures.h"
#include "csi/fs/verdict.h"
#include "tests/lib/pieces.h"

#include <jansson.h>

#define N_HOSTS 4

static FsHost hosts[N_HOSTS];
static size_t n_read_bytes;
static unsigned int n_reads;

static void set_up(void) {
        static const struct {
                const char *release;
                uint32_t page;
                FsByteOrder order;
        } kinds[N_HOSTS] = {{"3.10", 4096, FS_BYTE_ORDER_LITTLE},
                            {"5.10", 65536, FS_BYTE_ORDER_LITTLE},
                            {"6.6", 16384, FS_BYTE_ORDER_BIG},
                            {"7.3", 4096, FS_BYTE_ORDER_LITTLE}};
        Error err = {0};

        if (hosts[0].kernel)
                return;
        for (size_t i = 0; i < N_HOSTS; i++) {
                assert(fs_host_from_release(&hosts[i], kinds[i].release, kinds[i].page,
                                            kinds[i].order, &err) == 0);
                hosts[i].tools[FS_TOOLS_E2FSPROGS] = FS_VERSION(1, 45, 0);
        }
}

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

static void judge(const FsVolume *volume) {
        static const FsSituation worst = {
                .logical_sector_bytes = 4096, .device_read_only = true, .uuid_mounted = true};
        static FsVerdict verdict;
        char text[FS_SENTENCE_MAX];
        FsckPlan check;
        json_t *object;

        for (size_t i = 0; i < N_HOSTS * 2; i++) {
                const FsHost *host = &hosts[i / 2];

                fs_verdict(volume, host, i % 2 ? &worst : NULL, &verdict);
                assert(verdict.n_reasons <= FS_REASONS_MAX);
                assert(verdict.answer == FS_ANSWER_RW || verdict.n_reasons > 0);
                fs_verdict_sentence(volume, host, &verdict, text);
                check_text(text, FS_SENTENCE_MAX);
                object = fs_verdict_to_json(volume, host, &verdict);
                assert(object);
                json_decref(object);
                fsck_plan(volume, host, "/dev/x", false, &check);
                check_text(check.why, sizeof(check.why));
        }
        object = fs_volume_to_json(volume);
        assert(object);
        json_decref(object);
}

static void scan(const uint8_t *data, size_t n) {
        SignatureHit hits[16];

        assert(signatures_scan(data, n, 0, n, hits, 16) <= 16);
        assert(signatures_scan(data, n, 4096, UINT64_MAX, hits, 16) <= 16);
        assert(signatures_scan(data, n, (2U << 20) - n, 2U << 20, hits, 1) <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        static Pieces pieces;
        static FsVolume volume;
        uint8_t *copy = malloc(n ? n : 1);
        FsReader reader;

        assert(copy);
        if (n)
                memcpy(copy, data, n);
        set_up();
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
                judge(&volume);
        }
        assert(n_reads <= FS_READS_MAX && n_read_bytes <= FS_READ_BYTES_MAX);
        n_reads = 0;
        n_read_bytes = 0;
        if (fs_read_backup(&reader, &volume) == 0)
                judge(&volume);
        assert(n_reads <= FS_READS_MAX && n_read_bytes <= FS_READ_BYTES_MAX);
        if (n < (2U << 20))
                scan(copy, n);
        free(copy);
        return 0;
}
