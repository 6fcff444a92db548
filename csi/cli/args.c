/* SPDX-License-Identifier: Apache-2.0 */

/* One table says all: name, kind, where the value goes, and the line of --help. */

#include "csi/cli/args.h"

#include "common/base/arguments.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stddef.h>

typedef enum Kind {
        KIND_STRING,
        KIND_PATH, /* absolute */
        KIND_NUMBER,
        KIND_COUNT, /* a number from 1 */
        KIND_DURATION,
        KIND_TIMEOUT, /* a duration above 0 */
        KIND_BOOL,
        KIND_LEVEL,
        KIND_FORMAT,
} Kind;

typedef struct Flag {
        const char *name;
        Kind kind;
        size_t offset;
        uint64_t max; /* numbers */
        const char *help;
} Flag;

#define AT(member) offsetof(ServeArgs, member)

/* clang-format off */
static const Flag flags[] = {
        {"endpoint", KIND_STRING, AT(endpoint), 0,
         "socket to serve: unix:///path or /path ($CSI_ENDPOINT; default <kubelet-root>/plugins/<driver>/csi.sock)"},
        {"provider", KIND_STRING, AT(provider), 0,
         "storage provider by name or driver name (default: the cloud that this machine is in, else local)"},
        {"driver-name", KIND_STRING, AT(driver_name), 0,
         "CSI driver name (default: the provider's)"},
        {"node-name", KIND_STRING, AT(node_name), 0,
         "Kubernetes node name ($NODE_NAME, $KUBE_NODE_NAME, $CSI_NODE_NAME; default: host name)"},
        {"kubelet-root", KIND_PATH, AT(kubelet_root), 0,
         "kubelet's root directory (default: as this Kubernetes distribution has it, /var/lib/kubelet)"},
        {"kubelet-check", KIND_BOOL, AT(kubelet_check), 0,
         "refuse to start where kubelet would not see the mounts; --no-kubelet-check turns it off (default on)"},
        {"pool", KIND_PATH, AT(pool), 0,
         "provider local: directory that holds the volumes"},
        {"pool-init", KIND_BOOL, AT(pool_init), 0,
         "provider local: make a new pool where none is and this node has had none"},
        {"pool-id", KIND_STRING, AT(pool_id), 0,
         "provider local: UUID that the pool must have (default: the one that was there the last time)"},
        {"pool-reserve", KIND_STRING, AT(pool_reserve), 0,
         "provider local: size or percentage of the pool's filesystem that volumes never get"},
        {"pool-overcommit", KIND_COUNT, AT(pool_overcommit_percent), 100000,
         "provider local: percent of the pool that thin volumes may promise (default 100)"},
        {"inline-per-pod", KIND_STRING, AT(inline_per_pod), 0,
         "provider local: size or percentage of the pool's filesystem for one pod's inline volumes (default 10%)"},
        {"inline-per-namespace", KIND_STRING, AT(inline_per_namespace), 0,
         "provider local: likewise for those of one namespace (default 25%)"},
        {"workload-api-socket-dir", KIND_PATH, AT(workload_api_dir), 0,
         "provider spiffe: directory of the Workload API's socket (default /run/spire/agent-sockets)"},
        {"volume-limit", KIND_COUNT, AT(volume_limit), INT64_MAX,
         "most volumes on this node (default: what the machine can attach)"},
        {"reserved-volumes", KIND_NUMBER, AT(reserved_volumes), INT64_MAX,
         "attachments that are not for volumes, taken off the limit"},
        {"node-id", KIND_STRING, AT(node_id), 0,
         "this node as the controller knows it (default: what the cloud calls the instance)"},
        {"instance-type", KIND_STRING, AT(instance_type), 0,
         "type of this machine, for its volume limit ($NODE_INSTANCE_TYPE; default: the cloud's answer)"},
        {"region", KIND_STRING, AT(region), 0,
         "region of this node ($NODE_REGION; default: the cloud's answer)"},
        {"zone", KIND_STRING, AT(zone), 0,
         "zone of this node ($NODE_ZONE; default: the cloud's answer)"},
        {"metadata-url", KIND_STRING, AT(metadata_url), 0,
         "base address in place of the cloud's metadata service"},
        {"root", KIND_STRING, AT(root), 0,
         "directory that stands for / when reading sysfs, /dev and DMI (for tests)"},
        {"registration", KIND_BOOL, AT(registration), 0,
         "register with kubelet; --no-registration where node-driver-registrar runs (default on)"},
        {"registration-dir", KIND_PATH, AT(registration_dir), 0,
         "kubelet's plugin watch directory (default <kubelet-root>/plugins_registry)"},
        {"registration-endpoint", KIND_PATH, AT(registration_endpoint), 0,
         "path of the socket as kubelet sees it (default: --endpoint's, or below <kubelet-root>/plugins/<driver>)"},
        {"health-port", KIND_NUMBER, AT(health_port), 65535,
         "port of /healthz, /livez and /metrics; 0 turns both off (default 9808)"},
        {"health-address", KIND_STRING, AT(health_address), 0,
         "numeric address of that port (default: all)"},
        {"metrics", KIND_BOOL, AT(metrics), 0,
         "serve /metrics; --no-metrics turns it off (default on)"},
        {"workers", KIND_COUNT, AT(workers), 1024,
         "most mounts, formats and the like at once (default 128)"},
        {"max-formatters", KIND_COUNT, AT(max_formatters), 1024,
         "most mkfs and fsck at once (default: by CPUs and memory)"},
        {"mkfs-timeout", KIND_TIMEOUT, AT(mkfs_timeout_msecs), 0,
         "longest time for one mkfs: 90s, 10m, 1h"},
        {"fs-min-kernel", KIND_STRING, AT(fs_min_kernel), 0,
         "oldest kernel that must mount new filesystems (default 5.4); none: only this node"},
        {"fs-page-sizes", KIND_STRING, AT(fs_page_sizes), 0,
         "page sizes of nodes with that kernel: 4K,64K (default: this node's)"},
        {"fs-nodes", KIND_STRING, AT(fs_nodes), 0,
         "file of node facts (berth-csi host --json) that must mount new filesystems as well"},
        {"fsck-timeout", KIND_TIMEOUT, AT(fsck_timeout_msecs), 0,
         "longest time for one fsck"},
        {"drain-timeout", KIND_DURATION, AT(drain_timeout_msecs), 0,
         "how long running calls may take to end after SIGTERM (default 20s)"},
        {"all-privileges", KIND_BOOL, AT(all_privileges), 0,
         "keep every capability that the process was started with (default: those that it uses)"},
        {"log-level", KIND_LEVEL, AT(log_level), 0,
         "error, warning, info (default) or debug"},
        {"log-format", KIND_FORMAT, AT(log_format), 0,
         "logfmt (default) or json"},
};
/* clang-format on */

