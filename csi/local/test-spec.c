/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "csi/local/spec.h"

#include "common/base/cleanup.h"
#include "csi/local/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static StringMap one(StringPair *pair, const char *key, const char *value) {
        *pair = (StringPair){.key = key, .value = value};
        return (StringMap){.pairs = pair, .n_pairs = 1};
}

static void test_parameters(void **state) {
        static const struct {
                const char *key, *value;
                ErrorCode code;
                bool thick;
        } cases[] = {
                {"provisioning", "thick", ERROR_NONE, true},
                {"provisioning", "thin", ERROR_NONE, false},
                {"provisioning", "Thick", ERROR_INVALID, false},
                {"provisioning", "", ERROR_INVALID, false},
                {"Provisioning", "thin", ERROR_INVALID, false},
                {"csi.storage.k8s.io/pvc/name", "data", ERROR_NONE, false},
                {"iops", "3000", ERROR_INVALID, false},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                LocalSpec spec = {0};
                StringPair pair;
                StringMap map = one(&pair, cases[i].key, cases[i].value);
                Error err = {0};

                assert_int_equal(local_spec_add_parameters(&spec, &map, false, &err) < 0,
                                 cases[i].code != ERROR_NONE);
                assert_int_equal(err.code, cases[i].code);
                assert_int_equal(spec.thick, cases[i].thick);
        }
}

static void test_capabilities(void **state) {
        const VolumeCapability mount = {.fs_type = "", .access_mode = 1};
        const VolumeCapability xfs = {.fs_type = "xfs", .access_mode = 7};
        const VolumeCapability block = {.is_block = true, .fs_type = "", .access_mode = 6};
        const VolumeCapability many = {.fs_type = "", .access_mode = 5};
        const VolumeCapability ntfs = {.fs_type = "ntfs", .access_mode = 1};
        const VolumeCapability both[] = {mount, block}, mixed[] = {mount, xfs};
        LocalSpec spec = {0};
        Error err = {0};

        assert_int_equal(local_spec_add_capabilities(&spec, both, 2, NULL), 0);
        assert_true(spec.allows_block && spec.allows_mount);
        assert_string_equal(spec.fs_type, "ext4");
        spec = (LocalSpec){0};
        assert_int_equal(local_spec_add_capabilities(&spec, &xfs, 1, NULL), 0);
        assert_int_equal(spec.minimum_bytes, 300 * MIB);
        spec = (LocalSpec){0};
        assert_int_equal(local_spec_add_capabilities(&spec, &block, 1, NULL), 0);
        assert_int_equal(spec.minimum_bytes, LOCAL_GRANULE_BYTES);
        assert_true(local_spec_add_capabilities(&spec, &many, 1, &err) < 0);
        assert_int_equal(err.code, ERROR_INVALID);
        spec = (LocalSpec){0};
        assert_true(local_spec_add_capabilities(&spec, &ntfs, 1, NULL) < 0);
        assert_true(local_spec_add_capabilities(&spec, mixed, 2, NULL) < 0);
}

static void test_sizes(void **state) {
        static const struct {
                uint64_t required, limit, at_least, size;
                ErrorCode code;
        } cases[] = {
                {0, 0, 4 * MIB, GIB, ERROR_NONE},
                {10 * MIB, 0, 4 * MIB, 10 * MIB, ERROR_NONE},
                {1, 0, 4 * MIB, 4 * MIB, ERROR_NONE},
                {10 * MIB + 1, 0, 4 * MIB, 10 * MIB + 4096, ERROR_NONE},
                {10 * MIB, 0, 300 * MIB, 300 * MIB, ERROR_NONE},
                {10 * MIB, 299 * MIB, 300 * MIB, 0, ERROR_RANGE},
                {0, 20 * MIB, 4 * MIB, 20 * MIB, ERROR_NONE},
                {0, 5 * MIB + 1, 4 * MIB, 5 * MIB, ERROR_NONE},
                {10 * MIB + 1, 10 * MIB + 2, 4 * MIB, 0, ERROR_RANGE},
                {20 * MIB, 10 * MIB, 4 * MIB, 0, ERROR_INVALID},
                {UINT64_MAX, 0, 4 * MIB, 0, ERROR_RANGE},
                {LOCAL_SIZE_MAX, 0, 4 * MIB, LOCAL_SIZE_MAX, ERROR_NONE},
                {LOCAL_SIZE_MAX + 4096, 0, 4 * MIB, 0, ERROR_RANGE},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                CapacityRange range = {cases[i].required, cases[i].limit};
                uint64_t size = 0;
                Error err = {0};

                (void)local_size_choose(&range, cases[i].at_least, "xfs", GIB, &size, &err);
                assert_int_equal(err.code, cases[i].code);
                assert_int_equal(size, cases[i].size);
                if (err.code == ERROR_NONE)
                        assert_true(local_size_fits(&range, size));
        }
}

