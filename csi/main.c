/* SPDX-License-Identifier: Apache-2.0 */

/* berth-csi: which command is meant. */

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/cli/host.h"
#include "csi/cli/pool_command.h"
#include "csi/cli/serve.h"
#include "fs/command.h"

#define EXIT_USAGE 64

static const struct {
        const char *name, *help;
        int (*run)(int argc, char **argv); /* argv[0] is the command's name */
} commands[] = {
        {"serve", "serve the CSI socket of this node", serve_command},
        {"host", "print what this machine is", host_command},
        {"pool", "make a pool for the provider local", pool_command},
        {"fs", "say whether a host can mount a filesystem, and plan one that it can", fs_command},
};

static int print_help(void) {
        (void)printf("Usage: berth-csi COMMAND [FLAG...]\n\nCommands:\n");
        for (size_t i = 0; i < N_ELEMENTS(commands); i++)
                (void)printf("  %-8s %s\n", commands[i].name, commands[i].help);
        (void)printf("\n  --version, --help\n\n"
                     "Each command has --help of its own. Flags without a command are serve's.\n");
        return fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
        const char *first = argc < 2 ? "" : argv[1];

        if (str_equal(first, "--help") || str_equal(first, "-h"))
                return print_help();
        /* As the manifests of other drivers have them. */
        if (first[0] == '-')
                return serve_command(argc, argv);
        for (size_t i = 0; i < N_ELEMENTS(commands); i++)
                if (str_equal(first, commands[i].name))
                        return commands[i].run(argc - 1, argv + 1);
        if (argc < 2)
                (void)fputs("berth-csi: what to do is missing; to serve, say berth-csi serve\n",
                            stderr);
        else
                (void)fprintf(stderr, "berth-csi: no command \"%.64s\"\n", first);
        (void)fputs("Try: berth-csi --help\n", stderr);
        return EXIT_USAGE;
}
