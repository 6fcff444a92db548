/* SPDX-License-Identifier: Apache-2.0 */
/* `berth-csi fs`: the subcommands and what they share. */

#include "csi/fs/command.h"

#include "csi/fs/command_internal.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define HOST_FILE_MAX (16UL << 20)
#define RUNTIME_CACHE "/run/berth"

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
        if (argc < 2) {
                fputs(help_text, stderr);
                return FS_EXIT_USAGE;
        }
        if (str_equal(argv[1], "--help") || str_equal(argv[1], "-h") ||
            str_equal(argv[1], "help")) {
                fputs(help_text, stdout);
                return FS_EXIT_YES;
        }
        if (str_equal(argv[1], "check"))
                return fs_command_check(argc - 1, argv + 1);
        if (str_equal(argv[1], "plan"))
                return fs_command_plan(argc - 1, argv + 1);
        return fs_command_fail(FS_EXIT_USAGE, "fs: \"%s\" is neither check nor plan", argv[1]);
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

int fs_command_exit(FsAnswer answer) {
        if (answer == FS_ANSWER_RW)
                return FS_EXIT_YES;
        return answer == FS_ANSWER_NO ? FS_EXIT_NO : FS_EXIT_READ_ONLY;
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

/* The terminal's width, at most 100: longer lines are hard to read. 80 where there is none. */
static unsigned int columns(void) {
        struct winsize size;

        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 40)
                return 80;
        return size.ws_col > 100 ? 100 : size.ws_col;
}

void fs_command_wrap(const char *first, unsigned int indent, const char *text) {
        unsigned int width = columns(), at = (unsigned int)strlen(first);
        bool line_start = true;

        fputs(first, stdout);
        while (*text) {
                size_t n = strcspn(text, " ");

                if (!line_start && at + 1 + n > width) {
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

int fs_command_page_sizes(const char *text, uint32_t sizes[8]) {
        int n = 0;

        while (*text) {
                size_t length = strcspn(text, ",");
                char word[16];
                uint64_t bytes;

                if (length == 0 || length >= sizeof(word) || n == 8)
                        return -EINVAL;
                memcpy(word, text, length);
                word[length] = '\0';
                if (word[length - 1] == 'K' || word[length - 1] == 'k')
                        word[length - 1] = '\0';
                if (str_parse_u64(word, 65536, &bytes) < 0)
                        return -EINVAL;
                if (bytes < 4096)
                        bytes *= 1024;
                if (bytes < 4096 || bytes > 65536 || (bytes & (bytes - 1)))
                        return -EINVAL;
                sizes[n++] = (uint32_t)bytes;
                text += length;
                text += *text == ',';
        }
        return n ? n : -EINVAL;
}

static int hosts_from_file(const char *path, FsHost **hostsp, size_t *np, Error *err) {
        cleanup(freep) char *text = NULL;
        size_t n = 0;
        int r = str_equal(path, "-") ? file_read_fd(STDIN_FILENO, HOST_FILE_MAX, &text, &n)
                                     : file_read_at(AT_FDCWD, path, HOST_FILE_MAX, &text, &n);

        if (r < 0)
                return error_set_errno(err, r, "read %s", path);
        r = fs_hosts_from_json(text, n, hostsp, np, err);
        return r < 0 ? error_wrap(err, r, "%s", path) : 0;
}

static int hosts_from_kernels(const FsHostOptions *options, FsHost **hostsp, size_t *np,
                              Error *err) {
        FsByteOrder order =
                str_equal(options->byte_order, "big") ? FS_BYTE_ORDER_BIG : FS_BYTE_ORDER_LITTLE;
        uint32_t sizes[8];
        int n_sizes =
                fs_command_page_sizes(options->page_sizes ? options->page_sizes : "4K", sizes);
        cleanup(freep) FsHost *hosts = NULL;
        size_t n = 0;

        if (n_sizes < 0)
                return error_set(err, ERROR_INVALID, "\"%s\" is no list of page sizes like 4K,64K",
                                 options->page_sizes);
        hosts = calloc(options->n_kernels * (size_t)n_sizes, sizeof(*hosts));
        if (!hosts)
                return error_set(err, ERROR_EXHAUSTED, "no memory");
        for (size_t i = 0; i < options->n_kernels; i++) {
                for (int k = 0; k < n_sizes; k++) {
                        int r = fs_host_from_release(&hosts[n++], options->kernels[i], sizes[k],
                                                     order, err);

                        if (r < 0)
                                return r;
                }
        }
        *hostsp = ptr_steal(&hosts);
        *np = n;
        return 0;
}

static int host_here(const FsHostOptions *options, FsHost **hostsp, size_t *np, Error *err) {
        FsHostRead how = {
                .root_fd = -1,
                .probe = options->probe,
                .tools = options->tools,
                .cache_dir = RUNTIME_CACHE,
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
        cleanup(freep) FsHost *kernels = NULL, *file = NULL, *all = NULL;
        size_t n_kernels = 0, n_file = 0;
        int r = 0;

        if (options->n_kernels == 0 && !options->host_file)
                return host_here(options, hostsp, n_hostsp, err);
        if (options->n_kernels)
                r = hosts_from_kernels(options, &kernels, &n_kernels, err);
        if (r == 0 && options->host_file)
                r = hosts_from_file(options->host_file, &file, &n_file, err);
        if (r < 0)
                return r;
        all = calloc(n_kernels + n_file, sizeof(*all));
        if (!all)
                return error_set(err, ERROR_EXHAUSTED, "no memory");
        if (n_kernels)
                memcpy(all, kernels, n_kernels * sizeof(*all));
        if (n_file)
                memcpy(all + n_kernels, file, n_file * sizeof(*all));
        *hostsp = ptr_steal(&all);
        *n_hostsp = n_kernels + n_file;
        return 0;
}
