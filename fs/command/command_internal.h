/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_COMMAND_COMMAND_INTERNAL_H
#define BERTH_FS_COMMAND_COMMAND_INTERNAL_H

/* Between the subcommands of `berth-csi fs`. */

#include "fs/verdict/verdict.h"

enum {
        FS_EXIT_YES = 0,
        FS_EXIT_READ_ONLY = 1,
        FS_EXIT_NO = 2,
        FS_EXIT_UNSURE = 3,    /* read-write or read-only, as far as a number tells */
        FS_EXIT_USAGE = 64,    /* EX_USAGE */
        FS_EXIT_INPUT = 66,    /* EX_NOINPUT */
        FS_EXIT_INTERNAL = 70, /* EX_SOFTWARE */
};

int fs_command_check(int argc, char **argv);
int fs_command_plan(int argc, char **argv);

/* The hosts that the options name. */
typedef struct FsHostOptions {
        const char *kernels[32];
        size_t n_kernels;
        const char *page_sizes; /* "4K,64K"; NULL: by the release's name, else 4K */
        const char *host_file;
        const char *byte_order; /* "little", "big"; NULL */
        bool probe;
        bool tools;
} FsHostOptions;

/* New array of every kernel on every page size, then those of the file; if neither is asked for,
 * this node. Caller frees. Return: 0; negative with @err. */
int fs_command_hosts(const FsHostOptions *options, FsHost **hostsp, size_t *n_hostsp, Error *err);

/* Prints @text wrapped at 80 columns, each line after @indent spaces, the first after @first. */
void fs_command_wrap(const char *first, unsigned int indent, const char *text);

/* Escape sequence or "", by terminal and $NO_COLOR. */
typedef enum FsColor {
        FS_COLOR_OFF = 0,
        FS_COLOR_GREEN,
        FS_COLOR_YELLOW,
        FS_COLOR_RED,
        FS_COLOR_BOLD
} FsColor;

const char *fs_command_color(FsColor color);
FsColor fs_command_answer_color(FsAnswer answer);

/* "name: error: text" on stderr. Returns @code. */
int fs_command_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Wrong usage of `fs COMMAND`, and where to read. Returns FS_EXIT_USAGE. */
int fs_command_refuse(const char *command, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* Of the worst answer, and whether any of them rests on a guess (confidence low). */
int fs_command_exit(FsAnswer answer, bool is_unsure);

#endif
