/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/luks/mapper_note.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "csi/kubelet/note.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>

#define PREFIX    "luks-"
#define NOTE_MAX  4096
#define NOTES_MAX 4096 /* more than a node has device mapper names for volumes */

void mapper_note_uuid(const LuksHeader *header, char uuid[MAPPER_UUID_MAX]) {
        size_t n = (size_t)snprintf(uuid, MAPPER_UUID_MAX, "CRYPT-LUKS%u-", header->version);

        for (const char *at = header->uuid; *at && n < MAPPER_UUID_MAX - 2; at++)
                if (*at != '-')
                        uuid[n++] = *at;
        uuid[n++] = '-';
        uuid[n] = '\0';
}

bool mapper_note_is_of(const MapperNote *note, const Mapper *mapper) {
        if (note->devno != 0 &&
            (note->devno != mapper->devno || note->sequence != mapper->sequence))
                return false;
        return mapper->is_crypt && str_equal(note->mapper, mapper->name) &&
               str_has_prefix(note->uuid, "CRYPT-LUKS") && str_has_prefix(mapper->uuid, note->uuid);
}

static int open_directory(const char *state_dir, bool makes) {
        return note_open_directory(state_dir, "mappers", makes);
}

static int note_name(const char *mapper, char name[NAME_MAX + 1]) {
        if (mapper[0] == '\0' || strchr(mapper, '/'))
                return -EINVAL;
        (void)snprintf(name, NAME_MAX + 1, PREFIX "%s", mapper);
        return 0;
}

int mapper_note_write(const char *state_dir, const MapperNote *note) {
        cleanup(closep) int fd = -1;
        cleanup(freep) char *text = NULL;
        char name[NAME_MAX + 1];
        json_t *root;
        int r;

        if (str_is_empty(state_dir))
                return 0;
        r = note_name(note->mapper, name);
        if (r < 0)
                return r;
        fd = open_directory(state_dir, true);
        if (fd < 0)
                return fd;
        root = json_pack("{s:s, s:s, s:s, s:b, s:I, s:I}", "mapper", note->mapper, "uuid",
                         note->uuid, "volume", note->volume_id, "left", note->is_left, "device",
                         (json_int_t)note->devno, "sequence", (json_int_t)note->sequence);
        text = root ? json_dumps(root, JSON_COMPACT) : NULL;
        json_decref(root);
        return text ? file_write_atomic(fd, name, text, strlen(text), 0600) : -ENOMEM;
}

int mapper_note_remove(const char *state_dir, const char *mapper) {
        cleanup(closep) int fd = open_directory(state_dir, false);
        char name[NAME_MAX + 1];
        int r = note_name(mapper, name);

        if (fd < 0)
                return fd == -ENOENT ? 0 : fd;
        if (r == 0 && unlinkat(fd, name, 0) < 0 && errno != ENOENT)
                r = -errno;
        return r;
}

static int parse(const char *text, MapperNote *note) {
        const char *mapper, *uuid, *volume;
        json_t *root = json_loads(text, 0, NULL);
        json_int_t devno = 0, sequence = 0; /* not in a note of release 0.1.0 */
        int is_left = 0, r = -EINVAL;

        if (root &&
            json_unpack(root, "{s:s, s:s, s:s, s:b, s?I, s?I}", "mapper", &mapper, "uuid", &uuid,
                        "volume", &volume, "left", &is_left, "device", &devno, "sequence",
                        &sequence) == 0 &&
            strlen(mapper) < sizeof(note->mapper) && strlen(uuid) < sizeof(note->uuid) &&
            strlen(volume) < sizeof(note->volume_id)) {
                *note = (MapperNote){.devno = (uint64_t)devno,
                                     .sequence = (uint64_t)sequence,
                                     .is_left = is_left != 0};
                (void)snprintf(note->mapper, sizeof(note->mapper), "%s", mapper);
                (void)snprintf(note->uuid, sizeof(note->uuid), "%s", uuid);
                (void)snprintf(note->volume_id, sizeof(note->volume_id), "%s", volume);
                r = 0;
        }
        json_decref(root);
        return r;
}

static int read_note(int dir_fd, const char *name, MapperNote *note) {
        cleanup(closep) int fd =
                openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        cleanup(freep) char *text = NULL;
        int r = fd < 0 ? -errno : file_read_fd(fd, NOTE_MAX, &text, NULL);

        if (r == 0)
                r = parse(text, note);
        /* It is of the mapper whose name it has. */
        return r == 0 && !str_equal(name + strlen(PREFIX), note->mapper) ? -EINVAL : r;
}

int mapper_note_read(const char *state_dir, const char *mapper, MapperNote *note) {
        cleanup(closep) int fd = open_directory(state_dir, false);
        char name[NAME_MAX + 1];
        int r = note_name(mapper, name);

        if (fd < 0)
                return fd;
        return r < 0 ? r : read_note(fd, name, note);
}

int mapper_note_each(const char *state_dir, void (*each)(void *userdata, const MapperNote *note),
                     void *userdata) {
        cleanup(closedirp) DIR *dir = NULL;
        int fd = open_directory(state_dir, false);
        struct dirent *entry;
        MapperNote note;

        if (fd < 0)
                return fd == -ENOENT ? 0 : fd;
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }
        for (size_t i = 0; i < NOTES_MAX && (entry = readdir(dir)); i++)
                if (str_has_prefix(entry->d_name, PREFIX) &&
                    read_note(fd, entry->d_name, &note) == 0)
                        each(userdata, &note);
        return 0;
}
