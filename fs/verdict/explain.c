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
        {EIO, true, "the device could not be read or written"},
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

bool fs_explain_mounted(const FsVolume *before, const FsVolume *after, bool asked_rw, bool is_ro,
                        char text[FS_SENTENCE_MAX]) {
        text[0] = '\0';
        if (asked_rw && is_ro) {
                if (before->state & FS_STATE_FORCED_RO)
                        snprintf(
                                text, FS_SENTENCE_MAX,
                                "%s was mounted read-only: its revision is newer than the kernel's",
                                before->type);
                else
                        snprintf(text, FS_SENTENCE_MAX,
                                 "%s was mounted read-only although read-write was asked: its "
                                 "read-only feature is set, or the kernel found errors",
                                 before->type);
                return true;
        }
        for (FsClass class = 0; class < _FS_CLASS_N; class ++) {
                uint64_t raised = after->words[class] & ~before->words[class];

                for (; raised; raised &= raised - 1) {
                        const FsFeature *f =
                                fs_feature_find(after->kind, class, raised & (0 - raised));
                        char need[24];

                        if (!f || f->flags & FS_FEATURE_STATE || f->rw_since == FS_VERSION_ANY)
                                continue;
                        snprintf(text, FS_SENTENCE_MAX,
                                 "mounting set %s (%s 0x%llx) on the %s: %s needs Linux %s",
                                 f->name, fs_class_name(after->kind, class),
                                 (unsigned long long)f->bit, after->type,
                                 f->flags & FS_FEATURE_WHILE_MOUNTED
                                         ? "while mounted and after a crash, it"
                                         : "from now on it",
                                 fs_version_format(f->rw_since, need));
                        return true;
                }
        }
        return false;
}
