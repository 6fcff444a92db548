/* SPDX-License-Identifier: Apache-2.0 */

/*
 * berth-cni install: programs first, then the configuration, because pods come as soon as that is
 * seen; --uninstall the other way round. Everything that could refuse is looked at before anything
 * is changed.
 */

#include "cni/cli/install.h"

#include "cni/rules/rules.h"
#include "cni/spec/conf.h"
#include "common/base/arguments.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "berth-cni"

/* Longest wait for a file, in seconds. */
#define WAIT_MAX 86400U

#define NAMES_MAX 16

static const char usage[] =
        "Usage: berth-cni install [OPTION]...\n"
        "\n"
        "Copies this program into the plugin directory, makes links to it under the names of the\n"
        "upstream plugins, and writes a configuration list. Every file is replaced at once, so it\n"
        "may be run on a node that is in use.\n"
        "\n"
        "  --root DIR        the host's root, as seen from here (default: /)\n"
        "  --bin-dir DIR     plugin directory, below the root (default: as the runtime is set up)\n"
        "  --conf-dir DIR    directory of configuration lists (default: likewise)\n"
        "  --names LIST      which names to link, separated by commas; \"all\" (default), "
        "\"none\",\n"
        "                    or \"missing\": those that no other program has\n"
        "  --replace         programs of others under these names are moved to\n"
        "                    NAME" INSTALL_SAVED_SUFFIX "; without it they are a reason to refuse\n"
        "  --conf FILE       configuration list to install; \"-\": standard input\n"
        "  --subnet CIDR     make a list of one network for these addresses of pods: the node's\n"
        "                    pod CIDR; for two address families twice, or with a comma (default:\n"
        "                    $POD_CIDR)\n"
        "  --subnet-file FILE  likewise, of a file: subnets, flannel's subnet.env, or the\n"
        "                    node's object of the API, in JSON\n"
        "  --wait SECONDS    how long to wait for that file (default: 0)\n"
        "  --cluster-cidr CIDR  addresses of the pods of all nodes: what goes there is not\n"
        "                    masqueraded (default: $CLUSTER_CIDR)\n"
        "  --mtu BYTES       of the pods' interfaces (default: the kernel's)\n"
        "  --mode MODE       of that list: \"bridge\" (default), or \"routed\": no bridge, a route "
        "to\n"
        "                    each pod\n"
        "  --conf-name NAME  file name of the list (default: " INSTALL_CONF_NAME ")\n"
        "  --beside          write the list although another network's is there; without it that\n"
        "                    is a reason to refuse, unless ours is there already\n"
        "  --switch-mode     write the list although pods of the other mode live on this node: "
        "they\n"
        "                    and the new ones of the same subnet do not reach each other\n"
        "  --managed         as berth-node calls it: the list is marked, and one of somebody "
        "else's\n"
        "                    making under its name stays\n"
        "  --uninstall       remove the list, the links and the program; bring back what\n"
        "                    --replace moved\n"
        "  --dry-run         say what would be done\n"
        "  --json            print an object: the directories, the steps, the list\n"
        "\n"
        "Without --conf and subnets no configuration list is written.\n";

typedef struct Install {
        const char *root, *plugins, *configurations; /* directories */
        const char *names_text, *conf_path, *conf_name;
        const char *subnet_file;
        PodNetwork network;
        unsigned int wait_secs;
        Error wrong; /* what an option's value has wrong */
        bool replace, uninstall, dry_run, beside, switch_mode, json;
        json_t *steps;     /* owned: what was done, or would be, for --json */
        bool only_missing; /* --names missing: programs of others stay */
        const char *names[NAMES_MAX];
        size_t n_names;
        char *names_copy;                           /* owned */
        char *left;                                 /* owned; NULL: nothing, or not looked */
        char *conf_text;                            /* owned; NULL: no list is written */
        json_t *conf;                               /* owned: it, read */
        int root_fd, plugins_fd, configurations_fd; /* owned */
        CniDirectories found;
} Install;

static void install_deinit(Install *install) {
        free(install->names_copy);
        free(install->conf_text);
        free(install->left);
        json_decref(install->steps);
        json_decref(install->conf);
        closep(&install->root_fd);
        closep(&install->plugins_fd);
        closep(&install->configurations_fd);
}

