/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Everything is sent at once, the authentication before it has been answered too, as the
 * specification allows a client; then answers are read until the last call has its own. A signal or
 * anything else that comes in between is passed over.
 */

#include "common/dbus/dbus_message.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/str.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_MAX_BYTES 512U

#define FLAG_NO_AUTO_START 2

/* --- writing ------------------------------------------------------------------------------ */

typedef struct Buffer {
        char *data; /* owned */
        size_t n, n_allocated;
        bool failed; /* no memory */
} Buffer;

static void buffer_deinit(Buffer *buffer) {
        free(buffer->data);
}

static void put(Buffer *buffer, const void *data, size_t n) {
        if (buffer->n + n > buffer->n_allocated) {
                size_t wanted = (buffer->n + n) * 2 + 256;
                char *grown = realloc(buffer->data, wanted);

                if (!grown) {
                        buffer->failed = true;
                        return;
                }
                buffer->data = grown;
                buffer->n_allocated = wanted;
        }
        memcpy(buffer->data + buffer->n, data, n);
        buffer->n += n;
}

static void align(Buffer *buffer, size_t start, size_t to) {
        static const char zeros[8];
        size_t rest = (buffer->n - start) % to;

        if (rest != 0)
                put(buffer, zeros, to - rest);
}

static void put_u32(Buffer *buffer, size_t start, uint32_t value) {
        align(buffer, start, 4);
        put(buffer, &value, sizeof(value));
}

static void put_text(Buffer *buffer, size_t start, const char *text) {
        put_u32(buffer, start, (uint32_t)strlen(text));
        put(buffer, text, strlen(text) + 1);
}

/* A struct of the field's number and a variant. @type: 's', 'o', 'g'. */
static void put_field(Buffer *buffer, size_t start, uint8_t number, char type, const char *text) {
        const char head[] = {(char)number, 1, type, '\0'};

        align(buffer, start, 8);
        put(buffer, head, sizeof(head));
        if (type == 'g') {
                const uint8_t length = (uint8_t)strlen(text);

                put(buffer, &length, 1);
                put(buffer, text, strlen(text) + 1);
        } else {
                put_text(buffer, start, text);
        }
}

static void set_u32(Buffer *buffer, size_t at, size_t value) {
        const uint32_t number = (uint32_t)value;

        if (!buffer->failed)
                memcpy(buffer->data + at, &number, sizeof(number));
}

/* Offsets count from the message's beginning; numbers are in the order of bytes of this machine,
 * which the first byte says. */
static void put_call(Buffer *buffer, const DbusCall *call, uint32_t serial) {
        static const uint16_t one = 1;
        const char head[] = {*(const char *)&one ? 'l' : 'B', DBUS_CALL, FLAG_NO_AUTO_START, 1};
        char signature[DBUS_ARGUMENTS_MAX + 1] = "";
        size_t start = buffer->n, fields, body;

        for (size_t i = 0; i < DBUS_ARGUMENTS_MAX && call->arguments[i]; i++)
                signature[i] = 's';
        put(buffer, head, sizeof(head));
        put_u32(buffer, start, 0); /* the body's length */
        put_u32(buffer, start, serial);
        put_u32(buffer, start, 0); /* the fields' */
        fields = buffer->n;
        put_field(buffer, start, DBUS_FIELD_PATH, 'o', call->path);
        put_field(buffer, start, DBUS_FIELD_INTERFACE, 's', call->interface);
        put_field(buffer, start, DBUS_FIELD_MEMBER, 's', call->member);
        put_field(buffer, start, DBUS_FIELD_DESTINATION, 's', call->destination);
        if (signature[0])
                put_field(buffer, start, DBUS_FIELD_SIGNATURE, 'g', signature);
        set_u32(buffer, start + 12, buffer->n - fields);
        align(buffer, start, 8);
        body = buffer->n;
        for (size_t i = 0; signature[i]; i++)
                put_text(buffer, body, call->arguments[i]);
        set_u32(buffer, start + 4, buffer->n - body);
}

/* Our user's number, in decimal digits, each as two of hexadecimal. */
static void put_authentication(Buffer *buffer) {
        char number[24];

        (void)snprintf(number, sizeof(number), "%u", (unsigned int)geteuid());
        put(buffer, "\0AUTH EXTERNAL ", 15);
        for (const char *digit = number; *digit; digit++) {
                char text[3];

                (void)snprintf(text, sizeof(text), "%02x", (unsigned int)(unsigned char)*digit);
                put(buffer, text, 2);
        }
        put(buffer, "\r\nBEGIN\r\n", 9);
}

/* --- the socket --------------------------------------------------------------------------- */

typedef struct Bus {
        int fd; /* owned */
        uint64_t end_msecs;
} Bus;

