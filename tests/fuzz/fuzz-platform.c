/* SPDX-License-Identifier: Apache-2.0 */

/* What the machine's files say, judged: records of the number of a fact, a length (2 bytes, little
 * endian) and its text. */

#include "common/platform/classify_internal.h"
#include "common/platform/kernel_release.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static size_t take_fact(Facts *facts, const uint8_t *data, size_t n) {
        Fact *fact = &facts->facts[data[0] % _FACT_N];
        size_t n_text = (size_t)(data[1] | data[2] << 8);

        if (n_text > n - 3)
                n_text = n - 3;
        free(fact->text);
        fact->text = malloc(n_text + 1);
        assert(fact->text);
        memcpy(fact->text, data + 3, n_text);
        fact->text[n_text] = '\0';
        fact->n = n_text;
        fact->state = FACT_PRESENT;
        return 3 + n_text;
}

static void check_paths(const char *text) {
        char place[64];
        bool is_shared;

        (void)mounts_covering(text, "/var/lib/kubelet", &is_shared, place, sizeof(place));
        (void)mounts_type_at(text, "/", place, sizeof(place));
        (void)mounts_root_is_disk(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        Facts *facts = calloc(1, sizeof(*facts));
        Platform *platform = NULL;

        assert(facts);
        for (size_t i = 0; i < _FACT_N; i++)
                facts->facts[i].state = n > 0 && data[0] & 0x80 ? FACT_UNKNOWN : FACT_ABSENT;
        facts->is_live = n > 0 && data[0] & 0x40;
        for (size_t at = 1; at < n && n - at >= 3;)
                at += take_fact(facts, data + at, n - at);
        check_paths(facts_text(facts, FACT_MOUNTINFO));
        assert(platform_classify(facts, &platform) == 0);
        assert(memchr(platform->hostname, '\0', sizeof(platform->hostname)));
        assert(platform->kernel.family && platform->desktop);
        platform_free(platform);
        return 0;
}
