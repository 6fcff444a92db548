/* SPDX-License-Identifier: Apache-2.0 */

/* berth-csi: finds the command and runs it. */

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "csi/fs/command.h"
#include "csi/host.h"

#include <stdio.h>

#define EXIT_USAGE 64

typedef struct Command {
        const char *name, *help;
        int (*run)(int argc, char **argv); /* argv[0] is the command's name */
} Command;

static const Command commands[] = {
        {"host", "print what this machine is", host_command},
        {"fs", "say whether a host can mount a filesystem, and plan one that it can", fs_command},
};

static void print_help(FILE *file) {
        fputs("Usage: berth-csi COMMAND [FLAG...]\n\nCommands:\n", file);
        for (size_t i = 0; i < N_ELEMENTS(commands); i++)
                fprintf(file, "  %-8s %s\n", commands[i].name, commands[i].help);
        fputs("\n  --version, --help\n\nEach command has --help of its own.\n", file);
}

int main(int argc, char **argv) {
        if (argc < 2) {
                print_help(stderr);
                return EXIT_USAGE;
        }
        for (size_t i = 0; i < N_ELEMENTS(commands); i++)
                if (str_equal(argv[1], commands[i].name))
                        return commands[i].run(argc - 1, argv + 1);
        if (str_equal(argv[1], "--version")) {
                printf("berth-csi %s\n", BERTH_VERSION);
                return 0;
        }
        if (str_equal(argv[1], "--help") || str_equal(argv[1], "-h")) {
                print_help(stdout);
                return 0;
        }
        fprintf(stderr, "berth-csi: no command \"%s\"\nTry: berth-csi --help\n", argv[1]);
        return EXIT_USAGE;
}
