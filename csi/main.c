/* SPDX-License-Identifier: Apache-2.0 */

/* berth-csi: which command is meant. */

#include "common/base/arguments.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/cli/explain.h"
#include "csi/cli/host.h"
#include "csi/cli/pool_command.h"
#include "csi/cli/serve.h"
#include "fs/command/command.h"

static const struct {
        const char *name, *help;
        int (*run)(int argc, char **argv); /* argv[0] is the command's name */
} commands[] = {
        {"serve", "serve the CSI socket of this node", serve_command},
        {"host", "print what this machine is", host_command},
        {"pool", "make a pool for the provider local", pool_command},
        {"explain", "say what a message of Berth means and what to do", explain_command},
        {"fs", "say whether a host can mount a filesystem, and plan one that it can", fs_command},
};

static int print_help(void) {
        (void)printf("Usage: berth-csi COMMAND [FLAG...]\n\nCommands:\n");
        for (size_t i = 0; i < N_ELEMENTS(commands); i++)
                (void)printf("  %-8s %s\n", commands[i].name, commands[i].help);
        (void)printf("  %-8s %s\n  %-8s %s\n\n", "help", "this text, or that of a command",
                     "version", "print the version");
        (void)printf("  --help, --version\n\nEach command has --help of its own. Flags without a "
                     "command are serve's.\n");
        return fflush(stdout) == 0 ? 0 : 1;
}

static int wrong_command(const char *name) {
        Nearest nearest = {.given = name, .n_given = strlen(name)};
        char hint[NEAREST_NAME_MAX + 32];

        nearest_offer(&nearest, "help");
        nearest_offer(&nearest, "version");
        for (size_t i = 0; i < N_ELEMENTS(commands); i++)
                nearest_offer(&nearest, commands[i].name);
        (void)fprintf(stderr, "berth-csi: unknown command \"%.64s\"%s\nTry: berth-csi --help\n",
                      name, nearest_text(&nearest, "", hint, sizeof(hint)));
        return EXIT_USAGE;
}

static int run_command(int argc, char **argv) {
        for (size_t i = 0; i < N_ELEMENTS(commands); i++)
                if (str_equal(argv[0], commands[i].name))
                        return commands[i].run(argc, argv);
        return wrong_command(argv[0]);
}

/* "help fs" is "fs --help". */
static int help_command(int argc, char **argv) {
        static char flag[] = "--help";

        if (argc < 2)
                return print_help();
        return run_command(2, (char *[]){argv[1], flag, NULL});
}

int main(int argc, char **argv) {
        const char *first = argc < 2 ? "" : argv[1];

        if (argc < 2) {
                (void)fputs("berth-csi: what to do is missing; to serve, say berth-csi serve\n"
                            "Try: berth-csi --help\n",
                            stderr);
                return EXIT_USAGE;
        }
        if (str_equal(first, "--help") || str_equal(first, "-h"))
                return print_help();
        if (str_equal(first, "help"))
                return help_command(argc - 1, argv + 1);
        if (str_equal(first, "version") || str_equal(first, "--version")) {
                (void)puts("berth-csi " BERTH_VERSION);
                return 0;
        }
        /* As the manifests of other drivers have them. */
        if (first[0] == '-')
                return serve_command(argc, argv);
        return run_command(argc - 1, argv + 1);
}
