/* SPDX-License-Identifier: Apache-2.0 */

/* Texts that come with a volume or stand beside it: the first byte says which reader gets the rest,
 * lines of "key=value" for what is a map. */

#include "common/base/cleanup.h"
#include "csi/kubelet/view.h"
#include "csi/local/pool.h"
#include "csi/local/pool_identity.h"
#include "csi/local/spec.h"
#include "csi/node/marker.h"
#include "csi/node/options.h"
#include "csi/providers/list.h"
#include "fs/hosts/cluster.h"
#include "fs/tools/tools.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define PAIRS_MAX   16
#define ARENA_BYTES (1U << 20)

static size_t take_pairs(char *text, StringPair pairs[PAIRS_MAX]) {
        size_t n = 0;
        char *line;

        while (n < PAIRS_MAX && (line = strsep(&text, "\n"))) {
                char *value = strchr(line, '=');

                if (value)
                        *value++ = '\0';
                pairs[n++] = (StringPair){line, value ? value : ""};
        }
        return n;
}

/* Whatever server, share and subdir say, the source is below the share, and one word. */
static void share(char *text, size_t n) {
        StringPair pairs[PAIRS_MAX];
        NodePublishRequest request = {.volume_context = {pairs, take_pairs(text, pairs)}};
        MountOptions options = {0};
        Share share = {0};
        Error err = {0};
        Call call = {0};

        assert(arena_new(&call.arena, ARENA_BYTES) == 0);
        if (provider_nfs.find_share(NULL, &call, &request, &share, &err) == 0) {
                const char *path = strstr(share.source, ":/");

                assert(!strpbrk(share.server, "/, ") && share.mode <= 07777);
                assert(!path || !strstr(path, "/../"));
                if (options_from_capability(&options, &request.capability, share.options, &err) ==
                    0)
                        assert((options.set | options.clear) & MOUNT_FLAG_NO_SUID);
        } else {
                assert(error_is_set(&err));
        }
        arena_free(call.arena);
}

static void class(char *text, size_t n) {
        StringPair pairs[PAIRS_MAX];
        const StringMap parameters = {pairs, take_pairs(text, pairs)};
        LocalSpec spec = {0};
        PoolPart part = {0};
        Error err = {0};

        if (local_spec_add_parameters(&spec, &parameters, n % 2 == 1, &err) < 0)
                assert(error_is_set(&err));
        (void)pool_parse_part("x", parameters.pairs[0].value, &part, &err);
}

/* The words of an ext superblock. */
static void own_options(char *text, size_t n) {
        MountOptions mount = {0};
        Error err = {0};

        if (n % 3 == 0)
                options_add_for(&mount, "ext4");
        if (options_check_own("/dev/x", text, &mount, n % 2 == 0, &err) < 0) {
                assert(error_is_set(&err));
                return;
        }
        for (char *word; (word = strsep(&text, ","));)
                assert(strcmp(word, "journal_async_commit") != 0 && strcmp(word, "abort") != 0);
}

static void tool(char *text, size_t n) {
        char line[128];

        fs_tool_first_line(text, text + strlen(text), line, sizeof(line));
        assert(memchr(line, '\0', sizeof(line)) && !strchr(line, '\n'));
}

static void process(char *text, size_t n) {
        const char *root = kubelet_view_root_argument(text, n);
        size_t n_root = 0;

        assert(root);
        if (kubelet_view_root_of(text, &n_root))
                assert(n_root <= strlen(text));
}

static void marker(char *text, size_t n) {
        FsClaim claim;

        marker_claim_parse(text, &claim);
        assert(claim.kind <= FS_CLAIM_LUKS);
}

static void pool(char *text, size_t n) {
        char uuid[POOL_UUID_SIZE];
        PoolNote note;
        Error err = {0};

        if (pool_json_parse(text, "/pool", uuid, &err) == 0)
                assert(uuid[0] == '\0' || pool_uuid_is_valid(uuid));
        (void)pool_note_parse(text, "/pool", &note);
        assert(note.uuid[0] == '\0' || pool_uuid_is_valid(note.uuid));
}

static void page_sizes(char *text, size_t n) {
        uint32_t sizes[FS_PAGE_SIZES_MAX];

        (void)fs_page_sizes_parse(text, sizes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        static void (*const readers[])(char *text, size_t n) = {
                share, class, own_options, tool, process, marker, pool, page_sizes};
        char *text;

        if (n == 0)
                return 0;
        text = malloc(n);
        assert(text);
        memcpy(text, data + 1, n - 1);
        text[n - 1] = '\0';
        readers[data[0] % N_ELEMENTS(readers)](text, n - 1);
        free(text);
        return 0;
}
