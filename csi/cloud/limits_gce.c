/* SPDX-License-Identifier: Apache-2.0 */

/* GCE: volumes by machine type. The fourth generation attaches by vCPU, "c4-standard-8-lssd", and
 * A4X by GPU, "a4x-highgpu-4g"; the others have one number each. */

#include "csi/cloud/limits.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define SMALL_VOLUMES 15
#define BIG_VOLUMES   127

typedef struct GceStep {
        unsigned int max; /* vCPUs or GPUs */
        unsigned int volumes;
} GceStep;

#define STEPS_MAX 6

/* What is beyond the last step has as much as that. */
static const struct {
        const char *prefix;
        GceStep steps[STEPS_MAX];
} families[] = {
        {"c4-", {{2, 7}, {4, 15}, {24, 31}, {48, 63}, {96, 127}}},
        {"c4d-", {{2, 3}, {4, 7}, {8, 15}, {96, 31}, {192, 63}, {384, 127}}},
        {"c4a-", {{2, 7}, {8, 15}, {48, 31}, {72, 63}}},
        {"n4-", {{8, 15}, {80, 31}}},
        {"n4d-", {{8, 15}, {96, 31}}},
        {"n4a-", {{8, 15}, {64, 31}}},
        {"a4x-", {{1, 63}, {2, 127}}},
};

static const char *const small_types[] = {"f1-micro", "g1-small", "e2-micro", "e2-small",
                                          "e2-medium"};

static const struct {
        const char *prefix, *suffix;
        unsigned int volumes;
} fixed[] = {
        {"a4x-", "-metal", 31},
        {"x4-", "", 39},
        {"c3-", "-metal", 15},
};

/* The third word's digits: "8" of "c4-standard-8-lssd", "4" of "a4x-highgpu-4g". */
static bool take_number(const char *type, uint64_t *numberp) {
        const char *word = strchr(type, '-');
        char digits[8];
        size_t n;

        word = word ? strchr(word + 1, '-') : NULL;
        if (!word)
                return false;
        n = strspn(++word, "0123456789");
        if (n == 0 || n >= sizeof(digits) || (word[n] && word[n] != '-' && word[n] != 'g'))
                return false;
        memcpy(digits, word, n);
        digits[n] = '\0';
        return str_parse_u64(digits, UINT32_MAX, numberp) == 0;
}

unsigned int limits_gce_volumes(const char *type) {
        unsigned int volumes = BIG_VOLUMES;
        uint64_t number;

        if (!type)
                return BIG_VOLUMES;
        for (size_t i = 0; i < N_ELEMENTS(small_types); i++)
                if (str_equal(type, small_types[i]))
                        return SMALL_VOLUMES;
        for (size_t i = 0; i < N_ELEMENTS(fixed); i++)
                if (str_has_prefix(type, fixed[i].prefix) && str_has_suffix(type, fixed[i].suffix))
                        return fixed[i].volumes;
        for (size_t i = 0; i < N_ELEMENTS(families); i++) {
                if (!str_has_prefix(type, families[i].prefix) || !take_number(type, &number))
                        continue;
                for (size_t j = 0; j < STEPS_MAX && families[i].steps[j].max; j++) {
                        volumes = families[i].steps[j].volumes;
                        if (number <= families[i].steps[j].max)
                                break;
                }
        }
        return volumes;
}
