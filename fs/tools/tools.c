/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups in the tables of tools, and the form of an option's value. Pure. */

#include "fs/tools/tools.h"
#include "fs/formats/format.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

#define MIB (UINT64_C(1) << 20)

const FsToolset *fs_toolset_find(FsKind kind) {
        for (size_t i = 0; i < fs_n_toolsets; i++) {
                if (fs_toolsets[i].kind == kind)
                        return &fs_toolsets[i];
        }
        return NULL;
}

/* Where one use knows a feature earlier than the whole package does. */
static const struct {
        FsKind kind;
        FsClass class;
        uint64_t bit;
        FsToolUse use;
        uint32_t since;
} uses[] = {
        /* `btrfs check` knew the tree when only kernels made it. */
        {FS_KIND_BTRFS, FS_CLASS_RO_COMPAT, 0x1, FS_TOOL_USE_MAKE, FS_VERSION(5, 15, 0)},
        /* 6.2 checks it: tried. */
        {FS_KIND_BTRFS, FS_CLASS_RO_COMPAT, 0x8, FS_TOOL_USE_CHECK, FS_VERSION(6, 1, 0)},
};

uint32_t fs_tool_since(const FsFeature *f, FsToolUse use) {
        /* The kernel grows them, by its own code. */
        if (use == FS_TOOL_USE_GROW && f->kind != FS_KIND_EXT)
                return FS_VERSION_ANY;
        for (size_t i = 0; i < N_ELEMENTS(uses); i++) {
                if (uses[i].kind == f->kind && uses[i].class == f->class && uses[i].bit == f->bit &&
                    uses[i].use == use)
                        return uses[i].since;
        }
        return f->tool_since;
}

const FsToolOption *fs_tool_option_find(FsKind kind, char letter, const char *key) {
        for (size_t i = 0; i < fs_n_tool_options; i++) {
                const FsToolOption *option = &fs_tool_options[i];

                if (option->kind == kind && option->letter == letter &&
                    (!key || str_equal(option->key, key)))
                        return option;
        }
        return NULL;
}

int fs_tool_size_parse(const char *text, uint64_t *valuep) {
        static const char suffixes[] = "kmgt";
        char digits[24] = "";
        size_t n = strspn(text, "0123456789");
        uint64_t value, factor = 1;
        const char *at;

        if (n == 0 || n >= sizeof(digits))
                return -EINVAL;
        memcpy(digits, text, n);
        if (str_parse_u64(digits, UINT64_MAX, &value) < 0)
                return -EINVAL;
        if (text[n] != '\0') {
                at = strchr(suffixes, tolower((unsigned char)text[n]));
                if (!at || *at == '\0' || text[n + 1] != '\0')
                        return -EINVAL;
                factor <<= 10 * (at - suffixes + 1);
        }
        if (__builtin_mul_overflow(value, factor, &value))
                return -EINVAL;
        *valuep = value;
        return 0;
}

static bool is_one_of(const char *words, const char *value) {
        size_t n = strlen(value);

        while (*words) {
                size_t length = strcspn(words, "|");

                if (length == n && memcmp(words, value, n) == 0)
                        return true;
                words += length;
                words += *words == '|';
        }
        return false;
}

/* "5", "0.5" */
static bool is_percent(const FsToolOption *option, const char *value) {
        size_t whole = strspn(value, "0123456789");
        const char *rest = value + whole;
        uint64_t number = 0;
        char digits[8] = "";

        if (whole == 0 || whole >= sizeof(digits) ||
            (*rest == '.' ? rest[1 + strspn(rest + 1, "0123456789")] : *rest) != '\0')
                return false;
        memcpy(digits, value, whole);
        return str_parse_u64(digits, option->most, &number) == 0 && number >= option->least;
}

/* A label; what looks like a path was meant for something else. */
static bool is_printable(const char *value) {
        for (; *value; value++) {
                if ((unsigned char)*value < 0x20 || *value == 0x7f || *value == '/')
                        return false;
        }
        return true;
}

static bool is_as_said(const FsToolOption *option, const char *value) {
        uint64_t number;

        switch (option->form) {
        case FS_OPTION_WORDS:
                return is_one_of(option->words, value);
        case FS_OPTION_TEXT:
                return strlen(value) <= option->most && is_printable(value);
        case FS_OPTION_PERCENT:
                return is_percent(option, value);
        case FS_OPTION_NUMBER:
                return str_parse_u64(value, option->most, &number) == 0 && number >= option->least;
        case FS_OPTION_SIZE:
        case FS_OPTION_POWER2:
                return fs_tool_size_parse(value, &number) == 0 && number >= option->least &&
                       number <= option->most &&
                       (option->form == FS_OPTION_SIZE || (number & (number - 1)) == 0);
        case FS_OPTION_REFUSED:
        case FS_OPTION_IGNORED:
        case FS_OPTION_FLAG:
        case FS_OPTION_FEATURES:
        case FS_OPTION_ALIAS:
                break;
        }
        return true;
}

