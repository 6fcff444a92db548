/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_LOCAL_POOL_H
#define BERTH_CSI_LOCAL_POOL_H

/*
 * The pool directory and its index in memory.
 *
 *   <pool>/lock                 flock(2): one process per pool
 *   <pool>/pool.json            {"format": 1, "uuid": "..."}: proves which pool it is
 *   <pool>/volumes/<stem>.json  metadata, see meta.h
 *   <pool>/volumes/<stem>.img   data, a sparse or preallocated file
 *   <pool>/volumes/<stem>.work  a copy that shares its blocks, while a tool works on it: see work.c
 *   <pool>/snapshots/...        the same, data files are read-only
 *   <pool>/groups/<stem>.json   commit records of group snapshots
 *
 * Order on disk. Create: metadata "creating", data, metadata "ready". Delete: metadata "deleting",
 * data gone, metadata gone. So after a crash the metadata says what to undo or finish, and a file
 * without metadata was never ours and is never touched. What has the name of a copy is never what
 * the volume is, neither before nor after both exchanged their names, and goes at the next start.
 *
 * Locks. One mutex guards the index and is held only for memory and stat(2), never for a copy, a
 * sync or a device. Each entry has its own exclusive or shared hold, so operations on different
 * volumes run in parallel and a second one on the same volume gets ERROR_AGAIN after a short wait.
 * The hold guards the entry for one step; what a whole operation needs is the volume's name in the
 * table of locks that node and pool share: the node has it from the first look at a volume until it
 * is mounted, so a delete, a growth or a cut that comes meanwhile waits or is told so. Names are
 * taken before holds.
 */

#include "csi/api/provider.h"
#include "csi/local/meta.h"
#include "csi/local/pool_identity.h"
#include "csi/wait/hold.h"
#include "csi/wait/limits.h"
#include "csi/wait/watchdog.h"

#include <errno.h>
#include <pthread.h>

typedef struct CopyJob CopyJob;

typedef struct Entry {
        LocalMeta meta; /* written by the exclusive holder under the mutex; he alone may read it
                           without */
        bool is_staged; /* a raw block volume that a stage or publish asked for, and nobody gave
                           back; the exclusive holder's */
        bool busy;      /* held exclusively */
        unsigned int n_readers;  /* held shared: a source being read */
        bool is_frozen;          /* one of those freezes its filesystem. Under the mutex */
        uint64_t reserved_bytes; /* promised beyond the metadata until the hold ends: a growth, a
                                    snapshot that has no blocks yet */
        bool is_stored;          /* its metadata is on disk, so its data file is ours */
        bool damaged;           /* the metadata did not parse; only the id and the stem are known */
        unsigned int loop_hint; /* one more than the loop device it was last on; 0: unknown */
        uint64_t loop_sequence; /* of that device since it was attached; 0: not known. Both are
                                   read and written under the mutex */
        int loop_fd;  /* holds a raw block volume's device open, owned; -1. Under the mutex */
        CopyJob *job; /* the background copy that holds it, or NULL; borrowed */
} Entry;

/* Sorted by id. */
typedef struct EntryTable {
        Entry **entries; /* owned, and what they point to */
        size_t n_entries, n_allocated;
} EntryTable;

/* A part of the pool's filesystem: the smaller of both. */
typedef struct PoolPart {
        uint64_t bytes, percent;
} PoolPart;

typedef struct Pool {
        char *path; /* owned, for messages */
        char *node_name;
        char topology_value[64];
        char uuid[POOL_UUID_SIZE]; /* of the pool; "" while it has none */
        char *note_path;           /* owned; "": the UUID is not noted */
        char *asked_uuid;          /* owned; "": none is asked for */
        char *kubelet_root;        /* owned; whose pods inline volumes are for */
        bool may_make;
        Watchdog *watchdog;      /* owned */
        bool is_read_only;       /* was, when its disk was last asked. Under the mutex */
        uint64_t answered_msecs; /* when its disk last was; likewise */
        bool reserve_is_default;
        bool is_open;         /* all below is filled; set once, under the mutex */
        bool reflink_unknown; /* the pool was full when it was tried */
        pthread_mutex_t open_mutex;
        int fd, lock_fd;
        int dir_fds[_LOCAL_KIND_N];
        bool can_reflink;
        PoolPart reserve;
        PoolPart inline_pod, inline_namespace; /* most that the inline volumes of one have */
        uint64_t overcommit_percent;
        uint64_t volume_limit; /* told to kubelet; 0: none */
        HoldTable *locks;      /* the node's, or @own_locks */
        HoldTable *own_locks;  /* owned; NULL: there is the node's */
        pthread_mutex_t mutex;
        pthread_cond_t changed; /* a hold ended, a copy moved; CLOCK_MONOTONIC */
        EntryTable tables[_LOCAL_KIND_N];
        bool stopping;
        unsigned int n_copies; /* running */
        unsigned int n_jobs;   /* threads that exist */
} Pool;

