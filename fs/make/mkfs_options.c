/* SPDX-License-Identifier: Apache-2.0 */
/* Users' mkfs words, by the table of options (fs/tools/tools.h). */

#include "fs/make/mkfs_options.h"

#include "fs/formats/format.h"
#include "fs/make/mkfs.h"
#include "fs/tools/tools.h"

#include "common/base/str.h"

#include <errno.h>
#include <stdio.h>

/* What the words are taken for. */
typedef struct Parsing {
        MkfsOptions *options;
        const FsToolset *tool;
        const char *word, *next; /* next: NULL at the end */
        size_t taken;
} Parsing;

const MkfsOption *mkfs_options_find(const MkfsOptions *options, char letter, const char *key) {
        for (size_t i = 0; i < options->n_options; i++) {
                if (options->options[i].letter == letter && str_equal(options->options[i].key, key))
                        return &options->options[i];
        }
        return NULL;
}

bool mkfs_options_on(const MkfsOptions *options, char letter, const char *key) {
        const MkfsOption *option = mkfs_options_find(options, letter, key);

        return option && !str_equal(option->value, "0");
}

bool mkfs_options_by_user(const MkfsOptions *options, char letter, const char *key) {
        const MkfsOption *option = mkfs_options_find(options, letter, key);

        return option && option->by_user;
}

int mkfs_options_set(MkfsOptions *options, char letter, const char *key, const char *value) {
        size_t at = 0;
        MkfsOption *option;

        if (strlen(key) >= sizeof(option->key) || (value && strlen(value) >= sizeof(option->value)))
                return -E2BIG;
        while (at < options->n_options &&
               (options->options[at].letter != letter || !str_equal(options->options[at].key, key)))
                at++;
        if (at == MKFS_OPTIONS_MAX)
                return -E2BIG;
        if (at == options->n_options)
                options->n_options++;
        option = &options->options[at];
        *option = (MkfsOption){.letter = letter, .has_value = value != NULL};
        snprintf(option->key, sizeof(option->key), "%s", key);
        snprintf(option->value, sizeof(option->value), "%s", value ? value : "");
        return 0;
}

void mkfs_options_remove(MkfsOptions *options, char letter, const char *key) {
        size_t kept = 0;

        for (size_t i = 0; i < options->n_options; i++) {
                if (options->options[i].letter != letter ||
                    !str_equal(options->options[i].key, key))
                        options->options[kept++] = options->options[i];
        }
        options->n_options = kept;
}

/* --- the user's --- */

static int set_by_user(MkfsOptions *options, char letter, const char *key, const char *value,
                       Error *err) {
        int r = mkfs_options_set(options, letter, key, value);

        if (r < 0)
                return error_set(err, ERROR_INVALID, "too many or too long mkfs options");
        for (size_t i = 0; i < options->n_options; i++) {
                if (options->options[i].letter == letter && str_equal(options->options[i].key, key))
                        options->options[i].by_user = true;
        }
        return 0;
}

static const FsFeature *find_feature(FsKind kind, char letter, const char *name) {
        for (size_t i = 0; i < fs_n_features; i++) {
                char its_letter = 0, key[32] = "";

                if (fs_features[i].kind == kind &&
                    fs_feature_switch(&fs_features[i], &its_letter, key) && its_letter == letter &&
                    str_equal(key, name))
                        return &fs_features[i];
        }
        return NULL;
}

/* Newer mkfs.btrfs takes under -O what older ones take under -R only. */
static const char *one_name(FsKind kind, char *letterp, const char *name) {
        if (kind == FS_KIND_EXT && str_equal(name, "extents"))
                return "extent";
        if (kind == FS_KIND_BTRFS && str_equal(name, "free-space-tree"))
                *letterp = 'R';
        return name;
}

