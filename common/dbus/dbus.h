/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_COMMON_DBUS_H
#define BERTH_COMMON_DBUS_H

/*
 * Method calls over a D-Bus socket, as much of it as calling a few methods of one service needs:
 * EXTERNAL authentication by our user, arguments that are strings, answers of which the first
 * value counts. A service that does not run is not started.
 *
 * Source: D-Bus Specification 0.42, "Message Protocol" and "Authentication Protocol".
 */

#include <stdbool.h>
#include <stddef.h>

#define DBUS_SYSTEM_SOCKET "/run/dbus/system_bus_socket"

#define DBUS_CALLS_MAX     64
#define DBUS_ARGUMENTS_MAX 4
#define DBUS_TEXT_MAX      512 /* of an argument, and of what is kept of an answer; with its NUL */

/* All borrowed; all UTF-8. */
typedef struct DbusCall {
        const char *destination, *path, *interface, *member;
        const char *arguments[DBUS_ARGUMENTS_MAX]; /* up to the first NULL */
} DbusCall;

typedef struct DbusReply {
        char error[DBUS_TEXT_MAX]; /* its name, "" for a return */
        char text[DBUS_TEXT_MAX];  /* the first value, if it is a string; cut */
        bool truth;                /* likewise, if it is a boolean */
} DbusReply;

/**
 * dbus_call() - @n calls in one go, their answers in @replies
 * @socket_path: shorter than a socket's path may be (108)
 *
 * Return: 0, also when calls were answered with errors; -ENOENT, -ECONNREFUSED: there is no bus;
 * -EACCES: it does not take us; -ETIMEDOUT; -EPROTO: what came is no D-Bus; another -errno.
 */
int dbus_call(const char *socket_path, const DbusCall *calls, DbusReply *replies, size_t n,
              unsigned int timeout_msecs);

/* Does the error say that the service does not run? */
bool dbus_is_absent(const DbusReply *reply);

#endif
