/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_KUBELET_PATH_H
#define BERTH_CSI_KUBELET_PATH_H

/*
 * Staging and target paths of requests, as open directories. Everything lies below kubelet's root,
 * and no link on the way is followed, so that neither a request nor something that changes
 * directories meanwhile can lead us elsewhere. What is opened stays what it is.
 */

#include "common/base/error.h"
#include "common/mount/mount_api.h"

#include <limits.h>
#include <sys/stat.h>

/* Kubelet's root, with or without links in it, no "/" at the end. */
typedef struct NodeRoot {
        const char *name; /* as kubelet's requests have it */
        const char *here; /* the same directory for this process; also taken in requests */
} NodeRoot;

/* Starts as NODE_PATH_INIT; node_path_close(). */
typedef struct NodePath {
        const char *text;        /* borrowed: as asked */
        char name[NAME_MAX + 1]; /* last component */
        int parent_fd;           /* directory that it is in; O_PATH */
        int fd;                  /* what is there, with all that is mounted on it; O_PATH. -1: there
                                    is nothing, or it is dead */
        bool is_dead;            /* there is a mount that cannot even be opened */
        mode_t type;             /* S_IFMT bits; 0 with fd -1 */
} NodePath;

#define NODE_PATH_INIT                                                                             \
        (NodePath) {                                                                               \
                .parent_fd = -1, .fd = -1                                                          \
        }

#define NODE_PATH_E_NO_PARENT 1

/**
 * node_path_open() - open a path of a request
 * @field: of the request, for messages
 * @text:  absolute; borrowed as long as @path
 *
 * Return: 0, also if there is nothing at it (fd -1); NODE_PATH_E_NO_PARENT if not even its
 * directory is there; ERROR_INVALID if it does not lie below @root, or has "." or ".." in it;
 * ERROR_PRECONDITION if a part of it is a link.
 */
int node_path_open(NodePath *path, const NodeRoot *root, const char *field, const char *text,
                   Error *err);

/**
 * node_path_open_parent() - the same without the last component, which may be on a server that does
 * not answer
 *
 * @path->fd stays -1 and type 0; node_path_reopen() does the rest. Return: as node_path_open().
 */
int node_path_open_parent(NodePath *path, const NodeRoot *root, const char *field, const char *text,
                          Error *err);

/* Opens it again, after something was mounted on it or made there. As node_path_open(). */
int node_path_reopen(NodePath *path, Error *err);

/* For the functions of common/mount. */
MountPlace node_path_place(const NodePath *path);

/* As mountinfo has it: the way there may have links, which kubelet's root may be one of. */
int node_path_real(const NodePath *path, char text[PATH_MAX], Error *err);

/* -errno of a filesystem whose device, server or daemon is gone. */
bool node_path_is_dead_errno(int r);

void node_path_close(NodePath *path);

/**
 * node_root_real() - the root as mountinfo has it, without links; "" for "/"
 *
 * It is found anew each time, as every path is: what it leads to may change.
 */
int node_root_real(const NodeRoot *root, char real[PATH_MAX], Error *err);

/* What follows @real in @target, a path of mountinfo: "/pods/x"; NULL: it is not below. Pure. */
const char *node_root_below(const char *real, const char *target);

/* Whether what lies below kubelet's root is one of its staging paths, of this kubelet or an older
 * one: pkg/volume/csi of Kubernetes. Pure. */
bool node_path_is_staging(const char *below);

/**
 * node_path_check() - whether @text is below @root
 * @belowp: the rest, borrowed from @text: "pods/x/volumes/..."
 *
 * By its letters, where that is enough; else by those of the real path of the root.
 */
int node_path_check(const NodeRoot *root, const char *field, const char *text, const char **belowp,
                    Error *err);

#endif
