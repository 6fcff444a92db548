/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/growing.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/kubelet/note.h"
#include "fs/volume/superblock.h"

#define NAME ".berth-grow"

static void format(const uint8_t uuid[16], char text[64]) {
        char uuid_text[37];

        fs_uuid_format(uuid, uuid_text);
        (void)snprintf(text, 64, "berth grow 1\n%s\n", uuid_text);
}

int growing_begin(const NodePath *path, const uint8_t uuid[16]) {
        char text[64];

        format(uuid, text);
        return note_write(path, NAME, text);
}

bool growing_was_cut(const NodePath *path, const uint8_t uuid[16]) {
        cleanup(freep) char *text = NULL;
        char expected[64];

        format(uuid, expected);
        return note_read(path, NAME, &text) && str_equal(text, expected);
}

int growing_end(const NodePath *path) {
        return note_remove(path, NAME);
}
