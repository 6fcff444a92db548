/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is given back to the heap is overwritten, whoever had it: gRPC keeps copies of what came
 * through its sockets that it never hands over (a call that was late, or cut off in the middle, or
 * of a method that is not there), and curl, jansson and protobuf-c have buffers of their own. A
 * program that lists this file among its sources has free() and realloc() of here, its libraries
 * too; the memory is still glibc's. Not for sanitizers, which bring their own.
 */

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

/* Part of glibc's interface for who replaces some of its functions. */
void __libc_free(void *memory);
void *__libc_malloc(size_t n);
void *__libc_realloc(void *memory, size_t n);

EXPORTED void free(void *memory) {
        if (memory)
                explicit_bzero(memory, malloc_usable_size(memory));
        __libc_free(memory);
}

/* Never grows by glibc's realloc(), whose copy would leave the old place as it was. */
EXPORTED void *realloc(void *memory, size_t n) {
        size_t n_old = memory ? malloc_usable_size(memory) : 0;
        void *larger;

        if (!memory)
                return __libc_malloc(n);
        if (n == 0) {
                free(memory);
                return NULL;
        }
        if (n <= n_old) {
                explicit_bzero((char *)memory + n, n_old - n);
                return __libc_realloc(memory, n);
        }
        larger = __libc_malloc(n);
        if (!larger)
                return NULL;
        memcpy(larger, memory, n_old);
        free(memory);
        return larger;
}
