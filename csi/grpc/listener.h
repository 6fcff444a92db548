/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_GRPC_LISTENER_H
#define BERTH_CSI_GRPC_LISTENER_H

/*
 * A listening Unix socket that is ours alone: mode 0600 from its first moment, peers are root or
 * the user we run as, a socket left by a dead process is replaced, that of a living one is not, and
 * at the end only our own socket is removed. Nothing else is made beside it (CSI specification,
 * "Configuration and Operation").
 */

#include "common/base/error.h"

#include <sys/types.h>

typedef struct Listener Listener;

/**
 * listener_open() - bind and listen
 * @path:      absolute; at most 107 bytes (sockaddr_un), its directory exists
 * @bind_name: NULL, or the name in the same directory under which it is bound before it is renamed
 *             to @path; for watchers that look at a socket as soon as it has its name
 *
 * Return: 0; <0 with @err: ERROR_CONFLICT when a living process answers on @path or @path is no
 * socket.
 */
int listener_open(Listener **listenerp, const char *path, const char *bind_name, Error *err);

/* Closes it and removes the socket if it is still the one that was bound. NULL is fine. */
void listener_close(Listener *listener);

/* To poll for reading; borrowed. */
int listener_fd(const Listener *listener);

/* Whether @path still names the socket that was bound. */
bool listener_is_there(const Listener *listener);

/**
 * listener_accept() - the next connection, non-blocking, as grpc_server_add_channel_from_fd() wants
 * @uidp: the peer's, also when it was hung up on; may be NULL
 *
 * Return: a descriptor; -EAGAIN: none is waiting; -EPERM: a stranger was hung up on; -EMFILE and
 * other -errno of accept4(2).
 */
int listener_accept(Listener *listener, uid_t *uidp);

#endif
