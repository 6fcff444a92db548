/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/spec/failure.h"

#include "common/base/str.h"

#include <jansson.h>
#include <stdio.h>

int failure_set(Failure *failure, unsigned int code, const char *msg, const char *details) {
        failure->code = code;
        (void)snprintf(failure->msg, sizeof(failure->msg), "%s", msg);
        (void)snprintf(failure->details, sizeof(failure->details), "%s", details ? details : "");
        return 1;
}

/* The CNI specification's table, "Well-known Error Codes"; from 100 on they are the plugin's. */
static unsigned int code_of(ErrorCode code) {
        switch (code) {
        case ERROR_INVALID:
                return CNI_CODE_CONFIG;
        case ERROR_AGAIN:
        case ERROR_TIMEOUT:
                return CNI_CODE_AGAIN;
        case ERROR_NONE:
        case ERROR_NOT_FOUND:
        case ERROR_CONFLICT:
        case ERROR_PRECONDITION:
        case ERROR_UNSUPPORTED:
        case ERROR_RANGE:
        case ERROR_EXHAUSTED:
        case ERROR_UNAVAILABLE:
        case ERROR_DENIED:
        case ERROR_INTERNAL:
        case _ERROR_N:
                break;
        }
        return 100 + (unsigned int)code;
}

static const char *words_of(ErrorCode code) {
        switch (code) {
        case ERROR_INVALID:
                return "invalid network config";
        case ERROR_NOT_FOUND:
                return "not found";
        case ERROR_CONFLICT:
                return "exists already";
        case ERROR_PRECONDITION:
                return "the state of the node forbids it";
        case ERROR_UNSUPPORTED:
                return "not supported";
        case ERROR_RANGE:
                return "out of range";
        case ERROR_EXHAUSTED:
                return "nothing left";
        case ERROR_AGAIN:
        case ERROR_TIMEOUT:
                return "try again later";
        case ERROR_UNAVAILABLE:
                return "not available";
        case ERROR_DENIED:
                return "permission denied";
        case ERROR_NONE:
        case ERROR_INTERNAL:
        case _ERROR_N:
                break;
        }
        return "internal error";
}

int failure_from_error(Failure *failure, const Error *err) {
        if (err->code == ERROR_UNSUPPORTED && err->os_errno == 0)
                return failure_set(failure, CNI_CODE_UNSUPPORTED,
                                   "unsupported field in network config", err->message);
        return failure_set(failure, code_of(err->code), words_of(err->code), err->message);
}

char *failure_format(const Failure *failure, CniVersion version) {
        Failure clean = *failure;
        json_t *json;
        char *text;

        /* Names and paths come from outside and need not be UTF-8, which jansson insists on. */
        str_make_utf8(clean.msg);
        str_make_utf8(clean.details);
        json = json_pack("{s:s, s:i, s:s}", "cniVersion", cni_version_name(version), "code",
                         (int)clean.code, "msg", clean.msg);
        if (!json)
                return NULL;
        if (clean.details[0] != '\0' &&
            json_object_set_new(json, "details", json_string(clean.details)) < 0) {
                json_decref(json);
                return NULL;
        }
        text = json_dumps(json, JSON_INDENT(4));
        json_decref(json);
        return text;
}
