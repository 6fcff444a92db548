/* SPDX-License-Identifier: Apache-2.0 */
/* The table of formats, and what goes over all of them. */

#include "fs/formats/format.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "fs/formats/formats_internal.h"

/* In the order in which they are looked for. XFS and ext first: most volumes end there. A head that
 * holds two formats is for inspect to tell; here the one with the lowest magic offset wins, as in
 * kernels that are told a type. */
static const FsFormat *const formats[] = {
        &format_xfs,   &format_ext,  &format_f2fs, &format_erofs, &format_squashfs,
        &format_exfat, &format_ntfs, &format_vfat, &format_btrfs,
};
_Static_assert(N_ELEMENTS(formats) == _FS_KIND_N - 1, "every FsKind but NONE has its format");

const FsFormat *fs_format(FsKind kind) {
        for (size_t i = 0; i < N_ELEMENTS(formats); i++)
                if (formats[i]->kind == kind)
                        return formats[i];
        return NULL;
}

int fs_read_volume(const FsReader *reader, FsVolume *volume) {
        FsSource source = {.reader = reader};
        uint8_t head[FS_HEAD_BYTES] = {0};
        size_t n_head = sizeof(head);
        int r;

        if (reader->size_bytes < n_head)
                n_head = (size_t)reader->size_bytes;
        r = source_read(&source, 0, head, n_head);
        if (r < 0)
                return r;
        for (size_t i = 0; i < N_ELEMENTS(formats); i++) {
                FsVolume found = {.n_devices = 1, .device_bytes = reader->size_bytes};

                r = formats[i]->read(&source, head, &found);
                if (r == FS_E_NONE)
                        continue;
                if (r == 0)
                        *volume = found;
                return r;
        }
        return FS_E_NONE;
}

int fs_read_backup(const FsReader *reader, FsVolume *volume) {
        FsSource source = {.reader = reader};

        for (FsKind kind = FS_KIND_NONE + 1; kind < _FS_KIND_N; kind++) {
                FsVolume found = {.n_devices = 1, .device_bytes = reader->size_bytes};
                const FsFormat *format = fs_format(kind);
                int r = format && format->read_backup ? format->read_backup(&source, &found)
                                                      : FS_E_NONE;

                if (r == FS_E_NONE)
                        continue;
                if (r == 0)
                        *volume = found;
                return r;
        }
        return FS_E_NONE;
}

int fs_find_damage(const FsReader *reader, FsKind kind, char text[FS_DAMAGE_MAX]) {
        const FsFormat *format = fs_format(kind);

        return format && format->find_damage ? format->find_damage(reader, text) : 0;
}

const char *fs_kind_name(FsKind kind) {
        const FsFormat *format = fs_format(kind);

        return format ? format->name : "none";
}

FsKind fs_kind_from_type(const char *type) {
        for (size_t i = 0; i < N_ELEMENTS(formats); i++)
                for (const char *const *own = formats[i]->types; *own; own++)
                        if (str_equal(type, *own))
                                return formats[i]->kind;
        return FS_KIND_NONE;
}

const char *fs_class_name(FsKind kind, FsClass class) {
        static const char *const names[_FS_CLASS_N] = {
                [FS_CLASS_COMPAT] = "compat",
                [FS_CLASS_RO_COMPAT] = "ro_compat",
                [FS_CLASS_INCOMPAT] = "incompat",
                [FS_CLASS_LOG_COMPAT] = "journal compat",
                [FS_CLASS_LOG_RO_COMPAT] = "journal ro_compat",
                [FS_CLASS_LOG_INCOMPAT] = "journal incompat",
                [FS_CLASS_VERSION] = "version",
                [FS_CLASS_VERSIONNUM] = "versionnum",
                [FS_CLASS_FEATURES2] = "features2",
                [FS_CLASS_FEATURE] = "feature",
                [FS_CLASS_ALGORITHM] = "checksum type",
                [FS_CLASS_FLAGS] = "super flags",
        };
        const FsFormat *format = fs_format(kind);

        if (class < 0 || class >= _FS_CLASS_N)
                return "";
        return format && format->class_names[class] ? format->class_names[class] : names[class];
}