/* "90s", "1h", "250ms", or seconds without a unit. */
static int parse_duration(const char *text, uint64_t *msecsp) {
        static const struct {
                const char *suffix;
                uint64_t msecs;
        } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"", 1000}};
        size_t n = strspn(text, "0123456789");
        uint64_t number;
        char digits[24];

        if (n == 0 || n >= sizeof(digits))
                return -EINVAL;
        memcpy(digits, text, n);
        digits[n] = '\0';
        if (str_parse_u64(digits, UINT64_MAX / 3600000, &number) < 0)
                return -EINVAL;
        for (size_t i = 0; i < N_ELEMENTS(units); i++)
                if (str_equal(text + n, units[i].suffix)) {
                        *msecsp = number * units[i].msecs;
                        return 0;
                }
        return -EINVAL;
}

static int parse_bool(const char *text, bool *valuep) {
        if (str_equal(text, "true") || str_equal(text, "1"))
                *valuep = true;
        else if (str_equal(text, "false") || str_equal(text, "0"))
                *valuep = false;
        else
                return -EINVAL;
        return 0;
}

/* For what 0 would be read as "not given". */
static int above_zero(int r, const uint64_t *value) {
        return r == 0 && *value == 0 ? -EINVAL : r;
}

static int flag_set(ServeArgs *args, const Flag *flag, const char *value, Error *err) {
        static const char *const expected[] = {
                [KIND_STRING] = "text",
                [KIND_PATH] = "an absolute path",
                [KIND_NUMBER] = "a number",
                [KIND_COUNT] = "a number from 1",
                [KIND_DURATION] = "a duration such as 90s or 10m",
                [KIND_TIMEOUT] = "a duration above 0 such as 90s or 10m",
                [KIND_BOOL] = "true or false",
                [KIND_LEVEL] = "error, warning, info or debug",
                [KIND_FORMAT] = "logfmt or json",
        };
        void *at = (char *)args + flag->offset;
        int r = 0;

        switch (flag->kind) {
        case KIND_STRING:
                *(const char **)at = value;
                break;
        case KIND_PATH:
                /* Empty is not given, as a variable of a manifest that nobody has set. */
                r = value[0] == '/' || value[0] == '\0' ? 0 : -EINVAL;
                *(const char **)at = value[0] ? value : NULL;
                break;
        case KIND_NUMBER:
                r = str_parse_u64(value, flag->max, at);
                break;
        case KIND_COUNT:
                r = above_zero(str_parse_u64(value, flag->max, at), at);
                break;
        case KIND_DURATION:
                r = parse_duration(value, at);
                break;
        case KIND_TIMEOUT:
                r = above_zero(parse_duration(value, at), at);
                break;
        case KIND_BOOL:
                r = parse_bool(value, at);
                break;
        case KIND_LEVEL:
                r = log_level_parse(value, at);
                break;
        case KIND_FORMAT:
                r = log_format_parse(value, at);
                break;
        }
        if (r == -ERANGE)
                return error_set(err, ERROR_INVALID, "--%s: \"%.64s\", expected at most %llu",
                                 flag->name, value, (unsigned long long)flag->max);
        if (r < 0)
                return error_set(err, ERROR_INVALID, "--%s: \"%.64s\", expected %s", flag->name,
                                 value, expected[flag->kind]);
        return 0;
}

