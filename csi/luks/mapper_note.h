/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_LUKS_MAPPER_NOTE_H
#define BERTH_CSI_LUKS_MAPPER_NOTE_H

/*
 * Which encrypted volumes this plugin opened, and for which volume: one small file each in
 * <state directory>/mappers, written before the mapper is opened and removed after it is closed. It
 * tells whose a mapper is that nobody comes for any more. Only one with the name and the UUID that
 * is noted is ever believed to be it, and once it is open only the device that it was then: another
 * that somebody opened by hand is his.
 */

#include "common/block/mapper.h"
#include "csi/luks/header.h"

#include <stdbool.h>

typedef struct MapperNote {
        char mapper[MAPPER_NAME_MAX];
        char uuid[MAPPER_UUID_MAX]; /* what device mapper's begins with: "CRYPT-LUKS2-<hex>-" */
        char volume_id[256];
        uint64_t devno, sequence; /* of the mapper; 0: not known, it was being opened */
        bool is_left;             /* its unstage found it in use: nobody asks for it any more */
} MapperNote;

/* libcryptsetup's UUID for a mapper of this header, to the name in it. Pure. */
void mapper_note_uuid(const LuksHeader *header, char uuid[MAPPER_UUID_MAX]);

/* Whether it is the mapper that the note tells of. Pure. */
bool mapper_note_is_of(const MapperNote *note, const Mapper *mapper);

/* @state_dir NULL or "": nothing is noted. Return: 0; -errno. */
int mapper_note_write(const char *state_dir, const MapperNote *note);

/* Gone is done. Return: 0; -errno. */
int mapper_note_remove(const char *state_dir, const char *mapper);

/* Return: 0; -ENOENT; -EINVAL what is there is no such note; another -errno. */
int mapper_note_read(const char *state_dir, const char *mapper, MapperNote *note);

/* Calls @each with every note that can be read. Return: 0, also without the directory; -errno. */
int mapper_note_each(const char *state_dir, void (*each)(void *userdata, const MapperNote *note),
                     void *userdata);

#endif
