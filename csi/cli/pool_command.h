/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLI_POOL_COMMAND_H
#define BERTH_CSI_CLI_POOL_COMMAND_H

/* `berth-csi pool init DIRECTORY`: an empty pool of the provider local. Return: the exit code; 64
 * for a wrong command line. */
int pool_command(int argc, char **argv);

#endif
