/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_NODE_WATCH_H
#define BERTH_CNI_NODE_WATCH_H

/* Files whose change is a reason to install again: the list, the program and its names, the file
 * with the subnets.
 *
 * The kernel gives 128 inotify instances to all processes of a user
 * (fs.inotify.max_user_instances), and pods whose user is 0 have their share of root's: without
 * one, changes are seen with the next look at everything, and it is asked for again then.
 */

#include "cni/node/node.h"

typedef struct NodeWatch {
        int fd;                               /* owned; an inotify */
        int plugins, configurations, subnets; /* its watches; -1: the directory is not there yet */
} NodeWatch;

#define NODE_WATCH_NULL                                                                            \
        { .fd = -1, .plugins = -1, .configurations = -1, .subnets = -1 }

void node_watch_close(NodeWatch *watch);

/* Directories that have come since. Return: 0; -errno of the instance itself. */
int node_watch_add(NodeWatch *watch, const NodeArgs *args);

/* Reads what happened. Return: whether something of it is a reason. */
bool node_watch_read(NodeWatch *watch, const NodeArgs *args);

#endif
