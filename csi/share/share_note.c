/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/share/share_note.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/base/str.h"
#include "csi/kubelet/note.h"

#include <fcntl.h>

/* A target and two sources, each shorter than a path may be. */
#define NOTE_MAX 16384

static void note_name(const char *target, char name[SHA256_HEX_SIZE]) {
        sha256_hex(target, strlen(target), name);
}

static char *note_text(const char *target, const char *asked, const char *found) {
        return str_printf("%s\n%s\n%s\n", target, asked, found);
}

int share_note_write(const char *state_dir, const char *target, const char *asked,
                     const char *found) {
        cleanup(freep) char *text = note_text(target, asked, found);
        cleanup(closep) int fd = -1;
        char name[SHA256_HEX_SIZE];

        if (str_is_empty(state_dir))
                return 0;
        fd = note_open_directory(state_dir, "shares", true);
        if (fd < 0 || !text)
                return fd < 0 ? fd : -ENOMEM;
        note_name(target, name);
        return file_write_atomic(fd, name, text, strlen(text), 0600);
}

bool share_note_is(const char *state_dir, const char *target, const char *asked,
                   const char *found) {
        cleanup(freep) char *text = note_text(target, asked, found), *noted = NULL;
        cleanup(closep) int dir_fd = note_open_directory(state_dir, "shares", false), fd = -1;
        char name[SHA256_HEX_SIZE];

        if (dir_fd < 0 || !text)
                return false;
        note_name(target, name);
        fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        return fd >= 0 && file_read_fd(fd, NOTE_MAX, &noted, NULL) == 0 && str_equal(noted, text);
}

void share_note_remove(const char *state_dir, const char *target) {
        cleanup(closep) int fd = note_open_directory(state_dir, "shares", false);
        char name[SHA256_HEX_SIZE];

        if (fd < 0)
                return;
        note_name(target, name);
        (void)unlinkat(fd, name, 0);
}
