/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_KUBELET_VIEW_H
#define BERTH_CSI_KUBELET_VIEW_H

/*
 * Where kubelet's directory is for this process, and what kubelet itself calls it. Both are
 * /var/lib/kubelet on most nodes; they differ where a distribution keeps it elsewhere (k0s,
 * microk8s, snaps) and where a container shows it at another place. A mount at a path that kubelet
 * does not see is a pod that writes into its node's disk, so nothing is believed that can be
 * proven: a container's /dev/termination-log and /etc/hosts are files below kubelet's directory,
 * and the directory that has these very files is the right one.
 */

#include "common/base/error.h"
#include "common/mount/mountinfo.h"

#include <limits.h>

typedef struct KubeletView {
        char name[PATH_MAX]; /* in kubelet's requests; no "/" at the end */
        char here[PATH_MAX]; /* the same directory for this process */
        bool is_proven;      /* this container's own files are in it */
} KubeletView;

/* What is asked, and of whom. Borrowed. */
typedef struct KubeletViewQuery {
        const char *wanted; /* --kubelet-root; NULL: not given */
        const char
                *detected; /* by the machine's distribution, or a kubelet that runs; "" or NULL */
        const MountTable *mounts; /* this process's */
        /* Whether both paths lead to one file; never NULL. */
        bool (*is_same_file)(void *userdata, const char *a, const char *b);
        void *userdata;
} KubeletViewQuery;

/**
 * kubelet_view_find() - decide. Pure, but for is_same_file().
 *
 * Without a kubelet's file in @mounts, as on the node itself, what was wanted or detected is
 * believed: /var/lib/kubelet if nothing was.
 *
 * Return: 0; ERROR_INVALID for a root that is no absolute path; ERROR_PRECONDITION if this is a pod
 * and kubelet's directory is not in it, with what to set.
 */
int kubelet_view_find(const KubeletViewQuery *query, KubeletView *view, Error *err);

/* kubelet_view_find() for this process. */
int kubelet_view_read(const char *wanted, const char *detected, KubeletView *view, Error *err);

/**
 * kubelet_view_check_processes() - whether a running kubelet sees what this process mounts there
 *
 * For those that can be seen below /proc and use @view->name: on the node itself, or in a container
 * with hostPID. A service with a mount namespace of its own (PrivateTmp= of systemd) is found by
 * this.
 *
 * Return: 0, also if there is none or it cannot be asked; ERROR_PRECONDITION.
 */
int kubelet_view_check_processes(const KubeletView *view, Error *err);

/* The root among the arguments of a process, which any that calls itself kubelet writes: @n bytes,
 * separated by NUL and with another one behind their end. Return: into @text, or the default. */
const char *kubelet_view_root_argument(const char *text, size_t n);

/* The root in a staging or target path of kubelet's, @rootp with @n_root bytes: what is before
 * "/plugins/kubernetes.io/csi/" and "/pods/<uid>/volumes/kubernetes.io~csi/". Return: whether it
 * has that form. */
bool kubelet_view_root_of(const char *path, size_t *n_rootp);

#endif
