/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the feature words of a superblock ask of a kernel: the bits it must have, the options it
 * must be built with, the bits that its first mount or a crash adds, and the bits that tools must
 * have.
 */

#include "fs/verdict/verdict_internal.h"

#include <errno.h>

#define EXT_COMPAT_JOURNAL  0x4U
#define EXT_INCOMPAT_FOLD   0x20000U
#define F2FS_CRYPT          0x1U
#define F2FS_FOLD           0x1000U
#define BTRFS_RO_GROUP_TREE 0x8U

/* Before 5.15 a V5 superblock's V4 words were not looked at. */
static bool is_ignored_word(const VerdictCase *c, FsClass class) {
        return c->volume->kind == FS_KIND_XFS && c->host->kernel < K(5, 15) &&
               c->volume->words[FS_CLASS_VERSION] == 1U << 5 &&
               (class == FS_CLASS_VERSIONNUM || class == FS_CLASS_FEATURES2);
}

/* In a series that took such a change at a number that is not known. */
static FsConfidence missing_confidence(const VerdictCase *c, FsClass class, uint64_t bit) {
        FsHas has = FS_HAS;

        if (c->volume->kind == FS_KIND_XFS && class == FS_CLASS_COMPAT)
                has = fs_kernel_has(FS_CHANGE_XFS_WRITES_COMPAT, c->host->kernel);
        else if (c->volume->kind == FS_KIND_XFS && class == FS_CLASS_RO_COMPAT &&
                 c->volume->log == FS_LOG_DIRTY)
                has = fs_kernel_has(FS_CHANGE_XFS_RO_RECOVERY, c->host->kernel);
        else if (c->volume->kind == FS_KIND_BTRFS && class == FS_CLASS_RO_COMPAT &&
                 bit == BTRFS_RO_GROUP_TREE)
                has = fs_kernel_has(FS_CHANGE_BTRFS_MAKES_GROUPS, c->host->kernel);
        return has == FS_HAS_MAYBE ? FS_CONFIDENCE_LOW : FS_CONFIDENCE_HIGH;
}

/* What a bit that the kernel does not have leaves. */
static FsAnswer missing_limit(const VerdictCase *c, FsClass class, uint64_t bit,
                              const FsFeature *f) {
        bool dirty = c->volume->log == FS_LOG_DIRTY;
        uint32_t kernel = c->host->kernel;

        if (is_ignored_word(c, class))
                return FS_ANSWER_RW;
        switch (fs_class_unknown(c->volume->kind, class)) {
        case FS_UNKNOWN_IGNORED:
                return c->volume->kind == FS_KIND_XFS &&
                                       fs_kernel_has(FS_CHANGE_XFS_WRITES_COMPAT, kernel) != FS_HAS
                               ? FS_ANSWER_RO
                               : FS_ANSWER_RW;
        case FS_UNKNOWN_RO:
                /* Kernels without the tree only mount it where they make up block groups. */
                if (c->volume->kind == FS_KIND_BTRFS && bit == BTRFS_RO_GROUP_TREE) {
                        if (fs_kernel_has(FS_CHANGE_BTRFS_MAKES_GROUPS, kernel) != FS_HAS)
                                return FS_ANSWER_NO;
                } else if (f && f->ro_since > kernel) {
                        return FS_ANSWER_NO;
                }
                /* Recovery writes the superblock: XFS before 6.1 checks the bits even then, and
                 * btrfs refuses to replay a tree it does not fully know. */
                if (dirty && c->volume->kind == FS_KIND_XFS &&
                    fs_kernel_has(FS_CHANGE_XFS_RO_RECOVERY, kernel) != FS_HAS)
                        return FS_ANSWER_RO_NORECOVERY;
                if (dirty && c->volume->kind == FS_KIND_BTRFS)
                        return FS_ANSWER_RO_NORECOVERY;
                return FS_ANSWER_RO;
        case FS_UNKNOWN_RO_NORECOVERY:
                /* XFS looks at log bits when there is a log to recover; else it mounts, and shuts
                 * down when it first writes the superblock. */
                if (c->volume->kind == FS_KIND_XFS && !dirty)
                        return FS_ANSWER_RO;
                return FS_ANSWER_RO_NORECOVERY;
        case FS_UNKNOWN_NO:
        case FS_UNKNOWN_MISREAD:
                break;
        }
        return FS_ANSWER_NO;
}

