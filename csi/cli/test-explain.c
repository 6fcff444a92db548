/* SPDX-License-Identifier: Apache-2.0 */

/* Which sentence a pasted message has in it. */

#undef NDEBUG

#include "csi/cli/message_match.h"

#include "common/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const ports[] = {
        "hostPort …/… is in use by a program of this host, which listens at …: choose another",
        NULL,
};
static const char *const general[] = {"open …: …", "find …", "…: out of memory", NULL};
static const char *const volumes[] = {"\"…\" is not a size", "volume … has no room", NULL};
static const MessageEntry table[] = {
        {"network", ports, "n"},
        {"system", general, "s"},
        {"volumes", volumes, "v"},
        {NULL, NULL, NULL},
};

static void test_weight(void **state) {
        static const struct {
                const char *sentence, *message;
                size_t weight;
        } cases[] = {
                {"open …: …", "open /dev/sdb: Permission denied", 4},
                {"open …: …", "stage pvc-1: open /dev/sdb: Permission denied", 4},
                {"open …: …", "reopen /dev/sdb: Permission denied", 0},
                {"open …: …", "open /dev/sdb", 0},
                {"no room", "there is no room", 6},
                {"no room", "there is no roommate, and no room", 6},
                {"no room", "there is no roommate", 0},
                {"no room", "no room: kubelet asks again", 6},
                {"… mapped …", "80 is mapped twice", 6},
                {"a … b … c", "a x c", 0},
                {"a … b … c", "a x b y c", 3},
                {"a … b", "b a", 0},
                {"…", "anything", 0},
                {"", "anything", 0},
                {"no room", "", 0},
        };

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                assert_int_equal(message_weight(cases[i].sentence, cases[i].message),
                                 cases[i].weight);
}

static void test_find(void **state) {
        static const struct {
                const char *message, *place;
        } cases[] = {
                {"volume pvc-1 has no room", "volumes"},
                {"code = Internal desc = open /x: find nothing", "system"},
                /* The longer one says more. */
                {"open x: volume pvc-1 has no room", "volumes"},
                {"level=error msg=\"\\\"5x\\\" is not a size\"", "volumes"},
                {"hostPort 80/tcp is in use by a program\n   of this host, which listens at "
                 "0.0.0.0: "
                 "choose another\n",
                 "network"},
                {"Back-off restarting failed container", NULL},
        };
        char message[256];
        MessageFound found;

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                (void)snprintf(message, sizeof(message), "%s", cases[i].message);
                message_normalize(message);
                assert_int_equal(message_find(table, message, &found), cases[i].place != NULL);
                if (cases[i].place)
                        assert_string_equal(found.entry->place, cases[i].place);
        }
}

static void test_near(void **state) {
        MessageFound found[2];

        (void)state;
        /* "hostPort", "program", "host" and "listens" against "volume" and "room". */
        assert_int_equal(
                message_near(table, "hostPort 80: a program listens, no room in volume", found, 2),
                2);
        assert_string_equal(found[0].entry->place, "network");
        assert_string_equal(found[1].entry->place, "volumes");
        assert_int_equal(
                message_near(table, "hostPort 80: a program listens, no room in volume", found, 1),
                1);
        assert_string_equal(found[0].entry->place, "network");
        assert_int_equal(message_near(table, "a volume", found, 2), 0);
        assert_int_equal(message_near(table, "", found, 2), 0);
}

/* Each sentence of the real catalogue, with something in each gap, is found in its own entry, or in
 * one that says more of the same message. */
static void test_catalogue(void **state) {
        size_t n = 0;

        (void)state;
        for (const MessageEntry *entry = message_entries; entry->place; entry++) {
                for (size_t i = 0; entry->sentences[i]; i++) {
                        size_t weight = message_weight(entry->sentences[i], entry->sentences[i]);
                        MessageFound found;

                        assert_true(weight > 0);
                        assert_true(message_find(message_entries, entry->sentences[i], &found));
                        assert_true(found.weight >= weight);
                        n++;
                }
                assert_true(strlen(entry->text) > 0);
        }
        assert_true(n > 400);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_weight),
                cmocka_unit_test(test_find),
                cmocka_unit_test(test_near),
                cmocka_unit_test(test_catalogue),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
