/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_COMMON_DBUS_MESSAGE_H
#define BERTH_COMMON_DBUS_MESSAGE_H

/* Messages that come over a D-Bus socket, which are another program's bytes. No I/O. */

#include "common/dbus/dbus.h"

#include <stdint.h>

#define DBUS_HEAD_SIZE 16U /* a message up to the fields of its header */

/* What a service may answer: much more than the few bytes that are wanted. */
#define DBUS_MESSAGE_MAX (1024U * 1024)

typedef enum DbusType {
        DBUS_CALL = 1,
        DBUS_RETURN = 2,
        DBUS_ERROR = 3,
} DbusType;

typedef enum DbusField {
        DBUS_FIELD_PATH = 1,
        DBUS_FIELD_INTERFACE = 2,
        DBUS_FIELD_MEMBER = 3,
        DBUS_FIELD_ERROR_NAME = 4,
        DBUS_FIELD_REPLY_SERIAL = 5,
        DBUS_FIELD_DESTINATION = 6,
        DBUS_FIELD_SIGNATURE = 8,
} DbusField;

/* Starts as (DbusMessage){0}. */
typedef struct DbusMessage {
        char *data; /* owned: fields, padding up to @body, body */
        size_t n_fields, n_body, body;
        uint8_t type;
        bool swapped; /* its numbers are in the other order than this machine's */
} DbusMessage;

typedef struct DbusHeader {
        uint32_t reply_serial;         /* 0: none */
        const char *error, *signature; /* borrowed from the message; "" for none */
} DbusHeader;

/* Of the message's first bytes: how long it is, and room for its @body + @n_body more bytes.
 * Return: 0; -EPROTO; -ENOMEM. */
int dbus_message_begin(DbusMessage *message, const char head[DBUS_HEAD_SIZE]);
void dbus_message_deinit(DbusMessage *message);

/* Of a message whose data is there. Return: 0; -EPROTO. */
int dbus_header_parse(const DbusMessage *message, DbusHeader *header);

/* What an answer says. */
void dbus_reply_fill(const DbusMessage *message, const DbusHeader *header, DbusReply *reply);

#endif
