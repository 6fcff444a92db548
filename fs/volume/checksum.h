/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_VOLUME_CHECKSUM_H
#define BERTH_FS_VOLUME_CHECKSUM_H

/* The checksums that superblocks carry. Small code over speed: a few KiB per volume. */

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli), reflected, without the final inversion. */
uint32_t checksum_crc32c(uint32_t seed, const void *data, size_t n);

/* CRC-32 (0xEDB88320), reflected, without the final inversion. */
uint32_t checksum_crc32(uint32_t seed, const void *data, size_t n);

/* CRC-16 (0xA001), reflected, without a final inversion: ext's older group descriptors. */
uint16_t checksum_crc16(uint16_t seed, const void *data, size_t n);

/* xxHash64 with seed 0. */
uint64_t checksum_xxhash64(const void *data, size_t n);

/* BLAKE2b with a digest of 32 bytes, no key (RFC 7693). */
void checksum_blake2b_256(const void *data, size_t n, uint8_t digest[32]);

#endif
