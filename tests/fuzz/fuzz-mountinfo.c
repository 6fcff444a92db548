/* SPDX-License-Identifier: Apache-2.0 */

/* mountinfo carries names that a container chose; mount flags come over the wire. */

#include "common/base/cleanup.h"
#include "common/mount/mount_options.h"
#include "common/mount/mountinfo.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void fuzz_options(const uint8_t *data, size_t n) {
        static MountOptions options, again;
        static char words[MOUNT_OPTIONS_TEXT_MAX * 2], text[MOUNT_OPTIONS_TEXT_MAX * 2];
        size_t n_text;

        options = again = (MountOptions){0};

        if (n >= sizeof(words))
                return;
        memcpy(words, data, n);
        words[n] = '\0';
        if (mount_options_add(&options, words) < 0)
                return;
        n_text = mount_options_format(&options, true, text, sizeof(text));
        assert(strlen(text) < sizeof(text));
        /* What is written is read back as the same: no word hides another, and none is lost. */
        if (n_text >= MOUNT_OPTIONS_TEXT_MAX - MOUNT_OPTIONS_MAX)
                return;
        assert(mount_options_add(&again, text) == 0);
        assert(again.set == options.set && again.n_options == options.n_options);
        for (size_t i = 0; i < options.n_options; i++) {
                const MountOption *one = &options.options[i], *other = &again.options[i];

                assert(strcmp(one->key, other->key) == 0 && !one->value == !other->value);
                assert(!one->value || strcmp(one->value, other->value) == 0);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        size_t line = 0;

        fuzz_options(data, n);
        if (mountinfo_parse((const char *)data, n, &table, &line) != 0) {
                assert(!table && line <= n + 1);
                return 0;
        }
        for (size_t i = 0; i < table->n_mounts; i++) {
                const Mount *mount = &table->mounts[i];

                assert(mount_table_find_id(table, mount->id));
                assert(mount_table_find_target(table, mount->target));
                (void)mount_options_have(mount->options, mount->super_options);
                if (i > 16)
                        break;
        }
        return 0;
}
