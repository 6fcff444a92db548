/* SPDX-License-Identifier: Apache-2.0 */

/* args -> platform -> provider -> node -> daemon. Each step fills its part of one struct, which is
 * emptied in the opposite order. */

#include "csi/cli/serve.h"

#include "common/base/arguments.h"
#include "common/base/cleanup.h"
#include "common/base/confine.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/privilege.h"
#include "common/base/str.h"
#include "common/platform/platform.h"
#include "csi/cli/args.h"
#include "csi/daemon/daemon.h"
#include "csi/daemon/providers.h"
#include "csi/daemon/tend.h"
#include "csi/kubelet/view.h"
#include "csi/wait/hold.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/stat.h>

/* CSI specification v1.12, GetPluginInfoResponse.name. */
#define DRIVER_NAME_MAX 63U

typedef struct Serve {
        ServeArgs args;
        Platform *platform; /* owned */
        const Provider *provider;
        const char *driver_name; /* borrowed */
        const char *node_name;   /* borrowed */
        void *provider_self;     /* the provider's close() */
        Metrics *metrics;        /* owned */
        HoldTable *locks;        /* owned; the node's and the provider's */
        Node *node;              /* owned */
        Tend *tend;              /* owned */
        char host_name[HOST_NAME_MAX + 1];
        KubeletView kubelet;
        char socket_path[PATH_MAX];
        char state_dir[PATH_MAX]; /* where the socket is: below kubelet, kept over restarts */
        char registration_dir[PATH_MAX];
        char registration_endpoint[PATH_MAX];
} Serve;

static const char *environment(const char *name) {
        return getenv(name);
}

