/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_NODE_WATCH_H
#define BERTH_CNI_NODE_WATCH_H

/* Files whose change is a reason to install again: the list, the program and its names, the file
 * with the subnets. */

#include "cni/node/node.h"

typedef struct NodeWatch {
        int fd;                               /* owned; an inotify */
        int plugins, configurations, subnets; /* its watches; -1: the directory is not there yet */
} NodeWatch;

#define NODE_WATCH_NULL                                                                            \
        { .fd = -1, .plugins = -1, .configurations = -1, .subnets = -1 }

/* Return: 0; -errno. */
int node_watch_open(NodeWatch *watch);
void node_watch_close(NodeWatch *watch);

/* Directories that have come since. */
void node_watch_add(NodeWatch *watch, const NodeArgs *args);

/* Reads what happened. Return: whether something of it is a reason. */
bool node_watch_read(NodeWatch *watch, const NodeArgs *args);

#endif
