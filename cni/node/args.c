/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/node/node.h"

#include "cni/commands/repair.h"
#include "common/base/arguments.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

/* What is done for nothing is done seldom; and a day without a look is none. */
#define SECS_MIN 30U
#define SECS_MAX 86400U

const char node_usage[] =
        "Usage: berth-node [OPTION]...             look after berth-cni on this node, until "
        "SIGTERM\n"
        "       berth-node subnets [OPTION]...     print what the API server says of this node\n"
        "       berth-node collect [OPTION]...     once: take away what no pod owns\n"
        "       berth-node uninstall [OPTION]...   take list, links and program away\n"
        "       berth-node --help | --version          or the words help and version\n"
        "\n"
        "Installs the plugin and its configuration list, and keeps both as they are; puts back "
        "what\n"
        "others flush; collects what no pod owns; serves health and metrics.\n"
        "\n"
        "  --subnet CIDR          of this node's pods, as for berth-cni install (default: as the\n"
        "                         API server says)\n"
        "  --subnet-file FILE     likewise, of a file: it is read again when it changes\n"
        "  --cluster-cidr CIDR    addresses of the pods of all nodes (default: $CLUSTER_CIDR)\n"
        "  --mtu BYTES            of the pods' interfaces (default: that of the way out)\n"
        "  --mode MODE            bridge or routed, as for berth-cni install (default: bridge)\n"
        "  --node-name NAME       of this node's object (default: $NODE_NAME)\n"
        "  --api-server URL       (default: of $KUBERNETES_SERVICE_HOST and _PORT)\n"
        "  --token-file FILE      (default: " ACCOUNT "/token)\n"
        "  --ca-file FILE         (default: " ACCOUNT "/ca.crt)\n"
        "  --ask-interval SECS    between two questions to the API server (default: 300)\n"
        "  --repair-interval SECS between two looks at everything, beside those that the kernel's\n"
        "                         announcements cause (default: 60; 0: never)\n"
        "  --gc-interval SECS     between two collections (default: 600; 0: never)\n"
        "  --bin-dir DIR          plugin directory (default: as the runtime is set up)\n"
        "  --conf-dir DIR         directory of configuration lists (default: likewise)\n"
        "  --cache-dir DIR        where runtimes note what they attached (default:\n"
        "                         " PODS_DIRECTORY ")\n"
        "  --names LIST           names to link, as for berth-cni install (default: missing)\n"
        "  --replace              likewise\n"
        "  --conf-name NAME       file name of the list (default: " INSTALL_CONF_NAME ")\n"
        "  --beside               write the list although another network's is there\n"
        "  --switch-mode          write the list although pods of the other --mode live here\n"
        "  --sysctl-dir DIR       the host's /proc/sys/net, where that of a container is "
        "read-only\n"
        "  --stay                 uninstall: when it is done, wait for SIGTERM\n"
        "  --plugin FILE          the program berth-cni (default: beside this one)\n"
        "  --health-port PORT     of /livez, /readyz and /metrics; 0 turns them off (default: "
        "9810)\n"
        "  --health-address ADDR  to listen on (default: all)\n"
        "  --log-level LEVEL      error, warning, info, debug (default: info)\n"
        "  --log-format FORMAT    logfmt, json (default: logfmt)\n";

enum {
        OPT_SUBNET = 256,
        OPT_SUBNET_FILE,
        OPT_CLUSTER,
        OPT_MTU,
        OPT_MODE,
        OPT_NODE_NAME,
        OPT_API,
        OPT_TOKEN,
        OPT_CA,
        OPT_ASK,
        OPT_REPAIR,
        OPT_GC,
        OPT_BIN,
        OPT_CONF,
        OPT_CACHE,
        OPT_NAMES,
        OPT_REPLACE,
        OPT_CONF_NAME,
        OPT_BESIDE,
        OPT_SWITCH_MODE,
        OPT_PLUGIN,
        OPT_SYSCTL,
        OPT_STAY,
        OPT_PORT,
        OPT_ADDRESS,
        OPT_LEVEL,
        OPT_FORMAT
};

static int take_secs(const char *flag, bool zero, uint64_t *secsp, Error *err) {
        if (str_parse_u64(optarg, SECS_MAX, secsp) < 0 ||
            (*secsp < SECS_MIN && !(zero && *secsp == 0)))
                return error_set(err, ERROR_INVALID,
                                 "--%s: \"%.40s\", expected seconds from %u to %u%s", flag, optarg,
                                 SECS_MIN, SECS_MAX, zero ? ", or 0" : "");
        return 0;
}

