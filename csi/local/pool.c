/* SPDX-License-Identifier: Apache-2.0 */

/* Opens the pool directory safely, locks it against other processes, and closes it. */

#include "csi/local/pool.h"
#include "csi/local/spec.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/block/filecopy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

/* What is at the path is not the pool, or nothing is. */
#define POOL_E_ABSENT 1

/* What hangs, if it does. */
#define POOL_KEY "pool"
/* How long a disk that answered is taken to answer. */
#define ASK_AGAIN_MSECS 1000
/* For a start: longer than LOCK_WAIT_MSECS. */
#define OPEN_MSECS 15000

/* A DaemonSet update starts the new pod when the old one was told to end: give it time to go. */
#define LOCK_WAIT_MSECS        5000
#define SHARED_RESERVE_PERCENT 20
#define OVERCOMMIT_MAX         10000
#define DEFAULT_OVERCOMMIT     100

static const char *const kind_directories[_LOCAL_KIND_N] = {"volumes", "snapshots", "groups"};

/* Somebody else who may write here could swap a data file for a link to /etc. */
static int check_directory(int fd, const char *path, Error *err) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return error_set_errno(err, errno, "stat %s", path);
        if (st.st_uid != geteuid())
                return error_set(err, ERROR_PRECONDITION,
                                 "%s belongs to user %u, not to the user this runs as (%u)", path,
                                 st.st_uid, geteuid());
        if (st.st_mode & (S_IWGRP | S_IWOTH))
                return error_set(err, ERROR_PRECONDITION,
                                 "%s may be written by others (mode %04o); chmod 0700 it", path,
                                 st.st_mode & 07777U);
        return 0;
}

