/* SPDX-License-Identifier: Apache-2.0 */

/* Facts of other nodes and mkfs options come from outside: a file, a StorageClass. */

#include "tests/fuzz/fuzz.h"

#include "fs/hosts/hosts.h"
#include "fs/make/mkfs.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void fuzz_hosts(const uint8_t *data, size_t n) {
        FsHost *hosts = NULL;
        size_t n_hosts = 0;
        Error err = {0};

        if (fs_hosts_from_json((const char *)data, n, &hosts, &n_hosts, &err) < 0) {
                assert(!hosts && err.code != ERROR_NONE);
                return;
        }
        for (size_t i = 0; i < n_hosts; i++) {
                json_t *object = fs_host_to_json(&hosts[i]);

                assert(object);
                json_decref(object);
        }
        free(hosts);
}

static void fuzz_options(const uint8_t *data, size_t n) {
        static const char *const types[] = {"ext4", "xfs", "btrfs", "f2fs"};
        static const FormatParameter parameters[] = {{"o", "", NULL, NULL, NULL},
                                                     {NULL, NULL, NULL, NULL, NULL}};
        static const FormatRules rules = {.parameters = parameters};
        static FsMakePlan plan;
        static FsHost host;
        char text[1024];
        StringPair pair = {"o", text};
        StringMap context = {&pair, 1};
        FsMakeWords words;
        Error err = {0};

        if (n == 0 || n >= sizeof(text))
                return;
        memcpy(text, data + 1, n - 1);
        text[n - 1] = '\0';
        assert(fs_host_from_release(&host, "6.6", 4096, FS_BYTE_ORDER_LITTLE, &err) == 0);
        if (fs_make_words(&rules, types[data[0] % 4], &context, &words, &err) == 0) {
                FsMakeRequest request = {.fs_type = types[data[0] % 4],
                                         .device = "/dev/x",
                                         .size_bytes = UINT64_C(1) << 34,
                                         .hosts = &host,
                                         .n_hosts = 1,
                                         .options = words.words,
                                         .n_options = words.n_words};

                for (size_t i = 0; i < _FS_TOOLS_N; i++)
                        request.tools[i] = FS_VERSION(6, 13, 0);
                if (fs_make_plan(&request, &plan, &err) == 0) {
                        char *line = fs_make_plan_text(&plan);

                        assert(line && plan.n_argv <= FS_MAKE_WORDS_MAX);
                        assert(strcmp(plan.argv[plan.n_argv - 1], "/dev/x") == 0);
                        free(line);
                }
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        fuzz_hosts(data, n);
        fuzz_options(data, n);
        return 0;
}
