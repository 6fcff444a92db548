/* SPDX-License-Identifier: Apache-2.0 */

/* A thread per copy, at most COPY_MAX_RUNNING of which move data. */

#include "csi/local/copy.h"
#include "csi/wait/limits.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/block/filecopy.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Kept of the caller's time, so that it hears the progress and not a timeout. */
#define WAIT_MARGIN_MSECS 500

struct CopyJob {
        Pool *pool;
        Entry *target, *source;
        FileCopy copy;
        unsigned int n_refs; /* under the pool's mutex, like all below */
        uint64_t at_bytes;   /* copy.at_bytes as others may read it */
        int64_t asked_seconds;
        bool is_cancelled, is_done;
        int r; /* with is_done */
        Error error;
};

CopyJob *copy_ref(CopyJob *job) {
        job->n_refs++;
        return job;
}

/* With the mutex held. */
static void unref(CopyJob *job) {
        if (--job->n_refs == 0)
                free(job);
}

unsigned int copy_percent(const CopyJob *job) {
        if (job->copy.size_bytes < 100)
                return 0;
        return (unsigned int)(job->at_bytes / (job->copy.size_bytes / 100) % 101);
}

void copy_cancel(Pool *pool, CopyJob *job) {
        job->is_cancelled = true;
        pthread_cond_broadcast(&pool->changed);
}

static int save(CopyJob *job, Error *err) {
        LocalMeta meta = job->target->meta;

        if (fdatasync(job->copy.to_fd) < 0)
                return error_set_errno(err, errno, "sync the copy to %s", meta.id);
        meta.copy.at_bytes = job->copy.at_bytes;
        pthread_mutex_lock(&job->pool->mutex);
        meta.copy.asked_seconds = job->asked_seconds;
        pthread_mutex_unlock(&job->pool->mutex);
        return pool_store(job->pool, job->target, &meta, err);
}

static int finish(CopyJob *job, Error *err) {
        LocalMeta meta = job->target->meta;

        if (meta.kind == LOCAL_SNAPSHOT && fchmod(job->copy.to_fd, 0400) < 0)
                return error_set_errno(err, errno, "protect %s", meta.id);
        if (fsync(job->copy.to_fd) < 0)
                return error_set_errno(err, errno, "sync the copy to %s", meta.id);
        meta.state = LOCAL_STATE_READY;
        meta.copy = (LocalCopy){0};
        return pool_store(job->pool, job->target, &meta, err);
}

typedef enum Verdict {
        VERDICT_GO,
        VERDICT_PAUSE, /* the process ends */
        VERDICT_CANCEL,
} Verdict;

static Verdict report(CopyJob *job) {
        Pool *pool = job->pool;
        Verdict verdict = VERDICT_GO;

        pthread_mutex_lock(&pool->mutex);
        job->at_bytes = job->copy.at_bytes;
        if (job->is_cancelled)
                verdict = VERDICT_CANCEL;
        else if (pool->stopping)
                verdict = VERDICT_PAUSE;
        pthread_mutex_unlock(&pool->mutex);
        return verdict;
}

/* Return: 0: whole; ERROR_AGAIN: paused and saved; another error: to be undone. */
static int run(CopyJob *job, Error *err) {
        uint64_t saved_bytes = job->copy.at_bytes;

        for (;;) {
                Verdict verdict = report(job);
                int r;

                if (verdict == VERDICT_CANCEL)
                        return error_set(err, ERROR_NOT_FOUND, "%s was deleted during its copy",
                                         job->target->meta.id);
                if (verdict == VERDICT_PAUSE) {
                        (void)save(job, err);
                        return error_set(err, ERROR_AGAIN,
                                         "the copy to %s goes on after the restart",
                                         job->target->meta.id);
                }
                r = filecopy_step(&job->copy);
                if (r < 0)
                        return error_set_errno(err, r, "copy to %s", job->target->meta.id);
                if (r == FILECOPY_E_DONE)
                        return finish(job, err);
                if (job->copy.at_bytes - saved_bytes < COPY_SAVE_BYTES)
                        continue;
                saved_bytes = job->copy.at_bytes;
                r = save(job, err);
                if (r < 0)
                        return r;
        }
}

/* Return: whether the turn came; false: cancelled or stopping, which run() finds out again. */
static void wait_turn(CopyJob *job) {
        Pool *pool = job->pool;

        pthread_mutex_lock(&pool->mutex);
        while (pool->n_copies >= COPY_MAX_RUNNING && !pool->stopping && !job->is_cancelled)
                pool_wait(pool, UINT64_MAX);
        pool->n_copies++;
        pthread_mutex_unlock(&pool->mutex);
}

