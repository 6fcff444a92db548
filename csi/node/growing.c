/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/growing.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/kubelet/note.h"
#include "fs/volume/superblock.h"

#define NAME ".berth-grow"

static void format(Growing what, const uint8_t uuid[16], char text[64]) {
        char uuid_text[37];

        fs_uuid_format(uuid, uuid_text);
        (void)snprintf(text, 64, "berth grow%s 1\n%s\n", what == GROWING_FAILED ? " failed" : "",
                       uuid_text);
}

int growing_begin(const NodePath *path, const uint8_t uuid[16]) {
        char text[64];

        format(GROWING_CUT, uuid, text);
        return note_write(path, NAME, text);
}

int growing_fail(const NodePath *path, const uint8_t uuid[16]) {
        char text[64];

        format(GROWING_FAILED, uuid, text);
        return note_write(path, NAME, text);
}

Growing growing_read(const NodePath *path, const uint8_t uuid[16]) {
        cleanup(freep) char *text = NULL;
        char expected[64];

        if (!note_read(path, NAME, &text))
                return GROWING_NONE;
        for (Growing what = GROWING_CUT; what <= GROWING_FAILED; what++) {
                format(what, uuid, expected);
                if (str_equal(text, expected))
                        return what;
        }
        return GROWING_NONE;
}

int growing_end(const NodePath *path) {
        return note_remove(path, NAME);
}
