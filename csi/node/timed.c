/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/timed.h"
#include "csi/wait/limits.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/str.h"
#include "common/block/fsfreeze.h"

#include <fcntl.h>
#include <stdalign.h>
#include <sys/stat.h>

#define KEY_MAX (PATH_MAX + 16)

typedef struct Task {
        int (*work)(void *data);
        alignas(max_align_t) unsigned char data[];
} Task;

static void key_format(const char *what, const char *about, char key[KEY_MAX]) {
        (void)snprintf(key, KEY_MAX, "%s %s", what, about);
}

static void do_work(void *argument) {
        Task *task = argument;
        TimedPlace *place = (TimedPlace *)(void *)task->data;

        place->r = task->work(task->data);
        closep(&place->fd);
}

/* NOLINTNEXTLINE(readability-function-size): who, what, where, how and how long. */
int timed_run(const Node *node, const char *what, const char *about, int fd, const char *name,
              int (*work)(void *data), void *data, size_t n_data, uint64_t timeout_msecs) {
        cleanup(freep) Task *task = calloc(1, sizeof(*task) + n_data);
        TimedPlace *place = data;
        char key[KEY_MAX];
        int r;

        if (!task)
                return -ENOMEM;
        place->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (place->fd < 0)
                return -errno;
        (void)snprintf(place->name, sizeof(place->name), "%s", name);
        task->work = work;
        memcpy(task->data, data, n_data);
        key_format(what, about, key);
        r = watchdog_run(node->watchdog, key, do_work, task, sizeof(*task) + n_data, timeout_msecs);
        if (r == WATCHDOG_E_LATE)
                return -ETIMEDOUT;
        if (r != 0) {
                closep(&place->fd);
                return r == WATCHDOG_E_HANGING ? -ETIMEDOUT : r;
        }
        memcpy(data, task->data, n_data);
        return place->r;
}

bool timed_is_late(const Node *node, const char *what, const char *about) {
        char key[KEY_MAX];

        key_format(what, about, key);
        return watchdog_is_hanging(node->watchdog, key);
}

uint64_t timed_left(const Call *call, uint64_t most_msecs) {
        uint64_t now = clock_msecs(), left;

        if (call->deadline_msecs == UINT64_MAX)
                return most_msecs;
        left = call->deadline_msecs > now ? call->deadline_msecs - now : 0;
        left = left > DEADLINE_ANSWER_MSECS + DEADLINE_LEAST_MSECS ? left - DEADLINE_ANSWER_MSECS
                                                                   : DEADLINE_LEAST_MSECS;
        return left < most_msecs ? left : most_msecs;
}

/* --- looking --- */

typedef struct Look {
        TimedPlace place;
        bool sets_mode;
        unsigned int mode;
        struct statvfs usage;
} Look;

static int look_at(Look *look, int fd) {
        struct stat status;

        if (!look->sets_mode)
                return fstatvfs(fd, &look->usage) < 0 ? -errno : 0;
        if (fstat(fd, &status) < 0)
                return -errno;
        if ((status.st_mode & 07777U) == look->mode)
                return 0;
        return fchmod(fd, look->mode) < 0 ? -errno : 0;
}

static int do_look(void *data) {
        Look *look = data;
        cleanup(closep) int fd = openat(look->place.fd, look->place.name,
                                        O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

        return fd < 0 ? -errno : look_at(look, fd);
}

static int run_look(const Node *node, const NodePath *path, Look *look) {
        return timed_run(node, TIMED_LOOK, path->text, path->parent_fd, path->name, do_look, look,
                         sizeof(*look), LOOK_TIMEOUT_MSECS);
}

int timed_look(const Node *node, const NodePath *path, struct statvfs *usage) {
        Look look = {0};
        int r = run_look(node, path, &look);

        *usage = look.usage;
        return r;
}

int timed_set_mode(const Node *node, const NodePath *path, unsigned int mode) {
        Look look = {.sets_mode = true, .mode = mode};

        return run_look(node, path, &look);
}

/* --- detaching --- */

typedef struct Detach {
        TimedPlace place;
        unsigned int how;
} Detach;

static int do_detach(void *data) {
        Detach *detach = data;

        return mount_detach(detach->place.fd, detach->place.name, detach->how);
}

int timed_detach(const Node *node, const NodePath *path, unsigned int how, uint64_t timeout_msecs) {
        Detach detach = {.how = how};
        /* While one hangs, a harder one may end it. */
        const char *what = how & MOUNT_DETACH_FORCE  ? "unmount by force"
                           : how & MOUNT_DETACH_LAZY ? "unmount lazily"
                                                     : TIMED_UNMOUNT;

        return timed_run(node, what, path->text, path->parent_fd, path->name, do_detach, &detach,
                         sizeof(detach), timeout_msecs);
}

/* --- thawing --- */

typedef struct Thaw {
        TimedPlace place;
} Thaw;

static int do_thaw(void *data) {
        const Thaw *thaw = data;
        cleanup(closep) int fd = openat(thaw->place.fd, thaw->place.name,
                                        O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

        return fd < 0 ? -errno : fsfreeze_thaw(fd);
}

int timed_thaw(const Node *node, const NodePath *path, uint64_t timeout_msecs) {
        Thaw thaw = {0};
        int r = path->fd < 0 ? -EINVAL : mount_is_only(path->fd);

        if (r <= 0)
                return r < 0 ? r : -EINVAL;
        return timed_run(node, TIMED_THAW, path->text, path->parent_fd, path->name, do_thaw, &thaw,
                         sizeof(thaw), timeout_msecs);
}