static void test_topology(void **state) {
        StringPair pair;
        Topology own = {.segments = one(&pair, "Topology.Local.berth.dev/node", "node-1")};
        char value[64], other[64], long_name[254];

        local_topology_value("node-1.example", value);
        assert_string_equal(value, "node-1.example");
        memset(long_name, 'a', sizeof(long_name));
        long_name[253] = '\0';
        local_topology_value(long_name, value);
        assert_int_equal(strlen(value), 63);
        long_name[252] = 'b';
        local_topology_value(long_name, other);
        assert_int_equal(strlen(other), 63);
        assert_string_not_equal(value, other);
        local_topology_value("", value);
        assert_int_equal(strlen(value), 63);
        local_topology_value("bad name", value);
        assert_int_equal(strlen(value), 63);
        assert_null(strchr(value, ' '));
        assert_true(local_topology_has(NULL, 0, "node-1"));
        assert_true(local_topology_has(&own, 1, "node-1"));
        assert_false(local_topology_has(&own, 1, "node-2"));
}

static void test_space(void **state) {
        PoolUsage usage = {.total = 100 * GIB, .available = 100 * GIB, .reserve = 5 * GIB};

        assert_int_equal(pool_usage_available(&usage, 100, false), 95 * GIB);
        assert_int_equal(pool_usage_available(&usage, 200, false), 190 * GIB);
        assert_int_equal(pool_usage_available(&usage, 200, true), 95 * GIB);
        /* An empty thin volume of 40: promised, no block taken. */
        usage.promised = 40 * GIB;
        assert_int_equal(pool_usage_available(&usage, 100, false), 55 * GIB);
        assert_int_equal(pool_usage_available(&usage, 100, true), 55 * GIB);
        assert_int_equal(pool_usage_available(&usage, 200, true), 95 * GIB);
        /* It fills up: nothing changes but for thick volumes above the overcommit. */
        usage.available = 60 * GIB;
        usage.allocated = 40 * GIB;
        assert_int_equal(pool_usage_available(&usage, 100, false), 55 * GIB);
        assert_int_equal(pool_usage_available(&usage, 200, true), 55 * GIB);
        /* A snapshot shares its 40: promised once more. */
        usage.promised = 80 * GIB;
        assert_int_equal(pool_usage_available(&usage, 100, false), 15 * GIB);
        /* Of a thick volume: those 40 must stay free for its writes. */
        usage.unbacked = 40 * GIB;
        assert_int_equal(pool_usage_available(&usage, 300, true), 15 * GIB);
        /* Others filled the disk. */
        usage.available = GIB;
        assert_int_equal(pool_usage_available(&usage, 100, true), 0);
        usage = (PoolUsage){.total = UINT64_MAX / 4, .available = UINT64_MAX / 4};
        assert_true(pool_usage_available(&usage, 100, false) == UINT64_MAX / 4);
}

static void test_part(void **state) {
        static const struct {
                const char *text;
                int r;
                uint64_t bytes, percent;
        } cases[] = {
                {NULL, 0, 7, 8},
                {"5%", 0, UINT64_MAX, 5},
                {"0%", 0, UINT64_MAX, 0},
                {"1Gi", 0, GIB, 100},
                {"0", 0, 0, 100},
                {"100%", 0, UINT64_MAX, 100},
                {"-1%", -1, 7, 8},
                {"%", -1, 7, 8},
                {"a lot", -1, 7, 8},
                {"101%", -1, 7, 8},
                {"99999999999%", -1, 7, 8},
                {"5 %", -1, 7, 8},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                PoolPart part = {7, 8};
                Error err = {0};
                int r = pool_parse_part("--pool-reserve", cases[i].text, &part, &err);

                assert_int_equal(r < 0, cases[i].r < 0);
                assert_int_equal(err.code, cases[i].r < 0 ? ERROR_INVALID : ERROR_NONE);
                assert_true(part.bytes == cases[i].bytes && part.percent == cases[i].percent);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parameters), cmocka_unit_test(test_capabilities),
                cmocka_unit_test(test_sizes),      cmocka_unit_test(test_topology),
                cmocka_unit_test(test_space),      cmocka_unit_test(test_part),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