static int expected(const FsToolOption *option, const char *name, Error *err) {
        if (option->form == FS_OPTION_WORDS)
                return error_set(err, ERROR_INVALID, "mkfs option %s: expected one of %s", name,
                                 option->words);
        if (option->form == FS_OPTION_TEXT)
                return error_set(err, ERROR_INVALID,
                                 "mkfs option %s: expected at most %" PRIu64
                                 " bytes without \"/\" and control characters",
                                 name, option->most);
        return error_set(err, ERROR_INVALID,
                         "mkfs option %s: expected %s from %" PRIu64 " to %" PRIu64, name,
                         option->form == FS_OPTION_POWER2 ? "a power of two" : "a number",
                         option->least, option->most);
}

int fs_tool_option_check(const FsToolOption *option, const char *value, Error *err) {
        char name[48];

        if (option->letter)
                (void)snprintf(name, sizeof(name), "-%c%s%s", option->letter,
                               *option->key ? " " : "", option->key);
        else
                (void)snprintf(name, sizeof(name), "%s", option->key);
        if (option->form == FS_OPTION_REFUSED)
                return error_set(err, ERROR_INVALID, "mkfs option %s is not for a volume: %s", name,
                                 option->why);
        if (option->form == FS_OPTION_FLAG)
                return value ? error_set(err, ERROR_INVALID, "mkfs option %s has no value", name)
                             : 0;
        if (!value)
                return error_set(err, ERROR_INVALID, "mkfs option %s needs a value", name);
        return is_as_said(option, value) ? 0 : expected(option, name, err);
}

bool fs_feature_switch(const FsFeature *f, char *letterp, char key[32]) {
        const char *on = f->mkfs_on, *name;
        size_t n;

        if (!on || on[0] != '-' || on[1] == '-' || on[2] != ' ' || on[1] == 'r' ||
            f->class == FS_CLASS_VERSION || f->class == FS_CLASS_VERSIONNUM ||
            f->class == FS_CLASS_FEATURES2)
                return false;
        /* ftype is part of V5 and -n ftype is no switch there. */
        if (f->kind == FS_KIND_XFS && f->class == FS_CLASS_INCOMPAT && f->bit == 1)
                return false;
        name = on + 3;
        if (f->kind == FS_KIND_F2FS && str_has_prefix(name, "extra_attr,"))
                name = strchr(name, ',') + 1;
        n = strcspn(name, "=, ");
        if (n >= 32)
                return false;
        *letterp = on[1];
        memcpy(key, name, n);
        key[n] = '\0';
        return true;
}

/* "mke2fs 1.47.0 (5-Feb-2023)", "btrfs-progs v6.2", "\tF2FS-tools: mkfs.f2fs Ver: 1.15.0": who is
 * speaking; the rest says nothing of a failure. */
static bool is_banner(const char *line) {
        static const char *const begins[] = {
                "mke2fs 1.",
                "resize2fs 1.",
                "e2fsck 1.",
                "btrfs-progs v",
                "See http",
                "See <http",
                "Documentation:",
                "Info:",
                "F2FS-tools:",
                "Warning",
                "WARNING",
                "Your mke2fs.conf",
                "You probably need to install an updated mke2fs.conf",
        };

        for (size_t i = 0; i < N_ELEMENTS(begins); i++) {
                if (str_has_prefix(line, begins[i]))
                        return true;
        }
        return *line == '\0';
}

static bool take_first_line(const char *from, char *text, size_t n) {
        while (*from) {
                size_t length = strcspn(from, "\n");
                const char *line = from + strspn(from, " \t\r");

                if (line < from + length && !is_banner(line)) {
                        (void)snprintf(text, n, "%.*s", (int)(from + length - line), line);
                        str_make_utf8(text);
                        return true;
                }
                from += length;
                from += *from == '\n';
        }
        return false;
}

void fs_tool_first_line(const char *errors, const char *output, char *text, size_t n) {
        *text = '\0';
        if (!take_first_line(errors, text, n))
                (void)take_first_line(output, text, n);
}

bool fs_tool_says_io_error(const char *text) {
        return strstr(text, FS_TOOL_IO_ERROR) != NULL;
}

/* Tried with the tools of Debian 11 to 2026: mkfs.xfs refuses less than 300 MiB since 5.19,
 * mkfs.btrfs less than 109 MiB with duplicated metadata, mkfs.f2fs less than 52 MiB; ext4 below 4
 * MiB is mostly its own tables. */
uint64_t fs_tool_minimum(const char *fs_type) {
        switch (fs_kind_from_type(fs_type)) {
        case FS_KIND_EXT:
                return 4 * MIB;
        case FS_KIND_XFS:
                return 300 * MIB;
        case FS_KIND_BTRFS:
                return 109 * MIB;
        case FS_KIND_F2FS:
                return 64 * MIB;
        case FS_KIND_NONE:
        case FS_KIND_EROFS:
        case FS_KIND_SQUASHFS:
        case FS_KIND_VFAT:
        case FS_KIND_EXFAT:
        case FS_KIND_NTFS:
        case _FS_KIND_N:
                break;
        }
        return 0;
}
