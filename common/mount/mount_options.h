/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_MOUNT_MOUNT_OPTIONS_H
#define BERTH_MOUNT_MOUNT_OPTIONS_H

/*
 * Mount options as people write them, split into what one mount has, what its filesystem is told,
 * and what only mount(8) and fstab know. Pure. Whether an option is wanted is the caller's to
 * decide.
 */

#include <stdbool.h>
#include <stddef.h>

/* Attributes of one mount, which a bind may have otherwise than its source. No atime flag:
 * relatime. */
enum {
        MOUNT_FLAG_READ_ONLY = 1U << 0,
        MOUNT_FLAG_NO_SUID = 1U << 1,
        MOUNT_FLAG_NO_DEV = 1U << 2,
        MOUNT_FLAG_NO_EXEC = 1U << 3,
        MOUNT_FLAG_NO_ATIME = 1U << 4,
        MOUNT_FLAG_STRICT_ATIME = 1U << 5,
        MOUNT_FLAG_NO_DIR_ATIME = 1U << 6,
        MOUNT_FLAG_NO_SYMLINK_FOLLOW = 1U << 7, /* Linux 5.10 */
};

#define MOUNT_FLAGS_ATIME (MOUNT_FLAG_NO_ATIME | MOUNT_FLAG_STRICT_ATIME)

/* CSI allows 4 KiB of mount flags, and before the new mount API a filesystem got one page of them.
 */
#define MOUNT_OPTIONS_TEXT_MAX 4096
#define MOUNT_OPTIONS_MAX      128

typedef struct MountOption {
        const char *key;
        const char *value; /* NULL: a flag */
} MountOption;

/*
 * Starts as (MountOptions){0}. Options point into text: do not copy the struct by value. The flags
 * of a whole filesystem ("sync", "lazytime") stand among the options; "ro" is a flag here, and
 * mount_new() makes the filesystem read-only as well, as mount(8) does.
 */
typedef struct MountOptions {
        unsigned int set, clear; /* MOUNT_FLAG_*; the last word wins, so that none is in both */
        MountOption options[MOUNT_OPTIONS_MAX];
        size_t n_options;
        size_t n_ignored; /* words for mount(8) or fstab only: "defaults", "silent", "x-*" */
        char text[MOUNT_OPTIONS_TEXT_MAX];
        size_t n_text;
        char refused[64]; /* after an error of mount_options_add(): the name of the word, cut */
} MountOptions;

/**
 * mount_options_add() - add words to @options
 * @words: "ro,nosuid,context=\"a,b\",data=journal": a comma inside double quotes does not end a
 *         word; quotes are only taken around a whole value, and off it; empty words are skipped
 *
 * A flag may have an empty value or "recursive", and where that is no other meaning "vfs".
 *
 * Return: 0; -EINVAL for a quote anywhere else, a word without a name ("=x") or a control
 * character; -EOPNOTSUPP for a flag with another value ("ro=vfs", "ro=1"); -E2BIG when there is no
 * room.
 * @options->refused says which word.
 */
int mount_options_add(MountOptions *options, const char *words);

/* @to becomes the same as @from. */
void mount_options_copy(MountOptions *to, const MountOptions *from);

/* The value of the last option @key; "" for a flag; NULL if there is none. */
const char *mount_options_get(const MountOptions *options, const char *key);

/* Removes every option @key. */
void mount_options_remove(MountOptions *options, const char *key);

/**
 * mount_options_format() - one line for logs and for mount(2)
 * @with_flags: also "ro,nosuid"...; a value with a comma is quoted
 *
 * Return: length that the whole has; text is cut if that is not below @n.
 */
size_t mount_options_format(const MountOptions *options, bool with_flags, char *text, size_t n);

/* "ro,nosuid,nodev", "" for none. Return: as mount_options_format(). */
size_t mount_flags_format(unsigned int flags, char *text, size_t n);

#endif
