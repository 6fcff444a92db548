/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_SERVE_H
#define BERTH_CSI_SERVE_H

/* `berth-csi serve`. @argv[0] is the first flag. Return: exit code: 0; 64 usage; 1 anything else.
 */
int serve_command(int argc, char **argv);

#endif
