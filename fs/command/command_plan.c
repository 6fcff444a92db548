/* SPDX-License-Identifier: Apache-2.0 */
/* `berth-csi fs plan`: the mkfs command whose filesystem every given host can mount. */

#include "fs/command/command_internal.h"
#include "fs/formats/format.h"
#include "fs/make/mkfs.h"

#include "common/base/arguments.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

/* clang-format off */
static const char help_text[] =
"Usage: berth-csi fs plan --type TYPE [options] [-- MKFS-OPTIONS]\n"
"\n"
"Prints the mkfs command whose filesystem every given host can mount read-write,\n"
"with the newest features that they allow, and what was left out for whom. It\n"
"runs no mkfs. Without hosts: this node.\n"
"\n"
"  --type TYPE          ext4, ext3, ext2, xfs, btrfs or f2fs\n"
"  --min-kernel RELEASE the oldest kernel that must mount it; may be repeated\n"
"  --page-sizes LIST    of those hosts: 4K,16K,64K (default: as the release's\n"
"                       name says, else 4K)\n"
"  --byte-order ORDER   of those hosts: little (default) or big (s390x)\n"
"  --host FILE          hosts of this file (`berth-csi host --json`); - is stdin\n"
"  --size SIZE          of the volume: 10Gi, 500M (default 10Gi)\n"
"  --grow-to SIZE       what it is meant to grow to: laid out for that\n"
"  --device PATH        last word of the command (default DEVICE)\n"
"  --tools VERSION      of mkfs, in place of the installed one's\n"
"  --json               for programs\n"
"\n"
"Exit code: 0 planned, 2 no feature set suits every host, 3 planned, but a host\n"
"was judged by a guess (confidence low), 64 wrong usage.\n"
"\n"
"Examples:\n"
"  berth-csi fs plan --type xfs --min-kernel 4.18 --page-sizes 4K,64K\n"
"  berth-csi fs plan --type ext4 --host nodes.json --size 1Ti\n"
"  berth-csi fs plan --type xfs --min-kernel 5.4 -- -m reflink=0\n";
/* clang-format on */

#define DEFAULT_SIZE (UINT64_C(10) << 30)

typedef struct PlanArgs {
        const char *type, *device, *tools;
        uint64_t size_bytes, grow_to_bytes;
        FsHostOptions hosts;
        const char *const *words;
        size_t n_words;
        bool json;
} PlanArgs;

enum {
        OPTION_TYPE = 256,
        OPTION_KERNEL,
        OPTION_PAGE_SIZES,
        OPTION_BYTE_ORDER,
        OPTION_HOST,
        OPTION_SIZE,
        OPTION_GROW_TO,
        OPTION_DEVICE,
        OPTION_TOOLS,
        OPTION_JSON,
        OPTION_HELP,
};

static const struct option options[] = {
        {"type", required_argument, NULL, OPTION_TYPE},
        {"min-kernel", required_argument, NULL, OPTION_KERNEL},
        {"page-sizes", required_argument, NULL, OPTION_PAGE_SIZES},
        {"byte-order", required_argument, NULL, OPTION_BYTE_ORDER},
        {"host", required_argument, NULL, OPTION_HOST},
        {"size", required_argument, NULL, OPTION_SIZE},
        {"grow-to", required_argument, NULL, OPTION_GROW_TO},
        {"device", required_argument, NULL, OPTION_DEVICE},
        {"tools", required_argument, NULL, OPTION_TOOLS},
        {"json", no_argument, NULL, OPTION_JSON},
        {"help", no_argument, NULL, OPTION_HELP},
        {NULL, 0, NULL, 0},
};

static const char *take_host_option(int option, const char *value, FsHostOptions *hosts) {
        switch (option) {
        case OPTION_KERNEL:
                if (hosts->n_kernels == N_ELEMENTS(hosts->kernels))
                        return "32 kernels at most";
                hosts->kernels[hosts->n_kernels++] = value;
                return NULL;
        case OPTION_PAGE_SIZES:
                hosts->page_sizes = value;
                return NULL;
        case OPTION_BYTE_ORDER:
                hosts->byte_order = value;
                return str_equal(value, "little") || str_equal(value, "big") ? NULL
                                                                             : "little or big";
        case OPTION_HOST:
                hosts->host_file = value;
                return NULL;
        default:
                return "another flag";
        }
}

static const char *take_option(int option, const char *value, PlanArgs *args) {
        switch (option) {
        case OPTION_TYPE:
                args->type = value;
                return NULL;
        case OPTION_SIZE:
                return str_parse_size(value, &args->size_bytes) == 0 ? NULL
                                                                     : "a size such as 100Gi";
        case OPTION_GROW_TO:
                return str_parse_size(value, &args->grow_to_bytes) == 0 && args->grow_to_bytes > 0
                               ? NULL
                               : "a size such as 100Gi";
        case OPTION_DEVICE:
                args->device = value;
                return NULL;
        case OPTION_TOOLS:
                args->tools = value;
                return NULL;
        case OPTION_JSON:
                args->json = true;
                return NULL;
        default:
                return take_host_option(option, value, &args->hosts);
        }
}

