/* SPDX-License-Identifier: Apache-2.0 */
/* `berth-csi fs check`: what a volume holds, and which hosts can mount it. */

#include "fs/command/command_internal.h"
#include "fs/formats/format.h"
#include "fs/look/inspect.h"

#include "common/base/arguments.h"
#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>

/* clang-format off */
static const char help_text[] =
"Usage: berth-csi fs check DEVICE-or-IMAGE [options]\n"
"\n"
"Reads the superblock and says whether the volume can be mounted, and if not, why\n"
"and what to do. Without options: on this node. Writes and mounts nothing.\n"
"\n"
"  --kernel RELEASE     on a host with this kernel; may be repeated\n"
"  --page-sizes LIST    of those hosts: 4K,16K,64K (default: as the release's\n"
"                       name says, else 4K)\n"
"  --sector BYTES       logical sector of the disk that the image will be on; a\n"
"                       device has its own\n"
"  --byte-order ORDER   of those hosts: little (default) or big (s390x)\n"
"  --host FILE          on the hosts of this file: what `berth-csi host --json`\n"
"                       printed there, one or an array of them; - is stdin\n"
"  --all                a table of kernels and page sizes, with what is missing\n"
"  --probe              also ask this kernel what it knows of XFS (needs root)\n"
"  --json               for programs\n"
"\n"
"Exit code: 0 read-write, 1 only read-only, 2 not at all (the worst of the hosts\n"
"asked for; with --all, this node's); 3 not \"not at all\", but the answer rests\n"
"on a guess (confidence low); 64 wrong usage, 66 cannot be read.\n"
"\n"
"Examples:\n"
"  berth-csi fs check /dev/sdb\n"
"  berth-csi fs check disk.img --kernel 5.4 --kernel 4.18.0-553.el8.x86_64\n"
"  berth-csi fs check disk.img --kernel 6.1 --page-sizes 4K,64K\n"
"  berth-csi fs check disk.img --host nodes.json --json\n"
"  berth-csi fs check /dev/sdb --all\n";

/* Kernels of the table: where a mask changed, and what distributions ship. */
static const char *const all_kernels[] = {
        "3.10", "3.10.0-1160.el7.x86_64", "4.4", "4.9", "4.14", "4.18.0-553.el8.x86_64", "4.19",
        "5.4", "5.10", "5.14.0-503.el9.x86_64", "5.15", "6.1", "6.6", "6.8", "6.12", "6.18", "7.3",
};
/* clang-format on */

static const uint32_t all_pages[] = {4096, 16384, 65536};

typedef struct CheckArgs {
        const char *path;
        FsHostOptions hosts;
        uint32_t sector_bytes; /* 0: the device's own */
        bool all, json;
} CheckArgs;

enum {
        OPTION_KERNEL = 256,
        OPTION_PAGE_SIZES,
        OPTION_BYTE_ORDER,
        OPTION_SECTOR,
        OPTION_HOST,
        OPTION_ALL,
        OPTION_PROBE,
        OPTION_JSON,
        OPTION_HELP,
};

static const struct option options[] = {
        {"kernel", required_argument, NULL, OPTION_KERNEL},
        {"page-sizes", required_argument, NULL, OPTION_PAGE_SIZES},
        {"byte-order", required_argument, NULL, OPTION_BYTE_ORDER},
        {"sector", required_argument, NULL, OPTION_SECTOR},
        {"host", required_argument, NULL, OPTION_HOST},
        {"all", no_argument, NULL, OPTION_ALL},
        {"probe", no_argument, NULL, OPTION_PROBE},
        {"json", no_argument, NULL, OPTION_JSON},
        {"help", no_argument, NULL, OPTION_HELP},
        {NULL, 0, NULL, 0},
};

static const char *take_option(int option, const char *value, CheckArgs *args) {
        uint64_t sector;

        switch (option) {
        case OPTION_KERNEL:
                if (args->hosts.n_kernels == N_ELEMENTS(args->hosts.kernels))
                        return "32 kernels at most";
                args->hosts.kernels[args->hosts.n_kernels++] = value;
                return NULL;
        case OPTION_PAGE_SIZES:
                args->hosts.page_sizes = value;
                return NULL;
        case OPTION_BYTE_ORDER:
                args->hosts.byte_order = value;
                return str_equal(value, "little") || str_equal(value, "big") ? NULL
                                                                             : "little or big";
        case OPTION_SECTOR:
                if (str_parse_u64(value, 65536, &sector) < 0 || sector < 512 ||
                    (sector & (sector - 1)) != 0)
                        return "a power of two from 512 to 65536";
                args->sector_bytes = (uint32_t)sector;
                return NULL;
        case OPTION_HOST:
                args->hosts.host_file = value;
                return NULL;
        case OPTION_ALL:
                args->all = true;
                return NULL;
        case OPTION_PROBE:
                args->hosts.probe = true;
                return NULL;
        case OPTION_JSON:
                args->json = true;
                return NULL;
        default:
                return "another flag";
        }
}

