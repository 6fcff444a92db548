/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/share/helper.h"

#include "common/base/cleanup.h"
#include "common/base/exec.h"
#include "common/base/str.h"

ErrorCode share_helper_code(const char *words) {
        static const struct {
                const char *words;
                ErrorCode code;
        } table[] = {
                {"access denied", ERROR_DENIED},
                {"Permission denied", ERROR_DENIED},
                {"Operation not permitted", ERROR_DENIED},
                {"No such file or directory", ERROR_NOT_FOUND},
                {"Connection refused", ERROR_UNAVAILABLE},
                {"timed out", ERROR_UNAVAILABLE},
                {"No route to host", ERROR_UNAVAILABLE},
                {"Network is unreachable", ERROR_UNAVAILABLE},
                {"Host is down", ERROR_UNAVAILABLE},
                {"Failed to resolve", ERROR_UNAVAILABLE},
                {"Connection reset", ERROR_UNAVAILABLE},
                {"Program not registered", ERROR_UNAVAILABLE},
                {"not responding", ERROR_UNAVAILABLE},
                {"requested NFS version", ERROR_PRECONDITION},
                {"Protocol not supported", ERROR_PRECONDITION},
                {"No such device", ERROR_PRECONDITION},
                {"not supported", ERROR_PRECONDITION},
                {"rpc.statd is not running", ERROR_PRECONDITION},
                {"incorrect mount option", ERROR_INVALID},
                {"Invalid argument", ERROR_INVALID},
                {"option", ERROR_INVALID},
        };

        for (size_t i = 0; i < N_ELEMENTS(table); i++)
                if (strstr(words, table[i].words))
                        return table[i].code;
        return ERROR_INTERNAL;
}

/* Its last line that says something; the ones before are of attempts. */
static char *last_words(const ExecResult *result) {
        char *text = result->errors && result->n_errors > 0 ? result->errors : result->output;
        char *line;

        if (!text)
                return NULL;
        str_trim_end(text);
        line = strrchr(text, '\n');
        return line ? line + 1 : text;
}

static int say_failed(const Share *share, const char *path, const ExecResult *result, Error *err) {
        const char *words = last_words(result);

        return error_set(err, share_helper_code(words ? words : ""),
                         "mount %.200s at %s: %s ended with %d: %.200s", share->source, path,
                         share->helper, result->exit_status,
                         str_is_empty(words) ? "without a word" : words);
}

/* NOLINTNEXTLINE(readability-function-size): what, how, where, how long. */
int share_helper_run(const Share *share, const MountOptions *options, const char *target,
                     const char *path, uint64_t timeout_msecs, const Call *call, Error *err) {
        char words[MOUNT_OPTIONS_TEXT_MAX + 256];
        const char *const argv[] = {share->helper, share->source, target, "-o", words, NULL};
        ExecResult result = {0};
        ExecRequest request = {
                .argv = argv,
                .timeout_msecs = timeout_msecs,
                .output_limit_bytes = 4096,
                .cancelled = call->cancelled,
                .userdata = call->userdata,
        };
        size_t n;
        int r;

        n = mount_options_format(options, true, words, sizeof(words) - 16);
        if (n >= sizeof(words) - 16)
                return error_set(err, ERROR_INVALID, "mount_flags: too many");
        /* A helper of NFS tries for two minutes, and longer than we may wait. */
        if (!mount_options_get(options, "retry"))
                (void)snprintf(words + n, sizeof(words) - n, "%sretry=0", n > 0 ? "," : "");
        r = exec_run(&request, &result);
        if (r == -ENOENT)
                r = error_set(err, ERROR_PRECONDITION,
                              "%s is not installed, and %s is mounted by it", share->helper,
                              share->fs_type);
        else if (r == -ETIMEDOUT)
                r = error_set(err, ERROR_UNAVAILABLE,
                              "the server %s does not answer: %s was ended after %u s",
                              share->server, share->helper,
                              (unsigned int)(request.timeout_msecs / 1000));
        else if (r == -ECANCELED)
                r = error_set(err, ERROR_TIMEOUT, "cancelled while %s was asked", share->server);
        else if (r < 0)
                r = error_set_errno(err, r, "run %s", share->helper);
        else if (result.exit_status != 0)
                r = say_failed(share, path, &result, err);
        exec_result_deinit(&result);
        return r;
}
