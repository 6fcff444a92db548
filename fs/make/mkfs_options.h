/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_MAKE_MKFS_OPTIONS_H
#define BERTH_FS_MAKE_MKFS_OPTIONS_H

/*
 * mkfs options as a set: what the plan wants and what the user wants of one thing are one entry,
 * the user's counting. mkfs.xfs refuses a key that is given twice, and mke2fs takes only the last
 * -O.
 */

#include "common/base/error.h"
#include "fs/volume/superblock.h"

typedef struct MkfsOption {
        char letter;    /* 'm' of "-m"; 0: a long option, its name is the key */
        char key[32];   /* "reflink" of "reflink=1"; a feature's name; "" for a plain option */
        char value[96]; /* "1"; for features "1" on, "0" off */
        bool has_value;
        bool by_user;
} MkfsOption;

#define MKFS_OPTIONS_MAX 64

typedef struct MkfsOptions {
        FsKind kind;
        MkfsOption options[MKFS_OPTIONS_MAX];
        size_t n_options;
        uint32_t tool; /* version; 0: any, nothing is too new */
} MkfsOptions;

/* Replaces the entry of the same letter and key, or adds one. Return: 0; -E2BIG. */
int mkfs_options_set(MkfsOptions *options, char letter, const char *key, const char *value);

void mkfs_options_remove(MkfsOptions *options, char letter, const char *key);

/* NULL: there is no such entry. */
const MkfsOption *mkfs_options_find(const MkfsOptions *options, char letter, const char *key);

/* Whether there is one whose value is not "0". */
bool mkfs_options_on(const MkfsOptions *options, char letter, const char *key);
bool mkfs_options_by_user(const MkfsOptions *options, char letter, const char *key);

/* Adds the user's words. ERROR_INVALID for what is no option of this mkfs, or not for a volume:
 * what names a file or another device, sets what is the volume's own, or only pretends.
 * ERROR_UNSUPPORTED for what the installed version does not know. */
int mkfs_options_parse(MkfsOptions *options, const char *const *words, size_t n_words, Error *err);

#endif
