/* SPDX-License-Identifier: Apache-2.0 */
/* `berth-csi fs`: the subcommands and what they share. */

#include "fs/command/command.h"

#include "fs/command/command_internal.h"
#include "fs/hosts/cluster.h"

#include "common/base/arguments.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* What every terminal has; longer lines are hard to read. */
#define COLUMNS 80

static const char help_text[] =
        "Usage: berth-csi fs check DEVICE-or-IMAGE [options]\n"
        "       berth-csi fs plan --type TYPE [options]\n"
        "\n"
        "check  says what a volume holds and which hosts can mount it\n"
        "plan   prints the mkfs command whose filesystem every given host can mount\n"
        "\n"
        "Both need no root for an image, write nothing, and run no other program, except\n"
        "that plan asks the installed tools for their versions. More is said by\n"
        "`berth-csi fs check --help` and `berth-csi fs plan --help`.\n";

int fs_command(int argc, char **argv) {
        const char *name = argc < 2 ? "" : argv[1];
        Nearest nearest = {.given = name, .n_given = strlen(name)};
        char hint[NEAREST_NAME_MAX + 32];

        if (str_equal(name, "--help") || str_equal(name, "-h") || str_equal(name, "help")) {
                fputs(help_text, stdout);
                return FS_EXIT_YES;
        }
        if (str_equal(name, "check"))
                return fs_command_check(argc - 1, argv + 1);
        if (str_equal(name, "plan"))
                return fs_command_plan(argc - 1, argv + 1);
        nearest_offer(&nearest, "check");
        nearest_offer(&nearest, "plan");
        if (argc < 2)
                return fs_command_refuse(NULL, "what to do is missing; expected check or plan");
        return fs_command_refuse(NULL, "unknown command \"%.64s\"%s", name,
                                 nearest_text(&nearest, "", hint, sizeof(hint)));
}

int fs_command_refuse(const char *command, const char *format, ...) {
        const char *space = command ? " " : "";
        va_list args;

        command = command ? command : "";
        fprintf(stderr, "berth-csi fs%s%s: ", space, command);
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fprintf(stderr, "\nTry: berth-csi fs%s%s --help\n", space, command);
        return FS_EXIT_USAGE;
}

int fs_command_fail(int code, const char *format, ...) {
        va_list args;

        fputs("berth-csi: ", stderr);
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fputc('\n', stderr);
        return code;
}

int fs_command_exit(FsAnswer answer, bool is_unsure) {
        if (answer == FS_ANSWER_NO)
                return FS_EXIT_NO;
        if (is_unsure)
                return FS_EXIT_UNSURE;
        return answer == FS_ANSWER_RW ? FS_EXIT_YES : FS_EXIT_READ_ONLY;
}

const char *fs_command_color(FsColor color) {
        static const char *const codes[] = {"\033[0m", "\033[32m", "\033[33m", "\033[31m",
                                            "\033[1m"};
        const char *no = getenv("NO_COLOR");

        if (!isatty(STDOUT_FILENO) || (no && *no))
                return "";
        return codes[color];
}

FsColor fs_command_answer_color(FsAnswer answer) {
        if (answer == FS_ANSWER_RW)
                return FS_COLOR_GREEN;
        return answer == FS_ANSWER_NO ? FS_COLOR_RED : FS_COLOR_YELLOW;
}

void fs_command_wrap(const char *first, unsigned int indent, const char *text) {
        unsigned int at = (unsigned int)strlen(first);
        bool line_start = true;

        fputs(first, stdout);
        while (*text) {
                size_t n = strcspn(text, " ");

                if (!line_start && at + 1 + n > COLUMNS) {
                        printf("\n%*s", (int)indent, "");
                        at = indent;
                        line_start = true;
                }
                if (!line_start) {
                        putchar(' ');
                        at++;
                }
                printf("%.*s", (int)n, text);
                at += (unsigned int)n;
                line_start = false;
                text += n;
                text += *text == ' ';
        }
        putchar('\n');
}

static int host_here(const FsHostOptions *options, FsHost **hostsp, size_t *np, Error *err) {
        FsHostRead how = {
                .root_fd = -1,
                .probe = options->probe,
                .tools = options->tools,
                .cache_dir = FS_HOST_CACHE_DIRECTORY,
        };
        cleanup(freep) FsHost *host = calloc(1, sizeof(*host));
        int r;

        if (!host)
                return error_set(err, ERROR_EXHAUSTED, "no memory");
        r = fs_host_read(host, &how, err);
        if (r < 0)
                return r;
        *hostsp = ptr_steal(&host);
        *np = 1;
        return 0;
}

int fs_command_hosts(const FsHostOptions *options, FsHost **hostsp, size_t *n_hostsp, Error *err) {
        FsByteOrder order =
                str_equal(options->byte_order, "big") ? FS_BYTE_ORDER_BIG : FS_BYTE_ORDER_LITTLE;
        cleanup(freep) FsHost *kernels = NULL, *file = NULL;
        size_t n_kernels = 0, n_file = 0;
        int r = 0;

        if (options->n_kernels == 0 && !options->host_file)
                return host_here(options, hostsp, n_hostsp, err);
        if (options->n_kernels)
                r = fs_hosts_from_kernels(options->kernels, options->n_kernels, options->page_sizes,
                                          order, &kernels, &n_kernels, err);
        if (r == 0 && options->host_file)
                r = fs_hosts_from_file(options->host_file, &file, &n_file, err);
        if (r == 0)
                r = fs_hosts_join(kernels, n_kernels, file, n_file, hostsp, err);
        if (r == 0)
                *n_hostsp = n_kernels + n_file;
        return r;
}
