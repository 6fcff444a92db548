/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The commands for people but install: which pods run, and what is asked of whom
 * (cni/cli/network_ask.h), looked after (cni/commands/repair.h) or listed.
 */

#include "cni/cli/commands.h"

#include "cni/cli/install.h"
#include "cni/cli/look_after.h"
#include "cni/cli/network_ask.h"
#include "cni/commands/repair.h"
#include "cni/rules/rules.h"
#include "common/base/arguments.h"
#include "common/base/cleanup.h"
#include "common/base/exec.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Attachments of one node. */
#define ATTACHMENTS_MAX 65536

/* An ADD takes milliseconds, and its chain's other plugins up to a minute. */
#define GRACE_SECS 120

#define LEASES_DIRECTORY "/var/lib/cni/networks"

#define CACHE_DIRECTORY PODS_DIRECTORY

static const char usage[] =
        "Usage: berth-cni install [OPTION]...           see berth-cni install --help\n"
        "       berth-cni gc [OPTION]... NETWORK        remove what belongs to no running pod\n"
        "       berth-cni status [OPTION]... [NETWORK]  would the next pod get its interface?\n"
        "       berth-cni check [OPTION]... [NETWORK]   have the running pods what they should "
        "have?\n"
        "       berth-cni repair [OPTION]... [NETWORK]  put back what they lack\n"
        "       berth-cni list [OPTION]... [NETWORK]    pods, their addresses and host ports\n"
        "       berth-cni --help | --version          or the words help and version\n"
        "\n"
        "NETWORK is the name in a configuration list, or the list's file, with a \"/\" in it.\n"
        "Without arguments and with CNI_COMMAND set, it is the plugin that a container runtime "
        "calls.\n"
        "\n"
        "  --conf-dir DIR    where configuration lists are (default: as the runtime is set up)\n"
        "  --bin-dir DIR     where other plugins are (default: likewise)\n"
        "  --cache-dir DIR   which pods run is read from DIR/results, where runtimes note what\n"
        "                    they attached (default: " CACHE_DIRECTORY "); not for status\n"
        "  --keep ID/IFNAME  gc: this one runs as well; may be given more than once\n"
        "  --all             gc: no pod runs; nothing is kept but what --keep names\n"
        "  --dry-run         gc: say what would be removed\n"
        "  --json            gc, status, check, repair: print an object\n"
        "\n"
        "gc keeps a pod as long as its network namespace is there, one that is being attached "
        "too,\n"
        "and does nothing when the list says disableGC. status exits with 0 when all plugins are\n"
        "ready, and with 1 otherwise; check and repair with 0 when nothing is missing any more.\n"
        "Without a network they are about all pods that this program attached, and status is "
        "about\n"
        "every list of the directory, in the order in which the runtime takes the first.\n";

typedef struct Arguments {
        const char *network;
        const char *configurations, *plugins, *cache;
        bool all, dry_run, json;
        json_t *keep; /* owned: array of {containerID, ifname} */
        CniDirectories found;
} Arguments;

typedef struct Command {
        const char *name;
        bool wants_network, has_json;
        int (*run)(const Arguments *arguments); /* returns the exit status */
} Command;

static void arguments_deinit(Arguments *arguments) {
        json_decref(arguments->keep);
}

bool cli_is_asked(int argc, char **argv) {
        return argc > 1 && !getenv("CNI_COMMAND");
}

/* --- which pods run ----------------------------------------------------------------------- */

static int keep(Arguments *arguments, const char *id, const char *ifname) {
        json_t *one = json_pack("{s:s, s:s}", "containerID", id, "ifname", ifname);

        return one ? json_array_append_new(arguments->keep, one) : -1;
}

/* Whom --keep names lives, whatever can be seen from here. */
static void keep_told(const Arguments *arguments, PodNotes *notes) {
        for (size_t i = 0; i < notes->n; i++) {
                PodNote *note = &notes->items[i];

                for (size_t j = 0; j < json_array_size(arguments->keep); j++) {
                        const json_t *one = json_array_get(arguments->keep, j);

                        note->lives = note->lives ||
                                      (str_equal(json_string_value(json_find(one, "containerID")),
                                                 note->container) &&
                                       str_equal(json_string_value(json_find(one, "ifname")),
                                                 note->ifname));
                }
        }
}

