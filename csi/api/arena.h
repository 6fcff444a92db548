/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_API_ARENA_H
#define BERTH_CSI_API_ARENA_H

/*
 * Memory of one call: the decoded request and the answer live here and are freed together. The cap
 * bounds what a stranger's bytes can make us allocate (facts: protobuf amplification). Not
 * thread-safe: one call, one thread.
 */

#include <stddef.h>

typedef struct Arena Arena;

/* @limit_bytes: most that arena_alloc() ever hands out in all. Return: 0; -ENOMEM. */
int arena_new(Arena **arenap, size_t limit_bytes);

/* NULL is fine. What was handed out is overwritten first: it may have been a secret. */
void arena_free(Arena *arena);

/* Zeroed, aligned for any type. NULL at the limit or without memory. */
void *arena_alloc(Arena *arena, size_t n);

/* Zeroed array, overflow checked. */
void *arena_alloc_array(Arena *arena, size_t n_elements, size_t element_size);

/* NULL in, NULL out. */
char *arena_strdup(Arena *arena, const char *text);

char *arena_printf(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
