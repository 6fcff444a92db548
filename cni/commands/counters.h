/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_COMMANDS_COUNTERS_H
#define BERTH_CNI_COMMANDS_COUNTERS_H

/*
 * What the calls of runtimes were: how many, how long, why they failed. Each call is a process, so
 * the numbers are in a file that every call maps and adds to, atomically. berth-node makes it and
 * reads it; where there is none, nobody asks and nothing is written.
 */

#include "cni/spec/conf.h"
#include "cni/spec/env.h"

#include <stdbool.h>
#include <stdint.h>

/* Of root alone, and gone with the boot. */
#define COUNTERS_DIRECTORY "/run/berth"
#define COUNTERS_PATH      COUNTERS_DIRECTORY "/counters"

/* Upper bounds of a histogram in microseconds; what is above the last counts for itself. */
#define COUNTER_BOUNDS_N 12
extern const uint32_t counter_bounds_usecs[COUNTER_BOUNDS_N];

#define COUNTER_REASONS_MAX 32

typedef struct CallCounter {
        uint64_t n, nsecs; /* all of them, the failed too */
        uint64_t within[COUNTER_BOUNDS_N + 1];
        uint64_t failed[COUNTER_REASONS_MAX]; /* by counter_reason() */
} CallCounter;

typedef struct Counters {
        uint64_t magic; /* says what the file is, and how many of each it has */
        CallCounter calls[_ROLE_N][_VERB_N];
} Counters;

/* The place of a code of CNI's in CallCounter.failed, and its name there; pure. */
unsigned int counter_reason(unsigned int code);
const char *counter_reason_name(unsigned int reason); /* NULL: none is counted there */

/**
 * counters_add() - one call has ended
 * @code: of CNI, 0: it was done
 *
 * Costs an open(2) where there is no file, and a page of memory where there is one. Whatever is
 * wrong with the file, the call goes on.
 */
void counters_add(const char *path, PluginRole role, CniVerb verb, unsigned int code,
                  uint64_t nsecs);

/* Makes the file if it is not there or another version's; what it counts stays. Return: 0; -errno.
 */
int counters_make(const char *path);

/* Return: 0; -errno; -EINVAL: another version's. */
int counters_read(const char *path, Counters *counters);

#endif
