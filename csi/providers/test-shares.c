/* SPDX-License-Identifier: Apache-2.0 */

/* What the providers of volumes that are no disks make of a request. */

#undef NDEBUG

#include "csi/providers/list.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define PAIRS_MAX 8

typedef struct NfsCase {
        StringPair pairs[PAIRS_MAX];
        const char *source; /* NULL: refused */
        const char *options;
        unsigned int mode;
        const char *message; /* part of it */
} NfsCase;

static const NfsCase nfs_cases[] = {
        {{{"server", "nas"}, {"share", "/export"}}, "nas:/export", NULL, 0, NULL},
        {{{"Server", "nas"}, {"SHARE", "/"}, {"subDir", "a"}}, "nas:/a", NULL, 0, NULL},
        {{{"server", "10.0.0.1"}, {"share", "/e//"}, {"subdir", "b/c"}},
         "10.0.0.1:/e/b/c",
         NULL,
         0,
         NULL},
        {{{"server", "fd00::1"}, {"share", "/e"}}, "[fd00::1]:/e", NULL, 0, NULL},
        {{{"server", "[fd00::1]"}, {"share", "/e"}}, "[fd00::1]:/e", NULL, 0, NULL},
        {{{"server", "nas"},
          {"share", "/e"},
          {"subdir", "${pvc.metadata.namespace}/${pvc.metadata.name}-${pv.metadata.name}-${x}"},
          {"csi.storage.k8s.io/pvc/name", "data"},
          {"csi.storage.k8s.io/pvc/namespace", "web"},
          {"csi.storage.k8s.io/pv/name", "pvc-1"}},
         "nas:/e/web/data-pvc-1-${x}",
         NULL,
         0,
         NULL},
        {{{"server", "nas"}, {"share", "/e"}, {"subdir", "${pvc.metadata.name}"}},
         "nas:/e/${pvc.metadata.name}",
         NULL,
         0,
         NULL},
        {{{"server", "nas"}, {"share", "/e"}, {"mountOptions", "nfsvers=4.1,hard"}},
         "nas:/e",
         "nfsvers=4.1,hard",
         0,
         NULL},
        {{{"server", "nas"}, {"share", "/e"}, {"mountPermissions", "0777"}},
         "nas:/e",
         NULL,
         0777,
         NULL},
        {{{"server", "nas"}, {"share", "/e"}, {"mountpermissions", "02770"}},
         "nas:/e",
         NULL,
         02770,
         NULL},
        {{{"server", "nas"}, {"share", "/e"}, {"mountPermissions", "0"}}, "nas:/e", NULL, 0, NULL},
        {{{"server", "nas"}, {"share", "/e"}, {"mountPermissions", "0999"}},
         NULL,
         NULL,
         0,
         "octal"},
        {{{"server", "nas"}, {"share", "/e"}, {"mountPermissions", "17777"}},
         NULL,
         NULL,
         0,
         "octal"},
        {{{"share", "/e"}}, NULL, NULL, 0, "[server]: missing"},
        {{{"server", "nas"}}, NULL, NULL, 0, "[share]: missing"},
        {{{"server", "-o"}, {"share", "/e"}}, NULL, NULL, 0, "expected a name"},
        {{{"server", "a/b"}, {"share", "/e"}}, NULL, NULL, 0, "expected a name"},
        {{{"server", "nas"}, {"share", "/e/../etc"}}, NULL, NULL, 0, "without \"..\""},
        {{{"server", "nas"}, {"share", ".."}}, NULL, NULL, 0, "without \"..\""},
        {{{"server", "nas"}, {"share", "../etc"}}, NULL, NULL, 0, "without \"..\""},
        {{{"server", "::1"}, {"share", ".."}}, NULL, NULL, 0, "without \"..\""},
        {{{"server", "nas"}, {"share", "."}, {"subdir", ".."}}, NULL, NULL, 0, "without \"..\""},
        {{{"server", "nas"}, {"share", "/e"}, {"subdir", "../x"}}, NULL, NULL, 0, "without \"..\""},
        {{{"server", "nas"}, {"share", "/e\n"}}, NULL, NULL, 0, "control character"},
};

static void test_nfs(void **state) {
        for (size_t i = 0; i < N_ELEMENTS(nfs_cases); i++) {
                const NfsCase *one = &nfs_cases[i];
                NodePublishRequest request = {.volume_context = {one->pairs, 0}};
                Arena *arena = NULL;
                Share share = {0};
                Error err = {0};
                Call call;
                int r;

                while (request.volume_context.n_pairs < PAIRS_MAX &&
                       one->pairs[request.volume_context.n_pairs].key)
                        request.volume_context.n_pairs++;
                assert_int_equal(arena_new(&arena, 1 << 20), 0);
                call = (Call){.arena = arena};
                r = provider_nfs.find_share(NULL, &call, &request, &share, &err);
                if (one->source) {
                        assert_int_equal(r, 0);
                        assert_string_equal(share.source, one->source);
                        assert_true(one->options ? str_equal(share.options, one->options)
                                                 : !share.options);
                        assert_int_equal(share.mode, one->mode);
                } else {
                        assert_true(r < 0);
                        assert_int_equal(err.code, ERROR_INVALID);
                        assert_non_null(strstr(err.message, one->message));
                }
                arena_free(arena);
        }
}

static void test_spiffe(void **state) {
        static const StringPair inline_pair = {"csi.storage.k8s.io/ephemeral", "true"};
        static const char *const flag = "noexec";
        const ProviderConfig config = {.workload_api_dir = "/a/b"};
        const NodePublishRequest good = {
                .readonly = true,
                .volume_context = {&inline_pair, 1},
                .capability = {.fs_type = "", .access_mode = ACCESS_MODE_SINGLE_NODE_WRITER},
        };
        NodePublishRequest bad[4] = {good, good, good, good};
        void *self = NULL;
        Share share = {0};
        Error err = {0};

        bad[0].readonly = false;
        bad[1].volume_context.n_pairs = 0;
        bad[2].capability.fs_type = "ext4";
        bad[3].capability.mount_flags = &flag;
        bad[3].capability.n_mount_flags = 1;
        assert_int_equal(provider_spiffe.open(&config, &self, &err), 0);
        assert_int_equal(provider_spiffe.find_share(self, NULL, &good, &share, &err), 0);
        assert_string_equal(share.directory, "/a/b");
        assert_true(share.is_read_only);
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                err = (Error){0};
                assert_true(provider_spiffe.find_share(self, NULL, &bad[i], &share, &err) < 0);
                assert_int_equal(err.code, ERROR_INVALID);
        }
        provider_spiffe.close(self);
}

static void test_spiffe_directory(void **state) {
        const ProviderConfig relative = {.workload_api_dir = "a/b"};
        void *self = NULL;
        Error err = {0};

        assert_true(provider_spiffe.open(&relative, &self, &err) < 0);
        assert_int_equal(err.code, ERROR_INVALID);
        assert_non_null(strstr(err.message, "a/b"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nfs),
                cmocka_unit_test(test_spiffe),
                cmocka_unit_test(test_spiffe_directory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