/* --- arguments ---------------------------------------------------------------------------- */

static int take_wait(Install *install) {
        uint64_t seconds;

        if (str_parse_u64(optarg, WAIT_MAX, &seconds) < 0)
                return error_set(&install->wrong, ERROR_INVALID,
                                 "--wait: \"%s\" is not a number of seconds (expected at most %u)",
                                 optarg, WAIT_MAX);
        install->wait_secs = (unsigned int)seconds;
        return 0;
}

static int take_option(Install *install, int option) {
        switch (option) {
        case 'r':
                install->root = optarg;
                return 0;
        case 'b':
                install->plugins = optarg;
                return 0;
        case 'c':
                install->configurations = optarg;
                return 0;
        case 'n':
                install->names_text = optarg;
                return 0;
        case 'R':
                install->replace = true;
                return 0;
        case 'f':
                install->conf_path = optarg;
                return 0;
        case 's':
                return pod_network_subnets(&install->network, optarg, "--subnet", &install->wrong);
        case 'S':
                install->subnet_file = optarg;
                return 0;
        case 'w':
                return take_wait(install);
        case 'C':
                return pod_network_cluster(&install->network, optarg, "--cluster-cidr",
                                           &install->wrong);
        case 'm':
                return pod_network_mtu(&install->network, optarg, "--mtu", &install->wrong);
        case 'o':
                return pod_network_mode(&install->network, optarg, "--mode", &install->wrong);
        case 'N':
                install->conf_name = optarg;
                return 0;
        case 'B':
                install->beside = true;
                return 0;
        case 'x':
                install->switch_mode = true;
                return 0;
        case 'M':
                install->network.is_managed = true;
                return 0;
        case 'u':
                install->uninstall = true;
                return 0;
        case 'd':
                install->dry_run = true;
                return 0;
        case 'j':
                install->json = true;
                return 0;
        default:
                return -1;
        }
}

/* Return: 0; -1 when it is wrong; 1 for help. */
static int parse(int argc, char **argv, Install *install) {
        static const struct option options[] = {
                {"root", required_argument, NULL, 'r'},
                {"bin-dir", required_argument, NULL, 'b'},
                {"conf-dir", required_argument, NULL, 'c'},
                {"names", required_argument, NULL, 'n'},
                {"mode", required_argument, NULL, 'o'},
                {"replace", no_argument, NULL, 'R'},
                {"conf", required_argument, NULL, 'f'},
                {"subnet", required_argument, NULL, 's'},
                {"subnet-file", required_argument, NULL, 'S'},
                {"wait", required_argument, NULL, 'w'},
                {"cluster-cidr", required_argument, NULL, 'C'},
                {"mtu", required_argument, NULL, 'm'},
                {"conf-name", required_argument, NULL, 'N'},
                {"beside", no_argument, NULL, 'B'},
                {"switch-mode", no_argument, NULL, 'x'},
                {"managed", no_argument, NULL, 'M'},
                {"uninstall", no_argument, NULL, 'u'},
                {"dry-run", no_argument, NULL, 'd'},
                {"json", no_argument, NULL, 'j'},
                {"help", no_argument, NULL, 'h'},
                {NULL, 0, NULL, 0},
        };
        int c;

        optind = 0;
        while ((c = arguments_next(argc, argv, ":h", options, &install->wrong)) > 0) {
                if (c == 'h')
                        return 1;
                if (take_option(install, c) < 0)
                        return -1;
        }
        if (c != ARGUMENTS_END)
                return c;
        if (!!install->conf_path + (install->network.n_subnets > 0) + !!install->subnet_file > 1)
                return error_set(&install->wrong, ERROR_INVALID,
                                 "only one of --conf, --subnet and --subnet-file");
        if (optind < argc)
                return error_set(&install->wrong, ERROR_INVALID,
                                 "install: unexpected argument \"%.100s\"", argv[optind]);
        return 0;
}

