/* SPDX-License-Identifier: Apache-2.0 */

/* The pages in which disks say what they are. */

#undef NDEBUG

#include "csi/cloud/disk_page.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* As bytes with their number; the NUL of the literal does not count. */
#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

static void test_serial(void **state) {
        static const struct {
                const uint8_t *page;
                size_t n;
                int r;
                const char *text;
        } cases[] = {
                {BYTES("\x00\x80\x00\x05"
                       "12345"),
                 0, "12345"},
                {BYTES("\x00\x80\x00\x0a"
                       "  12345   "),
                 0, "12345"},
                {BYTES("\x00\x80\x00\x05"
                       "12345 and what follows the page"),
                 0, "12345"},
                {BYTES("\x00\x80\x00\x06"
                       "12345"),
                 -EINVAL, NULL},
                {BYTES("\x00\x83\x00\x05"
                       "12345"),
                 -EINVAL, NULL},
                {BYTES("\x00\x80\x00\x00"), -ENOENT, NULL},
                {BYTES("\x00\x80\x00\x03"
                       "   "),
                 -ENOENT, NULL},
                {BYTES("\x00\x80\x00\x03"
                       "a\nb"),
                 -ENOENT, NULL},
                {BYTES("\x00\x80\x00"), -EINVAL, NULL},
                {BYTES(""), -EINVAL, NULL},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                char text[DISK_TEXT_MAX];

                assert_int_equal(disk_page_80(cases[i].page, cases[i].n, text), cases[i].r);
                if (cases[i].text)
                        assert_string_equal(text, cases[i].text);
        }
}

/* As QEMU's scsi-hd with a device_id, a serial number and a WWN, and a port's designator. */
static void test_designators(void **state) {
        static const char page[] = "\x00\x83\x00\x39"
                                   "\x02\x00\x00\x08pvc-3f7e"
                                   "\x02\x01\x00\x15"
                                   "Linode  Volume 12345 "
                                   "\x01\x03\x00\x08\x60\x01\x40\x50\xab\xcd\xef\x01"
                                   "\x01\x13\x00\x04\x50\x00\x00\x01";
        Designator found[DESIGNATORS_MAX];
        size_t n = 0;

        assert_int_equal(disk_page_83((const uint8_t *)page, sizeof(page) - 1, found, &n), 0);
        assert_int_equal(n, 3);
        assert_int_equal(found[0].type, DESIGNATOR_VENDOR_SPECIFIC);
        assert_string_equal(found[0].text, "pvc-3f7e");
        assert_int_equal(found[1].type, DESIGNATOR_T10_VENDOR);
        assert_string_equal(found[1].text, "Linode  Volume 12345");
        assert_int_equal(found[2].type, DESIGNATOR_NAA);
        assert_string_equal(found[2].text, "60014050abcdef01");
        /* Every shorter page is malformed or has less in it, and nothing is read behind its end. */
        for (size_t cut = 0; cut < sizeof(page) - 1; cut++) {
                cleanup(freep) uint8_t *copy = malloc(cut + 1);

                assert_non_null(copy);
                memcpy(copy, page, cut);
                assert_int_equal(disk_page_83(copy, cut, found, &n), -EINVAL);
        }
}

static void test_many_designators(void **state) {
        static const uint8_t one[5] = {0x02, 0x00, 0x00, 0x01, 'x'};
        uint8_t page[4 + 5 * (DESIGNATORS_MAX + 4)] = {0x00, 0x83, 0x00, sizeof(page) - 4};
        Designator found[DESIGNATORS_MAX];
        size_t n = 0;

        for (size_t i = 0; i < DESIGNATORS_MAX + 4; i++)
                memcpy(page + 4 + i * 5, one, sizeof(one));
        assert_int_equal(disk_page_83(page, sizeof(page), found, &n), 0);
        assert_int_equal(n, DESIGNATORS_MAX);
}

static void test_nvme_name(void **state) {
        static const struct {
                const uint8_t *data;
                size_t n;
                const char *text;
        } cases[] = {
                {BYTES("{\"device_name\":\"pvc-3f7e\",\"disk_type\":\"PERSISTENT\"}"), "pvc-3f7e"},
                {BYTES("{\"device_name\": \"pvc-3f7e\"}\0\0\0"), "pvc-3f7e"},
                {BYTES("{\"device_name\":\"pvc-3f7e\"}     "), "pvc-3f7e"},
                {BYTES("{\"device_name\":\"\"}"), NULL},
                {BYTES("{\"device_name\":7}"), NULL},
                {BYTES("{\"device_name\":\"a\",\"device_name\":\"b\"}"), NULL},
                {BYTES("{\"device_name\":\"a\\n\"}"), "a"},
                {BYTES("{\"device_name\":\"a\\nb\"}"), NULL},
                {BYTES("{\"device_name\":\"pvc-3f7e\""), NULL},
                {BYTES("{\"other\":\"pvc-3f7e\"}"), NULL},
                {BYTES("[\"device_name\"]"), NULL},
                {BYTES("type=local,index=1,name=nvme-440G-1"), NULL},
                {BYTES("\0\0\0\0"), NULL},
                {BYTES(""), NULL},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                char text[DISK_TEXT_MAX];
                int r = disk_nvme_name(cases[i].data, cases[i].n, text);

                assert_int_equal(r, cases[i].text ? 0 : -ENOENT);
                if (cases[i].text)
                        assert_string_equal(text, cases[i].text);
        }
}

static void test_hex(void **state) {
        static const struct {
                const char *a, *b;
                bool is_equal;
        } cases[] = {
                {"naa.60014050ABCDEF01", "60014050abcdef01", true},
                {"0x60014050abcdef01", "60014050abcdef01", true},
                {"eui.0025385b71b0a3c4", "00 25 38 5b 71 b0 a3 c4", true},
                {"00112233-4455-6677-8899-aabbccddeeff", "00112233445566778899AABBCCDDEEFF", true},
                {"naa.60014050abcdef01", "60014050abcdef0", false},
                {"naa.60014050abcdef0", "60014050abcdef01", false},
                {"naa.60014050abcdef01", "60014050abcdef02", false},
                {"", "", false},
                {"naa.", "", false},
                {"-", "-", false},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                assert_int_equal(disk_hex_equal(cases[i].a, cases[i].b), cases[i].is_equal);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_serial),
                cmocka_unit_test(test_designators),
                cmocka_unit_test(test_many_designators),
                cmocka_unit_test(test_nvme_name),
                cmocka_unit_test(test_hex),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
