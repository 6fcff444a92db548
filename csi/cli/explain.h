/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLI_EXPLAIN_H
#define BERTH_CSI_CLI_EXPLAIN_H

/* `berth-csi explain`: what a message of any of the programs means, and what to do. Returns the
 * exit code: 0 explained, 1 not one of ours, 64 wrong usage. */
int explain_command(int argc, char **argv);

#endif
