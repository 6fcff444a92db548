/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_LOCAL_POOL_IDENTITY_H
#define BERTH_CSI_LOCAL_POOL_IDENTITY_H

/*
 * Which pool is at a path, and whether it is this node's. An empty mount point looks like a pool
 * that nobody has made yet: volumes made there fill the root disk, and a delete says that what is
 * on the missing disk is gone. So a pool has a UUID, the node keeps a copy of it elsewhere, and
 * nothing is made at a path where another pool was the last time.
 */

#include "common/base/error.h"

#include <limits.h>
#include <stdbool.h>

/* With NUL: 8-4-4-4-12 hexadecimal digits. */
#define POOL_UUID_SIZE 37

typedef enum PoolAction {
        POOL_ACTION_OPEN,   /* it is ours */
        POOL_ACTION_ADOPT,  /* it is there, and nothing says that it is not ours: note it outside */
        POOL_ACTION_NAME,   /* made before pools had names: give it one */
        POOL_ACTION_MAKE,   /* nothing is there, and nothing was */
        POOL_ACTION_REFUSE, /* what is there is not the node's pool */
} PoolAction;

/* What pool_identity_decide() looks at. "" for a UUID: there is none. */
typedef struct PoolIdentity {
        const char *path;       /* of the pool, for messages */
        bool is_there;          /* it has a pool.json */
        const char *inside;     /* the UUID in it */
        const char *outside;    /* what the node noted for this path */
        const char *other_uuid; /* and for another one */
        const char *other_path;
        const char *asked; /* --pool-id */
        const char *note;  /* where the node notes it, for messages; "": nowhere */
        bool may_make;     /* --pool-init */
} PoolIdentity;

/* Pure. With POOL_ACTION_REFUSE @err says why and what to do (ERROR_UNAVAILABLE). */
PoolAction pool_identity_decide(const PoolIdentity *identity, Error *err);

/**
 * pool_check_unused() - before a pool is made: nobody uses the directory for something else
 *
 * Hidden files and lost+found are nobody's data, and what a pool consists of is of a start that was
 * killed before it had a pool.json.
 *
 * Return: 0; ERROR_PRECONDITION naming the first that is in it; another -errno.
 */
int pool_check_unused(int pool_fd, const char *path, Error *err);

/* A random one. Return: 0; -errno. */
int pool_uuid_make(char uuid[POOL_UUID_SIZE]);

bool pool_uuid_is_valid(const char *text);

/**
 * pool_json_read() - the pool.json of an open pool directory
 * @uuid: "" if the file is from before pools had names
 *
 * Return: 0; -ENOENT; ERROR_PRECONDITION for a newer format or what is no such file; another
 * -errno. @err is filled but for -ENOENT.
 */
int pool_json_read(int pool_fd, const char *path, char uuid[POOL_UUID_SIZE], Error *err);

/* The text of one. Return: 0; ERROR_PRECONDITION. */
int pool_json_parse(const char *text, const char *path, char uuid[POOL_UUID_SIZE], Error *err);

/* Return: 0; -errno. */
int pool_json_write(int pool_fd, const char *uuid);

/* Lines of a note; a path that finds it full is not noted. */
#define POOL_NOTES_MAX 16

/*
 * The node's note: a line "UUID PATH" for every path that a pool was at. Paths are compared as the
 * kernel resolves them. "" for a UUID: there is none.
 */
typedef struct PoolNote {
        char uuid[POOL_UUID_SIZE];       /* of the path that is asked for */
        char other_uuid[POOL_UUID_SIZE]; /* of another, the last that was used */
        char other_path[PATH_MAX];
} PoolNote;

/* Return: 0, also if there is no note; -EINVAL for what is none; another -errno. */
int pool_note_read(const char *file, const char *path, PoolNote *note);

/* Replaces the line of @path, and no other. Return: 0; -ENOSPC; another -errno. */
int pool_note_write(const char *file, const char *path, const char *uuid);

/* The text of one, which is written to. Return: 0; -EINVAL. */
int pool_note_parse(char *text, const char *path, PoolNote *note);

#endif
