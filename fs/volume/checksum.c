/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C and CRC-32 by nibbles, xxHash64, BLAKE2b. SHA-256 is in common/base. Nothing here is used
 * to resist anybody: a checksum tells damage, not malice.
 */

#include "fs/volume/checksum.h"
#include "fs/volume/bytes.h"

#include <string.h>

static uint32_t crc_reflected(uint32_t polynomial, uint32_t crc, const uint8_t *data, size_t n) {
        uint32_t table[16];

        for (uint32_t i = 0; i < 16; i++) {
                uint32_t value = i;

                for (unsigned int bit = 0; bit < 4; bit++)
                        value = (value >> 1) ^ ((value & 1) ? polynomial : 0);
                table[i] = value;
        }
        for (size_t i = 0; i < n; i++) {
                crc ^= data[i];
                crc = (crc >> 4) ^ table[crc & 15];
                crc = (crc >> 4) ^ table[crc & 15];
        }
        return crc;
}

uint32_t checksum_crc32c(uint32_t seed, const void *data, size_t n) {
        return crc_reflected(0x82f63b78U, seed, data, n);
}

uint16_t checksum_crc16(uint16_t seed, const void *data, size_t n) {
        const uint8_t *bytes = data;
        uint16_t crc = seed;

        for (size_t i = 0; i < n; i++) {
                crc ^= bytes[i];
                for (unsigned int bit = 0; bit < 8; bit++)
                        crc = (uint16_t)(crc & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1);
        }
        return crc;
}

uint32_t checksum_crc32(uint32_t seed, const void *data, size_t n) {
        return crc_reflected(0xedb88320U, seed, data, n);
}

/* --- xxHash64: https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md --- */

#define XX_PRIME1 0x9e3779b185ebca87ULL
#define XX_PRIME2 0xc2b2ae3d27d4eb4fULL
#define XX_PRIME3 0x165667b19e3779f9ULL
#define XX_PRIME4 0x85ebca77c2b2ae63ULL
#define XX_PRIME5 0x27d4eb2f165667c5ULL

static uint64_t rotate_left(uint64_t value, unsigned int by) {
        return (value << by) | (value >> (64 - by));
}

static uint64_t rotate_right(uint64_t value, unsigned int by) {
        return (value >> by) | (value << (64 - by));
}

static uint64_t xx_round(uint64_t accumulator, uint64_t lane) {
        return rotate_left(accumulator + lane * XX_PRIME2, 31) * XX_PRIME1;
}

static uint64_t xx_finish(uint64_t hash, const uint8_t *p, const uint8_t *end) {
        for (; end - p >= 8; p += 8)
                hash = rotate_left(hash ^ xx_round(0, le64(p)), 27) * XX_PRIME1 + XX_PRIME4;
        if (end - p >= 4) {
                hash = rotate_left(hash ^ (le32(p) * XX_PRIME1), 23) * XX_PRIME2 + XX_PRIME3;
                p += 4;
        }
        for (; p < end; p++)
                hash = rotate_left(hash ^ (*p * XX_PRIME5), 11) * XX_PRIME1;
        hash = (hash ^ (hash >> 33)) * XX_PRIME2;
        hash = (hash ^ (hash >> 29)) * XX_PRIME3;
        return hash ^ (hash >> 32);
}

uint64_t checksum_xxhash64(const void *data, size_t n) {
        const uint8_t *p = data, *end = p + n;
        uint64_t hash = XX_PRIME5;

        if (n >= 32) {
                uint64_t lanes[4] = {XX_PRIME1 + XX_PRIME2, XX_PRIME2, 0, 0 - XX_PRIME1};

                for (; end - p >= 32; p += 32) {
                        for (unsigned int i = 0; i < 4; i++)
                                lanes[i] = xx_round(lanes[i], le64(p + (size_t)8 * i));
                }
                hash = rotate_left(lanes[0], 1) + rotate_left(lanes[1], 7) +
                       rotate_left(lanes[2], 12) + rotate_left(lanes[3], 18);
                for (unsigned int i = 0; i < 4; i++)
                        hash = (hash ^ xx_round(0, lanes[i])) * XX_PRIME1 + XX_PRIME4;
        }
        return xx_finish(hash + n, p, end);
}

