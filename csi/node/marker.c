/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/marker.h"
#include "fs/formats/format.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "csi/kubelet/note.h"

#include <fcntl.h>
#include <inttypes.h>

#define MARKER_NAME ".berth-format"

static const char *kind_name(FsKind kind) {
        return kind == FS_CLAIM_LUKS ? "luks" : fs_kind_name(kind);
}

/* The whole file is compared, so that only what is being made needs to be parsed. NULL without
 * memory or boot id. */
static char *marker_text(const Marker *marker) {
        cleanup(freep) char *boot = NULL;
        char uuid[37];

        if (file_read_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot, NULL) < 0)
                return NULL;
        str_trim_end(boot);
        fs_uuid_format(marker->claim.uuid, uuid);
        return str_printf("berth format 2\nkind %s\nuuid %s\nboot %s\ndisk %" PRIu64
                          "\nsize %" PRIu64 "\nvolume %s\n",
                          kind_name(marker->claim.kind), uuid, boot, marker->sequence,
                          marker->size_bytes, marker->volume_id);
}

void marker_claim_parse(const char *text, FsClaim *claim) {
        const char *kind = strstr(text, "\nkind "), *uuid = strstr(text, "\nuuid ");

        *claim = (FsClaim){0};
        if (!kind || !uuid)
                return;
        kind += strlen("\nkind ");
        uuid += strlen("\nuuid ");
        (void)fs_uuid_parse(uuid, strcspn(uuid, "\n"), claim->uuid);
        for (FsKind i = FS_KIND_NONE; i <= FS_CLAIM_LUKS; i++)
                if (strcspn(kind, "\n") == strlen(kind_name(i)) &&
                    strncmp(kind, kind_name(i), strlen(kind_name(i))) == 0)
                        claim->kind = i;
}

bool marker_read(const NodePath *path, Marker *marker) {
        cleanup(freep) char *expected = NULL, *text = NULL;

        if (marker->sequence == 0 || !note_read(path, MARKER_NAME, &text))
                return false;
        marker_claim_parse(text, &marker->claim);
        expected = marker_text(marker);
        return expected && str_equal(text, expected);
}

bool marker_exists(const NodePath *path) {
        cleanup(freep) char *text = NULL;

        return note_read(path, MARKER_NAME, &text);
}

bool marker_names(const NodePath *path, const char *volume_id) {
        cleanup(freep) char *expected = str_printf("\nvolume %s\n", volume_id);
        cleanup(freep) char *text = NULL;

        /* Without memory any is believed to be it. */
        return note_read(path, MARKER_NAME, &text) && (!expected || str_has_suffix(text, expected));
}

int marker_write(const NodePath *path, const Marker *marker) {
        cleanup(freep) char *text = NULL;

        if (marker->sequence == 0)
                return 0;
        text = marker_text(marker);
        return text ? note_write(path, MARKER_NAME, text) : -ENOMEM;
}

int marker_remove(const NodePath *path) {
        return note_remove(path, MARKER_NAME);
}
