/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "csi/local/meta.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define STEM "vol-0123456789abcdef0123456789abcdef"

static void test_stem(void **state) {
        char one[LOCAL_STEM_MAX + 1], other[LOCAL_STEM_MAX + 1], node[LOCAL_STEM_MAX + 1];

        local_stem("vol", "node-1", "pvc-1", one);
        local_stem("vol", "node-1", "pvc-2", other);
        local_stem("vol", "node-2", "pvc-1", node);
        assert_true(local_stem_is_valid(LOCAL_VOLUME, one, strlen(one)));
        assert_string_not_equal(one, other);
        assert_string_not_equal(one, node);
        local_stem("snap", "node-1", "../../../etc/passwd", one);
        assert_true(local_stem_is_valid(LOCAL_SNAPSHOT, one, strlen(one)));
        assert_false(local_stem_is_valid(LOCAL_VOLUME, one, strlen(one)));
}

static void test_names_of_ours(void **state) {
        static const struct {
                const char *name;
                bool valid;
        } cases[] = {
                {STEM, true},
                {"eph-0123456789abcdef0123456789abcdef", true},
                {"vol-0123456789abcdef0123456789abcde", false},
                {"vol-0123456789abcdef0123456789abcdef0", false},
                {"vol-0123456789ABCDEF0123456789abcdef", false},
                {"vol-../../../../../../../etc/passwd0", false},
                {"vol_0123456789abcdef0123456789abcdef", false},
                {"", false},
                {"vol-", false},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                assert_int_equal(
                        local_stem_is_valid(LOCAL_VOLUME, cases[i].name, strlen(cases[i].name)),
                        cases[i].valid);
        assert_int_equal(local_stem_of_file(LOCAL_VOLUME, STEM ".json", ".json"), strlen(STEM));
        assert_int_equal(local_stem_of_file(LOCAL_VOLUME, STEM ".img", ".json"), 0);
        assert_int_equal(local_stem_of_file(LOCAL_VOLUME, ".json", ".json"), 0);
        assert_true(local_is_temporary(LOCAL_VOLUME, "." STEM ".json.tmp.123.4"));
        assert_false(local_is_temporary(LOCAL_VOLUME, STEM ".json.tmp.123.4"));
        assert_false(local_is_temporary(LOCAL_VOLUME, "." STEM ".json.tmp.123.4.5"));
        assert_false(local_is_temporary(LOCAL_VOLUME, "." STEM ".json.tmp.x.4"));
        assert_false(local_is_temporary(LOCAL_VOLUME, "." STEM ".json.tmp."));
        assert_false(local_is_temporary(LOCAL_VOLUME, ".precious.json.tmp.1.2"));
        assert_false(local_is_temporary(LOCAL_VOLUME, ".img.tmp"));
}

static LocalMeta example(void) {
        LocalMeta meta = {
                .kind = LOCAL_VOLUME,
                .state = LOCAL_STATE_COPYING,
                .id = STEM,
                .stem = STEM,
                .name = "pvc-\"quoted\"\n\xc3\xa9",
                .size_bytes = UINT64_C(1) << 40,
                .sector_bytes = 4096,
                .thick = true,
                .allows_mount = true,
                .fs_type = "xfs",
                .source = LOCAL_SOURCE_SNAPSHOT,
                .source_id = "snap-0123456789abcdef0123456789abcdef",
                .created_seconds = 1700000000,
                .created_nanos = 999999999,
                .froze = true,
                .shares = true,
                .context = "0123456789abcdef0123456789abcdef",
                .copy = {.at_bytes = 5,
                         .size_bytes = 10,
                         .source_seconds = 7,
                         .source_nanos = 8,
                         .asked_seconds = 9},
        };

        return meta;
}

static void test_round_trip(void **state) {
        cleanup(freep) char *text = NULL;
        cleanup(freep) char *again = NULL;
        LocalMeta meta = example(), parsed;
        Error err = {0};

        text = local_meta_format(&meta);
        assert_non_null(text);
        assert_int_equal(local_meta_parse(text, strlen(text), LOCAL_VOLUME, STEM, &parsed, &err),
                         0);
        assert_string_equal(parsed.name, meta.name);
        assert_int_equal(parsed.copy.at_bytes, 5);
        again = local_meta_format(&parsed);
        assert_string_equal(text, again);
}

/* Good text with one thing changed must be refused, and nothing written. */
static void test_hostile(void **state) {
        static const struct {
                const char *from, *to;
        } changes[] = {
                {"\"format\": 1", "\"format\": 2"},
                {"\"format\": 1", "\"format\": true"},
                {"\"kind\": \"volume\"", "\"kind\": \"snapshot\""},
                {"\"state\": \"copying\"", "\"state\": \"perhaps\""},
                {"\"id\": \"vol-0", "\"id\": \"vol-1"},
                {"\"id\": \"vol-0", "\"id\": \"../../vol-0"},
                {"\"size_bytes\": 1099511627776", "\"size_bytes\": -1"},
                {"\"size_bytes\": 1099511627776", "\"size_bytes\": 0"},
                {"\"size_bytes\": 1099511627776", "\"size_bytes\": 4611686018427387905"},
                {"\"size_bytes\": 1099511627776", "\"size_bytes\": 1e12"},
                {"\"size_bytes\": 1099511627776", "\"size_bytes\": \"1\""},
                {"\"size_bytes\": 1099511627776", "\"size_bytes\": 99999999999999999999"},
                {"\"thick\": true", "\"thick\": 1"},
                {"\"sector_bytes\": 4096", "\"sector_bytes\": 0"},
                {"\"sector_bytes\": 4096", "\"sector_bytes\": 1024"},
                {"\"ephemeral\": false", "\"ephemeral\": true"},
                {"\"source\": \"snapshot\"", "\"source\": \"none\""},
                {"\"fs_type\": \"xfs\"", "\"fs_type\": \"\""},
                {"\"fs_type\": \"xfs\"", "\"fs_type\": \"a name that is far too long\""},
                {"\"at_bytes\": 5", "\"at_bytes\": 11"},
                {"\"copy\": {", "\"copy\": [], \"x\": {"},
                {"\"created_nanos\": 999999999", "\"created_nanos\": 1000000000"},
                {"\"thick\": true", "\"thick\": true, \"thick\": true"},
                {"{", "[{"},
                {"\"format\"", "\"format"},
        };
        cleanup(freep) char *good = NULL;
        LocalMeta meta = example();

        good = local_meta_format(&meta);
        for (size_t i = 0; i < N_ELEMENTS(changes); i++) {
                const char *at = strstr(good, changes[i].from);
                cleanup(freep) char *bad = NULL;
                LocalMeta parsed = {.size_bytes = 77};
                Error err = {0};

                assert_non_null(at);
                bad = str_printf("%.*s%s%s", (int)(at - good), good, changes[i].to,
                                 at + strlen(changes[i].from));
                if (local_meta_parse(bad, strlen(bad), LOCAL_VOLUME, STEM, &parsed, &err) >= 0)
                        fail_msg("accepted: %s", changes[i].to);
                assert_int_equal(err.code, ERROR_INTERNAL);
                assert_int_equal(parsed.size_bytes, 77);
        }
}

/* What holds between fields, for the other kinds; and the name of the file must be one of ours. */
static void test_kinds(void **state) {
        static const struct {
                LocalKind kind;
                const char *prefix;
                LocalSource source;
                size_t n_members;
                bool good;
        } cases[] = {
                {LOCAL_SNAPSHOT, "snap-", LOCAL_SOURCE_VOLUME, 0, true},
                {LOCAL_SNAPSHOT, "snap-", LOCAL_SOURCE_SNAPSHOT, 0, false},
                {LOCAL_SNAPSHOT, "snap-", LOCAL_SOURCE_NONE, 0, false},
                {LOCAL_GROUP, "grp-", LOCAL_SOURCE_NONE, 2, true},
                {LOCAL_GROUP, "grp-", LOCAL_SOURCE_NONE, 0, false},
                {LOCAL_SNAPSHOT, "vol-", LOCAL_SOURCE_VOLUME, 0, false},
                {LOCAL_SNAPSHOT, "../../", LOCAL_SOURCE_VOLUME, 0, false},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                LocalMeta meta = {.kind = cases[i].kind,
                                  .state = LOCAL_STATE_READY,
                                  .size_bytes = 4096,
                                  .sector_bytes = 512,
                                  .source = cases[i].source,
                                  .n_members = cases[i].n_members},
                          parsed;
                cleanup(freep) char *text = NULL;

                (void)snprintf(meta.stem, sizeof(meta.stem), "%s0123456789abcdef0123456789abcdef",
                               cases[i].prefix);
                (void)snprintf(meta.id, sizeof(meta.id), "%s", meta.stem);
                if (cases[i].source != LOCAL_SOURCE_NONE)
                        (void)snprintf(meta.source_id, sizeof(meta.source_id), "%s", STEM);
                text = local_meta_format(&meta);
                assert_int_equal(local_meta_parse(text, strlen(text), meta.kind, meta.stem, &parsed,
                                                  NULL) == 0,
                                 cases[i].good);
        }
}

/* Text that is cut anywhere: what a power cut without an atomic write would leave. */
static void test_cut(void **state) {
        cleanup(freep) char *good = NULL;
        LocalMeta meta = example(), parsed;

        good = local_meta_format(&meta);
        for (size_t n = 0; n + 2 < strlen(good); n++)
                assert_true(local_meta_parse(good, n, LOCAL_VOLUME, STEM, &parsed, NULL) < 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_stem),       cmocka_unit_test(test_names_of_ours),
                cmocka_unit_test(test_round_trip), cmocka_unit_test(test_hostile),
                cmocka_unit_test(test_kinds),      cmocka_unit_test(test_cut),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
