/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/node/node.h"

#include "cni/commands/counters.h"
#include "common/base/arguments.h"
#include "common/base/cleanup.h"
#include "common/base/exec.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What a pod of a DaemonSet does that has done all there is to do. */
static void stay(void) {
        sigset_t set;
        int signal_;

        printf("berth-node: done; stays until SIGTERM\n");
        (void)fflush(stdout);
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        (void)sigwait(&set, &signal_);
}

static void output_deinit(ExecResult *result) {
        exec_result_deinit(result);
}

static int uninstall(const NodeArgs *args) {
        cleanup(output_deinit) ExecResult result = {0};
        sigset_t set;
        NodeArgv argv;
        int r;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
        (void)unlink(COUNTERS_PATH);
        (void)rmdir(COUNTERS_DIRECTORY);
        node_uninstall_argv(args, &argv);
        r = exec_run(&(ExecRequest){.argv = argv.items}, &result);
        if (r < 0) {
                fprintf(stderr, "berth-node: run %s: %s\n", argv.items[0], strerrordesc_np(-r));
                return 1;
        }
        fputs(result.output, stdout);
        fputs(result.errors, stderr);
        if (result.exit_status == 0 && args->stays)
                stay();
        return result.exit_status == 0 ? 0 : 1;
}

static int subnets(const NodeArgs *args) {
        cleanup(freep) char *text = NULL;
        Error err = {0};

        if (node_subnets_fetch(args, &text, &err) < 0) {
                fprintf(stderr, "berth-node: %s\n", err.message);
                return 1;
        }
        fputs(text, stdout);
        return 0;
}

static int collect(const NodeArgs *args) {
        Error err = {0};

        (void)node_collect(args, &err);
        fprintf(stderr, "berth-node: %s\n", err.message);
        return 1;
}

int main(int argc, char **argv) {
        NodeCommand command;
        Error err = {0};
        NodeArgs args;

        if (node_args_parse(argc, argv, &command, &args, &err) < 0) {
                fprintf(stderr, "berth-node: %s\nTry: berth-node --help\n", err.message);
                return EXIT_USAGE;
        }
        switch (command) {
        case NODE_HELP:
                fputs(node_usage, stdout);
                return 0;
        case NODE_VERSION:
                puts("berth-node " BERTH_VERSION);
                return 0;
        case NODE_SUBNETS:
                return subnets(&args);
        case NODE_UNINSTALL:
                return uninstall(&args);
        case NODE_COLLECT:
                return collect(&args);
        case NODE_RUN:
                break;
        }
        log_setup(args.log_level, args.log_format);
        return node_run(&args);
}
