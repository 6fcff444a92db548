/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Preloaded into a tool: ends it by a signal as it writes for the KILL_AT_WRITE-th time, before
 * that write does anything. For tools that run confined, where nothing may be traced.
 */

#include <dlfcn.h>
#include <stdlib.h>
#include <sys/types.h>

typedef ssize_t (*Write)(int fd, const void *data, size_t n, off_t offset);

ssize_t pwrite64(int fd, const void *data, size_t n, off_t offset);

static ssize_t count(const char *name, int fd, const void *data, size_t n, off_t offset) {
        static unsigned long n_writes;
        const char *wanted = getenv("KILL_AT_WRITE");
        union {
                void *symbol;
                Write call;
        } next = {.symbol = dlsym(RTLD_NEXT, name)};

        if (wanted && ++n_writes == strtoul(wanted, NULL, 10))
                __builtin_trap();
        return next.call(fd, data, n, offset);
}

__attribute__((visibility("default"))) ssize_t pwrite64(int fd, const void *data, size_t n,
                                                        off_t offset) {
        return count("pwrite64", fd, data, n, offset);
}
