/* SPDX-License-Identifier: Apache-2.0 */
/* `berth-csi fs` alone, for tests of it that need nothing else of the plugin. */

#include "csi/fs/command.h"

int main(int argc, char **argv) {
        return fs_command(argc - 1, argv + 1);
}
