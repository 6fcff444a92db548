/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oracle [--full]            makes images, runs them on this kernel, removes them
 * oracle make DIR [--full]   only makes them, for another kernel to run
 * oracle run DIR             only runs what is there, and says what the kernel did in lines that
 *                            `judge` takes
 * oracle bits [BASE|all [N [I]]]
 *                            each bit (or every N-th from the I-th on) of the superblocks turned
 *                            over, on this kernel
 * oracle judge DIR ROOT ANSWERS
 *                            compares with what a kernel answered that cannot run this program:
 *                            ROOT holds its configuration and sysfs lists, ANSWERS what
 *                            tests/oracle/guest said there
 *
 * Needs root, loop devices and the tools. Exit code 0: every verdict was right; 77: cannot run
 * here.
 */

#include "tests/oracle/oracle.h"
#include "fs/formats/format.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

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
        oracle_save_attempts(set);
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

static void run_case(const OracleSet *set, const OracleCase *how, const FsVolume *volume,
                     const OraclePrediction *prediction, OracleObservation *seen) {
        cleanup(closep) int twin_loop = -1, twin_root = -1;
        char image[384], twin[400];
        const char *extra = "";

        oracle_image_path(set, how->name, image);
        if (how->twin) {
                OracleCase plain = {0};

                (void)snprintf(twin, sizeof(twin), "%s.twin", image);
                oracle_copy(image, twin);
                assert(oracle_mount(twin, &plain, volume->type, "", &twin_loop, &twin_root) == 0);
                unlink(twin);
                if (prediction->options & FS_OPTION_NOUUID) {
                        OracleAttempt without;

                        attempt(image, how, volume, "", &without);
                        assert(without.os_errno == EINVAL);
                        extra = "nouuid";
                }
        }
        seen->answer = observe(image, how, volume, extra, &seen->os_errno);
}

/* Every row of the tables is in an image, made by a tool or by hand, but for formats whose tools
 * are not installed. Return: rows that are in none. */
static size_t check_coverage(const OracleSet *set) {
        static uint64_t words[_FS_KIND_N][_FS_CLASS_N];
        bool has_images[_FS_KIND_N] = {false};
        size_t n_covered = 0, n_missing = 0;

        for (size_t i = 0; i < set->n_cases; i++) {
                FsVolume volume;

                if (!oracle_read_image(set, set->cases[i].name, &volume))
                        continue;
                has_images[volume.kind] = true;
                for (FsClass class = 0; class < _FS_CLASS_N; class ++)
                        words[volume.kind][class] |= volume.words[class];
        }
        for (size_t i = 0; i < fs_n_features; i++) {
                const FsFeature *f = &fs_features[i];

                if (words[f->kind][f->class] & f->bit) {
                        n_covered++;
                        continue;
                }
                printf("%s: %s %s %s\n", has_images[f->kind] ? "WRONG no image has" : "no tool for",
                       fs_kind_name(f->kind), fs_class_name(f->kind, f->class), f->name);
                n_missing += has_images[f->kind];
        }
        printf("%zu of %zu rows of the tables are in an image\n", n_covered, fs_n_features);
        return n_missing;
}

size_t oracle_run(const OracleSet *set) {
        FsHostRead here = {.root_fd = -1};
        static OracleJudge judge;
        static FsVolume volume;
        size_t n_missing = check_coverage(set);
        Error err = {0};

        assert(fs_host_read(&judge.host, &here, &err) == 0);
        oracle_judge_begin(&judge);
        for (size_t i = 0; i < set->n_cases; i++) {
                const OracleCase *how = &set->cases[i];
                OraclePrediction prediction;
                OracleObservation seen;

                if (!oracle_can_attach(how)) {
                        printf("not run: %s: no such sector here\n", how->name);
                        continue;
                }
                oracle_predict(set, &judge.host, how, &volume, &prediction);
                run_case(set, how, &volume, &prediction, &seen);
                if (set->tells)
                        printf("case %s %s errno %d\n", how->name, fs_answer_name(seen.answer),
                               seen.os_errno);
                oracle_judge_add(&judge, set, how, &seen);
        }
        return oracle_judge_end(&judge) + n_missing;
}

