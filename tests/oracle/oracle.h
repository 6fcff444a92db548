/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_TESTS_ORACLE_H
#define BERTH_TESTS_ORACLE_H

/*
 * The compatibility engine against the running kernel: images are made with the installed tools or
 * edited, the engine is asked, the kernel mounts, and the two answers are compared.
 */

#undef NDEBUG
#include "csi/fs/verdict.h"

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
} OracleSet;

/* Fills DIR with images and the set with their cases. */
void oracle_make(OracleSet *set);

/* DIR/cases. */
void oracle_save(const OracleSet *set);
void oracle_load(OracleSet *set);

/* Runs them all, prints the confusion matrix. Return: cases that are off the diagonal. */
size_t oracle_run(const OracleSet *set);

/* oracle_edit.c: changes of an image, with its checksums put right again. */
void oracle_poke(const char *path, uint64_t offset, const void *bytes, size_t n, bool fix);
void oracle_set_bit(const char *path, FsKind kind, FsClass class, uint64_t bit);
void oracle_xfs_log_big_endian(const char *path);
void oracle_copy(const char *from, const char *to);

/* Mounts, writes, and copies the image while mounted, as a crash would leave it. */
bool oracle_catch(const char *path, const char *type, const char *to);

/* oracle_kernel.c */
typedef struct OracleAttempt {
        int os_errno;
        bool is_read_only;
        bool writes; /* a file was made, synced, and the filesystem did not shut down */
} OracleAttempt;

void oracle_attempt(const char *image, const OracleCase *how, const char *type, const char *options,
                    OracleAttempt *attempt);

/* The mounted root of @image by a loop device that goes when both descriptors are closed. Return:
 * 0; -errno. */
int oracle_mount(const char *image, const OracleCase *how, const char *type, const char *options,
                 int *loop_fdp, int *root_fdp);

#endif
