/* SPDX-License-Identifier: Apache-2.0 */

/* Answers as dbus-daemon 1.14 sent them, one in the other order of bytes too, whole and cut;
 * and a bus that never ends. */

#undef NDEBUG
#include "common/dbus/dbus_message.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* NameHasOwner(org.freedesktop.DBus), the second call. */
static const char truth_little[] = "l\002\001\001\004\000\000\000\003\000\000\000=\000\000\000\006"
                                   "\001s\000\004\000\000\000:1.0\000\000\000\000\005\001u\000\002"
                                   "\000\000\000\010\001g\000\001b\000\000\007\001s\000\024\000\000"
                                   "\000org.freedesktop.DBus\000\000\000\000\001\000\000\000";
static const char truth_big[] = "B\002\001\001\000\000\000\004\000\000\000\003\000\000\000=\006"
                                "\001s\000\000\000\000\004:1.0\000\000\000\000\005\001u\000\000"
                                "\000\000\002\010\001g\000\001b\000\000\007\001s\000\000\000\000"
                                "\024org.freedesktop.DBus\000\000\000\000\000\000\000\001";

/* A call to firewalld, the third, where none runs. */
static const char absent_little[] =
        "l\003\001\001\067\000\000\000\004\000\000\000u\000\000\000\006"
        "\001s\000\004\000\000\000:1.0\000\000\000\000\004\001s\000)\000"
        "\000\000org.freedesktop.DBus.Error.NameHasNoOwner\000\000\000\000"
        "\000\000\000\005\001u\000\003\000\000\000\010\001g\000\001s\000"
        "\000\007\001s\000\024\000\000\000org.freedesktop.DBus\000\000\000"
        "\000\062\000\000\000Name \042org.fedoraproject.FirewallD1\042 "
        "does not exist\000";

/* Return: as dbus_header_parse(), with the message's data a block of its very size. */
static int read_message(const char *bytes, size_t n, DbusMessage *message, DbusHeader *header) {
        char head[DBUS_HEAD_SIZE] = "";
        int r;

        memcpy(head, bytes, n < sizeof(head) ? n : sizeof(head));
        r = dbus_message_begin(message, head);
        if (r < 0)
                return r;
        memset(message->data, 0xff, message->body + message->n_body);
        if (n > sizeof(head)) {
                size_t rest = n - sizeof(head), room = message->body + message->n_body;

                memcpy(message->data, bytes + sizeof(head), rest < room ? rest : room);
        }
        return dbus_header_parse(message, header);
}

static void test_answers(void **state) {
        static const struct {
                const char *bytes;
                size_t n;
                uint32_t serial;
                const char *error, *text;
                bool truth;
        } cases[] = {
                {truth_little, sizeof(truth_little) - 1, 2, "", "", true},
                {truth_big, sizeof(truth_big) - 1, 2, "", "", true},
                {absent_little, sizeof(absent_little) - 1, 3,
                 "org.freedesktop.DBus.Error.NameHasNoOwner",
                 "Name \"org.fedoraproject.FirewallD1\" does not exist", false},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                cleanup(dbus_message_deinit) DbusMessage message = {0};
                DbusReply reply = {0};
                DbusHeader header = {0};

                assert_int_equal(read_message(cases[i].bytes, cases[i].n, &message, &header), 0);
                assert_int_equal(message.type, cases[i].error[0] ? DBUS_ERROR : DBUS_RETURN);
                assert_int_equal(header.reply_serial, cases[i].serial);
                dbus_reply_fill(&message, &header, &reply);
                assert_string_equal(reply.error, cases[i].error);
                assert_string_equal(reply.text, cases[i].text);
                assert_int_equal(reply.truth, cases[i].truth);
        }
}

/* Cut anywhere, the rest being ones: the header is an error or whole, and nothing behind it is
 * read. */
static void test_cut_answers(void **state) {
        for (size_t n = 0; n < sizeof(absent_little) - 1; n++) {
                cleanup(dbus_message_deinit) DbusMessage message = {0};
                DbusReply reply = {0};
                DbusHeader header;

                if (read_message(absent_little, n, &message, &header) == 0) {
                        dbus_reply_fill(&message, &header, &reply);
                        assert_string_equal(reply.text, "");
                }
        }
}

static void test_no_messages(void **state) {
        static const char *const heads[] = {
                "x\2\1\1\0\0\0\0\1\0\0\0\0\0\0",  /* of no order of bytes */
                "l\2\1\2\0\0\0\0\1\0\0\0\0\0\0",  /* of another version */
                "l\2\1\1\0\0\20\1\1\0\0\0\0\0\0", /* a body of 16 MiB */
                "B\2\1\1\0\0\0\0\0\0\0\1\1\0\0",  /* fields of 16 MiB */
        };

        for (size_t i = 0; i < N_ELEMENTS(heads); i++) {
                cleanup(dbus_message_deinit) DbusMessage message = {0};

                assert_int_equal(dbus_message_begin(&message, heads[i]), -EPROTO);
        }
}

/* --- a bus that never ends ------------------------------------------------------------------ */

typedef struct Flood {
        int fd;
        const char *begin;
        const char *again;
        size_t n_again;
} Flood;

static void *flood(void *userdata) {
        const Flood *flood_ = userdata;
        cleanup(closep) int fd = accept(flood_->fd, NULL, NULL);
        ssize_t r = send(fd, flood_->begin, strlen(flood_->begin), MSG_NOSIGNAL);

        while (r >= 0)
                r = send(fd, flood_->again, flood_->n_again, MSG_NOSIGNAL);
        return NULL;
}

static void test_a_bus_that_never_ends(void **state) {
        static const DbusCall call = {
                .destination = "a.b", .path = "/", .interface = "a.b", .member = "C"};
        /* Signals without fields: what comes is passed over, for as long as there is time. */
        static const char signal_[] = "l\4\1\1\0\0\0\0\1\0\0\0\0\0\0";
        static const Flood floods[] = {
                {.begin = "OK 0\r\n", .again = signal_, .n_again = sizeof(signal_)},
                {.begin = "", .again = "O", .n_again = 1},
        };
        static const int results[] = {-ETIMEDOUT, -EPROTO};

        for (size_t i = 0; i < N_ELEMENTS(floods); i++) {
                char directory[] = "/tmp/berth-test-dbus-XXXXXX";
                struct sockaddr_un address = {.sun_family = AF_UNIX};
                Flood one = floods[i];
                DbusReply reply;
                pthread_t thread;

                assert_non_null(mkdtemp(directory));
                assert_true((size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%s/bus",
                                             directory) < sizeof(address.sun_path));
                one.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                assert_int_equal(bind(one.fd, (const struct sockaddr *)&address, sizeof(address)),
                                 0);
                assert_int_equal(listen(one.fd, 1), 0);
                assert_int_equal(pthread_create(&thread, NULL, flood, &one), 0);
                assert_int_equal(dbus_call(address.sun_path, &call, &reply, 1, 200), results[i]);
                assert_int_equal(pthread_join(thread, NULL), 0);
                close(one.fd);
                unlink(address.sun_path);
                rmdir(directory);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_answers),
                cmocka_unit_test(test_cut_answers),
                cmocka_unit_test(test_no_messages),
                cmocka_unit_test(test_a_bus_that_never_ends),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
