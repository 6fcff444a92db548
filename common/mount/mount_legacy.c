/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Places are named by /proc/self/fd/N, which mount(2) takes to the very directory that is open. A
 * mount that was just made on top of it is only reached by looking its name up once more below the
 * parent.
 */

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/mount/mount_internal.h"
#include "common/mount/mount_query.h"

#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif
#ifndef MS_LAZYTIME
#define MS_LAZYTIME (1UL << 25)
#endif

static void fd_path(int fd, char path[MOUNT_PATH_MAX]) {
        (void)snprintf(path, MOUNT_PATH_MAX, "/proc/self/fd/%d", fd);
}

static bool path_is_child(const char *path) {
        return strchr(path + strlen("/proc/self/fd/"), '/') != NULL;
}

int mount_child_path(int parent_fd, const char *name, char path[MOUNT_PATH_MAX]) {
        if (name[0] == '\0' || str_equal(name, ".") || str_equal(name, "..") || strchr(name, '/'))
                return -EINVAL;
        if (strlen(name) > NAME_MAX)
                return -ENAMETOOLONG;
        (void)snprintf(path, MOUNT_PATH_MAX, "/proc/self/fd/%d/%s", parent_fd, name);
        return 0;
}

static int fail(MountContext *context, MountStep step) {
        context->step = step;
        return -errno;
}

static unsigned long bits_from_flags(unsigned int flags) {
        static const struct {
                unsigned int flag;
                unsigned long bit;
        } map[] = {
                {MOUNT_FLAG_READ_ONLY, MS_RDONLY},
                {MOUNT_FLAG_NO_SUID, MS_NOSUID},
                {MOUNT_FLAG_NO_DEV, MS_NODEV},
                {MOUNT_FLAG_NO_EXEC, MS_NOEXEC},
                {MOUNT_FLAG_NO_ATIME, MS_NOATIME},
                {MOUNT_FLAG_STRICT_ATIME, MS_STRICTATIME},
                {MOUNT_FLAG_NO_DIR_ATIME, MS_NODIRATIME},
                {MOUNT_FLAG_NO_SYMLINK_FOLLOW, MS_NOSYMFOLLOW},
        };
        unsigned long bits = 0;

        for (size_t i = 0; i < N_ELEMENTS(map); i++)
                if (flags & map[i].flag)
                        bits |= map[i].bit;
        if (!(flags & MOUNT_FLAGS_ATIME))
                bits |= MS_RELATIME;
        return bits;
}

/* The words that mount(2) takes as bits and not in its text. */
static unsigned long bit_from_option(const MountOption *option) {
        static const struct {
                const char *key;
                unsigned long bit;
        } map[] = {
                {"sync", MS_SYNCHRONOUS},
                {"dirsync", MS_DIRSYNC},
                {"lazytime", MS_LAZYTIME},
                {"mand", MS_MANDLOCK},
        };

        for (size_t i = 0; i < N_ELEMENTS(map) && !option->value; i++)
                if (str_equal(option->key, map[i].key))
                        return map[i].bit;
        return 0;
}

/* Bits of @options, and the rest as text with those words left out. */
static int split_options(const MountOptions *options, unsigned long *bitsp, MountOptions *rest) {
        char text[MOUNT_OPTIONS_TEXT_MAX];

        *bitsp |= bits_from_flags(options->set);
        if (mount_options_format(options, false, text, sizeof(text)) >= sizeof(text) ||
            mount_options_add(rest, text) < 0)
                return -E2BIG;
        for (size_t i = 0; i < options->n_options; i++) {
                unsigned long bit = bit_from_option(&options->options[i]);

                if (bit)
                        mount_options_remove(rest, options->options[i].key);
                *bitsp |= bit;
        }
        return 0;
}

/* Flags that the topmost mount at @path has, one of fd_path() or mount_child_path(). */
static int read_flags(const char *path, unsigned int *flagsp) {
        cleanup(mount_status_deinit) MountStatus status = {0};
        cleanup(closep) int fd = -1;
        int r;

        /* A name below a descriptor is never a link that was followed; a descriptor always is. */
        fd = open(path, O_PATH | O_CLOEXEC | (path_is_child(path) ? O_NOFOLLOW : 0));
        if (fd < 0)
                return -errno;
        r = mount_query(fd, MOUNT_QUERY_FULL, &status);
        if (r == 0)
                *flagsp = status.flags;
        return r;
}

/* mount(2) sets all flags of a mount at once: those that it has must be given again. */
static int remount(const char *path, unsigned int set, unsigned int clear, MountContext *context) {
        unsigned int flags = 0;
        int r;

        r = read_flags(path, &flags);
        if (r < 0)
                return r;
        if (set & MOUNT_FLAGS_ATIME)
                clear |= MOUNT_FLAGS_ATIME;
        flags = (flags & ~clear) | set;
        if (mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | bits_from_flags(flags), NULL) < 0)
                return fail(context, MOUNT_STEP_ATTRIBUTES);
        return 0;
}

int mount_legacy_new(const MountSpec *spec, const MountPlace *place, MountContext *context) {
        cleanup(freep) MountOptions *rest = calloc(1, sizeof(*rest));
        char target[MOUNT_PATH_MAX], mounted[MOUNT_PATH_MAX], data[MOUNT_OPTIONS_TEXT_MAX] = "";
        unsigned long bits = 0;
        bool is_ro_alone;
        int r;

        context->is_legacy = true;
        if (!rest)
                return -ENOMEM;
        if (spec->options) {
                r = split_options(spec->options, &bits, rest);
                if (r < 0)
                        return r;
                (void)mount_options_format(rest, false, data, sizeof(data));
        }
        r = mount_child_path(place->parent_fd, place->name, mounted);
        if (r < 0)
                return r;
        is_ro_alone = spec->writes_super && (bits & MS_RDONLY);
        if (is_ro_alone)
                bits &= ~(unsigned long)MS_RDONLY;
        fd_path(place->fd, target);
        if (mount(spec->source, target, spec->fs_type, bits, data) < 0)
                return fail(context, errno == ENODEV ? MOUNT_STEP_TYPE : MOUNT_STEP_CREATE);
        r = is_ro_alone ? remount(mounted, MOUNT_FLAG_READ_ONLY, 0, context) : 0;
        if (r < 0)
                (void)umount2(mounted, UMOUNT_NOFOLLOW | MNT_DETACH);
        return r;
}

int mount_legacy_bind(int source_fd, const MountPlace *place, unsigned int set, unsigned int clear,
                      MountContext *context) {
        char source[MOUNT_PATH_MAX], target[MOUNT_PATH_MAX], mounted[MOUNT_PATH_MAX];
        int r;

        context->is_legacy = true;
        r = mount_child_path(place->parent_fd, place->name, mounted);
        if (r < 0)
                return r;
        fd_path(source_fd, source);
        fd_path(place->fd, target);
        if (mount(source, target, NULL, MS_BIND, NULL) < 0)
                return fail(context, MOUNT_STEP_ATTACH);
        if (mount(NULL, mounted, NULL, MS_PRIVATE, NULL) < 0)
                r = fail(context, MOUNT_STEP_ATTRIBUTES);
        else if (set || clear)
                r = remount(mounted, set, clear, context);
        if (r < 0)
                (void)umount2(mounted, UMOUNT_NOFOLLOW | MNT_DETACH);
        return r;
}
