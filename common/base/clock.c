/* SPDX-License-Identifier: Apache-2.0 */

#include "common/base/clock.h"

uint64_t clock_msecs(void) {
        struct timespec now;

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct timespec clock_timespec(uint64_t msecs) {
        return (struct timespec){.tv_sec = (time_t)(msecs / 1000),
                                 .tv_nsec = (long)(msecs % 1000) * 1000000};
}

void clock_sleep(unsigned int msecs) {
        const struct timespec time = clock_timespec(msecs);

        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}
