/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_STR_H
#define BERTH_BASE_STR_H

/* Text: strict number parsing, prefix tests, and a growing buffer. */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/**
 * str_parse_u64() - decimal digits to a number
 * @text:   the whole string is the number: no sign, space, prefix or tail
 * @max:    largest value accepted
 * @valuep: written only on success
 *
 * Return: 0; -EINVAL for anything else than digits; -ERANGE beyond @max.
 */
int str_parse_u64(const char *text, uint64_t max, uint64_t *valuep);

/* As str_parse_u64(), hexadecimal digits of either case, no "0x". */
int str_parse_hex_u64(const char *text, uint64_t max, uint64_t *valuep);

/**
 * str_parse_size() - a size in bytes as people and Kubernetes write it
 * @text: digits, then nothing or one of k M G T P E (1000^n) or Ki Mi Gi Ti Pi Ei (1024^n); no
 * space, no fraction
 *
 * Return: 0; -EINVAL; -ERANGE beyond UINT64_MAX.
 */
int str_parse_size(const char *text, uint64_t *bytesp);

static inline bool str_equal(const char *a, const char *b) {
        return a && b && strcmp(a, b) == 0;
}

static inline bool str_is_empty(const char *text) {
        return !text || text[0] == '\0';
}

static inline bool str_has_prefix(const char *text, const char *prefix) {
        return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_has_suffix(const char *text, const char *suffix);

/* Removes white space at the end, in place. */
void str_trim_end(char *text);

/* Bytes of the valid UTF-8 character at the start of @text, which has @n_text bytes; 0 if there is
 * none. NUL counts as a character. */
size_t str_utf8_length(const char *text, size_t n_text);

/* Bytes of the character at the start of @text if a terminal would obey it instead of showing it: a
 * C1 control, one that turns the direction of writing or ends a line (Unicode's Bidi_Control,
 * U+2028, U+2029), or one that shows as nothing, so that two names look the same (of
 * Default_Ignorable_Code_Point those without a shape of their own). @codep is set then; else 0. C0
 * controls are not meant. */
size_t str_obeyed_length(const char *text, uint32_t *codep);

/* Replaces every byte that is not part of valid UTF-8, or is of what str_obeyed_length() means or
 * of another control than tab and newline, by '?', in place. For text that came from a tool or a
 * disk. */
void str_make_utf8(char *text);

/* asprintf() that returns the string or NULL without memory; caller frees. */
char *str_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * Growing text. Starts as (StrBuf){0}; always NUL-terminated once written to. A failed allocation
 * is remembered in
 * @failed and later writes do nothing, so that callers check once at the end (strbuf_steal()
 * returns NULL).
 */
typedef struct StrBuf {
        char *text; /* owned; NULL while empty */
        size_t n;   /* length without the NUL */
        size_t n_allocated;
        bool failed;
} StrBuf;

void strbuf_deinit(StrBuf *buf);
void strbuf_append(StrBuf *buf, const char *text);
void strbuf_append_n(StrBuf *buf, const char *text, size_t n);
void strbuf_printf(StrBuf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Hands out the text, "" if nothing was written, NULL if memory ran out. Caller frees; @buf is
 * empty afterwards. */
char *strbuf_steal(StrBuf *buf);

/* What is written so far, never NULL; borrowed. */
static inline const char *strbuf_text(const StrBuf *buf) {
        return buf->text ? buf->text : "";
}

#endif
