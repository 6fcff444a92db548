/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_INSTALL_H
#define BERTH_CNI_INSTALL_H

/* Steps of berth-cni install. Each leaves the old or the new state when it is interrupted. */

#include "cni/people.h"

/* What a name in the plugin directory is. */
typedef enum InstalledName {
        INSTALLED_NOTHING,
        INSTALLED_OURS,    /* a link to berth-cni, or berth-cni itself */
        INSTALLED_FOREIGN, /* another program, or a link to one */
} InstalledName;

/* Names under which upstream's plugins are known. NULL-terminated. */
extern const char *const install_names[];

/* What another's program is renamed to by --replace. */
#define INSTALL_SAVED_SUFFIX ".before-berth"

/**
 * install_directory_open() - open a directory to install into, making it if it is missing
 * @root_fd: what @path is below
 * @programs: it must allow programs to run
 *
 * Return: 0; PRECONDITION: read-only, noexec, no directory; DENIED.
 */
int install_directory_open(int root_fd, const char *path, bool programs, int *fdp, Error *err);

/* Copies the running program to @name in @dir_fd: a file beside it, synced, renamed, read back. */
int install_program(int dir_fd, const char *name, Error *err);

InstalledName install_name_state(int dir_fd, const char *name);

/* Makes @name a link to berth-cni. What is there under that name is replaced at once. */
int install_link(int dir_fd, const char *name, Error *err);

/* Writes a configuration so that runtimes notice it: a file beside it whose name they do not read,
 * synced, renamed within the directory, read back. */
int install_configuration(int dir_fd, const char *name, const char *text, Error *err);

#endif
