/* SPDX-License-Identifier: Apache-2.0 */

/* Command lines. Pure. */

#include "cni/node/node.h"

#include <stdio.h>

/* What stands behind its stdin, for berth-cni install. */
#define GIVEN "/proc/self/fd/0"

#define RETRY_MSECS_MAX 30000U

const char *node_job_name(NodeJob job) {
        static const char *const names[_NODE_JOB_N] = {"subnets", "install", "repair", "gc"};

        return names[job];
}

uint64_t node_job_timeout_msecs(NodeJob job) {
        static const uint64_t msecs[_NODE_JOB_N] = {30000, 60000, 300000, 600000};

        return msecs[job];
}

uint64_t node_retry_msecs(unsigned int n, uint32_t random) {
        uint64_t msecs = n == 0 ? 0 : n > 5 ? RETRY_MSECS_MAX : UINT64_C(1000) << (n - 1);

        if (msecs > RETRY_MSECS_MAX)
                msecs = RETRY_MSECS_MAX;
        return msecs - random % (msecs / 2 + 1);
}

static void add(NodeArgv *argv, const char *text) {
        for (size_t i = 0; i + 1 < NODE_ARGV_MAX; i++)
                if (!argv->items[i]) {
                        argv->items[i] = text;
                        return;
                }
}

static void add_option(NodeArgv *argv, const char *name, const char *value) {
        if (!value)
                return;
        add(argv, name);
        add(argv, value);
}

static void add_places(NodeArgv *argv, const NodeArgs *args) {
        add_option(argv, "--bin-dir", args->plugins);
        add_option(argv, "--conf-dir", args->configurations);
}

static void install_argv(NodeArgv *argv, const NodeArgs *args) {
        add(argv, args->plugin);
        add(argv, "install");
        add_places(argv, args);
        add_option(argv, "--conf-name", args->conf_name);
}

void node_uninstall_argv(const NodeArgs *args, NodeArgv *argv) {
        *argv = (NodeArgv){0};
        install_argv(argv, args);
        add(argv, "--uninstall");
}

static void subnets_argv(NodeArgv *argv, const NodeArgs *args) {
        add(argv, "/proc/self/exe");
        add(argv, "subnets");
        add_option(argv, "--node-name", args->node_name);
        add_option(argv, "--api-server", args->api_server);
        add_option(argv, "--token-file", args->token_file);
        add_option(argv, "--ca-file", args->ca_file);
        add_places(argv, args);
}

void node_collect_argv(const NodeArgs *args, NodeArgv *argv) {
        *argv = (NodeArgv){0};
        add(argv, args->plugin);
        add(argv, "gc");
        add_places(argv, args);
        add_option(argv, "--cache-dir", args->cache);
        snprintf(argv->path, sizeof(argv->path), "%s/%s", args->configurations, args->conf_name);
        add(argv, argv->path);
}

void node_job_argv(NodeJob job, const NodeArgs *args, NodeArgv *argv) {
        *argv = (NodeArgv){0};
        switch (job) {
        case NODE_JOB_SUBNETS:
                subnets_argv(argv, args);
                return;
        case NODE_JOB_INSTALL:
                install_argv(argv, args);
                add(argv, "--managed");
                add_option(argv, "--names", args->names);
                add_option(argv, "--subnet", args->subnet);
                if (!args->subnet)
                        add_option(argv, "--subnet-file",
                                   args->subnet_file ? args->subnet_file : GIVEN);
                add_option(argv, "--cluster-cidr", args->cluster);
                add_option(argv, "--mtu", args->mtu);
                add_option(argv, "--mode", args->mode);
                if (args->replace)
                        add(argv, "--replace");
                if (args->beside)
                        add(argv, "--beside");
                if (args->switch_mode)
                        add(argv, "--switch-mode");
                return;
        case NODE_JOB_REPAIR:
                add(argv, args->plugin);
                add(argv, "repair");
                add_places(argv, args);
                add_option(argv, "--cache-dir", args->cache);
                return;
        case NODE_JOB_GC:
                add(argv, "/proc/self/exe");
                add(argv, "collect");
                add_places(argv, args);
                add_option(argv, "--cache-dir", args->cache);
                add_option(argv, "--conf-name", args->conf_name);
                add_option(argv, "--plugin", args->plugin);
                return;
        case _NODE_JOB_N:
                return;
        }
}
