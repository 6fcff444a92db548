/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLI_ARGS_H
#define BERTH_CSI_CLI_ARGS_H

/* The command line of `berth-csi serve`. Parsing looks at nothing but its arguments and the
 * environment that it is given. */

#include "common/base/error.h"
#include "common/base/log.h"

#include <stdint.h>
#include <stdio.h>

/* Strings are borrowed from argv and the environment; NULL: not given, the default depends on the
 * machine or the provider. */
typedef struct ServeArgs {
        const char *endpoint; /* as given: "unix:///x", "unix:/x", "/x" */
        const char *provider;
        const char *driver_name;
        const char *node_name;
        const char *kubelet_root;
        const char *workload_api_dir;
        const char *pool;
        const char *pool_reserve;
        const char *pool_id;
        const char *inline_per_pod, *inline_per_namespace;
        const char *metadata_url;
        const char *node_id, *instance_type, *region, *zone;
        const char *root; /* "" or the directory that stands for / */
        const char *registration_dir;
        const char *registration_endpoint;
        const char *health_address; /* "" = all; NULL: all in a pod, else loopback */
        const char *fs_min_kernel, *fs_page_sizes, *fs_nodes; /* fs/hosts/cluster.h */
        uint64_t pool_overcommit_percent;
        uint64_t volume_limit;     /* UINT64_MAX: not given */
        uint64_t reserved_volumes; /* UINT64_MAX: not given */
        uint64_t health_port;      /* 0 = off */
        uint64_t workers;          /* 0: default */
        uint64_t max_formatters;
        uint64_t fsck_timeout_msecs, mkfs_timeout_msecs; /* 0: default */
        uint64_t drain_timeout_msecs;
        bool registration, metrics, kubelet_check, all_privileges, pool_init;
        LogLevel log_level;
        LogFormat log_format;
} ServeArgs;

enum {
        ARGS_E_HELP = 1,
        ARGS_E_VERSION = 2,
};

/**
 * args_parse_serve() - parse a command line; argv[0], "serve" or the program's name, is not read
 * @getenv: getenv(3), or a test's
 *
 * Flags are "--name value" or "--name=value"; booleans are "--name", "--no-name" or "--name=true".
 *
 * Return: 0; ARGS_E_HELP or ARGS_E_VERSION; -EINVAL with @err, the reason for exit code 64.
 */
int args_parse_serve(int argc, char *const *argv, const char *(*get_environment)(const char *name),
                     ServeArgs *args, Error *err);

/* The flags with a line each. */
void args_print_help(FILE *file);

/**
 * args_socket_path() - the path in an endpoint
 * @pathp: borrowed from @endpoint, or @buffer of @n_buffer bytes where a "/" had to be put before
 * it
 *
 * Forms: "unix:///run/x", "unix:/run/x", "/run/x", and "unix://run/x", which some drivers'
 * manifests have and which means /run/x.
 *
 * Return: 0; -EINVAL with @err.
 */
int args_socket_path(const char *endpoint, char *buffer, size_t n_buffer, const char **pathp,
                     Error *err);

#endif