static const char *first_set(const char *(*get_environment)(const char *),
                             const char *const *names) {
        for (; *names; names++) {
                const char *value = get_environment(*names);

                if (!str_is_empty(value))
                        return value;
        }
        return NULL;
}

static void set_defaults(ServeArgs *args, const char *(*get_environment)(const char *)) {
        *args = (ServeArgs){
                .endpoint = first_set(get_environment, (const char *const[]){"CSI_ENDPOINT", NULL}),
                .node_name = first_set(get_environment,
                                       (const char *const[]){"NODE_NAME", "KUBE_NODE_NAME",
                                                             "CSI_NODE_NAME", NULL}),
                .instance_type = first_set(get_environment,
                                           (const char *const[]){"NODE_INSTANCE_TYPE", NULL}),
                .region = first_set(get_environment, (const char *const[]){"NODE_REGION", NULL}),
                .zone = first_set(get_environment, (const char *const[]){"NODE_ZONE", NULL}),
                .root = "",
                .volume_limit = UINT64_MAX,
                .reserved_volumes = UINT64_MAX,
                .health_port = 9808,
                .drain_timeout_msecs = 20000,
                .registration = true,
                .kubelet_check = true,
                .metrics = true,
                .log_level = LOG_LEVEL_INFO,
                .log_format = LOG_FORMAT_LOGFMT,
        };
}

/* Each flag; a switch also as --no-NAME, and its value only behind a "=". */
enum {
        VAL_FLAG = 256,
        VAL_NO = 512,
        VAL_HELP = 1024,
        VAL_VERSION
};

#define NO_NAME_MAX 32

