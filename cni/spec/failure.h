/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_SPEC_FAILURE_H
#define BERTH_CNI_SPEC_FAILURE_H

/*
 * A failure as the runtime reads it: {"cniVersion", "code", "msg", "details"} on stdout. The codes
 * are those of the CNI specification, section "Error".
 */

#include "cni/spec/version.h"
#include "common/base/error.h"

#include <errno.h>

#define CNI_CODE_VERSION     1
#define CNI_CODE_UNSUPPORTED 2
#define CNI_CODE_UNKNOWN     3 /* the container or its namespace is not there */
#define CNI_CODE_ENVIRONMENT 4
#define CNI_CODE_IO          5
#define CNI_CODE_DECODE      6
#define CNI_CODE_CONFIG      7
#define CNI_CODE_NETNS       8 /* libcni's, not the specification's */
#define CNI_CODE_AGAIN       11
#define CNI_CODE_UNAVAILABLE 50
#define CNI_CODE_LIMITED     51 /* unavailable, and running pods may be cut off */
/* 100 + ErrorCode for what is ours. */

typedef struct Failure {
        unsigned int code;
        char msg[ERROR_MESSAGE_MAX];
        char details[ERROR_MESSAGE_MAX]; /* "" is left out */
} Failure;

/* @details may be NULL. Return: 1, the exit status. */
int failure_set(Failure *failure, unsigned int code, const char *msg, const char *details);

/* Marks an UNSUPPORTED as the kernel's; without it, it is the configuration's. */
static inline int failure_by_kernel(Error *err) {
        if (err)
                err->os_errno = EOPNOTSUPP;
        return -EOPNOTSUPP;
}

/* The code that @err stands for; msg is the code in words, details the message. Return: 1. */
int failure_from_error(Failure *failure, const Error *err);

/* JSON text, caller frees; NULL without memory. */
char *failure_format(const Failure *failure, CniVersion version);

#endif
