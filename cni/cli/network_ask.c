/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a runtime asks of each plugin of a network, asked now, and what they answered as one object,
 * which is printed for people or as it is. The plugins of ours are this very file under their
 * names; others are found as the runtime finds them.
 */

#include "cni/cli/network_ask.h"

#include "cni/cli/commands.h"
#include "cni/rules/rules.h"
#include "cni/spec/conf.h"
#include "cni/spec/env.h"
#include "common/base/cleanup.h"
#include "common/base/exec.h"
#include "common/base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_MSECS 120000U

static void result_deinit_(ExecResult *result) {
        exec_result_deinit(result);
}

/* Is it one of the plugins in this file? */
static bool is_ours(const char *type) {
        return strcmp(type, "berth-cni") == 0 || role_from_path(type) != ROLE_BERTH;
}

static int take_failure(ExecResult *result, Error *err) {
        cleanup(json_decrefp) json_t *answer = NULL;
        const char *message = "", *details = "";
        int64_t code = 0;

        (void)json_text_parse(result->output, result->n_output, &answer, NULL);
        (void)json_read_text(answer, "msg", &message, NULL);
        (void)json_read_text(answer, "details", &details, NULL);
        (void)json_read_number(answer, "code", 0, INT32_MAX, &code, NULL);
        return error_set(err, ERROR_UNAVAILABLE, "%s%s%s (code %lld)",
                         message[0] ? message : result->errors, details[0] ? ": " : "", details,
                         (long long)code);
}

