/* SPDX-License-Identifier: Apache-2.0 */

/* The command: flags, reading, printing. What is read and judged is common/platform's. */

#include "csi/cli/host.h"

#include "common/base/arguments.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "fs/hosts/hosts.h"

#include <fcntl.h>
#include <jansson.h>

static const char help[] =
        "Usage: berth-csi host [--json [--probe]] [--root DIRECTORY]\n"
        "\n"
        "Prints what this machine is: architecture, page size, kernel, distribution, cloud,\n"
        "Kubernetes distribution with its directories, and the filesystems that its kernel\n"
        "has. Reads local files only; asks no network, changes nothing. What could not be\n"
        "learned is marked as unknown, with the reason.\n"
        "\n"
        "  --json            node facts for programs: one JSON object, \"schema\": 1\n"
        "  --probe           with --json: ask the kernel what it knows of XFS, by mounting images\n"
        "                    of 4 KiB that must fail. Needs CAP_SYS_ADMIN and a loop device, and\n"
        "                    leaves lines in the kernel's log; XFS tells nothing otherwise\n"
        "  --root DIRECTORY  read the machine whose / is there: the host's root mounted into\n"
        "                    a container, or a recorded tree\n"
        "  --help            this text\n"
        "\n"
        "Run as root: the firmware's serial number and UUID are readable by root only, and\n"
        "some clouds are known by nothing else.\n"
        "\n"
        "Examples:\n"
        "  berth-csi host\n"
        "  berth-csi host --root /host             in a container with the host's / at /host\n"
        "  berth-csi host --json > node-1.json     for berth-csi fs check --host node-1.json\n"
        "\n"
        "Exit codes: 0 printed, 1 the root cannot be opened or the output not be written,\n"
        "64 wrong usage.\n";

typedef struct HostArgs {
        const char *root;
        bool as_json, probes;
} HostArgs;

/* Return: -1 go on; else the exit code. */
static int parse_args(int argc, char **argv, HostArgs *args) {
        static const struct option options[] = {
                {"json", no_argument, NULL, 'j'},
                {"probe", no_argument, NULL, 'p'},
                {"root", required_argument, NULL, 'r'},
                {"help", no_argument, NULL, 'h'},
                {NULL, 0, NULL, 0},
        };
        Error err = {0};
        int option;

        optind = 0;
        while ((option = arguments_next(argc, argv, ":h", options, &err)) != ARGUMENTS_END) {
                switch (option) {
                case 'j':
                        args->as_json = true;
                        break;
                case 'p':
                        args->probes = true;
                        break;
                case 'r':
                        args->root = optarg;
                        break;
                case 'h':
                        fputs(help, stdout);
                        return 0;
                default:
                        fprintf(stderr, "berth-csi host: %s\nTry: berth-csi host --help\n",
                                err.message);
                        return EXIT_USAGE;
                }
        }
        if (args->probes && !args->as_json) {
                fputs("berth-csi host: --probe goes with --json\n", stderr);
                return EXIT_USAGE;
        }
        if (optind < argc) {
                fprintf(stderr,
                        "berth-csi host: unexpected argument \"%.100s\"\nTry: berth-csi host "
                        "--help\n",
                        argv[optind]);
                return EXIT_USAGE;
        }
        return -1;
}

static bool is_live(const HostArgs *args) {
        return !args->root || str_equal(args->root, "/");
}

/* The answers of fs/, which know the tables of features: the reader of node facts goes by them.
 * Of another machine's tree, nothing of this one may slip in. */
static int add_filesystems(json_t *facts, int root_fd, const HostArgs *args,
                           const Platform *platform) {
        FsHostRead how = {
                .root_fd = root_fd,
                .release = platform->kernel.text,
                .tools = is_live(args),
                .probe = args->probes && is_live(args),
        };
        json_t *filesystems;
        Error err = {0};
        FsHost host;

        if (str_is_empty(platform->kernel.text))
                return 0;
        if (fs_host_read(&host, &how, &err) < 0) {
                fprintf(stderr, "berth-csi host: %s\n", err.message);
                return -EIO;
        }
        snprintf(host.architecture, sizeof(host.architecture), "%.23s", platform->machine);
        host.page_bytes = platform->page_bytes;
        host.byte_order = platform->byte_order == PLATFORM_BYTE_ORDER_BIG ? FS_BYTE_ORDER_BIG
                                                                          : FS_BYTE_ORDER_LITTLE;
        filesystems = fs_host_to_json(&host);
        if (platform->page_bytes == 0)
                json_object_del(filesystems, "page_size");
        if (platform->byte_order == PLATFORM_BYTE_ORDER_UNKNOWN)
                json_object_del(filesystems, "byte_order");
        return json_object_set_new(facts, "filesystems", filesystems);
}

static int print_json(int root_fd, const HostArgs *args, const Platform *platform) {
        json_t *facts = host_to_json(platform);
        int r = facts ? add_filesystems(facts, root_fd, args, platform) : -ENOMEM;

        if (r == 0)
                r = json_dumpf(facts, stdout, JSON_INDENT(2));
        json_decref(facts);
        putchar('\n');
        return r;
}

static int print_host(const HostArgs *args) {
        cleanup(closep) int fd =
                open(args->root ? args->root : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        Platform *platform = NULL;
        int r = fd < 0 ? -errno : platform_read(fd, is_live(args), &platform);

        if (r < 0) {
                errno = -r;
                fprintf(stderr, "berth-csi host: %s: %m\n", args->root ? args->root : "/");
                return 1;
        }
        if (args->as_json)
                r = print_json(fd, args, platform);
        else
                host_print(platform, stdout);
        platform_free(platform);
        if (r < 0 || fflush(stdout) != 0 || ferror(stdout)) {
                fprintf(stderr, "berth-csi host: cannot write the answer\n");
                return 1;
        }
        return 0;
}

int host_command(int argc, char **argv) {
        HostArgs args = {0};
        int r = parse_args(argc, argv, &args);

        return r >= 0 ? r : print_host(&args);
}
