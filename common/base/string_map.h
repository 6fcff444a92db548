/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_STRING_MAP_H
#define BERTH_BASE_STRING_MAP_H

/* Names and values, borrowed. */

#include <stddef.h>

typedef struct StringPair {
        const char *key;
        const char *value;
} StringPair;

/* map<string,string>: no key twice (the last wins when decoding). */
typedef struct StringMap {
        const StringPair *pairs;
        size_t n_pairs;
} StringMap;

/* NULL if there is no such key. */
const char *string_map_get(const StringMap *map, const char *key);

#endif