/* erofs_load_compr_cfgs() said EINVAL; z_erofs_parse_cfgs(), which came with 6.7, EOPNOTSUPP. */
static int missing_compressor_errno(uint32_t kernel) {
        if (kernel < K(6, 6))
                return EINVAL;
        return kernel >= K(6, 7) ? EOPNOTSUPP : 0;
}

static int missing_errno(const VerdictCase *c, FsClass class) {
        if (c->volume->kind == FS_KIND_EROFS && class == FS_CLASS_ALGORITHM)
                return missing_compressor_errno(c->host->kernel);
        if (fs_class_unknown(c->volume->kind, class) == FS_UNKNOWN_MISREAD ||
            class == FS_CLASS_COMPAT)
                return 0;
        if (c->volume->kind == FS_KIND_XFS && class == FS_CLASS_LOG_INCOMPAT &&
            c->volume->log != FS_LOG_DIRTY)
                return 0;
        return EINVAL;
}

static void judge_gate(const VerdictCase *c, FsClass class, const FsFeature *f) {
        FsConfidence confidence;
        bool on = fs_host_gate(c->host, f->gate, &confidence);
        FsReason reason = {
                .class = class,
                .bit = f->bit,
                .feature = f,
                .gate = f->gate,
                .evidence = c->host->gate_evidence[f->gate],
                .confidence = confidence,
        };

        if (on && confidence == FS_CONFIDENCE_HIGH)
                return;
        reason.kind = FS_REASON_UNCONFIRMED;
        if (!on && fs_gates[f->gate].blocks_mount) {
                reason.kind = FS_REASON_GATE;
                reason.limit = f->flags & FS_FEATURE_GATE_RO_OK ? FS_ANSWER_RO : FS_ANSWER_NO;
                reason.os_errno = f->gate == FS_GATE_XFS_RT ? ENOSYS : EINVAL;
                if (c->volume->kind == FS_KIND_EROFS && class == FS_CLASS_ALGORITHM)
                        reason.os_errno = missing_compressor_errno(c->host->kernel);
        }
        if (on || fs_gates[f->gate].blocks_mount)
                verdict_add(c, reason);
}

static void judge_bit(const VerdictCase *c, FsClass class, uint64_t bit) {
        const FsFeature *f = fs_feature_find(c->volume->kind, class, bit);
        FsEvidence evidence;
        bool has = fs_host_has(c->host, c->volume->kind, class, bit, &evidence);
        FsReason reason = {
                .kind = FS_REASON_FEATURE,
                .class = class,
                .bit = bit,
                .feature = f,
                .need_kernel = f ? f->rw_since : FS_VERSION_NEVER,
                .evidence = evidence,
                .confidence = f ? f->confidence : FS_CONFIDENCE_HIGH,
        };

        if (!has) {
                reason.limit = missing_limit(c, class, bit, f);
                reason.os_errno = missing_errno(c, class);
                reason.confidence = missing_confidence(c, class, bit) == FS_CONFIDENCE_LOW
                                            ? FS_CONFIDENCE_LOW
                                            : reason.confidence;
                if (reason.limit != FS_ANSWER_RW)
                        verdict_add(c, reason);
                return;
        }
        if (!f)
                return;
        if (f->flags & FS_FEATURE_FORCES_RO) {
                reason.kind = FS_REASON_RO_FORMAT;
                reason.limit = FS_ANSWER_RO;
                reason.os_errno = c->volume->kind == FS_KIND_F2FS ? EROFS : 0;
                verdict_add(c, reason);
        }
        if (f->flags & FS_FEATURE_EXPERIMENTAL && f->gate == FS_GATE_NONE &&
            c->host->kernel < K(7, 3)) {
                reason.kind = FS_REASON_EXPERIMENTAL;
                reason.limit = FS_ANSWER_RW;
                verdict_add(c, reason);
        }
        if (f->gate != FS_GATE_NONE)
                judge_gate(c, class, f);
}

void verdict_judge_features(const VerdictCase *c) {
        for (FsClass class = 0; class < _FS_CLASS_N; class ++) {
                uint64_t word = c->volume->words[class];

                if (class == FS_CLASS_FLAGS)
                        continue;
                while (word) {
                        uint64_t bit = word & (0 - word);

                        word &= ~bit;
                        judge_bit(c, class, bit);
                }
        }
}

