/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_WAIT_PATIENCE_H
#define BERTH_CSI_WAIT_PATIENCE_H

/*
 * What may hang in the kernel, because a server that does not answer is asked: done on a thread of
 * its own that is waited for only so long. A thread that is late stays where it is until the kernel
 * lets it go; it is remembered by what hangs, so that a hundred calls about one dead server leave
 * one thread and not a hundred.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Patience Patience;

/* Return: 0; -ENOMEM. */
int patience_new(Patience **patiencep);

/* Threads that are late keep what they need until they end. NULL is fine. */
void patience_free(Patience *patience);

/* Threads that may be late at the same time. */
#define PATIENCE_LATE_MAX 256

#define PATIENCE_E_LATE    1 /* not done in time; it may still be done later */
#define PATIENCE_E_HANGING 2 /* an earlier one with this key is late and has not ended */

/**
 * patience_run() - work(data), waited for @timeout_msecs
 * @key:  what may hang: "statfs /path"
 * @data: @n_data bytes that are copied for the thread and, when it was in time, copied back. They
 *        hold no pointers; descriptors in them are closed by @work
 *
 * Return: 0 done; one of PATIENCE_E_*; -EAGAIN with PATIENCE_LATE_MAX threads late; -ENOMEM. With
 * anything but 0 and PATIENCE_E_LATE, @work was not called.
 */
int patience_run(Patience *patience, const char *key, void (*work)(void *data), void *data,
                 size_t n_data, uint64_t timeout_msecs);

/* Whether something with this key is late. */
bool patience_is_hanging(Patience *patience, const char *key);

/* How many are late. */
unsigned int patience_n_late(Patience *patience);

#endif
