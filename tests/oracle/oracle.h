/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_TESTS_ORACLE_H
#define BERTH_TESTS_ORACLE_H

/*
 * The compatibility engine against the running kernel: images are made with the installed tools or
 * edited, the engine is asked, the kernel mounts, and the two answers are compared.
 */

#undef NDEBUG
#include "fs/verdict/verdict.h"

#include <assert.h>

/* How a case attaches its image. It is one line in DIR/cases, so that another kernel can run what
 * was made here. */
typedef struct OracleCase {
        char name[64];
        uint32_t sector_bytes; /* of the loop device; 0: 512 */
        bool read_only;        /* loop device */
        bool twin;             /* another copy of it is mounted */
        bool geometry; /* the edit leaves a feature without what belongs to it: the kernel may
                          refuse for that; only "not better than the verdict" is checked */
} OracleCase;

#define ORACLE_CASES_MAX 1024

typedef struct OracleSet {
        char directory[256];
        OracleCase cases[ORACLE_CASES_MAX];
        size_t n_cases;
        char not_made[96][96]; /* features that no installed tool can make, with the reason */
        size_t n_not_made;
        bool full;
        bool wide;  /* sizes, options and sectors that are not the tools' own, too */
        bool tells; /* a line for each answer of the kernel */
} OracleSet;

/* Fills DIR with images and the set with their cases. */
void oracle_make(OracleSet *set);

/* mkfs of one image with the image as its last word; of a small tree. False: it failed. */
bool oracle_make_image(const OracleSet *set, const char *name, uint64_t size, const char *words);
bool oracle_make_tree(const OracleSet *set, const char *words, const char *name);

/* Every @step-th bit, from the @first on, which is below @step. */
typedef struct OracleSample {
        unsigned int step, first;
} OracleSample;

/**
 * oracle_bits() - each bit of the superblocks turned over, with the checksum right
 * @only:   the name of one base, or NULL
 * @sample: {1}: every bit
 *
 * Return: cells that were wrong.
 */
size_t oracle_bits(const OracleSet *set, const char *only, OracleSample sample);

/* DIR/cases. */
void oracle_save(const OracleSet *set);
void oracle_load(OracleSet *set);

/* DIR/attempts: what a guest without this program needs, "NAME TYPE READ-ONLY-DEVICE RW RO NR" with
 * the mount options of the three attempts, "-" for none. Twins and other sector sizes are left out:
 * a shell cannot attach them. */
void oracle_save_attempts(const OracleSet *set);

/* Runs them all, prints the confusion matrix. Return: cases that are off the diagonal. */
size_t oracle_run(const OracleSet *set);

/* The same for what a guest said of DIR/attempts: @answers has the lines of tests/oracle/guest,
 * @root its files. */
size_t oracle_judge_answers(const OracleSet *set, const char *root, const char *answers);

/* --- oracle_judge.c: predictions beside observations --- */

typedef struct OraclePrediction {
        FsAnswer answer;
        int os_errno;         /* 0: none is promised */
        unsigned int options; /* FS_OPTION_* */
        bool is_own;          /* Berth refuses what the kernel would mount and misread */
        bool is_sure;         /* neither the whole nor a reason is called unconfirmed */
        char sentence[FS_SENTENCE_MAX];
} OraclePrediction;

typedef struct OracleObservation {
        FsAnswer answer;
        int os_errno; /* of the first attempt, read-write; -1: not told */
} OracleObservation;

/* @host with all its facts must be right. The same kernel by its number alone, which is what
 * another node's verdict rests on at worst, must be right where it says that it is sure. */
typedef struct OracleJudge {
        FsHost host, by_number;
        size_t matrix[4][4], number_matrix[4][4];
        size_t n_cases, n_wrong, n_own, n_unsure, n_unsure_wrong, n_number_wrong;
} OracleJudge;

void oracle_image_path(const OracleSet *set, const char *name, char path[384]);

/* False: no superblock that we read is there. */
bool oracle_read_image(const OracleSet *set, const char *name, FsVolume *volume);

void oracle_predict(const OracleSet *set, const FsHost *host, const OracleCase *how,
                    FsVolume *volume, OraclePrediction *prediction);
void oracle_judge_begin(OracleJudge *judge);
void oracle_judge_add(OracleJudge *judge, const OracleSet *set, const OracleCase *how,
                      const OracleObservation *seen);

/* The same for a volume that was read already; NULL: nothing that we know. Says less than
 * oracle_judge_begin(). */
void oracle_judge_prepare(OracleJudge *judge);
void oracle_judge_volume(OracleJudge *judge, const char *name, const FsVolume *volume,
                         const FsSituation *situation, const OracleObservation *seen);

/* Prints the matrices. Return: wrong cases. */
size_t oracle_judge_end(const OracleJudge *judge);

/* oracle_edit.c: changes of an image, with its checksums put right again. */
void oracle_poke(const char *path, uint64_t offset, const void *bytes, size_t n, bool fix);
/* The checksums of the superblock of @type in an open image. */
void oracle_mend(int fd, const char *type);
void oracle_set_bit(const char *path, FsKind kind, FsClass class, uint64_t bit);
void oracle_xfs_log_big_endian(const char *path);
void oracle_copy(const char *from, const char *to);
void oracle_dig_holes(const char *path);

/* Mounts, writes, and copies the image while mounted, as a crash would leave it. */
bool oracle_catch(const char *path, const char *type, const char *to);

/* oracle_kernel.c: its own mount namespace, and a directory in it. */
void oracle_place_open(void);
void oracle_place_close(void);

typedef struct OracleAttempt {
        int os_errno;
        bool is_read_only;
        bool writes; /* a file was made, synced, and the filesystem did not shut down */
} OracleAttempt;

void oracle_attempt(const char *image, const OracleCase *how, const char *type, const char *options,
                    OracleAttempt *attempt);

/* On a loop device that is attached already. */
void oracle_attempt_on(const char *device, const char *type, const char *options,
                       OracleAttempt *attempt);

/* Sectors larger than a page are for kernels from 6.15 on. */
bool oracle_can_attach(const OracleCase *how);

/* The mounted root of @image by a loop device that goes when both descriptors are closed. Return:
 * 0; -errno. */
int oracle_mount(const char *image, const OracleCase *how, const char *type, const char *options,
                 int *loop_fdp, int *root_fdp);

#endif