/* -1: go on; else an exit code. */
static int parse(int argc, char **argv, CheckArgs *args) {
        const char *expected;
        Error err = {0};
        int option;

        optind = 0;
        while ((option = arguments_next(argc, argv, ":h", options, &err)) != ARGUMENTS_END) {
                if (option == OPTION_HELP || option == 'h') {
                        fputs(help_text, stdout);
                        return FS_EXIT_YES;
                }
                if (option < 0)
                        return fs_command_refuse("check", "%s", err.message);
                expected = take_option(option, optarg, args);
                if (expected)
                        return fs_command_refuse("check", "--%s: \"%.100s\", expected %s",
                                                 arguments_name(options, option), optarg, expected);
        }
        if (optind != argc - 1)
                return fs_command_refuse("check", "one device or image is needed");
        args->path = argv[optind];
        return -1;
}

/* --- for people --- */

static void print_volume(const char *path, const FsVolume *volume) {
        cleanup(strbuf_deinit) StrBuf text = {0};
        char uuid[37];

        strbuf_printf(&text, "%s: %s, %llu MiB, blocks of %u", path, volume->type,
                      (unsigned long long)(volume->fs_bytes >> 20), volume->block_bytes);
        if (volume->sector_bytes && volume->sector_bytes != volume->block_bytes)
                strbuf_printf(&text, ", sectors of %u", volume->sector_bytes);
        if (volume->label[0])
                strbuf_printf(&text, ", label \"%s\"", volume->label);
        if (volume->has_uuid) {
                fs_uuid_format(volume->uuid, uuid);
                strbuf_printf(&text, ", UUID %s", uuid);
        }
        fs_command_wrap("", 2, strbuf_text(&text));
}

static void print_state(const FsVolume *volume) {
        static const char *const checksums[] = {"none", "good", "WRONG", "of unknown kind"};
        static const char *const logs[] = {"no log", "log clean", "log to be replayed",
                                           "log on another device", "log unreadable"};

        printf("  state     %s; superblock checksum %s%s%s%s\n", logs[volume->log],
               checksums[volume->checksum],
               volume->state & FS_STATE_ERRORS ? "; errors recorded" : "",
               volume->state & FS_STATE_ORPHANS ? "; unlinked files to remove" : "",
               volume->state & FS_STATE_NEEDS_REPAIR ? "; needs repair" : "");
}

static void print_features(const FsVolume *volume) {
        cleanup(strbuf_deinit) StrBuf text = {0};

        for (FsClass class = 0; class < _FS_CLASS_N; class ++) {
                /* What every XFS has says nothing. */
                if (class == FS_CLASS_VERSIONNUM || class == FS_CLASS_FEATURES2 ||
                    class == FS_CLASS_FLAGS)
                        continue;
                for (uint64_t left = volume->words[class]; left; left &= left - 1) {
                        uint64_t bit = left & (0 - left);
                        const FsFeature *f = fs_feature_find(volume->kind, class, bit);

                        if (f)
                                strbuf_printf(&text, "%s ", f->name);
                        else
                                strbuf_printf(&text, "%s:0x%llx ",
                                              fs_class_name(volume->kind, class),
                                              (unsigned long long)bit);
                }
        }
        if (text.n)
                fs_command_wrap("  features  ", 12, strbuf_text(&text));
}