static int take_names(Install *install, Error *err) {
        char *save = NULL;

        if (strcmp(install->names_text, "none") == 0)
                return 0;
        install->only_missing = strcmp(install->names_text, "missing") == 0;
        if (install->only_missing || strcmp(install->names_text, "all") == 0) {
                for (size_t i = 0; install_names[i]; i++)
                        install->names[install->n_names++] = install_names[i];
                return 0;
        }
        install->names_copy = strdup(install->names_text);
        if (!install->names_copy)
                return error_set_errno(err, ENOMEM, "--names");
        for (char *name = strtok_r(install->names_copy, ",", &save); name;
             name = strtok_r(NULL, ",", &save)) {
                if (role_from_path(name) == ROLE_BERTH || strchr(name, '/'))
                        return error_set(err, ERROR_INVALID,
                                         "--names: \"%s\" is not a name that this program knows",
                                         name);
                if (install->n_names < NAMES_MAX)
                        install->names[install->n_names++] = name;
        }
        return 0;
}

/* --- the configuration list --------------------------------------------------------------- */

/* What was not given by flags: of the file, else of the environment. */
static int take_network(Install *install, Error *err) {
        const char *subnets = getenv("POD_CIDR"), *cluster = getenv("CLUSTER_CIDR");
        PodNetwork *network = &install->network;
        bool has_cluster = network->n_cluster > 0;
        int r = 0;

        if (install->subnet_file) {
                PodNetwork given = *network;

                r = pod_network_read(network, install->subnet_file, install->wait_secs * 1000U,
                                     err);
                /* Flags count before the file. */
                if (r == 0 && has_cluster) {
                        memcpy(network->cluster, given.cluster, sizeof(given.cluster));
                        network->n_cluster = given.n_cluster;
                }
                if (r == 0 && given.mtu_bytes > 0)
                        network->mtu_bytes = given.mtu_bytes;
        } else if (network->n_subnets == 0 && !str_is_empty(subnets)) {
                r = pod_network_subnets(network, subnets, "POD_CIDR", err);
        }
        if (r == 0 && network->n_subnets > 0 && network->n_cluster == 0 && !str_is_empty(cluster))
                r = pod_network_cluster(network, cluster, "CLUSTER_CIDR", err);
        return r < 0 ? r : pod_network_check(network, err);
}

static int read_list(const Install *install, json_t **listp, char **textp, Error *err) {
        cleanup(closep) int fd = -1;
        size_t n = 0;
        int r;

        if (strcmp(install->conf_path, "-") != 0)
                fd = open(install->conf_path, O_RDONLY | O_CLOEXEC);
        else
                fd = dup(STDIN_FILENO);
        r = fd < 0 ? -errno : file_read_fd(fd, JSON_SIZE_MAX, textp, &n);
        if (r < 0)
                return error_set_errno(err, r, "read %s", install->conf_path);
        r = json_text_parse(*textp, n, listp, err);
        return r < 0 ? error_wrap(err, r, "%s", install->conf_path) : 0;
}

/* What a runtime would refuse is refused here, where somebody reads the reason. */
static int take_list(Install *install, Error *err) {
        int r = 0;

        if (install->uninstall)
                return 0;
        if (!install->conf_path)
                r = take_network(install, err);
        if (r < 0 || (!install->conf_path && install->network.n_subnets == 0))
                return r;
        if (!str_has_suffix(install->conf_name, ".conflist") || strchr(install->conf_name, '/'))
                return error_set(err, ERROR_INVALID,
                                 "--conf-name: \"%s\" is not a file name that ends in .conflist",
                                 install->conf_name);
        if (!install->conf_path && !install->network.routed)
                install->network.no_claims = !rules_can_check_claims();
        r = install->conf_path ? read_list(install, &install->conf, &install->conf_text, err)
                               : pod_network_list(&install->network, &install->conf, err);
        r = r < 0 ? r : conflist_check(install->conf, err);
        if (r == 0 && !install->conf_text)
                install->conf_text = json_dumps(install->conf, JSON_INDENT(2));
        if (r == 0 && !install->conf_text)
                return error_set_errno(err, ENOMEM, "make a configuration list");
        return r;
}

/* --- doing it ----------------------------------------------------------------------------- */

/* One step, in the same words before it and after it: "installed", "linked to berth-cni". */
static void tell(const Install *install, const char *name, const char *done) {
        if (!install->json)
                printf("%s: %s%s\n", name, install->dry_run ? "would be " : "", done);
        else
                (void)json_array_append_new(install->steps,
                                            json_pack("{s:s, s:s}", "file", name, "done", done));
}

