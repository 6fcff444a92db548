/* SPDX-License-Identifier: Apache-2.0 */

#include "common/base/string_map.h"

#include <string.h>

const char *string_map_get(const StringMap *map, const char *key) {
        if (!map)
                return NULL;
        for (size_t i = 0; i < map->n_pairs; i++)
                if (strcmp(map->pairs[i].key, key) == 0)
                        return map->pairs[i].value;
        return NULL;
}
