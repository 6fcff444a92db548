/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What nobody speaks for any more: a loop device that was busy when its volume was unstaged, and an
 * inline volume whose pod went while the plugin was down. Nobody comes for them again, so the pool
 * looks by itself. A volume that a call holds is left for the next time, and so is everything when
 * kubelet's directories cannot be read.
 */

#include "csi/local/attach.h"
#include "csi/local/volume.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>

#define VOL_DATA_MAX 65536

static void say(const Pool *pool, const char *id, const char *what) {
        const LogField fields[] = {{"volume", id}, {"pool", pool->path}};

        log_fields(LOG_LEVEL_INFO, fields, N_ELEMENTS(fields), "%s", what);
}

/* --- Whether kubelet has a directory for it --- */

/* Calls @each with every entry of a directory, until it returns other than 0. Return: that; 0 also
 * if there is no such directory; -errno. */
static int each_entry(int dir_fd, const char *path,
                      int (*each)(int fd, const char *name, const char *id), const char *id) {
        cleanup(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        int fd, r = 0;

        fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }
        /* A directory that cannot be read to its end is no directory without pods. */
        errno = 0;
        while (r == 0 && (entry = readdir(dir))) {
                if (entry->d_name[0] != '.')
                        r = each(fd, entry->d_name, id);
                errno = 0;
        }
        return r == 0 && errno != 0 ? -errno : r;
}

/* What kubelet noted of a volume (pkg/volume/csi). Words that it does not say are no "no". */
static int is_volume(int fd, const char *name, const char *id) {
        cleanup(freep) char *path = str_printf("%s/vol_data.json", name);
        cleanup(freep) char *text = NULL;
        const char *handle;
        json_t *root;
        int r;

        if (!path)
                return -ENOMEM;
        r = file_read_at(fd, path, VOL_DATA_MAX, &text, NULL);
        if (r < 0)
                return r == -ENOENT || r == -ENOTDIR ? 0 : r;
        root = json_loads(text, 0, NULL);
        handle = json_string_value(json_object_get(root, "volumeHandle"));
        r = !handle || str_equal(handle, id) ? 1 : 0;
        json_decref(root);
        return r;
}

static int is_in_pod(int fd, const char *name, const char *id) {
        cleanup(freep) char *path = str_printf("%s/volumes/kubernetes.io~csi", name);

        return path ? each_entry(fd, path, is_volume, id) : -ENOMEM;
}

/* Return: 1: a pod's directory names it; 0; -errno: nobody can tell. */
static int has_pod(const Pool *pool, const char *id) {
        cleanup(freep) char *path = str_printf("%s/pods", pool->kubelet_root);
        int fd, r;

        if (!path)
                return -ENOMEM;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = each_entry(fd, ".", is_in_pod, id);
        close(fd);
        return r;
}

/* --- One volume --- */

static int give_back(Pool *pool, Entry *entry, Error *err) {
        cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
        int r = attach_find(pool, entry, &attachment, err);

        if (r != 0)
                return r == ATTACH_E_NONE ? 0 : r;
        attachment_deinit(&attachment);
        r = attach_drop(pool, entry, err);
        if (r == 0)
                say(pool, entry->meta.id, "its loop device, which nobody uses, is given back");
        return r;
}

/* @entry: held exclusively, given away. */
static void tend_held(Pool *pool, Entry *entry) {
        Error error = {0};
        int r = give_back(pool, entry, &error);

        if (r == 0 && entry->meta.ephemeral && has_pod(pool, entry->meta.id) == 0) {
                say(pool, entry->meta.id, "removed: an inline volume whose pod is gone");
                r = pool_erase(pool, entry, &error);
                if (r == 0)
                        return;
        }
        if (r < 0)
                say(pool, entry->meta.id, error.message);
        pool_release(pool, entry, POOL_EXCLUSIVE);
}

static bool never(void *userdata) {
        return false;
}

static void tend_volume(Pool *pool, const char *id) {
        const Call call = {.method = "Tend", .deadline_msecs = 0, .cancelled = never};
        cleanup(lock_release) Lock lock = {0};
        Entry *entry = NULL;

        if (lock_acquire(pool->locks, "volume", id, LOCK_EXCLUSIVE, NULL, &lock, NULL) == 0 &&
            pool_acquire_ready(pool, &call, LOCAL_VOLUME, id, POOL_EXCLUSIVE, &entry, NULL) == 0)
                tend_held(pool, entry);
}

/* The id that comes after @id, into @id. */
static bool next_id(Pool *pool, char id[LOCAL_ID_MAX + 1]) {
        const EntryTable *table = &pool->tables[LOCAL_VOLUME];
        size_t at;
        bool found;

        pthread_mutex_lock(&pool->mutex);
        at = pool_after(pool, LOCAL_VOLUME, id);
        found = at < table->n_entries;
        if (found)
                memcpy(id, table->entries[at]->meta.id, LOCAL_ID_MAX + 1);
        pthread_mutex_unlock(&pool->mutex);
        return found;
}

void local_tend(void *self) {
        char id[LOCAL_ID_MAX + 1] = "";
        Pool *pool = self;

        if (pool_use(pool, NULL) < 0)
                return;
        pool_drop_orphans(pool);
        while (next_id(pool, id))
                tend_volume(pool, id);
}
