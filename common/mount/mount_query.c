/* SPDX-License-Identifier: Apache-2.0 */

#include "common/mount/mount_query.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/mount/mount_syscall.h"
#include "common/mount/mountinfo.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Newer than the headers this may be built with; include/uapi/linux/stat.h. */
#define QUERY_STATX_MNT_ID        0x00001000U
#define QUERY_STATX_MNT_ID_UNIQUE 0x00004000U
#define QUERY_ATTR_MOUNT_ROOT     0x00002000U

enum {
        STATMOUNT_WANTS_SB_BASIC = 0x001,
        STATMOUNT_WANTS_MNT_BASIC = 0x002,
        STATMOUNT_WANTS_MNT_ROOT = 0x008,
        STATMOUNT_WANTS_FS_TYPE = 0x020,
        STATMOUNT_WANTS_MNT_OPTS = 0x080,  /* Linux 6.11 */
        STATMOUNT_WANTS_SB_SOURCE = 0x200, /* Linux 6.13 */
        STATMOUNT_WANTS_ALL = STATMOUNT_WANTS_SB_BASIC | STATMOUNT_WANTS_MNT_BASIC |
                              STATMOUNT_WANTS_MNT_ROOT | STATMOUNT_WANTS_FS_TYPE |
                              STATMOUNT_WANTS_SB_SOURCE,
};

/* struct mnt_id_req */
typedef struct StatmountRequest {
        uint32_t size, spare;
        uint64_t mount_id, param;
} StatmountRequest;

/* struct statmount; strings are offsets into @text. */
typedef struct StatmountReply {
        uint32_t size, options;
        uint64_t mask;
        uint32_t sb_major, sb_minor;
        uint64_t sb_magic;
        uint32_t sb_flags, fs_type;
        uint64_t id, parent_id;
        uint32_t old_id, old_parent_id;
        uint64_t attributes, propagation, peer_group, master, propagate_from;
        uint32_t root, point;
        uint64_t ns_id;
        uint32_t fs_subtype, sb_source;
        uint64_t more[48];
} StatmountReply;

_Static_assert(sizeof(StatmountReply) == 512, "struct statmount has 512 bytes before its text");
_Static_assert(offsetof(StatmountReply, sb_source) == 124, "layout of struct statmount");

#define REPLY_BYTES_MAX 16384

void mount_status_deinit(MountStatus *status) {
        free(status->root);
        free(status->fs_type);
        free(status->source);
        free(status->super_options);
        *status = (MountStatus){0};
}

static int query_statx(int fd, unsigned int mask, struct statx *status) {
        if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, mask, status) < 0)
                return -errno;
        return 0;
}

static unsigned int flags_from_attributes(uint64_t attributes) {
        static const struct {
                uint64_t mask, value;
                unsigned int flag;
        } map[] = {
                {MOUNT_ATTRIBUTE_RDONLY, MOUNT_ATTRIBUTE_RDONLY, MOUNT_FLAG_READ_ONLY},
                {MOUNT_ATTRIBUTE_NOSUID, MOUNT_ATTRIBUTE_NOSUID, MOUNT_FLAG_NO_SUID},
                {MOUNT_ATTRIBUTE_NODEV, MOUNT_ATTRIBUTE_NODEV, MOUNT_FLAG_NO_DEV},
                {MOUNT_ATTRIBUTE_NOEXEC, MOUNT_ATTRIBUTE_NOEXEC, MOUNT_FLAG_NO_EXEC},
                {MOUNT_ATTRIBUTE_ATIME, MOUNT_ATTRIBUTE_NOATIME, MOUNT_FLAG_NO_ATIME},
                {MOUNT_ATTRIBUTE_ATIME, MOUNT_ATTRIBUTE_STRICTATIME, MOUNT_FLAG_STRICT_ATIME},
                {MOUNT_ATTRIBUTE_NODIRATIME, MOUNT_ATTRIBUTE_NODIRATIME, MOUNT_FLAG_NO_DIR_ATIME},
                {MOUNT_ATTRIBUTE_NOSYMFOLLOW, MOUNT_ATTRIBUTE_NOSYMFOLLOW,
                 MOUNT_FLAG_NO_SYMLINK_FOLLOW},
        };
        unsigned int flags = 0;

        for (size_t i = 0; i < N_ELEMENTS(map); i++)
                if ((attributes & map[i].mask) == map[i].value)
                        flags |= map[i].flag;
        return flags;
}

static char *copy_text(const char *text, size_t n_text, uint32_t offset) {
        size_t n;

        if (offset >= n_text)
                return NULL;
        n = strnlen(text + offset, n_text - offset);
        return n < n_text - offset ? strndup(text + offset, n) : NULL;
}

