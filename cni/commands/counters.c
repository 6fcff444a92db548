/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/commands/counters.h"

#include "cni/spec/failure.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* "berth" and the layout: a call of another version leaves the file alone. */
#define MAGIC                                                                                      \
        (UINT64_C(0x6265727468) << 24 | (uint64_t)_ROLE_N << 16 | (uint64_t)_VERB_N << 8 |         \
         (COUNTER_BOUNDS_N + 1))

const uint32_t counter_bounds_usecs[COUNTER_BOUNDS_N] = {
        500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 5000000, 30000000,
};

/* --- reasons ------------------------------------------------------------------------------ */

static const struct {
        unsigned int code;
        const char *name;
} reasons[] = {
        {0, "other"},
        {CNI_CODE_VERSION, "version"},
        {CNI_CODE_UNSUPPORTED, "unsupported"},
        {CNI_CODE_UNKNOWN, "unknown_container"},
        {CNI_CODE_ENVIRONMENT, "environment"},
        {CNI_CODE_IO, "io"},
        {CNI_CODE_DECODE, "decode"},
        {CNI_CODE_CONFIG, "config"},
        {CNI_CODE_NETNS, "netns"},
        {CNI_CODE_AGAIN, "again"},
        {CNI_CODE_UNAVAILABLE, "unavailable"},
        {CNI_CODE_LIMITED, "limited"},
        {100 + ERROR_INVALID, "invalid"},
        {100 + ERROR_NOT_FOUND, "not_found"},
        {100 + ERROR_CONFLICT, "conflict"},
        {100 + ERROR_PRECONDITION, "precondition"},
        {100 + ERROR_UNSUPPORTED, "kernel"},
        {100 + ERROR_RANGE, "range"},
        {100 + ERROR_EXHAUSTED, "exhausted"},
        {100 + ERROR_AGAIN, "busy"},
        {100 + ERROR_UNAVAILABLE, "no_answer"},
        {100 + ERROR_TIMEOUT, "timeout"},
        {100 + ERROR_DENIED, "denied"},
        {100 + ERROR_INTERNAL, "internal"},
};
_Static_assert(N_ELEMENTS(reasons) <= COUNTER_REASONS_MAX, "the file has a place for each");

unsigned int counter_reason(unsigned int code) {
        for (unsigned int i = 0; i < N_ELEMENTS(reasons); i++)
                if (reasons[i].code == code)
                        return i;
        return 0;
}

const char *counter_reason_name(unsigned int reason) {
        return reason < N_ELEMENTS(reasons) ? reasons[reason].name : NULL;
}

/* --- the file ----------------------------------------------------------------------------- */

static void add(uint64_t *number, uint64_t more) {
        (void)__atomic_fetch_add(number, more, __ATOMIC_RELAXED);
}

static unsigned int bucket_of(uint64_t nsecs) {
        unsigned int i = 0;

        while (i < COUNTER_BOUNDS_N && nsecs > counter_bounds_usecs[i] * UINT64_C(1000))
                i++;
        return i;
}

/* Only a whole one: a page behind the end of a file would be a signal and not an error. Return: 0
 * with a descriptor; -errno. */
static int open_whole(const char *path, int flags, int *fdp) {
        struct stat info;
        int fd = file_open_plain_stat(AT_FDCWD, path, flags, 0, &info);

        if (fd < 0)
                return fd;
        if (info.st_size != (off_t)sizeof(Counters)) {
                (void)close(fd);
                return -EINVAL;
        }
        *fdp = fd;
        return 0;
}

void counters_add(const char *path, PluginRole role, CniVerb verb, unsigned int code,
                  uint64_t nsecs) {
        cleanup(closep) int fd = -1;
        Counters *counters;
        CallCounter *call;

        if (role >= _ROLE_N || verb >= _VERB_N || open_whole(path, O_RDWR, &fd) < 0)
                return;
        counters = mmap(NULL, sizeof(*counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (counters == MAP_FAILED)
                return;
        if (counters->magic == MAGIC) {
                call = &counters->calls[role][verb];
                add(&call->n, 1);
                add(&call->nsecs, nsecs);
                add(&call->within[bucket_of(nsecs)], 1);
                if (code > 0)
                        add(&call->failed[counter_reason(code)], 1);
        }
        /* The mapping goes with the process, which ends now. */
}

int counters_read(const char *path, Counters *counters) {
        cleanup(closep) int fd = -1;
        int r = open_whole(path, O_RDONLY, &fd);

        if (r < 0)
                return r;
        if (pread(fd, counters, sizeof(*counters), 0) != (ssize_t)sizeof(*counters))
                return -EIO;
        return counters->magic == MAGIC ? 0 : -EINVAL;
}

/* Written, not only made longer: a page that is not there yet could not be had when the memory of
 * /run is full, and that too would be a signal. */
int counters_make(const char *path) {
        cleanup(freep) Counters *counters = calloc(1, sizeof(*counters));

        if (!counters)
                return -ENOMEM;
        if (counters_read(path, counters) == 0)
                return 0;
        *counters = (Counters){.magic = MAGIC};
        return file_write_atomic(AT_FDCWD, path, counters, sizeof(*counters), 0600);
}