static int read_platform(Serve *serve, Error *err) {
        cleanup(closep) int root = -1;
        int r;

        if (serve->args.root[0] == '\0') {
                r = platform_read_self(&serve->platform);
        } else {
                root = open(serve->args.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (root < 0)
                        return error_set_errno(err, errno, "--root: open %s", serve->args.root);
                r = platform_read(root, false, &serve->platform);
        }
        return r < 0 ? error_set_errno(err, r, "look at this machine") : 0;
}

static int unknown_provider(const char *name, Error *err) {
        StrBuf names = {0};
        int r;

        for (size_t i = 0; providers[i]; i++)
                strbuf_printf(&names, "%s%s", i ? ", " : "", providers[i]->name);
        r = error_set(err, ERROR_INVALID, "--provider: \"%.64s\", expected one of %s", name,
                      strbuf_text(&names));
        strbuf_deinit(&names);
        return r;
}

/* It is part of paths and of what kubelet keeps, so it is held to the letter. */
static int check_driver_name(const char *name, Error *err) {
        size_t n = strlen(name);
        bool good = n > 0 && n <= DRIVER_NAME_MAX && isalnum((unsigned char)name[0]) &&
                    isalnum((unsigned char)name[n - 1]);

        for (size_t i = 0; i < n; i++)
                good = good && (isalnum((unsigned char)name[i]) || strchr("-.", name[i]));
        if (good)
                return 0;
        return error_set(err, ERROR_INVALID,
                         "--driver-name: \"%.64s\", expected 1 to %u letters, digits, \"-\" and "
                         "\".\", and a letter or digit at both ends",
                         name, DRIVER_NAME_MAX);
}

static int choose_names(Serve *serve, Error *err) {
        const ServeArgs *args = &serve->args;

        serve->provider =
                args->provider ? provider_find(args->provider) : provider_detect(serve->platform);
        if (!serve->provider)
                return unknown_provider(args->provider, err);
        serve->driver_name = args->driver_name ? args->driver_name : serve->provider->driver_name;
        if (gethostname(serve->host_name, sizeof(serve->host_name) - 1) < 0)
                return error_set_errno(err, errno, "host name");
        serve->node_name = str_is_empty(args->node_name) ? serve->host_name : args->node_name;
        return check_driver_name(serve->driver_name, err);
}

/* Fails for what does not fit. */
static int path_set(char path[PATH_MAX], Error *err, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static int path_set(char path[PATH_MAX], Error *err, const char *format, ...) {
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(path, PATH_MAX, format, ap);
        va_end(ap);
        if (n >= 0 && n < PATH_MAX)
                return 0;
        return error_set(err, ERROR_INVALID, "a path is longer than %d bytes", PATH_MAX - 1);
}

static int choose_kubelet_root(Serve *serve, Error *err) {
        static const MountTable nothing = {0};
        const char *wanted = serve->args.kubelet_root;
        const char *detected = serve->platform->kubernetes.kubelet_root;
        const KubeletViewQuery blind = {wanted, detected, &nothing, NULL, NULL};
        int r;

        if (!serve->args.kubelet_check)
                return kubelet_view_find(&blind, &serve->kubelet, err);
        r = kubelet_view_read(wanted, detected, &serve->kubelet, err);
        return r < 0 ? r : kubelet_view_check_processes(&serve->kubelet, err);
}

static bool is_below(const char *path, const char *directory) {
        size_t n = strlen(directory);

        return strncmp(path, directory, n) == 0 && path[n] == '/';
}

static int choose_socket(Serve *serve, Error *err) {
        const ServeArgs *args = &serve->args;
        char buffer[PATH_MAX];
        const char *path;
        int r;

        if (str_is_empty(args->endpoint))
                return path_set(serve->socket_path, err, "%s/plugins/%s/csi.sock",
                                serve->kubelet.here, serve->driver_name);
        r = args_socket_path(args->endpoint, buffer, sizeof(buffer), &path, err);
        if (r < 0)
                return r;
        if (!is_below(path, serve->kubelet.name))
                return path_set(serve->socket_path, err, "%s", path);
        return path_set(serve->socket_path, err, "%s%s", serve->kubelet.here,
                        path + strlen(serve->kubelet.name));
}

static int choose_registration(Serve *serve, Error *err) {
        const ServeArgs *args = &serve->args;
        int r;

        if (args->registration_dir)
                r = path_set(serve->registration_dir, err, "%s", args->registration_dir);
        else
                r = path_set(serve->registration_dir, err, "%s/plugins_registry",
                             serve->kubelet.here);
        if (r < 0)
                return r;
        if (args->registration_endpoint)
                return path_set(serve->registration_endpoint, err, "%s",
                                args->registration_endpoint);
        /* What is not below kubelet's root is a mount of the driver's directory there (/csi in
         * every cloud's manifests). */
        if (is_below(serve->socket_path, serve->kubelet.here))
                return path_set(serve->registration_endpoint, err, "%s%s", serve->kubelet.name,
                                serve->socket_path + strlen(serve->kubelet.here));
        return path_set(serve->registration_endpoint, err, "%s/plugins/%s%s", serve->kubelet.name,
                        serve->driver_name, strrchr(serve->socket_path, '/'));
}

/* Made if it is missing. Where others may rename what is in it, our socket would not be ours. */
static int prepare_socket_directory(Serve *serve, Error *err) {
        cleanup(freep) char *directory = strdup(serve->socket_path);
        struct stat st;
        bool is_open;
        int r;

        if (!directory)
                return error_set_errno(err, ENOMEM, "socket");
        /* Of "/csi.sock" the directory is "/". */
        strrchr(directory, '/')[directory == strrchr(directory, '/') ? 1 : 0] = '\0';
        (void)snprintf(serve->state_dir, sizeof(serve->state_dir), "%s", directory);
        r = file_make_directories(directory, 0750);
        if (r < 0)
                return error_set_errno(err, r, "make %s", directory);
        if (stat(directory, &st) < 0)
                return error_set_errno(err, errno, "look at %s", directory);
        is_open = (st.st_mode & S_IWOTH) ||
                  ((st.st_mode & S_IWGRP) && st.st_gid != 0 && st.st_gid != getegid());
        if ((st.st_uid != 0 && st.st_uid != geteuid()) || (is_open && !(st.st_mode & S_ISVTX)))
                return error_set(err, ERROR_PRECONDITION,
                                 "%s belongs to user %u and group %u with mode %o: others could "
                                 "replace the socket in it",
                                 directory, st.st_uid, st.st_gid, st.st_mode & 07777U);
        return 0;
}

static int open_provider(Serve *serve, Error *err) {
        const ServeArgs *args = &serve->args;
        const ProviderConfig config = {
                .node_name = serve->node_name,
                .driver_name = serve->driver_name,
                .kubelet_root = serve->kubelet.here,
                .pool_path = args->pool,
                .root_path = args->root,
                .metadata_url = args->metadata_url,
                .volume_limit = args->volume_limit == UINT64_MAX ? -1 : (int64_t)args->volume_limit,
                .reserved_volumes =
                        args->reserved_volumes == UINT64_MAX ? 0 : args->reserved_volumes,
                .has_reserved_volumes = args->reserved_volumes != UINT64_MAX,
                .platform = serve->platform,
                .pool_reserve = args->pool_reserve,
                .pool_overcommit_percent = args->pool_overcommit_percent,
                .workload_api_dir = args->workload_api_dir,
                .node_id = args->node_id,
                .instance_type = args->instance_type,
                .region = args->region,
                .zone = args->zone,
                .locks = serve->locks,
                .state_dir = serve->state_dir,
                .pool_id = args->pool_id,
                .pool_init = args->pool_init,
                .inline_per_pod = args->inline_per_pod,
                .inline_per_namespace = args->inline_per_namespace,
        };
        int r = serve->provider->open ? serve->provider->open(&config, &serve->provider_self, err)
                                      : 0;

        return r < 0 ? error_wrap(err, r, "provider %s", serve->provider->name) : 0;
}

static int make_node(Serve *serve, Error *err) {
        const NodeConfig config = {
                .provider = serve->provider,
                .provider_self = serve->provider_self,
                .driver_name = serve->driver_name,
                .kubelet_root = serve->kubelet.name,
                .kubelet_here = serve->kubelet.here,
                .max_formatters = (unsigned int)serve->args.max_formatters,
                .fsck_timeout_msecs = serve->args.fsck_timeout_msecs,
                .mkfs_timeout_msecs = serve->args.mkfs_timeout_msecs,
                .cluster = {serve->args.fs_min_kernel, serve->args.fs_page_sizes,
                            serve->args.fs_nodes},
                .count = metrics_count,
                .count_userdata = serve->metrics,
                .node_name = serve->node_name,
                .locks = serve->locks,
                .state_dir = serve->state_dir,
        };

        return node_new(&serve->node, &config, err);
}

static void log_machine(const Serve *serve) {
        const Platform *platform = serve->platform;

        log_fields(LOG_LEVEL_INFO,
                   (LogField[]){
                           {"node", serve->node_name},
                           {"kubelet_root", serve->kubelet.name},
                           {"cloud", platform_cloud_name(platform->cloud)},
                           {"kubernetes", platform->kubernetes.distribution},
                           {"architecture", platform->machine},
                           {"kernel", platform->kernel.text},
                   },
                   6, "berth-csi " BERTH_VERSION " starts");
        if (!str_equal(serve->kubelet.name, serve->kubelet.here))
                log_info("kubelet's root %s is %s in this container", serve->kubelet.name,
                         serve->kubelet.here);
}

/* In a pod the network is its own, and kubelet asks from outside of it. */
static const char *health_address(const ServeArgs *args) {
        if (args->health_address)
                return args->health_address;
        return getenv("KUBERNETES_SERVICE_HOST") ? "" : "127.0.0.1";
}

static int run(Serve *serve, Error *err) {
        const ServeArgs *args = &serve->args;
        const Service service = {
                .provider = serve->provider,
                .provider_self = serve->provider_self,
                .node = serve->node,
                .driver_name = serve->driver_name,
                .metrics = serve->metrics,
        };
        const DaemonConfig config = {
                .service = &service,
                .socket_path = serve->socket_path,
                .registration_dir = args->registration ? serve->registration_dir : NULL,
                .registration_endpoint = serve->registration_endpoint,
                .health_address = health_address(args),
                .health_port = (uint16_t)args->health_port,
                .serves_metrics = args->metrics,
                .max_workers = (unsigned int)args->workers,
                .drain_timeout_msecs = args->drain_timeout_msecs,
        };

        /* Not worth failing for. */
        if (tend_start(&serve->tend, serve->node, serve->provider, serve->provider_self) < 0)
                log_warning("what is left behind will not be looked for");
        return daemon_run(&config, err);
}

/*
 * What is kept, for what: docs/security.md. A privileged container is given all there is, whatever
 * its securityContext says of capabilities, so it is given back here.
 */
static int limit_privileges(const Serve *serve, Error *err) {
        static const unsigned int kept[] = {
                CAP_SYS_ADMIN, CAP_SYS_RESOURCE, CAP_DAC_OVERRIDE,     CAP_FOWNER,
                CAP_CHOWN,     CAP_IPC_LOCK,     CAP_NET_BIND_SERVICE,
        };
        uint64_t keep = 0;
        int r;

        if (serve->args.all_privileges)
                return 0;
        for (size_t i = 0; i < N_ELEMENTS(kept); i++)
                keep |= PRIVILEGE_BIT(kept[i]);
        r = privilege_limit(keep);
        return r < 0 ? error_set_errno(err, r, "give up capabilities") : 0;
}

/* What a first stage would say of the flags, when the roll-out of a typo is over. */
static int check_args(const ServeArgs *args, Error *err) {
        const FsCluster cluster = {args->fs_min_kernel, args->fs_page_sizes, args->fs_nodes};
        const char *url = args->metadata_url;

        if (!str_is_empty(url) && !str_has_prefix(url, "http://") &&
            !str_has_prefix(url, "https://"))
                return error_set(err, ERROR_INVALID,
                                 "--metadata-url: \"%.128s\", expected http://HOST", url);
        return fs_cluster_check(&cluster, err);
}

static int check_may_mount(Error *err) {
        if (privilege_has(CAP_SYS_ADMIN))
                return 0;
        return error_set(err, ERROR_DENIED,
                         "user %u may not mount (no CAP_SYS_ADMIN): run berth-csi serve as root, "
                         "in a pod as a privileged container",
                         geteuid());
}

static int prepare(Serve *serve, Error *err) {
        int r = check_args(&serve->args, err);

        if (r == 0)
                r = check_may_mount(err);
        if (r == 0)
                r = read_platform(serve, err);
        if (r == 0)
                r = choose_names(serve, err);
        if (r == 0)
                r = choose_kubelet_root(serve, err);
        if (r == 0)
                r = choose_socket(serve, err);
        if (r == 0)
                r = choose_registration(serve, err);
        return r;
}

static int start_and_run(Serve *serve, Error *err) {
        int r;

        log_machine(serve);
        if (!confine_has_filter())
                log_warning("the tools of filesystems run without a filter of system calls: this "
                            "kernel has none (CONFIG_SECCOMP_FILTER), or berth-csi none for its "
                            "architecture; they have no capabilities all the same");
        r = prepare_socket_directory(serve, err);
        if (r == 0)
                r = metrics_new(&serve->metrics, serve->driver_name);
        if (r == 0)
                r = hold_table_new(&serve->locks);
        if (r == 0)
                r = open_provider(serve, err);
        if (r == 0)
                r = make_node(serve, err);
        if (r == 0)
                r = run(serve, err);
        if (r < 0 && !error_is_set(err))
                (void)error_set_errno(err, r, "start");
        return r;
}

static void serve_deinit(Serve *serve) {
        tend_stop(serve->tend);
        node_free(serve->node);
        if (serve->provider && serve->provider->close && serve->provider_self)
                serve->provider->close(serve->provider_self);
        hold_table_free(serve->locks);
        metrics_free(serve->metrics);
        platform_free(serve->platform);
}

static int usage_error(const Error *err) {
        (void)fprintf(stderr, "berth-csi: %s\nTry: berth-csi serve --help\n", err->message);
        return EXIT_USAGE;
}

/* Secrets of volumes will be in it. */
static void protect_memory(void) {
        int r = privilege_hide_memory();

        if (r < 0)
                log_warning("the memory of this process may be dumped: %s", strerrordesc_np(-r));
        r = privilege_lock_memory();
        if (r < 0)
                log_warning("the memory of this process may be swapped out, and secrets of calls "
                            "with it (CAP_IPC_LOCK): %s",
                            strerrordesc_np(-r));
}

static int prepare_and_run(Serve *serve) {
        Error err = {0};
        int r;

        log_setup(serve->args.log_level, serve->args.log_format);
        daemon_block_signals();
        protect_memory();
        r = prepare(serve, &err);
        if (r < 0 && err.code == ERROR_INVALID)
                return usage_error(&err);
        if (r == 0)
                r = limit_privileges(serve, &err);
        if (r == 0)
                r = start_and_run(serve, &err);
        if (r < 0)
                log_error("%s", err.message);
        return r < 0 ? 1 : 0;
}

int serve_command(int argc, char **argv) {
        /* Not on the stack: it holds four paths. */
        cleanup(freep) Serve *serve = calloc(1, sizeof(*serve));
        Error err = {0};
        int r;

        if (!serve)
                return 1;
        r = args_parse_serve(argc, argv, environment, &serve->args, &err);
        if (r < 0)
                return usage_error(&err);
        if (r == ARGS_E_HELP) {
                args_print_help(stdout);
                return 0;
        }
        if (r == ARGS_E_VERSION) {
                (void)printf("berth-csi " BERTH_VERSION "\n");
                return 0;
        }
        r = prepare_and_run(serve);
        serve_deinit(serve);
        return r;
}
