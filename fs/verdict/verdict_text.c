/* SPDX-License-Identifier: Apache-2.0 */
/* A verdict in words: one sentence, one reason, the way out. */

#include "fs/formats/format.h"
#include "fs/verdict/verdict.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Text that is cut where it ends, never overrun. */
typedef struct Text {
        char *text;
        size_t n, at;
} Text;

static void say(Text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(Text *t, const char *format, ...) {
        va_list args;
        int r;

        if (t->at + 1 >= t->n)
                return;
        va_start(args, format);
        r = vsnprintf(t->text + t->at, t->n - t->at, format, args);
        va_end(args);
        if (r < 0)
                return;
        t->at += (size_t)r;
        if (t->at >= t->n)
                t->at = t->n - 1;
}

const char *fs_answer_text(FsAnswer answer) {
        static const char *const texts[] = {"read-write", "read-only",
                                            "read-only without log recovery", "no"};

        return texts[answer];
}

const char *fs_answer_name(FsAnswer answer) {
        static const char *const names[] = {"rw", "ro", "ro-norecovery", "no"};

        return names[answer];
}

const char *fs_answer_options(FsAnswer answer, FsKind kind) {
        const FsFormat *format = fs_format(kind);

        if (answer == FS_ANSWER_RW || answer == FS_ANSWER_NO)
                return "";
        if (answer == FS_ANSWER_RO)
                return "ro";
        return format && format->no_recovery ? format->no_recovery : "ro";
}

/* "4K", "512", "1000" */
static void say_size(Text *t, uint64_t bytes) {
        if (bytes >= (UINT64_C(1) << 30) && bytes % (UINT64_C(1) << 20) == 0)
                say(t, "%llu MiB", (unsigned long long)(bytes >> 20));
        else if (bytes >= 1024 && bytes % 1024 == 0 && bytes < (1U << 20))
                say(t, "%lluK", (unsigned long long)(bytes >> 10));
        else
                say(t, "%llu", (unsigned long long)bytes);
}

static void say_feature(Text *t, const FsReason *reason, const FsVolume *volume) {
        const char *class = fs_class_name(volume->kind, reason->class);

        if (reason->feature)
                say(t, "%s (%s 0x%llx)", reason->feature->name, class,
                    (unsigned long long)reason->bit);
        else
                say(t, "the unknown %s bit 0x%llx", class, (unsigned long long)reason->bit);
}

/* What needs an option of the kernel: a feature, or blocks above a page. */
static void say_gated(Text *t, const FsReason *reason, const FsVolume *volume) {
        if (reason->gate != FS_GATE_THP) {
                say_feature(t, reason, volume);
                return;
        }
        say(t, "blocks of ");
        say_size(t, reason->need);
        say(t, " on pages of ");
        say_size(t, reason->have);
}

static void say_missing(Text *t, const FsReason *reason, const FsVolume *volume) {
        char need[24];

        if (volume->kind == FS_KIND_F2FS) {
                say(t, "it uses ");
                say_feature(t, reason, volume);
                say(t, ", which this kernel would ignore and misread");
                return;
        }
        if (volume->state & FS_STATE_JOURNAL_DEVICE) {
                say(t, "it is an external journal and no filesystem");
                return;
        }
        say(t, "it uses ");
        say_feature(t, reason, volume);
        if (reason->need_kernel == FS_VERSION_NEVER)
                say(t, ", which no kernel known to Berth has");
        else
                say(t, ", which needs Linux %s", fs_version_format(reason->need_kernel, need));
}

static void say_block(Text *t, const FsReason *reason, const FsVolume *volume) {
        char need[24];

        say(t, "its %s of ", volume->kind == FS_KIND_BTRFS ? "sectorsize" : "block size");
        say_size(t, reason->need);
        if (reason->feature)
                say(t, " %s %s", volume->kind == FS_KIND_BTRFS ? "without" : "with",
                    reason->feature->name);
        say(t, " on pages of ");
        say_size(t, reason->have);
        if (reason->need_kernel == FS_VERSION_NEVER)
                say(t, " is not supported");
        else
                say(t, " needs Linux %s", fs_version_format(reason->need_kernel, need));
}

static void say_tools(Text *t, const FsReason *reason, const FsVolume *volume) {
        char need[24], have[24];

        say(t, "fsck and resize of this host (%s) refuse ",
            fs_version_format((uint32_t)reason->have, have));
        say_feature(t, reason, volume);
        if (reason->need != FS_VERSION_NEVER)
                say(t, ", which needs %s", fs_version_format((uint32_t)reason->need, need));
}

static void say_ro_format(Text *t, const FsReason *reason, const FsVolume *volume) {
        if (reason->feature)
                say(t, "its %s feature makes every mount read-only", reason->feature->name);
        else if (volume->state & FS_STATE_SEED)
                say(t, "it is a btrfs seed device");
        else if (volume->state & FS_STATE_FORCED_RO && volume->kind == FS_KIND_XFS)
                say(t, "its superblock says read-only");
        else if (volume->state & FS_STATE_FORCED_RO)
                say(t, "its revision is newer than the kernel's");
        else
                say(t, "%s is a read-only format", volume->type);
}

/* Reasons about the state of the volume, which need no numbers. NULL: not one of them. */
static const char *state_text(const FsReason *reason, const FsVolume *volume) {
        switch (reason->kind) {
        case FS_REASON_DRIVER:
                return "its kernel has no driver for it";
        case FS_REASON_CHECKSUM:
                return "the checksum of its superblock is wrong";
        case FS_REASON_REPAIR:
                return volume->state & FS_STATE_IN_PROGRESS
                               ? "an offline operation on it (mkfs, grow) was not finished"
                               : "it is marked as needing repair";
        case FS_REASON_LOG_RO:
                return "its log must be replayed and the device is read-only";
        case FS_REASON_LOG_ORDER:
                return "its log must be replayed and was written by a host of the other byte order";
        case FS_REASON_LOG_DEVICE:
                return "its journal is on another device";
        case FS_REASON_RT_DEVICE:
                return "it needs its realtime device";
        case FS_REASON_RO_DEVICE:
                return "the device is read-only";
        case FS_REASON_SHUTS_DOWN:
                return "its superblock does not fit what is on it: the kernel gives up at the "
                       "first write";
        case FS_REASON_ORPHAN_FILE:
                return "its orphan file has more than 512 blocks, which drivers refuse since the "
                       "end of 2025";
        case FS_REASON_GROUPS:
                return "the checksum of its group descriptors is wrong";
        case FS_REASON_LOG_DAMAGED:
                return volume->kind == FS_KIND_EXT ? "its journal is damaged"
                                                   : "its log is damaged";
        case FS_REASON_MMP_BLOCK:
                return "its multi-mount protection block is damaged";
        case FS_REASON_MMP:
                return "its multi-mount protection says in use: the mount waits about 45 s";
        case FS_REASON_ERRORS:
                return "it recorded errors: check it";
        case FS_REASON_FEATURE:
        case FS_REASON_GATE:
        case FS_REASON_BLOCK_SIZE:
        case FS_REASON_SECTOR_SIZE:
        case FS_REASON_SIZE:
        case FS_REASON_MALFORMED:
        case FS_REASON_UUID:
        case FS_REASON_DEVICES:
        case FS_REASON_RO_FORMAT:
        case FS_REASON_SUPER_FLAGS:
        case FS_REASON_AFTER_CRASH:
        case FS_REASON_FIRST_MOUNT:
        case FS_REASON_TOOLS:
        case FS_REASON_MANY_GROUPS:
        case FS_REASON_EXPERIMENTAL:
        case FS_REASON_UNCONFIRMED:
        case _FS_REASON_N:
                break;
        }
        return NULL;
}

static void say_note(Text *t, const FsReason *reason, const FsVolume *volume) {
        char need[24];

        if (reason->kind == FS_REASON_AFTER_CRASH) {
                say(t, "if a newer node crashes with it mounted, ");
                say_feature(t, reason, volume);
                say(t, " makes it need Linux %s", fs_version_format(reason->need_kernel, need));
        } else if (reason->kind == FS_REASON_FIRST_MOUNT) {
                say(t, "once a newer kernel mounts it read-write, ");
                say_feature(t, reason, volume);
                say(t, " makes its journal need Linux %s",
                    fs_version_format(reason->need_kernel, need));
        } else if (reason->kind == FS_REASON_TOOLS) {
                say_tools(t, reason, volume);
        } else if (reason->kind == FS_REASON_MANY_GROUPS) {
                say(t,
                    "it grew from much less and has %llu allocation groups, which slow down mounts",
                    (unsigned long long)reason->have);
        } else if (reason->kind == FS_REASON_EXPERIMENTAL && reason->feature) {
                say(t, "this kernel calls %s experimental", reason->feature->name);
        } else if (reason->kind == FS_REASON_EXPERIMENTAL) {
                say(t, "this kernel calls blocks of ");
                say_size(t, reason->need);
                say(t, " on pages of ");
                say_size(t, reason->have);
                say(t, " experimental");
        } else {
                say_gated(t, reason, volume);
                say(t, " %s %s, %s", reason->gate == FS_GATE_THP ? "need" : "needs",
                    fs_gate_text(reason->gate),
                    reason->confidence == FS_CONFIDENCE_MEDIUM
                            ? "with which kernels of this name are usually built"
                            : "and this host's configuration is not known");
        }
}

static void say_reason(Text *t, const FsReason *reason, const FsVolume *volume) {
        const char *plain = state_text(reason, volume);

        if (plain) {
                say(t, "%s", plain);
                return;
        }
        switch (reason->kind) {
        case FS_REASON_FEATURE:
                say_missing(t, reason, volume);
                break;
        case FS_REASON_GATE:
                say(t, "it uses ");
                say_gated(t, reason, volume);
                say(t, ", and the kernel %s built without %s",
                    reason->confidence == FS_CONFIDENCE_HIGH ? "was" : "is usually",
                    fs_gate_text(reason->gate));
                break;
        case FS_REASON_BLOCK_SIZE:
                say_block(t, reason, volume);
                break;
        case FS_REASON_SECTOR_SIZE:
                if (reason->need_kernel) {
                        char need[24];

                        say(t, "sectors of ");
                        say_size(t, reason->need);
                        say(t, " on pages of ");
                        say_size(t, reason->have);
                        say(t, " need Linux %s", fs_version_format(reason->need_kernel, need));
                        break;
                }
                say(t, "it was made for sectors of ");
                say_size(t, reason->have);
                say(t, " and the device has sectors of ");
                say_size(t, reason->need);
                break;
        case FS_REASON_SIZE:
                say(t, "it is ");
                say_size(t, reason->need);
                say(t, " bytes and the device only ");
                say_size(t, reason->have);
                break;
        case FS_REASON_MALFORMED:
                say(t, "its superblock is damaged (%s)",
                    volume->problem[0] ? volume->problem : "realtime inodes");
                break;
        case FS_REASON_UUID:
                say(t, "%s",
                    volume->state & FS_STATE_NIL_UUID
                            ? "its UUID is all zeros"
                            : "a filesystem with the same UUID is mounted from another device");
                break;
        case FS_REASON_DEVICES:
                say(t, "it spans %llu devices", (unsigned long long)reason->need);
                break;
        case FS_REASON_RO_FORMAT:
                say_ro_format(t, reason, volume);
                break;
        case FS_REASON_SUPER_FLAGS:
                say(t, "an offline conversion of it was not finished (super flags 0x%llx)",
                    (unsigned long long)reason->bit);
                break;
        case FS_REASON_AFTER_CRASH:
        case FS_REASON_FIRST_MOUNT:
        case FS_REASON_TOOLS:
        case FS_REASON_MANY_GROUPS:
        case FS_REASON_EXPERIMENTAL:
        case FS_REASON_UNCONFIRMED:
        case FS_REASON_SHUTS_DOWN:
        case FS_REASON_ORPHAN_FILE:
        case FS_REASON_GROUPS:
        case FS_REASON_LOG_DAMAGED:
        case FS_REASON_DRIVER:
        case FS_REASON_CHECKSUM:
        case FS_REASON_REPAIR:
        case FS_REASON_LOG_RO:
        case FS_REASON_LOG_ORDER:
        case FS_REASON_LOG_DEVICE:
        case FS_REASON_RT_DEVICE:
        case FS_REASON_RO_DEVICE:
        case FS_REASON_MMP_BLOCK:
        case FS_REASON_MMP:
        case FS_REASON_ERRORS:
        case _FS_REASON_N:
                say_note(t, reason, volume);
                break;
        }
}

/* The tool that repairs, by name and safe switches. */
static const char *repair_command(FsKind kind) {
        const FsFormat *format = fs_format(kind);

        return format && format->repair ? format->repair : "its fsck";
}

static void say_feature_way_out(Text *t, const FsReason *reason) {
        char need[24];
        bool kernel =
                reason->need_kernel != FS_VERSION_NEVER && reason->need_kernel != FS_VERSION_ANY;

        if (kernel)
                say(t, "use a node with Linux %s or later",
                    fs_version_format(reason->need_kernel, need));
        if (reason->feature && reason->feature->undo)
                say(t, "%son a node that has it, unmounted: %s", kernel ? ", or " : "",
                    reason->feature->undo);
        else if (reason->feature && reason->feature->mkfs_off)
                say(t, "%scopy the data to a volume made with %s", kernel ? ", or " : "",
                    reason->feature->mkfs_off);
        else if (!kernel)
                say(t, "mount it where it was made");
}

static void say_block_way_out(Text *t, const FsReason *reason, const FsVolume *volume) {
        if (reason->need > reason->have || reason->need_kernel == FS_VERSION_NEVER) {
                say(t, "use a node with pages of ");
                say_size(t, reason->need);
                return;
        }
        say_feature_way_out(t, reason);
        if (reason->feature && volume->kind == FS_KIND_BTRFS)
                say(t, ", or mount it once with space_cache=v2 on one with pages of 4K");
}

static void say_sector_way_out(Text *t, const FsReason *reason) {
        if (reason->need_kernel) {
                say(t, "use a node with that kernel, or with pages as large");
                return;
        }
        say(t, "attach it with sectors of ");
        say_size(t, reason->have);
        say(t, ", or copy the data to a volume made with blocks and sectors of 4K");
}

static void say_way_out(Text *t, const FsReason *reason, const FsVolume *volume) {
        switch (reason->kind) {
        case FS_REASON_FEATURE:
                say_feature_way_out(t, reason);
                break;
        case FS_REASON_GATE:
                say(t, "use a node whose kernel has %s", fs_gate_text(reason->gate));
                if (reason->feature && reason->feature->undo)
                        say(t, ", or there: %s", reason->feature->undo);
                break;
        case FS_REASON_DRIVER:
                say(t, "use a node whose kernel has %s", volume->type);
                break;
        case FS_REASON_BLOCK_SIZE:
                say_block_way_out(t, reason, volume);
                break;
        case FS_REASON_SECTOR_SIZE:
                say_sector_way_out(t, reason);
                break;
        case FS_REASON_SIZE:
                say(t, "check that this is the right device and that all of it is attached");
                break;
        case FS_REASON_CHECKSUM:
        case FS_REASON_MALFORMED:
        case FS_REASON_REPAIR:
        case FS_REASON_SHUTS_DOWN:
        case FS_REASON_GROUPS:
        case FS_REASON_LOG_DAMAGED:
        case FS_REASON_MMP_BLOCK:
        case FS_REASON_ERRORS:
                say(t, "take a snapshot, then run %s on it unmounted",
                    repair_command(volume->kind));
                break;
        case FS_REASON_ORPHAN_FILE:
                say(t, "run tune2fs -O ^orphan_file on it unmounted");
                break;
        case FS_REASON_LOG_RO:
                say(t, "attach it writable once, or mount it with %s",
                    fs_answer_options(FS_ANSWER_RO_NORECOVERY, volume->kind));
                break;
        case FS_REASON_LOG_ORDER:
                say(t, "mount and unmount it once on a %s node",
                    volume->log_order == FS_BYTE_ORDER_BIG ? "big-endian (s390x)"
                                                           : "little-endian");
                break;
        case FS_REASON_LOG_DEVICE:
        case FS_REASON_RT_DEVICE:
        case FS_REASON_DEVICES:
                say(t, "a volume here is one device: copy the data to one");
                break;
        case FS_REASON_UUID:
                if (volume->state & FS_STATE_NIL_UUID) {
                        say(t, "xfs_admin -U generate on it unmounted, or mount it with nouuid");
                        break;
                }
                say(t, "%s",
                    volume->kind == FS_KIND_XFS
                            ? "mount it with nouuid"
                            : "unmount the other, or use a node with Linux 6.7");
                break;
        case FS_REASON_RO_DEVICE:
                say(t, "ask for a read-only mount, or attach it writable");
                break;
        case FS_REASON_RO_FORMAT:
                if (reason->feature && reason->feature->undo)
                        say(t, "%s, unmounted", reason->feature->undo);
                else
                        say(t, "ask for a read-only mount");
                break;
        case FS_REASON_SUPER_FLAGS:
                say(t, "finish it with the btrfstune that began it");
                break;
        case FS_REASON_AFTER_CRASH:
        case FS_REASON_FIRST_MOUNT:
                if (reason->feature && reason->feature->undo)
                        say(t, "to avoid it, unmounted: %s", reason->feature->undo);
                break;
        case FS_REASON_TOOLS:
                say(t, "install newer tools");
                break;
        case FS_REASON_MANY_GROUPS:
                say(t, "copy the data to a volume that was made for its size (fs plan --grow-to)");
                break;
        case FS_REASON_MMP:
        case FS_REASON_EXPERIMENTAL:
        case FS_REASON_UNCONFIRMED:
        case _FS_REASON_N:
                break;
        }
}

size_t fs_reason_format(const FsReason *reason, const FsVolume *volume, const FsHost *host,
                        char *text, size_t n) {
        Text t = {.text = text, .n = n};

        (void)host;
        text[0] = '\0';
        say_reason(&t, reason, volume);
        return t.at;
}

size_t fs_reason_way_out(const FsReason *reason, const FsVolume *volume, const FsHost *host,
                         char *text, size_t n) {
        Text t = {.text = text, .n = n};

        (void)host;
        text[0] = '\0';
        say_way_out(&t, reason, volume);
        return t.at;
}

char *fs_reason_short(const FsReason *reason, char text[16]) {
        static const char *const names[_FS_REASON_N] = {
                [FS_REASON_DRIVER] = "no driver",      [FS_REASON_SECTOR_SIZE] = "sector size",
                [FS_REASON_SIZE] = "too short",        [FS_REASON_CHECKSUM] = "checksum",
                [FS_REASON_MALFORMED] = "damaged",     [FS_REASON_REPAIR] = "needs repair",
                [FS_REASON_LOG_RO] = "log, ro device", [FS_REASON_LOG_ORDER] = "log byte order",
                [FS_REASON_LOG_DEVICE] = "log device", [FS_REASON_RT_DEVICE] = "rt device",
                [FS_REASON_UUID] = "same UUID",        [FS_REASON_DEVICES] = "devices",
                [FS_REASON_RO_DEVICE] = "ro device",   [FS_REASON_RO_FORMAT] = "ro format",
                [FS_REASON_MMP_BLOCK] = "MMP block",   [FS_REASON_SUPER_FLAGS] = "conversion",
                [FS_REASON_SHUTS_DOWN] = "damaged",    [FS_REASON_LOG_DAMAGED] = "log damaged",
                [FS_REASON_GROUPS] = "groups",         [FS_REASON_ORPHAN_FILE] = "orphan file",
                [FS_REASON_ERRORS] = "errors",         [FS_REASON_MMP] = "MMP",
        };

        if (reason->kind == FS_REASON_BLOCK_SIZE || reason->gate == FS_GATE_THP)
                snprintf(text, 16, "block %uK", (unsigned int)(reason->need >> 10) & 0xffffU);
        else if (reason->feature)
                snprintf(text, 16, "%s", reason->feature->name);
        else if (names[reason->kind])
                snprintf(text, 16, "%s", names[reason->kind]);
        else
                snprintf(text, 16, "0x%llx", (unsigned long long)reason->bit);
        return text;
}

/* Several bits that one kernel brings are told together. Returns how many reasons were told. */
static size_t say_features_together(Text *t, const FsVolume *volume, const FsVerdict *verdict,
                                    const FsReason **deciderp) {
        const FsReason *decider = &verdict->reasons[0];
        size_t n = 0, last = 0;
        char need[24];

        for (size_t i = 0; i < verdict->n_reasons; i++) {
                const FsReason *reason = &verdict->reasons[i];

                if (reason->limit != verdict->answer || reason->kind != FS_REASON_FEATURE ||
                    !reason->feature || reason->need_kernel == FS_VERSION_NEVER)
                        break;
                last = i;
                if (reason->need_kernel > decider->need_kernel)
                        decider = reason;
        }
        if (last == 0)
                return 0;
        say(t, "it uses ");
        for (size_t i = 0; i <= last && i < 5; i++, n++) {
                say(t, "%s", i == 0 ? "" : i == last ? " and " : ", ");
                say_feature(t, &verdict->reasons[i], volume);
        }
        say(t, ", which need Linux %s", fs_version_format(decider->need_kernel, need));
        *deciderp = decider;
        return n;
}

void fs_verdict_sentence(const FsVolume *volume, const FsHost *host, const FsVerdict *verdict,
                         char text[FS_SENTENCE_MAX]) {
        Text t = {.text = text, .n = FS_SENTENCE_MAX};
        const FsReason *decider = &verdict->reasons[0];
        size_t told;

        text[0] = '\0';
        if (verdict->answer == FS_ANSWER_RW) {
                say(&t, "%s mounts read-write on %s", volume->type, host->name);
                if (verdict->n_reasons) {
                        say(&t, "; ");
                        say_reason(&t, decider, volume);
                }
                return;
        }
        say(&t,
            verdict->answer == FS_ANSWER_NO ? "%s cannot be mounted on %s"
                                            : "%s can only be mounted %s on %s",
            volume->type,
            verdict->answer == FS_ANSWER_NO ? host->name : fs_answer_text(verdict->answer),
            host->name);
        if (host->is_this_node)
                say(&t, " (Linux %.40s)", host->release);
        say(&t, ": ");
        told = say_features_together(&t, volume, verdict, &decider);
        if (told == 0) {
                say_reason(&t, decider, volume);
                told = 1;
        }
        if (verdict->n_reasons > told && verdict->reasons[told].limit == verdict->answer) {
                say(&t, "; also ");
                say_reason(&t, &verdict->reasons[told], volume);
        }
        say(&t, ". Way out: ");
        say_way_out(&t, decider, volume);
}
