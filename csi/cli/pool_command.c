/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/cli/pool_command.h"

#include "common/base/str.h"
#include "csi/local/pool.h"

#include <stdio.h>

#define EXIT_USAGE 64

static const char usage[] =
        "Usage: berth-csi pool init DIRECTORY\n\n"
        "Makes an empty pool for the provider local, once, when its disk is mounted at DIRECTORY.\n"
        "A pool that is there already stays as it is.\n";

int pool_command(int argc, char **argv) {
        char uuid[POOL_UUID_SIZE];
        Error err = {0};
        int r;

        if (argc == 2 && (str_equal(argv[1], "--help") || str_equal(argv[1], "-h")))
                return fputs(usage, stdout) < 0 ? 1 : 0;
        if (argc != 3 || !str_equal(argv[1], "init")) {
                (void)fputs(usage, stderr);
                return EXIT_USAGE;
        }
        r = pool_init(argv[2], uuid, &err);
        if (r < 0) {
                (void)fprintf(stderr, "berth-csi: %s\n", err.message);
                return err.code == ERROR_INVALID ? EXIT_USAGE : 1;
        }
        (void)printf("%s: %s pool %s\n", argv[2], r == POOL_E_THERE ? "has" : "made", uuid);
        return fflush(stdout) == 0 ? 0 : 1;
}
