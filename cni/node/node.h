/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_NODE_NODE_H
#define BERTH_CNI_NODE_NODE_H

/*
 * berth-node: the one process of the network on a node. It says when something is to be done, and
 * counts; berth-cni does it, as a child: install, repair, gc. One thread, one poll(2).
 */

#include "cni/cli/install.h"
#include "common/base/log.h"

#include <stdbool.h>
#include <stdint.h>

/* --- flags (cni/node/args.c) ----------------------------------------------------------------- */

#define NODE_HEALTH_PORT 9810

typedef struct NodeArgs {
        const char *plugin; /* the program berth-cni */
        const char *plugins, *configurations, *cache;
        const char *conf_name, *names;
        const char *subnet, *subnet_file, *cluster, *mtu, *mode; /* NULL: not given */
        bool beside, replace, switch_mode;
        bool stays;          /* NODE_UNINSTALL: until SIGTERM */
        const char *sysctls; /* NULL: /proc/sys can be written here */
        const char *api_server, *node_name, *token_file, *ca_file;
        uint64_t repair_secs, gc_secs, ask_secs; /* 0: never */
        const char *health_address;
        uint64_t health_port;
        LogLevel log_level;
        LogFormat log_format;

        char plugin_path[4096], api_url[320];
        CniDirectories found;
} NodeArgs;

typedef enum NodeCommand {
        NODE_RUN,
        NODE_SUBNETS, /* asks the API server, and prints */
        NODE_UNINSTALL,
        NODE_COLLECT, /* berth-cni gc, if what it would see is credible */
        NODE_HELP,
        NODE_VERSION,
} NodeCommand;

/* Of the command line and the environment. Return: 0; INVALID. */
int node_args_parse(int argc, char **argv, NodeCommand *commandp, NodeArgs *args, Error *err);

extern const char node_usage[];

/* Are the subnets the API server's to tell? */
static inline bool node_args_ask(const NodeArgs *args) {
        return !args->subnet && !args->subnet_file;
}

/* --- the API server (cni/node/subnets.c) ----------------------------------------------------- */

/* Is it a name that a node of Kubernetes can have? Pure. */
bool node_name_is_valid(const char *name);

/**
 * node_subnets_fetch() - the subnets of this node's pods, of its Node object
 * @textp: "POD_CIDR=10.244.3.0/24,fd00:3::/64\n"; caller frees
 *
 * Token and CA are read each time: both are replaced while a pod runs. Called in a process of its
 * own, because libcurl and what it is linked with stay in memory.
 *
 * Return: 0; negative.
 */
int node_subnets_fetch(const NodeArgs *args, char **textp, Error *err);

/* --- what is done (cni/node/jobs.c) ---------------------------------------------------------- */

typedef enum NodeJob {
        NODE_JOB_SUBNETS,
        NODE_JOB_INSTALL,
        NODE_JOB_REPAIR,
        NODE_JOB_GC,
        _NODE_JOB_N,
} NodeJob;

const char *node_job_name(NodeJob job);

/* A child is killed that takes longer. */
uint64_t node_job_timeout_msecs(NodeJob job);

/* The command line of a job. */
#define NODE_ARGV_MAX 40
typedef struct NodeArgv {
        const char *items[NODE_ARGV_MAX]; /* NULL-terminated; borrowed from the arguments */
        char path[8192];                  /* the list, for gc */
} NodeArgv;

void node_job_argv(NodeJob job, const NodeArgs *args, NodeArgv *argv);
void node_uninstall_argv(const NodeArgs *args, NodeArgv *argv);
void node_collect_argv(const NodeArgs *args, NodeArgv *argv);

/* How long until it is tried again after @n failures in a row: 1, 2, 4 … 30 seconds, less up to a
 * half of that by @random, so that a thousand nodes do not ask at once. Pure. */
uint64_t node_retry_msecs(unsigned int n, uint32_t random);

/* --- collecting (cni/node/collect.c) --------------------------------------------------------- */

/* Becomes berth-cni gc, or returns why not: negative. */
int node_collect(const NodeArgs *args, Error *err);

/* --- running (cni/node/daemon.c) ------------------------------------------------------------- */

/* Until SIGTERM. Return: exit status. */
int node_run(const NodeArgs *args);

#endif