/* Pods that the runtime has noted, and whose namespace is there. */
static int keep_noted(Arguments *arguments, const char *network, PodNotes *notes, Error *err) {
        cleanup(freep) char *path = str_printf("%s/results", arguments->cache);
        int r;

        if (!path || access(path, R_OK | X_OK) < 0)
                return error_set_errno(err, path ? errno : ENOMEM,
                                       "which pods run cannot be told: open %s (see --cache-dir, "
                                       "--keep and --all)",
                                       path ? path : "results");
        r = pods_read(arguments->cache, network, notes, err);
        keep_told(arguments, notes);
        r = r < 0 ? r : pods_need_seen(notes, err);
        for (size_t i = 0; i < notes->n && r == 0; i++)
                if (notes->items[i].lives)
                        r = keep(arguments, notes->items[i].container, notes->items[i].ifname);
        return r;
}

typedef struct Pairs {
        Arguments *arguments;
        const char *network;
        const PodNotes *notes;
} Pairs;

static bool is_noted(const PodNotes *notes, const char *id, const char *ifname) {
        for (size_t i = 0; i < notes->n; i++)
                if (strcmp(notes->items[i].container, id) == 0 &&
                    strcmp(notes->items[i].ifname, ifname) == 0)
                        return true;
        return false;
}

/* A pair goes with the pod's namespace, so one that is there has a sandbox; a moment after it,
 * which counts for those that are noted. */
static int keep_pair(const Link *link, void *userdata) {
        Pairs *pairs = userdata;
        const char *id, *ifname;
        Link copy = *link;

        if (!host_link_alias_split(copy.alias, pairs->network, &id, &ifname) ||
            is_noted(pairs->notes, id, ifname))
                return 0;
        return keep(pairs->arguments, id, ifname) < 0 ? -ENOMEM : 0;
}

static void socket_close(NlSocket *sock) {
        nl_socket_close(sock);
}

/* The runtime notes a pod after the last plugin; until then its pair tells of it. */
static int keep_attached(Arguments *arguments, const char *network, const PodNotes *notes,
                         Error *err) {
        cleanup(socket_close) NlSocket rtnl = NL_SOCKET_NULL;
        Pairs pairs = {.arguments = arguments, .network = network, .notes = notes};
        int r = nl_socket_open(&rtnl, NETLINK_ROUTE);

        r = r < 0 ? r : link_dump(&rtnl, "veth", 0, keep_pair, &pairs);
        return r < 0 ? error_set_errno(err, r, "list links") : 0;
}

/* host-local's file of an address: the container, then the interface, a line each. */
static int keep_lease(Arguments *arguments, const PodNotes *notes, int dir_fd, const char *name) {
        cleanup(freep) char *text = NULL;
        struct stat info;
        char *id, *ifname, *save = NULL;

        if (fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(info.st_mode) ||
            time(NULL) - info.st_mtime > GRACE_SECS ||
            file_read_at(dir_fd, name, 4096, &text, NULL) < 0)
                return 0;
        id = strtok_r(text, "\r\n", &save);
        ifname = id ? strtok_r(NULL, "\r\n", &save) : NULL;
        return id && ifname && !is_noted(notes, id, ifname) ? keep(arguments, id, ifname) : 0;
}

/* And before there is a pair, a young lease. */
static int keep_young(Arguments *arguments, const json_t *plugin, const char *network,
                      const PodNotes *notes, Error *err) {
        const json_t *ipam = json_find(plugin, "ipam");
        const char *directory = LEASES_DIRECTORY;
        bool is_flannel = str_equal(json_string_value(json_find(plugin, "type")),
                                    role_name(ROLE_FLANNEL)); /* which has one without saying so */
        cleanup(freep) char *path = NULL;
        cleanup(closedirp) DIR *dir = NULL;
        const struct dirent *entry;
        IpAddress address;

        (void)json_read_text(ipam, "dataDir", &directory, NULL);
        path = str_printf("%s/%s", str_is_empty(directory) ? LEASES_DIRECTORY : directory, network);
        dir = path && (ipam || is_flannel) ? opendir(path) : NULL;
        while (dir && (entry = readdir(dir)))
                if (ip_parse(entry->d_name, &address) == 0 &&
                    keep_lease(arguments, notes, dirfd(dir), entry->d_name) < 0)
                        return error_set_errno(err, ENOMEM, "leases");
        return 0;
}

