/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oracle [--full]            makes images, runs them on this kernel, removes them
 * oracle make DIR [--full]   only makes them, for another kernel to run
 * oracle run DIR             only runs what is there
 *
 * Needs root, loop devices and the tools. Exit code 0: every verdict was right; 77: cannot run
 * here.
 */

#include "tests/oracle/oracle.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

typedef struct Result {
        FsAnswer predicted, observed;
        int predicted_errno, observed_errno;
        char sentence[FS_SENTENCE_MAX];
        bool skipped;
} Result;

void oracle_save(const OracleSet *set) {
        char path[384];
        FILE *file;

        (void)snprintf(path, sizeof(path), "%s/cases", set->directory);
        file = fopen(path, "w");
        assert(file);
        for (size_t i = 0; i < set->n_cases; i++) {
                const OracleCase *one = &set->cases[i];

                (void)fprintf(file, "%s %u %d %d %d\n", one->name, one->sector_bytes,
                              one->read_only, one->twin, one->geometry);
        }
        assert(fclose(file) == 0);
}

void oracle_load(OracleSet *set) {
        char path[384];
        FILE *file;

        (void)snprintf(path, sizeof(path), "%s/cases", set->directory);
        file = fopen(path, "r");
        assert(file);
        while (set->n_cases < ORACLE_CASES_MAX) {
                OracleCase *one = &set->cases[set->n_cases];

                char flags[4][16];

                if (fscanf(file, "%63s %15s %15s %15s %15s\n", one->name, flags[0], flags[1],
                           flags[2], flags[3]) != 5)
                        break;
                one->sector_bytes = (uint32_t)strtoul(flags[0], NULL, 10);
                one->read_only = flags[1][0] == '1';
                one->twin = flags[2][0] == '1';
                one->geometry = flags[3][0] == '1';
                set->n_cases++;
        }
        assert(fclose(file) == 0);
}

/* On a copy each time: a mount changes what is on it. */
static void attempt(const char *image, const OracleCase *how, const FsVolume *volume,
                    const char *options, OracleAttempt *result) {
        char copy[400];

        (void)snprintf(copy, sizeof(copy), "%s.try", image);
        oracle_copy(image, copy);
        oracle_attempt(copy, how, str_equal(volume->type, "jbd") ? "ext4" : volume->type, options,
                       result);
        unlink(copy);
}

/* What the kernel does, from the best to the worst. */
static FsAnswer observe(const char *image, const OracleCase *how, const FsVolume *volume,
                        const char *extra, int *errnop) {
        static const FsAnswer lesser[] = {FS_ANSWER_RO, FS_ANSWER_RO_NORECOVERY};
        OracleAttempt result;

        attempt(image, how, volume, extra, &result);
        *errnop = result.os_errno;
        if (result.os_errno == 0 && !result.is_read_only && result.writes)
                return FS_ANSWER_RW;
        for (size_t i = 0; i < N_ELEMENTS(lesser); i++) {
                char options[128];

                (void)snprintf(options, sizeof(options), "%s,%s",
                               fs_answer_options(lesser[i], volume->kind), extra);
                attempt(image, how, volume, options, &result);
                if (result.os_errno == 0)
                        return lesser[i];
        }
        return FS_ANSWER_NO;
}

static bool read_image(const char *image, FsVolume *volume) {
        cleanup(closep) int fd = open(image, O_RDONLY | O_CLOEXEC);
        FsReader reader;

        assert(fd >= 0 && fs_reader_from_fd(&reader, fd) == 0);
        return fs_read_volume(&reader, volume) == 0;
}

static void run_case(const OracleSet *set, const FsHost *host, const OracleCase *how,
                     Result *result) {
        static FsVerdict verdict;
        static FsVolume volume;
        FsSituation situation = {.logical_sector_bytes = how->sector_bytes,
                                 .device_read_only = how->read_only,
                                 .uuid_mounted = how->twin};
        cleanup(closep) int twin_loop = -1, twin_root = -1;
        char image[384], twin[400];
        const char *extra = "";

        (void)snprintf(image, sizeof(image), "%s/%s.img", set->directory, how->name);
        *result = (Result){0};
        if (!read_image(image, &volume)) {
                /* Not a filesystem to us: it must not be one to the kernel either. */
                volume = (FsVolume){.kind = FS_KIND_EXT, .type = "ext4"};
                result->predicted = FS_ANSWER_NO;
        } else {
                fs_verdict(&volume, host, &situation, &verdict);
                result->predicted = verdict.answer;
                result->predicted_errno = verdict.expected_errno;
                fs_verdict_sentence(&volume, host, &verdict, result->sentence);
                assert(strlen(result->sentence) <= 400);
        }
        if (how->twin) {
                OracleCase plain = {0};

                (void)snprintf(twin, sizeof(twin), "%s.twin", image);
                oracle_copy(image, twin);
                assert(oracle_mount(twin, &plain, volume.type, "", &twin_loop, &twin_root) == 0);
                unlink(twin);
                if (verdict.options & FS_OPTION_NOUUID) {
                        OracleAttempt without;

                        attempt(image, how, &volume, "", &without);
                        assert(without.os_errno == EINVAL);
                        extra = "nouuid";
                }
        }
        result->observed = observe(image, how, &volume, extra, &result->observed_errno);
}

