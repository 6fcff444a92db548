/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What fuzz-superblock reads, judged for one host and put into words. The last byte chooses the
 * host and whether the answer is formatted as JSON too, which costs a hundred times the judgement.
 * It has the corpus of fuzz-superblock.
 */

#include "tests/fuzz/fuzz-disk.h"

#include "fs/formats/format.h"
#include "fs/make/fsck.h"
#include "fs/verdict/verdict.h"

#include <jansson.h>

#define N_HOSTS 4U

static FsHost hosts[N_HOSTS];

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

static void format_json(const FsVolume *volume, const FsHost *host, const FsVerdict *verdict) {
        json_t *object = fs_verdict_to_json(volume, host, verdict);

        assert(object);
        json_decref(object);
        object = fs_volume_to_json(volume);
        assert(object);
        json_decref(object);
}

static void judge(const FsVolume *volume, uint8_t choice) {
        static const FsSituation worst = {
                .logical_sector_bytes = 4096, .device_read_only = true, .uuid_mounted = true};
        const FsHost *host = &hosts[choice % N_HOSTS];
        static FsVerdict verdict;
        char text[FS_SENTENCE_MAX];
        FsckPlan check;

        fs_verdict(volume, host, choice & 0x10 ? &worst : NULL, &verdict);
        assert(verdict.n_reasons <= FS_REASONS_MAX);
        assert(verdict.answer == FS_ANSWER_RW || verdict.n_reasons > 0);
        fs_verdict_sentence(volume, host, &verdict, text);
        assert(strlen(text) < FS_SENTENCE_MAX);
        fsck_plan(volume, host, "/dev/x", false, &check);
        assert(strlen(check.why) < sizeof(check.why));
        if (choice >= 0xf0)
                format_json(volume, host, &verdict);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        static Pieces pieces;
        static FsVolume volume;
        uint8_t *copy;
        FsReader reader;

        if (n < 1)
                return 0;
        copy = malloc(n);
        assert(copy);
        memcpy(copy, data, n);
        set_up();
        pieces_parse(&pieces, copy, n);
        reader = pieces_reader(&pieces);
        if (fs_read_volume(&reader, &volume) == 0 || fs_read_backup(&reader, &volume) == 0)
                judge(&volume, copy[n - 1]);
        free(copy);
        return 0;
}
