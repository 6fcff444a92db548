/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_LOOK_SIGNATURES_H
#define BERTH_FS_LOOK_SIGNATURES_H

/*
 * The one table of the places where something may stand that must never be formatted over: offset
 * rule, magic, owner. Beside what libblkid knows these are copies at the end or in the middle of a
 * device, formats of other page sizes, formats newer than the library. Pure: looks at bytes it is
 * given.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct SignatureHit {
        const char *type;  /* static */
        const char *usage; /* static: "raid", "crypto", "partitions", "filesystem", "other" */
        uint64_t offset;   /* of the magic on the device */
} SignatureHit;

/**
 * signatures_scan() - find magics inside one window of a device
 * @data:       bytes [offset, offset + n) of the device
 * @size_bytes: of the device; some places count from its end
 * @copies:     also copies of what stood at the start, which a filesystem made since then leaves
 *              alone, or has as a user's data: for a device where nothing else was found
 * @hits:       at most @n_hits_max are filled, in table order
 *
 * Only places where a format keeps its magic are looked at; random data gives no hit but by the
 * chance of a full magic at its very place.
 *
 * Return: number of hits.
 */
size_t signatures_scan(const uint8_t *data, size_t n, uint64_t offset, uint64_t size_bytes,
                       bool copies, SignatureHit *hits, size_t n_hits_max);

/**
 * signatures_places() - every place of the table, for a device of this size
 * @place: called with the offset of the magic and its length; in no order
 */
void signatures_places(uint64_t size_bytes,
                       void (*place)(void *userdata, uint64_t offset, size_t n), void *userdata);

#endif
