/* SPDX-License-Identifier: Apache-2.0 */

/* Opens the pool directory safely, locks it against other processes, and closes it. */

#include "csi/local/pool.h"
#include "csi/local/spec.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/block/filecopy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define POOL_FORMAT 1
/* A DaemonSet update starts the new pod when the old one was told to end: give it time to go. */
#define LOCK_WAIT_MSECS    5000
#define OVERCOMMIT_MAX     10000
#define DEFAULT_OVERCOMMIT 100

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

static int open_directory(Pool *pool, const char *path, Error *err) {
        int r;

        if (path[0] != '/')
                return error_set(err, ERROR_INVALID, "pool path \"%s\" is not absolute", path);
        r = file_make_directories(path, 0700);
        if (r < 0)
                return error_set_errno(err, r, "make pool directory %s", path);
        pool->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (pool->fd < 0)
                return error_set_errno(err, errno, "open pool directory %s", path);
        return check_directory(pool->fd, path, err);
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
        uint64_t until = pool_now_msecs() + LOCK_WAIT_MSECS;
        cleanup(freep) char *text = NULL;

        pool->lock_fd = openat(pool->fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (pool->lock_fd < 0)
                return error_set_errno(err, errno, "open %s/lock", pool->path);
        while (flock(pool->lock_fd, LOCK_EX | LOCK_NB) < 0) {
                struct timespec pause = {.tv_nsec = 100000000};

                if (errno != EWOULDBLOCK && errno != EINTR)
                        return error_set_errno(err, errno, "lock %s/lock", pool->path);
                if (pool_now_msecs() >= until)
                        return say_locked(pool, err);
                (void)nanosleep(&pause, NULL);
        }
        /* Only for the message above. */
        text = str_printf("%d\n", (int)getpid());
        if (text && ftruncate(pool->lock_fd, 0) == 0 &&
            file_write_all(pool->lock_fd, text, strlen(text)) < 0)
                log_debug("pool %s: the lock file has no process id", pool->path);
        return 0;
}

/* pool.json: absent in a new pool; a newer format is not ours to touch. */
static int check_format(Pool *pool, Error *err) {
        cleanup(freep) char *text = NULL;
        json_t *root;
        json_int_t format = 0;
        int r;

        r = file_read_at(pool->fd, "pool.json", LOCAL_META_MAX, &text, NULL);
        if (r == -ENOENT) {
                static const char fresh[] = "{\"format\": 1}\n";

                r = file_write_atomic(pool->fd, "pool.json", fresh, strlen(fresh), 0600);
                if (r < 0)
                        return error_set_errno(err, r, "write %s/pool.json", pool->path);
                return 0;
        }
        if (r < 0)
                return error_set_errno(err, r, "read %s/pool.json", pool->path);
        root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        format = json_integer_value(json_object_get(root, "format"));
        json_decref(root);
        if (format != POOL_FORMAT)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s/pool.json is not of format %d, the one this version knows",
                                 pool->path, POOL_FORMAT);
        return 0;
}

static int open_kinds(Pool *pool, Error *err) {
        for (size_t kind = 0; kind < _LOCAL_KIND_N; kind++) {
                const char *name = kind_directories[kind];
                int fd, r;

                if (mkdirat(pool->fd, name, 0700) < 0 && errno != EEXIST)
                        return error_set_errno(err, errno, "make %s/%s", pool->path, name);
                fd = openat(pool->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0)
                        return error_set_errno(err, errno, "open %s/%s", pool->path, name);
                pool->dir_fds[kind] = fd;
                r = check_directory(fd, name, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int configure(Pool *pool, const ProviderConfig *config, Error *err) {
        const char *path =
                str_is_empty(config->pool_path) ? "/var/lib/berth/pool" : config->pool_path;

        pool->path = strdup(path);
        pool->node_name = strdup(config->node_name);
        if (!pool->path || !pool->node_name)
                return error_set_errno(err, ENOMEM, "open pool %s", path);
        local_topology_value(config->node_name, pool->topology_value);
        pool->volume_limit = config->volume_limit > 0 ? (uint64_t)config->volume_limit : 0;
        pool->overcommit_percent = config->pool_overcommit_percent ? config->pool_overcommit_percent
                                                                   : DEFAULT_OVERCOMMIT;
        if (pool->overcommit_percent > OVERCOMMIT_MAX)
                return error_set(err, ERROR_INVALID,
                                 "pool overcommit is %" PRIu64 " percent, at most %d is sensible",
                                 pool->overcommit_percent, OVERCOMMIT_MAX);
        return pool_parse_reserve(config->pool_reserve, &pool->reserve_bytes,
                                  &pool->reserve_percent, err);
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
        pool->locks = config->locks;
        if (r == 0 && !pool->locks)
                r = -lock_table_new(&pool->own_locks);
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

static int open_all(Pool *pool, const ProviderConfig *config, Error *err) {
        int r;

        r = configure(pool, config, err);
        if (r < 0)
                return r;
        r = open_directory(pool, pool->path, err);
        if (r < 0)
                return r;
        r = lock_pool(pool, err);
        if (r < 0)
                return r;
        r = check_format(pool, err);
        if (r < 0)
                return r;
        r = open_kinds(pool, err);
        if (r < 0)
                return r;
        r = filecopy_can_reflink(pool->fd);
        if (r < 0)
                return error_set_errno(err, r, "write to pool %s", pool->path);
        pool->can_reflink = r > 0;
        return pool_recover(pool, err);
}

int pool_open(Pool **poolp, const ProviderConfig *config, Error *err) {
        Pool *pool = pool_new();
        int r;

        if (!pool)
                return error_set_errno(err, ENOMEM, "open pool");
        r = init_threads(pool, config, err);
        if (r < 0) {
                free(pool);
                return r;
        }
        r = open_all(pool, config, err);
        if (r < 0) {
                pool_close(pool);
                return r;
        }
        *poolp = pool;
        return 0;
}

void pool_close(Pool *pool) {
        if (!pool)
                return;
        pthread_mutex_lock(&pool->mutex);
        pool->stopping = true;
        pthread_cond_broadcast(&pool->changed);
        while (pool->n_jobs > 0)
                pool_wait(pool, UINT64_MAX);
        pthread_mutex_unlock(&pool->mutex);
        for (size_t kind = 0; kind < _LOCAL_KIND_N; kind++) {
                EntryTable *table = &pool->tables[kind];

                for (size_t i = 0; i < table->n_entries; i++)
                        free(table->entries[i]);
                free(table->entries);
                closep(&pool->dir_fds[kind]);
        }
        closep(&pool->fd);
        closep(&pool->lock_fd);
        (void)pthread_cond_destroy(&pool->changed);
        (void)pthread_mutex_destroy(&pool->mutex);
        lock_table_free(pool->own_locks);
        free(pool->path);
        free(pool->node_name);
        free(pool);
}
