/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLI_SERVE_H
#define BERTH_CSI_CLI_SERVE_H

/* `berth-csi serve`: from the command line and the facts of this machine to a running daemon.
 * @argv[0] is "serve" or the program's name. Return: exit code: 0; 64 usage; 1 anything else. */
int serve_command(int argc, char **argv);

#endif
