/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_CLI_INSTALL_H
#define BERTH_CNI_CLI_INSTALL_H

/* Steps of berth-cni install. Each leaves the old or the new state when it is interrupted. */

#include "cni/cli/commands.h"
#include "common/ip/address.h"

/* --- addresses of this node's pods (cni/cli/install_list.c) -------------------------------------
 */

#define POD_SUBNETS_MAX 2 /* one for each address family is usual */

typedef struct PodNetwork {
        IpPrefix subnets[POD_SUBNETS_MAX]; /* of this node; host bits are zero */
        size_t n_subnets;
        IpPrefix cluster[POD_SUBNETS_MAX]; /* of the pods of all nodes */
        size_t n_cluster;
        unsigned int mtu_bytes; /* 0: the kernel's */
        bool masqueraded_by_others;
        bool is_managed; /* the list is to be marked with INSTALL_KEY_MANAGED */
        bool routed;     /* no bridge: the host routes to each pod */
        bool no_claims;  /* this kernel cannot look at what pods claim on a bridge */
} PodNetwork;

/* What no node's pods can have together: two subnets of one family, a whole family, loopback,
 * multicast, a cluster that does not hold the node's subnet. Return: 0; INVALID. */
int pod_network_check(const PodNetwork *network, Error *err);

/* Add what @text says: subnets separated by commas or blanks, an MTU. @where: a flag or a file, for
 * the message. Return: 0; INVALID. */
int pod_network_subnets(PodNetwork *network, const char *text, const char *where, Error *err);
int pod_network_cluster(PodNetwork *network, const char *text, const char *where, Error *err);
int pod_network_mtu(PodNetwork *network, const char *text, const char *where, Error *err);

/* "bridge" or "routed". Return: 0; INVALID. */
int pod_network_mode(PodNetwork *network, const char *text, const char *where, Error *err);

/**
 * pod_network_parse() - the text of a file: flannel's subnet.env, or subnets, one or more a line,
 * or the node's object as the API server gives it in JSON
 * @text: is cut up
 *
 * Keys: FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_MTU,
 * FLANNEL_IPMASQ, POD_CIDR, CLUSTER_CIDR, POD_MTU; others are ignored.
 *
 * Return: 0; INVALID; NOT_FOUND: it names no subnet.
 */
int pod_network_parse(PodNetwork *network, char *text, const char *path, Error *err);

/* Reads a file as pod_network_parse() says, and again for @wait_msecs while it is not there or not
 * complete. */
int pod_network_read(PodNetwork *network, const char *path, unsigned int wait_msecs, Error *err);

/* A list of one network. Return: 0 with *@listp to be freed by json_decref(); -ENOMEM. */
int pod_network_list(const PodNetwork *network, json_t **listp, Error *err);

/* Who keeps a list in step, "berth-node"; runtimes do not look at it. */
#define INSTALL_KEY_MANAGED "managedBy"

/* Is it @list that keeps its file, and not @wanted? So it is with what somebody else has set up:
 * not marked, and another one but for the mark. Pure. */
bool install_list_stays(const json_t *list, const json_t *wanted);

/* Would @list make pods that those of this network which live on the node cannot reach, because
 * they are a bridge's and these are routed, or the other way round? Not if @present, the list that
 * is there (NULL: none), has that mode already. Return: 0; CONFLICT naming the pods. */
int install_refuse_mode(const json_t *list, const json_t *present, Error *err);

/* What an uninstallation leaves of the pods that live, in the network namespace of the caller, and
 * what removes it. Return: a sentence; caller frees. NULL: nothing is left, or no memory. */
char *install_left(void);

/* The file name of the list. */
#define INSTALL_CONF_NAME "10-berth.conflist"

/* --- files ---------------------------------------------------------------------------------- */

/* What a name in the plugin directory is. */
typedef enum InstalledName {
        INSTALLED_NOTHING,
        INSTALLED_OURS,    /* a link to berth-cni of whatever form, berth-cni itself, or a copy */
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

/* Makes @name a link to berth-cni, or a copy; what is there under that name is replaced at once. */
int install_link(int dir_fd, const char *name, Error *err);

/* Is @name a copy? flannel's installer writes into the file that has its name ("cp -f"), and must
 * not reach berth-cni through a link. */
bool install_is_copied(const char *name);

/* Writes a configuration so that runtimes notice it: a file beside it whose name they do not read,
 * synced, renamed within the directory, read back. One that is the same already is left alone. */
int install_configuration(int dir_fd, const char *name, const char *text, Error *err);

#endif
