/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/node/node.h"

#include "cni/counters.h"
#include "common/base/cleanup.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* In place of this process: what berth-cni says and how it ends is the answer. */
static int uninstall(const NodeArgs *args) {
        NodeArgv argv;

        (void)unlink(COUNTERS_PATH);
        (void)rmdir(COUNTERS_DIRECTORY);
        node_uninstall_argv(args, &argv);
        (void)execv(argv.items[0], (char *const *)(uintptr_t)argv.items);
        fprintf(stderr, "berth-node: run %s: %s\n", argv.items[0], strerror(errno));
        return 1;
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

int main(int argc, char **argv) {
        NodeCommand command;
        Error err = {0};
        NodeArgs args;

        if (node_args_parse(argc, argv, &command, &args, &err) < 0) {
                fprintf(stderr, "berth-node: %s\nTry: berth-node --help\n", err.message);
                return 2;
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
        case NODE_RUN:
                break;
        }
        log_setup(args.log_level, args.log_format);
        return node_run(&args);
}