static int keep_all_known(Arguments *arguments, const json_t *list, Error *err) {
        const char *network = json_string_value(json_find(list, "name"));
        const json_t *plugins = json_find(list, "plugins");
        cleanup(pods_deinit) PodNotes notes = {0};
        int r = keep_noted(arguments, network, &notes, err);

        r = r < 0 ? r : keep_attached(arguments, network, &notes, err);
        for (size_t i = 0; i < json_array_size(plugins) && r == 0; i++)
                r = keep_young(arguments, json_array_get(plugins, i), network, &notes, err);
        if (r == 0 && json_array_size(arguments->keep) > ATTACHMENTS_MAX)
                return error_set(err, ERROR_RANGE, "network \"%s\": too many pods", network);
        return r;
}

/* --- arguments ---------------------------------------------------------------------------- */

static int take_keep(Arguments *arguments, const char *text) {
        const char *slash = strchr(text, '/');
        cleanup(freep) char *id = slash ? strndup(text, (size_t)(slash - text)) : NULL;

        if (!id || id[0] == '\0' || slash[1] == '\0')
                return -1;
        return keep(arguments, id, slash + 1);
}

static int take_option(Arguments *arguments, int option, Error *err) {
        switch (option) {
        case 'c':
                arguments->configurations = optarg;
                return 0;
        case 'b':
                arguments->plugins = optarg;
                return 0;
        case 'd':
                arguments->cache = optarg;
                return 0;
        case 'k':
                return take_keep(arguments, optarg) < 0
                               ? error_set(err, ERROR_INVALID,
                                           "--keep: \"%.100s\", expected ID/IFNAME", optarg)
                               : 0;
        case 'a':
                arguments->all = true;
                return 0;
        case 'n':
                arguments->dry_run = true;
                return 0;
        case 'j':
                arguments->json = true;
                return 0;
        default:
                return -EINVAL;
        }
}

static int check_arguments(int argc, char **argv, const Command *command, Arguments *arguments,
                           Error *err) {
        if (arguments->dry_run && strcmp(command->name, "gc") != 0)
                return error_set(err, ERROR_INVALID, "--dry-run is for gc, and not for %s",
                                 command->name);
        if (arguments->json && !command->has_json)
                return error_set(err, ERROR_INVALID,
                                 "--json is for gc, status, check and repair, and not for %s",
                                 command->name);
        arguments->network = argv[optind];
        if (!arguments->network && command->wants_network)
                return error_set(
                        err, ERROR_INVALID,
                        "%s: the network is missing; expected its name, or its list's file",
                        command->name);
        if (arguments->network && optind + 1 < argc)
                return error_set(err, ERROR_INVALID,
                                 "unexpected argument \"%.100s\": one network "
                                 "at a time",
                                 argv[optind + 1]);
        return 0;
}

/* Return: 0; 1 for help; -EINVAL with @err. */
static int parse(int argc, char **argv, const Command *command, Arguments *arguments, Error *err) {
        static const struct option options[] = {
                {"conf-dir", required_argument, NULL, 'c'},
                {"bin-dir", required_argument, NULL, 'b'},
                {"cache-dir", required_argument, NULL, 'd'},
                {"keep", required_argument, NULL, 'k'},
                {"all", no_argument, NULL, 'a'},
                {"dry-run", no_argument, NULL, 'n'},
                {"json", no_argument, NULL, 'j'},
                {"help", no_argument, NULL, 'h'},
                {NULL, 0, NULL, 0},
        };
        int c;

        optind = 0;
        while ((c = arguments_next(argc, argv, ":h", options, err)) > 0) {
                if (c == 'h')
                        return 1;
                if (take_option(arguments, c, err) < 0)
                        return -EINVAL;
        }
        return c == ARGUMENTS_END ? check_arguments(argc, argv, command, arguments, err) : c;
}

