/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a crash left, found by the metadata and undone or finished. One log line for each. A file
 * that no metadata names, or whose metadata cannot be read, is reported and left alone.
 */

#include "csi/local/cut.h"
#include "csi/local/pool.h"
#include "csi/local/volume.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* A copy that nobody has asked for in this time belongs to a claim that was given up. */
#define COPY_FORGET_SECONDS 3600
/* Lines about strange files per directory; the count of the rest follows. */
#define FOREIGN_MAX 20

static void say(LogLevel level, const Pool *pool, const char *object, const char *what) {
        LogField fields[] = {{"object", object}, {"pool", pool->path}};

        log_fields(level, fields, N_ELEMENTS(fields), "%s", what);
}

/* --- Reading the directories --- */

static int read_meta(Pool *pool, LocalKind kind, const char *stem, LocalMeta *meta, Error *err) {
        cleanup(closep) int fd = -1;
        cleanup(freep) char *text = NULL;
        char name[LOCAL_STEM_MAX + 8];
        size_t n;
        int r;

        (void)snprintf(name, sizeof(name), "%s.json", stem);
        fd = file_open_beneath(pool->dir_fds[kind], name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
        if (fd < 0)
                return error_set_errno(err, fd, "open");
        r = file_read_fd(fd, LOCAL_META_MAX, &text, &n);
        if (r < 0)
                return error_set_errno(err, r, "read");
        return local_meta_parse(text, n, kind, stem, meta, err);
}

static int add_entry(Pool *pool, LocalKind kind, const char *stem, Error *err) {
        LocalMeta meta = {.kind = kind, .state = LOCAL_STATE_READY};
        Entry *entry = NULL;
        Error error = {0};
        int r;

        (void)snprintf(meta.stem, sizeof(meta.stem), "%s", stem);
        (void)snprintf(meta.id, sizeof(meta.id), "%s", stem);
        r = read_meta(pool, kind, stem, &meta, &error);
        if (r == 0 && pool_find(pool, kind, meta.id)) {
                (void)error_set(&error, ERROR_INTERNAL, "a second file says it is %s", meta.id);
                (void)snprintf(meta.id, sizeof(meta.id), "%s", stem);
                r = -EEXIST;
        }
        if (r < 0)
                say(LOG_LEVEL_ERROR, pool, stem, error.message);
        if (pool_insert(pool, &meta, &entry) < 0)
                return error_set_errno(err, ENOMEM, "open pool %s", pool->path);
        entry->damaged = r < 0;
        entry->is_stored = true;
        return 0;
}

typedef struct Scan {
        Pool *pool;
        LocalKind kind;
        unsigned int n_foreign;
} Scan;

static void note_foreign(Scan *scan, const char *name) {
        if (scan->n_foreign++ < FOREIGN_MAX)
                say(LOG_LEVEL_WARNING, scan->pool, name,
                    "a file in the pool that is not ours is left alone");
}

static bool is_plain_file(const Scan *scan, const char *name) {
        struct stat st;

        return fstatat(scan->pool->dir_fds[scan->kind], name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
               S_ISREG(st.st_mode);
}

/* First pass: metadata and what file_write_atomic() left. */
static int meet_file(Scan *scan, const char *name, Error *err) {
        size_t n = local_stem_of_file(scan->kind, name, ".json");
        char stem[LOCAL_STEM_MAX + 1];

        if (n > 0) {
                memcpy(stem, name, n);
                stem[n] = '\0';
                return add_entry(scan->pool, scan->kind, stem, err);
        }
        if (local_is_temporary(scan->kind, name) && is_plain_file(scan, name)) {
                if (unlinkat(scan->pool->dir_fds[scan->kind], name, 0) == 0)
                        say(LOG_LEVEL_INFO, scan->pool, name, "removed: half-written metadata");
                return 0;
        }
        return 0;
}

static bool has_stem(const Pool *pool, LocalKind kind, const char *stem, size_t n) {
        const EntryTable *table = &pool->tables[kind];

        for (size_t i = 0; i < table->n_entries; i++)
                if (strncmp(table->entries[i]->meta.stem, stem, n) == 0 &&
                    table->entries[i]->meta.stem[n] == '\0')
                        return true;
        return false;
}

/* Second pass: whatever has no metadata. Ephemeral volumes have another id than stem, so this looks
 * at every entry, for strange files only. */
static int look_for_foreign(Scan *scan, const char *name, Error *err) {
        size_t n = local_stem_of_file(scan->kind, name, ".img");
        char id[LOCAL_STEM_MAX + 1];

        if (n == 0 && scan->kind == LOCAL_VOLUME)
                n = local_stem_of_file(scan->kind, name, ".work");
        if (local_stem_of_file(scan->kind, name, ".json") > 0 || strcmp(name, ".") == 0 ||
            strcmp(name, "..") == 0)
                return 0;
        if (n > 0) {
                memcpy(id, name, n);
                id[n] = '\0';
                if (pool_find(scan->pool, scan->kind, id) ||
                    has_stem(scan->pool, scan->kind, name, n))
                        return 0;
        }
        note_foreign(scan, name);
        return 0;
}

static int scan_directory(Scan *scan, int (*each)(Scan *scan, const char *name, Error *err),
                          Error *err) {
        cleanup(closedirp) DIR *dir = NULL;
        cleanup(closep) int fd = -1;
        struct dirent *item;
        int r;

        fd = openat(scan->pool->dir_fds[scan->kind], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_set_errno(err, errno, "read pool %s", scan->pool->path);
        dir = fdopendir(fd);
        if (!dir)
                return error_set_errno(err, errno, "read pool %s", scan->pool->path);
        (void)fd_steal(&fd);
        for (;;) {
                errno = 0;
                item = readdir(dir);
                if (!item)
                        break;
                r = each(scan, item->d_name, err);
                if (r < 0)
                        return r;
        }
        return errno ? error_set_errno(err, errno, "read pool %s", scan->pool->path) : 0;
}

static int scan_kind(Pool *pool, LocalKind kind, Error *err) {
        Scan scan = {.pool = pool, .kind = kind};
        int r;

        r = scan_directory(&scan, meet_file, err);
        if (r < 0)
                return r;
        r = scan_directory(&scan, look_for_foreign, err);
        if (scan.n_foreign > FOREIGN_MAX)
                log_warning("pool %s: %u files that are not ours", pool->path, scan.n_foreign);
        return r;
}

/* --- Undo and finish --- */

static void reclaim(Pool *pool, Entry *entry, const char *why) {
        say(LOG_LEVEL_WARNING, pool, entry->meta.id, why);
        if (entry->meta.kind == LOCAL_VOLUME) {
                Error error = {0};

                if (attach_drop(pool, entry, &error) != 0) {
                        say(LOG_LEVEL_ERROR, pool, entry->meta.id,
                            "its loop device is in use; left as it is");
                        return;
                }
        }
        entry->busy = true;
        pool_undo(pool, entry);
}

/* A copy goes on later if its source is still what it was. */
static const char *copy_problem(Pool *pool, const LocalMeta *meta) {
        LocalKind kind = meta->source == LOCAL_SOURCE_SNAPSHOT ? LOCAL_SNAPSHOT : LOCAL_VOLUME;
        struct timespec now;
        Error error = {0};
        int fd;

        if (!meta->copy.in_place && !pool_find(pool, kind, meta->source_id))
                return "removed: an interrupted copy whose source is gone";
        (void)clock_gettime(CLOCK_REALTIME, &now);
        if (meta->copy.asked_seconds + COPY_FORGET_SECONDS < now.tv_sec)
                return "removed: an interrupted copy that nobody asks for";
        fd = pool_open_data(pool, meta, O_RDONLY, &error);
        if (fd < 0)
                return "removed: an interrupted copy without data";
        closep(&fd);
        return NULL;
}

static void adopt_size(Pool *pool, Entry *entry) {
        Error error = {0};
        int r = pool_adopt_size(pool, entry, &error);

        if (r == -ENOENT)
                say(LOG_LEVEL_ERROR, pool, entry->meta.id, "its data file is missing");
        else if (r == POOL_E_CUT)
                say(LOG_LEVEL_ERROR, pool, entry->meta.id,
                    "its data file is shorter than the volume");
        else if (r < 0)
                say(LOG_LEVEL_ERROR, pool, entry->meta.id, error.message);
}

/* What it holds is not the volume: the tool was killed before it was looked at, or the volume has
 * what it held, and this is what the volume was before. */
static void drop_copy(Pool *pool, Entry *entry) {
        Error error = {0};
        int r = local_drop_copy(pool, entry, &error);

        if (r != 0)
                say(r < 0 ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, pool, entry->meta.id,
                    r < 0 ? error.message : "removed: a copy that a tool worked on");
}

static void recover_ready(Pool *pool, Entry *entry) {
        if (entry->meta.kind != LOCAL_VOLUME)
                return;
        drop_copy(pool, entry);
        adopt_size(pool, entry);
}

/* Members of a group live and die with its record. Return: whether that decided. */
static bool recover_member(Pool *pool, Entry *entry) {
        LocalMeta meta = entry->meta;
        Error error = {0};
        Entry *group;

        if (meta.kind != LOCAL_SNAPSHOT || meta.group_id[0] == '\0')
                return false;
        group = pool_find(pool, LOCAL_GROUP, meta.group_id);
        if (group && group->damaged)
                return true;
        if (!group || group->meta.state != LOCAL_STATE_READY) {
                cut_thaw_leftover(pool, &meta);
                reclaim(pool, entry, "removed: member of an unfinished group snapshot");
                return true;
        }
        if (meta.state == LOCAL_STATE_CREATING) {
                meta.state = LOCAL_STATE_READY;
                if (pool_store(pool, entry, &meta, &error) == 0)
                        say(LOG_LEVEL_INFO, pool, meta.id, "finished: member of a group snapshot");
                return true;
        }
        return false;
}

static void recover_entry(Pool *pool, Entry *entry) {
        const char *problem;

        if (entry->damaged || recover_member(pool, entry))
                return;
        switch (entry->meta.state) {
        case LOCAL_STATE_CREATING:
                cut_thaw_leftover(pool, &entry->meta);
                reclaim(pool, entry, "removed: a create that was interrupted");
                return;
        case LOCAL_STATE_COPYING:
                cut_thaw_leftover(pool, &entry->meta);
                problem = copy_problem(pool, &entry->meta);
                if (problem)
                        reclaim(pool, entry, problem);
                return;
        case LOCAL_STATE_READY:
                recover_ready(pool, entry);
                return;
        case LOCAL_STATE_DELETING:
        case _LOCAL_STATE_N:
                reclaim(pool, entry, "removed: a delete that was interrupted");
                return;
        }
}

/* Backwards, because an entry may go. */
static void recover_kind(Pool *pool, LocalKind kind) {
        EntryTable *table = &pool->tables[kind];

        for (size_t i = table->n_entries; i-- > 0;)
                recover_entry(pool, table->entries[i]);
}

/* Its record was removed while it was in use. */
static void drop_orphan(Pool *pool, const char *stem) {
        Error error = {0};
        int r = attach_drop_stem(pool, stem, &error);

        if (r == 0)
                say(LOG_LEVEL_WARNING, pool, stem, "detached: a loop device of no volume");
        else
                say(LOG_LEVEL_WARNING, pool, stem,
                    r < 0 ? error.message : "a loop device of no volume is still in use");
}

void pool_drop_orphans(Pool *pool) {
        (void)attach_survey(pool, drop_orphan);
}

int pool_recover(Pool *pool, Error *err) {
        for (size_t kind = 0; kind < _LOCAL_KIND_N; kind++) {
                int r = scan_kind(pool, (LocalKind)kind, err);

                if (r < 0)
                        return r;
        }
        pool_drop_orphans(pool);
        /* Copies first, while their sources are there; a group's record after its members. */
        recover_kind(pool, LOCAL_SNAPSHOT);
        recover_kind(pool, LOCAL_VOLUME);
        recover_kind(pool, LOCAL_GROUP);
        return 0;
}
