/* SPDX-License-Identifier: Apache-2.0 */

/* What no pod owns goes by berth-cni gc, which looks first whether it sees the pods at all. */

#include "cni/node/node.h"

#include <errno.h>
#include <unistd.h>

int node_collect(const NodeArgs *args, Error *err) {
        NodeArgv argv;

        node_collect_argv(args, &argv);
        (void)execv(argv.items[0], (char *const *)(uintptr_t)argv.items);
        return error_set_errno(err, errno, "run %s", argv.items[0]);
}