static bool is_right(const OracleCase *how, const Result *result) {
        if (how->geometry)
                return result->observed >= result->predicted;
        return result->predicted == result->observed &&
               (result->predicted_errno == 0 || result->predicted_errno == result->observed_errno);
}

/* Which rows of the tables no image has: they are judged by their numbers alone. */
static void print_coverage(const OracleSet *set) {
        static uint64_t words[_FS_KIND_N][_FS_CLASS_N];
        size_t covered = 0;

        for (size_t i = 0; i < set->n_cases; i++) {
                FsVolume volume;
                char image[384];

                (void)snprintf(image, sizeof(image), "%s/%s.img", set->directory,
                               set->cases[i].name);
                if (!read_image(image, &volume))
                        continue;
                for (FsClass class = 0; class < _FS_CLASS_N; class ++)
                        words[volume.kind][class] |= volume.words[class];
        }
        for (size_t i = 0; i < fs_n_features; i++) {
                const FsFeature *f = &fs_features[i];

                if (words[f->kind][f->class] & f->bit)
                        covered++;
                else
                        printf("no image has: %s %s %s\n", fs_kind_name(f->kind),
                               fs_class_name(f->kind, f->class), f->name);
        }
        printf("%zu of %zu rows of the tables are in an image\n", covered, fs_n_features);
}

size_t oracle_run(const OracleSet *set) {
        FsHostRead here = {.root_fd = -1};
        size_t matrix[4][4] = {{0}}, wrong = 0;
        static FsHost host;
        Error err = {0};

        assert(fs_host_read(&host, &here, &err) == 0);
        printf("kernel %s, %u cases\n", host.release, (unsigned int)set->n_cases);
        print_coverage(set);
        for (size_t i = 0; i < set->n_cases; i++) {
                const OracleCase *how = &set->cases[i];
                Result result;

                run_case(set, &host, how, &result);
                if (!how->geometry)
                        matrix[result.predicted][result.observed]++;
                if (is_right(how, &result))
                        continue;
                wrong++;
                printf("WRONG %s: predicted %s (errno %d), the kernel says %s (errno %d)\n  %s\n",
                       how->name, fs_answer_name(result.predicted), result.predicted_errno,
                       fs_answer_name(result.observed), result.observed_errno, result.sentence);
        }
        printf("%-16s", "predicted\\kernel");
        for (size_t i = 0; i < 4; i++)
                printf("%14s", fs_answer_name((FsAnswer)i));
        for (size_t i = 0; i < 4; i++) {
                printf("\n%-16s", fs_answer_name((FsAnswer)i));
                for (size_t k = 0; k < 4; k++)
                        printf("%14zu", matrix[i][k]);
        }
        printf("\n%zu wrong of %zu\n", wrong, set->n_cases);
        return wrong;
}

static void remove_set(const OracleSet *set) {
        char path[384];

        for (size_t i = 0; i < set->n_cases; i++) {
                (void)snprintf(path, sizeof(path), "%s/%s.img", set->directory, set->cases[i].name);
                unlink(path);
        }
        (void)snprintf(path, sizeof(path), "%s/cases", set->directory);
        unlink(path);
        rmdir(set->directory);
}

static void print_not_made(const OracleSet *set) {
        for (size_t i = 0; i < set->n_not_made; i++)
                printf("not makeable here: %s\n", set->not_made[i]);
}

/* Memory where there is plenty: the images are large and nearly empty, and are copied often. */
static const char *scratch(void) {
        const char *temp = getenv("TMPDIR");
        struct statvfs st;

        if (temp)
                return temp;
        if (statvfs("/dev/shm", &st) == 0 && st.f_bavail * st.f_frsize > UINT64_C(6) << 30)
                return "/dev/shm";
        return "/var/tmp";
}

int main(int argc, char **argv) {
        static OracleSet set;
        const char *temp = scratch();
        bool make = argc > 2 && str_equal(argv[1], "make");
        bool run = argc > 2 && str_equal(argv[1], "run");
        size_t wrong;

        setvbuf(stdout, NULL, _IOLBF, 0);
        if (geteuid() != 0 || access("/dev/loop-control", R_OK | W_OK) < 0) {
                printf("skipped: needs root and loop devices\n");
                return 77;
        }
        set.full = str_equal(argv[argc - 1], "--full");
        if (make || run)
                (void)snprintf(set.directory, sizeof(set.directory), "%s", argv[2]);
        else
                (void)snprintf(set.directory, sizeof(set.directory), "%s/berth-oracle-XXXXXX",
                               temp);
        if (run) {
                oracle_load(&set);
                return oracle_run(&set) != 0;
        }
        if (make)
                assert(mkdir(set.directory, 0700) == 0 || errno == EEXIST);
        else
                assert(mkdtemp(set.directory));
        oracle_make(&set);
        oracle_save(&set);
        print_not_made(&set);
        if (make)
                return 0;
        wrong = oracle_run(&set);
        remove_set(&set);
        return wrong != 0;
}