static int wait_for(const Bus *bus, short events) {
        struct pollfd one = {.fd = bus->fd, .events = events};
        int r;

        do {
                uint64_t now = clock_msecs();

                r = now < bus->end_msecs ? poll(&one, 1, (int)(bus->end_msecs - now)) : 0;
        } while (r < 0 && errno == EINTR);
        return r < 0 ? -errno : r == 0 ? -ETIMEDOUT : 0;
}

static int send_all(const Bus *bus, const char *data, size_t n) {
        while (n > 0) {
                ssize_t sent = send(bus->fd, data, n, MSG_NOSIGNAL);
                int r;

                if (sent >= 0) {
                        data += sent;
                        n -= (size_t)sent;
                        continue;
                }
                if (errno != EAGAIN && errno != EINTR)
                        return -errno;
                r = wait_for(bus, POLLOUT);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_exactly(const Bus *bus, void *data, size_t n) {
        char *at = data;

        while (n > 0) {
                ssize_t got = recv(bus->fd, at, n, 0);
                int r;

                if (got == 0)
                        return -ECONNRESET;
                if (got > 0) {
                        at += got;
                        n -= (size_t)got;
                        continue;
                }
                if (errno != EAGAIN && errno != EINTR)
                        return -errno;
                r = wait_for(bus, POLLIN);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int bus_open(Bus *bus, const char *path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, path, strlen(path) + 1);
        bus->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (bus->fd < 0)
                return -errno;
        return connect(bus->fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno
                                                                                        : 0;
}

/* --- reading ------------------------------------------------------------------------------ */

/* "OK <the bus's number>". A byte at a time: what follows is a message already. */
static int read_accepted(const Bus *bus) {
        char line[LINE_MAX_BYTES];
        size_t n = 0;

        do {
                int r = n < sizeof(line) ? read_exactly(bus, line + n, 1) : -EPROTO;

                if (r < 0)
                        return r;
        } while (line[n++] != '\n');
        if (n >= 3 && memcmp(line, "OK ", 3) == 0)
                return 0;
        return n >= 8 && memcmp(line, "REJECTED", 8) == 0 ? -EACCES : -EPROTO;
}

static int message_read(const Bus *bus, DbusMessage *message) {
        char head[DBUS_HEAD_SIZE];
        /* The time is over for a peer that never pauses, too. */
        int r = wait_for(bus, POLLIN);

        r = r < 0 ? r : read_exactly(bus, head, sizeof(head));
        r = r < 0 ? r : dbus_message_begin(message, head);
        return r < 0 ? r : read_exactly(bus, message->data, message->body + message->n_body);
}

/* Serials are 1 for Hello, then 2, 3, ... */
static int read_replies(const Bus *bus, DbusReply *replies, size_t n) {
        size_t answered = 0;

        while (answered < n + 1) {
                cleanup(dbus_message_deinit) DbusMessage message = {0};
                DbusHeader header;
                int r = message_read(bus, &message);

                r = r < 0 ? r : dbus_header_parse(&message, &header);
                if (r < 0)
                        return r;
                if ((message.type != DBUS_RETURN && message.type != DBUS_ERROR) ||
                    header.reply_serial == 0 || header.reply_serial > n + 1)
                        continue;
                answered++;
                if (header.reply_serial > 1)
                        dbus_reply_fill(&message, &header, &replies[header.reply_serial - 2]);
                else if (message.type == DBUS_ERROR)
                        return -EACCES;
        }
        return 0;
}

static void bus_close(Bus *bus) {
        closep(&bus->fd);
}

int dbus_call(const char *socket_path, const DbusCall *calls, DbusReply *replies, size_t n,
              unsigned int timeout_msecs) {
        static const DbusCall hello = {.destination = "org.freedesktop.DBus",
                                       .path = "/org/freedesktop/DBus",
                                       .interface = "org.freedesktop.DBus",
                                       .member = "Hello"};
        cleanup(buffer_deinit) Buffer buffer = {0};
        cleanup(bus_close) Bus bus = {.fd = -1};
        int r;

        if (n > DBUS_CALLS_MAX)
                return -E2BIG;
        memset(replies, 0, n * sizeof(*replies));
        bus.end_msecs = clock_msecs() + timeout_msecs;
        r = bus_open(&bus, socket_path);
        if (r < 0)
                return r;
        put_authentication(&buffer);
        put_call(&buffer, &hello, 1);
        for (size_t i = 0; i < n; i++)
                put_call(&buffer, &calls[i], (uint32_t)i + 2);
        if (buffer.failed)
                return -ENOMEM;
        r = send_all(&bus, buffer.data, buffer.n);
        r = r < 0 ? r : read_accepted(&bus);
        return r < 0 ? r : read_replies(&bus, replies, n);
}

bool dbus_is_absent(const DbusReply *reply) {
        return str_equal(reply->error, "org.freedesktop.DBus.Error.ServiceUnknown") ||
               str_equal(reply->error, "org.freedesktop.DBus.Error.NameHasNoOwner");
}
