/* SPDX-License-Identifier: Apache-2.0 */

/* Text helpers. Nothing here knows what the text means. */

#include "common/base/str.h"

#include "common/base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int digit_value(char c, unsigned int base) {
        int value = -1;

        if (c >= '0' && c <= '9')
                value = c - '0';
        else if (c >= 'a' && c <= 'f')
                value = c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
                value = c - 'A' + 10;
        return value >= 0 && (unsigned int)value < base ? value : -1;
}

/* Reads digits from the start of @text; *endp is the first byte that is none. */
static int parse_digits(const char *text, unsigned int base, uint64_t *valuep, const char **endp) {
        uint64_t value = 0;
        const char *p;

        for (p = text; digit_value(*p, base) >= 0; p++)
                if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
                    __builtin_add_overflow(value, (uint64_t)digit_value(*p, base), &value))
                        return -ERANGE;
        if (p == text)
                return -EINVAL;
        *valuep = value;
        *endp = p;
        return 0;
}

static int parse_whole(const char *text, unsigned int base, uint64_t max, uint64_t *valuep) {
        const char *end;
        uint64_t value;
        int r;

        r = text ? parse_digits(text, base, &value, &end) : -EINVAL;
        if (r < 0)
                return r;
        if (*end != '\0')
                return -EINVAL;
        if (value > max)
                return -ERANGE;
        *valuep = value;
        return 0;
}

int str_parse_u64(const char *text, uint64_t max, uint64_t *valuep) {
        return parse_whole(text, 10, max, valuep);
}

int str_parse_hex_u64(const char *text, uint64_t max, uint64_t *valuep) {
        return parse_whole(text, 16, max, valuep);
}

int str_parse_size(const char *text, uint64_t *bytesp) {
        static const char powers[] = "kMGTPE";
        const char *end, *power;
        uint64_t value, factor = 1;
        bool binary;
        int r;

        r = text ? parse_digits(text, 10, &value, &end) : -EINVAL;
        if (r < 0)
                return r;
        if (*end != '\0') {
                binary = end[1] == 'i';
                power = strchr(powers, *end == 'K' && binary ? 'k' : *end);
                if (!power || end[binary ? 2 : 1] != '\0' || (*end == 'k' && binary))
                        return -EINVAL;
                for (const char *p = powers; p <= power; p++)
                        factor *= binary ? 1024 : 1000;
        }
        if (__builtin_mul_overflow(value, factor, &value))
                return -ERANGE;
        *bytesp = value;
        return 0;
}

bool str_has_suffix(const char *text, const char *suffix) {
        size_t n_text = strlen(text), n_suffix = strlen(suffix);

        return n_text >= n_suffix && strcmp(text + n_text - n_suffix, suffix) == 0;
}

void str_trim_end(char *text) {
        size_t n = strlen(text);

        while (n > 0 && isspace((unsigned char)text[n - 1]))
                text[--n] = '\0';
}

/* RFC 3629: no overlong form, no surrogate, nothing beyond U+10FFFF. */
size_t str_utf8_length(const char *text, size_t n_text) {
        const unsigned char *p = (const unsigned char *)text;
        size_t n;

        if (n_text == 0)
                return 0;
        if (p[0] < 0x80)
                return 1;
        n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
        if (p[0] < 0xc2 || p[0] > 0xf4 || n > n_text)
                return 0;
        for (size_t i = 1; i < n; i++)
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
        if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
            (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
                return 0;
        return n;
}

static uint32_t decode(const char *text, size_t n) {
        const unsigned char *c = (const unsigned char *)text;
        uint32_t code = n == 1 ? c[0] : c[0] & (0x7fU >> n);

        for (size_t i = 1; i < n; i++)
                code = code << 6 | (c[i] & 0x3fU);
        return code;
}

size_t str_obeyed_length(const char *text, uint32_t *codep) {
        static const struct {
                uint32_t first, last;
        } obeyed[] = {
                {0x80, 0x9f},     {0xad, 0xad},       {0x61c, 0x61c},   {0x180e, 0x180e},
                {0x200b, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f}, {0xfeff, 0xfeff},
                {0xfff9, 0xfffb}, {0xe0000, 0xe007f},
        };
        size_t n = str_utf8_length(text, strnlen(text, 4));
        uint32_t code;

        if (n < 2)
                return 0;
        code = decode(text, n);
        for (size_t i = 0; i < N_ELEMENTS(obeyed); i++)
                if (code >= obeyed[i].first && code <= obeyed[i].last) {
                        *codep = code;
                        return n;
                }
        return 0;
}

static bool is_control(char c) {
        return ((unsigned char)c < 0x20 && c != '\t' && c != '\n') || c == 0x7f;
}

void str_make_utf8(char *text) {
        size_t left = strlen(text);
        uint32_t code;

        while (left > 0) {
                size_t n = str_utf8_length(text, left);

                if (n > 1 && str_obeyed_length(text, &code) > 0)
                        memset(text, '?', n);
                if (n == 0 || is_control(*text))
                        *text = '?';
                text += n ? n : 1;
                left -= n ? n : 1;
        }
}

char *str_printf(const char *format, ...) {
        char *text;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&text, format, ap);
        va_end(ap);
        return n < 0 ? NULL : text;
}

void strbuf_deinit(StrBuf *buf) {
        free(buf->text);
        *buf = (StrBuf){0};
}

static bool strbuf_reserve(StrBuf *buf, size_t n_more) {
        size_t need, size;
        char *text;

        if (buf->failed)
                return false;
        if (__builtin_add_overflow(buf->n, n_more, &need) ||
            __builtin_add_overflow(need, 1, &need)) {
                buf->failed = true;
                return false;
        }
        if (need <= buf->n_allocated)
                return true;
        size = buf->n_allocated ? buf->n_allocated : 256;
        while (size < need)
                size = size > SIZE_MAX / 2 ? need : size * 2;
        text = realloc(buf->text, size);
        if (!text) {
                buf->failed = true;
                return false;
        }
        buf->text = text;
        buf->n_allocated = size;
        return true;
}

void strbuf_append_n(StrBuf *buf, const char *text, size_t n) {
        if (!strbuf_reserve(buf, n))
                return;
        memcpy(buf->text + buf->n, text, n);
        buf->n += n;
        buf->text[buf->n] = '\0';
}

void strbuf_append(StrBuf *buf, const char *text) {
        strbuf_append_n(buf, text, strlen(text));
}

void strbuf_printf(StrBuf *buf, const char *format, ...) {
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(NULL, 0, format, ap);
        va_end(ap);
        if (n < 0 || !strbuf_reserve(buf, (size_t)n)) {
                buf->failed = true;
                return;
        }
        va_start(ap, format);
        (void)vsnprintf(buf->text + buf->n, (size_t)n + 1, format, ap);
        va_end(ap);
        buf->n += (size_t)n;
}

char *strbuf_steal(StrBuf *buf) {
        char *text = buf->failed ? NULL : ptr_steal(&buf->text);
        bool failed = buf->failed;

        strbuf_deinit(buf);
        return text || failed ? text : strdup("");
}