static int parse(int argc, char **argv, PlanArgs *args) {
        const char *expected;
        Error err = {0};
        int option;

        *args = (PlanArgs){.device = "DEVICE", .size_bytes = DEFAULT_SIZE};
        args->hosts.tools = true;
        optind = 0;
        while ((option = arguments_next(argc, argv, "+:h", options, &err)) != ARGUMENTS_END) {
                if (option == OPTION_HELP || option == 'h') {
                        fputs(help_text, stdout);
                        return FS_EXIT_YES;
                }
                if (option < 0)
                        return fs_command_refuse("plan", "%s", err.message);
                expected = take_option(option, optarg, args);
                if (expected)
                        return fs_command_refuse("plan", "--%s: \"%.100s\", expected %s",
                                                 arguments_name(options, option), optarg, expected);
        }
        if (!args->type)
                return fs_command_refuse("plan", "--type is missing");
        /* Of a class it may be: not every volume of it is small. */
        if (args->grow_to_bytes != 0 && args->grow_to_bytes < args->size_bytes)
                return fs_command_refuse("plan",
                                         "--grow-to is %" PRIu64
                                         " bytes, expected at least --size, which is %" PRIu64,
                                         args->grow_to_bytes, args->size_bytes);
        if (optind < argc && !str_equal(argv[optind - 1], "--"))
                return fs_command_refuse("plan", "\"%s\": options of mkfs come after --",
                                         argv[optind]);
        args->words = (const char *const *)(argv + optind);
        args->n_words = (size_t)(argc - optind);
        return -1;
}

/* The tool's own version, or for this node what was read with the host. */
static int fill_tools(const PlanArgs *args, const FsHost *hosts, FsMakeRequest *request,
                      Error *err) {
        uint32_t version;

        if (args->tools) {
                if (fs_version_parse(args->tools, &version) < 0)
                        return error_set(err, ERROR_INVALID,
                                         "\"%.40s\" is not a version (expected for example 6.1)",
                                         args->tools);
                for (FsTools i = 0; i < _FS_TOOLS_N; i++)
                        request->tools[i] = version;
                return 0;
        }
        if (hosts[0].is_this_node) {
                memcpy(request->tools, hosts[0].tools, sizeof(request->tools));
                return 0;
        }
        fs_tools_read(request->tools);
        return 0;
}

static void print_guess(const FsMakePlan *plan) {
        char text[512];

        (void)snprintf(
                text, sizeof(text), "%s: %s: check on the node itself", plan->least_sure->name,
                plan->least_sure_text[0] ? plan->least_sure_text
                                         : "this kernel has more or less than its number tells");
        fs_command_wrap("  a guess:  ", 12, text);
}

static void print_people(const FsMakeRequest *request, const FsMakePlan *plan) {
        cleanup(freep) char *command = fs_make_plan_text(plan);
        char text[256];

        printf("%s\n", command ? command : "");
        for (size_t i = 0; i < plan->n_left_out; i++) {
                fs_left_out_format(&plan->left_out[i], text, sizeof(text));
                fs_command_wrap("  left out: ", 12, text);
        }
        printf("  for:      ");
        for (size_t i = 0; i < request->n_hosts && i < 8; i++)
                printf("%s%s (%uK pages)", i ? ", " : "", request->hosts[i].name,
                       request->hosts[i].page_bytes / 1024);
        printf("%s\n", request->n_hosts > 8 ? ", ..." : "");
        if (plan->confidence == FS_CONFIDENCE_LOW)
                print_guess(plan);
}

static void print_json(const FsMakePlan *plan) {
        cleanup(freep) char *command = fs_make_plan_text(plan);
        json_t *argv = json_array(), *left_out = json_array(), *words = json_object(), *object;
        char text[256];

        for (size_t i = 0; i < plan->n_argv; i++)
                json_array_append_new(argv, json_string(plan->argv[i]));
        for (size_t i = 0; i < plan->n_left_out; i++) {
                fs_left_out_format(&plan->left_out[i], text, sizeof(text));
                json_array_append_new(left_out,
                                      json_pack("{s:s, s:s}", "feature",
                                                plan->left_out[i].feature->name, "text", text));
        }
        for (FsClass class = 0; class < _FS_CLASS_N; class ++) {
                if (plan->words[class])
                        json_object_set_new(
                                words, fs_class_name(plan->kind, class),
                                json_sprintf("0x%llx", (unsigned long long)plan->words[class]));
        }
        object = json_pack("{s:s, s:s, s:o, s:o, s:o, s:s, s:s*}", "type", plan->fs_type, "command",
                           command ? command : "", "argv", argv, "words", words, "left_out",
                           left_out, "confidence", fs_confidence_name(plan->confidence),
                           "environment", plan->environment);
        json_dumpf(object, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(object);
}

int fs_command_plan(int argc, char **argv) {
        cleanup(freep) FsHost *hosts = NULL;
        cleanup(freep) FsMakePlan *plan = calloc(1, sizeof(*plan));
        FsMakeRequest request = {0};
        PlanArgs args;
        Error err = {0};
        int r = parse(argc, argv, &args);

        if (r >= 0)
                return r;
        if (!plan)
                return fs_command_fail(FS_EXIT_INTERNAL, "fs plan: no memory");
        r = fs_command_hosts(&args.hosts, &hosts, &request.n_hosts, &err);
        if (r == 0)
                r = fill_tools(&args, hosts, &request, &err);
        request.hosts = hosts;
        request.fs_type = args.type;
        request.device = args.device;
        request.size_bytes = args.size_bytes;
        request.grow_to_bytes = args.grow_to_bytes;
        request.options = args.words;
        request.n_options = args.n_words;
        if (r == 0)
                r = fs_make_plan(&request, plan, &err);
        if (r < 0)
                return fs_command_fail(err.code == ERROR_PRECONDITION ? FS_EXIT_NO : FS_EXIT_USAGE,
                                       "fs plan: %s", err.message);
        if (args.json)
                print_json(plan);
        else
                print_people(&request, plan);
        return plan->confidence == FS_CONFIDENCE_LOW ? FS_EXIT_UNSURE : FS_EXIT_YES;
}
