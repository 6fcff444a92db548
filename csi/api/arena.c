/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A list of blocks, bumped. Small things share blocks of 4 KiB; what is larger than half a block
 * gets its own, so that a big field does not waste the rest of the current one. Nothing is ever
 * given back before arena_free().
 */

#include "csi/api/arena.h"

#include <errno.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 4096U

typedef struct Block Block;
struct Block {
        Block *next; /* owned */
        size_t n_used, n_bytes;
        alignas(max_align_t) unsigned char bytes[];
};

struct Arena {
        Block *blocks; /* owned; the first is the one being filled */
        size_t left_bytes;
};

int arena_new(Arena **arenap, size_t limit_bytes) {
        Arena *arena = calloc(1, sizeof(*arena));

        if (!arena)
                return -ENOMEM;
        arena->left_bytes = limit_bytes;
        *arenap = arena;
        return 0;
}

void arena_free(Arena *arena) {
        if (!arena)
                return;
        for (Block *block = arena->blocks, *next; block; block = next) {
                next = block->next;
                explicit_bzero(block->bytes, block->n_used);
                free(block);
        }
        free(arena);
}

static Block *block_new(size_t n_bytes) {
        Block *block = calloc(1, sizeof(*block) + n_bytes);

        if (block)
                block->n_bytes = n_bytes;
        return block;
}

/* A block of its own goes behind the first, which stays open for small things. */
static void *alloc_large(Arena *arena, size_t n) {
        Block *block = block_new(n);

        if (!block)
                return NULL;
        block->n_used = n;
        if (arena->blocks) {
                block->next = arena->blocks->next;
                arena->blocks->next = block;
        } else {
                arena->blocks = block;
        }
        return block->bytes;
}

static void *alloc_small(Arena *arena, size_t n) {
        Block *block = arena->blocks;

        if (!block || block->n_bytes - block->n_used < n) {
                block = block_new(BLOCK_BYTES);
                if (!block)
                        return NULL;
                block->next = arena->blocks;
                arena->blocks = block;
        }
        block->n_used += n;
        return block->bytes + block->n_used - n;
}

void *arena_alloc(Arena *arena, size_t n) {
        const size_t mask = alignof(max_align_t) - 1;
        void *memory;

        /* Also for nothing there is a pointer that can be told from NULL. */
        if (n == 0)
                n = 1;
        if (n > arena->left_bytes || n > SIZE_MAX - mask)
                return NULL;
        n = (n + mask) & ~mask;
        if (n > arena->left_bytes)
                return NULL;
        memory = n > BLOCK_BYTES / 2 ? alloc_large(arena, n) : alloc_small(arena, n);
        if (memory)
                arena->left_bytes -= n;
        return memory;
}

void *arena_alloc_array(Arena *arena, size_t n_elements, size_t element_size) {
        size_t n;

        if (__builtin_mul_overflow(n_elements, element_size, &n))
                return NULL;
        return arena_alloc(arena, n);
}

char *arena_strdup(Arena *arena, const char *text) {
        size_t n = text ? strlen(text) + 1 : 0;
        char *copy = text ? arena_alloc(arena, n) : NULL;

        if (copy)
                memcpy(copy, text, n);
        return copy;
}

char *arena_printf(Arena *arena, const char *format, ...) {
        va_list ap, again;
        char *text = NULL;
        int n;

        va_start(ap, format);
        va_copy(again, ap);
        n = vsnprintf(NULL, 0, format, ap);
        if (n >= 0)
                text = arena_alloc(arena, (size_t)n + 1);
        if (text)
                (void)vsnprintf(text, (size_t)n + 1, format, again);
        va_end(again);
        va_end(ap);
        return text;
}
