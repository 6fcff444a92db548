/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_NETNS_NETNS_H
#define BERTH_NETNS_NETNS_H

/* Network namespaces by path: /proc/<pid>/ns/net, or a file it is bind-mounted on. */

#include <stdbool.h>

#define NETNS_E_NOT_NETNS 1 /* the path exists and is not a network namespace */

/**
 * netns_open() - open @path and prove that it is a network namespace
 *
 * The proof is NS_GET_NSTYPE (Linux 4.11; before, the file system nsfs): the mount point that a
 * vanished namespace leaves behind is an ordinary file.
 *
 * Return: 0 with *@fdp owned by the caller; NETNS_E_NOT_NETNS; -ENOENT and others of open(2).
 */
int netns_open(const char *path, int *fdp);

/* The namespace of the calling thread. Return: 0 with *@fdp owned by the caller; -errno. */
int netns_open_own(int *fdp);

/* Return: 0; -errno. */
int netns_is_same(int fd, int other_fd, bool *samep);

/* Moves the calling thread into @fd. Return: 0; -errno. */
int netns_enter(int fd);

/**
 * netns_call() - run @function inside @fd and come back
 * @own_fd: where to come back to, from netns_open_own()
 *
 * Return: what @function returned; -errno of going there. When the way back fails the process is
 * in the wrong place for everything that follows, so it is ended by abort().
 */
int netns_call(int fd, int own_fd, int (*function)(void *userdata), void *userdata);

/**
 * netns_hold_name() - what two processes must not work on at once, in this namespace
 * @name: up to 100 bytes
 *
 * An abstract Unix socket: it is gone with the process, however that ends, and is seen by nobody in
 * another network namespace.
 *
 * Return: 0 with *@fdp to be closed by the caller; -EADDRINUSE while another process holds it;
 * another -errno.
 */
int netns_hold_name(const char *name, int *fdp);

/**
 * netns_hold_name_wait() - the same, of names of its own, in turn
 * @msecs: how long another process is waited for; 0: not at all
 *
 * Return: as netns_hold_name(); -ETIMEDOUT.
 */
int netns_hold_name_wait(const char *name, unsigned int msecs, int *fdp);

#endif
