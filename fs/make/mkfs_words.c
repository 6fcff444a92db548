/* SPDX-License-Identifier: Apache-2.0 */
/* From a provider's rules and a volume's context to mkfs words. Pure. */

#include "fs/make/mkfs.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdio.h>

static int add(FsMakeWords *words, const char *word, Error *err) {
        if (words->n_words == N_ELEMENTS(words->words) - 1)
                return error_set(err, ERROR_INVALID, "too many mkfs options");
        words->words[words->n_words++] = word;
        words->words[words->n_words] = NULL;
        return 0;
}

/* A copy of @n bytes of @text after @prefix. */
static int add_copy(FsMakeWords *words, const char *prefix, const char *text, size_t n,
                    Error *err) {
        char *at = words->text + words->n_text;
        size_t left = sizeof(words->text) - words->n_text, n_prefix = strlen(prefix);

        if (n_prefix + n + 1 > left)
                return error_set(err, ERROR_INVALID, "too long mkfs options");
        memcpy(at, prefix, n_prefix);
        memcpy(at + n_prefix, text, n);
        at[n_prefix + n] = '\0';
        words->n_text += n_prefix + n + 1;
        return add(words, at, err);
}

/* As a shell splits words, with quotes and without anything else: no shell ever sees them. */
static int add_split(FsMakeWords *words, const char *text, Error *err) {
        while (*text) {
                char word[256];
                size_t n = 0;
                char quote = '\0';
                int r;

                text += strspn(text, " \t\n");
                if (*text == '\0')
                        break;
                for (; *text && (quote || !strchr(" \t\n", *text)); text++) {
                        bool is_quote = quote ? *text == quote : *text == '\'' || *text == '"';

                        if (is_quote && quote)
                                quote = '\0';
                        else if (is_quote)
                                quote = *text;
                        else if (n < sizeof(word))
                                word[n++] = *text;
                }
                if (quote || n == sizeof(word))
                        return error_set(err, ERROR_INVALID,
                                         "mkfs options end inside quotes or are too long");
                r = add_copy(words, "", word, n, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static bool is_simple(const char *value) {
        return *value && value[strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                             "0123456789_.")] == '\0';
}

static int add_parameter(const FormatParameter *parameter, const char *value, FsMakeWords *words,
                         Error *err) {
        int r;

        if (!parameter->option)
                return add_split(words, value, err);
        if (parameter->when && !str_equal(parameter->when, value))
                return 0;
        r = add(words, parameter->option, err);
        if (r < 0)
                return r;
        if (parameter->when)
                return parameter->prefix ? add(words, parameter->prefix, err) : 0;
        if (!is_simple(value))
                return error_set(err, ERROR_INVALID, "%s: \"%.40s\" is not a number or a name",
                                 parameter->key, value);
        return add_copy(words, parameter->prefix ? parameter->prefix : "", value, strlen(value),
                        err);
}

/* Whether the key is for @fs_type by any of its rows. */
static const FormatParameter *find_parameter(const FormatRules *rules, const char *key,
                                             const char *fs_type) {
        for (const FormatParameter *p = rules->parameters; p->key; p++) {
                if (str_equal(p->key, key) &&
                    (str_is_empty(p->fs_type) || str_equal(p->fs_type, fs_type)))
                        return p;
        }
        return NULL;
}

int fs_make_words(const FormatRules *rules, const char *fs_type, const StringMap *context,
                  FsMakeWords *words, Error *err) {
        int r = 0;

        memset(words, 0, sizeof(*words));
        for (const FormatDefault *d = rules->defaults; r == 0 && d && d->fs_type; d++) {
                for (size_t i = 0; str_equal(d->fs_type, fs_type) && r == 0 && d->words[i]; i++)
                        r = add(words, d->words[i], err);
        }
        for (const FormatParameter *p = rules->parameters; r == 0 && p && p->key; p++) {
                const char *value = context ? string_map_get(context, p->key) : NULL;
                const FormatParameter *mine = find_parameter(rules, p->key, fs_type);

                if (str_is_empty(value) || (mine && mine != p))
                        continue;
                if (!mine)
                        return error_set(err, ERROR_INVALID, "%s is not a parameter of %s volumes",
                                         p->key, fs_type);
                r = add_parameter(mine, value, words, err);
        }
        return r;
}
