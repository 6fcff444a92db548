/* SPDX-License-Identifier: Apache-2.0 */

/* The words of mount(8), "filesystem-independent mount options". */

#include "common/mount/mount_options.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <string.h>

typedef struct Word {
        const char *name;
        unsigned int set, clear;
} Word;

static const Word flag_words[] = {
        {"ro", MOUNT_FLAG_READ_ONLY, 0},
        {"rw", 0, MOUNT_FLAG_READ_ONLY},
        {"nosuid", MOUNT_FLAG_NO_SUID, 0},
        {"suid", 0, MOUNT_FLAG_NO_SUID},
        {"nodev", MOUNT_FLAG_NO_DEV, 0},
        {"dev", 0, MOUNT_FLAG_NO_DEV},
        {"noexec", MOUNT_FLAG_NO_EXEC, 0},
        {"exec", 0, MOUNT_FLAG_NO_EXEC},
        {"noatime", MOUNT_FLAG_NO_ATIME, MOUNT_FLAG_STRICT_ATIME},
        {"atime", 0, MOUNT_FLAG_NO_ATIME},
        {"relatime", 0, MOUNT_FLAGS_ATIME},
        {"norelatime", 0, 0},
        {"strictatime", MOUNT_FLAG_STRICT_ATIME, MOUNT_FLAG_NO_ATIME},
        {"nostrictatime", 0, MOUNT_FLAG_STRICT_ATIME},
        {"nodiratime", MOUNT_FLAG_NO_DIR_ATIME, 0},
        {"diratime", 0, MOUNT_FLAG_NO_DIR_ATIME},
        {"nosymfollow", MOUNT_FLAG_NO_SYMLINK_FOLLOW, 0},
        {"symfollow", 0, MOUNT_FLAG_NO_SYMLINK_FOLLOW},
};

/* What mount(8) makes of words that it keeps for itself. With a value ("user=root", from mtab)
 * they say who mounted it, and no more. */
static const Word implying_words[] = {
        {"user", MOUNT_FLAG_NO_EXEC | MOUNT_FLAG_NO_SUID | MOUNT_FLAG_NO_DEV, 0},
        {"users", MOUNT_FLAG_NO_EXEC | MOUNT_FLAG_NO_SUID | MOUNT_FLAG_NO_DEV, 0},
        {"owner", MOUNT_FLAG_NO_SUID | MOUNT_FLAG_NO_DEV, 0},
        {"group", MOUNT_FLAG_NO_SUID | MOUNT_FLAG_NO_DEV, 0},
};

/* What mount(8) keeps for itself, by libmount's own list (libmount/src/optmap.c): the kernel would
 * refuse it. "silent" and "iversion" are bits of mount(2) that fsconfig() has no word for. */
static const char *const ignored_words[] = {
        "defaults", "auto",    "noauto", "user",    "nouser",   "users",      "nousers",
        "owner",    "noowner", "group",  "nogroup", "nofail",   "_netdev",    "comment",
        "helper",   "uhelper", "silent", "loud",    "iversion", "noiversion",
};

/* Of these mount(8) makes another mount: who left them out would show more than was asked for. They
 * stay among the options, for the caller or the filesystem to refuse. */
static const char *const changing_words[] = {
        "X-mount.subdir", "X-mount.idmap", "X-mount.owner", "X-mount.group", "X-mount.mode",
};

static bool is_ignored(const char *key) {
        for (size_t i = 0; i < N_ELEMENTS(changing_words); i++)
                if (str_equal(key, changing_words[i]))
                        return false;
        if (str_has_prefix(key, "x-") || str_has_prefix(key, "X-"))
                return true;
        for (size_t i = 0; i < N_ELEMENTS(ignored_words); i++)
                if (str_equal(key, ignored_words[i]))
                        return true;
        return false;
}

static const Word *find_word(const Word *words, size_t n_words, const char *key) {
        for (size_t i = 0; i < n_words; i++)
                if (str_equal(key, words[i].name))
                        return &words[i];
        return NULL;
}

static const Word *find_flag(const char *key) {
        return find_word(flag_words, N_ELEMENTS(flag_words), key);
}

/* What a flag may be written with: "ro=", and of mount(8) since 2.39 "ro=recursive", which is the
 * same for a mount with none below it. "vfs" and "fs" there split the two read-only flags, which
 * are one here; other flags are the mount's alone anyway. */
static bool takes_value(const Word *flag, const char *value) {
        bool is_read_only = ((flag->set | flag->clear) & MOUNT_FLAG_READ_ONLY) != 0;

        return value[0] == '\0' || str_equal(value, "recursive") ||
               (str_equal(value, "vfs") && !is_read_only);
}

/* The last word wins. */
static void set_flag(MountOptions *options, const Word *flag) {
        options->set = (options->set & ~flag->clear) | flag->set;
        options->clear = (options->clear & ~flag->set) | flag->clear;
}

/* End of the word at @at: a comma outside quotes, or the end. NULL if a quote stays open. */
static const char *word_end(const char *at) {
        bool quoted = false;

        for (; *at && (quoted || *at != ','); at++) {
                if ((unsigned char)*at < ' ' || *at == 0x7f)
                        return NULL;
                if (*at == '"')
                        quoted = !quoted;
        }
        return quoted ? NULL : at;
}