static void tell_directories(const Install *install) {
        if (!install->json)
                printf("plugins: %s, configurations: %s (%s)\n", install->plugins,
                       install->configurations, install->found.why);
}

/* The list goes last: it is long, and what was done is above it. */
static void tell_end(const Install *install) {
        json_t *list = NULL, *report;

        if (!install->json) {
                if (install->dry_run && install->conf_text)
                        printf("%s\n", install->conf_text);
                if (install->left)
                        printf("%s\n", install->left);
                return;
        }
        if (install->conf_text)
                (void)json_text_parse(install->conf_text, strlen(install->conf_text), &list, NULL);
        report = json_pack("{s:s, s:s, s:s, s:b, s:O, s:o*, s:s*}", "pluginDirectory",
                           install->plugins, "configurationDirectory", install->configurations,
                           "source", install->found.why, "dryRun", install->dry_run, "steps",
                           install->steps, "list", list, "left", install->left);
        (void)json_dumpf(report, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(report);
}

static int open_directories(Install *install, Error *err) {
        int r;

        install->root_fd = open(install->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (install->root_fd < 0)
                return error_set_errno(err, errno, "open %s", install->root);
        directories_find(install->root_fd, strcmp(install->root, "/") == 0, &install->found);
        if (!install->plugins)
                install->plugins = install->found.plugins;
        if (!install->configurations)
                install->configurations = install->found.configurations;
        if (install->plugins[0] != '/' || install->configurations[0] != '/')
                return error_set(err, ERROR_INVALID, "directories are given from the root on");
        tell_directories(install);
        if (install->dry_run || install->uninstall) {
                /* What is missing holds nothing to remove. */
                install->plugins_fd = file_open_in_root(install->root_fd, install->plugins,
                                                        O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                install->configurations_fd =
                        file_open_in_root(install->root_fd, install->configurations,
                                          O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                return 0;
        }
        r = install_directory_open(install->root_fd, install->plugins, true, &install->plugins_fd,
                                   err);
        if (r == 0 && install->conf_text)
                r = install_directory_open(install->root_fd, install->configurations, false,
                                           &install->configurations_fd, err);
        return r;
}

/* Whose pods the runtime makes by now: the first list that it could read, unless it is ours or of
 * the loopback alone. Return: 0; 1 with @network. */
static int find_other_network(const Install *install, char network[256], char file[256]) {
        struct dirent **entries = NULL;
        int n = scandirat(install->configurations_fd, ".", &entries, conflist_is_named, alphasort);
        bool found = false;

        for (int i = 0; i < n; i++) {
                cleanup(json_decrefp) json_t *list = NULL;
                const char *name = entries[i]->d_name;

                if (!found && strcmp(name, install->conf_name) != 0 &&
                    conflist_read(install->configurations_fd, name, &list, NULL) == 0 &&
                    !conflist_is_loopback(list)) {
                        found = true;
                        snprintf(network, 256, "%s", json_string_value(json_find(list, "name")));
                        snprintf(file, 256, "%s", name);
                }
                free(entries[i]);
        }
        free(entries);
        return found;
}

/* The first list of a directory has all new pods of the node: a second one, that sorts before it,
 * would take them away from the network that runs, and one behind it would have none. */
static int refuse_beside(const Install *install, Error *err) {
        char network[256], file[256];

        if (!install->conf_text || install->beside || install->configurations_fd < 0 ||
            faccessat(install->configurations_fd, install->conf_name, F_OK, 0) == 0 ||
            !find_other_network(install, network, file))
                return 0;
        return error_set(err, ERROR_CONFLICT,
                         "%s has the list %.100s of network \"%.100s\", whose pods this node "
                         "makes: remove it first, or add --beside",
                         install->configurations, file, network);
}

static int refuse_mode(const Install *install, Error *err) {
        cleanup(json_decrefp) json_t *present = NULL;

        if (!install->conf_text || install->switch_mode || strcmp(install->root, "/") != 0)
                return 0;
        if (install->configurations_fd >= 0)
                (void)conflist_read(install->configurations_fd, install->conf_name, &present, NULL);
        return install_refuse_mode(install->conf, present, err);
}

static bool is_foreign(const Install *install, size_t i) {
        return install->plugins_fd >= 0 &&
               install_name_state(install->plugins_fd, install->names[i]) == INSTALLED_FOREIGN;
}

static void leave_foreign(Install *install) {
        size_t n = 0;

        for (size_t i = 0; i < install->n_names; i++)
                if (!is_foreign(install, i))
                        install->names[n++] = install->names[i];
        install->n_names = n;
}

/* All names that belong to somebody else, in one message. */
static int refuse_foreign(const Install *install, Error *err) {
        cleanup(strbuf_deinit) StrBuf names = {0};

        for (size_t i = 0; i < install->n_names && !install->replace; i++)
                if (is_foreign(install, i))
                        strbuf_printf(&names, "%s%s", names.n > 0 ? ", " : "", install->names[i]);
        if (names.n == 0)
                return 0;
        return error_set(err, ERROR_CONFLICT,
                         "%s has programs of somebody else: %s. --replace moves them aside, "
                         "--names missing leaves them",
                         install->plugins, strbuf_text(&names));
}

static int save_foreign(const Install *install, const char *name, Error *err) {
        char saved[64], done[96];

        snprintf(saved, sizeof(saved), "%.32s" INSTALL_SAVED_SUFFIX, name);
        /* A hard link first: the name is never missing. What was saved before stays. */
        if (!install->dry_run &&
            linkat(install->plugins_fd, name, install->plugins_fd, saved, 0) < 0 && errno != EEXIST)
                return error_set_errno(err, errno, "keep %s as %s", name, saved);
        snprintf(done, sizeof(done), "kept as %s", saved);
        tell(install, name, done);
        return 0;
}

static int install_name(const Install *install, const char *name, Error *err) {
        InstalledName state = install->plugins_fd < 0
                                      ? INSTALLED_NOTHING
                                      : install_name_state(install->plugins_fd, name);
        int r = state == INSTALLED_FOREIGN ? save_foreign(install, name, err) : 0;

        if (r == 0 && !install->dry_run)
                r = install_link(install->plugins_fd, name, err);
        if (r == 0)
                tell(install, name,
                     install_is_copied(name) ? "copied from " PROGRAM : "linked to " PROGRAM);
        return r;
}

static int install_programs(const Install *install, Error *err) {
        int r = install->dry_run ? 0 : install_program(install->plugins_fd, PROGRAM, err);

        if (r < 0)
                return r;
        tell(install, PROGRAM, "installed");
        for (size_t i = 0; i < install->n_names && r == 0; i++)
                r = install_name(install, install->names[i], err);
        return r == 0 && !install->dry_run && fsync(install->plugins_fd) < 0
                       ? error_set_errno(err, errno, "sync %s", install->plugins)
                       : r;
}

/* Runtimes take the first file of the directory. */
static void warn_about_others(const Install *install) {
        cleanup(closedirp) DIR *dir =
                install->configurations_fd < 0 ? NULL : fdopendir(dup(install->configurations_fd));
        const struct dirent *entry;

        while (dir && (entry = readdir(dir)))
                if (conflist_is_named(entry) && strcmp(entry->d_name, install->conf_name) < 0)
                        fprintf(install->json ? stderr : stdout,
                                "%s: sorts before %s, so the runtime takes that network\n",
                                entry->d_name, install->conf_name);
}

static void tell_claims(const Install *install) {
        if (install->network.no_claims)
                tell(install, "macspoofchk",
                     "left out: this kernel has no nftables for bridges (CONFIG_NF_TABLES_BRIDGE)");
}

/* A pod of the DaemonSet that is made anew does not undo what somebody has set up by hand. */
static bool is_kept(const Install *install) {
        cleanup(json_decrefp) json_t *list = NULL;

        return install->network.is_managed &&
               conflist_read(install->configurations_fd, install->conf_name, &list, NULL) == 0 &&
               install_list_stays(list, install->conf);
}

/* Of a list that berth-node keeps: pods that come now are not ours, and whoever waits for this node
 * to be ready has to know. */
static int refuse_first(const Install *install, Error *err) {
        char network[256], file[256];

        if (!install->network.is_managed || install->beside || !install->conf_text ||
            install->configurations_fd < 0 || !find_other_network(install, network, file) ||
            strcmp(file, install->conf_name) > 0)
                return 0;
        return error_set(
                err, ERROR_CONFLICT,
                "the list %.100s of network \"%.100s\" sorts before %.100s, so the runtime "
                "makes its pods by that one: remove it, or add --beside",
                file, network, install->conf_name);
}

static int install_all(const Install *install, Error *err) {
        int r = install_programs(install, err);

        if (r < 0 || !install->conf_text)
                return r;
        if (is_kept(install)) {
                tell(install, install->conf_name, "left as it is: berth-node has not written it");
                return refuse_first(install, err);
        }
        if (!install->dry_run)
                r = install_configuration(install->configurations_fd, install->conf_name,
                                          install->conf_text, err);
        if (r < 0)
                return r;
        tell(install, install->conf_name, "written");
        tell_claims(install);
        warn_about_others(install);
        return refuse_first(install, err);
}

static int remove_file(const Install *install, int dir_fd, const char *name, Error *err) {
        int r;

        if (dir_fd < 0)
                return 0;
        r = install->dry_run ? faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW)
                             : unlinkat(dir_fd, name, 0);
        if (r < 0)
                return errno == ENOENT ? 0 : error_set_errno(err, errno, "remove %s", name);
        tell(install, name, "removed");
        return 0;
}

/* Another's program comes back in one step, else the link just goes. */
static int remove_name(const Install *install, const char *name, Error *err) {
        char saved[64];
        int r;

        if (install->plugins_fd < 0 ||
            install_name_state(install->plugins_fd, name) != INSTALLED_OURS)
                return 0;
        snprintf(saved, sizeof(saved), "%.32s" INSTALL_SAVED_SUFFIX, name);
        r = install->dry_run ? faccessat(install->plugins_fd, saved, F_OK, AT_SYMLINK_NOFOLLOW)
                             : renameat(install->plugins_fd, saved, install->plugins_fd, name);
        if (r == 0) {
                tell(install, name, "brought back");
                return 0;
        }
        return remove_file(install, install->plugins_fd, name, err);
}

static int uninstall_all(const Install *install, Error *err) {
        int r = remove_file(install, install->configurations_fd, install->conf_name, err);

        for (size_t i = 0; install_names[i] && r == 0; i++)
                r = remove_name(install, install_names[i], err);
        return r < 0 ? r : remove_file(install, install->plugins_fd, PROGRAM, err);
}

static int run(Install *install, Error *err) {
        int r = take_names(install, err);

        r = r < 0 ? r : take_list(install, err);
        r = r < 0 ? r : open_directories(install, err);
        if (r < 0)
                return r;
        if (install->only_missing)
                leave_foreign(install);
        r = install->uninstall ? 0 : refuse_foreign(install, err);
        if (r == 0 && !install->uninstall)
                r = refuse_beside(install, err);
        if (r == 0 && !install->uninstall)
                r = refuse_mode(install, err);
        if (r < 0)
                return r;
        r = install->uninstall ? uninstall_all(install, err) : install_all(install, err);
        /* Of another root nobody knows the links from here. */
        if (r == 0 && install->uninstall && strcmp(install->root, "/") == 0)
                install->left = install_left();
        if (r == 0)
                tell_end(install);
        return r;
}

int install_main(int argc, char **argv) {
        cleanup(install_deinit) Install install = {
                .root = "/",
                .names_text = "all",
                .conf_name = INSTALL_CONF_NAME,
                .root_fd = -1,
                .plugins_fd = -1,
                .configurations_fd = -1,
                .steps = json_array(),
        };
        Error err = {0};
        int r = parse(argc, argv, &install);

        if (r == 0 && argc == 1)
                r = error_set(&install.wrong, ERROR_INVALID,
                              "install changes nothing without being told what: --subnet CIDR or "
                              "--conf FILE for a network, --names LIST for the programs alone "
                              "(see berth-cni install --help)");
        if (r < 0) {
                fprintf(stderr, "berth-cni: %s\nTry: berth-cni install --help\n",
                        install.wrong.message);
                return EXIT_USAGE;
        }
        if (r > 0) {
                fputs(usage, stdout);
                return 0;
        }
        if (run(&install, &err) < 0) {
                (void)fflush(stdout);
                fprintf(stderr, "berth-cni: %s\n", err.message);
                return 1;
        }
        return 0;
}
