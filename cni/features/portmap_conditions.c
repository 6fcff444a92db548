/* SPDX-License-Identifier: Apache-2.0 */

/*
 * conditionsV4 and conditionsV6 were made to be pasted into a command line of iptables or of
 * nft(8). The few words that people write there are understood; anything else is refused, because
 * a condition that is not met lets packets through that were meant to stay outside.
 */

#include "cni/features/portmap_conf.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define WORDS_MAX 128
#define WORD_MAX  128

typedef struct Words {
        char words[WORDS_MAX][WORD_MAX];
        size_t n, next;
        const char *key;
        bool v6;
        RuleConditions *conditions;
        Error *err;
} Words;

static int refuse(const Words *words, const char *word) {
        return error_set(words->err, ERROR_UNSUPPORTED, "portmap: %s: \"%s\" is not supported",
                         words->key, word);
}

static const char *take(Words *words) {
        return words->next < words->n ? words->words[words->next++] : NULL;
}

static const char *peek(const Words *words) {
        return words->next < words->n ? words->words[words->next] : "";
}

static bool take_if(Words *words, const char *word) {
        if (strcmp(peek(words), word) != 0)
                return false;
        words->next++;
        return true;
}

/* nft(8)'s words may come in one string, iptables' arguments each in their own. */
static int split(Words *words, const json_t *array) {
        for (size_t i = 0; i < json_array_size(array); i++) {
                const char *text = json_string_value(json_array_get(array, i));

                while (text && *text) {
                        size_t n = strcspn(text, " \t");

                        if (n >= WORD_MAX || words->n >= WORDS_MAX)
                                return error_set(words->err, ERROR_INVALID,
                                                 "portmap: %s is too long", words->key);
                        if (n > 0) {
                                memcpy(words->words[words->n], text, n);
                                words->words[words->n++][n] = '\0';
                        }
                        text += n;
                        text += strspn(text, " \t");
                }
        }
        return 0;
}

static RuleCondition *append(Words *words, ConditionKind kind, bool differs) {
        RuleConditions *conditions = words->conditions;
        RuleCondition *item;

        if (conditions->n >= RULE_CONDITIONS_MAX) {
                error_set(words->err, ERROR_INVALID, "portmap: %s has more than %d conditions",
                          words->key, RULE_CONDITIONS_MAX);
                return NULL;
        }
        item = &conditions->items[conditions->n++];
        *item = (RuleCondition){.kind = kind, .differs = differs};
        return item;
}

static int add_prefix(Words *words, ConditionKind kind, bool differs) {
        const char *text = take(words);
        RuleCondition *item = append(words, kind, differs);

        if (!item)
                return -EINVAL;
        if (!text)
                return error_set(words->err, ERROR_INVALID, "portmap: %s ends early", words->key);
        if (ip_prefix_parse(text, &item->prefix) < 0) {
                if (ip_parse(text, &item->prefix.address) < 0)
                        return refuse(words, text);
                item->prefix.length = (uint8_t)(ip_size(&item->prefix.address) * 8);
        }
        if ((item->prefix.address.family == AF_INET6) != words->v6)
                return error_set(words->err, ERROR_INVALID,
                                 "portmap: %s: %s is of the other address family", words->key,
                                 text);
        return 0;
}

/* @wild: the character that makes a prefix of a name. */
static int add_link(Words *words, bool differs, char wild) {
        const char *text = take(words);
        RuleCondition *item = append(words, CONDITION_IN_LINK, differs);
        size_t n;

        if (!item)
                return -EINVAL;
        if (!text)
                return error_set(words->err, ERROR_INVALID, "portmap: %s ends early", words->key);
        n = strlen(text);
        if (n >= 2 && text[0] == '"' && text[n - 1] == '"') {
                text++;
                n -= 2;
        }
        if (n == 0 || n > IFNAMSIZ || (n == IFNAMSIZ && text[n - 1] != wild) || text[0] == '{')
                return refuse(words, text);
        memcpy(item->link, text, n < IFNAMSIZ ? n : IFNAMSIZ - 1);
        item->n_link = IFNAMSIZ;
        if (text[n - 1] == wild) {
                item->n_link = (uint32_t)n - 1;
                item->link[n - 1] = '\0';
        }
        if (item->n_link == 0)
                words->conditions->n--; /* any link: no condition */
        return 0;
}

static int iptables_match(Words *words) {
        const char *name = take(words);

        if (str_equal(name, "comment") && take_if(words, "--comment"))
                return take(words) ? 0 : refuse(words, "--comment");
        if (str_equal(name, "addrtype") && take_if(words, "--dst-type")) {
                const char *type = take(words);

                return str_equal(type, "LOCAL") ? 0 : refuse(words, type ? type : "--dst-type");
        }
        return refuse(words, name ? name : "-m");
}

static int iptables_word(Words *words) {
        static const struct {
                const char *word;
                ConditionKind kind;
        } options[] = {
                {"-s", CONDITION_SOURCE},         {"--source", CONDITION_SOURCE},
                {"--src", CONDITION_SOURCE},      {"-d", CONDITION_DESTINATION},
                {"--dst", CONDITION_DESTINATION}, {"--destination", CONDITION_DESTINATION},
                {"-i", CONDITION_IN_LINK},        {"--in-interface", CONDITION_IN_LINK},
        };
        bool differs = take_if(words, "!");
        const char *word = take(words);

        if (!word)
                return refuse(words, "!");
        for (size_t i = 0; i < N_ELEMENTS(options); i++) {
                if (strcmp(word, options[i].word) != 0)
                        continue;
                if (take_if(words, "!"))
                        differs = !differs;
                if (options[i].kind == CONDITION_IN_LINK)
                        return add_link(words, differs, '+');
                return add_prefix(words, options[i].kind, differs);
        }
        if (!differs && (strcmp(word, "-m") == 0 || strcmp(word, "--match") == 0))
                return iptables_match(words);
        return refuse(words, word);
}

static bool take_differs(Words *words) {
        if (take_if(words, "!="))
                return true;
        (void)take_if(words, "==");
        return false;
}

static int nft_word(Words *words) {
        const char *word = take(words);
        const char *field;

        if (str_equal(word, "meta") && strcmp(peek(words), "iifname") == 0)
                word = take(words);
        if (str_equal(word, "iifname"))
                return add_link(words, take_differs(words), '*');
        if (!str_equal(word, words->v6 ? "ip6" : "ip"))
                return refuse(words, word ? word : "");
        field = take(words);
        if (str_equal(field, "saddr"))
                return add_prefix(words, CONDITION_SOURCE, take_differs(words));
        if (str_equal(field, "daddr"))
                return add_prefix(words, CONDITION_DESTINATION, take_differs(words));
        return refuse(words, field ? field : word);
}

static void words_free(Words *words) {
        free(words);
}

CLEANUP_DEFINE(Words *, words_free);

int conditions_parse(const json_t *array, bool v6, RuleConditions *conditions, Error *err) {
        cleanup(words_freep) Words *words = calloc(1, sizeof(*words));
        bool iptables;
        int r;

        if (!words)
                return error_set_errno(err, ENOMEM, "portmap");
        words->key = v6 ? "conditionsV6" : "conditionsV4";
        words->v6 = v6;
        words->conditions = conditions;
        words->err = err;
        conditions->n = 0;
        r = split(words, array);
        iptables = words->n > 0 && (words->words[0][0] == '-' || words->words[0][0] == '!');
        while (r == 0 && words->next < words->n)
                r = iptables ? iptables_word(words) : nft_word(words);
        return r;
}
