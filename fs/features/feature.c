/* SPDX-License-Identifier: Apache-2.0 */
/* Looking things up in the feature tables. */

#include "fs/features/feature.h"

#include "common/base/str.h"

const FsFeature *fs_feature_find(FsKind kind, FsClass class, uint64_t bit) {
        for (size_t i = 0; i < fs_n_features; i++) {
                const FsFeature *f = &fs_features[i];

                if (f->kind == kind && f->class == class && f->bit == bit)
                        return f;
        }
        return NULL;
}

FsHas fs_kernel_has(FsChange change, uint32_t kernel) {
        for (size_t i = 0; i < fs_n_changes; i++) {
                const FsChangeRow *row = &fs_changes[i];

                if (row->change == change && kernel >= row->maybe && kernel < row->before)
                        return kernel >= row->sure ? FS_HAS : FS_HAS_MAYBE;
        }
        return FS_HAS_NOT;
}

uint32_t fs_driver_since(FsKind kind) {
        uint32_t since = FS_VERSION_NEVER;

        for (size_t i = 0; i < fs_n_drivers; i++) {
                if (fs_drivers[i].kind == kind && fs_drivers[i].since < since)
                        since = fs_drivers[i].since;
        }
        return since == FS_VERSION_NEVER ? FS_VERSION_ANY : since;
}

/* mkfs.btrfs writes "no-holes" where the kernel writes "no_holes". */
static bool names_equal(const char *a, const char *b) {
        for (; *a && *b; a++, b++) {
                bool a_dash = *a == '-' || *a == '_', b_dash = *b == '-' || *b == '_';

                if (*a != *b && !(a_dash && b_dash))
                        return false;
        }
        return *a == *b;
}

const FsFeature *fs_feature_find_name(FsKind kind, const char *name) {
        static const struct {
                FsKind kind;
                const char *alias, *name;
        } aliases[] = {
                {FS_KIND_EXT, "extents", "extent"},
                {FS_KIND_EXT, "gdt_csum", "uninit_bg"},
                {FS_KIND_BTRFS, "bgt", "block_group_tree"},
                {FS_KIND_BTRFS, "extref", "extended_iref"},
                {FS_KIND_BTRFS, "mixed-bg", "mixed_groups"},
                {FS_KIND_BTRFS, "squota", "simple_quota"},
                {FS_KIND_XFS, "exchrange", "exchange"},
        };

        for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
                if (aliases[i].kind == kind && names_equal(aliases[i].alias, name))
                        name = aliases[i].name;
        }
        for (size_t i = 0; i < fs_n_features; i++) {
                if (fs_features[i].kind == kind && names_equal(fs_features[i].name, name))
                        return &fs_features[i];
        }
        return NULL;
}

bool fs_feature_consequence(const FsFeature *f, FsClass *classp, uint64_t *bitp) {
        static const struct {
                FsClass class;
                uint64_t bit;
                FsClass then_class;
                uint64_t then_bit;
        } rows[] = {
                {FS_CLASS_COMPAT, 0x1000, FS_CLASS_RO_COMPAT, 0x10000},
                {FS_CLASS_COMPAT, 0x400, FS_CLASS_LOG_INCOMPAT, 0x20},
                {FS_CLASS_RO_COMPAT, 0x400, FS_CLASS_LOG_INCOMPAT, 0x10},
        };

        for (size_t i = 0; f->kind == FS_KIND_EXT && i < sizeof(rows) / sizeof(rows[0]); i++) {
                if (rows[i].class != f->class || rows[i].bit != f->bit)
                        continue;
                *classp = rows[i].then_class;
                *bitp = rows[i].then_bit;
                return true;
        }
        return false;
}

FsUnknown fs_class_unknown(FsKind kind, FsClass class) {
        switch (class) {
        case FS_CLASS_COMPAT:
        case FS_CLASS_LOG_COMPAT:
                return FS_UNKNOWN_IGNORED;
        case FS_CLASS_RO_COMPAT:
                return FS_UNKNOWN_RO;
        case FS_CLASS_LOG_RO_COMPAT:
                return FS_UNKNOWN_RO_NORECOVERY;
        case FS_CLASS_LOG_INCOMPAT:
                return FS_UNKNOWN_RO_NORECOVERY;
        case FS_CLASS_FEATURE:
                return FS_UNKNOWN_MISREAD;
        case FS_CLASS_FLAGS:
                return FS_UNKNOWN_IGNORED; /* which flags block a mount is the verdict's */
        case FS_CLASS_INCOMPAT:
        case FS_CLASS_VERSION:
        case FS_CLASS_VERSIONNUM:
        case FS_CLASS_FEATURES2:
        case FS_CLASS_ALGORITHM:
        case _FS_CLASS_N:
                break;
        }
        (void)kind;
        return FS_UNKNOWN_NO;
}

const char *fs_confidence_name(FsConfidence confidence) {
        static const char *const names[_FS_CONFIDENCE_N] = {"high", "medium", "low"};

        return confidence < _FS_CONFIDENCE_N ? names[confidence] : "low";
}

const char *fs_gate_text(FsGate gate) {
        if (gate <= FS_GATE_NONE || gate >= _FS_GATE_N)
                return "";
        if (gate == FS_GATE_QUOTA)
                return "CONFIG_QUOTA and CONFIG_QFMT_V2";
        return fs_gates[gate].options[0];
}
