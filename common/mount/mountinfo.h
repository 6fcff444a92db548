/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_MOUNT_MOUNTINFO_H
#define BERTH_MOUNT_MOUNTINFO_H

/*
 * /proc/<pid>/mountinfo as a table. For one path, common/mount/mount_query.h answers without
 * reading the whole list, whose cost grows with the mounts of the node.
 *
 * Source: proc_pid_mountinfo(5).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel's own limit is fs.mount-max, 100,000 mounts; a line of one is rarely above 400 bytes.
 */
#define MOUNTINFO_MAX_BYTES (64UL << 20)

/* Strings are in the table's own copy of the text, with the escapes \040 \011 \012 \134 \043
 * undone. */
typedef struct Mount {
        uint64_t id, parent_id;
        uint64_t dev;        /* st_dev of the files in it; makedev(3) */
        const char *root;    /* what of the filesystem is mounted; ends in "//deleted" if it was
                                removed since */
        const char *target;  /* below the reader's root */
        const char *options; /* of this mount: "rw,nosuid,relatime" */
        const char *fs_type;
        const char *source;        /* as given to mount; "" and "none" happen */
        const char *super_options; /* of the filesystem: "ro,data=ordered" */
        uint64_t shared_group;     /* 0: not shared */
        uint64_t master_group;     /* 0: no slave */
        bool is_unbindable;
} Mount;

typedef struct MountTable {
        Mount *mounts; /* owned; in file order, where a mount comes after its parent and what is
                          stacked on top comes later */
        size_t n_mounts;
        char *text; /* owned */
} MountTable;

#define MOUNTINFO_E_MALFORMED 1

/**
 * mountinfo_parse() - parse the text of a mountinfo file
 * @text:   @n_text bytes, no NUL needed
 * @tablep: new table, caller frees with mount_table_free()
 * @linep:  with MOUNTINFO_E_MALFORMED the line, counted from 1; may be NULL
 *
 * Optional fields that are not known are skipped, as the kernel asks for.
 *
 * Return: 0; MOUNTINFO_E_MALFORMED; -EFBIG above MOUNTINFO_MAX_BYTES; -ENOMEM.
 */
int mountinfo_parse(const char *text, size_t n_text, MountTable **tablep, size_t *linep);

/**
 * mountinfo_read() - the mounts of this process's namespace
 *
 * Before Linux 5.8 a list that changes while it is read can lose lines: there it is read until two
 * readings agree, at most ten times.
 *
 * Return: as mountinfo_parse(), -EIO for a malformed file, -EAGAIN when no two readings agree.
 */
int mountinfo_read(MountTable **tablep);

/* NULL is fine. Returns NULL. */
MountTable *mount_table_free(MountTable *table);

/* Each returns NULL if there is none; borrowed from the table. */

/* By the id that statx(2) tells as stx_mnt_id. */
const Mount *mount_table_find_id(const MountTable *table, uint64_t id);

/* The topmost mount exactly at @target. */
const Mount *mount_table_find_target(const MountTable *table, const char *target);

/* Whether a comma-separated list such as Mount.options has exactly @option. */
bool mount_options_have(const char *options, const char *option);

static inline void mount_table_freep(MountTable **tablep) {
        mount_table_free(*tablep);
}

#endif