static int fail(const Error *err) {
        fprintf(stderr, "berth-cni: %s\n", err->message);
        return 1;
}

/* Prints @report, and frees it. Return: exit status. */
static int tell(const Arguments *arguments, json_t *report) {
        int status = report ? network_report_status(report) : 1;

        if (!report)
                fputs("berth-cni: out of memory\n", stderr);
        else if (arguments->json)
                (void)json_dumpf(report, stdout, JSON_INDENT(2));
        else
                network_report_print(report, stdout);
        if (report && arguments->json)
                putchar('\n');
        json_decref(report);
        return status;
}

static int run_gc(const Arguments *given) {
        Arguments arguments = *given;
        Question question = {.verb = arguments.dry_run ? QUESTION_GARBAGE : QUESTION_GC,
                             .plugins = arguments.plugins,
                             .attachments = arguments.keep};
        cleanup(json_decrefp) json_t *list = NULL;
        bool disabled = false;
        Error err = {0};

        if (conflist_find(arguments.configurations, arguments.network, &list, &err) < 0)
                return fail(&err);
        if (json_read_bool(list, "disableGC", &disabled, &err) == 0 && disabled)
                question.not_asked = "nothing is collected: its list says disableGC";
        else if (!arguments.all && keep_all_known(&arguments, list, &err) < 0)
                return fail(&err);
        return tell(&arguments, network_ask(&question, list));
}

static int run_status(const Arguments *arguments) {
        const Question question = {.verb = QUESTION_STATUS, .plugins = arguments->plugins};
        cleanup(json_decrefp) json_t *list = NULL;
        Error err = {0};

        if (!arguments->network)
                return tell(arguments, network_ask_all(&question, arguments->configurations));
        if (conflist_find(arguments->configurations, arguments->network, &list, &err) < 0)
                return fail(&err);
        return tell(arguments, network_ask(&question, list));
}

/* --- the pods of this node ---------------------------------------------------------------- */

/* Of a name that nobody has, "nothing is wrong" would be no answer. */
static int read_notes(const Arguments *arguments, PodNotes *notes, Error *err) {
        cleanup(json_decrefp) json_t *list = NULL;
        int r = pods_read(arguments->cache, arguments->network, notes, err);

        if (r < 0 || !arguments->network || notes->n > 0)
                return r;
        return conflist_find(arguments->configurations, arguments->network, &list, err);
}

static int look_after_all(const Arguments *arguments, RepairMode mode) {
        const LookAfter asked = {
                .mode = mode, .plugins = arguments->plugins, .json = arguments->json};
        cleanup(pods_deinit) PodNotes notes = {0};
        Error err = {0};
        int r = read_notes(arguments, &notes, &err);

        r = r < 0 ? r : look_after_pods(&asked, &notes, &err);
        /* Pods of other networks may live by what would go. */
        if (r == 0 && mode == REPAIR_DO && !arguments->network)
                r = repair_finish(&err);
        return r < 0 ? fail(&err) : r;
}

static int run_check(const Arguments *arguments) {
        return look_after_all(arguments, REPAIR_CHECK);
}

static int run_repair(const Arguments *arguments) {
        return look_after_all(arguments, REPAIR_DO);
}

static void list_ports(const json_t *ports) {
        for (size_t i = 0; i < json_array_size(ports); i++) {
                const json_t *port = json_array_get(ports, i);
                const char *protocol = "tcp";
                int64_t host = 0, pod = 0;

                (void)json_read_number(port, "hostPort", 0, UINT16_MAX, &host, NULL);
                (void)json_read_number(port, "containerPort", 0, UINT16_MAX, &pod, NULL);
                (void)json_read_text(port, "protocol", &protocol, NULL);
                if (host > 0)
                        printf(" %lld:%lld/%s", (long long)host, (long long)pod, protocol);
        }
}

