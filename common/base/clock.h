/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_CLOCK_H
#define BERTH_BASE_CLOCK_H

/* The one clock of waits and deadlines: CLOCK_MONOTONIC in milliseconds. UINT64_MAX is no deadline.
 */

#include <stdint.h>
#include <time.h>

uint64_t clock_msecs(void);

/* The same moment, for pthread_cond_timedwait() and sem_clockwait() with CLOCK_MONOTONIC. */
struct timespec clock_timespec(uint64_t msecs);

/* A signal ends it early. */
void clock_sleep(unsigned int msecs);

#endif
