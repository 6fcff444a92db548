/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CNI_IPAM_LEASE_INTERNAL_H
#define BERTH_CNI_IPAM_LEASE_INTERNAL_H

/* Shared by lease.c and lease_open.c only. */

#include "cni/ipam/lease.h"

#define LEASE_INDEX       ".berth"
#define LEASE_BOOT        LEASE_INDEX "/boot"
#define LEASE_PATH_MAX    240  /* of an index entry, below NAME_MAX */
#define LEASE_ENTRY_MAX   2048 /* LEASE_IPS_MAX addresses */
#define LEASE_CONTENT_MAX 512

typedef struct LeaseContent {
        char text[LEASE_CONTENT_MAX];
        const char *id, *ifname; /* into text */
} LeaseContent;

/* Return: 0; -EBADMSG for an empty or torn file; another -errno. */
int lease_read(int dir_fd, const char *name, LeaseContent *content);

/* Return: 1; 0 when it is another's or nobody's; -errno when that cannot be told. */
int lease_is_held(int dir_fd, const char *name, const char *container_id, const char *ifname);

/* @path has LEASE_PATH_MAX bytes. */
void lease_entry_path(const char *container_id, const char *ifname, char *path);

/* Replaces the entry; makes the index directory if it is missing. Return: 0; -errno. */
int lease_entry_write(int dir_fd, const char *path, const IpPrefix *ips, size_t n);

/* Every name in @path below @dir_fd. Links and dot names are told, too. */
typedef int (*NameEach)(int dir_fd, const char *name, void *userdata, Error *err);
int lease_each_name(int dir_fd, const char *path, NameEach each, void *userdata, Error *err);

/* The same as lease_find() and lease_release(), by reading every lease. */
int lease_walk_find(const LeaseStore *store, const char *container_id, const char *ifname,
                    IpPrefix *ips, size_t *np, Error *err);
int lease_walk_release(const LeaseStore *store, const char *container_id, const char *ifname,
                       Error *err);

#endif
