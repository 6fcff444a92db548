/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/cli/pool_command.h"

#include "common/base/arguments.h"
#include "common/base/str.h"
#include "csi/local/pool.h"

#include <stdio.h>

static const char usage[] =
        "Usage: berth-csi pool init DIRECTORY\n\n"
        "Makes an empty pool for the provider local, once, when its disk is mounted at DIRECTORY.\n"
        "A pool that is there already stays as it is.\n";

static int wrong_usage(const char *words, const char *argument) {
        (void)fprintf(stderr,
                      "berth-csi pool: %s%.100s; expected berth-csi pool init DIRECTORY\n"
                      "Try: berth-csi pool --help\n",
                      words, argument);
        return EXIT_USAGE;
}

int pool_command(int argc, char **argv) {
        char uuid[POOL_UUID_SIZE];
        Error err = {0};
        int r;

        if (argc == 2 && (str_equal(argv[1], "--help") || str_equal(argv[1], "-h")))
                return fputs(usage, stdout) < 0 ? 1 : 0;
        if (argc < 2)
                return wrong_usage("what to do is missing", "");
        if (!str_equal(argv[1], "init"))
                return wrong_usage("there is only init, and not ", argv[1]);
        if (argc < 3)
                return wrong_usage("init: the directory is missing", "");
        if (argc > 3 || argv[2][0] == '-')
                return wrong_usage("init: unexpected argument ", argv[argc > 3 ? 3 : 2]);
        r = pool_init(argv[2], uuid, &err);
        if (r < 0) {
                (void)fprintf(stderr, "berth-csi: %s\n", err.message);
                return err.code == ERROR_INVALID ? EXIT_USAGE : 1;
        }
        (void)printf("%s: %s pool %s\n", argv[2], r == POOL_E_THERE ? "has" : "made", uuid);
        return fflush(stdout) == 0 ? 0 : 1;
}
