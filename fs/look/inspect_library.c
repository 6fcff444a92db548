/* SPDX-License-Identifier: Apache-2.0 */
/* What libblkid adds: every signature it knows, told apart from "could not look". */

#include "fs/look/inspect_internal.h"

#include "common/base/cleanup.h"
#include "common/block/block_probe.h"

#include <stdio.h>

int fs_inspect_library(int fd, const char *without, FsInspection *out) {
        cleanup(freep) BlockProbe *probe = malloc(sizeof(*probe));
        int r;

        if (!probe)
                return -ENOMEM;
        r = block_probe_without(fd, without, probe);
        if (r < 0)
                return r;
        for (size_t i = 0; i < probe->n_signatures; i++) {
                const BlockSignature *found = &probe->signatures[i];
                FsHit hit = {.offset = found->offset, .bad_checksum = found->is_bad_checksum};

                snprintf(hit.type, sizeof(hit.type), "%s", found->type);
                snprintf(hit.usage, sizeof(hit.usage), "%s", found->usage);
                inspect_hit(out, &hit);
        }
        return 0;
}
