/* SPDX-License-Identifier: Apache-2.0 */

/* LUKS headers as they are, and as nobody should write them. */

#undef NDEBUG

#include "csi/luks/header.h"

#include "common/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static uint8_t bytes[LUKS_HEADER_BYTES];

static void make(unsigned int version, const char *json, uint64_t hdr_size) {
        static const uint8_t magic[] = {'L', 'U', 'K', 'S', 0xba, 0xbe};
        static const char uuid[] = "6a1c0f3e-0001-4bcd-9e1f-00112233aabb";

        memset(bytes, 0, sizeof(bytes));
        memcpy(bytes, magic, sizeof(magic));
        bytes[7] = (uint8_t)version;
        for (int i = 0; i < 8; i++)
                bytes[8 + i] = (uint8_t)(hdr_size >> (56 - 8 * i));
        memcpy(bytes + 168, uuid, sizeof(uuid));
        memcpy(bytes + 4096, json, strlen(json) + 1);
}

static void test_versions(void **state) {
        LuksHeader header;

        make(1, "", 0);
        assert_int_equal(luks_header_parse(bytes, sizeof(bytes), &header), 0);
        assert_int_equal(header.version, 1);
        assert_string_equal(header.uuid, "6a1c0f3e-0001-4bcd-9e1f-00112233aabb");
        assert_int_equal(header.memory_bytes, 0);
        make(3, "", 0);
        assert_int_equal(luks_header_parse(bytes, sizeof(bytes), &header), -ENOENT);
        make(2, "{}", 16384);
        assert_int_equal(luks_header_parse(bytes, 100, &header), -ENOENT);
        bytes[0] = 'l';
        assert_int_equal(luks_header_parse(bytes, sizeof(bytes), &header), -ENOENT);
}

static void test_memory(void **state) {
        static const struct {
                const char *json;
                uint64_t size, memory;
        } rows[] = {
                {"{\"keyslots\":{\"0\":{\"kdf\":{\"type\":\"argon2id\",\"memory\":65536}}}}", 16384,
                 UINT64_C(64) << 20},
                {"{\"keyslots\":{\"0\":{\"kdf\":{\"memory\":65536}},\"1\":{\"kdf\":{\"memory\":"
                 "1048576}}}}",
                 16384, UINT64_C(1) << 30},
                {"{\"keyslots\":{\"0\":{\"kdf\":{\"type\":\"pbkdf2\",\"iterations\":1000}}}}",
                 16384, 0},
                {"{\"keyslots\":{\"0\":{\"kdf\":{\"memory\":9223372036854775807}}}}", 16384,
                 LUKS_MEMORY_MAX},
                {"{\"keyslots\":{\"0\":{\"kdf\":{\"memory\":-5}}}}", 16384, 0},
                {"{\"keyslots\":[]}", 16384, LUKS_MEMORY_DEFAULT},
                {"{\"keyslots\":", 16384, LUKS_MEMORY_DEFAULT},
                {"{\"keyslots\":{}}", 100, LUKS_MEMORY_DEFAULT},
                {"{\"keyslots\":{}}", UINT64_MAX, 0},
                {"", 16384, LUKS_MEMORY_DEFAULT},
        };

        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                LuksHeader header;

                make(2, rows[i].json, rows[i].size);
                assert_int_equal(luks_header_parse(bytes, sizeof(bytes), &header), 0);
                assert_int_equal(header.memory_bytes, rows[i].memory);
        }
        /* Cut right behind the UUID: nothing is read beyond. */
        {
                LuksHeader header;

                assert_int_equal(luks_header_parse(bytes, 208, &header), 0);
                assert_int_equal(header.memory_bytes, LUKS_MEMORY_DEFAULT);
        }
}

/* Behind a header with a key slot there may be somebody's data. */
static void test_used(void **state) {
        static const struct {
                const char *json;
                bool used;
        } rows[] = {
                {"{\"keyslots\":{}}", false},
                {"{\"keyslots\":{\"0\":{\"type\":\"luks2\"}}}", true},
                {"{\"keyslots\":[]}", true},
                {"{\"keyslots\":", true},
                {"", true},
        };

        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                make(2, rows[i].json, 16384);
                assert_int_equal(luks_header_is_used(bytes, sizeof(bytes)), rows[i].used);
                memcpy(bytes, "SKUL", 4);
                assert_int_equal(luks_header_is_used(bytes, sizeof(bytes)), rows[i].used);
                bytes[0] = 0;
                assert_false(luks_header_is_used(bytes, sizeof(bytes)));
        }
        make(1, "", 0);
        assert_false(luks_header_is_used(bytes, sizeof(bytes)));
        memcpy(bytes + 208 + 7 * 48, "\x00\xac\x71\xf3", 4);
        assert_true(luks_header_is_used(bytes, sizeof(bytes)));
}

/* The header is damaged, and its copy is not: as cryptsetup writes both. */
static void test_real(void **state) {
        static const char *const commands[] = {"--type luks1", "--type luks2",
                                               "--type luks2 --luks2-metadata-size 64k"};
        char path[] = "/tmp/berth-luks-XXXXXX", command[512];
        int fd = mkstemp(path);

        assert_true(fd >= 0);
        for (size_t i = 0; i < N_ELEMENTS(commands); i++) {
                assert_int_equal(ftruncate(fd, 0), 0);
                assert_int_equal(ftruncate(fd, 32 << 20), 0);
                assert_int_equal(luks_is_used(fd), 0);
                (void)snprintf(command, sizeof(command),
                               "printf x | cryptsetup luksFormat -q --pbkdf pbkdf2 "
                               "--pbkdf-force-iterations 1000 %s %s - 2>/dev/null",
                               commands[i], path);
                /* NOLINTNEXTLINE(cert-env33-c): the test's own words. */
                if (system("command -v cryptsetup >/dev/null") != 0 || system(command) != 0) {
                        (void)unlink(path);
                        skip();
                }
                assert_int_equal(luks_is_used(fd), 1);
                memset(bytes, 0, sizeof(bytes));
                assert_int_equal(pwrite(fd, bytes, 4096, 0), 4096);
                assert_int_equal(luks_is_used(fd), i > 0);
        }
        (void)close(fd);
        (void)unlink(path);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_used),
                cmocka_unit_test(test_real),
                cmocka_unit_test(test_versions),
                cmocka_unit_test(test_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
