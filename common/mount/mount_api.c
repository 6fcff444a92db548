/* SPDX-License-Identifier: Apache-2.0 */

#include "common/mount/mount_api.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/mount/mount_internal.h"
#include "common/mount/mount_query.h"
#include "common/mount/mount_syscall.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/utsname.h>

const char *mount_step_name(MountStep step) {
        static const char *const names[_MOUNT_STEP_N] = {
                [MOUNT_STEP_NONE] = "none",     [MOUNT_STEP_TYPE] = "type",
                [MOUNT_STEP_OPTION] = "option", [MOUNT_STEP_CREATE] = "create",
                [MOUNT_STEP_CLONE] = "clone",   [MOUNT_STEP_ATTRIBUTES] = "attributes",
                [MOUNT_STEP_ATTACH] = "attach", [MOUNT_STEP_DETACH] = "detach",
        };

        return (unsigned int)step < _MOUNT_STEP_N ? names[step] : "none";
}

/* Notes the step of a failure; a success and ENOSYS, which is retried otherwise, leave no trace. */
static int at_step(MountContext *context, MountStep step, int r) {
        if (r < 0 && r != -ENOSYS)
                context->step = step;
        return r;
}

/* One message a read, "e ext4: Unknown parameter 'foo'"; ENODATA after the last. */
static void read_log(int fs_fd, MountContext *context) {
        size_t at = strlen(context->log);
        char line[512];
        ssize_t n;

        while ((n = read(fs_fd, line, sizeof(line) - 1)) > 0) {
                char *text = line;
                int written;

                line[n] = '\0';
                if (n > 2 && line[1] == ' ')
                        text += 2;
                str_trim_end(text);
                str_make_utf8(text);
                written = snprintf(context->log + at, sizeof(context->log) - at, "%s%s",
                                   at > 0 ? "; " : "", text);
                if (written > 0)
                        at += (size_t)written;
                if (at >= sizeof(context->log))
                        at = sizeof(context->log) - 1;
        }
}

static unsigned int attributes_from_flags(unsigned int flags) {
        static const struct {
                unsigned int flag, attribute;
        } map[] = {
                {MOUNT_FLAG_READ_ONLY, MOUNT_ATTRIBUTE_RDONLY},
                {MOUNT_FLAG_NO_SUID, MOUNT_ATTRIBUTE_NOSUID},
                {MOUNT_FLAG_NO_DEV, MOUNT_ATTRIBUTE_NODEV},
                {MOUNT_FLAG_NO_EXEC, MOUNT_ATTRIBUTE_NOEXEC},
                {MOUNT_FLAG_NO_ATIME, MOUNT_ATTRIBUTE_NOATIME},
                {MOUNT_FLAG_STRICT_ATIME, MOUNT_ATTRIBUTE_STRICTATIME},
                {MOUNT_FLAG_NO_DIR_ATIME, MOUNT_ATTRIBUTE_NODIRATIME},
                {MOUNT_FLAG_NO_SYMLINK_FOLLOW, MOUNT_ATTRIBUTE_NOSYMFOLLOW},
        };
        unsigned int attributes = 0;

        for (size_t i = 0; i < N_ELEMENTS(map); i++)
                if (flags & map[i].flag)
                        attributes |= map[i].attribute;
        return attributes;
}

static int set_option(int fs_fd, const MountOption *option, MountContext *context) {
        int r;

        r = sys_fsconfig(fs_fd, option->value ? MOUNT_CONFIG_SET_STRING : MOUNT_CONFIG_SET_FLAG,
                         option->key, option->value);
        if (r < 0)
                (void)snprintf(context->option, sizeof(context->option), "%s", option->key);
        return at_step(context, MOUNT_STEP_OPTION, r);
}

static int set_options(int fs_fd, const MountSpec *spec, MountContext *context) {
        const MountOption source = {"source", spec->source}, read_only = {"ro", NULL};
        int r;

        r = set_option(fs_fd, &source, context);
        if (r == 0 && spec->options && (spec->options->set & MOUNT_FLAG_READ_ONLY) &&
            !spec->writes_super)
                r = set_option(fs_fd, &read_only, context);
        for (size_t i = 0; r == 0 && spec->options && i < spec->options->n_options; i++)
                r = set_option(fs_fd, &spec->options->options[i], context);
        return r;
}