/*
 * Takes the quotes off a value that is quoted as a whole. Anywhere else they are refused: a program
 * that counts them otherwise would see the commas between them, and more words than were looked at.
 */
static char *unquote(char *value) {
        size_t n = strlen(value);

        if (!strchr(value, '"'))
                return value;
        if (n < 2 || value[0] != '"' || strchr(value + 1, '"') != value + n - 1)
                return NULL;
        value[n - 1] = '\0';
        return value + 1;
}

static int add_word(MountOptions *options, char *word) {
        char *equals = strchr(word, '='), *value = NULL;
        const Word *flag;

        if (equals == word)
                return -EINVAL;
        if (equals) {
                *equals = '\0';
                value = unquote(equals + 1);
        }
        if (strchr(word, '"') || (equals && !value))
                return -EINVAL;
        flag = find_flag(word);
        if (flag && value && !takes_value(flag, value))
                return -EOPNOTSUPP;
        if (flag) {
                set_flag(options, flag);
                return 0;
        }
        flag = find_word(implying_words, N_ELEMENTS(implying_words), word);
        if (flag && (!value || value[0] == '\0'))
                set_flag(options, flag);
        if (is_ignored(word)) {
                options->n_ignored++;
                return 0;
        }
        if (options->n_options == MOUNT_OPTIONS_MAX)
                return -E2BIG;
        options->options[options->n_options++] = (MountOption){word, value};
        return 0;
}

/* Its name only: a value may be a secret. */
static int refuse(MountOptions *options, const char *word, int r) {
        size_t n = strcspn(word, "=,");

        if (n >= sizeof(options->refused))
                n = sizeof(options->refused) - 1;
        memcpy(options->refused, word, n);
        options->refused[n] = '\0';
        return r;
}

int mount_options_add(MountOptions *options, const char *words) {
        const char *end;
        int r;

        for (const char *at = words; *at; at = *end ? end + 1 : end) {
                char *copy = options->text + options->n_text;
                size_t n;

                end = word_end(at);
                if (!end)
                        return refuse(options, at, -EINVAL);
                n = (size_t)(end - at);
                if (n == 0)
                        continue;
                if (n >= sizeof(options->text) - options->n_text)
                        return refuse(options, at, -E2BIG);
                memcpy(copy, at, n);
                copy[n] = '\0';
                options->n_text += n + 1;
                r = add_word(options, copy);
                if (r < 0)
                        return refuse(options, at, r);
        }
        return 0;
}

void mount_options_copy(MountOptions *to, const MountOptions *from) {
        *to = *from;
        for (size_t i = 0; i < to->n_options; i++) {
                MountOption *option = &to->options[i];

                option->key = to->text + (option->key - from->text);
                if (option->value)
                        option->value = to->text + (option->value - from->text);
        }
}

const char *mount_options_get(const MountOptions *options, const char *key) {
        for (size_t i = options->n_options; i > 0; i--) {
                const MountOption *option = &options->options[i - 1];

                if (str_equal(option->key, key))
                        return option->value ? option->value : "";
        }
        return NULL;
}

void mount_options_remove(MountOptions *options, const char *key) {
        size_t n = 0;

        for (size_t i = 0; i < options->n_options; i++)
                if (!str_equal(options->options[i].key, key))
                        options->options[n++] = options->options[i];
        options->n_options = n;
}

/* Appends; counts also what does not fit. */
static void put(char *text, size_t n, size_t *atp, const char *piece) {
        size_t n_piece = strlen(piece);

        if (*atp < n) {
                size_t fits = n_piece < n - *atp ? n_piece : n - *atp - 1;

                memcpy(text + *atp, piece, fits);
                text[*atp + fits] = '\0';
        }
        *atp += n_piece;
}

static void put_flags(char *text, size_t n, size_t *atp, unsigned int flags) {
        for (size_t i = 0; i < N_ELEMENTS(flag_words); i++) {
                if (flag_words[i].set == 0 || (flags & flag_words[i].set) == 0)
                        continue;
                if (*atp > 0)
                        put(text, n, atp, ",");
                put(text, n, atp, flag_words[i].name);
        }
}

size_t mount_flags_format(unsigned int flags, char *text, size_t n) {
        size_t at = 0;

        if (n > 0)
                text[0] = '\0';
        put_flags(text, n, &at, flags);
        return at;
}

size_t mount_options_format(const MountOptions *options, bool with_flags, char *text, size_t n) {
        size_t at = 0;

        if (n > 0)
                text[0] = '\0';
        if (with_flags)
                put_flags(text, n, &at, options->set);
        for (size_t i = 0; i < options->n_options; i++) {
                const MountOption *option = &options->options[i];
                const char *quote = option->value && strchr(option->value, ',') ? "\"" : "";

                if (at > 0)
                        put(text, n, &at, ",");
                put(text, n, &at, option->key);
                if (!option->value)
                        continue;
                put(text, n, &at, "=");
                put(text, n, &at, quote);
                put(text, n, &at, option->value);
                put(text, n, &at, quote);
        }
        return at;
}
