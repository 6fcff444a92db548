/* SPDX-License-Identifier: Apache-2.0 */

/* The one place where an error becomes a gRPC status. Kubelet takes CANCELLED, DEADLINE_EXCEEDED,
 * UNAVAILABLE, RESOURCE_EXHAUSTED and ABORTED for "may have happened, ask again" and every other
 * code for final. */

#include "csi/api/status.h"

#include "common/base/cleanup.h"

int status_from_code(ErrorCode code) {
        switch (code) {
        case ERROR_NONE:
                return STATUS_OK;
        case ERROR_INVALID:
                return STATUS_INVALID_ARGUMENT;
        case ERROR_NOT_FOUND:
                return STATUS_NOT_FOUND;
        case ERROR_CONFLICT:
                return STATUS_ALREADY_EXISTS;
        case ERROR_PRECONDITION:
        /* "Exceeds capabilities"; UNIMPLEMENTED is only for a method that we lack. */
        case ERROR_UNSUPPORTED:
                return STATUS_FAILED_PRECONDITION;
        case ERROR_RANGE:
                return STATUS_OUT_OF_RANGE;
        case ERROR_EXHAUSTED:
                return STATUS_RESOURCE_EXHAUSTED;
        case ERROR_AGAIN:
                return STATUS_ABORTED;
        case ERROR_UNAVAILABLE:
                return STATUS_UNAVAILABLE;
        case ERROR_TIMEOUT:
                return STATUS_DEADLINE_EXCEEDED;
        case ERROR_DENIED:
                return STATUS_PERMISSION_DENIED;
        case ERROR_INTERNAL:
        case _ERROR_N:
                return STATUS_INTERNAL;
        }
        return STATUS_INTERNAL;
}

const char *status_name(int status) {
        static const char *const names[] = {
                "OK",
                "Canceled",
                "Unknown",
                "InvalidArgument",
                "DeadlineExceeded",
                "NotFound",
                "AlreadyExists",
                "PermissionDenied",
                "ResourceExhausted",
                "FailedPrecondition",
                "Aborted",
                "OutOfRange",
                "Unimplemented",
                "Internal",
                "Unavailable",
                "DataLoss",
                "Unauthenticated",
        };

        if (status < 0 || (size_t)status >= N_ELEMENTS(names))
                return "Unknown";
        return names[status];
}
