/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_DAEMON_TEND_H
#define BERTH_CSI_DAEMON_TEND_H

/* A thread that lets the node and the provider look after what nobody comes for again: at the start
 * and every some minutes. Once, it logs which filesystem tools are installed. */

#include "csi/node/node.h"

typedef struct Tend Tend;

/* All are borrowed. Return: 0; -errno. */
int tend_start(Tend **tendp, Node *node, const Provider *provider, void *self);

/* Waits for a round to end. NULL is fine. */
void tend_stop(Tend *tend);

#endif
