/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_APPLY_H
#define BERTH_CSI_NODE_APPLY_H

/*
 * Carries a plan out, step by step, and takes back what was done when a step fails. What a step
 * does is in NodeKernel: the real one is kernel.c, tests pass one that fails at the step they want.
 */

#include "csi/node/plan.h"

/* A plan with the open things that it is about. All but the plan's strings are the caller's. */
typedef struct Work {
        const Call *call;
        const char *volume_id;
        Plan *plan;
        NodePath *target;
        int source_fd;  /* of a bind; -1 */
        int device_fd;  /* the device since it was proven, for reading; -1: there is none. While it
                           is open nobody else can get the number */
        uint64_t devno; /* of the device */
        uint64_t sequence; /* of the disk; 0: before Linux 5.15, the provider is asked again */
        int (*prove)(void *userdata, Error *err); /* that it is the volume's device still */
        /* A copy of the disk for tools that write, open for reading, and what becomes of it.
         * Kept, it is what device_fd, devno and sequence are of from then on. Return: 0;
         * PROVIDER_E_IN_PLACE: there is none, or there was no room for what a tool wrote to it, and
         * the next one works on the disk; <0 with @err. */
        int (*begin_copy)(void *userdata, int *fdp, Error *err);
        int (*end_copy)(void *userdata, bool keeps, Error *err);
        void *userdata;
        bool is_in_place; /* there is no room for copies */
        bool made_target; /* by this plan, so that undo removes it */
} Work;

typedef struct NodeKernel {
        int (*run)(void *userdata, StepKind kind, Work *work, Error *err);
        /* Of a step that was done. What has no undo (a format, a check) is done for ever, and does
         * no harm when the plan is made again. */
        int (*undo)(void *userdata, StepKind kind, Work *work, Error *err);
        void *userdata;
} NodeKernel;

/**
 * apply() - run all steps of work->plan
 *
 * Return: 0; what the failed step returned, after the undo of all before it. If that could not be
 * undone, the code is ERROR_UNAVAILABLE, which makes kubelet call unstage or unpublish later.
 */
int apply(const NodeKernel *kernel, Work *work, Error *err);

#endif