static void remove_set(const OracleSet *set) {
        char path[384];

        for (size_t i = 0; i < set->n_cases; i++) {
                oracle_image_path(set, set->cases[i].name, path);
                unlink(path);
        }
        (void)snprintf(path, sizeof(path), "%s/cases", set->directory);
        unlink(path);
        (void)snprintf(path, sizeof(path), "%s/attempts", set->directory);
        unlink(path);
        rmdir(set->directory);
}

static void print_not_made(const OracleSet *set) {
        for (size_t i = 0; i < set->n_not_made; i++)
                printf("not makeable here: %s\n", set->not_made[i]);
}

/* Memory where there is plenty: the images are large and nearly empty, and are copied often. It is
 * of our own mount namespace, so that nothing stays when we are killed. */
static const char *scratch(void) {
        const char *temp = getenv("TMPDIR");
        struct statvfs st;

        if (temp)
                return temp;
        if (statvfs("/dev/shm", &st) == 0 && st.f_bavail * st.f_frsize > UINT64_C(6) << 30 &&
            mount("berth-oracle", "/dev/shm", "tmpfs", MS_NOSUID, "mode=0700") == 0)
                return "/dev/shm";
        return "/var/tmp";
}

static unsigned int number(const char *text, unsigned int most) {
        uint64_t value = 0;

        assert(str_parse_u64(text, most, &value) == 0);
        return (unsigned int)value;
}

static int run_bits(OracleSet *set, const char *only, OracleSample sample) {
        size_t n_wrong;

        assert(sample.step > 0 && sample.first < sample.step);
        assert(unshare(CLONE_NEWNS) == 0);
        assert(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        (void)snprintf(set->directory, sizeof(set->directory), "%s/berth-oracle-XXXXXX", scratch());
        assert(mkdtemp(set->directory));
        n_wrong = oracle_bits(set, only, sample);
        rmdir(set->directory);
        return n_wrong != 0;
}

int main(int argc, char **argv) {
        static OracleSet set;
        bool make = argc > 2 && str_equal(argv[1], "make");
        bool run = argc > 2 && str_equal(argv[1], "run");
        size_t wrong;

        setvbuf(stdout, NULL, _IOLBF, 0);
        if (argc == 5 && str_equal(argv[1], "judge")) {
                (void)snprintf(set.directory, sizeof(set.directory), "%s", argv[2]);
                oracle_load(&set);
                return oracle_judge_answers(&set, argv[3], argv[4]) != 0;
        }
        if (geteuid() != 0 || access("/dev/loop-control", R_OK | W_OK) < 0) {
                printf("skipped: needs root and loop devices\n");
                return 77;
        }
        if (argc > 1 && str_equal(argv[1], "bits"))
                return run_bits(&set, argc > 2 && !str_equal(argv[2], "all") ? argv[2] : NULL,
                                (OracleSample){.step = argc > 3 ? number(argv[3], 65536) : 1,
                                               .first = argc > 4 ? number(argv[4], 65535) : 0});
        set.full = str_equal(argv[argc - 1], "--full");
        set.wide = set.full || make;
        oracle_place_open();
        if (make || run)
                (void)snprintf(set.directory, sizeof(set.directory), "%s", argv[2]);
        else
                (void)snprintf(set.directory, sizeof(set.directory), "%s/berth-oracle-XXXXXX",
                               scratch());
        if (run) {
                set.tells = true;
                oracle_load(&set);
                wrong = oracle_run(&set);
                oracle_place_close();
                return wrong != 0;
        }
        if (make)
                assert(mkdir(set.directory, 0700) == 0 || errno == EEXIST);
        else
                assert(mkdtemp(set.directory));
        oracle_make(&set);
        oracle_save(&set);
        print_not_made(&set);
        if (make) {
                oracle_place_close();
                return 0;
        }
        wrong = oracle_run(&set);
        oracle_place_close();
        remove_set(&set);
        return wrong != 0;
}