static int check_feature(const MkfsOptions *options, const FsFeature *f, char letter,
                         const char *name, Error *err) {
        char since[24];

        if (!f || f->flags & FS_FEATURE_FORCES_RO || f->gate == FS_GATE_ZONED ||
            (f->kind == FS_KIND_EXT && f->class == FS_CLASS_INCOMPAT && f->bit == 0x8) ||
            (f->kind == FS_KIND_F2FS && str_equal(name, "casefold")))
                return error_set(err, ERROR_INVALID,
                                 "mkfs option -%c %s: not a feature that a volume can have", letter,
                                 name);
        if (options->tool && fs_tool_since(f, FS_TOOL_USE_MAKE) > options->tool)
                return error_set(err, ERROR_UNSUPPORTED,
                                 "mkfs option -%c %s needs a mkfs of %s or later, the installed "
                                 "one is older",
                                 letter, name,
                                 fs_version_format(fs_tool_since(f, FS_TOOL_USE_MAKE), since));
        return 0;
}

/* Features are on or off; "none" empties what the plan put there. */
static int set_feature(MkfsOptions *options, char letter, const char *item, Error *err) {
        bool off = item[0] == '^';
        const char *name = one_name(options->kind, &letter, item + (off ? 1 : 0));
        const FsFeature *f;
        int r;

        if (str_equal(item, "none") && options->kind == FS_KIND_EXT) {
                for (size_t i = 0; i < options->n_options; i++) {
                        if (options->options[i].letter != letter)
                                continue;
                        snprintf(options->options[i].value, 2, "0");
                        options->options[i].by_user = true;
                }
                return 0;
        }
        f = find_feature(options->kind, letter, name);
        r = check_feature(options, f, letter, name, err);
        /* Neither mkfs.ext4 nor mkfs.f2fs is told what is off: they begin with nothing. */
        return r < 0 ? r : set_by_user(options, letter, name, off ? "0" : "1", err);
}

static int check_switch(const MkfsOptions *options, const FsFeature *f, char letter,
                        const char *key, const char *value, Error *err) {
        if (!value || (!str_equal(value, "0") && !str_equal(value, "1")))
                return error_set(err, ERROR_INVALID, "mkfs option -%c %s: expected one of 0|1",
                                 letter, key);
        return check_feature(options, f, letter, key, err);
}

static int set_item(MkfsOptions *options, char letter, char *item, Error *err) {
        char *value = strchr(item, '=');
        const FsToolOption *row;
        const FsFeature *f;
        int r;

        if (value)
                *value++ = '\0';
        row = fs_tool_option_find(options->kind, letter, item);
        f = find_feature(options->kind, letter, item);
        if (row)
                r = fs_tool_option_check(row, value, err);
        else if (f)
                r = check_switch(options, f, letter, item, value, err);
        else
                r = error_set(err, ERROR_INVALID, "mkfs option -%c %.40s is not supported here",
                              letter, item);
        return r < 0 ? r : set_by_user(options, letter, item, value, err);
}

static int set_list(MkfsOptions *options, char letter, bool features, const char *list,
                    Error *err) {
        while (*list) {
                size_t n = strcspn(list, ",");
                char item[128];
                int r;

                if (n >= sizeof(item))
                        return error_set(err, ERROR_INVALID, "mkfs option -%c %.20s... is too long",
                                         letter, list);
                memcpy(item, list, n);
                item[n] = '\0';
                r = n == 0     ? 0
                    : features ? set_feature(options, letter, item, err)
                               : set_item(options, letter, item, err);
                if (r < 0)
                        return r;
                list += n;
                list += *list == ',';
        }
        return 0;
}

/* "-j" makes ext3 of ext2. */
static int set_flag(MkfsOptions *options, char letter, Error *err) {
        return options->kind == FS_KIND_EXT && letter == 'j'
                       ? set_by_user(options, 'O', "has_journal", "1", err)
                       : set_by_user(options, letter, "", NULL, err);
}

