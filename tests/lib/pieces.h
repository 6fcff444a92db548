/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_TEST_PIECES_H
#define BERTH_TEST_PIECES_H

/*
 * A device by the pieces of it that a reader looks at, for tests and fuzzing: the size of the
 * device (8 bytes), then records of offset (8), length (2) and that many bytes, all little endian.
 * What no piece covers is zero. tests/data/superblocks holds recorded ones, made by make.sh there.
 */

#include "fs/volume/bytes.h"
#include "fs/volume/superblock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECES_MAX 160

typedef struct Piece {
        uint64_t offset;
        uint8_t *data; /* into Pieces.bytes */
        size_t n;
} Piece;

typedef struct Pieces {
        uint64_t size_bytes;
        Piece pieces[PIECES_MAX];
        size_t n_pieces;
        uint8_t *bytes; /* owned, if pieces_load() made it */
} Pieces;

/* Takes what is there; a cut record ends it. @bytes stays the caller's. */
__attribute__((unused)) static void pieces_parse(Pieces *pieces, uint8_t *bytes, size_t n) {
        size_t at = 8;

        memset(pieces, 0, sizeof(*pieces));
        if (n < 8)
                return;
        pieces->size_bytes = le64(bytes);
        while (n - at >= 10 && pieces->n_pieces < PIECES_MAX) {
                Piece *piece = &pieces->pieces[pieces->n_pieces];

                piece->offset = le64(bytes + at);
                piece->n = le16(bytes + at + 8);
                piece->data = bytes + at + 10;
                at += 10;
                if (piece->n > n - at)
                        return;
                at += piece->n;
                pieces->n_pieces++;
        }
}

/* Copies what pieces have of [offset, offset + n); the rest is zero. */
__attribute__((unused)) static int pieces_read(void *userdata, uint64_t offset, void *buffer,
                                               size_t n) {
        const Pieces *pieces = userdata;

        memset(buffer, 0, n);
        for (size_t i = 0; i < pieces->n_pieces; i++) {
                const Piece *piece = &pieces->pieces[i];
                uint64_t low = piece->offset > offset ? piece->offset : offset, high;

                if (__builtin_add_overflow(piece->offset, piece->n, &high))
                        high = UINT64_MAX;
                if (high > offset + n)
                        high = offset + n;
                if (low < high)
                        memcpy((uint8_t *)buffer + (low - offset),
                               piece->data + (low - piece->offset), (size_t)(high - low));
        }
        return 0;
}

__attribute__((unused)) static FsReader pieces_reader(Pieces *pieces) {
        return (FsReader){
                .read = pieces_read, .userdata = pieces, .size_bytes = pieces->size_bytes};
}

/* The bytes at @offset, to be changed in place; NULL if no piece has all of them. */
__attribute__((unused)) static uint8_t *pieces_at(Pieces *pieces, uint64_t offset, size_t n) {
        for (size_t i = 0; i < pieces->n_pieces; i++) {
                Piece *piece = &pieces->pieces[i];

                if (offset >= piece->offset && offset - piece->offset + n <= piece->n)
                        return piece->data + (offset - piece->offset);
        }
        return NULL;
}

/* $TEST_DATA/superblocks/@name.pieces, into memory that pieces_unload() frees. */
__attribute__((unused)) static void pieces_load(Pieces *pieces, const char *name) {
        const char *data = getenv("TEST_DATA");
        uint8_t *bytes = malloc(65536);
        char path[512];
        FILE *file;
        size_t n;

        (void)snprintf(path, sizeof(path), "%s/superblocks/%s.pieces", data ? data : "tests/data",
                       name);
        file = fopen(path, "rb");
        if (!file || !bytes) {
                (void)fprintf(stderr, "cannot read %s\n", path);
                abort();
        }
        n = fread(bytes, 1, 65536, file);
        fclose(file);
        pieces_parse(pieces, bytes, n);
        pieces->bytes = bytes;
}

__attribute__((unused)) static void pieces_unload(Pieces *pieces) {
        free(pieces->bytes);
        memset(pieces, 0, sizeof(*pieces));
}

/* Covers [offset, offset + n) by one piece of @data, which stays the caller's, on top of the rest.
 */
__attribute__((unused)) static void pieces_cover(Pieces *pieces, uint64_t offset, uint8_t *data,
                                                 size_t n) {
        if (pieces->n_pieces == PIECES_MAX)
                abort();
        pieces->pieces[pieces->n_pieces++] = (Piece){.offset = offset, .data = data, .n = n};
}

#endif
