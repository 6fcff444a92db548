/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_API_STATUS_H
#define BERTH_CSI_API_STATUS_H

/* Our errors as gRPC status codes, without gRPC's headers. */

#include "common/base/error.h"

/* Source: grpc/doc/statuscodes.md; what CSI means by each: CSI specification v1.12, "Error Scheme".
 */
enum {
        STATUS_OK = 0,
        STATUS_CANCELLED = 1,
        STATUS_INVALID_ARGUMENT = 3,
        STATUS_DEADLINE_EXCEEDED = 4,
        STATUS_NOT_FOUND = 5,
        STATUS_ALREADY_EXISTS = 6,
        STATUS_PERMISSION_DENIED = 7,
        STATUS_RESOURCE_EXHAUSTED = 8,
        STATUS_FAILED_PRECONDITION = 9,
        STATUS_ABORTED = 10,
        STATUS_OUT_OF_RANGE = 11,
        STATUS_UNIMPLEMENTED = 12,
        STATUS_INTERNAL = 13,
        STATUS_UNAVAILABLE = 14,
};

int status_from_code(ErrorCode code);

/* "OK", "NotFound": as Go prints codes and the CSI sidecars label their metrics. Static. */
const char *status_name(int status);

#endif