static int take(Parsing *p, const FsToolOption *row, const char *attached, Error *err) {
        const char *value = attached ? attached : p->next;
        bool is_list = row->form == FS_OPTION_FEATURES || row->key[0] != '\0';
        int r;

        if (!is_list && row->form == FS_OPTION_REFUSED)
                return fs_tool_option_check(row, NULL, err);
        if (!is_list && (row->form == FS_OPTION_IGNORED || row->form == FS_OPTION_FLAG)) {
                if (attached)
                        return error_set(err, ERROR_INVALID, "mkfs option -%c has no value",
                                         row->letter);
                return row->form == FS_OPTION_FLAG ? set_flag(p->options, row->letter, err) : 0;
        }
        if (!value)
                return error_set(err, ERROR_INVALID, "mkfs option %s needs a value", p->word);
        if (!attached)
                p->taken = 2;
        if (is_list)
                return set_list(p->options, row->letter, row->form == FS_OPTION_FEATURES, value,
                                err);
        r = fs_tool_option_check(row, value, err);
        return r < 0 ? r : set_by_user(p->options, row->letter, row->key, value, err);
}

static int take_long(Parsing *p, Error *err) {
        size_t n = strcspn(p->word, "=");
        const char *attached = p->word[n] ? p->word + n + 1 : NULL;
        const FsToolOption *row;
        const char *value;
        char name[32] = "";
        int r;

        if (n < sizeof(name))
                memcpy(name, p->word, n);
        row = fs_tool_option_find(p->options->kind, 0, name);
        if (row && row->form == FS_OPTION_ALIAS && row->words[0] != '-')
                return take(p, fs_tool_option_find(p->options->kind, row->words[0], NULL), attached,
                            err);
        if (row && row->form == FS_OPTION_ALIAS)
                row = fs_tool_option_find(p->options->kind, 0, row->words);
        if (!row)
                return error_set(err, ERROR_INVALID, "mkfs option %.60s is not supported", p->word);
        if (row->since > p->options->tool && p->options->tool)
                return error_set(err, ERROR_UNSUPPORTED, "the installed mkfs is too old for %s",
                                 row->key);
        value = attached ? attached : p->next;
        if (!attached)
                p->taken = 2;
        r = fs_tool_option_check(row, value, err);
        return r < 0 ? r : set_by_user(p->options, 0, row->key, value, err);
}

static int take_short(Parsing *p, Error *err) {
        const FsToolOption *row = fs_tool_option_find(p->options->kind, p->word[1], NULL);

        if (!row)
                return error_set(err, ERROR_INVALID, "%s option -%c is not supported here",
                                 p->tool->programs[FS_PROGRAM_MAKE], p->word[1]);
        return take(p, row, p->word[2] ? p->word + 2 : NULL, err);
}

int mkfs_options_parse(MkfsOptions *options, const char *const *words, size_t n_words, Error *err) {
        Parsing p = {.options = options, .tool = fs_toolset_find(options->kind)};

        if (!p.tool)
                return error_set(err, ERROR_INVALID, "no mkfs options are possible for %s",
                                 fs_kind_name(options->kind));
        for (size_t i = 0; i < n_words; i += p.taken) {
                int r;

                p.word = words[i];
                p.next = i + 1 < n_words ? words[i + 1] : NULL;
                p.taken = 1;
                if (p.word[0] != '-' || p.word[1] == '\0')
                        return error_set(
                                err, ERROR_INVALID,
                                "\"%.60s\" is not a mkfs option (expected one that starts with -)",
                                p.word);
                r = p.word[1] == '-' ? take_long(&p, err) : take_short(&p, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

int mkfs_words_check(const char *fs_type, const char *const *words, size_t n_words, Error *err) {
        MkfsOptions options = {.kind = fs_kind_from_type(fs_type)};

        if (n_words == 0)
                return 0;
        return mkfs_options_parse(&options, words, n_words, err);
}