static void print_verdict(const FsVolume *volume, const FsHost *host, const FsVerdict *verdict) {
        char text[256];

        printf("  %s (%s%s%uK pages): %s%s%s\n", host->name,
               host->is_this_node ? host->release : "", host->is_this_node ? ", " : "",
               host->page_bytes / 1024, fs_command_color(fs_command_answer_color(verdict->answer)),
               fs_answer_text(verdict->answer), fs_command_color(FS_COLOR_OFF));
        for (size_t i = 0; i < verdict->n_reasons; i++) {
                const FsReason *reason = &verdict->reasons[i];

                fs_reason_format(reason, volume, host, text, sizeof(text));
                fs_command_wrap(reason->limit == FS_ANSWER_RW ? "    note: " : "    - ", 6, text);
                fs_reason_way_out(reason, volume, host, text, sizeof(text));
                if (text[0] && reason->limit != FS_ANSWER_RW)
                        fs_command_wrap("      way out: ", 8, text);
        }
        if (verdict->confidence == FS_CONFIDENCE_MEDIUM)
                fs_command_wrap("    note: ", 6,
                                "confidence medium: what this kernel was built with, or its page "
                                "size, was not told");
        if (verdict->confidence == FS_CONFIDENCE_LOW)
                fs_command_wrap("    note: ", 6,
                                "this kernel has more or less than its number tells: check on the "
                                "node itself");
}

/* "no: nrext64" */
static void cell_text(const FsVerdict *verdict, char text[24]) {
        char reason[16];
        static const char *const words[] = {"yes", "ro", "ro,norec", "no"};

        if (verdict->answer == FS_ANSWER_RW)
                snprintf(text, 24, "yes%s",
                         verdict->after_crash != FS_ANSWER_RW ? " (not crashed)" : "");
        else
                snprintf(text, 24, "%s: %.15s", words[verdict->answer],
                         fs_reason_short(&verdict->reasons[0], reason));
}

static int print_matrix(const FsVolume *volume, const FsSituation *there, const FsHostOptions *how,
                        Error *err) {
        FsByteOrder order =
                str_equal(how->byte_order, "big") ? FS_BYTE_ORDER_BIG : FS_BYTE_ORDER_LITTLE;
        cleanup(freep) FsHost *host = malloc(sizeof(*host));
        FsVerdict verdict;

        if (!host)
                return error_set(err, ERROR_EXHAUSTED, "no memory");
        printf("  %s%-18s%-20s%-20s%-19s%s\n", fs_command_color(FS_COLOR_BOLD), "kernel",
               "4K pages", "16K pages", "64K pages", fs_command_color(FS_COLOR_OFF));
        for (size_t i = 0; i < N_ELEMENTS(all_kernels); i++) {
                char name[16];

                snprintf(name, sizeof(name), "%.*s",
                         (int)(strstr(all_kernels[i], ".x86_64") ? strlen(all_kernels[i]) - 7
                                                                 : strlen(all_kernels[i])),
                         all_kernels[i]);
                printf("  %-18s", name);
                for (size_t k = 0; k < N_ELEMENTS(all_pages); k++) {
                        char text[24];
                        int r = fs_host_from_release(host, all_kernels[i], all_pages[k], order,
                                                     err);

                        if (r < 0)
                                return r;
                        fs_verdict(volume, host, there, &verdict);
                        cell_text(&verdict, text);
                        printf("%s%-*.19s%s",
                               fs_command_color(fs_command_answer_color(verdict.answer)),
                               k == 2 ? 0 : 20, text, fs_command_color(FS_COLOR_OFF));
                }
                putchar('\n');
        }
        return 0;
}

/* --- for both --- */

typedef struct Checked {
        FsVolume volume;
        FsSituation situation;
        FsVerdict verdict;
        FsAnswer worst;
        bool is_unsure;
        json_t *results;
} Checked;

/* Another host attaches the disk in its own way; the disk's sector stays. */
static FsSituation elsewhere(const Checked *checked) {
        return (FsSituation){.logical_sector_bytes = checked->situation.logical_sector_bytes};
}

static void check_hosts(const CheckArgs *args, const FsHost *hosts, size_t n_hosts,
                        Checked *checked) {
        for (size_t i = 0; i < n_hosts; i++) {
                FsSituation there = elsewhere(checked);

                fs_verdict(&checked->volume, &hosts[i],
                           hosts[i].is_this_node ? &checked->situation : &there, &checked->verdict);
                checked->is_unsure |= checked->verdict.confidence == FS_CONFIDENCE_LOW;
                if (checked->verdict.answer > checked->worst)
                        checked->worst = checked->verdict.answer;
                if (args->json)
                        json_array_append_new(
                                checked->results,
                                fs_verdict_to_json(&checked->volume, &hosts[i], &checked->verdict));
                else
                        print_verdict(&checked->volume, &hosts[i], &checked->verdict);
        }
}