/* Of whatever version the answer is: 0.2.0 and before have ip4 and ip6. */
static void list_pod(const PodNote *note) {
        static const char *const old[] = {"ip4", "ip6"};
        const json_t *result = json_find(note->note, "result"), *ips = json_find(result, "ips");
        const char *address = "";

        printf("%s %s %s", note->network, note->container, note->ifname);
        for (size_t i = 0; i < json_array_size(ips); i++)
                if (json_read_text(json_array_get(ips, i), "address", &address, NULL) == 0)
                        printf(" %s", address);
        for (size_t i = 0; i < N_ELEMENTS(old); i++)
                if (json_find(result, old[i]) &&
                    json_read_text(json_find(result, old[i]), "ip", &address, NULL) == 0)
                        printf(" %s", address);
        list_ports(json_find(json_find(note->note, "capabilityArgs"), "portMappings"));
        printf("%s\n", note->lives ? "" : " (gone)");
}

static int run_list(const Arguments *arguments) {
        cleanup(pods_deinit) PodNotes notes = {0};
        Error err = {0};

        if (read_notes(arguments, &notes, &err) < 0)
                return fail(&err);
        for (size_t i = 0; i < notes.n; i++)
                list_pod(&notes.items[i]);
        return 0;
}

/* --- commands ----------------------------------------------------------------------------- */

static const Command commands[] = {
        {"gc", true, true, run_gc},        {"status", false, true, run_status},
        {"check", false, true, run_check}, {"repair", false, true, run_repair},
        {"list", false, false, run_list},
};

static int wrong_usage(const Error *err) {
        fprintf(stderr, "berth-cni: %s\nTry: berth-cni --help\n", err->message);
        return EXIT_USAGE;
}

static int command_main(int argc, char **argv, const Command *command) {
        cleanup(arguments_deinit)
                Arguments arguments = {.cache = CACHE_DIRECTORY, .keep = json_array()};
        cleanup(closep) int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        Error err = {0};
        int r;

        directories_find(root_fd, true, &arguments.found);
        arguments.configurations = arguments.found.configurations;
        arguments.plugins = arguments.found.plugins;
        r = arguments.keep ? parse(argc, argv, command, &arguments, &err)
                           : error_set_errno(&err, ENOMEM, "%s", command->name);
        if (r < 0)
                return wrong_usage(&err);
        if (r > 0) {
                fputs(usage, stdout);
                return 0;
        }
        return command->run(&arguments);
}

static int unknown_command(const char *name) {
        Nearest nearest = {.given = name, .n_given = strlen(name)};
        char hint[NEAREST_NAME_MAX + 32];
        Error err = {0};

        nearest_offer(&nearest, "install");
        nearest_offer(&nearest, "uninstall");
        for (size_t i = 0; i < N_ELEMENTS(commands); i++)
                nearest_offer(&nearest, commands[i].name);
        if (str_equal(nearest.name, "uninstall"))
                nearest.name = "install --uninstall";
        (void)error_set(&err, ERROR_INVALID, "unknown command \"%.64s\"%s", name,
                        nearest_text(&nearest, "", hint, sizeof(hint)));
        return wrong_usage(&err);
}

static bool is_word(const char *text, const char *word) {
        return strcmp(text, word) == 0 ||
               (str_has_prefix(text, "--") && strcmp(text + 2, word) == 0);
}

int cli_main(int argc, char **argv) {
        if (is_word(argv[1], "version")) {
                puts("berth-cni " BERTH_VERSION);
                return 0;
        }
        if (is_word(argv[1], "help") || strcmp(argv[1], "-h") == 0) {
                fputs(usage, stdout);
                return 0;
        }
        if (strcmp(argv[1], "install") == 0)
                return install_main(argc - 1, argv + 1);
        for (size_t i = 0; i < N_ELEMENTS(commands); i++)
                if (strcmp(argv[1], commands[i].name) == 0)
                        return command_main(argc - 1, argv + 1, &commands[i]);
        return unknown_command(argv[1]);
}