/* What the pool's filesystem and the entries add up to, in bytes. */
typedef struct PoolUsage {
        uint64_t total;     /* size of the filesystem */
        uint64_t available; /* free for us */
        uint64_t reserve;   /* kept free */
        uint64_t allocated; /* blocks of all data files; shared blocks count once */
        uint64_t promised;  /* sizes of volumes and blocks of snapshots */
        bool is_read_only;  /* nothing can be made */
        uint64_t unbacked; /* what thick volumes were promised and have no block of their own for */
} PoolUsage;

/* Pure. Most that one more thin or thick volume may have. */
uint64_t pool_usage_available(const PoolUsage *usage, uint64_t overcommit_percent, bool thick);

/* "5%", "10Gi"; NULL or "": @part stays. @what is named in @err. Return: 0; ERROR_INVALID. */
int pool_parse_part(const char *what, const char *text, PoolPart *part, Error *err);

extern const PoolPart pool_default_reserve, pool_default_inline_pod, pool_default_inline_namespace;

/**
 * pool_open() - open the pool, or make it, and bring it to a clean state
 *
 * Undoes and finishes what a crash left, one log line each. A pool that is not there, or is another
 * one, is no failure: it is looked for at each call, and pool_use() says what is wrong with it. A
 * full or read-only filesystem is none either.
 *
 * Return: 0; ERROR_UNAVAILABLE when another process has the pool; ERROR_PRECONDITION when the
 * directory is not safe (owner, mode) or of a newer format; ERROR_INVALID; an errno otherwise.
 */
int pool_open(Pool **poolp, const ProviderConfig *config, Error *err);

/**
 * pool_use() - before anything is looked up in the pool, and before its volumes are told to be
 * there or not
 *
 * Opens the pool if that was not possible before, proves that its path still shows it, and that its
 * disk answers: that is asked on a thread of its own, and one that is late is not waited for.
 *
 * Return: 0; ERROR_UNAVAILABLE.
 */
int pool_use(Pool *pool, Error *err);

/* Whether somebody still waits for the pool's disk. */
bool pool_is_hanging(Pool *pool);

/* Whether nothing can be written, as pool_use() found it: ST_RDONLY does not tell that a filesystem
 * stopped writing after an error (ext4 since Linux 6.15, emergency_ro). */
bool pool_is_read_only(Pool *pool);

/* Makes an empty pool at @path. Return: 0; POOL_E_THERE: there is one, @uuid is its; <0 with @err.
 */
#define POOL_E_THERE 1
int pool_init(const char *path, char uuid[POOL_UUID_SIZE], Error *err);

/* Whether what failed with @r had no room: deleting must work all the same. */
static inline bool pool_is_full(int r) {
        return r == -ENOSPC || r == -EDQUOT;
}

/* pool_open()'s second half: reads the directories into the index, undoes and finishes. */
int pool_recover(Pool *pool, Error *err);

/* Stops the copies, which resume later. NULL is fine. */
void pool_close(Pool *pool);

/* --- Holds --- */

/**
 * pool_lock_volume() - hold the name of a volume, as the node does for as long as its calls take
 *
 * For the controller's calls: who asks for the volume on behalf of the node has the name already.
 * Waits as pool_acquire() does.
 *
 * Return: 0, then hold_release(); ERROR_AGAIN; ERROR_TIMEOUT when the call was cancelled.
 */
int pool_lock_volume(Pool *pool, const Call *call, const char *volume_id, HoldMode mode, Hold *lock,
                     Error *err);

/* If the volume is the source of a background copy: in @err, of which and how far it is
 * (ERROR_AGAIN). */
void pool_tell_copy(Pool *pool, const char *volume_id, Error *err);

/**
 * pool_acquire() - find and hold
 *
 * Return: 0; ERROR_NOT_FOUND; ERROR_AGAIN when it stays busy; ERROR_TIMEOUT when the call was
 * cancelled; ERROR_INTERNAL when its metadata is damaged.
 */
int pool_acquire(Pool *pool, const Call *call, LocalKind kind, const char *id, HoldMode hold,
                 Entry **entryp, Error *err);

/* As pool_acquire(), and ERROR_AGAIN when it is not READY: a copy is under way or was interrupted.
 */
int pool_acquire_ready(Pool *pool, const Call *call, LocalKind kind, const char *id, HoldMode hold,
                       Entry **entryp, Error *err);

enum {
        POOL_E_EXISTS = 1,  /* held exclusively, as it was */
        POOL_E_COPYING = 2, /* a background copy holds it; *jobp is the caller's reference */
};

/**
 * pool_claim() - hold exclusively what @fresh names, made in the index if it is not there
 * @needs_bytes: what a new one may take of the pool; checked and taken in one step, so that
 *               parallel creates cannot promise the same space twice
 *
 * Return: 0: new, nothing on disk yet; POOL_E_EXISTS; POOL_E_COPYING; ERROR_EXHAUSTED; and as
 * pool_acquire().
 */
