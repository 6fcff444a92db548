/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_WAIT_WATCHDOG_H
#define BERTH_CSI_WAIT_WATCHDOG_H

/*
 * What may hang in the kernel, because a server that does not answer is asked: done on a thread of
 * its own that is waited for only so long. A thread that is late stays where it is until the kernel
 * lets it go; it is remembered by what hangs, so that a hundred calls about one dead server leave
 * one thread and not a hundred.
 */

#include "csi/wait/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Watchdog Watchdog;

/* Return: 0; -ENOMEM. */
int watchdog_new(Watchdog **watchdogp);

/* Threads that are late keep what they need until they end. NULL is fine. */
void watchdog_free(Watchdog *watchdog);

enum {
        WATCHDOG_E_LATE = 1, /* not done in time; it may still be done later */
        WATCHDOG_E_HANGING,  /* an earlier one with this key is late and has not ended */
};

/**
 * watchdog_run() - work(data), waited for @timeout_msecs
 * @key:  what may hang: "statfs /path"
 * @data: @n_data bytes that are copied for the thread and, when it was in time, copied back. They
 *        hold no pointers; descriptors in them are closed by @work
 *
 * Return: 0 done; one of WATCHDOG_E_*; -EAGAIN with WATCHDOG_LATE_MAX threads late; -ENOMEM. With
 * anything but 0 and WATCHDOG_E_LATE, @work was not called.
 */
int watchdog_run(Watchdog *watchdog, const char *key, void (*work)(void *data), void *data,
                 size_t n_data, uint64_t timeout_msecs);

/* Whether something with this key is late. */
bool watchdog_is_hanging(Watchdog *watchdog, const char *key);

#endif