/* --- BLAKE2b: RFC 7693 --- */

/* clang-format off */
static const uint64_t blake_iv[8] = {
        0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
        0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL,
};

static const uint8_t blake_sigma[10][16] = {
        { 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15},
        {14, 10,  4,  8,  9, 15, 13,  6,  1, 12,  0,  2, 11,  7,  5,  3},
        {11,  8, 12,  0,  5,  2, 15, 13, 10, 14,  3,  6,  7,  1,  9,  4},
        { 7,  9,  3,  1, 13, 12, 11, 14,  2,  6,  5, 10,  4,  0, 15,  8},
        { 9,  0,  5,  7,  2,  4, 10, 15, 14,  1, 11, 12,  6,  8,  3, 13},
        { 2, 12,  6, 10,  0, 11,  8,  3,  4, 13,  7,  5, 15, 14,  1,  9},
        {12,  5,  1, 15, 14, 13,  4, 10,  0,  7,  6,  3,  9,  2,  8, 11},
        {13, 11,  7, 14, 12,  1,  3,  9,  5,  0, 15,  4,  8,  6,  2, 10},
        { 6, 15, 14,  9, 11,  3,  0,  8, 12,  2, 13,  7,  1,  4, 10,  5},
        {10,  2,  8,  4,  7,  6,  1,  5, 15, 11,  9, 14,  3, 12, 13,  0},
};

/* Which four words one mix works on: columns, then diagonals. */
static const uint8_t blake_lanes[8][4] = {
        {0, 4,  8, 12}, {1, 5,  9, 13}, {2, 6, 10, 14}, {3, 7, 11, 15},
        {0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7,  8, 13}, {3, 4,  9, 14},
};
/* clang-format on */

static void blake_mix(uint64_t v[16], const uint8_t lane[4], uint64_t x, uint64_t y) {
        uint64_t *a = &v[lane[0]], *b = &v[lane[1]], *c = &v[lane[2]], *d = &v[lane[3]];

        *a += *b + x;
        *d = rotate_right(*d ^ *a, 32);
        *c += *d;
        *b = rotate_right(*b ^ *c, 24);
        *a += *b + y;
        *d = rotate_right(*d ^ *a, 16);
        *c += *d;
        *b = rotate_right(*b ^ *c, 63);
}

static void blake_compress(uint64_t h[8], const uint8_t block[128], uint64_t n_so_far, bool last) {
        uint64_t v[16];

        memcpy(v, h, sizeof(blake_iv));
        memcpy(v + 8, blake_iv, sizeof(blake_iv));
        v[12] ^= n_so_far;
        if (last)
                v[14] = ~v[14];
        for (unsigned int round = 0; round < 12; round++) {
                const uint8_t *sigma = blake_sigma[round % 10];

                for (size_t i = 0; i < 8; i++)
                        blake_mix(v, blake_lanes[i], le64(block + (size_t)8 * sigma[2 * i]),
                                  le64(block + (size_t)8 * sigma[2 * i + 1]));
        }
        for (unsigned int i = 0; i < 8; i++)
                h[i] ^= v[i] ^ v[i + 8];
}

void checksum_blake2b_256(const void *data, size_t n, uint8_t digest[32]) {
        const uint8_t *p = data;
        uint8_t last[128] = {0};
        uint64_t h[8];
        size_t done = 0;

        memcpy(h, blake_iv, sizeof(h));
        h[0] ^= 0x01010000U ^ 32U;
        for (; n - done > 128; done += 128)
                blake_compress(h, p + done, done + 128, false);
        if (n > done)
                memcpy(last, p + done, n - done);
        blake_compress(h, last, n, true);
        for (unsigned int i = 0; i < 32; i++)
                digest[i] = (uint8_t)(h[i / 8] >> (8 * (i % 8)));
}
