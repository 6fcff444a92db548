/* SPDX-License-Identifier: Apache-2.0 */

#include "common/dbus/dbus_message.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dbus_message_deinit(DbusMessage *message) {
        free(message->data);
}

static uint32_t number_at(const DbusMessage *message, const void *at) {
        uint32_t value;

        memcpy(&value, at, sizeof(value));
        return message->swapped ? __builtin_bswap32(value) : value;
}

int dbus_message_begin(DbusMessage *message, const char head[DBUS_HEAD_SIZE]) {
        static const uint16_t one = 1;

        if ((head[0] != 'l' && head[0] != 'B') || head[3] != 1)
                return -EPROTO;
        message->type = (uint8_t)head[1];
        message->swapped = (head[0] == 'l') != (*(const char *)&one == 1);
        message->n_body = number_at(message, head + 4);
        message->n_fields = number_at(message, head + 12);
        if (message->n_body > DBUS_MESSAGE_MAX || message->n_fields > DBUS_MESSAGE_MAX)
                return -EPROTO;
        message->body = (message->n_fields + 7) & ~(size_t)7;
        message->data = malloc(message->body + message->n_body + 1);
        return message->data ? 0 : -ENOMEM;
}

/* A string of @data at @at, aligned as in the message, with its NUL. Return: where it ends; 0 when
 * there is none. */
static size_t text_at(const DbusMessage *message, const char *data, size_t n, size_t at,
                      const char **textp) {
        size_t length;

        at = (at + 3) & ~(size_t)3;
        if (n < 4 || at > n - 4)
                return 0;
        length = number_at(message, data + at);
        at += 4;
        if (length >= n - at || data[at + length] != '\0')
                return 0;
        *textp = data + at;
        return at + length + 1;
}

/* One field at @at. Return: where it ends; 0 when it is none. */
static size_t field_at(const DbusMessage *message, size_t at, DbusHeader *header) {
        const char *data = message->data, *text = "";
        size_t n = message->n_fields, length;
        uint8_t number;

        at = (at + 7) & ~(size_t)7;
        if (n < 4 || at > n - 4 || data[at + 1] != 1 || data[at + 3] != '\0')
                return 0;
        number = (uint8_t)data[at];
        switch (data[at + 2]) {
        case 'u':
                at += 4;
                if (at > n - 4)
                        return 0;
                if (number == DBUS_FIELD_REPLY_SERIAL)
                        header->reply_serial = number_at(message, data + at);
                return at + 4;
        case 'g':
                at += 4;
                length = at < n ? (uint8_t)data[at] : n;
                if (length >= n - at || length + 2 > n - at || data[at + 1 + length] != '\0')
                        return 0;
                if (number == DBUS_FIELD_SIGNATURE)
                        header->signature = data + at + 1;
                return at + length + 2;
        case 's':
        case 'o':
                at = text_at(message, data, n, at + 4, &text);
                if (number == DBUS_FIELD_ERROR_NAME)
                        header->error = text;
                return at;
        default:
                return 0;
        }
}

int dbus_header_parse(const DbusMessage *message, DbusHeader *header) {
        *header = (DbusHeader){.error = "", .signature = ""};
        for (size_t at = 0; at < message->n_fields;) {
                at = field_at(message, at, header);
                if (at == 0)
                        return -EPROTO;
        }
        return 0;
}

void dbus_reply_fill(const DbusMessage *message, const DbusHeader *header, DbusReply *reply) {
        const char *body = message->data + message->body, *text = "";

        if (message->type == DBUS_ERROR)
                (void)snprintf(reply->error, sizeof(reply->error), "%s",
                               header->error[0] ? header->error : "org.freedesktop.DBus.Error");
        if (header->signature[0] == 's' && text_at(message, body, message->n_body, 0, &text) > 0)
                (void)snprintf(reply->text, sizeof(reply->text), "%s", text);
        if (header->signature[0] == 'b' && message->n_body >= 4)
                reply->truth = number_at(message, body) != 0;
        str_make_utf8(reply->error);
        str_make_utf8(reply->text);
}
