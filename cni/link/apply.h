/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_LINK_APPLY_H
#define BERTH_CNI_LINK_APPLY_H

/* A plan carried out on the real kernel: steps of one namespace travel together. */

#include "cni/link/plan.h"
#include "cni/spec/sysctl.h"

/* The host's name of the pair belongs to somebody else's link: plan again with another name. */
#define KERNEL_E_NAME_TAKEN 1

/* Gateways of one pod; what is beyond is not taken back. */
#define LINK_KERNEL_ADDED_MAX 32

typedef struct LinkKernel {
        NlSocket *host;   /* borrowed; the host's namespace */
        NlSocket pod;     /* the pod's; opened when first needed */
        Sysctls *sysctls; /* borrowed; for plans with STEP_SYSCTL */
        int netns_fd;     /* borrowed */
        int own_netns_fd; /* borrowed */
        unsigned int indices[_STEP_LINK_N];
        bool has_bridge_mac; /* the bridge was to be made: this is what it has, whoever made it */
        uint8_t bridge_mac[6];
        LinkAddress added[LINK_KERNEL_ADDED_MAX]; /* to shared links, by this ADD: for undo */
        size_t n_added;
        /* STEP_BEFORE_UP, in the pod's namespace; NULL: nothing. */
        int (*before_up)(void *userdata, Error *err);
        void *userdata;
} LinkKernel;

#define LINK_KERNEL_NULL                                                                           \
        { .pod = NL_SOCKET_NULL }

void link_kernel_deinit(LinkKernel *kernel);

/* Opens the pod's socket if it is not open yet. Return: 0; -errno. */
int link_kernel_open_pod(LinkKernel *kernel);

/* The functions for plan_apply(). run may return KERNEL_E_NAME_TAKEN, nothing of the pod having
 * been made. */
PlanKernel link_kernel_ops(LinkKernel *kernel);

#endif
