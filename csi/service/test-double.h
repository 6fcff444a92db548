/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_SERVICE_TEST_DOUBLE_H
#define BERTH_CSI_SERVICE_TEST_DOUBLE_H

/*
 * For tests of the wire only: a node and a provider that touch nothing. What they were asked is
 * kept as text, and the volume id (or name) says what they answer:
 *
 *     sleep-<msecs>   waits that long, or until the call is cancelled: ERROR_TIMEOUT
 *     deaf-<msecs>    waits that long whatever happens
 *     error-<code>    fails with that ErrorCode and a message that is not valid UTF-8
 */

#include "csi/node/node.h"

/* All flags, all controller functions. Tests may copy it and take some away. */
extern const Provider double_provider;

/* What the last call was asked, "stage volume=v staging=/s ..."; static, not for threads. */
extern char double_asked[8192];

/* What node_ready() says: ERROR_NONE is ready. */
extern ErrorCode double_ready;

/* Whether ids may make it wait; tests that feed it anything say false. */
extern bool double_waits;

/* Makes a Node of the double; node_new() is not there. */
Node *double_node(void);

#endif
