/* SPDX-License-Identifier: Apache-2.0 */

/* Another plugin, executed as the specification says: our environment, our stdin, its stdout. */

#include "cni/ipam/ipam.h"

#include "cni/spec/json.h"
#include "common/base/cleanup.h"
#include "common/base/exec.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

/* A DHCP server may take long; a runtime gives up on us after about as long. */
#define DELEGATE_MSECS (240U * 1000)

int delegate_find(const char *cni_path, const char *type, char **pathp, Error *err) {
        cleanup(freep) char *copy = strdup(cni_path);
        char *rest = copy, *dir;

        if (!copy)
                return error_set_errno(err, ENOMEM, "CNI_PATH");
        while ((dir = strsep(&rest, ":"))) {
                cleanup(freep) char *path = NULL;
                struct stat status;

                if (dir[0] == '\0')
                        continue;
                path = str_printf("%s/%s", dir, type);
                if (!path)
                        return error_set_errno(err, ENOMEM, "CNI_PATH");
                if (stat(path, &status) == 0 && S_ISREG(status.st_mode)) {
                        *pathp = ptr_steal(&path);
                        return 0;
                }
        }
        return error_set(err, ERROR_NOT_FOUND, "failed to find plugin \"%s\" in path [%s]", type,
                         cni_path);
}

/* Our environment with another CNI_COMMAND. The strings are borrowed but for the first. */
static const char **environment_with(char *command) {
        size_t n = 0, used = 0;
        const char **copy;

        while (environ[n])
                n++;
        copy = calloc(n + 2, sizeof(*copy));
        if (!copy)
                return NULL;
        copy[used++] = command;
        for (size_t i = 0; i < n; i++)
                if (!str_has_prefix(environ[i], "CNI_COMMAND="))
                        copy[used++] = environ[i];
        return copy;
}

/* The error object on its stdout goes on as it is. */
static void pass_on(const char *output, Failure *passed) {
        const char *msg = "", *details = "";
        Error ignored = {0};
        json_t *json = NULL;
        int64_t code = 0;

        if (json_text_parse(output, strlen(output), &json, &ignored) < 0)
                return;
        if (json_read_number(json, "code", 1, INT32_MAX, &code, &ignored) == 0 && code > 0 &&
            json_read_text(json, "msg", &msg, &ignored) == 0 &&
            json_read_text(json, "details", &details, &ignored) == 0)
                (void)failure_set(passed, (unsigned int)code, msg, details);
        json_decref(json);
}

static int judge(const Delegate *delegate, ExecResult *result, Error *err) {
        Failure *passed = delegate->passed;

        if (result->exit_status == 0)
                return 0;
        pass_on(result->output, passed);
        if (passed->code)
                return error_set(err, ERROR_INTERNAL, "%splugin %s: %s%s%s", delegate->what,
                                 delegate->type, passed->msg, passed->details[0] ? "; " : "",
                                 passed->details);
        str_make_utf8(result->errors);
        str_trim_end(result->errors);
        if (result->term_signal)
                return error_set(err, ERROR_INTERNAL, "%splugin %s: killed by signal %d",
                                 delegate->what, delegate->type, result->term_signal);
        return error_set(err, ERROR_INTERNAL, "%splugin %s: exit status %d: %s", delegate->what,
                         delegate->type, result->exit_status,
                         result->errors[0] ? result->errors : "no error message");
}

int delegate_exec(const Delegate *delegate, const char *verb, char **outputp, Error *err) {
        cleanup(freep) char *path = NULL, *command = NULL;
        cleanup(freep) const char **environment = NULL;
        cleanup(exec_result_deinit) ExecResult result = {0};
        int r;

        r = delegate_find(delegate->cni_path ? delegate->cni_path : "", delegate->type, &path, err);
        if (r < 0)
                return r;
        command = str_printf("CNI_COMMAND=%s", verb);
        environment = command ? environment_with(command) : NULL;
        if (!environment)
                return error_set_errno(err, ENOMEM, "%splugin %s", delegate->what, delegate->type);
        (void)signal(SIGPIPE, SIG_IGN);
        r = exec_run(
                &(ExecRequest){
                        .argv = (const char *const[]){path, NULL},
                        .envp = environment,
                        .input = delegate->input,
                        .n_input = delegate->n_input,
                        .timeout_msecs = DELEGATE_MSECS,
                        .output_limit_bytes = JSON_SIZE_MAX,
                },
                &result);
        if (r == -ETIMEDOUT)
                return error_set(err, ERROR_TIMEOUT, "%splugin %s did not end in %u seconds",
                                 delegate->what, delegate->type, DELEGATE_MSECS / 1000);
        if (r < 0)
                return error_set_errno(err, r, "run %s", path);
        /* What it has to say to people is for whoever reads our stderr. */
        if (result.n_errors > 0)
                (void)file_write_all(STDERR_FILENO, result.errors, result.n_errors);
        r = judge(delegate, &result, err);
        if (r == 0 && outputp)
                *outputp = ptr_steal(&result.output);
        return r;
}

int delegate_run(Ipam *ipam, const char *verb, char **outputp, Error *err) {
        return delegate_exec(
                &(Delegate){
                        .what = "IPAM ",
                        .type = ipam->conf->ipam_type,
                        .cni_path = ipam->env->path,
                        .input = ipam->input,
                        .n_input = ipam->n_input,
                        .passed = &ipam->passed,
                },
                verb, outputp, err);
}
