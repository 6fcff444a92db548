/* SPDX-License-Identifier: Apache-2.0 */

/*
 * berth-cni: one call of a container runtime. Environment and stdin in, one JSON object out on
 * stdout, exit status 0 or 1. Which plugin it is, the name it is called by says (argv[0]).
 */

#include "cni/cli/commands.h"
#include "cni/commands/counters.h"
#include "cni/commands/request.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static int print_about(PluginRole role) {
        cleanup(strbuf_deinit) StrBuf text = {0};

        strbuf_printf(&text,
                      "CNI %s plugin, berth " BERTH_VERSION "\nCNI protocol versions supported:",
                      role_name(role));
        for (unsigned int i = 0; i < _CNI_VERSION_N; i++)
                strbuf_printf(&text, "%s %s", i > 0 ? "," : "", cni_version_name((CniVersion)i));
        strbuf_append(&text, "\n");
        (void)file_write_all(STDERR_FILENO, strbuf_text(&text), strlen(strbuf_text(&text)));
        return 0;
}

static char *format_versions(void) {
        StrBuf text = {0};

        strbuf_append(&text, "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[");
        for (unsigned int i = 0; i < _CNI_VERSION_N; i++)
                strbuf_printf(&text, "%s\"%s\"", i > 0 ? "," : "", cni_version_name((CniVersion)i));
        strbuf_append(&text, "]}\n");
        return strbuf_steal(&text);
}

static int read_input(Request *request, Error *err) {
        int r = file_read_fd(STDIN_FILENO, JSON_SIZE_MAX, &request->input, &request->n_input);

        if (r == 0)
                return 0;
        (void)error_set_errno(err, r, "stdin");
        return failure_set(&request->failure, CNI_CODE_IO, "error reading from stdin",
                           err->message);
}

static int serve(Request *request) {
        Error err = {0};

        return read_input(request, &err) ? 1 : request_serve(request);
}

static void seed(Request *request) {
        size_t number;

        if (getrandom(request->random, sizeof(request->random), 0) < 0)
                memset(request->random, 0x5a, sizeof(request->random));
        memcpy(&number, request->random, sizeof(number));
        /* jansson would open /dev/urandom. */
        json_object_seed(number | 1);
}

static void log_failure(const Request *request) {
        const Failure *failure = &request->failure;
        const LogField fields[] = {
                {"op", request->env.command},
                {"network", request->conf.name},
                {"container", request->env.container_id},
                {"ifname", request->env.ifname},
        };

        log_fields(LOG_LEVEL_ERROR, fields, N_ELEMENTS(fields), "%s%s%s", failure->msg,
                   failure->details[0] ? ": " : "", failure->details);
}

static int report(Request *request, int status) {
        Error err = {0};
        int r;

        if (status) {
                log_failure(request);
                free(request->output);
                request->output = failure_format(&request->failure, request->conf.version);
        }
        if (!request->output)
                return status;
        r = file_write_all(STDOUT_FILENO, request->output, strlen(request->output));
        if (r == 0)
                return status;
        (void)error_set_errno(&err, r, "stdout");
        log_error("%s", err.message);
        return 1;
}

static uint64_t now_nsecs(void) {
        struct timespec now;

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Behind the answer: whoever waits for that has it by then. */
static void count(const Request *request, int status, uint64_t started) {
        unsigned int code = status ? request->failure.code : 0;

        if (request->env.verb == VERB_VERSION)
                return;
        counters_add(COUNTERS_PATH, request->conf.role, request->env.verb,
                     status && code == 0 ? CNI_CODE_IO : code, now_nsecs() - started);
}

static int run(PluginRole role) {
        cleanup(request_deinit) Request request = REQUEST_NULL;
        uint64_t started = now_nsecs();
        Error err = {0};
        int status = 0;

        request.conf.role = role;
        request.conf.name = "";
        env_read(&request.env);
        if (!request.env.command)
                return print_about(role);
        seed(&request);
        if (env_check(&request.env, &err))
                status = failure_set(&request.failure, CNI_CODE_ENVIRONMENT, err.message, NULL);
        else if (request.env.verb == VERB_VERSION)
                request.output = format_versions();
        else
                status = serve(&request);
        status = report(&request, status);
        count(&request, status, started);
        return status;
}

int main(int argc, char **argv) {
        if (cli_is_asked(argc, argv))
                return cli_main(argc, argv);
        return run(role_from_path(argc > 0 ? argv[0] : NULL));
}
