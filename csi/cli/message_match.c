/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/cli/message_match.h"

#include "common/base/str.h"

#include <ctype.h>

#define GAP      "\xe2\x80\xa6" /* "…" */
#define WORD_MIN 4U

static bool is_letter(char c) {
        return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

void message_normalize(char *message) {
        char *to = message;

        for (const char *from = message; *from; from++) {
                if (from[0] == '\\' && from[1] == '"')
                        continue;
                if (!isspace((unsigned char)*from))
                        *to++ = *from;
                else if (to > message && to[-1] != ' ')
                        *to++ = ' ';
        }
        *to = '\0';
        str_trim_end(message);
}

/* Where @text, of @n bytes, stands in @message from @from on; NULL if nowhere. @starts, @ends: not
 * in the middle of a word. */
static const char *find_part(const char *from, const char *message, const char *text, size_t n,
                             bool starts, bool ends) {
        for (const char *at = from; *at; at++) {
                if (strncmp(at, text, n) != 0)
                        continue;
                if (starts && at > message && is_letter(text[0]) && is_letter(at[-1]))
                        continue;
                if (ends && is_letter(text[n - 1]) && is_letter(at[n]))
                        continue;
                return at;
        }
        return NULL;
}

static size_t letters(const char *text, size_t n) {
        size_t found = 0;

        for (size_t i = 0; i < n; i++)
                found += isalnum((unsigned char)text[i]) != 0;
        return found;
}

/* The leftmost place of each part leaves most room for the next ones. */
size_t message_weight(const char *sentence, const char *message) {
        const char *at = message;
        size_t weight = 0;

        for (const char *part = sentence; *part;) {
                const char *gap = strstr(part, GAP);
                size_t n = gap ? (size_t)(gap - part) : strlen(part);

                if (n > 0) {
                        at = find_part(at, message, part, n, part == sentence, !gap);
                        if (!at)
                                return 0;
                        at += n;
                        weight += letters(part, n);
                }
                part += n + (gap ? strlen(GAP) : 0);
        }
        return weight;
}

bool message_find(const MessageEntry *entries, const char *message, MessageFound *found) {
        *found = (MessageFound){0};
        for (const MessageEntry *entry = entries; entry->place; entry++) {
                for (size_t i = 0; entry->sentences[i]; i++) {
                        size_t weight = message_weight(entry->sentences[i], message);

                        if (weight > found->weight)
                                *found = (MessageFound){entry, entry->sentences[i], weight};
                }
        }
        return found->weight > 0;
}

/* How many words of @sentence stand in @message. */
static size_t shared_words(const char *sentence, const char *message) {
        size_t shared = 0;

        for (const char *at = sentence; *at;) {
                size_t n = 0;

                while (isalpha((unsigned char)at[n]))
                        n++;
                if (n >= WORD_MIN && find_part(message, message, at, n, true, true))
                        shared++;
                at += n > 0 ? n : 1;
        }
        return shared;
}

/* Puts @one where it belongs among the @n best, which have room for @n_max. */
static size_t keep_best(MessageFound *best, size_t n, size_t n_max, MessageFound one) {
        size_t place = n;

        while (place > 0 && best[place - 1].weight < one.weight)
                place--;
        if (place == n_max)
                return n;
        n = n < n_max ? n + 1 : n_max;
        for (size_t i = n - 1; i > place; i--)
                best[i] = best[i - 1];
        best[place] = one;
        return n;
}

size_t message_near(const MessageEntry *entries, const char *message, MessageFound *found,
                    size_t n_found) {
        size_t n = 0;

        for (const MessageEntry *entry = entries; entry->place; entry++) {
                for (size_t i = 0; entry->sentences[i]; i++) {
                        MessageFound one = {entry, entry->sentences[i],
                                            shared_words(entry->sentences[i], message)};

                        if (one.weight >= 2)
                                n = keep_best(found, n, n_found, one);
                }
        }
        return n;
}