int pool_claim(Pool *pool, const Call *call, const LocalMeta *fresh, uint64_t needs_bytes,
               Entry **entryp, CopyJob **jobp, Error *err);

void pool_release(Pool *pool, Entry *entry, HoldMode hold);

/* With the mutex held, or before there are threads: a new entry that nobody holds. Return: 0;
 * -ENOMEM. */
int pool_insert(Pool *pool, const LocalMeta *meta, Entry **entryp);

/* No longer in the index. */
void pool_free_entry(Entry *entry);

/* Takes an exclusively held entry out of the index and frees it. */
void pool_drop(Pool *pool, Entry *entry);

/* A copy of the metadata, if there is such an entry. */
bool pool_peek(Pool *pool, LocalKind kind, const char *id, LocalMeta *meta);

/* With the mutex held: index of the first entry whose id is > @id ("" : the first). */
size_t pool_after(const Pool *pool, LocalKind kind, const char *id);
Entry *pool_find(const Pool *pool, LocalKind kind, const char *id);

/* --- On disk; the caller holds the entry exclusively --- */

/* Writes @meta and, when it is safe on disk, makes it the entry's. Nothing changed on failure.
 * ERROR_PRECONDITION for a new entry whose data file is there already: it is somebody else's. */
int pool_store(Pool *pool, Entry *entry, const LocalMeta *meta, Error *err);

/* Data gone, then metadata gone, then the entry. On failure the entry stays, "deleting", held. */
int pool_erase(Pool *pool, Entry *entry, Error *err);

/* Undo of a create: as pool_erase(), and what fails is logged and left for the next start. */
void pool_undo(Pool *pool, Entry *entry);

/**
 * pool_open_data() - the data file of @meta
 * @flags: O_RDONLY or O_RDWR; with O_CREAT it is made and must not exist
 *
 * Return: a descriptor; ERROR_PRECONDITION if it is no plain file; an errno.
 */
int pool_open_data(Pool *pool, const LocalMeta *meta, int flags, Error *err);

/**
 * pool_adopt_size() - a data file that is longer than its record says
 *
 * An expand that was interrupted, or a person made it longer. Nothing shrinks, so the record takes
 * the size of the file, which is made to end with a whole sector; one log line.
 *
 * Return: 0; POOL_E_CUT: it is shorter; -ENOENT: there is no file; ERROR_PRECONDITION: no plain
 * file; another errno.
 */
#define POOL_E_CUT 1
int pool_adopt_size(Pool *pool, Entry *entry, Error *err);

/* Whether it is there: what a caller is told to have must be. Return: 0; ERROR_PRECONDITION; an
 * errno. */
int pool_check_data(Pool *pool, const LocalMeta *meta, Error *err);

/* --- The copy of a volume that a tool works on; the caller holds the entry exclusively --- */

/* As pool_open_data(). */
int pool_open_copy(Pool *pool, const LocalMeta *meta, int flags, Error *err);

/* Copy and data exchange their names, on disk. Return: 0; <0 with @err, and then they have not. */
int pool_exchange_copy(Pool *pool, const LocalMeta *meta, Error *err);

/* Gone is done. */
int pool_unlink_copy(Pool *pool, const LocalMeta *meta, Error *err);

/* Of an id that has no record: whether its data file is there all the same, as after half a
 * restore. Return: 0: no; ERROR_PRECONDITION, which says what to do. */
int pool_check_no_data(Pool *pool, LocalKind kind, const char *id, Error *err);

/* --- Space --- */

/* With the mutex held. */
int pool_get_usage(Pool *pool, PoolUsage *usage, Error *err);

/* ERROR_EXHAUSTED when @needs_bytes more do not fit. With the mutex held. */
int pool_check_space(Pool *pool, uint64_t needs_bytes, bool thick, Error *err);

/* With the mutex held: whether a new inline volume is within what its pod and its namespace may
 * have. Those that kubelet says nothing of count as one. Return: 0; ERROR_EXHAUSTED. */
int pool_check_inline(Pool *pool, const LocalMeta *fresh, Error *err);

/* Makes the exclusively held thin @entry thick in memory, so that what it still lacks counts from
 * now on; who cannot keep that sets meta.thick back. Return: 0; ERROR_EXHAUSTED. */
int pool_reserve_thick(Pool *pool, Entry *entry, Error *err);

/* Checks, and counts @needs_bytes for the exclusively held @entry until its hold ends. */
int pool_reserve(Pool *pool, Entry *entry, uint64_t needs_bytes, bool thick, Error *err);

/* --- Time --- */

/* With the mutex held: waits for a change at most until @until_msecs, or 50 ms so that the caller
 * can look at call->cancelled. */
void pool_wait(Pool *pool, uint64_t until_msecs);

#endif
