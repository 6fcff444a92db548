/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/marker.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#define MARKER_NAME      ".berth-format"
#define MARKER_MAX_BYTES 1024

static const char *kind_name(FsKind kind) {
        return kind == FS_CLAIM_LUKS ? "luks" : fs_kind_name(kind);
}

/* The whole file is compared, so that only what is being made needs to be parsed. NULL without
 * memory or boot id. */
static char *marker_text(const Marker *marker) {
        cleanup(freep) char *boot = NULL;
        char uuid[37];

        if (file_read_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot, NULL) < 0)
                return NULL;
        str_trim_end(boot);
        fs_uuid_format(marker->claim.uuid, uuid);
        return str_printf("berth format 2\nkind %s\nuuid %s\nboot %s\ndisk %" PRIu64
                          "\nsize %" PRIu64 "\nvolume %s\n",
                          kind_name(marker->claim.kind), uuid, boot, marker->sequence,
                          marker->size_bytes, marker->volume_id);
}

static bool is_directory(const NodePath *path) {
        return path->fd >= 0 && S_ISDIR(path->type);
}

static bool read_text(const NodePath *path, char **textp) {
        cleanup(closep) int fd = -1;
        struct stat status;

        if (!is_directory(path))
                return false;
        fd = openat(path->fd, MARKER_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        return fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
               status.st_uid == geteuid() && !(status.st_mode & (S_IWGRP | S_IWOTH)) &&
               file_read_fd(fd, MARKER_MAX_BYTES, textp, NULL) == 0;
}

void marker_claim_parse(const char *text, FsClaim *claim) {
        const char *kind = strstr(text, "\nkind "), *uuid = strstr(text, "\nuuid ");

        *claim = (FsClaim){0};
        if (!kind || !uuid)
                return;
        kind += strlen("\nkind ");
        uuid += strlen("\nuuid ");
        (void)fs_uuid_parse(uuid, strcspn(uuid, "\n"), claim->uuid);
        for (FsKind i = FS_KIND_NONE; i <= FS_CLAIM_LUKS; i++)
                if (strcspn(kind, "\n") == strlen(kind_name(i)) &&
                    strncmp(kind, kind_name(i), strlen(kind_name(i))) == 0)
                        claim->kind = i;
}

bool marker_read(const NodePath *path, Marker *marker) {
        cleanup(freep) char *expected = NULL, *text = NULL;

        if (marker->sequence == 0 || !read_text(path, &text))
                return false;
        marker_claim_parse(text, &marker->claim);
        expected = marker_text(marker);
        return expected && str_equal(text, expected);
}

bool marker_exists(const NodePath *path) {
        cleanup(freep) char *text = NULL;

        return read_text(path, &text);
}

int marker_write(const NodePath *path, const Marker *marker) {
        cleanup(freep) char *text = NULL;

        if (!is_directory(path) || marker->sequence == 0)
                return 0;
        text = marker_text(marker);
        if (!text)
                return -ENOMEM;
        return file_write_atomic(path->fd, MARKER_NAME, text, strlen(text), 0600);
}

/* Also what a file_write_atomic() left that was killed. */
static bool is_ours(const char *name) {
        return str_equal(name, MARKER_NAME) || str_has_prefix(name, "." MARKER_NAME ".tmp.");
}

int marker_remove(const NodePath *path) {
        cleanup(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        int fd, r = 0;

        if (!is_directory(path))
                return 0;
        fd = openat(path->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }
        while ((entry = readdir(dir)))
                if (is_ours(entry->d_name) && unlinkat(fd, entry->d_name, 0) < 0 && errno != ENOENT)
                        r = -errno;
        return r;
}
