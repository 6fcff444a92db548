/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_CLI_LOOK_AFTER_H
#define BERTH_CNI_CLI_LOOK_AFTER_H

/* check and repair: all pods of this node, and what is said of them. */

#include "cni/commands/repair.h"

typedef struct LookAfter {
        RepairMode mode;
        const char *plugins; /* the runtime's directory of programs */
        bool json;           /* one object in place of lines */
} LookAfter;

/**
 * look_after_pods() - the node, then each of @notes that lives
 *
 * Prints a line to stdout for each difference, of what pods share once. To stderr: how many pods
 * were compared, and how many were left alone since their plugins are other programs (in repair
 * only the latter).
 *
 * Return: 0; 1: something is missing that was not put back; negative.
 */
int look_after_pods(const LookAfter *asked, const PodNotes *notes, Error *err);

#endif
