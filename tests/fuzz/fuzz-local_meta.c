/* SPDX-License-Identifier: Apache-2.0 */

/* Metadata of the local pool: whoever can write the pool, or a failing disk, chooses these bytes.
 */

#include "common/base/cleanup.h"
#include "csi/local/meta.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void try_kind(const uint8_t *data, size_t n, LocalKind kind, const char *stem) {
        static LocalMeta meta, again;
        cleanup(freep) char *text = NULL;
        cleanup(freep) char *same = NULL;
        Error err = {0};

        meta = again = (LocalMeta){0};
        if (local_meta_parse((const char *)data, n, kind, stem, &meta, &err) < 0) {
                assert(err.code == ERROR_INTERNAL && err.message[0]);
                return;
        }
        assert(meta.kind == kind && strcmp(meta.stem, stem) == 0);
        assert(meta.size_bytes <= LOCAL_SIZE_MAX && meta.copy.at_bytes <= meta.copy.size_bytes);
        text = local_meta_format(&meta);
        assert(text && strlen(text) < LOCAL_META_MAX);
        assert(local_meta_parse(text, strlen(text), kind, stem, &again, NULL) == 0);
        same = local_meta_format(&again);
        assert(same && strcmp(text, same) == 0);
}

static void try_name(const uint8_t *data, size_t n) {
        char name[128];

        if (n >= sizeof(name))
                return;
        memcpy(name, data, n);
        name[n] = '\0';
        for (unsigned int kind = 0; kind < _LOCAL_KIND_N; kind++) {
                if (local_stem_of_file((LocalKind)kind, name, ".img") > 0 ||
                    local_is_temporary((LocalKind)kind, name))
                        assert(!strchr(name, '/') && !strstr(name, ".."));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        try_kind(data, n, LOCAL_VOLUME, "vol-0123456789abcdef0123456789abcdef");
        try_kind(data, n, LOCAL_VOLUME, "eph-0123456789abcdef0123456789abcdef");
        try_kind(data, n, LOCAL_SNAPSHOT, "snap-0123456789abcdef0123456789abcdef");
        try_kind(data, n, LOCAL_GROUP, "grp-0123456789abcdef0123456789abcdef");
        try_name(data, n);
        return 0;
}
