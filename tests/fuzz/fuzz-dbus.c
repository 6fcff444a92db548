/* SPDX-License-Identifier: Apache-2.0 */

/* What a bus and a service on it answer: messages, one behind the other. */

#include "common/base/cleanup.h"
#include "common/dbus/dbus_message.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* Return: how long it is; 0 when it is none, or not whole. */
static size_t read_one(const uint8_t *data, size_t n) {
        cleanup(dbus_message_deinit) DbusMessage message = {0};
        char head[DBUS_HEAD_SIZE];
        DbusReply reply = {0};
        DbusHeader header;
        size_t rest;

        if (n < sizeof(head))
                return 0;
        memcpy(head, data, sizeof(head));
        if (dbus_message_begin(&message, head) < 0)
                return 0;
        rest = message.body + message.n_body;
        if (rest > n - sizeof(head))
                return 0;
        memcpy(message.data, data + sizeof(head), rest);
        if (dbus_header_parse(&message, &header) < 0)
                return sizeof(head) + rest;
        dbus_reply_fill(&message, &header, &reply);
        assert(memchr(reply.error, '\0', sizeof(reply.error)));
        assert(memchr(reply.text, '\0', sizeof(reply.text)));
        assert(message.type != DBUS_ERROR || reply.error[0] != '\0');
        (void)dbus_is_absent(&reply);
        return sizeof(head) + rest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        for (size_t at = 0, step = 1; step > 0; at += step)
                step = read_one(data + at, n - at);
        return 0;
}
