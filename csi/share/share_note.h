/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_SHARE_SHARE_NOTE_H
#define BERTH_CSI_SHARE_SHARE_NOTE_H

/*
 * Where a server led a mount to. NFSv4 follows the server's links and referrals, and mountinfo
 * shows what it came to, not what was asked for: without a note the same request does not know its
 * own mount again. One small file for each such target in <state directory>/shares, written after
 * the mount and removed after the unmount. It is believed only with the target and both names, so
 * that one that is left over says nothing of another mount.
 */

#include <stdbool.h>

/* @target: its real path. @state_dir NULL or "": nothing is noted. Return: 0; -errno. */
int share_note_write(const char *state_dir, const char *target, const char *asked,
                     const char *found);

/* Whether what is mounted there as @found was asked for as @asked. */
bool share_note_is(const char *state_dir, const char *target, const char *asked, const char *found);

/* Gone is done, and what stays does no harm. */
void share_note_remove(const char *state_dir, const char *target);

#endif
