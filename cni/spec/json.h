/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_SPEC_JSON_H
#define BERTH_CNI_SPEC_JSON_H

/*
 * JSON as Go's decoder reads it, because the world's configurations were written for that: keys
 * match without regard to ASCII case (containerd sends "HostPort"), the last of equal keys wins,
 * unknown keys are ignored, null is absence, and a wrong type is an error that names the key.
 *
 * Everything returned is borrowed from the tree.
 */

#include "common/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Text from outside: larger or deeper is refused before a byte is parsed. */
#define JSON_SIZE_MAX  (8U * 1024 * 1024)
#define JSON_DEPTH_MAX 64

/**
 * json_text_parse() - parse one JSON value; nothing but white space may follow
 *
 * Return: 0 with *@valuep to be freed by json_decref(); negative with @err filled (INVALID, with
 * line and column; RANGE beyond a limit).
 */
int json_text_parse(const char *text, size_t n, json_t **valuep, Error *err);

/* The member @key of @object, or NULL: absent, null, or @object is NULL or no object. */
json_t *json_find(const json_t *object, const char *key);

/*
 * Readers of one member: absent leaves *@valuep as it is and returns 0; a wrong type or a value out
 * of range is INVALID, naming the key. json_read_number() takes integers only, as Go does for an
 * int field.
 */
int json_read_bool(const json_t *object, const char *key, bool *valuep, Error *err);
int json_read_number(const json_t *object, const char *key, int64_t min, int64_t max,
                     int64_t *valuep, Error *err);
int json_read_u64(const json_t *object, const char *key, uint64_t max, uint64_t *valuep,
                  Error *err);
int json_read_text(const json_t *object, const char *key, const char **valuep, Error *err);
int json_read_object(const json_t *object, const char *key, const json_t **valuep, Error *err);
int json_read_array(const json_t *object, const char *key, const json_t **valuep, Error *err);

/* An array of strings. */
int json_read_texts(const json_t *object, const char *key, const json_t **valuep, Error *err);

/* "string", "number", "true or false", ... for messages. */
const char *json_type_name(const json_t *value);

#endif