/* Return: 0; -ENOSYS where mountinfo must do; another -errno. */
static int query_statmount(uint64_t unique_id, MountStatus *status) {
        const StatmountRequest request = {.size = sizeof(request),
                                          .mount_id = unique_id,
                                          .param = STATMOUNT_WANTS_ALL | STATMOUNT_WANTS_MNT_OPTS};
        cleanup(freep) char *buffer = calloc(1, REPLY_BYTES_MAX);
        StatmountReply reply;
        const char *text;

        if (!buffer)
                return -ENOMEM;
        /* EPERM is a seccomp filter that does not know the call. A source may be longer than the
         * buffer: EOVERFLOW. */
        if (syscall(MOUNT_NR_STATMOUNT, &request, buffer, REPLY_BYTES_MAX, 0) < 0)
                return errno == EPERM || errno == EOVERFLOW ? -ENOSYS : -errno;
        memcpy(&reply, buffer, sizeof(reply));
        if ((reply.mask & STATMOUNT_WANTS_ALL) != STATMOUNT_WANTS_ALL ||
            reply.size > REPLY_BYTES_MAX || reply.size <= sizeof(reply))
                return -ENOSYS;
        text = buffer + sizeof(reply);
        status->id = reply.old_id;
        status->dev = makedev(reply.sb_major, reply.sb_minor);
        status->flags = flags_from_attributes(reply.attributes);
        status->is_super_read_only = (reply.sb_flags & MS_RDONLY) != 0;
        status->is_shared = (reply.propagation & MS_SHARED) != 0;
        status->root = copy_text(text, reply.size - sizeof(reply), reply.root);
        status->fs_type = copy_text(text, reply.size - sizeof(reply), reply.fs_type);
        status->source = copy_text(text, reply.size - sizeof(reply), reply.sb_source);
        /* A filesystem without options has no text. */
        status->super_options = reply.mask & STATMOUNT_WANTS_MNT_OPTS
                                        ? copy_text(text, reply.size - sizeof(reply), reply.options)
                                        : strdup("");
        if (status->root && status->fs_type && status->source && status->super_options)
                return 0;
        mount_status_deinit(status);
        return -ENOSYS;
}

static int copy_mount(const Mount *mount, MountStatus *status) {
        cleanup(freep) MountOptions *options = calloc(1, sizeof(*options));

        if (!options)
                return -ENOMEM;
        /* Only flags can stand in a mount's own options, so that this cannot fail. */
        (void)mount_options_add(options, mount->options);
        status->id = mount->id;
        status->dev = mount->dev;
        status->flags = options->set;
        /* No "relatime" in the list means that every access counts. */
        if (!mount_options_have(mount->options, "relatime") &&
            !mount_options_have(mount->options, "noatime"))
                status->flags |= MOUNT_FLAG_STRICT_ATIME;
        status->is_super_read_only = mount_options_have(mount->super_options, "ro");
        status->is_shared = mount->shared_group != 0;
        status->root = strdup(mount->root);
        status->fs_type = strdup(mount->fs_type);
        status->source = strdup(mount->source);
        status->super_options = strdup(mount->super_options);
        if (status->root && status->fs_type && status->source && status->super_options)
                return 0;
        mount_status_deinit(status);
        return -ENOMEM;
}

/* "mnt_id:\t29" in /proc/self/fdinfo, for kernels before 5.8. */
static int query_fdinfo(int fd, uint64_t *idp) {
        cleanup(freep) char *text = NULL;
        char path[48], *line;
        int r;

        (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
        r = file_read_at(AT_FDCWD, path, 65536, &text, NULL);
        if (r < 0)
                return r;
        line = strstr(text, "mnt_id:\t");
        if (!line)
                return -EIO;
        line += strlen("mnt_id:\t");
        *strchrnul(line, '\n') = '\0';
        return str_parse_u64(line, UINT32_MAX, idp);
}

static int query_mountinfo(uint64_t id, MountStatus *status) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        const Mount *mount;
        int r;

        r = mountinfo_read(&table);
        if (r < 0)
                return r;
        mount = mount_table_find_id(table, id);
        /* Detached since, or never attached to our namespace. */
        return mount ? copy_mount(mount, status) : -ESTALE;
}

/* Before 5.8 no attribute tells the root of a mount. A mount point's ".." is another mount, which
 * fdinfo shows; a file's parent cannot be reached from its descriptor: its path in /proc can. */
static int query_is_root_old(int fd, uint64_t id, bool *is_rootp) {
        cleanup(closep) int parent = -1;
        char link[32], path[4096], *slash;
        uint64_t parent_id;
        ssize_t n;
        int r;

        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, path, sizeof(path) - 1);
        if (n < 0)
                return -errno;
        path[n] = '\0';
        slash = strrchr(path, '/');
        if (path[0] != '/' || !slash || (size_t)n == sizeof(path) - 1)
                return -EIO;
        if (str_equal(path, "/")) {
                *is_rootp = true;
                return 0;
        }
        *(slash == path ? slash + 1 : slash) = '\0';
        parent = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (parent < 0)
                return -errno;
        r = query_fdinfo(parent, &parent_id);
        if (r == 0)
                *is_rootp = parent_id != id;
        return r;
}

static int query_short(int fd, struct statx *status, MountStatus *result) {
        int r;

        result->dev = makedev(status->stx_dev_major, status->stx_dev_minor);
        result->id = 0;
        if (status->stx_attributes_mask & QUERY_ATTR_MOUNT_ROOT) {
                result->is_root = (status->stx_attributes & QUERY_ATTR_MOUNT_ROOT) != 0;
                if (status->stx_mask & QUERY_STATX_MNT_ID) {
                        result->id = status->stx_mnt_id;
                        return 0;
                }
        }
        r = query_fdinfo(fd, &result->id);
        if (r == 0 && !(status->stx_attributes_mask & QUERY_ATTR_MOUNT_ROOT))
                r = query_is_root_old(fd, result->id, &result->is_root);
        return r;
}

int mount_query(int fd, unsigned int what, MountStatus *status) {
        struct statx basic, unique;
        int r;

        r = query_statx(fd, QUERY_STATX_MNT_ID, &basic);
        if (r == 0)
                r = query_short(fd, &basic, status);
        if (r < 0 || !(what & MOUNT_QUERY_FULL))
                return r;
        r = query_statx(fd, QUERY_STATX_MNT_ID_UNIQUE, &unique);
        if (r == 0 && (unique.stx_mask & QUERY_STATX_MNT_ID_UNIQUE)) {
                r = query_statmount(unique.stx_mnt_id, status);
                /* ENOENT: not in our namespace, as a mount that was detached. */
                if (r != -ENOSYS)
                        return r == -ENOENT ? -ESTALE : r;
        }
        return query_mountinfo(status->id, status);
}
