/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/cloud/disk_page.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <ctype.h>
#include <jansson.h>

#define PAGE_HEADER_BYTES       4
#define DESIGNATOR_HEADER_BYTES 4

enum {
        CODE_SET_BINARY = 1,
        CODE_SET_ASCII = 2,
        CODE_SET_UTF8 = 3,
};

static bool is_blank(uint8_t byte) {
        return byte == 0 || byte == ' ' || byte == '\t' || byte == '\n';
}

/* Text without white space and NULs at its ends. False if nothing is left, or what no name has. */
static bool take_text(const uint8_t *bytes, size_t n, char text[DISK_TEXT_MAX]) {
        while (n > 0 && is_blank(bytes[0]))
                bytes++, n--;
        while (n > 0 && is_blank(bytes[n - 1]))
                n--;
        if (n == 0 || n >= DISK_TEXT_MAX)
                return false;
        for (size_t i = 0; i < n; i++)
                if (bytes[i] < ' ' || bytes[i] == 0x7f)
                        return false;
        memcpy(text, bytes, n);
        text[n] = '\0';
        str_make_utf8(text);
        return true;
}

static bool take_hex(const uint8_t *bytes, size_t n, char text[DISK_TEXT_MAX]) {
        static const char digits[] = "0123456789abcdef";

        if (n == 0 || n * 2 >= DISK_TEXT_MAX)
                return false;
        for (size_t i = 0; i < n; i++) {
                text[i * 2] = digits[bytes[i] >> 4];
                text[i * 2 + 1] = digits[bytes[i] & 0xf];
        }
        text[n * 2] = '\0';
        return true;
}

/* The page's content, and whether all of it is there. */
static int page_body(const uint8_t *page, size_t n_page, uint8_t code, const uint8_t **bodyp,
                     size_t *np) {
        size_t n;

        if (n_page < PAGE_HEADER_BYTES || page[1] != code)
                return -EINVAL;
        n = (size_t)page[2] << 8 | page[3];
        if (n > n_page - PAGE_HEADER_BYTES)
                return -EINVAL;
        *bodyp = page + PAGE_HEADER_BYTES;
        *np = n;
        return 0;
}

static bool take_designator(const uint8_t *bytes, size_t n, Designator *designator) {
        unsigned int code_set = bytes[0] & 0xfU, association = bytes[1] >> 4 & 3U,
                     type = bytes[1] & 0xfU;

        if (association != 0 || type > DESIGNATOR_NAA)
                return false;
        designator->type = (DesignatorType)type;
        bytes += DESIGNATOR_HEADER_BYTES;
        if (code_set == CODE_SET_BINARY)
                return take_hex(bytes, n, designator->text);
        if (code_set == CODE_SET_ASCII || code_set == CODE_SET_UTF8)
                return take_text(bytes, n, designator->text);
        return false;
}

int disk_page_83(const uint8_t *page, size_t n_page, Designator designators[DESIGNATORS_MAX],
                 size_t *np) {
        const uint8_t *at;
        size_t n, n_found = 0;
        int r;

        r = page_body(page, n_page, 0x83, &at, &n);
        if (r < 0)
                return r;
        while (n > 0) {
                size_t n_text;

                if (n < DESIGNATOR_HEADER_BYTES || at[3] > n - DESIGNATOR_HEADER_BYTES)
                        return -EINVAL;
                n_text = at[3];
                if (n_found < DESIGNATORS_MAX && take_designator(at, n_text, &designators[n_found]))
                        n_found++;
                at += DESIGNATOR_HEADER_BYTES + n_text;
                n -= DESIGNATOR_HEADER_BYTES + n_text;
        }
        *np = n_found;
        return 0;
}

int disk_page_80(const uint8_t *page, size_t n_page, char text[DISK_TEXT_MAX]) {
        const uint8_t *body;
        size_t n;
        int r;

        r = page_body(page, n_page, 0x80, &body, &n);
        if (r < 0)
                return r;
        return take_text(body, n, text) ? 0 : -ENOENT;
}

int disk_nvme_name(const uint8_t *data, size_t n_data, char text[DISK_TEXT_MAX]) {
        const char *name = NULL;
        json_t *json;
        size_t n = 0;
        bool found;

        /* Most disks have zeros there, or bytes of their own. */
        if (n_data == 0 || data[0] != '{')
                return -ENOENT;
        json = json_loadb((const char *)data, strnlen((const char *)data, n_data),
                          JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, NULL);
        if (json_unpack(json, "{s:s%}", "device_name", &name, &n) < 0)
                name = NULL;
        found = name && take_text((const uint8_t *)name, n, text);
        json_decref(json);
        return found ? 0 : -ENOENT;
}

static const char *next_digit(const char *text) {
        while (*text && !isxdigit((unsigned char)*text))
                text++;
        return text;
}

/* "naa.", "eui." and "uuid." have letters that look like digits. */
static const char *skip_prefix(const char *text) {
        const char *dot = strchr(text, '.');

        if (dot)
                return dot + 1;
        return strncasecmp(text, "0x", 2) == 0 ? text + 2 : text;
}

bool disk_hex_equal(const char *a, const char *b) {
        size_t n = 0;

        a = next_digit(skip_prefix(a));
        b = next_digit(skip_prefix(b));
        for (; *a && *b; n++) {
                if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
                        return false;
                a = next_digit(a + 1);
                b = next_digit(b + 1);
        }
        return n > 0 && !*a && !*b;
}
