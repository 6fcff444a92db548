/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_MAKE_MKFS_INTERNAL_H
#define BERTH_FS_MAKE_MKFS_INTERNAL_H

/* A mkfs plan in the making: mkfs.c chooses features and writes the command, mkfs_fit.c makes them
 * fit one another and the size. */

#include "fs/make/mkfs.h"
#include "fs/make/mkfs_options.h"
#include "fs/tools/tools.h"

typedef struct Making {
        const FsMakeRequest *request;
        FsMakePlan *plan;
        const FsToolset *tool_row;
        MkfsOptions options;
        uint32_t tool; /* installed version */
        bool full;     /* argv or its text ran out of room */
} Making;

/* Replaces one option; the plan fails at its end if there was no room. */
void making_set(Making *m, char letter, const char *key, const char *value);

/* The value of an option as a number; @otherwise if it is not there. */
uint64_t making_number(const Making *m, char letter, const char *key, uint64_t otherwise);

/* Bytes of a block: what a page of the kernel must suit. */
uint32_t making_block(const Making *m);

/* What every filesystem of the type is made with, unless the user says otherwise. */
void making_base(Making *m);

/* What options need of each other, then what the size allows. ERROR_INVALID, ERROR_RANGE. */
int making_fit(Making *m, Error *err);

#endif
