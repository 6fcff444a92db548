/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel of another architecture runs no program of ours, only a shell (tests/oracle/guest): it
 * is told what to try, and what it said is judged here.
 */

#include "tests/oracle/oracle.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static const char *options_of(FsAnswer answer, FsKind kind) {
        const char *options = fs_answer_options(answer, kind);

        return *options ? options : "-";
}

void oracle_save_attempts(const OracleSet *set) {
        static FsVolume volume;
        char path[384];
        FILE *file;

        (void)snprintf(path, sizeof(path), "%s/attempts", set->directory);
        file = fopen(path, "w");
        assert(file);
        for (size_t i = 0; i < set->n_cases; i++) {
                const OracleCase *one = &set->cases[i];

                if (one->twin || one->sector_bytes)
                        continue;
                if (!oracle_read_image(set, one->name, &volume))
                        volume = (FsVolume){.kind = FS_KIND_EXT, .type = "ext4"};
                (void)fprintf(file, "%s %s %d %s %s %s\n", one->name,
                              str_equal(volume.type, "jbd") ? "ext4" : volume.type, one->read_only,
                              options_of(FS_ANSWER_RW, volume.kind),
                              options_of(FS_ANSWER_RO, volume.kind),
                              options_of(FS_ANSWER_RO_NORECOVERY, volume.kind));
        }
        assert(fclose(file) == 0);
}

/* The guest's mount tells an error only by its text; a read-only device it says in its own words.
 * This program, run in a guest, tells the number. */
static int errno_of(const char *text) {
        const char *number = strstr(text, "errno ");

        if (number == text)
                return (int)strtol(number + strlen("errno "), NULL, 10);
        if (strstr(text, "write-protected"))
                return EACCES;
        for (int i = 1; i < 134; i++) {
                const char *words = strerrordesc_np(i);
                const char *at = words ? strstr(text, words) : NULL;

                if (at && at[strlen(words)] == '\0')
                        return i;
        }
        return 0;
}

static FsAnswer answer_of(const char *name) {
        for (FsAnswer i = FS_ANSWER_RW; i < FS_ANSWER_NO; i++) {
                if (str_equal(name, fs_answer_name(i)))
                        return i;
        }
        assert(str_equal(name, "no"));
        return FS_ANSWER_NO;
}

static const OracleCase *find_case(const OracleSet *set, const char *name) {
        for (size_t i = 0; i < set->n_cases; i++) {
                if (str_equal(set->cases[i].name, name))
                        return &set->cases[i];
        }
        return NULL;
}

/* Configuration, lists and release as files below @root; what uname and the CPU say apart. */
static void read_host(FsHost *host, const char *root, const char *release, const char *page,
                      const char *order) {
        cleanup(closep) int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        FsHostRead there = {.root_fd = root_fd, .release = release};
        uint64_t page_bytes;
        Error err = {0};

        assert(root_fd >= 0 && fs_host_read(host, &there, &err) == 0);
        assert(str_parse_u64(page, 65536, &page_bytes) == 0);
        host->page_bytes = (uint32_t)page_bytes;
        host->byte_order = str_equal(order, "big") ? FS_BYTE_ORDER_BIG : FS_BYTE_ORDER_LITTLE;
}

size_t oracle_judge_answers(const OracleSet *set, const char *root, const char *answers) {
        char line[512], release[96], page[16], order[16];
        FILE *file = fopen(answers, "r");
        static OracleJudge judge;
        size_t wrong;

        assert(file && fgets(line, sizeof(line), file));
        if (sscanf(line, "host %95s %15s %15s", release, page, order) != 3) {
                printf("the guest said nothing of itself: %s", line);
                (void)fclose(file);
                return 1;
        }
        read_host(&judge.host, root, release, page, order);
        oracle_judge_begin(&judge);
        while (fgets(line, sizeof(line), file)) {
                char name[64], answer[32];
                OracleObservation seen;
                const OracleCase *how;
                int n = 0;

                str_trim_end(line);
                if (sscanf(line, "case %63s %31s %n", name, answer, &n) != 2 || n == 0)
                        continue;
                how = find_case(set, name);
                assert(how);
                seen = (OracleObservation){.answer = answer_of(answer),
                                           .os_errno = errno_of(line + n)};
                /* A guest's mount tries read-only by itself after EACCES and EROFS, and tells only
                 * of that. */
                if (!str_has_prefix(line + n, "errno ") &&
                    (how->read_only || (seen.os_errno == 0 && seen.answer != FS_ANSWER_RW)))
                        seen.os_errno = -1;
                oracle_judge_add(&judge, set, how, &seen);
        }
        (void)fclose(file);
        wrong = oracle_judge_end(&judge);
        printf("%zu cases were not run: they need what a shell cannot attach\n",
               set->n_cases - judge.n_cases);
        if (judge.n_cases == 0)
                printf("the guest ran nothing\n");
        return wrong + (judge.n_cases == 0);
}