/* Return: 0 with its answer, NULL if it gave none; negative. */
static int ask(const Question *question, const char *type, const json_t *conf, json_t **answerp,
               Error *err) {
        cleanup(result_deinit_) ExecResult result = {0};
        cleanup(freep) char *path = str_printf("%s/%s", question->plugins, type);
        cleanup(freep) char *text = json_dumps(conf, 0);
        cleanup(freep) char *search = str_printf("CNI_PATH=%s", question->plugins);
        bool is_status = question->verb == QUESTION_STATUS;
        const char *const argv[] = {type, NULL};
        const char *const envp[] = {is_status ? "CNI_COMMAND=STATUS" : "CNI_COMMAND=GC", search,
                                    "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                                    question->verb == QUESTION_GC ? NULL : ENV_TELL "=1", NULL};
        ExecRequest request = {
                .argv = argv,
                .program = is_ours(type) ? "/proc/self/exe" : path,
                .envp = envp,
                .input = text,
                .timeout_msecs = TIMEOUT_MSECS,
        };
        int r;

        if (!path || !text || !search)
                return error_set_errno(err, ENOMEM, "%s", type);
        request.n_input = strlen(text);
        r = exec_run(&request, &result);
        if (r < 0)
                return error_set_errno(err, r, "run %s", request.program);
        if (result.exit_status != 0)
                return take_failure(&result, err);
        (void)json_text_parse(result.output, result.n_output, answerp, NULL);
        return 0;
}

/* Does any plugin of the list open FORWARD? */
static bool opens_forward(const json_t *list) {
        const json_t *plugins = json_find(list, "plugins");

        for (size_t i = 0; i < json_array_size(plugins); i++) {
                const json_t *plugin = json_array_get(plugins, i);
                bool on = false;

                if (str_equal(json_string_value(json_find(plugin, "type")), "firewall") ||
                    (json_read_bool(plugin, "firewall", &on, NULL) == 0 && on))
                        return true;
        }
        return false;
}

/* The configuration of one plugin of @list, as runtimes build it. */
static json_t *plugin_conf(const Question *question, const json_t *list, const json_t *plugin) {
        json_t *conf = json_copy((json_t *)(uintptr_t)plugin);

        if (!conf || json_object_set(conf, "name", json_find(list, "name")) < 0 ||
            /* Both verbs came with 1.1.0; ours know them whatever the list says. */
            json_object_set_new(conf, "cniVersion", json_string("1.1.0")) < 0 ||
            json_object_set_new(conf, RULES_KEY_FIREWALL, json_boolean(opens_forward(list))) < 0 ||
            (question->attachments &&
             json_object_set(conf, "cni.dev/valid-attachments", question->attachments) < 0)) {
                json_decref(conf);
                return NULL;
        }
        return conf;
}

/* Why a plugin of others is not asked; NULL: it is. */
static const char *reason_not_to_ask(const Question *question, const json_t *list) {
        const char *text = "";
        CniVersion version;

        if (question->verb == QUESTION_GARBAGE)
                return "another program cannot be asked what it would remove";
        (void)json_read_text(list, "cniVersion", &text, NULL);
        return cni_version_parse(text, &version) == 0 && version >= CNI_1_1_0
                       ? NULL
                       : "cniVersion of the list is older than 1.1.0";
}

static int set(json_t *object, const char *key, json_t *value) {
        return json_object_set_new(object, key, value);
}

/* A list without one of its programs makes no pod, whoever is asked what. */
static int check_program(const Question *question, const char *type, Error *err) {
        cleanup(freep) char *path = str_printf("%s/%s", question->plugins, type);

        if (question->verb != QUESTION_STATUS || (path && access(path, X_OK) == 0))
                return 0;
        return error_set_errno(err, path ? errno : ENOMEM, "the runtime cannot run %s/%s",
                               question->plugins, type);
}

/* {"type", "ready", "notAsked" or "message", "answer"} */
static json_t *ask_plugin(const Question *question, const json_t *list, const json_t *plugin) {
        const char *type = json_string_value(json_find(plugin, "type"));
        cleanup(json_decrefp) json_t *conf = plugin_conf(question, list, plugin), *answer = NULL;
        json_t *told = json_pack("{s:s, s:b}", "type", type, "ready", true);
        const char *why = is_ours(type) ? NULL : reason_not_to_ask(question, list);
        Error err = {0};
        int r;

        if (!conf || !told)
                return told;
        r = check_program(question, type, &err);
        if (r == 0 && why)
                (void)set(told, "notAsked", json_string(why));
        else if (r == 0)
                r = ask(question, type, conf, &answer, &err);
        if (r < 0) {
                (void)set(told, "ready", json_false());
                (void)set(told, "message", json_string(err.message));
        } else if (answer) {
                (void)json_object_update(told, answer);
        }
        return told;
}

/* A runtime's own check of a list's version. Return: 0; INVALID. */
static int check_version(const json_t *list, Error *err) {
        const char *version = "";
        CniVersion parsed;

        if (json_read_text(list, "cniVersion", &version, err) < 0 ||
            (version[0] && cni_version_parse(version, &parsed) < 0))
                return error_set(err, ERROR_INVALID,
                                 "cniVersion \"%s\" is not one that plugins speak (expected 0.1.0 "
                                 "to 1.1.0)",
                                 version);
        return 0;
}

json_t *network_ask(const Question *question, const json_t *list) {
        const json_t *plugins = json_find(list, "plugins");
        json_t *told = json_array();
        json_t *report = json_pack("{s:O, s:O*, s:b, s:b, s:o}", "network", json_find(list, "name"),
                                   "cniVersion", json_find(list, "cniVersion"), "dryRun",
                                   question->verb == QUESTION_GARBAGE, "isGc",
                                   question->verb != QUESTION_STATUS, "plugins", told);
        bool ready = true;
        Error err = {0};

        if (!report)
                return NULL;
        if (question->not_asked || check_version(list, &err) < 0) {
                (void)set(report, "message",
                          json_string(question->not_asked ? question->not_asked : err.message));
                (void)set(report, "ready", json_boolean(question->not_asked != NULL));
                return report;
        }
        for (size_t i = 0; i < json_array_size(plugins); i++) {
                json_t *one = ask_plugin(question, list, json_array_get(plugins, i));

                ready = ready && json_is_true(json_find(one, "ready"));
                (void)json_array_append_new(told, one);
        }
        (void)set(report, "ready", json_boolean(ready));
        return report;
}

/* --- every list of a directory ------------------------------------------------------------- */

static json_t *ask_file(const Question *question, int dir_fd, const char *directory,
                        const char *name) {
        cleanup(json_decrefp) json_t *list = NULL;
        cleanup(freep) char *path = str_printf("%s/%s", directory, name);
        json_t *report;
        Error err = {0};

        report = conflist_read(dir_fd, name, &list, &err) < 0
                         ? json_pack("{s:b, s:s}", "ready", false, "message", err.message)
                         : network_ask(question, list);
        if (report && path)
                (void)set(report, "file", json_string(path));
        return report;
}

json_t *network_ask_all(const Question *question, const char *directory) {
        cleanup(closep) int dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct dirent **entries = NULL;
        int n = dir_fd < 0 ? -1 : scandirat(dir_fd, ".", &entries, conflist_is_named, alphasort);
        json_t *networks = json_array();
        json_t *report = json_pack("{s:s, s:s, s:o}", "configurationDirectory", directory,
                                   "pluginDirectory", question->plugins, "networks", networks);

        if (n <= 0 && report)
                (void)set(report, "message",
                          json_string(n < 0 ? strerror(errno)
                                            : "the runtime has none to make pods with"));
        for (int i = 0; i < n; i++) {
                json_t *one = ask_file(question, dir_fd, directory, entries[i]->d_name);

                if (one)
                        (void)set(one, "taken", json_boolean(i == 0));
                (void)json_array_append_new(networks, one);
                free(entries[i]);
        }
        free(entries);
        return report;
}

/* --- printing ------------------------------------------------------------------------------ */

static const char *text_of(const json_t *object, const char *key) {
        const char *text = json_string_value(json_object_get(object, key));

        return text ? text : "";
}

static void print_plugin(const json_t *report, const json_t *plugin, FILE *file) {
        const json_t *garbage = json_object_get(plugin, "garbage");
        const json_t *mtu = json_object_get(plugin, "mtu");
        bool is_gc = json_is_true(json_object_get(report, "isGc"));

        fprintf(file, "%s: %s: ", text_of(report, "network"), text_of(plugin, "type"));
        if (json_object_get(plugin, "notAsked"))
                fprintf(file, "not asked: %s\n", text_of(plugin, "notAsked"));
        else if (!json_is_true(json_object_get(plugin, "ready")))
                fprintf(file, "%s\n", text_of(plugin, "message"));
        else if (json_array_size(garbage) > 0)
                fprintf(file, "would remove:\n");
        else if (mtu)
                fprintf(file, "ready, the next pod's MTU is %lld\n",
                        (long long)json_integer_value(mtu));
        else
                fprintf(file, "%s\n", is_gc ? "clean" : "ready");
        for (size_t i = 0; i < json_array_size(garbage); i++)
                fprintf(file, "  %s\n", json_string_value(json_array_get(garbage, i)));
}

static void print_network(const json_t *report, FILE *file) {
        const json_t *plugins = json_object_get(report, "plugins");
        const char *message = text_of(report, "message"), *name = text_of(report, "network");

        if (json_object_get(report, "file"))
                fprintf(file, "%s%s\n", text_of(report, "file"),
                        json_is_true(json_object_get(report, "taken"))
                                ? ": the runtime takes this one"
                                : "");
        if (message[0])
                fprintf(file, "%s%s%s\n", name, name[0] ? ": " : "", message);
        for (size_t i = 0; i < json_array_size(plugins); i++)
                print_plugin(report, json_array_get(plugins, i), file);
}

void network_report_print(const json_t *report, FILE *file) {
        const json_t *networks = json_object_get(report, "networks");

        if (!networks) {
                print_network(report, file);
                return;
        }
        if (json_array_size(networks) == 0)
                fprintf(file, "%s: no list of a network: %s\n",
                        text_of(report, "configurationDirectory"), text_of(report, "message"));
        for (size_t i = 0; i < json_array_size(networks); i++)
                print_network(json_array_get(networks, i), file);
}

/* Of many networks the one counts that the runtime takes. */
int network_report_status(const json_t *report) {
        const json_t *networks = json_object_get(report, "networks");

        if (networks)
                report = json_array_get(networks, 0);
        return !json_is_true(json_object_get(report, "ready"));
}
