/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_CLEANUP_H
#define BERTH_BASE_CLEANUP_H

/*
 * Ownership by scope. An owned local is declared with its cleanup at the top of its block and
 * starts as NULL or -1:
 *
 *         cleanup(freep) char *path = NULL;
 *         cleanup(closep) int fd = -1;
 *
 * It is handed out with *pathp = ptr_steal(&path) or *fdp = fd_steal(&fd).
 */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define cleanup(func) __attribute__((__cleanup__(func)))

/* NOLINTBEGIN(bugprone-macro-parentheses): a type cannot stand in parentheses here. */
/* Defines <func>p, the cleanup form of a destructor that takes NULL: CLEANUP_DEFINE(Plan *,
 * plan_free). */
#define CLEANUP_DEFINE(type, func)                                                                 \
        static inline void func##p(type *objectp) {                                                \
                if (*objectp)                                                                      \
                        func(*objectp);                                                            \
        }                                                                                          \
        struct cleanup_needs_semicolon
/* NOLINTEND(bugprone-macro-parentheses) */

#define ptr_steal(ptrp)                                                                            \
        ({                                                                                         \
                __typeof__(*(ptrp)) stolen_ = *(ptrp);                                             \
                *(ptrp) = NULL;                                                                    \
                stolen_;                                                                           \
        })

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

/* memcpy(), because the pointer there is of any type and may not be read as a void *. */
static inline void freep(void *ptrp) {
        void *ptr;

        memcpy(&ptr, ptrp, sizeof(ptr));
        free(ptr);
}

/* Closes without touching errno, so that it can run on the way out of a failure. */
static inline void closep(int *fdp) {
        int saved = errno;

        if (*fdp >= 0)
                close(*fdp);
        *fdp = -1;
        errno = saved;
}

static inline int fd_steal(int *fdp) {
        int fd = *fdp;

        *fdp = -1;
        return fd;
}

static inline void fclosep(FILE **filep) {
        if (*filep)
                fclose(*filep);
}

static inline void closedirp(DIR **dirp) {
        if (*dirp)
                closedir(*dirp);
}

#endif
