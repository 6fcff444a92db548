/* SPDX-License-Identifier: Apache-2.0 */
/* `berth-csi fs` alone, for tests that need nothing else of the plugin, and the feature tables as
 * text: kind, class, bit, name, first kernel, first tool, first tool that turns it on. */

#include "fs/command/command.h"
#include "fs/features/feature.h"
#include "fs/formats/format.h"
#include "fs/look/inspect.h"

#include "common/base/str.h"

#include <stdio.h>

static const char *version(uint32_t value, char text[24]) {
        if (value == FS_VERSION_ANY)
                return "any";
        return value == FS_VERSION_NEVER ? "never" : fs_version_format(value, text);
}

static int print_table(void) {
        for (size_t i = 0; i < fs_n_features; i++) {
                const FsFeature *f = &fs_features[i];
                char kernel[24], tool[24], by_default[24];

                (void)printf("%s\t%s\t0x%llx\t%s\t%s\t%s\t%s\t%s\n", fs_kind_name(f->kind),
                             fs_class_name(f->kind, f->class), (unsigned long long)f->bit, f->name,
                             version(f->rw_since, kernel), version(f->tool_since, tool),
                             version(f->tool_default, by_default), f->mkfs_on ? f->mkfs_on : "");
        }
        return 0;
}

/* Where a blank device of that size is read, with samples from the start on: offset and length. */
static int print_regions(const char *size) {
        static FsRegion regions[FS_REGIONS_MAX];
        uint64_t size_bytes;
        size_t n;

        if (str_parse_u64(size, UINT64_MAX, &size_bytes) < 0)
                return 64;
        n = fs_blank_regions(size_bytes, 0, regions);
        for (size_t i = 0; i < n; i++)
                (void)printf("%llu %llu\n", (unsigned long long)regions[i].offset,
                             (unsigned long long)regions[i].n);
        return 0;
}

int main(int argc, char **argv) {
        if (argc == 2 && str_equal(argv[1], "table"))
                return print_table();
        if (argc == 3 && str_equal(argv[1], "regions"))
                return print_regions(argv[2]);
        return fs_command(argc - 1, argv + 1);
}
