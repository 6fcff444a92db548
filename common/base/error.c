/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The error value that both programs report with. It never allocates and never logs; cutting a
 * message is preferred to failing to tell it.
 */

#include "common/base/error.h"

#include "common/base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const code_names[_ERROR_N] = {
        [ERROR_NONE] = "ok",
        [ERROR_INVALID] = "invalid",
        [ERROR_NOT_FOUND] = "not_found",
        [ERROR_CONFLICT] = "conflict",
        [ERROR_PRECONDITION] = "precondition",
        [ERROR_UNSUPPORTED] = "unsupported",
        [ERROR_RANGE] = "range",
        [ERROR_EXHAUSTED] = "exhausted",
        [ERROR_AGAIN] = "again",
        [ERROR_UNAVAILABLE] = "unavailable",
        [ERROR_TIMEOUT] = "timeout",
        [ERROR_DENIED] = "denied",
        [ERROR_INTERNAL] = "internal",
};

const char *error_code_name(ErrorCode code) {
        if (code < ERROR_NONE || code >= _ERROR_N)
                return "unknown";
        return code_names[code];
}

ErrorCode error_code_from_errno(int os_errno) {
        switch (abs(os_errno)) {
        case 0:
                return ERROR_NONE;
        case EINVAL:
        case ENAMETOOLONG:
                return ERROR_INVALID;
        case ENOENT:
        case ENODEV:
        case ENXIO:
                return ERROR_NOT_FOUND;
        case EEXIST:
                return ERROR_CONFLICT;
        case EBUSY:
        case ENOTEMPTY:
        case EROFS:
                return ERROR_PRECONDITION;
        case EOPNOTSUPP:
        case ENOSYS:
                return ERROR_UNSUPPORTED;
        case ERANGE:
        case EFBIG:
        case EOVERFLOW:
                return ERROR_RANGE;
        case ENOSPC:
        case EDQUOT:
        case ENOMEM:
        case EMFILE:
        case ENFILE:
                return ERROR_EXHAUSTED;
        case EAGAIN:
        case EALREADY:
                return ERROR_AGAIN;
        case ECONNREFUSED:
        case EHOSTUNREACH:
        case ENETUNREACH:
                return ERROR_UNAVAILABLE;
        case ETIMEDOUT:
        case ECANCELED:
                return ERROR_TIMEOUT;
        case EACCES:
        case EPERM:
                return ERROR_DENIED;
        default:
                return ERROR_INTERNAL;
        }
}

/* The errno a caller sees for a failure that began with a code. */
static int errno_from_code(ErrorCode code) {
        switch (code) {
        case ERROR_NONE:
        case ERROR_INVALID:
        case _ERROR_N:
                return EINVAL;
        case ERROR_NOT_FOUND:
                return ENOENT;
        case ERROR_CONFLICT:
                return EEXIST;
        case ERROR_PRECONDITION:
                return EBUSY;
        case ERROR_UNSUPPORTED:
                return EOPNOTSUPP;
        case ERROR_RANGE:
                return ERANGE;
        case ERROR_EXHAUSTED:
                return ENOSPC;
        case ERROR_AGAIN:
                return EAGAIN;
        case ERROR_UNAVAILABLE:
                return EHOSTUNREACH;
        case ERROR_TIMEOUT:
                return ETIMEDOUT;
        case ERROR_DENIED:
                return EACCES;
        case ERROR_INTERNAL:
                return EIO;
        }
        return EIO;
}

/* Cuts at a whole UTF-8 character: gRPC clients refuse a status message that is not valid UTF-8. */
static void cut_clean(char *message) {
        size_t n = strlen(message);

        if (n < ERROR_MESSAGE_MAX - 1)
                return;
        while (n > 0 && ((unsigned char)message[n - 1] & 0xc0) == 0x80)
                n--;
        if (n > 0 && ((unsigned char)message[n - 1] & 0x80))
                n--;
        message[n] = '\0';
}

/* Words of tenants, tools and disks are in it, and it ends in events, logs and on terminals: one
 * line, and nothing that is obeyed there (CVE-2021-25743). */
static void make_line(char *message) {
        cut_clean(message);
        str_make_utf8(message);
        for (char *at = message; *at; at++)
                if (*at == '\n' || *at == '\t')
                        *at = ' ';
}

static __attribute__((format(printf, 2, 0))) void message_format(Error *err, const char *format,
                                                                 va_list ap) {
        (void)vsnprintf(err->message, sizeof(err->message), format, ap);
        make_line(err->message);
}

static void message_append(Error *err, const char *separator, const char *text) {
        size_t n = strlen(err->message);

        (void)snprintf(err->message + n, sizeof(err->message) - n, "%s%s", separator, text);
        make_line(err->message);
}

int(error_set)(Error *err, ErrorCode code, const char *format, ...) {
        va_list ap;

        if (err) {
                err->code = code;
                err->os_errno = 0;
                va_start(ap, format);
                message_format(err, format, ap);
                va_end(ap);
        }
        return -errno_from_code(code);
}

int(error_set_errno)(Error *err, int os_errno, const char *format, ...) {
        char text[128];
        va_list ap;

        os_errno = abs(os_errno);
        if (err) {
                err->code = os_errno ? error_code_from_errno(os_errno) : ERROR_INTERNAL;
                err->os_errno = os_errno;
                va_start(ap, format);
                message_format(err, format, ap);
                va_end(ap);
                /* strerror() is not thread-safe; %m is, and reads errno. */
                errno = os_errno;
                (void)snprintf(text, sizeof(text), "%m");
                message_append(err, ": ", text);
        }
        return os_errno ? -os_errno : -EIO;
}

int error_wrap(Error *err, int r, const char *format, ...) {
        char inner[ERROR_MESSAGE_MAX];
        va_list ap;

        if (!err)
                return r;
        if (!error_is_set(err))
                (void)error_set_errno(err, r < 0 ? r : EIO, "failed");
        memcpy(inner, err->message, sizeof(inner));
        va_start(ap, format);
        message_format(err, format, ap);
        va_end(ap);
        message_append(err, ": ", inner);
        return r;
}

void error_join(Error *err, const Error *other) {
        if (!err || !error_is_set(other))
                return;
        if (!error_is_set(err)) {
                *err = *other;
                return;
        }
        message_append(err, "; ", other->message);
}
