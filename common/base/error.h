/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BASE_ERROR_H
#define BERTH_BASE_ERROR_H

/*
 * The one error convention: an int is 0 when done, a negative errno to be passed up unchanged, or a
 * positive outcome of the one function that documents it. Rooms that talk to the kernel return only
 * that. Rooms above take an `Error *err` as the last parameter and fill it once, where the failure
 * is understood; callers prefix context.
 */

#include <stdbool.h>

/* What kind of failure it is. Each protocol maps these at its edge (csi/api/status.c,
 * cni/spec/failure.c).
 */
typedef enum ErrorCode {
        ERROR_NONE = 0,
        ERROR_INVALID, /* the request is malformed; name the field, the value, what was expected */
        ERROR_NOT_FOUND,    /* the volume, device or object that was named does not exist */
        ERROR_CONFLICT,     /* exists already, with other properties */
        ERROR_PRECONDITION, /* the state of the system forbids it; retrying alone will not help */
        ERROR_UNSUPPORTED,  /* understood, and not something this driver or host can do */
        ERROR_RANGE,        /* a size or number is outside what is possible */
        ERROR_EXHAUSTED,    /* no space, address, slot or memory left */
        ERROR_AGAIN,        /* another operation on the same object is under way */
        ERROR_UNAVAILABLE,  /* a dependency does not answer now; retrying may help */
        ERROR_TIMEOUT,      /* the deadline passed or the caller cancelled */
        ERROR_DENIED,       /* permission */
        ERROR_INTERNAL,     /* everything else */
        _ERROR_N,
} ErrorCode;

/* Room for a message with its NUL; longer text is cut. */
#define ERROR_MESSAGE_MAX 504

/* By value on the caller's stack: works without memory, and nobody frees it. Starts as (Error){0}.
 */
typedef struct Error {
        ErrorCode code;
        int os_errno;                    /* errno behind it, 0 if none */
        char message[ERROR_MESSAGE_MAX]; /* outermost context first: "stage pvc-1: open /dev/sdb:
                                            Device or resource busy" */
} Error;

/**
 * error_set() - fill @err
 * @err:    may be NULL
 * @format: printf format; never a secret, never a whole request
 *
 * Return: always negative: a plausible errno for @code, to be returned by the caller.
 */
int error_set(Error *err, ErrorCode code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/**
 * error_set_errno() - fill @err from an errno: the message is "<formatted>: <text of the errno>"
 * @os_errno: positive or negative errno; the code is derived from it
 *
 * Return: -|@os_errno|.
 */
int error_set_errno(Error *err, int os_errno, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Tells compilers and analyzers what the two always return, so that they follow no path on which a
 * failure went on as success. */
static inline int error_is_negative(int r) {
        if (r >= 0)
                __builtin_unreachable();
        return r;
}

#define error_set(...)       error_is_negative(error_set(__VA_ARGS__))
#define error_set_errno(...) error_is_negative(error_set_errno(__VA_ARGS__))

/**
 * error_wrap() - put context before the message of an @err that is already filled
 * @r: what the failed call returned; if @err is empty, it is filled from this errno
 *
 * Return: @r.
 */
int error_wrap(Error *err, int r, const char *format, ...) __attribute__((format(printf, 3, 4)));

/**
 * error_join() - gather errors of an undo that goes on: "; " between messages, the first code wins
 * @err:   filled so far or empty
 * @other: appended if it is filled
 */
void error_join(Error *err, const Error *other);

/* @other in the place of what @err said; @err may be NULL. */
static inline void error_move(Error *err, const Error *other) {
        if (err)
                *err = *other;
}

/* The code that an errno stands for when nothing more is known. @os_errno may be negative. */
ErrorCode error_code_from_errno(int os_errno);

/* Lower-case name, for logs and metrics: "not_found". Static. */
const char *error_code_name(ErrorCode code);

static inline bool error_is_set(const Error *err) {
        return err && err->code != ERROR_NONE;
}

#endif
