/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_CLI_COMMANDS_H
#define BERTH_CNI_CLI_COMMANDS_H

/* berth-cni on a command line: install, gc, status. Prints for people, exits 0, 1 or 64 (usage). */

#include "common/base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Is this a call by a person: arguments, and no CNI_COMMAND? */
bool cli_is_asked(int argc, char **argv);

/* Return: exit status. */
int cli_main(int argc, char **argv);
int install_main(int argc, char **argv);

/* --- where a host has its plugins and configurations (cni/cli/directories.c) --------------------
 */

#define DIRECTORY_MAX 512

typedef struct CniDirectories {
        char plugins[DIRECTORY_MAX];        /* below the root, absolute */
        char configurations[DIRECTORY_MAX]; /* likewise */
        char why[DIRECTORY_MAX]; /* what told so: "/etc/containerd/config.toml", "k3s", "default" */
} CniDirectories;

/**
 * directories_find() - both directories of the host whose root is @root_fd
 * @is_live: that is this process's own root
 *
 * The runtime's own configuration tells (containerd, CRI-O); else the distribution of Kubernetes,
 * where one is recognised; else they are /opt/cni/bin and /etc/cni/net.d.
 */
void directories_find(int root_fd, bool is_live, CniDirectories *directories);

/**
 * directories_parse() - the values of a containerd or CRI-O configuration, as far as they are there
 * @text: TOML; of a list the first string counts
 *
 * Pure. Return: whether either was told.
 */
bool directories_parse(const char *text, CniDirectories *directories);

/* Before that: lists over several lines on one, as TOML allows a line break after "[" and ",". */
void directories_join_lists(char *text);

/* --- configuration lists (cni/cli/conflist.c) ---------------------------------------------------
 */

#include <jansson.h>

/**
 * conflist_find() - the list of network @name, or in file @name when it has a "/"
 * @directory: searched in the order of names, as runtimes do; *.conflist, *.conf, *.json
 * @listp:     {cniVersion, name, plugins}: a single configuration becomes a list of one
 *
 * Return: 0 with *@listp to be freed by json_decref(); NOT_FOUND naming the directory; INVALID.
 */
int conflist_find(const char *directory, const char *name, json_t **listp, Error *err);

/* One file of a directory, likewise. */
int conflist_read(int dir_fd, const char *name, json_t **listp, Error *err);

/* Is it of the loopback interface alone, which is no network of pods? */
bool conflist_is_loopback(const json_t *list);

/* For scandirat(3): files that runtimes read as lists. */
struct dirent;
int conflist_is_named(const struct dirent *entry);

/* Checks what a runtime would refuse. Return: 0; INVALID. */
int conflist_check(const json_t *list, Error *err);

#endif