static void close_files(CopyJob *job) {
        if (job->copy.from_fd != job->copy.to_fd)
                closep(&job->copy.from_fd);
        closep(&job->copy.to_fd);
        filecopy_deinit(&job->copy);
}

/* What the copy held is let go; a failed target is removed. */
static void settle(CopyJob *job, int r, const Error *error) {
        Pool *pool = job->pool;

        pthread_mutex_lock(&pool->mutex);
        job->target->job = NULL;
        pthread_mutex_unlock(&pool->mutex);
        if (r == 0 || error->code == ERROR_AGAIN)
                pool_release(pool, job->target, HOLD_EXCLUSIVE);
        else
                pool_undo(pool, job->target);
        if (job->source)
                pool_release(pool, job->source, HOLD_SHARED);
}

static void *copy_main(void *userdata) {
        CopyJob *job = userdata;
        Pool *pool = job->pool;
        char id[LOCAL_ID_MAX + 1];
        LogField fields[] = {{"object", id}};
        Error error = {0};
        int r;

        (void)snprintf(id, sizeof(id), "%s", job->target->meta.id);
        wait_turn(job);
        r = run(job, &error);
        close_files(job);
        settle(job, r, &error);
        if (r == 0)
                log_fields(LOG_LEVEL_INFO, fields, 1, "copied %" PRIu64 " bytes",
                           job->copy.size_bytes);
        else
                log_fields(LOG_LEVEL_WARNING, fields, 1, "%s", error.message);
        pthread_mutex_lock(&pool->mutex);
        job->r = r;
        job->error = error;
        job->is_done = true;
        pool->n_copies--;
        unref(job);
        /* Last: after it the pool may be freed as soon as the mutex is. */
        pool->n_jobs--;
        pthread_cond_broadcast(&pool->changed);
        pthread_mutex_unlock(&pool->mutex);
        return NULL;
}

static int start_thread(CopyJob *job) {
        Pool *pool = job->pool;
        pthread_t thread;
        int r;

        /* The job is published before the thread runs, so that copy_main() finds it there. */
        pthread_mutex_lock(&pool->mutex);
        job->n_refs = 2;
        job->target->job = job;
        pool->n_jobs++;
        pthread_mutex_unlock(&pool->mutex);
        r = pthread_create(&thread, NULL, copy_main, job);
        if (r == 0)
                return -pthread_detach(thread);
        pthread_mutex_lock(&pool->mutex);
        job->target->job = NULL;
        pool->n_jobs--;
        pthread_mutex_unlock(&pool->mutex);
        return -r;
}

int copy_start(Pool *pool, Entry *target, Entry *source, int from_fd, int to_fd, CopyJob **jobp,
               Error *err) {
        CopyJob *job = calloc(1, sizeof(*job));
        Error error = {0};
        int r = -ENOMEM;

        if (job) {
                job->pool = pool;
                job->target = target;
                job->source = source;
                job->at_bytes = target->meta.copy.at_bytes;
                job->asked_seconds = target->meta.copy.asked_seconds;
                job->copy = (FileCopy){
                        .from_fd = from_fd,
                        .to_fd = to_fd,
                        .at_bytes = target->meta.copy.at_bytes,
                        .size_bytes = target->meta.copy.size_bytes,
                        .real_blocks = target->meta.thick,
                };
                r = start_thread(job);
        }
        if (r == 0) {
                *jobp = job;
                return 0;
        }
        r = error_set_errno(&error, r, "start the copy to %s", target->meta.id);
        if (from_fd != to_fd)
                closep(&from_fd);
        closep(&to_fd);
        free(job);
        pool_undo(pool, target);
        if (source)
                pool_release(pool, source, HOLD_SHARED);
        error_move(err, &error);
        return r;
}

int copy_wait(Pool *pool, const Call *call, CopyJob *job, Error *err) {
        uint64_t until = clock_msecs() + COPY_WAIT_MAX_MSECS;
        int r;

        if (call->deadline_msecs < until + WAIT_MARGIN_MSECS)
                until = call->deadline_msecs > WAIT_MARGIN_MSECS
                                ? call->deadline_msecs - WAIT_MARGIN_MSECS
                                : 0;
        pthread_mutex_lock(&pool->mutex);
        job->asked_seconds = time(NULL);
        while (!job->is_done && !call->cancelled(call->userdata) && clock_msecs() < until)
                pool_wait(pool, until);
        if (job->is_done) {
                r = job->r;
                if (r < 0 && err)
                        *err = job->error;
        } else {
                r = error_set(err, ERROR_AGAIN, "the copy is under way, %u%% done; ask again",
                              copy_percent(job));
        }
        unref(job);
        pthread_mutex_unlock(&pool->mutex);
        return r;
}
