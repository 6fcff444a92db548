/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a mount failed, in one sentence. The verdict speaks first, if it saw it coming. If not, the
 * errno is named with what the filesystems of this kernel mean by it, and the kernel's words, if
 * there are any, are quoted.
 */

#include "fs/verdict/explain.h"
#include "fs/formats/format.h"

#include "common/base/str.h"

#include <errno.h>
#include <stdio.h>

#define KERNEL_TEXT_MAX 160

/* What the filesystem drivers mean by it. fs/ext4, fs/xfs, fs/btrfs and fs/f2fs, 4.18 to 7.3. */
static const struct {
        int os_errno;
        bool may_help; /* retrying */
        const char *meaning;
} meanings[] = {
        {EINVAL, false, "an option or a value in the superblock that this kernel does not take"},
        {EUCLEAN, false, "the filesystem is damaged or marked as needing repair"},
        {EBADMSG, false, "a checksum in the filesystem is wrong"},
        {ENODEV, false, "the kernel has no driver for it"},
        {ENOSYS, false, "the kernel does not support this block or sector size"},
        {EOPNOTSUPP, false, "the kernel does not support a feature of it"},
        {EROFS, false, "its log must be replayed and the device is read-only"},
        {EACCES, false, "read-write was asked and the device is read-only"},
        {EPERM, false, "the plugin may not mount: it needs CAP_SYS_ADMIN"},
        {EBUSY, true, "the device is in use by another mount, filesystem or program"},
        {EIO, true,
         "the device could not be read or written, or what is on it is damaged (dmesg says which)"},
        {ENXIO, true, "the device, or the device of its journal, is gone"},
        {ENOENT, true, "the device or a device that belongs to it is missing"},
        {ENOMEM, true, "the kernel had no memory"},
        {EAGAIN, false, "an offline change of its UUID was not finished"},
        {ENOTBLK, false, "the source is not a block device"},
};

static ErrorCode meaning_of(int os_errno, const char **textp) {
        for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
                if (meanings[i].os_errno != os_errno)
                        continue;
                *textp = meanings[i].meaning;
                return meanings[i].may_help ? ERROR_UNAVAILABLE : ERROR_PRECONDITION;
        }
        *textp = "";
        return ERROR_INTERNAL;
}

/* The last line says what made it give up. */
static void kernel_line(const char *text, char line[KERNEL_TEXT_MAX]) {
        const char *last = text;
        size_t n = strlen(text);

        while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
                n--;
        for (const char *p = text; p < text + n; p++) {
                if (*p == '\n')
                        last = p + 1;
        }
        n -= (size_t)(last - text);
        snprintf(line, KERNEL_TEXT_MAX, "%.*s",
                 (int)(n < KERNEL_TEXT_MAX ? n : KERNEL_TEXT_MAX - 1), last);
        str_make_utf8(line);
}

static bool foreseen(const FsVerdict *verdict, const FsFailure *failure) {
        FsAnswer needed = failure->read_only ? FS_ANSWER_RO : FS_ANSWER_RW;

        return verdict && verdict->answer > needed;
}

ErrorCode fs_explain(const FsVolume *volume, const FsHost *host, const FsVerdict *verdict,
                     const FsFailure *failure, char text[FS_SENTENCE_MAX]) {
        char line[KERNEL_TEXT_MAX] = "";
        const char *meaning;
        ErrorCode code = meaning_of(failure->os_errno, &meaning);

        if (foreseen(verdict, failure)) {
                fs_verdict_sentence(volume, host, verdict, text);
                return ERROR_PRECONDITION;
        }
        if (failure->kernel_text)
                kernel_line(failure->kernel_text, line);
        if (failure->damage && fs_format(volume->kind)) {
                const char *repair = fs_format(volume->kind)->repair;

                snprintf(
                        text, FS_SENTENCE_MAX,
                        "%s was not mounted%s: the filesystem is damaged (%s), and the disk itself "
                        "could be read: take a snapshot, then run %s on it, unmounted",
                        volume->type, failure->read_only ? " read-only" : "", failure->damage,
                        repair ? repair : "its repair tool");
                return ERROR_PRECONDITION;
        }
        if (failure->os_errno == EINVAL && verdict && verdict->options & FS_OPTION_NOUUID &&
            !strstr(failure->options, "nouuid")) {
                snprintf(text, FS_SENTENCE_MAX,
                         "xfs was not mounted: its UUID is mounted from another device; a clone or "
                         "a restored snapshot on the node of its origin needs nouuid");
                return ERROR_PRECONDITION;
        }
        errno = failure->os_errno;
        snprintf(text, FS_SENTENCE_MAX, "%s was not mounted%s: %m%s%s%s%s%s%.80s%s", volume->type,
                 failure->read_only ? " read-only" : "", meaning[0] ? ": " : "", meaning,
                 line[0] ? "; the kernel says: " : "", line,
                 failure->options[0] ? "; options: " : "", failure->options,
                 verdict ? "" : "; its superblock was not judged");
        return code;
}
