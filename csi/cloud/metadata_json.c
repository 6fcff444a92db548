/* SPDX-License-Identifier: Apache-2.0 */

/* Answers to values. Pure. Whoever answers on a link-local address is believed only so far: depth
 * and size are bounded, and what becomes a node ID has no control characters. */

#include "csi/cloud/metadata_internal.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <jansson.h>

/* Names of the paths in the table have at most 20 characters. */
#define KEY_MAX 64

/* jansson's own limit is 2048 levels, each a frame on a worker's stack. */
static bool is_too_deep(const char *text, size_t n) {
        bool in_string = false;
        unsigned int depth = 0;

        for (size_t i = 0; i < n; i++) {
                if (in_string) {
                        if (text[i] == '\\')
                                i++;
                        else if (text[i] == '"')
                                in_string = false;
                } else if (text[i] == '"') {
                        in_string = true;
                } else if (text[i] == '{' || text[i] == '[') {
                        if (++depth > METADATA_DEPTH_MAX)
                                return true;
                } else if ((text[i] == '}' || text[i] == ']') && depth > 0) {
                        depth--;
                }
        }
        return false;
}

int metadata_json_parse(const char *text, size_t n, struct json_t **jsonp) {
        json_error_t where;
        json_t *json;

        if (n > METADATA_ANSWER_MAX || is_too_deep(text, n))
                return -EFBIG;
        json = json_loadb(text, n, JSON_DECODE_ANY, &where);
        if (!json)
                return -EINVAL;
        *jsonp = json;
        return 0;
}

static bool is_name(const char *text) {
        size_t n = strlen(text), n_char;

        for (size_t i = 0; i < n; i += n_char) {
                n_char = str_utf8_length(text + i, n - i);
                if (n_char == 0 || (unsigned char)text[i] < ' ' || text[i] == 0x7f)
                        return false;
        }
        return true;
}

static int copy_name(const char *text, char *buffer, size_t n_buffer) {
        size_t n = strlen(text);

        if (n >= n_buffer || !is_name(text))
                return -EINVAL;
        memcpy(buffer, text, n + 1);
        return 0;
}

int metadata_json_text(const struct json_t *json, const char *path, char *buffer, size_t n_buffer) {
        char key[KEY_MAX], number[24];

        while (*path) {
                size_t n = strcspn(path, ".");

                if (n >= sizeof(key))
                        return -EINVAL;
                memcpy(key, path, n);
                key[n] = '\0';
                json = json_object_get(json, key);
                path += n + (path[n] == '.');
        }
        if (!json || json_is_null(json))
                return -ENOENT;
        if (json_is_integer(json)) {
                snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(json));
                return copy_name(number, buffer, n_buffer);
        }
        /* A string with a NUL inside would be compared by its start only. */
        if (!json_is_string(json) || strlen(json_string_value(json)) != json_string_length(json))
                return -EINVAL;
        return copy_name(json_string_value(json), buffer, n_buffer);
}

/* A plain text answer without the space around it. */
static int plain_text(const char *text, size_t n, char *buffer, size_t n_buffer) {
        static const char space[] = " \t\r\n";
        char line[METADATA_TEXT_MAX];

        while (n > 0 && strchr(space, text[n - 1]) && text[n - 1] != '\0')
                n--;
        while (n > 0 && strchr(space, *text) && *text != '\0') {
                text++;
                n--;
        }
        if (n == 0)
                return -ENOENT;
        if (n >= sizeof(line) || memchr(text, '\0', n))
                return -EINVAL;
        memcpy(line, text, n);
        line[n] = '\0';
        return copy_name(line, buffer, n_buffer);
}

int metadata_row_text(const MetadataRow *row, const char *text, size_t n, char *buffer,
                      size_t n_buffer) {
        const char *slash;
        json_t *json;
        int r;

        if (!row->key) {
                r = plain_text(text, n, buffer, n_buffer);
        } else {
                r = metadata_json_parse(text, n, &json);
                if (r == 0) {
                        r = metadata_json_text(json, row->key, buffer, n_buffer);
                        json_decref(json);
                }
        }
        if (r == 0 && (row->flags & METADATA_ROW_LAST_ELEMENT)) {
                slash = strrchr(buffer, '/');
                if (slash)
                        memmove(buffer, slash + 1, strlen(slash));
        }
        if (r == 0 && buffer[0] == '\0')
                return -ENOENT;
        return r;
}

char *metadata_node_field(MetadataNode *node, MetadataField field) {
        switch (field) {
        case METADATA_FIELD_INSTANCE_ID:
                return node->instance_id;
        case METADATA_FIELD_NAME:
                return node->name;
        case METADATA_FIELD_REGION:
                return node->region;
        case METADATA_FIELD_ZONE:
                return node->zone;
        case METADATA_FIELD_INSTANCE_TYPE:
                return node->instance_type;
        case METADATA_FIELD_PROJECT:
                return node->project;
        case METADATA_FIELD_NONE:
                break;
        }
        return NULL;
}

unsigned int metadata_count_lines(const char *text, const char *word) {
        unsigned int n_lines = 0;

        while (*text) {
                size_t n = strcspn(text, "\n");

                if (n > 0 && (!word || memmem(text, n, word, strlen(word))))
                        n_lines++;
                text += n + (text[n] == '\n');
        }
        return n_lines;
}