/* A detached mount, which is gone when its descriptor is closed. */
static int create(const MountSpec *spec, MountContext *context, int *mount_fdp) {
        cleanup(closep) int fs_fd = -1;
        unsigned int flags = spec->options ? spec->options->set : 0;
        int r;

        fs_fd = sys_fsopen(spec->fs_type);
        if (fs_fd < 0)
                return at_step(context, MOUNT_STEP_TYPE, fs_fd);
        r = set_options(fs_fd, spec, context);
        if (r == 0)
                r = at_step(context, MOUNT_STEP_CREATE,
                            sys_fsconfig(fs_fd, MOUNT_CONFIG_CREATE, NULL, NULL));
        if (r == 0) {
                r = at_step(context, MOUNT_STEP_ATTRIBUTES,
                            sys_fsmount(fs_fd, attributes_from_flags(flags)));
                if (r >= 0) {
                        *mount_fdp = r;
                        r = 0;
                }
        }
        read_log(fs_fd, context);
        return r;
}

/* XFS of 5.6 to 6.8 looks at "ro" before fsconfig() said it: the mount is read-only, and XFS writes
 * to the device all the same, and takes no "norecovery". Stable kernels took the change of 6.9, but
 * mount(2) is right on all of them. */
static bool is_deaf_to_ro(const MountSpec *spec) {
        struct utsname names;
        unsigned long major, minor = 0;
        char *end = NULL;

        if (!spec->options || !(spec->options->set & MOUNT_FLAG_READ_ONLY) || spec->writes_super ||
            strcmp(spec->fs_type, "xfs") != 0)
                return false;
        if (uname(&names) < 0)
                return true;
        major = strtoul(names.release, &end, 10);
        if (*end == '.')
                minor = strtoul(end + 1, NULL, 10);
        return major < 6 || (major == 6 && minor < 9);
}

int mount_new(const MountSpec *spec, const MountPlace *place, MountContext *context) {
        cleanup(closep) int mount_fd = -1;
        int r;

        *context = (MountContext){0};
        if (is_deaf_to_ro(spec))
                return mount_legacy_new(spec, place, context);
        r = create(spec, context, &mount_fd);
        if (r == -ENOSYS)
                return mount_legacy_new(spec, place, context);
        if (r < 0)
                return r;
        return at_step(context, MOUNT_STEP_ATTACH, sys_move_mount(mount_fd, place->fd));
}

int mount_new_detached(const MountSpec *spec, MountContext *context, int *fdp) {
        *context = (MountContext){0};
        return create(spec, context, fdp);
}

/* The atime modes are one field, which is cleared as a whole. */
static MountAttributeChange change_from_flags(unsigned int set, unsigned int clear) {
        MountAttributeChange change = {
                .set = attributes_from_flags(set),
                .clear = attributes_from_flags(clear & ~set & ~(unsigned int)MOUNT_FLAGS_ATIME),
        };

        if ((set | clear) & MOUNT_FLAGS_ATIME)
                change.clear |= MOUNT_ATTRIBUTE_ATIME;
        return change;
}

static int change_attributes(int mount_fd, MountAttributeChange *change, MountContext *context) {
        if (change->set == 0 && change->clear == 0 && change->propagation == 0)
                return 0;
        return at_step(context, MOUNT_STEP_ATTRIBUTES,
                       sys_mount_setattr(mount_fd, MOUNT_AT_EMPTY_PATH, change));
}

int mount_bind(int source_fd, const MountPlace *place, unsigned int set, unsigned int clear,
               MountContext *context) {
        cleanup(closep) int mount_fd = -1;
        MountAttributeChange change = change_from_flags(set, clear);
        int r;

        *context = (MountContext){0};
        mount_fd = sys_open_tree(source_fd, "",
                                 MOUNT_OPEN_TREE_CLONE | O_CLOEXEC | MOUNT_AT_EMPTY_PATH);
        if (mount_fd == -ENOSYS)
                return mount_legacy_bind(source_fd, place, set, clear, context);
        if (mount_fd < 0)
                return at_step(context, MOUNT_STEP_CLONE, mount_fd);
        /* A copy of a shared mount would be its peer, and show here what is mounted there. */
        change.propagation = MS_PRIVATE;
        r = change_attributes(mount_fd, &change, context);
        if (r == -ENOSYS)
                return mount_legacy_bind(source_fd, place, set, clear, context);
        if (r < 0)
                return r;
        return at_step(context, MOUNT_STEP_ATTACH, sys_move_mount(mount_fd, place->fd));
}

int mount_detach(int parent_fd, const char *name, unsigned int how) {
        char path[MOUNT_PATH_MAX];
        int r;

        r = mount_child_path(parent_fd, name, path);
        if (r < 0)
                return r;
        if (umount2(path, UMOUNT_NOFOLLOW | (how & MOUNT_DETACH_LAZY ? MNT_DETACH : 0) |
                                  (how & MOUNT_DETACH_FORCE ? MNT_FORCE : 0)) < 0)
                return -errno;
        return 0;
}

int mount_is_shared(int fd) {
        MountStatus status = {0};
        int r;

        r = mount_query(fd, MOUNT_QUERY_FULL, &status);
        if (r == 0)
                r = status.is_shared;
        mount_status_deinit(&status);
        return r;
}
