/* SPDX-License-Identifier: Apache-2.0 */

/*
 * gc and status for people: what a runtime would ask of each plugin of a network, asked now. The
 * plugins of ours are this very file under their names; others are found as the runtime finds them.
 */

#include "cni/people.h"

#include "cni/conf.h"
#include "cni/rules.h"
#include "common/base/cleanup.h"
#include "common/base/exec.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/netns/netns.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MSECS 120000U

/* Attachments that libcni's cache may tell of. */
#define ATTACHMENTS_MAX 65536
#define CACHE_FILE_MAX  (8U * 1024 * 1024)

#define CACHE_DIRECTORY "/var/lib/cni"

static const char try_help[] = "Try: berth-cni --help\n";

static const char usage[] =
        "Usage: berth-cni install [OPTION]...           see berth-cni install --help\n"
        "       berth-cni gc [OPTION]... NETWORK        remove what belongs to no running pod\n"
        "       berth-cni status [OPTION]... NETWORK    would the next pod get its interface?\n"
        "       berth-cni --help | --version\n"
        "\n"
        "NETWORK is the name in a configuration list, or the list's file, with a \"/\" in it.\n"
        "Without arguments and with CNI_COMMAND set, it is the plugin that a container runtime "
        "calls.\n"
        "\n"
        "  --conf-dir DIR    where configuration lists are (default: as the runtime is set up)\n"
        "  --bin-dir DIR     where other plugins are (default: likewise)\n"
        "  --cache-dir DIR   gc: which pods run is read from DIR/results, where runtimes note\n"
        "                    what they attached (default: " CACHE_DIRECTORY ")\n"
        "  --keep ID/IFNAME  gc: this one runs as well; may be given more than once\n"
        "  --all             gc: no pod runs; nothing is kept but what --keep names\n"
        "\n"
        "gc keeps a pod as long as its network namespace is there. status exits with 0 when all\n"
        "plugins are ready, and with 1 otherwise.\n";

typedef struct Arguments {
        const char *network;
        const char *configurations, *plugins, *cache;
        bool all;
        json_t *keep; /* owned: array of {containerID, ifname} */
        CniDirectories found;
} Arguments;

static void arguments_deinit(Arguments *arguments) {
        json_decref(arguments->keep);
}

bool people_asked(int argc, char **argv) {
        return argc > 1 && !getenv("CNI_COMMAND");
}

/* --- one plugin --------------------------------------------------------------------------- */

static void result_deinit_(ExecResult *result) {
        exec_result_deinit(result);
}

/* Is it one of the plugins in this file? */
static bool is_ours(const char *type) {
        return strcmp(type, "berth-cni") == 0 || role_from_path(type) != ROLE_BERTH;
}