static int take_checked(int option, NodeArgs *args, Error *err) {
        switch (option) {
        case OPT_ASK:
                return take_secs("ask-interval", false, &args->ask_secs, err);
        case OPT_REPAIR:
                return take_secs("repair-interval", true, &args->repair_secs, err);
        case OPT_GC:
                return take_secs("gc-interval", true, &args->gc_secs, err);
        case OPT_PORT:
                return str_parse_u64(optarg, UINT16_MAX, &args->health_port) < 0
                               ? error_set(err, ERROR_INVALID,
                                           "--health-port: \"%.40s\", expected a port", optarg)
                               : 0;
        case OPT_LEVEL:
                return log_level_parse(optarg, &args->log_level) < 0
                               ? error_set(err, ERROR_INVALID,
                                           "--log-level: \"%.40s\", expected error, warning, info "
                                           "or debug",
                                           optarg)
                               : 0;
        case OPT_FORMAT:
                return log_format_parse(optarg, &args->log_format) < 0
                               ? error_set(err, ERROR_INVALID,
                                           "--log-format: \"%.40s\", expected logfmt or json",
                                           optarg)
                               : 0;
        default:
                return -EINVAL;
        }
}

static int take(int option, NodeArgs *args, Error *err) {
        const struct {
                int option;
                const char **where;
        } texts[] = {
                {OPT_SUBNET, &args->subnet},
                {OPT_SUBNET_FILE, &args->subnet_file},
                {OPT_CLUSTER, &args->cluster},
                {OPT_MTU, &args->mtu},
                {OPT_MODE, &args->mode},
                {OPT_NODE_NAME, &args->node_name},
                {OPT_API, &args->api_server},
                {OPT_TOKEN, &args->token_file},
                {OPT_CA, &args->ca_file},
                {OPT_BIN, &args->plugins},
                {OPT_CONF, &args->configurations},
                {OPT_CACHE, &args->cache},
                {OPT_NAMES, &args->names},
                {OPT_CONF_NAME, &args->conf_name},
                {OPT_PLUGIN, &args->plugin},
                {OPT_SYSCTL, &args->sysctls},
                {OPT_ADDRESS, &args->health_address},
        };

        for (size_t i = 0; i < N_ELEMENTS(texts); i++)
                if (texts[i].option == option) {
                        *texts[i].where = optarg;
                        return 0;
                }
        if (option == OPT_REPLACE || option == OPT_BESIDE || option == OPT_STAY ||
            option == OPT_SWITCH_MODE) {
                *(option == OPT_REPLACE       ? &args->replace
                  : option == OPT_BESIDE      ? &args->beside
                  : option == OPT_SWITCH_MODE ? &args->switch_mode
                                              : &args->stays) = true;
                return 0;
        }
        return take_checked(option, args, err);
}

/* --- what was not given --------------------------------------------------------------------- */