static void make_options(struct option options[2 * N_ELEMENTS(flags) + 3],
                         char no_names[N_ELEMENTS(flags)][NO_NAME_MAX]) {
        size_t n = 0;

        for (size_t i = 0; i < N_ELEMENTS(flags); i++) {
                bool is_bool = flags[i].kind == KIND_BOOL;

                options[n++] = (struct option){flags[i].name,
                                               is_bool ? optional_argument : required_argument,
                                               NULL, VAL_FLAG + (int)i};
                if (!is_bool)
                        continue;
                (void)snprintf(no_names[i], NO_NAME_MAX, "no-%s", flags[i].name);
                options[n++] = (struct option){no_names[i], no_argument, NULL, VAL_NO + (int)i};
        }
        options[n++] = (struct option){"help", no_argument, NULL, VAL_HELP};
        options[n++] = (struct option){"version", no_argument, NULL, VAL_VERSION};
        options[n] = (struct option){NULL, 0, NULL, 0};
}

static int take(int val, ServeArgs *args, Error *err) {
        bool is_no = val >= VAL_NO;
        const char *value = is_no ? "false" : optarg ? optarg : "true";

        return flag_set(args, &flags[val - (is_no ? VAL_NO : VAL_FLAG)], value, err);
}

int args_parse_serve(int argc, char *const *argv, const char *(*get_environment)(const char *name),
                     ServeArgs *args, Error *err) {
        char no_names[N_ELEMENTS(flags)][NO_NAME_MAX];
        struct option options[2 * N_ELEMENTS(flags) + 3];
        int val, r;

        set_defaults(args, get_environment);
        make_options(options, no_names);
        optind = 0;
        while ((val = arguments_next(argc, argv, "+:h", options, err)) > 0) {
                if (val == VAL_HELP || val == 'h')
                        return ARGS_E_HELP;
                if (val == VAL_VERSION)
                        return ARGS_E_VERSION;
                r = take(val, args, err);
                if (r < 0)
                        return r;
        }
        if (val == ARGUMENTS_END && optind < argc)
                return error_set(err, ERROR_INVALID, "unexpected argument \"%.64s\"", argv[optind]);
        return val == ARGUMENTS_END ? 0 : val;
}

void args_print_help(FILE *file) {
        static const char *const values[] = {
                [KIND_STRING] = " VALUE", [KIND_PATH] = " PATH",     [KIND_NUMBER] = " N",
                [KIND_COUNT] = " N",      [KIND_DURATION] = " TIME", [KIND_TIMEOUT] = " TIME",
                [KIND_BOOL] = "",         [KIND_LEVEL] = " LEVEL",   [KIND_FORMAT] = " FORMAT",
        };

        (void)fprintf(file,
                      "Usage: berth-csi serve [FLAG...]\n\n"
                      "Serves CSI, kubelet's registration, health and metrics until SIGTERM.\n"
                      "A flag is --name VALUE or --name=VALUE; a switch also --no-name.\n\n");
        for (size_t i = 0; i < N_ELEMENTS(flags); i++) {
                (void)fprintf(file, "  --%s%s\n        %s\n", flags[i].name, values[flags[i].kind],
                              flags[i].help);
        }
}

int args_socket_path(const char *endpoint, char *buffer, size_t n_buffer, const char **pathp,
                     Error *err) {
        const char *path = endpoint;

        if (str_has_prefix(path, "unix:"))
                path += str_has_prefix(path, "unix://") ? strlen("unix://") : strlen("unix:");
        else if (path[0] != '/')
                return error_set(err, ERROR_INVALID,
                                 "--endpoint: \"%.128s\", expected unix:///path or /path",
                                 endpoint);
        if (path[0] == '\0' || str_equal(path, "/") || str_has_suffix(path, "/"))
                return error_set(err, ERROR_INVALID,
                                 "--endpoint: \"%.128s\" names no socket, expected unix:///path",
                                 endpoint);
        if (path[0] == '/') {
                *pathp = path;
                return 0;
        }
        if ((size_t)snprintf(buffer, n_buffer, "/%s", path) >= n_buffer)
                return error_set(err, ERROR_INVALID, "--endpoint: %zu bytes, expected at most %zu",
                                 strlen(path) + 1, n_buffer - 1);
        *pathp = buffer;
        return 0;
}
