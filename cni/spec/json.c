/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/spec/json.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <string.h>
#include <strings.h>

/* A string with a NUL is an error where it is read, and nobody's concern elsewhere: annotations of
 * pods may come along. */
#define LOAD_FLAGS (JSON_DECODE_ANY | JSON_ALLOW_NUL)

/* jansson recurses per level; the depth is known before it starts. */
static bool is_too_deep(const char *text, size_t n) {
        unsigned int depth = 0;
        bool quoted = false;

        for (size_t i = 0; i < n; i++) {
                char c = text[i];

                if (quoted && c == '\\')
                        i++;
                else if (c == '"')
                        quoted = !quoted;
                else if (!quoted && (c == '{' || c == '[') && ++depth > JSON_DEPTH_MAX)
                        return true;
                else if (!quoted && (c == '}' || c == ']') && depth > 0)
                        depth--;
        }
        return false;
}

/* The end of the string that starts at @i, after its quote. */
static size_t string_end(const char *text, size_t n, size_t i) {
        for (i++; i < n && text[i] != '"'; i++)
                if (text[i] == '\\')
                        i++;
        return i < n ? i + 1 : n;
}

/*
 * Go takes an unsigned 64 bit number, and any number under a key that nobody reads; jansson refuses
 * what is beyond int64. Such a number becomes a real one: ".0" is put behind it.
 */
static char *widen_numbers(const char *text, size_t n, size_t *np) {
        StrBuf out = {0};
        size_t i = 0, start;

        while (i < n) {
                start = i;
                if (text[i] == '"') {
                        i = string_end(text, n, i);
                        strbuf_append_n(&out, text + start, i - start);
                        continue;
                }
                while (i < n && text[i] >= '0' && text[i] <= '9')
                        i++;
                if (i == start) {
                        strbuf_append_n(&out, text + i++, 1);
                        continue;
                }
                strbuf_append_n(&out, text + start, i - start);
                if (i - start >= 19 && (start == 0 || !strchr(".eE+", text[start - 1])) &&
                    (i == n || !strchr(".eE", text[i])))
                        strbuf_append(&out, ".0");
        }
        *np = out.n;
        return strbuf_steal(&out);
}

static json_t *load(const char *text, size_t n, json_error_t *error) {
        cleanup(freep) char *wide = NULL;
        json_t *value = json_loadb(text, n, LOAD_FLAGS, error);
        size_t n_wide = 0;

        if (value || json_error_code(error) != json_error_numeric_overflow)
                return value;
        wide = widen_numbers(text, n, &n_wide);
        return wide ? json_loadb(wide, n_wide, LOAD_FLAGS, error) : NULL;
}

int json_text_parse(const char *text, size_t n, json_t **valuep, Error *err) {
        json_error_t error;
        json_t *value;

        if (n > JSON_SIZE_MAX)
                return error_set(err, ERROR_RANGE, "more than %u bytes of JSON", JSON_SIZE_MAX);
        if (is_too_deep(text, n))
                return error_set(err, ERROR_RANGE, "JSON nested deeper than %d levels",
                                 JSON_DEPTH_MAX);
        value = load(text, n, &error);
        if (!value)
                return error_set(err, ERROR_INVALID, "line %d, column %d: %s", error.line,
                                 error.column, error.text);
        *valuep = value;
        return 0;
}

json_t *json_find(const json_t *object, const char *key) {
        json_t *found = NULL;
        void *iter;

        /* jansson's iterators take no const; nothing is changed through them. */
        if (!json_is_object(object))
                return NULL;
        for (iter = json_object_iter((json_t *)(uintptr_t)object); iter;
             iter = json_object_iter_next((json_t *)(uintptr_t)object, iter))
                if (strcasecmp(json_object_iter_key(iter), key) == 0 &&
                    !json_is_null(json_object_iter_value(iter)))
                        found = json_object_iter_value(iter);
        return found;
}

const char *json_type_name(const json_t *value) {
        static const char *const names[] = {
                [JSON_OBJECT] = "an object",    [JSON_ARRAY] = "a list",
                [JSON_STRING] = "a string",     [JSON_INTEGER] = "a number",
                [JSON_REAL] = "a fraction",     [JSON_TRUE] = "true or false",
                [JSON_FALSE] = "true or false", [JSON_NULL] = "null",
        };

        return names[json_typeof(value)];
}