/* Names that are both folded and encrypted need a hash that ext4 and f2fs have since 5.13. */
void verdict_judge_folded_crypt(const VerdictCase *c) {
        bool ext = c->volume->kind == FS_KIND_EXT, f2fs = c->volume->kind == FS_KIND_F2FS;
        FsClass class = ext ? FS_CLASS_INCOMPAT : FS_CLASS_FEATURE;
        uint64_t both = ext ? EXT_INCOMPAT_CRYPT | EXT_INCOMPAT_FOLD : F2FS_CRYPT | F2FS_FOLD;

        if ((!ext && !f2fs) || (c->volume->words[class] & both) != both ||
            c->host->kernel >= K(5, 13))
                return;
        verdict_add(c, (FsReason){.kind = FS_REASON_FEATURE,
                                  .limit = FS_ANSWER_NO,
                                  .class = class,
                                  .bit = both,
                                  .feature = fs_feature_find(c->volume->kind, class,
                                                             ext ? EXT_INCOMPAT_FOLD : F2FS_FOLD),
                                  .need_kernel = K(5, 13),
                                  .os_errno = EINVAL});
}

void verdict_judge_driver(const VerdictCase *c) {
        if (c->host->drivers[c->volume->kind] == FS_TRI_NO)
                verdict_add(c, (FsReason){
                                       .kind = FS_REASON_DRIVER,
                                       .limit = FS_ANSWER_NO,
                                       .need_kernel = fs_driver_since(c->volume->kind),
                                       .os_errno = ENODEV,
                               });
}

/* --- what is fine now and will not be later --- */

static void judge_consequence(const VerdictCase *c, const FsFeature *f) {
        FsClass then;
        uint64_t bit;
        const FsFeature *set;
        FsAnswer limit;

        if (!fs_feature_consequence(f, &then, &bit) || c->volume->words[then] & bit ||
            fs_host_has(c->host, FS_KIND_EXT, then, bit, NULL))
                return;
        limit = then == FS_CLASS_RO_COMPAT ? FS_ANSWER_RO : FS_ANSWER_RO_NORECOVERY;
        set = fs_feature_find(FS_KIND_EXT, then, bit);
        if (limit > c->verdict->after_crash)
                c->verdict->after_crash = limit;
        verdict_add(c, (FsReason){.kind = set && set->flags & FS_FEATURE_WHILE_MOUNTED
                                                  ? FS_REASON_AFTER_CRASH
                                                  : FS_REASON_FIRST_MOUNT,
                                  .class = f->class,
                                  .bit = f->bit,
                                  .feature = f,
                                  .need_kernel = set ? set->rw_since : FS_VERSION_NEVER});
}

void verdict_judge_consequences(const VerdictCase *c) {
        if (c->volume->kind != FS_KIND_EXT ||
            !(c->volume->words[FS_CLASS_COMPAT] & EXT_COMPAT_JOURNAL))
                return;
        for (size_t i = 0; i < fs_n_features; i++) {
                const FsFeature *f = &fs_features[i];

                if (f->kind == FS_KIND_EXT && c->volume->words[f->class] & f->bit)
                        judge_consequence(c, f);
        }
}

/* --- tools --- */

static uint32_t tools_version(const FsHost *host, FsKind kind) {
        const FsToolset *set = fs_toolset_find(kind);

        return set ? host->tools[set->tools] : FS_TOOLS_UNKNOWN;
}

/* Tools refuse what they do not know in every class, also where the kernel would not mind. */
void verdict_judge_tools(const VerdictCase *c) {
        uint32_t tools = tools_version(c->host, c->volume->kind);

        if (tools == FS_TOOLS_UNKNOWN || tools == FS_TOOLS_ABSENT)
                return;
        for (FsClass class = 0; class < _FS_CLASS_N; class ++) {
                uint64_t word = class == FS_CLASS_FLAGS ? 0 : c->volume->words[class];

                while (word) {
                        uint64_t bit = word & (0 - word);
                        const FsFeature *f = fs_feature_find(c->volume->kind, class, bit);

                        word &= ~bit;
                        if (f && f->tool_since <= tools)
                                continue;
                        verdict_add(c, (FsReason){.kind = FS_REASON_TOOLS,
                                                  .class = class,
                                                  .bit = bit,
                                                  .feature = f,
                                                  .need = f ? f->tool_since : FS_VERSION_NEVER,
                                                  .have = tools});
                        return;
                }
        }
}
