/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "csi/providers/gpt.h"
#include "fs/volume/checksum.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#define MIB (1ULL << 20)

static uint64_t get(const uint8_t *at, size_t n) {
        uint64_t value = 0;

        while (n-- > 0)
                value = value << 8 | at[n];
        return value;
}

/* The header at @at: its own checksum, and where it says things are. */
static void assert_header(const uint8_t *at, uint64_t mine, uint64_t other, uint64_t entries,
                          uint32_t entries_crc) {
        uint8_t copy[92];

        assert_memory_equal(at, "EFI PART", 8);
        assert_int_equal(get(at + 12, 4), sizeof(copy));
        memcpy(copy, at, sizeof(copy));
        memset(copy + 16, 0, 4);
        assert_int_equal(get(at + 16, 4), ~checksum_crc32(UINT32_MAX, copy, sizeof(copy)));
        assert_int_equal(get(at + 24, 8), mine);
        assert_int_equal(get(at + 32, 8), other);
        assert_int_equal(get(at + 72, 8), entries);
        assert_int_equal(get(at + 88, 4), entries_crc);
}

static void test_form(void **state) {
        static const struct {
                uint64_t size, first, last;
                uint32_t sector;
        } cases[] = {
                {10240 * MIB, 2048, 10239 * 2048 - 1, 512},
                {64 * MIB, 2048, 63 * 2048 - 1, 512},
                {64 * MIB + 512 * 100, 2048, 64 * 2048 - 1, 512},
                {64 * MIB, 256, 63 * 256 - 1, 4096},
                {4 * MIB, 2048, 3 * 2048 - 1, 512},
                {(1ULL << 44), 2048, (1ULL << 35) - 2048 - 1, 512},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                cleanup(gpt_deinit) GptTable table = {0};
                uint64_t sector = cases[i].sector, last = cases[i].size / sector - 1;
                uint64_t n_entries = 16384 / sector;
                const uint8_t *entries;
                uint32_t crc;

                assert_int_equal(gpt_format(cases[i].size, cases[i].sector, "v", &table), 0);
                assert_int_equal(table.head[510] | table.head[511] << 8, 0xaa55);
                assert_int_equal(table.head[450], 0xee);
                entries = table.head + 2 * sector;
                crc = ~checksum_crc32(UINT32_MAX, entries, 16384);
                assert_header(table.head + sector, 1, last, 2, crc);
                assert_header(table.tail + n_entries * sector, last, 1, last - n_entries, crc);
                assert_memory_equal(table.tail, entries, 16384);
                assert_int_equal(get(entries + 32, 8), cases[i].first);
                assert_int_equal(get(entries + 40, 8), cases[i].last);
                assert_true(get(entries + 40, 8) <= get(table.head + sector + 48, 8));
                assert_int_equal(table.n_head, (2 + n_entries) * sector);
                assert_int_equal(table.n_tail, (1 + n_entries) * sector);
        }
}

static void test_same_name_same_bytes(void **state) {
        cleanup(gpt_deinit) GptTable a = {0}, b = {0}, c = {0};

        assert_int_equal(gpt_format(64 * MIB, 512, "v-1", &a), 0);
        assert_int_equal(gpt_format(64 * MIB, 512, "v-1", &b), 0);
        assert_int_equal(gpt_format(64 * MIB, 512, "v-2", &c), 0);
        assert_memory_equal(a.head, b.head, a.n_head);
        assert_memory_not_equal(a.head, c.head, a.n_head);
}

static void test_refused(void **state) {
        GptTable table;

        assert_int_equal(gpt_format(4 * MIB - 512, 512, "v", &table), -ENOSPC);
        assert_int_equal(gpt_format(64 * MIB, 520, "v", &table), -EINVAL);
        gpt_deinit(&table);
}

static void test_count(void **state) {
        char root[] = "/tmp/berth-gpt-XXXXXX";
        static const struct {
                const char *name, *number;
        } parts[] = {
                {"vdb1", "1"}, {"vdb15", "15"}, {"vdb2", "2"}, {"queue", NULL}, {"vdbx", NULL}};
        static const char *const made[] = {"/sys/block/vdb", "/sys/block", "/sys", ""};
        ProviderConfig config = {.root_path = root};
        Device disk = {.path = "/dev/vdb"};
        cleanup(freep) char *base = NULL;
        unsigned int last;
        size_t n;

        assert_non_null(mkdtemp(root));
        base = str_printf("%s/sys/block/vdb", root);
        assert_true(gpt_count(&config, &disk, &n, &last) < 0);
        assert_int_equal(file_make_directories(base, 0755), 0);
        assert_int_equal(gpt_count(&config, &disk, &n, &last), 0);
        assert_int_equal(n, 0);
        for (size_t i = 0; i < N_ELEMENTS(parts); i++) {
                cleanup(freep) char *path = str_printf("%s/%s", base, parts[i].name);
                cleanup(freep) char *file = str_printf("%s/partition", path);

                assert_int_equal(mkdir(path, 0755), 0);
                if (parts[i].number)
                        assert_int_equal(close(open(file, O_CREAT | O_CLOEXEC, 0644)), 0);
        }
        assert_int_equal(gpt_count(&config, &disk, &n, &last), 0);
        assert_int_equal(n, 3);
        assert_int_equal(last, 15);
        for (size_t i = 0; i < N_ELEMENTS(parts); i++) {
                cleanup(freep) char *path = str_printf("%s/%s", base, parts[i].name);
                cleanup(freep) char *file = str_printf("%s/partition", path);

                (void)unlink(file);
                assert_int_equal(rmdir(path), 0);
        }
        for (size_t i = 0; i < N_ELEMENTS(made); i++) {
                cleanup(freep) char *path = str_printf("%s%s", root, made[i]);

                assert_int_equal(rmdir(path), 0);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_form),
                cmocka_unit_test(test_same_name_same_bytes),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_count),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