static void find_plugin(NodeArgs *args) {
        char self[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        char *slash;

        self[n > 0 ? n : 0] = '\0';
        slash = strrchr(self, '/');
        snprintf(args->plugin_path, sizeof(args->plugin_path), "%.*sberth-cni",
                 slash ? (int)(slash + 1 - self) : 0, self);
        /* Where a distribution has it. */
        args->plugin = access(args->plugin_path, X_OK) == 0 ? args->plugin_path : BERTH_CNI_PROGRAM;
}

static void find_api_server(NodeArgs *args) {
        const char *host = getenv("KUBERNETES_SERVICE_HOST");
        const char *port = getenv("KUBERNETES_SERVICE_PORT");
        bool is_v6 = host && strchr(host, ':');

        if (str_is_empty(host))
                return;
        snprintf(args->api_url, sizeof(args->api_url), "https://%s%.253s%s:%.5s", is_v6 ? "[" : "",
                 host, is_v6 ? "]" : "", str_is_empty(port) ? "443" : port);
        args->api_server = args->api_url;
}

static void find_the_rest(NodeArgs *args) {
        cleanup(closep) int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (!args->plugins || !args->configurations)
                directories_find(root_fd, true, &args->found);
        if (!args->plugins)
                args->plugins = args->found.plugins;
        if (!args->configurations)
                args->configurations = args->found.configurations;
        if (!args->plugin)
                find_plugin(args);
        if (!args->api_server)
                find_api_server(args);
        if (!args->node_name)
                args->node_name = getenv("NODE_NAME");
}

/* By the words of berth-cni install, and before anything is changed. */
static int check_network(const NodeArgs *args, Error *err) {
        PodNetwork network = {0};
        int r = 0;

        if (args->cluster)
                r = pod_network_cluster(&network, args->cluster, "--cluster-cidr", err);
        if (r == 0 && args->mtu)
                r = pod_network_mtu(&network, args->mtu, "--mtu", err);
        if (r == 0 && args->mode)
                r = pod_network_mode(&network, args->mode, "--mode", err);
        if (r < 0 || !args->subnet)
                return r;
        r = pod_network_subnets(&network, args->subnet, "--subnet", err);
        return r < 0 ? r : pod_network_check(&network, err);
}

static int check(const NodeArgs *args, Error *err) {
        if (args->subnet && args->subnet_file)
                return error_set(err, ERROR_INVALID, "only one of --subnet and --subnet-file");
        if (args->api_server && !str_has_prefix(args->api_server, "https://") &&
            !str_has_prefix(args->api_server, "http://"))
                return error_set(err, ERROR_INVALID,
                                 "--api-server: \"%.100s\", expected https://HOST:PORT",
                                 args->api_server);
        if (args->plugins[0] != '/' || args->configurations[0] != '/')
                return error_set(err, ERROR_INVALID, "directories are given from the root on");
        return check_network(args, err);
}

static int parse_options(int argc, char **argv, NodeCommand *commandp, NodeArgs *args, Error *err) {
        static const struct option options[] = {
                {"subnet", required_argument, NULL, OPT_SUBNET},
                {"subnet-file", required_argument, NULL, OPT_SUBNET_FILE},
                {"cluster-cidr", required_argument, NULL, OPT_CLUSTER},
                {"mtu", required_argument, NULL, OPT_MTU},
                {"mode", required_argument, NULL, OPT_MODE},
                {"node-name", required_argument, NULL, OPT_NODE_NAME},
                {"api-server", required_argument, NULL, OPT_API},
                {"token-file", required_argument, NULL, OPT_TOKEN},
                {"ca-file", required_argument, NULL, OPT_CA},
                {"ask-interval", required_argument, NULL, OPT_ASK},
                {"repair-interval", required_argument, NULL, OPT_REPAIR},
                {"gc-interval", required_argument, NULL, OPT_GC},
                {"bin-dir", required_argument, NULL, OPT_BIN},
                {"conf-dir", required_argument, NULL, OPT_CONF},
                {"cache-dir", required_argument, NULL, OPT_CACHE},
                {"names", required_argument, NULL, OPT_NAMES},
                {"replace", no_argument, NULL, OPT_REPLACE},
                {"conf-name", required_argument, NULL, OPT_CONF_NAME},
                {"beside", no_argument, NULL, OPT_BESIDE},
                {"switch-mode", no_argument, NULL, OPT_SWITCH_MODE},
                {"plugin", required_argument, NULL, OPT_PLUGIN},
                {"stay", no_argument, NULL, OPT_STAY},
                {"sysctl-dir", required_argument, NULL, OPT_SYSCTL},
                {"health-port", required_argument, NULL, OPT_PORT},
                {"health-address", required_argument, NULL, OPT_ADDRESS},
                {"log-level", required_argument, NULL, OPT_LEVEL},
                {"log-format", required_argument, NULL, OPT_FORMAT},
                {"help", no_argument, NULL, 'h'},
                {"version", no_argument, NULL, 'V'},
                {NULL, 0, NULL, 0},
        };
        int c, r;

        optind = 0;
        while ((c = arguments_next(argc, argv, ":h", options, err)) > 0) {
                if (c == 'h' || c == 'V') {
                        *commandp = c == 'h' ? NODE_HELP : NODE_VERSION;
                        return 0;
                }
                r = take(c, args, err);
                if (r < 0)
                        return r;
        }
        if (c == ARGUMENTS_END && optind < argc)
                return error_set(err, ERROR_INVALID, "unexpected argument \"%.100s\"",
                                 argv[optind]);
        return c == ARGUMENTS_END ? 0 : c;
}

static int find_command(const char *name, NodeCommand *commandp, Error *err) {
        static const struct {
                const char *name;
                NodeCommand command;
        } commands[] = {
                {"subnets", NODE_SUBNETS}, {"uninstall", NODE_UNINSTALL}, {"collect", NODE_COLLECT},
                {"help", NODE_HELP},       {"version", NODE_VERSION},
        };
        Nearest nearest = {.given = name, .n_given = strlen(name)};
        char hint[NEAREST_NAME_MAX + 32];

        for (size_t i = 0; i < N_ELEMENTS(commands); i++) {
                if (strcmp(name, commands[i].name) == 0) {
                        *commandp = commands[i].command;
                        return 0;
                }
                nearest_offer(&nearest, commands[i].name);
        }
        return error_set(err, ERROR_INVALID, "unknown command \"%.64s\"%s", name,
                         nearest_text(&nearest, "", hint, sizeof(hint)));
}

int node_args_parse(int argc, char **argv, NodeCommand *commandp, NodeArgs *args, Error *err) {
        int r;

        *args = (NodeArgs){
                .cache = PODS_DIRECTORY,
                .conf_name = INSTALL_CONF_NAME,
                .names = "missing",
                .token_file = ACCOUNT "/token",
                .ca_file = ACCOUNT "/ca.crt",
                .repair_secs = 60,
                .gc_secs = 600,
                .ask_secs = 300,
                .health_address = "",
                .health_port = NODE_HEALTH_PORT,
                .log_level = LOG_LEVEL_INFO,
        };
        *commandp = NODE_RUN;
        if (argc > 1 && argv[1][0] != '-') {
                r = find_command(argv[1], commandp, err);
                if (r < 0)
                        return r;
                argc--;
                argv++;
        }
        r = parse_options(argc, argv, commandp, args, err);
        if (r < 0 || *commandp == NODE_HELP || *commandp == NODE_VERSION)
                return r;
        find_the_rest(args);
        return check(args, err);
}