static int wrong_type(const char *key, const char *wanted, const json_t *value, Error *err) {
        return error_set(err, ERROR_INVALID, "\"%s\" must be %s, not %s", key, wanted,
                         json_type_name(value));
}

int json_read_bool(const json_t *object, const char *key, bool *valuep, Error *err) {
        const json_t *value = json_find(object, key);

        if (!value)
                return 0;
        if (!json_is_boolean(value))
                return wrong_type(key, "true or false", value, err);
        *valuep = json_is_true(value);
        return 0;
}

int json_read_number(const json_t *object, const char *key, int64_t min, int64_t max,
                     int64_t *valuep, Error *err) {
        const json_t *value = json_find(object, key);
        json_int_t number;

        if (!value)
                return 0;
        if (!json_is_integer(value))
                return wrong_type(key, "a number", value, err);
        number = json_integer_value(value);
        if (number < min || number > max)
                return error_set(err, ERROR_INVALID,
                                 "\"%s\" is %lld, must be between %lld and %lld", key,
                                 (long long)number, (long long)min, (long long)max);
        *valuep = number;
        return 0;
}

/* jansson keeps integers signed: what is beyond INT64_MAX arrives as a real number. containerd
 * sends UINT64_MAX as "no limit". */
int json_read_u64(const json_t *object, const char *key, uint64_t max, uint64_t *valuep,
                  Error *err) {
        const json_t *value = json_find(object, key);
        uint64_t number;

        if (!value)
                return 0;
        if (json_is_real(value) && json_real_value(value) >= 9223372036854775807.0 &&
            json_real_value(value) <= 18446744073709551616.0)
                number = json_real_value(value) >= 18446744073709551615.0
                                 ? UINT64_MAX
                                 : (uint64_t)json_real_value(value);
        else if (!json_is_integer(value))
                return wrong_type(key, "a number", value, err);
        else if (json_integer_value(value) < 0)
                return error_set(err, ERROR_INVALID, "\"%s\" is %lld, must not be negative", key,
                                 (long long)json_integer_value(value));
        else
                number = (uint64_t)json_integer_value(value);
        if (number > max)
                return error_set(err, ERROR_INVALID, "\"%s\" is %llu, must be at most %llu", key,
                                 (unsigned long long)number, (unsigned long long)max);
        *valuep = number;
        return 0;
}

int json_read_text(const json_t *object, const char *key, const char **valuep, Error *err) {
        const json_t *value = json_find(object, key);

        if (!value)
                return 0;
        if (!json_is_string(value))
                return wrong_type(key, "a string", value, err);
        if (strlen(json_string_value(value)) != json_string_length(value))
                return error_set(err, ERROR_INVALID, "\"%s\" has a NUL in it", key);
        *valuep = json_string_value(value);
        return 0;
}

int json_read_object(const json_t *object, const char *key, const json_t **valuep, Error *err) {
        const json_t *value = json_find(object, key);

        if (!value)
                return 0;
        if (!json_is_object(value))
                return wrong_type(key, "an object", value, err);
        *valuep = value;
        return 0;
}

int json_read_array(const json_t *object, const char *key, const json_t **valuep, Error *err) {
        const json_t *value = json_find(object, key);

        if (!value)
                return 0;
        if (!json_is_array(value))
                return wrong_type(key, "a list", value, err);
        *valuep = value;
        return 0;
}

int json_read_texts(const json_t *object, const char *key, const json_t **valuep, Error *err) {
        const json_t *list = NULL, *item;
        size_t i;
        int r = json_read_array(object, key, &list, err);

        if (r < 0 || !list)
                return r;
        json_array_foreach(list, i, item) {
                if (!json_is_string(item))
                        return error_set(err, ERROR_INVALID,
                                         "\"%s\" must be a list of strings, entry %zu is %s", key,
                                         i, json_type_name(item));
                if (strlen(json_string_value(item)) != json_string_length(item))
                        return error_set(err, ERROR_INVALID, "\"%s\": entry %zu has a NUL in it",
                                         key, i);
        }
        *valuep = list;
        return 0;
}
