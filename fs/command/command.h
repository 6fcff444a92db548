/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_COMMAND_COMMAND_H
#define BERTH_FS_COMMAND_COMMAND_H

/*
 * `berth-csi fs check` and `berth-csi fs plan`, for people and scripts. Needs no root for an image.
 *
 * @argv[0] is "fs". Return: exit code: 0 read-write (or planned), 1 read-only, 2 no, 64 usage, 66
 * cannot read the input, 70 internal.
 */
int fs_command(int argc, char **argv);

#endif