static int open_directory(Pool *pool, Error *err) {
        int r;

        pool->fd = open(pool->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (pool->fd < 0 && errno == ENOENT && pool->may_make) {
                r = file_make_directories(pool->path, 0700);
                if (r < 0)
                        return error_set_errno(err, r, "make pool directory %s", pool->path);
                pool->fd = open(pool->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
        if (pool->fd < 0 && (errno == ENOTDIR || errno == EACCES))
                return error_set_errno(err, errno, "open pool directory %s", pool->path);
        if (pool->fd < 0) {
                (void)error_set(err, ERROR_UNAVAILABLE, "pool directory %s: %m", pool->path);
                return POOL_E_ABSENT;
        }
        return check_directory(pool->fd, pool->path, err);
}

static int say_locked(const Pool *pool, Error *err) {
        char holder[16] = {0};
        ssize_t n = pread(pool->lock_fd, holder, sizeof(holder) - 1, 0);

        str_trim_end(holder);
        return error_set(err, ERROR_UNAVAILABLE,
                         "pool %s is in use by another berth-csi (process %s); two would destroy "
                         "each other's volumes",
                         pool->path, n > 0 ? holder : "unknown");
}

static int lock_pool(Pool *pool, Error *err) {
        uint64_t until = clock_msecs() + LOCK_WAIT_MSECS;
        cleanup(freep) char *text = NULL;
        int r;

        r = file_open_plain_at(pool->fd, "lock", O_RDWR | O_CREAT, 0600);
        /* flock(2) needs no right to write; without an inode for the file the directory serves. */
        if (r == -EROFS)
                r = file_open_plain_at(pool->fd, "lock", O_RDONLY, 0);
        if (r < 0 && (pool_is_full(r) || r == -ENOENT)) {
                r = openat(pool->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = r < 0 ? -errno : r;
        }
        if (r == -EINVAL)
                return error_set(err, ERROR_PRECONDITION, "%s/lock is not a plain file: remove it",
                                 pool->path);
        if (r < 0)
                return error_set_errno(err, r, "open %s/lock", pool->path);
        pool->lock_fd = r;
        while (flock(pool->lock_fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EWOULDBLOCK && errno != EINTR)
                        return error_set_errno(err, errno, "lock %s/lock", pool->path);
                if (clock_msecs() >= until)
                        return say_locked(pool, err);
                clock_sleep(100);
        }
        /* Only for the message above. */
        text = str_printf("%d\n", (int)getpid());
        if (text && ftruncate(pool->lock_fd, 0) == 0 &&
            file_write_all(pool->lock_fd, text, strlen(text)) < 0)
                log_debug("pool %s: the lock file has no process id", pool->path);
        return 0;
}

/* The copy of the UUID outside. Without it the pool is served all the same. */
static void note(const Pool *pool, const char *outside) {
        int r;

        if (pool->note_path[0] == '\0' || str_equal(outside, pool->uuid))
                return;
        r = pool_note_write(pool->note_path, pool->path, pool->uuid);
        if (r < 0)
                log_warning("pool %s: %s cannot be written (%d): after a restart nothing says that "
                            "another disk is in its place",
                            pool->path, pool->note_path, r);
        else
                log_info("pool %s is %s, which %s says from now on", pool->path, pool->uuid,
                         pool->note_path);
}

static int name_pool(Pool *pool, bool is_new, Error *err) {
        int r = pool_uuid_make(pool->uuid);

        if (r == 0)
                r = pool_json_write(pool->fd, pool->uuid);
        if (r == 0)
                return 0;
        pool->uuid[0] = '\0';
        /* An old pool that is full or read-only is served without a name. */
        if (!is_new && (pool_is_full(r) || r == -EROFS))
                return 0;
        return error_set_errno(err, r, "write %s/pool.json", pool->path);
}

/* Which pool is there, and with @apply what that means. Return: 0; POOL_E_ABSENT with @err. */
static int identify(Pool *pool, bool apply, Error *err) {
        PoolNote noted = {0};
        PoolIdentity identity = {.path = pool->path,
                                 .inside = pool->uuid,
                                 .outside = noted.uuid,
                                 .other_uuid = noted.other_uuid,
                                 .other_path = noted.other_path,
                                 .asked = pool->asked_uuid,
                                 .note = pool->note_path,
                                 .may_make = pool->may_make};
        PoolAction action;
        int r;

        r = pool->note_path[0] ? pool_note_read(pool->note_path, pool->path, &noted) : 0;
        if (r < 0)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s does not say which pool is this node's: repair or remove it",
                                 pool->note_path);
        r = pool_json_read(pool->fd, pool->path, pool->uuid, err);
        if (r < 0 && r != -ENOENT)
                return r;
        identity.is_there = r == 0;
        action = pool_identity_decide(&identity, err);
        r = action == POOL_ACTION_MAKE ? pool_check_unused(pool->fd, pool->path, err) : 0;
        if (r < 0)
                return r;
        switch (action) {
        case POOL_ACTION_REFUSE:
                /* What is attached of it is still known by its name. */
                (void)snprintf(pool->uuid, sizeof(pool->uuid), "%s",
                               pool->asked_uuid[0] ? pool->asked_uuid : noted.uuid);
                return POOL_E_ABSENT;
        case POOL_ACTION_MAKE:
        case POOL_ACTION_NAME:
                if (!apply)
                        return 0;
                r = name_pool(pool, action == POOL_ACTION_MAKE, err);
                if (r == 0 && action == POOL_ACTION_MAKE)
                        log_warning("made a new pool %s at %s: nothing was there, and nothing says "
                                    "that another was",
                                    pool->uuid, pool->path);
                break;
        case POOL_ACTION_ADOPT:
        case POOL_ACTION_OPEN:
                break;
        }
        if (r == 0 && apply && pool->uuid[0])
                note(pool, noted.uuid);
        return r;
}

static int open_kind(Pool *pool, const char *name, Error *err) {
        int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        int fd = openat(pool->fd, name, flags);

        if (fd < 0 && errno == ENOENT) {
                if (mkdirat(pool->fd, name, 0700) < 0)
                        return error_set_errno(err, errno, "make %s/%s", pool->path, name);
                fd = openat(pool->fd, name, flags);
        }
        return fd < 0 ? error_set_errno(err, errno, "open %s/%s", pool->path, name) : fd;
}

static int open_kinds(Pool *pool, Error *err) {
        for (size_t kind = 0; kind < _LOCAL_KIND_N; kind++) {
                const char *name = kind_directories[kind];
                int fd, r;

                fd = open_kind(pool, name, err);
                if (fd < 0)
                        return fd;
                pool->dir_fds[kind] = fd;
                r = check_directory(fd, name, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Trying it takes a block and two inodes for a moment. */
static int look_at_reflink(Pool *pool, Error *err) {
        int r = filecopy_can_reflink(pool->fd);

        pool->reflink_unknown = pool_is_full(r) || r == -EROFS;
        if (r < 0 && !pool->reflink_unknown)
                return error_set_errno(err, r, "write to pool %s", pool->path);
        pool->can_reflink = r > 0;
        return 0;
}

static int copy_names(Pool *pool, const ProviderConfig *config, Error *err) {
        const char *path =
                str_is_empty(config->pool_path) ? "/var/lib/berth/pool" : config->pool_path;

        pool->path = strdup(path);
        pool->node_name = strdup(config->node_name);
        pool->kubelet_root = strdup(config->kubelet_root);
        pool->asked_uuid = strdup(config->pool_id ? config->pool_id : "");
        pool->note_path =
                config->state_dir ? str_printf("%s/pool.id", config->state_dir) : strdup("");
        if (!pool->path || !pool->node_name || !pool->kubelet_root || !pool->asked_uuid ||
            !pool->note_path)
                return error_set_errno(err, ENOMEM, "open pool %s", path);
        if (path[0] != '/')
                return error_set(err, ERROR_INVALID, "pool path \"%s\" is not absolute", path);
        if (pool->asked_uuid[0] && !pool_uuid_is_valid(pool->asked_uuid))
                return error_set(err, ERROR_INVALID,
                                 "--pool-id: \"%.64s\", expected a UUID in lower case as "
                                 "pool.json has it",
                                 pool->asked_uuid);
        return 0;
}

static int configure_parts(Pool *pool, const ProviderConfig *config, Error *err) {
        int r;

        pool->reserve = pool_default_reserve;
        pool->inline_pod = pool_default_inline_pod;
        pool->inline_namespace = pool_default_inline_namespace;
        r = pool_parse_part("--pool-reserve", config->pool_reserve, &pool->reserve, err);
        if (r == 0)
                r = pool_parse_part("--inline-per-pod", config->inline_per_pod, &pool->inline_pod,
                                    err);
        if (r == 0)
                r = pool_parse_part("--inline-per-namespace", config->inline_per_namespace,
                                    &pool->inline_namespace, err);
        return r;
}

static int configure(Pool *pool, const ProviderConfig *config, Error *err) {
        int r = copy_names(pool, config, err);

        if (r < 0)
                return r;
        pool->may_make = config->pool_init;
        pool->reserve_is_default = str_is_empty(config->pool_reserve);
        local_topology_value(config->node_name, pool->topology_value);
        pool->volume_limit = config->volume_limit > 0 ? (uint64_t)config->volume_limit : 0;
        pool->overcommit_percent = config->pool_overcommit_percent ? config->pool_overcommit_percent
                                                                   : DEFAULT_OVERCOMMIT;
        if (pool->overcommit_percent > OVERCOMMIT_MAX)
                return error_set(err, ERROR_INVALID,
                                 "pool overcommit is %" PRIu64 " percent, at most %d is sensible",
                                 pool->overcommit_percent, OVERCOMMIT_MAX);
        return configure_parts(pool, config, err);
}

static int init_threads(Pool *pool, const ProviderConfig *config, Error *err) {
        pthread_condattr_t attributes;
        int r;

        r = pthread_condattr_init(&attributes);
        if (r == 0)
                r = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        if (r == 0)
                r = pthread_cond_init(&pool->changed, &attributes);
        if (r == 0)
                r = pthread_mutex_init(&pool->mutex, NULL);
        if (r == 0)
                r = pthread_mutex_init(&pool->open_mutex, NULL);
        if (r == 0)
                r = -watchdog_new(&pool->watchdog);
        pool->locks = config->locks;
        if (r == 0 && !pool->locks)
                r = -hold_table_new(&pool->own_locks);
        if (!pool->locks)
                pool->locks = pool->own_locks;
        return r == 0 ? 0 : error_set_errno(err, r, "open pool");
}

static Pool *pool_new(void) {
        Pool *pool = calloc(1, sizeof(*pool));

        if (!pool)
                return NULL;
        pool->fd = pool->lock_fd = -1;
        for (size_t kind = 0; kind < _LOCAL_KIND_N; kind++)
                pool->dir_fds[kind] = -1;
        return pool;
}

/* kubelet evicts pods when its own filesystem has less than 10% left, or 15% where images lie. */
static void spare_kubelet(Pool *pool) {
        struct stat kubelet, here;

        if (!pool->reserve_is_default || stat(pool->kubelet_root, &kubelet) < 0 ||
            fstat(pool->fd, &here) < 0 || kubelet.st_dev != here.st_dev)
                return;
        pool->reserve = (PoolPart){UINT64_MAX, SHARED_RESERVE_PERCENT};
}

/* Return: 0; POOL_E_ABSENT with @err. Half-open after anything but 0. */
static int bring_up(Pool *pool, Error *err) {
        int r;

        r = open_directory(pool, err);
        /* Not even a lock is made in what is not our pool. */
        if (r == 0)
                r = identify(pool, false, err);
        if (r == 0)
                r = lock_pool(pool, err);
        if (r == 0)
                r = identify(pool, true, err);
        if (r == 0)
                r = open_kinds(pool, err);
        if (r == 0)
                r = look_at_reflink(pool, err);
        if (r == 0)
                spare_kubelet(pool);
        if (r == 0)
                r = pool_recover(pool, err);
        return r;
}

static void close_files(Pool *pool) {
        for (size_t kind = 0; kind < _LOCAL_KIND_N; kind++) {
                EntryTable *table = &pool->tables[kind];

                for (size_t i = 0; i < table->n_entries; i++)
                        pool_free_entry(table->entries[i]);
                free(table->entries);
                *table = (EntryTable){0};
                closep(&pool->dir_fds[kind]);
        }
        closep(&pool->fd);
        closep(&pool->lock_fd);
}

/* What is attached of a pool that is not there is still known by its name. */
static void recall_name(Pool *pool) {
        PoolNote note;

        if (pool->uuid[0])
                return;
        if (pool->asked_uuid[0])
                (void)snprintf(pool->uuid, sizeof(pool->uuid), "%s", pool->asked_uuid);
        else if (pool->note_path[0])
                if (pool_note_read(pool->note_path, pool->path, &note) == 0)
                        memcpy(pool->uuid, note.uuid, sizeof(pool->uuid));
}

static int try_open(Pool *pool, Error *err) {
        int r = bring_up(pool, err);

        /* A disk that fails is as good as one that is not there. */
        if (r == -EIO)
                r = POOL_E_ABSENT;
        if (r != 0) {
                recall_name(pool);
                close_files(pool);
                return r;
        }
        pthread_mutex_lock(&pool->mutex);
        pool->is_open = true;
        pthread_mutex_unlock(&pool->mutex);
        return 0;
}

static bool is_open(Pool *pool) {
        bool open;

        pthread_mutex_lock(&pool->mutex);
        open = pool->is_open;
        pthread_mutex_unlock(&pool->mutex);
        return open;
}

/* Of a filesystem that was taken away lazily the descriptors still work. */
static int check_path(const Pool *pool, Error *err) {
        struct stat here, shown;

        if (fstat(pool->fd, &here) < 0 || (stat(pool->path, &shown) < 0 && errno == EIO))
                return error_set(err, ERROR_UNAVAILABLE,
                                 "the disk of pool %s answers nothing but errors (%m). Look at the "
                                 "kernel's log; after it is repaired, restart the plugin",
                                 pool->path);
        if (stat(pool->path, &shown) == 0 && here.st_dev == shown.st_dev &&
            here.st_ino == shown.st_ino)
                return 0;
        return error_set(err, ERROR_UNAVAILABLE,
                         "pool %s is not at its path any more: its disk was unmounted, or another "
                         "one is mounted there. Nothing is made or removed until it is back; if it "
                         "is back and this stays, restart the plugin",
                         pool->path);
}

/* --- Whether its disk answers --- */

typedef struct Question {
        Pool *pool; /* lives as long as anybody is late */
        int r;
        Error error;
} Question;

#define ASK_BYTES 4096

static int open_direct(int dir_fd) {
        int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
        int fd = openat(dir_fd, "pool.json", flags | O_DIRECT);

        return fd < 0 && errno == EINVAL ? openat(dir_fd, "pool.json", flags) : fd;
}

/* Past the page cache, and with a change that needs a filesystem that is not frozen. Return: 0;
 * -EROFS; -EIO. What else fails says nothing about the disk. */
static int ask(int dir_fd) {
        cleanup(freep) void *bytes = NULL;
        cleanup(closep) int fd = open_direct(dir_fd);

        if (fd < 0)
                return errno == EIO ? -EIO : 0;
        if (posix_memalign(&bytes, ASK_BYTES, ASK_BYTES) != 0)
                return 0;
        if (pread(fd, bytes, ASK_BYTES, 0) < 0 && errno == EIO)
                return -EIO;
        if (utimensat(dir_fd, "lock", NULL, AT_SYMLINK_NOFOLLOW) < 0 &&
            (errno == EROFS || errno == EIO))
                return -errno;
        return 0;
}

static void ask_by_path(void *data) {
        const Question *question = data;
        cleanup(closep) int fd = open(question->pool->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd >= 0)
                (void)ask(fd);
}

static void say_read_only(const Pool *pool, bool is_read_only) {
        if (is_read_only)
                log_warning("pool %s is on a filesystem that is read-only: what is mounted is "
                            "served, nothing is made, and Probe says that it is not ready. Look at "
                            "the kernel's log; mount it for writing",
                            pool->path);
        else
                log_info("pool %s can be written again", pool->path);
}

/* Also whoever holds the mutex while he waits for the disk is found by this. */
static int ask_pool(Pool *pool, Error *err) {
        uint64_t now = clock_msecs();
        bool is_known, was_read_only;
        int r;

        pthread_mutex_lock(&pool->mutex);
        is_known = pool->answered_msecs != 0 && now - pool->answered_msecs < ASK_AGAIN_MSECS;
        pthread_mutex_unlock(&pool->mutex);
        if (is_known)
                return 0;
        r = ask(pool->fd);
        if (r == -EIO)
                return error_set(err, ERROR_UNAVAILABLE, "pool %s: input/output error", pool->path);
        pthread_mutex_lock(&pool->mutex);
        was_read_only = pool->is_read_only;
        pool->is_read_only = r == -EROFS;
        pool->answered_msecs = now;
        pthread_mutex_unlock(&pool->mutex);
        if (was_read_only != (r == -EROFS))
                say_read_only(pool, r == -EROFS);
        return 0;
}

static int open_again(Pool *pool, Error *err) {
        int r;

        pthread_mutex_lock(&pool->open_mutex);
        r = is_open(pool) ? 0 : try_open(pool, err);
        pthread_mutex_unlock(&pool->open_mutex);
        if (r == 0)
                log_info("pool %s is there", pool->path);
        return r > 0 ? -ENODEV : r;
}

static void do_use(void *data) {
        Question *question = data;
        Pool *pool = question->pool;
        Error *err = &question->error;
        int r = is_open(pool) ? 0 : open_again(pool, err);

        if (r == 0)
                r = check_path(pool, err);
        if (r == 0)
                r = ask_pool(pool, err);
        if (r == 0 && pool->reflink_unknown) {
                pthread_mutex_lock(&pool->open_mutex);
                (void)look_at_reflink(pool, NULL);
                pthread_mutex_unlock(&pool->open_mutex);
        }
        question->r = r;
}

static int say_hanging(const Pool *pool, Error *err) {
        return error_set(err, ERROR_UNAVAILABLE,
                         "pool %s does not answer: its disk hangs, or is slow. What is mounted "
                         "stays, and nothing is made or removed until it answers",
                         pool->path);
}

int pool_use(Pool *pool, Error *err) {
        Question question = {.pool = pool};
        int r = watchdog_run(pool->watchdog, POOL_KEY, do_use, &question, sizeof(question),
                             HOLD_WAIT_MSECS);

        if (r != 0)
                return say_hanging(pool, err);
        if (question.r < 0 && err) {
                *err = question.error;
                err->code = ERROR_UNAVAILABLE;
        }
        return question.r;
}

bool pool_is_hanging(Pool *pool) {
        return watchdog_is_hanging(pool->watchdog, POOL_KEY);
}

bool pool_is_read_only(Pool *pool) {
        bool is_read_only;

        pthread_mutex_lock(&pool->mutex);
        is_read_only = pool->is_read_only;
        pthread_mutex_unlock(&pool->mutex);
        return is_read_only;
}

int pool_init(const char *path, char uuid[POOL_UUID_SIZE], Error *err) {
        const ProviderConfig config = {
                .node_name = "init", .pool_path = path, .kubelet_root = "", .pool_init = true};
        Pool *pool = pool_new();
        bool is_there;
        int r;

        if (!pool)
                return error_set_errno(err, ENOMEM, "make a pool");
        r = init_threads(pool, &config, err);
        if (r == 0)
                r = configure(pool, &config, err);
        if (r == 0)
                r = open_directory(pool, err);
        if (r == 0)
                r = lock_pool(pool, err);
        is_there = r == 0 && faccessat(pool->fd, "pool.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
        if (r == 0)
                r = identify(pool, true, err);
        if (r == 0)
                r = open_kinds(pool, err);
        if (r == 0)
                memcpy(uuid, pool->uuid, POOL_UUID_SIZE);
        pool_close(pool);
        if (r > 0)
                return -ENODEV;
        return r == 0 && is_there ? POOL_E_THERE : r;
}

static void do_open(void *data) {
        Question *question = data;

        pthread_mutex_lock(&question->pool->open_mutex);
        question->r = try_open(question->pool, &question->error);
        pthread_mutex_unlock(&question->pool->open_mutex);
}

/* Return: as try_open(). One that hangs is as good as absent: what is mounted is served, and the
 * pool when it answers. */
static int open_first(Pool *pool, Error *err) {
        Question question = {.pool = pool};
        int r = watchdog_run(pool->watchdog, POOL_KEY, ask_by_path, &question, sizeof(question),
                             HOLD_WAIT_MSECS);

        if (r == 0)
                r = watchdog_run(pool->watchdog, POOL_KEY, do_open, &question, sizeof(question),
                                 OPEN_MSECS);
        if (r != 0) {
                (void)say_hanging(pool, err);
                return POOL_E_ABSENT;
        }
        *err = question.error;
        return question.r;
}

int pool_open(Pool **poolp, const ProviderConfig *config, Error *err) {
        Pool *pool = pool_new();
        Error error = {0};
        int r;

        if (!pool)
                return error_set_errno(err, ENOMEM, "open pool");
        r = init_threads(pool, config, err);
        if (r < 0) {
                free(pool);
                return r;
        }
        r = configure(pool, config, err);
        if (r == 0)
                r = open_first(pool, &error);
        if (r < 0) {
                if (error_is_set(&error))
                        error_move(err, &error);
                pool_close(pool);
                return r;
        }
        if (r == POOL_E_ABSENT)
                log_error("%s", error.message);
        *poolp = pool;
        return 0;
}

void pool_close(Pool *pool) {
        /* Who waits for its disk has it until the process ends. */
        if (!pool || (pool->watchdog && pool_is_hanging(pool)))
                return;
        pthread_mutex_lock(&pool->mutex);
        pool->stopping = true;
        pthread_cond_broadcast(&pool->changed);
        while (pool->n_jobs > 0)
                pool_wait(pool, UINT64_MAX);
        pthread_mutex_unlock(&pool->mutex);
        close_files(pool);
        watchdog_free(pool->watchdog);
        (void)pthread_cond_destroy(&pool->changed);
        (void)pthread_mutex_destroy(&pool->mutex);
        (void)pthread_mutex_destroy(&pool->open_mutex);
        hold_table_free(pool->own_locks);
        free(pool->path);
        free(pool->node_name);
        free(pool->kubelet_root);
        free(pool->asked_uuid);
        free(pool->note_path);
        free(pool);
}