/* A foreign plugin that is not asked, because it would not understand, is no failure. */
static int ask(const Arguments *arguments, const char *verb, const char *type, const json_t *conf,
               Error *err) {
        cleanup(result_deinit_) ExecResult result = {0};
        cleanup(freep) char *path = str_printf("%s/%s", arguments->plugins, type);
        cleanup(freep) char *text = json_dumps(conf, 0);
        char command[32], search[DIRECTORY_MAX + 16];
        const char *const argv[] = {type, NULL};
        const char *const envp[] = {command, search, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
        ExecRequest request = {
                .argv = argv,
                .program = is_ours(type) ? "/proc/self/exe" : path,
                .envp = envp,
                .input = text,
                .timeout_msecs = TIMEOUT_MSECS,
        };
        int r;

        if (!path || !text)
                return error_set_errno(err, ENOMEM, "%s", type);
        request.n_input = strlen(text);
        snprintf(command, sizeof(command), "CNI_COMMAND=%s", verb);
        snprintf(search, sizeof(search), "CNI_PATH=%s", arguments->plugins);
        r = exec_run(&request, &result);
        if (r < 0)
                return error_set_errno(err, r, "run %s", request.program);
        if (result.exit_status != 0) {
                cleanup(json_decrefp) json_t *answer = NULL;
                const char *message = "", *details = "";
                int64_t code = 0;

                (void)json_text_parse(result.output, result.n_output, &answer, NULL);
                (void)json_read_text(answer, "msg", &message, NULL);
                (void)json_read_text(answer, "details", &details, NULL);
                (void)json_read_number(answer, "code", 0, INT32_MAX, &code, NULL);
                return error_set(err, ERROR_UNAVAILABLE, "%s%s%s (code %lld)",
                                 message[0] ? message : result.errors, details[0] ? ": " : "",
                                 details, (long long)code);
        }
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
static json_t *plugin_conf(const json_t *list, const json_t *plugin, const json_t *attachments) {
        json_t *conf = json_copy((json_t *)(uintptr_t)plugin);
        const char *version = "";

        (void)json_read_text(list, "cniVersion", &version, NULL);
        if (!conf || json_object_set(conf, "name", json_find(list, "name")) < 0 ||
            /* Both verbs came with 1.1.0; ours know them whatever the list says. */
            json_object_set_new(conf, "cniVersion", json_string("1.1.0")) < 0 ||
            json_object_set_new(conf, RULES_KEY_FIREWALL, json_boolean(opens_forward(list))) < 0 ||
            (attachments && json_object_set(conf, "cni.dev/valid-attachments",
                                            (json_t *)(uintptr_t)attachments) < 0)) {
                json_decref(conf);
                return NULL;
        }
        return conf;
}

static bool list_speaks_of_it(const json_t *list) {
        const char *text = "";
        CniVersion version;

        (void)json_read_text(list, "cniVersion", &text, NULL);
        return cni_version_parse(text, &version) == 0 && version >= CNI_1_1_0;
}

/* Return: exit status. */
static int ask_all(const Arguments *arguments, const char *verb, const json_t *list,
                   const json_t *attachments) {
        const json_t *plugins = json_find(list, "plugins");
        const char *network = json_string_value(json_find(list, "name"));
        int status = 0;

        for (size_t i = 0; i < json_array_size(plugins); i++) {
                const json_t *plugin = json_array_get(plugins, i);
                cleanup(json_decrefp) json_t *conf = plugin_conf(list, plugin, attachments);
                const char *type = json_string_value(json_find(plugin, "type"));
                Error err = {0};

                if (!is_ours(type) && !list_speaks_of_it(list)) {
                        printf("%s: %s: not asked: cniVersion of the list is older than 1.1.0\n",
                               network, type);
                        continue;
                }
                if (!conf || ask(arguments, verb, type, conf, &err) < 0) {
                        printf("%s: %s: %s\n", network, type, conf ? err.message : "out of memory");
                        status = 1;
                        continue;
                }
                printf("%s: %s: %s\n", network, type, strcmp(verb, "GC") == 0 ? "clean" : "ready");
        }
        return status;
}

/* --- which pods run ----------------------------------------------------------------------- */

static int keep(Arguments *arguments, const char *id, const char *ifname) {
        json_t *one = json_pack("{s:s, s:s}", "containerID", id, "ifname", ifname);

        return one ? json_array_append_new(arguments->keep, one) : -1;
}

/* Where the pod is. libcni notes it since 1.2; before that, the result's interfaces tell. */
static int read_netns(const json_t *note, const char **netnsp, Error *err) {
        const json_t *result = NULL, *interfaces = NULL;
        int r;

        r = json_read_text(note, "netns", netnsp, err);
        r = r < 0 ? r : json_read_object(note, "result", &result, err);
        r = r < 0 ? r : json_read_array(result, "interfaces", &interfaces, err);
        for (size_t i = 0; i < json_array_size(interfaces) && r == 0 && str_is_empty(*netnsp); i++)
                r = json_read_text(json_array_get(interfaces, i), "sandbox", netnsp, err);
        return r;
}

/* A pod of which nobody says where it is may well run. */
static bool namespace_lives(const char *path) {
        cleanup(closep) int fd = -1;

        return str_is_empty(path) || netns_open(path, &fd) == 0;
}

/* A note of libcni: which pod, which network, which namespace. */
static int read_note(Arguments *arguments, int dir_fd, const char *name, const char *network) {
        cleanup(json_decrefp) json_t *json = NULL;
        cleanup(freep) char *text = NULL;
        const char *of = "", *id = "", *ifname = "", *netns = "";
        Error err = {0};
        size_t n = 0;
        int r;

        r = file_read_at(dir_fd, name, CACHE_FILE_MAX, &text, &n);
        r = r < 0 ? r : json_text_parse(text, n, &json, &err);
        r = r < 0 ? r : json_read_text(json, "networkName", &of, &err);
        r = r < 0 ? r : json_read_text(json, "containerId", &id, &err);
        r = r < 0 ? r : json_read_text(json, "ifName", &ifname, &err);
        r = r < 0 ? r : read_netns(json, &netns, &err);
        if (r < 0)
                return r;
        if (strcmp(of, network) != 0 || !namespace_lives(netns))
                return 0;
        return keep(arguments, id, ifname);
}

static int read_notes(Arguments *arguments, const char *network, Error *err) {
        cleanup(freep) char *path = str_printf("%s/results", arguments->cache);
        cleanup(freep) char *prefix = str_printf("%s-", network);
        cleanup(closedirp) DIR *dir = path ? opendir(path) : NULL;
        const struct dirent *entry;

        if (!path || !prefix)
                return error_set_errno(err, ENOMEM, "results");
        if (!dir)
                return error_set_errno(err, errno,
                                       "which pods run cannot be told: open %s (see --cache-dir, "
                                       "--keep and --all)",
                                       path);
        while ((entry = readdir(dir))) {
                if (!str_has_prefix(entry->d_name, prefix))
                        continue;
                /* One that cannot be read must not be taken for a pod that is gone. */
                if (read_note(arguments, dirfd(dir), entry->d_name, network) < 0)
                        return error_set(err, ERROR_INVALID, "%s/%s cannot be read", path,
                                         entry->d_name);
                if (json_array_size(arguments->keep) > ATTACHMENTS_MAX)
                        return error_set(err, ERROR_RANGE, "%s: too many pods", path);
        }
        return 0;
}

/* --- commands ----------------------------------------------------------------------------- */

static int take_keep(Arguments *arguments, const char *text) {
        const char *slash = strchr(text, '/');
        cleanup(freep) char *id = slash ? strndup(text, (size_t)(slash - text)) : NULL;

        if (!id || id[0] == '\0' || slash[1] == '\0')
                return -1;
        return keep(arguments, id, slash + 1);
}

static int wrong(const char *words, const char *what) {
        fprintf(stderr, "berth-cni: %s \"%s\"\n", words, what);
        return -1;
}

/* Return: 0; -1 when it is wrong; 1 for help. */
static int parse(int argc, char **argv, Arguments *arguments) {
        static const struct option options[] = {
                {"conf-dir", required_argument, NULL, 'c'},
                {"bin-dir", required_argument, NULL, 'b'},
                {"cache-dir", required_argument, NULL, 'd'},
                {"keep", required_argument, NULL, 'k'},
                {"all", no_argument, NULL, 'a'},
                {"help", no_argument, NULL, 'h'},
                {NULL, 0, NULL, 0},
        };
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
                switch (c) {
                case 'c':
                        arguments->configurations = optarg;
                        break;
                case 'b':
                        arguments->plugins = optarg;
                        break;
                case 'd':
                        arguments->cache = optarg;
                        break;
                case 'k':
                        if (take_keep(arguments, optarg) < 0)
                                return wrong("--keep wants ID/IFNAME, not", optarg);
                        break;
                case 'a':
                        arguments->all = true;
                        break;
                case 'h':
                        return 1;
                default:
                        return -1;
                }
        }
        arguments->network = argv[optind];
        if (!arguments->network)
                return wrong("which network? Missing after", argv[0]);
        return optind + 1 == argc ? 0
                                  : wrong("one network at a time; unexpected", argv[optind + 1]);
}

static int fail(const Error *err) {
        fprintf(stderr, "berth-cni: %s\n", err->message);
        return 1;
}

static int run(const Arguments *given, bool gc) {
        Arguments arguments = *given;
        cleanup(json_decrefp) json_t *list = NULL;
        Error err = {0};

        if (conflist_find(arguments.configurations, arguments.network, &list, &err) < 0)
                return fail(&err);
        if (gc && !arguments.all &&
            read_notes(&arguments, json_string_value(json_find(list, "name")), &err) < 0)
                return fail(&err);
        return ask_all(&arguments, gc ? "GC" : "STATUS", list, gc ? arguments.keep : NULL);
}

static int gc_or_status(int argc, char **argv) {
        cleanup(arguments_deinit)
                Arguments arguments = {.cache = CACHE_DIRECTORY, .keep = json_array()};
        cleanup(closep) int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        int r;

        directories_find(root_fd, true, &arguments.found);
        arguments.configurations = arguments.found.configurations;
        arguments.plugins = arguments.found.plugins;
        r = arguments.keep ? parse(argc, argv, &arguments) : -1;
        if (r != 0) {
                fputs(r > 0 ? usage : try_help, r > 0 ? stdout : stderr);
                return r > 0 ? 0 : 2;
        }
        return run(&arguments, strcmp(argv[0], "gc") == 0);
}

int people_main(int argc, char **argv) {
        if (strcmp(argv[1], "--version") == 0) {
                puts("berth-cni " BERTH_VERSION);
                return 0;
        }
        if (strcmp(argv[1], "install") == 0)
                return install_main(argc - 1, argv + 1);
        if (strcmp(argv[1], "gc") == 0 || strcmp(argv[1], "status") == 0)
                return gc_or_status(argc - 1, argv + 1);
        if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
                fputs(usage, stdout);
                return 0;
        }
        (void)wrong("unknown argument", argv[1]);
        fputs(try_help, stderr);
        return 2;
}