static int add_matrix_json(Checked *checked, Error *err) {
        FsSituation there;
        cleanup(freep) FsHost *host = malloc(sizeof(*host));

        if (!host)
                return error_set(err, ERROR_EXHAUSTED, "no memory");
        for (size_t i = 0; i < N_ELEMENTS(all_kernels) * N_ELEMENTS(all_pages); i++) {
                int r = fs_host_from_release(host, all_kernels[i / N_ELEMENTS(all_pages)],
                                             all_pages[i % N_ELEMENTS(all_pages)],
                                             FS_BYTE_ORDER_LITTLE, err);

                if (r < 0)
                        return r;
                there = elsewhere(checked);
                fs_verdict(&checked->volume, host, &there, &checked->verdict);
                json_array_append_new(checked->results, fs_verdict_to_json(&checked->volume, host,
                                                                           &checked->verdict));
        }
        return 0;
}

static int run(const CheckArgs *args, Checked *checked) {
        cleanup(freep) FsHost *hosts = NULL;
        FsSituation there = elsewhere(checked);
        size_t n_hosts = 0;
        Error err = {0};

        if (fs_command_hosts(&args->hosts, &hosts, &n_hosts, &err) < 0)
                return fs_command_fail(err.code == ERROR_INVALID ? FS_EXIT_USAGE : FS_EXIT_INPUT,
                                       "fs check: %s", err.message);
        if (!args->json) {
                print_volume(args->path, &checked->volume);
                print_state(&checked->volume);
                print_features(&checked->volume);
        }
        check_hosts(args, hosts, n_hosts, checked);
        if (args->all &&
            (args->json ? add_matrix_json(checked, &err)
                        : print_matrix(&checked->volume, &there, &args->hosts, &err)) < 0)
                return fs_command_fail(FS_EXIT_INTERNAL, "fs check: %s", err.message);
        if (args->json) {
                json_t *object = json_pack("{s:s, s:o, s:O}", "path", args->path, "volume",
                                           fs_volume_to_json(&checked->volume), "verdicts",
                                           checked->results);

                json_dumpf(object, stdout, JSON_INDENT(2));
                putchar('\n');
                json_decref(object);
        }
        return fs_command_exit(checked->worst, checked->is_unsure);
}

/* Nothing that a node would mount: say what it is. */
static int say_other(const CheckArgs *args, const FsInspection *inspection) {
        if (args->json) {
                json_t *object = json_pack("{s:s, s:s, s:s}", "path", args->path, "find",
                                           fs_find_name(inspection->find), "why", inspection->why);

                json_dumpf(object, stdout, 0);
                putchar('\n');
                json_decref(object);
        } else {
                printf("%s %s\n", args->path, inspection->why);
        }
        return inspection->find == FS_FIND_UNKNOWN ? FS_EXIT_INPUT : FS_EXIT_NO;
}

/* As a node looks: a superblock beside another one's signature is no filesystem to either. */
static int look(const CheckArgs *args, int fd, FsInspection *inspection, Checked *checked) {
        Error err = {0};

        if (fs_inspect(fd, NULL, inspection, &err) < 0)
                return fs_command_fail(FS_EXIT_INTERNAL, "fs check: %s: %s", args->path,
                                       err.message);
        if (inspection->find != FS_FIND_FILESYSTEM)
                return say_other(args, inspection);
        checked->volume = inspection->volume;
        fs_situation_read(fd, &checked->volume, &checked->situation);
        if (args->sector_bytes)
                checked->situation.logical_sector_bytes = args->sector_bytes;
        return -1;
}

int fs_command_check(int argc, char **argv) {
        cleanup(closep) int fd = -1;
        cleanup(freep) Checked *checked = calloc(1, sizeof(*checked));
        cleanup(freep) FsInspection *inspection = malloc(sizeof(*inspection));
        CheckArgs args = {0};
        int r = parse(argc, argv, &args);

        if (r >= 0 || !args.path)
                return r;
        if (!checked || !inspection)
                return fs_command_fail(FS_EXIT_INTERNAL, "fs check: no memory");
        fd = open(args.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
                return fs_command_fail(FS_EXIT_INPUT, "fs check: open %s: %m", args.path);
        r = look(&args, fd, inspection, checked);
        if (r >= 0)
                return r;
        checked->results = json_array();
        r = run(&args, checked);
        json_decref(checked->results);
        return r;
}
