/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_VOLUME_BYTES_H
#define BERTH_FS_VOLUME_BYTES_H

/* Integers in on-disk byte order, at any alignment. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint16_t le16(const uint8_t *p) {
        return (uint16_t)(p[0] | (uint16_t)(p[1] << 8));
}

static inline uint32_t le32(const uint8_t *p) {
        return le16(p) | ((uint32_t)le16(p + 2) << 16);
}

static inline uint64_t le64(const uint8_t *p) {
        return le32(p) | ((uint64_t)le32(p + 4) << 32);
}

static inline uint16_t be16(const uint8_t *p) {
        return (uint16_t)((uint16_t)(p[0] << 8) | p[1]);
}

static inline uint32_t be32(const uint8_t *p) {
        return ((uint32_t)be16(p) << 16) | be16(p + 2);
}

static inline uint64_t be64(const uint8_t *p) {
        return ((uint64_t)be32(p) << 32) | be32(p + 4);
}

static inline void put_le32(uint8_t *p, uint32_t value) {
        for (unsigned int i = 0; i < 4; i++)
                p[i] = (uint8_t)(value >> (8 * i));
}

static inline void put_be32(uint8_t *p, uint32_t value) {
        for (unsigned int i = 0; i < 4; i++)
                p[i] = (uint8_t)(value >> (24 - 8 * i));
}

static inline bool is_power_of_two(uint64_t value) {
        return value && (value & (value - 1)) == 0;
}

#endif
