/* SPDX-License-Identifier: Apache-2.0 */
/* Users' mkfs words, by the option letters of each tool. */

#include "csi/fs/mkfs_options.h"

#include "common/base/str.h"

#include <errno.h>
#include <stdio.h>

/* What a tool's letters are; those in no list are refused. */
typedef struct Tool {
        FsKind kind;
        const char *name;
        const char *lists;   /* take "key=value,key=value" or "name,^name" */
        const char *plain;   /* take one value */
        const char *flags;   /* take none */
        const char *ignored; /* flags that say what is done anyway, or nothing */
} Tool;

static const Tool tools[] = {
        {FS_KIND_EXT, "mke2fs", "OEJ", "bCegGiIlLmMNorU", "cD", "Fqvj"},
        {FS_KIND_XFS, "mkfs.xfs", "bdilmns", "Lc", "K", "fq"},
        {FS_KIND_BTRFS, "mkfs.btrfs", "OR", "AbdmnslLU", "MK", "fqv"},
        {FS_KIND_F2FS, "mkfs.f2fs", "O", "adeElosztTU", "i", "fq"},
};

static const Tool *tool_of(FsKind kind) {
        for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++) {
                if (tools[i].kind == kind)
                        return &tools[i];
        }
        return NULL;
}

const MkfsOption *mkfs_options_find(const MkfsOptions *options, char letter, const char *key) {
        for (size_t i = 0; i < options->n_options; i++) {
                if (options->options[i].letter == letter && str_equal(options->options[i].key, key))
                        return &options->options[i];
        }
        return NULL;
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

/* Devices and files beside the volume: a volume is one device. */
static bool is_elsewhere(FsKind kind, char letter, const char *key) {
        if (kind == FS_KIND_XFS)
                return (letter == 'l' && (str_equal(key, "logdev") || str_equal(key, "name") ||
                                          str_equal(key, "file"))) ||
                       (letter == 'd' && (str_equal(key, "name") || str_equal(key, "file")));
        return kind == FS_KIND_EXT && ((letter == 'J' && str_equal(key, "device")) ||
                                       (letter == 'O' && (str_equal(key, "journal_dev") ||
                                                          str_equal(key, "^journal_dev"))));
}

/* Features are on or off; "none" empties what the plan put there. */
static int set_feature(MkfsOptions *options, char letter, const char *name) {
        bool off = name[0] == '^';
        const char *alias = str_equal(name, "extents") ? "extent" : name;

        if (str_equal(name, "none")) {
                for (size_t i = 0; i < options->n_options; i++) {
                        if (options->options[i].letter == letter)
                                snprintf(options->options[i].value, 2, "0");
                }
                return 0;
        }
        return mkfs_options_set(options, letter, alias + (off ? 1 : 0), off ? "0" : "1");
}

static int set_item(MkfsOptions *options, char letter, char *item, Error *err) {
        char *value = strchr(item, '=');
        bool feature = letter == 'O' || letter == 'R';
        int r;

        if (value && !feature)
                *value++ = '\0';
        if (is_elsewhere(options->kind, letter, item))
                return error_set(err, ERROR_INVALID, "mkfs option -%c %s: a volume is one device",
                                 letter, item);
        r = feature ? set_feature(options, letter, item)
                    : mkfs_options_set(options, letter, item, value);
        for (size_t i = 0; r == 0 && !feature && i < options->n_options; i++) {
                if (options->options[i].letter == letter &&
                    str_equal(options->options[i].key, item))
                        options->options[i].by_user = true;
        }
        return r < 0 ? error_set(err, ERROR_INVALID, "too many or too long mkfs options") : 0;
}

static int set_list(MkfsOptions *options, char letter, const char *list, Error *err) {
        while (*list) {
                size_t n = strcspn(list, ",");
                char item[128];
                int r;

                if (n >= sizeof(item))
                        return error_set(err, ERROR_INVALID, "mkfs option -%c %.20s... is too long",
                                         letter, list);
                memcpy(item, list, n);
                item[n] = '\0';
                r = n ? set_item(options, letter, item, err) : 0;
                if (r < 0)
                        return r;
                list += n;
                list += *list == ',';
        }
        return 0;
}

/* "--csum" "sha256" and "--csum=sha256" of mkfs.btrfs; nothing else is long. */
static int parse_long(MkfsOptions *options, const char *word, const char *next, size_t *takenp,
                      Error *err) {
        const char *value = strchr(word, '=');

        if (options->kind != FS_KIND_BTRFS || !str_has_prefix(word, "--csum"))
                return error_set(err, ERROR_INVALID, "mkfs option %.60s is not supported", word);
        if (value) {
                value++;
        } else {
                value = next;
                *takenp = 2;
        }
        if (!value)
                return error_set(err, ERROR_INVALID, "mkfs option --csum needs a value");
        if (mkfs_options_set(options, 0, "--csum", value) < 0)
                return error_set(err, ERROR_INVALID, "mkfs option --csum %.60s is too long", value);
        return 0;
}

static int parse_short(MkfsOptions *options, const Tool *tool, const char *word, const char *next,
                       size_t *takenp, Error *err) {
        char letter = word[1];
        const char *value = word[2] ? word + 2 : next;

        if (word[2] == '\0' && (strchr(tool->ignored, letter) || strchr(tool->flags, letter))) {
                if (strchr(tool->flags, letter) && mkfs_options_set(options, letter, "", NULL) < 0)
                        return error_set(err, ERROR_INVALID, "too many mkfs options");
                return 0;
        }
        if (!strchr(tool->lists, letter) && !strchr(tool->plain, letter))
                return error_set(err, ERROR_INVALID, "%s option -%c is not supported here",
                                 tool->name, letter);
        if (!value)
                return error_set(err, ERROR_INVALID, "%s option -%c needs a value", tool->name,
                                 letter);
        if (!word[2])
                *takenp = 2;
        if (letter == 'c' && options->kind == FS_KIND_XFS)
                options->has_config = true;
        if (strchr(tool->lists, letter))
                return set_list(options, letter, value, err);
        if (mkfs_options_set(options, letter, "", value) < 0)
                return error_set(err, ERROR_INVALID, "%s option -%c is too long", tool->name,
                                 letter);
        return 0;
}

int mkfs_options_parse(MkfsOptions *options, const char *const *words, size_t n_words, Error *err) {
        const Tool *tool = tool_of(options->kind);

        if (!tool)
                return error_set(err, ERROR_INVALID, "no mkfs options are possible for %s",
                                 fs_kind_name(options->kind));
        for (size_t i = 0; i < n_words;) {
                const char *next = i + 1 < n_words ? words[i + 1] : NULL;
                size_t taken = 1;
                int r;

                if (words[i][0] != '-' || words[i][1] == '\0')
                        return error_set(err, ERROR_INVALID,
                                         "\"%.60s\" is no mkfs option: it does not start with -",
                                         words[i]);
                r = words[i][1] == '-' ? parse_long(options, words[i], next, &taken, err)
                                       : parse_short(options, tool, words[i], next, &taken, err);
                if (r < 0)
                        return r;
                i += taken;
        }
        return 0;
}
